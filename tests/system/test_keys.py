"""Operators' work on keys and backups, with the service and without it."""
import hashlib
import json
import os
import stat

import pytest

from support import (CHAT, assert_answer, free_port, held, in_background, question, request, run_binary,
                     unique)

TOKEN, OPS_TOKEN = "client-secret-1234", "ops-secret-5678"


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def operated(launch):
    """Starts a service with an ops listener; .ops(...) posts to it, .keys(...) is the command."""
    def start(overrides=None, directory=None):
        port = free_port()
        service = launch({"ops_listen": f"127.0.0.1:{port}", **(overrides or {})}, directory)
        service.ops = lambda path, body=None, headers=None, method="POST": request(
            port, method, path, json.dumps(body or {}), headers)
        service.keys = lambda *words, **variables: run_binary(
            "keys", *words, "--config", service.directory / "config.json",
            directory=service.directory, **variables)
        return service
    return start


CLIENTS = {"clients": [{"name": "billing", "token_sha256": sha256(TOKEN)}],
           "upstreams": {name: {"api_key": "sk-upstream"} for name in
                         ("chat", "responses", "messages", "simple")}}
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def answer_key(service, provider, key, headers=None):
    model = provider.script(unique("model"), {"text": "The answer."}, repeat=True)
    reply = service.post(CHAT, question(CHAT, model), key, headers)
    assert_answer(reply, key_status="executed")
    return model


def test_a_key_is_listed_shown_and_purged_without_being_told(operated, provider):
    service = operated()
    key = unique("order")
    model = answer_key(service, provider, key)

    listed = service.keys("list")
    assert listed.returncode == 0, listed.stderr
    digest, state, calls, _, scope, route = listed.stdout.split()
    assert (state, calls, scope, route) == ("done", "1", "anonymous", CHAT)
    assert len(digest) == 64
    shown = service.keys("show", "--key", key)
    assert digest in shown.stdout and "state          done" in shown.stdout
    assert service.keys("show", "--digest", digest).stdout == shown.stdout
    for done in (listed, shown):
        assert key not in done.stdout + done.stderr

    purged = service.keys("purge", "--key", key)
    assert (purged.returncode, purged.stdout) == (0, "purged 1 key\n")
    missing = service.keys("show", "--key", key)
    assert (missing.returncode, missing.stderr) == (1, "unstream keys: no such key\n")
    assert_answer(service.post(CHAT, question(CHAT, model), key), key_status="executed")
    assert provider.hits(model) == 2


def test_keys_belong_to_the_client_that_is_named(operated, provider):
    service = operated(CLIENTS)
    key = unique("order")
    answer_key(service, provider, key, BEARER)
    assert "client billing" in service.keys("list", "--client", "billing").stdout
    assert service.keys("show", "--key", key).returncode == 1  # of anonymous callers
    assert service.keys("show", "--client", "billing", "--key", key).returncode == 0
    nobody = service.keys("list", "--client", "nobody")
    assert nobody.returncode == 78
    assert "no configured client" in nobody.stderr
    assert service.keys("purge", "--older-than", "3600").stdout == "purged 0 keys\n"
    for secret in (TOKEN, "sk-upstream", key):
        assert secret not in service.keys("list").stdout
    assert service.keys("purge", "--client", "billing").stdout == "purged 1 key\n"


def test_a_running_key_is_told_and_stays_when_all_is_purged(operated, provider):
    service = operated()
    key = unique("order")
    model, hold = held(provider, text="A late answer.")
    running = in_background(service.post, CHAT, question(CHAT, model), key)
    provider.wait_for(model)
    assert " running " in service.keys("list").stdout
    assert service.keys("purge", "--older-than", "0").stdout == "purged 0 keys\n"
    provider.release(hold)
    assert_answer(running.result(), key_status="executed")
    assert " done " in service.keys("list").stdout


