"""Memory runs out under the whole program, libraries included: every allocation fails in turn.

Only of a replay: Debian's libcurl 7.88.1 may divide by zero in its table of sockets once an
allocation of it has failed, which no caller can prevent.  What our own code does without memory is
the matter of the unit tests and of model/test_model_memory.c."""
import mmap
import os
import struct
from http.client import HTTPException

import pytest

from support import BINARY, CHAT, Service, assert_answer, question, unique

LIBRARY = BINARY.parent / "tests/failing_memory.so"
ALLOCATIONS_MAX = 3000  # of one request; far more than any makes


class Memory:
    """A countdown that the service shares (tests/fault/failing_memory.c)."""

    def __init__(self, path):
        path.write_bytes(bytes(8))
        with path.open("r+b") as file:
            self.map = mmap.mmap(file.fileno(), 8)

    def fail_after(self, count):
        self.map[:8] = struct.pack("q", count)

    def heal(self):
        """Whether an allocation failed since."""
        failed = struct.unpack("q", self.map[:8])[0] <= 0
        self.fail_after(0)
        return failed


@pytest.fixture
def starved(provider, tmp_path):
    """A service without sanitizers, whose memory fails on command."""
    binary = os.environ.get("UNSTREAM_PLAIN_BINARY")
    if not binary:
        pytest.skip("UNSTREAM_PLAIN_BINARY names no build without sanitizers")
    memory = Memory(tmp_path / "countdown")
    service = Service(provider, tmp_path / "state", binary=binary, LD_PRELOAD=str(LIBRARY),
                      FAILING_MEMORY=str(tmp_path / "countdown"))
    yield service, memory
    memory.heal()
    service.stop()


def post_starving(service, memory, count, body, key):
    """Whether an allocation failed: then the client got an answer, a clean error or a closed connection."""
    memory.fail_after(count)
    try:
        reply = service.post(CHAT, body, key)
        assert reply.status in (200, 500, 503), reply
        assert reply.status != 200 or reply.json["choices"], reply
    except (OSError, HTTPException):
        pass
    failed = memory.heal()
    assert service.process.poll() is None, service.log.read_text()
    return failed


def test_a_replay_survives_the_failure_of_any_allocation(starved):
    service, memory = starved
    body, key = question(CHAT, unique("stored")), unique("key")
    first = service.post(CHAT, body, key)
    for count in range(1, ALLOCATIONS_MAX):
        failed = post_starving(service, memory, count, body, key)
        assert_answer(service.post(CHAT, body, key), first.body, key_status="replayed")
        if not failed:
            return
    raise AssertionError("no request got through without a failure")
