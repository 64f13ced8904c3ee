"""The command line, the configuration and what protects the operator's key."""
import hashlib
import json
import os
import re
import subprocess

import pytest

from support import (CHAT, MESSAGES, ROUTES, SIMPLE, UPSTREAMS, assert_answer, assert_error, base_config,
                     clean_environment, free_port, merged, question, run_binary, sent_headers, unique, wait_until, Service)

SECRET = "sk-operators-own-secret-0123456789"
OPERATORS_KEY = {"upstreams": {name: {"api_key": SECRET} for name in UPSTREAMS}}


@pytest.fixture
def configured(tmp_path, binary):
    """Runs the binary to its end with a configuration file: configured(overrides, *arguments)."""
    def run(overrides, *arguments, **variables):
        config = merged(base_config("http://127.0.0.1:9", tmp_path, free_port()), overrides)
        (tmp_path / "c.json").write_text(overrides if isinstance(overrides, str) else json.dumps(config))
        return run_binary("--config", tmp_path / "c.json", *arguments, directory=tmp_path, **variables)
    return run


def test_version_names_program_and_version(binary, tmp_path):
    done = run_binary("--version", directory=tmp_path)
    assert done.returncode == 0
    assert re.match(r"unstream \d+\.\d+\.\d+", done.stdout)


def test_help_names_every_option(binary, tmp_path):
    done = run_binary("--help", directory=tmp_path)
    assert done.returncode == 0
    for option in ("--config", "--listen", "--store", "--check-config", "--print-config", "--version",
                   "--help"):
        assert option in done.stdout


@pytest.mark.parametrize("arguments", [["--confg", "x"], ["--config"], ["nonsense"], ["-z"]])
def test_an_unknown_option_is_a_usage_error(binary, tmp_path, arguments):
    done = run_binary(*arguments, directory=tmp_path)
    assert done.returncode == 64
    assert arguments[0] in done.stderr


def test_a_good_configuration_passes_the_check(configured):
    done = configured({}, "--check-config")
    assert done.returncode == 0, done


def test_comments_are_taken(configured, tmp_path):
    done = configured('{ // a comment\n "store": "sqlite:%s/u.db" // and one more\n}' % tmp_path,
                      "--check-config")
    assert done.returncode == 0, done


def test_a_bad_configuration_is_told_all_its_errors_at_once(configured):
    done = configured({
        "upstreems": {}, "drain_s": "soon", "limits": {"flights_max": -1},
        "upstreams": {"chat": {"bas_url": "x", "attempts_max": 1.5}},
        "routes": {"/v1/messages": {"upstream": "nobody"}}}, "--check-config")
    assert done.returncode == 78
    told = done.stdout + done.stderr
    for word in ("upstreems", "drain_s", "flights_max", "bas_url", "base_url", "attempts_max", "nobody"):
        assert word in told, told
    assert "c.json" in told
    assert "did you mean" in told


def test_a_file_that_is_no_json_or_not_there_is_refused(configured, binary, tmp_path):
    assert configured('{"drain_s": }', "--check-config").returncode == 78
    done = run_binary("--config", tmp_path / "absent.json", directory=tmp_path)
    assert done.returncode == 78
    assert "absent.json" in done.stderr


def test_a_secret_is_never_printed(configured, tmp_path):
    (tmp_path / "secret").write_text(SECRET + "\n")
    for key in (SECRET, "$OUR_SECRET", f"@{tmp_path}/secret"):
        done = configured({"upstreams": {"chat": {"api_key": key}}}, "--print-config", OUR_SECRET=SECRET)
        assert done.returncode == 0, done
        assert SECRET not in done.stdout + done.stderr
        printed = json.loads(done.stdout)
        assert printed["upstreams"]["chat"]["base_url"] == "http://127.0.0.1:9/v1"
        assert printed["upstreams"]["chat"]["api_key"]
        assert printed["limits"]["deadline_s"] == 590


def test_a_missing_environment_variable_is_named(configured):
    done = configured({"upstreams": {"chat": {"api_key": "$OUR_SECRET"}}}, "--check-config")
    assert done.returncode == 78
    assert "OUR_SECRET" in done.stdout + done.stderr


@pytest.mark.parametrize("check", [["--check-config"], []])
@pytest.mark.parametrize("address", ["0.0.0.0", "[::]"])
def test_the_operators_key_is_not_offered_to_the_network(configured, address, check):
    done = configured({**OPERATORS_KEY, "listen": [f"{address}:{free_port()}"]}, *check)
    assert done.returncode == 78
    told = done.stdout + done.stderr
    assert '"open": true' in told
    assert "clients" in told
    assert SECRET not in told


