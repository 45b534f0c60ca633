"""What a proxy knows and how it is let in: the scope of a Sidecar, who exports what to whom, Unix sockets on
both sides, pools of what comes in, weights and ports of a ServiceEntry, hosts and protocols of a gateway.
Seen by traffic, once in each protocol variant."""
import collections
import http.client
import socket
import threading

import pytest

from grpc_echo import Caller
from mesh import APP_PORT, DOMAIN, GRPC_PORT, SERVICE_PORT, Mesh
from routes import obj, vs
from destinations import cluster_of
from servers import Backend
from util import http_request
from world import BaseWorld

pytestmark = pytest.mark.usefixtures("healthy")

SPACES = {"near": "default", "far": "other", "shy": "other", "kind": "other", "root": "istio-system"}


class Unixed(http.client.HTTPConnection):
    """A request over a Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(self.path)

    def ask(self, host, path="/"):
        try:
            self.request("GET", path, headers={"host": host})
            r = self.getresponse()
            return r.status, r.getheader("x-app-name")
        finally:
            self.close()


class World(BaseWorld):
    """client (with two more listeners, one of them a Unix socket), server (whose Sidecar limits what
    comes in), a service in each of some namespaces, a gateway."""

    def __init__(self, net, tmp, apps, protocol):
        m = self.mesh = Mesh(net, tmp, apps, protocol=protocol)
        self.net, self.tmp, self.apps = net, tmp, apps
        self.socket, self.app_socket = tmp / "out.sock", tmp / "in.sock"
        self.client = m.workload("client")
        self.client.more_egress.append({
            "port": {"protocol": "HTTP", "name": "sock"}, "bind": f"unix://{self.socket}",
            "captureMode": "NONE", "hosts": ["./*"]})
        self.server = m.workload("server", grpc=True)
        self.server.more_ingress.append({
            "port": {"number": 9090, "protocol": "HTTP", "name": "sock"}, "bind": self.server.outer,
            "captureMode": "NONE", "defaultEndpoint": f"unix://{self.app_socket}"})
        self.pools = {}
        self.server.sidecar_yaml = lambda own=self.server.sidecar_yaml: self.limited(own())
        self.app = {n: apps.echo(name=n) for n in SPACES}
        self.gateway = m.gateway()
        self.unix = Backend(self.app_socket, name="unix")
        m.apply("spaces", [self.service(n, ns, [self.app[n].addr]) for n, ns in SPACES.items()])
        m.start()

    def limited(self, doc):
        """The server's Sidecar with the pools of the test."""
        if "all" in self.pools:
            doc["spec"]["inboundConnectionPool"] = self.pools["all"]
        if "listener" in self.pools:
            doc["spec"]["ingress"][0]["connectionPool"] = self.pools["listener"]
        return doc

    def service(self, name, ns, addrs, number=SERVICE_PORT, target=None, **spec):
        at = [a.rsplit(":", 1) for a in addrs]
        shown = {"shy": ["."], "kind": ["default"]}.get(name)
        return obj("ServiceEntry", name, {
            "hosts": [f"{name}.{ns}.{DOMAIN}"], "location": "MESH_INTERNAL", "resolution": "STATIC",
            "ports": [{"number": number, "name": "http", "protocol": "HTTP",
                       **({"targetPort": target} if target else {})}],
            "endpoints": [{"address": ip, **({} if target else {"ports": {"http": int(port)}})}
                          for ip, port in at],
            **({"exportTo": shown} if shown else {}), **spec}, ns)

    def sidecars(self):
        """What is written in the workloads' Sidecars now."""
        self.mesh.apply("services", self.mesh.services_yaml())

    def known(self):
        """The services that the client reaches."""
        return {n for n, ns in SPACES.items()
                if self.client.get(f"{n}.{ns}.{DOMAIN}").status == 200}

    def stop(self):
        super().stop()
        self.unix.close()


@pytest.fixture(scope="module")
def world(net, apps, variant):
    w = World(net, apps.tmp, apps, variant)
    yield w
    w.stop()


