"""Destination rules, seen at the backends: balancers, localities, checks, pools, selectors, what is
said before a TCP connection. Backends are applications without a sidecar; two clients stand in two
regions. Once in each protocol variant."""
import http.client
import json
import socket
import threading

import pytest

from mesh import DOMAIN, SERVICE_PORT, TCP_PORT, Mesh, Workload
from util import Timeout, http_request, wait_for
from world import BaseWorld

pytestmark = pytest.mark.usefixtures("healthy")

API = "networking.istio.io/v1"
HOST = f"web.default.{DOMAIN}"
CLUSTER = f"outbound|{SERVICE_PORT}||{HOST}"
PLACES = {"a": "r1/z1", "b": "r1/z2", "c": "r2/z3", "d": "r3/z4"}


def rule(host="web", name=None, annotations=None, subsets=(), selector=None, **policy):
    meta = {"name": name or host, "namespace": "default"}
    if annotations:
        meta["annotations"] = {k: json.dumps(v) for k, v in annotations.items()}
    spec = {"host": host, "trafficPolicy": policy,
            "subsets": [{"name": n, "labels": v} for n, v in subsets]}
    if selector:
        spec["workloadSelector"] = {"matchLabels": selector}
    return {"apiVersion": API, "kind": "DestinationRule", "metadata": meta, "spec": spec}


def checked(**check):
    return {"meltemi.io/health-check": check}


def service(name, number, protocol, endpoints):
    return {"apiVersion": API, "kind": "ServiceEntry",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"hosts": [f"{name}.default.{DOMAIN}"], "location": "MESH_INTERNAL",
                     "resolution": "STATIC",
                     "ports": [{"number": number, "name": protocol.lower(), "protocol": protocol}],
                     "endpoints": endpoints}}


class Client(Workload):
    """A workload that says where it stands."""

    place = None

    @property
    def node(self):
        region, zone = self.place.split("/")
        return {**super().node, "locality": {"region": region, "zone": zone}}


class World(BaseWorld):
    def __init__(self, net, tmp, apps, protocol):
        m = self.mesh = Mesh(net, tmp, apps, protocol=protocol)
        self.net, self.marks = net, 0
        m.tcp_targets["near"] = {"db"}
        self.near = self.client("near", "r1/z1", tcp=True)
        self.far = self.client("far", "r2/z3")
        self.web = {n: apps.echo(version=n, name="web", tcp=True) for n in PLACES}
        self.tcp_port = None
        m.apply("rules", self.objects())
        m.start()

    def client(self, name, place, tcp=False):
        w = Client(self.mesh, "client", name=name, listed=False, tcp=tcp,
                   labels={"tier": name})
        w.place = place
        self.mesh.workloads.append(w)
        return w

    def endpoint(self, name):
        ip, port = self.web[name].addr.split(":")
        return {"address": ip, "ports": {"http": int(port)}, "locality": PLACES[name],
                "labels": {"version": name}}

    def objects(self, *rules, web="abcd", db=None):
        tcp = [{"address": a.rsplit(":", 1)[0], "ports": {"tcp": int(a.rsplit(":", 1)[1])}}
               for a in db or [w.tcp_addr for w in self.web.values()]]
        return [service("web", SERVICE_PORT, "HTTP", [self.endpoint(n) for n in web]),
                service("db", TCP_PORT, "TCP", tcp), *rules]

    def rules(self, *rules, until, what, timeout=15, **kw):
        return super().rules(*self.objects(*rules, **kw), until=until, what=what, timeout=timeout)

    def after(self):
        self.sick()

    def of(self, client, path="/", n=1, **kw):
        """The backends that answer n requests."""
        replies = [client.get(HOST, path, **kw) for _ in range(n)]
        assert all(r.status == 200 for r in replies), replies
        return [r.headers["x-app-version"] for r in replies]

    def only(self, client, names, n=12, **kw):
        """All of n requests go to these backends and each of these gets some."""
        got = set(self.of(client, n=n, **kw))
        assert got == set(names), got
        return True

    def sick(self, *names):
        for n, w in self.web.items():
            http_request(w.addr, "/unhealthy" if n in names else "/healthy", method="POST")


@pytest.fixture(scope="module")
def world(net, apps, variant):
    w = World(net, apps.tmp, apps, variant)
    yield w
    w.stop()


