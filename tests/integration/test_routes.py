"""Virtual services, field by field, seen at the backends through real Envoys, in both protocol
variants. The first rules of this kind are in test_traffic.py; here is the rest."""
import collections
import socket

import pytest

from mesh import DOMAIN
from routes import TLS_PORT, World, hello, obj, prefix, reached, to, vs
from util import http_request

pytestmark = pytest.mark.usefixtures("healthy")


@pytest.fixture(scope="module")
def world(net, apps, variant):
    w = World(net, apps.tmp, apps, variant)
    yield w
    w.stop()


# --- matches ---

def test_match_query_case_without_headers(world):
    w = world
    w.rules([
        {"match": [{"queryParams": {"q": {"exact": "1"}, "r": {"regex": "x[0-9]+"}}},
                   {"queryParams": {"p": {"prefix": "ab"}}},
                   {"queryParams": {"here": {}}}], "route": [to("v2")]},
        {"match": [{"uri": {"prefix": "/CaSe"}, "ignoreUriCase": True},
                   {"uri": {"exact": "/Exact"}, "ignoreUriCase": True}], "route": [to("v3")]},
        {"match": [{"uri": {"prefix": "/wo"},
                    "withoutHeaders": {"x-bad": {}, "x-worse": {"exact": "yes"}}}],
         "route": [to("v2")]},
        {"match": [{"uri": {"prefix": "/m"}, "method": {"regex": "PUT|POST"},
                    "scheme": {"exact": "http"}, "authority": {"prefix": "reviews.default"}}],
         "route": [to("v3")]},
        {"route": [to("v1")]}])
    assert w.version("/?q=1&r=x22") == "v2" and w.version("/?q=1&r=y") == "v1"
    assert w.version("/?q=11&r=x22") == "v1"
    assert w.version("/?p=abc") == "v2" and w.version("/?p=a") == "v1"
    assert w.version("/?here=") == "v2" and w.version("/?there=1") == "v1"
    assert w.version("/case/x") == "v3" and w.version("/eXaCt") == "v3"
    assert w.version("/exact/") == "v1"
    assert w.version("/wo") == "v2" and w.version("/wo", headers={"x-bad": "1"}) == "v1"
    assert w.version("/wo", headers={"x-worse": "yes"}) == "v1"
    assert w.version("/wo", headers={"x-worse": "no"}) == "v2"
    assert w.version("/m", method="PUT") == "v3" and w.version("/m") == "v1"
    assert w.version("/m", method="POST", headers={"host": "reviews"}) == "v1"


def test_match_source_port_gateway(world):
    w = world
    w.rules([
        {"match": [{"uri": {"prefix": "/l"}, "sourceLabels": {"app": "other"}}],
         "route": [to("v3")]},
        {"match": [{"uri": {"prefix": "/l"}, "sourceLabels": {"app": "client", "version": "v1"}}],
         "route": [to("v2")]},
        {"match": [{"uri": {"prefix": "/n"}, "sourceNamespace": "carts"}], "route": [to("v3")]},
        {"match": [{"uri": {"prefix": "/n"}, "sourceNamespace": "default"}], "route": [to("v2")]},
        {"match": [{"uri": {"prefix": "/p"}, "port": 80}], "route": [to("v3")]},
        {"match": [{"uri": {"prefix": "/p"}, "port": 9080}], "route": [to("v2")]},
        {"match": [{"uri": {"prefix": "/g"}, "gateways": ["edge"]}], "route": [to("v3")]},
        {"match": [{"uri": {"prefix": "/g"}, "gateways": ["mesh"]}], "route": [to("v2")]},
        {"route": [to("v1")]}])
    for path in ("/l", "/n", "/p", "/g"):
        assert w.version(path) == "v2", path
    assert w.version("/") == "v1"


