"""Protocols with their real programs, through two sidecars and mutual TLS: Redis, gRPC-web, Mongo's
messages, and UDP, which is not carried."""
import base64
import re
import socket
import struct
import subprocess

import pytest

from mesh import APP_GRPC_PORT, APP_PORT, APP_TCP_PORT
from mesh_tls import TlsMesh
from test_telemetry import DOMAIN, raw, service
from test_tls import STRICT
from util import Process, http_request, wait_for
from world import BaseWorld

pytestmark = pytest.mark.usefixtures("healthy")

REDIS, WEB, MONGO, UDP = 9379, 9085, 9017, 9353
NAMES = {REDIS: "redis", WEB: "grpc-web", MONGO: "mongo", UDP: "udp-dns"}


class World(BaseWorld):
    def __init__(self, net, tmp, apps):
        m = self.mesh = TlsMesh(net, tmp, apps)
        self.client, self.server = m.workload("client"), m.workload("server", grpc=True)
        self.gw = m.gateway()
        s = self.server
        to = {REDIS: f"{s.inner}:6379", WEB: f"{s.inner}:{APP_GRPC_PORT}",
              MONGO: f"{s.inner}:{APP_TCP_PORT}", UDP: f"{s.inner}:{APP_PORT}"}
        for port, name in NAMES.items():
            listener = {"port": {"number": port, "name": name}, "captureMode": "NONE"}
            s.more_ingress.append({**listener, "bind": s.outer, "defaultEndpoint": to[port]})
            self.client.more_egress.append({**listener, "bind": self.client.inner,
                                            "hosts": [f"./multi.{DOMAIN}"]})
        multi = service("multi", [{"number": p, "name": n} for p, n in NAMES.items()], s.outer)
        multi["spec"]["endpoints"][0].update(
            labels={**s.labels, "security.istio.io/tlsMode": "istio"}, serviceAccount="server")
        m.apply("multi", [multi, STRICT])
        m.apply("edge", [
            {"apiVersion": "networking.istio.io/v1", "kind": "Gateway",
             "metadata": {"name": "edge", "namespace": "default"},
             "spec": {"selector": {"istio": "ingressgateway"}, "servers": [{
                 "port": {"number": 8080, "name": "grpc-web", "protocol": "GRPC-WEB"},
                 "bind": self.gw.outer, "hosts": ["*"]}]}},
            {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
             "metadata": {"name": "edge", "namespace": "default"},
             "spec": {"hosts": ["web.example.com"], "gateways": ["edge"], "http": [{"route": [
                 {"destination": {"host": f"multi.{DOMAIN}", "port": {"number": WEB}}}]}]}}])
        m.daemons["pilot"].argv.append("--redis-filter")
        self.redis = Process("redis", [
            "redis-server", "--bind", s.inner, "--port", 6379, "--save", "", "--appendonly", "no",
            "--protected-mode", "no", "--dir", tmp], tmp).start()
        self.redis_addr = to[REDIS]
        m.start()

    def stop(self):
        self.redis.stop()
        super().stop()


@pytest.fixture(scope="module")
def world(net, tmp, apps):
    w = World(net, tmp, apps)
    yield w
    w.stop()


# --- Redis ---
def redis(addr, *args):
    """One command of the real client; its answer as it prints it."""
    ip, port = addr.split(":")
    r = subprocess.run(["redis-cli", "-h", ip, "-p", port, *args], capture_output=True, timeout=60,
                       text=True, check=False)
    return (r.stdout + r.stderr).strip()


def commands(envoy, prefix, name):
    return envoy.stat(f"redis.{prefix}.command.{name}.total")


