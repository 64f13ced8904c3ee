"""Clients that are enemies: each gets the stated status or a closed connection, memory stays bounded, and
the crowd on other connections is served meanwhile.  What test_http.py shows is not repeated here."""
import contextlib
import json
import re
import socket
import struct
import time

import pytest

from meter import Meter
from siege import GROWTH_MAX, KIB, MIB, Besieged
from support import (CHAT, ROUTES, UPSTREAMS, Stalled, assert_answer, assert_error, free_port, question, raw_post,
                     request, unique, wait_until)

BODY_BYTES_MAX = 64 * KIB
READ_AWAY_BYTES_MAX = MIB
IN_FLIGHT_MAX = 12 * MIB  # what the kernel's buffers of both sides take of what nobody reads
ANSWER_BYTES, READERS = 16 * MIB, 8
TOLD_AND_READ_AGAIN = 4 * ANSWER_BYTES + GROWTH_MAX  # the one told, and those on their way from the store
HASTY = {"request_timeout_s": 1, "request_bytes_per_s_min": 65536, "reply_bytes_per_s_min": 64 * MIB}
HOST = "Host: localhost\r\n"
ALICE = {"Authorization": "Bearer alice"}
ALICE_LINES = ["Authorization: Bearer alice"]
LIVEZ = f"GET /livez HTTP/1.1\r\n{HOST}\r\n"


@pytest.fixture(scope="module")
def besieged(provider, binary, tmp_path_factory):
    service = Besieged(provider, tmp_path_factory.mktemp("besieged"), {"limits": {"body_bytes_max": BODY_BYTES_MAX}})
    yield service
    service.stop()


@pytest.fixture(scope="module")
def hasty(provider, binary, tmp_path_factory):
    """One that gives a request, and a reply, a second."""
    port = free_port()
    service = Besieged(provider, tmp_path_factory.mktemp("hasty"),
                       {"limits": {**HASTY, "body_bytes_max": BODY_BYTES_MAX}, "ops_listen": f"127.0.0.1:{port}"})
    service.ops_port = port
    yield service
    service.stop()


@pytest.fixture
def besiege(provider, binary, tmp_path):
    services = []

    def start(overrides):
        services.append(Besieged(provider, tmp_path / f"service-{len(services)}", overrides))
        return services[-1]

    yield start
    for service in services:
        service.stop()


def all_replies(connection):
    """Everything until the other side ends the connection."""
    with contextlib.suppress(ConnectionError):
        while connection.receive():
            pass
    return connection.buffer


def statuses(data):
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d+) ", data)]


def send_all(connection, pieces):
    """How much could be sent before the other side ended it, or stopped reading for a while."""
    sent = 0
    for piece in pieces:
        try:
            sent += connection.socket.send(piece)
        except OSError:
            break
    return sent


def for_ever(piece):
    while True:
        yield piece


# ---- request lines and heads

