"""What the system tests share: the provider and the binary as processes, and small HTTP clients."""
import base64
import concurrent.futures
import contextlib
import copy
import decimal
import fcntl
import http.client
import json
import os
import pwd
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import leaks

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("UNSTREAM_BINARY", ROOT / "build/dev/unstream")).resolve()
PROVIDER = ROOT / "tests/provider/provider.py"

CHAT, RESPONSES, MESSAGES, SIMPLE = ROUTES = (
    "/v1/chat/completions", "/v1/responses", "/v1/messages", "/api/llm")
PROVIDER_ROUTES = ROUTES[:3]
SDK_OF = {CHAT: ("openai", "chat", "/v1"), RESPONSES: ("openai", "responses", "/v1"),
          MESSAGES: ("anthropic", "messages", "")}
UPSTREAMS = ("chat", "responses", "messages", "simple")  # one for each route
SIMPLE_MODEL = "simple-model"
SANITIZER = re.compile(r"Sanitizer|runtime error:|assertion failed|Assertion", re.IGNORECASE)


def unique(word="x"):
    return f"{word}-{uuid.uuid4().hex}"


def wait_until(condition, what, timeout_s=15):
    """The first true value of condition(); fails with `what` when there is none in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        if value := condition():
            return value
        assert time.monotonic() < deadline, f"waited {timeout_s} s in vain: {what}"
        time.sleep(0.02)


@contextlib.contextmanager
def alone(name):
    """Tests run in several processes: only one of them is in here at a time."""
    with (ROOT / "build" / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def exact(data):
    """JSON with numbers as exact decimals, to compare values and not member order."""
    return json.loads(data, parse_int=decimal.Decimal, parse_float=decimal.Decimal)


def merged(base, overrides):
    """A copy of base with overrides laid over it, object by object."""
    if not isinstance(base, dict) or not isinstance(overrides, dict):
        return copy.deepcopy(overrides)
    return {**base, **{key: merged(base.get(key), value) for key, value in overrides.items()}}


def question(route, model, prompt="Tell me about rivers", **members):
    """The body of a usual request on this route."""
    turns = [{"role": "user", "content": prompt}]
    shapes = {CHAT: {"model": model, "messages": turns}, RESPONSES: {"model": model, "input": prompt},
              MESSAGES: {"model": model, "max_tokens": 4096, "messages": turns},
              SIMPLE: {"model": model, "prompt": prompt}}
    return {**shapes[route], **members}


def held(provider, word="held", **step):
    """A model whose first call is held (after its first word, unless the step says where), and the name
    that lets it go on."""
    model, hold = unique(word), unique("hold")
    return provider.script(model, {"hold": hold, **step}), hold


def leave(service, provider, route, body, *lines):
    """Sends a request and disconnects when the provider has begun to answer it."""
    with service.connect() as connection:
        connection.send(raw_post(route, body, "1.1", *lines))
        provider.wait_for(body["model"])


def in_background(function, *arguments, **members):
    """The future of a call in a thread of its own."""
    pool = concurrent.futures.ThreadPoolExecutor(1)
    future = pool.submit(function, *arguments, **members)
    pool.shutdown(wait=False)
    return future


# ---- HTTP

class Reply:
    def __init__(self, status, headers, body, path="", version=11):
        self.status, self.body, self.path, self.version = status, body, path, version
        self.header_list = [(name.lower(), value) for name, value in headers]

    def __repr__(self):
        return f"<{self.path} {self.status} {self.header_list} {self.body[:600]!r}>"

    def __getitem__(self, name):
        """The value of a header; None when there is none."""
        return next((value for key, value in self.header_list if key == name.lower()), None)

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        """The error object of either SDK's shape, or the problem document."""
        return self.json.get("error", self.json)


def request(port, method, path, body=None, headers=None, timeout_s=60):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    leaks.note_headers(port, headers or {})
    with contextlib.closing(connection):
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        reply = Reply(answer.status, answer.getheaders(), answer.read(), path, answer.version)
    leaks.note_reply(port, path, reply)
    return reply


