"""What no peer should send, at every port and in every file: a clear error, no crash, no growth."""
import os
import random
import socket

import grpc
import pytest

from mesh import Mesh
from test_traffic import BASE
from util import http_request, wait_for

pytestmark = pytest.mark.leaks
ADS = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"


@pytest.fixture(scope="module")
def mesh(net, tmp, apps):
    m = Mesh(net, tmp, apps, mixer=True)
    m.client = m.workload("client")
    m.reviews = m.workload("reviews")
    m.apply("rules", BASE)
    m.start()
    yield m
    m.stop()


@pytest.fixture(autouse=True)
def unharmed(request, mesh):
    """Each daemon is the same process afterwards, ready, and no bigger by more than 32 MB."""
    before = {n: (p.pid, p.rss_kb()) for n, p in mesh.daemons.items()}
    yield
    if getattr(request.node, "failed", False):
        print(mesh.logs())
    for n, p in mesh.daemons.items():
        p.check()
        assert p.pid == before[n][0]
        wait_for(lambda n=n: http_request(mesh.monitor[n], "/readyz").status == 200)
        if "asan" not in os.environ.get("MELTEMI_BUILD", ""):
            assert p.rss_kb() < before[n][1] + 32 * 1024, n
    assert mesh.client.get("reviews").status == 200
    mesh.check()


def grpc_ports(mesh):
    return {"galley": mesh.galley_addr, "pilot": mesh.xds_addr, "mixer": mesh.mixer_addr}


GRPC = ["galley", "pilot", "mixer"]


def poke(addr, data, wait=2.0):
    """Sends bytes; what came back until the peer closed or fell silent."""
    ip, port = addr.rsplit(":", 1)
    out = b""
    with socket.create_connection((ip, int(port)), timeout=wait) as s:
        try:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            while chunk := s.recv(65536):
                out += chunk
        except OSError:
            pass
    return out


@pytest.mark.parametrize("name", GRPC)
def test_garbage_at_grpc_ports(mesh, name):
    addr = grpc_ports(mesh)[name]
    rng = random.Random(7)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    for data in (b"", b"\0" * 100, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", preface,
                 preface + b"\xff" * 1000, preface + bytes(rng.randrange(256) for _ in range(5000)),
                 b"\x16\x03\x01" + bytes(rng.randrange(256) for _ in range(500))):
        poke(addr, data, wait=0.5)


@pytest.mark.parametrize("name", GRPC)
def test_garbage_at_monitoring_ports(mesh, name):
    addr = mesh.monitor[name]
    for data in (b"\0" * 100, b"GET", b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n",
                 b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 20000 + b"\r\n",
                 b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\nabc",
                 b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n"):
        poke(addr, data, wait=0.5)
    assert http_request(addr, "/no/such/page").status == 404
    assert http_request(addr, "/debug/../../etc/passwd").status in (400, 404)
    assert http_request(addr, "/healthz", method="BREW").status in (400, 404, 405, 501)


@pytest.mark.parametrize("name", GRPC)
def test_every_page_answers(mesh, name):
    """With its arguments, without them, and with some that name nothing."""
    pages = [p["path"] for p in http_request(mesh.monitor[name], "/debug/").json()["pages"]]
    assert len(pages) > 3
    for path in pages + ["/metrics", "/version", "/healthz", "/readyz", "/"]:
        for query in ("", "?", f"?proxyID={mesh.client.name}.default&host={mesh.client.host}&trim",
                      "?proxyID=nobody&host=nowhere&name=nothing&level=loud&scope=none", "?=&&%zz"):
            r = http_request(mesh.monitor[name], path + query)
            assert r.status in (200, 400, 404), (path + query, r)
            assert r.status == 200 or query or path == "/" or "must name" in r.text, (path, r)
        assert http_request(mesh.monitor[name], path, method="POST", body="x" * 1000).status < 500


def test_many_idle_connections_are_bounded(mesh):
    """A monitoring port that is full still frees itself."""
    ip, port = mesh.monitor["pilot"].rsplit(":", 1)
    held = []
    try:
        for _ in range(300):
            held.append(socket.create_connection((ip, int(port)), timeout=2))
    except OSError:
        pass
    for s in held:
        s.close()
    wait_for(lambda: http_request(mesh.monitor["pilot"], "/healthz").status == 200)


def call(addr, method, request, stream=True, timeout=5):
    """The status code of a call with raw bytes; OK when an answer came."""
    with grpc.insecure_channel(addr) as ch:
        raw = {"request_serializer": bytes, "response_deserializer": bytes}
        try:
            if stream:
                answers = ch.stream_stream(method, **raw)(iter([request]), timeout=timeout)
                next(answers)
                answers.cancel()
            else:
                ch.unary_unary(method, **raw)(request, timeout=timeout)
            return grpc.StatusCode.OK
        except StopIteration:
            return grpc.StatusCode.OK
        except grpc.RpcError as e:
            return e.code()


@pytest.mark.parametrize("name", GRPC)
def test_unknown_method(mesh, name):
    code = call(grpc_ports(mesh)[name], "/no.such.Service/Method", b"", stream=False)
    assert code == grpc.StatusCode.UNIMPLEMENTED


def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def nested_struct(depth):
    """google.protobuf.Value, `depth` structs deep."""
    value = b"\x20\x01"
    for _ in range(depth):
        entry = field(1, b"k") + field(2, value)
        value = field(5, field(1, entry))
    return value


BAD_REQUESTS = {
    "garbage": b"\xff" * 50,
    "wrong wire type": b"\x08\x01\x10\x02",
    "length beyond the end": b"\x0a\xff\xff\xff\x0f",
    "no node": field(4, b"type.googleapis.com/envoy.config.cluster.v3.Cluster"),
    "node without an id": field(2, field(2, b"x")),
    "node of a bad form": field(2, field(1, b"sidecar~nonsense")),
    "node of an unknown kind": field(2, field(1, b"toaster~127.0.0.1~a.b~b.svc.cluster.local")),
    "deep metadata": field(2, field(1, b"sidecar~127.0.0.1~a.b~b.svc.cluster.local") +
                           field(3, field(1, field(1, b"k") + field(2, nested_struct(4000))))),
    "long id": field(2, field(1, b"sidecar~127.0.0.1~" + b"a" * 100000 + b".b~b.svc")),
    "invalid UTF-8": field(2, field(1, b"sidecar~127.0.0.1~\xff\xfe.b~b.svc.cluster.local")),
}


# Galley's clients have node ids of a form of their own.
BAD_AT = [(n, w) for n in ("pilot", "galley") for w in BAD_REQUESTS
          if n == "pilot" or not w.startswith("node of")]


@pytest.mark.parametrize("method", ["StreamAggregatedResources", "DeltaAggregatedResources"])
@pytest.mark.parametrize("name,what", BAD_AT)
def test_malformed_discovery_requests(mesh, name, method, what):
    code = call(grpc_ports(mesh)[name], ADS + method, BAD_REQUESTS[what])
    assert code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED,
                    grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INTERNAL), code


