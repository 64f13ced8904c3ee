"""A provider that is an enemy: what it sends after, or instead of, an answer is said byte by byte.

An Enemy listens on loopback and serves each connection in a thread of its own.  A request is answered
by the script of its model, a function of (peer, request) that returns true when the connection may be
used again; models without a script get the usual answer of tests/provider/provider.py.  on_accept, a
function of (peer), takes the place of all that for what an enemy does before it has read a request.
"""
import contextlib
import json
import socket
import struct
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import provider as scripted  # noqa: E402

CHAT = "/v1/chat/completions"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CLOSED = STREAM_HEAD + b"Connection: close\r\n\r\n"
CHUNKED = STREAM_HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
SECONDS_MAX = 60  # nothing here outlives this, whatever the other side does


@dataclass
class Request:
    path: str
    headers: dict
    body: bytes

    @property
    def json(self):
        with contextlib.suppress(ValueError):
            value = json.loads(self.body)
            return value if isinstance(value, dict) else {}
        return {}


class Peer:
    """One connection as the enemy sees it."""

    def __init__(self, connection):
        self.socket = connection
        self.socket.settimeout(SECONDS_MAX)
        self.buffer = b""
        self.sent = 0

    def send(self, data):
        """False: the other side is gone."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        self.sent += len(data)
        return True

    def send_without_end(self, data):
        while self.send(data):
            pass

    def read(self, length):
        """So many bytes, fewer at the end of the connection."""
        while len(self.buffer) < length:
            if not self.receive():
                break
        data, self.buffer = self.buffer[:length], self.buffer[length:]
        return data

    def receive(self):
        try:
            data = self.socket.recv(65536)
        except OSError:
            return False
        self.buffer += data
        return bool(data)

    def read_request(self):
        """The next request; None at the end of the connection."""
        while b"\r\n\r\n" not in self.buffer:
            if not self.receive():
                return None
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        body = self.read(length)
        return Request(first.split(" ")[1], headers, body) if len(body) == length else None

    def wait_for_end(self):
        """Says nothing until the other side closes."""
        while self.receive():
            self.buffer = b""

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def call_of(body, path=CHAT):
    return scripted.Call(path, {**body, "stream_options": {"include_usage": True}}, {}).write()


def right_events(body, path=CHAT):
    """The events that answer this request, as one text."""
    return b"".join(data for data, _ in scripted.APIS[path].events(call_of(body, path)))


def right_answer(body, path=CHAT):
    """The body that these events must become."""
    return scripted.APIS[path].body(call_of(body, path))


def answer_rightly(peer, request):
    events = right_events(request.json, request.path)
    return peer.send(CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(events), events))


def says(*pieces):
    """A script that sends these bytes; EVENTS stands for the right events.  Then it closes."""
    def script(peer, request):
        for piece in pieces:
            if not peer.send(right_events(request.json, request.path) if piece is EVENTS else piece):
                break
    return script


EVENTS = object()


class Enemy:
    def __init__(self, tls=None, on_accept=None):
        self.tls, self.on_accept = tls, on_accept
        self.scripts, self.requests = {}, {}
        self.remembers = True  # the requests
        self.accepted = 0
        self.peers = set()
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)  # ends accept()
        self.listener.close()
        with self.lock:
            peers = list(self.peers)
        for peer in peers:
            with contextlib.suppress(OSError):
                peer.socket.shutdown(socket.SHUT_RDWR)

    def script(self, model, script):
        self.scripts[model] = script
        return model

    def hits(self, model):
        return len(self.requests.get(model, []))

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with contextlib.closing(connection):
            if self.tls:
                connection.settimeout(SECONDS_MAX)
                try:
                    connection = self.tls.wrap_socket(connection, server_side=True)
                except OSError:
                    return
            with contextlib.closing(connection):
                self.talk(Peer(connection))

    def talk(self, peer):
        with self.lock:
            self.peers.add(peer)
        try:
            if self.on_accept:
                self.on_accept(peer)
                return
            while request := peer.read_request():
                model = request.json.get("model")
                if self.remembers:
                    with self.lock:
                        self.requests.setdefault(model, []).append(request)
                if not self.scripts.get(model, answer_rightly)(peer, request):
                    return
        finally:
            with self.lock:
                self.peers.discard(peer)
