"""Configuration servers are not all as strict as Galley: what Pilot cannot use leaves what was there, is
said on the object, and is counted."""
import concurrent.futures

import grpc
import pytest

from mesh import DOMAIN, SERVICE_PORT, Mesh
from util import http_request, wait_for

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"


class Lax(grpc.GenericRpcHandler):
    """Passes on what Galley says, but for some words."""

    def __init__(self, addr, galley, words):
        self.words = words
        self.call = grpc.insecure_channel(galley).stream_stream(METHOD)
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), [self])
        assert self.server.add_insecure_port(addr)
        self.server.start()

    def service(self, details):
        if details.method != METHOD:
            return None
        return grpc.stream_stream_rpc_method_handler(self.pass_on)

    def pass_on(self, requests, context):
        upstream = self.call(requests)
        context.add_callback(upstream.cancel)
        for response in upstream:
            for old, new in self.words:
                response = response.replace(old, new)
            yield response

    def close(self):
        self.server.stop(0).wait()


@pytest.fixture(scope="module")
def mesh(net, tmp, apps):
    m = Mesh(net, tmp, apps)
    m.workload("client")
    addr = f"{net.ip()}:9901"
    argv = m.daemons["pilot"].argv
    argv[argv.index("--config-server") + 1] = addr
    lax = Lax(addr, m.galley_addr, [(b"REDIS", b"RADIO")])  # of equal length
    m.start()
    yield m
    m.stop()
    lax.close()


def entry(protocol, address):
    return [{"apiVersion": "networking.istio.io/v1alpha3", "kind": "ServiceEntry",
             "metadata": {"name": "odd", "namespace": "default"},
             "spec": {"hosts": [f"odd.default.{DOMAIN}"], "location": "MESH_INTERNAL",
                      "resolution": "STATIC", "endpoints": [{"address": address}],
                      "ports": [{"number": SERVICE_PORT, "name": "p", "protocol": protocol}]}}]


def test_what_cannot_be_used(mesh):
    def at():
        page = http_request(mesh.monitor["pilot"], f"/debug/endpointz?host=odd.default.{DOMAIN}").json()
        return [e["address"] for s in page for e in s["endpoints"]]

    def counts():
        return (mesh.metric("pilot", "pilot_xds_push_context_errors").get("", 0),
                mesh.metric("pilot", "pilot_config_errors").get('{kind="ServiceEntry"}', 0))

    def said():
        page = http_request(mesh.monitor["pilot"],
                            "/debug/status?kind=ServiceEntry&ns=default&name=odd").json()
        return " ".join(n["note"] for o in page["objects"] for n in o["notes"])
    mesh.apply("odd", entry("TCP", "10.1.1.1"))
    wait_for(lambda: at() == ["10.1.1.1"], what="it is there")
    assert counts() == (0, 0)
    mesh.apply("odd", entry("REDIS", "10.1.1.2"))
    wait_for(lambda: counts() == (1, 1), what="Pilot cannot use it")
    assert at() == ["10.1.1.1"]
    assert "unknown protocol RADIO" in said(), said()
    mesh.apply("odd", entry("TCP", "10.1.1.3"))
    wait_for(lambda: at() == ["10.1.1.3"], what="it can again")
    assert counts() == (1, 1) and "RADIO" not in said()
