"""What stands at the edges: gateways and their certificates, service entries, workload entries, what a
Sidecar lets a proxy know. With identities, seen at the backends and by clients outside."""
import json
import pathlib
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading

import pytest
import yaml

from mesh import SERVICE_PORT, load
from mesh_tls import TlsMesh, make_ca, make_cert
from servers import Backend, Server
from util import BIN, http_request, wait_for
from world import BaseWorld

pytestmark = pytest.mark.usefixtures("healthy")

API = "networking.istio.io/v1"


def obj(kind, name, spec, namespace="default", **meta):
    return {"apiVersion": API, "kind": kind,
            "metadata": {"name": name, "namespace": namespace, **meta}, "spec": spec}


def service(name, endpoints, host=None, resolution="STATIC", location="MESH_EXTERNAL",
            port=SERVICE_PORT, protocol="HTTP", **spec):
    return obj("ServiceEntry", name, {
        "hosts": [host or f"{name}.default.svc.cluster.local"], "location": location,
        "resolution": resolution,
        "ports": [{"number": port, "name": "p", "protocol": protocol}],
        **({"endpoints": endpoints} if endpoints is not None else {}), **spec})


class Edge(BaseWorld):
    """A gateway with two sample services behind it, and whoever comes from outside."""

    PORTS = {"http": 8080, "https": 8443, "tcp": 8444}

    def __init__(self, net, tmp, apps, protocol="delta"):
        m = self.mesh = TlsMesh(net, tmp, apps, protocol=protocol)
        self.net, self.tmp, self.apps = net, pathlib.Path(tmp), apps
        self.public = make_ca(self.tmp / "public", "Public root")
        self.partners = make_ca(self.tmp / "partners", "Partners' root")
        self.creds = self.tmp / "creds"
        self.creds.mkdir()
        self.client = m.workload("client")
        self.shop = m.workload("shop")
        self.stock = m.workload("stock")
        self.picky = m.workload("picky", egress_hosts=["./shop.default.svc.cluster.local"])
        self.db = m.workload("db", tcp=True)
        self.gw = m.gateway()
        self.gw.agent_flags = ["--credentials-dir", self.creds, "--file-cert-dir", self.creds]
        self.addr = {k: f"{self.gw.outer}:{p}" for k, p in self.PORTS.items()}
        self.more()
        m.start()
        m.eventually(lambda: self.client.get("shop").status == 200, timeout=20)

    def after(self):
        for f in self.mesh.config.iterdir():
            if f.name != "services.yaml":
                f.unlink()

    def more(self):
        """What else is there from the start, for who inherits."""

    def credential(self, name, hosts, ca=None):
        return make_cert(self.creds / name, name, ca or self.public, hosts)

    def server(self, name, kind, hosts, protocol=None, number=None, **tls):
        return {"port": {"number": number or self.PORTS[kind], "name": name,
                         "protocol": protocol or kind.upper()},
                "bind": self.gw.outer, "hosts": hosts, **({"tls": tls} if tls else {})}

    def gateway(self, name, *servers, **meta):
        return obj("Gateway", name, {"selector": {"istio": "ingressgateway"},
                                     "servers": list(servers)}, **meta)

    def routes(self, name, host, to, gateways=("edge",)):
        return obj("VirtualService", name, {
            "hosts": [host], "gateways": list(gateways),
            "http": [{"route": [{"destination": {"host": to}}]}]})

    def tls(self, host, client=None, roots=None, version=None):
        """A TLS connection to the gateway's HTTPS port: (socket, name in the certificate)."""
        ctx = ssl.create_default_context(cafile=str((roots or self.public)[0]))
        if client:
            ctx.load_cert_chain(*[str(p) for p in client])
        if version:
            ctx.minimum_version = ctx.maximum_version = version
        ip, port = self.addr["https"].split(":")
        s = ctx.wrap_socket(socket.create_connection((ip, int(port)), timeout=10),
                            server_hostname=host)
        return s, dict(x[0] for x in s.getpeercert()["subject"])["commonName"]

    def https(self, host, path="/", **kw):
        """(name in the certificate, status, the echo's answer)"""
        s, name = self.tls(host, **kw)
        with s:
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            data = b""
            while chunk := s.recv(65536):
                data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        return name, int(head.split()[1]), body

    def serial(self, host):
        s, _ = self.tls(host)
        with s:
            return s.getpeercert()["serialNumber"]


