"""Citadel: who gets which certificate."""
import os
import socket

import grpc
import pytest

from identities import CREATE, Citadel, daemon, field, openssl, sa
from mesh_tls import make_ca
from util import Process, http_request, wait_for


pytestmark = pytest.mark.leaks


@pytest.fixture(scope="module")
def citadel(net, tmp):
    c = Citadel(net, tmp, "--max-workload-cert-ttl", "1h", "--workload-cert-ttl", "10m",
                "--auth-failure-rate", "1000")
    c.a = c.token(sa("a"))
    c.any = c.token(sa("*"))
    c.old = c.token(sa("a"), "expires=2020-01-01T00:00:00Z")
    c.once = c.token(sa("once"), "uses=1")
    c.start()
    yield c
    c.stop()


@pytest.fixture(autouse=True)
def unharmed(citadel, request):
    pid = citadel.process.pid
    yield
    if getattr(request.node, "failed", False):
        print(citadel.process.tail())
    citadel.process.check()
    assert citadel.process.pid == pid
    assert citadel.issue(token=citadel.a).sans == [f"URI:{sa('a')}"]


def refused(code, words, f, *args, **kw):
    with pytest.raises(grpc.RpcError) as e:
        f(*args, **kw)
    assert e.value.code() == code, e.value
    assert words in e.value.details(), e.value.details()


def test_by_token(citadel):
    before = citadel.metric("citadel_server_success_cert_issuance_count")
    c = citadel.issue(token=citadel.a)
    assert c.sans == [f"URI:{sa('a')}"]
    assert "CA:FALSE" in c.text and "TLS Web Client Authentication" in c.text
    assert citadel.issue(san=f"URI:{sa('a')}", token=citadel.a).sans == [f"URI:{sa('a')}"]
    assert citadel.issue(san=f"URI:{sa('z')}", token=citadel.any).sans == [f"URI:{sa('z')}"]
    assert citadel.metric("citadel_server_success_cert_issuance_count") == before + 3
    newest = http_request(citadel.monitor, f"/debug/issued?id={sa('z')}").json()[0]
    assert newest["by"] == "join-token" and newest["peer"].startswith("ipv4:127.")


def test_what_the_csr_says_is_a_wish(citadel):
    denied = grpc.StatusCode.PERMISSION_DENIED
    refused(denied, sa("b"), citadel.issue, san=f"URI:{sa('b')}", token=citadel.a)
    refused(denied, daemon("pilot"), citadel.issue, san=f"URI:{daemon('pilot')}", token=citadel.any)
    # Other names in a CSR are not even looked at.
    c = citadel.issue(san="DNS:galley.istio-system,DNS:*", token=citadel.a)
    assert c.sans == [f"URI:{sa('a')}"] and "O = whoever" not in c.text.split("Subject:")[1]
    refused(grpc.StatusCode.INVALID_ARGUMENT, "must name one", citadel.issue, token=citadel.any)


def test_tokens_that_are_no_good(citadel):
    who = grpc.StatusCode.UNAUTHENTICATED
    before = citadel.metric("citadel_server_authentication_failure_count")
    refused(who, "expired", citadel.issue, token=citadel.old)
    refused(who, "unknown", citadel.issue, token="guess-guess-guess-guess")
    refused(who, "unknown", citadel.issue, token="")
    refused(who, "unknown", citadel.issue, token="x" * 4000)
    refused(who, "join token", citadel.issue)
    refused(who, "only Bearer", citadel.issue, metadata=[("authorization", "Basic eDp5")])
    assert citadel.metric("citadel_server_authentication_failure_count") == before + 6
    citadel.issue(token=citadel.once)
    refused(who, "used up", citadel.issue, token=citadel.once)
    # No token is ever in a log or on a page.
    pages = "".join(http_request(citadel.monitor, p).text for p in (
        "/debug/tokens", "/debug/issued", "/debug/roots", "/debug/options", "/metrics"))
    for t in citadel.lines:
        assert t not in pages and t not in citadel.process.log()


def test_by_certificate(citadel):
    first = citadel.issue(token=citadel.a)
    again = citadel.issue(cert=first)
    assert again.sans == [f"URI:{sa('a')}"] and again.serial != first.serial
    refused(grpc.StatusCode.PERMISSION_DENIED, sa("b"), citadel.issue, san=f"URI:{sa('b')}",
            cert=first)
    # A certificate does not make a bad token good.
    refused(grpc.StatusCode.UNAUTHENTICATED, "unknown", citadel.issue, cert=first,
            token="guess-guess-guess-guess")


def test_certificates_of_others(citadel, tmp):
    """Signed by another CA, and ended: the handshake fails, or the caller is unknown."""
    cert, key = make_ca(tmp / "other")
    openssl("req", "-new", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-keyout", tmp / "x.key", "-out", tmp / "x.csr", "-subj", "/O=x", "-addext",
            f"subjectAltName=URI:{sa('a')}")
    openssl("x509", "-req", "-in", tmp / "x.csr", "-CA", cert, "-CAkey", key, "-copy_extensions",
            "copyall", "-out", tmp / "x.pem", "-days", "1")

    class Forged:  # pylint: disable=too-few-public-methods
        pem, key = (tmp / "x.pem").read_text(), (tmp / "x.key").read_text()
    with pytest.raises(grpc.RpcError) as e:
        citadel.issue(cert=Forged)
    assert e.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED)

    short = citadel.issue(token=citadel.a, ttl=1)

    def ended():
        try:
            citadel.issue(cert=short)
            return False
        except grpc.RpcError as err:
            return err.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED)
    wait_for(ended, what="a certificate that has ended is refused", interval=0.2)


