"""The process dies at every point that matters: a retry gets one answer, and no call too many is made."""
import re
import time

import pytest

from crashing import GONE, Crashing, ask_in_background, words
from support import CHAT, ROOT, assert_answer, assert_error, in_background, question, unique

PAID_CALLS_MAX = 4  # the default
REFUSED = {"status": 400, "body": {"error": {"message": "not like this"}}}
FAILED = {"status": 500, "body": {"error": {"message": "oops"}}}

# point: (the provider's steps, calls it gets in all, calls counted at the end, whose answer all get)
ANSWERS = [words("first"), words("second"), words("third")]
RETRIED = [FAILED, *ANSWERS]
POINTS = {
    "claim_half_done": (ANSWERS, 1, 1, "first"),
    "publication_half_done": (ANSWERS, 1, 1, "first"),
    "claim_not_committed": (ANSWERS, 1, 1, "first"),
    "claim_committed": (ANSWERS, 1, 2, "first"),
    "request_handed_over": (ANSWERS, (1, 2), 2, ("first", "second")),
    "response_began": (ANSWERS, 2, 2, "second"),
    "first_output": (ANSWERS, 2, 2, "second"),
    "answer_complete": (ANSWERS, 2, 2, "second"),
    "ending_without_body": (ANSWERS, 2, 2, "second"),
    "ending_without_flight": (ANSWERS, 2, 2, "second"),
    "ending_not_committed": (ANSWERS, 2, 2, "second"),
    "ending_committed": (ANSWERS, 1, 1, "first"),
    "reply_half_written:2": (ANSWERS, 1, 1, "first"),  # the first reply is the readiness probe's
    "reply_written:2": (ANSWERS, 1, 1, "first"),
    "count_not_committed": (RETRIED, 2, 2, "first"),
    "count_committed": (RETRIED, 2, 3, "first"),
}
AT_START = ["migration_not_committed", "migrated", "recovery_half_done", "recovery_not_committed", "recovered"]
OTHERS = ["reaper_half_done"]
PUBLISHED = ["publication_not_committed", "publication_committed", "registration_committed"]


@pytest.fixture
def crashing(provider, binary, tmp_path):
    made = Crashing(provider, tmp_path)
    yield made
    if made.service and made.service.process.poll() is None:
        made.service.stop()


def allowed(value):
    return value if isinstance(value, tuple) else (value,)


def test_every_crash_point_is_tested():
    sources = "".join(path.read_text() for path in ROOT.glob("service/*/*.c"))
    points = re.findall(r'CRASH_POINT(?:_AFTER)?\("(\w+)"', sources)
    assert sorted(points) == sorted(name.partition(":")[0] for name in [*POINTS, *AT_START, *OTHERS, *PUBLISHED])


@pytest.mark.parametrize("point", POINTS)
def test_one_answer_and_no_call_too_many(crashing, provider, point):
    steps, hits, paid_calls, tags = POINTS[point]
    model, key, seen = provider.script(unique("crash"), *steps), unique("key"), []
    crashing.start(UNSTREAM_CRASH_AT=point)
    clients = [ask_in_background(crashing, key, model, seen) for _ in range(3)]
    crashing.wait_for_death()
    service = crashing.start()
    for client in clients:
        client.join(60)
    assert len(seen) == 3 and len(set(seen)) == 1
    assert any(tag.encode() in seen[0] for tag in allowed(tags))
    assert_answer(service.post(CHAT, question(CHAT, model), key), seen[0], key_status="replayed")
    assert provider.hits(model) in allowed(hits)
    service.stop()
    assert crashing.paid_calls() == [paid_calls]
    crashing.assert_sound()


@pytest.mark.parametrize("point", ["ending_without_body", "ending_without_flight", "ending_not_committed",
                                   "ending_committed"])
def test_a_release_is_whole_or_not_at_all(crashing, provider, point):
    model, key, seen = provider.script(unique("crash"), REFUSED, *ANSWERS), unique("key"), []
    crashing.start(UNSTREAM_CRASH_AT=point)
    client = ask_in_background(crashing, key, model, seen)
    crashing.wait_for_death()
    crashing.start()
    client.join(60)
    assert len(seen) == 1 and b"first" in seen[0]
    assert provider.hits(model) == 2
    crashing.service.stop()
    given_back = point == "ending_committed"
    assert crashing.paid_calls() == [1 if given_back else 2]
    crashing.assert_sound()


