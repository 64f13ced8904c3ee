"""Every counter of /metrics moves by exactly what happened."""
import re
import subprocess

import pytest

from meter import Meter, series, with_ops
from support import (CHAT, MESSAGES, RESPONSES, SIMPLE, UPSTREAMS, assert_answer, held, in_background, leave,
                     question, raw_post, unique, wait_until)
from test_admission import TOO_MANY, as_client, client, with_clients

INPUT, OUTPUT = 4, 12  # tokens of the usual question and answer
AGAIN = {"x-stainless-retry-count": "1"}


@pytest.fixture
def start(launch):
    """A service, and its meter at rest."""
    def start(overrides=None):
        config, port = with_ops(overrides)
        service = launch(config)
        return service, Meter(port)
    return start


def told(route=CHAT, client=None, status=200, source=None):
    labels = {"route": route, "client": client, "status": status, "source": source}
    return series("", **{name: value for name, value in labels.items() if value is not None})


def called(model, error=None, provider="openai"):
    labels = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": provider,
              "gen_ai_request_model": model, "error_type": error}
    return series("", **{name: value for name, value in labels.items() if value is not None})


def counted(model, provider="openai"):
    """Tokens of one answer."""
    return {called(model, provider=provider)[:-1] + f',gen_ai_token_type="{kind}"}}': 1 for kind in ("input", "output")}


def answered(model, provider="openai", keyed=True):
    """What one answered call of a new flight moves."""
    overhead = {series("", keyed=str(keyed).lower()): 1}
    return {"flights": 1, "attempts": {'{end="answered"}': 1}, "input_tokens": INPUT, "output_tokens": OUTPUT,
            "gen_ai_client_operation_duration_seconds": {called(model, provider=provider): 1},
            "gen_ai_client_operation_time_to_first_chunk_seconds": {called(model, provider=provider): 1},
            "gen_ai_client_token_usage": counted(model, provider),
            "start_overhead_seconds": overhead, "answer_overhead_seconds": overhead}


def saved(source, count=1, tokens=OUTPUT):
    how = series("", source=source)
    return {"duplicates_avoided": {how: count}, "output_tokens_saved": {how: tokens}}


# ---- duplicates

def test_an_execution_and_its_replays(start):
    service, meter = start()
    model, key = unique("model"), unique("key")
    assert_answer(service.post(CHAT, question(CHAT, model), key), key_status="executed")
    meter.assert_moved(**answered(model), requests={told(source="executed"): 1}, answers={'{source="executed"}': 1})
    for _ in range(2):
        assert_answer(service.post(CHAT, question(CHAT, model), key), key_status="replayed")
    meter.assert_moved(flights=2, requests={told(source="replayed"): 2}, answers={'{source="replayed"}': 2},
                       **saved("replayed", 2, 2 * OUTPUT))


@pytest.mark.parametrize("route", [MESSAGES, SIMPLE])
def test_replays_on_other_routes_save_tokens_too(start, route):
    service, meter = start()
    model, key = unique("model"), unique("key")
    for _ in range(2):
        assert service.post(route, question(route, model), key).status == 200
    meter.assert_moved(**{**answered(model, "anthropic"), "flights": 2}, **saved("replayed"),
                       requests={told(route, source="executed"): 1, told(route, source="replayed"): 1},
                       answers={'{source="executed"}': 1, '{source="replayed"}': 1})


def test_answers_that_are_only_in_memory_are_replayed_for_nothing(start):
    service, meter = start({"routes": {CHAT: {"store": "memory"}}})
    model, key = unique("model"), unique("key")
    service.post(CHAT, question(CHAT, model), key)
    assert_answer(service.post(CHAT, question(CHAT, model), key), key_status="replayed")
    meter.assert_moved(**answered(model), **saved("replayed"),
                       requests={told(source="executed"): 1, told(source="replayed"): 1},
                       answers={'{source="executed"}': 1, '{source="replayed"}': 1})