def sticks(world, key, users=12, again=3):
    """key(user) -> arguments of a request: each user has one backend, not all the same one."""
    home = {}
    for u in range(users):
        got = set(world.of(world.near, n=again, **key(u)))
        assert len(got) == 1, (u, got)
        home[u] = got.pop()
    # Twelve users on one of four by chance: 4 ** -11.
    assert len(set(home.values())) > 1, home
    return home


def test_hash_header_ring(world):
    def key(u):
        return {"headers": {"x-user": f"user-{u}"}}
    home = world.rules(
        rule(loadBalancer={"consistentHash": {"httpHeaderName": "x-user",
                                              "minimumRingSize": 1024}}),
        until=lambda: sticks(world, key), what="a user has one backend")
    assert set(home.values()) <= set(PLACES)


def test_hash_header_maglev_moves_little(world):
    policy = {"consistentHash": {"httpHeaderName": "x-user", "maglev": {"tableSize": 65537}}}

    def key(u):
        return {"headers": {"x-user": f"user-{u}"}}
    before = world.rules(rule(loadBalancer=policy), until=lambda: sticks(world, key, 24),
                         what="a user has one backend")
    gone = before[0]
    left = "".join(n for n in PLACES if n != gone)

    def moved():
        now = sticks(world, key, 24, again=1)
        assert gone not in now.values(), now
        return now
    now = world.rules(rule(loadBalancer=policy), until=moved, what=f"{gone} is gone", web=left)
    stay = [u for u in before if before[u] != gone]
    # Who has lost nothing stays where it was, nearly all.
    assert sum(now[u] == before[u] for u in stay) >= 0.8 * len(stay), (before, now)


def test_hash_cookie(world):
    policy = {"consistentHash": {"httpCookie": {
        "name": "home", "path": "/shop", "ttl": "60s",
        "attributes": [{"name": "SameSite", "value": "Strict"}]}, "maglev": {}}}

    def cookie():
        made = world.near.get(HOST).headers["set-cookie"]
        assert made.startswith("home=") and "Max-Age=60" in made and "Path=/shop" in made
        assert "SameSite=Strict" in made
        return made
    world.rules(rule(loadBalancer=policy), until=cookie, what="a cookie is made")
    home = set()
    for _ in range(8):
        r = world.near.get(HOST)
        value = r.headers["set-cookie"].split(";")[0]
        # The first answer already comes from the backend that the cookie stands for.
        assert set(world.of(world.near, n=4, headers={"cookie": value})) == {
            r.headers["x-app-version"]}
        home.add(r.headers["x-app-version"])
    assert len(home) > 1, home


def test_hash_query(world):
    world.rules(
        rule(loadBalancer={"consistentHash": {"httpQueryParameterName": "user",
                                              "ringHash": {"minimumRingSize": 512}}}),
        until=lambda: sticks(world, lambda u: {"path": f"/?user={u}-x"}),
        what="a query has one backend")


def from_source(world, ip):
    conn = http.client.HTTPConnection(world.near.outbound, timeout=10, source_address=(ip, 0))
    try:
        conn.request("GET", "/", headers={"host": HOST})
        r = conn.getresponse()
        r.read()
        assert r.status == 200
        return r.getheader("x-app-version")
    finally:
        conn.close()


def test_hash_source_ip(world):
    ips = [world.net.ip() for _ in range(12)]

    def by_source():
        home = {ip: {from_source(world, ip) for _ in range(3)} for ip in ips}
        assert all(len(h) == 1 for h in home.values()), home
        return len({h.pop() for h in home.values()}) > 1
    world.rules(rule(loadBalancer={"consistentHash": {"useSourceIp": True}}), until=by_source,
                what="a source address has one backend")


@pytest.mark.parametrize("lb", ["ROUND_ROBIN", "RANDOM", "LEAST_REQUEST", "LEAST_CONN"])
def test_simple(world, lb):
    want = {"ROUND_ROBIN": None, "LEAST_CONN": "LEAST_REQUEST"}.get(lb, lb)
    world.rules(
        rule(loadBalancer={"simple": lb}),
        until=lambda: world.near.envoy.resources("cluster")[CLUSTER].get(
            "lb_policy", "ROUND_ROBIN") == (want or "ROUND_ROBIN"),
        what=f"the cluster balances by {lb}")
    n = 120
    got = world.of(world.near, n=n)
    counts = {v: got.count(v) for v in PLACES}
    if lb == "ROUND_ROBIN":
        assert max(counts.values()) - min(counts.values()) <= 1, counts
    else:  # binomial, p = 1/4: five standard deviations are 24
        assert all(abs(c - n / 4) <= 24 for c in counts.values()), counts