@pytest.fixture(scope="module")
def edge(net, tmp, apps):
    e = Edge(net, tmp, apps)
    yield e
    e.stop()


def app_of(answer):
    return answer[0], answer[1], json.loads(answer[2])["name"] if answer[1] == 200 else None


def test_each_name_has_its_certificate(edge):
    """Two certificates on one port by server name; a third by file; names nobody serves are refused."""
    for name in ("shop", "stock"):
        edge.credential(name, [f"{name}.example.com"])
    edge.credential("byfile", ["file.example.com"])
    d = edge.creds / "byfile"
    edge.mesh.apply("rules", [
        edge.gateway("edge", edge.server("a", "https", ["shop.example.com"], mode="SIMPLE",
                                         credentialName="shop"),
                     edge.server("b", "https", ["stock.example.com"], mode="SIMPLE",
                                 credentialName="stock"),
                     edge.server("c", "https", ["file.example.com"], mode="SIMPLE",
                                 serverCertificate=f"{d}/tls.crt", privateKey=f"{d}/tls.key")),
        edge.routes("shop", "shop.example.com", "shop"),
        edge.routes("stock", "stock.example.com", "stock"),
        edge.routes("file", "file.example.com", "stock")])

    def answers():
        return all(app_of(edge.https(f"{h}.example.com")) == (c, 200, a) for h, c, a in
                   (("shop", "shop", "shop"), ("stock", "stock", "stock"),
                    ("file", "byfile", "stock")))
    wait_for(lambda: not_refused(answers), 20, what="each host with its certificate")
    with pytest.raises(OSError):
        edge.https("nobody.example.com")


def not_refused(f):
    """While a listener comes up, connections are refused: not yet."""
    try:
        return f()
    except OSError:
        return False


def test_a_certificate_changes_under_load(edge):
    """By name: a new certificate is served within seconds, no request fails meanwhile."""
    edge.credential("shop", ["shop.example.com"])
    edge.mesh.apply("rules", [
        edge.gateway("edge", edge.server("a", "https", ["shop.example.com"], mode="SIMPLE",
                                         credentialName="shop")),
        edge.routes("shop", "shop.example.com", "shop")])
    wait_for(lambda: not_refused(lambda: edge.https("shop.example.com")[1] == 200), 20)
    stop, faults, done = threading.Event(), [], []

    def worker():
        while not stop.is_set():
            try:
                done.append(edge.https("shop.example.com")[1])
            except Exception as e:  # pylint: disable=broad-except
                faults.append(repr(e))
    threads = [threading.Thread(target=worker) for _ in range(4)]
    for t in threads:
        t.start()
    try:
        for _ in range(2):
            before = edge.serial("shop.example.com")
            edge.credential("shop", ["shop.example.com"])
            wait_for(lambda: edge.serial("shop.example.com") != before, 20,
                     what="the new certificate")
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not faults and set(done) == {200} and len(done) > 20, (faults[:3], len(done))


