"""The mesh configuration, changed while everything runs: what it says of headers, connections, the
PROXY protocol, and where inbound traffic goes."""
import socket

import pytest

from mesh import Mesh, Proxy
from netns import Loopback, Namespace, has, redirect
from servers import Http, Says, Server
from util import http_request
from world import BaseWorld

pytestmark = pytest.mark.usefixtures("healthy")

API, DOMAIN = "networking.istio.io/v1", "default.svc.cluster.local"
GATEWAY_PORT = 8080


def mesh_config(**spec):
    return {"apiVersion": "mesh.istio.io/v1alpha1", "kind": "MeshConfig",
            "metadata": {"name": "default"}, "spec": spec}


def obj(kind, name, spec, **meta):
    return {"apiVersion": API, "kind": kind,
            "metadata": {"name": name, "namespace": "default", **meta}, "spec": spec}


class Names(Server):
    """Keeps the names of the headers as they arrive, and answers with Mixed-CASE."""

    def __init__(self, ip):
        self.seen, keep = [], self

        class Handler(Http):
            def do_GET(self):  # pylint: disable=invalid-name
                keep.seen = list(self.headers.keys())
                self.answer(X_AnSwer="yes")
        super().__init__((ip, 0), Handler)


class World(BaseWorld):
    def __init__(self, net, tmp, apps):
        m = self.mesh = Mesh(net, tmp, apps)
        self.client, self.server = m.workload("client"), m.workload("server")
        self.gateway = m.gateway()
        self.names = Names(net.ip())
        self.edge = f"{self.gateway.outer}:{GATEWAY_PORT}"
        m.apply("rules", [
            obj("ServiceEntry", "names", {
                "hosts": [f"names.{DOMAIN}"], "location": "MESH_INTERNAL", "resolution": "STATIC",
                "ports": [{"number": 9080, "name": "http"}],
                "endpoints": [{"address": self.names.ip, "ports": {"http": self.names.port}}]}),
            obj("Gateway", "edge", {"selector": {"istio": "ingressgateway"}, "servers": [{
                "port": {"number": GATEWAY_PORT, "name": "http", "protocol": "HTTP"},
                "bind": self.gateway.outer, "hosts": ["*"]}]}),
            obj("VirtualService", "edge", {"hosts": ["edge.example"], "gateways": ["edge"], "http": [
                {"rewrite": {"authority": "rewritten"},
                 "route": [{"destination": {"host": f"server.{DOMAIN}"}}]}]})])
        m.start()

    def after(self):
        self.settings()

    def settings(self, **spec):
        self.mesh.apply("mesh-config", [mesh_config(**spec)] if spec else [])

    def proxies(self, **config):
        self.settings(defaultConfig=config)

    def until(self, probe, what=""):
        return self.mesh.eventually(probe, timeout=60, what=what)

    def at_edge(self, **headers):
        """A request from outside; the headers that the server saw."""
        r = http_request(self.edge, headers={"host": "edge.example", **headers})
        assert r.status == 200, r
        return r.json()["headers"]

    def stop(self):
        super().stop()
        self.names.close()


@pytest.fixture(scope="module")
def world(net, tmp, apps):
    w = World(net, tmp, apps)
    yield w
    w.stop()


def test_headers_of_proxies(world):
    """Each changes running proxies, and goes away with the setting."""
    world.settings()
    plain = world.until(lambda: (r := world.client.get("server")).status == 200 and r)
    assert "x-envoy-attempt-count" in plain.json()["headers"]
    assert "x-envoy-upstream-service-time" in plain.headers
    assert "x-request-id" in plain.json()["headers"]
    world.proxies(proxyHeaders={"server": {"value": "ours"}, "attemptCount": {"disabled": True},
                                "envoyDebugHeaders": {"disabled": True}})

    def changed():
        r = world.client.get("server")
        return r.headers["server"] == "ours" and "x-envoy-upstream-service-time" not in r.headers and (
            "x-envoy-attempt-count" not in r.json()["headers"])
    world.until(changed, "the proxies say less of themselves")
    world.proxies(proxyHeaders={"requestId": {"disabled": True}})
    world.until(lambda: "x-request-id" not in world.client.get("server").json()["headers"])
    world.proxies(proxyHeaders={"server": {"disabled": True}})
    world.until(lambda: world.client.get("names").headers["server"].startswith("BaseHTTP"))
    world.settings()
    world.until(lambda: "x-envoy-attempt-count" in world.client.get("server").json()["headers"])


