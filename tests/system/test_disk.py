"""The disk fails under the running service: syncs report errors, or there is no room left."""
import os
import sqlite3

import pytest

from support import (BINARY, CHAT, MESSAGES, UPSTREAMS, Service, assert_answer, assert_error, in_background,
                     question, unique, wait_until)

LIBRARY = BINARY.parent / "tests/failing_disk.so"
EX_SOFTWARE = 70
ONE_ATTEMPT = {"upstreams": {name: {"attempts_max": 1} for name in UPSTREAMS}}


class Disk:
    """Services in one directory, on a disk that fails on command (tests/fault/failing_disk.c)."""

    def __init__(self, provider, directory):
        self.provider, self.state, self.orders = provider, directory / "state", directory / "orders"
        self.orders.mkdir()
        self.service = None

    def start(self, overrides=None):
        # Address sanitizer wants to be first, which only matters to those who replace malloc.
        options = ":".join([*filter(None, [os.environ.get("ASAN_OPTIONS")]), "verify_asan_link_order=0"])
        self.service = Service(self.provider, self.state, {**ONE_ATTEMPT, **(overrides or {})},
                               LD_PRELOAD=str(LIBRARY), FAILING_DISK=str(self.orders),
                               ASAN_OPTIONS=options)
        return self.service

    def fail(self, how):
        (self.orders / how).touch()

    def heal(self):
        for order in self.orders.iterdir():
            order.unlink()

    def assert_sound(self):
        database = sqlite3.connect(f"file:{self.state}/unstream.db?mode=ro", uri=True)
        try:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        finally:
            database.close()


@pytest.fixture
def disk(provider, binary, tmp_path):
    assert LIBRARY.exists(), f"{LIBRARY} is not built"
    made = Disk(provider, tmp_path)
    yield made
    made.heal()
    if made.service and made.service.process.poll() is None:
        made.service.stop()


class Held:
    """A keyed generation that the provider holds in the middle of its stream."""

    def __init__(self, service, provider, word):
        self.provider, self.key, self.hold = provider, unique("key"), unique("hold")
        self.body = question(CHAT, provider.script(unique(word), {"hold": self.hold}))
        self.reply = in_background(service.post, CHAT, self.body, self.key)
        provider.wait_for(self.body["model"])

    def finish(self):
        self.provider.release(self.hold)
        return self.reply.result()

    def hits(self):
        return self.provider.hits(self.body["model"])


def answered(service, provider):
    """A keyed answer that is in the store: its body, its key and the first reply."""
    body, key = question(MESSAGES, unique("answered")), unique("key")
    reply = service.post(MESSAGES, body, key)
    assert_answer(reply, key_status="executed")
    return body, key, reply


def assert_replays(service, body, key, first):
    again = service.post(MESSAGES, body, key)
    assert_answer(again, first.body, key_status="replayed")
    assert again.body == first.body


def assert_refused(service, provider, code):
    """A new key gets 503, and the provider hears nothing of it."""
    body = question(CHAT, unique("new"))
    assert_error(service.post(CHAT, body, unique("key")), CHAT, 503, code, retry=True)
    assert provider.hits(body["model"]) == 0


def test_after_a_failed_sync_what_runs_is_answered_and_the_process_ends(disk, provider):
    service = disk.start()
    earlier = answered(service, provider)
    first, second = Held(service, provider, "first"), Held(service, provider, "second")

    disk.fail("sync")
    assert_answer(first.finish(), key_status="executed-unstored")
    wait_until(lambda: service.get("/readyz").status == 503, "the service to say that it is not ready")
    assert_refused(service, provider, "draining")
    assert_replays(service, *earlier)
    assert_answer(second.finish(), key_status="executed-unstored")
    assert service.process.wait(30) == EX_SOFTWARE
    log = service.log.read_text()
    assert log.count('"store_lost"') == 1 and "Sanitizer" not in log, log
    assert first.hits() == second.hits() == 1

    disk.heal()
    disk.assert_sound()
    service = disk.start()
    assert_replays(service, *earlier)
    answered(service, provider)
    service.stop()
    disk.assert_sound()


def test_a_claim_whose_sync_failed_is_refused_and_costs_nothing(disk, provider):
    service = disk.start()
    earlier = answered(service, provider)
    disk.fail("sync")
    assert_refused(service, provider, "store_unavailable")
    assert service.process.wait(30) == EX_SOFTWARE
    disk.heal()
    disk.assert_sound()
    service = disk.start()
    assert_replays(service, *earlier)
    service.stop()


def test_while_the_disk_is_full_only_answers_that_are_there_are_told(disk, provider):
    service = disk.start()
    earlier = answered(service, provider)
    running = Held(service, provider, "running")

    disk.fail("full")
    assert_refused(service, provider, "store_unavailable")
    assert_replays(service, *earlier)
    first = running.finish()
    assert_answer(first, key_status="executed-unstored")
    again = service.post(CHAT, running.body, running.key)
    assert again["idempotency-status"] == "executed-unstored" and again.body == first.body
    assert service.get("/readyz").status == 200

    disk.heal()

    def is_stored():
        return service.post(CHAT, running.body, running.key)["idempotency-status"] == "replayed"

    wait_until(is_stored, "the store to get the answer", 60)
    assert_answer(service.post(CHAT, question(CHAT, unique("new")), unique("key")), key_status="executed")
    assert running.hits() == 1
    service.stop()
    disk.assert_sound()
    again = disk.start().post(CHAT, running.body, running.key)
    assert_answer(again, first.body, key_status="replayed")
    assert again.body == first.body


def test_a_sync_that_fails_while_nobody_asks_ends_the_process_too(disk, provider):
    service = disk.start({"idempotency": {"ttl_s": 0.5}})  # what the reaper deletes is synced
    answered(service, provider)
    disk.fail("sync")
    assert service.process.wait(30) == EX_SOFTWARE
    assert service.log.read_text().count('"store_lost"') == 1
