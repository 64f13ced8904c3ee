"""Holds and result URLs: conflict, redirect, heartbeat, Prefer, GET and DELETE /requests/..."""
import hashlib
import re
import signal
import time

import pytest
from support import (CHAT, MESSAGES, RESPONSES, ROUTES, SIMPLE, UPSTREAMS, Service, assert_answer,
                     assert_error, assert_whole, exact, free_port, in_background, question, raw_post, request, unique,
                     wait_until)

TOKENS = {name: f"token-of-{name}" for name in ("alice", "bob")}
ALICE, BOB = ({"Authorization": "Bearer " + TOKENS[name]} for name in ("alice", "bob"))
LOCATION = re.compile(r"/requests/([A-Za-z0-9_-]{43})(\?n=\d+)?")
HOLD_S = 0.4


def edges(edge, **members):
    """A configuration with clients, operators' keys and this policy on all routes."""
    return {
        "upstreams": {name: {"api_key": "operators-key"} for name in UPSTREAMS},
        "clients": [{"name": name, "token_sha256": hashlib.sha256(token.encode()).hexdigest()}
                    for name, token in TOKENS.items()],
        "routes": {route: {"edge": edge, "hold_s": HOLD_S, **members} for route in ROUTES},
        "log": {"level": "debug"},
    }


CONFIG = edges("wait")


@pytest.fixture(scope="module")
def redirecting(provider, binary, tmp_path_factory):
    service = Service(provider, tmp_path_factory.mktemp("redirecting"), edges("redirect", hops_max=3))
    yield service
    service.stop()


@pytest.fixture(scope="module")
def beating(provider, binary, tmp_path_factory):
    service = Service(provider, tmp_path_factory.mktemp("beating"),
                      edges("heartbeat", heartbeat_after_s=0.1, beat_s=0.1))
    yield service
    service.stop()


@pytest.fixture(scope="module")
def conflicting(provider, binary, tmp_path_factory):
    service = Service(provider, tmp_path_factory.mktemp("conflicting"), edges("conflict"))
    yield service
    service.stop()


def held(provider, hold="h", **step):
    """A model whose answer is held after its first word, and the name that lets it go on."""
    name = unique(hold)
    return provider.script(unique("m"), {"hold": name, **step}), name


def post(service, route, body, key=None, headers=None, who=ALICE):
    return service.post(route, body, key, {**who, **(headers or {})})


def location(reply):
    """The token of a reply that hands out a result URL."""
    assert LOCATION.fullmatch(reply["location"]), reply
    return LOCATION.fullmatch(reply["location"])[1]


# ---- redirect

@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("keyed", [True, False])
def test_a_long_answer_is_collected_by_redirects_that_need_no_credential(redirecting, provider, route, keyed):
    model, hold = held(provider)
    body = question(route, model)
    reply = post(redirecting, route, body, unique("key") if keyed else None)
    assert reply.status == 303, reply
    assert reply["cache-control"] == "no-store" and reply["vary"] == "Prefer"
    assert reply["location"].endswith("?n=1")
    token = location(reply)
    second = redirecting.get(reply["location"])
    assert second.status == 303 and second["location"] == f"/requests/{token}?n=2", second
    waiting = in_background(redirecting.get, second["location"])
    provider.release(hold)
    answer = waiting.result()
    assert answer.status == 200 and answer["content-length"] == str(len(answer.body))
    again = redirecting.get(f"/requests/{token}")
    assert again.body == answer.body and again["unstream-request-id"] == reply["unstream-request-id"]
    assert provider.hits(model) == 1
    if route != SIMPLE:
        assert exact(answer.body) == exact(provider.answer(route, body).body)


def test_a_chain_ends_after_hops_max_and_never_with_202(redirecting, provider):
    model, hold = held(provider)
    reply = post(redirecting, CHAT, question(CHAT, model))
    for hop in (2, 3):
        reply = redirecting.get(reply["location"])
        assert reply.status == 303 and reply["location"].endswith(f"?n={hop}"), reply
    assert_error(redirecting.get(reply["location"]), CHAT, 503, "generation_in_progress", retry=True)
    provider.release(hold)


