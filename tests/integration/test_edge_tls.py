"""TLS that proxies end, field by field, at clients outside: whom of them a gateway believes, versions and
ciphers, several certificates, the mesh's own identities at a gateway, AUTO_PASSTHROUGH, TLS of a Sidecar's
ingress; a Sidecar's egress proxy. In both protocol variants; of test_edge.py, test_entries.py and
test_credentials.py, which are delta, the essential part in the other."""
import base64
import hashlib
import json
import socket
import ssl
import subprocess

import pytest

from edge import Edge, not_refused, obj, service
from mesh import SERVICE_PORT, Workload
from mesh_tls import make_cert, openssl, workload_id
from servers import Backend, Http, Server
# In the order in which they run.
from test_edge import (  # noqa: F401  pylint: disable=unused-import
    test_each_name_has_its_certificate, test_a_certificate_changes_under_load,
    test_mutual_refuses_who_shows_no_certificate, test_redirect_and_two_gateways_on_a_port,
    test_tls_is_passed_through_and_tcp_served)
from test_entries import (  # noqa: F401  pylint: disable=unused-import
    test_services_by_name_and_on_a_unix_socket)
from test_credentials import (  # noqa: F401  pylint: disable=unused-import
    test_a_missing_credential_holds_up_nobody)
from test_policy_tls import Authority
from util import wait_for

pytestmark = pytest.mark.usefixtures("healthy")

OWN_TLS_PORT = 9446


class Inward(Workload):
    """Ends TLS itself at one more port of its Sidecar."""

    certs = None

    def sidecar_yaml(self):
        doc = super().sidecar_yaml()
        doc["spec"]["ingress"].append({
            "port": {"number": OWN_TLS_PORT, "protocol": "HTTP", "name": "own"},
            "bind": self.outer, "captureMode": "NONE", "defaultEndpoint": f"{self.inner}:8000",
            "tls": {"mode": "MUTUAL", "serverCertificate": f"{self.certs}/tls.crt",
                    "privateKey": f"{self.certs}/tls.key", "minProtocolVersion": "TLSV1_3",
                    "caCertificates": f"{self.certs}/ca.crt"}})
        return doc


class Roamer(Workload):
    """What nobody knows goes to an egress proxy."""

    def sidecar_yaml(self):
        doc = super().sidecar_yaml()
        doc["spec"]["outboundTrafficPolicy"] = {"mode": "ALLOW_ANY", "egressProxy": {
            "host": "way-out.default.svc.cluster.local", "port": {"number": SERVICE_PORT}}}
        return doc


class World(Edge):
    def more(self):
        m = self.mesh
        self.inward = Inward(m, "inward")
        self.inward.certs = self.creds / "inward"
        self.inward.agent_flags = ["--file-cert-dir", self.creds]
        self.credential("inward", ["inward.example.com"])
        (self.creds / "inward" / "ca.crt").write_text(self.partners[0].read_text())
        self.roamer = Roamer(m, "roamer")
        m.workloads += [self.inward, self.roamer]
        self.clients = Authority(self.tmp, "clients")  # it can revoke

    def serve(self, name="edge", host="shop.example.com", to="shop", **tls):
        """A gateway with one HTTPS server, and its route."""
        self.rules(self.gateway(name, self.server("a", "https", [host], **tls)),
                   self.routes("shop", host, to))

    def answers(self, client=None, host="shop.example.com", **kw):
        """The gateway answers; it does not while the listener comes up, or the client is refused."""
        try:
            return self.https(host, client=client, **kw)[1] == 200
        except (OSError, IndexError):
            return False

    def only(self, well, *refused, what, **kw):
        """One client is served and the others are not."""
        self.mesh.eventually(lambda: self.answers(well, **kw), 20, what=what)
        for c in refused:
            assert not self.answers(c, **kw), (what, c)


def pytest_generate_tests(metafunc):
    """Tests of other files ran there, with the other variant."""
    if "edge" in metafunc.fixturenames:
        metafunc.parametrize("edge", ["sotw"] if metafunc.function.__module__ != __name__ else
                             ["delta", "sotw"], indirect=True, scope="module")


