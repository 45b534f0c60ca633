"""Ports that nobody named, under mutual TLS: HTTP/1.1, HTTP/2 and bytes arrive as they were sent, and what
is HTTP is HTTP for the receiving side too: its statistics, its access log, Mixer's verdicts."""
import socket
import ssl
import threading
from concurrent import futures

import grpc
import pytest

from mesh_tls import TlsMesh
from test_mixer import deny, mesh_config
from test_oldest import ENVOY as OLDEST
from test_telemetry import DOMAIN, GRPC_PORT, HTTP_PORT, RAW_PORT, Echoes, raw, requests, service
from test_tls import STRICT
from util import http_request

FIRST_PORT = 9086  # there the server speaks first
FORBIDDEN = {"x-forbidden": "yes"}


class Greeter:
    """Says hello to who connects, before it is asked anything, and then sends back what it gets."""

    def __init__(self, ip, port):
        self.server = socket.create_server((ip, port))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                c, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self.talk, args=(c,), daemon=True).start()

    @staticmethod
    def talk(c):
        with c:
            c.sendall(b"hello, who are you?\n")
            while data := c.recv(1000):
                c.sendall(data)

    def stop(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()


@pytest.fixture(scope="module", params=["newest", "oldest"])
def mesh(request, net, tmp, apps):
    tmp = tmp / request.param
    tmp.mkdir()
    apps.tmp = tmp
    m = TlsMesh(net, tmp, apps, mixer=True,
                envoy_binary=OLDEST if request.param == "oldest" else None)
    m.client, m.server = m.workload("client"), m.workload("server")
    for w in (m.client, m.server):
        w.agent_flags = ["--envoy-arg=--file-flush-interval-msec", "--envoy-arg=100"]
    s = m.server
    ports = {HTTP_PORT: f"{s.inner}:8000", GRPC_PORT: f"{s.inner}:8002", RAW_PORT: f"{s.inner}:8001",
             FIRST_PORT: f"{s.inner}:8003"}
    for port, to in ports.items():
        s.more_ingress.append({"port": {"number": port, "name": "x"}, "bind": s.outer,
                               "captureMode": "NONE", "defaultEndpoint": to})
        m.client.more_egress.append({"port": {"number": port, "name": "x"}, "bind": m.client.inner,
                                     "captureMode": "NONE", "hosts": [f"./multi.{DOMAIN}"]})
    app = grpc.server(futures.ThreadPoolExecutor(2))
    app.add_generic_rpc_handlers((Echoes(),))
    assert app.add_insecure_port(ports[GRPC_PORT])
    app.start()
    greeter = Greeter(s.inner, 8003)
    multi = service("multi", [{"number": p, "name": f"x{p}"} for p in ports], s.outer)
    multi["spec"]["endpoints"][0].update(
        labels={**s.labels, "security.istio.io/tlsMode": "istio"}, serviceAccount="server")
    m.log = m.config.parent / "access.log"
    config = mesh_config(m, False)
    config["spec"].update(accessLogFile=str(m.log), protocolDetectionTimeout="1s",
                          accessLogFormat="%REQ(:PATH)% %PROTOCOL% %UPSTREAM_CLUSTER%")
    m.apply("multi", [multi])
    m.apply("mesh", [config])
    m.apply("deny", deny('request.headers["x-forbidden"] == "yes" && '
                         'context.reporter.kind == "inbound"'))
    m.start()
    yield m
    m.stop()
    greeter.stop()
    app.stop(None)


@pytest.fixture(params=["PERMISSIVE", "STRICT"])
def mode(request, mesh):
    mesh.apply("mode", [STRICT] if request.param == "STRICT" else [])
    addr = f"{mesh.server.outer}:{RAW_PORT}"

    def plaintext_passes():
        try:
            return b"plain" in raw(addr, b"plain\n")
        except OSError:  # an alert and an end, at most
            return False
    mesh.eventually(lambda: plaintext_passes() == (request.param == "PERMISSIVE"), timeout=30,
                    what=f"{request.param} is in force")
    yield request.param
    if getattr(request.node, "failed", False):
        print(mesh.logs())
    mesh.check()


def ask(mesh, path, headers=None):
    return http_request(f"{mesh.client.inner}:{HTTP_PORT}", path,
                        headers={"host": f"multi.{DOMAIN}", **(headers or {})})


def call(mesh, data, metadata=()):
    with grpc.insecure_channel(f"{mesh.client.inner}:{GRPC_PORT}", options=[
            ("grpc.default_authority", f"multi.{DOMAIN}")]) as channel:
        return channel.unary_unary("/test.Echo/Say")(data, timeout=30, wait_for_ready=True,
                                                     metadata=metadata)


def handshakes(mesh, port):
    return sum(mesh.client.envoy.stats(f"cluster.outbound.{port}.*ssl.handshake").values())


def logged(mesh, line):
    return mesh.log.exists() and line in mesh.log.read_text().splitlines()


def test_http1(mesh, mode):
    path = f"/{mode}"
    r = mesh.eventually(lambda: (r := ask(mesh, path)).status == 200 and r, timeout=30)
    assert r.headers["x-app-version"] == "v1"
    assert handshakes(mesh, HTTP_PORT) >= 1, "it went without TLS"
    for cluster in (f"outbound|{HTTP_PORT}||multi.{DOMAIN}", f"inbound|{HTTP_PORT}||"):
        mesh.eventually(lambda c=cluster: logged(mesh, f"{path} HTTP/1.1 {c}"), timeout=30)
    before = requests(mesh.server, "inbound", HTTP_PORT)
    assert ask(mesh, path).status == 200
    assert requests(mesh.server, "inbound", HTTP_PORT) == before + 1
    # The peer is known, and Mixer's verdict, asked for by the receiver, is obeyed.
    assert "spiffe://" in str(r.json()["headers"]).lower()
    mesh.eventually(lambda: ask(mesh, path, FORBIDDEN).status == 403, timeout=30)


def test_grpc(mesh, mode):
    assert mesh.eventually(lambda: call(mesh, b"hello"), timeout=30) == b"/test.Echo/Say hello"
    assert handshakes(mesh, GRPC_PORT) >= 1, "it went without TLS"
    before = requests(mesh.server, "inbound", GRPC_PORT)
    assert call(mesh, mode.encode()) == b"/test.Echo/Say " + mode.encode()
    assert requests(mesh.server, "inbound", GRPC_PORT) == before + 1
    mesh.eventually(lambda: logged(mesh, f"/test.Echo/Say HTTP/2 inbound|{GRPC_PORT}||"), timeout=30)
    with pytest.raises(grpc.RpcError) as e:
        call(mesh, b"no", tuple(FORBIDDEN.items()))
    assert e.value.code() == grpc.StatusCode.PERMISSION_DENIED


def test_bytes(mesh, mode):  # pylint: disable=unused-argument
    before = requests(mesh.server, "inbound", RAW_PORT)
    assert b"raw bytes" in raw(f"{mesh.client.inner}:{RAW_PORT}", b"\x01\x02 raw bytes\n")
    assert handshakes(mesh, RAW_PORT) >= 1, "it went without TLS"
    assert requests(mesh.server, "inbound", RAW_PORT) == before


def test_server_speaks_first(mesh, mode):  # pylint: disable=unused-argument
    with socket.create_connection((mesh.client.inner, FIRST_PORT), 60) as s:
        f = s.makefile("rwb")
        assert f.readline() == b"hello, who are you?\n"
        f.write(b"me\n")
        f.flush()
        assert f.readline() == b"me\n"
    assert handshakes(mesh, FIRST_PORT) >= 1, "it went without TLS"


@pytest.mark.parametrize("protocol", [None, "http/1.1", "h2"])
def test_tls_of_the_application_passes(mesh, mode, protocol):
    """PERMISSIVE: what is not the mesh's own TLS goes to the application as it is."""
    if mode == "STRICT":
        return
    context, out = ssl.create_default_context(), ssl.MemoryBIO()
    if protocol:
        context.set_alpn_protocols([protocol])
    handshake = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="its.own.name")
    with pytest.raises(ssl.SSLWantReadError):
        handshake.do_handshake()
    hello = out.read()
    assert hello in raw(f"{mesh.server.outer}:{RAW_PORT}", hello), "the application echoes it"


def test_plaintext(mesh, mode):
    """Who comes without a sidecar: HTTP is told apart by its first bytes, or refused."""
    before = requests(mesh.server, "inbound", HTTP_PORT)
    if mode == "STRICT":
        with pytest.raises(OSError):
            http_request(f"{mesh.server.outer}:{HTTP_PORT}", "/plain")
        return
    assert http_request(f"{mesh.server.outer}:{HTTP_PORT}", "/plain").status == 200
    assert requests(mesh.server, "inbound", HTTP_PORT) == before + 1
    assert http_request(f"{mesh.server.outer}:{HTTP_PORT}", "/plain",
                        headers=FORBIDDEN).status == 403
