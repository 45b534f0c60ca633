"""Certificates are renewed while traffic goes on."""
import pytest

from mesh import load, streams
from mesh_tls import TlsMesh, workload_id
from test_tls import STRICT
from test_traffic import BASE
from util import wait_for


@pytest.mark.timeout(240)
def test_five_renewals_under_load(net, tmp, apps, request):
    """Certificates of 20 s, renewed at half-life while requests and streams go on."""
    m = TlsMesh(net, tmp, apps, cert_ttl="20s")
    m.tcp_targets["client-v1"] = {"db"}
    client, reviews = m.workload("client"), m.workload("reviews")
    m.workload("db", tcp=True)
    m.apply("rules", BASE + [STRICT])
    try:
        m.start()
        m.eventually(lambda: client.get("reviews").status == 200, timeout=20)
        held = [streams(m, client, "reviews", 5), streams(m, client, None, 5)]
        run = load(m, client, "reviews", "/", 200, "--connections", "50")
        serials = {w.name: set() for w in (client, reviews)}

        def renewed():
            for w in (client, reviews):
                serials[w.name] |= {s for s, uris, _ in w.envoy.certs()
                                    if workload_id("default", w.account) in uris}
            return min(len(s) for s in serials.values()) >= 6
        wait_for(renewed, 120, what="five renewals of each certificate", interval=0.5)
        r = run.stop()
        assert r["errors"] == {} and set(r["status"]) == {"200"}, r
        for h in held:
            assert h.stop()["breaks"] == {}
        m.check()
    finally:
        if getattr(request.node, "failed", False):
            print(m.logs())
        m.stop()
