"""Admission: slots, the queue and its turns, limits of clients, the brake, the fallback."""
import hashlib
import re
import time

import pytest

from meter import Meter, with_ops
from support import (CHAT, MESSAGES, ROUTES, SIMPLE, assert_answer, assert_error, free_port, held, in_background,
                     question, raw_post, sent_body, sent_headers, unique, wait_until)

TOO_MANY = {"error": {"message": "slow down", "type": "requests", "param": None,
                      "code": "rate_limit_exceeded"}}


def crowded(**limits):
    """One flight at a time."""
    return {"limits": {"flights_max": 1, "queue_max": 10, "queue_s": 60, **limits}}


def client(name, **limits):
    return {"name": name, "token_sha256": hashlib.sha256(name.encode()).hexdigest(), **limits}


def as_client(name):
    return {"Authorization": f"Bearer {name}"}


def with_clients(*clients, **overrides):
    """The upstreams have keys of their own; a client's token is its name."""
    keys = {name: {"api_key": "sk-operator"} for name in ("chat", "responses", "messages", "simple")}
    return {"clients": list(clients), "upstreams": keys, **overrides}


def occupy(service, provider, route=CHAT, key=None, headers=None):
    """Takes a slot: the future of its reply, its body, and what releases it."""
    model, hold = held(provider)
    body = question(route, model)
    reply = in_background(service.post, route, body, key, headers)
    provider.wait_for(model)
    return reply, body, hold


def queue_ms(reply):
    return float(re.search(r"queue;dur=(\d+)", reply["server-timing"])[1])


# ---- the queue

def test_overload_is_told_at_once_while_replays_and_joins_go_on(launch, provider):
    overrides, port = with_ops(crowded(queue_max=1))
    service, metrics = launch(overrides), Meter(port)
    stored_body, stored_key = question(CHAT, unique("stored")), unique("key")
    stored = service.post(CHAT, stored_body, stored_key)
    running_key, queued_key = unique("key"), unique("key")
    running, running_body, hold = occupy(service, provider, key=running_key)
    queued_body = question(CHAT, unique("queued"))
    queued = in_background(service.post, CHAT, queued_body, queued_key)
    metrics.wait_for("unstream_flights_queued", 1)

    for route in ROUTES:
        assert_error(service.post(route, question(route, unique("refused"))), route, 503, "overloaded",
                     retry=True)
    assert_answer(service.post(CHAT, stored_body, stored_key), stored.body, key_status="replayed")
    joined = in_background(service.post, CHAT, running_body, running_key)
    queued_too = in_background(service.post, CHAT, queued_body, queued_key)
    metrics.wait_for("unstream_waiters", 4)
    assert metrics['unstream_admission_refused_total{reason="queue_full"}'] == 4
    assert provider.hits(queued_body["model"]) == 0

    provider.release(hold)
    assert_answer(running.result(), key_status="executed")
    assert_answer(joined.result(), running.result().body, key_status="joined")
    assert_answer(queued.result(), key_status="executed")
    assert_answer(queued_too.result(), queued.result().body, key_status="joined")
    assert provider.hits(queued_body["model"]) == provider.hits(running_body["model"]) == 1


def test_the_time_in_the_queue_is_told(launch, provider):
    overrides, port = with_ops(crowded())
    service, metrics = launch(overrides), Meter(port)
    running, _, hold = occupy(service, provider)
    queued = in_background(service.post, CHAT, question(CHAT, unique("queued")))
    metrics.wait_for("unstream_flights_queued", 1)
    time.sleep(0.3)
    provider.release(hold)
    assert_answer(queued.result())
    assert queue_ms(running.result()) == 0
    assert queue_ms(queued.result()) >= 300


def test_who_waited_queue_s_is_told_to_come_again(launch, provider):
    service = launch(crowded(queue_s=0.3))
    running, _, hold = occupy(service, provider)
    for route in ROUTES:
        model = unique("late")
        assert_error(service.post(route, question(route, model)), route, 503, "overloaded", retry=True)
        assert provider.hits(model) == 0
    provider.release(hold)
    assert_answer(running.result())


def test_without_a_queue_nobody_waits(launch, provider):
    service = launch(crowded(queue_max=0))
    running, _, hold = occupy(service, provider)
    assert_error(service.post(CHAT, question(CHAT, unique("x"))), CHAT, 503, "overloaded", retry=True)
    provider.release(hold)
    assert_answer(running.result())