def test_redis_commands(world):
    m, addr = world.mesh, f"{world.client.inner}:{REDIS}"
    ends = ((world.client.envoy, f"outbound|{REDIS}||multi.{DOMAIN}"),
            (world.server.envoy, f"inbound|{REDIS}||"))
    m.eventually(lambda: redis(world.redis_addr, "ping") == "PONG", timeout=30)
    m.eventually(lambda: redis(addr, "set", "a", "1") == "OK", timeout=30)
    before = [commands(e, p, "incr") for e, p in ends]
    assert redis(addr, "incr", "a") == "2"
    assert [commands(e, p, "incr") for e, p in ends] == [n + 1 for n in before], \
        "both sides read the command"
    assert redis(addr, "get", "a") == "2"
    assert redis(world.redis_addr, "get", "a") == "2", "it is this server's"
    assert redis(addr, "mset", "b", "x", "c", "y") == "OK"
    assert redis(addr, "mget", "a", "b", "c", "none").split("\n") == ["2", "x", "y"]
    assert redis(addr, "lpush", "b", "z").startswith("WRONGTYPE"), "the server's error comes back"
    assert redis(addr, "del", "a", "b", "c") == "3"
    handshakes = world.client.envoy.stats(f"cluster.outbound.{REDIS}.*ssl.handshake")
    assert sum(handshakes.values()) >= 1, "it went without TLS"


def test_redis_pipeline_and_large_values(world):
    value = b"x" * 100_000
    ask = b"".join(b"*3\r\n$3\r\nSET\r\n$2\r\nk%d\r\n$%d\r\n%s\r\n" % (i, len(value), value)
                   for i in range(10)) + b"*2\r\n$3\r\nGET\r\n$2\r\nk7\r\n"
    want = b"+OK\r\n" * 10 + b"$%d\r\n%s\r\n" % (len(value), value)
    with socket.create_connection((world.client.inner, REDIS), 60) as s:
        s.sendall(ask)
        got = b""
        while len(got) < len(want) and (data := s.recv(65536)):
            got += data
    assert got == want


# --- gRPC-web ---
def frames(body):
    """[(flags, bytes)] of a gRPC-web body."""
    out = []
    while body:
        flags, n = struct.unpack(">BI", body[:5])
        assert len(body) >= 5 + n, "a frame is cut short"
        out.append((flags, body[5:5 + n]))
        body = body[5 + n:]
    return out


def web_call(addr, method, message, host=f"multi.{DOMAIN}", text=False, **meta):
    body = struct.pack(">BI", 0, len(message)) + message
    kind = "application/grpc-web-text" if text else "application/grpc-web+proto"
    headers = {"host": host, "content-type": kind, "x-grpc-web": "1", "te": "trailers",
               **({"accept": kind} if text else {}),
               **{f"x-{k.replace('_', '-')}": str(v) for k, v in meta.items()}}
    return http_request(addr, f"/test.Echo/{method}", "POST", headers,
                        base64.b64encode(body) if text else body)


def from_text(body):
    """Base64, in pieces that may each end with padding."""
    return b"".join(base64.b64decode(piece) for piece in re.findall(rb"[^=]+={0,2}", body))


def trailers(frame):
    assert frame[0] == 0x80, frame
    return dict(line.split(":", 1) for line in frame[1].decode().split("\r\n") if line)


@pytest.mark.parametrize("at", ["sidecar", "gateway"])
def test_grpc_web(world, at):
    addr, host = {"sidecar": (f"{world.client.inner}:{WEB}", f"multi.{DOMAIN}"),
                  "gateway": (f"{world.gw.outer}:8080", "web.example.com")}[at]
    r = world.mesh.eventually(lambda: (r := web_call(addr, "Unary", b"hello \x00\xff", host))
                              .status == 200 and r, timeout=30)
    assert r.headers["content-type"] == "application/grpc-web+proto"
    assert r.headers["x-app-version"] == "v1"
    data, last = frames(r.body)
    assert data == (0, b"hello \x00\xff")
    assert trailers(last)["grpc-status"].strip() == "0"
    assert int(trailers(last)["x-served"]) >= 1, "the application's own trailer"
    # Each message of a stream is a frame; the trailers come once, last.
    r = web_call(addr, "Many", b"m", host, count=3)
    assert [f for f in frames(r.body)[:-1]] == [(0, b"m %d" % i) for i in range(3)]
    assert trailers(frames(r.body)[-1])["grpc-status"].strip() == "0"
    # As text, base64 of the same.
    r = web_call(addr, "Unary", b"in text", host, text=True)
    assert r.headers["content-type"].startswith("application/grpc-web-text")
    data, last = frames(from_text(r.body))
    assert data == (0, b"in text") and trailers(last)["grpc-status"].strip() == "0"
    # A call that fails has no message.
    r = web_call(addr, "Fail", b"", host, status="NOT_FOUND")
    status = r.headers.get("grpc-status") or trailers(frames(r.body)[-1])["grpc-status"]
    assert r.status == 200 and status.strip() == "5"