def test_joins(start, provider):
    service, meter = start()
    model, hold, key = unique("model"), unique("hold"), unique("key")
    provider.script(model, {"hold": hold})
    first = in_background(service.post, CHAT, question(CHAT, model), key)
    provider.wait_for(model)
    others = [in_background(service.post, CHAT, question(CHAT, model), key) for _ in range(2)]
    meter.wait_for("unstream_waiters", 3)
    assert meter["unstream_flights_running"] == meter["unstream_flights_admitted"] == 1
    assert meter[series("unstream_upstream_flights", upstream="chat")] == 1
    provider.release(hold)
    assert [reply.result().status for reply in (first, *others)] == [200] * 3
    meter.assert_moved(**answered(model), **saved("joined", 2, 2 * OUTPUT),
                       requests={told(source="executed"): 1, told(source="joined"): 2},
                       answers={'{source="executed"}': 1, '{source="joined"}': 2})
    assert meter["unstream_flights_running"] == meter["unstream_waiters"] == 0
    assert meter[series("unstream_upstream_flights", upstream="chat")] == 0


def test_an_adopted_orphan(start, provider):
    service, meter = start()
    model, hold = unique("model"), unique("hold")
    provider.script(model, {"hold": hold})
    leave(service, provider, CHAT, question(CHAT, model), "x-stainless-retry-count: 0")
    meter.wait_for("unstream_orphans", 1)
    again = in_background(service.post, CHAT, question(CHAT, model), None, AGAIN)
    meter.wait_for("unstream_waiters", 2)  # who left stays attached: it may have closed only its side
    provider.release(hold)
    assert_answer(again.result(), key_status="adopted")
    meter.assert_moved(**answered(model, keyed=False), **saved("adopted"), orphans=1, client_disconnects=1,
                       requests={told(status="none"): 1, told(source="adopted"): 1},
                       answers={'{source="adopted"}': 1})


# ---- calls that fail

def test_a_retry_after_an_error_status(start, provider):
    service, meter = start()
    model = provider.script(unique("model"), {"status": 500, "body": {"error": {"message": "x"}}})
    assert service.post(CHAT, question(CHAT, model)).status == 200
    usual = answered(model, keyed=False)
    usual["attempts"]['{end="refused"}'] = 1
    usual["gen_ai_client_operation_duration_seconds"][called(model, "500")] = 1
    meter.assert_moved(**usual, retries=1, calls_billed_in_vain=1, requests={told(): 1})


def test_streams_that_break_until_we_give_up(start, provider):
    service, meter = start({"upstreams": {"chat": {"attempts_max": 2}}})
    model = provider.script(unique("model"), {"cut_at": 900}, repeat=True)
    assert service.post(CHAT, question(CHAT, model)).status == 502
    cut = {called(model, "truncated"): 2}
    meter.assert_moved(flights=1, retries=1, calls_billed_in_vain=2, attempts={'{end="truncated"}': 2},
                       gen_ai_client_operation_duration_seconds=cut,
                       gen_ai_client_operation_time_to_first_chunk_seconds={called(model): 2},
                       start_overhead_seconds={'{keyed="false"}': 1}, requests={told(status=502): 1})


def test_a_refusal_that_costs_nothing(start, provider):
    service, meter = start()
    model = provider.script(unique("model"), {"status": 404, "body": {"error": {"message": "no such model"}}})
    assert service.post(CHAT, question(CHAT, model)).status == 404
    meter.assert_moved(flights=1, attempts={'{end="refused"}': 1}, requests={told(status=404): 1},
                       gen_ai_client_operation_duration_seconds={called(model, "404"): 1},
                       start_overhead_seconds={'{keyed="false"}': 1})


def test_a_client_that_leaves_and_what_its_call_may_have_cost(start, provider):
    service, meter = start()
    model = provider.script(unique("model"), {"hold": unique("hold")})
    leave(service, provider, CHAT, question(CHAT, model))
    meter.assert_moved(flights=1, client_disconnects=1, attempts={'{end="cancelled"}': 1}, calls_billed_in_vain=1,
                       gen_ai_client_operation_duration_seconds={called(model, "cancelled"): 1},
                       start_overhead_seconds={'{keyed="false"}': 1}, requests={told(status="none"): 1})


