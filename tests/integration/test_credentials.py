"""A credential that is not there yet holds up nobody: at a gateway and at a client. With identities."""
import shutil
import socket
import socketserver
import ssl
import subprocess

import pytest
import yaml

from edge import app_of, not_refused, obj, service
from mesh import load
from mesh_tls import make_cert
from servers import Server, tls_context
from util import BIN, http_request, wait_for

pytestmark = pytest.mark.usefixtures("healthy")


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
        ctx = tls_context(cert)
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
