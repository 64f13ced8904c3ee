"""What SDKs ask for beside generations is passed on to the provider as it is, under the same rules."""
import hashlib
import json
import time

import pytest

from meter import Meter, series, with_ops
from support import (CHAT, MESSAGES, RESPONSES, UPSTREAMS, assert_error, assert_whole, in_background, question,
                     raw_post, request, sent_body, sent_headers, unique, wait_until)
from test_reload import events, reload

MODELS, EMBEDDINGS, COUNT = "/v1/models", "/v1/embeddings", "/v1/messages/count_tokens"
ANTHROPIC = {"anthropic-version": "2023-06-01"}
KEYS = {"upstreams": {name: {"api_key": f"sk-operator-{name}"} for name in UPSTREAMS}}
BATCHES = ["GET /v1/batches/*", "POST /v1/batches/*"]


def listing():
    """A target of its own for a list of models: scripts and hits know it by that."""
    return f"{MODELS}?after={unique()}"


def embedding(model, text="some words here", **members):
    return {"model": model, "input": text, **members}


def client(name):
    return {"name": name, "token_sha256": hashlib.sha256(name.encode()).hexdigest()}


def assert_relayed(reply, provider, path, headers=None, body=None):
    """The provider's own answer, with our headers around it."""
    method = "GET" if body is None else "POST"
    own = request(provider.port, method, path, body and json.dumps(body), headers or {})
    assert reply.body == own.body and reply.status == own.status, reply
    assert reply["content-type"] == own["content-type"]
    assert reply["content-length"] == str(len(reply.body))
    assert reply["cache-control"] == "no-store" and reply["transfer-encoding"] is None
    assert len(reply["unstream-request-id"]) == 32
    for name in ("x-request-id", "request-id", "x-ratelimit-remaining-requests"):
        assert reply[name] == own[name]
    for name in ("idempotency-status", "idempotent-replayed", "x-should-retry", "vary"):
        assert reply[name] is None, reply
    assert 'attempts;desc="1"' in reply["server-timing"]


# ---- what comes and what goes

@pytest.mark.parametrize("headers", [{}, ANTHROPIC])
@pytest.mark.parametrize("path", [MODELS, MODELS + "/small", MODELS + "/org/large", MODELS + "/a%2Fb%20c"])
def test_models_are_those_of_the_provider(service, provider, path, headers):
    assert_relayed(service.get(path, headers), provider, path, headers)


def test_embeddings_are_those_of_the_provider(service, provider):
    body = embedding(unique("e"), ["one", "two words"], encoding_format="base64")
    assert_relayed(service.post(EMBEDDINGS, body), provider, EMBEDDINGS, body=body)


def test_tokens_are_counted_by_the_provider(service, provider):
    body = question(MESSAGES, unique("count"), "five words in all here")
    reply = service.post(COUNT, body, headers=ANTHROPIC)
    assert_relayed(reply, provider, COUNT, ANTHROPIC, body)
    assert reply.json == {"input_tokens": 5}


def test_a_body_arrives_byte_for_byte(service, provider):
    model = unique("odd")
    body = b' {"input" : "\\u0041\\u00e9", "huge":12345678901234567890, "x":1,"x":2, "model":"%s"}\n' % model.encode()
    assert service.post(EMBEDDINGS, body).status == 200
    [call] = provider.requests(model)
    assert sent_body(call) == body
    assert sent_headers(call, "content-type") == ["application/json"]


def test_a_body_need_not_be_json_we_understand(service, provider):
    reply = service.post(EMBEDDINGS, b"no json at all")
    assert reply.status == 400 and "the body is not usable JSON" in reply.error["message"]


def test_the_query_and_the_path_arrive_unchanged(service, provider):
    target = f"{MODELS}?limit=2&x=%20a+b&{unique()}&empty="
    assert service.get(target).status == 200
    assert provider.requests(target)[0]["target"] == target
    model = unique("m")
    assert service.get(f"{MODELS}/%6Drg/{model}?a").status == 200
    assert provider.requests(f"mrg/{model}")[0]["target"] == f"{MODELS}/%6Drg/{model}?a"


