"""SIGHUP: a new configuration for what comes, the old one for what runs."""
import contextlib
import hashlib
import json
import signal
import sqlite3

import pytest

from support import (CHAT, MESSAGES, UPSTREAMS, assert_answer, assert_error, free_port, in_background, merged,
                     question, raw_post, request, sent_body, sent_headers, unique, wait_until)

FAILS = {"error": {"message": "x", "type": "server_error"}, "error_at": 3}  # in the middle of its stream


def events(service, event):
    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


def reload(service, overrides, event="reloaded"):
    """Lays overrides over the configuration, asks for a reload and waits for its event."""
    before = len(events(service, event))
    text = overrides if isinstance(overrides, str) else json.dumps(merged(service.config, overrides))
    (service.directory / "config.json").write_text(text)
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(events(service, event)) > before, f"the event {event}")


def client(name):
    return {"name": name, "token_sha256": hashlib.sha256(f"token-of-{name}".encode()).hexdigest()}


def bearer(name):
    return {"Authorization": f"Bearer token-of-{name}"}


KEYS = {"upstreams": {name: {"api_key": "sk-old"} for name in UPSTREAMS}}


def test_a_route_gets_another_edge_and_running_flights_keep_theirs(launch, provider):
    service = launch({"routes": {CHAT: {"edge": "wait"}}})
    model, hold, key = unique("edge"), unique("hold"), unique("key")
    provider.script(model, {"hold": hold})
    body = question(CHAT, model)
    waiting = in_background(service.post, CHAT, body, key)
    provider.wait_for(model)
    reload(service, {"routes": {CHAT: {"edge": "conflict", "hold_s": 0.1, "conflict_status": 503}}})
    assert_error(service.post(CHAT, body, key), CHAT, 503, "generation_in_progress")
    assert not waiting.done()
    provider.release(hold)
    assert_answer(waiting.result(), key_status="executed")
    assert_answer(service.post(CHAT, body, key), waiting.result().body, key_status="replayed")
    assert provider.hits(model) == 1


def test_clients_come_and_go_at_once_and_keep_what_runs(launch, provider):
    service = launch({**KEYS, "clients": [client("one"), client("two")]})
    model, hold = unique("clients"), unique("hold")
    provider.script(model, {"hold": hold})
    body, key = question(CHAT, model), unique("key")
    waiting = in_background(service.post, CHAT, body, key, headers=bearer("one"))
    provider.wait_for(model)
    new = question(CHAT, unique("new"))
    assert_error(service.post(CHAT, new, headers=bearer("three")), CHAT, 401, "unauthorized")

    with service.connect() as slow:  # its head is fine, its body comes when the client is gone
        whole = raw_post(CHAT, new, "1.1", "Authorization: Bearer token-of-one")
        slow.send(whole[:-5])
        service.settle()
        reload(service, {"clients": [client("two"), client("three")]})
        slow.send(whole[-5:])
        assert slow.reply().status == 401

    assert_error(service.post(CHAT, body, key, headers=bearer("one")), CHAT, 401, "unauthorized")
    assert_answer(service.post(CHAT, new, headers=bearer("three")))
    assert_answer(service.post(CHAT, question(CHAT, unique("new")), headers=bearer("two")))
    provider.release(hold)
    assert_answer(waiting.result(), key_status="executed")
    reload(service, {"clients": [client("one")]})
    again = service.post(CHAT, body, key, headers=bearer("one"))  # its keys are its name's
    assert_answer(again, waiting.result().body, key_status="replayed")
    service.stop()
    assert [line["client"] for line in events(service, "request") if line["route"] == CHAT
            and line["status"] == 200] == ["three", "two", "one", "one"]


