"""The operators' side: metrics on a listener of their own, and what the log says of a request."""
import hashlib
import json

from support import CHAT, assert_answer, free_port, in_background, question, request, unique, wait_until


def metrics_of(port, **headers):
    reply = request(port, "GET", "/metrics", headers=headers)
    assert reply.status == 200, reply
    assert reply["content-type"].startswith("text/plain; version=0.0.4")
    samples = {}
    for line in reply.body.decode().splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            samples[name] = float(value)
    return samples


def test_metrics_count_what_happened(launch, provider):
    port = free_port()
    service = launch({"ops_listen": f"127.0.0.1:{port}"})
    model, hold, key = unique("counted"), unique("hold"), unique("key")
    provider.script(model, {"status": 500, "body": {"error": {"message": "x"}}}, {"hold": hold})
    body = question(CHAT, model)
    first = in_background(service.post, CHAT, body, key)
    provider.wait_for(model)
    joined = in_background(service.post, CHAT, body, key)
    service.settle()
    running = metrics_of(port)
    assert running["unstream_flights_running"] == 1
    assert running["unstream_waiters"] == 2
    provider.release(hold)
    assert_answer(first.result(), key_status="executed")
    assert_answer(joined.result(), key_status="joined")
    assert_answer(service.post(CHAT, body, key), key_status="replayed")
    assert service.get("/nothing-here").status == 404

    def all_ended():  # a reply is counted when its last byte is known to have arrived
        counted = metrics_of(port)
        return sum(counted[f'unstream_answers_total{{source="{source}"}}']
                   for source in ("executed", "joined", "replayed")) == 3

    wait_until(all_ended, "all replies to be counted")
    done = metrics_of(port)
    assert done["unstream_flights_running"] == 0 and done["unstream_waiters"] == 0
    assert done['unstream_answers_total{source="executed"}'] == 1
    assert done['unstream_answers_total{source="joined"}'] == 1
    assert done['unstream_answers_total{source="replayed"}'] == 1
    assert done['unstream_attempts_total{end="refused"}'] == 1
    assert done['unstream_attempts_total{end="answered"}'] == 1
    assert done["unstream_retries_total"] == 1
    assert done["unstream_calls_billed_in_vain_total"] == 1  # a 500 may have been billed
    assert done['unstream_requests_total{route="other",status="404"}'] == 1
    assert done["unstream_output_tokens_total"] > 0
    assert done["unstream_store_readable"] == 1 and done["unstream_store_writable"] == 1


def test_the_operators_listener_serves_nothing_else(launch):
    port = free_port()
    service = launch({"ops_listen": f"127.0.0.1:{port}"})
    assert request(port, "GET", "/livez").status == 200
    assert request(port, "GET", "/readyz").status == 200
    assert request(port, "GET", "/metrics", headers={"Host": "evil.example"}).status == 403
    reply = request(port, "POST", CHAT, body=b"{}", headers={"Content-Type": "application/json"})
    assert reply.status == 404 and "/metrics" in reply.json["detail"]
    reply = request(port, "POST", "/metrics")
    assert reply.status == 405 and reply["allow"] == "GET, HEAD"
    assert service.get("/metrics").status == 404  # not on the clients' side


def test_a_request_that_is_too_large_is_told_so_here_too(launch):
    port = free_port()
    launch({"ops_listen": f"127.0.0.1:{port}", "limits": {"body_bytes_max": 1024}})
    reply = request(port, "POST", "/ops/keys/list", b"{" + b" " * 1024)
    assert reply.status == 413 and json.loads(reply.body)["code"] == "body_too_large"


def test_the_operators_token_guards_the_metrics(launch):
    port = free_port()
    launch({"ops_listen": f"127.0.0.1:{port}",
            "ops_token_sha256": hashlib.sha256(b"ops-token").hexdigest()})
    assert request(port, "GET", "/metrics").status == 401
    assert request(port, "GET", "/metrics", headers={"Authorization": "Bearer other"}).status == 401
    assert metrics_of(port, Authorization="Bearer ops-token")["unstream_flights_running"] == 0
    assert request(port, "GET", "/livez").status == 200  # probes need no token


def test_a_request_is_one_log_line_without_secrets(launch, provider):
    service = launch()
    model, key, secret = unique("logged"), unique("key"), unique("sk-secret")
    prompt = unique("prompt")
    reply = service.post(CHAT, question(CHAT, model, prompt), key,
                         headers={"Authorization": f"Bearer {secret}", "X-Request-Id": "client-1",
                                  "traceparent": "00-aa-bb-01"})
    service.stop()
    text = service.log.read_text()
    assert key not in text and secret not in text and prompt not in text
    lines = [json.loads(line) for line in text.splitlines()]
    [line] = [line for line in lines if line["event"] == "request" and line["route"] == CHAT]
    assert line["flight"] == reply["unstream-request-id"]
    assert line["status"] == 200 and line["source"] == "executed" and line["model"] == model
    assert line["attempts"] == 1 and line["delivered"] is True
    assert line["request_id"] == "client-1" and line["traceparent"] == "00-aa-bb-01"