def test_a_hop_beyond_hops_max_ends_the_chain_and_one_beyond_100000_is_none(redirecting, provider):
    model, hold = held(provider)
    url = post(redirecting, CHAT, question(CHAT, model))["location"].partition("?")[0]
    assert redirecting.get(f"{url}?n=2")["location"] == f"{url}?n=3"
    for hop in (3, 4, 100000):
        assert_error(redirecting.get(f"{url}?n={hop}"), CHAT, 503, "generation_in_progress", retry=True)
    assert redirecting.get(f"{url}?n=100001").status == 404
    provider.release(hold)


def test_by_flight_id_a_hop_is_read_and_means_nothing(redirecting, provider):
    model, hold = held(provider)
    ident = post(redirecting, CHAT, question(CHAT, model))["unstream-request-id"]
    url = f"/requests/{ident}"
    for status in (202, 200):
        for hop in (1, 3, 100000):  # a chain would hold, and then send 303 or 503
            reply = redirecting.get(f"{url}?n={hop}", ALICE)
            assert reply.status == status, reply
        for hop in (0, 100001):
            assert redirecting.get(f"{url}?n={hop}", ALICE).status == 404
        if status == 202:
            provider.release(hold)
            wait_until(lambda: redirecting.get(url, ALICE).status == 200, "the answer")


def test_a_keyless_generation_goes_on_once_its_url_was_handed_out(redirecting, provider):
    model, hold = held(provider)
    reply = post(redirecting, CHAT, question(CHAT, model))
    assert reply.status == 303
    redirecting.settle()
    provider.release(hold)
    wait_until(lambda: redirecting.get(f"/requests/{location(reply)}").status == 200, "the answer")
    assert provider.hits(model) == 1


def test_a_retry_of_a_keyed_request_joins_or_replays_after_redirects(redirecting, provider):
    model, hold = held(provider)
    key, body = unique("key"), question(CHAT, model)
    first = post(redirecting, CHAT, body, key)
    second = post(redirecting, CHAT, body, key)
    assert first.status == second.status == 303 and location(first) == location(second)
    provider.release(hold)
    wait_until(lambda: redirecting.get(f"/requests/{location(first)}").status == 200, "the answer")
    assert_answer(post(redirecting, CHAT, body, key), key_status="replayed")
    assert provider.hits(model) == 1


def test_a_provider_error_after_the_redirect_is_the_result(redirecting, provider):
    name = unique("h")
    model = provider.script(unique("m"), {"hold": name, "hold_at": "head", "status": 400,
                                          "body": {"error": {"message": "no such thing"}}})
    reply = post(redirecting, CHAT, question(CHAT, model))
    assert reply.status == 303
    provider.release(name)
    def ended():
        result = redirecting.get(f"/requests/{location(reply)}")
        return result if result.status != 202 else None
    result = wait_until(ended, "the outcome")
    assert result.status == 400 and result["x-should-retry"] == "false"
    assert result.json == {"error": {"message": "no such thing"}}


# ---- who may see a result

def test_results_belong_to_their_scope_and_tokens_to_whoever_has_them(redirecting, provider):
    model, hold = held(provider)
    reply = post(redirecting, MESSAGES, question(MESSAGES, model), unique("key"))
    token, ident = location(reply), reply["unstream-request-id"]
    for state in (202, 200):
        urls = (f"/requests/{token}", f"/requests/{ident}")
        for url, who, status in ((urls[0], {}, state), (urls[0], ALICE, state), (urls[0], BOB, 404),
                                 (urls[0], {"x-api-key": "unknown"}, 404),
                                 (urls[1], {}, 404), (urls[1], ALICE, state), (urls[1], BOB, 404),
                                 (urls[1], {"x-api-key": TOKENS["alice"]}, state)):
            assert redirecting.get(url, who).status == status, (url, who, status)
        other = token[:-2] + ("AA" if token[-2] != "A" else "BA")
        for url in (f"/requests/{other}", f"/requests/{ident[:-1]}{'0' if ident[-1] != '0' else '1'}",
                    "/requests/", "/requests/x", f"/requests/{token}?n=0", f"/requests/{token}/x"):
            assert redirecting.get(url, ALICE).status == 404, url
        if state == 202:
            provider.release(hold)
            wait_until(lambda: redirecting.get(urls[0]).status == 200, "the answer")