REFUSED_HEADS = {
    "authority-form": "CONNECT localhost:443 HTTP/1.1\r\n" + HOST,
    "another authority": "GET http://other.example/livez HTTP/1.1\r\n" + HOST,
    "an authority of its own and another host": "GET http://localhost/livez HTTP/1.1\r\nHost: other.example\r\n",
    "a user in the authority": "GET http://a@localhost/livez HTTP/1.1\r\n" + HOST,
    "another scheme": "GET ftp://localhost/livez HTTP/1.1\r\n" + HOST,
    "no slash": "GET livez HTTP/1.1\r\n" + HOST,
    "an absolute target without a path": "GET http://localhost HTTP/1.1\r\n" + HOST,
    "a blank in the target": "GET /livez /readyz HTTP/1.1\r\n" + HOST,
    "a tab in the target": "GET /liv\tez HTTP/1.1\r\n" + HOST,
    "a NUL in the target": "GET /livez\0/x HTTP/1.1\r\n" + HOST,
    "an escape in the target": "GET /livez\x1b[2J HTTP/1.1\r\n" + HOST,
    "no target": "GET HTTP/1.1\r\n" + HOST,
    "a method that is no token": "G(T /livez HTTP/1.1\r\n" + HOST,
    "HTTP/0.9": "GET /livez\r\n",
    "HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n",
    "HTTP/3": "GET /livez HTTP/3.0\r\n" + HOST,
    "a version of letters": "GET /livez HTTP/x.y\r\n" + HOST,
    "another protocol": "GET /livez RTSP/1.0\r\n" + HOST,
    "TLS": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "\0" * 512 + "\r\n",
    "a continued header": f"GET /livez HTTP/1.1\r\n{HOST}X-A: b\r\n c: d\r\n",
    "a continued host": "GET /livez HTTP/1.1\r\nHost: localhost\r\n\tother\r\n",
    "a header that begins with a blank": f"GET /livez HTTP/1.1\r\n X-A: b\r\n{HOST}",
    "a NUL in a value": f"GET /livez HTTP/1.1\r\n{HOST}X-A: b\0c\r\n",
    "a NUL in a name": f"GET /livez HTTP/1.1\r\n{HOST}X\0A: b\r\n",
    "a NUL behind a value": f"GET /livez HTTP/1.1\r\n{HOST}X-A: b\0\r\n",
    "a bare CR behind a value": f"GET /livez HTTP/1.1\r\n{HOST}X-A: b\r\r\n",
    "bare CRs for line ends": "GET /livez HTTP/1.1\rHost: localhost\r\r",
    "bare LFs for line ends": "GET /livez HTTP/1.1\nHost: localhost\nX-A: b\n",
    "a header without a colon": f"GET /livez HTTP/1.1\r\n{HOST}Hello\r\n",
    "a header without a name": f"GET /livez HTTP/1.1\r\n{HOST}: b\r\n",
    "a name beyond ASCII": f"GET /livez HTTP/1.1\r\n{HOST}X-\xe9: b\r\n",
    "a delete character in a value": f"GET /livez HTTP/1.1\r\n{HOST}X-A: \x7f\r\n",
}
LENGTH = "Content-Length: 2\r\n"
REFUSED_FRAMINGS = {
    "an empty length": "Content-Length: \r\n",
    "a hexadecimal length": "Content-Length: 0x2\r\n",
    "a length with a blank": "Content-Length: 2 2\r\n",
    "a length with a fraction": "Content-Length: 2.0\r\n",
    "a length with an exponent": "Content-Length: 2e0\r\n",
    "a length in quotes": 'Content-Length: "2"\r\n',
    "a length of 2^64": "Content-Length: 18446744073709551616\r\n",
    "a length of 2^64 + 2": "Content-Length: 18446744073709551618\r\n",
    "a second length in other letters": LENGTH + "content-LENGTH: 2\r\n",
    "a length before an encoding": LENGTH + "Transfer-Encoding: chunked\r\n",
    "a length behind an encoding": "Transfer-Encoding: chunked\r\n" + LENGTH,
    "a length beside an empty encoding": LENGTH + "Transfer-Encoding:\r\n",
    "an empty encoding": "Transfer-Encoding: \r\n",
    "chunked twice": "Transfer-Encoding: chunked, chunked\r\n",
    "chunked with a parameter": "Transfer-Encoding: chunked;q=1\r\n",
    "chunked and a comma": "Transfer-Encoding: chunked,\r\n",
    "chunked in quotes": 'Transfer-Encoding: "chunked"\r\n',
    "nearly chunked": "Transfer-Encoding: xchunked\r\n",
    "chunked behind a bare CR": "Transfer-Encoding: \rchunked\r\n",
    "chunked, then identity": "Transfer-Encoding: chunked, identity\r\n",
    "an encoding with a blank before its colon": "Transfer-Encoding : chunked\r\n" + LENGTH,
    "an encoding on a continued line": "Transfer-Encoding:\r\n chunked\r\n" + LENGTH,
    "an encoding hidden behind a NUL": LENGTH + "X-A: \0\r\nTransfer-Encoding: chunked\r\n",
    "two media types": LENGTH + "Content-Type: text/plain\r\n",
    "two keys": LENGTH + "Idempotency-Key: a\r\nIdempotency-Key: b\r\n",
}
SMUGGLED = f"POST {CHAT} HTTP/1.1\r\n{HOST}Content-Length: 2\r\n\r\n{{}}" + LIVEZ


def assert_refused(service, data):
    """Not one of the requests behind it is answered, and the connection is closed."""
    with service.connect() as connection:
        connection.send(data.encode("latin-1"))
        told = statuses(all_replies(connection))
    assert all(status in (400, 404, 405, 413, 414, 431, 501, 505) for status in told), told
    assert len(set(told)) <= 1, told  # libmicrohttpd sends the head of its own refusals twice


