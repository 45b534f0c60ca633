"""Connections to a workload live on when its place in the registry changes: its inbound listener says
nothing of services or labels, the routes do, and these change without it."""
import http.client
import socket

import pytest

from mesh import DOMAIN, SERVICE_PORT
from mesh_tls import TlsMesh
from test_mixer import deny, mesh_config
from test_telemetry import service

pytestmark = pytest.mark.usefixtures("healthy")

ROUTE = f"inbound|{SERVICE_PORT}||"


@pytest.fixture(scope="module")
def mesh(net, apps, variant):
    m = TlsMesh(net, apps.tmp, apps, mixer=True, protocol=variant)
    m.client, m.server = m.workload("client"), m.workload("server", listed=False)
    m.apply("mesh", [mesh_config(m, False)])
    m.apply("rule", deny('destination.labels["tier"] == "closed"'))
    m.apply("place", [entry(m, "front")])
    m.start()
    m.eventually(lambda: m.client.get("front").status == 200, timeout=30)
    yield m
    m.stop()


def entry(mesh, name, **labels):
    s = service(name, [{"number": SERVICE_PORT, "name": "http"}], mesh.server.outer)
    s["spec"]["endpoints"][0].update(serviceAccount="server", labels={
        **mesh.server.labels, "security.istio.io/tlsMode": "istio", **labels})
    return s


def operation(mesh):
    """What the server's own proxy calls a request to it."""
    hosts = mesh.server.envoy.resources("route")[ROUTE]["virtual_hosts"]
    return hosts[0]["routes"][0]["decorator"]["operation"]


def listeners(mesh):
    """{name: version} of the server's proxy."""
    return {x["name"]: x["active_state"]["version_info"]
            for section in mesh.server.envoy.dump().get("configs", [])
            for x in section.get("dynamic_listeners", [])}


class Stream:
    """An answer that never ends, of the application behind the server's proxy."""

    def __init__(self, mesh, addr):
        ip, port = addr.split(":")
        self.c = http.client.HTTPConnection(ip, int(port), timeout=60)
        self.c.request("GET", "/stream?interval=50ms", headers={"host": f"front.default.{DOMAIN}"})
        self.answer = self.c.getresponse()
        assert self.answer.status == 200
        mesh.streams.append(self)

    def goes_on(self):
        return all(self.answer.readline() for _ in range(3))


class WebSocket:
    """A WebSocket to the application that sends back what it gets."""

    def __init__(self, mesh, addr):
        ip, port = addr.split(":")
        self.s = socket.create_connection((ip, int(port)), 60)
        self.s.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       b"Sec-WebSocket-Version: 13\r\n"
                       b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        self.f = self.s.makefile("rb")
        assert b" 101 " in self.f.readline()
        while self.f.readline() != b"\r\n":
            pass
        mesh.streams.append(self)

    def goes_on(self):
        self.s.sendall(b"\x81\x82\0\0\0\0hi")  # one frame, masked with zeros
        return self.f.read(4) == b"\x81\x02hi"


def test_streams_live_on(mesh):
    mesh.streams = []
    Stream(mesh, mesh.client.outbound)  # through both proxies, mutual TLS
    Stream(mesh, mesh.server.inbound)
    WebSocket(mesh, mesh.server.inbound)
    mesh.eventually(lambda: operation(mesh) == f"front.default.{DOMAIN}:{SERVICE_PORT}/*", timeout=30)
    before = listeners(mesh)
    assert f"{mesh.server.outer}_{SERVICE_PORT}" in before
    changed = mesh.server.envoy.stat("listener_manager.listener_modified")

    def unharmed(what):
        assert listeners(mesh) == before, what
        assert mesh.server.envoy.stat("listener_manager.listener_modified") == changed, what
        assert all(s.goes_on() for s in mesh.streams), what
    unharmed("nothing happened yet")

    def named(host):
        mesh.eventually(lambda: operation(mesh) == f"{host}:{SERVICE_PORT}/*", timeout=60)
    # Joins another service, which comes first by name; leaves the first; leaves both; comes back.
    mesh.apply("place", [entry(mesh, "front"), entry(mesh, "also")])
    named(f"also.default.{DOMAIN}")
    unharmed("it joined a service")
    mesh.apply("place", [entry(mesh, "front")])
    named(f"front.default.{DOMAIN}")
    unharmed("it left a service")
    gone = entry(mesh, "front")
    gone["spec"]["endpoints"] = []
    mesh.apply("place", [gone])
    named("inbound")
    unharmed("it left every service")
    mesh.apply("place", [entry(mesh, "front")])
    named(f"front.default.{DOMAIN}")
    unharmed("it came back")
    # Mixer sees its labels as they are now.
    mesh.eventually(lambda: mesh.client.get("front").status == 200, timeout=60)
    mesh.apply("place", [entry(mesh, "front", tier="closed")])
    mesh.eventually(lambda: mesh.client.get("front").status == 403, timeout=60)
    unharmed("its labels changed")
    mesh.apply("place", [entry(mesh, "front")])
    mesh.eventually(lambda: mesh.client.get("front").status == 200, timeout=60)
    # Rules for its host.
    mesh.apply("vs", [{"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
                       "metadata": {"name": "front", "namespace": "default"},
                       "spec": {"hosts": [f"front.default.{DOMAIN}"], "http": [{
                           "headers": {"response": {"set": {"x-rule": "yes"}}},
                           "route": [{"destination": {"host": f"front.default.{DOMAIN}"}}]}]}}])
    mesh.eventually(lambda: mesh.client.get("front").headers.get("x-rule") == "yes", timeout=60)
    unharmed("a rule came")
