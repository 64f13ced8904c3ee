#!/usr/bin/env python3
"""What a waiter costs under each edge policy, and whether thousands of them stall anybody else.

    tests/bench/waiters.py [--waiters 5000] [--seconds 12] [--binary build/release/unstream]

For each policy: WAITERS clients, 50 of them for each generation, wait for SECONDS; then all
generations end and every client must have the whole answer.  Clients do as their policy says:
they come back after a conflict and follow redirects.  Printed are the service's memory and CPU
time for each waiter, and how long requests of others took meanwhile.  A benchmark, not a test.
"""
import argparse
import asyncio
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/system"))
from support import CHAT, Provider, Service, question, unique  # noqa: E402

PER_FLIGHT = 50
HOLD_S, BEAT_S = 3, 1
PAGE = os.sysconf("SC_PAGE_SIZE")
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def usage(process):
    """Resident bytes and CPU seconds of a process."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[21]) * PAGE, (int(fields[11]) + int(fields[12])) * TICK_S


async def exchange(port, head, body=b""):
    """One request on a connection of its own; status, headers and body of its reply."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(head + b"\r\n\r\n" + body)
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(first.split()[1]), headers, await reader.readexactly(int(headers["content-length"]))
    finally:
        writer.close()


async def client(port, model, key, hits):
    """A client that does not give up; the answer it got."""
    body = json.dumps(question(CHAT, model)).encode()
    post = (f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Idempotency-Key: {key}\r\nContent-Length: {len(body)}").encode()
    head, data = post, body
    while True:
        status, headers, answer = await exchange(port, head, data)
        hits[status] = hits.get(status, 0) + 1
        if status == 200:
            return answer.strip()
        if status == 303:
            head, data = f"GET {headers['location']} HTTP/1.1\r\nHost: localhost".encode(), b""
        else:
            assert status in (409, 503), (status, answer)
            head, data = post, body
            await asyncio.sleep(float(headers["retry-after"]))


async def ask_for(port, seconds):
    """How long small requests took, made one after the other."""
    took, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.monotonic()
        body = json.dumps(question(CHAT, unique("quick"))).encode()
        status, _, _ = await exchange(port, (f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json"
                                             f"\r\nContent-Length: {len(body)}").encode(), body)
        assert status == 200
        took.append(time.monotonic() - began)
        await asyncio.sleep(0.05)
    return sorted(took)


async def somebody_else(port, seconds):
    """The same in a process of its own: the waiters' clients must not be in its way."""
    asking = await asyncio.create_subprocess_exec(sys.executable, __file__, "--ask", str(port), "--seconds",
                                                  str(seconds), stdout=asyncio.subprocess.PIPE)
    return json.loads((await asking.communicate())[0])


async def measure(provider, service, waiters, seconds):
    hold, hits = unique("hold"), {}
    flights = [(provider.script(unique("m"), {"hold": hold}), unique("key")) for _ in range(waiters // PER_FLIGHT)]
    await ask_for(service.port, 1)
    memory, _ = usage(service.process)
    tasks = [asyncio.create_task(client(service.port, *flights[i % len(flights)], hits)) for i in range(waiters)]
    await asyncio.sleep(3)  # until all are connected
    cpu = usage(service.process)[1]
    took = await somebody_else(service.port, seconds)
    memory_now, cpu_now = usage(service.process)
    provider.release(hold)
    answers = await asyncio.wait_for(asyncio.gather(*tasks), 120)
    whole = sum(bool(json.loads(answer)["choices"]) for answer in answers)
    calls = sum(provider.hits(model) for model, _ in flights)
    return {"answered": whole, "calls": calls, "statuses": dict(sorted(hits.items())),
            "KiB/waiter": round((memory_now - memory) / waiters / 1024, 1),
            "us CPU/waiter/s": round((cpu_now - cpu) / seconds / waiters * 1e6, 1),
            "others p50 ms": round(statistics.median(took) * 1e3, 1),
            "others p99 ms": round(took[int(len(took) * 0.99)] * 1e3, 1), "others": len(took)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--waiters", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--binary", default=ROOT / "build/release/unstream")
    parser.add_argument("--ask", type=int, help=argparse.SUPPRESS)  # the port, for somebody_else
    options = parser.parse_args()
    if options.ask:
        print(json.dumps(asyncio.run(ask_for(options.ask, options.seconds))))
        return
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    provider = Provider()
    for edge in ("wait", "conflict", "redirect", "heartbeat"):
        with tempfile.TemporaryDirectory() as directory:
            route = {"edge": edge, "hold_s": HOLD_S, "hops_max": 100, "beat_s": BEAT_S, "heartbeat_after_s": 1}
            service = Service(provider, directory, {"routes": {CHAT: route}}, options.binary)
            print(edge, asyncio.run(measure(provider, service, options.waiters, options.seconds)), flush=True)
            service.stop()
    provider.stop()


if __name__ == "__main__":
    main()
