"""Captured traffic: the kernel redirects what the application connects to, as it is on pods. What nobody
knows passes with ALLOW_ANY and is refused with REGISTRY_ONLY, and the mesh configuration turns from one
to the other while all runs."""
import http.client
import socket
import time

import pytest

from mesh import DOMAIN, Mesh, Proxy
from netns import (NOT_THE_APPLICATION, Loopback, Namespace, connect, get, has, redirect, say)
from servers import Lines, Web
from test_telemetry import mesh_config, service

OUTSIDE, POD, VIP = "203.0.113.7", "10.7.4.1", "240.0.0.1"


class World:
    def __init__(self, tmp):
        self.ns = Namespace()
        with self.ns:
            has(OUTSIDE, POD, VIP)
            redirect(NOT_THE_APPLICATION, f"ip daddr {POD} tcp dport 1-65535 redirect to :15006",
                     "ip daddr 127.0.0.0/8 accept", "meta l4proto tcp redirect to :15001")
            self.servers = [
                Web((OUTSIDE, 80)), Web((OUTSIDE, 8088)), Lines((OUTSIDE, 7777)),
                Web(("127.77.3.1", 8000)), Web(("127.0.0.1", 9000)), Lines((POD, 9999))]
            self.mesh = m = Mesh(Loopback(), tmp, None)
            known = service("known", [{"number": 80, "name": "http"}], "127.77.3.1")
            known["spec"].update(addresses=[VIP], endpoints=[
                {"address": "127.77.3.1", "ports": {"http": 8000}}])
            m.apply("known", [known, service("own", [{"number": 9000, "name": "http"}], POD)])
            m.apply("more", [])
            m.apply("mesh", [])
            self.proxy = Proxy(m, 1, "web", "delta", "default", {"app": "web"}, POD)
            m.gateways = [self.proxy]
            m.start()
            self.envoy = self.proxy.envoy

    def stop(self):
        with self.ns:
            self.mesh.stop()
        for s in self.servers:
            s.close()
        self.ns.close()


@pytest.fixture(scope="module")
def world(tmp):
    w = World(tmp)
    with w.ns:
        yield w
    w.stop()


@pytest.fixture(params=[None, "REGISTRY_ONLY", "ALLOW_ANY"])
def mode(request, world):
    """Of outboundTrafficPolicy, in force; None: nobody says."""
    world.mesh.apply("mesh", [mesh_config(outboundTrafficPolicy={"mode": request.param})]
                     if request.param else [])
    refused = request.param == "REGISTRY_ONLY"
    world.mesh.eventually(lambda: (say(OUTSIDE, 7777) == b"") == refused and
                          (get(OUTSIDE, 80, "x.example.com") == (502, "")) == refused,
                          timeout=60, what=f"{request.param} is in force")
    yield request.param
    if getattr(request.node, "failed", False):
        print(world.mesh.logs())
    world.mesh.check()


def passed(world, cluster="PassthroughCluster"):
    return world.envoy.stat(f"cluster.{cluster}.upstream_cx_total")


def test_tcp_to_nobody_known(world, mode):
    before = passed(world)
    if mode == "REGISTRY_ONLY":
        assert say(OUTSIDE, 7777) == b""
        assert passed(world) == before
    else:
        assert say(OUTSIDE, 7777) == b"got hello\n"
        assert passed(world) == before + 1, "it went through Envoy"


@pytest.mark.parametrize("port", [80, 8088])
def test_http_to_nobody_known(world, mode, port):
    """80 is a port of HTTP in the mesh, and the Host is known to no service; 8088 is no port of it."""
    before = passed(world)
    answer = get(OUTSIDE, port, "anything.example.com")
    if mode == "REGISTRY_ONLY":
        assert answer == ((502, "") if port == 80 else None)
        assert passed(world) == before
    else:
        assert answer == (200, f"{OUTSIDE}:{port}")
        assert passed(world) >= before + (port != 80), "it went through Envoy"


def test_known_services_are_reached(world, mode):  # pylint: disable=unused-argument
    assert get(VIP, 80, f"known.default.{DOMAIN}") == (200, "127.77.3.1:8000")
    assert get(VIP, 80, "known") == (200, "127.77.3.1:8000")


def test_inbound(world, mode):  # pylint: disable=unused-argument
    """To the workload's own address: a port of a service of its own, and one that no service has."""
    name = "http.inbound_0.0.0.0_9000.downstream_rq_total"
    before = world.envoy.stat(name), passed(world, "InboundPassthroughCluster")
    assert get(POD, 9000, "own") == (200, "127.0.0.1:9000")
    assert world.envoy.stat(name) == before[0] + 1
    assert say(POD, 9999) == b"got hello\n"
    assert passed(world, "InboundPassthroughCluster") == before[1] + 1


def test_streams_outlive_other_ports(world):
    """A port that comes or goes changes the one listener of all ports, in place: only its own chain is
    drained. What comes to the port of a stream changes nothing there."""
    c = http.client.HTTPConnection("own", timeout=30)
    c.sock = connect(POD, 9000)
    c.request("GET", "/stream")
    stream = c.getresponse()
    assert stream.status == 200 and stream.readline()

    def changes():
        return world.envoy.stat("listener_manager.listener_in_place_updated")

    def lives():
        """Longer than a drain would take (Proxy in mesh.py: one second)."""
        end_at = time.monotonic() + 2.5
        while time.monotonic() < end_at:
            assert stream.readline() == b"line\n", "the stream was cut"
    before = changes()
    world.mesh.apply("more", [service("another", [{"number": 9100, "name": "http"}], POD)])
    world.mesh.eventually(lambda: "inbound|9100||" in world.envoy.resources("cluster") and
                          changes() > before, timeout=60, what="a port came")
    lives()
    before = changes()
    world.mesh.apply("more", [])
    world.mesh.eventually(lambda: changes() > before, timeout=60, what="a port went")
    lives()
    before = changes()

    def operation():
        host = world.envoy.resources("route")["inbound|9000||"]["virtual_hosts"][0]
        return host["routes"][0]["decorator"]["operation"]
    for objects, name in (([service("a-name-before", [{"number": 9000, "name": "http"}], POD)],
                           "a-name-before"), ([], "own")):
        world.mesh.apply("more", objects)
        world.mesh.eventually(lambda n=name: operation().startswith(n + "."), timeout=60, what=name)
        lives()
    assert changes() == before, "the listener need not know"
    c.close()


def test_connection_to_the_capturing_port_itself(world):
    """Not redirected, so it names no destination: closed, not sent round in a circle."""
    for port in (15001, 15006):
        with socket.create_connection((POD, port), 30) as s:
            assert s.recv(100) == b""
