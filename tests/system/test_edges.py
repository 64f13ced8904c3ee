"""Long answers through short edges: real proxies with the configurations we ship, real clients.

Time is scaled: an edge gives up after LIMIT_S, long before a generation of GENERATION_S is ready.
As each case takes that long, the cases go side by side and each test looks at its own.  With
UNSTREAM_ALL set, every client and proxy; else a small part."""
import concurrent.futures
import json
import os
import threading
from dataclasses import dataclass

import pytest

import edge_clients
from edges import PROXIES, Cut, TotalLimit, program
from support import (CHAT, SDK_OF, UPSTREAMS, RawConnection, Service, exact, in_background, question,
                     raw_post, request, sent_headers, unique)
from test_sdk import as_javascript, without_additions

LONG = "UNSTREAM_ALL" in os.environ
LIMIT_S, GENERATION_S = 2.5, 6
SIDE_BY_SIDE = 8
LARGEST = 32 << 20  # limits.body_bytes_max
POLICIES = {
    "wait": {"edge": "wait"},
    "conflict": {"edge": "conflict", "hold_s": 1.5},  # a third hold, of an SDK, ends after 6.5 s
    "redirect": {"edge": "redirect", "hold_s": 1},
    "heartbeat": {"edge": "heartbeat", "hold_s": 1.5, "heartbeat_after_s": 0.3, "beat_s": 0.5},
}
NO_RETRIES = {"upstreams": {name: {"attempts_max": 1} for name in UPSTREAMS}}
long = pytest.mark.skipif(not LONG, reason="UNSTREAM_ALL is not set")


@dataclass(frozen=True)
class Case:
    policy: str
    edge: str
    client: str
    keyed: bool = False

    def __str__(self):
        return "-".join([self.policy, self.edge, self.client, *(["keyed"] if self.keyed else [])])


@dataclass
class Outcome:
    status: int
    text: str
    hits: int
    ideal: dict
    collected: object = None  # by a retry around the edge

    def assert_answer(self):
        """The body that the provider itself would have given, for one call."""
        assert self.status == 200, self
        assert self.hits == 1, self
        ideal = as_javascript(self.ideal)
        assert without_additions(as_javascript(json.loads(self.text)), ideal) == ideal


class Lab:
    """Services by policy and the edges in front of them, started when first used."""

    def __init__(self, provider, directory):
        self.provider, self.directory = provider, directory
        self.started, self.lock = {}, threading.Lock()

    def once(self, name, start):
        with self.lock:
            if name not in self.started:
                self.started[name] = start()
            return self.started[name]

    def service(self, policy):
        routes = {"routes": {route: POLICIES[policy] for route in SDK_OF}}
        return self.once(policy, lambda: Service(self.provider, self.directory / policy,
                                                 {**routes, **NO_RETRIES}))

    def edge(self, name, policy):
        service, directory = self.service(policy), self.directory / f"{name}-{policy}"
        if name == "total":
            return self.once((name, policy), lambda: TotalLimit(service, LIMIT_S))
        require(name)
        return self.once((name, policy), lambda: PROXIES[name](service, directory, f"{LIMIT_S * 1000:.0f}ms"))

    def patient_edge(self, name):
        """A proxy as we ship it: its limit is longer than any answer, a client's silence is not."""
        require(name)
        service, directory = self.service("wait"), self.directory / name
        silence = {"timeout client 75s": "timeout client 1s"} if name == "haproxy" else {}
        return self.once(name, lambda: PROXIES[name](service, directory, "60s", silence))

    @staticmethod
    def ask(client, edge, body, headers=None):
        require(*client.needs)
        return client.run(edge, body, headers or {})

    def run(self, case):
        """One generation of GENERATION_S; what its client got, and what it cost."""
        client = edge_clients.ALL[case.client]
        body = question(client.route, self.provider.script(unique(str(case)), {"seconds": GENERATION_S}))
        key = unique("key") if case.keyed else None
        status, text = self.ask(client, self.edge(case.edge, case.policy), body,
                                {"Idempotency-Key": key} if key else {})
        collected = None
        if case.policy == "wait" and status != 200:
            collected = self.service("wait").post(client.route, body, key, edge_clients.COMMON)
        hits = self.provider.hits(body["model"])
        return Outcome(status, text, hits, self.provider.answer(client.route, body).json, collected)

    def stop(self):
        for thing in reversed(self.started.values()):
            thing.stop()


def require(*names):
    missing = [name for name in names if not program(name)]
    if missing and LONG:
        pytest.fail(f"not installed: {', '.join(missing)}")
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


@pytest.fixture(scope="module")
def lab(provider, binary, sdk, tmp_path_factory):
    lab = Lab(provider, tmp_path_factory.mktemp("edges"))
    yield lab
    lab.stop()


