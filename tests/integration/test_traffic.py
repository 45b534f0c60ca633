"""The traffic rules, seen at the backends, through real Envoys, once in each protocol variant."""
import time

import pytest

from mesh import Mesh, load, streams
from util import http_request, wait_for
from world import BaseWorld

pytestmark = pytest.mark.usefixtures("healthy")

API = "networking.istio.io/v1alpha3"


def virtual_service(name, http=None, **spec):
    return {"apiVersion": API, "kind": "VirtualService",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"hosts": [name], **({"http": http} if http else {}), **spec}}


def destination_rule(host, subsets=(), **policy):
    return {"apiVersion": API, "kind": "DestinationRule",
            "metadata": {"name": host, "namespace": "default"},
            "spec": {"host": host, **({"trafficPolicy": policy} if policy else {}),
                     "subsets": [{"name": v, "labels": {"version": v}} for v in subsets]}}


def to(subset=None, weight=None, host="reviews"):
    d = {"destination": {"host": host, **({"subset": subset} if subset else {})}}
    return {**d, **({"weight": weight} if weight is not None else {})}


SUBSETS = destination_rule("reviews", ("v1", "v2", "v3"))
BASE = [SUBSETS, virtual_service("reviews", [{"route": [to("v1")]}])]


class World(BaseWorld):
    """The mesh of these tests: client → reviews (three versions), ratings, db (TCP)."""

    def __init__(self, net, tmp, apps, protocol, envoy_binary=None):
        m = self.mesh = Mesh(net, tmp, apps, protocol=protocol, envoy_binary=envoy_binary)
        self.marks = 0
        m.tcp_targets["client-v1"] = {"db"}
        self.client = m.workload("client")
        self.reviews = {v: m.workload("reviews", version=v) for v in ("v1", "v2", "v3")}
        self.second = m.workload("reviews", version="v1", name="reviews-v1-second")
        self.ratings = m.workload("ratings")
        self.db = m.workload("db", tcp=True)
        self.gateway = m.gateway()
        m.apply("rules", BASE)
        m.start()
        self.base()

    def base(self):
        """Back to the rules that each test starts from. Some rules of a test answer like these now
        and then, so a mark that no other rule has says that they are in force."""
        self.marks += 1
        mark = {"x-mark": f"m{self.marks}"}
        marked = virtual_service("reviews", [
            {"match": [{"headers": {"x-mark": {"exact": mark["x-mark"]}}}], "route": [to("v3")]},
            {"route": [to("v1")]}])
        self.mesh.apply("rules", [SUBSETS, marked])
        self.mesh.eventually(lambda: self.steady("v3", 1, headers=mark) and self.steady("v1"),
                             what="all requests go to v1")

    def steady(self, version, n=5, path="/", **kw):
        replies = [self.client.get("reviews", path, **kw) for _ in range(n)]
        assert all(r.status == 200 and r.headers.get("x-app-version") == version
                   for r in replies), replies
        return True

    def reset(self):
        for w in self.mesh.workloads:
            w.reset()

    def totals(self):
        """Requests seen by each version."""
        out = {v: w.stats()["total"] for v, w in self.reviews.items()}
        out["v1"] += self.second.stats()["total"]
        return out

    def seen(self, version, path):
        """Requests for a path, seen by a version."""
        ws = [self.reviews[version]] + ([self.second] if version == "v1" else [])
        return sum(x.stats()["by_path"].get(path, 0) for x in ws)


@pytest.fixture(scope="module")
def world(net, apps, variant):
    w = World(net, apps.tmp, apps, variant)
    yield w
    w.stop()


@pytest.fixture
def at_base(world):
    world.base()
    world.reset()
    return world


def test_weights(at_base):
    w = at_base
    w.rules(SUBSETS, virtual_service("reviews", [{"route": [to("v1", 80), to("v2", 20)]}]),
            until=lambda: w.client.get("reviews").headers.get("x-app-version") == "v2")
    w.reset()
    n = 1000
    for _ in range(n):
        assert w.client.get("reviews").status == 200
    totals = w.totals()
    assert sum(totals.values()) == n and totals["v3"] == 0
    # Binomial, p = 0.2: five standard deviations are 63.
    assert abs(totals["v2"] - 200) < 64, totals


