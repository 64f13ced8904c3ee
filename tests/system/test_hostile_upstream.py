"""A provider that is an enemy: each thing it does ends as the failure it is, within our limits, and
other flights, through the same upstream and through others, are answered rightly meanwhile."""
import gzip
import json
import os
import ssl
import subprocess
import threading
import time
import zlib

import pytest

from siege import KIB, MIB, Besieged
from support import (CHAT, RESPONSES, assert_answer, assert_error, free_port, merged,
                     question, unique, wait_until)
from hostile import (CHUNKED, CLOSED, EVENTS, STREAM_HEAD, Enemy, answer_rightly, right_answer,
                     right_events, says)

EVENT_BYTES_MAX = 64 * KIB
ANSWER_BYTES_MAX = 256 * KIB
IN_FLIGHT_MAX = 24 * MIB  # what two kernels' sockets and libcurl hold of a stream that nobody reads

QUICK = {"backoff_base_s": 0.01, "retry_budget_ratio": 10}
HASTY = {"first_event_timeout_s": 0.5, "idle_timeout_s": 0.5}
LIMITS = {"event_bytes_max": EVENT_BYTES_MAX, "answer_bytes_max": ANSWER_BYTES_MAX}

INCOMPLETE = 502, "upstream_stream_incomplete"
UNREACHABLE = 502, "upstream_unreachable"
TOO_LARGE = 502, "answer_too_large"
FAILED = 502, "upstream_error"
CALLS_MAX, CALLS_OF_THE_MALFORMED = 3, 2


class Victim:
    """A service whose chat and responses routes go to the enemy (responses with short timeouts), and
    whose messages go to the usual provider."""

    def __init__(self, provider, enemy, directory, overrides=None):
        self.provider, self.enemy = provider, enemy
        usual = {"upstreams": {"chat": {**QUICK, "base_url": enemy.url + "/v1"},
                               "responses": {**QUICK, **HASTY, "base_url": enemy.url + "/v1"}},
                 "limits": LIMITS}
        self.service = Besieged(provider, directory, merged(usual, overrides or {}))
        self.post, self.crowd, self.bounded = self.service.post, self.service.crowd, self.service.bounded

    def suffers(self, script, outcome, calls, route=CHAT, **members):
        """Asks a model of this script while the crowd asks others.  Returns the reply."""
        model = self.enemy.script(unique("victim"), script)
        with self.crowd(), self.bounded():
            reply = self.post(route, question(route, model), **members)
        status, code = outcome
        assert_error(reply, route, status, code, retry=False)
        assert self.enemy.hits(model) == calls
        return reply

    def survives(self, script, body=None):
        """The same, with an answer that is right."""
        body = body or question(CHAT, unique("survivor"))
        self.enemy.script(body["model"], script)
        with self.crowd(), self.bounded():
            reply = self.post(CHAT, body)
        assert_answer(reply, json.dumps(right_answer(body)).encode())
        assert self.enemy.hits(body["model"]) == 1


@pytest.fixture(scope="module")
def enemy():
    with Enemy() as enemy:
        yield enemy


@pytest.fixture(scope="module")
def victim(provider, enemy, binary, tmp_path_factory):
    victim = Victim(provider, enemy, tmp_path_factory.mktemp("victim"))
    yield victim
    victim.service.stop()


@pytest.fixture
def against(provider, binary, tmp_path):
    """Victims of other enemies: against(enemy, overrides)."""
    victims = []

    def start(enemy, overrides=None):
        victims.append(Victim(provider, enemy, tmp_path / f"victim-{len(victims)}", overrides))
        return victims[-1]

    yield start
    for victim in victims:
        victim.service.stop()


# ---- what is no answer

def with_head(*lines):
    return b"".join(line + b"\r\n" for line in (b"HTTP/1.1 200 OK", *lines, b""))


