"""What stands in deploy/ beside the package: containers, Kubernetes, Prometheus, Grafana, the manual."""
import json
import os
import re
import shutil
import subprocess

import pytest

yaml = pytest.importorskip("yaml", reason="apt-get install python3-yaml")

from support import BINARY, CHAT, ROOT, Service, clean_environment, free_port, question, request, run_binary, unique, wait_until  # noqa: E402

DEPLOY = ROOT / "deploy"
DRAIN_S = 660  # the default of drain_s
STOP_S = 690   # what everything that stops the service waits


def needs(program, package):
    return pytest.mark.skipif(not shutil.which(program), reason=f"{program} is missing: apt-get install {package}")


def run(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, **options)
    assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}"
    return done.stdout


def check_config(path, directory, **variables):
    done = run_binary("--config", path, "--check-config", directory=directory, **variables)
    assert done.returncode == 0, done.stderr


# ---- stopping

def test_all_that_stops_the_service_lets_it_drain():
    schema = json.loads((ROOT / "schema/config.schema.json").read_text())
    assert schema["properties"]["drain_s"]["default"] == DRAIN_S
    assert f"TimeoutStopSec={STOP_S}\n" in (DEPLOY / "systemd/unstream.service").read_text()
    [compose] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"].values()
    assert compose["stop_grace_period"] == f"{STOP_S}s"
    pod = stateful_set()["spec"]["template"]["spec"]
    pause = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert DRAIN_S + pause < pod["terminationGracePeriodSeconds"] == STOP_S


# ---- systemd

def settings(unit):
    """Pairs (name, value) of a unit."""
    text = (DEPLOY / "systemd" / unit).read_text()
    return re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE)


def test_the_unit_uses_what_the_service_tells_systemd():
    unit = dict(settings("unstream.service"))
    assert (unit["Type"], unit["NotifyAccess"]) == ("notify", "main")
    assert (unit["ExecReload"], unit["WatchdogSec"], unit["KillMode"]) == ("/bin/kill -HUP $MAINPID", "30", "mixed")


def test_the_socket_unit_has_the_addresses_that_the_service_would_take():
    schema = json.loads((ROOT / "schema/config.schema.json").read_text())
    addresses = [value for name, value in settings("unstream.socket") if name == "ListenStream"]
    assert addresses == schema["properties"]["listen"]["default"]


@needs("systemd-socket-activate", "systemd")
def test_the_first_connection_to_systemds_socket_starts_the_service(binary, tmp_path):
    port = free_port()
    started = subprocess.Popen(
        ["systemd-socket-activate", "-l", f"127.0.0.1:{port}", "-E", f"STATE_DIRECTORY={tmp_path}", binary],
        stderr=(tmp_path / "log").open("wb"), env=clean_environment(HOME=str(tmp_path)))
    try:
        wait_until(lambda: "Listening" in (tmp_path / "log").read_text(), "systemd-socket-activate to listen")
        assert not (tmp_path / "unstream.db").exists()
        assert request(port, "GET", "/readyz").status == 200
        assert (tmp_path / "unstream.db").exists()
    finally:
        started.terminate()
    assert started.wait(20) == 0, (tmp_path / "log").read_text()


# ---- the package's files

def test_the_shipped_configuration_is_taken_as_it_is(binary, tmp_path):
    check_config(DEPLOY / "etc/unstream.json", tmp_path)


def test_the_shipped_configuration_is_taken_with_all_that_it_suggests(binary, tmp_path):
    text = (DEPLOY / "etc/unstream.json").read_text()
    suggested = re.sub(r'^  // ("\w+": .*)$', r"  \1", text, flags=re.MULTILINE)
    assert suggested != text
    path = tmp_path / "unstream.json"
    path.write_text(suggested.replace("<unstream token billing>", "5" * 64))
    variables = re.findall(r"^#(\w+_KEY)=", (DEPLOY / "etc/environment").read_text(), re.MULTILINE)
    assert variables == ["OPENAI_API_KEY", "ANTHROPIC_API_KEY"]
    check_config(path, tmp_path, **dict.fromkeys(variables, "sk-1"))


# ---- containers