def test_clients_take_turns(launch, provider):
    overrides, port = with_ops(with_clients(client("a"), client("b"), **crowded()))
    service, metrics = launch(overrides), Meter(port)
    first, _, hold = occupy(service, provider, headers=as_client("a"))
    waiting = {}
    for position, (name, who) in enumerate([("a2", "a"), ("a3", "a"), ("a4", "a"), ("b1", "b"), ("b2", "b")]):
        model, its_hold = held(provider, name)
        reply = in_background(service.post, CHAT, question(CHAT, model), None, as_client(who))
        waiting[name] = model, its_hold, reply
        metrics.wait_for("unstream_flights_queued", position + 1)
    replies, order = [first], []
    while waiting:
        provider.release(hold)
        name = wait_until(lambda: next((n for n, w in waiting.items() if provider.hits(w[0])), None),
                          "the next call")
        _, hold, reply = waiting.pop(name)
        replies.append(reply)
        order.append(name)
    provider.release(hold)
    assert order == ["a2", "b1", "a3", "b2", "a4"]
    for reply in replies:
        assert_answer(reply.result())


def test_a_full_upstream_holds_up_no_other(launch, provider):
    service = launch({"upstreams": {"chat": {"flights_max": 1}}, "limits": {"queue_s": 60}})
    running, _, hold = occupy(service, provider)
    model = unique("queued")
    queued = in_background(service.post, CHAT, question(CHAT, model))
    service.settle()
    assert_answer(service.post(MESSAGES, question(MESSAGES, unique("free"))))
    assert provider.hits(model) == 0
    provider.release(hold)
    assert_answer(running.result())
    assert_answer(queued.result())


def test_a_keyless_request_whose_client_leaves_gives_up_its_place(launch, provider):
    overrides, port = with_ops(crowded(queue_max=1))
    service, metrics = launch(overrides), Meter(port)
    running, _, hold = occupy(service, provider)
    for headers in ([], ["x-stainless-retry-count: 0"]):
        model = unique("gone")
        with service.connect() as connection:
            connection.send(raw_post(CHAT, question(CHAT, model), "1.1", *headers))
            metrics.wait_for("unstream_flights_queued", 1)
        metrics.wait_for("unstream_flights_queued", 0)
        assert provider.hits(model) == 0
    provider.release(hold)
    assert_answer(running.result())


def test_a_keyed_request_keeps_its_place_when_its_client_leaves(launch, provider):
    overrides, port = with_ops(crowded())
    service, metrics = launch(overrides), Meter(port)
    running, _, hold = occupy(service, provider)
    body, key = question(CHAT, unique("kept")), unique("key")
    with service.connect() as connection:
        connection.send(raw_post(CHAT, body, "1.1", f"Idempotency-Key: {key}"))
        metrics.wait_for("unstream_flights_queued", 1)
    metrics.wait_for("unstream_client_disconnects_total", 1)
    assert metrics["unstream_flights_queued"] == 1
    provider.release(hold)
    assert_answer(running.result())
    wait_until(lambda: provider.hits(body["model"]), "its call")
    assert service.post(CHAT, body, key)["idempotency-status"] in ("joined", "replayed")
    assert provider.hits(body["model"]) == 1


def test_time_in_the_queue_counts_against_the_deadline(launch, provider):
    service = launch(crowded())
    running, _, hold = occupy(service, provider)
    model, key = unique("late"), unique("key")
    reply = service.post(CHAT, question(CHAT, model), key, {"Unstream-Deadline": "1"})
    assert_error(reply, CHAT, 504, "deadline_exceeded", retry=None)
    provider.release(hold)
    assert_answer(running.result())
    assert provider.hits(model) == 0
    assert_answer(service.post(CHAT, question(CHAT, model), key), key_status="executed")


def test_a_drain_empties_the_queue(launch, provider):
    overrides, port = with_ops(crowded())
    service, metrics = launch(overrides), Meter(port)
    running, _, hold = occupy(service, provider)
    queued = [in_background(service.post, CHAT, question(CHAT, unique("queued")), key)
              for key in (None, unique("key"))]
    metrics.wait_for("unstream_flights_queued", 2)
    service.terminate()
    for reply in queued:
        assert_error(reply.result(), CHAT, 503, "draining", retry=True)
    provider.release(hold)
    assert_answer(running.result())
    service.assert_clean_end()


