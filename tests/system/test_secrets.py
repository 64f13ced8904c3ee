"""What others on the machine can learn from a running service, who it runs as, and what its log makes of
hostile bytes.  That no test's secret stands anywhere is conftest.py's check at the end of the session."""
import base64
import hashlib
import json
import os
import pwd
import re
import shutil
import stat
import tempfile
from pathlib import Path

import pytest

import leaks
from support import (BINARY, CHAT, MESSAGES, SIMPLE, UPSTREAMS, Service, assert_answer, free_port, question, request,
                     run_binary, unique, wait_until)

SECRET = b"key-0123456789"


@pytest.mark.parametrize("spelling", [
    SECRET, SECRET.hex().encode(), SECRET.hex().upper().encode(), base64.b64encode(SECRET),
    base64.b64encode(b"x:" + SECRET + b"??"), base64.urlsafe_b64encode(b"\xff" + SECRET + b"\xff")])
def test_the_search_for_secrets_finds_each_spelling(spelling):
    assert leaks.found_in(b"... " + spelling + b" ...", {SECRET, b"another-secret"}) == {SECRET}
    assert leaks.found_in(b"... " + spelling[:6] + b"." + spelling[6:] + b" ...", {SECRET}) == set()


def test_the_search_for_secrets_knows_where_to_look(tmp_path, monkeypatch):
    for name, value in (("secrets", leaks.defaultdict(set)), ("shown", leaks.defaultdict(list)), ("services", [])):
        monkeypatch.setattr(leaks, name, value)
    leaks.note_service(tmp_path, {"listen": ["127.0.0.1:81"], "ops_listen": "127.0.0.1:82",
                                  "upstreams": {"a": {"api_key": "operators-key"}}}, {"OUR_KEY": "environments-key"})
    leaks.note_headers(81, {"Authorization": "Bearer clients-key", "Idempotency-Key": "the-first-key"})
    leaks.note_sent(81, b"POST / HTTP/1.1\r\nIDEMPOTENCY-KEY: \"the-second-key\"\r\n\r\n")
    assert leaks.secrets[81] == {b"operators-key", b"environments-key", b"clients-key", b"the-first-key",
                                 b"the-second-key"}
    (tmp_path / "config.json").write_text("operators-key")
    assert list(leaks.findings()) == []
    (tmp_path / "unstream.db-wal").write_bytes(b"\0the-second-key\0")
    leaks.shown[82].append(("the body of /metrics", b'key="clients-key"'))
    assert sorted(line.partition(" ")[2] for line in leaks.findings()) == [
        "body of /metrics of " + tmp_path.name + " show b'clients-key'", "holds b'the-second-key'"]


# ---- who it runs as, and who may look into it

@pytest.fixture
def unprivileged(provider):
    """Starts a service as nobody, if we are root; else as ourselves."""
    user = "nobody" if os.geteuid() == 0 else None
    directory = Path(tempfile.mkdtemp(prefix="unstream-test-"))  # nobody cannot reach pytest's
    services = []

    def start(overrides=None, **variables):
        if user:
            shutil.chown(directory, user)
        binary = shutil.copy(BINARY, directory / "unstream")
        services.append(Service(provider, directory, overrides, binary, user=user, **variables))
        (directory / "config.json").chmod(0o644)
        return services[-1]

    yield start
    for service in services:
        service.stop()
    shutil.rmtree(directory)


def test_it_serves_without_privileges_and_its_files_are_its_own(unprivileged, provider):
    service = unprivileged({"store": "sqlite:state/keys.db"})
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    uid = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else os.geteuid()
    assert re.search(rf"^Uid:(\t{uid}){{4}}$", status, re.MULTILINE)
    assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
    body, key = question(CHAT, unique("unprivileged")), unique("key")
    assert_answer(service.post(CHAT, body, key), key_status="executed")
    assert_answer(service.post(CHAT, body, key), key_status="replayed")
    state = service.directory / "state"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    files = {file.name: (stat.S_IMODE(file.stat().st_mode), file.stat().st_uid) for file in state.iterdir()}
    assert files == {name: (0o600, uid) for name in ("keys.db", "keys.db-wal", "keys.db-shm", "keys.db.lock")}