def test_headers_are_those_of_a_generation(service, provider):
    target = listing()
    passed = {"openai-organization": "org", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
              "Authorization": "Bearer sk-secret-of-a-client", "Accept": "application/json; v=2"}
    reply = service.get(target, {**passed, "User-Agent": "tester/1.0", "Cookie": "a=b", "X-Stainless-Lang": "js",
                                 "Prefer": "wait=30", "Idempotency-Key": unique("key"), "x-hop": "1",
                                 "Connection": "keep-alive, x-hop, openai-project", "openai-project": "p",
                                 "Accept-Encoding": "gzip, br", "TE": "trailers"})
    assert reply.status == 200 and reply["idempotency-status"] is None
    [call] = provider.requests(target)
    assert call["method"] == "GET" and sent_body(call) == b""
    for name, value in passed.items():
        assert sent_headers(call, name) == [value]
    for name in ("idempotency-key", "cookie", "x-stainless-lang", "prefer", "x-hop", "te", "openai-project",
                 "content-type", "content-length", "transfer-encoding"):
        assert sent_headers(call, name) == []
    assert sent_headers(call, "accept-encoding") == ["identity"]
    assert sent_headers(call, "host") == [f"127.0.0.1:{provider.port}"]
    assert sent_headers(call, "user-agent")[0].startswith("tester/1.0 unstream")
    assert sent_headers(call, "via")[0].startswith("1.1 unstream-")


def test_a_key_is_not_looked_at(launch, provider):
    service = launch({"routes": {CHAT: {"require_key": True}}})
    model = unique("keyed")
    for key in (None, "k", "k", "two words"):
        reply = service.post(EMBEDDINGS, embedding(model), key)
        assert reply.status == 200 and reply["idempotency-status"] is None
    assert provider.hits(model) == 4


def test_a_head_is_a_get_without_its_body(service, provider):
    target = listing()
    with service.connect() as connection:
        for _ in range(2):
            connection.send(f"HEAD {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")
            reply = connection.reply("HEAD")
            assert reply.status == 200 and int(reply["content-length"]) > 100
    assert [call["method"] for call in provider.requests(target)] == ["GET", "GET"]


def test_a_body_of_a_get_is_dropped(service, provider):
    target = listing()
    with service.connect() as connection:
        connection.send(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
                        "Content-Length: 4\r\n\r\nbody")
        assert connection.reply("GET").status == 200
    assert sent_body(provider.requests(target)[0]) == b""


def test_a_client_of_http_1_0_gets_the_same(service, provider):
    target, own = listing(), request(provider.port, "GET", MODELS)
    with service.connect() as connection:
        connection.send(f"GET {target} HTTP/1.0\r\n\r\n")
        reply = connection.reply("GET")
        assert (reply.status, reply.body) == (200, own.body)
        assert reply["transfer-encoding"] is None and connection.at_end()


def test_an_answer_in_chunks_comes_with_its_length(service, provider):
    target = provider.script(listing(), {"chunk": 7})
    reply = service.get(target)
    assert_whole(reply)
    assert reply.body == request(provider.port, "GET", MODELS).body


def test_an_answer_may_be_anything(launch, provider):
    service = launch({"relay": BATCHES})
    path = f"/v1/batches/{unique()}"
    provider.script(path, {"status": 202, "body": "plain words", "headers": {"Content-Type": "text/plain; charset=x"}},
                    {"status": 204, "body": ""}, {})
    reply = service.get(path)
    assert (reply.status, reply.body, reply["content-type"]) == (202, b"plain words", "text/plain; charset=x")
    assert (service.get(path).status, service.get(path).status) == (204, 200)


