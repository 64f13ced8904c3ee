"""The Debian package: what is in it, what linters say of it, and its life in a bare Debian 12."""
import json
import os
import re
import shutil
import signal
import subprocess

import pytest

from support import CHAT, ROOT, clean_environment, free_port, question, request, wait_until

pytestmark = pytest.mark.skipif("UNSTREAM_ALL" not in os.environ, reason="long: only with UNSTREAM_ALL (tests/run --all)")
UNIT = "lib/systemd/system/unstream.service"
EXPOSURE_MAX = 1.5  # of systemd-analyze security, which gives 10 to a service without a sandbox


def needs(program, package):
    return pytest.mark.skipif(not shutil.which(program), reason=f"{program} is missing: apt-get install {package}")


def run(*command, **options):
    """A command's output; its failure is the test's."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=500, env=clean_environment(), **options)
    assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="module")
def package():
    """The package, built as the README says."""
    for old in (ROOT / "build/release").glob("unstream_*.deb"):
        old.unlink()
    run("cmake", "--workflow", "--preset", "package", cwd=ROOT)
    [deb] = (ROOT / "build/release").glob("unstream_*.deb")
    return deb


@pytest.fixture(scope="module")
def unpacked(package, tmp_path_factory):
    directory = tmp_path_factory.mktemp("package")
    run("dpkg-deb", "-x", package, directory)
    return directory


def test_it_depends_on_what_the_binary_links(package):
    depends = run("dpkg-deb", "-f", package, "Depends")
    names = set(re.findall(r"(?:^|, )([a-z0-9.+-]+)", depends))
    assert names == {"adduser", "ca-certificates", "libc6", "libcjson1", "libcurl4", "libmicrohttpd12",
                     "libsqlite3-0", "libssl3"}


def test_it_starts_without_keys_and_keeps_them_from_other_users(package, unpacked):
    assert run("dpkg-deb", "-I", package, "conffiles").split() == [
        "/etc/unstream/environment", "/etc/unstream/unstream.json"]
    assert (unpacked / "etc/unstream/environment").stat().st_mode & 0o777 == 0o640
    set_there = [line for line in (unpacked / "etc/unstream/environment").read_text().splitlines()
                 if line and not line.startswith("#")]
    assert set_there == []
    printed = run(unpacked / "usr/bin/unstream", "--config", unpacked / "etc/unstream/unstream.json",
                  "--print-config")
    assert '"api_key": null' in re.sub(r'":\s+', '": ', printed) and '"sk-' not in printed


def test_its_program_is_hardened(unpacked):
    run(ROOT / "tests/check/hardening", unpacked / "usr/bin/unstream")


@needs("lintian", "lintian")
def test_lintian_finds_no_error_and_no_warning(package):
    found = run("lintian", "--allow-root", "--fail-on", "none", "--tag-display-limit", "0", package)
    assert not re.search("^[EW]:", found, re.MULTILINE), found


@needs("systemd-analyze", "systemd")
def test_the_units_are_valid_and_the_sandbox_is_tight(unpacked, tmp_path):
    unit, socket_unit = tmp_path / "unstream.service", tmp_path / "unstream.socket"
    text = (unpacked / UNIT).read_text()
    unit.write_text(text.replace("/usr/bin/unstream", f"{unpacked}/usr/bin/unstream"))
    shutil.copy(unpacked / "lib/systemd/system/unstream.socket", socket_unit)
    assert run("systemd-analyze", "verify", "--man=no", unit, socket_unit) == ""
    judged = run("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
    [exposure] = re.findall(r"Overall exposure level for unstream.service: ([0-9.]+)", judged)
    assert float(exposure) <= EXPOSURE_MAX, judged


# ---- its life

@pytest.fixture(scope="module")
def bookworm(package, tmp_path_factory):
    """A bare Debian 12 with the package's dependencies at hand; made once a day."""
    if os.geteuid() != 0:
        pytest.skip("a chroot needs root")
    if not shutil.which("mmdebstrap"):
        pytest.skip("mmdebstrap is missing: apt-get install mmdebstrap")
    cache = ROOT / "build/bookworm.tar"
    names = re.findall(r"(?:^|, )([a-z0-9.+-]+)", run("dpkg-deb", "-f", package, "Depends"))
    if not cache.exists() or cache.stat().st_mtime < package.stat().st_mtime - 86400:
        fetch = f'chroot "$1" apt-get -qq -y --download-only install {" ".join(names)}'
        run("mmdebstrap", "--variant=minbase", "--skip=cleanup/apt", f"--customize-hook={fetch}",
            "bookworm", cache.with_suffix(".new.tar"))
        cache.with_suffix(".new.tar").rename(cache)
    root = tmp_path_factory.mktemp("bookworm")
    run("tar", "-xf", cache, "-C", root, "--exclude=./dev/*")
    run("mknod", "-m", "666", root / "dev/null", "c", "1", "3")
    run("mknod", "-m", "666", root / "dev/urandom", "c", "1", "9")
    return root


