"""What a proxy is started with: ProxyConfig of the mesh, of objects, of the group and of the agent itself,
patches of the bootstrap; and the tags of its statistics."""
import json
import re
import socket

import pytest

from mesh_tls import TlsMesh
from util import http_request, wait_for
from world import BaseWorld

pytestmark = pytest.mark.usefixtures("healthy")

API, DOMAIN = "networking.istio.io/v1", "default.svc.cluster.local"


def obj(kind, name, spec, api=API, namespace="default", **meta):
    where = {"namespace": namespace} if namespace else {}
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, **where, **meta},
            "spec": spec}


class World(BaseWorld):
    def __init__(self, net, tmp, apps):
        m = self.mesh = TlsMesh(net, tmp, apps)
        self.client, self.server = m.workload("client"), m.workload("server")
        self.member = m.workload("member")
        self.member.agent_flags = ["--workload-group", "member"]
        self.own = m.workload("own")
        self.own.agent_flags = ["--proxy-config", json.dumps({
            "statsdUdpAddress": "", "runtimeValues": {"whose": "own"}, "extraStatTags": ["own"]})]
        self.statsd = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.statsd.bind((net.ip(), 0))
        self.statsd.settimeout(30)
        self.config = {
            "extraStatTags": ["team"], "runtimeValues": {"whose": "mesh", "mesh.value": "7"},
            "statsdUdpAddress": "{}:{}".format(*self.statsd.getsockname()),
            "proxyMetadata": {"ISTIO_META_TEAM": "blue", "STAGE": "test"},
            "concurrency": 3, "connectTimeout": "4s"}
        self.settings(self.config)
        m.apply("rules", [
            obj("WorkloadGroup", "member", {
                "metadata": {"annotations": {
                    "sidecar.istio.io/statsInclusionPrefixes": "cluster.outbound",
                    "proxy.istio.io/config": "runtimeValues: {whose: group}"}},
                "template": {"ports": {"http": 9080}}}),
            obj("ProxyConfig", "one", {"selector": {"matchLabels": {"app": "server"}},
                                       "environmentVariables": {"ISTIO_META_TEAM": "red"}},
                api="networking.istio.io/v1beta1"),
            self.bootstrap_patch({"stats_flush_interval": "1s", "layeredRuntime": {"layers": [
                {"name": "patched", "staticLayer": {"patched": "yes"}}]}})])
        m.start()
        m.eventually(lambda: self.client.get("server").status == 200, 60)

    @staticmethod
    def bootstrap_patch(value):
        return obj("EnvoyFilter", "boot", {"configPatches": [{
            "applyTo": "BOOTSTRAP", "patch": {"operation": "MERGE", "value": value}}]},
            api="networking.istio.io/v1alpha3")

    def settings(self, config, **spec):
        self.mesh.apply("mesh-config", [obj("MeshConfig", "default", {
            "defaultConfig": config, "outboundClusterStatName":
            "team=.=%SERVICE_NAME%;.;out|%SERVICE_PORT%|%SERVICE_FQDN%", **spec},
            api="mesh.istio.io/v1alpha1", namespace=None)])

    @staticmethod
    def metrics(w, name):
        """[{tag: value}] of a metric in Envoy's Prometheus text, with its value as ''."""
        text = http_request(w.envoy.admin, "/stats/prometheus").text
        return [{**dict(re.findall(r'(\w+)="([^"]*)"', tags)), "": float(value)}
                for tags, value in re.findall(rf"^{name}\{{([^}}]*)\}} (\S+)$", text, re.M)]

    @staticmethod
    def runtime(w):
        r = http_request(w.envoy.admin, "/runtime").json()
        return {k: v["final_value"] for k, v in r["entries"].items()}

    @staticmethod
    def bootstrap(w):
        dump = w.envoy.get("/config_dump").json()
        return next(c["bootstrap"] for c in dump["configs"] if "bootstrap" in c)

    def stop(self):
        super().stop()
        self.statsd.close()


@pytest.fixture(scope="module")
def world(net, tmp, apps):
    w = World(net, tmp, apps)
    yield w
    w.stop()


def test_names_become_tags(world):
    """Clusters, listeners, connection managers, codes: not one of them is left in a metric's name."""
    assert world.client.get("server").status == 200
    out = {m["cluster_name"]: m for m in world.metrics(
        world.client, "envoy_cluster_upstream_rq") if m.get("response_code") == "200"}
    name = f"team=.=server;.;out|9080|server.{DOMAIN}"
    assert name in out, http_request(world.client.envoy.admin, "/stats/prometheus?filter=upstream_rq").text
    assert out[name][""] >= 1 and out[name]["team"] == "server", out
    classes = world.metrics(world.client, "envoy_cluster_upstream_rq_xx") + world.metrics(
        world.client, "envoy_cluster_upstream_rq")
    assert any(m.get("response_code_class") == "2xx" and m["cluster_name"] == name for m in classes)
    inbound = [m for m in world.metrics(world.server, "envoy_cluster_upstream_rq_total")
               if m["cluster_name"] == "inbound|9080||"]
    assert inbound and inbound[0][""] >= 1
    http = world.metrics(world.client, "envoy_http_downstream_rq_total")
    prefix = f"outbound_{world.client.outbound}".replace(":", "_")
    assert prefix in {m["http_conn_manager_prefix"] for m in http}, http
    listeners = {m.get("listener_address") for m in world.metrics(
        world.client, "envoy_listener_downstream_cx_total")}
    assert world.client.outbound.replace(":", "_") in listeners, listeners
    text = http_request(world.client.envoy.admin, "/stats/prometheus").text
    names = set(re.findall(r"^# TYPE (\S+)", text, re.M))
    left = [n for n in names if "127_" in n or "cluster_local" in n or "_9080" in n]
    assert not left, left


