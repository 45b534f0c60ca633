"""Destination rules, field by field: connection pools, outlier detection, warming up, budgets, seen at
backends that say which connection a request came by. What balances and where is in test_policy.py.
Once in each protocol variant."""
import ctypes
import http.server
import json
import os
import socket
import threading
import time
import urllib.parse

import grpc
import pytest

from mesh import DOMAIN, SERVICE_PORT, TCP_PORT, Mesh
from routes import obj, vs
from util import http_request, wait_for

OTHER_PORT = 9083


def host_of(name):
    return f"{name}.default.{DOMAIN}"


def cluster_of(name, port=SERVICE_PORT):
    return f"outbound|{port}||{host_of(name)}"


def rule(name, **policy):
    return obj("DestinationRule", name, {"host": name, "trafficPolicy": policy})


def pool(http=None, **tcp):
    return {"connectionPool": {**({"tcp": tcp} if tcp else {}), **({"http": http} if http else {})}}


class Backend:
    """Answers by which connection a request came; `status` is what it answers; ?delay=SECONDS."""

    def __init__(self, ip, name):
        self.name, self.status, self.seen, self.connections = name, 200, 0, set()
        outer, lock = self, threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                outer.connections.add(self.client_address[1])

            def finish(self):
                outer.connections.discard(self.client_address[1])
                super().finish()

            def do_GET(self):  # pylint: disable=invalid-name
                q = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
                with lock:
                    outer.seen += 1
                time.sleep(float(q.get("delay", 0)))
                body = json.dumps({"name": name, "connection": self.client_address[1]}).encode()
                self.send_response(int(q.get("status", outer.status)))
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size, daemon_threads = 128, True

            def handle_error(self, request, client_address):
                pass  # a client that goes away is no fault

        self.server = Server((ip, 0), Handler)
        self.ip, self.port = ip, self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class World:
    """client -> web (a, b, c, d: of the test itself), shop (behind a sidecar), and whatever a test has."""

    def __init__(self, net, tmp, apps, protocol):
        m = self.mesh = Mesh(net, tmp, apps, protocol=protocol)
        self.net = net
        m.tcp_targets["client-v1"] = {"db"}
        self.client = m.workload("client")
        self.client.more_egress.append({
            "port": {"number": OTHER_PORT, "protocol": "HTTP", "name": "other"},
            "bind": self.client.inner, "captureMode": "NONE", "hosts": ["./*"]})
        self.shop = m.workload("shop")
        self.web = {n: Backend(net.ip(), n) for n in "abcd"}
        m.apply("rules", [self.service("web", *self.web.values()),
                          self.service("db", protocol="TCP")])
        m.start()

    def service(self, name, *backends, protocol="HTTP", ports=None):
        """A service whose endpoints are backends or (address, port)."""
        at = [(b.ip, b.port) if isinstance(b, Backend) else b for b in backends]
        ports = ports or [TCP_PORT if protocol == "TCP" else SERVICE_PORT]
        return obj("ServiceEntry", name, {
            "hosts": [host_of(name)], "location": "MESH_INTERNAL", "resolution": "STATIC",
            "ports": [{"number": p, "name": f"p{p}", "protocol": protocol} for p in ports],
            "endpoints": [{"address": ip, "ports": {f"p{p}": port for p in ports}}
                          for ip, port in at]})

    def rules(self, *objects, web="abcd", db=()):
        self.mesh.apply("rules", [self.service("web", *(self.web[n] for n in web)),
                                  self.service("db", *db, protocol="TCP"), *objects])

    def get(self, name="web", path="/", **kw):
        return self.client.get(host_of(name), path, **kw)

    def connections(self, n, name="web", **kw):
        """The connections by which n requests came, one after the other."""
        replies = [self.get(name, **kw) for _ in range(n)]
        assert all(r.status == 200 for r in replies), replies
        return [r.json()["connection"] for r in replies]

    def who(self, n=1, **kw):
        return [self.get(**kw).json()["name"] for _ in range(n)]

    def stat(self, name, service="web", port=SERVICE_PORT):
        return self.client.envoy.stats(f"{service}.*{name}").get(
            f"cluster.{cluster_of(service, port)}.{name}", 0)

    def policy(self, name="web", port=SERVICE_PORT):
        """The cluster as Envoy has it, as text."""
        return json.dumps(self.client.envoy.resources("cluster").get(cluster_of(name, port), ""))

    def in_force(self, text, name="web"):
        self.mesh.eventually(lambda: text in self.policy(name), what=f"{text} of {name}")

    def ejected(self):
        """The backends of web that outlier detection put aside."""
        by_port = {b.port: n for n, b in self.web.items()}
        doc = self.client.envoy.get("/clusters?format=json").json()
        hosts = next(c.get("host_statuses", []) for c in doc["cluster_statuses"]
                     if c["name"] == cluster_of("web"))
        return {by_port.get(h["address"]["socket_address"]["port_value"], "nobody") for h in hosts
                if h["health_status"].get("failed_outlier_check")}

    def at_once(self, n, name="web", path="/"):
        """The replies to n requests that are sent together."""
        replies = []
        threads = [threading.Thread(target=lambda: replies.append(self.get(name, path)))
                   for _ in range(n)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert len(replies) == n
        return replies

    def close(self):
        self.mesh.stop()
        for b in self.web.values():
            b.close()


def once(test):
    """For a test that takes its time: in one variant, how a cluster came makes no difference to it."""
    test.once = True
    return test


def pytest_generate_tests(metafunc):
    metafunc.parametrize("world", ["delta"] if hasattr(metafunc.function, "once") else
                         ["delta", "sotw"], indirect=True, scope="module")


@pytest.fixture(scope="module")
def world(request, net, tmp, apps):
    tmp = tmp / request.param
    tmp.mkdir()
    apps.tmp = tmp
    w = World(net, tmp, apps, request.param)
    yield w
    w.close()


@pytest.fixture(autouse=True)
def healthy(request, world):
    yield
    for b in world.web.values():
        b.status = 200
    if getattr(request.node, "failed", False):
        print(world.mesh.logs())
    world.mesh.check()


# --- connections ---

def test_requests_of_a_connection(world):
    """maxRequestsPerConnection: the connection is left after as many."""
    w = world
    w.rules(rule("web", **pool(http={"maxRequestsPerConnection": 2})), web="a")
    w.in_force("max_requests_per_connection")
    got = w.connections(8)
    assert got[0::2] == got[1::2] and len(set(got)) == 4, got
    w.rules(web="a")
    w.mesh.eventually(lambda: len(set(w.connections(8))) == 1, what="one connection for all")


def test_idle_and_longest_life_of_a_connection(world):
    """http.idleTimeout closes a connection that nobody uses, maxConnectionDuration one that is old."""
    w = world
    a = w.web["a"]
    w.rules(rule("web", **pool(http={"idleTimeout": "0.4s"})), web="a")
    w.in_force("idle_timeout")
    before, start = w.stat("upstream_cx_idle_timeout"), time.monotonic()
    mine = w.connections(1)[0]
    wait_for(lambda: mine not in a.connections, 20, what="the connection is closed")
    assert time.monotonic() - start > 0.35
    assert w.stat("upstream_cx_idle_timeout") > before
    w.rules(rule("web", **pool(maxConnectionDuration="0.4s")), web="a")
    w.in_force("max_connection_duration")
    start, mine = time.monotonic(), w.connections(1)[0]
    # Used all the time, and yet it ends; no request is lost by it.
    wait_for(lambda: w.connections(1) != [mine], 20, what="another connection")
    assert time.monotonic() - start > 0.35
    assert w.stat("upstream_cx_max_duration_reached") > 0


class Talker:
    """A TCP server that says something to each connection all the time."""

    def __init__(self, ip):
        self.server = socket.create_server((ip, 0))
        self.at = (ip, self.server.getsockname()[1])
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                conn, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self.talk, args=(conn,), daemon=True).start()

    @staticmethod
    def talk(conn):
        with conn:
            try:
                while True:
                    conn.sendall(b".")
                    time.sleep(0.02)
            except OSError:
                pass

    def close(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()


def test_longest_life_of_tcp(world):
    """maxConnectionDuration ends a TCP connection in use; idleTimeout does not."""
    w = world
    peer = Talker(w.net.ip())
    try:
        w.rules(rule("db", **pool(maxConnectionDuration="0.5s", idleTimeout="0.3s")), db=[peer.at])

        def ends():
            ip, port = w.client.outbound_tcp.split(":")
            start = time.monotonic()
            with socket.create_connection((ip, int(port)), timeout=10) as s:
                assert s.recv(1) == b"."
                while time.monotonic() - start < 5:
                    try:
                        if not s.recv(100):
                            break
                    except ConnectionResetError:
                        break
            return time.monotonic() - start
        took = w.mesh.eventually(lambda: ends() < 5 and ends(), 30, what="the connection ends")
        assert took > 0.45, took
    finally:
        peer.close()


class Deaf:
    """An address that never answers a SYN: the backlog is full."""

    def __init__(self, ip):
        self.server = socket.socket()
        self.server.bind((ip, 0))
        self.server.listen(0)
        self.at = self.server.getsockname()
        self.fill = []
        while True:
            s = socket.socket()
            s.settimeout(0.3)
            self.fill.append(s)
            try:
                s.connect(self.at)
            except TimeoutError:
                return
            assert len(self.fill) < 20, "the backlog is never full"

    def close(self):
        for s in [*self.fill, self.server]:
            s.close()


def test_connect_timeout(world):
    w = world
    deaf = Deaf(w.net.ip())
    try:
        w.rules(w.service("deaf", deaf.at), rule("deaf", **pool(connectTimeout="0.4s")),
                vs("deaf", [{"route": [{"destination": {"host": "deaf"}}],
                             "retries": {"attempts": 0}}]))
        w.in_force("0.400s", "deaf")
        start = time.monotonic()
        r = w.mesh.eventually(lambda: w.get("deaf"), what="an answer")
        took = time.monotonic() - start
        assert r.status == 503 and 0.35 < took < 8, (r, took)
        assert w.stat("upstream_cx_connect_timeout", "deaf") > 0
    finally:
        deaf.close()


def options_of(pid, peer):
    """SO_KEEPALIVE and TCP_KEEPCNT, KEEPIDLE, KEEPINTVL of a process's sockets that are connected to an
    address: the sockets themselves are asked."""
    libc = ctypes.CDLL(None, use_errno=True)
    found = []
    pidfd = os.pidfd_open(pid)
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                if not os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"):
                    continue
            except OSError:
                continue
            fd = libc.syscall(438, pidfd, int(name), 0)  # pidfd_getfd
            if fd < 0:
                continue
            with socket.socket(fileno=fd) as s:
                try:
                    if s.family != socket.AF_INET or s.getpeername() != peer:
                        continue
                except OSError:
                    continue
                found.append((s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), *(
                    s.getsockopt(socket.IPPROTO_TCP, o) for o in (
                        socket.TCP_KEEPCNT, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL))))
    finally:
        os.close(pidfd)
    return found