@pytest.fixture(scope="module")
def edge(request, net, tmp, apps):
    tmp = tmp / request.param
    tmp.mkdir()
    apps.tmp = tmp
    e = World(net, tmp, apps, request.param)
    yield e
    e.stop()


def hash_of(cert):
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(cert.read_text())).hexdigest()


def spki_of(cert):
    key = subprocess.run(["openssl", "x509", "-in", cert, "-noout", "-pubkey"], check=True,
                         capture_output=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "der"], input=key, check=True,
                         capture_output=True).stdout
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


def test_clients_by_hash_and_key(edge):
    """verifyCertificateHash and verifyCertificateSpki name the certificates, whoever signed others."""
    one, two = (edge.clients.sign(n) for n in ("one", "two"))
    edge.credential("shop", ["shop.example.com"])
    (edge.creds / "shop" / "ca.crt").write_text(edge.clients.cert.read_text())
    mutual = {"mode": "MUTUAL", "credentialName": "shop"}
    edge.serve(**mutual)
    edge.only(one, None, what="who is signed by the root")
    assert edge.answers(two)
    edge.serve(**mutual, verifyCertificateHash=[hash_of(one[0])])
    edge.mesh.eventually(lambda: not edge.answers(two), 20, what="the hash counts")
    edge.only(one, two, None, what="whose hash is named")
    edge.serve(**mutual, verifyCertificateSpki=[spki_of(two[0])])
    edge.only(two, one, None, what="whose key is named")
    colons = hash_of(one[0]).upper()
    colons = ":".join(colons[i:i + 2] for i in range(0, len(colons), 2))
    edge.serve(**mutual, verifyCertificateSpki=[spki_of(two[0])], verifyCertificateHash=[colons])
    edge.only(one, None, what="either will do")
    assert edge.answers(two)


def test_clients_that_were_revoked(edge):
    """A list of what is revoked, beside the roots of a credential or as a file: read again when it
    changes."""
    good, bad = (edge.clients.sign(n) for n in ("good", "bad"))
    edge.credential("shop", ["shop.example.com"])
    d = edge.creds / "shop"
    (d / "ca.crt").write_text(edge.clients.cert.read_text())
    (d / "ca.crl").write_text(edge.clients.revoke(None).read_text())
    edge.serve(mode="MUTUAL", credentialName="shop")
    edge.only(bad, None, what="nobody is revoked")
    assert edge.answers(good)
    revoked = edge.clients.revoke(bad[0]).read_text()
    (d / "new.crl").write_text(revoked)
    (d / "new.crl").rename(d / "ca.crl")
    edge.mesh.eventually(lambda: not edge.answers(bad), 20, what="one is revoked")
    assert edge.answers(good)
    (d / "ca.crl").unlink()
    edge.mesh.eventually(lambda: edge.answers(bad), 20, what="there is no list any more")
    (d / "by-file.crl").write_text(revoked)
    edge.serve(mode="MUTUAL", serverCertificate=f"{d}/tls.crt", privateKey=f"{d}/tls.key",
               caCertificates=f"{d}/ca.crt", caCrl=f"{d}/by-file.crl")
    edge.mesh.eventually(lambda: not edge.answers(bad) and edge.answers(good), 20,
                         what="the list of the file")


def test_clients_that_nobody_verifies(edge):
    """insecureSkipVerify: a certificate has to be shown, any will do."""
    stranger = make_cert(edge.tmp / "s1", "stranger", edge.public, ["a.example.com"])
    edge.credential("shop", ["shop.example.com"])
    (edge.creds / "shop" / "ca.crt").write_text(edge.clients.cert.read_text())
    edge.serve(mode="MUTUAL", credentialName="shop")
    edge.only(edge.clients.sign("one"), stranger, None, what="verified")
    edge.serve(mode="MUTUAL", credentialName="shop", insecureSkipVerify=True)
    edge.only(stranger, None, what="not verified")