def test_stat_prefix(world):
    """statPrefix of a match: the route has statistics of its own, under that name."""
    w = world
    w.rules([{"match": [{"uri": {"prefix": "/s"}, "statPrefix": "the-s"},
                        {"uri": {"prefix": "/t"}, "statPrefix": "the-t"}], "route": [to("v2")]},
             {"route": [to("v1")]}])

    def counts():
        found = w.client.envoy.stats("route.the-..upstream_rq_total")
        return {k.rsplit(".", 2)[1]: v for k, v in found.items()}
    for path, n in (("/s", 3), ("/t", 2), ("/", 4)):
        for _ in range(n):
            assert w.get(path).status == 200
    w.mesh.eventually(lambda: counts() == {"the-s": 3, "the-t": 2}, what="both are counted")


def test_rules_for_others_leave_the_service_its_default(world):
    w = world
    w.rules([{"route": [to("v1")]}], vs("ratings", [
        {"match": [{"sourceLabels": {"app": "other"}}], "directResponse": {"status": 418}}]))
    assert w.get(host="ratings").json()["name"] == "ratings"


# --- headers ---

def test_header_operations(world):
    w = world
    ops = {"request": {"set": {"x-set": "route", "x-both": "route"}, "add": {"x-add": "a2"},
                       "remove": ["x-gone"]},
           "response": {"set": {"x-rset": "100%"}, "add": {"x-radd": "%PROTOCOL%"},
                        "remove": ["x-app-name"]}}
    mine = {"request": {"set": {"x-dest": "%REQ(x-set)%"}, "remove": ["x-gone-too"]},
            "response": {"add": {"x-from": "v2"}}}
    w.rules([
        prefix("/one", headers=ops, route=[to("v2", headers=mine)]),
        prefix("/two", headers=ops, route=[to("v2", 100, headers=mine), to("v3", 0)]),
        prefix("/weights", headers=ops, route=[
            to("v2", 50, headers={"request": {"set": {"x-dest": "v2"}}}),
            to("v3", 50, headers={"request": {"set": {"x-dest": "v3", "host": "v3.example"}}})])])
    sent = {"x-set": "mine", "x-add": "a1", "x-gone": "1", "x-gone-too": "1"}
    for path in ("/one", "/two"):
        r = w.get(path, headers=sent)
        h = r.json()["headers"]
        assert h["x-set"] == "route" and h["x-both"] == "route" and h["x-dest"]
        assert h["x-add"].replace(" ", "") in ("a1,a2", "a2")  # the backend keeps one of two
        assert "x-gone" not in h and "x-gone-too" not in h
        assert r.headers["x-rset"] == "100%" and r.headers["x-radd"] == "HTTP/1.1"
        assert r.headers["x-from"] == "v2" and "x-app-name" not in r.headers
    hosts = {}
    for _ in range(200):
        doc = w.get("/weights", headers=sent).json()
        assert doc["headers"]["x-dest"] == doc["version"] and doc["headers"]["x-set"] == "route"
        hosts.setdefault(doc["version"], set()).add(doc["host"])
        if len(hosts) == 2:
            break
    assert hosts == {"v2": {f"reviews.default.{DOMAIN}"}, "v3": {"v3.example"}}


def test_host_rewrites(world):
    w = world

    def request(**kw):
        return {"headers": {"request": kw}}
    w.rules([
        prefix("/a", **request(set={":authority": "a.example"})),
        prefix("/b", **request(set={"Host": "b.example"}), rewrite={"authority": "b2.example"}),
        prefix("/c", **request(set={"host": "c.example"}),
               route=[to("v1", **request(set={"host": "c2.example"}))]),
        prefix("/d", route=[to("v1", **request(set={"host": "d.example"}))])])
    for path, host in (("/a", "a.example"), ("/b", "b2.example"), ("/c", "c.example"),
                       ("/d", "d.example")):
        assert w.get(path).json()["host"] == host