@pytest.mark.parametrize("what", REFUSED_HEADS)
def test_a_malformed_head_is_refused_and_ends_its_connection(besieged, what):
    assert_refused(besieged, REFUSED_HEADS[what] + "\r\n" + SMUGGLED)


@pytest.mark.parametrize("what", REFUSED_FRAMINGS)
def test_another_ambiguous_framing_is_refused_and_ends_its_connection(besieged, what):
    head = f"POST {CHAT} HTTP/1.1\r\n{HOST}Content-Type: application/json\r\n{REFUSED_FRAMINGS[what]}\r\n"
    assert_refused(besieged, head + "2\r\n{}\r\n0\r\n\r\n" + SMUGGLED)


SERVED_HEADS = {
    "absolute-form": (f"GET http://localhost/livez HTTP/1.1\r\n{HOST}", 200),
    "absolute-form with a scheme in capitals": (f"GET HTTP://LOCALHOST/livez HTTP/1.1\r\n{HOST}", 200),
    "asterisk-form": (f"OPTIONS * HTTP/1.1\r\n{HOST}", 404),
    "two slashes": (f"GET //livez HTTP/1.1\r\n{HOST}", 404),
    "a way up": (f"GET /x/../livez HTTP/1.1\r\n{HOST}", 404),
    "an escaped NUL": (f"GET /livez%00 HTTP/1.1\r\n{HOST}", 404),
    "a fragment": (f"GET /livez#x HTTP/1.1\r\n{HOST}", 404),
    "bytes beyond ASCII": (f"GET /liv\xe9z HTTP/1.1\r\n{HOST}", 404),
    "a long target": (f"GET /{'x' * 8000} HTTP/1.1\r\n{HOST}", 404),
    "a long query": (f"GET /livez?{'x' * 8000} HTTP/1.1\r\n{HOST}", 200),
    "a method of our own": (f"BREW /livez HTTP/1.1\r\n{HOST}", 405),
    "a method in small letters": (f"get /livez HTTP/1.1\r\n{HOST}", 405),
    "empty lines before": (f"\r\n\r\nGET /livez HTTP/1.1\r\n{HOST}", 200),
    "a hundred headers": (f"GET /livez HTTP/1.1\r\n{HOST}" + "X-A: b\r\n" * 100, 200),
    "HTTP/1.0 without a host": ("GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n", 200),
}


@pytest.mark.parametrize("what", SERVED_HEADS)
def test_an_odd_head_is_understood_as_it_is_written(besieged, what):
    head, status = SERVED_HEADS[what]
    with besieged.connect() as connection:
        connection.send((head + "\r\n").encode("latin-1"))
        assert connection.reply().status == status
        connection.send(LIVEZ)
        assert connection.reply().status == 200


FLOODS = {
    "a target without end": ("GET /", b"x" * 65536),
    "a query without end": ("GET /livez?", b"x" * 65536),
    "a method without end": ("G", b"E" * 65536),
    "a header without end": (f"GET /livez HTTP/1.1\r\n{HOST}X-A: ", b"x" * 65536),
    "a name without end": (f"GET /livez HTTP/1.1\r\n{HOST}X", b"x" * 65536),
    "headers without end": (f"GET /livez HTTP/1.1\r\n{HOST}", b"X-A: b\r\n" * 4096),
    "short headers without end": (f"GET /livez HTTP/1.1\r\n{HOST}", b"a:\r\n" * 4096),
    "continued lines without end": (f"GET /livez HTTP/1.1\r\n{HOST}X-A: b\r\n", b" c\r\n" * 4096),
    "bytes that mean nothing": ("", b"\xff\x00\x01" * 4096),
}


@pytest.mark.parametrize("what", FLOODS)
def test_a_head_without_end_is_cut(besieged, what):
    begin, piece = FLOODS[what]
    with besieged.bounded(), besieged.crowd(), besieged.connect() as connection:
        connection.send(begin)
        assert send_all(connection, for_ever(piece)) <= IN_FLIGHT_MAX
        told = statuses(all_replies(connection))
    assert set(told) <= {400, 413, 414, 431}, told