PLAIN_EVENTS = b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"half"}}]}\n\n'
NO_ANSWERS = {
    "a banner of SSH": (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", CALLS_OF_THE_MALFORMED),
    "HTTP/0.9": (b"<html>welcome to 1991</html>", CALLS_OF_THE_MALFORMED),
    "zeros": (b"\0" * 4096, CALLS_OF_THE_MALFORMED),
    "an alert of TLS": (b"\x15\x03\x03\x00\x02\x02\x28", CALLS_OF_THE_MALFORMED),
    "a status of no digits": (b"HTTP/1.1 OK\r\n\r\n", CALLS_OF_THE_MALFORMED),
    "a head of HTTP/2": (b"HTTP/2 200\r\n\r\n", CALLS_MAX),
    "a header that is none": (with_head(b"no colon") + PLAIN_EVENTS, CALLS_OF_THE_MALFORMED),
    "gzip": (with_head(b"Content-Encoding: gzip") + gzip.compress(PLAIN_EVENTS), CALLS_OF_THE_MALFORMED),
    "an unknown encoding": (with_head(b"Content-Encoding: br") + b"\x8b\x00\x80a\x03", CALLS_OF_THE_MALFORMED),
    "two encodings": (with_head(b"Content-Encoding: identity", b"content-encoding: gzip")
                      + gzip.compress(PLAIN_EVENTS), CALLS_OF_THE_MALFORMED),
    "a negative length": (with_head(b"Content-Length: -1") + PLAIN_EVENTS, CALLS_OF_THE_MALFORMED),
    "a length of letters": (with_head(b"Content-Length: many") + PLAIN_EVENTS, CALLS_OF_THE_MALFORMED),
    "a length beyond numbers": (with_head(b"Content-Length: " + b"9" * 40) + PLAIN_EVENTS, CALLS_MAX),
    "a body of another length": (with_head(b"Content-Length: 40") + PLAIN_EVENTS, CALLS_MAX),
    "a body shorter than its length": (with_head(b"Content-Length: 4000") + PLAIN_EVENTS, CALLS_MAX),
    "no body": (with_head(b"Content-Length: 0"), CALLS_MAX),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", CALLS_MAX),
    "a chunk of no size": (CHUNKED + b"ZZ\r\n" + PLAIN_EVENTS, CALLS_MAX),
    "a chunk of a size beyond numbers": (CHUNKED + b"F" * 20 + b"\r\n" + PLAIN_EVENTS, CALLS_MAX),
    "a chunk that does not end": (CHUNKED + b"4\r\ndata: {}\n\n0\r\n\r\n", CALLS_MAX),
    "another protocol": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"
                         + PLAIN_EVENTS, CALLS_OF_THE_MALFORMED),
    "hundreds of headers": (with_head(*(b"X-%d: %s" % (n, b"x" * 200) for n in range(800))),
                            CALLS_OF_THE_MALFORMED),
    "a header of a mebibyte": (with_head(b"X-Large: " + b"x" * MIB), CALLS_OF_THE_MALFORMED),
    "a header of a mebibyte in an interim answer":
        (b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * MIB, CALLS_OF_THE_MALFORMED),
    "a thousand interim answers": (b"HTTP/1.1 100 Continue\r\nX-Filler: 0123456789012345678901234567890\r\n\r\n"
                                   * 1000, CALLS_OF_THE_MALFORMED),
    "interim answers and no more": (b"HTTP/1.1 100 Continue\r\n\r\n" * 10, CALLS_MAX),
    "half a status line": (b"HTTP/1.1 2", CALLS_MAX),
    "half a head": (b"HTTP/1.1 200 OK\r\nContent-Type: text/ev", CALLS_MAX),
    "half an event": (CLOSED + PLAIN_EVENTS[:30], CALLS_MAX),
    "a terminal event alone": (CLOSED + b"data: [DONE]\n\n", CALLS_MAX),
    "another stream": (CLOSED + b'data: {"hello":"world"}\n\n', CALLS_MAX),
    "a page": (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>maintenance</html>", CALLS_MAX),
}


@pytest.mark.parametrize("what", NO_ANSWERS)
def test_what_is_no_answer_is_told_as_such(victim, what):
    data, calls = NO_ANSWERS[what]
    victim.suffers(says(data), INCOMPLETE, calls)


@pytest.mark.parametrize("status", [201, 300, 304, 500, 600, 999])
def test_a_status_that_means_nothing_here_is_no_answer(victim, status):
    outcome, calls = {201: (INCOMPLETE, CALLS_MAX), 500: (FAILED, CALLS_MAX)}.get(status, (FAILED, 1))
    victim.suffers(says(b"HTTP/1.1 %d Odd\r\nContent-Length: 0\r\n\r\n" % status), outcome, calls)


# ---- what is odd, but an answer

EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\nContent-Encoding: gzip\r\nRetry-After: 9\r\n\r\n"
ODD_ANSWERS = {
    "after interim answers": [b"HTTP/1.1 100 Continue\r\n\r\n" * 3, EARLY_HINTS, CLOSED, EVENTS],
    "with 300 headers": [STREAM_HEAD, b"".join(b"X-%d: x\r\n" % n for n in range(300)), b"\r\n", EVENTS],
    "with a continued header": [STREAM_HEAD, b"X-Fold: a\r\n b\r\n\tc\r\n", b"\r\n", EVENTS],
    "with odd headers": [STREAM_HEAD, b": no name\r\nX-\xff: \xfe\r\n\r\n", EVENTS],
    "with bare line feeds": [CLOSED.replace(b"\r\n", b"\n"), EVENTS],
    "without a reason": [b"HTTP/1.1 200\r\n\r\n", EVENTS],
    "of HTTP/1.0": [b"HTTP/1.0 200 OK\r\n\r\n", EVENTS],
    "of a length that is too large": [STREAM_HEAD, b"Content-Length: 999999\r\n\r\n", EVENTS],
    "with its length beside chunks": [STREAM_HEAD, b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
                                      b"FFFF\r\n", EVENTS],
    "in a chunk that goes on": [CHUNKED, b"FFFFF\r\n", EVENTS],
    "followed by garbage": [CLOSED, EVENTS, b"HTTP/1.1 200 OK\r\n\r\n" + os.urandom(MIB)],
    "of a media type that is not its own": [b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n", EVENTS],
}


@pytest.mark.parametrize("how", ODD_ANSWERS)
def test_an_answer_may_be_odd(victim, how):
    victim.survives(says(*ODD_ANSWERS[how]))


def test_bytes_without_end_after_the_answer_do_no_harm(victim):
    def script(peer, request):
        peer.send(CLOSED + right_events(request.json))
        peer.send_without_end(b": more\n\n" * 8192)
    victim.survives(script)


def test_the_next_flight_gets_nothing_of_what_follows_an_answer(victim, enemy):
    """The connection is kept, and a second answer lies in it before anyone has asked."""
    forged = right_events({"model": "forged", "messages": []})
    lies_there = threading.Semaphore(0)

    def script(peer, request):
        answer_rightly(peer, request)
        time.sleep(0.01)  # else libcurl may drop it together with the end of the first
        peer.send(CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(forged), forged))
        lies_there.release()
        return True
    for _ in range(20):
        body = question(CHAT, unique("next"))
        enemy.script(body["model"], script)
        assert_answer(victim.post(CHAT, body), json.dumps(right_answer(body)).encode())
        assert enemy.hits(body["model"]) == 1
        assert lies_there.acquire(timeout=20)
        victim.service.settle()


def test_invalid_utf_8_becomes_replacement_characters(victim, enemy):
    chunk = (b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m\xff","choices":[{"index":0,'
             b'"delta":{"role":"assistant","content":"a\xc3b\xf0\x9f\xa6c\xed\xa0\x80"},"finish_reason":"stop"}]}\n\n')
    model = enemy.script(unique("bytes"), says(CLOSED, chunk, b"data: [DONE]\n\n"))
    with victim.crowd(), victim.bounded():
        reply = victim.post(CHAT, question(CHAT, model))
    assert_answer(reply)
    content = reply.json["choices"][0]["message"]["content"]
    assert content.replace("\ufffd", "") == "abc" and 3 <= content.count("\ufffd") <= 6
    assert enemy.hits(model) == 1


# ---- without end

def test_a_line_without_end_is_cut_at_the_limit(victim, enemy):
    sent = []

    def script(peer, _):
        peer.send(CLOSED + b"data: ")
        peer.send_without_end(b"x" * 65536)
        sent.append(peer.sent)
    key = unique("key")
    reply = victim.suffers(script, TOO_LARGE, 1, key=key)
    wait_until(lambda: sent, "the call to be cut")
    assert sent[0] <= IN_FLIGHT_MAX
    model = next(reversed(enemy.scripts))
    again = victim.post(CHAT, question(CHAT, model), key)
    assert again.body == reply.body and again["idempotency-status"] == "replayed"  # it was paid for
    assert enemy.hits(model) == 1


ENDLESS = {
    "a comment": b":" + b"x" * 65535,
    "lines of one event": b"data: x\n" * 8192,
    "an event": PLAIN_EVENTS[:-2].replace(b"half", b"x" * 65536),
    "output": PLAIN_EVENTS * 900,
    "tool calls": b"".join(
        b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":%d,"id":"c"}]}}]}\n\n' % n
        for n in range(2000)),
    "choices": b"".join(b'data: {"choices":[{"index":%d,"delta":{"content":"x"}}]}\n\n' % n for n in range(2000)),
    "members": b"".join(b'data: {"m%d":1,"choices":[]}\n\n' % n for n in range(70_000)),
    "a plain answer": b'{"choices":[' + b"[]," * 20000,
}


@pytest.mark.parametrize("what", ENDLESS)
def test_a_stream_without_end_ends_at_a_limit(victim, what):
    begin = CLOSED + (b'{"x":[' if what == "a plain answer" else b"")
    data = ENDLESS[what]

    def script(peer, _):
        peer.send(begin)
        peer.send_without_end(data)
    victim.suffers(script, TOO_LARGE, 1)


def test_chunks_without_end_are_a_stream_without_end(victim):
    def script(peer, _):
        peer.send(CHUNKED)
        peer.send_without_end(b"1\r\nx\r\n" * 8192)
    victim.suffers(script, TOO_LARGE, 1)


def compressed(piece, times):
    stream = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(stream.compress(piece) for _ in range(times)) + stream.flush()


def test_a_transfer_encoding_that_swells_ends_at_a_limit(victim):
    bomb = compressed(b"x" * MIB, 256)
    assert len(bomb) < MIB
    head = STREAM_HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n%x\r\n" % len(bomb)
    model = victim.enemy.script(unique("bomb"), says(head, bomb, b"\r\n0\r\n\r\n"))
    with victim.crowd(), victim.bounded():
        reply = victim.post(CHAT, question(CHAT, model))
    assert reply.status == 502 and reply["x-should-retry"] == "false"


QUIET = {"pings": b": ping\n\n", "blanks": b"\n", "names": b"event: x\n", "empty data": b"data:\n\n",
         "null": b"data: null\n\n"}


@pytest.mark.parametrize("what", QUIET)
def test_events_that_say_nothing_do_not_put_off_the_first_one(victim, what):
    def script(peer, _):
        peer.send(CLOSED)
        peer.send_without_end(QUIET[what] * 4096)
    victim.suffers(script, INCOMPLETE, CALLS_MAX, route=RESPONSES)


def test_events_without_output_end_with_the_deadline(victim, enemy):
    def script(peer, _):
        peer.send(CLOSED)
        peer.send_without_end(b'data: {"id":"x","choices":[]}\n\n' * 1024)
    model = enemy.script(unique("deadline"), script)
    with victim.crowd(), victim.bounded():
        reply = victim.post(CHAT, question(CHAT, model), headers={"Unstream-Deadline": "2"})
    assert_error(reply, CHAT, 504, "deadline_exceeded")
    assert enemy.hits(model) == 1


DRIPS = {"a head": b"HTTP/1.1 200 OK\r\n" + b"X-Filler: 0123456789\r\n" * 100,
         "interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 100, "chunk extensions": CHUNKED + b"1;" + b"x" * 500,
         "a chunk's size": CHUNKED + b"0" * 500, "trailers": CHUNKED + b"0\r\n" + b"X: y\r\n" * 100}


@pytest.mark.parametrize("what", DRIPS)
def test_what_drips_in_is_given_up(victim, what):
    def script(peer, _):
        for byte in DRIPS[what]:
            if not peer.send(bytes([byte])):
                return
            time.sleep(0.02)
        peer.wait_for_end()
    victim.suffers(script, INCOMPLETE, CALLS_MAX, route=RESPONSES)


@pytest.mark.parametrize("status, outcome, calls", [(500, FAILED, CALLS_MAX), (503, (503, "upstream_error"), CALLS_MAX),
                                                    (302, FAILED, 1)])
def test_an_error_without_end_is_cut(victim, status, outcome, calls):
    sent = []

    def script(peer, _):
        peer.send(b"HTTP/1.1 %d Odd\r\n\r\n{" % status)
        peer.send_without_end(b"x" * 65536)
        sent.append(peer.sent)
    victim.suffers(script, outcome, calls)
    wait_until(lambda: len(sent) == calls, "each call to be cut")
    assert max(sent) <= IN_FLIGHT_MAX


def test_a_refusal_without_end_is_wrapped(victim, enemy):
    def script(peer, _):
        peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n\r\n" + b'{"error":"')
        peer.send_without_end(b"x" * 65536)
    reply = victim.suffers(script, (400, None), 1)
    assert len(reply.body) < 1000


def test_trailers_without_end_are_cut(victim):
    def script(peer, request):
        peer.send(CHUNKED + b"%x\r\n%s\r\n0\r\n" % (len(PLAIN_EVENTS), PLAIN_EVENTS))
        peer.send_without_end(b"X-Trailer: 0123456789\r\n" * 1024)
    victim.suffers(script, INCOMPLETE, CALLS_OF_THE_MALFORMED)


# ---- much, and deep

def many_events(count, extra=b""):
    return (b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,'
            b'"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n',
            b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,'
            b'"delta":{"content":"ab"},"finish_reason":null}]%s}\n\n' % extra, count,
            b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,'
            b'"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n')


EVENTS_MANY = 1_000_000 if os.environ.get("UNSTREAM_ALL") else 60_000


def test_an_answer_of_very_many_events_is_whole(against, enemy):
    first, piece, count, last = many_events(
        EVENTS_MANY, b',"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}')

    def script(peer, _):
        peer.send(CLOSED + first)
        for _ in range(count // 1000):
            peer.send(piece * 1000)
        peer.send(last)
    victim = against(enemy, {"limits": {"answer_bytes_max": 32 * MIB}})
    model = enemy.script(unique("many"), script)
    with victim.crowd(), victim.bounded():
        reply = victim.post(CHAT, question(CHAT, model), timeout_s=300)
    assert_answer(reply)
    assert reply.json["choices"][0]["message"]["content"] == "ab" * count
    assert reply.json["usage"]["total_tokens"] == 3


def nested(depth):
    return (b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":'
            b'{"role":"assistant","content":"x","deep":' + b'{"d":' * depth + b"1" + b"}" * depth
            + b'},"finish_reason":"stop"}]}\n\n')


def test_deltas_may_be_nested_but_not_without_end(victim, enemy):
    model = enemy.script(unique("deep"), says(CLOSED, nested(100) * 100, b"data: [DONE]\n\n"))
    reply = victim.post(CHAT, question(CHAT, model))
    assert_answer(reply)
    assert reply.body.count(b'{"d":') == 100
    for deep in (nested(200), nested(9000), nested(0).replace(b":1}", b":" + b"[" * 60_000 + b"}")):
        victim.suffers(says(CLOSED, deep, b"data: [DONE]\n\n"), INCOMPLETE, CALLS_OF_THE_MALFORMED)


# ---- somewhere else

@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(victim, enemy, status):
    with Enemy() as elsewhere:
        head = b"HTTP/1.1 %d Elsewhere\r\nLocation: %s/v1/chat/completions\r\nContent-Length: 0\r\n\r\n"
        reply = victim.suffers(says(head % (status, elsewhere.url.encode())), FAILED, 1,
                               headers={"Authorization": "Bearer sk-secret"})
        assert elsewhere.accepted == 0
    assert reply["location"] is None and b"sk-secret" not in reply.body


def loop_of(launch, **settings):
    """A service whose chat upstream is its own other address."""
    port = free_port()
    return launch({"listen": ["127.0.0.1:PORT", f"127.0.0.1:{port}"],
                   "upstreams": {"chat": {**QUICK, "base_url": f"http://127.0.0.1:{port}/v1", **settings}}})


def chat_requests(service):
    """What the log says of ended requests of this route."""
    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    return [line["status"] for line in lines if line["event"] == "request" and line.get("route") == CHAT]


@pytest.mark.parametrize("settings", [{}, {"api_key": "sk-operator"}])
def test_our_own_address_as_upstream_is_a_loop(launch, settings):
    service = loop_of(launch, **settings)
    reply = service.post(CHAT, question(CHAT, unique("loop")))
    assert_error(reply, CHAT, 508, "loop_detected", retry=False)
    service.stop()
    assert chat_requests(service) == [508, 508]  # the call that came back, and the one that made it


# ---- an end at each stage

def reset_after(read, *pieces):
    """Resets the connection when it has read so many bytes (None: a request) and sent these pieces."""
    def script(peer):
        if read is None:
            request = peer.read_request()
            for piece in pieces:
                peer.send(right_events(request.json) if piece is EVENTS else piece)
            time.sleep(0.05)  # a reset takes back what was not read yet
        else:
            peer.read(read)
        peer.reset()
    return script


@pytest.mark.parametrize("read", [0, 1, 200, 1000])
def test_a_reset_before_the_request_was_read_is_no_connection_or_no_answer(against, read):
    with Enemy(on_accept=reset_after(read)) as enemy:
        victim = against(enemy)
        body = question(CHAT, "nobody", "x" * (4 * MIB))
        with victim.bounded():
            reply = victim.post(CHAT, body)
        assert reply.error["code"] in (INCOMPLETE[1], UNREACHABLE[1]), reply
        assert_error(reply, CHAT, 502, retry=False)
        assert enemy.accepted == CALLS_MAX


RESETS = {"at once": [], "in the status line": [b"HTTP/1."], "in the head": [CLOSED[:40]], "after the head": [CLOSED],
          "in an event": [CLOSED, PLAIN_EVENTS[:40]], "between events": [CLOSED, PLAIN_EVENTS],
          "in a chunk": [CHUNKED, b"FFF\r\n", PLAIN_EVENTS], "in a chunk's size": [CHUNKED, b"F"]}


@pytest.mark.parametrize("where", RESETS)
def test_a_reset_before_the_end_is_no_answer(against, where):
    with Enemy(on_accept=reset_after(None, *RESETS[where])) as enemy:
        victim = against(enemy)
        reply = victim.post(CHAT, question(CHAT, "nobody"))
        assert_error(reply, CHAT, *INCOMPLETE, retry=False)
        assert enemy.accepted == CALLS_MAX


@pytest.mark.parametrize("head", [CLOSED, CHUNKED + b"FFFF\r\n"])
def test_a_reset_after_the_end_changes_nothing(against, head):
    with Enemy(on_accept=reset_after(None, head, EVENTS)) as enemy:
        body = question(CHAT, unique("reset"))
        assert_answer(against(enemy).post(CHAT, body), json.dumps(right_answer(body)).encode())
        assert enemy.accepted == 1


def test_an_answer_before_the_request_was_read_is_an_answer(against):
    body = question(CHAT, unique("early"), "x" * (4 * MIB))
    events = right_events(body)

    def script(peer):
        peer.read(100)
        peer.send(STREAM_HEAD + b"Content-Length: %d\r\n\r\n" % len(events) + events)
        peer.wait_for_end()
    with Enemy(on_accept=script) as enemy:
        victim = against(enemy)
        with victim.bounded():
            assert_answer(victim.post(CHAT, body), json.dumps(right_answer(body)).encode())
        assert enemy.accepted == 1


def test_an_answer_before_the_request_was_read_is_no_answer_to_the_next_one(against):
    """libcurl may stop sending a refused body, but must not put the next request in its place."""
    def script(peer):
        peer.read(100)
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}")
        enemy.on_accept = None
        peer.wait_for_end()
    with Enemy(on_accept=script) as enemy:
        victim = against(enemy)
        body = question(CHAT, unique("next"))
        assert victim.post(CHAT, question(CHAT, "nobody", "x" * (4 * MIB))).status == 413
        assert_answer(victim.post(CHAT, body), json.dumps(right_answer(body)).encode())
        assert enemy.accepted == 2 and enemy.hits(body["model"]) == 1


def test_an_upstream_that_reads_nothing_is_given_up(against):
    with Enemy(on_accept=lambda peer: time.sleep(20)) as enemy:
        victim = against(enemy, {"upstreams": {"chat": HASTY}})
        with victim.bounded():
            reply = victim.post(CHAT, question(CHAT, "nobody", "x" * (8 * MIB)))
        assert reply.error["code"] in (INCOMPLETE[1], UNREACHABLE[1]), reply
        assert enemy.accepted == CALLS_MAX


def test_a_banner_before_the_request_is_no_answer(against):
    def script(peer):
        peer.send(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
        peer.wait_for_end()
    with Enemy(on_accept=script) as enemy:
        victim = against(enemy)
        assert_error(victim.post(CHAT, question(CHAT, "nobody")), CHAT, *INCOMPLETE, retry=False)
        assert enemy.accepted == CALLS_OF_THE_MALFORMED


# ---- TLS

def openssl(directory, *arguments):
    subprocess.run(["openssl", *map(str, arguments)], cwd=directory, check=True, capture_output=True)


class Authority:
    """A certificate authority of our own, in a directory."""

    def __init__(self, directory):
        self.directory = directory
        directory.mkdir()
        self.file = directory / "ca.pem"
        openssl(directory, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", "ca.key", "-out", "ca.pem", "-days", 2, "-subj", "/CN=an authority")
        (directory / "index").touch()
        (directory / "ca.cnf").write_text(
            "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\n"
            "policy=p\ncopy_extensions=copy\n[p]\ncommonName=supplied\n")

    def context(self, name, start="20240101000000Z", end="20990101000000Z"):
        """A server's TLS with a certificate for this name and time."""
        stem = unique("certificate")
        openssl(self.directory, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                stem + ".key", "-out", stem + ".csr", "-subj", "/CN=" + stem, "-addext", f"subjectAltName={name}")
        openssl(self.directory, "ca", "-batch", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key", "-in",
                stem + ".csr", "-out", stem + ".pem", "-startdate", start, "-enddate", end)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.directory / (stem + ".pem"), self.directory / (stem + ".key"))
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "ca")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "stranger")