def test_names_keep_their_case(world):
    def names():
        r = world.client.get("names", headers={"X-MiXeD": "1"})
        return r.status == 200 and world.names.seen
    assert "x-mixed" in world.until(names)
    world.proxies(proxyHeaders={"preserveHttp1HeaderCase": True})
    world.until(lambda: "X-MiXeD" in names(), "the server sees the name as it was written")
    ip, port = world.client.outbound.split(":")
    with socket.create_connection((ip, int(port)), 10) as s:
        s.sendall(f"GET / HTTP/1.1\r\nHost: names.{DOMAIN}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: s.recv(65536), b""))
    assert b"X-AnSwer: yes" in answer, answer


def test_forwarded_headers_at_the_edge(world):
    seen = world.until(lambda: world.at_edge())
    assert "x-forwarded-host" not in seen and "x-forwarded-port" not in seen
    world.proxies(proxyHeaders={"xForwardedHost": {"enabled": True},
                                "xForwardedPort": {"enabled": True}})
    world.until(lambda: "edge.example" in world.at_edge().get("x-forwarded-host", "") and
                world.at_edge().get("x-forwarded-port") == str(GATEWAY_PORT))
    world.proxies(gatewayTopology={"forwardClientCertDetails": "ALWAYS_FORWARD_ONLY"},
                  proxyHeaders={"forwardedClientCert": "ALWAYS_FORWARD_ONLY"})
    claim = {"x-forwarded-client-cert": "By=spiffe://a/b"}
    world.until(lambda: world.at_edge(**claim).get("x-forwarded-client-cert") == claim[
        "x-forwarded-client-cert"], "the gateway and the sidecar believe who stands before them")
    world.proxies(proxyHeaders={"forwardedClientCert": "ALWAYS_FORWARD_ONLY"})
    world.until(lambda: "spiffe://a/b" not in world.at_edge(**claim).get("x-forwarded-client-cert", ""))


def test_proxy_protocol_at_the_edge(world):
    def ask():
        ip, port = world.edge.split(":")
        with socket.create_connection((ip, int(port)), 10) as s:
            s.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.8 1234 80\r\n"
                      b"GET / HTTP/1.1\r\nHost: edge.example\r\nConnection: close\r\n\r\n")
            return b"".join(iter(lambda: s.recv(65536), b""))
    assert b" 400 " in world.until(ask), "without the setting this is no HTTP"
    world.proxies(gatewayTopology={"proxyProtocol": {}})
    world.until(lambda: b'"192.0.2.7"' in ask(), "the address is the one that the header says")


def test_times_of_connections(world):
    world.proxies(connectionSettings={"httpMaxStreamDuration": "0.2s"})
    world.until(lambda: world.client.get("server", "/?delay=2s").status != 200,
                "a request may not take longer")
    world.settings()
    world.until(lambda: world.client.get("server", "/?delay=400ms").status == 200)


def test_what_has_no_effect_is_told(world):
    world.settings(rdsRefreshDelay="1s", ingressClass="istio",
                   defaultConfig={"parentShutdownDuration": "1s"})

    def told():
        notes = http_request(world.mesh.monitor["pilot"], "/debug/push_status").json()["notes"]
        return {n["path"]: n["note"] for n in notes if n["path"] in (
            "spec.rdsRefreshDelay", "spec.ingressClass", "spec.defaultConfig.parentShutdownDuration")}
    notes = world.until(lambda: len(told()) == 3 and told())
    assert "pushed" in notes["spec.rdsRefreshDelay"] and "Ingress" in notes["spec.ingressClass"]