def test_mutual_refuses_who_shows_no_certificate(edge):
    """MUTUAL: none, or one of a root that is not believed, is refused; OPTIONAL_MUTUAL lets the first
    in. TLS 1.2 is refused where 1.3 is the least."""
    edge.credential("shop", ["shop.example.com", "opt.example.com"])
    shutil.copy(edge.partners[0], edge.creds / "shop" / "ca.crt")
    partner = make_cert(edge.tmp / "c1", "partner", edge.partners, ["partner.example.com"])
    other = make_cert(edge.tmp / "c2", "other", edge.partners, ["other.example.com"])
    stranger = make_cert(edge.tmp / "c3", "stranger", edge.public, ["partner.example.com"])
    edge.mesh.apply("rules", [
        edge.gateway("edge",
                     edge.server("a", "https", ["shop.example.com"], mode="MUTUAL",
                                 credentialName="shop", minProtocolVersion="TLSV1_3",
                                 subjectAltNames=["partner.example.com"]),
                     edge.server("b", "https", ["opt.example.com"], mode="OPTIONAL_MUTUAL",
                                 credentialName="shop")),
        edge.routes("shop", "shop.example.com", "shop"),
        edge.routes("opt", "opt.example.com", "shop")])
    wait_for(lambda: not_refused(
        lambda: edge.https("shop.example.com", client=partner)[1] == 200 and
        edge.https("opt.example.com")[1] == 200), 20)
    for client in (None, stranger, other):
        with pytest.raises(OSError):
            if not edge.https("shop.example.com", client=client)[2]:
                raise OSError("closed without an answer")
    with pytest.raises(OSError):
        edge.https("shop.example.com", client=partner, version=ssl.TLSVersion.TLSv1_2)
    assert edge.https("opt.example.com", client=other)[1] == 200
    with pytest.raises(OSError):
        if not edge.https("opt.example.com", client=stranger)[2]:
            raise OSError("closed without an answer")


def test_redirect_and_two_gateways_on_a_port(edge):
    """Two Gateways share a port: each has its hosts; what both claim the older has. One of a host only
    redirects to HTTPS."""
    edge.mesh.apply("rules", [
        edge.gateway("edge", edge.server("a", "http", ["shop.example.com", "both.example.com"]),
                     creationTimestamp="2026-01-01T00:00:00Z"),
        edge.gateway("second",
                     edge.server("b", "http", ["stock.example.com", "both.example.com"]),
                     edge.server("c", "http", ["safe.example.com"], httpsRedirect=True),
                     creationTimestamp="2026-01-02T00:00:00Z"),
        edge.routes("shop", "shop.example.com", "shop"),
        edge.routes("stock", "stock.example.com", "stock", ["second"]),
        edge.routes("both", "both.example.com", "shop"),
        edge.routes("safe", "safe.example.com", "shop", ["second"])])

    def ask(host, path="/"):
        return http_request(edge.addr["http"], path, headers={"host": host})
    wait_for(lambda: not_refused(lambda: ask("stock.example.com").status == 200 and
                                 ask("shop.example.com").status == 200), 20)
    assert ask("shop.example.com").json()["name"] == "shop"
    assert ask("stock.example.com").json()["name"] == "stock"
    assert ask("both.example.com").json()["name"] == "shop"
    r = ask("safe.example.com", "/a?b=c")
    assert (r.status, r.headers["location"]) == (301, "https://safe.example.com/a?b=c")
    assert ask("nobody.example.com").status == 404


def test_tls_is_passed_through_and_tcp_served(edge):
    """PASSTHROUGH: the client sees the backend's own certificate. TCP: bytes go to the service."""
    ca = make_ca(edge.tmp / "own", "The backend's own root")
    cert = make_cert(edge.tmp / "own-cert", "the backend itself", ca, ["own.example.com"])
    backend = Backend((edge.net.ip(), 0), tls=cert)
    try:
        edge.mesh.apply("rules", [
            service("own", [{"address": backend.ip, "ports": {"p": backend.port}}], port=443,
                    protocol="TLS"),
            edge.gateway("edge",
                         edge.server("a", "https", ["own.example.com"], protocol="TLS",
                                     mode="PASSTHROUGH"),
                         edge.server("b", "tcp", ["*"])),
            obj("VirtualService", "own", {
                "hosts": ["own.example.com"], "gateways": ["edge"],
                "tls": [{"match": [{"sniHosts": ["own.example.com"]}], "route": [
                    {"destination": {"host": "own", "port": {"number": 443}}}]}]}),
            obj("VirtualService", "db", {
                "hosts": ["*"], "gateways": ["edge"],
                "tcp": [{"match": [{"port": edge.PORTS["tcp"]}], "route": [
                    {"destination": {"host": "db", "port": {"number": 9081}}}]}]})])
        wait_for(lambda: not_refused(
            lambda: edge.https("own.example.com", roots=ca)[:2] == ("the backend itself", 200)),
            20)
        ip, port = edge.addr["tcp"].split(":")

        def greets():
            with socket.create_connection((ip, int(port)), timeout=5) as s:
                return s.makefile("rb").readline() == b"db v1\n"
        wait_for(lambda: not_refused(greets), 20)
    finally:
        backend.close()


