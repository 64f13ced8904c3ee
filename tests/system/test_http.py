"""HTTP as clients, old clients and attackers speak it."""
import gzip
import http.client
import json
import re
import subprocess
import time
import urllib.error
import urllib.request

import pytest

from support import (CHAT, MESSAGES, RESPONSES, ROUTES, SIMPLE, assert_answer, assert_error,
                     question, raw_post, request, unique, Service)

BODY_BYTES_MAX = 65536
CONFIG = {"limits": {"body_bytes_max": BODY_BYTES_MAX}}


# ---- clients

def curl(*arguments):
    done = subprocess.run(["curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "20",
                           *arguments], capture_output=True, timeout=30)
    assert done.returncode == 0, done
    return done.stdout


@pytest.mark.parametrize("version", ["--http1.0", "--http1.1"])
@pytest.mark.parametrize("route", ROUTES)
def test_curl_gets_one_whole_body(service, route, version):
    body = question(route, unique("curl"))
    out = curl(version, "--include", "--json", json.dumps(body), service.url + route)
    head, _, data = out.partition(b"\r\n\r\n")
    assert b" 200 " in head.split(b"\r\n")[0]
    assert b"content-length: %d\r\n" % len(data) in head.lower() + b"\r\n"
    assert b"transfer-encoding" not in head.lower()
    assert json.loads(data)["model"] == body["model"]


def test_curl_may_expect_a_100(service):
    body = question(CHAT, unique("expect"))
    out = curl("--include", "-H", "Expect: 100-continue", "--json", json.dumps(body), service.url + CHAT)
    assert out.startswith(b"HTTP/1.1 100 ")
    assert json.loads(out.split(b"\r\n\r\n", 2)[2])["model"] == body["model"]


def test_curl_may_send_its_body_in_chunks(service):
    body = question(CHAT, unique("chunks"))
    out = curl("-H", "Transfer-Encoding: chunked", "--json", json.dumps(body), service.url + CHAT)
    assert json.loads(out)["model"] == body["model"]


