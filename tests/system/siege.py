"""What the hostile tests measure while something bad goes on: memory, descriptors, and a crowd of others
that must be served rightly."""
import contextlib
import http.client
import os
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "provider"))
from hostile import right_answer  # noqa: E402
from support import BINARY, CHAT, MESSAGES, Service, question, unique  # noqa: E402

LISTENING = "0A"
KIB, MIB = 1 << 10, 1 << 20
SHADOW = 8 if b"__tsan_init" in BINARY.read_bytes() else 1  # ThreadSanitizer's view of each byte
GROWTH_MAX = 48 * MIB * SHADOW  # of the whole process in one test, sanitizers and all


class Besieged(Service):
    """A service whose freed memory does not stay in the sanitizer's quarantine."""

    def __init__(self, provider, directory, overrides=None):
        quarantine = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"
        super().__init__(provider, directory, overrides, ASAN_OPTIONS=quarantine)
        self.proc = Path(f"/proc/{self.process.pid}")

    def memory(self, name="VmRSS"):
        [line] = [line for line in (self.proc / "status").read_text().splitlines() if line.startswith(name + ":")]
        return int(line.split()[1]) * KIB

    def processor_s(self):
        """Seconds of processor time so far."""
        fields = (self.proc / "stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def client_sockets(self):
        """How many sockets of clients it holds (those that closed are not its own any more)."""
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        ours = [row for row in rows if int(row[1].split(":")[1], 16) == self.port]
        return sum(row[3] != LISTENING and row[9] != "0" for row in ours)

    @contextlib.contextmanager
    def bounded(self, growth_max=GROWTH_MAX):
        """What happens inside takes no more memory than that at any time."""
        before = self.memory()
        try:
            (self.proc / "clear_refs").write_text("5")  # VmHWM begins anew
        except PermissionError:  # only root looks into the service: less is seen
            before = self.memory("VmHWM")
        yield
        assert self.memory("VmHWM") - before <= growth_max

    @contextlib.contextmanager
    def crowd(self, routes=(CHAT, MESSAGES)):
        """Others ask all the time, and get what is theirs."""
        wrong, right, stopping = [], [], threading.Event()

        def ask(route):
            while not wrong and not (stopping.is_set() and right):
                body = question(route, unique("crowd"))
                try:
                    reply = self.post(route, body)
                except (OSError, http.client.HTTPException) as error:  # a closed connection is no answer either
                    wrong.append(error)
                    return
                (right if reply.status == 200 and reply.json == right_answer(body, route) else wrong).append(reply)

        threads = [threading.Thread(target=ask, args=(route,), daemon=True) for route in routes]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stopping.set()
            for thread in threads:
                thread.join(60)
        assert not any(thread.is_alive() for thread in threads), "nothing stalls"
        assert not wrong and right, wrong