def test_empty_lines_without_end_are_cut_off(hasty):
    with hasty.bounded(), hasty.crowd(), hasty.connect() as connection:
        wait_until(lambda: send_all(connection, [b"\r\n" * 64]) == 0, "the end of the connection")
        assert not [status for status in statuses(all_replies(connection)) if status < 400]


# ---- bodies

BAD_CHUNKS = {
    "a sign": "+2\r\n{}\r\n0\r\n\r\n", "a negative size": "-2\r\n{}\r\n0\r\n\r\n",
    "a prefix": "0x2\r\n{}\r\n0\r\n\r\n", "no size": "\r\n{}\r\n0\r\n\r\n", "letters": "zz\r\n{}\r\n0\r\n\r\n",
    "a size beyond numbers": "10000000000000002\r\n{}\r\n0\r\n\r\n",
    "more than its size": "2\r\n{}}\r\n0\r\n\r\n", "no line end behind it": "2\r\n{}0\r\n\r\n",
}


@pytest.mark.parametrize("what", BAD_CHUNKS)
def test_a_malformed_chunk_is_refused_and_ends_its_connection(besieged, what):
    head = f"POST {CHAT} HTTP/1.1\r\n{HOST}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    with besieged.crowd(), besieged.connect() as connection:
        with contextlib.suppress(ConnectionError):
            connection.send(head + BAD_CHUNKS[what] + SMUGGLED)
        told = statuses(all_replies(connection))
    assert set(told) <= {400, 413}, told


CHUNKED_POST = f"POST {CHAT} HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("line", ["0" * 60_000, "2;" + "x" * 60_000], ids=["a size", "an extension"])
def test_a_chunks_line_that_fits_no_memory_takes_no_processor_time(hasty, line):
    """libmicrohttpd would look at it again and again until its time is over."""
    with hasty.connect() as connection:
        before = hasty.processor_s()
        began = time.monotonic()
        connection.send(CHUNKED_POST + line)
        told = statuses(all_replies(connection))
        took_s = time.monotonic() - began
        assert hasty.processor_s() - before < took_s / 3
    assert set(told) <= {400, 408, 413}, told


def test_trailers_change_nothing(besieged, provider):
    model = unique("trailers")
    data = json.dumps(question(CHAT, model)).encode()
    trailers = ("Content-Length: 3\r\nTransfer-Encoding: gzip\r\nIdempotency-Key: smuggled\r\n"
                "Authorization: Bearer smuggled\r\nHost: evil.example\r\n")
    with besieged.connect() as connection:
        connection.send(f"POST {CHAT} HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n")
        connection.send(b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(data), data, trailers.encode()))
        assert_answer(connection.reply())  # without the key of the trailers
        connection.send(LIVEZ)
        assert connection.reply().status == 200
    [call] = provider.requests(model)
    assert "smuggled" not in json.dumps(call["headers"])


def test_trailers_without_end_are_cut(besieged):
    with besieged.bounded(), besieged.crowd(), besieged.connect() as connection:
        connection.send(f"POST {CHAT} HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n")
        assert send_all(connection, for_ever(b"X-A: b\r\n" * 4096)) <= IN_FLIGHT_MAX
        assert set(statuses(all_replies(connection))) <= {400, 413, 431}


@pytest.mark.parametrize("framing, piece", [("Content-Length: 1099511627776", b"x" * 65536),
                                            ("Transfer-Encoding: chunked", b"10000\r\n" + b"x" * 65536 + b"\r\n"),
                                            ("Transfer-Encoding: chunked", b"1\r\nx\r\n" * 4096)])
def test_a_body_without_end_is_read_away_to_a_bound(besieged, framing, piece):
    with besieged.bounded(), besieged.crowd(), besieged.connect() as connection:
        connection.send(f"POST {CHAT} HTTP/1.1\r\n{HOST}Content-Type: application/json\r\n{framing}\r\n\r\n")
        sent = send_all(connection, for_ever(piece))
        told = statuses(all_replies(connection))
    assert sent <= READ_AWAY_BYTES_MAX * len(piece) / piece.count(b"x") + IN_FLIGHT_MAX
    assert set(told) <= {413}, told  # a reset may take it from one who goes on sending


