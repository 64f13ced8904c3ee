"""SIGTERM: what runs is finished and delivered, nothing new begins."""
from support import (CHAT, MESSAGES, assert_answer, assert_error, in_background, question, unique,
                     wait_until)


def test_a_drain_finishes_what_runs_and_refuses_what_is_new(launch, provider):
    service = launch()
    old_body, old_key = question(MESSAGES, unique("old")), unique("key")
    old = service.post(MESSAGES, old_body, old_key)
    model, hold, key = unique("drain"), unique("hold"), unique("key")
    provider.script(model, {"hold": hold})
    body = question(CHAT, model)
    keyed = in_background(service.post, CHAT, body, key)
    provider.wait_for(model)
    service.terminate()
    wait_until(lambda: service.get("/readyz").status == 503, "the service to say that it drains")
    assert service.get("/livez").status == 200

    refused = service.post(CHAT, question(CHAT, unique("new")))
    assert_error(refused, CHAT, 503, "draining", retry=True)
    assert refused["connection"].lower() == "close"
    assert_answer(service.post(MESSAGES, old_body, old_key), old.body, key_status="replayed")
    joined = in_background(service.post, CHAT, body, key)
    service.settle()

    provider.release(hold)
    assert_answer(keyed.result(), key_status="executed")
    assert_answer(joined.result(), keyed.result().body, key_status="joined")
    assert provider.hits(model) == 1
    service.assert_clean_end()


def test_a_keyless_call_is_finished_too(launch, provider):
    service = launch()
    model, hold = unique("drain"), unique("hold")
    provider.script(model, {"hold": hold})
    waiting = in_background(service.post, MESSAGES, question(MESSAGES, model))
    provider.wait_for(model)
    service.terminate()
    wait_until(lambda: service.get("/readyz").status == 503, "the service to say that it drains")
    provider.release(hold)
    assert_answer(waiting.result())
    service.assert_clean_end()


def test_an_idle_service_ends_at_once(launch):
    service = launch()
    with service.connect():  # an idle connection holds nothing up
        service.settle()
        service.terminate()
        service.assert_clean_end(10)


def test_a_drain_has_an_end(launch, provider):
    service = launch({"drain_s": 1})
    model = provider.script(unique("drain"), {"hold": unique("hold")})
    waiting = in_background(service.post, CHAT, question(CHAT, model))
    provider.wait_for(model)
    service.terminate()
    assert_error(waiting.result(), CHAT, 503, "draining", retry=True)
    service.assert_clean_end(20)
