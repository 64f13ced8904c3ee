"""What operators are told of flights: the state, one flight's timeline, cancelling, `unstream why`."""
import hashlib
import json
import re
import time

import pytest

from support import (CHAT, MESSAGES, SIMPLE, assert_answer, assert_error, free_port, in_background, leave, question,
                     request, run_binary, unique, wait_until)

OPS_TOKEN = "ops-secret-5678"


@pytest.fixture
def operated(launch):
    """Starts a service with an ops listener; .ops(...) asks it, .why(...) is the command."""
    def start(overrides=None, directory=None):
        port = free_port()
        service = launch({"ops_listen": f"127.0.0.1:{port}", **(overrides or {})}, directory)
        service.ops = lambda path, headers=None, method="GET": request(port, method, path, headers=headers or {})
        service.state = lambda: service.ops("/ops/state").json
        service.why = lambda *words, **variables: run_binary(
            "why", *words, "--config", service.directory / "config.json", directory=service.directory, **variables)
        return service
    return start


def flight_of(service, reply, told=1):
    """A flight that ended, once so many requests were told its outcome."""
    def look():
        flight = service.ops(f"/ops/flights/{reply['unstream-request-id']}").json
        return flight if sum(entry["event"] == "waiter_out" for entry in flight["timeline"]) >= told else None
    return wait_until(look, f"{told} replies in the timeline")


def events(flight):
    return [entry["event"] for entry in flight["timeline"]]


def entries(flight, event):
    return [entry for entry in flight["timeline"] if entry["event"] == event]


# ---- one flight

def test_the_whole_timeline_of_a_retry_and_a_join(operated, provider):
    service = operated()
    hold, key = unique("hold"), unique("key")
    model = provider.script(unique("retried"),
                            {"words": 60, "cut_at": 1500, "headers": {"request-id": "req_first"}},
                            {"hold": hold, "headers": {"request-id": "req_second"}})
    body = question(MESSAGES, model)
    first = in_background(service.post, MESSAGES, body, key)
    provider.wait_for(model)
    joined = in_background(service.post, MESSAGES, body, key)
    wait_until(lambda: service.state()["waiters"] == 2, "the second request to wait")
    provider.release(hold)
    reply = first.result()
    assert_answer(reply, key_status="executed")
    assert_answer(joined.result(), key_status="joined")
    flight = flight_of(service, reply, 2)
    assert events(flight) == [
        "started", "waiter_in", "looked_up", "admitted", "claimed", "call", "output", "call_ended", "pause",
        "counted", "call", "output", "waiter_in", "call_ended", "committed", "answered", "waiter_out", "waiter_out"]
    times = [entry["at_ms"] for entry in flight["timeline"]]
    assert times == sorted(times) and times[0] == 0
    cut, whole = entries(flight, "call_ended")
    assert (cut["attempt"], cut["end"], cut["status"], cut["request_id"], cut["maybe_billed"]) == (
        1, "truncated", 200, "req_first", True)
    assert re.fullmatch(r"call 1 to messages ended: truncated, status 200, \d+ output bytes; it may have been billed",
                        cut["text"])
    assert (whole["attempt"], whole["end"], whole["request_id"]) == (2, "answered", "req_second")
    assert [entry["waiters"] for entry in entries(flight, "waiter_in")] == [1, 2]
    assert {entry["text"] for entry in entries(flight, "waiter_out")} == {
        "a request was told 200 (executed); nobody waits now", "a request was told 200 (joined); nobody waits now"}
    assert (flight["state"], flight["status"], flight["error"], flight["attempt"], flight["paid_calls"]) == (
        "ended", 200, None, 2, 2)
    assert (flight["from"], flight["row"], flight["model"], flight["upstream"]) == ("memory", None, model, "messages")
    assert flight["started_unix_ms"] <= flight["ended_unix_ms"] <= flight["now_unix_ms"]
    assert_answer(service.post(MESSAGES, body, key), key_status="replayed")
    assert flight_of(service, reply, 3)["timeline"][-1]["text"] == "a request was told 200 (replayed); nobody waits now"