def test_what_the_mesh_says(world):
    c = world.client
    assert world.runtime(c) == {"whose": "mesh", "mesh.value": "7", "patched": "yes"}
    b = world.bootstrap(c)
    assert b["node"]["metadata"]["TEAM"] == "blue" and b["stats_flush_interval"] == "1s"
    xds = next(x for x in b["static_resources"]["clusters"] if x["name"] == "xds-grpc")
    assert xds["connect_timeout"] == "4s"
    argv = http_request(c.envoy.health, "/debug/envoy").json()["argv"]
    assert argv[argv.index("--concurrency") + 1] == "1", "an option that is set is over it"
    seen = set()

    def told():
        seen.add(world.statsd.recv(65536).split(b"\n")[0].split(b".")[0])
        return b"envoy" in seen
    wait_for(told, 30, "statistics by UDP")


def test_objects_group_and_agent_say_more(world):
    assert world.bootstrap(world.server)["node"]["metadata"]["TEAM"] == "red"
    assert world.runtime(world.member)["whose"] == "group"
    assert world.member.get("server").status == 200
    stats = world.member.envoy.stats("")
    assert any(k.startswith("cluster.team") for k in stats) is False
    assert not [k for k in stats if k.startswith("http.")], "only what the group wants"
    assert [k for k in stats if k.startswith("cluster_manager.")], "and what the agent needs"
    assert world.runtime(world.own)["whose"] == "own"
    tags = {t["tag_name"] for t in world.bootstrap(world.own)["stats_config"]["stats_tags"]}
    assert "own" in tags and "team" not in tags


def test_patches_select_by_metadata(world):
    """match.proxy.metadata speaks of what proxyMetadata said."""
    def mark(team):
        return obj("EnvoyFilter", f"mark-{team}", {"configPatches": [{
            "applyTo": "HTTP_FILTER",
            "match": {"context": "SIDECAR_OUTBOUND", "proxy": {"metadata": {"TEAM": team}}},
            "patch": {"operation": "INSERT_FIRST", "value": {
                "name": "mark", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
                    "default_source_code": {"inline_string":
                                            "function envoy_on_response(h) "
                                            f"h:headers():add('x-team', '{team}') end"}}}}}]},
            api="networking.istio.io/v1alpha3")
    world.mesh.apply("marks", [mark("blue"), mark("red")])
    world.mesh.eventually(lambda: world.client.get("own").headers.get("x-team") == "blue" and
                          world.server.get("own").headers.get("x-team") == "red", 60)
    world.mesh.remove("marks")
    world.mesh.eventually(lambda: "x-team" not in world.client.get("own").headers, 60)


def test_changes_wait_for_the_next_start(world):
    """Running proxies go on as they are, and the object says so; the next start has it, and one without
    Pilot has what was said last."""
    c = world.client
    pid = http_request(c.envoy.health, "/debug/envoy").json()["pid"]
    world.settings({**world.config, "runtimeValues": {"whose": "changed"},
                    "proxyHeaders": {"server": {"value": "live"}}})
    world.mesh.eventually(lambda: c.get("server").headers["server"] == "live", 60,
                          "what is live of the same object")
    notes = http_request(world.mesh.monitor["pilot"], "/debug/push_status").json()["notes"]
    assert "next" in next(n["note"] for n in notes if n["path"] == "spec.defaultConfig.runtimeValues")
    assert world.runtime(c)["whose"] == "mesh"
    assert http_request(c.envoy.health, "/debug/envoy").json()["pid"] == pid
    assert c.envoy.process.stop() == 0
    c.envoy.start()
    c.wait_ready(60)
    assert world.runtime(c)["whose"] == "changed"
    assert c.envoy.process.stop() == 0
    assert world.mesh.daemons["pilot"].stop() == 0
    c.envoy.start()

    def runs():
        c.envoy.process.check()
        return world.runtime(c)["whose"]
    assert wait_for(runs, 60, "Envoy runs without Pilot") == "changed"
    world.mesh.start_daemon("pilot")
    c.wait_ready(60)
    assert c.get("server").status == 200


def test_a_bootstrap_that_envoy_refuses(world):
    """A proxy that starts without what is wrong is better than none; the log says it."""
    w = world.own
    world.mesh.apply("wrong", [{**world.bootstrap_patch({"noSuchField": 1}), "metadata": {
        "name": "wrong", "namespace": "default"}}])
    wait_for(lambda: [n for n in http_request(
        world.mesh.monitor["pilot"], "/debug/push_status").json()["notes"] if "wrong" in n["object"]], 60)
    try:
        assert w.envoy.process.stop() == 0
        w.envoy.start()
        w.wait_ready(60)
        assert "whose" not in world.runtime(w)
        assert "options alone" in w.envoy.process.log()
    finally:
        world.mesh.remove("wrong")
    wait_for(lambda: not [n for n in http_request(
        world.mesh.monitor["pilot"], "/debug/push_status").json()["notes"] if "wrong" in n["object"]], 60)
    assert w.envoy.process.stop() == 0
    w.envoy.start()
    wait_for(lambda: w.envoy.process.check() or world.runtime(w).get("whose") == "own", 60,
             "the Envoy of the other setup is replaced")
    w.wait_ready(60)