def test_tcp_keepalive(world):
    """The sockets of the proxy have the options of the rule."""
    w = world
    pid, a = w.client.envoy.process.pid, w.web["a"]

    def has(want):
        w.connections(1)
        got = options_of(pid, (a.ip, a.port))
        assert got and all(want(o) for o in got), got
        return True
    w.rules(web="a")
    w.mesh.eventually(lambda: has(lambda o: o[0] == 0), what="no keepalive without a rule")
    w.rules(rule("web", **pool(tcpKeepalive={"probes": 4, "time": "77s", "interval": "9s"})), web="a")
    w.mesh.eventually(lambda: has(lambda o: o == (1, 4, 77, 9)), what="the keepalive of the rule")
    w.rules(rule("web", **pool(tcpKeepalive={})), web="a")
    w.mesh.eventually(lambda: has(lambda o: o[0] == 1 and o[2] != 77), what="that of the system")


# --- protocols ---

def http2(w, name):
    """A request over HTTP/2 to the client's proxy (any will do: a gRPC call)."""
    with grpc.insecure_channel(w.client.outbound, options=[
            ("grpc.default_authority", host_of(name))]) as channel:
        try:
            channel.unary_unary("/a/b")(b"", timeout=10)
        except grpc.RpcError:
            pass  # the application speaks no gRPC; it was asked all the same