def test_a_result_token_only_reads(redirecting, provider):
    model, hold = held(provider)
    reply = post(redirecting, CHAT, question(CHAT, model))
    url = f"/requests/{location(reply)}"
    for method in ("DELETE", "POST", "PUT"):
        refused = redirecting.request(method, url, headers=ALICE)
        assert refused.status == 405 and refused["allow"] == "GET, HEAD", refused
    refused = redirecting.request("POST", f"/requests/{reply['unstream-request-id']}", b"{}", ALICE)
    assert refused.status == 405 and refused["allow"] == "GET, HEAD, DELETE"
    head = redirecting.request("HEAD", url)
    assert head.status == 202 and head.body == b""
    provider.release(hold)


def test_a_result_token_expires(launch, provider):
    service = launch({**edges("redirect"), "idempotency": {"result_url_ttl_s": 1}})
    model, hold = held(provider)
    reply = post(service, CHAT, question(CHAT, model), unique("key"))
    url = f"/requests/{location(reply)}"
    provider.release(hold)
    wait_until(lambda: service.get(url).status == 200, "the answer")
    wait_until(lambda: service.get(url).status == 404, "the end of the token")
    assert service.get(f"/requests/{reply['unstream-request-id']}", ALICE).status == 200


def test_no_log_and_no_page_shows_a_token(launch, provider):
    port = free_port()
    service = launch({**edges("redirect"), "ops_listen": f"127.0.0.1:{port}"})
    model, hold = held(provider)
    key = unique("key")
    reply = post(service, CHAT, question(CHAT, model), key)
    token = location(reply)
    waiting = in_background(service.get, reply["location"])
    service.settle()
    seen = request(port, "GET", "/metrics").body + request(port, "POST", "/ops/keys/list", b"{}",
                                                           {"Content-Type": "application/json"}).body
    provider.release(hold)
    assert waiting.result().status == 200
    service.get(f"/requests/{token}x")
    service.stop()
    seen += service.log.read_bytes()
    assert b'"/requests"' in seen
    assert token.encode() not in seen and TOKENS["alice"].encode() not in seen
    store = b"".join(path.read_bytes() for path in service.directory.glob("unstream.db*"))
    assert token.encode() not in store


# ---- plain GET

def test_a_plain_get_tells_how_far_it_is_at_once_or_waits_as_asked(redirecting, provider):
    model, hold = held(provider, hold_at=3)
    reply = post(redirecting, CHAT, question(CHAT, model))
    provider.wait_for(model)
    url = f"/requests/{reply['unstream-request-id']}"
    state = wait_until(lambda: (s := redirecting.get(url, ALICE)).json["output_bytes"] and s, "some output")
    assert state.status == 202 and state["retry-after"]
    assert state.json == {"id": reply["unstream-request-id"], "status": "running", "attempt": 1,
                          "elapsed_s": state.json["elapsed_s"], "output_bytes": state.json["output_bytes"]}
    before = time.monotonic()
    state = redirecting.get(url, {**ALICE, "Prefer": "wait=1"})
    assert state.status == 202 and time.monotonic() - before >= 0.9
    assert state["preference-applied"] == "wait=1"
    waiting = in_background(redirecting.get, url, {**ALICE, "Prefer": "wait=30"})
    redirecting.settle()
    provider.release(hold)
    assert waiting.result().status == 200
    assert provider.hits(model) == 1


def test_a_get_with_a_body_is_tolerated(redirecting, provider):
    model, hold = held(provider)
    reply = post(redirecting, CHAT, question(CHAT, model))
    again = redirecting.request("GET", f"/requests/{location(reply)}", b'{"a": 1}', {"Content-Type": "application/json"})
    assert again.status == 202
    provider.release(hold)


# ---- DELETE

@pytest.mark.parametrize("keyed", [True, False])
def test_a_cancelled_generation_ends_upstream_and_its_key_runs_again(service, provider, keyed):
    model, hold = held(provider)
    key, body = unique("key") if keyed else None, question(CHAT, model)
    prefer = {"Prefer": "wait=0" if keyed else "respond-async"}
    if keyed:
        waiting = in_background(post, service, CHAT, body, key)
        provider.wait_for(model)
    ident = post(service, CHAT, body, key, prefer)["unstream-request-id"]
    url = f"/requests/{ident}"
    if not keyed:
        provider.wait_for(model)
        waiting = in_background(service.get, url, {**ALICE, "Prefer": "wait=30"})
        service.settle()
    assert service.request("DELETE", url, headers=BOB).status == 404
    assert service.request("DELETE", url).status == 404
    gone = service.request("DELETE", url, headers=ALICE)
    assert gone.status == 204 and gone.body == b"", gone
    assert_error(waiting.result(), CHAT, 409, "cancelled", retry=False)
    provider.wait_for(model, "aborted")
    again = service.request("DELETE", url, headers=ALICE)
    assert_error(again, CHAT, 409, "already_finished", retry=False)
    assert_error(service.get(url, ALICE), CHAT, 409, "cancelled", retry=False)
    if keyed:
        assert_answer(post(service, CHAT, body, key), key_status="executed")


