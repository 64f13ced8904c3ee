"""Answers in memory: when the store is in trouble, when they must not be at rest, and how much there is."""
import contextlib
import hashlib
import json
import re
import sqlite3

import pytest

from support import (CHAT, MESSAGES, UPSTREAMS, Stalled, assert_answer, assert_error, assert_whole, free_port,
                     in_background, leave, question, raw_post, request, sent_body, unique, wait_until)

MIB = 1 << 20
ALICE = {"Authorization": "Bearer alice"}
ONE_ATTEMPT = {"upstreams": {name: {"attempts_max": 1} for name in UPSTREAMS}}


class Observed:
    """A service with its metrics."""

    def __init__(self, launch, overrides=None, directory=None):
        self.ops_port = free_port()
        ops = {"ops_listen": f"127.0.0.1:{self.ops_port}"}
        self.service = launch({**ONE_ATTEMPT, **ops, **(overrides or {})}, directory)

    def metric(self, name):
        text = request(self.ops_port, "GET", "/metrics").body.decode()
        return int(re.search(rf"^unstream_{name} (\d+)$", text, re.MULTILINE)[1])


@contextlib.contextmanager
def store_locked(service):
    """Nothing can be written to the store meanwhile; each try takes it some seconds to notice."""
    lock = sqlite3.connect(service.directory / "unstream.db", isolation_level=None, timeout=30)
    lock.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        lock.execute("ROLLBACK")
        lock.close()


def result_of(service, reply):
    return service.get(f"/requests/{reply['unstream-request-id']}", ALICE)


def held(provider, word, **step):
    model, hold = unique(word), unique("hold")
    provider.script(model, {"hold": hold, **step})
    return model, hold


# ---- store trouble

def assert_told_from_memory(reply, first):
    """The same answer once more, and nobody is told that it is durable."""
    assert_whole(reply)
    assert reply["idempotency-status"] == "executed-unstored"
    assert reply["idempotent-replayed"] is None
    assert reply.body == first.body


def test_an_answer_the_store_does_not_take_is_told_kept_and_stored_later(launch, provider, tmp_path):
    observed = Observed(launch, directory=tmp_path / "state")
    service = observed.service
    model, hold = held(provider, "unstored")
    body, key = question(CHAT, model), unique("key")
    first = in_background(service.post, CHAT, body, key)
    provider.wait_for(model)
    with store_locked(service):
        provider.release(hold)
        assert_answer(first.result(), key_status="executed-unstored")
        assert_told_from_memory(service.post(CHAT, body, key), first.result())
        refused = service.post(CHAT, question(CHAT, model, "other"), key)
        assert_error(refused, CHAT, 422, "idempotency_key_reused", retry=False)
        assert observed.metric("answers_unstored") == 1
    wait_until(lambda: observed.metric("answers_unstored") == 0, "the store to get it", 30)
    assert observed.metric("answers_in_memory") == 0
    assert_answer(service.post(CHAT, body, key), first.result().body, key_status="replayed")
    assert provider.hits(model) == 1
    service.stop()
    again = launch(ONE_ATTEMPT, tmp_path / "state").post(CHAT, body, key)
    assert_answer(again, first.result().body, key_status="replayed")
    assert again.body == first.result().body


def test_a_key_that_cannot_be_claimed_is_refused_and_costs_nothing(launch, provider):
    service = launch(ONE_ATTEMPT)
    body, key = question(CHAT, unique("refused")), unique("key")
    with store_locked(service):
        assert_error(service.post(CHAT, body, key), CHAT, 503, "store_unavailable", retry=True)
        assert provider.hits(body["model"]) == 0
    assert_answer(service.post(CHAT, body, key), key_status="executed")


def test_where_the_store_is_optional_a_key_runs_once_in_memory(launch, provider):
    service = launch({**ONE_ATTEMPT, "idempotency": {"on_store_error": "memory"}})
    model, hold = held(provider, "optional")
    body, key = question(CHAT, model), unique("key")
    with store_locked(service):
        waiting = [in_background(service.post, CHAT, body, key) for _ in range(3)]
        provider.wait_for(model)
        service.settle()
        provider.release(hold)
        replies = [waiter.result() for waiter in waiting]
        for reply in replies:
            assert_answer(reply, replies[0].body, key_status="executed-unstored")
        assert_told_from_memory(service.post(CHAT, body, key), replies[0])
    assert_told_from_memory(service.post(CHAT, body, key), replies[0])
    assert provider.hits(model) == 1


