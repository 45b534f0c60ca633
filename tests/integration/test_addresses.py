"""Captured connections, in a network namespace of the test's own: services by address, by block and by
where a connection was going, in both address families. In both protocol variants."""
import http.client
import json
import socket
import socketserver
import ssl
import subprocess

import pytest

from mesh import DOMAIN, Mesh, Proxy
from mesh_tls import make_ca, make_cert
from netns import Loopback, Namespace, has, proto, redirect
from routes import obj
from servers import Backend, Says, Server, tls_context
from util import http_request

TCP, HTTP, GATEWAY = 7000, 7080, 8080
CLIENT = {4: "10.77.0.1", 6: "fd77::1"}  # what comes from here is captured
PROXY = {4: "10.77.0.2", 6: "fd77::2"}
EDGE = {4: "10.77.0.3", 6: "fd77::3"}
SERVICES = {4: "240.0.0.0/8", 6: "fd88::/16"}


def prepare():
    """Addresses, and capture: everything from the client's to where services are."""
    for pair in (CLIENT, PROXY, EDGE):
        has(*pair.values())
    for version, to in SERVICES.items():
        # What does not say where it comes from, the proxy's own above all, is not the client.
        subprocess.run(["ip", f"-{version}", "route", "add", to, "dev", "lo", "src", PROXY[version]],
                       check=True)
    redirect(*(f"{proto(to)} saddr {CLIENT[version]} {proto(to)} daddr {to} "
               "meta l4proto tcp redirect to :15001" for version, to in SERVICES.items()))


class World:
    """Everything but the object is made inside of the namespace."""

    def __init__(self, tmp, protocol):
        self.tmp, self.servers = tmp, []
        self.ns = Namespace()
        with self.ns:
            prepare()
            m = self.mesh = Mesh(Loopback(), tmp, None, protocol=protocol)
            m.gateways = [Proxy(m, i, name, protocol, "default", {"app": name},
                                ",".join(ips.values()), kind=kind)
                          for i, (kind, name, ips) in enumerate(
                              (("sidecar", "captured", PROXY), ("router", "edge", EDGE)), 1)]
            self.apply()
            m.start()

    def apply(self, *objects, mode="REGISTRY_ONLY"):
        """The rules of a test; what no service has is refused, unless it says otherwise."""
        self.mesh.apply("rules", [{
            "apiVersion": "mesh.istio.io/v1alpha1", "kind": "MeshConfig",
            "metadata": {"name": "default"}, "spec": {"outboundTrafficPolicy": {"mode": mode}}},
            *objects])

    def says(self, name, address=None, port=0, path=None):
        s = Says(path or (address, port), name)
        self.servers.append(s)
        return s

    def web(self, name, address):
        s = Backend((address, 0), name)
        self.servers.append(s)
        return s

    def clear(self):
        for s in self.servers:
            s.close()
        self.servers = []

    def stop(self):
        with self.ns:
            self.clear()
            self.mesh.stop()
        self.ns.close()

    def reach(self, address, port=TCP, timeout=10):
        """What a captured connection hears; "" when it is closed."""
        version = 6 if ":" in address else 4
        with socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET) as s:
            s.settimeout(timeout)
            s.bind((CLIENT[version], 0))
            s.connect((address, port))
            try:
                return s.recv(100).decode()
            except ConnectionResetError:
                return ""

    def names(self, address, n=12, **kw):
        return {self.reach(address, **kw) for _ in range(n)}

    def expect(self, address, *names, what, **kw):
        """All of some connections reach these, and each of these is reached."""
        def all_of_them():
            got = not_refused(lambda: self.names(address, **kw))
            assert got == set(names), got
            return True
        self.mesh.eventually(all_of_them, 20, what=what)

    def get(self, address, host, port=HTTP):
        """(status, the answer) of a captured request."""
        version = 6 if ":" in address else 4
        conn = http.client.HTTPConnection(address, port, timeout=10,
                                          source_address=(CLIENT[version], 0))
        try:
            conn.request("GET", "/", headers={"host": host})
            r = conn.getresponse()
            body = r.read()
            return r.status, json.loads(body)["name"] if r.status == 200 else None
        finally:
            conn.close()


def not_refused(f):
    try:
        return f()
    except OSError as e:
        return repr(e)


def entry(name, addresses, endpoints, resolution="STATIC", tcp=TCP, http_port=None, **spec):
    """endpoints: {address: {"tcp": port, "http": port}}, a list of addresses, or None."""
    ports = [{"number": tcp, "name": "tcp", "protocol": "TCP"}]
    if http_port:
        ports.append({"number": http_port, "name": "http", "protocol": "HTTP"})
    more = {}
    if endpoints is not None:
        more = {"endpoints": [{"address": a, **({"ports": p} if p else {})}
                              for a, p in endpoints.items()]}
    return obj("ServiceEntry", name, {
        "hosts": [f"{name}.default.{DOMAIN}"], "addresses": addresses, "location": "MESH_INTERNAL",
        "resolution": resolution, "ports": ports, **more, **spec})


