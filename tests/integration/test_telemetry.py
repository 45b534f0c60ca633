"""Protocols that nobody named, access logs, spans, and mesh settings changed while all runs."""
import http.client
import http.server
import json
import socket
import threading
from concurrent import futures

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from mesh import Mesh
from util import http_request, wait_for
from world import BaseWorld

pytestmark = pytest.mark.usefixtures("healthy")

API, DOMAIN = "networking.istio.io/v1alpha3", "default.svc.cluster.local"
HTTP_PORT, GRPC_PORT, RAW_PORT, MONGO_PORT = 9082, 9083, 9084, 9085


def mesh_config(**spec):
    return {"apiVersion": "mesh.istio.io/v1alpha1", "kind": "MeshConfig",
            "metadata": {"name": "default"}, "spec": spec}


def telemetry(name="default", **spec):
    return {"apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry",
            "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def service(name, ports, address):
    return {"apiVersion": API, "kind": "ServiceEntry",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"hosts": [f"{name}.{DOMAIN}"], "location": "MESH_INTERNAL",
                     "resolution": "STATIC", "ports": ports, "endpoints": [{"address": address}]}}


class Collector:
    """Takes spans: Zipkin's JSON and OpenTelemetry's protobuf over HTTP, and the latter over gRPC."""

    def __init__(self, ip):
        self.zipkin, self.otlp, self.segments, collector = [], [], [], self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = b"".join(self.chunks())
                if self.path == "/api/v2/spans":
                    collector.zipkin += json.loads(body)
                else:
                    collector.take(body)
                self.send_response(202)
                self.send_header("content-length", "0")
                self.end_headers()

            def chunks(self):
                if "content-length" in self.headers:
                    yield self.rfile.read(int(self.headers["content-length"]))
                    return
                while n := int(self.rfile.readline(), 16):
                    yield self.rfile.read(n)
                    self.rfile.readline()
                self.rfile.readline()

            def log_message(self, *args):
                pass

        class Calls(grpc.GenericRpcHandler):
            def service(self, details):
                if details.method == "/skywalking.v3.TraceSegmentReportService/collect":
                    token = dict(details.invocation_metadata).get("authentication")

                    def segments(bodies, _):
                        for b in bodies:
                            collector.segments.append((token, b))
                        return b""
                    return grpc.stream_unary_rpc_method_handler(segments)
                if not details.method.endswith("TraceService/Export"):
                    return None
                return grpc.unary_unary_rpc_method_handler(lambda body, _: collector.take(body))

        self.http = http.server.ThreadingHTTPServer((ip, 9411), Handler)
        # A stream of segments holds a thread for as long as it is open; each thread of an Envoy has one.
        self.grpc = grpc.server(futures.ThreadPoolExecutor(32))
        self.grpc.add_generic_rpc_handlers((Calls(),))
        self.http_addr, self.grpc_addr = f"{ip}:9411", f"{ip}:4317"
        assert self.grpc.add_insecure_port(self.grpc_addr)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.grpc.start()

    def take(self, body):
        r = trace_service_pb2.ExportTraceServiceRequest.FromString(body)
        for rs in r.resource_spans:
            name = {a.key: a.value.string_value for a in rs.resource.attributes}.get("service.name")
            lists = getattr(rs, "scope_spans", None) or rs.instrumentation_library_spans
            for span in (s for scope in lists for s in scope.spans):
                self.otlp.append((name, {a.key: a.value.string_value for a in span.attributes}))
        return b""

    def stop(self):
        self.http.shutdown()
        self.http.server_close()
        self.grpc.stop(None)


class Echoes(grpc.GenericRpcHandler):
    """A gRPC service that sends back what it got, the name of the method before it."""

    def service(self, details):
        def handle(request, _):
            return details.method.encode() + b" " + request
        return grpc.unary_unary_rpc_method_handler(handle)