def test_hosts_of_an_egress_listener(world):
    """NAMESPACE/HOST in every form; what is not exported to the client's namespace is in none."""
    w = world
    for hosts, want in ((["./*"], {"near"}), (["other/*"], {"far", "kind"}),
                        (["*/*"], {"near", "far", "kind", "root"}), (["~/*"], set()),
                        ([f"./near.default.{DOMAIN}", f"other/far.other.{DOMAIN}"], {"near", "far"}),
                        ([f"*/kind.other.{DOMAIN}"], {"kind"}), (["other/*.nowhere.example"], set()),
                        ([f"other/*.{DOMAIN}", "istio-system/*"], {"far", "kind", "root"})):
        w.client.egress_hosts = hosts
        w.sidecars()
        w.mesh.eventually(lambda want=want: w.known() == want, 20, what=f"{hosts}: {want}")
    w.client.egress_hosts = ["./*"]
    w.sidecars()


def test_unix_sockets(world):
    """An egress listener that is a Unix socket, and an application behind one."""
    w = world
    w.mesh.apply("rules", [w.service("behind", "default", [f"{w.server.outer}:9090"])])
    near = f"near.default.{DOMAIN}"
    w.mesh.eventually(lambda: Unixed(w.socket).ask(near) == (200, "near"), 20, what="out by a socket")
    assert Unixed(w.socket).ask(f"far.other.{DOMAIN}")[0] in (404, 502)
    got = w.mesh.eventually(lambda: w.client.get("behind").json(), 20, what="in by a socket")
    assert got == {"name": "unix"}