def test_a_key_from_a_file_is_rotated(launch, provider, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("sk-first\n")
    service = launch({"upstreams": {"chat": {"api_key": f"@{secret}"}}})
    model, hold = unique("rotated"), unique("hold")
    provider.script(model, {"hold": hold, **FAILS})
    body = question(CHAT, model)
    waiting = in_background(service.post, CHAT, body)
    provider.wait_for(model)
    secret.write_text("sk-second\n")
    reload(service, {})
    second = question(CHAT, unique("rotated"))
    assert_answer(service.post(CHAT, second))
    assert sent_headers(provider.requests(second["model"])[0], "authorization") == ["Bearer sk-second"]
    provider.release(hold)
    assert_answer(waiting.result())
    assert provider.hits(model) == 2
    for call in provider.requests(model):
        assert sent_headers(call, "authorization") == ["Bearer sk-first"]
    secret.unlink()
    reload(service, {}, "reload_refused")
    assert_answer(service.post(CHAT, question(CHAT, unique("rotated"))))


def test_a_bad_file_changes_nothing_and_all_its_mistakes_are_told(launch):
    port = free_port()
    service = launch({"ops_listen": f"127.0.0.1:{port}"})
    reload(service, {"drain_s": "soon", "lisen": [], "routes": {CHAT: False},
                     "upstreams": {"chat": {"bas_url": "x"}}}, "reload_refused")
    told = [line["message"] for line in events(service, "configuration_refused")]
    for word in ("drain_s", "lisen", "bas_url"):
        assert any(word in message for message in told), told
    assert len(told) == 3
    assert_answer(service.post(CHAT, question(CHAT, unique("bad"))))
    reload(service, '{"drain_s": }', "reload_refused")
    (service.directory / "config.json").unlink()
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(events(service, "reload_refused")) == 3, "the third refusal")
    assert_answer(service.post(CHAT, question(CHAT, unique("bad"))))
    reload(service, {"routes": {CHAT: False}})
    assert service.post(CHAT, question(CHAT, unique("bad"))).status == 404
    metrics = request(port, "GET", "/metrics").body.decode()
    assert "\nunstream_reloads_total 1\n" in metrics
    assert "\nunstream_reloads_refused_total 3\n" in metrics


def test_what_needs_a_restart_is_told_and_the_rest_changes(launch):
    service = launch({})
    port = free_port()
    reload(service, {"listen": [f"127.0.0.1:{port}"], "limits": {"connections_max": 7, "body_bytes_max": 300},
                     "log": {"level": "debug"}})
    told = [line["message"] for line in events(service, "configuration") if "next start" in line["message"]]
    assert len(told) == 2
    assert "listen" in told[0] and "limits.connections_max" in told[1]
    with pytest.raises(OSError):
        request(port, "GET", "/livez")
    assert_answer(service.post(CHAT, question(CHAT, unique("small"))))
    too_large = service.post(CHAT, question(CHAT, unique("large"), "x" * 300))
    assert_error(too_large, CHAT, 413)
    assert [line for line in events(service, "call_ended") if line["level"] == "debug"]


def test_more_flights_may_run_after_a_reload(launch, provider):
    service = launch({"limits": {"flights_max": 1, "queue_max": 0}})
    hold, models = unique("hold"), [unique("more"), unique("more")]
    waiting = []
    for model in models:
        provider.script(model, {"hold": hold})
        waiting.append(in_background(service.post, CHAT, question(CHAT, model)))
        provider.wait_for(model)
        assert_error(service.post(CHAT, question(CHAT, unique("full"))), CHAT, 503, "overloaded")
        reload(service, {"limits": {"flights_max": len(waiting) + 1}})
    provider.release(hold)
    for future in waiting:
        assert_answer(future.result())


def test_released_keys_are_remembered_as_long_as_the_new_file_says(launch, provider):
    service = launch({})
    model = provider.script(unique("released"), {"status": 400, "body": {"error": {"message": "no"}}}, repeat=True)
    for ttl_s in (86400, 7200):
        reload(service, {"idempotency": {"ttl_s": ttl_s}})
        assert service.post(CHAT, question(CHAT, model), unique("key")).status == 400
    with contextlib.closing(sqlite3.connect(f"file:{service.directory}/unstream.db?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT state, forget_ms - created_ms FROM keys ORDER BY created_ms").fetchall()
    (first, day), (second, two_hours) = rows
    assert (first, second) == ("released", "released")
    assert 86400_000 <= day and 7200_000 <= two_hours < 86400_000


def test_the_operators_side_and_the_log_follow(launch):
    port = free_port()
    service = launch({"ops_listen": f"127.0.0.1:{port}"})
    assert request(port, "GET", "/metrics").status == 200
    token = {"ops_token_sha256": hashlib.sha256(b"ops").hexdigest()}
    reload(service, token)
    assert request(port, "GET", "/metrics").status == 401
    assert request(port, "GET", "/metrics", headers={"Authorization": "Bearer ops"}).status == 200
    large = (port, "POST", "/ops/keys/list", b"{" + b" " * 299 + b"}", {"Authorization": "Bearer ops"})
    assert request(*large).status == 200
    reload(service, {**token, "limits": {"body_bytes_max": 300}})
    assert request(*large).json["detail"] == "the body is over the limit"
    as_text = merged(service.config, {**token, "log": {"format": "text"}})
    (service.directory / "config.json").write_text(json.dumps(as_text))
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: " info reloaded upstreams=4 " in service.log.read_text(), "a line of text")
    service.process.kill()  # a clean end would want every line to be JSON
    service.process.wait()


