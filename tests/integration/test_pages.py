"""Pilot's debug pages and `meltemi proxy-config`, of a mesh with real Envoys; and of a thousand services."""
import json
import subprocess
import threading
import time

import pytest
import yaml

from mesh import DOMAIN, SERVICE_PORT, Mesh
from test_traffic import destination_rule, to, virtual_service
from util import BIN, http_request, wait_for

RULES = [destination_rule("reviews", ("v1", "v2")),
         virtual_service("reviews", [{"route": [to("v1", 90), to("v2", 10)]}])]
LOSER = {**virtual_service("reviews", [{"route": [to("v2")]}]),
         "metadata": {"name": "younger", "namespace": "default"}}


@pytest.fixture(scope="module")
def mesh(net, tmp, apps):
    m = Mesh(net, tmp, apps)
    m.workload("client")
    m.workload("reviews", version="v1")
    m.workload("reviews", version="v2")
    m.apply("rules", RULES)
    m.start()
    yield m
    m.stop()


@pytest.fixture
def page(mesh):
    def get(name, status=200):
        r = http_request(mesh.monitor["pilot"], "/debug/" + name)
        assert r.status == status, r
        return r.json()
    return get


def names(objects):
    return {f"{o['kind']} {o.get('namespace', '')}/{o['name']}" for o in objects}


def test_the_index_lists_every_page(page):
    pages = {p["path"]: p["help"] for p in page("")["pages"]}
    for name in ("edsz", "adsz", "cdsz", "syncz", "registryz", "endpointz", "endpointShardz",
                 "workloadz", "configz", "authenticationz", "config_dump", "push_status",
                 "provenance", "changes"):
        assert pages[f"/debug/{name}"], name


def test_provenance(page, mesh):
    host = f"reviews.default.{DOMAIN}"
    all_of_it = page("provenance?proxy=client-v1.default")
    clusters = {c["name"]: c for c in all_of_it["clusters"]}
    got = clusters[f"outbound|{SERVICE_PORT}|v1|{host}"]
    assert "resource" not in got
    assert names(got["objects"]) == {"ServiceEntry default/reviews",
                                     "DestinationRule default/reviews"}
    source = {o["kind"]: o["source"] for o in got["objects"]}
    assert source["DestinationRule"].endswith("rules.yaml:1")
    assert "services.yaml:" in source["ServiceEntry"]
    endpoints = {c["name"]: c for c in all_of_it["endpoints"]}
    assert names(endpoints[f"outbound|{SERVICE_PORT}|v2|{host}"]["objects"]) == {
        "ServiceEntry default/reviews", "DestinationRule default/reviews"}
    assert "Sidecar default/client-v1" in names(all_of_it["listeners"][0]["objects"])

    routes = page("provenance?proxy=client-v1.default&type=RDS")
    assert "clusters" not in routes
    hosts = {v["name"]: names(v["objects"]) for r in routes["routes"] for v in r["virtualHosts"]}
    assert hosts[f"{host}:{SERVICE_PORT}"] == {
        "ServiceEntry default/reviews", "VirtualService default/reviews"}
    assert hosts[f"client.default.{DOMAIN}:{SERVICE_PORT}"] == {"ServiceEntry default/client"}

    page("provenance", status=400)
    page("provenance?proxy=nobody.default", status=404)
    page("provenance?proxy=client-v1.default&type=nothing", status=400)


def test_who_lost_is_named_and_nothing_is_sent(page, mesh):
    """A second virtual service of the host has no effect, stands behind the host all the same."""
    def sent():
        return [{t: s["pushes"] for t, s in p["types"].items()} for p in page("syncz")]

    def behind():
        routes = page("provenance?proxy=client-v1.default&type=RDS")["routes"]
        return {n for r in routes for v in r["virtualHosts"]
                if v["name"].startswith("reviews.") for n in names(v["objects"])}
    before = sent()
    mesh.apply("younger", [LOSER])
    wait_for(lambda: "VirtualService default/younger" in behind(), what="the loser is named")
    assert sent() == before
    mesh.remove("younger")
    wait_for(lambda: "VirtualService default/younger" not in behind(), what="it is gone")


