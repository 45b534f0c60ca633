"""TLS that a destination rule asks for, towards a real TLS server: what the server sees, and what the
proxy refuses. First Envoys that read files themselves, then Envoys with an agent, in both protocol
variants, where endpoints with and without a sidecar are mixed."""
import json
import ssl

import pytest

from mesh import SERVICE_PORT, Mesh
from mesh_tls import AgentEnvoy, TlsMesh, openssl, workload_id
from servers import Http, Server, tls_context
from util import write_atomic

pytestmark = pytest.mark.usefixtures("healthy")

API = "networking.istio.io/v1"
HOST = "api.example.com"


class Authority:
    """A root and what it signs, in a folder."""

    def __init__(self, folder, name):
        self.folder = folder / name
        self.folder.mkdir()
        self.cert, self.key = self.folder / "ca.pem", self.folder / "ca.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                "-nodes", "-keyout", self.key, "-out", self.cert, "-days", "2", "-subj",
                f"/O={name}", "-addext", "basicConstraints=critical,CA:true", "-addext",
                "keyUsage=critical,keyCertSign,cRLSign")

    def sign(self, name, sans="", file=None):
        """(certificate, key) of a leaf."""
        cert, key = self.folder / f"{file or name}.pem", self.folder / f"{file or name}.key"
        csr, ext = self.folder / "csr", self.folder / "ext"
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                "-nodes", "-keyout", self.folder / "key.new", "-out", csr, "-subj", f"/CN={name}")
        ext.write_text("basicConstraints=CA:false\n" +
                       (f"subjectAltName={sans}\n" if sans else ""))
        openssl("x509", "-req", "-in", csr, "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial",
                "-days", "2", "-extfile", ext, "-out", self.folder / "cert.new")
        (self.folder / "key.new").replace(key)
        (self.folder / "cert.new").replace(cert)
        return cert, key

    def revoke(self, cert):
        """A list of what is revoked: this certificate, or nothing (None)."""
        conf, crl = self.folder / "ca.conf", self.folder / "crl.pem"
        conf.write_text(f"[ca]\ndefault_ca=d\n[d]\ndatabase={self.folder}/index\n"
                        f"crlnumber={self.folder}/number\ndefault_md=sha256\n"
                        "default_crl_days=2\n")
        (self.folder / "index").touch()
        (self.folder / "number").write_text("01\n")
        ca = ["ca", "-config", conf, "-cert", self.cert, "-keyfile", self.key]
        if cert:
            openssl(*ca, "-revoke", cert)
        openssl(*ca, "-gencrl", "-out", crl)
        return crl


class Https(Server):
    """Answers what it saw of the client's TLS."""

    def __init__(self, ip, cert, key, client_ca=None):
        seen = {}

        class Handler(Http):
            def do_GET(self):  # pylint: disable=invalid-name
                peer = self.connection.getpeercert() or {}
                names = {k: v for rdn in peer.get("subject", ()) for k, v in rdn}
                self.answer(json.dumps({"sni": seen.get(self.connection), "client": names.get(
                    "commonName"), "host": self.headers["host"]}).encode())

        context = tls_context((cert, key))
        context.sni_callback = lambda sock, name, _: seen.__setitem__(sock, name)
        if client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client_ca)
        super().__init__((ip, 0), Handler, context)


def objects(server, tls, host=HOST, **policy):
    return [{"apiVersion": API, "kind": "ServiceEntry",
             "metadata": {"name": "api", "namespace": "default"},
             "spec": {"hosts": [host], "location": "MESH_EXTERNAL", "resolution": "STATIC",
                      "ports": [{"number": SERVICE_PORT, "name": "http", "protocol": "HTTP"}],
                      "endpoints": [{"address": server.ip, "ports": {"http": server.port}}]}},
            {"apiVersion": API, "kind": "DestinationRule",
             "metadata": {"name": "api", "namespace": "default"},
             "spec": {"host": host, "trafficPolicy": {"tls": {
                 k: str(v) if hasattr(v, "joinpath") else v for k, v in tls.items()}, **policy}}}]


class Pki:
    def __init__(self, net, folder):
        self.ours, self.other = Authority(folder, "ours"), Authority(folder, "other")
        cert, key = self.ours.sign("server", f"DNS:{HOST}")
        self.server_cert = cert
        self.plain = Https(net.ip(), cert, key)
        self.strict = Https(net.ip(), cert, key, self.ours.cert)
        self.client = self.ours.sign("robin")

    def close(self):
        self.plain.close()
        self.strict.close()


@pytest.fixture(scope="module")
def pki(net, tmp):
    folder = tmp / "pki"
    folder.mkdir()
    p = Pki(net, folder)
    yield p
    p.close()


