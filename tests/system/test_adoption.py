"""Retries without a key: whose generation goes on for whom, and whose is cancelled."""
import json
import time

import pytest

from meter import Meter, with_ops
from support import (CHAT, MESSAGES, PROVIDER_ROUTES, RESPONSES, SDK_OF, SIMPLE, UPSTREAMS, assert_answer,
                     assert_error, held, in_background, leave, question, raw_post, unique, wait_until)

FIRST, AGAIN, THIRD = ({"x-stainless-retry-count": str(count)} for count in range(3))
CONFIG = {"upstreams": {name: {"attempts_max": 1} for name in UPSTREAMS}}
NO_END_OF_GRACE = {"idempotency": {"orphan_grace_s": 3600}}  # so that nothing else cancels


def lines(headers):
    return [f"{name}: {value}" for name, value in headers.items()]


def abandon(service, provider, route, body, headers):
    leave(service, provider, route, body, *lines(headers))
    service.settle()


# ---- official SDKs, unmodified, without keys

def impatient(body, headers=None):
    return {"body": body, "headers": headers or {}, "client": {"timeout": 1500, "maxRetries": 9}}


@pytest.mark.parametrize("route", SDK_OF)
def test_twelve_sdk_clients_that_time_out_twice_pay_once_each(service, provider, sdk, route):
    models = [provider.script(unique("impatient"), {"pause_s": 5}) for _ in range(12)]
    bodies = [question(route, model) for model in models]
    results = sdk(service, route, [impatient(body) for body in bodies], parallel=12)
    assert [provider.hits(model) for model in models] == [1] * 12
    for body, result in zip(bodies, results):
        assert result["headers"]["idempotency-status"] == "adopted", result
        assert result["ok"]["id"] == provider.answer(route, body).json["id"]


@pytest.mark.parametrize("route", [CHAT, MESSAGES])
def test_twelve_identical_sdk_calls_that_time_out_pay_once_each(service, provider, sdk, route):
    model = unique("samples")
    provider.script(model, *[{"pause_s": 5}] * 12)
    results = sdk(service, route, [impatient(question(route, model))] * 12, parallel=12)
    assert [result["headers"]["idempotency-status"] for result in results] == ["adopted"] * 12
    assert len({result["headers"]["unstream-request-id"] for result in results}) == 12
    assert provider.hits(model) == 12


@pytest.mark.parametrize("route", SDK_OF)
def test_two_parallel_identical_sdk_calls_are_two_calls(service, provider, sdk, route):
    model = provider.script(unique("sampling"), {"pause_s": 1}, repeat=True)
    results = sdk(service, route, [{"body": question(route, model)}] * 2)
    assert all("idempotency-status" not in result["headers"] for result in results)
    assert provider.hits(model) == 2


# ---- orphans

@pytest.mark.parametrize("route", PROVIDER_ROUTES)
def test_a_retry_collects_the_running_generation(service, provider, route):
    model, hold = held(provider)
    body = question(route, model)
    abandon(service, provider, route, body, FIRST)
    retry = in_background(service.post, route, body, headers=AGAIN)
    service.settle()
    provider.release(hold)
    assert_answer(retry.result(), key_status="adopted")
    assert provider.hits(model) == 1
    assert_answer(retry.result(), provider.answer(route, body).body, key_status="adopted")


def test_a_retry_collects_a_generation_that_has_ended(service, provider):
    model, hold = held(provider)
    body = question(RESPONSES, model)
    abandon(service, provider, RESPONSES, body, FIRST)
    provider.release(hold)
    provider.wait_for(model, "done")
    service.settle()
    reply = service.post(RESPONSES, body, headers=AGAIN)
    assert provider.hits(model) == 1
    assert_answer(reply, provider.answer(RESPONSES, body).body, key_status="adopted")


