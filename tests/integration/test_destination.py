"""Destination rules, field by field: connection pools, protocols, limits and budgets, port-level settings,
policies of subsets, seen at backends that say which connection a request came by. What balances and
where is in test_policy.py, what is unfit in test_outliers.py. Once in each protocol variant."""
import ctypes
import json
import os
import socket
import threading
import time

import grpc
import pytest

from destinations import OTHER_PORT, World, host_of, once, pool, rule, variants
from mesh import SERVICE_PORT
from routes import vs
from util import http_request, wait_for

pytestmark = pytest.mark.usefixtures("healthy")


def pytest_generate_tests(metafunc):
    variants(metafunc)


@pytest.fixture(scope="module")
def world(request, net, tmp, apps):
    tmp = tmp / request.param
    tmp.mkdir()
    apps.tmp = tmp
    w = World(net, tmp, apps, request.param)
    yield w
    w.stop()


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


def test_policy_of_a_subset(world):
    """A subset's parts are its own, the other parts are the rule's."""
    w = world
    at = w.service("parts", w.web["a"])
    at["spec"]["endpoints"][0]["labels"] = {"version": "v1"}
    limit = pool(http={"maxRequestsPerConnection": 1})
    parts = rule("parts", **limit)
    parts["spec"]["subsets"] = [
        {"name": "own", "labels": {"version": "v1"}, "trafficPolicy": pool(connectTimeout="3s")},
        {"name": "same", "labels": {"version": "v1"},
         "trafficPolicy": {"loadBalancer": {"simple": "RANDOM"}}}]

    def to(subset):
        return {"match": [{"uri": {"prefix": f"/{subset}"}}],
                "route": [{"destination": {"host": "parts", "subset": subset}}]}
    w.rules(at, parts, vs("parts", [to("own"), to("same"), {
        "route": [{"destination": {"host": "parts"}}]}]))

    def used(path):
        return len(set(w.connections(5, "parts", path=path)))
    w.mesh.eventually(lambda: (used("/"), used("/same"), used("/own")) == (5, 5, 1), 20,
                      what="the pool of the rule, twice, and that of the subset")
