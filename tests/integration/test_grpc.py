"""gRPC through two sidecars: calls and streams, balanced call by call, ruled like any HTTP, and not
disturbed by changes of the rules."""
import collections
import json
import sys
import time

import grpc
import pytest

from grpc_echo import Caller
from mesh import GRPC_ECHO, Mesh
from test_traffic import POOL, SUBSETS, to, virtual_service
from util import Process, wait_for
from world import BaseWorld

pytestmark = pytest.mark.usefixtures("healthy")

HOST = "reviews.default.svc.cluster.local"
OK = grpc.StatusCode.OK
BASE = [SUBSETS, virtual_service("reviews", [{"route": [to("v1")]}])]


class World(BaseWorld):
    def __init__(self, net, tmp, apps, protocol):
        # A workload whose endpoint goes drains its inbound listener: what is open then lives as
        # long as the drain time.
        m = self.mesh = Mesh(net, tmp, apps, protocol=protocol, drain_s=600)
        self.client = m.workload("client")
        self.reviews = {v: m.workload("reviews", version=v, grpc=True) for v in ("v1", "v2", "v3")}
        self.second = m.workload("reviews", version="v1", name="reviews-v1-second", grpc=True)
        m.apply("rules", BASE)
        m.start()
        self.caller = Caller(self.client.outbound_grpc, HOST)
        self.rules(*BASE, until=lambda: self.versions(5) == {"v1": 5})

    def rules(self, *objects, until, **kw):
        return super().rules(*objects, until=lambda: self.quiet(until), **kw)

    @staticmethod
    def quiet(until):
        """A call that fails is no answer yet."""
        try:
            return until()
        except grpc.RpcError as e:
            raise AssertionError(e) from None

    def stop(self):
        self.caller.close()
        super().stop()

    def versions(self, n):
        return collections.Counter(self.caller.unary()[1] for _ in range(n))

    def load(self, rate=100, streams=5):
        p = Process("grpc-load", [
            sys.executable, GRPC_ECHO, "load", self.client.outbound_grpc, "--authority", HOST,
            "--rate", rate, "--streams", streams], self.mesh.tmp).start()
        wait_for(lambda: p.check() or "running" in p.log()[p.log_from:], 20)
        return p

    @staticmethod
    def summary(p):
        assert p.stop(timeout=60) == 0, p.tail()
        text = p.log()[p.log_from:]
        return json.loads(text[text.rindex("\n{"):])


@pytest.fixture(scope="module")
def world(net, apps, variant):
    w = World(net, apps.tmp, apps, variant)
    yield w
    w.stop()


def test_calls_and_streams_pass(world):
    c = world.caller
    answer, _, trailing = c.unary(data=b"x" * 100000)
    assert answer == b"x" * 100000 and int(trailing["x-served"]) > 0
    assert c.many(50) == [b"x %d" % i for i in range(50)]
    assert list(c.bidi(iter([b"a", b"b", b"c"]))) == [b"a", b"b", b"c"]
    for name in ("NOT_FOUND", "RESOURCE_EXHAUSTED", "DATA_LOSS"):
        assert c.code("Fail", status=name) == (
            getattr(grpc.StatusCode, name), "as it was asked")
    assert c.code("NoSuch")[0] == grpc.StatusCode.UNIMPLEMENTED


def test_balanced_call_by_call(world):
    """One connection of the caller, every endpoint in turn."""
    w = world
    w.rules(SUBSETS, virtual_service("reviews", [{"route": [to()]}]),
            until=lambda: len(w.versions(20)) == 3)
    got = w.versions(400)
    # Four endpoints, two of them v1: no endpoint is left out, none has much more than its share.
    assert sum(got.values()) == 400 and 150 < got["v1"] < 250, got
    assert 60 < got["v2"] < 140 and 60 < got["v3"] < 140, got


