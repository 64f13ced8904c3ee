"""What the line of a request says, field by field, and what it never says."""
import hashlib
import json
import re

import pytest

from support import (CHAT, MESSAGES, RESPONSES, UPSTREAMS, assert_error, held, in_background, leave, question,
                     raw_post, unique, wait_until)
from test_admission import as_client, client, with_clients


@pytest.fixture
def logged(launch):
    """A service, and what reads its log: all lines of one event, once there are as many."""
    def start(overrides=None):
        service = launch(overrides)

        def lines(event="request", count=1, **values):
            def found():
                read = [json.loads(line) for line in service.log.read_text().splitlines()]
                return [line for line in read if line["event"] == event
                        and all(line.get(name) == value for name, value in values.items())]
            wait_until(lambda: len(found()) >= count, f"{count} lines of {event} with {values}")
            assert len(found()) == count
            return found()
        return service, lines
    return start


def test_the_line_of_an_execution(logged):
    service, lines = logged(with_clients(client("alice")))
    model, key = unique("model"), unique("key")
    reply = service.post(CHAT, question(CHAT, model), key,
                         {**as_client("alice"), "X-Request-Id": "mine-7", "traceparent": "00-aa-bb-01"})
    [line] = lines(route=CHAT)
    assert line.pop("flight") == reply["unstream-request-id"]
    assert re.fullmatch(r"[0-9a-f]{8}", line.pop("key"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    times = [line.pop(name) for name in ("queue_ms", "first_event_ms", "generation_ms", "total_ms")]
    assert times[0] == 0 and 0 <= times[1] <= times[2] <= times[3] < 60_000
    assert line == {"level": "info", "event": "request", "client": "alice", "method": "POST", "route": CHAT,
                    "model": model, "status": 200, "source": "executed", "upstream": "chat", "attempts": 1,
                    "input_tokens": 4, "output_tokens": 12, "delivered": True, "request_id": "mine-7",
                    "traceparent": "00-aa-bb-01"}


def test_a_replay_says_the_same_key_and_tokens_but_no_calls(logged):
    service, lines = logged()
    model, key = unique("model"), unique("key")
    for given in (key, f'"{key}"', unique("other-key")):
        assert service.post(CHAT, question(CHAT, model), given).status == 200
    first, again, other = lines(count=3, route=CHAT)
    assert first["key"] == again["key"] != other["key"]
    assert again["flight"] == first["flight"] != other["flight"]
    assert again["source"] == "replayed" and again["output_tokens"] == 12 and again["input_tokens"] == 4
    assert again.keys() & {"attempts", "generation_ms", "first_event_ms", "queue_ms"} == set()


def test_a_model_has_one_name_however_it_is_escaped(logged):
    service, lines = logged()
    model = unique("org") + "/\u00e9"
    for spelling in (json.dumps(model), json.dumps(model).replace("/", "\\/"), f'"{model}"'):
        body = json.dumps(question(CHAT, "MODEL")).replace('"MODEL"', spelling).encode()
        assert service.post(CHAT, body).status == 200
    plain = model.replace("\u00e9", "??")
    lines(count=3, model=plain)


def test_keys_are_told_by_eight_digits_of_a_salted_digest(logged):
    service, lines = logged()
    key = unique("key")
    service.post(CHAT, question(CHAT, unique("model")), key)
    [line] = lines(route=CHAT)
    text = service.log.read_text()
    assert key not in text and line["key"] not in hashlib.sha256(key.encode()).hexdigest()


def test_secrets_and_bodies_are_not_logged(logged, provider):
    service, lines = logged({"log": {"level": "debug"}, "upstreams": {"chat": {"api_key": "sk-operators-own"}}})
    prompt, token = unique("prompt"), unique("sk-clients")
    model = provider.script(unique("model"), {"text": "an answer nobody may read"})
    service.post(CHAT, question(CHAT, model, prompt), unique("key"), {"x-api-key": token})
    lines("call_ended")
    text = service.log.read_text()
    assert not any(secret in text for secret in (prompt, token, "sk-operators-own", "nobody may read"))


def test_a_join_and_its_flight(logged, provider):
    service, lines = logged()
    model, hold, key = unique("model"), unique("hold"), unique("key")
    provider.script(model, {"hold": hold})
    first = in_background(service.post, CHAT, question(CHAT, model), key)
    provider.wait_for(model)
    second = in_background(service.post, CHAT, question(CHAT, model), key)
    service.settle()
    provider.release(hold)
    assert first.result().status == second.result().status == 200
    one, two = sorted(lines(count=2, route=CHAT), key=lambda line: line["source"])
    assert (one["source"], two["source"]) == ("executed", "joined")
    assert one["flight"] == two["flight"] and one["key"] == two["key"]
    assert two["attempts"] == 1 and two["output_tokens"] == 12 and two["total_ms"] <= one["total_ms"]


def test_time_in_the_queue(logged, provider):
    service, lines = logged({"limits": {"flights_max": 1, "queue_max": 5, "queue_s": 0.5}})
    slow, hold = held(provider)
    first = in_background(service.post, CHAT, question(CHAT, slow))
    provider.wait_for(slow)
    refused = unique("refused")
    assert_error(service.post(CHAT, question(CHAT, refused)), CHAT, 503, "overloaded")
    provider.release(hold)
    assert first.result().status == 200
    [line] = lines(model=refused)
    assert line["error"] == "overloaded" and line["queue_ms"] >= 500 and "attempts" not in line
    [line] = lines(model=slow)
    assert line["queue_ms"] == 0 and line["generation_ms"] >= 500


def test_time_in_the_queue_of_one_that_never_got_a_slot(logged, provider):
    service, lines = logged({"limits": {"flights_max": 1, "queue_max": 5, "queue_s": 60}})
    (slow, hold), late = held(provider), unique("late")
    first = in_background(service.post, CHAT, question(CHAT, slow))
    provider.wait_for(slow)
    assert service.post(CHAT, question(CHAT, late), headers={"Unstream-Deadline": "1"}).status == 504
    provider.release(hold)
    assert first.result().status == 200
    [line] = lines(model=late)
    assert line["error"] == "deadline_exceeded" and 900 <= line["queue_ms"] <= line["total_ms"]


def test_retries_and_what_happens_next(logged, provider):
    service, lines = logged({"upstreams": {"chat": {"attempts_max": 2}}})
    model = provider.script(unique("model"), {"status": 500, "body": {"error": {"message": "x"}}}, repeat=True)
    assert service.post(CHAT, question(CHAT, model)).status == 502
    [line] = lines(model=model)
    assert line["status"] == 502 and line["error"] == "upstream_error" and line["attempts"] == 2
    first, last = lines("call_ended", 2, flight=line["flight"])
    assert (first["end"], first["status"], first["upstream"], first["attempt"]) == ("refused", 500, "chat", 1)
    assert first["level"] == "warning" and first["next"] == "pausing" and first["pause_ms"] >= 0
    assert last["next"] == "ended" and "pause_ms" not in last


def test_a_fallbacks_answer_names_the_fallback(logged, provider):
    service, lines = logged({"upstreams": {"chat": {"base_url": "http://127.0.0.1:9/v1"}, "responses": {"api_key": "sk-x"}},
                             "routes": {CHAT: {"fallback": "responses"}}})
    model = unique("model")
    assert service.post(CHAT, question(CHAT, model)).status == 200
    [line] = lines(model=model)
    assert line["upstream"] == "responses" and line["attempts"] == 2


def test_the_end_of_a_hold(logged, provider):
    edges = {CHAT: {"edge": "conflict", "hold_s": 0.2}, MESSAGES: {"edge": "redirect", "hold_s": 0.2},
             RESPONSES: {"edge": "heartbeat", "hold_s": 0.2, "heartbeat_after_s": 0.1}}
    service, lines = logged({"routes": edges, "upstreams": {name: {"api_key": "sk-x"} for name in UPSTREAMS}})
    (model, hold), holds = held(provider), []
    with service.connect() as beating:
        beating.send(raw_post(RESPONSES, question(RESPONSES, model), "1.1", f"Idempotency-Key: {unique('key')}"))
        for route, prefer in [(CHAT, {}), (MESSAGES, {}), (CHAT, {"Prefer": "respond-async"})]:
            model, its_hold = held(provider)
            holds.append(its_hold)
            service.post(route, question(route, model), unique("key"), prefer)
        assert beating.receive()  # its head
        for name in (hold, *holds):
            provider.release(name)
        assert beating.reply().status == 200
    for hold, status in [("conflict", 503), ("redirect", 303), ("heartbeat", 200), ("accepted", 202)]:
        [line] = lines(hold=hold)
        assert line["status"] == status and line["upstream"]


def test_a_client_that_left(logged, provider):
    service, lines = logged()
    model = provider.script(unique("model"), {"hold": unique("hold")})
    leave(service, provider, CHAT, question(CHAT, model))
    [line] = lines(model=model)
    assert line["delivered"] is False and line["attempts"] == 1 and line["upstream"] == "chat"


def test_a_refusal_at_the_door(logged):
    service, lines = logged()
    with service.connect() as connection:
        connection.send(raw_post(CHAT, b"{", "1.1", "X-Request-Id: bad\x7f\"one"))  # a control character
        connection.reply()
    [line] = lines(route=CHAT)
    assert line["status"] == 400 and line["error"] == "bad_framing"
    assert line.keys() & {"client", "key", "upstream", "attempts", "source", "hold"} == set()


def test_the_text_format(launch):
    service = launch({"log": {"format": "text"}})
    model = unique("model")
    reply = service.post(CHAT, question(CHAT, model), unique("key"), {"X-Request-Id": 'a "b"'})
    flight = reply["unstream-request-id"]
    wait_until(lambda: flight in service.log.read_text(), "its line")
    [line] = [line for line in service.log.read_text().splitlines() if flight in line]
    assert re.fullmatch(
        rf'\S+Z info request flight={flight} key=[0-9a-f]{{8}} method=POST route={CHAT} model={model} status=200 '
        r'source=executed upstream=chat queue_ms=0 attempts=1 generation_ms=\d+ first_event_ms=\d+ input_tokens=4 '
        r'output_tokens=12 total_ms=\d+ delivered=true request_id="a \\"b\\""', line)
    service.process.terminate()  # its log is not JSON, as Service.stop expects
    assert service.process.wait(20) == 0