def test_match_headers_uri_method(at_base):
    w = at_base
    rule = virtual_service("reviews", [
        {"match": [{"headers": {"end-user": {"exact": "ada"}}}], "route": [to("v2")]},
        {"match": [{"headers": {"x-tier": {"prefix": "gold-"}}}], "route": [to("v3")]},
        {"match": [{"uri": {"prefix": "/v3/"}, "method": {"exact": "POST"}}],
         "route": [to("v3")]},
        {"match": [{"uri": {"exact": "/exact"}}, {"uri": {"regex": "/re/[0-9]+"}}],
         "route": [to("v2")]},
        {"route": [to("v1")]}])

    def version(path="/", **kw):
        return w.client.get("reviews", path, **kw).headers.get("x-app-version")
    w.rules(SUBSETS, rule, until=lambda: version("/exact") == "v2")
    assert version(headers={"end-user": "ada"}) == "v2"
    assert version(headers={"end-user": "adam"}) == "v1"
    assert version(headers={"x-tier": "gold-1"}) == "v3"
    assert version(headers={"x-tier": "silver"}) == "v1"
    assert version("/v3/x", method="POST") == "v3"
    assert version("/v3/x") == "v1"
    assert version("/exact") == "v2" and version("/exact/") == "v1"
    assert version("/re/12") == "v2" and version("/re/x") == "v1" and version("/re/1/2") == "v1"


def test_timeout(at_base):
    w = at_base
    w.rules(SUBSETS, virtual_service("reviews", [{"route": [to("v1")], "timeout": "0.3s"}]),
            until=lambda: w.client.get("reviews", "/?delay=600ms").status == 504)
    start = time.monotonic()
    assert w.client.get("reviews", "/?delay=3s").status == 504
    assert 0.25 < time.monotonic() - start < 1.5
    assert w.client.get("reviews", "/?delay=50ms").status == 200


def test_retries(at_base):
    w = at_base
    n = iter(range(1000))
    rule = virtual_service("reviews", [{
        "route": [to("v2")], "retries": {"attempts": 2, "perTryTimeout": "2s", "retryOn": "5xx"}}])
    w.rules(SUBSETS, rule, until=lambda: w.client.get(
        "reviews", f"/?fail=2&id=w{next(n)}").status == 200)
    w.reset()
    assert w.client.get("reviews", "/retried?fail=2&id=a").status == 200
    assert w.seen("v2", "/retried") == 3
    assert w.client.get("reviews", "/toomany?fail=9&id=b").status == 503
    assert w.seen("v2", "/toomany") == 3


def test_fault_abort_percentage(at_base):
    w = at_base
    rule = virtual_service("reviews", [{
        "fault": {"abort": {"percentage": {"value": 30}, "httpStatus": 418}},
        "retries": {"attempts": 0},  # a request counts once
        "route": [to("v1")]}])
    w.rules(SUBSETS, rule, until=lambda: w.client.get("reviews").status == 418)
    w.reset()
    n = 600
    aborted = sum(w.client.get("reviews").status == 418 for _ in range(n))
    # p = 0.3: five standard deviations are 56.
    assert abs(aborted - 180) < 57, aborted
    assert w.totals()["v1"] == n - aborted


def test_fault_delay(at_base):
    w = at_base

    def took():
        start = time.monotonic()
        assert w.client.get("reviews").status == 200
        return time.monotonic() - start
    rule = virtual_service("reviews", [{
        "fault": {"delay": {"percentage": {"value": 100}, "fixedDelay": "0.4s"}},
        "route": [to("v1")]}])
    w.rules(SUBSETS, rule, until=lambda: took() > 0.38)
    assert 0.39 < took() < 1.5


