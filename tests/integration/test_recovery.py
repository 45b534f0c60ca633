"""Daemons die and come back under load; the proxies go on."""
import json
import signal

import pytest

from mesh import Mesh, load, streams
from test_traffic import BASE, SUBSETS, to, virtual_service
from util import http_request, wait_for


pytestmark = [pytest.mark.leaks, pytest.mark.usefixtures("healthy")]


@pytest.fixture(scope="module")
def mesh(net, tmp, apps):
    m = Mesh(net, tmp, apps)
    m.tcp_targets["client-v1"] = {"db"}
    m.client = m.workload("client")
    m.v1 = m.workload("reviews", version="v1")
    m.v2 = m.workload("reviews", version="v2")
    m.workload("db", tcp=True)
    m.apply("rules", BASE)
    m.start()
    m.eventually(lambda: answered_by(m) == "v1")
    yield m
    m.stop()


def answered_by(m, path="/"):
    r = m.client.get("reviews", path)
    return r.headers.get("x-app-version") if r.status == 200 else r.status


def shift_all_to(m, version):
    m.apply("rules", [SUBSETS, virtual_service("reviews", [{"route": [to(version)]}])])
    m.eventually(lambda: answered_by(m) == version, what=f"the route to {version} is in force")


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("name", ["galley", "pilot"])
def test_ended_under_load_and_back(mesh, name, sig):
    held = [streams(mesh, mesh.client, "reviews", 5), streams(mesh, mesh.client, None, 5)]
    run = load(mesh, mesh.client, "reviews", "/", 300, "--connections", "50")
    for version in ("v2", "v1"):
        assert mesh.daemons[name].stop(sig) == (0 if sig == signal.SIGTERM else -sig)
        # Rules written while it is down are in force once it is back.
        mesh.apply("rules", [SUBSETS, virtual_service("reviews", [{"route": [to(version)]}])])
        mesh.start_daemon(name)
        mesh.eventually(lambda version=version: answered_by(mesh) == version, timeout=20,
                        what=f"after {name} is back, the new route is in force")
    r = run.stop()
    assert r["errors"] == {} and set(r["status"]) == {"200"}, r
    for h in held:
        assert h.stop()["breaks"] == {}


def test_galley_starts_from_its_state_when_the_source_is_away(mesh):
    mesh.eventually(lambda: mesh.saved("galley"), what="Galley saves its state")
    mesh.daemons["galley"].kill()
    aside = mesh.config.with_name("config-away")
    mesh.config.rename(aside)
    try:
        mesh.start_daemon("galley", wait=False)
        # What it serves came from its state: a Pilot without state gets it all.
        mesh.daemons["pilot"].kill()
        state = mesh.state / "pilot"
        state.rename(mesh.state / "pilot-away")
        mesh.start_daemon("pilot")
        mesh.client.envoy.stop()
        mesh.client.envoy.start()
        mesh.client.wait_ready()
        mesh.eventually(lambda: answered_by(mesh) == "v1")
    finally:
        aside.rename(mesh.config)
    # And it takes the source up again.
    shift_all_to(mesh, "v2")
    shift_all_to(mesh, "v1")


def resources(envoy):
    """All that Envoy holds, in a form that can be compared."""
    out = {kind: envoy.resources(kind) for kind in ("cluster", "listener", "route", "endpoint")}
    return json.dumps(out, sort_keys=True, indent=1)


def test_everything_killed_and_galley_left_down(mesh):
    wait_for(lambda: http_request(mesh.monitor["galley"], "/readyz").status == 200)
    envoy = mesh.client.envoy
    # From a fresh Envoy, so that the order of arrival is no difference.
    envoy.stop()
    envoy.start()
    mesh.client.wait_ready()
    before = resources(envoy)
    for name in ("galley", "pilot"):
        mesh.eventually(lambda name=name: mesh.saved(name), what=f"{name} saves its state")
    mesh.daemons["galley"].kill()
    mesh.daemons["pilot"].kill()
    assert answered_by(mesh) == "v1", "the proxies work with every daemon down"
    envoy.stop()
    mesh.start_daemon("pilot", wait=False)
    envoy.start()
    mesh.client.wait_ready()
    mesh.eventually(lambda: answered_by(mesh) == "v1")
    assert resources(envoy) == before
    mesh.start_daemon("galley")
    shift_all_to(mesh, "v2")
    shift_all_to(mesh, "v1")