def containerfile():
    """Pairs (instruction, arguments), lines joined."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Containerfile").read_text(), flags=re.MULTILINE)
    return [tuple(line.split(None, 1)) for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def test_the_image_is_built_from_what_is_there():
    instructions = containerfile()
    for name, arguments in instructions:
        if name == "COPY" and not arguments.startswith("--from"):
            *sources, _ = arguments.split()
            assert all((ROOT / source).exists() for source in sources), arguments
    setup = (DEPLOY / "setup.sh").read_text()
    packages = re.search(r"BUILD_PACKAGES=\(([^)]*)\)", setup)[1].split()
    build_stage = next(arguments for name, arguments in instructions if name == "RUN")
    assert set(packages) <= set(build_stage.split()), "BUILD_PACKAGES of deploy/setup.sh"


@needs("dpkg-query", "dpkg")
def test_the_image_holds_the_libraries_of_the_binary():
    linked = set(re.findall(r"NEEDED +(\S+)", run("objdump", "-p", BINARY)))
    ours = {name for name in linked if not re.match(r"lib(c|m|asan|ubsan)\.so", name)}
    found = [path for path in re.findall(r"=> (\S+)", run("ldd", BINARY)) if path.rsplit("/", 1)[-1] in ours]
    owners = set()
    for path in found:
        real = os.path.realpath(path)
        owner = subprocess.run(["dpkg-query", "-S", real], capture_output=True, text=True).stdout
        owners.add(owner.partition(":")[0] or real)
    runtime = [arguments for name, arguments in containerfile() if name == "RUN"][-1].split()
    assert owners and owners <= set(runtime)


def test_the_image_runs_as_nobody_special_and_needs_two_variables(binary, tmp_path):
    instructions = dict(containerfile())
    assert instructions["USER"] == "10001:10001"
    assert instructions["VOLUME"] == "/var/lib/unstream"
    variables = dict(pair.split("=") for pair in instructions["ENV"].split())
    assert variables == {"STATE_DIRECTORY": "/var/lib/unstream", "UNSTREAM_LISTEN": "0.0.0.0:8080"}
    done = run_binary("--check-config", directory=tmp_path, **variables, OPENAI_API_KEY="sk-1", UNSTREAM_TOKEN="t")
    assert done.returncode == 0, done.stderr
    open_to_all = run_binary("--check-config", directory=tmp_path, **variables, OPENAI_API_KEY="sk-1")
    assert open_to_all.returncode == 78 and "UNSTREAM_TOKEN" in open_to_all.stderr


def test_the_health_check_of_the_image_tells_a_service_from_none(launch):
    service = launch()
    words = next(arguments for name, arguments in containerfile() if name == "HEALTHCHECK")
    command = json.loads(words.partition("CMD ")[2])

    def healthy(port):
        script = command[-1].replace("8080", str(port))
        return subprocess.run([*command[:-1], script], capture_output=True, timeout=20, env=clean_environment()).returncode == 0

    assert healthy(service.port)
    assert not healthy(free_port())


def test_compose_needs_a_token_and_keeps_state():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    service = compose["services"]["unstream"]
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).exists()
    assert service["environment"]["UNSTREAM_TOKEN"].startswith("${UNSTREAM_TOKEN:?")
    volume, _, path = service["volumes"][0].partition(":")
    assert volume in compose["volumes"] and path == dict(containerfile())["VOLUME"]


# ---- Kubernetes

def kubernetes():
    return {item["kind"]: item for item in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())}


def stateful_set():
    return kubernetes()["StatefulSet"]


def test_kubernetes_runs_one_replica_and_asks_the_probes(launch):
    items = kubernetes()
    spec = items["StatefulSet"]["spec"]
    assert spec["replicas"] == 1  # of the store there can be only one owner
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"] == items["Service"]["spec"]["selector"] == labels
    assert spec["serviceName"] == items["Service"]["metadata"]["name"]
    [container] = spec["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert {port["targetPort"] for port in items["Service"]["spec"]["ports"]} <= ports.keys()
    service = launch()
    for probe, path in [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]:
        assert container[probe]["httpGet"] == {"path": path, "port": "http"}
        assert service.get(path).status == 200
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts.keys() == ({volume["name"] for volume in spec["template"]["spec"]["volumes"]} |
                             {claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]})


def test_the_configuration_of_kubernetes_is_taken(binary, tmp_path):
    text = kubernetes()["ConfigMap"]["data"]["unstream.json"]
    path = tmp_path / "unstream.json"
    path.write_text(text)
    secrets = {name: "5" * 64 if name.endswith("SHA256") else "sk-1" for name in re.findall(r'"\$(\w+)"', text)}
    asked_for = re.findall(r"--from-literal=(\w+)=", (DEPLOY / "kubernetes.yaml").read_text())
    assert set(secrets) == set(asked_for)
    check_config(path, tmp_path, **secrets)
    ports = {port["name"]: port["containerPort"] for port in stateful_set()["spec"]["template"]["spec"]["containers"][0]["ports"]}
    config = json.loads(text)
    assert config["listen"] == [f"0.0.0.0:{ports['http']}"] and config["ops_listen"] == f"0.0.0.0:{ports['ops']}"
    state = [mount["mountPath"] for mount in stateful_set()["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]]
    assert any(config["store"].startswith(f"sqlite:{mount}/") for mount in state)


# ---- Prometheus and Grafana

def alert_expressions():
    rules = yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())
    return [rule["expr"] for group in rules["groups"] for rule in group["rules"]]


def dashboard():
    return json.loads((DEPLOY / "grafana/dashboard.json").read_text())


def panel_expressions():
    return [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]


def test_the_alerts_are_sound_and_fire_when_they_should(promtool):
    run(promtool, "check", "rules", "alerts.yaml", cwd=DEPLOY / "prometheus")
    run(promtool, "test", "rules", "alerts_test.yaml", cwd=DEPLOY / "prometheus")


def test_the_panels_ask_sound_questions(promtool, tmp_path):
    rules = [{"record": f"panel:{i}", "expr": expression.replace("$__rate_interval", "5m")}
             for i, expression in enumerate(panel_expressions())]
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    run(promtool, "check", "rules", tmp_path / "panels.yaml")


def test_the_dashboard_is_laid_out():
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    cells = [(x, y) for place in (panel["gridPos"] for panel in panels)
             for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) < 24


def test_alerts_and_panels_ask_for_metrics_that_exist_and_panels_for_all(launch, provider):
    port = free_port()
    service = launch({"ops_listen": f"127.0.0.1:{port}"})
    assert service.post(CHAT, question(CHAT, unique("counted")), unique("key")).status == 200
    served = request(port, "GET", "/metrics").body.decode()
    types = dict(re.findall(r"^# TYPE (\w+) (\w+)", served, re.MULTILINE))
    samples = {name + suffix: name for name, kind in types.items()
               for suffix in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",))}
    alerts, panels = ({samples.get(name, name) for expression in expressions
                       for name in re.findall(r"\b(?:unstream|gen_ai_client)_\w+", expression)}
                      for expressions in (alert_expressions(), panel_expressions()))
    names = set(types)
    assert alerts - names == set() and panels - names == set()
    assert names - panels == {"unstream_build_info"}
    for label, value in re.findall(r'(status|source|end)!?="([^"]*)"', " ".join(alert_expressions())):
        assert f'{label}="{value}"' in served


# ---- the manual

def page(name):
    return BINARY.parent / "manual" / name


@pytest.fixture(scope="module")
def pages(binary):
    """The pages of the build that is tested."""
    found = [DEPLOY / "man/unstream.1", page("unstream.json.5")]
    assert found[1].exists(), f"{found[1]} is not built"
    return found


def rendered(path):
    """A page as text without line breaks inside of paragraphs."""
    text = run("man", "--warnings=w", "-l", path, env={**os.environ, "MANWIDTH": "200", "LC_ALL": "C.UTF-8", "MANPAGER": "cat"})
    return re.sub(r"\x1b\[[0-9;]*m|.\x08", "", text)


@needs("mandoc", "mandoc")
def test_mandoc_finds_nothing(pages):
    for path in pages:
        run("mandoc", "-T", "lint", "-W", "warning", path)


@needs("man", "man-db")
def test_man_shows_every_option_variable_and_exit_code(pages, binary, tmp_path):
    text = rendered(pages[0])
    told = run_binary("--help", directory=tmp_path).stdout
    told += run_binary("keys", directory=tmp_path).stderr + run_binary("assemble", directory=tmp_path).stderr
    words = set(re.findall(r"--[a-z-]+|\b[A-Z]+_[A-Z_]+\b", told))
    assert len(words) > 15 and {word for word in words if word not in text} == set()
    codes = re.search(r"Exit codes: (.*)\n", told)[1]
    for code in re.findall(r"\d+", codes):
        assert re.search(rf"^ +{code} ", text, re.MULTILINE), code


@needs("man", "man-db")
def test_man_shows_every_key_with_its_default_and_range(pages, binary):
    source = (ROOT / "service/core/config_table.c").read_text()
    keys = re.findall(r'(?:OBJECT\(|_KEY\([\w\s]+,\s*)"(\w+)"', source)
    sections = rendered(pages[1])
    assert len(keys) > 60 and {key for key in keys if not re.search(rf"^ +{key}(\s|$)", sections, re.MULTILINE)} == set()
    assert re.search(r"^ +retry_budget_ratio\s.*\n.*From 0 to 10\. +Default: 0\.2\.$", sections, re.MULTILINE)
    assert re.search(r'^ +include_usage\s.*\n.*One of "auto", "always", "never"\. +Default: "auto"\.$',
                     sections, re.MULTILINE)
    assert re.search(r"^ +token_sha256\s.*\n.*Required\.$", sections, re.MULTILINE)
    assert "Default: false." in sections and 'Default: ["127.0.0.1:8080", "[::1]:8080"].' in sections


def test_the_manual_says_which_keys_need_a_restart_and_no_others(pages):
    table = (ROOT / "service/core/config_table.c").read_text()
    entries = re.findall(r'_KEY\([\w\s]+,\s*"(\w+)"(.*?)\.help', table, re.DOTALL)
    needing = [name for name, facts in entries if ".restart = true" in facts]
    assert len(entries) > 60 and "listen" in needing and "drain_s" not in needing
    _, *items = pages[1].read_text().split("\n.It Cm ")
    assert sorted(item.split()[0] for item in items if "Needs a restart." in item) == sorted(needing)