def test_a_client_that_leaves_and_an_orphan_that_is_adopted(operated, provider):
    service = operated()
    hold = unique("hold")
    body = question(CHAT, provider.script(unique("adopted"), {"hold": hold}))
    leave(service, provider, CHAT, body, "x-stainless-retry-count: 0")
    wait_until(lambda: service.state()["flights"][0]["orphan"], "the flight to become an orphan")
    retry = in_background(service.post, CHAT, body, headers={"x-stainless-retry-count": "1"})
    wait_until(lambda: service.state()["flights"][0]["waiters"] == 1, "the retry to wait")
    provider.release(hold)
    reply = retry.result()
    assert_answer(reply, key_status="adopted")
    flight = flight_of(service, reply, 2)
    assert [event for event in events(flight) if event in ("waiter_in", "waiter_left", "orphaned", "waiter_out")] == [
        "waiter_in", "waiter_left", "orphaned", "waiter_in", "waiter_out", "waiter_out"]
    assert {entry["text"] for entry in entries(flight, "waiter_out")} == {
        "a request was told 200 (adopted); nobody waits now",
        "a request was told 200, but its client did not take it; nobody waits now"}
    assert entries(flight, "waiter_in")[1]["text"] == "a request waits for it (adopted); 1 client waits now"
    assert flight["key"] is None and flight["paid_calls"] is None


def test_why_nothing_came_of_it(operated, provider):
    quick = {"upstreams": {"chat": {"attempts_max": 1}}}
    service = operated(quick)
    model = provider.script(unique("refused"), {"status": 503, "body": {"error": {"message": "x"}}})
    key = unique("key")
    reply = service.post(CHAT, question(CHAT, model), key)
    assert reply.status == 503
    flight = flight_of(service, reply)
    assert events(flight)[-5:] == ["call", "call_ended", "released", "answered", "waiter_out"]
    assert entries(flight, "call_ended")[0]["maybe_billed"] is False
    assert entries(flight, "answered")[0]["text"] == "it ended with 503 upstream_error"
    assert (flight["status"], flight["error"], flight["paid_calls"]) == (503, "upstream_error", 0)


def test_a_flight_that_waits_and_one_that_gets_no_place(operated, provider):
    service = operated({"limits": {"flights_max": 1, "queue_max": 1, "store_free_bytes_min": 0}})
    hold = unique("hold")
    running = in_background(service.post, CHAT, question(CHAT, provider.script(unique("runs"), {"hold": hold})))
    wait_until(lambda: service.state()["flights_running"] == 1, "the first flight")
    queued = in_background(service.post, CHAT, question(CHAT, unique("queued")))
    wait_until(lambda: service.state()["queue"] == {"waiting": 1, "max": 1}, "the second to queue")
    assert [flight["state"] for flight in service.state()["flights"]] == ["calling", "queued"]
    refused = service.post(CHAT, question(CHAT, unique("refused")))
    assert refused.status == 503
    assert entries(flight_of(service, refused), "refused")[0]["text"] == "it got no place: queue_full"
    provider.release(hold)
    assert_answer(running.result())
    flight = flight_of(service, queued.result())
    assert events(flight)[2:5] == ["queued", "admitted", "call"]
    assert entries(flight, "admitted")[0]["ms"] == flight["queue_ms"] > 0


def test_after_a_restart_the_store_tells_the_outcome(operated, provider):
    service = operated()
    reply = service.post(CHAT, question(CHAT, unique("kept")), unique("key"))
    before = flight_of(service, reply)
    service.stop()
    again = operated(directory=service.directory)
    flight = again.ops(f"/ops/flights/{reply['unstream-request-id']}").json
    assert flight.keys() == before.keys()
    assert (flight["from"], flight["row"], flight["state"], flight["status"]) == ("store", "done", "ended", 200)
    assert (flight["timeline"], flight["model"], flight["attempt"]) == ([], None, None)
    assert (flight["route"], flight["key"]) == (CHAT, before["key"])
    assert abs(flight["started_unix_ms"] - before["started_unix_ms"]) < 5000


def test_a_move_to_the_fallback(operated, provider):
    service = operated({
        "upstreams": {"spare": {"base_url": provider.url + "/v1", "provider": "openai", "api_key": "sk-spare"}},
        "routes": {CHAT: {"upstream": "chat", "fallback": "spare"}}})
    model = provider.script(unique("moved"), {"status": 503, "body": {"error": {"message": "x"}}})
    reply = service.post(CHAT, question(CHAT, model))
    assert_answer(reply)
    flight = flight_of(service, reply)
    assert events(flight) == ["started", "waiter_in", "admitted", "call", "call_ended", "fallback", "call", "output",
                              "call_ended", "answered", "waiter_out"]
    assert entries(flight, "fallback")[0]["text"] == "its calls go to the fallback spare now"
    assert entries(flight, "call")[1]["text"] == "call 2 to spare began"
    assert flight["upstream"] == "spare"


