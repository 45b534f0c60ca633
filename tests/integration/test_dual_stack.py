"""Both address families, captured: services, workloads and gateways that have two, a proxy that has one."""
import pytest

from mesh import DOMAIN, Mesh, Proxy
from netns import NOT_THE_APPLICATION, Loopback, Namespace, get, has, proto, redirect, say
from servers import Lines, Web
from test_telemetry import service
from world import BaseWorld

pytestmark = pytest.mark.usefixtures("healthy")

OUTSIDE = ("203.0.113.7", "2001:db8:113::7")
POD = ("10.7.4.1", "2001:db8:7::1")
VIP = ("240.0.0.1", "2001:db8:240::1")
BACK = ("10.7.5.1", "2001:db8:7::5")
EDGE = ("10.7.6.1", "2001:db8:7::6")
FAMILIES = pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])


class World(BaseWorld):
    def __init__(self, tmp, ips):
        self.ns = Namespace()
        with self.ns:
            # ::6 is what Envoy connects from to ports that no service has.
            has(*OUTSIDE, *POD, *VIP, *BACK, *EDGE, "::6")
            redirect(NOT_THE_APPLICATION, *(f"{proto(ip)} daddr {ip} accept" for ip in EDGE),
                     *(f"{proto(ip)} daddr {ip} tcp dport 1-65535 redirect to :15006" for ip in POD),
                     "meta l4proto tcp redirect to :15001")
            loopback = "127.0.0.1" if POD[0] in ips else "::1"
            self.servers = [
                *(Web((ip, 8000)) for ip in BACK), *(Lines((ip, 8001)) for ip in BACK),
                *(Lines((ip, 7777)) for ip in OUTSIDE), *(Lines((ip, 9999)) for ip in POD),
                Web((loopback, 9000))]
            self.mesh = m = Mesh(Loopback(), tmp, None)
            both = service("both", [{"number": 80, "name": "http"}, {"number": 81, "name": "tcp"}], "")
            both["spec"].update(addresses=list(VIP), endpoints=[
                {"address": ip, "ports": {"http": 8000, "tcp": 8001}} for ip in BACK])
            own = service("own", [{"number": 9000, "name": "http"}], "")
            own["spec"]["endpoints"] = [{"address": ip} for ip in POD]
            m.apply("services", [both, own])
            m.apply("edge", [
                {"apiVersion": "networking.istio.io/v1", "kind": "Gateway",
                 "metadata": {"name": "edge", "namespace": "default"},
                 "spec": {"selector": {"istio": "ingressgateway"}, "servers": [{
                     "port": {"number": 8080, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]}},
                {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
                 "metadata": {"name": "edge", "namespace": "default"},
                 "spec": {"hosts": ["shop.example.com"], "gateways": ["edge"], "http": [{"route": [
                     {"destination": {"host": f"both.default.{DOMAIN}", "port": {"number": 80}}}]}]}}])
            self.proxy = Proxy(m, 1, "web", "delta", "default", {"app": "web"}, ips)
            edge = Proxy(m, 2, "edge", "delta", "default", {"istio": "ingressgateway"},
                         ",".join(EDGE), kind="router")
            m.gateways = [self.proxy, edge]
            # The services are those above.
            m.services_yaml = lambda: (m.config / "services.yaml").read_text()
            m.start()

    def stop(self):
        with self.ns:
            self.mesh.stop()
        for s in self.servers:
            s.close()
        self.ns.close()


@pytest.fixture(scope="module", params=["both", "ipv6"])
def world(request, tmp):
    folder = tmp / request.param
    folder.mkdir()
    w = World(folder, ",".join(POD) if request.param == "both" else POD[1])
    w.both = request.param == "both"
    with w.ns:
        yield w
    w.stop()


def of(world, family):
    """A proxy of one family takes nothing of the other: nothing listens there."""
    return world.both or family == 1


def reached(ask, want):
    """Every one of these answers, and no other."""
    seen = set()
    for _ in range(200):
        seen.add(ask())
        if seen == want:
            return
    assert seen == want


@FAMILIES
def test_virtual_address(world, family):
    """By either address of the service, the endpoints of every family that the proxy has."""
    if not of(world, family):
        return
    host, back = f"both.default.{DOMAIN}", BACK if world.both else BACK[1:]
    world.mesh.eventually(lambda: get(VIP[family], 80, host)[0] == 200, timeout=60)
    reached(lambda: get(VIP[family], 80, host), {(200, f"{ip}:8000") for ip in back})
    cluster = f"outbound|81||both.default.{DOMAIN}"
    before = world.proxy.envoy.stat(f"cluster.{cluster}.upstream_cx_total")
    assert say(VIP[family], 81) == b"got hello\n"
    assert world.proxy.envoy.stat(f"cluster.{cluster}.upstream_cx_total") == before + 1
    want = {f"{ip}:8001" for ip in back}
    assert set(world.proxy.envoy.endpoints(cluster)) == want


@FAMILIES
def test_unknown_destination(world, family):
    if not of(world, family):
        return
    before = world.proxy.envoy.stat("cluster.PassthroughCluster.upstream_cx_total")
    assert say(OUTSIDE[family], 7777) == b"got hello\n"
    assert world.proxy.envoy.stat("cluster.PassthroughCluster.upstream_cx_total") == before + 1


@FAMILIES
def test_inbound(world, family):
    if not of(world, family):
        return
    envoy = world.proxy.envoy
    names = ["cluster.inbound|9000||.upstream_rq_total",
             "cluster.InboundPassthroughCluster.upstream_cx_total"]
    before = [envoy.stat(n) for n in names]
    assert get(POD[family], 9000, "own") == (200, f"{'127.0.0.1' if world.both else '::1'}:9000")
    assert say(POD[family], 9999) == b"got hello\n"
    assert [envoy.stat(n) for n in names] == [n + 1 for n in before]


@FAMILIES
def test_gateway(world, family):
    """It has both families whatever the sidecar has."""
    world.mesh.eventually(lambda: get(EDGE[family], 8080, "shop.example.com")[0] == 200, timeout=60)
    reached(lambda: get(EDGE[family], 8080, "shop.example.com"),
            {(200, f"{ip}:8000") for ip in BACK})