def test_a_redirect_is_no_longer_in_the_queue_than_its_hold(launch, provider):
    service = launch({**crowded(), "routes": {CHAT: {"edge": "redirect", "hold_s": 0.5}}})
    running, _, hold = occupy(service, provider, route=MESSAGES)
    body, key = question(CHAT, unique("held")), unique("key")
    assert_error(service.post(CHAT, body, key), CHAT, 503, "overloaded", retry=True)
    provider.release(hold)
    assert_answer(running.result())
    wait_until(lambda: provider.hits(body["model"]), "its call: it kept its place")
    assert service.post(CHAT, body, key).status == 200
    assert provider.hits(body["model"]) == 1


# ---- limits of clients

def test_a_client_that_is_full_holds_up_no_other(launch, provider):
    service = launch(with_clients(client("a", flights_max=1), client("b")))
    running, _, hold = occupy(service, provider, headers=as_client("a"))
    model = unique("queued")
    queued = in_background(service.post, MESSAGES, question(MESSAGES, model), None, as_client("a"))
    service.settle()
    assert_answer(service.post(CHAT, question(CHAT, unique("free")), headers=as_client("b")))
    assert provider.hits(model) == 0
    provider.release(hold)
    assert_answer(running.result())
    assert_answer(queued.result())


def test_requests_per_minute_are_counted_for_each_client(launch, provider):
    service = launch(with_clients(client("a", requests_per_minute=2), client("b", requests_per_minute=1)))
    body, key = question(CHAT, unique("first")), unique("key")
    first = service.post(CHAT, body, key, as_client("a"))
    assert_answer(first, key_status="executed")
    assert_answer(service.post(MESSAGES, question(MESSAGES, unique("second")), headers=as_client("a")))
    for route in ROUTES:
        model = unique("third")
        reply = service.post(route, question(route, model), headers=as_client("a"))
        assert_error(reply, route, 429, "rate_limited", retry=True)
        assert provider.hits(model) == 0
    assert_answer(service.post(CHAT, body, key, as_client("a")), first.body, key_status="replayed")
    assert_answer(service.post(SIMPLE, question(SIMPLE, unique("other")), headers=as_client("b")))


# ---- the brake

def test_a_retry_after_makes_the_next_calls_wait(launch, provider):
    service = launch({"upstreams": {"chat": {"attempts_max": 1}}})
    slow = provider.script(unique("slow"), {"status": 429, "headers": {"Retry-After": "1"}, "body": TOO_MANY})
    refused = service.post(CHAT, question(CHAT, slow))
    assert refused.status == 429 and refused["retry-after"] == "1"
    following = unique("next")
    assert_answer(service.post(CHAT, question(CHAT, following)))
    [first], [second] = provider.requests(slow), provider.requests(following)
    assert second["at_s"] - first["at_s"] >= 1
    assert_answer(service.post(MESSAGES, question(MESSAGES, unique("other"))))


def test_a_pause_longer_than_the_queue_is_overload_at_once(launch, provider):
    overrides, port = with_ops({"upstreams": {"chat": {"attempts_max": 1}}, "limits": {"queue_s": 5}})
    service, metrics = launch(overrides), Meter(port)
    slow = provider.script(unique("slow"), {"status": 529, "headers": {"Retry-After": "30"}, "body": TOO_MANY})
    assert service.post(CHAT, question(CHAT, slow)).status == 503
    model = unique("refused")
    reply = service.post(CHAT, question(CHAT, model))
    assert_error(reply, CHAT, 503, "overloaded", retry=True)
    assert reply["retry-after"] == "8"
    assert provider.hits(model) == 0
    assert metrics['unstream_admission_refused_total{reason="paused"}'] == 1