def test_a_relayed_request_is_a_flight_of_its_own_route(operated, provider):
    service = operated()
    model, hold = unique("relayed"), unique("hold")
    provider.script(model, {"hold": hold, "hold_at": "head"})
    asked = in_background(service.get, f"/v1/models/{model}")
    running = wait_until(lambda: service.state()["flights"], "the relayed flight")[0]
    assert running["route"] == "/v1/models/*" and running["state"] == "calling"
    assert service.ops(f"/ops/flights/{running['id']}").json["route"] == "/v1/models/*"
    assert service.get(f"/requests/{running['id']}", headers={"Authorization": "Bearer x"}).status == 404
    provider.release(hold)
    reply = asked.result()
    flight = flight_of(service, reply)
    assert flight["id"] == running["id"] and flight["route"] == "/v1/models/*" and flight["status"] == reply.status
    for _ in range(3):
        assert service.get("/v1/models").status == 200  # its memory is used again
    told = next(one for one in service.state()["recent"] if one["id"] == running["id"])
    assert told["route"] == "/v1/models/*"


def test_an_accepted_request_that_outlives_its_process(operated, provider):
    keyed = {"upstreams": {"chat": {"api_key": "sk-operator"}}}
    service = operated(keyed)
    hold = unique("hold")
    body = question(CHAT, provider.script(unique("accepted"), {"hold": hold}))
    accepted = service.post(CHAT, body, headers={"Prefer": "respond-async"})
    assert accepted.status == 202
    flight = flight_of(service, accepted)
    assert flight["accepted"] is True and flight["waiters"] == 0
    assert entries(flight, "published")[0]["text"] == "its result can be fetched by URL"
    assert entries(flight, "waiter_out")[0]["text"] == "a request was told 202 (accepted); nobody waits now"
    provider.wait_for(body["model"])
    service.process.kill()
    service.process.wait()
    again = operated(keyed, service.directory)
    wait_until(lambda: again.get(accepted["location"]).status == 200, "the answer")
    taken_up = flight_of(again, accepted)
    assert events(taken_up)[:2] == ["started", "resumed"] and "counted" in events(taken_up)
    assert entries(taken_up, "resumed")[0]["at_ms"] > 0
    assert taken_up["started_unix_ms"] == again.ops(f"/ops/flights/{taken_up['id']}").json["started_unix_ms"]
    assert abs(taken_up["started_unix_ms"] - flight["started_unix_ms"]) < 5000


@pytest.mark.parametrize("name", ["0" * 32, "0" * 31, "0" * 33, "x" * 32, "", "a/b"])
def test_an_unknown_flight_is_said_to_be_so(operated, name):
    service = operated()
    reply = service.ops(f"/ops/flights/{name}")
    assert reply.status == 404 and "the last 256 that ended" in reply.json["detail"]
    assert service.ops(f"/ops/flights/{name}", method="DELETE").status == 404


# ---- the state

def test_the_state_of_what_runs(operated, provider):
    service = operated()
    hold, key = unique("hold"), unique("key")
    empty = service.state()
    assert (empty["status"], empty["flights"], empty["recent"], empty["flights_omitted"]) == ("ready", [], [], 0)
    model = provider.script(unique("slow"), {"words": 200, "seconds": 4, "hold": hold, "hold_at": 150})
    running = in_background(service.post, CHAT, question(CHAT, model), key)
    begun = wait_until(lambda: [one for one in service.state()["flights"] if one["output_bytes"]], "output")[0]
    grown = wait_until(lambda: [one for one in service.state()["flights"]
                                if one["output_bytes"] > begun["output_bytes"] and one["events"] > begun["events"]],
                       "more output")[0]
    assert grown["id"] == begun["id"] and grown["elapsed_ms"] > begun["elapsed_ms"]
    assert (grown["route"], grown["client"], grown["model"], grown["upstream"], grown["state"]) == (
        CHAT, None, model, "chat", "calling")
    assert re.fullmatch("[0-9a-f]{8}", grown["key"])
    assert (grown["attempt"], grown["waiters"], grown["accepted"], grown["orphan"]) == (1, 1, False, False)
    assert 0 <= grown["first_event_ms"] <= grown["elapsed_ms"]
    assert 580_000 < grown["deadline_ms"] <= 590_100
    assert abs(time.time() * 1000 - grown["started_unix_ms"]) < 60_000
    state = service.state()
    assert (state["flights_running"], state["waiters"], state["flights_max"]) == (1, 1, 2000)
    assert [one["flights"] for one in state["upstreams"] if one["name"] == "chat"] == [1]
    assert state["memory"]["bytes"] > 0 and state["store"]["writable"] is True
    provider.release(hold)
    assert running.result().status == 200