def test_what_has_ended_cannot_be_cancelled(service, provider):
    model = unique("m")
    key, body = unique("key"), question(RESPONSES, model)
    reply = post(service, RESPONSES, body, key)
    ident = reply["unstream-request-id"]
    refused = service.request("DELETE", f"/requests/{ident}", headers=ALICE)
    assert_error(refused, RESPONSES, 409, "already_finished", retry=False)
    assert service.get(f"/requests/{ident}", ALICE).body == reply.body
    assert_answer(post(service, RESPONSES, body, key), key_status="replayed")


# ---- conflict

def test_a_held_request_is_told_to_come_back_and_joins(conflicting, provider):
    model, hold = held(provider)
    key, body = unique("key"), question(CHAT, model)
    assert_error(post(conflicting, CHAT, body, key), CHAT, 503, "generation_in_progress", retry=True)
    reply = post(conflicting, CHAT, body, key, {"x-stainless-retry-count": "1"})
    assert_error(reply, CHAT, 409, "generation_in_progress", retry=True)
    assert reply["retry-after"] == "1" and reply["retry-after-ms"] == "1000"
    waiting = in_background(post, conflicting, CHAT, body, key)
    conflicting.settle()
    provider.release(hold)
    assert_answer(waiting.result(), key_status="joined")
    assert provider.hits(model) == 1


def test_who_could_not_find_the_generation_again_is_not_sent_away(conflicting, provider):
    model, hold = held(provider)
    waiting = in_background(post, conflicting, CHAT, question(CHAT, model))
    time.sleep(2 * HOLD_S)
    provider.release(hold)
    assert_answer(waiting.result())


def test_a_retry_without_a_key_is_held_twice_and_adopts(conflicting, provider):
    model, hold = held(provider)
    body = question(CHAT, model)
    for count in ("0", "1"):
        reply = post(conflicting, CHAT, body, headers={"x-stainless-retry-count": count})
        assert_error(reply, CHAT, 409, "generation_in_progress", retry=True)
    waiting = in_background(post, conflicting, CHAT, body, None, {"x-stainless-retry-count": "2"})
    conflicting.settle()
    provider.release(hold)
    assert_answer(waiting.result(), key_status="adopted")
    assert provider.hits(model) == 1


def test_prefer_wait_bounds_the_hold_where_a_retry_finds_the_generation(service, provider):
    model, hold = held(provider)
    key, body = unique("key"), question(CHAT, model)
    reply = post(service, CHAT, body, key, {"Prefer": "wait=1"})
    assert_error(reply, CHAT, 503, "generation_in_progress", retry=True)
    assert reply["preference-applied"] == "wait=1"
    keyless = in_background(post, service, CHAT, body, None, {"Prefer": "wait=0"})
    provider.release(hold)
    assert_answer(keyless.result())
    assert keyless.result()["preference-applied"] is None
    assert post(service, CHAT, body, key, {"Prefer": "wait=5"}).status == 200
    assert_answer(post(service, CHAT, body, key), key_status="replayed")
    assert provider.hits(model) == 2


# ---- heartbeat

def beaten_until_cut(service, provider, hold, body, key):
    """Waits for beats, lets the provider go on, and reads to the end: head and rest of the reply."""
    with service.connect() as connection:
        connection.send(raw_post(CHAT, body, "1.1", f"Authorization: {ALICE['Authorization']}",
                                 f"Idempotency-Key: {key}"))
        wait_until(lambda: connection.receive() and b"\r\n\r\n " in connection.buffer, "beats")
        provider.release(hold)
        while connection.receive():
            pass
        head, _, rest = connection.buffer.partition(b"\r\n\r\n")
    return head, rest


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_heartbeat_is_one_body_of_its_declared_length(beating, provider, route, version):
    model, hold = held(provider)
    body = question(route, model)
    key = unique("key")
    with beating.connect() as connection:
        connection.send(raw_post(route, body, version, f"Authorization: {ALICE['Authorization']}",
                                 f"Idempotency-Key: {key}"))
        wait_until(lambda: connection.receive() and len(connection.buffer.partition(b"\r\n\r\n")[2]) > 2, "beats")
        provider.release(hold)
        reply = connection.reply()
    assert reply.status == 200 and reply["transfer-encoding"] is None
    assert reply["x-accel-buffering"] == "no" and reply["idempotency-status"] is None
    assert len(reply.body) == int(reply["content-length"]) >= 16 << 10
    assert reply.body.startswith(b"   ") and reply.body.endswith(b" ")
    again = post(beating, route, body, key)
    assert_answer(again, key_status="replayed")
    assert reply.body.strip() == again.body


