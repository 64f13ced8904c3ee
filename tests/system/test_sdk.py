"""The official SDKs, unmodified, with nothing but another base URL.

The recordings are the project's own (tests/streams) and, where the environment variable
UNSTREAM_CORPUS names a directory with streams/ and ideal/, those of that corpus."""
import json
import math
import os
from pathlib import Path

import pytest

from support import CHAT, MESSAGES, RESPONSES, ROOT, SDK_OF, UPSTREAMS, question, unique

FOLDERS = {"openai-chat": CHAT, "openai-responses": RESPONSES, "anthropic-messages": MESSAGES,
           "chat": CHAT, "responses": RESPONSES, "messages": MESSAGES}
ADDED_BY_THE_SDK = {"_request_id", "output_text", "output_parsed", "parsed", "parsed_output",
                    "parsed_arguments"}
CONFIG = {"upstreams": {name: {"attempts_max": 1} for name in ("chat", "responses", "messages")}}


def recordings(route):
    """Triples (name, stream, expected file) of a route."""
    roots = [(ROOT / "tests/streams", ROOT / "tests/streams")]
    if "UNSTREAM_CORPUS" in os.environ:
        corpus = Path(os.environ["UNSTREAM_CORPUS"])
        roots.append((corpus / "streams", corpus / "ideal"))
    for streams, ideals in roots:
        for folder in (name for name in FOLDERS if FOLDERS[name] == route):
            for stream in sorted((streams / folder).glob("*.sse")):
                ideal = ideals / folder / f"{stream.stem}.json"
                yield stream.stem, stream, ideal if ideal.exists() else ideal.with_suffix(".error.json")


def is_failure(ideal):
    """A failed Responses answer has a body too, but is no answer."""
    return ideal.name.endswith(".error.json") or json.loads(ideal.read_bytes()).get("status") == "failed"