def asks(mesh, rules, until, what):
    """Applies the rules; until(reply of a request to the host) holds."""
    mesh.apply("rules", rules)
    host = rules[0]["spec"]["hosts"][0]

    def probe():
        before = unverified(mesh)
        reply = mesh.client.get(host)
        reply.unverified = unverified(mesh) - before
        return until(reply)
    return mesh.eventually(probe, 20, what=what)


def unverified(mesh):
    """Handshakes that ended because the server's certificate was not right."""
    return sum(mesh.client.envoy.stats("ssl.fail_verify").values())


def refused(reply):
    """The proxy looked at the certificate and went away."""
    assert reply.status == 503 and reply.unverified > 0, (reply, reply.unverified)
    return True


def answered(**want):
    def probe(reply):
        assert reply.status == 200, reply
        got = reply.json()
        assert all(got[k] == v for k, v in want.items()), got
        return True
    return probe


# --- files that Envoy reads itself ---
@pytest.fixture(scope="module")
def plain(net, tmp, apps):
    folder = tmp / "plain"
    folder.mkdir()
    apps.tmp = folder
    m = Mesh(net, folder, apps)
    m.client = m.workload("client")
    m.start()
    yield m
    m.stop()


def test_simple_verifies_root_and_name(plain, pki):
    simple = {"mode": "SIMPLE", "caCertificates": pki.ours.cert}
    asks(plain, objects(pki.plain, simple), answered(sni=HOST, client=None),
         "the server is trusted and asked for by its name")
    asks(plain, objects(pki.plain, {**simple, "caCertificates": pki.other.cert}), refused,
         "another root is not trusted")
    asks(plain, objects(pki.plain, {"mode": "SIMPLE"}), refused,
         "the operating system does not trust the root")
    asks(plain, objects(pki.plain, {"mode": "SIMPLE", "insecureSkipVerify": True}),
         answered(sni=HOST), "nobody looks")


def test_mesh_says_whether_to_verify(plain, pki):
    """verifyCertificateAtClient is for rules that name no roots and say nothing of it."""
    mesh = {"apiVersion": "mesh.istio.io/v1alpha1", "kind": "MeshConfig",
            "metadata": {"name": "default"}, "spec": {"verifyCertificateAtClient": False}}
    asks(plain, [*objects(pki.plain, {"mode": "SIMPLE"}), mesh], answered(sni=HOST), "nobody looks")
    asks(plain, [*objects(pki.plain, {"mode": "SIMPLE", "insecureSkipVerify": False}), mesh],
         refused, "the rule wants it")
    asks(plain, [*objects(pki.plain, {"mode": "SIMPLE", "caCertificates": pki.other.cert}), mesh],
         refused, "roots are named")
    asks(plain, objects(pki.plain, {"mode": "SIMPLE"}), refused, "it is the default")


def test_names_that_are_expected(plain, pki):
    simple = {"mode": "SIMPLE", "caCertificates": pki.ours.cert}
    asks(plain, objects(pki.plain, simple, host="alias.example.com"), refused,
         "the certificate is not the host's")
    asks(plain, objects(pki.plain, {**simple, "subjectAltNames": [HOST]},
                        host="alias.example.com"), answered(sni="alias.example.com"),
         "the name that the rule gives is expected")
    of_entry = objects(pki.plain, simple, host="alias.example.com")
    of_entry[0]["spec"]["subjectAltNames"] = [HOST]
    asks(plain, of_entry, answered(sni="alias.example.com"), "the name that the service gives is expected")
    asks(plain, objects(pki.plain, {**simple, "subjectAltNames": ["other.example.com"]}), refused,
         "another name is expected")
    asks(plain, objects(pki.plain, {**simple, "sni": "else.example.com"}),
         answered(sni="else.example.com"), "the name to ask for is the rule's")


def test_revoked(plain, pki):
    simple = {"mode": "SIMPLE", "caCertificates": pki.ours.cert}
    asks(plain, objects(pki.plain, {**simple, "caCrl": pki.ours.revoke(None)}),
         answered(sni=HOST), "nothing is revoked")
    other = pki.ours.folder / "revoked.pem"
    pki.ours.revoke(pki.server_cert).rename(other)
    asks(plain, objects(pki.plain, {**simple, "caCrl": other}), refused, "it is revoked")


def test_mutual(plain, pki):
    mutual = {"mode": "MUTUAL", "caCertificates": pki.ours.cert,
              "clientCertificate": pki.client[0], "privateKey": pki.client[1]}
    asks(plain, objects(pki.strict, mutual), answered(client="robin", sni=HOST),
         "the server sees the client's certificate")
    asks(plain, objects(pki.strict, {"mode": "SIMPLE", "caCertificates": pki.ours.cert}),
         lambda r: r.status == 503, "without a certificate the server refuses")