def test_a_request_that_is_refused_here(start):
    service, meter = start()
    assert service.post(CHAT, b"{").status == 400
    assert service.get("/nothing-here").status == 404
    meter.assert_moved(refused=2, requests={told(status=400): 1, told("other", status=404): 1})


# ---- labels

def test_clients_are_told_apart_by_their_configured_names(start):
    service, meter = start(with_clients(client("alice"), client("bob")))
    model = unique("model")
    assert service.post(CHAT, question(CHAT, model), headers=as_client("alice")).status == 200
    assert service.post(CHAT, question(CHAT, model), headers=as_client("eve")).status == 401
    meter.assert_moved(**answered(model, keyed=False), refused=1,
                       requests={told(client="alice"): 1, told(status=401): 1})
    assert '"eve"' not in meter.text() and '"bob"' not in meter.text()


def test_a_models_name_can_break_out_of_nothing(start):
    service, meter = start()
    name = 'a"b,c}=\n {d' + "x" * 200
    assert service.post(CHAT, question(CHAT, name)).status == 200
    escaped = r'a\"b,c}=\n {d' + "x" * 200  # as Prometheus has it
    label = re.search(r'\ngen_ai_client_operation_duration_seconds_count\{.*gen_ai_request_model="(.*)"\} 1\n', meter.text())[1]
    assert escaped.startswith(label) and label.count("x") > 100


# ---- short edges

def test_holds_that_end(start, provider):
    edges = {CHAT: {"edge": "conflict", "hold_s": 0.2}, MESSAGES: {"edge": "redirect", "hold_s": 0.2},
             RESPONSES: {"edge": "heartbeat", "hold_s": 0.2, "heartbeat_after_s": 0.1}}
    service, meter = start({"routes": edges, "upstreams": {name: {"api_key": "sk-x"} for name in UPSTREAMS}})
    bodies, holds = {}, []
    for route in edges:
        model, hold = held(provider)
        bodies[route] = question(route, model)
        holds.append(hold)
    assert service.post(CHAT, bodies[CHAT], unique("key")).status == 503
    redirect = service.post(MESSAGES, bodies[MESSAGES], unique("key"))
    assert redirect.status == 303
    with service.connect() as beating:
        beating.send(raw_post(RESPONSES, bodies[RESPONSES], "1.1", f"Idempotency-Key: {unique('key')}"))
        assert beating.receive()  # its head
        for hold in holds:
            provider.release(hold)
        assert beating.reply().status == 200
    wait_until(lambda: meter["unstream_flights_running"] == 0, "all to end")
    assert service.get(redirect["location"]).status == 200
    moved = meter.moved()
    for name in ("holds_conflict", "holds_redirect", "holds_heartbeat", "results"):
        assert moved.pop(f"unstream_{name}_total") == 1, name
    assert moved["unstream_requests_total" + told(status=503)] == 1
    assert moved["unstream_requests_total" + told(MESSAGES, status=303)] == 1
    assert not any("duplicates" in name for name in moved)


def test_an_accepted_request(start, provider):
    service, meter = start({"upstreams": {"chat": {"api_key": "sk-x"}}})
    model = unique("model")
    accepted = service.post(CHAT, question(CHAT, model), headers={"Prefer": "respond-async"})
    assert accepted.status == 202
    replies = [accepted]

    def is_there():
        replies.append(service.get(accepted["location"]))
        return replies[-1].status == 200

    wait_until(is_there, "the answer")
    meter.wait_for("unstream_results_total", 1)
    assert meter["unstream_accepted_total"] == sum(reply.status == 202 for reply in replies)
    assert meter["unstream_requests_total" + told(status=202)] == 1
    assert meter["unstream_requests_total" + told("/requests")] == 1
    assert meter[series("unstream_duplicates_avoided_total", source="joined")] == 0