def test_a_request_may_outlive_the_configuration_it_came_with(launch, provider):
    service = launch({**KEYS, "clients": [client("one")]})
    model, hold = unique("asked"), unique("hold")
    provider.script(model, {"hold": hold})
    accepted = service.post(CHAT, question(CHAT, model), headers={**bearer("one"), "Prefer": "respond-async"})
    assert accepted.status == 202
    reload(service, {"clients": [client("one"), client("two")]})
    result = in_background(service.get, accepted["location"], {**bearer("one"), "Prefer": "wait=30"})
    service.settle()
    reload(service, {"clients": [client("two")]})
    assert service.get(accepted["location"], bearer("one")).status == 404
    provider.release(hold)
    assert result.result().status == 200
    service.stop()
    assert [line["client"] for line in events(service, "request") if line["route"] == "/requests"
            and line["status"] == 200] == ["one"]


def test_open_listeners_are_not_given_the_operators_key(launch):
    service = launch({**KEYS, "listen": ["0.0.0.0:PORT"], "clients": [client("one")]})
    local = {**service.config, "clients": [], "listen": [f"127.0.0.1:{service.port}"]}
    reload(service, json.dumps(local), "reload_refused")
    [line] = events(service, "configuration_refused")
    assert "0.0.0.0" in line["message"]
    assert_error(service.post(CHAT, question(CHAT, "m")), CHAT, 401)


def test_what_is_known_of_an_upstream_stays_with_its_name(launch, provider):
    service = launch({"upstreams": {"chat": {"flights_max": 1}}, "limits": {"queue_max": 0}})
    refuses = unique("usage")
    provider.script(refuses, {"status": 400, "body": {"error": {"message": "stream_options?"}}})
    assert_answer(service.post(CHAT, question(CHAT, refuses)))
    model, hold = unique("counted"), unique("hold")
    provider.script(model, {"hold": hold})
    waiting = in_background(service.post, CHAT, question(CHAT, model))
    provider.wait_for(model)
    # Another upstream in front of it: its place among the upstreams changes, its name does not.
    upstreams = {"a-new-one": service.config["upstreams"]["messages"], **service.config["upstreams"]}
    reload(service, json.dumps({**service.config, "upstreams": upstreams}))
    assert_error(service.post(CHAT, question(CHAT, unique("full"))), CHAT, 503, "overloaded")
    assert_answer(service.post(MESSAGES, question(MESSAGES, unique("free"))))
    provider.release(hold)
    assert_answer(waiting.result())
    known = question(CHAT, unique("usage"))
    assert_answer(service.post(CHAT, known))
    assert b"stream_options" not in sent_body(provider.requests(known["model"])[0])


def test_a_flight_outlives_its_upstream_and_its_route(launch, provider):
    service = launch({"upstreams": {"chat": {"attempts_max": 2}}})
    model, hold, key = unique("outlives"), unique("hold"), unique("key")
    provider.script(model, {"hold": hold, **FAILS})
    body = question(CHAT, model)
    waiting = in_background(service.post, CHAT, body, key)
    provider.wait_for(model)
    rest = {name: value for name, value in service.config["upstreams"].items() if name != "chat"}
    routes = {**service.config["routes"], CHAT: False}
    reload(service, json.dumps({**service.config, "upstreams": rest, "routes": routes}))
    assert service.post(CHAT, body, key).status == 404
    reload(service, {"upstreams": {"chat": {"attempts_max": 1}}})
    provider.release(hold)
    assert_answer(waiting.result(), key_status="executed")
    assert provider.hits(model) == 2


def test_reloads_lose_none_of_fifty_requests(launch, provider):
    service = launch({})
    hold = unique("hold")
    models = [provider.script(unique("fifty"), {"hold": hold}) for _ in range(50)]
    keys = [unique("key") for _ in models]
    waiting = [in_background(service.post, CHAT, question(CHAT, model), key if i % 2 else None)
               for i, (model, key) in enumerate(zip(models, keys))]
    for model in models:
        provider.wait_for(model)
    for attempts in range(1, 11):
        reload(service, {"upstreams": {"chat": {"attempts_max": attempts}}})
    provider.release(hold)
    for i, future in enumerate(waiting):
        assert_answer(future.result(), key_status="executed" if i % 2 else None)
    assert sum(provider.hits(model) for model in models) == 50
