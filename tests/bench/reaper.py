#!/usr/bin/env python3
"""How long keyed requests take while the store is reaped: a benchmark, not a test.

    cmake --preset release && cmake --build --preset release --target unstream
    tests/bench/reaper.py [--answers 100000] [--clients 2] [--seconds 15]

A store is filled with answers that have expired (a key, a flight and a body of 1 KiB each), and the
release binary (or UNSTREAM_BINARY) is started on it against the scripted provider.  Clients ask with
new keys, one request after the other on a connection each; every request is a claim, a call and a
completion, which is two commits that reach the disk.  They do so on an empty store, while expired rows
go, while the file shrinks, and when all is done; each phase's latencies are printed.
"""
import argparse
import contextlib
import hashlib
import http.client
import json
import os
import sqlite3
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
os.environ.setdefault("UNSTREAM_BINARY", str(ROOT / "build/release/unstream"))
sys.path.insert(0, str(ROOT / "tests/system"))
from support import CHAT, Provider, Service, question, unique, wait_until  # noqa: E402

BODY = b"x" * 1024
FIRST_BODY = 1 << 40  # out of the way of those that are there
FREE_PAGES_KEPT = 1024  # service/io/store_sqlite_reaper.c
WAIT_MAX_S = 1800
OVERRIDES = {"log": {"level": "warning"}}


def fill(path, answers):
    """Answers that ended long ago, the n-th of which may be forgotten at the time n."""
    sha256 = hashlib.sha256(BODY).digest()
    names = [hashlib.sha256(str(n).encode()).digest() for n in range(1, answers + 1)]
    numbered = list(enumerate(names, 1))
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.executemany("INSERT INTO bodies (body, sha256, bytes) VALUES (?, ?, ?)",
                             ((FIRST_BODY + n, sha256, BODY) for n, _ in numbered))
        database.executemany(
            "INSERT INTO flights (flight, key, scope, route, state, started_ms, ended_ms, status, body,"
            " forget_ms) VALUES (?, ?, ?, ?, 'done', 0, 0, 200, ?, ?)",
            ((name[:16], name, sha256, CHAT, FIRST_BODY + n, n) for n, name in numbered))
        database.executemany(
            "INSERT INTO keys (key, fingerprint, state, flight, paid_calls, created_ms, ended_ms,"
            " answer_until_ms, forget_ms) VALUES (?, ?, 'done', ?, 1, 0, 0, ?, ?)",
            ((name, sha256, name[:16], n, n) for n, name in numbered))


class Load:
    """Clients that ask until they are stopped; samples are (when it ended, seconds it took)."""

    def __init__(self, service, clients):
        self.service, self.samples, self.stopping = service, [], threading.Event()
        self.threads = [threading.Thread(target=self.ask) for _ in range(clients)]

    def ask(self):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.service.port)) as connection:
            while not self.stopping.is_set():
                headers = {"Content-Type": "application/json", "Idempotency-Key": unique("key")}
                body = json.dumps(question(CHAT, "bench"))
                start = time.monotonic()
                connection.request("POST", CHAT, body, headers)
                reply = connection.getresponse()
                data = reply.read()
                end = time.monotonic()
                if reply.status != 200:
                    raise SystemExit(f"{reply.status}: {data!r}")
                self.samples.append((end, end - start))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def report(self, name, start, end):
        took = sorted(took for ended, took in self.samples if start <= ended - took and ended <= end)
        if not took:
            print(f"{name:24} no request")
            return
        p50, p99 = (took[min(len(took) - 1, len(took) * percent // 100)] for percent in (50, 99))
        print(f"{name:24} {len(took):6} requests in {end - start:6.1f} s   p50 {p50 * 1000:6.1f} ms   "
              f"p99 {p99 * 1000:6.1f} ms   max {took[-1] * 1000:6.1f} ms", flush=True)


class Observer:
    """What the reaper has left to do, read past the service."""

    def __init__(self, path, answers):
        self.database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
        self.answers = answers

    def number(self, query):
        return self.database.execute(query).fetchone()[0]

    def has_begun(self):
        return self.number("SELECT min(forget_ms) FROM keys") != 1

    def has_reaped(self):
        expired = "EXISTS (SELECT 1 FROM {} WHERE forget_ms <= %d)" % self.answers
        return not self.number(f"SELECT {expired.format('keys')} OR {expired.format('flights')}")

    def has_shrunk(self):
        return self.number("PRAGMA freelist_count") <= FREE_PAGES_KEPT


def seconds_passed(seconds):
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def measure(service, clients, phases):
    """phases: (name, condition that ends it); each is reported."""
    with Load(service, clients) as load:
        for name, ends in phases:
            start = time.monotonic()
            wait_until(ends, name, WAIT_MAX_S)
            load.report(name, start, time.monotonic())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--answers", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=15)
    options = parser.parse_args()
    load_before = os.getloadavg()[0]
    provider = Provider()
    with tempfile.TemporaryDirectory() as directory:
        service = Service(provider, directory, OVERRIDES)
        path = Path(directory, "unstream.db")
        measure(service, options.clients, [("empty store", seconds_passed(options.seconds))])
        service.stop()
        fill(path, options.answers)
        print(f"{options.answers} expired answers, {path.stat().st_size >> 20} MiB", flush=True)
        service = Service(provider, directory, OVERRIDES)
        observer = Observer(path, options.answers)
        measure(service, options.clients, [
            ("full, not yet reaped", observer.has_begun), ("rows are reaped", observer.has_reaped),
            ("the file shrinks", observer.has_shrunk)])
        measure(service, options.clients, [("all is done", seconds_passed(options.seconds))])
        print(f"{path.stat().st_size >> 20} MiB left")
        service.stop()
    provider.stop()
    print(f"load of the machine: {load_before:.1f} before, {os.getloadavg()[0]:.1f} after, "
          f"on {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