def test_nobody_else_looks_into_its_memory(unprivileged):
    """What PR_SET_DUMPABLE protects belongs to root, even if the process is another user's."""
    service = unprivileged()
    proc = Path(f"/proc/{service.process.pid}")
    for name in ("environ", "mem", "maps", "fd"):
        assert (proc / name).stat().st_uid == 0, name
    assert re.search(r"^Max core file size +0 +0 ", (proc / "limits").read_text(), re.MULTILINE)


def test_credentials_are_not_in_its_command_line(unprivileged):
    key, token = unique("sk-key"), unique("token")
    service = unprivileged({"upstreams": {name: {"api_key": "$OUR_KEY"} for name in UPSTREAMS}},
                           OUR_KEY=key, UNSTREAM_TOKEN=token)
    proc = Path(f"/proc/{service.process.pid}")
    titles = [(proc / "cmdline").read_bytes(), *(task.read_bytes() for task in proc.glob("task/*/comm"))]
    assert b"--config" in titles[0] and len(titles) >= 4
    assert not leaks.found_in(b"\n".join(titles), {key.encode(), token.encode()})


# ---- what the log makes of hostile bytes

ESCAPES = "\x1b[31m\x1b]0;title\x07\x08\x7f\x9b2J\u202e\u2028\r\n"
FORGED = '"}\n{"level":"info","event":"forged"}\n2026-01-01T00:00:00.000Z info forged x="'


@pytest.fixture(scope="module", params=["json", "text"])
def logging(request, provider, binary, tmp_path_factory):
    service = Service(provider, tmp_path_factory.mktemp("logging"), {"log": {"format": request.param, "level": "debug"}})
    service.lines = lambda: service.log.read_bytes().splitlines()
    yield service, request.param
    service.terminate()
    assert service.process.wait(40) == 0


def assert_harmless(service, form, count_before, events):
    """So many lines were added, each whole and of printable ASCII, and none that a client wrote."""
    def logged():  # a long line is seen growing
        data = service.log.read_bytes()
        return data if data.endswith(b"\n") and data.count(b"\n") >= count_before + events else None

    data = wait_until(logged, f"{events} whole lines of the log")
    lines = data.split(b"\n")[count_before:-1]
    for line in lines:
        assert re.fullmatch(rb"[\x20-\x7e]+", line), line
        if form == "json":
            assert json.loads(line)["event"] != "forged"
        else:
            assert re.fullmatch(rb'\S+Z (debug|info|warning|error) (?!forged)\w+( \w+=("([^"\\]|\\.)*"|[\w.:/+@-]+))*',
                                line), line
    return lines


@pytest.mark.parametrize("name", ["X-Request-Id", "traceparent", "User-Agent"])
@pytest.mark.parametrize("value", [
    b"a\x1b[31mred\x1b[0m", b"a\x07\x08", b"a\rb", b"a\x7fb", b"a\x00b", b"\xff\xfe\xc0\xaf", b"\xc2\x9b2J",
    b"\xe2\x80\xae\xe2\x80\xa8", b'a"} forged x="', b"a\\", b"a\r\n b", b"x" * 9000],
    ids=["colour", "bell", "return", "delete", "nul", "no-utf8", "c1", "bidi", "quote", "backslash", "folded", "long"])
def test_a_header_cannot_write_the_log(logging, name, value):
    service, form = logging
    before = len(service.lines())
    data = json.dumps(question(CHAT, unique("header"))).encode()
    with service.connect() as connection:
        connection.send(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                        b"Content-Length: %d\r\n%s: %s\r\n\r\n%s" % (CHAT.encode(), len(data), name.encode(), value, data))
        assert connection.reply().status in (200, 400)
    assert_harmless(service, form, before, 1)


@pytest.mark.parametrize("target", [b"/\x1b[31m", b"/a\x7f", b"/\xff\xc2\x9b", b"/%0a%1b%5b31m", b'/"forged', b"/a\rb",
                                    b"/v1/chat/completions?a=\x1b[1m", b"/requests/\x1b[31m"])
