"""Secrets that the tests use, and a search for them in all that a service leaves behind or shows to
others: logs, store files, metrics, operators' pages, error answers.  conftest.py searches at the end of
the session.

What is looked for: credentials of clients and operators, idempotency keys and result tokens, as they
are, in hexadecimal and inside any base64."""
import base64
import re
from collections import defaultdict
from pathlib import Path

MIN_BYTES = 8  # shorter ones, "a" or "token", stand in anything
NOT_SEARCHED = {"config.json"}  # the operator's own file, where the key may stand
CARRIER = re.compile(rb"^(?:authorization|x-api-key|api-key|x-idempotency-key|idempotency-key):[ \t]*(.*?)[ \t]*\r?$",
                     re.IGNORECASE | re.MULTILINE)
SCHEME = re.compile(rb"^(?:Bearer|Basic) +", re.IGNORECASE)
TOKEN = re.compile(rb"/requests/([A-Za-z0-9_-]{43})\b")
SHOWN = re.compile("^/(metrics|ops)")  # what people and programs without the secret look at

secrets = defaultdict(set)  # of a port: what was sent to it or handed out by it
shown = defaultdict(list)   # of a port: (what, bytes)
services = []               # (directory, ports)


def note(port, secret):
    """From now on this is a secret of the service at this port."""
    secret = secret.encode("latin-1", "replace") if isinstance(secret, str) else secret
    secret = SCHEME.sub(b"", secret).strip(b'"')
    if len(secret) >= MIN_BYTES:
        secrets[port].add(secret)


def note_sent(port, data):
    """Bytes of a request, or of its head."""
    for match in CARRIER.finditer(data):
        note(port, match[1])


def note_headers(port, headers):
    note_sent(port, "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("utf-8", "replace"))


def note_reply(port, path, reply):
    """Tokens stand in the Location that hands them out and nowhere else."""
    token = TOKEN.search((reply["location"] or "").encode())
    if token:
        note(port, token[1])
    others = "".join(f"{name}: {value}\n" for name, value in reply.header_list if name != "location")
    if others:
        shown[port].append((f"the headers of {path}", others.encode()))
    if reply.status >= 400 or SHOWN.match(path or ""):
        shown[port].append((f"the body of {path}", reply.body))


def note_service(directory, config, variables):
    """A service that was started; the keys of its configuration and environment are secrets too."""
    addresses = [*config["listen"], *filter(None, [config.get("ops_listen")])]
    ports = {int(match[1]) for match in (re.search(r":(\d+)$", address) for address in addresses) if match}
    for port in ports:
        for upstream in config["upstreams"].values():
            note(port, upstream.get("api_key") or "")
        for name, value in variables.items():
            note(port, value if re.search("KEY|TOKEN|SECRET", name) else "")
    services.append((Path(directory), ports))


def spellings(secret):
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for shift in range(3):  # what of the base64 does not depend on the bytes around it
        text = base64.b64encode(b"\0" * shift + secret)
        inner = text[(0, 2, 3)[shift]:len(text) // 4 * 4 - 4]
        yield inner
        yield inner.translate(bytes.maketrans(b"+/", b"-_"))


def found_in(data, wanted):
    return {secret for secret in wanted if any(spelling in data for spelling in spellings(secret))}


def findings():
    """What stands where it must not: one line for each."""
    of_directory = defaultdict(set)
    for directory, ports in services:
        of_directory[directory] |= ports
    for directory, ports in of_directory.items():
        wanted = set().union(*(secrets[port] for port in ports))
        for port in ports:  # one search in all of it, as there is much and nothing to be found
            for secret in found_in(b"\n".join(data for _, data in shown[port]), wanted):
                places = {what for what, data in shown[port] if found_in(data, {secret})}
                yield f"{', '.join(sorted(places))} of {directory.name} show {secret!r}"
        for file in directory.rglob("*"):
            if file.is_file() and not file.is_symlink() and file.name not in NOT_SEARCHED:
                for secret in found_in(file.read_bytes(), wanted):
                    yield f"{file} holds {secret!r}"