class World(BaseWorld):
    def __init__(self, net, tmp, apps):
        m = self.mesh = Mesh(net, tmp, apps)
        self.client = m.workload("client")
        self.server = s = m.workload("server")
        self.ports = {HTTP_PORT: f"{s.inner}:8000", GRPC_PORT: f"{s.inner}:8002",
                      RAW_PORT: f"{s.inner}:8001", MONGO_PORT: f"{s.inner}:8001"}
        for port, to in self.ports.items():
            name = "mongo" if port == MONGO_PORT else f"unnamed-{port}"
            s.more_ingress.append({"port": {"number": port, "name": name}, "bind": s.outer,
                                   "captureMode": "NONE", "defaultEndpoint": to})
            self.client.more_egress.append({
                "port": {"number": port, "name": name}, "bind": self.client.inner,
                "captureMode": "NONE", "hosts": [f"./multi.{DOMAIN}"]})
        self.grpc = grpc.server(futures.ThreadPoolExecutor(2))
        self.grpc.add_generic_rpc_handlers((Echoes(),))
        assert self.grpc.add_insecure_port(self.ports[GRPC_PORT])
        self.grpc.start()
        self.collector = c = Collector(net.ip())
        self.log = m.config.parent / "access.log"
        self.marks = 0
        m.apply("multi", [
            service("multi", [{"number": p, "name": "mongo" if p == MONGO_PORT else f"unnamed-{p}"}
                              for p in self.ports], s.outer),
            service("collector", [{"number": 9411, "name": "http"}, {"number": 4317, "name": "grpc"}],
                    c.http_addr.split(":")[0])])
        m.start()

    def before(self):
        self.mesh_config()
        self.telemetry()

    def mesh_config(self, **spec):
        self.mesh.apply("mesh-config", [mesh_config(**spec)] if spec else [])

    def telemetry(self, *objects):
        self.mesh.apply("telemetry", list(objects))

    def ask(self, **kw):
        """A request with a path of its own; the path."""
        self.marks += 1
        path = f"/r{self.marks}"
        assert self.client.get("server", path, **kw).status == 200
        return path

    def lines(self):
        return self.log.read_text().splitlines() if self.log.exists() else []

    def requests_until(self, seen, what, timeout=25, **kw):
        """Asks until seen() says so."""
        def probe():
            for _ in range(6):  # Envoy sends spans when it has five, or after five seconds
                self.ask(**kw)
            return seen()
        return self.mesh.eventually(probe, timeout=timeout, what=what)

    def stop(self):
        super().stop()
        self.collector.stop()
        self.grpc.stop(None)


@pytest.fixture(scope="module")
def world(net, tmp, apps):
    w = World(net, tmp, apps)
    yield w
    w.stop()


def requests(w, direction, port):
    name = {"outbound": f"http.outbound_{w.inner}_{port}", "inbound":
            f"http.inbound_{w.outer}_{port}"}[direction]
    return w.envoy.stat(f"{name}.downstream_rq_total".replace(":", "_"))


def test_detects_http1(world):
    addr = f"{world.client.inner}:{HTTP_PORT}"
    before = requests(world.client, "outbound", HTTP_PORT), requests(world.server, "inbound", HTTP_PORT)
    r = world.mesh.eventually(lambda: http_request(addr, "/x", headers={"host": f"multi.{DOMAIN}"}))
    assert r.status == 200 and r.headers["x-app-version"] == "v1"
    assert requests(world.client, "outbound", HTTP_PORT) == before[0] + 1
    assert requests(world.server, "inbound", HTTP_PORT) == before[1] + 1


def test_detects_http2(world):
    """A gRPC call is HTTP/2 all the way: Envoy speaks to the server what the client spoke."""
    with grpc.insecure_channel(f"{world.client.inner}:{GRPC_PORT}", options=[
            ("grpc.default_authority", f"multi.{DOMAIN}")]) as channel:
        call = channel.unary_unary("/test.Echo/Say")
        assert call(b"hello", timeout=10, wait_for_ready=True) == b"/test.Echo/Say hello"
    assert requests(world.client, "outbound", GRPC_PORT) == 1
    assert requests(world.server, "inbound", GRPC_PORT) == 1
    stats = world.client.envoy.stats("grpc.test")  # counted by method's service: a gRPC statistic
    assert not stats, "names that clients make up are not counted"
    assert world.client.envoy.stat(f"cluster.outbound|{GRPC_PORT}||multi.{DOMAIN}.grpc.success") == 1


def raw(addr, data):
    ip, port = addr.split(":")
    with socket.create_connection((ip, int(port)), 10) as s:
        s.settimeout(10)
        s.sendall(data)
        got = b""
        while data not in got and (more := s.recv(1000)):
            got += more
        return got


