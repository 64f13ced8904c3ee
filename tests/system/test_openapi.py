"""schema/openapi.yaml: it is sound, and every answer of the real service is as it says."""
import copy
import hashlib
import json
import re
import subprocess
import time

import pytest

yaml = pytest.importorskip("yaml", reason="apt-get install python3-yaml")
jsonschema = pytest.importorskip("jsonschema", reason="apt-get install python3-jsonschema")

from support import (CHAT, MESSAGES, RESPONSES, ROOT, ROUTES, SIMPLE, Reply, Service, free_port,  # noqa: E402
                     in_background, question, request, unique, wait_until)

LINTER = ROOT / "tests/openapi"
DOCUMENT = yaml.safe_load((ROOT / "schema/openapi.yaml").read_text())
OPENAI, ANTHROPIC, PROBLEM = "OpenAIError", "AnthropicError", "Problem"
ERROR_OF = {CHAT: OPENAI, RESPONSES: OPENAI, MESSAGES: ANTHROPIC, SIMPLE: PROBLEM}
ANSWER_OF = {CHAT: "ChatCompletion", RESPONSES: "Response", MESSAGES: "Message", SIMPLE: "SimpleAnswer"}
# Of HTTP itself, or the provider's: their names are not ours to list.
UNLISTED = re.compile(r"content-(type|length)|date|connection|(x|anthropic)-ratelimit-.*")


def resolved(node):
    """The node, or what its $ref names."""
    while "$ref" in node:
        target = DOCUMENT
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


def check_schema(value, schema):
    resolver = jsonschema.RefResolver.from_schema(DOCUMENT)
    jsonschema.Draft202012Validator(schema, resolver=resolver).validate(value)


def operation_of(method, path):
    """What the document says of a method and path; of the path's other methods if it knows only those."""
    for template, item in DOCUMENT["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", re.escape(template).replace(r"\{", "{").replace(r"\}", "}")), path):
            methods = {name: value for name, value in item.items() if name in ("get", "head", "post", "delete")}
            return methods.get(method.lower()) or next(iter(methods.values()))
    raise AssertionError(f"{path} is not in the document")


def check_headers(reply, listed):
    names = {name.lower(): resolved(header) for name, header in listed.items()}
    for name, header in names.items():
        assert not header.get("required") or reply[name] is not None, f"{name} is missing: {reply}"
    for name, value in reply.header_list:
        if UNLISTED.fullmatch(name):
            continue
        assert name in names, f"{name} is not in the document: {reply}"
        schema = resolved(names[name]["schema"])
        check_schema(int(value) if schema["type"] == "integer" else value, schema)


def check(method, reply, schema=None):
    """An answer against the document.  schema: the very one that its body must follow."""
    responses = operation_of(method, reply.path)["responses"]
    said = responses.get(str(reply.status)) or responses.get(f"{reply.status // 100}XX")
    assert said, f"{reply.status} is not in the document: {reply}"
    said = resolved(said)
    check_headers(reply, said.get("headers", {}))
    media = (reply["content-type"] or "").split(";")[0]
    if method == "HEAD" or not reply.body:
        assert method == "HEAD" or "content" not in said, reply
        return reply
    assert media in said["content"], f"{media} is not in the document: {reply}"
    body = reply.json if media.endswith("json") else reply.body.decode()
    check_schema(body, said["content"][media]["schema"])
    if schema:
        check_schema(body, {"$ref": f"#/components/schemas/{schema}"})
    return reply


def code_of(reply):
    return reply.error.get("code")


# ---- the document itself