def test_an_error_before_the_first_output_keeps_its_status(beating, provider):
    name = unique("h")
    model = provider.script(unique("m"), {"hold": name, "hold_at": "head", "status": 404,
                                          "body": {"error": {"message": "no such model"}}})
    waiting = in_background(post, beating, CHAT, question(CHAT, model))
    time.sleep(HOLD_S / 2)
    provider.release(name)
    assert waiting.result().status == 404


def test_a_late_error_cuts_the_body_and_the_retry_gets_the_true_outcome(beating, provider):
    name = unique("h")
    step = {"words": 5, "hold": name, "error_at": 3, "error": {"message": "broken", "type": "invalid_request_error"}}
    model = provider.script(unique("m"), step)
    key, body = unique("key"), question(CHAT, model)
    head, rest = beaten_until_cut(beating, provider, name, body, key)
    assert rest.strip() == b"" and len(rest) < int(re.search(rb"(?i)content-length: (\d+)", head)[1])
    ident = re.search(rb"(?i)unstream-request-id: (\w+)", head)[1].decode()
    assert beating.get(f"/requests/{ident}", ALICE).status == 400
    retry = post(beating, CHAT, body, key)  # on a slow machine it is behind a heartbeat too
    assert_whole(retry)
    assert retry["idempotency-status"] in ("executed", None) and provider.hits(model) == 2, retry


def test_an_answer_longer_than_declared_is_cut_stored_and_replayed(beating, provider):
    name = unique("h")
    model = provider.script(unique("m"), {"text": "a long word " * 25000, "hold": name})
    key, body = unique("key"), question(CHAT, model)
    head, rest = beaten_until_cut(beating, provider, name, body, key)
    assert b"Content-Length: 262144" in head and rest.strip() == b""
    replay = post(beating, CHAT, body, key)
    assert_answer(replay, key_status="replayed")
    assert len(replay.body) > 262144
    assert provider.hits(model) == 1


def test_a_keyless_heartbeat_has_a_result_for_its_caller(beating, provider):
    model, hold = held(provider)
    with beating.connect() as connection:
        connection.send(raw_post(CHAT, question(CHAT, model), "1.1", f"Authorization: {ALICE['Authorization']}"))
        wait_until(lambda: connection.receive() and b"\r\n\r\n " in connection.buffer, "beats")
        ident = re.search(rb"(?i)unstream-request-id: (\w+)", connection.buffer)[1].decode()
    beating.settle()
    provider.release(hold)
    wait_until(lambda: beating.get(f"/requests/{ident}", ALICE).status == 200, "the answer")
    assert provider.hits(model) == 1


# ---- async

def test_respond_async_is_accepted_survives_kill_9_and_is_answered_at_its_location(launch, provider):
    service = launch(edges("wait"))
    name = unique("h")
    step = {"hold": name}
    model = provider.script(unique("m"), step, step)
    body = question(CHAT, model)
    reply = post(service, CHAT, body, headers={"Prefer": "respond-async"})
    assert reply.status == 202, reply
    assert reply["preference-applied"] == "respond-async" and reply["retry-after"]
    assert reply.json["status"] == "running" and reply.json["id"] == reply["unstream-request-id"]
    url = f"/requests/{location(reply)}"
    assert url == reply["location"]
    provider.wait_for(model)
    service.process.send_signal(signal.SIGKILL)
    service.process.wait()
    service = launch(edges("wait"), directory=service.directory)
    wait_until(lambda: provider.hits(model) == 2, "the second call")
    state = service.get(url)
    assert state.status == 202 and state.json["id"] == reply["unstream-request-id"], state
    waiting = in_background(service.get, url, {"Prefer": "wait=30"})
    service.settle()
    provider.release(name)
    answer = waiting.result()
    assert answer.status == 200, answer
    assert provider.hits(model) == 2
    assert exact(answer.body) == exact(provider.answer(CHAT, body).body)
    assert service.get(f"/requests/{reply['unstream-request-id']}", ALICE).body == answer.body
    service.stop()
    stored = b"".join(path.read_bytes() for path in service.directory.glob("unstream.db"))
    assert b"Tell me about rivers" not in stored


