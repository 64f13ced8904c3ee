"""What the provider receives: the client's bytes but for the splice, and its headers but for ours."""
import base64
import itertools
import json

import pytest

from support import (CHAT, MESSAGES, PROVIDER_ROUTES, RESPONSES, assert_answer, assert_error,
                     question, sent_body, sent_headers, unique)

ODDITIES = rb"""{
    "max_tokens" : 50,
  "model":"MODEL", "messages": [ {"role":"user" , "content":"nul \u0000 pair \ud83d\ude00 sl\/ash \u0041 caf\u00e9 """ + (
    "naïve 東京".encode()) + rb""""} ],
  "input":"x", "huge": 9007199254740993, "tiny":1e-400, "wide":1E400, "zero":-0.0, "long":0.10000000000000000001,
  "unknown_member":{"b":[1,2,{"z":null,"a":true}],"a":{}}  ,
  "seed":12345678901234567890
}
"""
SPLICES = (b'"stream":true', b'"stream_options":{"include_usage":true}')


def without_splices(sent):
    """Every text that is `sent` with the spliced members, and one comma beside each, taken out."""
    for ends in itertools.product((b"%s,", b",%s"), repeat=len(SPLICES)):
        text = sent
        for splice, end in zip(SPLICES, ends):
            text = text.replace(end % splice, b"", 1)
        yield text
    yield sent.replace(b",".join(SPLICES) + b",", b"", 1)
    yield sent.replace(b"," + b",".join(SPLICES), b"", 1)


@pytest.mark.parametrize("route", PROVIDER_ROUTES)
def test_the_body_arrives_byte_for_byte_but_for_the_splice(service, provider, route):
    model = unique("odd")
    body = ODDITIES.replace(b"MODEL", model.encode())
    assert_answer(service.post(route, body))
    [call] = provider.requests(model)
    sent = sent_body(call)
    assert json.loads(sent)["stream"] is True
    assert (json.loads(sent).get("stream_options") == {"include_usage": True}) == (route == CHAT)
    assert body in without_splices(sent), sent


@pytest.mark.parametrize("member", [b'"stream": false', b'"stream" :\n null', b'"str\\u0065am":false'])
@pytest.mark.parametrize("route", [RESPONSES, MESSAGES])
def test_a_stream_member_that_says_no_is_replaced_in_its_place(service, provider, route, member):
    model = unique("no")
    body = b'{"model":"%s", %s,"max_tokens":9, "input":"x","messages":[]}' % (model.encode(), member)
    assert_answer(service.post(route, body))
    [call] = provider.requests(model)
    assert sent_body(call) == body.replace(b"false", b"true").replace(b"null", b"true")


@pytest.mark.parametrize("options", [{"include_usage": False}, {"include_usage": None}, {}, None,
                                     {"include_obfuscation": False}, {"include_usage": True}])
def test_usage_is_asked_for_whatever_the_chat_request_says(service, provider, options):
    model = unique("usage")
    reply = service.post(CHAT, question(CHAT, model, stream_options=options, stream=False))
    assert_answer(reply)
    assert reply.json["usage"]["completion_tokens"] == 12
    [call] = provider.requests(model)
    sent = json.loads(sent_body(call))
    assert sent["stream_options"] == {**(options or {}), "include_usage": True}


@pytest.mark.parametrize("body", [b'{"model":"m","stream":false,"stream":false}',
                                  b'{"stream":false,"model":"m","str\\u0065am":null}'])
def test_two_stream_members_are_refused(service, body):
    reply = service.post(CHAT, body)
    assert_error(reply, CHAT, 400, "invalid_json", retry=False)


def test_the_query_string_arrives_unchanged(service, provider):
    model = unique("query")
    assert_answer(service.post(MESSAGES + "?beta=true&x=%20a+b&empty", question(MESSAGES, model)))
    assert provider.requests(model)[0]["target"] == MESSAGES + "?beta=true&x=%20a+b&empty"