def over(enemy, authority, scheme="https"):
    return {"upstreams": {"chat": {"base_url": f"{scheme}://127.0.0.1:{enemy.port}/v1",
                                   "ca_file": str(authority.file)}}}


def test_a_certificate_that_is_right_is_taken(against, authority):
    with Enemy(authority.context("IP:127.0.0.1")) as enemy:
        body = question(CHAT, unique("tls"))
        reply = against(enemy, over(enemy, authority)).post(CHAT, body)
        assert_answer(reply, json.dumps(right_answer(body)).encode())


def test_the_next_flight_gets_nothing_of_what_tls_has_decrypted(against, authority):
    """Bytes behind a counted body, in the record of its last ones."""
    forged = right_events({"model": "forged", "messages": []})

    def counted(events):
        return STREAM_HEAD + b"Content-Length: %d\r\n\r\n" % len(events) + events

    def script(peer, request):
        answer = counted(right_events(request.json))
        peer.send(answer[:-50])
        time.sleep(0.01)
        peer.send(answer[-50:] + counted(forged))
        return True
    with Enemy(authority.context("IP:127.0.0.1")) as enemy:
        victim = against(enemy, over(enemy, authority))
        for _ in range(5):
            body = question(CHAT, unique("next"))
            enemy.script(body["model"], script)
            assert_answer(victim.post(CHAT, body), json.dumps(right_answer(body)).encode())