def test_fields_of_1_0(world):
    w = world
    w.rules([
        prefix("/h", appendHeaders={"x-old": "1"}, removeResponseHeaders=["x-app-name"],
               appendRequestHeaders={"x-req": "2"}, removeRequestHeaders=["x-gone"],
               appendResponseHeaders={"x-res": "3"}, websocketUpgrade=True),
        prefix("/d", route=[to("v1", appendRequestHeaders={"x-req": "4"},
                               removeResponseHeaders=["x-app-name"],
                               removeRequestHeaders=["x-gone"],
                               appendResponseHeaders={"x-res": "5"})]),
        prefix("/fault", fault={"abort": {"percent": 100, "httpStatus": 418}}),
        prefix("/cors", corsPolicy={"allowOrigin": ["https://a.example"]})])
    r = w.get("/h", headers={"x-gone": "1"})
    h = r.json()["headers"]
    assert h["x-old"] == "1" and h["x-req"] == "2" and "x-gone" not in h
    assert r.headers["x-res"] == "3" and "x-app-name" not in r.headers
    r = w.get("/d", headers={"x-gone": "1"})
    assert r.json()["headers"]["x-req"] == "4" and "x-gone" not in r.json()["headers"]
    assert r.headers["x-res"] == "5" and "x-app-name" not in r.headers
    assert w.get("/fault").status == 418
    r = w.get("/cors", headers={"origin": "https://a.example"})
    assert r.headers["access-control-allow-origin"] == "https://a.example"


# --- answers of the proxy itself ---

def test_redirects(world):
    w = world

    def rule(path, **redirect):
        return {"match": [{"uri": {"prefix": path}}], "redirect": redirect}
    w.rules([
        rule("/302", uri="/new", redirectCode=302),
        rule("/303", uri="/new", redirectCode=303),
        rule("/307", uri="/new", redirectCode=307),
        rule("/308", uri="/new", redirectCode=308),
        rule("/port", authority="b.example", port=8443, scheme="https"),
        rule("/known", authority="b.example", port=443, scheme="https"),
        rule("/request-port", authority="b.example", derivePort="FROM_REQUEST_PORT"),
        rule("/default-port", authority="b.example", scheme="https",
             derivePort="FROM_PROTOCOL_DEFAULT"),
        rule("/prefix", uri="%PREFIX()%/q"), rule("/scheme", scheme="https")])
    host = f"reviews.default.{DOMAIN}"
    for path, code, where in (
            ("/302", 302, f"http://{host}/new"), ("/303", 303, f"http://{host}/new"),
            ("/307", 307, f"http://{host}/new"), ("/308", 308, f"http://{host}/new"),
            ("/port/x?y=1", 301, "https://b.example:8443/port/x?y=1"),
            ("/known", 301, "https://b.example/known"),
            ("/request-port", 301, "http://b.example:9080/request-port"),
            ("/default-port", 301, "https://b.example/default-port"),
            ("/prefix/rest", 301, f"http://{host}/q/rest"),
            ("/scheme", 301, f"https://{host}/scheme")):
        r = w.get(path)
        assert (r.status, r.headers["location"]) == (code, where)


def test_direct_responses(world):
    w = world
    w.rules([
        {"match": [{"uri": {"prefix": "/text"}}],
         "directResponse": {"status": 503, "body": {"string": "wait"}},
         "headers": {"response": {"set": {"content-type": "text/x-wait"}}}},
        {"match": [{"uri": {"prefix": "/bytes"}}],
         "directResponse": {"status": 200, "body": {"bytes": "AP8="}}},
        {"match": [{"uri": {"prefix": "/long"}}],
         "directResponse": {"status": 200, "body": {"string": "x" * 60000}}},
        {"match": [{"uri": {"prefix": "/none"}}], "directResponse": {"status": 204}}])
    r = w.get("/text")
    assert (r.status, r.text, r.headers["content-type"]) == (503, "wait", "text/x-wait")
    assert w.get("/bytes").body == b"\x00\xff"
    assert len(w.get("/long").body) == 60000
    assert w.get("/none").status == 204


def test_rewrites(world):
    w = world
    w.rules([
        prefix("/pre", rewrite={"uri": "/after"}),
        {"match": [{"uri": {"exact": "/exact"}}], "rewrite": {"uri": "/whole"},
         "route": [to("v1")]},
        prefix("/re", rewrite={"uriRegexRewrite": {
            "match": "^/re/([a-z]+)/([0-9]+)$", "rewrite": "/\\2/\\1"}})])
    assert w.get("/pre/x?y=1").json()["path"] == "/after/x"
    assert w.get("/exact").json()["path"] == "/whole"
    assert w.get("/re/abc/12").json()["path"] == "/12/abc"
    assert w.get("/re/abc").json()["path"] == "/re/abc"


