"""Outlier detection and warming up, part by part: which backends are put aside, and what a newcomer
gets. Once in each protocol variant."""
import time

import pytest

from destinations import World, cluster_of, once, rule, variants
from util import wait_for

pytestmark = pytest.mark.usefixtures("healthy")


def pytest_generate_tests(metafunc):
    variants(metafunc)


@pytest.fixture(scope="module")
def world(request, net, tmp, apps):
    tmp = tmp / request.param
    tmp.mkdir()
    apps.tmp = tmp
    w = World(net, tmp, apps, request.param)
    yield w
    w.stop()


# --- who is fit ---

def outliers(**o):
    return rule("web", loadBalancer={"simple": "ROUND_ROBIN"}, outlierDetection={
        "interval": "0.1s", "baseEjectionTime": "300s", "maxEjectionPercent": 100, **o})


def fresh(w, *objects, wait, **kw):
    """Rules in force, nobody put aside, each backend asked."""
    w.rules(*objects, **kw)
    w.in_force(wait)
    for b in w.web.values():
        b.status = 200
    w.mesh.eventually(lambda: not w.ejected() and len(set(w.who(8))) == len(kw.get("web", "abcd")),
                      what="all serve")


def test_errors_of_a_gateway(world):
    """consecutiveGatewayErrors counts 502, 503 and 504 alone; consecutive5xxErrors every 5xx, five
    where nothing is said, none with 0."""
    w = world
    fresh(w, outliers(consecutiveGatewayErrors=2, consecutive5xxErrors=0), wait="ailure\": 2")
    w.web["a"].status = 500
    assert w.who(40).count("a") == 10 and not w.ejected()
    w.web["a"].status = 502
    w.mesh.eventually(lambda: set(w.who(12)) == set("bcd") and w.ejected() == {"a"},
                      what="a is put aside")
    fresh(w, outliers(consecutive5xxErrors=3), wait="5xx\": 3")
    w.web["b"].status = 500
    w.mesh.eventually(lambda: w.who(8) and w.ejected() == {"b"}, what="b is put aside")
    fresh(w, outliers(consecutiveGatewayErrors=50), wait="ailure\": 50")
    w.web["c"].status = 500
    w.mesh.eventually(lambda: w.who(8) and w.ejected() == {"c"}, what="five 5xx put c aside")


def test_errors_of_its_own(world):
    """splitExternalLocalOriginErrors: connections that fail count apart, by
    consecutiveLocalOriginFailures."""
    w = world
    nobody = (w.net.ip(), 9)
    own = {"consecutive5xxErrors": 0, "consecutiveLocalOriginFailures": 3}

    def apply(split):
        w.mesh.apply("rules", [
            w.service("web", w.web["a"], w.web["b"], nobody),
            outliers(**own, splitExternalLocalOriginErrors=split)])
    apply(False)
    w.mesh.eventually(lambda: f"{nobody[0]}:9" in w.client.envoy.endpoints(cluster_of("web")) and
                      "outlier" in w.policy() and "split" not in w.policy())
    fails = w.stat("upstream_cx_connect_fail")
    w.mesh.eventually(lambda: w.get() and w.stat("upstream_cx_connect_fail") > fails + 8)
    assert not w.ejected()  # they are errors like the server's, which do not count here
    apply(True)
    w.in_force("split_external_local_origin_errors")
    w.web["a"].status = 503
    for _ in range(12):
        w.get()
    w.mesh.eventually(lambda: w.get() and w.ejected() == {"nobody"}, what="nobody is put aside")
    assert w.stat("outlier_detection.ejections_enforced_consecutive_local_origin_failure") == 1


@once
def test_how_many_are_put_aside(world):
    """maxEjectionPercent: at most so many at once, at least one."""
    w = world
    fresh(w, outliers(consecutive5xxErrors=1, maxEjectionPercent=50), wait="ion_percent\": 50")
    for n in "abc":
        w.web[n].status = 500
    w.mesh.eventually(lambda: w.who(8) and len(w.ejected()) == 2, what="two of three")
    out = w.ejected()
    # The third bad one has to go on. (Envoy gathers what it learns of its hosts for a second.)
    w.mesh.eventually(lambda: set(w.who(20)) == set("abcd") - out, what="the others serve")
    assert w.ejected() == out < set("abc"), out
    fresh(w, outliers(consecutive5xxErrors=1, maxEjectionPercent=1), wait="ion_percent\": 1,")
    for n in "abc":
        w.web[n].status = 500
    w.mesh.eventually(lambda: w.who(8) and len(w.ejected()) == 1, what="one at least")


@once
def test_when_most_are_unfit(world):
    """minHealthPercent: below it all get requests; without it only who is fit."""
    w = world
    for least, want in ((50, "abcd"), (None, "d")):
        fresh(w, outliers(consecutive5xxErrors=2, **({"minHealthPercent": least} if least else {})),
              wait="panic_threshold\": {\"value\": 50" if least else "panic_threshold\": {}")
        for n in "abc":
            w.web[n].status = 500
        w.mesh.eventually(lambda: w.who(12) and w.ejected() == set("abc"), what="three are out")
        # Envoy gathers what it learns of its hosts for a second.
        w.mesh.eventually(lambda: set(w.who(12)) == set(want), what=f"{want} serve")
        assert set(w.who(24)) == set(want), least


# --- newcomers ---

@once
@pytest.mark.parametrize("simple, how", [
    ("ROUND_ROBIN", "warmupDurationSecs"), ("LEAST_REQUEST", "warmup")])
def test_a_newcomer_warms_up(world, simple, how):
    """Its share is as its time of all the time, so small at first. Before the window's end nobody is
    warm: two endpoints of one age share evenly, the newcomer has what the clock says."""
    w = world
    if how == "warmup":
        warm = {"warmup": {"duration": "60s", "minimumPercent": 1, "aggression": 1}}
        window, least = 60, 0.01
    else:
        warm = {"warmupDurationSecs": "8s"}
        window, least = 8, 0.1
    balance = rule("web", loadBalancer={"simple": simple, **warm})
    w.rules(balance, web="ab")
    start = time.monotonic()
    w.in_force("slow_start_config")
    w.mesh.eventually(lambda: set(w.who(6)) == set("ab"))
    wait_for(lambda: time.monotonic() - start > 3, 60, what="the first two are older")
    came = time.monotonic()
    w.rules(balance, web="abc")
    w.mesh.eventually(lambda: len(w.client.envoy.endpoints(cluster_of("web"))) == 3)
    n = 120
    got = w.who(n)
    end = time.monotonic()
    new, old = (max(min((end - t) / window, 1), least) for t in (came, start))
    most = new / (2 * old + new)
    assert most < 0.3 or end - came > 10, (most, "the machine is slow, and says so")
    # Five standard deviations of a random choice; round robin is more even.
    assert got.count("c") <= n * most + 5 * (n * most * (1 - most)) ** 0.5, (got.count("c"), most)
    assert abs(got.count("a") - got.count("b")) < 5 * n ** 0.5
