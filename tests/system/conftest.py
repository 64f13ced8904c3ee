"""Fixtures: one provider for all tests, a service per file, and more of them on demand."""
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from support import BINARY, SDK_OF, Provider, Service, alone, clean_environment  # noqa: E402

SDK = Path(__file__).parent / "sdk"
NODE = SDK / "node_modules/.bin/node"
LOCK, INSTALLED = SDK / "package-lock.json", SDK / "node_modules/.package-lock.json"


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes a minute of its own (leave out with -m 'not long')")


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
def sdk():
    """Runs jobs with the official SDK of a route: sdk(service, route, jobs) -> results."""
    with alone("sdk"):
        if not INSTALLED.exists() or INSTALLED.stat().st_mtime < LOCK.stat().st_mtime:  # npm's last write
            if not shutil.which("npm"):
                pytest.skip("npm is needed for the official SDKs")
            subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=SDK, check=True, timeout=300)

    def run(service, route, jobs, parallel=4):
        name, method, path = SDK_OF[route]
        order = {"sdk": name, "url": service.url + path, "parallel": parallel,
                 "jobs": [{"method": method + job.pop("how", ""), **job} for job in map(dict, jobs)]}
        done = subprocess.run([NODE, SDK / "jobs.mjs"], input=json.dumps(order), text=True,
                              capture_output=True, timeout=180, env=clean_environment())
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run
