"""Mixer in a mesh without identities, and Mixer without Galley."""
import pytest

from mesh import Mesh
from test_mixer import counted, deny, mesh_config
from test_traffic import BASE
from util import ROOT, wait_for


@pytest.fixture(scope="module")
def plain(net, tmp, apps):
    m = Mesh(net, tmp, apps, mixer=True)
    m.client, m.reviews = m.workload("client"), m.workload("reviews")
    m.apply("rules", BASE)
    m.apply("mesh", [mesh_config(m, False)])
    m.apply("telemetry", (ROOT / "deploy/local/mesh/telemetry.yaml").read_text())
    m.start()
    m.eventually(lambda: m.client.get("reviews").status == 200, timeout=20)
    yield m
    m.stop()


def test_plaintext_proves_no_source(plain):
    """What anybody could have written decides nothing; the destination is known all the same."""
    plain.apply("deny", deny('source.labels["app"] == "client" || request.path == "/probe"'))
    plain.eventually(lambda: plain.client.get("reviews", "/probe").status == 200)
    plain.apply("deny", deny('destination.labels["app"] == "reviews" && '
                             'request.path.startsWith("/probe")'))
    plain.eventually(lambda: plain.client.get("reviews", "/probe").status == 403)
    assert plain.client.get("reviews", "/").status == 200
    wait_for(lambda: counted(plain, reporter="destination", source_app="unknown",
                             destination_app="reviews", response_code="403") > 0, 5)
    wait_for(lambda: counted(plain, reporter="source", source_app="client",
                             destination_app="reviews", response_code="403") > 0, 5)


def test_starts_from_its_state_without_galley(plain):
    plain.apply("deny", deny('request.path.startsWith("/probe")'))
    plain.eventually(lambda: plain.client.get("reviews", "/probe").status == 403)
    plain.daemons["mixer"].stop()  # it saves at most once a second, and when it stops
    plain.daemons["galley"].kill()
    plain.start_daemon("mixer")
    plain.eventually(lambda: plain.client.get("reviews", "/").status == 200)
    assert plain.client.get("reviews", "/probe").status == 403
    plain.start_daemon("galley")
    plain.apply("deny", [])
    plain.eventually(lambda: plain.client.get("reviews", "/probe").status == 200)