def test_a_key_that_crashes_every_time_is_not_called_for_ever(crashing, provider):
    model, key = provider.script(unique("crash"), *ANSWERS, repeat=True), unique("key")
    for _ in range(PAID_CALLS_MAX):
        service = crashing.start(UNSTREAM_CRASH_AT="first_output")
        with pytest.raises(GONE):
            service.post(CHAT, question(CHAT, model), key)
        crashing.wait_for_death()
    service = crashing.start()
    reply = service.post(CHAT, question(CHAT, model), key)
    assert reply.status == 502 and reply.error["code"] == "paid_calls_exhausted", reply
    assert provider.hits(model) == PAID_CALLS_MAX


@pytest.mark.parametrize("point", [name for name in AT_START if name.startswith("rec")])
def test_a_recovery_that_dies_is_done_by_the_next(crashing, provider, point):
    model, key, seen = unique("crash"), unique("key"), []
    provider.script(model, {**words("first"), "hold": unique("hold"), "hold_at": "head"}, words("second"))
    crashing.start()
    client = ask_in_background(crashing, key, model, seen)
    provider.wait_for(model)
    crashing.kill()
    for _ in range(2):
        crashing.start_to_die(UNSTREAM_CRASH_AT=point)
    crashing.start()
    client.join(60)
    assert len(seen) == 1 and b"second" in seen[0]
    assert provider.hits(model) == 2
    crashing.service.stop()
    crashing.assert_sound()


@pytest.mark.parametrize("point", [name for name in AT_START if name.startswith("migrat")])
def test_a_migration_is_whole_or_not_at_all(crashing, provider, point):
    model, key = provider.script(unique("crash"), *ANSWERS), unique("key")
    crashing.start_to_die(UNSTREAM_CRASH_AT=point)
    service = crashing.start()
    reply = service.post(CHAT, question(CHAT, model), key)
    assert_answer(reply, key_status="executed")
    service.stop()
    crashing.assert_sound()


def test_a_reaper_that_dies_takes_nothing_that_lives(crashing, provider):
    crashing.overrides = {"idempotency": {"ttl_s": 0.5}}
    model = provider.script(unique("crash"), *ANSWERS)
    service = crashing.start(UNSTREAM_CRASH_AT="reaper_half_done")
    assert_answer(service.post(CHAT, question(CHAT, model), unique("key")), key_status="executed")
    crashing.wait_for_death()
    crashing.overrides = {"idempotency": {"ttl_s": 3600}}
    service, key = crashing.start(), unique("key")
    first = service.post(CHAT, question(CHAT, model), key)
    assert_answer(first, key_status="executed")
    time.sleep(6)  # longer than the reaper rests
    assert_answer(service.post(CHAT, question(CHAT, model), key), first.body, key_status="replayed")
    service.stop()
    crashing.assert_sound()
    assert crashing.paid_calls() == [1]


def test_where_it_is_asked_for_an_interrupted_generation_is_not_repeated(launch, provider):
    cautious = {"idempotency": {"on_interrupted": "fail"}}
    service, model, key = launch(cautious), unique("cut-off"), unique("key")
    provider.script(model, {"hold": unique("hold")})
    body = question(CHAT, model)
    cut_off = in_background(service.post, CHAT, body, key)
    provider.wait_for(model)
    service.process.kill()
    service.process.wait()
    assert cut_off.exception() is not None
    again = launch(cautious, service.directory)
    assert_error(again.post(CHAT, body, key), CHAT, 502, "outcome_unknown", retry=False)
    assert_error(again.post(CHAT, body, key), CHAT, 502, "outcome_unknown", retry=False)
    assert provider.hits(model) == 1
    again.stop()
    bold = launch({}, service.directory)
    assert_answer(bold.post(CHAT, body, key), key_status="executed")
    assert provider.hits(model) == 1  # stopping the service before it reset the provider


# ---- result URLs and accepted requests

REDIRECT = {"routes": {CHAT: {"edge": "redirect", "hold_s": 0.2}}}
CALLER = {"Authorization": "Bearer caller"}
OURS = {"upstreams": {"chat": {"api_key": "operators-key"}}}