def test_a_released_flight_goes_on_but_its_answer_is_not_stored(operated, provider):
    service = operated()
    key = unique("order")
    model, hold = held(provider, text="A late answer.")
    running = in_background(service.post, CHAT, question(CHAT, model), key)
    provider.wait_for(model)
    assert service.keys("release", "--key", key).stdout == "released 1 key\n"
    provider.release(hold)
    assert_answer(running.result(), key_status="executed-unstored")
    assert " released " in service.keys("list").stdout


def test_without_a_service_the_store_is_opened(operated, provider):
    service = operated()
    key = unique("order")
    answer_key(service, provider, key)
    service.stop()
    assert " done " in service.keys("list").stdout
    assert service.keys("purge", "--key", key).stdout == "purged 1 key\n"
    assert service.keys("list").stdout == ""


def test_a_service_without_ops_listen_keeps_its_store_to_itself(service, binary):
    done = run_binary("keys", "list", "--config", service.directory / "config.json",
                      directory=service.directory)
    assert done.returncode == 78
    assert "in use by another unstream process" in done.stderr
    assert "ops_listen" in done.stderr


def test_a_store_that_is_not_there_is_not_made(binary, tmp_path):
    for words in (["keys", "list"], ["backup", tmp_path / "copy.db"]):
        done = run_binary(*words, directory=tmp_path, UNSTREAM_STORE=f"sqlite:{tmp_path}/none.db")
        assert done.returncode == 78
        assert "none.db: there is no store" in done.stderr
    assert os.listdir(tmp_path) == []


def test_the_ops_token_comes_from_the_environment(operated):
    service = operated({"ops_token_sha256": sha256(OPS_TOKEN)})
    refused = service.keys("list")
    assert refused.returncode == 78
    assert "UNSTREAM_OPS_TOKEN" in refused.stderr
    assert service.keys("list", UNSTREAM_OPS_TOKEN="wrong").returncode == 78
    allowed = service.keys("list", UNSTREAM_OPS_TOKEN=OPS_TOKEN)
    assert (allowed.returncode, allowed.stdout) == (0, "")


def test_the_routes_say_what_they_take(operated):
    service = operated()
    assert service.ops("/ops/keys/list").json == {"count": 0, "next": None, "keys": []}
    assert service.ops("/ops/keys/list", method="GET").status == 405
    assert service.ops("/ops/keys/drop").status == 404
    assert service.ops("/ops/keys/purge").status == 400
    assert service.ops("/ops/keys/show", {"older_than_s": 1}).status == 400
    assert service.ops("/ops/keys/list", {"older_than_s": "1"}).status == 400
    assert service.ops("/ops/keys/list", {"keys": 1}).status == 400
    assert service.ops("/ops/keys/list", {"after": "00"}).status == 400
    assert service.ops("/ops/keys/list", headers={"Origin": "https://example.com"}).status == 403
    assert service.post("/ops/keys/list", {}).status == 404  # not for clients


@pytest.mark.parametrize("words", [
    ["keys"], ["keys", "drop"], ["keys", "purge"], ["keys", "release"], ["keys", "show"],
    ["keys", "list", "--older-than", "soon"], ["keys", "list", "--key"], ["keys", "list", "x"],
    ["keys", "show", "--key", "a", "--digest", "b"], ["backup"], ["backup", "a", "b"], ["backup", "--x"]])
def test_a_wrong_command_line_is_told(binary, tmp_path, words):
    done = run_binary(*words, directory=tmp_path)
    assert done.returncode == 64
    assert done.stderr.startswith("usage: unstream " + words[0])


def test_a_backup_of_a_running_service_replays(operated, provider, tmp_path):
    service = operated()
    key = unique("order")
    model = answer_key(service, provider, key)
    copy = tmp_path / "copy.db"
    config = service.directory / "config.json"
    done = run_binary("backup", copy, "--config", config, directory=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    size = copy.stat().st_size

    again = run_binary("--config", config, "backup", copy, directory=tmp_path)
    assert again.returncode == 78
    assert "copy.db: exists" in again.stderr
    assert copy.stat().st_size == size

    restored = operated({"store": f"sqlite:{copy}"})
    assert_answer(restored.post(CHAT, question(CHAT, model), key), key_status="replayed")
    assert provider.hits(model) == 1
