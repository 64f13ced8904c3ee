"""The main job: a plain POST in, one complete body out, generated once per key."""
import json

import pytest

from support import (CHAT, MESSAGES, PROVIDER_ROUTES, RESPONSES, ROUTES, SIMPLE, SIMPLE_MODEL,
                     assert_answer, assert_error, in_background, leave, question, raw_post,
                     sent_body, sent_headers, unique, wait_until)


@pytest.mark.parametrize("route", PROVIDER_ROUTES)
def test_a_plain_post_gets_the_body_of_the_providers_own_non_streaming_call(service, provider, route):
    body = question(route, unique("plain"))
    reply = service.post(route, body)
    ideal = provider.answer(route, body)
    assert_answer(reply, ideal.body)
    name = "request-id" if route == MESSAGES else "x-request-id"
    assert reply[name] == ideal[name]


@pytest.mark.parametrize("route", PROVIDER_ROUTES)
def test_an_answer_cut_by_its_token_limit_is_an_answer(service, provider, route):
    limit = {CHAT: "max_completion_tokens", RESPONSES: "max_output_tokens", MESSAGES: "max_tokens"}
    body = question(route, unique("short"), **{limit[route]: 3})
    assert_answer(service.post(route, body), provider.answer(route, body).body)


def test_every_choice_of_a_chat_completion_is_assembled(service, provider):
    body = question(CHAT, unique("choices"), n=3)
    reply = service.post(CHAT, body)
    assert_answer(reply, provider.answer(CHAT, body).body)
    assert [choice["index"] for choice in reply.json["choices"]] == [0, 1, 2]


def test_the_simple_route_answers_with_the_text(service, provider):
    model = unique("simple")
    reply = service.post(SIMPLE, question(SIMPLE, model, "Tell me about winter"))
    ideal = provider.answer(MESSAGES, question(MESSAGES, model, "Tell me about winter")).json
    assert_answer(reply)
    assert reply.json == {
        "id": ideal["id"], "model": model, "text": ideal["content"][0]["text"],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": ideal["usage"]["input_tokens"],
                  "output_tokens": ideal["usage"]["output_tokens"]}}


def test_the_simple_route_needs_no_more_than_a_prompt(service):
    reply = service.post(SIMPLE, {"prompt": unique("only a prompt")})
    assert_answer(reply)
    assert reply.json["model"] == SIMPLE_MODEL


def test_the_simple_route_turns_its_members_into_a_request_of_the_provider(service, provider):
    model = unique("simple")
    body = {"prompt": "Tell me about winter", "system": "Be brief", "model": model, "max_tokens": 77,
            "options": {"temperature": 0.25, "metadata": {"user_id": "u1"}}}
    assert_answer(service.post(SIMPLE, body))
    [call] = provider.requests(model)
    assert call["target"] == "/v1/messages"
    sent = json.loads(sent_body(call))
    assert sent["system"] == "Be brief" and sent["max_tokens"] == 77 and sent["temperature"] == 0.25
    assert sent["metadata"] == {"user_id": "u1"} and sent["stream"] is True
    assert sent_headers(call, "anthropic-version") == ["2023-06-01"]


def test_the_simple_route_refuses_other_members_by_name(service):
    reply = service.post(SIMPLE, {"prompt": "hello", "tempratur": 1})
    assert_error(reply, SIMPLE, 400, retry=False)
    assert "tempratur" in reply.body.decode()


@pytest.mark.parametrize("route", ROUTES)
def test_the_same_key_again_is_a_replay_and_costs_nothing(service, provider, route):
    body, key = question(route, unique("again")), unique("key")
    first = service.post(route, body, key)
    second = service.post(route, body, key)
    assert_answer(first, key_status="executed")
    assert_answer(second, first.body, key_status="replayed")
    assert second.body == first.body
    assert provider.hits(body["model"]) == 1


def test_the_same_key_after_a_restart_is_a_replay(launch, provider, tmp_path):
    directory = tmp_path / "state"
    body, key = question(CHAT, unique("restart")), unique("key")
    before = launch(directory=directory)
    first = before.post(CHAT, body, key)
    before.stop()
    assert provider.hits(body["model"]) == 0  # the stop made the provider forget
    second = launch(directory=directory).post(CHAT, body, key)
    assert_answer(first, key_status="executed")
    assert_answer(second, first.body, key_status="replayed")
    assert second.body == first.body
    assert provider.hits(body["model"]) == 0


