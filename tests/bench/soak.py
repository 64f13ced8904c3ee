#!/usr/bin/env python3
"""Good and hostile traffic for minutes: not a test, but it ends with 1 when an answer was wrong.

    cmake --preset release && cmake --build --preset release --target unstream
    tests/bench/soak.py [--minutes 10] [--good 6] [--hostile 4]

All on loopback: the release binary (or UNSTREAM_BINARY), clients in threads, and two providers in this
process, one of them an enemy now and then.  Good clients use all routes: without a key, with one, with one
that is used again (a replay), with one that several use at once (a join).  What they get is compared with
what the provider's own call without a stream gives, and replays and joins byte for byte with the first
answer.  Hostile ones do at random what tests/system/test_hostile_*.py shows one by one.
"""
import argparse
import collections
import contextlib
import json
import os
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
os.environ.setdefault("UNSTREAM_BINARY", str(ROOT / "build/release/unstream"))
sys.path.insert(0, str(ROOT / "tests/system"))
import test_hostile_clients as clients  # noqa: E402
import test_hostile_upstream as upstream  # noqa: E402
from hostile import Enemy, right_answer, says  # noqa: E402
from siege import KIB, MIB, Besieged  # noqa: E402
from support import (CHAT, MESSAGES, PROVIDER_ROUTES, ROUTES, SIMPLE, exact, in_background, question,  # noqa: E402
                     unique)

FLOOD_BYTES_MAX = 4 * MIB
WRONG_SHOWN_MAX = 5
QUICK = {"backoff_base_s": 0.01, "retry_budget_ratio": 10, "first_event_timeout_s": 5, "idle_timeout_s": 5}


def configuration(enemy, friend):
    """Chat and responses go to the enemy, messages and simple to the friend."""
    urls = {"chat": enemy.url + "/v1", "responses": enemy.url + "/v1", "messages": friend.url, "simple": friend.url}
    return {"upstreams": {name: {**QUICK, "base_url": url} for name, url in urls.items()},
            "limits": {**upstream.LIMITS, "request_timeout_s": 2, "reply_bytes_per_s_min": MIB,
                       "body_bytes_max": 256 * KIB},
            "idempotency": {"ttl_s": 60}, "log": {"level": "error"}}


def expected(route, body):
    """What the provider answers without a stream; for /api/llm, what that becomes."""
    if route != SIMPLE:
        return right_answer(body, route)
    asked = {"model": body["model"], "max_tokens": 4096, "messages": [{"role": "user", "content": body["prompt"]}]}
    answer = right_answer(asked, MESSAGES)
    usage = {name: answer["usage"][name] for name in ("input_tokens", "output_tokens")}
    return {"id": answer["id"], "model": answer["model"], "text": answer["content"][0]["text"],
            "stop_reason": answer["stop_reason"], "usage": usage}


