"""EnvoyFilter: patches that a real Envoy obeys, in today's form and in 1.0's."""
import subprocess

import pytest
import yaml

from mesh import Mesh
from util import BIN, http_request, wait_for
from world import BaseWorld

pytestmark = pytest.mark.usefixtures("healthy")

API, DOMAIN = "networking.istio.io/v1alpha3", "default.svc.cluster.local"
HCM = "envoy.filters.network.http_connection_manager"
BASE = "type.googleapis.com/envoy.extensions.filters.http."


def envoy_filter(name="patch", labels=None, **spec):
    selector = {"workloadSelector": {"labels": labels}} if labels else {}
    return {"apiVersion": API, "kind": "EnvoyFilter",
            "metadata": {"name": name, "namespace": "default"}, "spec": {**selector, **spec}}


def http_filter(operation, value, context="SIDECAR_INBOUND", stands_at=None):
    chain = {"filter": {"name": HCM, **({"subFilter": {"name": stands_at}} if stands_at else {})}}
    return {"applyTo": "HTTP_FILTER",
            "match": {"context": context, "listener": {"filterChain": chain}},
            "patch": {"operation": operation, "value": value}}


def lua(code):
    return {"name": "envoy.filters.http.lua", "typed_config": {
        "@type": BASE + "lua.v3.Lua", "default_source_code": {"inline_string": code}}}


class World(BaseWorld):
    def __init__(self, net, tmp, apps):
        m = self.mesh = Mesh(net, tmp, apps)
        self.client = m.workload("client")
        self.server = m.workload("server")
        self.other = m.workload("other")
        m.start()

    def before(self):
        self.filters()

    def filters(self, *objects):
        self.mesh.apply("filters", list(objects))

    def until(self, probe, what=""):
        return self.mesh.eventually(probe, timeout=15, what=what)

    def notes(self):
        return http_request(self.mesh.monitor["pilot"], "/debug/push_status").json()["notes"]


@pytest.fixture(scope="module")
def world(net, tmp, apps):
    w = World(net, tmp, apps)
    yield w
    w.stop()


def test_lua_changes_an_answer(world):
    """Only where the labels say; gone when the object is."""
    code = "function envoy_on_response(h) h:headers():add('x-lua', 'was here') end"
    world.filters(envoy_filter(labels={"app": "server"}, configPatches=[
        http_filter("INSERT_BEFORE", lua(code), stands_at="envoy.filters.http.router")]))
    world.until(lambda: world.client.get("server").headers.get("x-lua") == "was here")
    assert "x-lua" not in world.client.get("other").headers
    world.filters()
    world.until(lambda: "x-lua" not in world.client.get("server").headers, "the filter is gone")


def test_lua_as_1_0_wrote_it(world):
    world.filters(envoy_filter(workloadLabels={"app": "server"}, filters=[{
        "filterName": "envoy.lua", "filterType": "HTTP", "filterConfig": {
            "defaultSourceCode": {"inlineString":
                                  "function envoy_on_request(h) h:respond({[':status']='418'}, 'tea') end"}},
        "listenerMatch": {"listenerType": "SIDECAR_INBOUND", "listenerProtocol": "HTTP"},
        "insertPosition": {"index": "FIRST"}}]))
    r = world.until(lambda: (r := world.client.get("server")).status == 418 and r)
    assert r.text == "tea"
    assert world.client.get("other").status == 200


def test_local_rate_limit_by_typed_struct(world):
    """An extension that travels as a TypedStruct: Envoy itself reads its fields."""
    world.filters(envoy_filter(labels={"app": "server"}, configPatches=[http_filter(
        "INSERT_FIRST", {"name": "limit", "typed_config": {
            "@type": "type.googleapis.com/xds.type.v3.TypedStruct",
            "type_url": BASE + "local_ratelimit.v3.LocalRateLimit",
            "value": {"stat_prefix": "limit",
                      "token_bucket": {"max_tokens": 3, "tokens_per_fill": 3, "fill_interval": "600s"},
                      "filter_enabled": {"default_value": {"numerator": 100}},
                      "filter_enforced": {"default_value": {"numerator": 100}}}}})]))
    world.until(lambda: world.client.get("server").status == 429, "the limit is in force")
    assert world.server.envoy.stat("limit.http_local_rate_limit.ok") == 3
    assert world.client.get("other").status == 200