def test_a_key_whose_release_was_lost_is_released_by_its_next_request(launch, provider):
    service = launch(ONE_ATTEMPT)
    model, hold = held(provider, "stale", hold_at="head", status=500, body={"error": {"message": "x"}})
    body, key = question(CHAT, model), unique("key")
    first = in_background(service.post, CHAT, body, key)
    provider.wait_for(model)
    with store_locked(service):
        provider.release(hold)
        assert first.result().status == 502
    refused = service.post(CHAT, question(CHAT, model, "other"), key)
    assert_error(refused, CHAT, 422, "idempotency_key_reused", retry=False)
    assert_answer(service.post(CHAT, body, key), key_status="executed")
    assert provider.hits(model) == 2


# ---- no answer at rest

def at_rest(directory):
    """Everything on disk but our own configuration and log."""
    return b"".join(path.read_bytes() for path in directory.iterdir()
                    if path.name.startswith("unstream.db"))


NO_STORE = {"Cache-Control": "max-age=0, No-Store"}
TOKEN = "a token of a client"
PRIVATE = {
    "by the request": ({}, NO_STORE),
    "by the route": ({"routes": {MESSAGES: {"store": "memory"}}}, {}),
    "by the client": ({"clients": [{"name": "private", "store": "memory",
                                    "token_sha256": hashlib.sha256(TOKEN.encode()).hexdigest()}],
                       "upstreams": {name: {"api_key": "sk-operator"} for name in UPSTREAMS}},
                      {"Authorization": f"Bearer {TOKEN}"}),
}


@pytest.mark.parametrize("how", PRIVATE)
def test_an_answer_that_must_not_be_at_rest_replays_until_a_restart(launch, provider, tmp_path, how):
    overrides, headers = PRIVATE[how]
    secret, question_text = unique("the answer"), unique("the question")
    model = provider.script(unique("private"), {"text": secret}, repeat=True)
    body, key = question(MESSAGES, model, question_text), unique("key")
    service = launch(overrides, tmp_path / "state")
    first = service.post(MESSAGES, body, key, headers=headers)
    assert_answer(first, key_status="executed")
    assert secret in first.body.decode()
    again = service.post(MESSAGES, body, key, headers=headers)
    assert_answer(again, first.body, key_status="replayed")
    assert again.body == first.body
    assert again["unstream-request-id"] == first["unstream-request-id"]
    refused = service.post(MESSAGES, question(MESSAGES, model, "other"), key, headers=headers)
    assert_error(refused, MESSAGES, 422, "idempotency_key_reused", retry=False)
    assert provider.hits(model) == 1
    assert secret.encode() not in at_rest(service.directory)
    service.stop()
    data = at_rest(service.directory)
    assert secret.encode() not in data and question_text.encode() not in data
    after = launch(overrides, tmp_path / "state")
    provider.script(model, {"text": secret}, repeat=True)
    assert_answer(after.post(MESSAGES, body, key, headers=headers), key_status="executed")
    assert provider.hits(model) == 1
    assert_error(after.post(MESSAGES, question(MESSAGES, model, "other"), key, headers=headers),
                 MESSAGES, 422, "idempotency_key_reused", retry=False)


def test_without_that_the_answer_is_at_rest(launch, provider):
    secret = unique("the answer")
    model = provider.script(unique("public"), {"text": secret})
    service = launch()
    assert_answer(service.post(MESSAGES, question(MESSAGES, model), unique("key")), key_status="executed")
    assert secret.encode() in at_rest(service.directory)


def test_an_error_that_quotes_the_request_is_not_at_rest_either(launch, provider):
    secret = unique("quoted")
    error = {"status": 400, "body": {"error": {"message": f"what is {secret}", "type": "x"}}}
    model = provider.script(unique("private"), error)
    service = launch()
    reply = service.post(CHAT, question(CHAT, model), unique("key"), headers=NO_STORE)
    assert reply.status == 400 and secret in reply.body.decode()
    service.stop()
    assert secret.encode() not in at_rest(service.directory)


def test_a_waiter_that_forbids_it_keeps_the_shared_answer_from_rest(launch, provider):
    secret, hold = unique("shared"), unique("hold")
    model = provider.script(unique("private"), {"text": f"{secret} {secret}", "hold": hold})
    service = launch()
    body, key = question(CHAT, model), unique("key")
    first = in_background(service.post, CHAT, body, key)
    provider.wait_for(model)
    second = in_background(service.post, CHAT, body, key, headers=NO_STORE)
    service.settle()
    provider.release(hold)
    assert_answer(first.result(), key_status="executed")
    assert_answer(second.result(), first.result().body, key_status="joined")
    service.stop()
    assert secret.encode() not in at_rest(service.directory)