def everything_in(root):
    """Files and directories, but for what apt, dpkg and adduser keep for themselves."""
    theirs = re.compile(r"/(var/(lib/(dpkg|apt|systemd)|cache|log)|run/adduser|etc/(g?shadow-|ld\.so\.cache))(/|$)")
    return {path for path in ("/" + str(item.relative_to(root)) for item in root.rglob("*")) if not theirs.match(path)}


def in_chroot(root, *command):
    return run("chroot", root, "/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
               "DEBIAN_FRONTEND=noninteractive", *command)


def serve_in(root, provider, trace):
    """Runs the service as its unit does, but for the port, and asks it something; then ends it.
    `trace`: the file that is told its system calls."""
    port = free_port()
    started = subprocess.Popen(
        ["strace", "-f", "-o", trace, "chroot", "--userspec=unstream:unstream", root, "/usr/bin/env", "-i",
         "STATE_DIRECTORY=/var/lib/unstream", f"UNSTREAM_LISTEN=127.0.0.1:{port}",
         f"UNSTREAM_OPENAI_BASE_URL={provider.url}/v1",
         "/usr/bin/unstream", "--config", "/etc/unstream/unstream.json"],
        stderr=subprocess.PIPE, text=True)

    def is_ready():
        assert started.poll() is None, started.stderr.read()
        try:
            return request(port, "GET", "/readyz").status == 200
        except OSError:
            return False

    try:
        wait_until(is_ready, "/readyz in the chroot")
        assert request(port, "GET", "/livez").status == 200
        reply = request(port, "POST", CHAT, json.dumps(question(CHAT, "packaged")),
                        {"Content-Type": "application/json", "Idempotency-Key": "packaged"})
    finally:
        [service] = re.findall(r'^(\d+) +execve\("/usr/bin/unstream"', trace.read_text(), re.MULTILINE)
        os.kill(int(service), signal.SIGTERM)
        _, log = started.communicate(timeout=30)
    assert started.returncode == 0, log
    return reply


def calls_in(trace):
    """The system calls of the service, without those of what starts it."""
    _, _, own = trace.read_text().partition('execve("/usr/bin/unstream"')
    return set(re.findall(r"^\d+ +(\w+)\(", own, re.MULTILINE))


def calls_allowed():
    """What SystemCallFilter of the unit lets through."""
    groups, group = {}, None
    for line in run("systemd-analyze", "syscall-filter").splitlines():
        word = line.strip()
        if line.startswith("@"):
            group = groups[word] = set()
        elif group is not None and word and not word.startswith("#"):
            group.add(word)

    def calls(name):
        return set().union(*(calls(word) if word.startswith("@") else {word} for word in groups[name]))

    allowed = set()
    for line in re.findall("^SystemCallFilter=(.*)$", (ROOT / "deploy/systemd/unstream.service").read_text(), re.MULTILINE):
        named = set().union(*map(calls, line.lstrip("~").split()))
        allowed = allowed - named if line.startswith("~") else allowed | named
    return allowed


@needs("strace", "strace")
@needs("systemd-analyze", "systemd")
def test_it_installs_serves_and_leaves_nothing_after_a_purge(bookworm, package, provider, tmp_path):
    root = bookworm
    in_chroot(root, "apt-get", "-qq", "-y", "install", "adduser", "ca-certificates")
    shutil.copy(package, root / "unstream.deb")
    before, users = everything_in(root), (root / "etc/passwd").read_text()
    groups = (root / "etc/group").read_text()
    in_chroot(root, "apt-get", "-qq", "-y", "--no-install-recommends", "install", "/unstream.deb")

    assert "/var/lib/unstream" in in_chroot(root, "getent", "passwd", "unstream")
    assert in_chroot(root, "stat", "-c", "%U:%G %a", "/var/lib/unstream") == "unstream:unstream 700\n"
    assert in_chroot(root, "stat", "-c", "%U %a", "/etc/unstream/environment") == "root 640\n"
    assert (root / "etc/systemd/system/multi-user.target.wants/unstream.service").is_symlink()
    assert (root / "lib/systemd/system/unstream.socket").exists()  # for who enables it
    assert not (root / "etc/systemd/system/sockets.target.wants/unstream.socket").exists()
    first = serve_in(root, provider, tmp_path / "trace")
    assert first.status == 200 and first["idempotency-status"] == "executed", first
    assert len(calls_in(tmp_path / "trace")) > 30
    assert calls_in(tmp_path / "trace") - calls_allowed() == set()
    assert in_chroot(root, "stat", "-c", "%U %a", "/var/lib/unstream/unstream.db").startswith("unstream ")

    in_chroot(root, "dpkg", "--remove", "unstream")
    assert (root / "var/lib/unstream/unstream.db").exists()  # until the purge
    in_chroot(root, "dpkg", "--install", "/unstream.deb")
    again = serve_in(root, provider, tmp_path / "trace")
    assert again["idempotency-status"] == "replayed" and again.body == first.body, again
    in_chroot(root, "dpkg", "--purge", "unstream")
    in_chroot(root, "apt-get", "-qq", "-y", "autoremove", "--purge")
    assert everything_in(root) - before == set()
    assert (root / "etc/passwd").read_text() == users and (root / "etc/group").read_text() == groups