def test_merge_on_a_cluster(world):
    """One cluster of one client gets a header limit of connections: a limit of the merge is seen."""
    name = f"outbound|9080||server.{DOMAIN}"
    patch = {"applyTo": "CLUSTER",
             "match": {"context": "SIDECAR_OUTBOUND", "cluster": {"service": f"server.{DOMAIN}"}},
             "patch": {"operation": "MERGE", "value": {"alt_stat_name": "patched_server"}}}
    world.filters(envoy_filter(labels={"app": "client"}, configPatches=[patch]))
    world.until(lambda: world.client.get("server") and world.client.envoy.stat(
        "cluster.patched_server.upstream_rq_200"), "statistics under the new name")
    resources = world.client.envoy.resources("cluster")
    assert resources[name]["alt_stat_name"] == "patched_server"
    assert "alt_stat_name" not in resources[f"outbound|9080||other.{DOMAIN}"]
    assert "alt_stat_name" not in world.other.envoy.resources("cluster")[name]


def test_routes_and_virtual_hosts(world):
    """A virtual host that no service has, and a route before the others of one."""
    world.filters(envoy_filter(labels={"app": "client"}, configPatches=[
        {"applyTo": "VIRTUAL_HOST", "match": {"context": "SIDECAR_OUTBOUND",
                                              "routeConfiguration": {"portNumber": 9080}},
         "patch": {"operation": "ADD", "value": {
             "name": "teapot:9080", "domains": ["teapot"], "routes": [
                 {"match": {"prefix": "/"}, "direct_response": {"status": 418}}]}}},
        {"applyTo": "HTTP_ROUTE", "match": {"context": "SIDECAR_OUTBOUND", "routeConfiguration": {
            "vhost": {"name": f"server.{DOMAIN}:9080"}}},
         "patch": {"operation": "INSERT_FIRST", "value": {
             "match": {"path": "/gone"}, "direct_response": {"status": 410}}}}]))
    world.until(lambda: world.client.get("server", "/gone").status == 410)
    world.until(lambda: http_request(world.client.outbound, headers={"host": "teapot"}).status == 418)
    assert world.client.get("server", "/here").status == 200
    assert world.client.get("other", "/gone").status == 200


def test_what_cannot_be_is_told(world):
    """A value with a field that there is not: refused, what was in force stays, and the object says
    which field; a patch of the bootstrap is noted."""
    good = envoy_filter(labels={"app": "server"}, configPatches=[http_filter("INSERT_FIRST", lua(
        "function envoy_on_response(h) h:headers():add('x-good', 'yes') end"))])
    world.filters(good)
    world.until(lambda: world.client.get("server").headers.get("x-good") == "yes")
    bad = envoy_filter(labels={"app": "server"}, configPatches=[
        http_filter("INSERT_FIRST", {"name": "x", "typed_config": {
            "@type": BASE + "lua.v3.Lua", "defaultSourceCod": {}}})])
    world.filters(bad)
    page = wait_for(lambda: "defaultSourceCod" in (t := http_request(
        world.mesh.monitor["galley"], "/debug/config").text) and t)
    assert "spec.configPatches[0].patch.value.typed_config" in page
    assert world.client.get("server").headers.get("x-good") == "yes"
    world.filters(good, envoy_filter("boot", configPatches=[
        {"applyTo": "BOOTSTRAP", "patch": {"operation": "MERGE", "value": {"admin": {}}}}]))
    note = wait_for(lambda: [n for n in world.notes() if "boot" in n["object"]])[0]
    assert note["kind"] == "ignored" and note["path"] == "spec.configPatches[0]"
    world.filters(good, envoy_filter("nowhere", configPatches=[
        http_filter("INSERT_AFTER", lua(""), stands_at="envoy.filters.http.nothing")]))
    pilot = world.mesh.monitor["pilot"]
    found = wait_for(lambda: [n for n in http_request(
        pilot, f"/debug/notes?proxyID={world.server.name}.default").json()["notes"]
        if "nowhere" in n["object"]])[0]
    assert found["path"] == "spec.configPatches[0]" and "envoy.filters.http.nothing" in found["note"]
    assert http_request(pilot, "/debug/notes?proxyID=nobody").status == 404
    assert world.client.get("server").headers.get("x-good") == "yes"