def test_a_keyed_async_request_is_joined_after_a_restart(launch, provider):
    service = launch(edges("wait"))
    name = unique("h")
    model = provider.script(unique("m"), {"hold": name}, {"hold": name})
    key, body = unique("key"), question(SIMPLE, model)
    reply = post(service, SIMPLE, body, key, {"Prefer": "respond-async, wait=1"})
    assert reply.status == 202 and reply["preference-applied"] == "respond-async, wait=1"
    service.process.send_signal(signal.SIGKILL)
    service.process.wait()
    service = launch(edges("wait"), directory=service.directory)
    wait_until(lambda: provider.hits(model) == 2, "the second call")
    waiting = in_background(post, service, SIMPLE, body, key)
    service.settle()
    provider.release(name)
    assert_answer(waiting.result(), key_status="joined")
    assert provider.hits(model) == 2


def test_a_deadline_that_passed_while_it_was_down_is_504_at_the_location(launch, provider):
    service = launch(edges("wait"))
    model, hold = held(provider)
    reply = post(service, CHAT, question(CHAT, model), headers={"Prefer": "respond-async", "Unstream-Deadline": "1"})
    assert reply.status == 202
    service.process.send_signal(signal.SIGKILL)
    service.process.wait()
    time.sleep(1)
    service = launch(edges("wait"), directory=service.directory)
    result = wait_until(lambda: (r := service.get(reply["location"])).status != 202 and r, "the outcome")
    assert_error(result, CHAT, 504, "deadline_exceeded")
    assert provider.hits(model) <= 1


def test_a_quick_answer_within_the_wait_is_the_answer(service, provider):
    reply = post(service, CHAT, question(CHAT, unique("m")), headers={"Prefer": "respond-async, wait=20"})
    assert reply.status == 200 and reply["preference-applied"] == "wait=20" and reply["vary"] == "Prefer"
    key, body = unique("key"), question(CHAT, unique("m"))
    assert_answer(post(service, CHAT, body, key), key_status="executed")
    assert_answer(post(service, CHAT, body, key, {"Prefer": "respond-async"}), key_status="replayed")


def test_a_running_generation_can_be_accepted_by_a_join(service, provider):
    model, hold = held(provider)
    key, body = unique("key"), question(CHAT, model)
    waiting = in_background(post, service, CHAT, body, key)
    provider.wait_for(model)
    reply = post(service, CHAT, body, key, {"Prefer": "respond-async"})
    assert reply.status == 202
    provider.release(hold)
    assert waiting.result().status == 200
    assert service.get(reply["location"]).body == waiting.result().body
    assert provider.hits(model) == 1


def test_where_it_cannot_be_driven_again_the_preference_is_ignored(launch, service, provider):
    for headers in ({"Prefer": "respond-async", "Cache-Control": "no-store"}, {"Prefer": "respond-asynchronous"}):
        reply = post(service, CHAT, question(CHAT, unique("m")), headers=headers)
        assert reply.status == 200 and reply["preference-applied"] is None
    passing = launch()
    reply = passing.post(CHAT, question(CHAT, unique("m")), headers={"Prefer": "respond-async"})
    assert reply.status == 200 and reply["preference-applied"] is None


def test_accepted_requests_outlive_a_drain_that_ends_too_soon(launch, provider):
    service = launch({**edges("wait"), "drain_s": 0.1})
    name = unique("h")
    model = provider.script(unique("m"), {"hold": name}, {"words": 5})
    reply = post(service, CHAT, question(CHAT, model), headers={"Prefer": "respond-async"})
    assert reply.status == 202
    provider.wait_for(model)
    service.terminate()
    service.assert_clean_end()
    service = launch(edges("wait"), directory=service.directory)
    wait_until(lambda: service.get(reply["location"]).status == 200, "the answer")
    assert provider.hits(model) == 2