def test_weights(world):
    w = world
    w.rules(SUBSETS, virtual_service("reviews", [{"route": [to("v1", 75), to("v3", 25)]}]),
            until=lambda: w.versions(30)["v3"] > 0)
    got = w.versions(600)
    # Binomial, p = 0.25: five standard deviations are 53.
    assert sum(got.values()) == 600 and got["v2"] == 0 and abs(got["v3"] - 150) < 54, got


def test_routed_by_method_and_metadata(world):
    w, c = world, world.caller
    w.rules(SUBSETS, virtual_service("reviews", [
        {"match": [{"uri": {"exact": "/test.Echo/Slow"}}], "route": [to("v2")]},
        {"match": [{"headers": {"x-user": {"exact": "ada"}}}], "route": [to("v3")]},
        {"route": [to("v1")]}]),
        # The rules before answer with any version: with the same ten times by chance only.
        until=lambda: {c.unary(user="ada")[1] for _ in range(10)} == {"v3"} and
        {c.unary("Slow", delay_ms=1)[1] for _ in range(10)} == {"v2"})
    assert c.unary(user="eve")[1] == "v1"


def test_retries_of_what_was_unavailable(world):
    w, c = world, world.caller
    ids = iter(range(1000))
    w.rules(SUBSETS, virtual_service("reviews", [{
        "route": [to("v2")], "retries": {"attempts": 3, "retryOn": "unavailable"}}]),
        until=lambda: c.unary("Flaky", id=f"w{next(ids)}", fail=3)[0] == b"4")
    assert c.unary("Flaky", id="a", fail=2)[0] == b"3"
    assert c.code("Flaky", id="b", fail=9)[0] == grpc.StatusCode.UNAVAILABLE
    assert c.unary("Flaky", id="b", fail=4)[0] == b"5", "four tries went before"
    assert c.code("Fail", status="NOT_FOUND")[0] == grpc.StatusCode.NOT_FOUND


def test_timeout_of_the_route(world):
    w, c = world, world.caller

    def late():
        start = time.monotonic()
        code = c.code("Slow", delay_ms=3000)[0]
        return time.monotonic() - start < 2.5 and code in (
            grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    w.rules(SUBSETS, virtual_service("reviews", [{"route": [to("v1")], "timeout": "0.4s"}]),
            until=late)
    assert c.code("Slow", delay_ms=20) == (OK, "")


ABORT = virtual_service("reviews", [{
    "fault": {"abort": {"percentage": {"value": 10}, "httpStatus": 503}}, "route": [to("v1")]}])
CHANGES = {
    "shift": [SUBSETS, virtual_service("reviews", [{"route": [to("v1", 80), to("v2", 20)]}])],
    "fault": [SUBSETS, ABORT],
    "cluster": [POOL, BASE[1]],
    "endpoint": None,
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.timeout(300)
def test_changes_lose_no_call(world, name):
    """Fifty times applied and reverted under calls and open streams."""
    w = world
    w.rules(*BASE, until=lambda: w.versions(5) == {"v1": 5})

    def apply(changed):
        if name == "endpoint":  # one of the two that serve v1 goes and comes
            w.second.listed = not changed
            w.mesh.apply("services", w.mesh.services_yaml())
        else:
            w.mesh.apply("rules", CHANGES[name] if changed else BASE)

    def updates():
        return sum(w.client.envoy.stats("update_success$").values())
    load = w.load()
    for _ in range(50):
        for changed in (True, False):
            before = updates()
            apply(changed)
            w.mesh.eventually(lambda before=before: updates() > before,
                              what="the change reaches the client's Envoy")
    r = w.summary(load)
    unasked = {k: n for k, n in r["breaks"].items() if not k.startswith("call: UNAVAILABLE fault")}
    assert unasked == {} and r["unanswered"] == 0 and r["echoed"] > 100, r
    assert set(r["codes"]) <= {"OK"} | ({"UNAVAILABLE"} if name == "fault" else set()), r
    assert r["codes"]["OK"] > 100, r
