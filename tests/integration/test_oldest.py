"""The oldest Envoy that is supported obeys the same rules, in both protocol variants: a part of the
traffic tests once more."""
import pytest

import test_traffic
# In the order in which they run.
from test_traffic import (  # noqa: F401  pylint: disable=unused-import
    at_base, test_weights, test_match_headers_uri_method, test_timeout, test_retries,
    test_fault_abort_percentage, test_redirect_and_rewrite, test_mirror,
    test_connection_pool_overflow, test_outlier_ejection, test_tcp_route, test_websocket_passes,
    test_gateway, test_unknown_host_and_invalid_rule_leave_what_works)
from util import ROOT, http_request

pytestmark = pytest.mark.usefixtures("healthy")

VERSION = "1.36.2"
ENVOY = ROOT / "build/envoy" / VERSION / "envoy"


@pytest.fixture(scope="module")
def world(net, apps, variant):
    w = test_traffic.World(net, apps.tmp, apps, variant, envoy_binary=ENVOY)
    yield w
    w.stop()


def test_it_is_the_oldest(world):
    for e in world.mesh.envoys():
        assert f"/{VERSION}/" in e.get("/server_info").json()["version"]
    page = http_request(world.mesh.monitor["pilot"], "/debug/syncz").json()
    assert page and all(p["envoy"] == VERSION for p in page)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["shift", "endpoint"])
def test_changes_lose_nothing(at_base, name):  # noqa: F811
    test_traffic.test_changes_lose_nothing(at_base, name)