@pytest.mark.parametrize("key", ["a", "k" * 255, "!#$%&'()*+-./:<=>?@[]^_`{|}~", '"with, ; \\" inside"',
                                 '"abc";q=1'])
def test_a_well_formed_key_is_taken(service, key):
    assert_answer(service.post(CHAT, question(CHAT, unique("key")), key), key_status="executed")


@pytest.mark.parametrize("key", ["", "k" * 256, "two words", "a,b", "a;b", "a\\b", '"not closed',
                                 '"k" x', "caf\xe9"])
def test_a_malformed_key_is_refused(service, key):
    reply = service.post(CHAT, question(CHAT, "never-asked"), key)
    assert_error(reply, CHAT, 400, "idempotency_key_invalid", retry=False)


def test_two_key_lines_are_refused(service):
    with service.connect() as connection:
        connection.send(raw_post(CHAT, question(CHAT, "never-asked"), "1.1", "Idempotency-Key: aaa",
                                 "Idempotency-Key: aaa"))
        assert connection.reply().status == 400


def test_a_quoted_and_a_bare_key_are_one(service, provider):
    body, key = question(CHAT, unique("quoted")), unique("key")
    assert_answer(service.post(CHAT, body, key), key_status="executed")
    assert_answer(service.post(CHAT, body, f'"{key}"'), key_status="replayed")
    assert provider.hits(body["model"]) == 1


def test_the_header_with_an_x_is_an_alias(service, provider):
    body, key = question(CHAT, unique("alias")), unique("key")
    assert_answer(service.post(CHAT, body, key), key_status="executed")
    alias = {"X-Idempotency-Key": key}
    assert_answer(service.post(CHAT, body, headers=alias), key_status="replayed")
    assert_answer(service.post(CHAT, body, key, headers=alias), key_status="replayed")
    reply = service.post(CHAT, body, key + "x", headers=alias)
    assert_error(reply, CHAT, 400, "idempotency_key_invalid", retry=False)


def test_the_simple_route_takes_its_key_as_a_member(service, provider):
    body, key = question(SIMPLE, unique("member")), unique("key")
    first = service.post(SIMPLE, {**body, "idempotency_key": key})
    assert_answer(first, key_status="executed")
    assert_answer(service.post(SIMPLE, body, key), first.body, key_status="replayed")
    reply = service.post(SIMPLE, {**body, "idempotency_key": key}, key + "x")
    assert_error(reply, SIMPLE, 400, "idempotency_key_invalid", retry=False)
    assert provider.hits(body["model"]) == 1


@pytest.mark.parametrize("route", ROUTES)
def test_a_key_with_another_body_is_refused(service, provider, route):
    model, key = unique("other"), unique("key")
    first = service.post(route, question(route, model, "one"), key)
    reply = service.post(route, question(route, model, "two"), key)
    assert_error(reply, route, 422, "idempotency_key_reused", retry=False)
    assert service.post(route, question(route, model, "one"), key).body == first.body
    assert provider.hits(model) == 1


def test_another_print_of_the_same_body_is_the_same_request(service, provider):
    body, key = question(CHAT, unique("print"), temperature=0.5), unique("key")
    assert_answer(service.post(CHAT, json.dumps(body, indent=4).encode(), key), key_status="executed")
    turned = json.dumps(dict(reversed(body.items())), separators=(",", ":")).encode()
    assert_answer(service.post(CHAT, turned, key), key_status="replayed")
    assert provider.hits(body["model"]) == 1


def test_a_key_of_another_credential_is_another_key(service, provider):
    body, key = question(CHAT, unique("scope")), unique("key")
    for credential in ("Bearer one", "Bearer two"):
        reply = service.post(CHAT, body, key, headers={"Authorization": credential})
        assert_answer(reply, key_status="executed")
    reply = service.post(CHAT, body, key, headers={"x-api-key": "one"})
    assert_answer(reply, key_status="replayed")
    assert provider.hits(body["model"]) == 2