def test_locality_failover_by_active_checks(world):
    check = checked(http={"path": "/healthz"}, interval="0.1s", timeout="1s",
                    unhealthyThreshold=2, healthyThreshold=1, noTrafficInterval="0.1s")
    world.rules(
        rule(annotations=check,
             loadBalancer={"localityLbSetting": {"failover": [{"from": "r1", "to": "r3"}]}}),
        until=lambda: world.only(world.near, "a") and world.only(world.far, "c"),
        what="each client uses its own zone")

    def expect(names, *sick):
        world.sick(*sick)
        world.mesh.eventually(lambda: world.only(world.near, names), 20,
                              what=f"{names} when {sick} are unhealthy")
    expect("b", "a")
    expect("d", "a", "b")  # the other region that failover names, not the other other one
    expect("c", "a", "b", "d")
    expect("b", "a")
    expect("a")


def test_active_check_takes_an_endpoint_out(world):
    check = checked(http={"path": "/healthz"}, interval="0.1s", timeout="1s",
                    unhealthyThreshold=2, healthyThreshold=1, noTrafficInterval="0.1s")
    world.sick("b")
    world.rules(rule(annotations=check, loadBalancer={"localityLbSetting": {"enabled": False}}),
                until=lambda: world.only(world.near, "acd", n=40), what="b gets nothing")
    world.sick()
    world.mesh.eventually(lambda: world.only(world.near, "abcd", n=40), what="b is back")


def test_locality_failover_when_endpoints_vanish_or_fail(world):
    out = rule(outlierDetection={"consecutive5xxErrors": 2, "interval": "0.1s",
                                 "baseEjectionTime": "0.5s", "maxEjectionPercent": 100})
    world.rules(out, until=lambda: world.only(world.near, "a") and world.only(world.far, "c"),
                what="each client uses its own zone")
    world.rules(out, web="bcd", until=lambda: world.only(world.near, "b"),
                what="the next zone when a has vanished")
    world.rules(out, web="d", until=lambda: world.only(world.near, "d"),
                what="another region when the own is empty")
    world.rules(out, until=lambda: world.only(world.near, "a"), what="a is back")

    def errs():
        # Errors of a's own eject it; while it is out, b answers.
        for _ in range(2):
            world.near.get(HOST, "/?status=500")
        return world.of(world.near) == ["b"]
    world.mesh.eventually(errs, 20, what="a is ejected")
    world.mesh.eventually(lambda: world.only(world.near, "a"), 20, what="a comes back")


def test_other_statuses_eject(world):
    world.rules(
        rule(outlierDetection={"consecutive5xxErrors": 2, "interval": "0.1s",
                               "baseEjectionTime": "30s", "maxEjectionPercent": 100,
                               "outlierDetectionHttpErrorCodes": [418]}),
        until=lambda: world.only(world.near, "a"), what="the nearest serves")

    def ejected(status, there):
        for _ in range(4):
            world.near.get(HOST, f"/?status={status}")
        return world.of(world.near) == [there]
    assert ejected(404, "a")  # not one of them
    world.mesh.eventually(lambda: ejected(418, "b") or world.of(world.near) == ["c"],
                          what="a teapot is ejected")


def test_failover_priority_by_labels(world):
    world.rules(
        rule(outlierDetection={"consecutive5xxErrors": 3}, loadBalancer={"localityLbSetting": {
            "failoverPriority": ["version=d", "topology.kubernetes.io/region"]}}),
        until=lambda: world.only(world.near, "d") and world.only(world.far, "d"),
        what="the label decides before the place does")


def test_locality_distribution(world):
    world.rules(
        rule(loadBalancer={"localityLbSetting": {"distribute": [
            {"from": "r1/*", "to": {"r1/z1": 60, "r1/z2": 10, "r3": 30}},
            {"from": "r2", "to": {"r1/*": 100}}]}}),
        until=lambda: world.only(world.near, "abd", n=60) and world.only(world.far, "ab", n=20),
        what="only those that get a share")
    n = 600
    got = world.of(world.near, n=n)
    for version, share in (("a", 0.6), ("b", 0.1), ("d", 0.3)):
        # Five standard deviations of a binomial; the balancer is more even than that.
        assert abs(got.count(version) - n * share) < 5 * (n * share * (1 - share)) ** 0.5, (
            version, got.count(version))


def mesh_config(**spec):
    return {"apiVersion": "mesh.istio.io/v1alpha1", "kind": "MeshConfig",
            "metadata": {"name": "default"}, "spec": spec}


