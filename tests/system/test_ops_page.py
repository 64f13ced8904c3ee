"""The operators' page, in a real browser on the real binary.  What is done there stands in
ops_page/scenarios.mjs; pictures of it are left in build/ops-page."""
import hashlib
import json
import re
import shutil
import subprocess
from base64 import b64encode
from pathlib import Path

import pytest

import leaks
from support import CHAT, clean_environment, free_port, in_background, question, request, unique, wait_until

HERE = Path(__file__).parent / "ops_page"
OPS_PORT = free_port()
CONFIG = {"ops_listen": f"127.0.0.1:{OPS_PORT}"}


class Browser:
    """The process that runs scenarios."""

    def __init__(self, chromium):
        self.process = subprocess.Popen(["node", HERE / "drive.mjs", chromium], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env=clean_environment())
        assert self.hear() == {"done": None}

    def say(self, message):
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def hear(self):
        line = self.process.stdout.readline()
        assert line, f"the browser's process ended: exit {self.process.wait()}"
        return json.loads(line)

    def run(self, scenario, port=OPS_PORT, on=None, **arguments):
        """Runs one to its end.  on: {what it may ask for: function}."""
        self.say({"run": scenario, "arguments": {"url": f"http://127.0.0.1:{port}", **arguments}})
        while "ask" in (message := self.hear()):
            self.say({"answer": on[message["ask"]](*message["arguments"])})
        assert message["done"] is None, message["done"]

    def stop(self):
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def browser(npm_install):
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("chromium is needed: apt-get install chromium")
    npm_install(HERE, "--ignore-scripts")
    browser = Browser(chromium)
    yield browser
    browser.stop()


def running_flight(model):
    """The id of the flight of this model that is under way."""
    state = request(OPS_PORT, "GET", "/ops/state").json
    return next((flight["id"] for flight in state["flights"] if flight["model"] == model), None)


# ---- what drives it

def test_the_tools_from_npm_run_on_debians_node():
    for lock in (HERE / "package-lock.json", HERE.parents[1] / "openapi/package-lock.json"):
        for name, package in json.loads(lock.read_text())["packages"].items():
            wanted = package.get("engines", {}).get("node", ">=0")
            assert int(re.search(r"\d+", wanted)[0]) <= 18, f"{name} wants Node.js {wanted}, and Debian 12 has 18"


# ---- the page as it is served

def test_the_page_allows_only_what_stands_in_it(service):
    for path in ("/ops", "/ops/"):
        page = request(OPS_PORT, "GET", path)
        assert page.status == 200 and page["content-type"] == "text/html; charset=utf-8"
    text = page.body.decode()
    [script], [style] = (re.findall(f"<{name}>(.*?)</{name}>", text, re.DOTALL) for name in ("script", "style"))
    hashes = [b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in (script, style)]
    assert page["content-security-policy"] == (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'")
    assert page["x-content-type-options"] == "nosniff"
    assert page["referrer-policy"] == "no-referrer"
    assert page["cache-control"] == "no-store"
    assert "://" not in re.sub(r"http://www\.w3\.org/2000/svg", "", text), "nothing comes from elsewhere"


def test_the_page_takes_get_and_head_from_this_machine(service):
    head = request(OPS_PORT, "HEAD", "/ops")
    assert head.status == 200 and head.body == b""
    assert head["content-length"] == str(len(request(OPS_PORT, "GET", "/ops").body))
    refused = request(OPS_PORT, "POST", "/ops")
    assert refused.status == 405 and refused["allow"] == "GET, HEAD"
    assert request(OPS_PORT, "GET", "/ops", headers={"Host": "evil.example"}).status == 403
    assert request(OPS_PORT, "GET", "/ops", headers={"Origin": "https://evil.example"}).status == 403
    assert service.get("/ops").status == 404  # not on the clients' side


# ---- with the real service

def test_a_flight_is_followed_and_cancelled(browser, service, provider):
    model = unique("followed")
    provider.script(model, {"words": 20000, "seconds": 2000})
    reply = in_background(service.post, CHAT, question(CHAT, model), unique("key"))
    flight = wait_until(lambda: running_flight(model), "the flight")
    browser.run("a_flight_is_followed_and_cancelled", id=flight, model=model, on={
        "is_running": lambda: not reply.done(),
        "outcome": lambda: [reply.result().status, reply.result().error["code"]]})


def test_a_timeline_is_kept_up_to_date(browser, launch, provider):
    model, hold, key = unique("attempts"), unique("hold"), unique("key")
    port = free_port()
    service = launch({"ops_listen": f"127.0.0.1:{port}"})
    provider.script(model, {"status": 500, "body": {"error": {"message": "x"}}}, {"hold": hold})
    replies = [in_background(service.post, CHAT, question(CHAT, model), key) for _ in range(2)]
    provider.wait_for(model)
    [flight] = wait_until(lambda: [flight["id"] for flight in request(port, "GET", "/ops/state").json["flights"]
                                   if flight["waiters"] == 2], "both waiters")
    browser.run("a_timeline_is_kept_up_to_date", port, id=flight, on={"release": lambda: provider.release(hold)})
    assert [reply.result().status for reply in replies] == [200, 200]


def test_an_unknown_flight_is_said_to_be_unknown(browser, service):
    browser.run("an_unknown_flight_is_said_to_be_unknown")


def test_names_from_outside_are_text(browser, service):
    model = f"<img src=x onerror=alert(1)>'&amp;{unique()}"
    reply = service.post(CHAT, question(CHAT, model), unique("key"))
    assert reply.status == 200
    browser.run("names_from_outside_are_text", id=reply["unstream-request-id"], model=model)


def test_the_token_is_asked_for(browser, launch):
    port, token = free_port(), unique("ops-token")
    leaks.note(port, token)
    launch({"ops_listen": f"127.0.0.1:{port}", "ops_token_sha256": hashlib.sha256(token.encode()).hexdigest()})
    assert request(port, "GET", "/ops").status == 200  # the page has no data
    browser.run("the_token_is_asked_for", port, token=token)


def test_the_service_goes_away_and_comes_back(browser, launch, tmp_path):
    port = free_port()
    config, directory = {"ops_listen": f"127.0.0.1:{port}"}, tmp_path / "service"
    service = launch(config, directory)
    reply = service.post(CHAT, question(CHAT, unique("kept")), unique("key"))
    browser.run("the_service_goes_away_and_comes_back", port, id=reply["unstream-request-id"], on={
        "stop": service.stop, "start": lambda: launch(config, directory).port})


# ---- with states that are pretended

@pytest.mark.parametrize("scenario", [
    "it_is_readable_in_light_and_dark", "it_fits_a_phone", "trouble_is_said_in_words_and_once",
    "many_flights_are_shown_in_place", "it_asks_no_faster_than_it_is_answered"])
def test_whatever_the_state(browser, service, scenario):
    browser.run(scenario)