def test_redirect_and_rewrite(at_base):
    w = at_base
    rule = virtual_service("reviews", [
        {"match": [{"uri": {"exact": "/old"}}],
         "redirect": {"uri": "/new", "authority": "elsewhere.example"}},
        {"match": [{"uri": {"prefix": "/api"}}],
         "rewrite": {"uri": "/v2/api", "authority": "inner.example"}, "route": [to("v2")]},
        {"route": [to("v1")]}])
    w.rules(SUBSETS, rule, until=lambda: w.client.get("reviews", "/old").status == 301)
    r = w.client.get("reviews", "/old")
    assert r.headers["location"] == "http://elsewhere.example/new"
    doc = w.client.get("reviews", "/api/x").json()
    assert doc["version"] == "v2" and doc["path"] == "/v2/api/x"
    assert doc["host"] == "inner.example"


def test_mirror(at_base):
    w = at_base
    rule = virtual_service("reviews", [
        {"route": [to("v1")], "mirror": {"host": "reviews", "subset": "v3"}}])
    w.mesh.apply("rules", [SUBSETS, rule])

    def mirrored():
        assert w.client.get("reviews", "/probe").headers["x-app-version"] == "v1"
        return w.totals()["v3"] > 0
    w.mesh.eventually(mirrored)
    w.reset()
    for _ in range(20):
        assert w.client.get("reviews", "/m").headers["x-app-version"] == "v1"
    wait_for(lambda: w.seen("v3", "/m") == 20,
             what="mirrored requests arrive")
    assert w.seen("v1", "/m") == 20


def test_connection_pool_overflow(at_base):
    w = at_base
    small = destination_rule("reviews", ("v1", "v2", "v3"), connectionPool={
        "tcp": {"maxConnections": 1},
        "http": {"http1MaxPendingRequests": 1, "maxRequestsPerConnection": 1}})
    w.rules(small, BASE[1])
    w.reset()
    run = load(w.mesh, w.client, "reviews", "/?delay=100ms", 100, "--connections", "20")
    wait_for(lambda: w.totals()["v1"] > 5)
    r = run.stop()
    assert set(r["status"]) == {"200", "503"} and not r["errors"], r


def test_outlier_ejection(at_base):
    w = at_base
    # All three versions behind one route; v3 answers errors for everyone.
    rule = destination_rule("reviews", ("v1", "v2", "v3"), outlierDetection={
        "consecutive5xxErrors": 3, "interval": "0.1s", "baseEjectionTime": "30s",
        "maxEjectionPercent": 50}, loadBalancer={"simple": "ROUND_ROBIN"})
    w.rules(rule, virtual_service("reviews", [{"route": [to()]}]),
            until=lambda: min(w.totals().values()) > 0 or not w.client.get("reviews"))
    cluster = next(c for c in w.client.envoy.resources("cluster")
                   if c.startswith("outbound|9080||reviews."))

    def ejected():
        # Whoever gets the request with status=500 fails it: three in a row eject one host.
        w.client.get("reviews", "/?status=500")
        return w.client.envoy.stats("outlier_detection").get(
            f"cluster.{cluster}.outlier_detection.ejections_active", 0) >= 1
    w.mesh.eventually(ejected, what="an outlier is ejected")


def test_tcp_route(at_base):
    w = at_base
    ip, port = w.client.outbound_tcp.split(":")
    import socket

    def talk():
        with socket.create_connection((ip, int(port)), timeout=5) as s:
            f = s.makefile("rwb")
            assert f.readline() == b"db v1\n"
            f.write(b"hello\n")
            f.flush()
            return f.readline() == b"hello\n"
    w.mesh.eventually(talk, what="TCP passes through both proxies")