def test_clients_need_a_key_of_the_operator(configured):
    client = {"name": "billing", "token_sha256": hashlib.sha256(b"t").hexdigest()}
    done = configured({"clients": [client]}, "--check-config")
    assert done.returncode == 78
    assert "api_key" in done.stdout + done.stderr


@pytest.fixture(scope="module")
def operators(provider, binary, tmp_path_factory):
    """A service with the operator's own key, on loopback, for anyone on this host."""
    service = Service(provider, tmp_path_factory.mktemp("operators"), OPERATORS_KEY)
    yield service
    service.stop()


@pytest.mark.parametrize("name, value", [
    ("X-Forwarded-For", "203.0.113.9"), ("Forwarded", "for=203.0.113.9"), ("Via", "1.1 nginx"),
    ("CF-Connecting-IP", "203.0.113.9"), ("Origin", "https://page.example"), ("Host", "api.example")])
@pytest.mark.parametrize("route", ROUTES)
def test_a_request_from_elsewhere_does_not_get_the_operators_key(operators, provider, route, name, value):
    model = unique("elsewhere")
    reply = operators.post(route, question(route, model), headers={name: value})
    assert_error(reply, route, 403, "open_not_allowed")
    assert provider.hits(model) == 0


def test_a_unix_socket_is_out_of_a_web_pages_reach(launch, tmp_path):
    path = tmp_path / "u.sock"
    launch({**OPERATORS_KEY, "listen": ["127.0.0.1:PORT", f"unix:{path}"]})
    body = json.dumps(question(CHAT, unique("local")))
    command = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-d", body,
               "-H", "Content-Type: application/json", "-H", "Host: app.example", "--unix-socket", path]
    assert subprocess.check_output([*command, "http://x" + CHAT]) == b"200"
    forwarded = [*command, "-H", "X-Forwarded-For: 203.0.113.9", "http://x" + CHAT]
    assert subprocess.check_output(forwarded) == b"403"  # a proxy speaks for somebody else


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1234", "[::1]:8080"])
def test_a_local_request_gets_the_operators_key(operators, provider, host):
    model = unique("local")
    reply = operators.post(CHAT, question(CHAT, model),
                           headers={"Host": host, "Authorization": "Bearer anything"})
    assert_answer(reply)
    assert sent_headers(provider.requests(model)[0], "authorization") == ["Bearer " + SECRET]


def test_clients_are_known_by_their_tokens(launch, provider):
    clients = [{"name": name, "token_sha256": hashlib.sha256(token.encode()).hexdigest()}
               for name, token in (("one", "token-one"), ("two", "token-two"))]
    service = launch({**OPERATORS_KEY, "clients": clients})
    body, key = question(MESSAGES, unique("clients")), unique("key")
    for headers in ({}, {"Authorization": "Bearer token-three"}, {"x-api-key": "token"},
                    {"Authorization": "Basic dG9rZW4tb25l"}):
        for route in ROUTES:
            reply = service.post(route, question(route, "never-asked"), headers=headers)
            assert_error(reply, route, 401, "unauthorized")
    first = service.post(MESSAGES, body, key, headers={"x-api-key": "token-one"})
    assert_answer(first, key_status="executed")
    again = service.post(MESSAGES, body, key, headers={"Authorization": "Bearer token-one"})
    assert_answer(again, first.body, key_status="replayed")
    other = service.post(MESSAGES, body, key, headers={"Authorization": "Bearer token-two"})
    assert_answer(other, key_status="executed")
    for call in provider.requests(body["model"]):
        assert "token-" not in json.dumps(call["headers"])
        assert SECRET in "".join(sent_headers(call, "x-api-key") + sent_headers(call, "authorization"))


def test_a_new_token_lets_its_client_in(launch, binary, tmp_path):
    done = run_binary("token", "billing", directory=tmp_path)
    assert done.returncode == 0, done
    token, entry = done.stdout.splitlines()
    assert re.fullmatch(r"ust_[A-Za-z0-9_-]{43}", token)
    assert json.loads(entry) == {"name": "billing", "token_sha256": hashlib.sha256(token.encode()).hexdigest()}
    assert token not in done.stderr
    assert token not in run_binary("token", "billing", directory=tmp_path).stdout
    service = launch({**OPERATORS_KEY, "clients": [json.loads(entry)]})
    body = question(CHAT, unique("token"))
    assert_answer(service.post(CHAT, body, headers={"Authorization": "Bearer " + token}))
    assert_error(service.post(CHAT, body, headers={"Authorization": "Bearer " + token[:-1]}), CHAT, 401)


@pytest.mark.parametrize("name", ["n", "n" * 64, "$HOME", "@/etc/hostname", 'a"b\\c'])
def test_a_token_takes_every_name_that_the_configuration_takes(configured, binary, tmp_path, name):
    done = run_binary("token", name, directory=tmp_path)
    assert done.returncode == 0, done
    entry = json.loads(done.stdout.splitlines()[1])
    printed = configured({**OPERATORS_KEY, "clients": [entry]}, "--print-config")
    assert printed.returncode == 0, printed
    assert json.loads(printed.stdout)["clients"][0]["name"] == entry["name"]
    service_name = entry["name"][1:] if name[0] in "$@" else entry["name"]
    assert service_name == name