def by_protocol(w, name):
    return (w.stat("upstream_cx_http1_total", name), w.stat("upstream_cx_http2_total", name))


def grown(before, after):
    return tuple(b < a for b, a in zip(before, after))


def test_protocols(world):
    """h2UpgradePolicy UPGRADE speaks HTTP/2 for HTTP/1.1, useClientProtocol what the client speaks;
    DO_NOT_UPGRADE beats the mesh."""
    w = world
    w.rules()
    w.mesh.eventually(lambda: w.get("shop").status == 200 and by_protocol(w, "shop")[0] > 0)
    before = by_protocol(w, "shop")
    http2(w, "shop")
    assert by_protocol(w, "shop")[1] == before[1]  # HTTP/1.1, however it came in
    w.rules(rule("shop", **pool(http={"h2UpgradePolicy": "UPGRADE"})))
    w.mesh.eventually(lambda: w.get("shop").status == 200 and by_protocol(w, "shop")[1] > before[1],
                      what="HTTP/2 towards the service")
    w.rules(rule("shop", **pool(http={"useClientProtocol": True})))
    w.in_force("use_downstream_protocol_config", "shop")
    before = by_protocol(w, "shop")
    assert w.get("shop").status == 200
    middle = by_protocol(w, "shop")
    assert grown(before, middle) == (True, False), (before, middle)
    http2(w, "shop")
    assert grown(middle, by_protocol(w, "shop")) == (False, True), (middle, by_protocol(w, "shop"))
    mesh = {"apiVersion": "mesh.istio.io/v1alpha1", "kind": "MeshConfig",
            "metadata": {"name": "default"}, "spec": {"h2UpgradePolicy": "UPGRADE"}}
    w.rules(mesh)
    before = by_protocol(w, "shop")
    w.mesh.eventually(lambda: w.get("shop").status == 200 and by_protocol(w, "shop")[1] > before[1],
                      what="HTTP/2 because the mesh says so")
    w.rules(mesh, rule("shop", **pool(http={"h2UpgradePolicy": "DO_NOT_UPGRADE"})))
    before = by_protocol(w, "shop")
    w.mesh.eventually(lambda: w.get("shop").status == 200 and by_protocol(w, "shop")[0] > before[0],
                      what="HTTP/1.1 because the rule says so")