def test_pythons_urllib_gets_one_whole_body(service):
    body = question(MESSAGES, unique("urllib"))
    call = urllib.request.Request(service.url + MESSAGES, json.dumps(body).encode(),
                                  {"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(call, timeout=20) as answer:
        assert answer.status == 200
        assert json.loads(answer.read())["model"] == body["model"]


def test_python_clients_see_the_error_and_no_broken_pipe(service):
    call = urllib.request.Request(service.url + MESSAGES, b"x" * 900_000,
                                  {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(call, timeout=20)
    assert error.value.code == 413
    error.value.close()


def test_pythons_http_client_may_send_its_body_in_chunks(service, provider):
    body = question(CHAT, unique("chunks"))
    data = json.dumps(body).encode()
    reply = request(service.port, "POST", CHAT, iter([data[:7], data[7:40], data[40:]]),
                    {"Content-Type": "application/json"})
    assert_answer(reply, provider.answer(CHAT, body).body)


# ---- connections

def test_an_http_1_0_client_gets_a_length_and_a_closed_connection(service):
    data = json.dumps(question(CHAT, unique("old"))).encode()
    with service.connect() as connection:
        connection.send(f"POST {CHAT} HTTP/1.0\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
        assert_answer(connection.reply())
        assert connection.at_end()


def test_an_http_1_0_client_may_keep_its_connection(service):
    with service.connect() as connection:
        for _ in range(2):
            connection.send(raw_post(CHAT, question(CHAT, unique("old")), "1.0", "Connection: keep-alive"))
            reply = connection.reply()
            assert_answer(reply)
            assert reply["connection"].lower() == "keep-alive"


def test_pipelined_requests_are_answered_in_order(service, provider):
    models = [unique(f"row-{number}") for number in range(4)]
    provider.script(models[0], {"pause_s": 0.3})
    with service.connect() as connection:
        connection.send(b"".join(raw_post(CHAT, question(CHAT, model)) for model in models))
        for model in models:
            reply = connection.reply()
            assert_answer(reply)
            assert reply.json["model"] == model


def test_connection_close_is_obeyed(service):
    with service.connect() as connection:
        connection.send(raw_post(CHAT, question(CHAT, unique("close")), "1.1", "Connection: close"))
        reply = connection.reply()
        assert_answer(reply)
        assert reply["connection"].lower() == "close"
        assert connection.at_end()


def test_a_client_that_expects_a_100_gets_it_before_its_body(service):
    data = json.dumps(question(CHAT, unique("expect"))).encode()
    with service.connect() as connection:
        connection.send(f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                        f"Expect: 100-continue\r\nContent-Length: {len(data)}\r\n\r\n")
        assert connection.reply().status == 100
        connection.send(data)
        assert_answer(connection.reply())


def test_a_client_that_expects_a_100_is_refused_before_a_large_body(service):
    with service.connect() as connection:
        connection.send(f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                        f"Expect: 100-continue\r\nContent-Length: {BODY_BYTES_MAX + 1}\r\n\r\n")
        assert connection.reply().status == 413


def test_chunks_may_have_extensions_and_trailers(service):
    data = json.dumps(question(CHAT, unique("chunks"))).encode()
    with service.connect() as connection:
        connection.send(b"POST %s HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                        b"5;name=value\r\n%s\r\n%X\r\n%s\r\n0\r\nX-Trailer: 1\r\n\r\n"
                        % (CHAT.encode(), data[:5], len(data) - 5, data[5:]))
        assert_answer(connection.reply())


# ---- probes and routes

@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_the_probes_answer_get_and_head(service, path):
    got = service.get(path)
    assert got.status == 200 and isinstance(got.json, dict)
    with service.connect() as connection:
        connection.send(f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = connection.reply("HEAD")
        assert head.status == 200
        assert head["content-length"] == str(len(got.body)) == got["content-length"]
        connection.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.reply().body == got.body


@pytest.mark.parametrize("path", ["/", "/v1", "/messages", "/v1/v1/messages", "/v1/messages/",
                                  "/v1/files", "/metrics", "/ops"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_path_is_told_what_is_served(service, method, path):
    reply = service.request(method, path, b"{}" if method == "POST" else None)
    assert_error(reply, path, 404)
    for route in ROUTES:
        assert route in reply.body.decode()


@pytest.mark.parametrize("route", [CHAT, RESPONSES])
def test_openais_routes_are_served_without_v1_too(service, provider, route):
    body, key = question(route, unique("alias")), unique("key")
    alias = route.removeprefix("/v1")
    reply = service.post(alias, body, key)
    again = service.post(route, body, key)  # one and the same request
    assert_answer(again, key_status="replayed")
    [call] = provider.requests(body["model"])
    assert call["target"] == route
    assert_answer(reply, provider.answer(route, body).body, "executed")
    assert again.body == reply.body
    assert_error(service.post(alias, {**body, "stream": True}), route, 400)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"])
@pytest.mark.parametrize("route", ROUTES)
def test_another_method_is_told_which_is_served(service, method, route):
    reply = service.request(method, route)
    assert_error(reply, route, 405)
    assert reply["allow"] == "POST"
    assert "POST" in reply.body.decode()


def test_the_probes_allow_get_and_head_only(service):
    reply = service.request("POST", "/livez", b"{}")
    assert reply.status == 405
    assert {method.strip() for method in reply["allow"].split(",")} == {"GET", "HEAD"}


# ---- bodies

@pytest.mark.parametrize("headers", [
    {"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"},
    {"Content-Type": "application/json; charset=iso-8859-1"}, {"Content-Type": "application/jsonx"},
    {"Content-Encoding": "gzip"}])
@pytest.mark.parametrize("route", ROUTES)
def test_another_media_type_is_told_what_to_send(service, route, headers):
    body = json.dumps(question(route, "never-asked")).encode()
    reply = service.post(route, gzip.compress(body) if "Content-Encoding" in headers else body,
                         headers=headers)
    assert_error(reply, route, 415)
    assert ("Content-Encoding" if "Content-Encoding" in headers else "application/json") in reply.body.decode()


@pytest.mark.parametrize("media", ["application/json", "application/json; charset=utf-8", "text/json",
                                   "Application/JSON;charset=\"UTF-8\"", "application/vnd.x+json"])
def test_every_name_of_json_is_taken(service, media):
    assert_answer(service.post(CHAT, question(CHAT, unique("media")), headers={"Content-Type": media}))


def test_no_media_type_is_taken_for_json_unless_a_web_page_asks(service):
    body = json.dumps(question(CHAT, unique("media")))
    assert_answer(service.request("POST", CHAT, body))
    reply = service.request("POST", CHAT, body, {"Origin": "https://a.example"})
    assert_error(reply, CHAT, 415)


def padded(model, size):
    body = json.dumps(question(CHAT, model)).encode()
    return body + b" " * (size - len(body))


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_at_the_limit_is_taken_and_one_over_it_is_not(service, chunked):
    def post(size):
        data = padded(unique("limit"), size)
        return service.request("POST", CHAT, iter([data]) if chunked else data,
                               {"Content-Type": "application/json"})
    assert_answer(post(BODY_BYTES_MAX))
    assert_error(post(BODY_BYTES_MAX + 1), CHAT, 413, "body_too_large")


@pytest.mark.parametrize("route", ROUTES)
def test_a_stream_is_refused_and_told_where_to_get_one(service, route):
    reply = service.post(route, {**question(route, "never-asked"), "stream": True})
    code = None if route == SIMPLE else "stream_not_supported"
    assert_error(reply, route, 400, code, retry=False)


def test_background_is_refused_and_told_what_to_use(service):
    reply = service.post(RESPONSES, question(RESPONSES, "never-asked", background=True))
    assert_error(reply, RESPONSES, 400, retry=False)
    assert "respond-async" in reply.body.decode()


BAD_JSON = {"nothing": b"", "cut": b'{"model":', "trailing": b'{"model":"m"} x', "an array": b"[]",
            "a string": b'"m"', "two members": b'{"model":"a","model":"b"}', "bad utf-8": b'{"model":"\xff"}',
            "lone surrogate": b'{"model":"\\ud800"}', "single quotes": b"{'model':'m'}",
            "a number": b'{"n":01}', "too deep": b'{"x":' + b"[" * 200 + b"]" * 200 + b"}"}


@pytest.mark.parametrize("kind", BAD_JSON)
@pytest.mark.parametrize("route", ROUTES)
def test_bad_json_is_refused_in_the_shape_of_the_api(service, route, kind):
    reply = service.post(route, BAD_JSON[kind], unique("key"))
    assert_error(reply, route, 400, retry=False)


def test_a_leading_byte_order_mark_is_not_held_against_a_client(service):
    body = b"\xef\xbb\xbf" + json.dumps(question(CHAT, unique("bom"))).encode()
    assert_answer(service.post(CHAT, body))


# ---- framing that two readers could understand in two ways

JSON_TYPE = "Content-Type: application/json\r\n"
GUARDED = {
    "length and transfer encoding": "Host: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n",
    "two lengths": "Host: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n",
    "the same length twice": "Host: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n",
    "a list of lengths": "Host: a\r\nContent-Length: 2, 2\r\n",
    "a signed length": "Host: a\r\nContent-Length: +2\r\n",
    "a negative length": "Host: a\r\nContent-Length: -2\r\n",
    "a length beyond numbers": "Host: a\r\nContent-Length: 99999999999999999999999\r\n",
    "a blank before the colon": "Host: a\r\nContent-Length : 2\r\n",
    "an unknown transfer encoding": "Host: a\r\nTransfer-Encoding: gzip, chunked\r\n",
    "an identity transfer encoding": "Host: a\r\nTransfer-Encoding: identity\r\n",
    "two transfer encodings": "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "a disguised transfer encoding": "Host: a\r\nTransfer-Encoding: \x0bchunked\r\n",
    "no host": "Content-Length: 2\r\n",
    "two hosts": "Host: a\r\nHost: b\r\nContent-Length: 2\r\n",
    "a name that is no token": "Host: a\r\nContent-Length: 2\r\nX(y): 1\r\n",
    "a bare CR in a value": "Host: a\r\nContent-Length: 2\r\nX-A: b\rX-C: d\r\n",
    "two credentials":
        "Host: a\r\nContent-Length: 2\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n",
}


@pytest.mark.parametrize("guard", GUARDED)
def test_ambiguous_framing_is_refused_and_the_connection_closed(service, guard):
    with service.connect() as connection:
        connection.send(f"POST {CHAT} HTTP/1.1\r\n{JSON_TYPE}{GUARDED[guard]}\r\n{{}}"
                        f"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while connection.receive():
            pass
    # libmicrohttpd refuses some of these by itself, and then sends the head of its reply twice.
    statuses = re.findall(rb"HTTP/1\.1 (\d+) ", connection.buffer)
    assert statuses, "it is answered"
    assert set(statuses) <= {b"400", b"413", b"501"}, "and nothing after it is a request"


def test_a_transfer_encoding_on_http_1_0_is_refused(service):
    with service.connect() as connection:
        connection.send(f"POST {CHAT} HTTP/1.0\r\n{JSON_TYPE}Transfer-Encoding: chunked\r\n\r\n"
                        "2\r\n{}\r\n0\r\n\r\n")
        assert connection.reply().status == 400
        assert connection.at_end()


def test_a_head_over_the_limit_is_refused(service):
    with service.connect() as connection:
        connection.send(f"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Large: {'x' * 40_000}\r\n\r\n")
        reply = connection.reply()
        assert reply is None or reply.status in (400, 413, 431), reply
        assert connection.at_end()


# ---- slowness

@pytest.fixture(scope="module")
def hasty(provider, binary, tmp_path_factory):
    """A service that gives a request one second to arrive."""
    service = Service(provider, tmp_path_factory.mktemp("hasty"),
                      {"limits": {"request_timeout_s": 1, "request_bytes_per_s_min": 65536}})
    yield service
    service.stop()


def drip(connection, data, seconds):
    """Sends a byte at a time until the other side ends the connection; False if it did not."""
    deadline = time.monotonic() + seconds
    connection.socket.settimeout(0.1)
    for byte in data:
        if time.monotonic() > deadline:
            return False
        try:
            connection.send(bytes([byte]))
            if not connection.receive():
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


def test_a_head_that_drips_in_is_cut_off(hasty):
    with hasty.connect() as connection:
        assert drip(connection, b"POST /v1/messages HTTP/1.1\r\nX-Slow: " + b"x" * 500, 8)


def test_a_body_that_drips_in_is_cut_off(hasty):
    with hasty.connect() as connection:
        connection.send(f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\n{JSON_TYPE}Content-Length: 500\r\n\r\n")
        assert drip(connection, b"{" + b" " * 498, 8)
        assert not connection.buffer or b" 408 " in connection.buffer.split(b"\r\n")[0]


def test_a_half_sent_request_is_cut_off(hasty):
    with hasty.connect(timeout_s=8) as connection:
        connection.send("POST /v1/messages HTTP/1.1\r\nHost: loc")
        reply = connection.reply()
        assert reply is None or reply.status == 408
        assert connection.at_end()


def test_an_idle_connection_is_left_alone(hasty):
    with hasty.connect() as connection:
        for pause_s in (2.5, 0):  # the promise is about time: more than twice request_timeout_s
            connection.send(raw_post(CHAT, question(CHAT, unique("idle"))))
            assert_answer(connection.reply())
            time.sleep(pause_s)


def test_a_long_wait_for_the_answer_is_not_slowness_of_the_request(hasty, provider):
    model = provider.script(unique("long"), {"pause_s": 2.5})
    assert_answer(hasty.post(CHAT, question(CHAT, model)))


def test_a_connection_survives_many_requests(service):
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
    connection.connect()
    first = connection.sock
    for _ in range(20):
        connection.request("POST", CHAT, json.dumps(question(CHAT, unique("row"))),
                           {"Content-Type": "application/json"})
        assert connection.getresponse().read()
        assert connection.sock is first
    connection.close()