@pytest.mark.parametrize("framing", ["Content-Length: 1099511627776", "Content-Length: 65537"])
def test_who_asks_before_sending_too_much_is_told_at_once(besieged, framing):
    with besieged.connect() as connection:
        connection.send(f"POST {CHAT} HTTP/1.1\r\n{HOST}Content-Type: application/json\r\n"
                        f"Expect: 100-continue\r\n{framing}\r\n\r\n")
        reply = connection.reply()
        assert_error(reply, CHAT, 413, "body_too_large")
        assert connection.at_end()


def test_who_asks_before_sending_chunks_is_still_held_to_the_limit(besieged):
    with besieged.bounded(), besieged.connect() as connection:
        connection.send(f"POST {CHAT} HTTP/1.1\r\n{HOST}Content-Type: application/json\r\n"
                        "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert connection.reply().status == 100
        connection.send(b"18000\r\n" + b"x" * 0x18000 + b"\r\n0\r\n\r\n")
        assert_error(connection.reply(), CHAT, 413, "body_too_large")


def test_another_expectation_is_refused(besieged):
    with besieged.connect() as connection:
        connection.send(raw_post(CHAT, question(CHAT, "never-asked"), "1.1", "Expect: the-unexpected"))
        assert connection.reply().status == 417
        assert connection.at_end()


# ---- slowness

def drip(service, head, seconds_max=20):
    """Connections that send these heads, then a byte now and then, until the other side ends them all."""
    open_ones = [service.connect() for _ in range(20)]
    for connection in open_ones:
        connection.send(head)
        connection.socket.setblocking(False)
    deadline = time.monotonic() + seconds_max
    told = []
    while open_ones:
        assert time.monotonic() < deadline, f"{len(open_ones)} are still served"
        for connection in list(open_ones):
            try:
                connection.socket.send(b"0")
                while connection.receive():
                    pass
            except BlockingIOError:
                continue
            except OSError:
                pass
            told += statuses(connection.buffer)
            connection.socket.close()
            open_ones.remove(connection)
        time.sleep(0.05)
    return told


SLOW = {
    "a request line": "GET /livez", "a header": f"GET /livez HTTP/1.1\r\n{HOST}X-A: ",
    "a length": f"POST {CHAT} HTTP/1.1\r\nContent-Length: ",
    "a body": f"POST {CHAT} HTTP/1.1\r\n{HOST}Content-Length: 60000\r\n\r\n",
    "a body that is refused": f"POST /nothing HTTP/1.1\r\n{HOST}Content-Length: 60000\r\n\r\n",
    "a chunk's size": f"POST {CHAT} HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n0",
    "a chunk's extension": f"POST {CHAT} HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n5;",
    "a chunk": f"POST {CHAT} HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n5000\r\n",
    "a trailer": f"POST {CHAT} HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\nX-A: ",
    "a second request": LIVEZ + "GET /livez",
}


@pytest.mark.parametrize("what", SLOW)
def test_what_drips_in_is_cut_off_everywhere_at_once(hasty, what):
    with hasty.bounded(), hasty.crowd():
        told = drip(hasty, SLOW[what])
    allowed = {200, 408} if what == "a second request" else {400, 404, 408}
    assert set(told) <= allowed, told


def test_readers_that_do_not_read_are_cut_off(besiege, provider):
    service = besiege({"limits": HASTY})
    model = provider.script(unique("large"), {"text": "x" * ANSWER_BYTES})
    body, key = question(CHAT, model), unique("key")
    first = service.post(CHAT, body, key)
    assert_answer(first, key_status="executed")
    with service.bounded(TOLD_AND_READ_AGAIN), service.crowd():
        readers = [service.connect() for _ in range(READERS)]
        for reader in readers:
            reader.send(raw_post(CHAT, body, "1.1", f"Idempotency-Key: {key}"))
        wait_until(lambda: service.client_sockets() >= READERS, "the readers to be there")
    wait_until(lambda: service.client_sockets() == 0, "the readers to be cut off")
    for reader in readers:
        assert len(all_replies(reader)) < len(first.body)
        reader.socket.close()
    assert_answer(service.post(CHAT, body, key), first.body, key_status="replayed")


def test_readers_that_stall_one_after_the_other_share_one_body(besiege, provider):
    service = besiege({})
    body, key = question(CHAT, provider.script(unique("large"), {"text": "x" * ANSWER_BYTES})), unique("key")
    first = service.post(CHAT, body, key, ALICE)
    assert_answer(first, key_status="executed")
    asked = [raw_post(CHAT, body, "1.1", f"Idempotency-Key: {key}", *ALICE_LINES),
             (f"GET /requests/{first['unstream-request-id']} HTTP/1.1\r\n{HOST}{ALICE_LINES[0]}\r\n\r\n").encode()]
    with contextlib.ExitStack() as readers, service.bounded(TOLD_AND_READ_AGAIN), service.crowd():
        for number in range(30):
            reader = readers.enter_context(Stalled(service.port))
            reader.send(asked[number % 2])
            assert reader.receive()
            assert statuses(reader.buffer) == [200]
        assert_answer(service.post(CHAT, body, key, ALICE), first.body, key_status="replayed")


# ---- leaving

def half_of(body):
    return raw_post(CHAT, body)[:-20]


def leave_by_reset(connection):
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.socket.close()


def leave_by_close(connection):
    connection.socket.close()


def leave_by_half(connection):
    connection.socket.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("leave", [leave_by_reset, leave_by_close, leave_by_half])
def test_who_leaves_at_any_stage_leaves_nothing_behind(hasty, provider, leave):
    def stages():
        yield b""
        yield b"POST /v1"
        yield f"POST {CHAT} HTTP/1.1\r\n{HOST}Content-Le".encode()
        yield half_of(question(CHAT, "never-asked"))
        yield f"POST {CHAT} HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n5000\r\nxx".encode()
        yield raw_post(CHAT, question(CHAT, provider.script(unique("held"), {"hold": hold}, repeat=True)))
        yield raw_post(CHAT, question(CHAT, unique("answered")))
        yield raw_post(CHAT, question(CHAT, unique("answered"))) * 5
        yield LIVEZ.encode() * 50
    hold = unique("hold")
    with hasty.bounded(), hasty.crowd():
        left = []
        for _ in range(5):
            for data in stages():
                connection = hasty.connect()
                connection.send(data)
                leave(connection)
                left.append(connection)
    provider.release(hold)
    meter = Meter(hasty.ops_port)
    meter.wait_for("unstream_flights_running", 0)
    meter.wait_for("unstream_connections", 0)
    wait_until(lambda: hasty.client_sockets() == 0, "their sockets to be closed")
    for connection in left:
        connection.socket.close()


def test_who_half_closes_gets_the_answer(hasty, provider):
    model, hold = unique("half"), unique("hold")
    provider.script(model, {"hold": hold})
    with hasty.connect() as connection:
        connection.send(raw_post(CHAT, question(CHAT, model), "1.1", f"Idempotency-Key: {unique('key')}"))
        connection.socket.shutdown(socket.SHUT_WR)
        provider.wait_for(model)
        hasty.settle()
        provider.release(hold)
        assert_answer(connection.reply(), key_status="executed")
        assert connection.at_end()


# ---- many

def test_what_is_pipelined_behind_a_request_that_waits_is_not_read_ahead(besieged, provider):
    model, hold = unique("first"), unique("hold")
    provider.script(model, {"hold": hold})
    with besieged.bounded(), besieged.crowd(), besieged.connect() as connection:
        connection.send(raw_post(CHAT, question(CHAT, model)))
        provider.wait_for(model)
        connection.socket.settimeout(1)
        sent = send_all(connection, for_ever(LIVEZ.encode() * 100))
        assert sent <= IN_FLIGHT_MAX
        connection.socket.settimeout(20)
        assert not connection.buffer
        provider.release(hold)
        assert_answer(connection.reply())
        for _ in range(200):
            assert connection.reply().status == 200


def test_more_connections_than_there_may_be_wait_until_others_go(besiege):
    service = besiege({"limits": {"connections_max": 20, "keepalive_s": 1, "request_timeout_s": 1}})
    with service.bounded():
        idle = [service.connect() for _ in range(60)]
        for _ in range(3):
            assert service.get("/livez").status == 200  # once idle ones were cut off
        assert_answer(service.post(CHAT, question(CHAT, unique("late"))))
        for connection in idle:
            assert connection.at_end()
            connection.socket.close()


def test_a_thousand_connections_that_come_and_go_leave_nothing_behind(hasty):
    with hasty.bounded(), hasty.crowd():
        for number in range(1000):
            connection = hasty.connect()
            if number % 3 == 0:
                connection.send(LIVEZ)
            (leave_by_reset if number % 2 else leave_by_close)(connection)
    wait_until(lambda: hasty.client_sockets() == 0, "their sockets to be closed")


# ---- the operator's key

FOREIGN = {
    "another host": {"Host": "evil.example"},
    "another host with our port": {"Host": "evil.example:PORT"},
    "a host that begins like ours": {"Host": "localhost.evil.example"},
    "a host that begins like our address": {"Host": "127.0.0.1.evil.example"},
    "a host with a user": {"Host": "localhost@evil.example"},
    "an empty host": {"Host": ""},
    "another origin": {"Origin": "https://evil.example"},
    "an origin that begins like ours": {"Origin": "http://localhost.evil.example"},
    "no origin to speak of": {"Origin": "null"},
    "an origin without a scheme": {"Origin": "localhost"},
    "a file's origin": {"Origin": "file://"},
    "a proxy": {"X-Forwarded-For": "203.0.113.7"},
    "an empty proxy header": {"X-Forwarded-For": ""},
    "a proxy for localhost": {"X-Forwarded-For": "127.0.0.1"},
    "a proxy by the standard": {"Forwarded": "for=203.0.113.7"},
    "a proxy's host": {"X-Forwarded-Host": "evil.example"},
    "nginx": {"X-Real-IP": "203.0.113.7"},
    "a proxy that names itself": {"Via": "1.1 proxy"},
    "a proxy in odd letters": {"x-fOrWaRdEd-fOr": "203.0.113.7"},
    "a content delivery network": {"CF-Connecting-IP": "203.0.113.7"},
}


@pytest.fixture(scope="module")
def guarded(provider, binary, tmp_path_factory):
    """A service with the operator's key, and nothing that says who may use it."""
    port = free_port()
    service = Besieged(provider, tmp_path_factory.mktemp("guarded"), {
        "upstreams": {name: {"api_key": "sk-operator"} for name in UPSTREAMS}, "ops_listen": f"127.0.0.1:{port}"})
    service.ops_port = port
    yield service
    service.stop()


@pytest.mark.parametrize("how", FOREIGN)
@pytest.mark.parametrize("route", ROUTES)
def test_the_operators_key_is_not_for_who_comes_from_elsewhere(guarded, provider, route, how):
    headers = {name: value.replace("PORT", str(guarded.port)) for name, value in FOREIGN[how].items()}
    model = unique("foreign")
    for key in (None, unique("key")):
        reply = guarded.post(route, question(route, model), key, headers)
        assert_error(reply, route, 403, "open_not_allowed")
        assert b"sk-operator" not in reply.body
    assert provider.hits(model) == 0


def test_the_operators_key_is_not_for_an_absolute_target_elsewhere(guarded):
    data = json.dumps(question(CHAT, "never-asked"))
    for target, host, status in (("http://evil.example", "evil.example", 403), ("http://localhost", "evil.example", 400),
                                 ("http://evil.example", "localhost", 400)):
        with guarded.connect() as connection:
            connection.send(f"POST {target}{CHAT} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
                            f"Content-Length: {len(data)}\r\n\r\n{data}")
            assert connection.reply().status == status


@pytest.mark.parametrize("headers", [{}, {"Host": "localhost"}, {"Host": "LOCALHOST:1"}, {"Host": "127.0.0.1"},
                                     {"Host": "127.9.9.9:80"}, {"Host": "[::1]:8080"},
                                     {"Origin": "http://localhost:3000"}])
def test_the_operators_key_is_for_who_is_here(guarded, headers):
    assert_answer(guarded.post(CHAT, question(CHAT, unique("here")), headers=headers))


@pytest.mark.parametrize("how", [how for how in FOREIGN if FOREIGN[how].keys() <= {"Host", "Origin"}])
@pytest.mark.parametrize("path", ["/metrics", "/ops/keys/list"])
def test_the_operators_pages_are_not_for_web_pages(guarded, how, path):
    headers = {name: value.replace("PORT", str(guarded.ops_port)) for name, value in FOREIGN[how].items()}
    method = "GET" if path == "/metrics" else "POST"
    assert request(guarded.ops_port, method, path, "{}", headers=headers).status == 403