def test_websocket_passes(at_base):
    w = at_base
    import socket
    ip, port = w.client.outbound.split(":")
    with socket.create_connection((ip, int(port)), timeout=5) as s:
        f = s.makefile("rwb")
        f.write(b"GET /ws HTTP/1.1\r\nHost: reviews.default.svc.cluster.local\r\n"
                b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
        f.flush()
        assert b"101" in f.readline()
        while f.readline() != b"\r\n":
            pass
        f.write(b"\x81\x82\0\0\0\0hi")
        f.flush()
        assert f.read(4) == b"\x81\x02hi"


def test_gateway(at_base):
    w = at_base
    addr = f"{w.gateway.outer}:8080"
    gw = {"apiVersion": API, "kind": "Gateway",
          "metadata": {"name": "edge", "namespace": "default"},
          "spec": {"selector": {"istio": "ingressgateway"}, "servers": [
              {"port": {"number": 8080, "name": "http", "protocol": "HTTP"},
               "bind": w.gateway.outer, "hosts": ["shop.example"]}]}}
    vs = {"apiVersion": API, "kind": "VirtualService",
          "metadata": {"name": "edge", "namespace": "default"},
          "spec": {"hosts": ["shop.example"], "gateways": ["edge"], "http": [
              {"match": [{"uri": {"prefix": "/two"}}], "route": [to("v2")]},
              {"route": [to("v1")]}]}}

    def version(path, host="shop.example"):
        return http_request(addr, path, headers={"host": host}).headers.get("x-app-version")
    w.rules(*BASE, gw, vs, until=lambda: version("/two") == "v2")
    assert version("/") == "v1"
    assert http_request(addr, "/", headers={"host": "other.example"}).status == 404


def test_unknown_host_and_invalid_rule_leave_what_works(at_base):
    w = at_base
    assert w.client.get("nowhere.example").status in (404, 502)
    # A field that does not exist: the file is reported, and what was in force stays.
    w.mesh.apply("rules", "apiVersion: networking.istio.io/v1alpha3\nkind: VirtualService\n"
                 "metadata: {name: reviews, namespace: default}\n"
                 "spec: {hosts: [reviews], https: []}\n")
    w.mesh.eventually(lambda: "https" in http_request(
        w.mesh.monitor["galley"], "/debug/config").text, what="Galley reports the invalid file")
    assert w.steady("v1")


ABORT = virtual_service("reviews", [{
    "fault": {"abort": {"percentage": {"value": 10}, "httpStatus": 418}}, "route": [to("v1")]}])
POOL = destination_rule("reviews", ("v1", "v2", "v3"),
                        connectionPool={"http": {"http2MaxRequests": 4096}})
CHANGES = {
    "shift": [SUBSETS, virtual_service("reviews", [{"route": [to("v1", 80), to("v2", 20)]}])],
    "user": [SUBSETS, virtual_service("reviews", [
        {"match": [{"headers": {"end-user": {"exact": "ada"}}}], "route": [to("v3")]},
        {"route": [to("v1")]}])],
    "fault": [SUBSETS, ABORT],
    "cluster": [POOL, BASE[1]],
    "endpoint": None,
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.timeout(300)
def test_changes_lose_nothing(at_base, name):
    """Fifty times applied and reverted under 500 requests a second and open streams: no error that
    the change does not ask for."""
    w = at_base
    w.second.wait_ready()

    def apply(changed):
        if name == "endpoint":  # one of the two that serve v1 goes and comes
            w.second.listed = not changed
            w.mesh.apply("services", w.mesh.services_yaml())
        else:
            w.mesh.apply("rules", CHANGES[name] if changed else BASE)

    def updates():
        return sum(w.client.envoy.stats("update_success$").values())

    held = [streams(w.mesh, w.client, "ratings", 10), streams(w.mesh, w.client, None, 10)]
    run = load(w.mesh, w.client, "reviews", "/", 500, "--connections", "100")
    for _ in range(50):
        for changed in (True, False):
            before = updates()
            apply(changed)
            w.mesh.eventually(lambda before=before: updates() > before,
                              what="the change reaches the client's Envoy")
    r = run.stop()
    for h in held:
        found = h.stop()
        assert found["breaks"] == {} and found["lines"] > 0, found
    assert r["errors"] == {} and set(r["status"]) <= {"200"} | (
        {"418"} if name == "fault" else set()), r
    assert r["sent"] > 500