class Soak:
    def __init__(self, enemy, friend, service):
        self.enemy, self.friend, self.service = enemy, friend, service
        self.stopping = threading.Event()
        self.counts = collections.Counter()
        self.wrong = []

    def judge(self, what, fine, reply):
        self.counts[what] += 1
        if not fine:
            self.wrong.append((what, reply))

    # ---- good clients

    def post(self, route, body, key=None):
        headers = {"x-stainless-retry-count": "0"} if random.random() < 0.5 else {}
        return self.service.post(route, body, key, headers)

    def is_right(self, reply, route, body):
        return reply.status == 200 and exact(reply.body) == exact(json.dumps(expected(route, body)))

    def ask_well(self):
        route = random.choice(ROUTES)
        prompt = " ".join(random.choices(["river", "Zürich", "🦊", '"quoted"', "\\", "\n"], k=random.randint(1, 500)))
        body = question(route, unique("good"), prompt)
        how = random.choice(["keyless", "keyed", "replayed", "joined"])
        if how == "keyless":
            reply = self.post(route, body)
            self.judge(how, self.is_right(reply, route, body), reply)
            return
        key = unique("key")
        others = [in_background(self.post, route, body, key) for _ in range(3 if how == "joined" else 0)]
        first = self.post(route, body, key)
        self.judge(how, self.is_right(first, route, body), first)
        again = [other.result() for other in others] + [self.post(route, body, key)]
        for reply in again:
            self.judge(how, reply.status == 200 and reply.body == first.body, reply)

    # ---- hostile providers, asked by clients that mean well

    def ask_the_enemy(self):
        kind = random.choice(["no answer", "odd answer", "endless"])
        if kind == "no answer":
            script = says(upstream.NO_ANSWERS[random.choice(list(upstream.NO_ANSWERS))][0])
        elif kind == "odd answer":
            script = says(*upstream.ODD_ANSWERS[random.choice(list(upstream.ODD_ANSWERS))])
        else:
            data = upstream.ENDLESS[random.choice(list(upstream.ENDLESS))]

            def script(peer, _):
                peer.send(upstream.CLOSED)
                peer.send_without_end(data)
        body = question(CHAT, self.enemy.script(unique("bad"), script))
        reply = self.service.post(CHAT, body)
        del self.enemy.scripts[body["model"]]
        fine = self.is_right(reply, CHAT, body) if kind == "odd answer" else reply.status == 502
        self.judge("enemy: " + kind, fine, reply)

    # ---- hostile clients

    def attack(self):
        kind = random.choice(["head", "framing", "chunk", "flood", "body", "leave", "leave", "drip"])
        self.counts["attack: " + kind] += 1
        with contextlib.suppress(OSError), self.service.connect(timeout_s=10) as connection:
            getattr(self, "attack_" + kind)(connection)

    def attack_head(self, connection):
        connection.send((random.choice(list(clients.REFUSED_HEADS.values())) + "\r\n" + clients.SMUGGLED).encode("latin-1"))
        self.look_for_smuggled(connection)

    def attack_framing(self, connection):
        framing = random.choice(list(clients.REFUSED_FRAMINGS.values()))
        connection.send(f"POST {CHAT} HTTP/1.1\r\n{clients.HOST}{framing}\r\n2\r\n{{}}\r\n0\r\n\r\n{clients.SMUGGLED}")
        self.look_for_smuggled(connection)

    def attack_chunk(self, connection):
        connection.send(clients.CHUNKED_POST + random.choice(list(clients.BAD_CHUNKS.values())) + clients.SMUGGLED)
        self.look_for_smuggled(connection)

    def look_for_smuggled(self, connection):
        told = clients.statuses(clients.all_replies(connection))
        if any(status < 400 for status in told):
            self.wrong.append(("smuggled", connection.buffer))

    @staticmethod
    def attack_flood(connection):
        begin, piece = random.choice(list(clients.FLOODS.values()))
        connection.send(begin)
        clients.send_all(connection, [piece] * (FLOOD_BYTES_MAX // len(piece)))

    @staticmethod
    def attack_body(connection):
        connection.send(clients.CHUNKED_POST)
        clients.send_all(connection, [b"10000\r\n" + b"x" * 65536 + b"\r\n"] * (FLOOD_BYTES_MAX // 65536))

    @staticmethod
    def attack_leave(connection):
        whole = clients.raw_post(random.choice(PROVIDER_ROUTES), question(CHAT, unique("left"))) * random.randint(1, 3)
        connection.send(whole[:random.randint(0, len(whole))])
        random.choice([clients.leave_by_reset, clients.leave_by_close, clients.leave_by_half])(connection)

    @staticmethod
    def attack_drip(connection):
        connection.send(random.choice(list(clients.SLOW.values())))
        while clients.send_all(connection, [b"0"]):
            time.sleep(0.2)

    # ---- all together

    def repeat(self, act):
        while not self.stopping.is_set():
            try:
                act()
            except Exception as error:  # a closed connection, too, is no answer
                self.wrong.append((act.__name__, error))

    def run(self, seconds, good, hostile):
        acts = [self.ask_well] * good + [self.ask_the_enemy, self.attack] * ((hostile + 1) // 2)
        threads = [threading.Thread(target=self.repeat, args=(act,), daemon=True) for act in acts]
        for thread in threads:
            thread.start()
        for part in ("a tenth", "the middle", "the end"):
            time.sleep(seconds / 10 if part == "a tenth" else seconds * (0.4 if part == "the middle" else 0.5))
            self.report(part)
        self.stopping.set()
        for thread in threads:
            thread.join(30)
        if any(thread.is_alive() for thread in threads):
            self.wrong.append(("stalled", [thread for thread in threads if thread.is_alive()]))

    def report(self, when):
        descriptors = len(list((self.service.proc / "fd").iterdir()))
        print(f"{when:12} {sum(self.counts.values()):8} requests  {len(self.wrong)} wrong  "
              f"RSS {self.service.memory() / MIB:6.1f} MiB (at most {self.service.memory('VmHWM') / MIB:.1f})  "
              f"{descriptors} descriptors", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--good", type=int, default=6, help="good clients at a time")
    parser.add_argument("--hostile", type=int, default=4, help="hostile ones, half of them providers")
    options = parser.parse_args()
    with Enemy() as enemy, Enemy() as friend, tempfile.TemporaryDirectory() as directory:
        enemy.remembers = friend.remembers = False
        service = Besieged(enemy, directory, configuration(enemy, friend))
        soak = Soak(enemy, friend, service)
        soak.report("the start")
        soak.run(options.minutes * 60, options.good, options.hostile)
        time.sleep(5)  # what was left behind ends
        soak.report("at rest")
        service.terminate()
        service.assert_clean_end()
    for what, count in sorted(soak.counts.items()):
        print(f"    {what:24} {count:8}")
    for what, reply in soak.wrong[:WRONG_SHOWN_MAX]:
        print("WRONG", what, repr(reply)[:1000])
    print(f"{sum(soak.counts.values())} requests, {len(soak.wrong)} wrong")
    sys.exit(1 if soak.wrong else 0)


if __name__ == "__main__":
    main()