@pytest.fixture(scope="module", params=["delta", "sotw"])
def world(request, tmp):
    tmp = tmp / request.param
    tmp.mkdir()
    w = World(tmp, request.param)
    yield w
    w.stop()


@pytest.fixture(autouse=True)
def inside(request, world):
    with world.ns:
        yield
        world.clear()
        if getattr(request.node, "failed", False):
            print(world.mesh.logs())
        world.mesh.check()


def test_a_service_of_both_families(world):
    """Addresses and endpoints of IPv4 and IPv6: each address leads to all endpoints, for TCP and HTTP."""
    four, six = has("10.77.1.1"), has("fd77:1::1")
    ports = {a: {"tcp": world.says(n, a).port, "http": world.web(n, a).port}
             for n, a in (("four", four), ("six", six))}
    both = entry("both", ["240.1.0.1", "fd88:1::1"], ports, http_port=HTTP)
    world.apply(both)
    for vip in ("240.1.0.1", "fd88:1::1"):
        world.expect(vip, "four", "six", what=f"both by {vip}")
        got = world.mesh.eventually(
            lambda vip=vip: {world.get(vip, f"both.default.{DOMAIN}") for _ in range(12)}, 20)
        assert got == {(200, "four"), (200, "six")}, got
    # One that is of one family alone is reached by either address too.
    world.apply(entry("both", ["240.1.0.1", "fd88:1::1"], {six: ports[six]}, http_port=HTTP))
    for vip in ("240.1.0.1", "fd88:1::1"):
        world.expect(vip, "six", what=f"the other family by {vip}")


def test_blocks_of_addresses(world):
    """A block is every address in it; a narrower one, and a single address, come first."""
    at = has("10.77.2.1")
    wide, narrow, one = (world.says(n, at).port for n in ("wide", "narrow", "one"))
    world.apply(entry("wide", ["240.8.0.0/16", "fd88:8::/32"], {at: {"tcp": wide}}),
                entry("narrow", ["240.8.4.0/24", "fd88:8:4::/48"], {at: {"tcp": narrow}}),
                entry("one", ["240.8.4.7", "fd88:8:4::7"], {at: {"tcp": one}}))
    for address, name in (("240.8.0.1", "wide"), ("240.8.255.9", "wide"), ("fd88:8:1::1", "wide"),
                          ("240.8.4.6", "narrow"), ("fd88:8:4::6", "narrow"), ("240.8.4.7", "one"),
                          ("fd88:8:4::7", "one")):
        world.expect(address, name, what=f"{address} is {name}")


def test_where_a_connection_was_going(world):
    """Resolution NONE: on to the address that was asked for; others of the block to theirs."""
    for a in ("240.7.0.5", "240.7.0.6", "fd88:7::5"):
        world.says(a, has(a), TCP)
    world.apply(entry("where", ["240.7.0.0/16", "fd88:7::/32"], None, "NONE"))
    for a in ("240.7.0.5", "240.7.0.6", "fd88:7::5"):
        world.expect(a, a, what=f"on to {a}")


def test_what_nobody_knows(world):
    """ALLOW_ANY lets it through, REGISTRY_ONLY does not."""
    for a in ("240.20.0.1", "fd88:20::1"):
        world.says(a, has(a), TCP)
    world.apply(mode="ALLOW_ANY")
    for a in ("240.20.0.1", "fd88:20::1"):
        world.expect(a, a, what=f"through to {a}")
    world.apply()
    for a in ("240.20.0.1", "fd88:20::1"):
        world.expect(a, "", what=f"{a} is closed")


def test_which_sidecar_rules_a_workload(world):
    """That of the root namespace, its namespace's, the one that selects it: the nearest alone. Its outbound
    policy beats the mesh's."""
    at = has("10.77.4.1")
    here = entry("here", ["240.4.0.1"], {at: {"tcp": world.says("here", at).port}})
    world.says("unknown", has("240.4.0.9"), TCP)

    def sidecar(name, namespace, hosts, select=False, mode=None):
        return obj("Sidecar", name, {
            **({"workloadSelector": {"labels": {"app": "captured"}}} if select else {}),
            "egress": [{"hosts": hosts}],
            **({"outboundTrafficPolicy": {"mode": mode}} if mode else {})}, namespace)
    root = sidecar("root", "istio-system", ["~/*"])
    space = sidecar("space", "default", ["./*"])
    mine = sidecar("mine", "default", ["~/*"], select=True, mode="ALLOW_ANY")
    for objects, known, unknown in (([], "here", ""), ([root], "", ""), ([root, space], "here", ""),
                                    ([root, space, mine], "", "unknown")):
        world.apply(here, *objects)
        if known:
            world.expect("240.4.0.1", known, what=f"{len(objects)} Sidecars: known")
        world.expect("240.4.0.9", unknown, what=f"{len(objects)} Sidecars: unknown")
        if not known and not unknown:
            world.expect("240.4.0.1", "", what=f"{len(objects)} Sidecars: nothing known")


