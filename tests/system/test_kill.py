"""kill -9 under load: whatever was told stays true, and no call too many is made."""
import itertools
import os
import random
import threading
import time

import pytest

from crashing import Crashing
from support import CHAT, assert_answer, question, unique

CLIENTS = 8
CONFIG = {"idempotency": {"paid_calls_max": 100}, "log": {"level": "warning"}}
FEW, MANY = 10, 200


class Client(threading.Thread):
    """Asks for one key after another, each until it has its answer, and now and then for an old one."""

    def __init__(self, crashing, model, number):
        super().__init__(daemon=True)
        self.crashing, self.model, self.number = crashing, model, number
        self.dice = random.Random(number)
        self.told = {}  # key: every body that was told for it
        self.over = threading.Event()
        self.failure = None

    def run(self):
        try:
            for serial in itertools.count():
                if self.over.is_set():
                    return
                old = list(self.told) if self.dice.random() < 0.2 else []
                key = self.dice.choice(old) if old else f"key-{self.model}-{self.number}-{serial}"
                self.ask(key)
        except BaseException as failure:  # an assertion in a thread would be lost
            self.failure = failure

    def ask(self, key):
        return self.crashing.ask(key, question(CHAT, self.model, key), self.told.setdefault(key, []))


def kill_again_and_again(crashing, kills, dice):
    for _ in range(kills):
        time.sleep(dice.uniform(0.02, 0.5))
        crashing.kill()
        crashing.start()


@pytest.mark.parametrize("kills", [FEW, pytest.param(MANY, marks=[
    pytest.mark.long, pytest.mark.skipif("UNSTREAM_ALL" not in os.environ, reason="UNSTREAM_ALL is not set")])])
def test_what_was_told_stays_true(provider, binary, tmp_path, kills):
    # Every call gets an answer of its own, so that a second one for a key would show.
    steps = [{"text": f"answer {number}", "pause_s": 0.05} for number in range(50 * kills)]
    model = provider.script(unique("kill"), *steps)
    crashing = Crashing(provider, tmp_path, CONFIG)
    crashing.start()
    clients = [Client(crashing, model, number) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    kill_again_and_again(crashing, kills, random.Random(kills))
    for client in clients:
        client.over.set()
    for client in clients:
        client.join(120)
        assert not client.failure, client.failure
        assert not client.is_alive()
    service, keys = crashing.service, 0
    for client in clients:
        for key, bodies in client.told.items():
            assert len(set(bodies)) == 1, key
            reply = service.post(CHAT, question(CHAT, model, key), key)
            assert_answer(reply, bodies[0], key_status="replayed")
            keys += 1
    print(f"{kills} kills, {keys} keys, {provider.hits(model)} calls")
    assert keys >= kills  # there was load
    assert len(steps) > provider.hits(model)
    assert provider.hits(model) <= keys + kills * CLIENTS
    service.stop()
    crashing.assert_sound()
    assert sum(crashing.paid_calls()) >= provider.hits(model)
