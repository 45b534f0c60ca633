"""gRPC clients and servers without a proxy (`xds:///`): the standard client of another language finds,
balances, splits, retries and limits by our rules. No Envoy here."""
import json
import os
import subprocess
import sys

import pytest

from grpc_peer import serve
from mesh import DOMAIN, Mesh
from test_traffic import API, destination_rule, virtual_service
from util import http_request, wait_for

HOST = f"greeter.default.{DOMAIN}"
TARGET = f"xds:///{HOST}:7070"
PEER = os.path.join(os.path.dirname(__file__), "grpc_peer.py")


def bootstrap(pilot, node, **more):
    return json.dumps({
        "xds_servers": [{"server_uri": pilot, "channel_creds": [{"type": "insecure"}],
                         "server_features": ["xds_v3"]}],
        "node": node, **more})


class Peer:
    """grpc_peer.py as a process."""

    def __init__(self, config, *args, log):
        self.log = open(log, "w", encoding="utf-8")
        self.proc = subprocess.Popen(
            [sys.executable, PEER, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.log, text=True,
            env={**os.environ, "GRPC_XDS_BOOTSTRAP_CONFIG": config, "GRPC_VERBOSITY": "info"})

    def ask(self, **cmd):
        self.proc.stdin.write(json.dumps(cmd) + "\n")
        self.proc.stdin.flush()
        return self.hear()

    def hear(self):
        line = self.proc.stdout.readline()
        assert line, f"the peer ended: {open(self.log.name, encoding='utf-8').read()[-2000:]}"
        return json.loads(line)

    def call(self, n=1, target=TARGET, **cmd):
        return self.ask(target=target, n=n, **cmd)

    def stop(self):
        self.proc.stdin.close()
        try:
            self.proc.wait(5)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
        self.log.close()


class World:
    def __init__(self, net, tmp, apps):
        self.net, self.tmp = net, tmp
        self.mesh = Mesh(net, tmp, apps)
        self.servers, self.peers = {}, []
        for name, version in (("a1", "v1"), ("a2", "v1"), ("b1", "v2")):
            self.server(name, version)
        self.services(["a1", "a2", "b1"])
        self.mesh.start()
        self.client = self.peer("client", "the client of the tests")

    def server(self, name, version):
        addr = f"{self.net.ip()}:7070"
        s, greeter = serve(addr, name)
        self.servers[name] = (s, addr, version, greeter)

    def services(self, names):
        """Which servers are endpoints of the service."""
        self.mesh.apply("greeter", [{
            "apiVersion": API, "kind": "ServiceEntry",
            "metadata": {"name": "greeter", "namespace": "default"},
            "spec": {"hosts": [HOST], "location": "MESH_INTERNAL", "resolution": "STATIC",
                     "ports": [{"number": 7070, "name": "grpc", "protocol": "GRPC"}],
                     "endpoints": [{"address": self.servers[n][1].split(":")[0],
                                    "labels": {"version": self.servers[n][2]}} for n in names]}}])

    def peer(self, kind, node_id, *args, **more):
        p = Peer(bootstrap(self.mesh.xds_addr, {
            "id": node_id, "metadata": {"NAMESPACE": "default"}}, **more),
            kind, *args, log=self.tmp / f"peer-{len(self.peers)}.log")
        self.peers.append(p)
        return p

    def rules(self, *http, subsets=("v1", "v2"), **policy):
        self.mesh.apply("rules", [destination_rule("greeter", subsets, **policy),
                                  virtual_service("greeter", list(http))] if http else
                        [destination_rule("greeter", subsets, **policy)])

    def eventually(self, probe, what):
        wait_for(probe, 20, what=what)

    def stop(self):
        for p in self.peers:
            p.stop()
        for s, *_ in self.servers.values():
            s.stop(0)
        self.mesh.stop()


@pytest.fixture(scope="module")
def world(net, tmp, apps):
    w = World(net, tmp, apps)
    yield w
    w.stop()


@pytest.fixture(autouse=True)
def nothing_rejected(world):
    yield
    for p in http_request(world.mesh.monitor["pilot"], "/debug/syncz").json():
        assert not any(t["nacks"] for t in p["types"].values()), p


def to(subset, weight=None):
    d = {"destination": {"host": "greeter", "subset": subset}}
    return {**d, **({"weight": weight} if weight is not None else {})}


def test_a_client_finds_and_balances(world):
    world.rules()
    got = world.client.call(60, wait=True, timeout=20)
    assert got["codes"] == {"OK": 60}, got
    assert set(got["names"]) == {"a1", "a2", "b1"}
    assert all(15 <= n <= 25 for n in got["names"].values()), got
    seen = {p["proxy"]: p for p in http_request(
        world.mesh.monitor["pilot"], "/debug/syncz").json()}["the client of the tests"]
    assert seen["type"] == "grpc" and seen["agent"].startswith("gRPC")
    assert seen["variant"] == "state-of-the-world"


@pytest.mark.parametrize("name", ["greeter:7070", "greeter.default:7070",
                                  "greeter.default.svc:7070", HOST])
def test_short_names(world, name):
    got = world.client.call(3, target=f"xds:///{name}", wait=True)
    assert got["codes"] == {"OK": 3}, got
    world.client.ask(close=f"xds:///{name}")  # unsubscribes, the rest goes on
    assert world.client.call(3)["codes"] == {"OK": 3}


def test_a_name_that_comes_later(world):
    """A client that waits for a name that nobody has does not disturb what it has already."""
    target = "xds:///late.default:7070"
    assert "OK" not in world.client.call(1, target=target, timeout=0.5)["codes"]
    assert world.client.call(3)["codes"] == {"OK": 3}
    world.mesh.apply("late", [{
        "apiVersion": API, "kind": "ServiceEntry",
        "metadata": {"name": "late", "namespace": "default"},
        "spec": {"hosts": [f"late.default.{DOMAIN}"], "location": "MESH_INTERNAL",
                 "resolution": "STATIC",
                 "ports": [{"number": 7070, "name": "grpc", "protocol": "GRPC"}],
                 "endpoints": [{"address": world.servers["a2"][1].split(":")[0]}]}}])
    world.eventually(lambda: world.client.call(1, target=target, timeout=5)["names"] ==
                     {"a2": 1}, "the name is there")


def test_a_split_and_its_change(world):
    world.rules({"route": [to("v1", 90), to("v2", 10)]})
    world.eventually(lambda: world.client.call(100)["names"].get("b1", 0) <= 22, "the split is live")
    before = {n: s[3].calls["Hello"] for n, s in world.servers.items()}
    got = world.client.call(1000)
    assert got["codes"] == {"OK": 1000}
    seen = {n: s[3].calls["Hello"] - before[n] for n, s in world.servers.items()}
    assert seen == {n: got["names"].get(n, 0) for n in seen}
    assert 60 <= seen["b1"] <= 145, seen
    assert abs(seen["a1"] - seen["a2"]) <= 0.2 * (seen["a1"] + seen["a2"]), seen

    world.rules({"route": [to("v2")]})
    world.eventually(lambda: set(world.client.call(20)["names"]) == {"b1"}, "the change is live")


def test_rules_by_header_and_method(world):
    world.rules({"match": [{"headers": {"x-user": {"exact": "tester"}}}], "route": [to("v2")]},
                {"match": [{"uri": {"prefix": "/demo.Greeter/Other"}}], "route": [to("v2")]},
                {"route": [to("v1")]})
    world.eventually(lambda: not world.client.call(20)["names"].get("b1"), "others go to v1")
    assert set(world.client.call(10, metadata={"x-user": "tester"})["names"]) == {"b1"}
    assert set(world.client.call(10, method="Other")["names"]) == {"b1"}


def test_endpoints_come_and_go(world):
    world.rules()
    world.server("a3", "v1")
    world.services(["a1", "a2", "b1", "a3"])
    world.eventually(lambda: "a3" in world.client.call(20)["names"], "the new endpoint is used")
    world.services(["b1", "a3"])
    world.eventually(lambda: set(world.client.call(20)["names"]) == {"b1", "a3"},
                     "endpoints that are gone are not used")
    world.services([])
    world.eventually(lambda: world.client.call(1, timeout=5)["codes"] == {"UNAVAILABLE": 1},
                     "nobody is left")
    world.services(["a1", "a2", "b1"])
    world.eventually(lambda: set(world.client.call(30)["names"]) == {"a1", "a2", "b1"},
                     "all are back")


def test_timeout(world):
    world.rules({"match": [{"uri": {"exact": "/demo.Greeter/Slow"}}], "timeout": "0.3s",
                 "route": [to("v1")]}, {"route": [to("v1")]})
    world.eventually(lambda: world.client.call(1, method="Slow")["codes"] ==
                     {"DEADLINE_EXCEEDED": 1}, "the rule's timeout is live")
    got = world.client.call(1, method="Slow")
    assert got["seconds"] < 1.8, got
    assert world.client.call(3)["codes"] == {"OK": 3}


def test_retries(world):
    world.rules({"retries": {"attempts": 0}, "route": [to("v2")]})
    world.eventually(lambda: world.client.call(1, method="Flaky", metadata={
        "x-key": os.urandom(8).hex()})["codes"] == {"UNAVAILABLE": 1}, "without retries it fails")
    world.rules({"retries": {"attempts": 3, "retryOn": "unavailable"}, "route": [to("v2")]})
    world.eventually(lambda: world.client.call(1, method="Flaky", metadata={
        "x-key": os.urandom(8).hex()})["codes"] == {"OK": 1}, "two failures are retried")
    greeter = world.servers["b1"][3]
    before = greeter.calls["Fail"]
    assert world.client.call(1, method="Fail")["codes"] == {"UNAVAILABLE": 1}
    assert greeter.calls["Fail"] - before == 4


def test_a_fault_that_is_injected(world):
    world.rules({"fault": {"abort": {"grpcStatus": "PERMISSION_DENIED",
                                     "percentage": {"value": 100}}}, "route": [to("v1")]})
    world.eventually(lambda: world.client.call(1)["codes"] == {"PERMISSION_DENIED": 1},
                     "calls are aborted")
    world.rules()
    world.eventually(lambda: world.client.call(3)["codes"] == {"OK": 3}, "and no more")


def test_faults_in_part(world):
    """A share of the calls is aborted; a delay is waited for."""
    world.rules({"match": [{"uri": {"exact": "/demo.Greeter/Other"}}], "route": [to("v1")],
                 "fault": {"delay": {"fixedDelay": "0.4s", "percentage": {"value": 100}}}},
                {"fault": {"abort": {"grpcStatus": "ABORTED", "percentage": {"value": 30}}},
                 "route": [to("v1")]})
    world.eventually(lambda: world.client.call(20)["codes"].get("ABORTED"), "some calls are aborted")
    codes = world.client.call(400)["codes"]
    # p = 0.3: five standard deviations of 400 are 46.
    assert set(codes) == {"OK", "ABORTED"} and abs(codes["ABORTED"] - 120) < 47, codes
    got = world.client.call(1, method="Other")
    assert got["codes"] == {"OK": 1} and got["seconds"] > 0.39, got


def test_a_host_of_a_virtual_service_alone(world):
    """A name that no service has, at port 80 and at the ports that its rules name."""
    def alias(*http):
        world.mesh.apply("alias", [{
            "apiVersion": API, "kind": "VirtualService",
            "metadata": {"name": "alias", "namespace": "default"},
            "spec": {"hosts": ["greetings.example"], "http": list(http)}}])

    def at(subset, weight=100):
        return {"destination": {"host": "greeter", "subset": subset, "port": {"number": 7070}},
                "weight": weight}
    world.rules()
    alias({"match": [{"headers": {"x-user": {"exact": "tester"}}}], "route": [at("v2")]},
          {"route": [at("v1")]})
    targets = [f"xds:///greetings.example{p}" for p in ("", ":80", ":7070")]
    for t in targets:
        world.eventually(lambda t=t: world.client.call(1, target=t, timeout=5)["codes"] == {"OK": 1},
                         f"{t} is found")
        assert set(world.client.call(12, target=t)["names"]) == {"a1", "a2"}
        assert set(world.client.call(6, target=t, metadata={"x-user": "tester"})["names"]) == {"b1"}
    alias({"route": [at("v1", 50), at("v2", 50)]})
    for t in targets:
        world.eventually(lambda t=t: set(world.client.call(30, target=t)["names"]) ==
                         {"a1", "a2", "b1"}, f"{t} is split")
    world.mesh.remove("alias")
    world.eventually(lambda: world.client.call(1, target=targets[0], timeout=2)["codes"] ==
                     {"UNAVAILABLE": 1}, "the name is gone")
    for t in targets:
        world.client.ask(close=t)


def test_what_is_left_out_is_said(world):
    """On the object, for this client."""
    world.rules({"match": [{"queryParams": {"a": {"exact": "b"}}}], "directResponse": {"status": 403}},
                {"rewrite": {"authority": "other"}, "mirror": {"host": "greeter", "subset": "v2"},
                 "headers": {"request": {"set": {"x-a": "b"}}}, "corsPolicy": {"allowOrigin": ["*"]},
                 "retries": {"attempts": 2, "perTryTimeout": "1s", "retryOn": "5xx"},
                 "route": [to("v1")]}, loadBalancer={"simple": "LEAST_REQUEST"})

    def notes():
        page = http_request(world.mesh.monitor["pilot"],
                            "/debug/notes?proxyID=the%20client%20of%20the%20tests").json()
        return {(n["object"], n["path"]) for n in page["notes"]}
    rule = "VirtualService default/greeter"
    want = {(rule, f"spec.http[{i}].{field}") for i, field in (
        (0, "match"), (0, "directResponse"), (1, "rewrite"), (1, "mirror"), (1, "headers"),
        (1, "corsPolicy"), (1, "retries.perTryTimeout"), (1, "retries.retryOn"))}
    want.add(("DestinationRule default/greeter", "spec.trafficPolicy.loadBalancer"))
    world.eventually(lambda: want <= notes(), "everything is noted")
    # Python's gRPC has no least request, and balances all the same.
    world.eventually(lambda: set(world.client.call(20)["names"]) == {"a1", "a2"}, "it is live")
    got = world.client.call(40)["names"]
    assert abs(got["a1"] - got["a2"]) <= 8, got


def test_what_gRPC_does_not_have_is_not_sent(world):
    """Of any rule something is left that gRPC takes: nothing is rejected (see nothing_rejected)."""
    world.rules(
        {"match": [{"headers": {"x-user": {"regex": "t.*"}}, "withoutHeaders": {"x-no": {}}}],
         "route": [to("v2")], "headers": {"request": {"set": {"x-a": "b"}}},
         "mirror": {"host": "greeter", "subset": "v2"}, "corsPolicy": {"allowOrigin": ["*"]}},
        {"match": [{"queryParams": {"a": {"exact": "b"}}}], "redirect": {"uri": "/x"}},
        {"rewrite": {"authority": "other"}, "route": [to("v1")]},
        loadBalancer={"simple": "RANDOM"}, outlierDetection={"consecutive5xxErrors": 3},
        connectionPool={"http": {"http2MaxRequests": 100}, "tcp": {"maxConnections": 3}})
    world.eventually(lambda: set(world.client.call(10, metadata={"x-user": "tim"})["names"]) ==
                     {"b1"}, "it is live")
    assert set(world.client.call(20)["names"]) == {"a1", "a2"}
    world.rules(loadBalancer={"consistentHash": {"httpHeaderName": "x-user"}})

    def sticky():
        users = [set(world.client.call(10, metadata={"x-user": u})["names"]) for u in "abcdefgh"]
        return all(len(u) == 1 for u in users) and len(set.union(*users)) > 1
    world.eventually(sticky, "a user stays with a server")


def test_a_server(world):
    """A server that asks for its listener serves once it has it; a client finds it."""
    ip = world.net.ip()
    node = f"sidecar~{ip}~served.default~default.{DOMAIN}"
    server = world.peer("server", node, f"{ip}:7071", "served", "xds",
                        server_listener_resource_name_template="xds.istio.io/grpc/lds/inbound/%s")
    server.hear()
    target = f"xds:///served.default.{DOMAIN}:7071"
    world.mesh.apply("served", [{
        "apiVersion": API, "kind": "ServiceEntry",
        "metadata": {"name": "served", "namespace": "default"},
        "spec": {"hosts": [f"served.default.{DOMAIN}"], "location": "MESH_INTERNAL",
                 "resolution": "STATIC",
                 "ports": [{"number": 7071, "name": "grpc", "protocol": "GRPC"}],
                 "endpoints": [{"address": ip}]}}])
    world.eventually(lambda: world.client.call(1, target=target, timeout=5)["names"] ==
                     {"served": 1}, "the server serves")
    assert world.client.call(5, target=target)["codes"] == {"OK": 5}
    routes = [t["status"] for p in http_request(
        world.mesh.monitor["pilot"], "/debug/syncz").json() if p["proxy"] == "served.default"
        for t in [p["types"]["LDS"]]]
    assert routes == ["SYNCED"]


def certificates(folder, names):
    """A root and for each name a certificate whose URI is a service account's."""
    def run(*argv):
        subprocess.run(["openssl", *map(str, argv)], check=True, capture_output=True)
    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
           "-days", "2")
    root = folder / "root"
    run(*new, "-subj", "/CN=root", "-keyout", f"{root}.key", "-out", f"{root}.pem")
    for name in names:
        run(*new, "-subj", f"/CN={name}", "-keyout", folder / f"{name}.key", "-out",
            folder / f"{name}.pem", "-CA", f"{root}.pem", "-CAkey", f"{root}.key",
            "-addext", f"subjectAltName=URI:spiffe://cluster.local/ns/default/sa/{name}",
            "-addext", "basicConstraints=critical,CA:FALSE")