def test_services_by_name_and_on_a_unix_socket(edge):
    """DNS, DNS_ROUND_ROBIN and DYNAMIC_DNS entries are resolved by the proxy; a Unix socket is an
    endpoint; a changed port of a resolved entry is sent."""
    first, second = Backend(("127.0.0.1", 0), name="first"), Backend(("127.0.0.1", 0), name="second")
    path = edge.tmp / "app.sock"
    unix = Backend(path, name="unix")

    def entries(port):
        return [service("dns", [{"address": "localhost", "ports": {"p": port}}],
                        resolution="DNS"),
                service("robin", [{"address": "localhost", "ports": {"p": port}}],
                        resolution="DNS_ROUND_ROBIN"),
                service("unix", [{"address": f"unix://{path}"}]),
                service("dynamic", None, host="*.localhost", resolution="DYNAMIC_DNS")]

    def says(name, what):
        r = edge.client.get(name)
        return r.status == 200 and r.json()["name"] == what
    try:
        edge.mesh.apply("rules", entries(first.port))
        edge.mesh.eventually(lambda: says("dns", "first") and says("robin", "first") and
                             says("unix", "unix"), 20)
        # The name that the request asks for, resolved when it asks.
        edge.mesh.eventually(lambda: says(f"a.localhost:{first.port}", "first") and
                             says(f"b.localhost:{second.port}", "second"), 20)
        edge.mesh.apply("rules", entries(second.port))
        edge.mesh.eventually(lambda: says("dns", "second") and says("robin", "second"), 20)
    finally:
        for b in (first, second, unix):
            b.close()


def test_workload_entries_come_and_go_under_load(edge):
    """workloadSelector: each WorkloadEntry that comes gets requests, each that goes gets none, no
    request fails, and no change is more than one of endpoints."""
    echoes = {f"w{i}": edge.apps.echo(version=f"w{i}", name="fleet") for i in range(3)}

    def entry(name):
        ip, port = echoes[name].addr.split(":")
        return obj("WorkloadEntry", name, {"address": ip, "ports": {"p": int(port)},
                                           "labels": {"app": "fleet"}})
    m = edge.mesh
    m.apply("fleet", [service("fleet", None, location="MESH_INTERNAL",
                              workloadSelector={"labels": {"app": "fleet"}})])
    m.apply("w0", [entry("w0")])
    m.eventually(lambda: edge.client.get("fleet").status == 200, 20)
    reasons = m.metric("pilot", "pilot_push_reasons")
    cluster = f"outbound|{SERVICE_PORT}||fleet.default.svc.cluster.local"
    run = load(m, edge.client, "fleet", "/", 200)
    for _ in range(3):
        for name in ("w1", "w2"):
            m.apply(name, [entry(name)])
            m.eventually(lambda name=name: echoes[name].stats()["total"] > 0, 20)
        for name in ("w1", "w2"):
            m.remove(name)
            m.eventually(lambda name=name: echoes[name].addr not in
                         edge.client.envoy.endpoints(cluster), 20)
            echoes[name].reset()
    r = run.stop()
    assert r["errors"] == {} and set(r["status"]) == {"200"}, r
    after = m.metric("pilot", "pilot_push_reasons")
    grown = {k for k in after if after[k] != reasons.get(k, 0)}
    assert grown == {'{reason="endpoints"}'}, (reasons, after)


