"""Proxies that are stuck cost the others nothing: one that never reads, one that is stopped."""
import signal
import threading

import grpc
import pytest
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2

from mesh import SERVICE_PORT, Mesh
from test_traffic import BASE, SUBSETS, to, virtual_service
from util import http_request, wait_for

pytestmark = pytest.mark.usefixtures("healthy")

ADS = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
CDS = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
SEND_TIMEOUT_S = 3


def many_services(n, port=80, address="10.1.1.1"):
    """So much that no window and no socket of a small client takes it."""
    return [{"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
             "metadata": {"name": f"s{i}", "namespace": "default"},
             "spec": {"hosts": [f"s{i}.default.svc.cluster.local"], "location": "MESH_INTERNAL",
                      "resolution": "STATIC", "endpoints": [{"address": address}],
                      "ports": [{"number": port, "name": "http", "protocol": "HTTP"}]}}
            for i in range(n)]


@pytest.fixture(scope="module")
def mesh(net, tmp, apps):
    m = Mesh(net, tmp, apps)
    m.client, m.other = m.workload("client"), m.workload("other")
    for v in ("v1", "v2"):
        m.workload("reviews", version=v)
    m.daemons["pilot"].argv += ["--send-timeout", f"{SEND_TIMEOUT_S}s"]
    m.apply("rules", BASE)
    m.apply("many", many_services(400))
    m.start()
    yield m
    m.stop()


def shift(mesh, version):
    """A change that the two proxies that read see within a second or so."""
    mesh.apply("rules", [SUBSETS, virtual_service("reviews", [{"route": [to(version)]}])])
    for w in (mesh.client, mesh.other):
        mesh.eventually(lambda w=w: w.get("reviews").headers.get("x-app-version") == version, 5,
                        what=f"{w.name} routes to {version}")


def connected(mesh):
    return {p["proxy"] for p in http_request(mesh.monitor["pilot"], "/debug/syncz").json()}


class NeverReads:
    """Subscribes to all clusters, and takes no answer from its connection."""

    def __init__(self, mesh, number, delta):
        self.name, self.ended = f"stuck-{number}.default", threading.Event()
        cls = discovery_pb2.DeltaDiscoveryRequest if delta else discovery_pb2.DiscoveryRequest
        first = cls(type_url=CDS, node=base_pb2.Node(
            id=f"sidecar~127.0.0.1~{self.name}~default.svc.cluster.local"))
        # The smallest window, which does not grow.
        self.channel = grpc.insecure_channel(mesh.xds_addr, [
            ("grpc.http2.bdp_probe", 0), ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_retries", 0)])
        method = "DeltaAggregatedResources" if delta else "StreamAggregatedResources"
        call = self.channel.stream_stream(ADS + method, request_serializer=cls.SerializeToString)

        def requests():
            yield first
            self.ended.wait()
        self.stream = call(requests())

    def close(self):
        self.ended.set()
        self.stream.cancel()
        self.channel.close()


def test_clients_that_never_read(mesh):
    pilot = mesh.daemons["pilot"]
    shift(mesh, "v2")
    before = pilot.rss_kb()
    stuck = [NeverReads(mesh, i, delta=i % 2) for i in range(40)]
    try:
        names = {s.name for s in stuck}
        wait_for(lambda: names & connected(mesh), what="they are there")
        for i in range(10):
            mesh.apply("many", many_services(400, 81 + i))  # each pins another set, if any does
            shift(mesh, f"v{1 + i % 2}")
        wait_for(lambda: not names & connected(mesh), 10 * SEND_TIMEOUT_S,
                 what="who does not read is disconnected")
        ended = mesh.metric("pilot", "pilot_xds_write_timeout")[""]
        assert 0 < ended <= len(stuck), ended
        assert mesh.metric("pilot", "pilot_xds_push_timeout_failures") == {"": ended}
        assert sum(mesh.metric("pilot", "pilot_xds_push_errors").values()) == ended
        assert {w.name + ".default" for w in mesh.workloads} <= connected(mesh)
        assert pilot.rss_kb() < before + 48 * 1024, (before, pilot.rss_kb())
    finally:
        for s in stuck:
            s.close()


@pytest.mark.timeout(180)
def test_a_proxy_that_is_stopped(mesh):
    """It is disconnected when it answers no ping, and takes up what was changed meanwhile."""
    pilot, other = mesh.daemons["pilot"], mesh.workload("sleeper")
    mesh.apply("services", mesh.services_yaml())
    other.start()
    other.wait_ready()
    name = other.name + ".default"
    before = pilot.rss_kb()
    other.envoy.process.proc.send_signal(signal.SIGSTOP)
    try:
        for i in range(20):
            mesh.apply("many", many_services(400, SERVICE_PORT, f"10.1.2.{i}"))
            shift(mesh, f"v{1 + i % 2}")
        assert pilot.rss_kb() < before + 48 * 1024, (before, pilot.rss_kb())
        wait_for(lambda: name not in connected(mesh), 90, what="who is stopped is disconnected")
        shift(mesh, "v1")
    finally:
        other.envoy.process.proc.send_signal(signal.SIGCONT)
    wait_for(lambda: name in connected(mesh), 30, what="it is back")
    mesh.eventually(lambda: other.get("reviews").headers.get("x-app-version") == "v1", 20,
                    what="it has what was changed meanwhile")
    cluster = f"outbound|{SERVICE_PORT}||s7.default.svc.cluster.local"
    mesh.eventually(lambda: list(other.envoy.endpoints(cluster)) == [f"10.1.2.19:{SERVICE_PORT}"],
                    20, what="and the endpoints of now")