def plugin(folder, name):
    return {"default": {"plugin_name": "file_watcher", "config": {
        "certificate_file": f"{folder}/{name}.pem", "private_key_file": f"{folder}/{name}.key",
        "ca_certificate_file": f"{folder}/root.pem", "refresh_interval": "60s"}}}


def test_mutual_tls(world):
    """ISTIO_MUTUAL: with the certificate of the endpoint's service account, and with no other."""
    certificates(world.tmp, ("client", "secure", "impostor"))
    ip, target = world.net.ip(), f"xds:///secure.default.{DOMAIN}:7072"
    entry = {"apiVersion": API, "kind": "ServiceEntry",
             "metadata": {"name": "secure", "namespace": "default"},
             "spec": {"hosts": [f"secure.default.{DOMAIN}"], "location": "MESH_INTERNAL",
                      "resolution": "STATIC",
                      "ports": [{"number": 7072, "name": "grpc", "protocol": "GRPC"}],
                      "endpoints": [{"address": ip, "serviceAccount": "secure", "labels": {
                          "app": "secure", "security.istio.io/tlsMode": "istio"}}]}}
    strict = {"apiVersion": "security.istio.io/v1beta1", "kind": "PeerAuthentication",
              "metadata": {"name": "secure", "namespace": "default"},
              "spec": {"selector": {"matchLabels": {"app": "secure"}}, "mtls": {"mode": "STRICT"}}}
    mutual = {**destination_rule("secure", (), tls={"mode": "ISTIO_MUTUAL"})}
    world.mesh.apply("secure", [entry, strict, mutual])
    node = f"sidecar~{ip}~secure.default~default.{DOMAIN}"
    template = "xds.istio.io/grpc/lds/inbound/%s"

    def server(cert):
        p = Peer(bootstrap(world.mesh.xds_addr, {
            "id": node, "metadata": {"NAMESPACE": "default", "LABELS": {"app": "secure"}}},
            server_listener_resource_name_template=template,
            certificate_providers=plugin(world.tmp, cert)), "server", f"{ip}:7072", cert, "xds",
            log=world.tmp / f"server-{cert}.log")
        p.hear()
        return p
    s = server("secure")
    client = world.peer("client", "with a certificate",
                        certificate_providers=plugin(world.tmp, "client"))
    try:
        world.eventually(lambda: client.call(1, target=target, tls=True, timeout=5)["names"] ==
                         {"secure": 1}, "mutual TLS works")
        assert client.call(5, target=target, tls=True)["codes"] == {"OK": 5}
        plain = client.call(1, target="xds:///secure.default:7072", timeout=5)
        assert plain["codes"] == {"UNAVAILABLE": 1}, plain  # strict
    finally:
        s.stop()
    s = server("impostor")
    try:
        got = client.call(1, target=target, tls=True, timeout=3, wait=True)
        assert "OK" not in got["codes"], got
    finally:
        s.stop()
    world.mesh.remove("secure")


def test_pilot_restarts(world):
    """Calls go on while Pilot is away, and follow the rules that changed meanwhile."""
    world.rules({"route": [to("v1")]})
    world.eventually(lambda: "b1" not in world.client.call(20)["names"], "all go to v1")
    pilot = world.mesh.daemons["pilot"]
    pilot.stop()
    assert world.client.call(20)["codes"] == {"OK": 20}
    world.rules({"route": [to("v2")]})
    world.mesh.start_daemon("pilot")
    wait_for(lambda: set(world.client.call(10)["names"]) == {"b1"}, 60, what="the new rule is live")