def ctl(mesh, *args):
    return subprocess.run([BIN / "meltemi", "proxy-config", *args, "--pilot",
                           f"http://{mesh.monitor['pilot']}"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20,
                          check=False)


@pytest.mark.parametrize("kind, line, objects", [
    ("cluster", "reviews.default", ["ServiceEntry default/reviews (", "services.yaml:",
                                    "DestinationRule default/reviews ("]),
    ("listener", "OUTBOUND", ["Sidecar default/client-v1 ("]),
    ("route", "reviews.default", ["VirtualService default/reviews (", "rules.yaml:"]),
    ("endpoint", "|v1|reviews.default", ["DestinationRule default/reviews ("])])
def test_proxy_config_names_objects(mesh, kind, line, objects):
    done = ctl(mesh, kind, "client-v1.default")
    assert done.returncode == 0, done.stdout
    found = [text for text in done.stdout.splitlines()
             if line in text and all(o in text for o in objects)]
    assert found, done.stdout
    listed = json.loads(ctl(mesh, kind, "client-v1.default", "-o", "json").stdout)
    assert listed and all("objects" in r and "resource" in r for r in listed)
    some = [o for r in listed for o in r["objects"]]
    assert all(o["kind"] and o["name"] and o["source"] for o in some) and some


def test_proxy_status_of_one(mesh):
    def status(*args):
        return subprocess.run([BIN / "meltemi", "proxy-status", *args, "--pilot",
                               f"http://{mesh.monitor['pilot']}"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=20, check=False)
    assert len(status().stdout.splitlines()) == 4
    for name in ("client-v1.default", mesh.workloads[0].node["id"]):
        shown = status(name).stdout.splitlines()
        assert len(shown) == 2 and shown[1].startswith("client-v1.default "), shown
    assert len(json.loads(status("client-v1.default", "-o", "json").stdout)) == 1
    nobody = status("nobody.default")
    assert nobody.returncode == 1 and "nobody.default: no proxy of this name" in nobody.stdout
    assert status("client-v1.default", "reviews-v1.default").returncode == 2


def test_pages_of_services(page, mesh):
    host = f"reviews.default.{DOMAIN}"
    service = page(f"registryz?host={host}")
    assert len(service) == 1 and service[0]["endpointCount"] == 2
    assert service[0]["ports"] == [{"name": "http", "port": SERVICE_PORT, "protocol": "HTTP"}]
    assert names(service[0]["objects"]) == {"ServiceEntry default/reviews"}
    addresses = {w.outer for w in mesh.workloads if w.app == "reviews"}
    assert {e["address"] for e in page(f"endpointz?host={host}")[0]["endpoints"]} == addresses
    shards = page(f"endpointShardz?host={host}")[0]["shards"]
    assert {e["address"] for s in shards.values() for e in s} == addresses
    assert all(key.startswith("ServiceEntry") for key in shards)
    work = {w["proxy"]: w for w in page("workloadz")}
    assert [i["service"] for i in work["reviews-v2.default"]["instances"]] == [host]
    assert page("workloadz?proxyID=client-v1.default")[0]["workload"] == "client-v1"


def test_pages_of_proxies(page, mesh):
    ads = page("adsz")
    assert ads["proxies"] == 3 and len(ads["connected"]) == 3 and ads["classes"]["clusters"] >= 1
    one = page("cdsz?proxyID=client-v1.default")
    assert one[0]["proxy"] == "client-v1.default"
    assert any(c["resource"]["type"] == "EDS" for c in one[0]["clusters"])
    classes = page("edsz")
    assert len(classes) == ads["classes"]["endpoints"]
    assert all(c["class"] and c["views"] and c["endpoints"] for c in classes)
    dump = page("config_dump?proxyID=client-v1.default&type=LDS")
    assert dump["listeners"][0]["resource"]["name"] and "routes" not in dump


def test_push_again_sends_nothing(page, mesh):
    before = [p["types"] for p in page("syncz")]
    page("adsz?push=1")
    wait_for(lambda: page("changes")["recomputations"][0]["reason"] == "debug page",
             what="everything was computed again")
    assert [{t: s["pushes"] for t, s in p.items()} for p in before] == [
        {t: s["pushes"] for t, s in p["types"].items()} for p in page("syncz")]


def test_config_and_authentication(page, mesh):
    kinds = {o["kind"] for o in page("configz")}
    assert {"ServiceEntry", "Sidecar", "VirtualService", "DestinationRule"} <= kinds
    assert {o["kind"] for o in page("configz?kind=destinationrules")} == {"DestinationRule"}
    assert {o["kind"] for o in page("configz?kind=")} == kinds
    for name in ("configz", "status"):
        page(f"{name}?kind=destinationruls", status=404)
    strict = {"apiVersion": "networking.istio.io/v1alpha3", "kind": "DestinationRule",
              "metadata": {"name": "client", "namespace": "default"},
              "spec": {"host": "client", "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}}}
    mesh.apply("strict", [strict])

    def of(app):
        return {a["port"]: a for a in page(
            f"authenticationz?proxyID=reviews-v1.default&host={app}.default.{DOMAIN}")}[SERVICE_PORT]
    wait_for(lambda: of("client")["status"] == "CONFLICT", what="plain endpoints, mutual TLS asked")
    assert of("client")["client"] == "mTLS" and of("client")["server"] == "DISABLE"
    assert names(of("client")["destinationRule"]) == {"DestinationRule default/client"}
    assert of("reviews")["status"] == "OK"
    mesh.remove("strict")
    wait_for(lambda: of("client")["status"] == "OK", what="the rule is gone")


def test_what_changes_most(page, mesh):
    for i in range(6):
        mesh.apply("restless", [virtual_service("restless", [
            {"timeout": f"{i + 1}s", "route": [to(host="client")]}])])
        wait_for(lambda n=i: any(o["object"] == "VirtualService default/restless" and
                                 o["changes"] >= n + 1 for o in page("changes")["objects"]),
                 what="the change was seen")
    assert page("changes")["objects"][0]["object"] == "VirtualService default/restless"
    assert any(r["reason"] == "VirtualService" for r in page("changes")["recomputations"])
    mesh.remove("restless")


def service(name, protocol, *addresses, port=SERVICE_PORT):
    return {"apiVersion": "networking.istio.io/v1alpha3", "kind": "ServiceEntry",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"hosts": [f"{name}.default.{DOMAIN}"], "location": "MESH_INTERNAL",
                     "resolution": "STATIC",
                     "ports": [{"number": port, "name": protocol.lower(), "protocol": protocol}],
                     "endpoints": [{"address": a} for a in addresses]}}


# What makes a metric rise, alone: objects, metric, by how much.
TROUBLE = {
    "dup_domain": ([LOSER], "pilot_vservice_dup_domain", 1),
    "subset_twice": ([{**destination_rule("reviews", ("v1",)),
                       "metadata": {"name": "zz-second", "namespace": "default"}}],
                     "pilot_destrule_subsets", 1),
    "nobody": ([service("nobody", "HTTP")], "pilot_eds_no_instances", 1),
}


@pytest.mark.parametrize("what", sorted(TROUBLE))
def test_conflicts_are_counted(page, mesh, what):
    objects, metric, rise = TROUBLE[what]

    def value():
        return mesh.metric("pilot", metric)[""]
    before = value()
    mesh.apply("trouble", objects)
    wait_for(lambda: value() == before + rise, what=f"{metric} rises from {before}")
    if what == "dup_domain":
        assert page("push_status")["conflicts"][metric]
    mesh.remove("trouble")
    wait_for(lambda: value() == before, what=f"{metric} falls again")


def test_what_is_counted(page, mesh):
    def value(name, labels=""):
        return mesh.metric("pilot", name).get(labels, 0)
    assert value("pilot_xds") == 3 and value("pilot_services") == 2
    assert value("pilot_virt_services") == 1 and value("pilot_no_ip") == 0
    assert any(v == 1 for v in mesh.metric("pilot", "pilot_info").values())

    def routes():
        return sum(value("pilot_xds_pushes", f'{{type="{kind}"}}') for kind in ("rds", "vhds"))
    for kind in ("cds", "eds", "lds", "rds"):
        assert value("pilot_xds_pushes", f'{{type="{kind}"}}') >= 3
        assert value(f"pilot_xds_{kind}_reject") == 0
    pushes = routes()
    events = value("pilot_config_events", '{kind="VirtualService",event="update"}')
    done = value("pilot_proxy_convergence_time_count")
    mesh.apply("rules", [RULES[0], virtual_service("reviews", [{"route": [to("v1")]}])])
    wait_for(lambda: routes() > pushes, what="it was sent")
    wait_for(lambda: value("pilot_proxy_convergence_time_count") > done, what="it arrived")
    assert value("pilot_config_events", '{kind="VirtualService",event="update"}') == events + 1
    mesh.apply("rules", RULES)


def test_rejections_are_counted(page, mesh):
    """A route that only Envoy finds wrong (its regular expression is too large a program)."""
    def value(name, labels=""):
        return mesh.metric("pilot", name).get(labels, 0)

    def refusing():
        return {labels: n for labels, n in mesh.metric("pilot", "pilot_xds_rds_reject").items() if n}

    def rejects():
        return sum(value("pilot_total_xds_rejects", f'{{type="{kind}"}}')
                   for kind in ("RDS", "VHDS"))
    before = rejects()
    large = "/" + "".join(c + "{1,200}" for c in "abcd")
    mesh.apply("rules", [RULES[0], virtual_service("reviews", [
        {"match": [{"uri": {"regex": large}}], "route": [to("v1")]}, {"route": [to("v1")]}])])
    wait_for(lambda: rejects() > before, what="somebody rejects it")
    gauges = mesh.metric("pilot", "pilot_xds_rds_reject")
    assert all('node="sidecar~' in labels and "regex" in labels for labels in gauges) and gauges
    mesh.apply("rules", RULES)
    wait_for(lambda: not refusing() and
             all(p["types"][kind]["status"] in ("SYNCED", "NOT SENT") for p in page("syncz")
                 for kind in p["types"]), 15,
             what="all is well again")


def test_what_rules_come_to_is_counted(page, mesh):
    """A destination in force whose service, or its port, has gone."""
    def entry(host, port=SERVICE_PORT):
        return {"apiVersion": "networking.istio.io/v1alpha3", "kind": "ServiceEntry",
                "metadata": {"name": host.split(".")[0], "namespace": "default"},
                "spec": {"hosts": [host], "location": "MESH_EXTERNAL", "resolution": "STATIC",
                         "ports": [{"number": port, "name": "http", "protocol": "HTTP"}],
                         "endpoints": [{"address": "127.0.0.1"}]}}

    def route(host):
        return {"destination": {"host": host, "port": {"number": SERVICE_PORT}}}

    def counts():
        return tuple(sum(mesh.metric("pilot", f"pilot_{name}").values()) for name in (
            "route_nocluster_no_service", "route_cluster_no_port"))
    web, raw = (f"{name}.example.com" for name in ("goes", "moves"))
    rules = [virtual_service("reviews", [
        {"match": [{"uri": {"exact": "/a"}}], "route": [route(web)]},
        {"match": [{"uri": {"exact": "/b"}}], "route": [route(raw)]},
        {"route": [to("v1")]}])]
    wait_for(lambda: counts() == (0, 0), what="nothing is amiss")
    mesh.apply("outside", [entry(web), entry(raw)])
    mesh.apply("rules", [RULES[0], *rules])
    wait_for(lambda: '"/a"' in json.dumps(page("config_dump?proxyID=client-v1.default")),
             what="the rule is in force")
    mesh.apply("outside", [entry(raw, 9999)])
    wait_for(lambda: counts() == (1, 1), what="a service and a port went")
    mesh.apply("rules", RULES)
    mesh.remove("outside")
    wait_for(lambda: counts() == (0, 0), what="all is well again")


def many(n):
    docs = []
    for i in range(n):
        docs.append({"apiVersion": "networking.istio.io/v1alpha3", "kind": "ServiceEntry",
                     "metadata": {"name": f"s{i}", "namespace": "default"},
                     "spec": {"hosts": [f"s{i}.default.{DOMAIN}"], "location": "MESH_INTERNAL",
                              "resolution": "STATIC",
                              "ports": [{"number": SERVICE_PORT, "name": "http",
                                         "protocol": "HTTP"}],
                              "endpoints": [{"address": f"10.{k}.{i // 250}.{i % 250 + 1}"}
                                            for k in range(4)]}})
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return yaml.dump_all(docs, Dumper=dumper, sort_keys=False)


def test_a_thousand_services_do_not_hold_the_loop(page, mesh):
    """While the largest pages are made, others are answered: the worst wait is far below the time
    that a page takes."""
    mesh.apply("many", many(1000))
    wait_for(lambda: len(page("registryz")) >= 1000, 30, what="a thousand services")
    worst, took = {}, {}
    for name in ("endpointz", "configz", "edsz", "config_dump?proxyID=client-v1.default"):
        waits, done = [], threading.Event()

        def ask(waits=waits, done=done):
            while not done.is_set():
                start = time.monotonic()
                assert http_request(mesh.monitor["pilot"], "/healthz").status == 200
                waits.append(time.monotonic() - start)
        t = threading.Thread(target=ask)
        t.start()
        start = time.monotonic()
        http_request(mesh.monitor["pilot"], "/debug/" + name)
        took[name] = time.monotonic() - start
        done.set()
        t.join()
        worst[name] = max(waits)
        assert len(waits) > 1, f"{name}: nobody else was answered meanwhile"
    print({n: f"{took[n] * 1000:.0f} ms, others waited {worst[n] * 1000:.1f} ms" for n in took})
    mesh.remove("many")
    wait_for(lambda: len(page("registryz")) < 1000, 30, what="they are gone")