def test_forgotten_answers_run_again_as_often_as_a_key_may(launch, provider, tmp_path):
    model = unique("again")
    body, key = question(CHAT, model), unique("key")
    for run in range(3):
        service = launch({"idempotency": {"paid_calls_max": 2}}, tmp_path / "state")
        reply = service.post(CHAT, body, key, headers=NO_STORE)
        if run < 2:
            assert_answer(reply, key_status="executed")
        else:
            assert_error(reply, CHAT, 502, "paid_calls_exhausted", retry=False)
        service.stop()


# ---- how much there is

SMALL = {"limits": {"memory_bytes_max": MIB}}


def padded(model, size):
    """A body of exactly this many bytes."""
    empty = len(json.dumps(question(MESSAGES, model, "")))
    return json.dumps(question(MESSAGES, model, "x" * (size - empty))).encode()


def test_a_request_may_hold_just_as_much_as_there_is(launch, provider):
    observed = Observed(launch, SMALL)
    service = observed.service
    model = unique("exact")
    probe = padded(model, 1000)
    assert_answer(service.post(MESSAGES, probe))
    wait_until(lambda: observed.metric("memory_bytes") == 0, "the answer to be delivered")
    added = len(sent_body(provider.requests(model)[0])) - len(probe)
    assert_answer(service.post(MESSAGES, padded(model, MIB - added)))
    wait_until(lambda: observed.metric("memory_bytes") == 0, "the answer to be delivered")
    refused = service.post(MESSAGES, padded(model, MIB - added + 1))
    assert_error(refused, MESSAGES, 503, "overloaded", retry=True)
    assert provider.hits(model) == 2


def test_while_memory_is_full_only_new_work_is_refused(launch, provider):
    observed = Observed(launch, SMALL)
    service = observed.service
    model, hold = held(provider, "full")
    body, keys = padded(model, 700_000), [unique("key") for _ in range(2)]
    answered = question(MESSAGES, unique("answered"))
    assert_answer(service.post(MESSAGES, answered, keys[1]), key_status="executed")
    first = in_background(service.post, MESSAGES, body, keys[0])
    provider.wait_for(model)
    assert 700_000 <= observed.metric("memory_bytes") < 710_000
    for key in (None, unique("key")):
        refused = service.post(MESSAGES, body, key)
        assert_error(refused, MESSAGES, 503, "overloaded", retry=True)
    joined = in_background(service.post, MESSAGES, body, keys[0])
    assert_answer(service.post(MESSAGES, answered, keys[1]), key_status="replayed")
    service.settle()
    provider.release(hold)
    assert_answer(first.result(), key_status="executed")
    assert_answer(joined.result(), first.result().body, key_status="joined")
    assert_answer(service.post(MESSAGES, body))
    wait_until(lambda: observed.metric("memory_bytes") == 0, "the answers to be delivered")


def test_the_oldest_answers_are_dropped_from_memory(launch, provider):
    observed = Observed(launch, SMALL)
    service = observed.service
    asked = [(question(CHAT, provider.script(unique("large"), {"text": "x" * 400_000}, repeat=True)),
              unique("key")) for _ in range(3)]
    firsts = [service.post(CHAT, *each, headers=NO_STORE) for each in asked]
    assert observed.metric("answers_in_memory") == 2
    assert observed.metric("answers_dropped_total") == 1
    for (body, key), first in list(zip(asked, firsts))[1:]:
        reply = service.post(CHAT, body, key, headers=NO_STORE)
        assert_answer(reply, first.body, key_status="replayed")
    assert_answer(service.post(CHAT, *asked[0], headers=NO_STORE), key_status="executed")
    assert provider.hits(asked[0][0]["model"]) == 2


def test_finished_orphans_go_after_kept_answers_oldest_first(launch, provider):
    observed = Observed(launch, SMALL)
    service = observed.service
    text, again = {"text": "x" * 400_000}, {"x-stainless-retry-count": "1"}
    private = question(CHAT, provider.script(unique("private"), text)), unique("key")
    assert_answer(service.post(CHAT, *private, headers=NO_STORE), key_status="executed")
    bodies = []
    for count in range(1, 4):
        model, hold = held(provider, "orphan", hold_at=0, **text)
        bodies.append(question(CHAT, model))
        leave(service, provider, CHAT, bodies[-1], "x-stainless-retry-count: 0")
        wait_until(lambda: observed.metric("orphans_total") == count, "the orphan")  # noqa: B023
        provider.release(hold)
        provider.wait_for(model, "done")
        wait_until(lambda: observed.metric("flights_running") == 0, "its end")
    assert observed.metric("answers_in_memory") == 0
    assert observed.metric("orphans") == 2
    replies = [service.post(CHAT, body, headers=again) for body in bodies]
    assert [reply["idempotency-status"] for reply in replies] == [None, "adopted", "adopted"]
    assert [provider.hits(body["model"]) for body in bodies] == [2, 1, 1]


