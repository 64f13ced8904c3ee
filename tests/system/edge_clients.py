"""The clients of the edge tests: real programs with their default settings, each one POST.

Options that a client needs are in its command here, with the reason; the table of
deploy/edges/README.md repeats them for users."""
import functools
import json
import re
import subprocess
from pathlib import Path

from edges import program
from support import CHAT, MESSAGES, clean_environment

HERE = Path(__file__).parent
CLIENTS = HERE / "clients"
NODE_CLIENT = HERE / "sdk/client.mjs"
NODE = HERE / "sdk/node_modules/.bin/node"
COMMON = {"Content-Type": "application/json", "Authorization": "Bearer sk-test"}


class Client:
    """One way to POST.  run() returns the status and the text that the application gets."""
    route, base, common = CHAT, None, COMMON

    def __init__(self, command, needs=(), **members):
        self.command, self.needs = command, needs
        vars(self).update(members)

    def run(self, edge, body, headers):
        url = edge.url + (self.route if self.base is None else self.base)
        data = json.dumps(body)
        done = subprocess.run(self.command(url, {**self.common, **headers}, data), input=data, text=True,
                              capture_output=True, timeout=60, env=clean_environment())
        return self.told(done)

    def told(self, done):
        """Our own programs print status and body."""
        status, _, text = done.stdout.partition("\n")
        assert status.isdigit(), done
        return int(status), text


class Curl(Client):
    def told(self, done):
        text, _, status = done.stdout.rpartition("\n")
        return int(status), text


class Wget(Client):
    def told(self, done):
        """The last status line of a chain of redirects and retries is what it ended with."""
        statuses = re.findall(r"^ *HTTP/1\.[01] (\d+)", done.stderr, re.MULTILINE)
        return int(statuses[-1]) if statuses else 0, done.stdout


def curl(*options):
    def command(url, headers, _):
        lines = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
        return ["curl", "-sS", *options, *lines, "--data-binary", "@-", "-w", "\n%{http_code}", url]
    return Curl(command, ["curl"])


def wget(*options):
    def command(url, headers, data):
        lines = [f"--header={name}: {value}" for name, value in headers.items()]
        return ["wget", "-q", "-S", "-O-", *options, *lines, f"--post-data={data}", url]
    return Wget(command, ["wget"])


def python(name, *arguments):
    return Client(lambda url, headers, _: ["/usr/bin/python3", CLIENTS / name, url, json.dumps(headers),
                                           *arguments])


def node(name, **members):
    return Client(lambda url, headers, _: [NODE, NODE_CLIENT, name, url, json.dumps(headers)], **members)


@functools.cache
def java_classes():
    """Compiled once, next to what else is built."""
    target = HERE.parents[1] / "build/edges/java"
    subprocess.run([program("javac"), "-d", target, CLIENTS / "Post.java"], check=True, timeout=120)
    return target


def java(kind, *options):
    def command(url, headers, _):
        pairs = [part for pair in headers.items() for part in pair]
        return [program("java"), "-XX:TieredStopAtLevel=1", *options, "-cp", java_classes(), "Post",
                kind, url, *pairs]
    return Client(command, ["java", "javac"])


def php():
    return Client(lambda url, headers, _: ["php", CLIENTS / "streams.php", url, json.dumps(headers)],
                  ["php"])


ALL = {
    "curl": curl(),
    "curl-following": curl("-L"),  # no -X POST, or it would POST to the result too
    "curl-retrying": curl("--fail", "--retry", "9"),  # else it prints the 503s too
    "urllib": python("urllib_client.py"),
    "requests": python("requests_client.py"),
    "requests-retrying": python("requests_client.py", "9"),
    "fetch": node("fetch"),
    "axios": node("axios"),
    "openai": node("openai", base="/v1", common={}),
    "anthropic": node("anthropic", route=MESSAGES, base="", common={}),
    "HttpURLConnection": java("connection"),
    "HttpClient": java("client"),
    # It follows nothing by default, and five redirects where it is told to.
    "HttpClient-following": java("following", "-Djdk.httpclient.redirects.retrylimit=20"),
    "wget": wget(),
    "wget-impatient": wget("--read-timeout=1.5"),
    "wget-retrying": wget("--retry-on-http-error=503"),
    "php": php(),
}
SDKS = ("openai", "anthropic")
CORE = ("curl", "urllib", *SDKS)
EVERY = (*CORE, "requests", "fetch", "axios", "HttpURLConnection", "HttpClient", "wget", "php")


def following(name):
    """The same client, told to follow redirects where it does not by itself."""
    return {"curl": "curl-following", "HttpClient": "HttpClient-following"}.get(name, name)
