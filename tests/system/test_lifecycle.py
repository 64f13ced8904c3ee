"""Under systemd: what it is told, sockets it hands over, and ends that lose nothing."""
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import time

import pytest

from support import (BINARY, CHAT, MESSAGES, UPSTREAMS, RawConnection, activation, assert_answer,
                     assert_error, base_config, clean_environment, free_port, in_background, merged, question,
                     raw_post, request, unique, wait_until)

KEYS = {"upstreams": {name: {"api_key": "sk-operator"} for name in UPSTREAMS}}


# ---- notifications

class Listener:
    """The other side of NOTIFY_SOCKET."""

    def __init__(self, name):
        self.name = name
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(name.replace("@", "\0", 1) if name[0] == "@" else name)
        self.socket.settimeout(15)

    def next(self):
        """The assignments of the next message."""
        return dict(line.split("=", 1) for line in self.socket.recv(4096).decode().splitlines())


@pytest.fixture(params=["path", "abstract"])
def listener(request, tmp_path):
    name = str(tmp_path / "notify") if request.param == "path" else "@" + unique("unstream-test")
    listener = Listener(name)
    yield listener
    listener.socket.close()


def test_systemd_is_told_what_happens_in_order(launch, provider, listener):
    service = launch({}, NOTIFY_SOCKET=listener.name)
    ready = listener.next()
    assert ready["READY"] == "1" and ready["STATUS"] == "serving: 0 flights, 0 waiters"

    before = time.monotonic_ns() // 1000
    service.process.send_signal(signal.SIGHUP)
    reloading = listener.next()
    assert reloading["RELOADING"] == "1"
    assert before <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    assert listener.next()["READY"] == "1"

    (service.directory / "config.json").write_text("{")
    service.process.send_signal(signal.SIGHUP)  # a refused one ends too
    assert listener.next()["RELOADING"] == "1"
    refused = listener.next()
    assert refused["READY"] == "1" and "refused" in refused["STATUS"]

    model, hold = unique("notify"), unique("hold")
    provider.script(model, {"hold": hold})
    waiting = in_background(service.post, CHAT, question(CHAT, model))
    provider.wait_for(model)
    service.terminate()
    stopping = listener.next()
    assert stopping["STOPPING"] == "1" and stopping["STATUS"] == "draining: 1 flights, 1 waiters"
    service.process.send_signal(signal.SIGHUP)  # systemd is not told of reloads any more
    provider.release(hold)
    assert_answer(waiting.result())
    service.assert_clean_end()
    listener.socket.settimeout(0.1)
    with pytest.raises(TimeoutError):
        listener.next()


def test_the_watchdog_gets_its_signs_of_life(launch, listener):
    launch({}, NOTIFY_SOCKET=listener.name, WATCHDOG_USEC="100000")
    assert listener.next()["READY"] == "1"
    for _ in range(5):
        ping = listener.next()
        assert ping["WATCHDOG"] == "1" and ping["STATUS"].startswith("serving")


@pytest.mark.parametrize("variables", [{"WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": ""}, {}])
def test_a_watchdog_of_somebody_else_gets_nothing(launch, tmp_path, variables):
    listener = Listener(str(tmp_path / "notify"))
    service = launch({}, NOTIFY_SOCKET=listener.name, **variables)
    assert listener.next()["READY"] == "1"
    time.sleep(0.3)
    service.stop()
    assert "STOPPING" in listener.next()


@pytest.mark.parametrize("variables", [
    {"NOTIFY_SOCKET": "vsock:2:1"}, {"NOTIFY_SOCKET": "/" + "n" * 107}, {"NOTIFY_SOCKET": "/nobody/listens"}])
def test_a_socket_that_cannot_be_used_is_logged_and_no_more(launch, variables):
    service = launch({}, **variables)
    assert_answer(service.post(CHAT, question(CHAT, unique("served"))))
    service.stop()
    assert "notify_failed" in service.log.read_text()


# ---- sockets handed over

def listening(address="127.0.0.1", kind=socket.SOCK_STREAM, backlog=4096):
    if str(address).startswith("/"):
        one = socket.socket(socket.AF_UNIX, kind)
        one.bind(str(address))
    else:
        one = socket.socket(socket.AF_INET, kind)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((address, 0))
    if backlog:
        one.listen(backlog)
    return one


def port_of(one):
    return one.getsockname()[1]