def test_a_gateway_is_a_target(world):
    """targetRefs of Telemetry and EnvoyFilter: the proxies that the Gateway selects, and no others."""
    log = world.mesh.config.parent / "target.log"
    target = [{"group": "networking.istio.io", "kind": "Gateway", "name": "edge"}]
    world.settings(extensionProviders=[{"name": "file", "envoyFileAccessLog": {
        "path": str(log), "logFormat": {"text": "%UPSTREAM_CLUSTER% %REQ(:PATH)%"}}}])
    lua = "function envoy_on_response(h) h:headers():add('x-edge', 'yes') end"
    world.mesh.apply("targets", [
        {"apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry",
         "metadata": {"name": "edge", "namespace": "default"},
         "spec": {"targetRefs": target, "accessLogging": [{"providers": [{"name": "file"}]}]}},
        {**obj("EnvoyFilter", "edge", {"targetRefs": target, "configPatches": [{
            "applyTo": "HTTP_FILTER", "patch": {"operation": "INSERT_FIRST", "value": {
                "name": "edge", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
                    "default_source_code": {"inline_string": lua}}}}}]}),
         "apiVersion": "networking.istio.io/v1alpha3"}])

    def ask():
        return http_request(world.edge, "/edge", headers={"host": "edge.example"})
    world.until(lambda: ask().headers.get("x-edge") == "yes" and log.exists() and log.read_text())
    assert "x-edge" not in world.client.get("server", "/inside").headers
    assert ask().status == 200
    lines = log.read_text().splitlines()
    assert set(lines) == {f"outbound|9080||server.{DOMAIN} /edge"}, lines
    world.mesh.remove("targets")
    world.until(lambda: "x-edge" not in ask().headers)


# --- captured traffic ---

APP, OWN = "10.9.0.1", 8000


class Captured:
    """A sidecar in a network namespace of its own: connections to its workload's address are
    redirected to it. Two applications have the port, one on that address, one on loopback."""

    def __init__(self, tmp):
        self.ns = Namespace()
        tmp.mkdir()
        with self.ns:
            has(APP)
            redirect("ip saddr 127.0.0.6 accept",
                     f"ip daddr {APP} tcp dport {OWN} redirect to :15006")
            self.mesh = Mesh(Loopback(), tmp, None)
            proxy = Proxy(self.mesh, 1, "app", "delta", "default", {"app": "app"}, APP)
            self.mesh.gateways, self.envoy = [proxy], proxy.envoy
            self.servers = [Says((APP, OWN), "own"), Says(("127.0.0.1", OWN), "loopback")]
            self.mesh.apply("rules", [obj("ServiceEntry", "app", {
                "hosts": [f"app.{DOMAIN}"], "location": "MESH_INTERNAL", "resolution": "STATIC",
                "ports": [{"number": OWN, "name": "tcp"}], "endpoints": [{"address": APP}]})])
            self.mesh.start()

    def who(self):
        with self.ns, socket.create_connection((APP, OWN), 10) as s:
            s.settimeout(10)
            return s.recv(100)

    def through(self):
        with self.ns:
            return self.envoy.stat(f"cluster.inbound|{OWN}||.upstream_cx_total")

    def until(self, want, **spec):
        with self.ns:
            self.mesh.apply("mesh-config", [mesh_config(**spec)] if spec else [])
        self.mesh.eventually(lambda: self.who() == want, 60, f"{want} answers")

    def stop(self):
        with self.ns:
            self.mesh.stop()
        for s in self.servers:
            s.close()
        self.ns.close()


def test_inbound_policy(tmp):
    """The application behind a sidecar is at loopback, or at the address that was asked for."""
    c = Captured(tmp / "captured")
    try:
        c.until(b"loopback")
        before = c.through()
        assert before > 0, "it went through Envoy"
        c.until(b"own", inboundTrafficPolicy={"mode": "PASSTHROUGH"})
        assert c.through() > before
        c.until(b"loopback", inboundTrafficPolicy={"mode": "LOCALHOST"})
    finally:
        c.stop()