@pytest.mark.parametrize("arguments", [[], ["two", "names"], [""], ["with blank"], ["n" * 65], ["\u00fc"], ["--nmae"]])
def test_a_token_for_nobody_is_a_usage_error(binary, tmp_path, arguments):
    done = run_binary("token", *arguments, directory=tmp_path)
    assert done.returncode == 64
    assert done.stdout == ""
    assert "unstream token" in done.stderr


def test_the_tokens_help_is_no_mistake(binary, tmp_path):
    done = run_binary("token", "--help", directory=tmp_path)
    assert done.returncode == 0
    assert "unstream token NAME" in done.stdout
    assert "token" in run_binary("--help", directory=tmp_path).stdout


def test_a_route_that_is_switched_off_says_so(launch):
    service = launch({"routes": {MESSAGES: False}})
    refused = service.post(MESSAGES, question(MESSAGES, "m"))
    assert_error(refused, MESSAGES, 404)
    assert "is switched off" in refused.error["message"]
    assert_answer(service.post(CHAT, question(CHAT, unique("on"))))


def test_a_route_without_upstream_says_how_to_configure_it(launch):
    openai = {name: {"provider": "openai"} for name in UPSTREAMS}
    service = launch({"upstreams": openai, "routes": {MESSAGES: {"upstream": None}, SIMPLE: {"api": "chat"}}})
    refused = service.post(MESSAGES, question(MESSAGES, "m"))
    assert_error(refused, MESSAGES, 404)
    assert "set ANTHROPIC_API_KEY, or routes and upstreams" in refused.error["message"]
    assert_answer(service.post(CHAT, question(CHAT, unique("on"))))


def test_the_environment_alone_configures_it(provider, binary, tmp_path):
    done = run_binary("--print-config", directory=tmp_path, OPENAI_API_KEY=SECRET,
                      OPENAI_BASE_URL=provider.url + "/v1/", ANTHROPIC_BASE_URL=provider.url,
                      UNSTREAM_LISTEN="127.0.0.1:1")
    assert done.returncode == 0, done
    printed = json.loads(done.stdout)
    assert printed["upstreams"]["openai"]["base_url"] == provider.url + "/v1"
    assert printed["upstreams"]["anthropic"]["base_url"] == provider.url
    assert printed["listen"] == ["127.0.0.1:1"]
    assert SECRET not in done.stdout


def test_a_second_process_on_the_same_store_is_refused(service, binary, tmp_path):
    config = {**service.config, "listen": [f"127.0.0.1:{free_port()}"]}
    (tmp_path / "c.json").write_text(json.dumps(config))
    done = run_binary("--config", tmp_path / "c.json", directory=tmp_path)
    assert done.returncode == 78
    assert "unstream.db" in done.stderr


# ---- addresses that nobody chose

IN_A_NETWORK_OF_ITS_OWN = ("unshare", "--net", "sh", "-ec", """
    ip link set lo up
    echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6
    exec "$@" """, "sh")


def test_without_ipv6_the_standard_addresses_are_127_0_0_1_alone(binary, tmp_path):
    if os.geteuid() or subprocess.run([*IN_A_NETWORK_OF_ITS_OWN, "true"], capture_output=True).returncode:
        pytest.skip("a network of its own without IPv6 needs root, unshare and ip")

    def start(*arguments):
        log = (tmp_path / "log").open("w")
        return subprocess.Popen([*IN_A_NETWORK_OF_ITS_OWN, binary, *arguments], stderr=log,
                                env=clean_environment(HOME=str(tmp_path)))

    def events():
        return [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]

    started = start()
    try:
        wait_until(lambda: any(line["event"] == "ready" for line in events()) or started.poll() is not None, "the start")
        listening = [line["address"] for line in events() if line["event"] == "listening"]
        [warning] = [line for line in events() if line["level"] == "warning"]
        asked = subprocess.run(["nsenter", "-t", str(started.pid), "-n", "curl", "-sf", "http://127.0.0.1:8080/readyz"])
    finally:
        started.terminate()
    assert started.wait(20) == 0
    assert listening == ["127.0.0.1:8080"] and asked.returncode == 0
    assert warning["event"] == "listener_left_out" and "[::1]:8080" in warning["message"]

    refused = start("--listen", "127.0.0.1:8080", "--listen", "[::1]:8080")  # who says it means it
    assert refused.wait(20) == 78
    assert [line["event"] for line in events()][-1] == "listener_refused"
