"""Mixer: verdicts decided through two sidecars, metrics that add up, and its absence."""
import re
import socket

import pytest

from mesh import load, streams
from mesh_tls import TlsMesh
from test_tls import STRICT
from test_traffic import BASE
from util import ROOT, http_request, wait_for

pytestmark = [pytest.mark.leaks, pytest.mark.usefixtures("healthy")]
MIXER = "config.istio.io/v1alpha2"


def mesh_config(mesh, fail_open):
    return {"apiVersion": "mesh.istio.io/v1alpha1", "kind": "MeshConfig",
            "metadata": {"name": "default"},
            "spec": {"mixerCheckServer": mesh.mixer_addr, "mixerReportServer": mesh.mixer_addr,
                     "policyCheckFailOpen": fail_open}}


def obj(kind, name, spec=None, namespace="default"):
    return {"apiVersion": MIXER, "kind": kind,
            "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def deny(match):
    return [obj("denier", "no", {"status": {"code": 7, "message": "not for you"}}),
            obj("checknothing", "asked"),
            obj("rule", "no", {"match": match, "actions": [
                {"handler": "no.denier", "instances": ["asked.checknothing"]}]})]


@pytest.fixture(scope="module")
def mesh(net, tmp, apps):
    m = TlsMesh(net, tmp, apps, mixer=True)
    m.client, m.other = m.workload("client"), m.workload("other")
    m.reviews, m.ratings = m.workload("reviews"), m.workload("ratings")
    m.tcp_targets["client-v1"] = {"db"}
    m.db = m.workload("db", tcp=True)
    m.apply("rules", BASE + [STRICT])
    m.apply("mesh", [mesh_config(m, True)])
    m.apply("telemetry", (ROOT / "deploy/local/mesh/telemetry.yaml").read_text())
    m.start()
    m.eventually(lambda: m.client.get("reviews").status == 200, timeout=20)
    yield m
    m.stop()


@pytest.fixture
def denied(mesh):
    """Rules that are taken back after the test."""
    def apply(objects):
        mesh.apply("deny", objects)
    yield apply
    mesh.apply("deny", [])
    mesh.eventually(lambda: all(w.get(app).status == 200 for w in (mesh.client, mesh.other)
                                for app in ("reviews", "ratings")), what="nothing is denied")


def test_denied_by_labels_of_the_source(mesh, denied):
    denied(deny('source.labels["app"] == "client" && destination.labels["app"] == "reviews"'))
    mesh.eventually(lambda: mesh.client.get("reviews").status == 403)
    r = mesh.client.get("reviews")
    assert r.status == 403 and "not for you" in r.text
    assert mesh.other.get("reviews").status == 200
    assert mesh.client.get("ratings").status == 200
    mesh.reviews.reset()
    assert mesh.client.get("reviews").status == 403
    assert mesh.reviews.stats()["total"] == 0, "the backend never saw it"


@pytest.mark.timeout(300)
def test_denial_comes_and_goes_under_load(mesh, denied):
    """Fifty times: who is denied sees that and nothing else, who is not sees nothing of it."""
    rule = deny('source.labels["app"] == "client" && destination.labels["app"] == "reviews"')
    runs = [load(mesh, w, "reviews", "/", rate, "--connections", "50")
            for w, rate in ((mesh.client, 100), (mesh.other, 200))]
    held = streams(mesh, mesh.other, "reviews", 5)
    for _ in range(50):
        for objects, status in ((rule, 403), ([], 200)):
            denied(objects)
            mesh.eventually(lambda status=status: mesh.client.get("reviews").status == status)
    mine, others = (run.stop() for run in runs)
    assert mine["errors"] == {} and set(mine["status"]) == {"200", "403"}, mine
    assert others["errors"] == {} and set(others["status"]) == {"200"}, others
    found = held.stop()
    assert found["breaks"] == {} and found["lines"] > 0, found


def test_no_header_of_a_client_decides(mesh, denied):
    """The source that Mixer sees is what the source's own proxy says, never what the caller says."""
    denied(deny('source.labels["app"] == "client"'))
    mesh.eventually(lambda: mesh.client.get("reviews").status == 403)
    forged = "name=other-v1&ns=default&sa=other&l.app=other&l.version=v1"
    assert mesh.client.get("reviews", headers={"x-meltemi-workload": forged}).status == 403
    forged = "name=client-v1&ns=default&sa=client&l.app=client&l.version=v1"
    r = mesh.other.get("reviews", headers={"x-meltemi-workload": forged})
    assert r.status == 200
    assert forged not in str(r.json()["headers"])


def test_denied_by_principal_and_request(mesh, denied):
    denied(deny('source.principal == "cluster.local/ns/default/sa/other" && '
                'request.method == "POST" && request.path.startsWith("/secret")'))
    mesh.eventually(lambda: mesh.other.get("reviews", "/secret/1", method="POST").status == 403)
    assert mesh.other.get("reviews", "/secret/1").status == 200
    assert mesh.other.get("reviews", "/open", method="POST").status == 200
    assert mesh.client.get("reviews", "/secret/1", method="POST").status == 200


def test_list_of_versions(mesh, denied):
    denied([obj("listchecker", "known", {"overrides": ["v2", "v3"], "blacklist": False}),
            obj("listentry", "version", {"value": 'source.labels["version"]'}),
            obj("rule", "known", {"match": 'destination.labels["app"] == "ratings"', "actions": [
                {"handler": "known.listchecker", "instances": ["version.listentry"]}]})])
    # Both callers are v1, which the list does not have.
    mesh.eventually(lambda: mesh.client.get("ratings").status in (403, 404))
    assert mesh.client.get("reviews").status == 200


def counted(mesh, name="istio_requests_total", **want):
    """Sum of a counter over the series with these labels."""
    total = 0
    for labels, value in mesh.metric(None, name, mesh.prometheus_addr).items():
        have = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if all(have.get(k) == v for k, v in want.items()):
            total += value
    return total


def test_metrics_add_up(mesh):
    sent = {("client", "reviews", "200"): 40, ("client", "ratings", "200"): 30,
            ("other", "reviews", "200"): 20, ("other", "ratings", "500"): 10}

    def now():
        return {k: counted(mesh, reporter="destination", source_app=k[0], destination_app=k[1],
                           response_code=k[2]) for k in sent}
    # What earlier tests sent has been reported when the numbers stand still.
    state = {"last": None}

    def still():
        state["last"], before = now(), state["last"]
        return state["last"] == before
    wait_for(still, 20, interval=1.5, what="earlier reports have come in")
    start = now()
    for (source, app, code), n in sent.items():
        w = mesh.client if source == "client" else mesh.other
        for _ in range(n):
            assert w.get(app, f"/?status={code}").status == int(code)
    wait_for(lambda: {k: now()[k] - start[k] for k in sent} == sent, 5,
             what=f"counts of {sent}; now {now()} from {start}")
    series = http_request(mesh.prometheus_addr, "/metrics").text
    mine = [line for line in series.splitlines() if line.startswith("istio_requests_total")
            and 'source_app="client"' in line and 'destination_app="reviews"' in line
            and 'reporter="destination"' in line]
    assert any('connection_security_policy="mutual_tls"' in line and
               'source_workload="client-v1"' in line and
               'destination_service="reviews.default.svc.cluster.local"' in line
               for line in mine), mine


def test_source_and_destination_report_the_same(mesh):
    """The caller's proxy knows the workload behind the endpoint that it chose. (Which
    workload by name it knows where the endpoint has the label service.istio.io/workload-name.)"""
    want = {"source_app": "client", "source_workload": "client-v1", "destination_app": "reviews",
            "destination_version": "v1", "destination_workload_namespace": "default",
            "destination_principal": "cluster.local/ns/default/sa/reviews",
            "source_principal": "cluster.local/ns/default/sa/client", "response_code": "200",
            "destination_service": "reviews.default.svc.cluster.local"}

    def sides():
        return [counted(mesh, reporter=side, **want) for side in ("source", "destination")]
    start = sides()
    for _ in range(25):
        assert mesh.client.get("reviews").status == 200
    wait_for(lambda: sides()[0] - start[0] >= 25 and sides()[0] == sides()[1], 10,
             what=f"both sides count the same; {sides()} from {start}")


def test_bytes_of_connections(mesh):
    # A connection has no header that says which workload its source is: the certificate says who.
    sides = [{"reporter": "destination", "connection_security_policy": "mutual_tls",
              "source_principal": "cluster.local/ns/default/sa/client"},
             {"reporter": "source", "source_app": "client"}]
    names = ("istio_tcp_received_bytes_total", "istio_tcp_sent_bytes_total")
    ip, port = mesh.client.outbound_tcp.split(":")
    with socket.create_connection((ip, int(port)), timeout=5) as s:
        s.sendall(b"hello" * 200)
        s.shutdown(socket.SHUT_WR)
        got = b""
        while chunk := s.recv(65536):
            got += chunk
    assert len(got) >= 1000
    for side in sides:
        wait_for(lambda: [counted(mesh, name=n, destination_app="db", **side)
                          for n in names] == [1000, len(got)], 10,
                 what=f"{side}: bytes are counted; sent 1000, received {len(got)}")


def test_headers_that_rules_change(mesh, denied):
    denied([obj("rule", "tag", {
        "match": 'destination.labels["app"] == "reviews"',
        "requestHeaderOperations": [
            {"name": "x-caller", "values": ['source.workload.name | "nobody"']},
            {"name": "x-more", "values": ['"b"'], "operation": "APPEND"},
            {"name": "x-secret", "operation": "REMOVE"}],
        "responseHeaderOperations": [{"name": "x-decided-by", "values": ['"mixer"']}]})])

    def tagged():
        r = mesh.client.get("reviews", headers={"x-caller": "forged", "x-more": "a",
                                                "x-secret": "1"})
        have = {k.lower(): v for k, v in r.json()["headers"].items()}
        return (have.get("x-caller"), "x-secret" in have,
                {k.lower(): v for k, v in r.headers.items()}.get("x-decided-by"),
                have.get("x-more", "").replace(" ", "")) == ("client-v1", False, "mixer", "a,b")
    mesh.eventually(tagged, what="the headers are changed")


def test_away_and_fail_open_loses_nothing(mesh):
    run = load(mesh, mesh.client, "reviews", "/", 200, "--connections", "50")
    wait_for(lambda: mesh.reviews.stats()["total"] > 100)
    mesh.daemons["mixer"].kill()
    mesh.reviews.reset()
    wait_for(lambda: mesh.reviews.stats()["total"] > 200, what="requests go on without Mixer")
    mesh.start_daemon("mixer")
    mesh.reviews.reset()
    wait_for(lambda: mesh.reviews.stats()["total"] > 200)
    r = run.stop()
    assert r["errors"] == {} and set(r["status"]) == {"200"}, r


def test_away_and_fail_closed_refuses_until_it_is_back(mesh):
    mesh.apply("mesh", [mesh_config(mesh, False)])
    try:
        def refused():
            return mesh.client.get("reviews").status in (403, 500, 503)
        mesh.daemons["mixer"].kill()
        mesh.eventually(refused)
        mesh.reviews.reset()
        assert refused()
        assert mesh.reviews.stats()["total"] == 0
        mesh.start_daemon("mixer")
        mesh.eventually(lambda: mesh.client.get("reviews").status == 200)
    finally:
        mesh.apply("mesh", [mesh_config(mesh, True)])
    mesh.eventually(lambda: mesh.client.get("reviews").status == 200)