def test_grpc_web_is_grpc_for_the_receiver(world):
    name = f"http.inbound_{world.server.outer}_{WEB}.downstream_rq_http2_total"
    before = world.server.envoy.stat(name)
    assert web_call(f"{world.client.inner}:{WEB}", "Unary", b"x").status == 200
    assert world.server.envoy.stat(name) == before + 1
    # Counted by the filter for gRPC, with their statuses.
    cluster = f"cluster.outbound|{WEB}||multi.{DOMAIN}.grpc"
    total = [world.client.envoy.stat(f"{cluster}.{n}") for n in ("success", "total")]
    assert web_call(f"{world.client.inner}:{WEB}", "Unary", b"x").status == 200
    assert web_call(f"{world.client.inner}:{WEB}", "Fail", b"", status="NOT_FOUND").status == 200
    assert world.client.envoy.stat(f"{cluster}.success") == total[0] + 1
    assert world.client.envoy.stat(f"{cluster}.total") == total[1] + 2
    assert world.client.envoy.stat(f"{cluster}.5") >= 1, "by status code"
    inbound = world.server.envoy
    assert inbound.stat(f"cluster.inbound|{WEB}||.grpc.total") >= 3
    assert inbound.stat(f"cluster.inbound|{WEB}||.grpc.5") >= 1


# --- Mongo ---
def query(number, collection=b"shop.books\0"):
    """OP_QUERY with an empty document."""
    body = struct.pack("<I", 0) + collection + struct.pack("<ii", 0, 1) + b"\x05\0\0\0\0"
    return struct.pack("<iiii", 16 + len(body), number, 0, 2004) + body


def test_mongo_messages_are_counted(world):
    """The application sends back what it gets, which for Mongo's filter is a query again."""
    ends = ((world.client.envoy, f"outbound|{MONGO}||multi.{DOMAIN}"),
            (world.server.envoy, f"inbound|{MONGO}||"))
    world.mesh.eventually(lambda: query(1) in raw(f"{world.client.inner}:{MONGO}", query(1)),
                          timeout=30)
    for envoy, prefix in ends:
        assert envoy.stat(f"mongo.{prefix}.op_query") >= 1, prefix
        found = envoy.stats(f"mongo.*{MONGO}.*collection.books.query.total")
        assert sum(found.values()) >= 1, found


# --- UDP ---
def test_udp_is_ignored_and_noted(world):
    pilot = world.mesh.monitor["pilot"]
    notes = http_request(pilot, "/debug/push_status").json()["notes"]
    about = [n for n in notes if f"UDP port {UDP}" in str(n)]
    assert f"UDP port {UDP} of multi.{DOMAIN}" in str(about) and "ServiceEntry" in str(about), notes
    for w, path in ((world.client, "spec.egress"), (world.server, "spec.ingress")):
        notes = http_request(pilot, f"/debug/notes?proxyID={w.name}.default").json()["notes"]
        assert [n for n in notes if n["path"] == path and f"UDP port {UDP}" in n["note"]], notes
        assert not [a for a in w.envoy.listeners() if a.endswith(f":{UDP}")]
    assert not world.client.envoy.stats(f"cluster.outbound.{UDP}")
    wait_for(lambda: redis(f"{world.client.inner}:{REDIS}", "ping") == "PONG",
             what="the other ports of the service work")
