"""Limits as a client meets them: at the limit it is served, one beyond it is refused and told why.  The
limits of single modules have their tests in tests/unit."""
import json

import pytest

from support import (CHAT, MESSAGES, RESPONSES, SIMPLE, UPSTREAMS, assert_answer, assert_error, in_background, question,
                     unique)

CONFIG = {
    "idempotency": {"waiters_max": 2, "paid_calls_max": 2},
    "upstreams": {name: {"attempts_max": 2} for name in UPSTREAMS},
}


def nested(route, depth):
    """A body whose deepest bracket is this deep."""
    body = json.dumps(question(route, unique("deep"), metadata="HERE"))
    return body.replace('"HERE"', "[" * (depth - 1) + "]" * (depth - 1)).encode()


@pytest.mark.parametrize("route", [CHAT, RESPONSES, MESSAGES])
def test_a_body_is_nested_128_deep(service, route):
    assert service.post(route, nested(route, 128)).status == 200
    assert_error(service.post(route, nested(route, 129)), route, 400, "invalid_json", retry=False)


def test_a_body_has_262144_values(service):
    body = question(CHAT, unique("wide"), metadata=[])
    body["metadata"] = [0] * (262144 - json.dumps(body).count(":") - 2)  # the body and its message
    assert service.post(CHAT, body).status == 200
    body["metadata"].append(0)
    refused = service.post(CHAT, body)
    assert_error(refused, CHAT, 400, "invalid_json", retry=False)
    assert "262144" in refused.error["message"]


@pytest.mark.parametrize("header", ["Idempotency-Key", "X-Idempotency-Key"])
def test_a_key_has_255_bytes(service, header):
    key = unique("key").ljust(255, "k")
    for spelling in (key, f'"{key}"'):
        reply = service.post(CHAT, question(CHAT, "limits-key"), headers={header: spelling})
        assert reply.status == 200 and reply["idempotency-status"] in ("executed", "replayed"), reply
        refused = service.post(CHAT, question(CHAT, "limits-key"), headers={header: spelling.replace("kk", "kkk", 1)})
        assert_error(refused, CHAT, 400, "idempotency_key_invalid", retry=False)


def test_a_member_key_has_255_bytes(service):
    key = unique("key").ljust(255, "k")
    assert_answer(service.post(SIMPLE, question(SIMPLE, "limits-member", idempotency_key=key)), key_status="executed")
    refused = service.post(SIMPLE, question(SIMPLE, "limits-member", idempotency_key=key + "k"))
    assert_error(refused, SIMPLE, 400, "idempotency_key_invalid", retry=False)


def test_on_an_open_listener_a_key_of_nobody_has_16_bytes_at_least(launch):
    service = launch({"open": True, "upstreams": {name: {"api_key": "sk-operator"} for name in UPSTREAMS}})
    key = unique()[-16:]
    assert_answer(service.post(CHAT, question(CHAT, "limits-short"), key), key_status="executed")
    assert_error(service.post(CHAT, question(CHAT, "limits-short"), key[1:]), CHAT, 400, "idempotency_key_invalid",
                 retry=False)


def test_a_chat_has_128_choices(service, provider):
    model = provider.script(unique("choices"), {"words": 1})
    assert len(service.post(CHAT, question(CHAT, model, n=128)).json["choices"]) == 128
    assert_error(service.post(CHAT, question(CHAT, model, n=129)), CHAT, 400, "invalid_request", retry=False)
    assert provider.hits(model) == 1


def test_an_answer_has_answer_bytes_max(launch, service, provider):
    body = question(CHAT, unique("large"))
    whole = service.post(CHAT, body).body
    for spare, status in ((0, 200), (-1, 502)):
        limited = launch({"limits": {"answer_bytes_max": len(whole) + spare}})
        reply = limited.post(CHAT, body)
        assert reply.status == status, reply
        if status == 200:
            assert reply.body == whole
        else:
            assert_error(reply, CHAT, 502, "answer_too_large", retry=False)


def test_a_request_may_ask_for_deadline_max_s_and_gets_no_more(launch, provider):
    service = launch({"limits": {"deadline_s": 2, "deadline_max_s": 2}, "routes": {SIMPLE: {"deadline_s": 2}}})
    for seconds in (2, 3, 86400):
        model, hold = unique("deadline"), unique("hold")
        provider.script(model, {"hold": hold})
        reply = service.post(CHAT, question(CHAT, model), unique("key"), {"Unstream-Deadline": str(seconds)}, 30)
        assert_error(reply, CHAT, 504, "deadline_exceeded", retry=True)
        provider.release(hold)


def test_a_flight_that_speaks_ends_at_flight_max_s(launch, provider):
    service = launch({"limits": {"flight_max_s": 2}})
    model, hold, key = unique("ceiling"), unique("hold"), unique("key")
    provider.script(model, {"hold": hold, "hold_at": 3, "ping_every_s": 0.1})
    reply = service.post(CHAT, question(CHAT, model), key, {"Unstream-Deadline": "1"})
    assert_error(reply, CHAT, 504, "deadline_exceeded", retry=True)  # the flight goes on
    provider.wait_for(model, "aborted")
    again = service.post(CHAT, question(CHAT, model), key)
    assert_error(again, CHAT, 504, "deadline_exceeded", retry=False)
    assert again["idempotency-status"] == "replayed" and provider.hits(model) == 1, again


def test_a_flight_makes_attempts_max_calls_and_a_key_paid_calls_max(service, provider):
    model, key = unique("attempts"), unique("key")
    provider.script(model, {"status": 500, "body": {"error": {"message": "x"}}}, repeat=True)
    assert service.post(CHAT, question(CHAT, model), key).status == 502
    assert provider.hits(model) == 2
    reply = service.post(CHAT, question(CHAT, model), key)
    assert_error(reply, CHAT, 502, retry=False)
    assert provider.hits(model) == 2, "its paid calls are used up"


def test_a_flight_has_waiters_max_waiters(service, provider):
    model, hold, key = unique("waiters"), unique("hold"), unique("key")
    provider.script(model, {"hold": hold})
    body = question(CHAT, model)
    first = in_background(service.post, CHAT, body, key)
    provider.wait_for(model)
    second = in_background(service.post, CHAT, body, key)
    service.settle()
    assert_error(service.post(CHAT, body, key), CHAT, 409, "generation_in_progress", retry=True)
    provider.release(hold)
    assert first.result().body == second.result().body


@pytest.mark.parametrize("hop, status", [(1, 200), (100000, 200), (100001, 404), (0, 404)])
def test_a_hop_is_a_number_up_to_100000(launch, provider, hop, status):
    service = launch({"routes": {CHAT: {"edge": "redirect", "hold_s": 0.2}}})
    model, hold = unique("hops"), unique("hold")
    provider.script(model, {"hold": hold})
    moved = service.post(CHAT, question(CHAT, model), unique("key"))
    assert moved.status == 303, moved
    provider.release(hold)
    path = moved["location"].partition("?")[0]
    waiting = service.get(path, {"Prefer": "wait=30"})
    assert waiting.status == 200, waiting
    assert service.get(f"{path}?n={hop}").status == status