def test_a_credential_that_is_passed_on_brakes_for_itself_alone(launch, provider):
    service = launch({"upstreams": {"chat": {"attempts_max": 1}}, "limits": {"queue_s": 5}})
    slow = provider.script(unique("slow"), {"status": 429, "headers": {"Retry-After": "30"}, "body": TOO_MANY})
    assert service.post(CHAT, question(CHAT, slow), headers=as_client("sk-one")).status == 429
    other = service.post(CHAT, question(CHAT, unique("other")), headers=as_client("sk-two"))
    assert_answer(other)
    same = service.post(CHAT, question(CHAT, unique("same")), headers=as_client("sk-one"))
    assert_error(same, CHAT, 503, "overloaded", retry=True)


# ---- the fallback

def fallback_config(provider, **primary):
    """What /v1/chat/completions cannot get from `chat` it gets from `spare`."""
    spare = {"base_url": provider.url + "/v1", "provider": "openai", "api_key": "sk-spare",
             "retry_budget_ratio": 1, "backoff_base_s": 0.05}
    return {"upstreams": {"chat": primary, "spare": spare},
            "routes": {CHAT: {"upstream": "chat", "fallback": "spare"}}}


@pytest.mark.parametrize("failure", [
    {"status": 500, "body": {"error": {}}}, {"status": 503, "body": {"error": {}}},
    {"status": 529, "body": {"error": {}}},
    {"status": 429, "headers": {"Retry-After": "60"}, "body": TOO_MANY}])
def test_what_the_upstream_fails_to_do_the_fallback_does(launch, provider, failure):
    service = launch(fallback_config(provider))
    model, key = provider.script(unique("fails"), failure), unique("key")
    body = question(CHAT, model)
    reply = service.post(CHAT, body, key, as_client("sk-mine"))
    assert_answer(reply, provider.answer(CHAT, body).body, key_status="executed")
    first, second = provider.requests(model)[:2]
    assert sent_headers(first, "authorization") == ["Bearer sk-mine"]
    assert sent_headers(second, "authorization") == ["Bearer sk-spare"]
    assert sent_body(first) == sent_body(second)
    assert 'attempts;desc="2"' in reply["server-timing"]


def test_a_stream_that_was_cut_is_asked_for_again_where_it_came_from(launch, provider):
    service = launch(fallback_config(provider, api_key="sk-first"))
    model = provider.script(unique("cut"), {"cut_at": 700})
    assert_answer(service.post(CHAT, question(CHAT, model)))
    assert [sent_headers(call, "authorization") for call in provider.requests(model)] == [["Bearer sk-first"]] * 2


def test_an_unreachable_upstream_is_avoided_by_the_next_flights(launch, provider):
    overrides, port = with_ops(fallback_config(provider, base_url=f"http://127.0.0.1:{free_port()}/v1"))
    service, metrics = launch(overrides), Meter(port)
    first = service.post(CHAT, question(CHAT, unique("first")))
    assert_answer(first)
    assert 'attempts;desc="2"' in first["server-timing"]
    second = service.post(CHAT, question(CHAT, unique("second")))
    assert_answer(second)
    assert 'attempts;desc="1"' in second["server-timing"]
    assert metrics["unstream_fallbacks_total"] == 2


def test_new_flights_go_round_a_paused_upstream(launch, provider):
    service = launch(fallback_config(provider, attempts_max=1))
    slow = provider.script(unique("slow"), {"status": 429, "headers": {"Retry-After": "30"}, "body": TOO_MANY})
    assert service.post(CHAT, question(CHAT, slow)).status == 429
    model = unique("next")
    assert_answer(service.post(CHAT, question(CHAT, model)))
    assert sent_headers(provider.requests(model)[0], "authorization") == ["Bearer sk-spare"]


def test_each_call_at_the_fallback_is_counted(launch, provider):
    service = launch({**fallback_config(provider), "idempotency": {"paid_calls_max": 2}})
    model = provider.script(unique("fails"), {"status": 500, "body": {}}, {"status": 500, "body": {}}, repeat=True)
    body, key = question(CHAT, model), unique("key")
    reply = service.post(CHAT, body, key)
    assert_error(reply, CHAT, 502, "paid_calls_exhausted", retry=False)
    assert provider.hits(model) == 2


def test_a_refusal_of_the_request_is_the_answer(launch, provider):
    service = launch(fallback_config(provider))
    model = provider.script(unique("bad"), {"status": 400, "body": {"error": {"message": "no"}}})
    assert service.post(CHAT, question(CHAT, model)).status == 400
    assert provider.hits(model) == 1