def overflow(w, n=6):
    """How many of some requests at once the server's proxy refuses."""
    replies = []
    threads = [threading.Thread(target=lambda: replies.append(
        w.client.get("server", "/?delay=1s"))) for _ in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    refused = [r for r in replies if r.status != 200]
    assert len(replies) == n and all(r.status == 503 and "overflow" in r.text for r in refused), replies
    return len(refused)


def test_pools_of_what_comes_in(world):
    """inboundConnectionPool of a Sidecar limits its workload; a listener's own connectionPool beats it."""
    w = world
    one = {"http": {"http2MaxRequests": 1}}

    def limit():
        doc = w.server.envoy.resources("cluster").get(f"inbound|{SERVICE_PORT}||", {})
        return doc.get("circuit_breakers", {}).get("thresholds", [{}])[0].get("max_requests")
    w.pools = {"all": one}
    w.sidecars()
    w.mesh.eventually(lambda: limit() == 1, 20, what="the Sidecar's pool")
    assert overflow(w) >= 1
    assert w.client.get("server").status == 200
    w.pools = {"all": one, "listener": {"http": {"http2MaxRequests": 100}}}
    w.sidecars()
    w.mesh.eventually(lambda: limit() == 100, 20, what="the listener's pool")
    assert overflow(w) == 0
    w.pools = {}
    w.sidecars()


def test_ports_and_weights_of_endpoints(world):
    """targetPort is where endpoints listen that do not say; weights share the requests."""
    w = world
    a, b = (w.apps.echo(name="heavy", version=v) for v in ("v1", "v2"))
    entry = w.service("heavy", "default", [a.addr, b.addr], number=SERVICE_PORT, target=APP_PORT)
    entry["spec"]["endpoints"][0]["weight"] = 3
    entry["spec"]["endpoints"][1]["weight"] = 1
    w.mesh.apply("rules", [entry, obj("DestinationRule", "heavy", {
        "host": "heavy", "trafficPolicy": {"loadBalancer": {"simple": "ROUND_ROBIN"}}})])
    w.mesh.eventually(lambda: w.client.get("heavy").status == 200 and "lb_policy" not in str(
        w.client.envoy.resources("cluster").get(cluster_of("heavy"))), 20)
    n = 400
    got = collections.Counter(w.client.get("heavy").headers["x-app-version"] for _ in range(n))
    # p = 3/4: five standard deviations are 43.
    assert abs(got["v1"] - 300) < 44, got


def test_whose_destination_rule(world):
    """The client's namespace's before the service's before the root's; what is not exported to the client
    is for others."""
    w = world

    def limit(namespace, n=None, export=None):
        return obj("DestinationRule", "far", {
            "host": f"far.other.{DOMAIN}", **({"exportTo": export} if export else {}),
            "trafficPolicy": {"connectionPool": {"http": {"maxRequestsPerConnection": n}} if n else {
                "tcp": {"maxConnections": 1000}}}}, namespace)

    def connections():
        replies = [w.client.get(f"far.other.{DOMAIN}") for _ in range(6)]
        assert all(r.status == 200 for r in replies), replies
        return len({r.json()["peer"] for r in replies})
    w.client.egress_hosts = ["*/*"]
    w.sidecars()
    for rules, want in (([limit("other", 1)], 6), ([limit("other", 1, ["."])], 1),
                        ([limit("istio-system", 1)], 6), ([limit("other", 1), limit("default")], 1),
                        ([limit("other"), limit("default", 1)], 6),
                        ([limit("other"), limit("istio-system", 1)], 1)):
        w.mesh.apply("rules", rules)
        w.mesh.eventually(lambda want=want: connections() == want, 20, what=f"{rules}: {want}")
    w.client.egress_hosts = ["./*"]
    w.sidecars()


def test_hosts_of_a_gateway_server(world):
    """NAMESPACE/HOST: virtual services of other namespaces are not let in."""
    w = world
    addr = f"{w.gateway.outer}:8080"

    def answer(name, host, ns):
        return vs(name, [{"directResponse": {"status": 200, "body": {"string": name}}}], ns,
                  hosts=[host], gateways=["default/edge"])
    w.mesh.apply("rules", [
        obj("Gateway", "edge", {"selector": {"istio": "ingressgateway"}, "servers": [
            {"port": {"number": 8080, "name": "http", "protocol": "HTTP"}, "bind": w.gateway.outer,
             "hosts": ["other/*.a.example", "./b.example", "*/c.example"]}]}),
        answer("other-a", "x.a.example", "other"), answer("default-a", "y.a.example", "default"),
        answer("default-b", "b.example", "default"), answer("other-b", "b.example", "other"),
        answer("other-c", "c.example", "other")])

    def ask(host):
        r = http_request(addr, headers={"host": host})
        return r.text if r.status == 200 else r.status
    w.mesh.eventually(lambda: ask("c.example") == "other-c", 20)
    assert ask("x.a.example") == "other-a" and ask("y.a.example") == 404
    assert ask("b.example") == "default-b"


def test_a_gateway_on_a_unix_socket(world):
    w = world
    path = w.tmp / "edge.sock"
    w.mesh.apply("rules", [
        obj("Gateway", "sock", {"selector": {"istio": "ingressgateway"}, "servers": [
            {"port": {"name": "http", "protocol": "HTTP"}, "bind": f"unix://{path}", "hosts": ["*"]}]}),
        vs("sock", [{"route": [{"destination": {"host": "near"}}]}], hosts=["sock.example"],
           gateways=["sock"])])
    w.mesh.eventually(lambda: Unixed(path).ask("sock.example") == (200, "near"), 20)


@pytest.mark.parametrize("protocol", ["GRPC", "HTTP2", "HTTP"])
def test_calls_through_a_gateway(world, protocol):
    """gRPC through a server of each protocol that can carry it."""
    w = world
    number = {"GRPC": 8081, "HTTP2": 8082, "HTTP": 8083}[protocol]
    w.mesh.apply("rules", [
        obj("Gateway", "calls", {"selector": {"istio": "ingressgateway"}, "servers": [
            {"port": {"number": number, "name": "p", "protocol": protocol}, "bind": w.gateway.outer,
             "hosts": ["calls.example"]}]}),
        vs("calls", [{"route": [{"destination": {"host": "server", "port": {"number": GRPC_PORT}}}]}],
           hosts=["calls.example"], gateways=["calls"])])
    caller = Caller(f"{w.gateway.outer}:{number}", "calls.example")

    def answered():
        return caller.code()[0].name == "OK"
    w.mesh.eventually(answered, 20, what="a call is answered")
    assert caller.unary()[:2] == (b"hello", "v1")
    assert len(caller.many(5)) == 5
    caller.channel.close()