def test_a_sidecar_limits_what_a_proxy_knows(edge):
    """Egress hosts: other services have no cluster, no route and no answer there."""
    assert edge.picky.get("shop").status == 200
    assert edge.picky.get("stock").status in (404, 502)
    clusters = {c for c in edge.picky.envoy.resources("cluster") if c.startswith("outbound|")}
    assert clusters and all(c.endswith("||shop.default.svc.cluster.local") for c in clusters)
    assert any("stock" in c for c in edge.client.envoy.resources("cluster"))


def group_of(name, probe=None, **template):
    return obj("WorkloadGroup", name, {
        "metadata": {"labels": {"app": name}},
        "template": {"ports": {"p": SERVICE_PORT}, **template},
        **({"probe": {"periodSeconds": 1, "failureThreshold": 1, **probe}} if probe else {})})


@pytest.fixture(scope="module")
def member(edge):
    """A workload that nobody lists: its agent names a group."""
    w = edge.mesh.workload("member", listed=False, labels={"app": "member"})
    w.agent_flags = ["--workload-group", "fleet2", "--exec-probes"]
    edge.mesh.identity_flags(w.name, f"spiffe://cluster.local/ns/default/sa/{w.account}")
    edge.mesh.daemons["citadel"].stop()
    edge.mesh.start_daemon("citadel")
    edge.mesh.apply("services", edge.mesh.services_yaml())
    w.start()
    w.wait_ready()
    yield w


def test_a_member_of_a_group_is_registered_and_probed(edge, member):
    """A WorkloadEntry is made for the agent that names a group; it gets requests once its probe says it
    is well, and none when the probe fails: HTTP, TCP, a command. When the agent ends, it is gone."""
    m, app = edge.mesh, member
    wanted = [service("fleet2", None, location="MESH_INTERNAL",
                      workloadSelector={"labels": {"app": "fleet2"}})]
    flag = edge.tmp / "well"
    answering = Backend((app.inner, 0), name="probe")

    def served():
        r = edge.client.get("fleet2")
        return r.status == 200 and r.json()["name"] == "member"

    def refused():
        return edge.client.get("fleet2").status == 503
    m.apply("rules", wanted + [group_of("fleet2")])
    m.eventually(served, 30, what="a member without a probe is served")
    # A Pilot that starts again knows its members before they report to it.
    members = m.state / "pilot" / "pilot" / "members"
    wait_for(lambda: b"fleet2" in members.read_bytes() if members.exists() else False, 10)
    run = load(m, edge.client, "fleet2", "/", 100)
    m.daemons["pilot"].kill()
    m.start_daemon("pilot")
    m.eventually(lambda: m.metric("pilot", "pilot_xds") == {"": len(m.envoys())}, 30,
                 what="all proxies are back")
    r = run.stop()
    assert r["errors"] == {} and set(r["status"]) == {"200"}, r
    m.apply("rules", wanted + [group_of("fleet2", {"exec": {"command": [
        "test", "-e", str(flag)]}})])
    m.eventually(refused, 30, what="the command fails")
    flag.touch()
    m.eventually(served, 30, what="the command is well again")
    m.apply("rules", wanted + [group_of("fleet2", {"httpGet": {
        "path": "/", "host": app.inner, "port": answering.port}})])
    m.eventually(served, 30)
    run = load(m, edge.client, "shop", "/", 100)  # what is nobody's change stays as it is
    answering.close()
    m.eventually(refused, 30, what="the HTTP probe fails")
    m.apply("rules", wanted + [group_of("fleet2", {"tcpSocket": {
        "host": app.inner, "port": 8000}})])
    m.eventually(served, 30, what="the TCP probe is well")
    r = run.stop()
    assert r["errors"] == {} and set(r["status"]) == {"200"}, r
    app.envoy.stop()
    m.eventually(refused, 30, what="the agent says goodbye")
    app.envoy.start()
    app.wait_ready()
    m.eventually(served, 30, what="it is back")


