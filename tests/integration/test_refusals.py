"""What a proxy refuses without having been asked first: a proxy of another version, the first
configuration of a new gateway, everything with the canary off. It is found, kept from all others of the
version, and the objects behind it are blamed; what the mesh had goes on."""
import pytest

from mesh import Mesh, load
from test_safety import World, bad_vs, dr, vs
from test_traffic import to, virtual_service
from util import ROOT, http_request

OLDEST = "1.36.2"
NEWEST = "1.40.0"


def patch(name, context, value):
    return {"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter",
            "metadata": {"name": name, "namespace": "istio-system"},
            "spec": {"configPatches": [{
                "applyTo": "HTTP_FILTER", "match": {"context": context, "listener": {
                    "filterChain": {"filter": {
                        "name": "envoy.filters.network.http_connection_manager",
                        "subFilter": {"name": "envoy.filters.http.router"}}}}},
                "patch": {"operation": "INSERT_BEFORE", "value": value}}]}}


# A filter that the oldest version has not heard of.
NEW_FILTER = {"name": "envoy.filters.http.a2a", "typed_config": {
    "@type": "type.googleapis.com/envoy.extensions.filters.http.a2a.v3.A2a"}}


def status(mesh, kind, name, ns="default"):
    found = http_request(mesh.monitor["pilot"],
                         f"/debug/status?kind={kind}&ns={ns}&name={name}").json()["objects"]
    return found[0] if found else {}


def rejections(envoy):
    return sum(envoy.stats("update_rejected").values())


@pytest.fixture(params=["delta", "sotw"])
def protocol(request, tmp, apps):
    apps.tmp = tmp
    return request.param


def test_a_second_version(net, tmp, apps, protocol):
    """What all accepted so far, a proxy of an older Envoy refuses: that one goes without, the others
    keep it, and later rules reach both."""
    tmp = tmp / f"second-{protocol}"
    tmp.mkdir()
    m = Mesh(net, tmp, apps, protocol=protocol)
    client, reviews = m.workload("client"), m.workload("reviews")
    olds = [m.workload("client", version=v, listed=False,
                       envoy_binary=ROOT / "build/envoy" / OLDEST / "envoy") for v in ("v2", "v3")]
    later, m.workloads = m.workloads, [client, reviews]
    try:
        m.apply("sidecars", [w.sidecar_yaml() for w in olds])
        m.start()
        m.apply("new", [patch("new", "SIDECAR_INBOUND", NEW_FILTER)])
        m.eventually(lambda: status(m, "EnvoyFilter", "new", "istio-system").get("state") ==
                     "in force", what="the new filter is in force")
        m.workloads = later
        olds[0].start()
        m.eventually(lambda: status(m, "EnvoyFilter", "new", "istio-system")["refusedBy"],
                     timeout=30, what="the oldest refuses it")
        m.eventually(lambda: olds[0].get("reviews").status == 200, timeout=30,
                     what="... and has all the rest")
        s = status(m, "EnvoyFilter", "new", "istio-system")
        assert {d["envoy"] for d in s["refusedBy"]} == {OLDEST}, s
        assert s["state"] == "refused by some" and not s["refused"], s
        assert s["inForce"] == s["generation"], s
        assert "a2a" in str(client.envoy.resources("listener")[client.inbound.replace(":", "_")])
        assert rejections(client.envoy) == rejections(reviews.envoy) == 0

        m.apply("rule", [virtual_service("reviews", [{"directResponse": {"status": 222}}])])
        for w in (client, olds[0]):
            m.eventually(lambda w=w: w.get("reviews").status == 222, what=f"a rule at {w.name}")
        assert not status(m, "VirtualService", "reviews")["refused"]

        m.remove("new")
        m.eventually(lambda: olds[0].inbound in olds[0].envoy.listeners(),
                     what="without the filter it has its listener")
        m.eventually(lambda: all(t["status"] in ("SYNCED", "NOT SENT")
                                 for p in http_request(m.monitor["pilot"], "/debug/syncz").json()
                                 for t in p["types"].values()), what="all are in step")
    finally:
        m.stop()


