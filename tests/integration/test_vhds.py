"""Virtual hosts as resources of their own (VHDS): what a change of a route costs, and what it does not."""
import re

import pytest

from mesh import Mesh, load
from test_traffic import BASE, SUBSETS, to, virtual_service
from util import http_request

pytestmark = pytest.mark.usefixtures("healthy")


@pytest.fixture(scope="module")
def mesh(net, apps, variant):
    m = Mesh(net, apps.tmp, apps, protocol=variant)
    m.client = m.workload("client")
    m.v1 = m.workload("reviews", version="v1")
    m.v2 = m.workload("reviews", version="v2")
    m.apply("rules", BASE)
    m.start()
    m.eventually(lambda: version(m) == "v1")
    yield m
    m.stop()


def version(m, host="reviews"):
    return m.client.get(host).headers.get("x-app-version")


def sent(m, what="xds_pushes"):
    """{type: number} that Pilot has sent in all."""
    text = http_request(m.monitor["pilot"], "/metrics").text
    return {t: float(n) for t, n in re.findall(
        what + r'\{type="(\w+)"\} ([0-9.e+]+)', text)}


def table(m):
    """The client's route table for its services, as Envoy uses it."""
    return {v["name"].split("/")[-1] for r in m.client.envoy.resources("route").values()
            for v in r["virtual_hosts"] if v["domains"] != ["*"]}


def test_a_route_change_costs_its_host(mesh):
    apart = mesh.client.envoy.protocol == "delta"
    before = sent(mesh)
    assert (before.get("VHDS", 0) > 0) == apart, before
    mesh.apply("rules", [SUBSETS, virtual_service("reviews", [{"route": [to("v2")]}])])
    mesh.eventually(lambda: version(mesh) == "v2", what="the new route is in force")
    after = sent(mesh)
    if apart:
        assert after["RDS"] == before["RDS"], (before, after)
    else:
        assert after["RDS"] > before["RDS"] and after.get("VHDS", 0) == 0
    mesh.apply("rules", BASE)
    mesh.eventually(lambda: version(mesh) == "v1")


def test_hosts_come_and_go(mesh):
    name = "elsewhere.example:9080"
    assert name not in table(mesh)
    extra = {"apiVersion": "networking.istio.io/v1alpha3", "kind": "ServiceEntry",
             "metadata": {"name": "elsewhere", "namespace": "default"},
             "spec": {"hosts": ["elsewhere.example"], "resolution": "STATIC",
                      "location": "MESH_EXTERNAL",
                      "ports": [{"number": 9080, "name": "http", "protocol": "HTTP"}],
                      "endpoints": [{"address": mesh.v2.inner, "ports": {"http": 8000}}]}}
    for _ in range(3):
        mesh.apply("extra", [extra])
        mesh.eventually(lambda: version(mesh, "elsewhere.example") == "v2", what="it is reached")
        assert name in table(mesh)
        mesh.remove("extra")
        mesh.eventually(lambda: name not in table(mesh), what="it is gone from the table")
    assert version(mesh) == "v1"


def test_a_restart_repeats_nothing_and_loses_nothing(mesh):
    run = load(mesh, mesh.client, "reviews", "/", 100)
    hosts = table(mesh)
    mesh.daemons["pilot"].kill()
    mesh.start_daemon("pilot")
    mesh.eventually(lambda: sent(mesh, "xds_requests").get("RDS", 0) > 0, timeout=20,
                    what="the proxies are back")
    mesh.apply("rules", [SUBSETS, virtual_service("reviews", [{"route": [to("v2")]}])])
    mesh.eventually(lambda: version(mesh) == "v2", timeout=20, what="a change after the restart")
    mesh.apply("rules", BASE)
    mesh.eventually(lambda: version(mesh) == "v1")
    assert table(mesh) == hosts
    r = run.stop()
    assert set(r["status"]) == {"200"}, r