def test_a_message_beyond_the_limit(mesh):
    code = call(mesh.xds_addr, ADS + "StreamAggregatedResources",
                field(2, field(1, b"x" * (20 << 20))))
    assert code in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT)


@pytest.mark.parametrize("what", ["garbage", "length beyond the end", "empty"])
def test_malformed_checks(mesh, what):
    request = {"empty": b""}.get(what, BAD_REQUESTS.get(what))
    code = call(mesh.mixer_addr, "/envoy.service.auth.v3.Authorization/Check", request,
                stream=False)
    assert code in (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT,
                    grpc.StatusCode.INTERNAL)
    assert what == "empty" or code != grpc.StatusCode.OK


HEAD = "apiVersion: networking.istio.io/v1alpha3\nkind: VirtualService\n"
NAMED = HEAD + "metadata: {name: bad, namespace: default}\n"
BAD_FILES = {
    "not yaml": "{{{{",
    "tabs": "a:\n\t- b",
    "unknown field": NAMED + "spec: {hosts: [a], nonsense: 1}",
    "wrong type": NAMED + "spec: {hosts: 7}",
    "duplicate key": NAMED + "spec: {hosts: [a], hosts: [b]}",
    "no name": HEAD + "spec: {hosts: [a]}",
    "unknown kind": "apiVersion: v1\nkind: Toaster\nmetadata: {name: a}\n",
    "bad duration": NAMED + "spec: {hosts: [a], http: [{timeout: soon, route: "
                            "[{destination: {host: a}}]}]}",
    "bad name": HEAD + "metadata: {name: '../x', namespace: default}\nspec: {hosts: [a]}",
    "billion laughs": "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [" + ",".join(["*" + chr(97 + i)] * 9) + "]\n"
        for i in range(9)),
    "nested flow": "[" * 50000,
    "self reference": "a: &a [*a]\n",
    "binary": "\x00\x01\x02",
    "long line": NAMED + "spec: {hosts: [" + "a" * 3000000 + "]}",
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_malformed_files(mesh, what):
    name = "bad-" + what.replace(" ", "-")
    mesh.apply(name, BAD_FILES[what])
    try:
        wait_for(lambda: name in http_request(mesh.monitor["galley"], "/debug/config").text, 10,
                 what="Galley reports the file")
        assert name in mesh.daemons["galley"].log(), "the log says so too"
    finally:
        mesh.remove(name)
    wait_for(lambda: name not in http_request(mesh.monitor["galley"], "/debug/config").text, 10,
             what="the report goes with the file")


def test_a_source_that_is_no_folder_at_all(mesh):
    """A file without a readable form, a directory named like a file, a dangling link."""
    (mesh.config / "dir.yaml").mkdir()
    (mesh.config / "dangling.yaml").symlink_to("nowhere")
    (mesh.config / "loop.yaml").symlink_to("loop.yaml")
    try:
        mesh.apply("rules", BASE)
        assert mesh.client.get("reviews").status == 200
    finally:
        (mesh.config / "dir.yaml").rmdir()
        (mesh.config / "dangling.yaml").unlink()
        (mesh.config / "loop.yaml").unlink()