@pytest.mark.parametrize("port", [RAW_PORT, MONGO_PORT])
def test_bytes_pass_as_they_are(world, port):
    """What is not HTTP goes on as TCP; Mongo's filter passes what it does not understand."""
    addr = f"{world.client.inner}:{port}"
    answer = wait_for(lambda: raw(addr, b"\x01\x02 raw bytes\n"))
    assert b"raw bytes" in answer
    assert requests(world.client, "outbound", port) == 0
    if port == MONGO_PORT:
        assert world.client.envoy.stats(f"mongo.*{MONGO_PORT}"), "the filter has its statistics"


def test_text_log(world):
    world.mesh_config(accessLogFile=str(world.log),
                      accessLogFormat="%REQ(:PATH)% %RESPONSE_CODE% %UPSTREAM_CLUSTER%")

    def both():
        path = world.ask()
        return wait_for(lambda: {f"{path} 200 outbound|9080||server.{DOMAIN}",
                                 f"{path} 200 inbound|9080||"} <= set(world.lines()), 2)
    world.mesh.eventually(both, timeout=20, what="a line of each side")


def test_default_text_log(world):
    world.log.unlink(missing_ok=True)
    log = world.log.with_name("default.log")
    world.mesh_config(accessLogFile=str(log))

    def logged():
        path = world.ask()
        return wait_for(lambda: [x for x in log.read_text().splitlines() if f" {path} " in x], 3)
    line = world.mesh.eventually(logged, timeout=20)[0]
    assert line.startswith("[20") and f'HTTP/1.1" 200 - via_upstream - "-" 0 ' in line, line


def test_json_log_changed_live(world):
    """The encoding changes while requests are answered; no proxy is restarted."""
    log = world.log.with_name("json.log")
    world.mesh_config(accessLogFile=str(log), accessLogEncoding="JSON")

    def entries(path):
        return [e for e in map(json.loads, log.read_text().splitlines()) if e.get("path") == path]

    def logged():
        path = world.ask(headers={"user-agent": "tester"})
        return wait_for(lambda: entries(path), 3)
    e = world.mesh.eventually(logged, timeout=20)[0]
    assert e["method"] == "GET" and e["response_code"] == 200 and e["user_agent"] == "tester"
    assert {"start_time", "upstream_host", "duration", "route_name", "request_id"} <= e.keys()
    other = world.log.with_name("own.log")
    world.mesh_config(accessLogFile=str(other), accessLogEncoding="JSON",
                      accessLogFormat=json.dumps({"where": "%REQ(:PATH)%", "in": {"code": "%RESPONSE_CODE%"}}))
    world.mesh.eventually(lambda: world.ask() and other.exists() and any(
        json.loads(x)["in"]["code"] == 200 for x in other.read_text().splitlines()))


def test_telemetry_chooses_logs(world):
    """A Telemetry object of the namespace sends failures alone to another file, for servers only."""
    log = world.log.with_name("failures.log")
    world.mesh_config(extensionProviders=[{"name": "failures", "envoyFileAccessLog": {
        "path": str(log), "logFormat": {"text": "%REQ(:PATH)% %RESPONSE_CODE% %UPSTREAM_CLUSTER%"}}}])
    world.telemetry(telemetry(accessLogging=[{
        "match": {"mode": "SERVER"}, "providers": [{"name": "failures"}],
        "filter": {"expression": "response.code >= 400"}}]))

    def failure_logged():
        world.client.get("server", "/?status=503")
        return log.exists() and log.read_text()
    text = world.mesh.eventually(failure_logged, timeout=20, what="a failure is logged")
    good = world.ask()
    world.client.get("server", "/?status=503")
    wait_for(lambda: log.read_text() != text)
    for line in log.read_text().splitlines():
        assert line.endswith(" 503 inbound|9080||"), line
    assert good not in log.read_text()