@pytest.fixture(scope="module", autouse=True)
def outcomes(request, lab):
    """The futures of all selected cases; they run beside the first tests."""
    params = (getattr(item, "callspec", None) for item in request.session.items
              if item.path == request.node.path)
    cases = dict.fromkeys(each.params["case"] for each in params if each and "case" in each.params)
    if any(edge_clients.ALL[case.client].needs == ["java", "javac"] for case in cases) and program("javac"):
        edge_clients.java_classes()
    with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        yield {case: pool.submit(lab.run, case) for case in cases}
        pool.shutdown(cancel_futures=True)


def cases(*those):
    return pytest.mark.parametrize("case", those, ids=str)


IDLE_EDGES = PROXIES if LONG else ["nginx"]
EDGES = [*IDLE_EDGES, "total"]
CLIENTS = edge_clients.EVERY if LONG else edge_clients.CORE


# ---- the configurations we ship, with an answer shorter than their limits

@pytest.mark.parametrize("name", IDLE_EDGES)
def test_the_shipped_configuration_waits_as_long_as_unstream(lab, provider, name):
    body = question(CHAT, provider.script(unique("long"), {"seconds": 3}))
    reply = request(lab.patient_edge(name).port, "POST", CHAT, json.dumps(body), edge_clients.COMMON)
    assert reply.status == 200
    assert reply["content-length"] == str(len(reply.body))
    assert reply["cache-control"] == "no-store"
    assert provider.hits(body["model"]) == 1
    assert exact(reply.body) == exact(provider.answer(CHAT, body).body)


def test_nginx_refuses_heads_that_the_http_library_would_repair(lab):
    require("nginx")
    for line in ("X-Folded: one\r\n two", "X-Nul: a\0b"):
        with RawConnection(lab.edge("nginx", "wait").port) as connection:
            connection.send(raw_post(CHAT, question(CHAT, unique("guard")), "1.1", line))
            assert connection.reply().status == 400, line


# ---- heartbeat, seen closely

@pytest.mark.parametrize("name", IDLE_EDGES)
def test_a_heartbeats_declared_length_goes_through_the_proxy(lab, provider, name):
    edge = lab.edge(name, "heartbeat")
    body = question(CHAT, provider.script(unique("beat"), {"seconds": 3}), max_tokens=100)
    reply = request(edge.port, "POST", CHAT, json.dumps(body), edge_clients.COMMON)
    assert reply.status == 200
    assert reply["content-length"] == "16384"  # the least
    assert len(reply.body) == 16384
    assert reply.body.startswith(b" ")
    assert reply["transfer-encoding"] is None
    assert reply["unstream-request-id"]
    assert reply["idempotency-status"] is None


@pytest.mark.parametrize("name", edge_clients.CORE)
def test_an_error_before_the_first_output_keeps_its_status(lab, provider, name):
    client, edge = edge_clients.ALL[name], lab.edge("nginx", "heartbeat")
    error = {"type": "error", "error": {"message": "said late", "type": "invalid_request_error"}}
    step = {"status": 400, "body": error, "pause_s": 0.7, "pause_at": "head"}
    body = question(client.route, provider.script(unique("late"), step))
    status, text = lab.ask(client, edge, body)
    assert status == 400
    assert "said late" in text
    assert provider.hits(body["model"]) == 1


# ---- clients that repeat a POST by themselves

@long
def test_java_posts_again_on_a_dropped_connection_and_joins(lab, provider):
    edge = Cut(lab.service("wait"), LIMIT_S)
    try:
        body = question(CHAT, provider.script(unique("dropped"), {"seconds": 4}))
        status, text = lab.ask(edge_clients.ALL["HttpURLConnection"], edge, body,
                               {"Idempotency-Key": unique("key")})
        assert edge.connections == 2  # it did repeat its POST
        assert status == 200
        assert provider.hits(body["model"]) == 1
        assert exact(text) == exact(provider.answer(CHAT, body).body)
    finally:
        edge.stop()


@long
def test_wget_posts_again_after_a_read_timeout_and_joins(lab, provider):
    edge = lab.service("wait")  # wget's own limit is the short one
    body = question(CHAT, provider.script(unique("impatient"), {"seconds": 4}))
    status, text = lab.ask(edge_clients.ALL["wget-impatient"], edge, body, {"Idempotency-Key": unique("key")})
    assert status == 200
    assert provider.hits(body["model"]) == 1
    assert exact(text) == exact(provider.answer(CHAT, body).body)


# ---- official SDKs come back or stay away as they are told

def same_headers(provider, model):
    """Those with which another client's request is the same request as the SDK's."""
    [call] = provider.requests(model)
    versions = sent_headers(call, "anthropic-version")
    return {**edge_clients.COMMON, **{"anthropic-version": version for version in versions}}


def sdks(test):
    return pytest.mark.parametrize("name", edge_clients.SDKS)(test)


@sdks
def test_an_sdk_that_was_held_three_times_gives_up_and_the_answer_is_not_lost(lab, provider, name):
    client, hold, key = edge_clients.ALL[name], unique("hold"), unique("key")
    body = question(client.route, provider.script(unique("given-up"), {"hold": hold}))
    status, text = lab.ask(client, lab.edge("nginx", "conflict"), body, {"Idempotency-Key": key})
    assert (status, json.loads(text)["class"]) == (409, "ConflictError")
    provider.release(hold)
    reply = lab.service("conflict").post(client.route, body, key, same_headers(provider, body["model"]))
    assert reply.status == 200
    assert reply["idempotency-status"] in ("joined", "replayed")
    assert provider.hits(body["model"]) == 1