def test_a_new_gateway(net, tmp, apps, protocol):
    """A rule that nobody has seen yet comes first to the gateways that it is meant for."""
    tmp = tmp / f"gateway-{protocol}"
    tmp.mkdir()
    m = Mesh(net, tmp, apps, protocol=protocol)
    m.workload("reviews")
    gateways = [m.gateway(name=f"edge-{i}") for i in range(4)]
    for g in gateways:
        g.labels = {"istio": "ingressgateway", "app": "edge"}
    first, m.gateways = gateways[:3], []
    try:
        m.start()
        m.apply("edge", [
            {"apiVersion": "networking.istio.io/v1alpha3", "kind": "Gateway",
             "metadata": {"name": "edge", "namespace": "istio-system"},
             "spec": {"selector": {"istio": "ingressgateway"}, "servers": [
                 {"port": {"number": 8080, "name": "http", "protocol": "HTTP"},
                  "hosts": ["*"]}]}},
            *({**r, "metadata": {"name": name, "namespace": "default"}, "spec": {
                **r["spec"], "hosts": [f"{name}.example.com"], "gateways": ["istio-system/edge"]}}
              for name, r in (("bad", bad_vs()), ("good", virtual_service("reviews", [
                  {"route": [to()]}])), ("fine", virtual_service("reviews", [
                      {"directResponse": {"status": 222}}]))))])
        m.eventually(lambda: status(m, "VirtualService", "bad").get("state") == "in force",
                     what="the rules are there, and concern nobody")
        m.gateways = list(first)
        for g in first:
            g.start()

        def answers(g, host):
            return http_request(f"{g.outer}:8080", "/", headers={"host": host}).status
        for g in first:
            m.eventually(lambda g=g: g.envoy.ready() and answers(g, "good.example.com") == 200 and
                         answers(g, "fine.example.com") == 222, timeout=30, what=f"{g.name} serves")
        s = m.eventually(lambda: status(m, "VirtualService", "bad").get("refused"),
                         what="the bad rule is blamed")
        assert "repetition" in s, s
        assert status(m, "VirtualService", "bad")["inForce"] == 0
        for name in ("good", "fine"):
            m.eventually(lambda name=name: status(m, "VirtualService", name)["state"] == "in force",
                         what=f"{name} is not to blame")
        m.gateways = gateways
        gateways[3].start()
        m.eventually(lambda: gateways[3].envoy.ready() and
                     answers(gateways[3], "good.example.com") == 200, timeout=30,
                     what="a newcomer serves")
        assert rejections(gateways[3].envoy) == 0
    finally:
        m.stop()


class Off(World):
    """The mesh of test_safety.py without a canary."""

    def __init__(self, net, tmp, apps, protocol):
        super().__init__(net, tmp, apps, protocol, pilot_flags=["--canary", "off"])


def test_with_the_canary_off(net, tmp, apps, protocol):
    """All are given it, some refuse: all go back to what they had, and a newcomer does not see it."""
    tmp = tmp / f"off-{protocol}"
    tmp.mkdir()
    w = Off(net, tmp, apps, protocol)
    try:
        w.write("dr", dr("v1", "v2"))
        w.write("vs", vs("v1"))
        w.all_to("v1")
        routes = w.client.envoy.resources("route")
        run = load(w.mesh, w.client, "reviews", "/", 300, "--connections", "50")
        w.write("vs", bad_vs(subset="v2"))
        w.mesh.eventually(lambda: (w.status("VirtualService", "reviews") or {}).get("refused"),
                          what="the object is blamed")
        w.mesh.eventually(lambda: w.status("VirtualService", "reviews")["proxies"]["behind"] == 0,
                          what="all are back in step")
        s = w.status("VirtualService", "reviews")
        assert "repetition" in s["refused"] and s["inForce"] < s["generation"], s
        w.all_to("v1")
        w.all_to("v1", w.other)
        w.mesh.eventually(lambda: w.client.envoy.resources("route") == routes, what="as before")
        w.other.envoy.stop()
        w.other.envoy.start()
        w.other.wait_ready()
        w.all_to("v1", w.other)
        assert rejections(w.other.envoy) == 0
        w.write("mesh", virtual_service("shop", [{"directResponse": {"status": 222}}]))
        w.mesh.eventually(lambda: w.client.get("shop").status == 222, what="another rule goes on")
        w.write("vs", vs("v2"))
        w.all_to("v2")
        r = run.stop()
        assert r["errors"] == {} and set(r["status"]) == {"200"}, r
    finally:
        w.mesh.stop()
