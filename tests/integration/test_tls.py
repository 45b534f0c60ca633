"""Mutual TLS between workloads: identities, refusals, what is on the wire."""
import socket
import ssl
import threading

import pytest

from mesh import SERVICE_PORT
from mesh_tls import TlsMesh, workload_id
from test_traffic import BASE

pytestmark = pytest.mark.usefixtures("healthy")

STRICT = {"apiVersion": "security.istio.io/v1beta1", "kind": "PeerAuthentication",
          "metadata": {"name": "default", "namespace": "default"},
          "spec": {"mtls": {"mode": "STRICT"}}}


class Wire:
    """A relay that keeps what passes: the wire between two proxies, seen without privilege."""

    def __init__(self, listen, target):
        self.target, self.seen, self.open = target, bytearray(), True
        self.server = socket.create_server(listen)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while self.open:
            try:
                a, _ = self.server.accept()
            except OSError:
                return
            b = socket.create_connection(self.target)
            for pair in ((a, b), (b, a)):
                threading.Thread(target=self.pump, args=pair, daemon=True).start()

    def pump(self, src, dst):
        try:
            while data := src.recv(65536):
                self.seen += data
                dst.sendall(data)
            dst.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.open = False
        # A close alone would leave it listening for as long as a thread waits in accept().
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()


@pytest.fixture(scope="module")
def mesh(net, apps, variant):
    m = TlsMesh(net, apps.tmp, apps, protocol=variant)
    m.tcp_targets["client-v1"] = {"db"}
    m.client = m.workload("client")
    m.reviews = m.workload("reviews")
    m.db = m.workload("db", tcp=True)
    m.wired_addr = net.ip()
    m.apply("rules", BASE + [STRICT])
    m.start()
    m.eventually(lambda: m.client.get("reviews").status == 200, timeout=20)
    yield m
    m.stop()


def test_the_backend_sees_who_called(mesh):
    xfcc = mesh.client.get("reviews").json()["headers"]["x-forwarded-client-cert"]
    assert f"URI={workload_id('default', 'client')}" in xfcc
    # What a client says itself is not believed.
    xfcc = mesh.client.get("reviews", headers={
        "x-forwarded-client-cert": f"URI={workload_id('default', 'king')}"}).json()[
            "headers"]["x-forwarded-client-cert"]
    assert "king" not in xfcc and workload_id("default", "client") in xfcc


def test_envoy_holds_the_identity_of_its_workload(mesh):
    for w in (mesh.client, mesh.reviews):
        ids = {i for _, uris, _ in w.envoy.certs() for i in uris}
        assert workload_id("default", w.account) in ids


def test_plaintext_to_a_strict_port_is_refused(mesh):
    ip = mesh.reviews.outer
    with socket.create_connection((ip, SERVICE_PORT), timeout=5) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: reviews\r\n\r\n")
        try:
            assert s.recv(4096) == b""
        except ConnectionError:
            pass


def entry(name, address, account):
    return {"apiVersion": "networking.istio.io/v1alpha3", "kind": "ServiceEntry",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"hosts": [f"{name}.default.svc.cluster.local"], "location": "MESH_INTERNAL",
                     "resolution": "STATIC",
                     "ports": [{"number": SERVICE_PORT, "name": "http", "protocol": "HTTP"}],
                     "endpoints": [{"address": address, "ports": {"http": SERVICE_PORT},
                                    "labels": {"security.istio.io/tlsMode": "istio"},
                                    "serviceAccount": account}]}}


def test_another_service_account_is_refused(mesh):
    """reviews' proxy answers for a service whose account it does not have: its certificate is valid,
    and the client's proxy refuses it."""
    mesh.apply("impostor", [entry("impostor", mesh.reviews.outer, "somebody-else")])
    try:
        mesh.eventually(lambda: any("impostor" in c for c in
                                    mesh.client.envoy.resources("cluster")))
        mesh.eventually(lambda: mesh.client.get("impostor").status == 503)
        mesh.reviews.reset()
        for _ in range(5):
            assert mesh.client.get("impostor").status == 503
        assert mesh.reviews.stats()["total"] == 0
        refused = mesh.client.envoy.stats("impostor.*ssl.fail_verify_san")
        assert sum(refused.values()) > 0, refused
    finally:
        mesh.remove("impostor")


def test_no_plaintext_on_the_wire(mesh):
    wire = Wire((mesh.wired_addr, SERVICE_PORT), (mesh.reviews.outer, SERVICE_PORT))
    mesh.apply("wired", [entry("wired", mesh.wired_addr, "reviews")])
    try:
        secret = "a-word-that-nobody-else-says"
        mesh.eventually(lambda: mesh.client.get(
            "wired", f"/{secret}", headers={"x-secret": secret}).status == 200)
        r = mesh.client.get("wired", f"/{secret}", headers={"x-secret": secret})
        assert r.json()["path"] == f"/{secret}"
        seen = bytes(wire.seen)
        assert len(seen) > 1000
        for word in (secret.encode(), b"HTTP/1.1", b"x-app-version", b"PRI * HTTP/2.0"):
            assert word not in seen
        assert seen[:2] == b"\x16\x03", "a TLS handshake"
    finally:
        mesh.remove("wired")
        wire.close()


def test_tcp_is_mutual_tls_too(mesh):
    ip, port = mesh.client.outbound_tcp.split(":")

    def talk():
        with socket.create_connection((ip, int(port)), timeout=5) as s:
            return s.makefile("rb").readline() == b"db v1\n"
    mesh.eventually(talk)
    handshakes = mesh.db.envoy.stats("listener.*ssl.handshake$")
    assert sum(handshakes.values()) > 0, handshakes


def test_oldest_tls_of_the_mesh(mesh):
    """meshMTLS.minProtocolVersion, changed while requests go on."""
    def greets(version):
        ctx = ssl.create_default_context()
        ctx.check_hostname, ctx.verify_mode = False, ssl.CERT_NONE
        ctx.minimum_version = ctx.maximum_version = version
        with socket.create_connection((mesh.reviews.outer, SERVICE_PORT), 10) as s:
            try:
                with ctx.wrap_socket(s) as t:
                    t.settimeout(10)
                    t.recv(1)
                return "greeted"
            except ssl.SSLError as e:
                return e.reason or str(e)

    def settings(**spec):
        mesh.apply("mesh-config", [{"apiVersion": "mesh.istio.io/v1alpha1", "kind": "MeshConfig",
                                    "metadata": {"name": "default"}, "spec": spec}] if spec else [])
    v12, v13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    assert "VERSION" not in greets(v12), "it is asked for its certificate"
    settings(meshMTLS={"minProtocolVersion": "TLSV1_3"})
    mesh.eventually(lambda: "PROTOCOL_VERSION" in greets(v12), 60, "1.2 is too old")
    assert "VERSION" not in greets(v13)
    assert mesh.client.get("reviews").status == 200
    settings()
    mesh.eventually(lambda: "VERSION" not in greets(v12), 60, "1.2 is fine again")