def test_a_missing_credential_holds_up_nobody(edge):
    """The chain of a credential that the gateway does not have is left out; the others serve from the
    start; it comes when the credential does."""
    shutil.rmtree(edge.creds / "late", ignore_errors=True)
    edge.credential("shop", ["shop.example.com"])
    edge.mesh.apply("rules", [
        edge.gateway("edge", edge.server("a", "https", ["late.example.com"], mode="SIMPLE",
                                         credentialName="late"),
                     edge.server("b", "https", ["shop.example.com"], mode="SIMPLE",
                                 credentialName="shop")),
        edge.routes("late", "late.example.com", "stock"),
        edge.routes("shop", "shop.example.com", "shop")])
    wait_for(lambda: not_refused(lambda: edge.https("shop.example.com")[1] == 200), 20,
             what="the others serve")
    with pytest.raises(OSError):
        edge.https("late.example.com")
    said = status_of(edge, "Gateway", "edge")
    assert said["state"] == "pending" and "has the credential late" in said["pending"], said
    edge.credential("late", ["late.example.com"])
    wait_for(lambda: not_refused(lambda: app_of(edge.https("late.example.com")) ==
                                 ("late", 200, "stock")), 20, what="it came")


class Greeter(Server):
    """A TLS server of the test itself that asks for the client's certificate and answers with its name
    ("" when it shows none); whoever comes in plaintext is answered "plain"."""

    def __init__(self, ip, cert, roots):
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ctx.load_cert_chain(*[str(p) for p in cert])
        ctx.load_verify_locations(str(roots[0]))
        ctx.verify_mode = ssl.CERT_OPTIONAL

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                sock, name = self.request, "plain"
                if sock.recv(1, socket.MSG_PEEK) == b"\x16":
                    sock = ctx.wrap_socket(sock, server_side=True)
                    peer = sock.getpeercert()
                    name = dict(x[0] for x in peer["subject"])["commonName"] if peer else ""
                f = sock.makefile("rwb")
                while line := f.readline():
                    if line == b"\r\n":
                        f.write(f"HTTP/1.1 200 OK\r\nx-client: {name}\r\n"
                                "content-length: 0\r\n\r\n".encode())
                        f.flush()

        super().__init__((ip, 0), Handler)


@pytest.fixture(scope="module")
def holder(edge):
    """A client whose agent may serve credentials by name, and a folder of them."""
    folder = edge.tmp / "holder"
    folder.mkdir()
    w = edge.mesh.workload("holder", listed=False)
    w.agent_flags = ["--credentials-dir", folder]
    edge.mesh.identity_flags(w.name, f"spiffe://cluster.local/ns/default/sa/{w.account}")
    edge.mesh.daemons["citadel"].stop()
    edge.mesh.start_daemon("citadel")
    edge.mesh.apply("services", edge.mesh.services_yaml())
    w.start()
    w.wait_ready()
    yield w, folder


def status_of(edge, kind, name):
    found = http_request(edge.mesh.monitor["pilot"],
                         f"/debug/status?kind={kind}&ns=default&name={name}").json()["objects"]
    return found[0] if found else {}