class RawConnection:
    """A connection on which a test says every byte itself."""

    def __init__(self, port, timeout_s=20, receive_buffer_bytes=None):
        self.socket = socket.socket()
        self.socket.settimeout(timeout_s)
        if receive_buffer_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.connect(("127.0.0.1", port))
        self.port, self.buffer = port, b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        data = data.encode() if isinstance(data, str) else data
        leaks.note_sent(self.port, data)
        self.socket.sendall(data)

    def receive(self):
        """More bytes into the buffer; False at the end of the connection."""
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            return False
        self.buffer += data
        return bool(data)

    def take(self, length):
        while len(self.buffer) < length:
            assert self.receive(), f"the connection ended inside a body: {self.buffer!r}"
        data, self.buffer = self.buffer[:length], self.buffer[length:]
        return data

    def reply(self, method="POST"):
        """The next reply, an interim one included; None when the connection ended before it."""
        while b"\r\n\r\n" not in self.buffer:
            if not self.receive():
                assert not self.buffer, f"the connection ended inside a head: {self.buffer!r}"
                return None
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status, *_ = first.split(" ")
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        reply = Reply(int(status), headers, b"", version=int(version[-1]) + 10)
        if method != "HEAD" and reply.status >= 200 and reply["content-length"]:
            reply.body = self.take(int(reply["content-length"]))
        leaks.note_reply(self.port, "", reply)
        return reply

    def at_end(self):
        """Waits for the other side to close; False when it sends something instead."""
        return not self.buffer and not self.receive()


class Stalled(RawConnection):
    """One whose kernel takes little of what it does not read."""

    def __init__(self, port):
        super().__init__(port, receive_buffer_bytes=4096)


def raw_post(path, body, version="1.1", *lines):
    """The bytes of a POST; lines are additional header lines."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"POST {path} HTTP/{version}", "Host: localhost", "Content-Type: application/json",
            f"Content-Length: {len(data)}", *lines]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + data


# ---- processes

class Provider:
    """The scripted provider in a process of its own."""

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, PROVIDER, "--port", "0"],
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
        self.process.stdout.close()

    def control(self, method, command, order=None):
        reply = request(self.port, method, "/control/" + command, json.dumps(order or {}))
        assert reply.status == 200, reply
        return reply.json

    def script(self, model, *steps, repeat=False):
        """The next calls for this model are answered by these steps; returns the model."""
        self.control("POST", "script", {"model": model, "steps": steps, "repeat": repeat})
        return model

    def release(self, hold):
        self.control("POST", "release", {"hold": hold})

    def reset(self):
        self.control("POST", "reset")

    def requests(self, model):
        """What arrived for this model, oldest first."""
        entry = self.control("GET", "hits")["models"].get(model, {"requests": []})
        return entry["requests"]

    def hits(self, model):
        return len(self.requests(model))

    def wait_for(self, model, state="held", count=1):
        """Waits until so many calls for this model are in this state."""
        def arrived():
            return sum(call["state"] == state for call in self.requests(model)) >= count
        wait_until(arrived, f"{count} calls for {model} in state {state}")

    def answer(self, route, body, headers=None):
        """What the provider itself answers without a stream."""
        return request(self.port, "POST", route, json.dumps(body), headers or {})


def sent_body(call):
    return base64.b64decode(call["body_base64"])


def sent_headers(call, name):
    return [value for key, value in call["headers"] if key.lower() == name.lower()]


def base_config(provider_url, directory, port):
    """A configuration whose upstreams are the provider; tests lay theirs over it."""
    quick = {"backoff_base_s": 0.05, "retry_budget_ratio": 1}
    return {
        "listen": [f"127.0.0.1:{port}"],
        "store": f"sqlite:{directory}/unstream.db",
        "upstreams": {  # retry budgets belong to upstreams: one for each route keeps tests apart
            "chat": {"base_url": provider_url + "/v1", "provider": "openai", **quick},
            "responses": {"base_url": provider_url + "/v1/", "provider": "openai", **quick},
            "messages": {"base_url": provider_url, "provider": "anthropic", **quick},
            "simple": {"base_url": provider_url + "/", "provider": "anthropic", **quick},
        },
        "routes": {
            CHAT: {"upstream": "chat"},
            RESPONSES: {"upstream": "responses"},
            MESSAGES: {"upstream": "messages"},
            SIMPLE: {"upstream": "simple", "api": "messages", "model": SIMPLE_MODEL,
                     "max_tokens": 4096, "deadline_s": 120},
        },
        "limits": {"store_free_bytes_min": 0},  # whatever disk the tests run on
        "drain_s": 30,
    }


def clean_environment(**variables):
    """Nothing of the developer's own keys, proxies and settings reaches the binary."""
    ours = re.compile(r"^(OPENAI|ANTHROPIC|UNSTREAM|XDG_STATE|STATE_DIR)|_proxy$", re.IGNORECASE)
    return {**{k: v for k, v in os.environ.items() if not ours.search(k)}, **variables}


def run_binary(*arguments, directory, timeout_s=20, **variables):
    """Runs the binary to its end."""
    return subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=timeout_s,
                          cwd=directory, env=clean_environment(HOME=str(directory), **variables))


def activation(sockets):
    """The start of a command line that hands over these sockets, and their descriptors."""
    descriptors = [one.fileno() for one in sockets.values()]
    listed = ",".join(map(str, descriptors))
    return [sys.executable, ROOT / "tests/system/activate.py", listed, ":".join(sockets)], descriptors


