"""Ports that nobody named, under mutual TLS: HTTP/1.1, HTTP/2 and bytes arrive as they were sent."""
from concurrent import futures

import grpc
import pytest

from mesh_tls import TlsMesh
from test_telemetry import DOMAIN, GRPC_PORT, HTTP_PORT, RAW_PORT, Echoes, raw, service
from test_tls import STRICT
from util import http_request


@pytest.fixture(scope="module")
def mesh(net, tmp, apps):
    m = TlsMesh(net, tmp, apps)
    m.client, m.server = m.workload("client"), m.workload("server")
    s = m.server
    ports = {HTTP_PORT: f"{s.inner}:8000", GRPC_PORT: f"{s.inner}:8002", RAW_PORT: f"{s.inner}:8001"}
    for port, to in ports.items():
        s.more_ingress.append({"port": {"number": port, "name": "x"}, "bind": s.outer,
                               "captureMode": "NONE", "defaultEndpoint": to})
        m.client.more_egress.append({"port": {"number": port, "name": "x"}, "bind": m.client.inner,
                                     "captureMode": "NONE", "hosts": [f"./multi.{DOMAIN}"]})
    app = grpc.server(futures.ThreadPoolExecutor(2))
    app.add_generic_rpc_handlers((Echoes(),))
    assert app.add_insecure_port(ports[GRPC_PORT])
    app.start()
    multi = service("multi", [{"number": p, "name": f"x{p}"} for p in ports], s.outer)
    multi["spec"]["endpoints"][0].update(
        labels={**s.labels, "security.istio.io/tlsMode": "istio"}, serviceAccount="server")
    m.apply("multi", [multi])
    m.start()
    yield m
    m.stop()
    app.stop(None)


@pytest.mark.parametrize("mode", ["PERMISSIVE", "STRICT"])
def test_what_is_sent_arrives(mesh, mode):
    mesh.apply("mode", [STRICT] if mode == "STRICT" else [])
    server, client = mesh.server.outer, mesh.client.inner
    if mode == "STRICT":  # in force once the same in plaintext is refused
        def refused():
            try:
                return b"plain" not in raw(f"{server}:{RAW_PORT}", b"plain\n")  # an alert, at most
            except OSError:
                return True
        mesh.eventually(refused, timeout=20, what="plaintext is refused")

    def ask():
        return http_request(f"{client}:{HTTP_PORT}", "/x", headers={"host": f"multi.{DOMAIN}"})
    r = mesh.eventually(lambda: (r := ask()).status == 200 and r, timeout=20)
    assert r.headers["x-app-version"] == "v1"
    with grpc.insecure_channel(f"{client}:{GRPC_PORT}", options=[
            ("grpc.default_authority", f"multi.{DOMAIN}")]) as channel:
        call = channel.unary_unary("/test.Echo/Say")
        assert call(b"hello", timeout=20, wait_for_ready=True) == b"/test.Echo/Say hello"
    assert b"raw bytes" in raw(f"{client}:{RAW_PORT}", b"\x01\x02 raw bytes\n")
    for port in (HTTP_PORT, GRPC_PORT, RAW_PORT):
        stats = mesh.client.envoy.stats(f"cluster.outbound.{port}.*ssl.handshake")
        assert sum(stats.values()) >= 1, f"port {port} went without TLS"
    mesh.check()