def test_a_post_may_have_no_body(launch, provider):
    service = launch({"relay": BATCHES})
    path = f"/v1/batches/{unique()}/cancel"
    with service.connect() as connection:
        connection.send(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        assert connection.reply().status == 201
    [call] = provider.requests(path)
    assert sent_headers(call, "content-length") == ["0"] and sent_headers(call, "content-type") == []


def test_a_large_body_and_a_large_answer_pass(launch, provider):
    service = launch({"limits": {"answer_bytes_max": 2_000_000}})
    model = provider.script(unique("large"), {"body": "y" * 2_000_000}, {"body": "y" * 2_000_001})
    body = embedding(model, "word " * 400_000)
    reply = service.post(EMBEDDINGS, body)
    assert reply.status == 200 and reply.body == b"y" * 2_000_000
    assert json.loads(sent_body(provider.requests(model)[0])) == body
    assert_error(service.post(EMBEDDINGS, embedding(model)), CHAT, 502, "answer_too_large", retry=False)


# ---- whose it is

@pytest.mark.parametrize("path, headers, upstream", [
    (MODELS, {}, "chat"), (MODELS, ANTHROPIC, "messages"), (MODELS + "/m", ANTHROPIC, "messages"),
    (COUNT, {}, "messages"), (EMBEDDINGS, {}, "chat"), (EMBEDDINGS, ANTHROPIC, "messages")])
def test_anthropics_version_or_path_says_whose_it_is(launch, provider, path, headers, upstream):
    service = launch({**KEYS, "open": True})
    name = unique()
    target = f"{path}/{name}" if path == MODELS + "/m" else f"{path}?{name}"
    reply = service.get(target, headers) if MODELS in path else service.post(target, {"model": name}, None, headers)
    assert reply.status == 200
    [call] = provider.requests(name) or provider.requests(f"m/{name}") or provider.requests(target)
    sent = sent_headers(call, "authorization") + sent_headers(call, "x-api-key")
    assert sent in ([f"Bearer sk-operator-{upstream}"], [f"sk-operator-{upstream}"])


def test_without_an_upstream_it_is_said_what_would_configure_it(launch, provider):
    service = launch({**KEYS, "open": True, "routes": {CHAT: False, MESSAGES: False}})
    target = listing()
    assert service.get(target).status == 200  # by that of /v1/responses
    assert sent_headers(provider.requests(target)[0], "authorization") == ["Bearer sk-operator-responses"]
    reply = service.get(MODELS, ANTHROPIC)
    assert_error(reply, MESSAGES, 404)
    assert "/v1/messages is switched off" in reply.error["message"]
    reload(service, {"routes": {RESPONSES: False}})
    reply = service.get(MODELS)
    assert_error(reply, CHAT, 404, "route_not_configured")
    assert "/v1/chat/completions is switched off" in reply.error["message"]


# ---- who may ask

def test_a_client_must_be_known(launch, provider):
    service = launch({**KEYS, "clients": [client("one")]})
    target = listing()
    for headers in ({}, {"Authorization": "Bearer nobody"}):
        assert_error(service.get(target, headers), CHAT, 401, "unauthorized")
        assert_error(service.get(MODELS, {**headers, **ANTHROPIC}), MESSAGES, 401)
        assert_error(service.post(EMBEDDINGS, {}, None, headers), CHAT, 401, "unauthorized")
    assert provider.hits(target) == 0
    assert service.get(target, {"Authorization": "Bearer one"}).status == 200
    assert sent_headers(provider.requests(target)[0], "authorization") == ["Bearer sk-operator-chat"]


def test_two_credentials_are_refused(service):
    reply = service.get(MODELS, {"Authorization": "Bearer a-credential", "x-api-key": "another-one"})
    assert_error(reply, CHAT, 400, "credential_conflict", retry=False)


@pytest.mark.parametrize("headers", [{"X-Forwarded-For": "10.0.0.1"}, {"Origin": "https://evil.example"},
                                     {"Host": "evil.example"}])
def test_the_operators_key_is_not_exposed(launch, provider, headers):
    service = launch(KEYS)
    target = listing()
    assert_error(service.get(target, headers), CHAT, 403, "open_not_allowed")
    assert provider.hits(target) == 0
    assert service.get(target).status == 200


def test_a_refused_key_of_the_operator_is_no_business_of_the_caller(launch, provider):
    service = launch(KEYS)
    for status in (401, 403):
        target = provider.script(listing(), {"status": status, "body": {"error": {"message": "sk-operator-chat is bad"}}})
        assert_error(service.get(target), CHAT, 502, "upstream_credentials_invalid", retry=False)


def test_the_callers_own_refused_key_is(service, provider):
    target = provider.script(listing(), {"status": 401, "body": {"error": {"message": "bad key"}}})
    reply = service.get(target, {"Authorization": "Bearer sk-of-the-caller"})
    assert (reply.status, reply.json) == (401, {"error": {"message": "bad key"}})


def test_our_own_call_coming_back_is_a_loop(service, provider):
    target = listing()
    assert service.get(target).status == 200
    [via] = sent_headers(provider.requests(target)[0], "via")
    assert_error(service.get(target, {"Via": via}), CHAT, 508, "loop_detected", retry=False)
    assert provider.hits(target) == 1


# ---- what is not passed on

def test_what_is_not_listed_is_not_there(service, provider):
    for method, path in (("GET", "/v1/files"), ("GET", "/models"), ("POST", "/v1/embeddings/x"),
                         ("GET", "/v1/models/"), ("GET", "/v1/models/a/../../files"),
                         ("GET", "/v1/models/%2e%2e/files"), ("GET", "/v1/models/..%2Ffiles"), ("DELETE", "/v1/files")):
        reply = service.request(method, path)
        assert_error(reply, "", 404, "not_found")
    assert "GET /v1/models, GET /v1/models/*, POST /v1/messages/count_tokens, POST /v1/embeddings" in reply.json["detail"]


def test_other_methods_are_told_what_there_is(service):
    for method, path, allow in (("POST", MODELS, "GET, HEAD"), ("DELETE", MODELS + "/m", "GET, HEAD"),
                                ("GET", EMBEDDINGS, "POST"), ("HEAD", EMBEDDINGS, "POST"), ("PUT", COUNT, "POST")):
        reply = service.request(method, path)
        assert reply.status == 405 and reply["allow"] == allow, reply


def test_a_post_takes_json(service, provider):
    model = unique("media")
    for headers in ({"Content-Type": "text/plain"}, {"Content-Encoding": "gzip"},
                    {"Content-Type": "multipart/form-data; boundary=x"}):
        assert_error(service.post(EMBEDDINGS, embedding(model), None, headers), CHAT, 415, "unsupported_media_type")
    assert provider.hits(model) == 0


def test_a_body_has_its_limit(launch, provider):
    service = launch({"limits": {"body_bytes_max": 1000}})
    model = unique("limit")
    body = json.dumps(embedding(model)).encode()
    assert service.post(EMBEDDINGS, body + b" " * (1000 - len(body))).status == 200
    assert_error(service.post(EMBEDDINGS, body + b" " * (1001 - len(body))), CHAT, 413, "body_too_large")
    assert provider.hits(model) == 1


def test_nothing_is_relayed_where_that_is_switched_off(launch):
    service = launch({"relay": []})
    for path in (MODELS, EMBEDDINGS):
        assert_error(service.get(path), "", 404, "not_found")
    assert "/api/llm, GET /livez" in service.get(MODELS).json["detail"]


def test_a_reload_changes_the_list(launch, provider):
    service = launch()
    path, held, hold = f"/v1/batches/{unique()}", unique("held"), unique("hold")
    provider.script(held, {"hold": hold, "hold_at": "head"})
    running = in_background(service.post, EMBEDDINGS, embedding(held))
    provider.wait_for(held)
    assert service.get(path).status == 404
    reload(service, {"relay": BATCHES})
    assert service.get(path).status == 200
    assert service.get(MODELS).status == 404
    reload(service, {"relay": ["GET /livez"]}, "reload_refused")
    assert service.get(path).status == 200
    provider.release(hold)
    assert running.result().status == 200
    service.stop()
    assert [line["route"] for line in events(service, "request") if line["status"] == 200
            and line["route"] != "other"][-3:] == ["/v1/batches/*", "/v1/batches/*", EMBEDDINGS]


# ---- how it fails

@pytest.mark.parametrize("status", [400, 404, 409, 422])
def test_an_error_of_the_provider_passes(service, provider, status):
    error = {"error": {"message": "so it is", "code": None}}
    target = provider.script(listing(), {"status": status, "body": error})
    reply = service.get(target)
    assert (reply.status, reply.json, reply["x-should-retry"]) == (status, error, None)
    assert provider.hits(target) == 1


def test_a_model_that_is_not_there_is_the_providers_404(service, provider):
    for headers in ({}, ANTHROPIC):
        assert_relayed(service.get(MODELS + "/no-such", headers), provider, MODELS + "/no-such", headers)


def test_an_error_that_is_no_json_is_wrapped(service, provider):
    target = provider.script(listing(), {"status": 404, "body": "<html>no</html>",
                                         "headers": {"Content-Type": "text/html"}})
    reply = service.get(target)
    assert_error(reply, CHAT, 404)
    assert "<html>no</html>" in reply.error["message"]


@pytest.mark.parametrize("status, told", [(500, 502), (502, 502), (504, 502), (503, 503), (529, 503), (302, 502)])
def test_a_provider_that_fails_is_called_once_and_its_caller_may_retry(launch, provider, status, told):
    service = launch()
    target = provider.script(listing(), {"status": status, "body": {"error": {"message": "x"}}})
    reply = service.get(target)
    assert_error(reply, CHAT, told, "upstream_error")
    assert reply["x-should-retry"] is None and "retries" not in reply.error["message"]
    assert provider.hits(target) == 1
    assert service.get(target).status == 200


@pytest.mark.parametrize("after, told, retry", [("2", "2", "true"), ("30", "8", "true"), ("61", "61", "false")])
def test_too_many_requests_come_with_a_time(launch, provider, after, told, retry):
    service = launch()
    body = {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}
    target = provider.script(listing(), {"status": 429, "body": body, "headers": {"Retry-After": after}})
    reply = service.get(target)
    assert (reply.status, reply.json) == (429, body)
    assert (reply["retry-after"], reply["x-should-retry"]) == (told, retry)


def test_the_brake_holds_relayed_requests_too(launch, provider):
    service = launch({**KEYS, "open": True})
    body = {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}
    target = provider.script(listing(), {"status": 429, "body": body, "headers": {"Retry-After": "1"}})
    assert service.get(target).status == 429
    start = time.monotonic()
    assert service.get(target).status == 200
    assert time.monotonic() - start > 0.9


@pytest.mark.parametrize("step", [{"cut_at": 20}, {"cut_at": 20, "cut": "reset"}, {"cut_at": 20, "chunk": 5},
                                  {"cut_at": 0}, {"cut_at": 0, "chunk": 5}])
def test_a_cut_answer_is_none(service, provider, step):
    target = provider.script(listing(), step)
    reply = service.get(target)
    assert_error(reply, CHAT, 502, "upstream_stream_incomplete")
    assert reply["x-should-retry"] is None
    assert provider.hits(target) == 1


def test_an_encoded_answer_is_none(service, provider):
    target = provider.script(listing(), {"headers": {"Content-Encoding": "gzip"}})
    assert_error(service.get(target), CHAT, 502, "upstream_stream_incomplete")


def test_a_provider_that_is_not_there(launch):
    service = launch({"upstreams": {"chat": {"base_url": "http://127.0.0.1:1/v1"}}})
    reply = service.get(MODELS)
    assert_error(reply, CHAT, 502, "upstream_unreachable")
    assert reply["x-should-retry"] is None


def test_a_slow_provider_meets_the_deadline(service, provider):
    hold = unique("hold")
    target = provider.script(listing(), {"hold": hold, "hold_at": "head"})
    reply = service.get(target, {"Unstream-Deadline": "1"})
    assert_error(reply, CHAT, 504, "deadline_exceeded")
    wait_until(lambda: provider.requests(target)[0]["state"] == "aborted", "the call to be ended")


def test_the_deadline_is_that_of_its_route(launch, provider):
    service = launch({"routes": {MESSAGES: {"deadline_s": 0.3}}})
    model = provider.script(unique("slow"), {"hold": unique("hold"), "hold_at": "head"})
    assert_error(service.post(COUNT, question(MESSAGES, model)), MESSAGES, 504)


# ---- slots, and clients that leave

def crowded(**limits):
    return {"limits": {"flights_max": 1, "queue_max": 1, "queue_s": 60, **limits}}


def test_relayed_requests_take_slots_and_wait_for_them(launch, provider):
    overrides, port = with_ops(crowded())
    service, meter = launch(overrides), Meter(port)
    hold = unique("hold")
    first, second = provider.script(listing(), {"hold": hold, "hold_at": "head"}), listing()
    running = in_background(service.get, first)
    provider.wait_for(first)
    queued = in_background(service.get, second)
    meter.wait_for("unstream_flights_queued", 1)
    assert_error(service.get(listing()), CHAT, 503, "overloaded", retry=True)
    assert_error(service.post(CHAT, question(CHAT, unique("x"))), CHAT, 503, "overloaded", retry=True)
    assert provider.hits(second) == 0
    provider.release(hold)
    assert (running.result().status, queued.result().status) == (200, 200)


def test_they_count_for_the_limit_of_their_client(launch):
    service = launch({**KEYS, "clients": [{**client("one"), "requests_per_minute": 2}]})
    one = {"Authorization": "Bearer one"}
    assert [service.get(MODELS, one).status for _ in range(2)] == [200, 200]
    assert_error(service.get(MODELS, one), CHAT, 429, "rate_limited", retry=True)
    assert_error(service.post(CHAT, question(CHAT, unique("x")), headers=one), CHAT, 429, "rate_limited", retry=True)


@pytest.mark.parametrize("on_disconnect", ["auto", "continue"])
def test_a_client_that_leaves_takes_its_call_along(launch, provider, on_disconnect):
    service = launch({"routes": {CHAT: {"on_disconnect": on_disconnect, "adopt": "any"}}})
    model = provider.script(unique("left"), {"hold": unique("hold"), "hold_at": "head"})
    with service.connect() as connection:
        connection.send(raw_post(EMBEDDINGS, embedding(model), "1.1", "x-stainless-retry-count: 0"))
        provider.wait_for(model)
    wait_until(lambda: provider.requests(model)[0]["state"] == "aborted", "the call to be ended", 5)
    again = service.post(EMBEDDINGS, embedding(model), headers={"x-stainless-retry-count": "1"})
    assert again.status == 200 and again["idempotency-status"] is None
    assert provider.hits(model) == 2


def test_there_is_nothing_at_its_result_url(launch, provider):
    service = launch({**KEYS, "clients": [client("one")]})
    one, hold = {"Authorization": "Bearer one"}, unique("hold")
    target = provider.script(listing(), {}, {"hold": hold, "hold_at": "head"})
    flight = service.get(target, one)["unstream-request-id"]
    assert service.get(f"/requests/{flight}", one).status == 404
    running = in_background(service.get, target, {**one, "Prefer": "respond-async, wait=0"})
    provider.wait_for(target)
    provider.release(hold)
    assert running.result().status == 200 and running.result()["preference-applied"] is None


@pytest.mark.parametrize("edge", ["conflict", "redirect", "heartbeat"])
def test_edges_are_not_for_relayed_requests(launch, provider, edge):
    service = launch({"routes": {CHAT: {"edge": edge, "hold_s": 0.1}}})
    hold = unique("hold")
    target = provider.script(listing(), {"hold": hold, "hold_at": "head"})
    running = in_background(service.get, target, {"x-stainless-retry-count": "0"})
    provider.wait_for(target)
    time.sleep(0.3)
    assert not running.done()
    provider.release(hold)
    assert_whole(running.result())


def test_a_drain_finishes_what_runs_and_refuses_what_is_new(launch, provider):
    service = launch()
    hold = unique("hold")
    target = provider.script(listing(), {"hold": hold, "hold_at": "head"})
    running = in_background(service.get, target)
    provider.wait_for(target)
    service.terminate()
    wait_until(lambda: service.get("/readyz").status == 503, "the drain to begin")
    assert_error(service.get(MODELS), CHAT, 503, "draining", retry=True)
    provider.release(hold)
    assert running.result().status == 200
    service.assert_clean_end()


# ---- what is told of it

def test_logs_name_the_pattern_and_never_the_path(launch, provider):
    service = launch()
    name = unique("model")
    assert service.get(f"{MODELS}/{name}").status == 200
    assert service.post(EMBEDDINGS, embedding("m-1", "three words here")).status == 200
    service.stop()
    models, embeddings = [line for line in events(service, "request") if line["route"].startswith("/v1/")]
    assert (models["method"], models["route"], models["upstream"]) == ("GET", "/v1/models/*", "chat")
    assert "model" not in models and "input_tokens" not in models
    assert (embeddings["route"], embeddings["model"], embeddings["input_tokens"]) == (EMBEDDINGS, "m-1", 3)
    assert name not in service.log.read_text()


def test_metrics_count_requests_by_pattern_and_only_embeddings_as_operations(launch, provider):
    overrides, port = with_ops()
    service, meter = launch(overrides), Meter(port)
    assert service.get(MODELS + "/any").status == 200
    usual = {"flights": 1, "attempts": {'{end="answered"}': 1}, "start_overhead_seconds": {'{keyed="false"}': 1},
             "answer_overhead_seconds": {'{keyed="false"}': 1}}
    meter.assert_moved(**usual, requests={series("", route="/v1/models/*", status=200): 1})
    assert service.post(COUNT, question(MESSAGES, "m")).status == 200
    meter.assert_moved(**usual, requests={series("", route=COUNT, status=200): 1})
    assert service.post(EMBEDDINGS, embedding("m", "two words")).status == 200
    call = {"gen_ai_operation_name": "embeddings", "gen_ai_provider_name": "openai", "gen_ai_request_model": "m"}
    meter.assert_moved(**usual, requests={series("", route=EMBEDDINGS, status=200): 1}, input_tokens=2,
                       gen_ai_client_operation_duration_seconds={series("", **call): 1},
                       gen_ai_client_token_usage={series("", **call, gen_ai_token_type="input"): 1})
    target = provider.script(listing(), {"cut_at": 5})
    assert service.get(target).status == 502  # it cost nothing
    meter.assert_moved(flights=1, attempts={'{end="truncated"}': 1}, start_overhead_seconds={'{keyed="false"}': 1},
                       requests={series("", route=MODELS, status=502): 1})


# ---- the official SDKs

def test_openais_sdk(service, provider, sdk):
    model = unique("embedded")
    listed, one, missing, embedded = sdk(service, CHAT, [
        {"method": "models.list"}, {"method": "models.retrieve", "body": {"model": "org/large"}},
        {"method": "models.retrieve", "body": {"model": "no-such"}},
        {"method": "embeddings", "body": embedding(model, "two words")}])
    assert [item["id"] for item in listed["ok"]["items"]] == ["small", "org/large"]
    assert one["ok"]["id"] == "org/large"
    assert (missing["error"]["class"], missing["error"]["status"]) == ("NotFoundError", 404)
    assert "does not exist" in missing["error"]["message"]
    assert embedded["ok"]["data"][0]["embedding"] == pytest.approx([0.25, -1e-7, 1.0])
    assert embedded["ok"]["usage"] == {"prompt_tokens": 2, "total_tokens": 2}
    assert provider.hits(model) == 1


def test_anthropics_sdk(service, sdk):
    listed, one, missing, counted = sdk(service, MESSAGES, [
        {"method": "models.list"}, {"method": "models.retrieve", "body": {"model": "small"}},
        {"method": "models.retrieve", "body": {"model": "no-such"}},
        {"method": "count_tokens", "body": {"model": "m", "messages": [{"role": "user", "content": "three words here"}]}}])
    assert [item["id"] for item in listed["ok"]["items"]] == ["small", "org/large"]
    assert (one["ok"]["type"], one["ok"]["display_name"]) == ("model", "Small")
    assert (missing["error"]["class"], missing["error"]["status"]) == ("NotFoundError", 404)
    assert counted["ok"] == {"input_tokens": 3}


def test_an_sdk_repeats_what_failed_once(service, provider, sdk):
    model = provider.script(unique("again"), {"status": 500, "body": {"error": {"message": "x"}}})
    [result] = sdk(service, CHAT, [{"method": "embeddings", "body": embedding(model), "client": {"maxRetries": 2}}])
    assert result["ok"]["usage"]["prompt_tokens"] == 3
    assert provider.hits(model) == 2