def test_roots_of_another_credential(edge):
    """caCertCredentialName: the roots have a credential of their own; subjectAltNames of each kind."""
    names = {"uri": "URI:spiffe://partner/x", "dns": "DNS:partner.example.com",
             "ip": "IP:10.1.2.3", "mail": "email:me@example.com"}
    clients = {k: edge.clients.sign(k, v) for k, v in names.items()}
    edge.credential("shop", ["shop.example.com"])
    d = edge.creds / "partners-cacert"
    d.mkdir(exist_ok=True)
    (d / "ca.crt").write_text(edge.clients.cert.read_text())
    for k, v in names.items():
        edge.serve(mode="MUTUAL", credentialName="shop", caCertCredentialName="partners",
                   subjectAltNames=[v.split(":", 1)[1]])
        edge.only(clients[k], *(c for n, c in clients.items() if n != k), what=f"{v} is let in")


def negotiated(edge, host="shop.example.com", ciphers=None, least=None, most=None):
    """(version, cipher, name in the certificate) of a handshake; None when it is refused."""
    ctx = ssl.create_default_context(cafile=str(edge.public[0]))
    if ciphers:
        ctx.set_ciphers(ciphers)
    ctx.minimum_version = least or ssl.TLSVersion.MINIMUM_SUPPORTED
    ctx.maximum_version = most or ssl.TLSVersion.MAXIMUM_SUPPORTED
    ip, port = edge.addr["https"].split(":")
    try:
        with ctx.wrap_socket(socket.create_connection((ip, int(port)), timeout=10),
                             server_hostname=host) as s:
            subject = dict(x[0] for x in s.getpeercert()["subject"])
            return s.version(), s.cipher()[0], subject["commonName"]
    except OSError:
        return None


def test_versions_and_ciphers(edge):
    v12, v13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    first, second = "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"
    edge.credential("shop", ["shop.example.com"])
    edge.serve(mode="SIMPLE", credentialName="shop", maxProtocolVersion="TLSV1_2",
               cipherSuites=[first])
    edge.mesh.eventually(lambda: negotiated(edge) == ("TLSv1.2", first, "shop"), 20,
                         what="the highest version, the one cipher")
    assert negotiated(edge, ciphers=second, most=v12) is None
    assert negotiated(edge, least=v13) is None
    edge.serve(mode="SIMPLE", credentialName="shop", cipherSuites=[second, first, "NO-SUCH-CIPHER"])
    edge.mesh.eventually(lambda: negotiated(edge, most=v12) and
                         negotiated(edge, ciphers=second, most=v12), 20, what="both ciphers")
    assert negotiated(edge, ciphers=second, most=v12)[1] == second
    assert negotiated(edge, least=v13)[0] == "TLSv1.3"
    edge.serve(mode="SIMPLE", credentialName="shop", minProtocolVersion="TLSV1_3")
    edge.mesh.eventually(lambda: negotiated(edge, most=v12) is None and negotiated(edge), 20,
                         what="only the newest")


def test_tls_is_ended_for_bytes(edge):
    """Protocol TLS, mode SIMPLE: the gateway ends TLS, what is inside goes to a TCP service, by the server
    name."""
    names = ("one.example.com", "two.example.com")
    edge.credential("shop", names)
    at = edge.addr["https"].split(":")
    own = Backend((edge.net.ip(), 0), name="own")

    def rule(name, host, port):
        return obj("VirtualService", name, {
            "hosts": [name], "gateways": ["edge"], "tcp": [
                {"route": [{"destination": {"host": host, "port": {"number": port}}}]}]})
    edge.rules(
        service("own", [{"address": own.ip, "ports": {"p": own.port}}], port=7000, protocol="TCP"),
        edge.gateway("edge", *(edge.server(n[:3], "https", [n], protocol="TLS", mode="SIMPLE",
                                           credentialName="shop") for n in names)),
        rule(names[0], "db", 9081), rule(names[1], "own", 7000))

    def inside(host, first=b""):
        ctx = ssl.create_default_context(cafile=str(edge.public[0]))
        with ctx.wrap_socket(socket.create_connection((at[0], int(at[1])), timeout=10),
                             server_hostname=host) as s:
            s.sendall(first)
            return s.recv(200)
    try:
        edge.mesh.eventually(lambda: not_refused(lambda: inside(names[0])) == b"db v1\n", 20)
        edge.mesh.eventually(lambda: not_refused(lambda: inside(
            names[1], b"GET / HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200"), 20)
    finally:
        own.close()


def test_certificates_of_two_kinds(edge):
    """credentialNames: an RSA and an ECDSA certificate; each client gets what it can verify."""
    edge.credential("ecdsa", ["shop.example.com"])
    d = edge.creds / "rsa"
    d.mkdir(exist_ok=True)
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", d / "tls.key", "-out",
            d / "tls.crt", "-days", "2", "-subj", "/CN=rsa", "-CA", edge.public[0], "-CAkey",
            edge.public[1], "-addext", "subjectAltName=DNS:shop.example.com", "-addext",
            "basicConstraints=critical,CA:false")
    edge.serve(mode="SIMPLE", credentialNames=["rsa", "ecdsa"])
    v12 = ssl.TLSVersion.TLSv1_2

    def name(kind):
        got = negotiated(edge, ciphers=f"ECDHE-{kind}-AES128-GCM-SHA256", most=v12)
        return got and got[2]
    edge.mesh.eventually(lambda: (name("RSA"), name("ECDSA")) == ("rsa", "ecdsa"), 20,
                         what="one for each kind of client")