def test_class_says_where_a_filter_stands(world):
    """Answers meet the filters from the end: statistics' place first, though that patch was first."""
    def mark(name, where):
        code = lua("function envoy_on_response(h) local o = h:headers():get('x-order') or '' "
                   f"h:headers():replace('x-order', o .. '{name} ') end")
        patch = http_filter("ADD", {**code, "name": name})
        patch["patch"]["filterClass"] = where
        return patch
    world.filters(envoy_filter(labels={"app": "server"}, configPatches=[
        mark("stats", "STATS"), mark("one", "AUTHN"), mark("two", "AUTHN")]))
    world.until(lambda: world.client.get("server").headers.get("x-order", "").strip() == "stats two one")


def test_patches_without_a_place_are_told(world):
    """An operation that there is not, and a match that means nothing; the others of the object hold."""
    world.filters(envoy_filter("half", labels={"app": "server"}, configPatches=[
        http_filter("INSERT_FIRST", lua("function envoy_on_response(h) h:headers():add('x-half', '1') end")),
        {"applyTo": "CLUSTER", "patch": {"operation": "REPLACE", "value": {"name": "x"}}},
        {"applyTo": "CLUSTER", "match": {"cluster": {"service": "nobody.default"}},
         "patch": {"operation": "MERGE", "value": {"alt_stat_name": "x"}}}]))
    world.until(lambda: world.client.get("server").headers.get("x-half") == "1")
    note = wait_for(lambda: [n for n in world.notes() if "half" in n["object"]])[0]
    assert note["path"] == "spec.configPatches[1].patch.operation" and "REPLACE" in note["note"]
    page = http_request(world.mesh.monitor["pilot"],
                        f"/debug/notes?proxyID={world.server.name}.default").json()["notes"]
    found = [n for n in page if "half" in n["object"]]
    assert [n["path"] for n in found] == ["spec.configPatches[2]"], page


def test_a_patch_that_cannot_apply_is_told_on_its_object(world):
    """In its status, with how many proxies it concerns, and by the command; gone when it is corrected."""
    def patch(stands_at):
        return envoy_filter("stray", configPatches=[
            http_filter("INSERT_FIRST", lua("")),
            http_filter("INSERT_BEFORE", lua(""), stands_at=stands_at)])

    pilot = world.mesh.monitor["pilot"]

    def status():
        found = http_request(
            pilot, "/debug/status?kind=EnvoyFilter&ns=default&name=stray").json()["objects"]
        return found[0] if found and found[0]["state"] == "in force" else None

    def wait(obj):
        return subprocess.run(
            [BIN / "meltemi", "wait", "-f", "-", "--pilot", f"http://{pilot}"], text=True,
            timeout=60, check=True, input=yaml.safe_dump(obj), stdout=subprocess.PIPE).stdout

    stray = patch("envoy.filters.http.nothing")
    world.filters(stray)
    notes = world.until(lambda: (s := status()) and s["notes"])
    # Each has a listener of its own here.
    assert {(n["kind"], n["path"]) for n in notes} == {("ignored", "spec.configPatches[1]")}, notes
    assert sum(n["proxies"] for n in notes) == len(world.mesh.workloads), notes
    assert all("envoy.filters.http.nothing" in n["note"] for n in notes)
    said = wait(stray)
    assert "in force on" in said and "ignored: spec.configPatches[1]: " in said, said
    assert 'pilot_object_notes{kind="ignored",found="translation"} ' \
        f"{len(notes)}" in http_request(pilot, "/metrics").text
    good = patch("envoy.filters.http.router")
    world.filters(good)
    world.until(lambda: (s := status()) and s["generation"] > 1 and not s["notes"])
    assert "ignored" not in wait(good)
    assert 'pilot_object_notes{kind="ignored",found="translation"} 0' in \
        http_request(pilot, "/metrics").text
