"""Fixtures of the integration tests; see mesh.py for the mesh."""
import pathlib
import shutil
import signal
import tempfile

import pytest

from edge import Edge
from util import APPS, Net, Process, http_request, wait_for


def pytest_configure(config):
    """SIGTERM ends the run as an interrupt does: fixtures end what they started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Fixtures can see how the test went: item.failed."""
    outcome = yield
    if outcome.get_result().failed:
        item.failed = True


@pytest.fixture(scope="module")
def net():
    n = Net()
    yield n
    n.release()


@pytest.fixture(scope="module")
def tmp(request):
    """A folder with a short path (Unix sockets go in it), kept when a test of the module failed."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="mt-"))
    before = request.session.testsfailed
    yield path
    if request.session.testsfailed == before and not any(path.rglob("FAULT")):
        shutil.rmtree(path, ignore_errors=True)
    else:
        print(f"\nlogs and state of {request.module.__name__}: {path}")


@pytest.fixture(scope="module", params=["delta", "sotw"])
def variant(request, tmp, apps):
    """Each protocol variant, in a folder of its own: apps.tmp."""
    apps.tmp = tmp / request.param
    apps.tmp.mkdir()
    return request.param


@pytest.fixture(scope="module")
def edge(net, tmp, apps):
    """A gateway with services behind it (edge.py)."""
    e = Edge(net, tmp, apps)
    yield e
    e.stop()


@pytest.fixture
def healthy(request):
    """For usefixtures: the mesh that a test has, or the world of one (world.py), is well after it. The
    logs when the test failed."""
    name = next((n for n in ("world", "edge", "plain", "mesh") if n in request.fixturenames), None)
    if name is None:
        yield
        return
    world = request.getfixturevalue(name)
    mesh = getattr(world, "mesh", world)
    if world is not mesh:
        world.before()
    yield
    if getattr(request.node, "failed", False):
        print(mesh.logs())
    if world is not mesh:
        world.after()
    mesh.check()


class Apps:
    """Starts sample applications and ends them with the module."""

    def __init__(self, net, tmp):
        self.net, self.tmp, self.running = net, tmp, []

    def start(self, name, *flags, label=None):
        p = Process(label or f"{name}-{len(self.running)}", [APPS / name, *flags], self.tmp)
        self.running.append(p.start())
        return p

    def echo(self, version="v1", name="echo", tcp=False, addr=None):
        """An echo server; its process, with .addr ("ip:port") and .tcp_addr."""
        ip = self.net.ip() if addr is None else None
        addr = addr or f"{ip}:8000"
        flags = ["--listen", addr, "--name", name, "--version", version]
        if tcp:
            flags += ["--tcp", f"{ip}:8001"]
        p = self.start("echo", *flags, label=f"{name}-{version}-{len(self.running)}")
        p.addr, p.tcp_addr = addr, f"{ip}:8001"
        p.stats = lambda: http_request(addr, "/stats").json()
        p.reset = lambda: http_request(addr, "/stats", method="DELETE")
        wait_for(lambda: p.check() or http_request(addr, "/healthz").status == 200,
                 what=f"{name} answers")
        return p

    def stop(self):
        for p in self.running:
            p.stop()


@pytest.fixture(scope="module")
def apps(net, tmp):
    a = Apps(net, tmp)
    yield a
    a.stop()
