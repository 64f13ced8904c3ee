"""A service that dies and comes back on the same store, and clients that retry until they have it."""
import contextlib
import http.client
import signal
import sqlite3
import threading
import time

from support import CHAT, Service, question

GONE = (OSError, http.client.HTTPException)  # what a client sees of a process that died


class Crashing:
    """One service after another in one directory."""

    def __init__(self, provider, directory, overrides=None):
        self.provider, self.directory, self.overrides = provider, directory, overrides
        self.service = None

    def start(self, **variables):
        self.service = Service(self.provider, self.directory, self.overrides, **variables)
        return self.service

    def start_to_die(self, **variables):
        """Starts it with a crash point that is met before it is ready."""
        try:
            self.start(**variables)
        except AssertionError as error:
            assert str(error).startswith(f"exit {-signal.SIGKILL}:"), error
        else:
            raise AssertionError("it started as if nothing was the matter")

    def wait_for_death(self, timeout_s=30):
        assert self.service.process.wait(timeout_s) == -signal.SIGKILL, self.service.log.read_text()

    def kill(self):
        self.service.process.kill()
        self.wait_for_death()

    def ask(self, key, body, seen, timeout_s=120):
        """A client that retries with the same key until it has a 200; all 200s land in `seen`."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                reply = self.service.post(CHAT, body, key)
            except GONE:
                time.sleep(0.05)
                continue
            if reply.status == 200:
                seen.append(reply.body)
                return reply
            assert reply.status in (409, 503, 504), reply  # what a client may retry
            time.sleep(0.05)
        raise AssertionError(f"no answer for {key} within {timeout_s} s")

    def database(self):
        """To be closed by a with statement."""
        return contextlib.closing(sqlite3.connect(f"file:{self.directory}/unstream.db?mode=ro", uri=True))

    def assert_sound(self):
        """After a clean end: the file is whole, and nothing runs in it."""
        with self.database() as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert database.execute("SELECT count(*) FROM keys WHERE state = 'running'").fetchone() == (0,)
            orphans = "SELECT count(*) FROM bodies WHERE body NOT IN (SELECT body FROM flights WHERE body)"
            assert database.execute(orphans).fetchone() == (0,)

    def paid_calls(self):
        """Of all keys, oldest first."""
        with self.database() as database:
            return [row[0] for row in database.execute("SELECT paid_calls FROM keys ORDER BY created_ms")]


def ask_in_background(crashing, key, model, seen):
    thread = threading.Thread(target=crashing.ask, args=(key, question(CHAT, model), seen), daemon=True)
    thread.start()
    return thread


def words(tag, count=400):
    """A step of the provider whose text names the call it answers."""
    return {"text": " ".join([tag, *["word"] * count])}