@pytest.mark.parametrize("method", [b"GET", b"G\x1bT", b"PO\x7fST", b'P"ST', b"\xc2\x9bX"])
def test_a_request_line_cannot_write_the_log(logging, method, target):
    service, form = logging
    before = len(service.lines())
    with service.connect() as connection:
        connection.send(method + b" " + target + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        reply = connection.reply()
        assert reply is None or reply.status >= 400
    assert_harmless(service, form, before, 0)


@pytest.mark.parametrize("route", [CHAT, MESSAGES, SIMPLE])
@pytest.mark.parametrize("model", [ESCAPES, FORGED, "\\", '"', "\u0000", "\U0010ffff", "m" * 20000],
                         ids=["escapes", "forged", "backslash", "quote", "nul", "last", "long"])
@pytest.mark.parametrize("ascii_only", [True, False], ids=["escaped", "raw"])
def test_a_model_cannot_write_the_log(logging, route, model, ascii_only):
    service, form = logging
    before = len(service.lines())
    body = json.dumps(question(route, model), ensure_ascii=ascii_only).encode()
    assert service.post(route, body).status in (200, 400)
    assert_harmless(service, form, before, 1)


@pytest.mark.parametrize("value", [b"up\x1b[31m", b"up\x7f\x9b", b'up"} forged x="'])
def test_a_provider_cannot_write_the_log(logging, provider, value):
    service, form = logging
    model, before = unique("provider"), len(service.lines())
    provider.script(model, {"status": 400, "body": {"error": {"message": value.decode("latin-1")}},
                            "headers": {"x-request-id": value.decode("latin-1")}})
    assert service.post(CHAT, question(CHAT, model)).status == 400
    assert_harmless(service, form, before, 2)


# ---- what operators are shown

def test_operators_see_flights_without_their_secrets(launch, provider):
    """Neither keys, tokens and credentials, nor what was asked and answered."""
    port = free_port()
    token, api_key, key, ops_token, prompt, words, error = map(unique, (
        "token", "sk-upstream", "key", "ops", "prompt", "words", "error"))
    service = launch({"ops_listen": f"127.0.0.1:{port}", "ops_token_sha256": hashlib.sha256(ops_token.encode()).hexdigest(),
                      "clients": [{"name": "billing", "token_sha256": hashlib.sha256(token.encode()).hexdigest()}],
                      "upstreams": {name: {"api_key": api_key} for name in UPSTREAMS}})
    hold, known, operator = unique("hold"), {"Authorization": f"Bearer {token}"}, {"Authorization": f"Bearer {ops_token}"}
    model = provider.script(unique("shown"), {"status": 500, "body": {"error": {"message": error}}},
                            {"text": f"{words} {words}", "hold": hold})
    body = question(CHAT, model, prompt, user=unique("user"))
    accepted = service.post(CHAT, body, key, {**known, "Prefer": "respond-async"})
    assert accepted.status == 202
    flight = f"/ops/flights/{accepted['unstream-request-id']}"
    provider.wait_for(model)
    shown = [request(port, "GET", path, headers=operator).body for path in ("/ops/state", flight)]
    provider.release(hold)
    wait_until(lambda: service.get(accepted["location"], known).status == 200, "the answer")
    assert_answer(service.post(CHAT, body, key, known), key_status="replayed")
    shown += [request(port, "GET", path, headers=operator).body for path in ("/ops/state", flight)]
    for option in ([], ["--json"]):
        told = run_binary("why", flight.rpartition("/")[2], *option, "--config", service.directory / "config.json",
                          directory=service.directory, UNSTREAM_OPS_TOKEN=ops_token)
        assert told.returncode == 0, told.stderr
        shown.append(told.stdout.encode())
    result_token = re.search("/requests/([^?]+)", accepted["location"])[1]
    secrets = {text.encode() for text in (token, api_key, key, ops_token, prompt, words, error, body["user"], result_token)}
    for text in shown:
        assert model.encode() in text and b"billing" in text
        assert not leaks.found_in(text, secrets)