def test_the_state_counts_what_was_saved(operated, provider):
    service = operated()
    key, model = unique("key"), provider.script(unique("counted"), {"words": 20}, repeat=True)
    body = question(CHAT, model)
    answer = service.post(CHAT, body, key)
    tokens = answer.json["usage"]["completion_tokens"]
    assert_answer(service.post(CHAT, body, key), key_status="replayed")
    assert service.post(CHAT, b"{").status == 400
    assert service.get("/nothing").status == 404
    state = wait_until(lambda: (state := service.state())["counts"]["requests"] == 4 and state, "four requests")
    counts = state["counts"]
    assert (counts["executed"], counts["replayed"], counts["duplicates_avoided"]) == (1, 1, 1)
    assert (counts["output_tokens"], counts["output_tokens_saved"], counts["refused"]) == (tokens, tokens, 2)
    nothing, bad, replayed, executed = state["recent"]
    assert (nothing["route"], nothing["status"], nothing["error"]) == (None, 404, "not_found")
    assert (bad["route"], bad["status"], bad["error"], bad["model"]) == (CHAT, 400, "invalid_json", None)
    assert (replayed["source"], replayed["attempts"], replayed["output_tokens"]) == ("replayed", 0, tokens)
    assert (executed["source"], executed["attempts"], executed["output_tokens"]) == ("executed", 1, tokens)
    assert executed["id"] == replayed["id"] == answer["unstream-request-id"]
    assert executed["key"] == replayed["key"] and executed["upstream"] == "chat"
    assert executed["duration_ms"] >= 0 and executed["first_event_ms"] >= 0


def test_a_hundred_requests_are_told_and_no_more(operated):
    service = operated()
    for i in range(101):
        assert service.get(f"/nothing/{i}").status == 404
    state = wait_until(lambda: (state := service.state())["counts"]["requests"] == 101 and state, "all requests")
    assert len(state["recent"]) == 100


def test_two_hundred_flights_are_listed_oldest_first_and_the_others_counted(operated, provider):
    service = operated()
    hold = unique("hold")
    model = provider.script(unique("many"), {"hold": hold}, repeat=True)
    body = question(CHAT, model)
    replies = [in_background(service.post, CHAT, body) for _ in range(203)]
    state = wait_until(lambda: (state := service.state())["flights_running"] == 203 and state, "203 flights", 60)
    assert (len(state["flights"]), state["flights_omitted"]) == (200, 3)
    started = [flight["started_unix_ms"] for flight in state["flights"]]
    assert started == sorted(started)
    provider.release(hold)
    assert {reply.result().status for reply in replies} == {200}


# ---- cancelling

@pytest.mark.parametrize("key", [None, "keyed"])
def test_an_operator_cancels_what_runs(operated, provider, key):
    service = operated()
    model = provider.script(unique("cancelled"), {"hold": unique("hold")})
    key = key and unique(key)
    waiting = in_background(service.post, MESSAGES, question(MESSAGES, model), key)
    provider.wait_for(model)
    [flight] = service.state()["flights"]
    reply = service.ops(f"/ops/flights/{flight['id']}", method="DELETE")
    assert (reply.status, reply.json) == (202, {"id": flight["id"], "state": "calling"})
    told = waiting.result()
    assert_error(told, MESSAGES, 409, retry=False)
    provider.wait_for(model, "aborted")
    ended = flight_of(service, told)
    assert entries(ended, "stopped")[0]["text"] == "it was stopped: cancelled"
    assert entries(ended, "call_ended")[0]["end"] == "cancelled"
    assert (ended["status"], ended["error"]) == (409, "cancelled")
    assert ("released" in events(ended)) == (key is not None)
    assert service.ops(f"/ops/flights/{flight['id']}", method="DELETE").status == 404
    if key:
        assert_answer(service.post(MESSAGES, question(MESSAGES, model), key), key_status="executed")


# ---- who may look

PATHS = [("GET", "/ops/state"), ("GET", "/ops/flights/" + "0" * 32), ("DELETE", "/ops/flights/" + "0" * 32)]


@pytest.mark.parametrize("method, path", PATHS)
def test_the_operators_token_is_asked_for(operated, method, path):
    service = operated({"ops_token_sha256": hashlib.sha256(OPS_TOKEN.encode()).hexdigest()})
    assert service.ops(path, method=method).status == 401
    assert service.ops(path, {"Authorization": "Bearer other"}, method).status == 401
    assert service.ops(path, {"Authorization": f"Bearer {OPS_TOKEN}"}, method).status in (200, 404)