def test_the_headers_that_mean_something_to_the_provider_arrive(service, provider):
    model = unique("headers")
    passed = {"anthropic-version": "2023-06-01", "anthropic-beta": "a-1,b-2", "x-api-key": "sk-secret",
              "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
              "tracestate": "vendor=1"}
    assert_answer(service.post(MESSAGES, question(MESSAGES, model), headers={
        **passed, "User-Agent": "tester/1.0", "Cookie": "a=b", "X-Stainless-Lang": "python",
        "Prefer": "wait=30", "Idempotency-Key": unique("key"), "Connection": "keep-alive, x-hop",
        "x-hop": "1"}), key_status="executed")
    [call] = provider.requests(model)
    for name, value in passed.items():
        assert sent_headers(call, name) == [value]
    for name in ("idempotency-key", "cookie", "x-stainless-lang", "prefer", "x-hop", "expect"):
        assert sent_headers(call, name) == []
    assert sent_headers(call, "host") == [f"127.0.0.1:{provider.port}"]
    [agent], [via] = sent_headers(call, "user-agent"), sent_headers(call, "via")
    assert agent.startswith("tester/1.0 unstream")
    assert via.startswith("1.1 unstream-")


@pytest.mark.parametrize("name", ["openai-beta", "openai-organization", "openai-project"])
def test_openais_own_headers_arrive(service, provider, name):
    model = unique("headers")
    assert_answer(service.post(CHAT, question(CHAT, model), headers={name: "v1",
                                                                      "Authorization": "Bearer sk-x"}))
    [call] = provider.requests(model)
    assert sent_headers(call, name) == ["v1"]
    assert sent_headers(call, "authorization") == ["Bearer sk-x"]


def test_our_own_call_coming_back_is_a_loop(service, provider):
    model = unique("loop")
    assert_answer(service.post(CHAT, question(CHAT, model)))
    [via] = sent_headers(provider.requests(model)[0], "via")
    reply = service.post(CHAT, question(CHAT, model), headers={"Via": f"1.0 proxy, {via}"})
    assert_error(reply, CHAT, 508, "loop_detected", retry=False)
    assert provider.hits(model) == 1


def test_credentials_that_contradict_each_other_are_refused(service):
    reply = service.post(CHAT, question(CHAT, "never-asked"),
                         headers={"Authorization": "Bearer a", "x-api-key": "b"})
    assert_error(reply, CHAT, 400, retry=False)
    assert b"Bearer a" not in reply.body


def test_what_the_provider_wrote_comes_back_lexeme_for_lexeme(service, provider):
    chunks = [
        rb'{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","big":9007199254740993,'
        rb'"choices":[{"index":0,"delta":{"role":"assistant","content":"a\u0000b \ud83d"},"finish_reason":null}]}',
        rb'{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,'
        rb'"delta":{"content":"\ude00 \/ caf\u00e9"},"finish_reason":"stop"}],'
        rb'"usage":{"total_tokens":18446744073709551617,"cost":1.50e-10}}', b"[DONE]"]
    model = provider.script(unique("lexemes"), {
        "raw": b"".join(b"data: " + chunk + b"\n\n" for chunk in chunks).decode()})
    reply = service.post(CHAT, question(CHAT, model))
    assert_answer(reply)
    assert reply.json["choices"][0]["message"]["content"] == "a\0b \U0001f600 / café"
    for lexeme in (b"9007199254740993", b"18446744073709551617", b"1.50e-10"):
        assert lexeme in reply.body


def test_a_large_body_arrives_whole(service, provider):
    model = unique("large")
    body = json.dumps(question(MESSAGES, model, "word " * 400_000)).encode()
    assert_answer(service.post(MESSAGES, body, unique("key")), key_status="executed")
    [call] = provider.requests(model)
    assert body in without_splices(base64.b64decode(call["body_base64"]))