def test_the_linter_finds_nothing(npm_install):
    npm_install(LINTER, "--ignore-scripts")
    done = subprocess.run(["node", "lint.mjs", ROOT / "schema/openapi.yaml"], cwd=LINTER,
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def table_of_errors():
    """(status, code) of every error of our own."""
    header = (ROOT / "service/core/http_error.h").read_text()
    return set(re.findall(r'X\(HTTP_ERROR_\w+,\s*"(\w+)",\s*(\d+)', header))


def test_every_error_stands_with_its_status_and_no_other_does():
    table = {(int(status), code) for code, status in table_of_errors()}
    told = set()
    for operation in (op for item in DOCUMENT["paths"].values() for name, op in item.items() if name in ("get", "post", "delete")):
        for status, response in operation["responses"].items():
            if status.isdigit() and int(status) >= 400:
                told |= {(int(status), code) for line in resolved(response)["description"].splitlines() if line.startswith("- ")
                         for code in re.findall(r"`(\w+_\w+|\w+ed|draining)`", line.partition(":")[0])}
    # A conflict of the edge policy, and a provider that is overloaded, have two statuses.
    table |= {(503, "generation_in_progress")}
    assert told | {(503, "upstream_error")} == table
    assert set(DOCUMENT["components"]["schemas"]["Code"]["enum"]) == {code for _, code in table}


def test_a_wrong_answer_is_noticed():
    headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store"), ("Unstream-Request-Id", "0" * 32)]
    good = Reply(200, headers, b'{"status":"alive"}', "/livez")
    check("GET", good)
    wrong = [Reply(201, headers, good.body, "/livez"), Reply(200, headers, b'{"status":"dead"}', "/livez"),
             Reply(200, headers[1:], good.body, "/livez"), Reply(200, headers[:1], good.body, "/livez"),
             Reply(200, [*headers, ("X-New", "1")], good.body, "/livez"), Reply(200, headers, good.body, "/alive"),
             Reply(200, [*headers[:2], ("Unstream-Request-Id", "1")], good.body, "/livez")]
    for reply in wrong:
        with pytest.raises((AssertionError, jsonschema.ValidationError)):
            check("GET", reply)


# ---- real answers

@pytest.fixture(scope="module")
def services(provider, binary, tmp_path_factory):
    """service(name, overrides): started once, ended with the module."""
    running = {}

    def service(name, overrides):
        if name not in running:
            running[name] = Service(provider, tmp_path_factory.mktemp(name), copy.deepcopy(overrides))
        return running[name]

    yield service
    for one in running.values():
        one.stop()


CLIENT = {"name": "one", "token_sha256": hashlib.sha256(b"token").hexdigest()}
KNOWN = {"Authorization": "Bearer token"}
ONCE = {name: {"attempts_max": 1} for name in ("chat", "responses", "messages", "simple")}


@pytest.fixture
def usual(services):
    return services("usual", {"upstreams": ONCE, "idempotency": {"waiters_max": 1}})


@pytest.mark.parametrize("route", ROUTES)
def test_answers_of_a_generation(usual, provider, route):
    body, key = question(route, unique("spec")), unique("key")
    for status in ("executed", "replayed"):
        reply = check("POST", usual.post(route, body, key), ANSWER_OF[route])
        assert reply.status == 200 and reply["idempotency-status"] == status
    assert check("POST", usual.post(route, body), ANSWER_OF[route]).status == 200
    reused = check("POST", usual.post(route, question(route, unique("other")), key), ERROR_OF[route])
    assert reused.status == 422


@pytest.mark.parametrize("route", ROUTES)
def test_refusals_of_a_request(usual, route):
    body = question(route, unique("spec"))
    shape = ERROR_OF[route]
    assert check("POST", usual.post(route, b"{"), shape).status == 400
    assert check("POST", usual.post(route, {**body, "stream": True}), shape).status == 400
    assert check("POST", usual.post(route, body, "two words"), shape).status == 400
    assert check("POST", usual.post(route, body, headers={"Unstream-Deadline": "soon"}), shape).status == 400
    two = {"Authorization": "Bearer a", "x-api-key": "b"}
    assert check("POST", usual.post(route, body, headers=two), shape).status == 400
    assert check("POST", usual.post(route, body, headers={"Content-Type": "text/plain"}), shape).status == 415
    assert check("POST", usual.post(route, body, headers={"Expect": "miracles"})).status == 417
    reply = check("GET", usual.get(route))
    assert reply.status == 405 and reply["allow"] == "POST"


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("step, status, own", [
    ({"status": 402, "body": {"error": {"message": "pay"}}}, 402, False),
    ({"status": 404, "body": {"error": {"message": "no such model"}}}, 404, False),
    ({"status": 418, "body": "I am a teapot", "headers": {"Content-Type": "text/plain"}}, 418, False),
    ({"status": 429, "body": {"error": {"message": "slow"}}, "headers": {"Retry-After": "2"}}, 429, False),
    ({"status": 500, "body": {"error": {"message": "x"}}}, 502, True),
    ({"status": 529, "body": {"error": {"message": "x"}}}, 503, True),
    ({"words": 60, "cut_at": 1500}, 502, True)])
def test_failures_of_a_provider(usual, provider, route, step, status, own):
    model = provider.script(unique("fails"), step)
    reply = check("POST", usual.post(route, question(route, model), unique("key")), ERROR_OF[route] if own else None)
    assert reply.status == status, reply


@pytest.mark.parametrize("route", ROUTES)
def test_waiting_for_one_that_runs(usual, provider, route):
    hold, key = unique("hold"), unique("key")
    body = question(route, provider.script(unique("held"), {"hold": hold}))
    first = in_background(usual.post, route, body, key)
    provider.wait_for(body["model"])
    conflict = check("POST", usual.post(route, body, key), ERROR_OF[route])
    assert conflict.status == 409 and conflict["retry-after"] == "1"
    provider.release(hold)
    assert check("POST", first.result(), ANSWER_OF[route]).status == 200
    hold = unique("hold")
    held = question(route, provider.script(unique("late"), {"hold": hold, "hold_at": "head"}))
    late = check("POST", usual.post(route, held, headers={"Unstream-Deadline": "1"}), ERROR_OF[route])
    assert late.status == 504 and late["retry-after"] == "2"
    provider.release(hold)


def test_two_that_join(services, provider):
    service = services("joining", {})
    hold, key = unique("hold"), unique("key")
    body = question(CHAT, provider.script(unique("held"), {"hold": hold}))
    both = [in_background(service.post, CHAT, body, key) for _ in range(2)]
    provider.wait_for(body["model"])
    service.settle()
    provider.release(hold)
    replies = [check("POST", reply.result(), "ChatCompletion") for reply in both]
    assert {reply["idempotency-status"] for reply in replies} == {"executed", "joined"}


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_the_probes(usual, method, path):
    reply = check(method, usual.request(method, path))
    assert reply.status == (405 if method == "POST" else 200)


def edge(services, policy, **members):
    """A service whose routes have this edge policy, and the credential it takes."""
    routes = {route: {"edge": policy, "hold_s": 0.3, **members} for route in ROUTES}
    keyed = {name: {"api_key": "sk-operator"} for name in ONCE}
    return services(policy, {"upstreams": keyed, "routes": routes, "clients": [CLIENT]})


@pytest.fixture
def held(provider):
    """held(route) -> a body whose answer is held until held.release()."""
    hold = unique("hold")

    def body(route):
        return question(route, provider.script(unique("held"), {"hold": hold}))

    body.release = lambda: provider.release(hold)
    yield body
    body.release()


@pytest.mark.parametrize("route", ROUTES)
def test_a_redirect_and_its_result(services, held, route):
    service = edge(services, "redirect", hops_max=2)
    first = check("POST", service.post(route, held(route), headers=KNOWN), "Running")
    assert first.status == 303 and first["location"].endswith("?n=1")
    url, flight = first["location"].partition("?")[0], f"/requests/{first['unstream-request-id']}"
    second = check("GET", service.get(first["location"]), "Running")
    assert second.status == 303
    assert check("GET", service.get(second["location"]), ERROR_OF[route]).status == 503  # of hops_max
    for method in ("GET", "HEAD"):
        assert check(method, service.request(method, url)).status == 202
        assert check(method, service.request(method, flight, headers=KNOWN)).status == 202
    assert check("GET", service.get(flight), PROBLEM).status == 404
    assert check("DELETE", service.request("DELETE", url)).status == 405
    held.release()
    wait_until(lambda: service.get(url).status == 200, "the answer")
    for method in ("GET", "HEAD"):
        assert check(method, service.request(method, url), ANSWER_OF[route]).status == 200
    assert check("DELETE", service.request("DELETE", flight, headers=KNOWN), ERROR_OF[route]).status == 409


@pytest.mark.parametrize("route", ROUTES)
def test_an_accepted_request_and_its_end(services, held, route):
    service = edge(services, "redirect", hops_max=2)
    accepted = check("POST", service.post(route, held(route), headers={**KNOWN, "Prefer": "respond-async"}), "Running")
    assert accepted.status == 202 and accepted["preference-applied"] == "respond-async"
    waited = check("GET", service.get(accepted["location"], {"Prefer": "wait=0"}), "Running")
    assert waited.status == 202 and waited["preference-applied"] == "wait=0"
    flight = f"/requests/{accepted['unstream-request-id']}"
    waiting = in_background(service.get, accepted["location"], {"Prefer": "wait=20"})
    service.settle()
    assert check("DELETE", service.request("DELETE", flight, headers=KNOWN)).status == 204
    assert check("GET", waiting.result(), ERROR_OF[route]).status == 409
    assert check("GET", service.get(flight, KNOWN), ERROR_OF[route]).status == 409


@pytest.mark.parametrize("route", ROUTES)
def test_a_conflict(services, held, route):
    service = edge(services, "conflict")
    body, key = held(route), unique("key")
    assert check("POST", service.post(route, body, key, KNOWN), ERROR_OF[route]).status == 503
    sdk = {**KNOWN, "x-stainless-retry-count": "0"}
    assert check("POST", service.post(route, body, key, sdk), ERROR_OF[route]).status == 409


@pytest.mark.parametrize("route", [CHAT, SIMPLE])
def test_a_heartbeat(services, held, route):
    service = edge(services, "heartbeat", heartbeat_after_s=0.1, beat_s=0.1)
    waiting = in_background(service.post, route, held(route), unique("key"), KNOWN)
    time.sleep(0.6)  # the answer is padded if its head came first; else this test still holds
    held.release()
    assert check("POST", waiting.result(), ANSWER_OF[route]).status == 200


@pytest.mark.parametrize("path, body, shape", [
    ("/v1/models", None, OPENAI), ("/v1/models/small", None, OPENAI),
    ("/v1/embeddings", {"model": "e", "input": "x"}, OPENAI),
    ("/v1/messages/count_tokens", question(MESSAGES, "m"), ANTHROPIC)])
def test_what_is_relayed(services, provider, path, body, shape):
    service = services("relay", {"upstreams": {name: {"api_key": "sk-operator"} for name in ONCE}, "clients": [CLIENT]})
    method = "GET" if body is None else "POST"

    def ask(method=method, headers=KNOWN, **step):
        target = f"{path}?{unique()}" if body is None else path
        sent = {**(body or {}), "model": unique("relayed")}
        provider.script(target if path == "/v1/models" else "small" if body is None else sent["model"], step)
        data = None if body is None else json.dumps(sent)
        media = {} if body is None else {"Content-Type": "application/json"}
        reply = service.request(method, target, data, {**media, **headers})
        reply.path = path
        return reply

    assert check(method, ask()).status == 200
    assert check(method, ask(headers={}), shape).status == 401
    assert check(method, ask(status=404, body={"error": {"message": "none"}})).status == 404
    assert check(method, ask(status=418, body="a teapot", headers=KNOWN)).status == 418
    for status, told in ((401, 502), (500, 502), (529, 503)):
        assert check(method, ask(status=status, body={"error": {"message": "x"}}), shape).status == told
    assert check(method, ask(cut_at=3), shape).status == 502
    late = {**KNOWN, "Unstream-Deadline": "1"}
    assert check(method, ask(headers=late, hold=unique("hold"), hold_at="head"), shape).status == 504
    if body is None:
        assert check("HEAD", ask("HEAD")).status == 200
    assert check("DELETE", ask("DELETE")).status == 405


def test_small_limits(services):
    service = services("small", {"limits": {"body_bytes_max": 1000, "header_bytes_max": 1024, "request_timeout_s": 0.5}})
    large = check("POST", service.post(MESSAGES, b" " * 1001), ANTHROPIC)
    assert large.status == 413
    assert check("POST", service.post(MESSAGES, b"{}", headers={"X": "y" * 2000})).status == 431
    for status, head in [(501, "Transfer-Encoding: gzip"), (400, "Content-Length: 3\r\nContent-Length: 2"),
                         (408, "Content-Length: 3")]:
        with service.connect() as connection:
            connection.send(f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n")
            reply = connection.reply()
        reply.path = CHAT
        assert check("POST", reply).status == status, reply


def test_clients_and_a_provider_that_refuses_the_configured_key(services, provider):
    service = services("clients", {
        "upstreams": {name: {"api_key": "sk-operator", **once} for name, once in ONCE.items()},
        "routes": {SIMPLE: {"require_key": True}, RESPONSES: False},
        "clients": [CLIENT]})
    assert check("POST", service.post(CHAT, question(CHAT, "never"))).status == 401
    assert code_of(check("POST", service.post(SIMPLE, question(SIMPLE, "x"), headers=KNOWN), PROBLEM)) == "idempotency_key_missing"
    assert code_of(check("POST", service.post(RESPONSES, question(RESPONSES, "x"), headers=KNOWN), OPENAI)) == "route_not_configured"
    model = provider.script(unique("refused"), {"status": 401, "body": {"error": {"message": "x"}}})
    reply = check("POST", service.post(CHAT, question(CHAT, model), headers=KNOWN), OPENAI)
    assert reply.status == 502 and code_of(reply) == "upstream_credentials_invalid"


def test_a_draining_service(services, provider):
    service = services("draining", {})
    hold = unique("hold")
    body = question(CHAT, provider.script(unique("held"), {"hold": hold}))
    first = in_background(service.post, CHAT, body, unique("key"))
    provider.wait_for(body["model"])
    service.terminate()
    wait_until(lambda: service.get("/readyz").status == 503, "the drain to begin")
    assert check("GET", service.get("/readyz"), "Ready").status == 503
    refused = check("POST", service.post(SIMPLE, question(SIMPLE, "x")), PROBLEM)
    assert refused.status == 503 and code_of(refused) == "draining"
    provider.release(hold)
    assert check("POST", first.result()).status == 200


def test_the_operators_side(services, provider):
    port = free_port()
    service = services("ops", {"ops_listen": f"127.0.0.1:{port}"})
    keys = [unique("key") for _ in range(2)]
    for key in keys:
        assert service.post(CHAT, question(CHAT, unique("ops")), key).status == 200

    def ask(verb, **members):
        return request(port, "POST", f"/ops/keys/{verb}", json.dumps(members))

    assert check("POST", ask("list"), "KeysReply").json["count"] == 2
    assert check("POST", ask("show", key=keys[0]), "KeysReply").json["count"] == 1
    assert check("POST", ask("release", key=keys[0]), "KeysReply").status == 200
    assert check("POST", ask("purge", key=keys[0]), "KeysReply").json["count"] == 1
    assert check("POST", ask("purge"), PROBLEM).status == 400
    assert check("GET", request(port, "GET", "/ops/keys/list")).status == 405
    assert check("GET", request(port, "GET", "/ops")).status == 200
    assert check("HEAD", request(port, "HEAD", "/ops")).status == 200
    assert check("POST", request(port, "POST", "/ops"), PROBLEM).status == 405
    hold = unique("hold")
    held = question(MESSAGES, provider.script(unique("ops"), {"hold": hold}))
    waiting = in_background(service.post, MESSAGES, held, keys[0])
    provider.wait_for(held["model"])
    [flight] = check("GET", request(port, "GET", "/ops/state"), "State").json["flights"]
    path = f"/ops/flights/{flight['id']}"
    assert check("GET", request(port, "GET", path), "FlightDetails").json["ended_unix_ms"] is None
    assert check("DELETE", request(port, "DELETE", path), "Cancelling").status == 202
    assert waiting.result().status == 409
    assert check("GET", request(port, "GET", path), "FlightDetails").json["status"] == 409
    assert check("DELETE", request(port, "DELETE", path), PROBLEM).status == 404
    assert len(check("GET", request(port, "GET", "/ops/state"), "State").json["recent"]) >= 3
    for method in ("HEAD", "POST"):
        for path in ("/ops/state", path):
            assert check(method, request(port, method, path)).status == (405 if method == "POST" else 200)
    assert check("GET", request(port, "GET", "/ops/flights/" + "0" * 32), PROBLEM).status == 404
    assert check("GET", request(port, "GET", "/metrics")).status == 200
    assert check("HEAD", request(port, "HEAD", "/metrics")).status == 200
    assert check("GET", request(port, "GET", "/metrics", headers={"Host": "evil.example"}), PROBLEM).status == 403
    assert check("GET", request(port, "GET", "/livez"), "Alive").status == 200