def test_a_connection_with_tls_is_used_again(against, authority):
    with Enemy(authority.context("IP:127.0.0.1")) as enemy:
        victim = against(enemy, over(enemy, authority))
        for _ in range(5):
            assert_answer(victim.post(CHAT, question(CHAT, unique("again"))))
            victim.service.settle()
        assert enemy.accepted == 1


CERTIFICATES = {
    "of another name": lambda authority, _: authority.context("DNS:other.example"),
    "that has expired": lambda authority, _: authority.context("IP:127.0.0.1", end="20240102000000Z"),
    "that is not valid yet": lambda authority, _: authority.context("IP:127.0.0.1", start="20980101000000Z"),
    "of an unknown authority": lambda _, stranger: stranger.context("IP:127.0.0.1"),
}


@pytest.mark.parametrize("what", CERTIFICATES)
def test_a_certificate_that_is_not_right_ends_it_at_once(against, authority, stranger, what):
    with Enemy(CERTIFICATES[what](authority, stranger)) as enemy:
        victim, key = against(enemy, over(enemy, authority)), unique("key")
        for _ in range(5):  # more often than a key has paid calls: these are free
            reply = victim.post(CHAT, question(CHAT, "nobody"), key, {"Authorization": "Bearer sk-secret"})
            assert_error(reply, CHAT, *UNREACHABLE, retry=False)
            assert "certificate" in reply.error["message"]
        assert enemy.accepted == 5 and not enemy.requests