def test_names_and_sockets(world):
    """Resolution DNS over TCP: all addresses of the name, of both families; DNS_ROUND_ROBIN: the one that
    answers; a Unix socket."""
    path = world.tmp / "app.sock"
    path.unlink(missing_ok=True)
    world.says("socket", path=path)
    four = world.says("four", "127.0.0.1")
    only_six = world.says("six", "::1")
    world.says("six", "::1", four.port)

    def named(name, address, port, resolution):
        return entry(name, [address], {"localhost": {"tcp": port}}, resolution)
    world.apply(named("named", "240.1.0.2", four.port, "DNS"),
                named("robin", "240.1.0.3", only_six.port, "DNS_ROUND_ROBIN"),
                entry("socket", ["240.1.0.4"], {f"unix://{path}": None}))
    world.expect("240.1.0.2", "four", "six", what="both addresses of the name")
    world.expect("240.1.0.3", "six", what="the address that answers")
    world.expect("240.1.0.4", "socket", what="the socket")


class Secure(Server):
    """A TLS server that says which name it was asked for."""

    def __init__(self, where, cert):
        context, asked = tls_context(cert), {}
        context.sni_callback = lambda sock, name, _: asked.__setitem__(sock, name)

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                with context.wrap_socket(self.request, server_side=True) as s:
                    s.sendall(str(asked.pop(s, None)).encode())
                    s.unwrap()
        super().__init__(where, Handler)


def test_names_that_tls_asks_for(world):
    """DYNAMIC_DNS on a TLS port: wherever a connection was going, it goes to its server name; by a rule
    that leads there too."""
    port, ca = 9443, make_ca(world.tmp / "ca")
    nobody = has("240.5.0.1")
    cert = make_cert(world.tmp / "cert", "far", ca, ["a.localhost", "b.localhost", "c.example"])
    for address in ("127.0.0.1", "::1"):
        world.servers.append(Secure((address, port), cert))

    def tls_entry(name, host, resolution):
        return obj("ServiceEntry", name, {
            "hosts": [host], "location": "MESH_EXTERNAL", "resolution": resolution,
            "ports": [{"number": port, "name": "tls", "protocol": "TLS"}]})
    world.apply(tls_entry("wild", "*.localhost", "DYNAMIC_DNS"))
    context = ssl.create_default_context(cafile=str(ca[0]))

    def asks(name):
        with socket.socket(socket.AF_INET) as s:
            s.settimeout(10)
            s.bind((CLIENT[4], 0))
            s.connect((nobody, port))
            with context.wrap_socket(s, server_hostname=name) as tls:
                return tls.recv(100).decode()
    for name in ("a.localhost", "b.localhost"):
        world.mesh.eventually(lambda name=name: not_refused(lambda: asks(name)) == name, 20,
                              what=f"to {name}")
    with pytest.raises(OSError):
        asks("c.example")  # no service has it
    # A service that goes on to where the connection was going (nobody is there), and a rule to the other.
    door = tls_entry("door", "b.localhost", "NONE")
    world.apply(tls_entry("wild", "*.localhost", "DYNAMIC_DNS"), door)
    world.mesh.eventually(lambda: "b.localhost" != not_refused(lambda: asks("b.localhost")), 20,
                          what="the nearer name")
    world.apply(tls_entry("wild", "*.localhost", "DYNAMIC_DNS"), door,
                obj("VirtualService", "door", {"hosts": ["b.localhost"], "tls": [
                    {"match": [{"sniHosts": ["b.localhost"]}],
                     "route": [{"destination": {"host": "*.localhost"}}]}]}))
    world.mesh.eventually(lambda: not_refused(lambda: asks("b.localhost")) == "b.localhost", 20,
                          what="by the rule")


def test_a_gateway_of_both_families(world):
    """A server without an address is open to both."""
    at = has("fd77:3::1")
    port = world.web("shop", at).port
    world.apply(
        entry("shop", ["240.1.0.5"], {at: {"http": port}}, http_port=HTTP),
        obj("Gateway", "edge", {"selector": {"app": "edge"}, "servers": [
            {"port": {"number": GATEWAY, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]}),
        obj("VirtualService", "shop", {"hosts": ["shop.example.com"], "gateways": ["edge"], "http": [
            {"route": [{"destination": {"host": "shop", "port": {"number": HTTP}}}]}]}))

    def asks(address):
        r = http_request(f"{address}:{GATEWAY}", headers={"host": "shop.example.com"})
        return r.status == 200 and r.json()["name"] == "shop"
    for address in (EDGE[4], f"[{EDGE[6]}]"):
        world.mesh.eventually(lambda address=address: asks(address), 20, what=f"by {address}")