def test_cors(world):
    w = world
    w.rules([
        prefix("/c", corsPolicy={
            "allowOrigins": [{"exact": "https://a.example"}, {"prefix": "https://b."},
                             {"regex": "https://[a-z]+\\.c\\.example"}],
            "allowMethods": ["GET", "PUT"], "allowHeaders": ["x-one", "x-two"],
            "exposeHeaders": ["x-app-version"], "maxAge": "24h", "allowCredentials": True}),
        prefix("/i", corsPolicy={"allowOrigins": [{"exact": "https://a.example"}],
                                 "unmatchedPreflights": "IGNORE"}),
        {"route": [to("v1")]}])

    def preflight(path, origin):
        return w.get(path, method="OPTIONS", headers={
            "origin": origin, "access-control-request-method": "PUT"})
    h = preflight("/c", "https://a.example").headers
    assert h["access-control-allow-methods"] == "GET,PUT"
    assert h["access-control-allow-headers"] == "x-one,x-two"
    assert h["access-control-max-age"] == "86400"
    assert h["access-control-allow-credentials"] == "true"
    assert w.seen(w.reviews["v1"], "/c") == 0  # the proxy answered
    for origin in ("https://a.example", "https://b.any", "https://xyz.c.example"):
        h = w.get("/c", headers={"origin": origin}).headers
        assert h["access-control-allow-origin"] == origin
        assert h["access-control-expose-headers"] == "x-app-version"
    h = w.get("/c", headers={"origin": "https://evil.example"}).headers
    assert "access-control-allow-origin" not in h
    # An origin that is not allowed: to the application, unless the rule says no.
    assert "access-control-allow-methods" not in preflight("/c", "https://evil.example").headers
    assert w.seen(w.reviews["v1"], "/c") == 5
    preflight("/i", "https://evil.example")
    assert w.seen(w.reviews["v1"], "/i") == 0