def test_what_was_collected_is_not_collected_again(service, provider):
    model, hold = held(provider)
    body = question(CHAT, model)
    abandon(service, provider, CHAT, body, FIRST)
    provider.release(hold)
    assert_answer(service.post(CHAT, body, headers=AGAIN), key_status="adopted")
    assert_answer(service.post(CHAT, body, headers=AGAIN))
    assert provider.hits(model) == 2


def test_a_retry_that_leaves_makes_an_orphan_again(service, provider):
    model, hold = held(provider)
    body = question(CHAT, model)
    abandon(service, provider, CHAT, body, FIRST)
    abandon(service, provider, CHAT, body, AGAIN)
    retry = in_background(service.post, CHAT, body, headers=THIRD)
    service.settle()
    provider.release(hold)
    assert_answer(retry.result(), key_status="adopted")
    assert provider.hits(model) == 1


def test_an_answer_that_could_not_be_delivered_is_collected(service, provider):
    model, size = unique("undelivered"), 16 << 20
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [
        {"index": 0, "delta": {"role": "assistant", "content": "x" * size}, "finish_reason": "stop"}]}
    provider.script(model, {"raw": f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"})
    body = question(CHAT, model)
    with service.connect() as connection:
        connection.send(raw_post(CHAT, body, "1.1", *lines(FIRST)))
        connection.take(1000)  # the answer has begun, and is more than the sockets hold
    wait_until(lambda: '"delivered":false' in log_of(service, model), "the end of the request")
    reply = service.post(CHAT, body, headers=AGAIN)
    assert_answer(reply, key_status="adopted")
    assert len(reply.json["choices"][0]["message"]["content"]) == size
    assert provider.hits(model) == 1


def log_of(service, model):
    return "".join(line for line in service.log.read_text().splitlines(True) if model in line)


def test_a_client_that_closed_its_side_gets_its_answer_but_that_proves_nothing(service, provider):
    model, hold = held(provider, "half-closed")
    body = question(CHAT, model)
    with service.connect() as connection:
        connection.send(raw_post(CHAT, body, "1.1", *lines(FIRST)))
        provider.wait_for(model)
        connection.socket.shutdown(1)
        service.settle()
        provider.release(hold)
        assert_answer(connection.reply())
    assert_answer(service.post(CHAT, body, headers=AGAIN), key_status="adopted")
    assert provider.hits(model) == 1


def test_a_failure_that_cost_nothing_is_not_collected(service, provider):
    model, hold = held(provider, hold_at="head", status=500, body={"error": {"message": "x"}})
    body = question(CHAT, model)
    abandon(service, provider, CHAT, body, FIRST)
    provider.release(hold)
    provider.wait_for(model, "done")
    service.settle()
    assert_answer(service.post(CHAT, body, headers=AGAIN))
    assert provider.hits(model) == 2


def test_a_deadline_leaves_the_generation_to_the_retry(service, provider):
    model, hold = held(provider)
    body = question(MESSAGES, model)
    reply = service.post(MESSAGES, body, headers={**FIRST, "Unstream-Deadline": "1"})
    assert_error(reply, MESSAGES, 504, retry=True)
    retry = in_background(service.post, MESSAGES, body, headers=AGAIN)
    service.settle()
    provider.release(hold)
    assert_answer(retry.result(), key_status="adopted")
    assert provider.hits(model) == 1


# ---- who takes no orphan

@pytest.mark.parametrize("first, second", [
    ({}, {}), ({"Authorization": "Bearer one"}, {"Authorization": "Bearer two"})])
def test_a_first_try_and_another_credential_take_no_orphan(service, provider, first, second):
    model, hold = held(provider)
    body = question(CHAT, model)
    abandon(service, provider, CHAT, body, {**FIRST, **first})
    assert_answer(service.post(CHAT, body, headers={**(AGAIN if second else FIRST), **second}))
    assert provider.hits(model) == 2
    provider.release(hold)


def test_another_request_takes_no_orphan(service, provider):
    model, hold = held(provider)
    abandon(service, provider, CHAT, question(CHAT, model), FIRST)
    assert_answer(service.post(CHAT, question(CHAT, model, "other"), headers=AGAIN))
    provider.release(hold)


def test_a_keyed_retry_takes_no_orphan(service, provider):
    model, hold = held(provider)
    body = question(CHAT, model)
    abandon(service, provider, CHAT, body, FIRST)
    assert_answer(service.post(CHAT, body, unique("key"), headers=AGAIN), key_status="executed")
    provider.release(hold)


@pytest.mark.parametrize("route", PROVIDER_ROUTES)
def test_what_no_retry_could_collect_is_cancelled_without_grace(launch, provider, route):
    service = launch(NO_END_OF_GRACE)
    model, _ = held(provider, "cancelled")
    leave(service, provider, route, question(route, model))
    provider.wait_for(model, "aborted")


@pytest.mark.parametrize("route", [{"adopt": "off"}, {"on_disconnect": "cancel"}])
def test_where_adoption_is_off_the_generation_is_cancelled(launch, provider, route):
    model, _ = held(provider, "cancelled")
    service = launch({**NO_END_OF_GRACE, "routes": {CHAT: route}})
    leave(service, provider, CHAT, question(CHAT, model), *lines(FIRST))
    provider.wait_for(model, "aborted")
    assert_answer(service.post(CHAT, question(CHAT, model), headers=AGAIN))


def test_strangers_on_an_open_listener_collect_nothing(launch, provider):
    model, _ = held(provider, "strangers")
    operators = {"open": True, "upstreams": {name: {"api_key": "sk-operator"} for name in UPSTREAMS}}
    service = launch({**NO_END_OF_GRACE, **operators})
    leave(service, provider, CHAT, question(CHAT, model), *lines(FIRST))
    provider.wait_for(model, "aborted")
    assert_answer(service.post(CHAT, question(CHAT, model), headers=AGAIN))
    assert provider.hits(model) == 2


def test_the_simple_route_needs_no_header(service, provider):
    model, hold = held(provider)
    body = question(SIMPLE, model)
    abandon(service, provider, SIMPLE, body, {})
    retry = in_background(service.post, SIMPLE, body)
    service.settle()
    provider.release(hold)
    assert_answer(retry.result(), key_status="adopted")
    assert provider.hits(model) == 1


# ---- how long orphans are kept

def test_a_running_orphan_is_cancelled_after_its_grace(launch, provider):
    service = launch({"idempotency": {"orphan_grace_s": 1.5}})
    model, _ = held(provider)
    began = time.monotonic()
    leave(service, provider, CHAT, question(CHAT, model), *lines(FIRST))
    provider.wait_for(model, "aborted")
    assert time.monotonic() - began >= 1.5


def test_an_adopted_orphan_outlives_its_grace(launch, provider):
    service = launch({"idempotency": {"orphan_grace_s": 3}})
    model, hold = held(provider)
    body = question(CHAT, model)
    abandon(service, provider, CHAT, body, FIRST)
    retry = in_background(service.post, CHAT, body, headers=AGAIN)
    time.sleep(3.5)
    provider.release(hold)
    assert_answer(retry.result(), key_status="adopted")


def test_a_finished_orphan_is_forgotten_after_its_window(launch, provider):
    overrides, port = with_ops({"idempotency": {"adopt_window_s": 0.5}})
    service, meter = launch(overrides), Meter(port)
    model, hold = held(provider)
    body = question(CHAT, model)
    abandon(service, provider, CHAT, body, FIRST)
    meter.wait_for("unstream_orphans", 1)
    provider.release(hold)
    meter.wait_for("unstream_orphans", 0)
    assert_answer(service.post(CHAT, body, headers=AGAIN))
    assert provider.hits(model) == 2


def test_on_disconnect_continue_needs_no_retry_and_no_grace(launch, provider):
    service = launch({"idempotency": {"orphan_grace_s": 0}, "routes": {CHAT: {"on_disconnect": "continue"}}})
    (plain, plain_hold), (counted, hold) = held(provider, "goes-on"), held(provider, "goes-on")
    leave(service, provider, CHAT, question(CHAT, plain))
    abandon(service, provider, CHAT, question(CHAT, counted), FIRST)
    provider.release(plain_hold)
    provider.release(hold)
    provider.wait_for(plain, "done")
    reply = service.post(CHAT, question(CHAT, counted), headers=AGAIN)
    assert_answer(reply, key_status="adopted")
    assert provider.hits(counted) == 1


# ---- twins: the old connection may be half-open

def test_a_retry_joins_the_one_call_that_it_may_repeat(service, provider):
    model, hold = held(provider, "twin")
    body = question(CHAT, model)
    first = in_background(service.post, CHAT, body, headers=FIRST)
    provider.wait_for(model)
    retry = in_background(service.post, CHAT, body, headers=AGAIN)
    service.settle()
    provider.release(hold)
    assert_answer(first.result())
    assert_answer(retry.result(), first.result().body, key_status="adopted")
    assert provider.hits(model) == 1


def test_a_retry_that_may_repeat_either_of_two_repeats_none(service, provider):
    model, hold = unique("twins"), unique("hold")
    provider.script(model, {"hold": hold}, {"hold": hold})
    body = question(CHAT, model)
    waiting = [in_background(service.post, CHAT, body, headers=FIRST) for _ in range(2)]
    provider.wait_for(model, count=2)
    assert_answer(service.post(CHAT, body, headers=AGAIN))
    assert provider.hits(model) == 3
    provider.release(hold)
    for waiter in waiting:
        assert_answer(waiter.result())


def test_a_retry_of_what_was_refused_joins_nothing(service, provider):
    model, hold = unique("refused"), unique("hold")
    error = {"status": 429, "body": {"error": {"message": "slow down", "type": "rate_limit"}}}
    provider.script(model, {"hold": hold}, error)
    body = question(CHAT, model)
    other = in_background(service.post, CHAT, body, headers=FIRST)
    provider.wait_for(model)
    assert service.post(CHAT, body, headers=FIRST).status == 429
    assert_answer(service.post(CHAT, body, headers=AGAIN))
    assert provider.hits(model) == 3
    provider.release(hold)
    assert_answer(other.result())


# ---- keyed waiters, coming and leaving

def test_fifty_posts_of_one_key_are_one_call(service, provider):
    model, hold = held(provider, "fifty")
    body, key = question(MESSAGES, model), unique("key")
    waiting = [in_background(service.post, MESSAGES, body, key) for _ in range(50)]
    provider.wait_for(model)
    service.settle()
    provider.release(hold)
    replies = [waiter.result() for waiter in waiting]
    assert len({reply.body for reply in replies}) == 1
    statuses = [reply["idempotency-status"] for reply in replies]
    assert statuses.count("executed") == 1
    assert set(statuses) <= {"executed", "joined", "replayed"}
    assert provider.hits(model) == 1


def test_a_client_that_leaves_gives_its_place_to_another(launch, provider):
    service = launch({"idempotency": {"waiters_max": 2}})
    model, hold = held(provider, "places")
    body, key = question(CHAT, model), unique("key")
    first = in_background(service.post, CHAT, body, key)
    provider.wait_for(model)
    with service.connect() as connection:
        connection.send(raw_post(CHAT, body, "1.1", f"Idempotency-Key: {key}"))
        service.settle()
        refused = service.post(CHAT, body, key)
        assert_error(refused, CHAT, 409, "generation_in_progress", retry=True)
    service.settle()
    third = in_background(service.post, CHAT, body, key)
    service.settle()
    provider.release(hold)
    assert_answer(first.result(), key_status="executed")
    assert_answer(third.result(), first.result().body, key_status="joined")
    assert provider.hits(model) == 1