@pytest.mark.parametrize("method, path", PATHS)
def test_no_web_page_reaches_it(operated, method, path):
    service = operated()
    assert service.ops(path, {"Host": "evil.example"}, method).status == 403
    assert service.ops(path, {"Origin": "https://evil.example"}, method).status == 403
    assert service.ops(path, {"Origin": "http://127.0.0.1:1"}, method).status in (200, 404)


def test_other_methods_are_refused(operated):
    service = operated()
    for path, allowed in [("/ops/state", "GET, HEAD"), ("/ops/flights/x", "GET, HEAD, DELETE"),
                          ("/ops/keys/list", "POST"), ("/metrics", "GET, HEAD")]:
        reply = service.ops(path, method="PUT")
        assert (reply.status, reply["allow"]) == (405, allowed)
    head = service.ops("/ops/state", method="HEAD")
    assert (head.status, head.body) == (200, b"") and int(head["content-length"]) > 500
    assert service.get("/ops/state").status == 404  # not on the clients' side


# ---- unstream why

def test_why_asks_the_service(operated, provider):
    service = operated()
    model = provider.script(unique("why"), {"words": 60, "cut_at": 1500, "headers": {"x-request-id": "req_1"}})
    reply = service.post(CHAT, question(CHAT, model), unique("key"))
    flight_of(service, reply)
    flight = reply["unstream-request-id"]
    told = service.why(flight)
    assert told.returncode == 0, told.stderr
    lines = told.stdout.splitlines()
    assert lines[0] == f"flight     {flight}"
    assert f"model      {model}" in lines and "upstream   chat" in lines
    assert "state      ended, status 200" in lines
    assert any(re.fullmatch(r"calls      2; 2 paid in the life of its key; \d+ bytes of output in the last one", line)
               for line in lines)
    assert any(re.fullmatch(r"started    \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ, ended after \d+\.\d{3} s", line)
               for line in lines)
    [cut] = [line for line in lines if "truncated" in line]
    assert re.fullmatch(r" +0\.\d{3} s  call 1 to chat ended: truncated, status 200, \d+ output bytes; it may have been "
                        r"billed \(request id req_1\)", cut)
    assert json.loads(service.why(flight, "--json").stdout)["id"] == flight
    unknown = service.why("0" * 32)
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "no flight of this id is known" in unknown.stderr


def test_why_of_what_runs(operated, provider):
    service = operated()
    hold = unique("hold")
    model = provider.script(unique("why"), {"hold": hold})
    running = in_background(service.post, SIMPLE, {"prompt": "x", "model": model})
    provider.wait_for(model)
    [flight] = service.state()["flights"]
    told = service.why(flight["id"])
    assert re.search(r"^state      calling$", told.stdout, re.MULTILINE)
    assert re.search(r"^started    \S+, for \d+\.\d{3} s now; its deadline is at 120\.\d{3} s$", told.stdout, re.MULTILINE)
    provider.release(hold)
    assert running.result().status == 200


def test_why_without_a_service_opens_the_store(operated):
    service = operated()
    flight = service.post(CHAT, question(CHAT, unique("why")), unique("key"))["unstream-request-id"]
    service.stop()
    told = service.why(flight)
    assert told.returncode == 0, told.stderr
    assert "state      ended, status 200; its row in the store is done" in told.stdout
    assert "there is no timeline" in told.stdout
    assert json.loads(service.why("--json", flight).stdout)["from"] == "store"
    unknown = service.why("0" * 32)
    assert (unknown.returncode, unknown.stderr) == (
        1, "unstream why: no service runs, and the store has no flight of this id\n")


def test_why_needs_the_token_and_an_id(operated):
    service = operated({"ops_token_sha256": hashlib.sha256(OPS_TOKEN.encode()).hexdigest()})
    refused = service.why("0" * 32)
    assert refused.returncode == 78 and "UNSTREAM_OPS_TOKEN" in refused.stderr
    assert service.why("0" * 32, UNSTREAM_OPS_TOKEN=OPS_TOKEN).returncode == 1
    for words in ([], ["0" * 31], ["0" * 32, "0" * 32], ["0" * 32, "--what"]):
        wrong = service.why(*words)
        assert wrong.returncode == 64 and wrong.stderr.startswith("usage: unstream why ID"), words
