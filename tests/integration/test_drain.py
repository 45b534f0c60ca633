"""Graceful drain by the agent, with Pilot's listeners and mutual TLS: when a listener changes
(--drain-duration), and when the agent is told to end (--drain)."""
import http.client
import signal
import time

import pytest

from mesh_tls import TlsMesh
from test_telemetry import DOMAIN, mesh_config
from util import http_request, wait_for

pytestmark = pytest.mark.usefixtures("healthy")

CHANGED_S, ENDING_S = 5, 120
HOST = {"host": f"server.{DOMAIN}"}


@pytest.fixture(scope="module")
def mesh(net, tmp, apps):
    m = TlsMesh(net, tmp, apps)
    m.client, m.server = m.workload("client"), m.workload("server")
    m.client.agent_flags = ["--drain-duration", f"{CHANGED_S}s"]
    m.server.agent_flags = ["--drain", f"{ENDING_S}s"]
    m.start()
    m.eventually(lambda: m.client.get("server").status == 200, timeout=30)
    yield m
    m.stop()


def connection(addr):
    ip, port = addr.split(":")
    c = http.client.HTTPConnection(ip, int(port), timeout=60)
    c.connect()
    return c


def ask(c, path="/"):
    """(status, told to close); raises when the connection has gone."""
    c.request("GET", path, headers=HOST)
    r = c.getresponse()
    r.read()
    return r.status, r.headers.get("connection") == "close"


def test_changed_listener(mesh):
    """What is under way goes on for the drain's duration and no longer; a connection that is kept is
    asked to close with an answer; new ones find the new listener."""
    stream = connection(mesh.client.outbound)
    stream.request("GET", "/stream?interval=50ms", headers=HOST)
    lines = stream.getresponse()
    assert lines.status == 200 and lines.readline()
    kept = connection(mesh.client.outbound)
    assert ask(kept) == (200, False)
    log = mesh.config.parent / "drain.log"
    start = time.monotonic()
    mesh.apply("mesh", [mesh_config(accessLogFile=str(log), accessLogFormat="%REQ(:PATH)%")])
    mesh.eventually(lambda: ask(kept) == (200, True), timeout=60,
                    what="the kept connection is asked to close")
    assert ask(connection(mesh.client.outbound)) == (200, False), "a new one is not"
    try:
        while lines.readline():
            pass
    except (http.client.HTTPException, OSError):
        pass  # an end without the last chunk
    assert time.monotonic() - start >= CHANGED_S, "it was cut before its time"
    assert mesh.client.get("server").status == 200


def test_agent_ends(mesh):
    """The request that runs is answered, and every other is too until then, with the wish to close;
    nothing waits for the rest of the time."""
    agent, addr = mesh.server.envoy.process, mesh.server.inbound
    kept, running = connection(addr), connection(mesh.client.outbound)
    assert ask(kept) == (200, False)
    running.putrequest("POST", "/half", skip_host=True)
    for name, value in {**HOST, "content-length": "6"}.items():
        running.putheader(name, value)
    running.endheaders(b"one")
    wait_for(lambda: mesh.server.envoy.stat(
        f"http.inbound_{addr.replace(':', '_')}.downstream_rq_active") >= 1, 30)
    agent.proc.send_signal(signal.SIGTERM)
    agent.expected_exit = True
    wait_for(lambda: http_request(mesh.server.envoy.health, "/healthz/ready").status == 503, 30)
    assert ask(kept) == (200, True)
    try:
        assert ask(connection(addr)) == (200, True)
    except OSError:
        pass  # refused is as good
    running.send(b"two")
    r = running.getresponse()
    assert r.status == 200 and r.read()
    assert agent.proc.wait(ENDING_S / 2) == 0
    assert "drained" in agent.log()
    assert "connections are left" not in agent.log(), "it ended when there was nothing left to wait for"
    mesh.server.envoy.start()
    mesh.server.wait_ready(60)
    mesh.eventually(lambda: mesh.client.get("server").status == 200, timeout=60)