def test_localities_of_the_mesh_alone(world):
    """No rule at all: what the mesh configuration says of places and of outliers."""
    outliers = {"outlierDetection": {"consecutive5xxErrors": 2, "interval": "0.1s",
                                     "baseEjectionTime": "0.5s", "maxEjectionPercent": 100}}
    failover = {"failover": [{"from": "r1", "to": "r3"}]}
    world.rules(mesh_config(localityLbSetting={"distribute": [
        {"from": "r1/*", "to": {"r3": 100}}, {"from": "r2", "to": {"r1/z2": 100}}]}),
        until=lambda: world.only(world.near, "d") and world.only(world.far, "b"),
        what="each region has its share")
    world.rules(mesh_config(defaultTrafficPolicy=outliers, localityLbSetting=failover),
                until=lambda: world.only(world.near, "a") and world.only(world.far, "c"),
                what="each client uses its own zone")
    world.rules(mesh_config(defaultTrafficPolicy=outliers, localityLbSetting=failover), web="cd",
                until=lambda: world.only(world.near, "d"), what="the region that failover names")
    world.rules(mesh_config(defaultTrafficPolicy=outliers, localityLbSetting={"enabled": False}),
                web="abcd", until=lambda: world.only(world.near, "abcd", n=40),
                what="places do not matter")
    world.rules(until=lambda: world.only(world.near, "abcd", n=40), what="nor without settings")


def test_connections_of_the_mesh_alone(world):
    """defaultTrafficPolicy bounds where no rule does; a rule's pool replaces it."""
    pool = {"connectionPool": {"http": {"http1MaxPendingRequests": 1},
                               "tcp": {"maxConnections": 1}}}

    def bound():
        r = world.near.envoy.get("/clusters?format=json").json()
        c = next(c for c in r["cluster_statuses"] if c["name"].endswith(f"|{SERVICE_PORT}||{HOST}"))
        return next(t["max_connections"] for t in c["circuit_breakers"]["thresholds"]
                    if t.get("priority", "DEFAULT") == "DEFAULT")
    world.rules(mesh_config(defaultTrafficPolicy=pool), until=lambda: bound() == 1,
                what="the mesh bounds")
    world.rules(mesh_config(defaultTrafficPolicy=pool),
                rule(connectionPool={"tcp": {"maxConnections": 9}}), until=lambda: bound() == 9,
                what="the rule bounds")


def test_workload_selector_and_age(world):
    by = {"x": {"version": "a"}}, {"x": {"version": "b"}}
    route = {"apiVersion": API, "kind": "VirtualService",
             "metadata": {"name": "web", "namespace": "default"},
             "spec": {"hosts": ["web"], "http": [
                 {"route": [{"destination": {"host": "web", "subset": "x"}}]}]}}
    world.rules(
        rule(name="everybody", subsets=by[0].items(), loadBalancer={"simple": "RANDOM"}),
        rule(name="selected", subsets=by[1].items(), selector={"tier": "far"},
             loadBalancer={"simple": "RANDOM"}), route,
        until=lambda: world.only(world.near, "a") and world.only(world.far, "b"),
        what="the client that is selected has a rule of its own")