def test_spans_to_zipkin(world):
    world.mesh_config(enableTracing=True, defaultConfig={"tracing": {
        "sampling": 100, "zipkin": {"address": world.collector.http_addr},
        "customTags": {"stage": {"literal": {"value": "test"}},
                       "caller": {"header": {"name": "x-caller", "defaultValue": "nobody"}},
                       "home": {"environment": {"name": "HOME", "defaultValue": "none"}}}}})
    spans = world.collector.zipkin
    world.requests_until(lambda: any(s["tags"].get("caller") == "me" for s in spans),
                         "a span with the header's tag", headers={"x-caller": "me"})
    span = next(s for s in spans if s["tags"].get("caller") == "me")
    assert span["tags"]["stage"] == "test" and "home" in span["tags"]
    assert span["tags"]["http.status_code"] == "200"

    def both_sides():
        kinds = {}
        for s in spans:
            kinds.setdefault(s["traceId"], set()).add(s["kind"])
        return any({"CLIENT", "SERVER"} <= k for k in kinds.values())
    world.requests_until(both_sides, "the client's and the server's span in one trace")


def test_sampling(world):
    """Nothing at 0 %, every request at 100 %; the client's and the server's side apart."""
    provider = {"name": "otel", "opentelemetry": {
        "service": f"collector.{DOMAIN}", "port": 4317}}
    world.mesh_config(extensionProviders=[provider])

    def rules(sampling):
        world.telemetry(telemetry(tracing=[{
            "providers": [{"name": "otel"}], "randomSamplingPercentage": sampling,
            "customTags": {"round": {"literal": {"value": str(sampling)}}}}]))
    seen = world.collector.otlp
    rules(100)
    world.requests_until(lambda: {"client.default", "server.default"} <= {
        name for name, tags in seen if tags.get("round") == "100"}, "spans of both sides")
    name, tags = next(x for x in seen if x[0] == "client.default")
    assert tags["http.method"] == "GET" and tags["round"] == "100"
    rules(0)
    both = (world.client.envoy, world.server.envoy)

    def sampled():
        return [sum(e.stats("http.*tracing.random_sampling").values()) for e in both]

    def quiet():
        before = sampled()
        for _ in range(20):
            world.ask()
        return before == sampled()
    world.mesh.eventually(quiet, timeout=20, what="no request is sampled")


def test_spans_over_http(world):
    world.mesh_config(extensionProviders=[{"name": "otel", "opentelemetry": {
        "service": f"collector.{DOMAIN}", "port": 9411, "http": {
            "path": "/v1/traces", "timeout": "5s"}}}])
    world.telemetry(telemetry(tracing=[{
        "providers": [{"name": "otel"}], "randomSamplingPercentage": 100,
        "customTags": {"over": {"literal": {"value": "http"}}}}]))
    world.requests_until(lambda: any(tags.get("over") == "http" for _, tags in world.collector.otlp),
                         "spans in OTLP over HTTP")


def test_drain(world):
    """A listener that is changed lets what is under way end: a stream goes on, a connection that is
    kept is asked to close with an answer and never cut, new ones find the new listener."""
    world.mesh.eventually(world.ask)
    ip, port = world.client.outbound.split(":")
    kept = http.client.HTTPConnection(ip, int(port), timeout=20)
    stream = http.client.HTTPConnection(ip, int(port), timeout=20)
    stream.request("GET", "/stream?interval=50ms", headers={"host": f"server.{DOMAIN}"})
    lines = stream.getresponse()
    assert lines.status == 200 and lines.readline()
    log = world.log.with_name("drain.log")
    world.mesh_config(accessLogFile=str(log), accessLogFormat="%REQ(:PATH)%")
    world.mesh.eventually(lambda: world.ask() and log.exists() and log.read_text(), timeout=20)
    assert lines.readline(), "the stream is not cut when the listener changes"

    def asked_to_close():
        kept.request("GET", "/kept", headers={"host": f"server.{DOMAIN}"})
        r = kept.getresponse()
        r.read()
        assert r.status == 200
        return r.headers.get("connection") == "close"
    kept.connect()
    world.mesh_config(accessLogFile=str(log), accessLogFormat="again %REQ(:PATH)%")
    world.mesh.eventually(asked_to_close, timeout=20, what="the kept connection is asked to close")
    kept.close()
    stream.close()


def test_outbound_policy(world):
    """What is not in the registry: refused or let through, changed live."""
    def status():
        return world.client.get("nowhere.example.org").status
    world.mesh_config(outboundTrafficPolicy={"mode": "REGISTRY_ONLY"})
    world.mesh.eventually(lambda: status() == 502, what="refused")