@sdks
def test_an_sdk_does_not_come_back_for_what_was_retried_here(lab, provider, name):
    client, step = edge_clients.ALL[name], {"status": 500, "body": {"error": {"message": "x"}}}
    body = question(client.route, provider.script(unique("down"), step, repeat=True))
    status, _ = lab.ask(client, lab.edge("nginx", "conflict"), body)
    assert status == 502
    assert provider.hits(body["model"]) == 1


@sdks
def test_an_sdk_does_not_come_back_for_a_cancelled_generation(lab, provider, name):
    service, edge, client = lab.service("wait"), lab.patient_edge("nginx"), edge_clients.ALL[name]
    key, hold = unique("key"), unique("hold")
    body = question(client.route, provider.script(unique("cancelled"), {"hold": hold}))
    told = in_background(lab.ask, client, edge, body, {"Idempotency-Key": key})
    provider.wait_for(body["model"])
    headers = same_headers(provider, body["model"])
    held = service.post(client.route, body, key, {**headers, "Prefer": "wait=0"})
    assert (held.status, held["retry-after"], held["x-should-retry"]) == (503, "1", "true")
    gone = service.request("DELETE", "/requests/" + held["unstream-request-id"], headers=headers)
    assert gone.status == 204
    status, text = told.result(30)
    assert (status, json.loads(text)["class"]) == (409, "ConflictError")
    assert provider.hits(body["model"]) == 1
    provider.release(hold)


# ---- what each policy does for whom

@cases(*(Case("wait", edge, "curl", True) for edge in EDGES), Case("heartbeat", "total", "curl", True),
       *(Case("wait", "nginx", client, True) for client in CLIENTS
         if client not in ("curl", "wget", *edge_clients.SDKS)))
def test_a_shorter_edge_cuts_a_waiting_client_off_and_its_retry_is_not_paid_again(outcomes, case):
    outcome = outcomes[case].result()
    assert outcome.status == 504, outcome
    assert outcome.hits == 1
    if case.policy == "wait":
        assert outcome.collected["idempotency-status"] == "joined"
        assert exact(outcome.collected.body) == exact(json.dumps(outcome.ideal))


@long
@cases(Case("wait", "nginx", "wget", True))
def test_wget_posts_again_after_a_504_and_joins(outcomes, case):
    outcomes[case].result().assert_answer()


@cases(*(Case("wait", edge, client) for edge in EDGES for client in edge_clients.SDKS))
def test_an_sdk_that_an_edge_cut_off_joins_with_its_own_retries(outcomes, case):
    outcomes[case].result().assert_answer()


@cases(*(Case("conflict", edge, client, keyed) for edge in EDGES for client in edge_clients.SDKS
         for keyed in (False, True)))
def test_conflict_brings_official_sdks_back_until_the_answer_is_there(outcomes, case):
    outcomes[case].result().assert_answer()


@long
@cases(*(Case("conflict", "nginx", client, True)
         for client in ("curl-retrying", "requests-retrying", "wget-retrying")))
def test_conflict_brings_clients_back_that_are_told_to_retry_503(outcomes, case):
    outcomes[case].result().assert_answer()


@cases(*(Case("redirect", "total", edge_clients.following(client)) for client in CLIENTS),
       *(Case("redirect", edge, edge_clients.following(client)) for edge in IDLE_EDGES
         for client in edge_clients.CORE),
       *(Case("redirect", "total", client, True) for client in ("curl-following", *edge_clients.SDKS)))
def test_redirect_brings_the_body_in_spite_of_a_limit(outcomes, case):
    outcomes[case].result().assert_answer()


@long
@cases(Case("redirect", "total", "curl"), Case("redirect", "total", "HttpClient"))
def test_a_client_that_does_not_follow_redirects_sees_the_303(outcomes, case):
    assert outcomes[case].result().status == 303


@cases(*(Case("heartbeat", edge, client) for edge in IDLE_EDGES for client in CLIENTS))
def test_heartbeat_brings_a_body_that_the_client_parses(outcomes, case):
    outcomes[case].result().assert_answer()


# ---- last, as it keeps the machine busy

@long
@pytest.mark.parametrize("name", IDLE_EDGES)
def test_the_largest_request_passes_and_a_larger_one_does_not(lab, provider, name):
    edge, model = lab.patient_edge(name), unique("large")
    head = json.dumps(question(CHAT, model, prompt="")).encode()
    largest = head.replace(b'"content": ""', b'"content": "' + b"x" * (LARGEST - len(head)) + b'"')
    assert len(largest) == LARGEST
    assert request(edge.port, "POST", CHAT, largest, edge_clients.COMMON).status == 200
    assert request(edge.port, "POST", CHAT, largest + b" ", edge_clients.COMMON).status == 413
    assert provider.hits(model) == 1