def test_pool_overflow_and_budget(world):
    world.rules(rule(connectionPool={"tcp": {"maxConnections": 1},
                                     "http": {"http1MaxPendingRequests": 1}},
                     retryBudget={"percent": 20, "minRetryConcurrency": 3}),
                until=lambda: "retry_budget" in json.dumps(
                    world.near.envoy.resources("cluster")[CLUSTER]), what="the limits are there")
    replies = []

    def ask():
        replies.append(world.near.get(HOST, "/?delay=300ms"))
    threads = [threading.Thread(target=ask) for _ in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    status = [r.status for r in replies]
    assert 200 in status and 503 in status, status
    assert any("overflow" in r.headers.get("x-envoy-overloaded", "") or r.status == 503 and
               b"overflow" in r.body for r in replies), replies


# --- TCP ---
class Peer:
    """A TCP server that keeps the first bytes of each connection, and answers them."""

    def __init__(self, ip, answer=b""):
        self.server = socket.create_server((ip, 0))
        self.addr = f"{ip}:{self.server.getsockname()[1]}"
        self.answer, self.heard = answer, []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                conn, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def serve(self, conn):
        with conn:
            first = conn.recv(4096)
            self.heard.append(first)
            if self.answer:
                conn.sendall(self.answer)
                self.heard.append(conn.recv(4096))

    def close(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()


@pytest.fixture
def peer(request, world):
    p = Peer(world.net.ip(), getattr(request, "param", b""))
    yield p
    p.close()


def tcp(world, source=None):
    ip, port = world.near.outbound_tcp.split(":")
    return socket.create_connection((ip, int(port)), 10, (source, 0) if source else None)


def say(world, text):
    with tcp(world) as s:
        s.sendall(text)
        s.settimeout(2)
        try:
            return s.recv(4096)
        except OSError:
            return b""


@pytest.mark.parametrize("version, start", [
    ("V1", b"PROXY TCP4 "), ("V2", b"\r\n\r\n\x00\r\nQUIT\n")])
def test_proxy_protocol(world, peer, version, start):
    def heard():
        say(world, b"hello")
        return any(h.startswith(start) for h in peer.heard) and peer.heard
    world.rules(rule("db", proxyProtocol={"version": version}), db=[peer.addr], until=heard,
                what=f"the peer hears {start}")
    if version == "V1":
        ip = world.near.inner.encode()
        assert any(ip in h for h in peer.heard), peer.heard


# A POST's answer has to say how long it is: Envoy 1.40 crashes when one without a length ends.
@pytest.mark.parametrize("method, peer", [
    ("CONNECT", b"HTTP/1.1 200 OK\r\n\r\n"),
    ("POST", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")],
    indirect=["peer"], ids=["CONNECT", "POST"])
def test_tunnel(world, peer, method):
    want = (b"CONNECT far.example.com:443 HTTP/1.1\r\n" if method == "CONNECT" else
            b"POST ")

    def heard():
        say(world, b"inside")
        return any(h.startswith(want) for h in peer.heard)
    world.rules(rule("db", tunnel={"protocol": method, "targetHost": "far.example.com",
                                   "targetPort": 443}), db=[peer.addr], until=heard,
                what=f"the peer hears {want}")
    if method == "CONNECT":
        assert b"inside" in peer.heard, peer.heard
    else:
        assert any(b"far.example.com:443" in h for h in peer.heard), peer.heard


def test_tcp_hash_by_source(world):
    ips = [world.net.ip() for _ in range(10)]

    def home(ip):
        got = set()
        for _ in range(3):
            with tcp(world, ip) as s:
                got.add(s.recv(200))  # the greeting names the backend
        assert len(got) == 1 and got != {b""}, got
        return got.pop()

    def by_source():
        return len({home(ip) for ip in ips}) > 1
    world.rules(rule("db", loadBalancer={"consistentHash": {"useSourceIp": True}}),
                until=by_source, what="a source address has one backend")


def test_tcp_limits(world):
    world.rules(rule("db", connectionPool={"tcp": {"maxConnections": 1, "idleTimeout": "0.5s"}}),
                until=lambda: ended(world), what="an idle connection is closed")
    overflow = f"cluster.outbound|{TCP_PORT}||db.default.{DOMAIN}.upstream_cx_overflow"
    world.rules(rule("db", connectionPool={"tcp": {"maxConnections": 1}}),
                until=lambda: overflows(world, overflow), what="the second connection is refused")


def ended(world):
    with tcp(world) as s:
        s.settimeout(3)
        assert s.recv(200)
        try:
            return s.recv(200) == b""
        except OSError as e:
            raise Timeout("still open") from e


def overflows(world, stat):
    with tcp(world) as first, tcp(world) as second:
        assert first.recv(200)
        second.settimeout(3)
        try:
            refused = second.recv(200) == b""
        except ConnectionError:
            refused = True
    return refused and world.near.envoy.stats("upstream_cx_overflow").get(stat, 0) > 0


def test_a_rule_that_cannot_be_is_refused(world):
    """Galley says no, and what works goes on working."""
    world.rules(rule(loadBalancer={"simple": "ROUND_ROBIN"}),
                until=lambda: world.only(world.near, "abcd", n=8), what="all four")
    bad = rule(annotations=checked(http={"path": "nowhere"}), loadBalancer={
        "consistentHash": {"useSourceIp": True, "maglev": {"tableSize": 65536}}})
    world.mesh.apply("rules", world.objects(bad, web="ab"))
    # The rest of the file is taken: with it two backends are left.
    world.mesh.eventually(lambda: world.only(world.near, "ab", n=8), what="two backends")
    log = world.mesh.daemons["galley"].log()
    wait_for(lambda: "65536 is not a prime number" in world.mesh.daemons["galley"].log(),
             what="Galley says why")
    assert "health-check" in world.mesh.daemons["galley"].log(), log[-2000:]