@once
def test_streams_of_a_connection(world):
    """maxConcurrentStreams: requests at once share a connection, as many as it says."""
    w = world

    def connections_for(n, streams):
        """New connections, as n requests come at once."""
        w.rules(rule("shop", **pool(http={
            "h2UpgradePolicy": "UPGRADE", **({"maxConcurrentStreams": streams} if streams else {})})))
        w.mesh.eventually(lambda: '"http2_protocol_options"' in w.policy("shop") and (
            f'"max_concurrent_streams": {streams}' in w.policy("shop") if streams else
            "max_concurrent_streams" not in w.policy("shop")), what="the rule is in force")
        before = by_protocol(w, "shop")[1]
        assert {r.status for r in w.at_once(n, "shop", "/?delay=1s")} == {200}
        return by_protocol(w, "shop")[1] - before
    assert connections_for(6, 1) >= 5  # a slow machine may run one after another's end
    assert connections_for(6, None) <= 2


class Silent:
    """An HTTP/2 server that says hello and nothing more."""

    def __init__(self, ip):
        self.server = socket.create_server((ip, 0))
        self.at = (ip, self.server.getsockname()[1])
        self.ended = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                conn, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self.hush, args=(conn,), daemon=True).start()

    def hush(self, conn):
        with conn:
            try:
                conn.sendall(b"\0\0\0\4\0\0\0\0\0")  # SETTINGS
                while conn.recv(4096):
                    pass
            except OSError:
                pass
        self.ended.set()

    def close(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()


def test_keepalive_of_http2(world):
    """http2KeepAlive: a connection whose other side answers no ping is left."""
    w = world
    silent = Silent(w.net.ip())
    try:
        w.rules(w.service("silent", silent.at), rule("silent", **pool(http={
            "h2UpgradePolicy": "UPGRADE", "http2KeepAlive": {"interval": "0.3s", "timeout": "0.3s"}})),
            vs("silent", [{"route": [{"destination": {"host": "silent"}}],
                           "retries": {"attempts": 0}}]))
        w.in_force("connection_keepalive", "silent")
        start = time.monotonic()
        assert w.get("silent").status == 503  # and not after the time of a whole request, which has none
        assert time.monotonic() - start > 0.25
        assert w.stat("http2.keepalive_timeout", "silent") > 0
        wait_for(silent.ended.is_set, 20, what="the connection is closed")
    finally:
        silent.close()


# --- limits ---

def test_requests_at_once(world):
    """http2MaxRequests: what is beyond is refused at once."""
    w = world
    w.rules(rule("web", **pool(http={"http2MaxRequests": 3})), web="a")
    w.in_force('"max_requests": 3')
    replies = w.at_once(8, path="/?delay=1")
    refused = [r for r in replies if r.status == 503]
    assert 4 <= len(refused) <= 5 or (refused and w.web["a"].seen), replies
    assert all("overflow" in r.text for r in refused), refused


def retried(w, n, rules, wait, before=0):
    """n requests fail together, each to be retried once under the rules: how many retries arrived, how
    many were refused; `before` requests went well shortly before."""
    w.rules(rules, vs("web", [{"route": [{"destination": {"host": "web"}}], "retries": {
        "attempts": 1, "retryOn": "5xx"}}]), web="a")
    w.in_force(wait)
    w.mesh.eventually(lambda: "num_retries\": 1" in json.dumps(w.client.envoy.dump()))
    for _ in range(before):
        assert w.get().status == 200
    a, over = w.web["a"], w.stat("upstream_rq_retry_overflow")
    a.seen = 0
    assert {r.status for r in w.at_once(n, path="/?status=503&delay=0.6")} == {503}
    return a.seen - n, w.stat("upstream_rq_retry_overflow") - over


@once
def test_retries_at_once(world):
    """maxRetries limits the retries in flight."""
    some, refused = retried(world, 20, rule("web", **pool(http={"maxRetries": 2})), '"max_retries": 2')
    assert some + refused == 20 and 2 <= some <= 12, (some, refused)
    some, refused = retried(world, 20, rule("web", **pool(http={"maxRetries": 50})),
                            '"max_retries": 50')
    assert (some, refused) == (20, 0)


@once
def test_retry_budget(world):
    """retryBudget limits them by a share of the requests in flight, or of the last while."""
    budget = {"percent": 20, "minRetryConcurrency": 1}
    some, refused = retried(world, 20, rule("web", retryBudget=budget), "retry_budget")
    # A fifth of at most twenty; some end before others begin.
    assert some + refused == 20 and 1 <= some <= 12, (some, refused)
    some, refused = retried(world, 20, rule("web", retryBudget={**budget, "budgetInterval": "60s"}),
                            "budget_interval", before=110)
    assert (some, refused) == (20, 0), (some, refused)


def test_port_level_settings(world):
    """A port's settings are its own, and nothing of the rule's is left for it."""
    w = world
    both = w.service("two", w.web["a"], ports=[SERVICE_PORT, OTHER_PORT])
    limited = pool(http={"maxRequestsPerConnection": 1})
    w.rules(both, rule("two", **limited, portLevelSettings=[
        {"port": {"number": OTHER_PORT}, "loadBalancer": {"simple": "RANDOM"}}]))
    w.in_force("max_requests_per_connection", "two")
    assert len(set(w.connections(6, "two"))) == 6

    def other(n):
        replies = [http_request(f"{w.client.inner}:{OTHER_PORT}", "/", headers={
            "host": host_of("two")}) for _ in range(n)]
        assert {r.status for r in replies} == {200}, replies
        return {r.json()["connection"] for r in replies}
    w.mesh.eventually(lambda: len(other(6)) == 1, what="the other port keeps its connection")
    w.rules(both, rule("two", portLevelSettings=[{"port": {"number": OTHER_PORT}, **limited}]))
    w.mesh.eventually(lambda: len(other(6)) == 6, what="now the other port is limited")
    assert len(set(w.connections(6, "two"))) == 1


# --- who is fit ---

def outliers(**o):
    return rule("web", loadBalancer={"simple": "ROUND_ROBIN"}, outlierDetection={
        "interval": "0.1s", "baseEjectionTime": "300s", "maxEjectionPercent": 100, **o})


def fresh(w, *objects, wait, **kw):
    """Rules in force, nobody put aside, each backend asked."""
    w.rules(*objects, **kw)
    w.in_force(wait)
    for b in w.web.values():
        b.status = 200
    w.mesh.eventually(lambda: not w.ejected() and len(set(w.who(8))) == len(kw.get("web", "abcd")),
                      what="all serve")


def test_errors_of_a_gateway(world):
    """consecutiveGatewayErrors counts 502, 503 and 504 alone; consecutive5xxErrors every 5xx, five
    where nothing is said, none with 0."""
    w = world
    fresh(w, outliers(consecutiveGatewayErrors=2, consecutive5xxErrors=0), wait="ailure\": 2")
    w.web["a"].status = 500
    assert w.who(40).count("a") == 10 and not w.ejected()
    w.web["a"].status = 502
    w.mesh.eventually(lambda: set(w.who(12)) == set("bcd") and w.ejected() == {"a"},
                      what="a is put aside")
    fresh(w, outliers(consecutive5xxErrors=3), wait="5xx\": 3")
    w.web["b"].status = 500
    w.mesh.eventually(lambda: w.who(8) and w.ejected() == {"b"}, what="b is put aside")
    fresh(w, outliers(consecutiveGatewayErrors=50), wait="ailure\": 50")
    w.web["c"].status = 500
    w.mesh.eventually(lambda: w.who(8) and w.ejected() == {"c"}, what="five 5xx put c aside")


def test_errors_of_its_own(world):
    """splitExternalLocalOriginErrors: connections that fail count apart, by
    consecutiveLocalOriginFailures."""
    w = world
    nobody = (w.net.ip(), 9)
    own = {"consecutive5xxErrors": 0, "consecutiveLocalOriginFailures": 3}

    def apply(split):
        w.mesh.apply("rules", [
            w.service("web", w.web["a"], w.web["b"], nobody),
            outliers(**own, splitExternalLocalOriginErrors=split)])
    apply(False)
    w.mesh.eventually(lambda: f"{nobody[0]}:9" in w.client.envoy.endpoints(cluster_of("web")) and
                      "outlier" in w.policy() and "split" not in w.policy())
    fails = w.stat("upstream_cx_connect_fail")
    w.mesh.eventually(lambda: w.get() and w.stat("upstream_cx_connect_fail") > fails + 8)
    assert not w.ejected()  # they are errors like the server's, which do not count here
    apply(True)
    w.in_force("split_external_local_origin_errors")
    w.web["a"].status = 503
    for _ in range(12):
        w.get()
    w.mesh.eventually(lambda: w.get() and w.ejected() == {"nobody"}, what="nobody is put aside")
    assert w.stat("outlier_detection.ejections_enforced_consecutive_local_origin_failure") == 1


@once
def test_how_many_are_put_aside(world):
    """maxEjectionPercent: at most so many at once, at least one."""
    w = world
    fresh(w, outliers(consecutive5xxErrors=1, maxEjectionPercent=50), wait="ion_percent\": 50")
    for n in "abc":
        w.web[n].status = 500
    w.mesh.eventually(lambda: w.who(8) and len(w.ejected()) == 2, what="two of three")
    out = w.ejected()
    # The third bad one has to go on. (Envoy gathers what it learns of its hosts for a second.)
    w.mesh.eventually(lambda: set(w.who(20)) == set("abcd") - out, what="the others serve")
    assert w.ejected() == out < set("abc"), out
    fresh(w, outliers(consecutive5xxErrors=1, maxEjectionPercent=1), wait="ion_percent\": 1,")
    for n in "abc":
        w.web[n].status = 500
    w.mesh.eventually(lambda: w.who(8) and len(w.ejected()) == 1, what="one at least")


@once
def test_when_most_are_unfit(world):
    """minHealthPercent: below it all get requests; without it only who is fit."""
    w = world
    for least, want in ((50, "abcd"), (None, "d")):
        fresh(w, outliers(consecutive5xxErrors=2, **({"minHealthPercent": least} if least else {})),
              wait="panic_threshold\": {\"value\": 50" if least else "panic_threshold\": {}")
        for n in "abc":
            w.web[n].status = 500
        w.mesh.eventually(lambda: w.who(12) and w.ejected() == set("abc"), what="three are out")
        # Envoy gathers what it learns of its hosts for a second.
        w.mesh.eventually(lambda: set(w.who(12)) == set(want), what=f"{want} serve")
        assert set(w.who(24)) == set(want), least


# --- newcomers ---

@once
@pytest.mark.parametrize("simple, how", [
    ("ROUND_ROBIN", "warmupDurationSecs"), ("LEAST_REQUEST", "warmup")])
def test_a_newcomer_warms_up(world, simple, how):
    """Its share is as its time of all the time, so small at first. Before the window's end nobody is
    warm: two endpoints of one age share evenly, the newcomer has what the clock says."""
    w = world
    if how == "warmup":
        warm = {"warmup": {"duration": "60s", "minimumPercent": 1, "aggression": 1}}
        window, least = 60, 0.01
    else:
        warm = {"warmupDurationSecs": "8s"}
        window, least = 8, 0.1
    balance = rule("web", loadBalancer={"simple": simple, **warm})
    w.rules(balance, web="ab")
    start = time.monotonic()
    w.in_force("slow_start_config")
    w.mesh.eventually(lambda: set(w.who(6)) == set("ab"))
    wait_for(lambda: time.monotonic() - start > 3, 60, what="the first two are older")
    came = time.monotonic()
    w.rules(balance, web="abc")
    w.mesh.eventually(lambda: len(w.client.envoy.endpoints(cluster_of("web"))) == 3)
    n = 120
    got = w.who(n)
    end = time.monotonic()
    new, old = (max(min((end - t) / window, 1), least) for t in (came, start))
    most = new / (2 * old + new)
    assert most < 0.3 or end - came > 10, (most, "the machine is slow, and says so")
    # Five standard deviations of a random choice; round robin is more even.
    assert got.count("c") <= n * most + 5 * (n * most * (1 - most)) ** 0.5, (got.count("c"), most)
    assert abs(got.count("a") - got.count("b")) < 5 * n ** 0.5
