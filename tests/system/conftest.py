"""Fixtures: one provider for all tests, a service per file, and more of them on demand."""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import leaks  # noqa: E402
from support import BINARY, SANITIZER, SDK_OF, Provider, Service, alone, clean_environment  # noqa: E402

SDK = Path(__file__).parent / "sdk"
NODE = SDK / "node_modules/.bin/node"


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes a minute of its own (leave out with -m 'not long')")


@pytest.fixture(scope="session", autouse=True)
def no_secret_stands_anywhere():
    """After everything has ended: what all the tests together left behind."""
    yield
    found = list(leaks.findings())
    assert not found, "\n".join(found[:50])


@pytest.fixture(scope="session", autouse=True)
def no_sanitizer_complains():
    """Of a service whose end its test did not look at, too."""
    yield
    logs = {log for directory, _ in leaks.services for log in directory.glob("log-*")}
    bad = [log for log in sorted(logs) if SANITIZER.search(log.read_text(errors="replace"))]
    assert not bad, f"{bad}\n{bad[0].read_text(errors='replace')}"


@pytest.fixture(scope="session")
def provider():
    provider = Provider()
    yield provider
    provider.stop()


@pytest.fixture(scope="session")
def binary():
    assert BINARY.exists(), f"{BINARY} is not built (UNSTREAM_BINARY names another one)"
    return BINARY


@pytest.fixture(scope="module")
def service(request, provider, binary, tmp_path_factory):
    """The service of a test file; its module may lay a CONFIG over the usual configuration."""
    overrides = getattr(request.module, "CONFIG", {})
    service = Service(provider, tmp_path_factory.mktemp("service"), overrides)
    yield service
    service.stop()


@pytest.fixture
def launch(provider, binary, tmp_path):
    """Starts further services: launch({...overrides...}, directory=None, and what Service takes)."""
    services = []

    def start(overrides=None, directory=None, **members):
        directory = directory or tmp_path / f"service-{len(services)}"
        services.append(Service(provider, directory, overrides, **members))
        return services[-1]

    start.services = services
    yield start
    for service in services:
        if service.process.poll() is None:
            service.stop()


@pytest.fixture(scope="session")
def npm_install():
    """Gets the locked packages of a folder, unless they are there: npm_install(folder, *options)."""
    def install(folder, *options):
        lock, installed = folder / "package-lock.json", folder / "node_modules/.package-lock.json"  # npm's last write
        with alone(folder.name):
            if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
                return
            if not shutil.which("npm"):
                pytest.skip(f"npm is needed for the packages of {folder.name}")
            subprocess.run(["npm", "ci", "--no-audit", "--no-fund", *options], cwd=folder, check=True, timeout=300)

    return install


@pytest.fixture(scope="session")
def sdk(npm_install):
    """Runs jobs with the official SDK of a route: sdk(service, route, jobs) -> results."""
    npm_install(SDK)

    def run(service, route, jobs, parallel=4):
        name, method, path = SDK_OF[route]
        order = {"sdk": name, "url": service.url + path, "parallel": parallel,
                 "jobs": [{"method": method + job.pop("how", ""), **job} for job in map(dict, jobs)]}
        done = subprocess.run([NODE, SDK / "jobs.mjs"], input=json.dumps(order), text=True,
                              capture_output=True, timeout=180, env=clean_environment())
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="session")
def promtool(tmp_path_factory):
    """The tool; with UNSTREAM_ALL from Debian's package, without installing its daemon."""
    if path := shutil.which("promtool"):
        return path
    if "UNSTREAM_ALL" not in os.environ:
        pytest.skip("promtool is missing: it is fetched with UNSTREAM_ALL (tests/run --all)")
    directory = tmp_path_factory.mktemp("prometheus")
    subprocess.run(["apt-get", "-q", "download", "prometheus"], cwd=directory, check=True, timeout=300)
    [package] = directory.glob("prometheus_*.deb")
    subprocess.run(["dpkg-deb", "-x", package, directory], check=True, timeout=60)
    return directory / "usr/bin/promtool"