def as_javascript(value):
    """The value with its numbers as a JavaScript program has them."""
    if isinstance(value, dict):
        return {key: as_javascript(member) for key, member in value.items()}
    if isinstance(value, list):
        return [as_javascript(member) for member in value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    return None if math.isinf(value) else float(value)  # JSON.stringify prints Infinity as null


def without_additions(value, ideal):
    """The value less the members that an SDK adds, and with those as sent that it overwrites."""
    if isinstance(value, dict) and isinstance(ideal, dict):
        return {key: ideal[key] if key in ADDED_BY_THE_SDK else without_additions(member, ideal.get(key))
                for key, member in value.items() if key in ideal or key not in ADDED_BY_THE_SDK}
    if isinstance(value, list) and isinstance(ideal, list) and len(value) == len(ideal):
        return [without_additions(*pair) for pair in zip(value, ideal)]
    return value


@pytest.mark.parametrize("route", SDK_OF)
def test_the_sdk_returns_what_the_recording_says_or_a_failure(service, provider, sdk, route):
    cases = list(recordings(route))
    if not cases:
        pytest.skip("no recordings: neither tests/streams nor UNSTREAM_CORPUS")
    jobs = []
    for name, stream, ideal in cases:
        model = provider.script(unique(name), {"replay": str(stream), "chunk": 997}, repeat=True)
        count = len(json.loads(ideal.read_bytes()).get("choices", [0]))
        jobs.append({"body": question(route, model, **({"n": count} if count > 1 else {}))})
    wrong = []
    for (name, _, ideal), result in zip(cases, sdk(service, route, jobs)):
        if is_failure(ideal):
            fine = "error" in result and (result["error"]["status"] or 0) >= 400
        else:
            expected = as_javascript(json.loads(ideal.read_bytes()))
            got = as_javascript(result.get("ok", {}))
            fine = without_additions(got, expected) == expected
        if not fine:
            wrong.append(f"{name}: {json.dumps(result)[:300]}")
    assert not wrong, f"{len(wrong)} of {len(cases)}:\n" + "\n".join(wrong)


@pytest.mark.parametrize("route", SDK_OF)
def test_the_scripted_provider_streams_as_the_sdk_expects(provider, sdk, route):
    usage = {"stream_options": {"include_usage": True}} if route == CHAT else {}
    body = question(route, unique("sdk"), **usage)
    [result] = sdk(provider, route, [{"body": body, "how": ".stream"}])
    ideal = as_javascript(provider.answer(route, body).json)
    assert without_additions(as_javascript(result["ok"]), ideal) == ideal


@pytest.mark.parametrize("route", SDK_OF)
def test_the_sdk_gets_what_the_provider_itself_would_have_given(service, provider, sdk, route):
    body = question(route, unique("sdk"))
    [result] = sdk(service, route, [{"body": body}])
    ideal = as_javascript(provider.answer(route, body).json)
    assert without_additions(as_javascript(result["ok"]), ideal) == ideal


@pytest.mark.parametrize("route", SDK_OF)
def test_a_key_in_the_sdks_headers_replays(service, provider, sdk, route):
    body, headers = question(route, unique("sdk")), {"Idempotency-Key": unique("key")}
    [first] = sdk(service, route, [{"body": body, "headers": headers}])
    [again] = sdk(service, route, [{"body": body, "headers": headers}])
    assert first["headers"]["idempotency-status"] == "executed"
    assert again["headers"]["idempotency-status"] == "replayed"
    assert again["headers"]["idempotent-replayed"] == "true"
    assert again["ok"] == first["ok"]
    assert provider.hits(body["model"]) == 1


@pytest.mark.parametrize("how", ["close", "reset", "end"])
@pytest.mark.parametrize("route", SDK_OF)
def test_a_stream_cut_before_its_end_is_never_a_success(service, provider, sdk, route, how):
    steps = [{"words": 60, "cut_at": at, "cut": how} for at in (0, 1, 200, 1500, 3000)]
    jobs = [{"body": question(route, provider.script(unique("cut"), step))} for step in steps]
    for result in sdk(service, route, jobs):
        assert result.get("error", {}).get("class") == "InternalServerError", result
        assert result["error"]["status"] == 502


STATUSES = {400: "BadRequestError", 401: "AuthenticationError", 403: "PermissionDeniedError",
            404: "NotFoundError", 422: "UnprocessableEntityError", 429: "RateLimitError",
            500: "InternalServerError", 503: "InternalServerError"}
OF_THE_ANTHROPIC_SDK = {503: "ServiceUnavailableError"}


@pytest.mark.parametrize("route", SDK_OF)
def test_an_error_of_the_provider_is_the_sdks_own_class_with_its_message(service, provider, sdk, route):
    jobs = []
    for status in STATUSES:
        error = {"message": f"said with {status}", "type": "some_error", "code": None, "param": None}
        step = {"status": status, "body": {"type": "error", "error": error}}
        model = provider.script(unique("error"), step)
        jobs.append({"body": question(route, model)})
    classes = {**STATUSES, **(OF_THE_ANTHROPIC_SDK if route == MESSAGES else {})}
    for (status, name), result in zip(classes.items(), sdk(service, route, jobs)):
        assert result["error"]["class"] == name, result
        if status < 500:
            assert result["error"]["status"] == status
            assert f"said with {status}" in result["error"]["message"]


@pytest.mark.parametrize("route", SDK_OF)
def test_an_error_of_our_own_is_the_sdks_own_class_with_our_message(service, sdk, route):
    model, headers = unique("own"), {"Idempotency-Key": unique("key")}
    assert service.post(route, question(route, model, "one"), headers["Idempotency-Key"],
                        headers={"Authorization": "Bearer sk-test"}).status == 200
    jobs = [{"body": question(route, model, "two"), "headers": headers},
            {"body": question(route, model), "headers": {"Idempotency-Key": "two words"}},
            {"body": {**question(route, model), "stream": True}}]
    reused, malformed, stream = [result["error"] for result in sdk(service, route, jobs)]
    assert (reused["class"], reused["status"]) == ("UnprocessableEntityError", 422)
    assert "Idempotency-Key" in reused["message"]
    assert (malformed["class"], malformed["status"]) == ("BadRequestError", 400)
    assert "Idempotency-Key" in malformed["message"]
    assert (stream["class"], stream["status"]) == ("BadRequestError", 400)
    assert "stream" in stream["message"]


@pytest.mark.parametrize("route", SDK_OF)
def test_an_unknown_client_gets_the_sdks_authentication_error(launch, sdk, route):
    service = launch({
        "upstreams": {name: {"api_key": "sk-operator"} for name in UPSTREAMS},
        "clients": [{"name": "one", "token_sha256": "5" * 64}]})
    [result] = sdk(service, route, [{"body": question(route, "never-asked")}])
    assert (result["error"]["class"], result["error"]["status"]) == ("AuthenticationError", 401)


@pytest.mark.parametrize("route", SDK_OF)
def test_the_sdk_does_not_repeat_what_was_retried_here(service, provider, sdk, route):
    step = {"status": 500, "body": {"error": {"message": "x"}}}
    model = provider.script(unique("down"), step, repeat=True)
    [result] = sdk(service, route, [{"body": question(route, model), "client": {"maxRetries": 2}}])
    assert result["error"]["status"] == 502
    assert provider.hits(model) == 1  # attempts_max is 1 here, and x-should-retry said no