def ask_unix(path, body, route=CHAT):
    """The status of a POST over a unix socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(path))
        connection.sendall(raw_post(route, body, "1.1", "Connection: close"))
        return int(connection.makefile("rb").read().split(b" ", 2)[1])


def test_sockets_that_are_handed_over_stand_for_what_is_configured(launch, tmp_path):
    one, two, ops = listening(), listening(tmp_path / "u.sock"), listening()
    unused = free_port()
    service = launch({**KEYS, "listen": [f"127.0.0.1:{unused}"], "ops_listen": f"127.0.0.1:{free_port()}"},
                     port=port_of(one), sockets={"one": one, "ops": ops, "two": two})
    assert_answer(service.post(CHAT, question(CHAT, unique("tcp"))))
    assert ask_unix(tmp_path / "u.sock", question(CHAT, unique("unix"))) == 200
    assert request(port_of(ops), "GET", "/metrics").status == 200
    assert service.get("/metrics").status == 404
    with pytest.raises(OSError):
        request(unused, "GET", "/livez")
    service.process.send_signal(signal.SIGHUP)  # that they differ from the file is no change
    wait_until(lambda: "reloaded" in service.log.read_text(), "the reload")
    assert "next start" not in service.log.read_text()
    service.stop()
    assert (tmp_path / "u.sock").exists()  # whose socket it is takes its file away


def test_the_operators_socket_alone_leaves_the_clients_where_they_were(launch):
    ops = listening()
    service = launch({}, sockets={"ops": ops})
    assert_answer(service.post(CHAT, question(CHAT, unique("tcp"))))
    assert request(port_of(ops), "GET", "/metrics").status == 200


def test_sockets_for_another_process_are_left_alone(launch):
    one = listening()
    service = launch({}, sockets={"one": one}, TEST_LISTEN_PID="1")
    assert_answer(service.post(CHAT, question(CHAT, unique("own"))))
    with RawConnection(port_of(one), 0.2) as connection:
        connection.send(raw_post(CHAT, question(CHAT, unique("own"))))
        with pytest.raises(TimeoutError):
            connection.receive()


def refusal(tmp_path, sockets, overrides, names=None):
    """What it says when it is started with these sockets, or with other names of them, and ends at once."""
    config = merged(base_config("http://127.0.0.1:9", tmp_path, free_port()), overrides)
    (tmp_path / "c.json").write_text(json.dumps(config))
    prefix, descriptors = activation(sockets)
    prefix[-1] = names or prefix[-1]
    done = subprocess.run([*prefix, BINARY, "--config", tmp_path / "c.json"], capture_output=True, text=True,
                          timeout=20, pass_fds=descriptors, env=clean_environment(HOME=str(tmp_path)))
    assert done.returncode == 78, done
    return done.stderr


def test_seventeen_sockets_are_taken_over_and_not_one_more(launch, tmp_path, binary):
    sockets = {f"s{number}": listening() for number in range(16)}
    service = launch({}, port=port_of(sockets["s15"]), sockets={**sockets, "ops": listening()})
    assert_answer(service.post(CHAT, question(CHAT, unique("many"))))
    service.stop()
    told = refusal(tmp_path, {f"s{number}": listening() for number in range(18)}, {})
    assert "there are over 17" in told


def test_a_handed_over_socket_does_not_give_the_operators_key_away(tmp_path, binary):
    told = refusal(tmp_path, {"one": listening("0.0.0.0")}, KEYS)
    assert "inherited sockets" in told and "0.0.0.0" in told and '"open": true' in told
    told = refusal(tmp_path, {"ops": listening("0.0.0.0")}, {})
    assert "ops_token_sha256" in told


@pytest.mark.parametrize("one", [
    lambda: listening(kind=socket.SOCK_DGRAM, backlog=0), lambda: listening(backlog=0),
    lambda: socket.socketpair()[0], lambda: open(os.devnull)])
def test_what_is_no_listening_socket_is_refused(tmp_path, binary, one):
    told = refusal(tmp_path, {"one": listening(), "two": one()}, {})
    assert "descriptor 4" in told and "ListenStream=" in told


def test_abstract_sockets_and_two_of_operators_are_refused(tmp_path, binary):
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind("\0" + unique("unstream-test"))
    abstract.listen()
    assert "absolute path" in refusal(tmp_path, {"one": abstract}, {})
    two = {"a": listening(), "b": listening()}
    assert 'two are called "ops"' in refusal(tmp_path, two, {}, names="ops:ops")


# ---- restarts

def test_requests_wait_at_the_socket_while_nobody_serves(launch, tmp_path, provider):
    one, two = listening(), listening(tmp_path / "u.sock")
    first = launch({}, port=port_of(one), sockets={"one": one, "two": two})
    first.stop()
    models = [unique("queued") for _ in range(20)]
    waiting = [in_background(first.post, CHAT, question(CHAT, model)) for model in models]
    over_unix = in_background(ask_unix, tmp_path / "u.sock", question(CHAT, unique("queued")))
    time.sleep(0.2)
    assert not any(future.done() for future in waiting)
    launch({}, directory=first.directory, port=port_of(one), sockets={"one": one, "two": two})
    for future in waiting:
        assert_answer(future.result())
    assert over_unix.result() == 200


def ask_like_an_sdk(service, body, key):
    """Comes back as often as it is told to; a connection that breaks is a failure."""
    while True:
        reply = service.post(CHAT, body, key)
        if reply.status != 503:
            return reply
        assert reply["x-should-retry"] == "true", reply
        time.sleep(0.02)


def test_restarts_lose_no_request(launch, provider):
    one = listening()
    service = launch({}, port=port_of(one), sockets={"one": one})
    ended, asked = [], []

    def ask_on(worker):
        while not ended:
            model, key = unique(f"restart-{worker}"), unique("key")
            reply = ask_like_an_sdk(service, question(CHAT, model), key)
            assert_answer(reply, key_status="executed")
            asked.append(model)

    workers = [in_background(ask_on, worker) for worker in range(8)]
    current = service
    for _ in range(5):
        done = len(asked)
        wait_until(lambda: len(asked) > done + 8 or any(one.done() for one in workers), "some answers")
        current.terminate()
        current.assert_clean_end()
        current = launch({}, directory=service.directory, port=port_of(one), sockets={"one": one})
    ended.append(True)
    for worker in workers:
        worker.result()
    assert sum(provider.hits(model) for model in asked) == len(asked)


# ---- drains

def test_a_drain_loses_none_of_a_hundred_flights(launch, provider):
    service = launch({})
    hold = unique("hold")
    models = [provider.script(unique("hundred"), {"hold": hold}) for _ in range(100)]
    keys = [unique("key") if i % 2 else None for i in range(100)]
    bodies = [question(CHAT, model) for model in models]
    waiting = [in_background(service.post, CHAT, body, key) for body, key in zip(bodies, keys)]
    for model in models:
        provider.wait_for(model)
    service.terminate()
    wait_until(lambda: service.get("/readyz").status == 503, "the service to say that it drains")
    joined = [in_background(service.post, CHAT, body, key) for body, key in zip(bodies, keys) if key]
    service.settle()
    provider.release(hold)
    for future, key in zip(waiting, keys):
        assert_answer(future.result(), key_status="executed" if key else None)
    for future in joined:
        assert future.result()["idempotency-status"] in ("joined", "replayed")
        assert_answer(future.result(), key_status=future.result()["idempotency-status"])
    assert sum(provider.hits(model) for model in models) == 100
    service.assert_clean_end()


def test_results_and_hops_are_served_until_the_drain_ends(launch, provider):
    service = launch({**KEYS, "routes": {CHAT: {"edge": "redirect", "hold_s": 0.2, "hops_max": 90}}})
    (one, hold), two = [unique("redirected"), unique("hold")], unique("accepted")
    for model in (one, two):
        provider.script(model, {"hold": hold})
    first = service.post(CHAT, question(CHAT, one), unique("key"))
    assert first.status == 303
    accepted = service.post(MESSAGES, question(MESSAGES, two), headers={"Prefer": "respond-async"})
    assert accepted.status == 202
    provider.wait_for(two)
    service.terminate()
    wait_until(lambda: service.get("/readyz").status == 503, "the service to say that it drains")

    hop = service.get(first["location"])  # the chain goes on
    assert hop.status == 303 and hop["location"] != first["location"]
    running = service.get(accepted["location"])
    assert running.status == 202 and running["connection"].lower() == "close"
    assert_error(service.post(CHAT, question(CHAT, unique("new"))), CHAT, 503, "draining", retry=True)
    result = in_background(service.get, accepted["location"], {"Prefer": "wait=30"})
    last = in_background(service.get, hop["location"])
    service.settle()
    provider.release(hold)
    assert result.result().status == 200
    reply = last.result()
    with contextlib.suppress(OSError, http.client.HTTPException):  # its last hop may come after the end
        while reply.status == 303:
            reply = service.get(reply["location"])
        assert reply.status == 200
    service.assert_clean_end()


def test_who_got_in_before_the_end_gets_a_reply(launch):
    service = launch({})
    with service.connect() as connection:
        service.settle()  # it was accepted
        half = raw_post(CHAT, question(CHAT, unique("late")))
        connection.send(half[:40])
        service.settle()
        service.terminate()
        time.sleep(0.3)
        connection.send(half[40:])
        reply = connection.reply()
        assert reply.status == 503 and "draining" in reply.json["error"]["code"]
        assert connection.at_end()
    service.assert_clean_end()