# ---- brakes, the store, what we add

def test_a_paused_upstream_is_seen_while_it_lasts(start, provider):
    service, meter = start()
    model = provider.script(unique("model"), {"status": 429, "headers": {"Retry-After": "2"}, "body": TOO_MANY})
    paused = series("unstream_upstream_pauses", upstream="chat")
    reply = in_background(service.post, CHAT, question(CHAT, model))
    meter.wait_for(paused, 1)
    assert meter[series("unstream_upstream_pauses", upstream="messages")] == 0
    assert reply.result().status == 200
    meter.wait_for(paused, 0)


def test_commits_and_what_we_add_are_timed(start):
    service, meter = start()
    before = meter["unstream_store_commit_seconds_count"]
    for _ in range(3):
        assert service.post(CHAT, question(CHAT, unique("model")), unique("key")).status == 200
    samples = meter.samples()
    commits = samples["unstream_store_commit_seconds_count"] - before
    assert 3 * 2 <= commits <= 3 * 2 + 2  # claims and completions; the reaper may look around
    assert samples['unstream_store_commit_seconds_bucket{le="+Inf"}'] == before + commits
    assert 0 < samples["unstream_store_commit_seconds_sum"] < 60
    assert samples["unstream_store_bytes"] > 0 and samples["unstream_store_free_bytes"] > 0
    assert samples["unstream_store_queue"] == 0
    for name in ("start", "answer"):  # both wait for a commit, neither for the provider
        assert 0 < samples[f'unstream_{name}_overhead_seconds_sum{{keyed="true"}}'] < 60
        assert samples[f'unstream_{name}_overhead_seconds_count{{keyed="true"}}'] == 3


def test_time_in_the_queue_and_at_the_provider_is_not_ours(start, provider):
    service, meter = start({"limits": {"flights_max": 1, "queue_max": 1, "queue_s": 60}})
    slow = provider.script(unique("slow"), {"pause_s": 2, "pause_at": "head"})
    first = in_background(service.post, CHAT, question(CHAT, slow))
    provider.wait_for(slow)
    assert service.post(CHAT, question(CHAT, unique("model"))).status == first.result().status == 200
    meter.wait_for('unstream_answer_overhead_seconds_count{keyed="false"}', 2)
    assert meter["unstream_queued_total"] == 1
    for name in ("start", "answer"):
        assert meter[f'unstream_{name}_overhead_seconds_sum{{keyed="false"}}'] < 1


# ---- the text

def test_promtool_finds_nothing(start, provider, promtool):
    service, meter = start(with_clients(client("alice")))
    provider.script(broken := unique("model"), {"status": 400, "body": {"error": {"message": "x"}}})
    for model in (unique('a"b\\c'), broken):
        service.post(CHAT, question(CHAT, model), unique("key"), headers=as_client("alice"))
    checked = subprocess.run([promtool, "check", "metrics"], input=meter.text(), capture_output=True, text=True, timeout=60)
    assert (checked.returncode, checked.stdout, checked.stderr.strip()) == (0, "", "")


def test_each_series_stands_once_and_histograms_add_up(start):
    service, meter = start()
    for _ in range(3):
        service.post(CHAT, question(CHAT, unique("model")), unique("key"))
    names = [line.rsplit(" ", 1)[0] for line in meter.text().splitlines() if not line.startswith("#")]
    assert len(names) == len(set(names))
    samples = meter.samples()
    histograms = [(found, value) for name, value in samples.items()
                  if (found := re.match(r'(\w+)_bucket\{(?:(.*),)?le="\+Inf"\}', name))]
    assert {found[1] for found, _ in histograms} >= {"unstream_store_commit_seconds", "unstream_start_overhead_seconds",
                                                     "gen_ai_client_operation_duration_seconds"}
    for found, value in histograms:
        labels = "{" + found[2] + "}" if found[2] else ""
        assert samples[f"{found[1]}_count{labels}"] == value
