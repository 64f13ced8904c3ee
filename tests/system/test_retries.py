"""Failures of the provider: retried invisibly where a retry can help, told truthfully where not."""
import json

import pytest

from support import (CHAT, MESSAGES, PROVIDER_ROUTES, RESPONSES, ROUTES, SIMPLE, assert_answer,
                     assert_error, free_port, in_background, question, sent_body, unique)

OVERLOADED = {"type": "overloaded_error", "message": "Overloaded", "code": "server_error"}
TOO_MANY = {"status": 429, "body": {"error": {"message": "slow down", "type": "requests",
                                              "param": None, "code": "rate_limit_exceeded"}}}
QUOTA = {"status": 429, "body": {"error": {"message": "pay first", "type": "insufficient_quota",
                                           "param": None, "code": "insufficient_quota"}}}
FAILURES = {
    "429": TOO_MANY,
    "500": {"status": 500, "body": {"error": {"message": "oops", "type": "server_error"}}},
    "503": {"status": 503, "body": "<html>try again</html>", "headers": {"Content-Type": "text/html"}},
    "529": {"status": 529, "body": {"type": "error", "error": OVERLOADED}},
    "408": {"status": 408, "body": {"error": {"message": "late", "type": "timeout"}}},
    "cut before the first event": {"cut_at": 0},
    "cut by a close": {"cut_at": 700},
    "cut by a reset": {"cut_at": 700, "cut": "reset"},
    "an end before the end": {"cut_at": 700, "cut": "end"},
    "an error event": {"error": OVERLOADED, "error_at": 3},
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("route", PROVIDER_ROUTES)
def test_a_failure_is_retried_and_the_client_sees_one_answer(service, provider, route, failure):
    model = provider.script(unique("retry"), FAILURES[failure])
    body = question(route, model)
    reply = service.post(route, body)
    assert provider.hits(model) == 2
    assert_answer(reply, provider.answer(route, body).body)
    assert 'attempts;desc="2"' in reply["server-timing"]


def test_a_retried_flight_is_one_execution_of_its_key(service, provider):
    model = provider.script(unique("retry"), TOO_MANY, {"cut_at": 900})
    body, key = question(CHAT, model), unique("key")
    first = service.post(CHAT, body, key)
    assert_answer(first, key_status="executed")
    assert_answer(service.post(CHAT, body, key), first.body, key_status="replayed")
    assert provider.hits(model) == 3


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 415, 422])
def test_a_refusal_of_the_provider_is_passed_on_and_not_repeated(service, provider, status):
    refusal = {"error": {"message": "not like this", "type": "invalid_request_error", "extra": 1.0}}
    model = provider.script(unique("refused"), {"status": status, "body": refusal})
    reply = service.post(CHAT, question(CHAT, model))
    assert reply.status == status
    assert reply.json == refusal and b'"extra":1.0' in reply.body
    assert reply["x-should-retry"] == "false"
    assert reply["content-length"] == str(len(reply.body))
    assert reply["unstream-request-id"]
    assert provider.hits(model) == 1


@pytest.mark.parametrize("route", ROUTES)
def test_a_refusal_that_is_no_json_is_wrapped(service, provider, route):
    page = {"status": 404, "body": "<h1>Not here</h1>\n", "headers": {"Content-Type": "text/html"}}
    model = provider.script(unique("page"), page)
    reply = service.post(route, question(route, model))
    assert_error(reply, route, 404, retry=False)
    assert "Not here" in reply.body.decode()


def test_a_refused_key_is_free_again(service, provider):
    model = provider.script(unique("again"), {"status": 400, "body": {"error": {"message": "no"}}})
    key = unique("key")
    assert service.post(CHAT, question(CHAT, model), key).status == 400
    assert_answer(service.post(CHAT, question(CHAT, model), key), key_status="executed")
    assert provider.hits(model) == 2


@pytest.mark.parametrize("how", ["close", "reset", "end"])
@pytest.mark.parametrize("route", ROUTES)
def test_a_stream_that_is_always_cut_is_never_an_answer(service, provider, route, how):
    model = provider.script(unique("cut"), {"cut_at": 700, "cut": how}, repeat=True)
    reply = service.post(route, question(route, model))
    assert_error(reply, route, 502, "upstream_stream_incomplete", retry=False)
    assert provider.hits(model) == 3


@pytest.mark.parametrize("failure, status", [("500", 502), ("503", 503), ("529", 503), ("an error event", 503)])
@pytest.mark.parametrize("route", ROUTES)
def test_a_provider_that_always_fails_is_told(service, provider, route, failure, status):
    model = provider.script(unique("down"), FAILURES[failure], repeat=True)
    reply = service.post(route, question(route, model))
    if route == RESPONSES and failure == "an error event":
        status = 502  # of OVERLOADED it tells the code, server_error, and not the type
    assert_error(reply, route, status, "upstream_error", retry=False)
    assert provider.hits(model) == 3


def test_a_spent_retry_budget_answers_at_once(launch, provider):
    service = launch({"upstreams": {"chat": {"retry_budget_ratio": 0, "attempts_max": 12,
                                            "backoff_max_s": 0.05}}})
    model = provider.script(unique("budget"), FAILURES["500"], repeat=True)
    assert_error(service.post(CHAT, question(CHAT, model)), CHAT, 502, "upstream_error", retry=False)
    hits = provider.hits(model)
    assert hits == 11  # 10 retries to begin with
    assert_error(service.post(CHAT, question(CHAT, model)), CHAT, 502, "upstream_error", retry=False)
    assert provider.hits(model) == 12