LARGE = 8 * MIB  # more than the kernel takes of what nobody reads
ROOM_FOR_THREE = {"limits": {"memory_bytes_max": 3 * LARGE}}


def stalled(service, stack, body, *lines):
    """One who asks and reads the beginning of what comes, no more."""
    connection = stack.enter_context(Stalled(service.port))
    connection.send(raw_post(CHAT, body, "1.1", *lines))
    while b"\r\n\r\n" not in connection.buffer:
        assert connection.receive()
    return connection


def test_answers_count_until_they_are_delivered_and_each_once(launch, provider):
    observed = Observed(launch, ROOM_FOR_THREE)
    service = observed.service
    model, hold = held(provider, "large", hold_at="head", text="x" * LARGE)
    body, key = question(CHAT, model), f"Idempotency-Key: {unique('key')}"
    with contextlib.ExitStack() as stack:
        waiting = [in_background(stalled, service, stack, body, key) for _ in range(2)]
        provider.wait_for(model)
        service.settle()
        provider.release(hold)
        for waiter in waiting:
            waiter.result()
        for _ in range(3):  # replays
            assert b" 200 " in stalled(service, stack, body, key).buffer
        wait_until(lambda: observed.metric("flights_running") == 0, "the flight to end")
        assert LARGE < observed.metric("memory_bytes") < LARGE + MIB
    wait_until(lambda: observed.metric("memory_bytes") == 0, "the readers to be gone")


def test_stored_answers_wait_until_there_is_room_to_tell_them(launch, provider):
    observed = Observed(launch, ROOM_FOR_THREE)
    service = observed.service
    body = question(CHAT, provider.script(unique("large"), {"text": "x" * LARGE}, repeat=True))
    keys = [unique("key") for _ in range(5)]
    firsts = [service.post(CHAT, body, key, ALICE) for key in keys]
    wait_until(lambda: observed.metric("memory_bytes") == 0, "the answers to be delivered")
    with contextlib.ExitStack() as stack:
        lines = [f"{name}: {value}" for name, value in ALICE.items()]
        for key in keys[:3]:  # the last one is a little more than there is
            assert b" 200 " in stalled(service, stack, body, *lines, f"Idempotency-Key: {key}").buffer
        refused = [service.post(CHAT, body, keys[3], ALICE), result_of(service, firsts[4]),
                   service.post(CHAT, question(CHAT, unique("new")), headers=ALICE)]
        for reply in refused:
            assert_error(reply, CHAT, 503, "overloaded", retry=True)
            assert "send it again a little later (its memory is full)" in reply.body.decode()
            assert 1 <= int(reply["retry-after"]) <= 8
        assert_answer(service.post(CHAT, body, keys[0], ALICE), firsts[0].body, key_status="replayed")
        assert result_of(service, firsts[1]).body == firsts[1].body
        assert observed.metric("memory_bytes") < 3 * LARGE + MIB
    wait_until(lambda: observed.metric("memory_bytes") == 0, "the readers to be gone")
    assert_answer(service.post(CHAT, body, keys[3], ALICE), firsts[3].body, key_status="replayed")
    assert result_of(service, firsts[4]).body == firsts[4].body


def test_an_answer_larger_than_all_memory_can_be_replayed(launch, provider):
    service = launch(SMALL)
    body = question(CHAT, provider.script(unique("huge"), {"text": "x" * (2 * MIB)}))
    key = unique("key")
    first = service.post(CHAT, body, key)
    assert_answer(first, key_status="executed")
    assert_answer(service.post(CHAT, body, key), first.body, key_status="replayed")


def test_a_disk_that_is_nearly_full_takes_no_new_keys_but_serves_the_old(launch, provider, tmp_path):
    body, key = question(CHAT, unique("before")), unique("key")
    first = launch({}, tmp_path / "state").post(CHAT, body, key)
    launch.services[-1].stop()
    service = launch({"limits": {"store_free_bytes_min": 2 ** 50}}, tmp_path / "state")
    model = unique("after")

    def refused():
        return service.post(CHAT, question(CHAT, model), unique("key")).status == 503
    wait_until(refused, "the disk to be looked at")
    hits = provider.hits(model)
    assert_error(service.post(CHAT, question(CHAT, model), unique("key")), CHAT, 503, "store_unavailable", retry=True)
    assert provider.hits(model) == hits
    assert_answer(service.post(CHAT, body, key), first.body, key_status="replayed")
    assert_answer(service.post(CHAT, question(CHAT, model)))  # without a key nothing is stored
