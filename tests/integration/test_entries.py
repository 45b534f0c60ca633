"""Services and workloads that are entries: by name, on a Unix socket, that come and go, members of a
group; what of them a Sidecar lets a proxy know. With identities, seen at the backends."""
import pytest

from edge import obj, service
from mesh import SERVICE_PORT, load
from servers import Backend
from util import wait_for

pytestmark = pytest.mark.usefixtures("healthy")


def test_services_by_name_and_on_a_unix_socket(edge):
    """DNS, DNS_ROUND_ROBIN and DYNAMIC_DNS entries are resolved by the proxy; a Unix socket is an
    endpoint; a changed port of a resolved entry is sent."""
    first, second = Backend(("127.0.0.1", 0), name="first"), Backend(("127.0.0.1", 0), name="second")
    path = edge.tmp / "app.sock"
    unix = Backend(path, name="unix")

    def entries(port):
        return [service("dns", [{"address": "localhost", "ports": {"p": port}}],
                        resolution="DNS"),
                service("robin", [{"address": "localhost", "ports": {"p": port}}],
                        resolution="DNS_ROUND_ROBIN"),
                service("unix", [{"address": f"unix://{path}"}]),
                service("dynamic", None, host="*.localhost", resolution="DYNAMIC_DNS")]

    def says(name, what):
        r = edge.client.get(name)
        return r.status == 200 and r.json()["name"] == what
    try:
        edge.mesh.apply("rules", entries(first.port))
        edge.mesh.eventually(lambda: says("dns", "first") and says("robin", "first") and
                             says("unix", "unix"), 20)
        # The name that the request asks for, resolved when it asks.
        edge.mesh.eventually(lambda: says(f"a.localhost:{first.port}", "first") and
                             says(f"b.localhost:{second.port}", "second"), 20)
        edge.mesh.apply("rules", entries(second.port))
        edge.mesh.eventually(lambda: says("dns", "second") and says("robin", "second"), 20)
    finally:
        for b in (first, second, unix):
            b.close()


def test_workload_entries_come_and_go_under_load(edge):
    """workloadSelector: each WorkloadEntry that comes gets requests, each that goes gets none, no
    request fails, and no change is more than one of endpoints."""
    echoes = {f"w{i}": edge.apps.echo(version=f"w{i}", name="fleet") for i in range(3)}

    def entry(name):
        ip, port = echoes[name].addr.split(":")
        return obj("WorkloadEntry", name, {"address": ip, "ports": {"p": int(port)},
                                           "labels": {"app": "fleet"}})
    m = edge.mesh
    m.apply_live("fleet", [service("fleet", None, location="MESH_INTERNAL",
                                   workloadSelector={"labels": {"app": "fleet"}})])
    m.apply_live("w0", [entry("w0")])
    m.eventually(lambda: edge.client.get("fleet").status == 200, 20)
    reasons = m.metric("pilot", "pilot_push_reasons")
    cluster = f"outbound|{SERVICE_PORT}||fleet.default.svc.cluster.local"
    run = load(m, edge.client, "fleet", "/", 200)
    for _ in range(3):
        for name in ("w1", "w2"):
            m.apply(name, [entry(name)])
            m.eventually(lambda name=name: echoes[name].stats()["total"] > 0, 20)
        for name in ("w1", "w2"):
            m.remove(name)
            m.eventually(lambda name=name: echoes[name].addr not in
                         edge.client.envoy.endpoints(cluster), 20)
            echoes[name].reset()
    r = run.stop()
    assert r["errors"] == {} and set(r["status"]) == {"200"}, r
    after = m.metric("pilot", "pilot_push_reasons")
    grown = {k for k in after if after[k] != reasons.get(k, 0)}
    assert grown == {'{reason="endpoints"}'}, (reasons, after)


def test_a_sidecar_limits_what_a_proxy_knows(edge):
    """Egress hosts: other services have no cluster, no route and no answer there."""
    assert edge.picky.get("shop").status == 200
    assert edge.picky.get("stock").status in (404, 502)
    clusters = {c for c in edge.picky.envoy.resources("cluster") if c.startswith("outbound|")}
    assert clusters and all(c.endswith("||shop.default.svc.cluster.local") for c in clusters)
    assert any("stock" in c for c in edge.client.envoy.resources("cluster"))


def group_of(name, probe=None, **template):
    return obj("WorkloadGroup", name, {
        "metadata": {"labels": {"app": name}},
        "template": {"ports": {"p": SERVICE_PORT}, **template},
        **({"probe": {"periodSeconds": 1, "failureThreshold": 1, **probe}} if probe else {})})


@pytest.fixture(scope="module")
def member(edge):
    """A workload that nobody lists: its agent names a group."""
    w = edge.mesh.workload("member", listed=False, labels={"app": "member"})
    w.agent_flags = ["--workload-group", "fleet2", "--exec-probes"]
    edge.mesh.identity_flags(w.name, f"spiffe://cluster.local/ns/default/sa/{w.account}")
    edge.mesh.daemons["citadel"].stop()
    edge.mesh.start_daemon("citadel")
    edge.mesh.apply("services", edge.mesh.services_yaml())
    w.start()
    w.wait_ready()
    yield w


def test_a_member_of_a_group_is_registered_and_probed(edge, member):
    """A WorkloadEntry is made for the agent that names a group; it gets requests once its probe says it
    is well, and none when the probe fails: HTTP, TCP, a command. When the agent ends, it is gone."""
    m, app = edge.mesh, member
    wanted = [service("fleet2", None, location="MESH_INTERNAL",
                      workloadSelector={"labels": {"app": "fleet2"}})]
    flag = edge.tmp / "well"
    answering = Backend((app.inner, 0), name="probe")

    def served():
        r = edge.client.get("fleet2")
        return r.status == 200 and r.json()["name"] == "member"

    def refused():
        return edge.client.get("fleet2").status == 503
    m.apply("rules", wanted + [group_of("fleet2")])
    m.eventually(served, 30, what="a member without a probe is served")
    # A Pilot that starts again knows its members before they report to it.
    members = m.state / "pilot" / "pilot" / "members"
    wait_for(lambda: b"fleet2" in members.read_bytes() if members.exists() else False, 10)
    run = load(m, edge.client, "fleet2", "/", 100)
    m.daemons["pilot"].kill()
    m.start_daemon("pilot")
    m.eventually(lambda: m.metric("pilot", "pilot_xds") == {"": len(m.envoys())}, 30,
                 what="all proxies are back")
    r = run.stop()
    assert r["errors"] == {} and set(r["status"]) == {"200"}, r
    m.apply("rules", wanted + [group_of("fleet2", {"exec": {"command": [
        "test", "-e", str(flag)]}})])
    m.eventually(refused, 30, what="the command fails")
    flag.touch()
    m.eventually(served, 30, what="the command is well again")
    m.apply("rules", wanted + [group_of("fleet2", {"httpGet": {
        "path": "/", "host": app.inner, "port": answering.port}})])
    m.eventually(served, 30)
    run = load(m, edge.client, "shop", "/", 100)  # what is nobody's change stays as it is
    answering.close()
    m.eventually(refused, 30, what="the HTTP probe fails")
    m.apply("rules", wanted + [group_of("fleet2", {"tcpSocket": {
        "host": app.inner, "port": 8000}})])
    m.eventually(served, 30, what="the TCP probe is well")
    r = run.stop()
    assert r["errors"] == {} and set(r["status"]) == {"200"}, r
    app.envoy.stop()
    m.eventually(refused, 30, what="the agent says goodbye")
    app.envoy.start()
    app.wait_ready()
    m.eventually(served, 30, what="it is back")