def test_a_429_that_stays_is_passed_on(service, provider):
    model = provider.script(unique("busy"), TOO_MANY, repeat=True)
    reply = service.post(CHAT, question(CHAT, model))
    assert reply.status == 429 and reply.json == TOO_MANY["body"]
    assert 1 <= int(reply["retry-after"]) <= 8
    assert provider.hits(model) == 3


def test_a_spent_quota_is_not_retried(service, provider):
    model = provider.script(unique("quota"), QUOTA, repeat=True)
    reply = service.post(CHAT, question(CHAT, model))
    assert reply.status == 429 and reply.json == QUOTA["body"]
    assert reply["x-should-retry"] == "false"
    assert provider.hits(model) == 1


@pytest.mark.parametrize("header", ["Retry-After", "retry-after-ms"])
def test_the_providers_own_pause_is_respected(service, provider, header):
    pause = {"Retry-After": "2", "retry-after-ms": "2000"}[header]
    model = provider.script(unique("pause"), {**TOO_MANY, "headers": {header: pause}})
    assert_answer(service.post(CHAT, question(CHAT, model)))
    first, second = [call["at_s"] for call in provider.requests(model)]
    assert second - first >= 2


@pytest.mark.parametrize("pause, told, retry", [("30", "8", None), ("600", "600", "false")])
def test_a_pause_past_the_deadline_is_answered_at_once(launch, provider, pause, told, retry):
    service = launch()  # the next call waits for the pause, too
    model = provider.script(unique("later"), {**TOO_MANY, "headers": {"Retry-After": pause}}, repeat=True)
    reply = service.post(CHAT, question(CHAT, model), headers={"Unstream-Deadline": "10"}, timeout_s=8)
    assert reply.status == 429 and reply.json == TOO_MANY["body"]
    assert reply["retry-after"] == told
    assert retry is None or reply["x-should-retry"] == retry
    assert provider.hits(model) == 1


def test_a_refused_operators_key_is_not_the_clients_fault(launch, provider):
    service = launch({"upstreams": {"chat": {"api_key": "sk-operator"}}})
    for status in (401, 403):
        step = {"status": status, "body": {"error": {"message": "bad key"}}}
        model = provider.script(unique("key"), step)
        reply = service.post(CHAT, question(CHAT, model))
        assert_error(reply, CHAT, 502, "upstream_credentials_invalid", retry=False)
        assert provider.hits(model) == 1
        assert b"sk-operator" not in reply.body


def test_a_provider_that_cannot_be_reached_is_told(launch):
    service = launch({"upstreams": {"chat": {"base_url": f"http://127.0.0.1:{free_port()}/v1"}}})
    reply = service.post(CHAT, question(CHAT, "nobody"))
    assert_error(reply, CHAT, 502, "upstream_unreachable", retry=False)


def test_a_provider_that_ignores_the_stream_is_understood(service, provider):
    model = provider.script(unique("plain"), {"plain": True})
    body = question(CHAT, model)
    assert_answer(service.post(CHAT, body), provider.answer(CHAT, body).body, streamed=False)


def test_an_upstream_that_refuses_stream_options_is_asked_without(launch, provider):
    service = launch()
    refusal = {"error": {"message": "Unknown parameter: 'stream_options'", "param": "stream_options",
                         "type": "invalid_request_error", "code": "unknown_parameter"}}
    model = provider.script(unique("options"), {"status": 400, "body": refusal})
    for _ in range(2):  # the second call shows that it is remembered
        assert_answer(service.post(CHAT, question(CHAT, model)))
    bodies = [json.loads(sent_body(call)) for call in provider.requests(model)]
    assert ["stream_options" in body for body in bodies] == [True, False, False]


def test_silence_before_the_first_event_is_retried(launch, provider):
    service = launch({"upstreams": {"chat": {"first_event_timeout_s": 1}}})
    model = provider.script(unique("silent"), {"hold": unique("hold"), "hold_at": "head"})
    assert_answer(service.post(CHAT, question(CHAT, model)))
    assert provider.hits(model) == 2


def test_pings_keep_a_stream_alive_and_silence_ends_it(launch, provider):
    service = launch({"upstreams": {"messages": {"idle_timeout_s": 1}}})
    pinged = provider.script(unique("pinged"), {"pause_s": 2.5, "pause_at": 3, "ping_every_s": 0.2})
    assert_answer(service.post(MESSAGES, question(MESSAGES, pinged)))
    assert provider.hits(pinged) == 1
    silent = provider.script(unique("silent"), {"hold": unique("hold"), "hold_at": 3})
    assert_answer(service.post(MESSAGES, question(MESSAGES, silent)))
    assert provider.hits(silent) == 2


def test_a_deadline_ends_the_wait_but_not_a_keyed_flight_with_output(service, provider):
    model, hold, key = unique("deadline"), unique("hold"), unique("key")
    provider.script(model, {"hold": hold, "hold_at": 3})
    body = question(RESPONSES, model)
    reply = service.post(RESPONSES, body, key, headers={"Unstream-Deadline": "1"})
    assert_error(reply, RESPONSES, 504, "deadline_exceeded", retry=True)
    retry = in_background(service.post, RESPONSES, body, key)
    service.settle()
    provider.release(hold)
    assert_answer(retry.result(), key_status="joined")
    assert provider.hits(model) == 1


def test_a_deadline_without_output_ends_the_flight(service, provider):
    model = provider.script(unique("deadline"), {"hold": unique("hold"), "hold_at": "head"})
    reply = service.post(SIMPLE, question(SIMPLE, model), headers={"Unstream-Deadline": "1"})
    assert_error(reply, SIMPLE, 504, "deadline_exceeded")
    assert reply["retry-after"] == "2"
    provider.wait_for(model, "aborted")