def test_a_log_that_cannot_be_is_told(world):
    """A provider that is not there: traffic goes on, the object is told."""
    world.telemetry(telemetry(accessLogging=[{"providers": [{"name": "missing"}]}]))
    world.ask()
    world.mesh_config(ingressClass="nginx")

    def noted():
        page = http_request(world.mesh.monitor["pilot"], "/debug/push_status").text
        return "ingressClass" in page
    world.mesh.eventually(noted, what="the note on the mesh configuration")
    assert world.ask()


def test_spans_to_skywalking(world):
    """Segments name the service as the proxy names itself, and bring the token."""
    world.mesh_config(extensionProviders=[{"name": "sky", "skywalking": {
        "service": f"collector.{DOMAIN}", "port": 4317, "accessToken": "s3cret"}}])
    world.telemetry(telemetry(tracing=[{
        "providers": [{"name": "sky"}], "randomSamplingPercentage": 100,
        "customTags": {"via": {"literal": {"value": "skywalking"}}}}]))

    def arrived(name):
        return any(token == "s3cret" and name in body and b"skywalking" in body
                   for token, body in world.collector.segments)
    world.requests_until(lambda: arrived(b"client.default") and arrived(b"server.default"),
                         "segments of both sides", timeout=60)


def test_request_id_does_not_decide(world):
    """A request's id carries the decision about sampling. Apart from it (useRequestIdForTraceSampling:
    false) Envoy hands every request to the tracer, whatever the percentage is."""
    world.mesh_config(extensionProviders=[{"name": "otel", "opentelemetry": {
        "service": f"collector.{DOMAIN}", "port": 4317}}])
    sampled = {"x-request-id": "12345678-1234-9234-9234-123456789012"}  # by the 9

    def rules(use):
        world.telemetry(telemetry(tracing=[{
            "providers": [{"name": "otel"}], "randomSamplingPercentage": 0,
            "useRequestIdForTraceSampling": use,
            "customTags": {"use": {"literal": {"value": str(use)}}}}]))

    def spans(use):
        return [1 for _, tags in world.collector.otlp if tags.get("use") == str(use)]

    def asked(n, **kw):
        for _ in range(n):
            world.ask(**kw)
        return True
    rules(True)
    world.mesh.eventually(lambda: all('"True"' in json.dumps(e.resources("listener"))
                                      for e in (world.client.envoy, world.server.envoy)), 60)
    asked(20)
    world.requests_until(lambda: spans(True), "spans for the id alone", timeout=60, headers=sampled)
    ids = {tags.get("guid:x-request-id") for _, tags in world.collector.otlp if tags.get("use") == "True"}
    assert ids == set(sampled.values()), "and for no other"
    rules(False)
    world.requests_until(lambda: len(spans(False)) > 20, "every request is traced", timeout=60)


def test_workload_over_namespace_over_mesh(world):
    """Each level replaces where logs go; without the nearest the next one holds."""
    logs = {n: world.log.with_name(f"level-{n}.log") for n in ("root", "namespace", "workload")}
    world.mesh_config(extensionProviders=[
        {"name": n, "envoyFileAccessLog": {"path": str(p), "logFormat": {"text": "%REQ(:PATH)%"}}}
        for n, p in logs.items()])
    objects = {
        "root": {**telemetry("root", accessLogging=[{"providers": [{"name": "root"}]}]),
                 "metadata": {"name": "root", "namespace": "istio-system"}},
        "namespace": telemetry("namespace", accessLogging=[{"providers": [{"name": "namespace"}]}]),
        "workload": telemetry("workload", selector={"matchLabels": {"app": "server"}},
                              accessLogging=[{"providers": [{"name": "workload"}]}])}

    def goes_to(client, server):
        def settled():
            path = world.ask()

            def where():
                return {n for n, p in logs.items() if p.exists() and path in p.read_text().split()}
            return wait_for(lambda: where() == {client, server}, 5)
        world.mesh.eventually(settled, 60, f"the client logs to {client}, the server to {server}")
    world.telemetry(*objects.values())
    goes_to("namespace", "workload")
    world.telemetry(objects["root"], objects["workload"])
    goes_to("root", "workload")
    world.telemetry(objects["root"], objects["namespace"])
    goes_to("namespace", "namespace")