def test_lifetimes(citadel):
    assert citadel.issue(token=citadel.a, ttl=3600)
    refused(grpc.StatusCode.INVALID_ARGUMENT, "validity_duration", citadel.issue, token=citadel.a,
            ttl=3601)
    refused(grpc.StatusCode.INVALID_ARGUMENT, "validity_duration", citadel.issue, token=citadel.a,
            ttl=2**63 - 1)


def test_malformed_requests(citadel):
    bad, call = grpc.StatusCode.INVALID_ARGUMENT, citadel.call
    csr, _ = citadel.csr()
    body = csr.splitlines()
    broken = "\n".join([body[0], body[1][::-1], *body[2:]])
    deep = b""
    for _ in range(3000):
        deep = field(1, field(1, "x") + field(2, field(5, deep)))
    for request in (b"", b"\xff" * 100, field(1, ""), field(1, "nonsense"), field(1, broken),
                    field(1, csr[:200]), field(1, b"\xff\xfe"), field(4, deep)[:60000],
                    field(1, csr.replace("REQUEST", "KEY"))):
        refused(bad, "", call, request, token=citadel.a)
    # Not signed by its own key; and a key too weak.
    der = openssl("req", "-outform", "DER", stdin=csr.encode())
    forged = openssl("req", "-inform", "DER", stdin=der[:-4] + os.urandom(4)).decode()
    refused(bad, "", call, field(1, forged), token=citadel.a)
    weak, _ = citadel.csr(key=("-newkey", "rsa:1024"))
    refused(bad, "", call, field(1, weak), token=citadel.a)
    refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "", call, field(1, "x" * 100000), token=citadel.a)
    refused(grpc.StatusCode.UNIMPLEMENTED, "", call, b"", token=citadel.a,
            method=CREATE.replace("Create", "Forge"))


def test_garbage_at_the_port(citadel):
    ip, port = citadel.addr.split(":")
    for data in (b"", b"\0" * 1000, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + os.urandom(500),
                 b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 1000):
        with socket.create_connection((ip, int(port)), timeout=5) as s:
            s.sendall(data)


def test_guessing_is_slowed_down(net, tmp):
    (tmp / "slow").mkdir()
    c = Citadel(net, tmp / "slow", "--auth-failure-rate", "2")
    good = c.token(sa("a"))
    c.start()
    codes = []
    for _ in range(12):
        with pytest.raises(grpc.RpcError) as e:
            c.issue(token="guess-guess-guess-guess")
        codes.append(e.value.code())
    assert grpc.StatusCode.UNAUTHENTICATED in codes
    assert codes[-1] == grpc.StatusCode.RESOURCE_EXHAUSTED

    def again():
        try:
            return c.issue(token=good)
        except grpc.RpcError:
            return None
    wait_for(again, what="the address is heard again")
    c.stop()


def test_the_root_is_made_once(net, tmp):
    (tmp / "root").mkdir()
    c = Citadel(net, tmp / "root")
    token = c.token(sa("a"))
    c.start()
    root = c.bundle.read_text()
    for path in (c.state / "citadel").glob("root-*.key"):
        assert path.stat().st_mode & 0o777 == 0o600
    first = c.issue(token=token)
    second = Process("second", c.process.argv, tmp / "root").start()
    assert second.proc.wait(10) == 1 and "in use" in second.log()
    second.expected_exit = True
    c.process.kill()
    c.start()
    assert c.bundle.read_text() == root
    assert c.issue(cert=first).sans == [f"URI:{sa('a')}"]
    c.stop()


def test_refuses_to_start(net, tmp):
    def fails(words, *flags, tokens=None):
        (tmp / "no").mkdir(exist_ok=True)
        c = Citadel(net, tmp / "no", *flags)
        if tokens:
            c.tokens.write_text(tokens)
        c.tokens.chmod(0o644 if "chmod" in words else 0o600)
        p = c.process.start()
        assert p.proc.wait(10) != 0 and words in p.log(), p.tail()
        p.log_path.unlink()
    fails("always serves TLS", "--tls", "off")
    fails("chmod 600")
    fails(":1", tokens="short spiffe://x\n")
    fails("--ca-key", "--ca-cert", tmp / "other" / "ca-cert.pem")
    fails("--dns-san", "--dns-san", "x=")


def test_a_given_ca(net, tmp):
    (tmp / "given").mkdir()
    cert, key = make_ca(tmp / "given" / "ca")
    c = Citadel(net, tmp / "given", "--ca-cert", cert, "--ca-key", key)
    token = c.token(sa("a"))
    c.start()
    got = c.issue(token=token)
    assert got.sans == [f"URI:{sa('a')}"]
    assert "Meltemi test root" in openssl("x509", "-noout", "-issuer",
                                          stdin=got.pem.encode()).decode()
    assert not list((c.state / "citadel").glob("root-*.key"))
    c.stop()