def test_tls_on_a_plain_port_and_plain_http_on_a_tls_port_are_told(against, authority):
    with Enemy() as plain, Enemy(authority.context("IP:127.0.0.1")) as secure:
        overrides = merged(over(plain, authority), {"upstreams": {"chat": {"connect_timeout_s": 0.5}}})
        reply = against(plain, overrides).post(CHAT, question(CHAT, "nobody"))
        assert_error(reply, CHAT, *UNREACHABLE, retry=False)
        reply = against(secure, over(secure, authority, "http")).post(CHAT, question(CHAT, "nobody"))
        assert_error(reply, CHAT, 502, retry=False)  # its alert may come as a reset
        assert reply.error["code"] in (INCOMPLETE[1], UNREACHABLE[1]), reply
        assert plain.accepted == CALLS_MAX and not plain.requests and not secure.requests


def test_a_handshake_that_stands_still_is_given_up(against, authority):
    with Enemy(on_accept=lambda peer: peer.wait_for_end()) as enemy:
        overrides = over(enemy, authority)
        overrides["upstreams"]["chat"]["connect_timeout_s"] = 0.5
        victim = against(enemy, overrides)
        assert_error(victim.post(CHAT, question(CHAT, "nobody")), CHAT, *UNREACHABLE, retry=False)
        assert enemy.accepted == CALLS_MAX