def test_websocket_through_two_sidecars(world):
    w = world
    w.rules([prefix("/ws", route=[to("v1", 100), to("v2", 0)], timeout="2s",
                    retries={"attempts": 2, "retryOn": "5xx"})])
    ip, port = w.client.outbound.split(":")
    with socket.create_connection((ip, int(port)), timeout=10) as s:
        f = s.makefile("rwb")
        f.write(f"GET /ws HTTP/1.1\r\nHost: reviews.default.{DOMAIN}\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
        f.flush()
        assert b"101" in f.readline()
        while f.readline() != b"\r\n":
            pass
        for text in (b"hi", b"ho"):
            f.write(b"\x81\x82\0\0\0\0" + text)
            f.flush()
            assert f.read(4) == b"\x81\x02" + text
    inbound = w.reviews["v1"].envoy.stats("downstream_cx_upgrades_total")
    assert sum(inbound.values()) > 0  # it passed the second sidecar


# --- connections ---

def test_tcp_rules(world):
    w = world
    addr = w.client.outbound_tcp

    def apply(*tcp):
        w.rules([{"route": [to("v1")]}], vs("db", tcp=list(tcp)))

    def rule(subset, **match):
        return {**({"match": [match]} if match else {}), "route": [to(subset, host="db")]}
    apply(rule("v1", sourceLabels={"app": "other"}), rule("v1", port=1),
          rule("v1", sourceNamespace="carts"), rule("v2", port=9081, sourceLabels={
              "app": "client"}), rule("v1"))
    w.mesh.eventually(lambda: reached(addr) == "v2")
    assert {reached(addr) for _ in range(20)} == {"v2"}
    apply(rule("v2", destinationSubnets=["10.9.0.0/16"]),
          rule("v1", destinationSubnets=[f"{w.client.inner}/32", "10.8.0.0/16"]), rule("v2"))
    w.mesh.eventually(lambda: reached(addr) == "v1")
    # The narrower of two subnets wins, whatever the order; what follows a rule for all is never reached.
    apply(rule("v1", destinationSubnets=["127.0.0.0/8"]),
          rule("v2", destinationSubnets=[f"{w.client.inner}/32"]), rule("v1"),
          rule("v1", sourceLabels={"app": "other"}), rule("v1", sourceLabels={"app": "client"}))
    w.mesh.eventually(lambda: reached(addr) == "v2")
    w.mesh.eventually(lambda: ("VirtualService default/db", "ignored", "spec.tcp[4]") in
                      w.notes_of("client-v1.default"), what="what is never reached is noted")
    assert not [n for n in w.notes_of("client-v1.default") if n[2] == "spec.tcp[3]"]  # for others
    here = w.client.inner
    apply(rule("v2", sourceSubnet=here), rule("v1"))
    w.mesh.eventually(lambda: reached(addr, source=here) == "v2")
    assert reached(addr) == "v1"


def test_tcp_weights(world):
    w = world
    addr = w.client.outbound_tcp
    w.rules([{"route": [to("v1")]}], vs("db", tcp=[{"route": [
        to("v1", 75, host="db"), to("v2", 25, host="db")]}]))
    w.mesh.eventually(lambda: {reached(addr) for _ in range(10)} == {"v1", "v2"})
    n = 400
    found = collections.Counter(reached(addr) for _ in range(n))
    # Five standard deviations are 43.
    assert set(found) == {"v1", "v2"} and abs(found["v2"] - n / 4) < 44, found


def test_tls_rules_by_server_name(world):
    w = world
    addr = f"{w.client.inner}:{TLS_PORT}"

    def rule(subset, *names, **match):
        return {"match": [{"sniHosts": list(names), **match}],
                "route": [to(subset, host="sec.example")]}
    w.rules([{"route": [to("v1")]}], vs("sec.example", hosts=["sec.example", "*.sec.example"], tls=[
        rule("v1", "l.sec.example", sourceLabels={"app": "other"}),
        rule("v2", "L.sec.example", "b.sec.example", port=TLS_PORT),
        rule("v1", "b.sec.example", "a.sec.example"),
        {"match": [{"sniHosts": ["*.w.sec.example"]}], "route": [
            to("v1", 50, host="sec.example"), to("v2", 50, host="sec.example")]}]))
    w.mesh.eventually(lambda: reached(addr, hello("a.sec.example")) == "v1")
    assert reached(addr, hello("l.sec.example")) == "v2"
    assert reached(addr, hello("b.sec.example")) == "v2"  # the first rule that names it
    wild = {reached(addr, hello("x.w.sec.example")) for _ in range(40)}
    assert wild == {"v1", "v2"}
    assert reached(addr, hello("unknown.example")) is None


# --- objects together ---

def test_delegates(world):
    w = world
    cart = vs("cart", [
        {"match": [{"uri": {"prefix": "/cart/add"}, "headers": {"x-k": {"exact": "2"}}}],
         "directResponse": {"status": 418}},
        {"match": [{"uri": {"prefix": "/elsewhere"}}], "directResponse": {"status": 418}},
        {"match": [{"uri": {"exact": "/cart/add"}}], "route": [to(host="carts")]},
        {"route": [to(host="carts")], "headers": {"request": {"set": {"x-leaf": "1"}}},
         "rewrite": {"uri": "/inside"}}], "carts", hosts=[], exportTo=["default"])
    root = [{"name": "cart", "match": [{"uri": {"prefix": "/cart"},
                                       "headers": {"x-k": {"exact": "1"}}}],
             "delegate": {"name": "cart", "namespace": "carts"},
             "headers": {"request": {"set": {"x-root": "1"}}}},
            {"route": [to("v1")]}]
    w.rules(root, cart)
    k = {"x-k": "1"}
    doc = w.get("/cart/add", headers=k).json()
    assert doc["name"] == "carts" and doc["headers"]["x-root"] == "1"
    doc = w.get("/cart/x", headers=k).json()
    assert doc["name"] == "carts" and doc["path"] == "/inside/x"
    assert doc["headers"]["x-leaf"] == "1" and "x-root" not in doc["headers"]
    assert w.get("/cart/add", headers={"x-k": "2"}).json()["name"] == "reviews"
    assert w.get("/elsewhere", headers=k).json()["name"] == "reviews"
    assert {("VirtualService carts/cart", "ignored", "spec.http[0]"),
            ("VirtualService carts/cart", "ignored", "spec.http[1]")} <= w.notes()
    # The delegate changes: the root's routes follow.
    cart["spec"]["http"] = [{"directResponse": {"status": 202}}]
    w.rules(root, cart)
    assert w.get("/cart/add", headers=k).status == 202 and w.get("/").status == 200
    # One that does not exist is waited for: what was in force stays.
    w.mesh.apply("rules", [vs("reviews", [{"delegate": {"name": "none"}}]), cart])
    page = "/debug/status?kind=VirtualService&ns=default&name=reviews"
    w.mesh.eventually(lambda: "no virtual service default/none" in http_request(
        w.mesh.monitor["pilot"], page).text)
    assert w.get("/cart/add", headers=k).status == 202 and w.get("/").status == 200


def test_hosts_of_virtual_services(world):
    w = world
    answer = [{"directResponse": {"status": 202}}]
    w.rules([{"route": [to("v1")]}],
            vs("any", answer, hosts=["*.made-up.example", "exact.example"]),
            vs("elsewhere", answer, "carts", hosts=["private.example"], exportTo=["carts"]),
            vs("shared", answer, "carts", hosts=["shared.example"], exportTo=["default"]),
            vs("younger", answer, "carts", hosts=[f"reviews.default.{DOMAIN}"]))
    for host in ("a.made-up.example", "b.c.made-up.example", "exact.example", "shared.example"):
        assert w.get(host=host).status == 202, host
    assert w.get(host="made-up.example").status != 202
    assert w.get(host="private.example").status != 202
    # Two objects for one host in the mesh: the older one is in force whole, the other is told so.
    assert w.version() == "v1"
    assert ("VirtualService carts/younger", "shadowed", "spec.hosts") in w.notes()


def test_rules_of_one_host_from_several_objects(world):
    w = world
    here = {"app": "client"}
    w.rules([{"route": [to("v1")]}],
            vs("db-http", [{"route": [to(host="db")]}], hosts=["db"]),
            vs("db-tcp", hosts=["db"], tcp=[{"route": [to("v2", host="db")]}]),
            vs("ratings-for-others", [{"match": [{"sourceLabels": {"app": "other"}}],
                                       "directResponse": {"status": 418}}], hosts=["ratings"]),
            vs("ratings-for-us", [{"match": [{"sourceLabels": here}],
                                   "directResponse": {"status": 202}}], hosts=["ratings"]))
    w.mesh.eventually(lambda: reached(w.client.outbound_tcp) == "v2")
    assert w.get(host="ratings").status == 202
    assert not [n for n in w.notes() if n[0] == "VirtualService default/db-tcp"]


def test_gateway_joins_virtual_services(world):
    w = world
    addr = f"{w.gateway.outer}:8080"
    gw = obj("Gateway", "edge", {"selector": {"istio": "ingressgateway"}, "servers": [
        {"port": {"number": 8080, "name": "http", "protocol": "HTTP"}, "bind": w.gateway.outer,
         "hosts": ["*.shop.example"]}]})

    def bound(name, *http, host="a.shop.example"):
        return vs(name, list(http), hosts=[host], gateways=["edge"])
    w.rules([{"route": [to("v1")]}], gw,
            bound("a", prefix("/a", "v2"), {"route": [to("v1")]}),
            bound("b", prefix("/b", "v3"), {"route": [to("v3")]}),
            bound("c", {"match": [{"gateways": ["elsewhere"]}], "route": [to("v3")]}),
            bound("wild", {"route": [to("v2")]}, host="*.shop.example"))

    def version(path, host="a.shop.example"):
        return http_request(addr, path, headers={"host": host}).headers.get("x-app-version")
    w.mesh.eventually(lambda: version("/b") == "v3", what="the younger object's rule is in force")
    assert version("/a") == "v2" and version("/") == "v1"
    assert version("/", "other.shop.example") == "v2"


def test_gateway_tcp_and_tls(world):
    w = world
    ip = w.gateway.outer

    def server(port, protocol, hosts, **tls):
        return {"port": {"number": port, "name": protocol.lower(), "protocol": protocol},
                "bind": ip, "hosts": hosts, **({"tls": tls} if tls else {})}
    def db(version):
        return {"destination": {"host": "db", "subset": version, "port": {"number": 9081}}}
    gw = obj("Gateway", "raw", {"selector": {"istio": "ingressgateway"}, "servers": [
        server(9000, "TCP", ["*"]),
        server(9444, "TLS", ["*.sec.example"], mode="PASSTHROUGH")]})
    rules = vs("raw", hosts=["db.example"], gateways=["raw"], tcp=[
        {"match": [{"port": 9000, "sourceSubnet": f"{w.client.inner}/32"}],
         "route": [db("v2")]},
        {"match": [{"port": 9000, "gateways": ["raw"]}], "route": [db("v1")]}])
    sni = vs("sni", hosts=["*.sec.example"], gateways=["raw"], tls=[
        {"match": [{"sniHosts": ["a.sec.example"]}], "route": [to("v1", host="sec.example")]},
        {"match": [{"sniHosts": ["*.sec.example"], "port": 9444}],
         "route": [to("v2", host="sec.example")]}])
    w.rules([{"route": [to("v1")]}], gw, rules, sni)
    w.mesh.eventually(lambda: reached(f"{ip}:9000") == "v1")
    assert reached(f"{ip}:9000", source=w.client.inner) == "v2"
    w.mesh.eventually(lambda: reached(f"{ip}:9444", hello("a.sec.example")) == "v1")
    assert reached(f"{ip}:9444", hello("b.sec.example")) == "v2"
    assert reached(f"{ip}:9444", hello("b.other.example")) is None


def test_what_has_no_effect_is_said_on_its_object(world):
    """A destination rule for nobody, settings that one filter cannot have twice, an endpoint without an
    address; and no longer when it is put right."""
    w = world

    def objects(host, seconds, **entry):
        return [
            obj("DestinationRule", "stray", {"host": host}),
            obj("DestinationRule", "pool", {"host": "sec.example", "trafficPolicy": {
                "connectionPool": {"tcp": {"maxConnectionDuration": seconds}}}}),
            obj("DestinationRule", "pool2", {"host": "db", "trafficPolicy": {
                "connectionPool": {"tcp": {"maxConnectionDuration": "60s"}}}}),
            obj("ServiceEntry", "roam", {
                "hosts": ["roam.example"], "location": "MESH_INTERNAL", "resolution": "STATIC",
                "ports": [{"number": 9080, "name": "http", "protocol": "HTTP"}],
                "workloadSelector": {"labels": {"app": "roam"}}}),
            obj("WorkloadEntry", "far", {"labels": {"app": "roam"}, **entry}),
            vs("split", hosts=["db"], tcp=[{"route": [
                {"destination": {"host": "db", "port": {"number": 9081}}, "weight": 50},
                {"destination": {"host": "sec.example", "port": {"number": TLS_PORT}},
                 "weight": 50}]}])]

    def said():
        page = http_request(w.mesh.monitor["pilot"], "/debug/status").json()["objects"]
        return {(o["kind"], o["name"]): [n["path"] for n in o["notes"]] for o in page
                if o["name"] in ("stray", "split", "far")}

    w.rules([{"route": [to("v1")]}], *objects("nobody", "50s", network="elsewhere"))
    w.mesh.eventually(lambda: said() == {
        ("DestinationRule", "stray"): ["spec.host"], ("VirtualService", "split"): ["spec.tcp[0]"],
        ("WorkloadEntry", "far"): ["spec.address"]}, what="each has its note")
    w.rules([{"route": [to("v1")]}], *objects("ratings", "60s", address="127.0.0.1"))
    w.mesh.eventually(lambda: said() == {
        ("DestinationRule", "stray"): [], ("VirtualService", "split"): [],
        ("WorkloadEntry", "far"): []}, what="nothing is to be said")
