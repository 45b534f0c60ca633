"""Gateways and their certificates, seen by clients outside; with identities."""
import shutil
import socket
import ssl
import threading

import pytest

from edge import app_of, not_refused, obj, service
from mesh_tls import make_ca, make_cert
from servers import Backend
from util import http_request, wait_for

pytestmark = pytest.mark.usefixtures("healthy")


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