@pytest.mark.parametrize("state", ["running", "answered"])
def test_the_refusal_of_a_reused_key_names_what_differs(service, provider, state):
    model, key, hold = unique("reused"), unique("key"), unique("hold")
    provider.script(model, {"hold": hold})
    first = in_background(service.post, CHAT, question(CHAT, model, "one", user="a"), key)
    provider.wait_for(model)
    if state == "answered":
        provider.release(hold)
        assert_answer(first.result(), key_status="executed")
    reply = service.post(CHAT, question(CHAT, model, "two", seed=7), key)
    assert_error(reply, CHAT, 422, "idempotency_key_reused", retry=False)
    told = reply.error["message"]
    assert "first seen" in told and "GMT" in told
    assert "messages" in told and "seed" in told and "model" not in told.split("first seen")[1]
    assert "one" not in told.split("first seen")[1] and "two" not in told  # names, no values
    provider.release(hold)


@pytest.mark.parametrize("route", ROUTES)
def test_five_concurrent_duplicates_of_a_key_are_one_call(service, provider, route):
    model, hold = unique("five"), unique("hold")
    provider.script(model, {"hold": hold})
    body, key = question(route, model), unique("key")
    waiting = [in_background(service.post, route, body, key)]
    provider.wait_for(model)
    waiting += [in_background(service.post, route, body, key) for _ in range(4)]
    service.settle()
    provider.release(hold)
    replies = [waiter.result() for waiter in waiting]
    statuses = [reply["idempotency-status"] for reply in replies]
    assert sorted(statuses) == ["executed"] + ["joined"] * 4
    for reply in replies:
        assert_answer(reply, replies[0].body, reply["idempotency-status"])
    assert len({reply.body for reply in replies}) == 1
    assert len({reply["unstream-request-id"] for reply in replies}) == 1
    assert provider.hits(model) == 1


def test_five_duplicates_at_the_very_same_time_are_one_call(service, provider):
    model = provider.script(unique("race"), {"pause_s": 0.5})
    body, key = question(CHAT, model), unique("key")
    replies = [w.result() for w in [in_background(service.post, CHAT, body, key) for _ in range(5)]]
    statuses = sorted(reply["idempotency-status"] for reply in replies)
    assert statuses.count("executed") == 1 and set(statuses) <= {"executed", "joined", "replayed"}
    assert len({reply.body for reply in replies}) == 1
    assert provider.hits(model) == 1


def test_identical_calls_without_a_key_are_calls_of_their_own(service, provider):
    model, hold = unique("sampling"), unique("hold")
    provider.script(model, {"hold": hold}, repeat=True)
    waiting = [in_background(service.post, CHAT, question(CHAT, model)) for _ in range(3)]
    provider.wait_for(model, count=3)
    provider.release(hold)
    for waiter in waiting:
        assert_answer(waiter.result())
    assert provider.hits(model) == 3


def test_a_keyed_call_goes_on_when_its_client_leaves(service, provider):
    model, hold, key = unique("left"), unique("hold"), unique("key")
    provider.script(model, {"hold": hold})
    body = question(MESSAGES, model)
    leave(service, provider, MESSAGES, body, f"Idempotency-Key: {key}")
    retry = in_background(service.post, MESSAGES, body, key)
    service.settle()
    provider.release(hold)
    assert_answer(retry.result(), key_status="joined")
    assert_answer(service.post(MESSAGES, body, key), retry.result().body, key_status="replayed")
    assert provider.hits(model) == 1
    assert_answer(retry.result(), provider.answer(MESSAGES, body).body, key_status="joined")


def test_an_answer_nobody_waited_for_is_kept_for_the_retry(service, provider):
    model, hold, key = unique("kept"), unique("hold"), unique("key")
    provider.script(model, {"hold": hold})
    body = question(RESPONSES, model)
    leave(service, provider, RESPONSES, body, f"Idempotency-Key: {key}")
    service.settle()
    provider.release(hold)
    provider.wait_for(model, "done")
    wait_until(lambda: service.post(RESPONSES, body, key)["idempotency-status"] == "replayed", "a replay")
    assert provider.hits(model) == 1


def test_a_keyless_call_is_cancelled_when_its_client_leaves(service, provider):
    model = provider.script(unique("gone"), {"hold": unique("hold")})
    leave(service, provider, CHAT, question(CHAT, model))
    provider.wait_for(model, "aborted")


def test_the_rate_limit_headers_of_the_provider_go_through_on_live_answers_only(service):
    body, key = question(CHAT, unique("limits")), unique("key")
    assert service.post(CHAT, body, key)["x-ratelimit-remaining-requests"] == "99"
    assert service.post(CHAT, body, key)["x-ratelimit-remaining-requests"] is None
