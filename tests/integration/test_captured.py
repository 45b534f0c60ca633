"""Captured connections, in a network namespace of the test's own: services by address, by block and by
where a connection was going, in both address families, through a real Envoy that iptables sends them
to. In both protocol variants."""
import http.client
import http.server
import json
import socket
import ssl
import subprocess
import threading

import pytest

from mesh import DOMAIN, Envoy, Mesh
from mesh_tls import make_ca, make_cert
from netns import Namespace
from routes import obj
from test_random import Loopback
from util import http_request, wait_for

TCP, HTTP, GATEWAY = 7000, 7080, 8080
CLIENT = {4: "10.77.0.1", 6: "fd77::1"}  # what comes from here is captured
PROXY = {4: "10.77.0.2", 6: "fd77::2"}
EDGE = {4: "10.77.0.3", 6: "fd77::3"}


def sh(*argv):
    subprocess.run(argv, check=True)


def has(address):
    """The namespace answers at this address."""
    v6 = ":" in address
    # At once: nobody else can have it, which the kernel would find out first for IPv6.
    sh("ip", *(["-6"] if v6 else []), "address", "add", f"{address}/{128 if v6 else 32}", "dev", "lo",
       *(["nodad"] if v6 else []))
    return address


def prepare():
    """Addresses, and capture: everything from the client's to where services are."""
    for pair in (CLIENT, PROXY, EDGE):
        for a in pair.values():
            has(a)
    for family, (tables, to) in {4: ("iptables", "240.0.0.0/8"), 6: ("ip6tables", "fd88::/16")}.items():
        # What does not say where it comes from, the proxy's own above all, is not the client.
        sh("ip", *(["-6"] if family == 6 else []), "route", "add", to, "dev", "lo", "src",
           PROXY[family])
        sh(tables, "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "-s", CLIENT[family], "-d", to, "-j",
           "REDIRECT", "--to-ports", "15001")


class Says:
    """A TCP server that says its name and ends; at an address and port, or a Unix socket."""

    def __init__(self, name, where):
        self.name = name
        if isinstance(where, tuple):
            v6 = ":" in where[0]
            self.server = socket.create_server(where, family=socket.AF_INET6 if v6 else
                                               socket.AF_INET)
            self.port = self.server.getsockname()[1]
        else:
            self.server = socket.socket(socket.AF_UNIX)
            self.server.bind(str(where))
            self.server.listen()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                conn, _ = self.server.accept()
            except OSError:
                return
            with conn:
                conn.sendall(self.name.encode())

    def close(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()


class Web:
    """An HTTP server that says its name."""

    def __init__(self, name, address):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):  # pylint: disable=invalid-name
                body = json.dumps({"name": name, "host": self.headers["host"]}).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def address_string(self):
                return "-"

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
            daemon_threads = True

        self.server = Server((address, 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Proxy:
    def __init__(self, mesh, kind, name, ips, number, **meta):
        self.name = name
        node = {"id": f"{kind}~{ips[4]}~{name}.default~default.svc.cluster.local", "cluster": name,
                "metadata": {"NAMESPACE": "default", "LABELS": {"app": name}, "CLUSTER_ID": "test",
                             "INSTANCE_IPS": ",".join(ips.values()), "WORKLOAD_NAME": name, **meta}}
        self.envoy = Envoy(name, node, mesh.xds_addr, f"127.77.1.{number}:15000", mesh.protocol,
                           mesh.tmp, drain_s=1)

    def start(self):
        self.envoy.start()
        return self

    def stop(self):
        self.envoy.stop()

    def wait_ready(self, timeout=30):
        wait_for(self.envoy.ready, timeout, what=f"{self.name} is ready")


class World:
    """Everything but the object is made inside of the namespace."""

    def __init__(self, tmp, protocol):
        self.tmp, self.servers = tmp, []
        self.ns = Namespace()
        with self.ns:
            prepare()
            m = self.mesh = Mesh(Loopback(), tmp, None, protocol=protocol)
            m.gateways = [Proxy(m, "sidecar", "captured", PROXY, 1, INTERCEPTION_MODE="REDIRECT"),
                          Proxy(m, "router", "edge", EDGE, 2)]
            self.apply()
            m.start()

    def apply(self, *objects, mode="REGISTRY_ONLY"):
        """The rules of a test; what no service has is refused, unless it says otherwise."""
        self.mesh.apply("rules", [{
            "apiVersion": "mesh.istio.io/v1alpha1", "kind": "MeshConfig",
            "metadata": {"name": "default"}, "spec": {"outboundTrafficPolicy": {"mode": mode}}},
            *objects])

    def says(self, name, address=None, port=0, path=None):
        s = Says(name, path or (address, port))
        self.servers.append(s)
        return s

    def web(self, name, address):
        s = Web(name, address)
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
        family = 6 if ":" in address else 4
        with socket.socket(socket.AF_INET6 if family == 6 else socket.AF_INET) as s:
            s.settimeout(timeout)
            s.bind((CLIENT[family], 0))
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
        family = 6 if ":" in address else 4
        conn = http.client.HTTPConnection(address, port, timeout=10,
                                          source_address=(CLIENT[family], 0))
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


class Secure:
    """A TLS server that says which name it was asked for."""

    def __init__(self, address, port, cert):
        self.asked = None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*[str(p) for p in cert])
        context.sni_callback = self.ask
        self.server = socket.create_server((address, port), family=socket.AF_INET6 if ":" in address
                                           else socket.AF_INET)
        threading.Thread(target=self.accept, args=(context,), daemon=True).start()

    def ask(self, _sock, name, _context):
        self.asked = name

    def accept(self, context):
        while True:
            try:
                conn, _ = self.server.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(conn, server_side=True) as s:
                    s.sendall(str(self.asked).encode())
                    s.unwrap()
            except OSError:
                pass

    def close(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()


def test_names_that_tls_asks_for(world):
    """DYNAMIC_DNS on a TLS port: wherever a connection was going, it goes to its server name; by a rule
    that leads there too."""
    port, ca = 9443, make_ca(world.tmp / "ca")
    nobody = has("240.5.0.1")
    cert = make_cert(world.tmp / "cert", "far", ca, ["a.localhost", "b.localhost", "c.example"])
    for address in ("127.0.0.1", "::1"):
        world.servers.append(Secure(address, port, cert))

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