def mesh_tls(edge, addr, sni, cert=None, path="/"):
    """(SPIFFE ids of the server, the JSON that it answers) over the mesh's own TLS; None: refused."""
    ctx = ssl.create_default_context(cafile=str(edge.mesh.ca_cert))
    ctx.check_hostname = False
    ctx.set_alpn_protocols(["istio", "http/1.1"])  # as sidecars of the mesh do
    if cert:
        ctx.load_cert_chain(*[str(p) for p in cert])
    ip, port = addr.split(":")
    try:
        with ctx.wrap_socket(socket.create_connection((ip, int(port)), timeout=10),
                             server_hostname=sni) as s:
            ids = [v for k, v in s.getpeercert()["subjectAltName"] if k == "URI"]
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: {sni}\r\nConnection: close\r\n\r\n".encode())
            data = b""
            while chunk := s.recv(65536):
                data += chunk
            head, _, body = data.partition(b"\r\n\r\n")
            return (ids, json.loads(body)) if b" 200 " in head.split(b"\r\n")[0] else None
    except OSError:
        return None


@pytest.fixture(scope="module")
def member(edge):
    """A certificate of the mesh."""
    return make_cert(edge.tmp / "member", "member", (edge.mesh.ca_cert, edge.mesh.ca_key),
                     uri=workload_id("default", "member"))


def test_the_mesh_s_own_at_a_gateway(edge, member):
    """ISTIO_MUTUAL: the gateway shows its identity and wants one; subjectAltNames says whose."""
    host, me = "shop.example.com", workload_id("default", "member")
    addr = edge.addr["https"]
    edge.serve(mode="ISTIO_MUTUAL", host=host)
    got = edge.mesh.eventually(lambda: mesh_tls(edge, addr, host, member), 20)
    assert got[0] == [workload_id("istio-system", "ingressgateway")]
    assert got[1]["name"] == "shop"
    assert mesh_tls(edge, addr, host) is None
    edge.serve(mode="ISTIO_MUTUAL", host=host, subjectAltNames=[workload_id("default", "other")])
    edge.mesh.eventually(lambda: not mesh_tls(edge, addr, host, member), 20, what="another is wanted")
    edge.serve(mode="ISTIO_MUTUAL", host=host, subjectAltNames=[me])
    edge.mesh.eventually(lambda: mesh_tls(edge, addr, host, member), 20, what="this one is wanted")