def meltemi_wait(edge, *objects, timeout="60s"):
    return subprocess.run(
        [BIN / "meltemi", "wait", "-f", "-", "--timeout", timeout,
         "--pilot", f"http://{edge.mesh.monitor['pilot']}"], text=True, timeout=120, check=False,
        input=yaml.safe_dump_all(objects), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_a_rule_waits_for_its_credential(edge, holder):
    """TLS with a certificate that nobody has: requests go as before, without a failure, and the object
    says what it waits for; when the credential comes, the server sees it. Over a restart of Pilot too."""
    client, folder = holder
    own = make_cert(edge.tmp / "greeter", "greeter", edge.public, ["greeter.example.com"])
    server = Greeter(edge.net.ip(), own, edge.partners)
    entry = service("greeter", [{"address": server.ip,
                                 "ports": {"p": server.port}}])
    rule = obj("DestinationRule", "greeter", {
        "host": "greeter", "trafficPolicy": {"tls": {
            "mode": "MUTUAL", "credentialName": "partner", "sni": "greeter.example.com",
            "subjectAltNames": ["greeter.example.com"]}}})

    def seen():
        r = client.get("greeter")
        return r.headers.get("x-client") if r.status == 200 else r.status

    def pending():
        return status_of(edge, "DestinationRule", "greeter").get("pending", "")
    try:
        edge.mesh.apply("entry", [entry])
        edge.mesh.eventually(lambda: seen() == "plain", 20)
        run = load(edge.mesh, client, "greeter", "/", 100)
        edge.mesh.apply("rules", [rule])
        words = "spec.trafficPolicy.tls: no proxy that it is for has the credential partner"
        wait_for(lambda: words in pending(), 20, what="it says what it waits for")
        s = status_of(edge, "DestinationRule", "greeter")
        assert (s["state"], s["inForce"]) == ("pending", 0), s
        said = meltemi_wait(edge, rule, timeout="1s")
        assert said.returncode == 1 and words in said.stdout, said.stdout
        edge.mesh.daemons["pilot"].kill()
        edge.mesh.start_daemon("pilot")
        edge.mesh.eventually(lambda: edge.mesh.metric("pilot", "pilot_xds") ==
                             {"": len(edge.mesh.envoys())}, 30, what="all proxies are back")
        wait_for(lambda: words in pending(), 20)
        assert seen() == "plain"
        make_cert(folder / ".partner", "the partner", edge.partners, ["partner.example.com"])
        shutil.copy(edge.public[0], folder / ".partner" / "ca.crt")
        (folder / ".partner").rename(folder / "partner")
        edge.mesh.eventually(lambda: seen() == "the partner", 30, what="the certificate arrives")
        r = run.stop()
        assert r["errors"] == {} and set(r["status"]) == {"200"}, r
        assert meltemi_wait(edge, rule).returncode == 0
        assert status_of(edge, "DestinationRule", "greeter")["state"] == "in force"
    finally:
        server.close()


def test_a_gateway_keeps_its_certificate_until_the_next_is_there(edge):
    """Changed to a credential that is not there yet: the one before is served, the object says what it
    waits for; then the new one is."""
    shutil.rmtree(edge.creds / "next", ignore_errors=True)
    edge.credential("shop", ["shop.example.com"])

    def gateway(credential):
        return edge.gateway("edge", edge.server("a", "https", ["shop.example.com"], mode="SIMPLE",
                                                credentialName=credential))
    routes = edge.routes("shop", "shop.example.com", "shop")
    edge.mesh.apply("rules", [gateway("shop"), routes])
    wait_for(lambda: not_refused(lambda: edge.https("shop.example.com")[:2] == ("shop", 200)), 30)
    edge.mesh.apply("rules", [gateway("next"), routes])
    words = "spec.servers[0].tls: no proxy that it is for has the credential next"
    wait_for(lambda: words in status_of(edge, "Gateway", "edge").get("pending", ""), 20)
    assert status_of(edge, "Gateway", "edge")["state"] == "pending"
    assert edge.https("shop.example.com")[:2] == ("shop", 200)
    said = meltemi_wait(edge, gateway("next"), timeout="1s")
    assert said.returncode == 1 and words in said.stdout, said.stdout
    edge.credential("next", ["shop.example.com"])
    wait_for(lambda: not_refused(lambda: edge.https("shop.example.com")[:2] == ("next", 200)), 30,
             what="the next certificate")
    assert meltemi_wait(edge, gateway("next")).returncode == 0