# --- with an agent ---
class FilesMesh(TlsMesh):
    """Agents may read the certificates of these tests."""

    def make_envoy(self, w, admin):
        e = AgentEnvoy(self, w, admin)
        e.process.argv += ["--file-cert-dir", str(self.certs)]
        return e


@pytest.fixture(scope="module")
def mesh(net, apps, variant, pki):
    m = FilesMesh(net, apps.tmp, apps, protocol=variant)
    m.certs = pki.ours.folder
    m.client = m.workload("client")
    m.with_sidecar = m.workload("reviews", version="meshed")
    m.without = m.workload("reviews", version="bare", sidecar=False)
    m.start()
    yield m
    m.stop()


def test_endpoints_with_and_without_sidecar(mesh):
    mesh.apply("rules", [])
    mesh.eventually(lambda: {mesh.client.get("reviews").headers.get("x-app-version")
                             for _ in range(8)} == {"meshed", "bare"}, 20, what="both answer")
    for _ in range(20):
        r = mesh.client.get("reviews")
        xfcc = r.json()["headers"].get("x-forwarded-client-cert", "")
        if r.headers["x-app-version"] == "meshed":
            assert f"URI={workload_id('default', 'client')}" in xfcc, xfcc
        else:
            assert not xfcc, xfcc
    # A rule that asks for mutual TLS everywhere loses the one that has no proxy; retries hide it.
    mesh.apply("rules", [{
        "apiVersion": API, "kind": "DestinationRule",
        "metadata": {"name": "reviews", "namespace": "default"},
        "spec": {"host": "reviews", "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}}}])

    def only_meshed():
        got = [mesh.client.get("reviews") for _ in range(16)]
        return {r.headers["x-app-version"] for r in got if r.status == 200} == {"meshed"}
    mesh.eventually(only_meshed, 20, what="plaintext is not spoken any more")
    mesh.apply("rules", [{
        "apiVersion": API, "kind": "DestinationRule",
        "metadata": {"name": "reviews", "namespace": "default"},
        "spec": {"host": "reviews", "trafficPolicy": {"tls": {"mode": "DISABLE"}}}}])
    mesh.eventually(lambda: {
        (r.headers.get("x-app-version"), "x-forwarded-client-cert" in r.json()["headers"])
        for r in [mesh.client.get("reviews") for _ in range(8)]} == {
            ("meshed", False), ("bare", False)}, 20, what="plaintext to both")


def test_mutual_by_files_through_the_agent(mesh, pki):
    cert, key = pki.ours.sign("first", file="turning")
    mutual = {"mode": "MUTUAL", "caCertificates": pki.ours.cert, "clientCertificate": cert,
              "privateKey": key}
    asks(mesh, objects(pki.strict, mutual, connectionPool={"http": {
        "maxRequestsPerConnection": 1}}), answered(client="first", sni=HOST),
         "the server sees the certificate")
    # A changed file is used without a change of configuration.
    pki.ours.sign("second", file="turning")
    mesh.eventually(lambda: answered(client="second")(mesh.client.get(HOST)), 20,
                    what="the renewed certificate is shown")


def test_system_roots_through_the_agent(mesh, pki):
    asks(mesh, objects(pki.plain, {"mode": "SIMPLE"}), refused,
         "the operating system does not trust the root")
    names = json.dumps(mesh.client.envoy.dump())
    assert "file-root:system" in names
    # The secret came: without it the refusal would be for another reason.
    certs = mesh.client.envoy.get("/certs").json()["certificates"]
    assert any(len(c.get("ca_cert", [])) for c in certs)
    stats = mesh.client.envoy.stats("ssl.fail_verify_error")
    assert any(v for k, v in stats.items() if HOST in k), stats


def test_a_secret_that_never_comes_holds_nothing_up(mesh, pki):
    missing = {"mode": "SIMPLE", "caCertificates": str(pki.ours.folder / "missing.pem")}
    asks(mesh, objects(pki.plain, missing), lambda r: r.status == 503, "no roots, no connection")
    # Later changes are taken all the same.
    later = objects(pki.plain, {"mode": "SIMPLE", "caCertificates": pki.ours.cert},
                    host="later.example.com")
    later[1]["spec"]["trafficPolicy"]["tls"]["subjectAltNames"] = [HOST]
    for o in later:
        o["metadata"]["name"] = "later"
    mesh.apply("later", later)
    mesh.eventually(lambda: answered(sni="later.example.com")(
        mesh.client.get("later.example.com")), 20, what="another host works")
    write_atomic(pki.ours.folder / "missing.pem", pki.ours.cert.read_text())
    mesh.eventually(lambda: answered(sni=HOST)(mesh.client.get(HOST)), 20,
                    what="the file that came is used")
    mesh.remove("later")
    (pki.ours.folder / "missing.pem").unlink()