def test_the_server_name_says_the_cluster(edge, member):
    """AUTO_PASSTHROUGH: TLS goes through to the service's own sidecar, by the name that sidecars ask
    for; only to hosts of the server."""
    shop = "shop.default.svc.cluster.local"
    edge.rules(
        edge.gateway("edge", edge.server("a", "https", [f"default/{shop}"], protocol="TLS",
                                         mode="AUTO_PASSTHROUGH")),
        obj("DestinationRule", "shop", {"host": "shop", "subsets": [
            {"name": "v1", "labels": {"version": "v1"}}, {"name": "v9", "labels": {"version": "v9"}}]}))
    addr = edge.addr["https"]

    def asks(subset="", host=shop, cert=member):
        return mesh_tls(edge, addr, f"outbound_.{SERVICE_PORT}_.{subset}_.{host}", cert)
    ids, doc = edge.mesh.eventually(asks, 20, what="it goes through")
    assert ids == [workload_id("default", "shop")] and doc["name"] == "shop"
    ids, doc = edge.mesh.eventually(lambda: asks("v1"), 20, what="a subset")
    assert ids == [workload_id("default", "shop")]
    assert asks("v9") is None and asks("v2") is None  # nobody is in it; there is none
    assert asks(host="stock.default.svc.cluster.local") is None
    assert mesh_tls(edge, addr, shop, member) is None


@pytest.mark.parametrize("mode", ["DISABLE", "PERMISSIVE"])
def test_a_sidecar_that_ends_tls_itself(edge, mode):
    """TLS of a Sidecar's ingress, where mutual TLS of the mesh is switched off for the port, or one of two
    ways to come."""
    w = edge.inward
    edge.rules(
        obj("ServiceEntry", "own", {
            "hosts": ["own.default.svc.cluster.local"], "location": "MESH_INTERNAL",
            "resolution": "STATIC",
            "ports": [{"number": OWN_TLS_PORT, "name": "own", "protocol": "HTTP"}],
            "endpoints": [{"address": w.outer, "labels": w.labels}]}),
        {"apiVersion": "security.istio.io/v1beta1", "kind": "PeerAuthentication",
         "metadata": {"name": "own", "namespace": "default"},
         "spec": {"selector": {"matchLabels": {"app": "inward"}},
                  "portLevelMtls": {str(OWN_TLS_PORT): {"mode": mode}}}})
    partner = make_cert(edge.tmp / "p1", "partner", edge.partners, ["partner.example.com"])
    stranger = make_cert(edge.tmp / "p2", "stranger", edge.public, ["partner.example.com"])
    here = dict(edge.addr)
    edge.addr["https"] = f"{w.outer}:{OWN_TLS_PORT}"
    try:
        host = "inward.example.com"
        edge.only(partner, stranger, None, host=host, what="the listener ends TLS")
        name, status, body = edge.https(host, client=partner)
        assert (name, status, json.loads(body)["name"]) == ("inward", 200, "inward")
        assert not edge.answers(partner, host=host, version=ssl.TLSVersion.TLSv1_2)
        serial = edge_serial(edge, host, partner)
        edge.credential("inward", [host])
        edge.mesh.eventually(lambda: edge_serial(edge, host, partner) != serial, 20,
                             what="the new certificate, without a restart")
    finally:
        edge.addr = here


def edge_serial(edge, host, client):
    s, _ = edge.tls(host, client=client)
    with s:
        return s.getpeercert()["serialNumber"]


class Way(Server):
    """An egress proxy: says which host it was asked for."""

    def __init__(self, ip):
        class Handler(Http):
            def do_GET(self):  # pylint: disable=invalid-name
                self.answer(json.dumps({"asked": self.headers["host"], "path": self.path}).encode())
        super().__init__((ip, 0), Handler)


def test_an_egress_proxy(edge):
    """outboundTrafficPolicy.egressProxy: requests to hosts that nobody knows go there, others do not."""
    way = Way(edge.net.ip())
    try:
        edge.rules(service("way-out", [{"address": way.ip, "ports": {"p": way.port}}]))
        doc = edge.mesh.eventually(
            lambda: edge.roamer.get("nobody.example.com", "/far").json(), 20,
            what="the proxy is asked")
        assert doc == {"asked": "nobody.example.com", "path": "/far"}
        assert edge.roamer.get("shop").json()["name"] == "shop"
        # Without one, and without capture, there is nowhere to go.
        assert edge.client.get("nobody.example.com").status in (404, 502)
    finally:
        way.close()


def test_all_is_well_again(edge):
    """Nothing of the above is left in the way of the plain case."""
    edge.credential("shop", ["shop.example.com"])
    edge.serve(mode="SIMPLE", credentialName="shop")
    wait_for(lambda: not_refused(lambda: edge.https("shop.example.com")[1] == 200), 20)