class Service:
    """The real binary, started with a configuration of its own; variables are its environment's.

    sockets: {name: socket that listens}, handed over as systemd does; port: where its clients get in;
    user: whose process it is."""

    def __init__(self, provider, directory, overrides=None, binary=BINARY, port=None, sockets=None, user=None, **variables):
        self.provider, self.directory = provider, Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = merged(base_config(provider.url, self.directory, self.port), overrides or {})
        self.config["listen"] = [address.replace("PORT", str(self.port)) for address in self.config["listen"]]
        self.log = self.directory / f"log-{unique(self.port)}"
        path = self.directory / "config.json"
        path.write_text(json.dumps(self.config))
        leaks.note_service(self.directory, self.config, variables)
        as_user = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}
        prefix, descriptors = activation(sockets) if sockets else ([], [])
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*prefix, binary, "--config", path], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=descriptors, cwd=self.directory,
                env=clean_environment(HOME=str(self.directory), **variables), **as_user)
        wait_until(self.is_ready, "the service to become ready")

    def is_ready(self):
        assert self.process.poll() is None, f"exit {self.process.returncode}:\n{self.log.read_text()}"
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.get("/readyz").status == 200

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def stop(self):
        """Ends it as an operator does, and holds it to a clean end."""
        if self.process.poll() is None:
            self.provider.control("POST", "reset")  # nothing held may hold up the end
            self.terminate()
        self.assert_clean_end()

    def assert_clean_end(self, timeout_s=40):
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"no end {timeout_s} s after SIGTERM:\n{self.log.read_text()}") from None
        log = self.log.read_text(errors="replace")
        assert not SANITIZER.search(log), log
        assert status == 0, f"exit {status}:\n{log}"
        for line in filter(None, log.split("\n")):
            assert isinstance(json.loads(line), dict), f"a log line is a JSON object: {line}"

    def settle(self):
        """Returns when what was sent before has been looked at: the loop took several turns."""
        for _ in range(5):
            assert self.get("/livez").status == 200
            time.sleep(0.02)

    def request(self, method, path, body=None, headers=None, timeout_s=60):
        return request(self.port, method, path, body, headers, timeout_s)

    def get(self, path, headers=None):
        return self.request("GET", path, headers=headers)

    def post(self, route, body, key=None, headers=None, timeout_s=60):
        """A POST as an application sends it; a body that is not bytes is printed as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        keys = {"Idempotency-Key": key} if key is not None else {}
        return self.request("POST", route, data, {"Content-Type": "application/json", **keys,
                                                  **(headers or {})}, timeout_s)

    def connect(self, timeout_s=20):
        return RawConnection(self.port, timeout_s)


# ---- what every answer must be

def assert_whole(reply, status=200):
    """One complete JSON body with its exact length, not to be cached, with a flight id."""
    assert reply.status == status, reply
    assert reply["content-length"] == str(len(reply.body)), reply
    assert reply["transfer-encoding"] is None, reply
    assert reply["cache-control"] == "no-store", reply
    assert reply["unstream-request-id"], reply
    assert isinstance(reply.json, dict), reply


def assert_answer(reply, ideal=None, key_status=None, streamed=True):
    """A 200 of a generation route, and its values if `ideal` is given.  streamed: by the provider."""
    assert_whole(reply)
    assert reply["content-type"].split(";")[0] == "application/json", reply
    assert reply["idempotency-status"] == key_status, reply
    assert reply["idempotent-replayed"] == ("true" if key_status == "replayed" else None), reply
    if key_status != "replayed":
        first_token = ["ttft;dur="] if streamed else []
        for metric in ["queue;dur=", "attempts;desc=", *first_token, "generation;dur="]:
            assert metric in (reply["server-timing"] or ""), reply
    if ideal is not None:
        assert exact(reply.body) == exact(ideal)


def assert_error(reply, route, status, code=None, retry=None):
    """An error in the shape of the route's API.  The Anthropic shape has no place for our code."""
    assert_whole(reply, status)
    body, media = reply.json, reply["content-type"].split(";")[0]
    if route in (CHAT, RESPONSES):
        assert media == "application/json", reply
        assert body["error"].keys() >= {"message", "type", "param", "code"}, reply
        assert code is None or body["error"]["code"] == code, reply
        assert body["error"]["message"], reply
    elif route == MESSAGES:
        assert media == "application/json", reply
        assert body["type"] == "error" and body["error"]["type"] and body["error"]["message"], reply
    else:
        assert media == "application/problem+json", reply
        assert body["status"] == status and body["title"], reply
        assert code is None or body["code"] == code, reply
    if retry is not None:
        assert reply["x-should-retry"] == ("true" if retry else "false"), reply
    if retry:
        assert 1 <= int(reply["retry-after"]) <= 8, reply