def accept(crashing, model, key=None):
    """Posts until a 202 came; returns its Location, or after a crash that of the answer by id."""
    while True:
        try:
            reply = crashing.service.post(CHAT, question(CHAT, model), key, {"Prefer": "respond-async", **CALLER})
        except GONE:
            crashing.wait_for_death()
            crashing.start()
            continue
        if reply.status == 200:  # after the restart it was there already
            return "/requests/" + reply["unstream-request-id"]
        assert reply.status == 202, reply
        return reply["location"]


def collect(crashing, url):
    """Asks at a result URL until it is there."""
    while True:
        reply = crashing.service.get(url, {"Prefer": "wait=10", **CALLER})
        if reply.status != 202:
            return reply


@pytest.mark.parametrize("point", PUBLISHED)
def test_a_redirect_that_dies_costs_one_call_more_at_most(crashing, provider, point):
    crashing.overrides = REDIRECT
    key = None if point == "registration_committed" else unique("key")
    slow = {"words": 3, "hold": unique("hold")}
    model = provider.script(unique("crash"), slow, words("second"))
    crashing.start(UNSTREAM_CRASH_AT=point)
    with pytest.raises(GONE):
        crashing.service.post(CHAT, question(CHAT, model), key)
    crashing.wait_for_death()
    crashing.overrides = None  # nobody is redirected any more
    service = crashing.start()
    assert service.post(CHAT, question(CHAT, model), key).status == 200
    assert provider.hits(model) == 2
    service.stop()
    crashing.assert_sound()


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("point", ["publication_half_done", "claim_not_committed", "claim_committed",
                                   "request_handed_over", "first_output", "answer_complete",
                                   "ending_not_committed", "ending_committed"])
def test_an_accepted_request_is_answered_whenever_it_dies(crashing, provider, point, keyed):
    crashing.overrides = OURS
    model = provider.script(unique("crash"), *ANSWERS)
    crashing.start(UNSTREAM_CRASH_AT=point)
    url = accept(crashing, model, unique("key") if keyed else None)
    try:
        answer = collect(crashing, url)
    except GONE:
        crashing.wait_for_death()
        crashing.start()
        answer = collect(crashing, url)
    assert answer.status == 200, answer
    assert collect(crashing, url).body == answer.body
    assert provider.hits(model) <= PAID_CALLS_MAX
    crashing.service.stop()
    assert all(count <= PAID_CALLS_MAX for count in crashing.paid_calls())
    with crashing.database() as database:
        assert database.execute("SELECT count(*) FROM requests").fetchone() == (0,)
    crashing.assert_sound()


@pytest.mark.parametrize("point", [name for name in AT_START if name.startswith("rec")])
def test_an_accepted_request_survives_a_start_that_dies(crashing, provider, point):
    crashing.overrides = OURS
    model = provider.script(unique("crash"), {"hold": unique("hold"), "hold_at": "head"}, words("second"))
    crashing.start()
    url = accept(crashing, model)
    provider.wait_for(model)
    crashing.kill()
    crashing.start_to_die(UNSTREAM_CRASH_AT=point)
    crashing.start()
    assert b"second" in collect(crashing, url).body
    crashing.service.stop()
    crashing.assert_sound()


def test_an_accepted_request_that_crashes_every_time_is_not_called_for_ever(crashing, provider):
    crashing.overrides = OURS
    model = provider.script(unique("crash"), *ANSWERS, repeat=True)
    crashing.start(UNSTREAM_CRASH_AT="first_output")
    url = accept(crashing, model)
    crashing.wait_for_death()
    for _ in range(PAID_CALLS_MAX - 1):
        try:
            crashing.start(UNSTREAM_CRASH_AT="first_output")
        except AssertionError as error:  # it may die before it is ready
            assert str(error).startswith("exit -9"), error
        crashing.wait_for_death()
    crashing.start()
    reply = collect(crashing, url)
    assert reply.status == 502 and reply.error["code"] == "paid_calls_exhausted", reply
    assert provider.hits(model) == PAID_CALLS_MAX


def test_where_it_is_asked_for_an_accepted_request_is_not_driven_again(crashing, provider):
    crashing.overrides = {**OURS, "idempotency": {"on_interrupted": "fail"}}
    model = provider.script(unique("crash"), {"hold": unique("hold")})
    crashing.start()
    url = accept(crashing, model)
    provider.wait_for(model)
    crashing.kill()
    service = crashing.start()
    assert_error(service.get(url), CHAT, 502, "outcome_unknown", retry=False)
    assert provider.hits(model) == 1
