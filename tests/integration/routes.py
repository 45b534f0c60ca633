"""The mesh of the tests of virtual services, and short hands for writing rules."""
import collections
import json
import socket
import ssl
import threading
import time
import urllib.parse

from mesh import DOMAIN, Mesh, Workload
from util import http_request, wait_for
from servers import Http, Server
from world import BaseWorld

API = "networking.istio.io/v1"
TLS_PORT = 9443


def obj(kind, name, spec, namespace="default"):
    return {"apiVersion": API, "kind": kind,
            "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def vs(name, http=None, namespace="default", hosts=None, **spec):
    return obj("VirtualService", name, {
        **({"hosts": [name]} if hosts is None else {"hosts": hosts} if hosts else {}),
        **({"http": http} if http else {}), **spec}, namespace)


def to(subset=None, weight=None, host="reviews", **more):
    d = {"destination": {"host": host, **({"subset": subset} if subset else {})}, **more}
    return {**d, **({"weight": weight} if weight is not None else {})}


def prefix(p, subset="v1", **rule):
    return {"match": [{"uri": {"prefix": p}}], "route": [to(subset)], **rule}


def subsets(host):
    return obj("DestinationRule", host, {"host": host, "subsets": [
        {"name": v, "labels": {"version": v}} for v in ("v1", "v2", "v3")]})


class Client(Workload):
    """A client in a place, that also has a listener for TLS, by server name."""

    @property
    def node(self):
        return {**super().node, "locality": {"region": "near", "zone": "near"}}

    def sidecar_yaml(self):
        doc = super().sidecar_yaml()
        doc["spec"]["egress"].append({
            "port": {"number": TLS_PORT, "protocol": "TLS", "name": "tls"}, "bind": self.inner,
            "captureMode": "NONE", "hosts": ["./sec.example"]})
        return doc


class Flaky(Server):
    """A backend whose answers fail as asked: ?fail=N&id=X, with gRPC's status or always."""

    def __init__(self, ip, name, always=False):
        self.seen, self.times, self.addr = collections.Counter(), [], f"{ip}:8000"
        outer, lock = self, threading.Lock()

        class Handler(Http):
            def do_GET(self):  # noqa: N802
                url = urllib.parse.urlsplit(self.path)
                q = dict(urllib.parse.parse_qsl(url.query))
                with lock:
                    outer.seen[q.get("id", "")] += 1
                    outer.times.append(time.monotonic())
                    fails = always or outer.seen[q.get("id", "")] <= int(q.get("fail", 0))
                if "grpc" in q:
                    self.answer(x_app_name=name, content_type="application/grpc",
                                grpc_status="14" if fails else "0")
                else:
                    self.answer(status=503 if fails else 200, x_app_name=name)
        super().__init__((ip, 8000), Handler)


class World(BaseWorld):
    """client -> reviews (v1 behind a sidecar, v2, v3), ratings, carts (another namespace),
    db (TCP, v1, v2), sec.example (TLS, served by db), flaky; and a gateway."""

    def __init__(self, net, tmp, apps, protocol):
        m = self.mesh = Mesh(net, tmp, apps, protocol=protocol)
        m.tcp_targets["client-v1"] = {"db"}
        self.marks = 0
        self.client = Client(m, "client", egress_hosts=["./*", "carts/*"])
        m.workloads.append(self.client)
        self.reviews = {v: m.workload("reviews", version=v, sidecar=v == "v1")
                        for v in ("v1", "v2", "v3")}
        self.ratings = m.workload("ratings", sidecar=False)
        self.carts = m.workload("carts", namespace="carts", sidecar=False)
        self.db = {v: m.workload("db", version=v, tcp=True, sidecar=False) for v in ("v1", "v2")}
        self.gateway = m.gateway()
        self.good, self.bad = Flaky(net.ip(), "good"), Flaky(net.ip(), "bad", always=True)
        m.apply("base", [subsets("reviews"), subsets("db"), subsets("sec.example"), self.sec(),
                         self.flaky("flaky", self.good), self.flaky("both", self.good, self.bad),
                         self.flaky("away", self.bad, self.good, places=("near", "away"))])
        m.apply("rules", [vs("reviews", [{"route": [to("v1")]}])])
        m.start()

    def sec(self):
        return obj("ServiceEntry", "sec", {
            "hosts": ["sec.example"], "location": "MESH_INTERNAL", "resolution": "STATIC",
            "ports": [{"number": TLS_PORT, "name": "tls", "protocol": "TLS"}],
            "endpoints": [{"address": w.inner, "ports": {"tls": 8001}, "labels": {"version": v}}
                          for v, w in self.db.items()]})

    def flaky(self, name, *servers, places=("", "")):
        return obj("ServiceEntry", name, {
            "hosts": [f"{name}.default.{DOMAIN}"], "location": "MESH_INTERNAL",
            "resolution": "STATIC",
            "ports": [{"number": 9080, "name": "http", "protocol": "HTTP"}],
            "endpoints": [{"address": s.addr.split(":")[0], "ports": {"http": 8000},
                           **({"locality": f"{place}/{place}"} if place else {})}
                          for s, place in zip(servers, places)]})

    def rules(self, http, *more, host="reviews", **spec):
        """Applies a virtual service of a host (and other objects); returns once it is in force:
        its first rule answers a mark that no other has."""
        self.marks += 1
        mark = f"m{self.marks}"
        answer = {"match": [{"headers": {"x-mark": {"exact": mark}}}],
                  "directResponse": {"status": 200, "body": {"string": mark}}}
        self.mesh.apply("rules", [vs(host, [answer, *http], **spec), *more])
        self.mesh.eventually(
            lambda: self.client.get(host, headers={"x-mark": mark}).text == mark,
            timeout=20, what="the rules are in force")
        for w in self.mesh.workloads:
            w.reset()

    def get(self, path="/", host="reviews", **kw):
        return self.client.get(host, path, **kw)

    def version(self, path="/", **kw):
        return self.get(path, **kw).headers.get("x-app-version")

    def seen(self, w, path=None):
        s = w.stats()
        return s["total"] if path is None else s["by_path"].get(path, 0)

    def many(self, path, count, rate=2000):
        """{status: n} of many requests to reviews."""
        p = self.mesh.apps.start(
            "load", "--url", f"http://{self.client.outbound}{path}", "--host-header",
            f"reviews.default.{DOMAIN}", "--rate", str(rate), "--count", str(count),
            "--backlog", str(count), label=f"load-{self.marks}-{path.strip('/')}")
        p.expected_exit = True
        wait_for(lambda: not p.running, 60, what="all requests are answered")
        text = p.log()
        result = json.loads(text[text.index("\n{"):])
        assert result["errors"] == {}, result
        return collections.Counter({int(k): v for k, v in result["status"].items()})

    def notes(self):
        r = http_request(self.mesh.monitor["pilot"], "/debug/push_status").json()
        return {(n["object"], n["kind"], n["path"]) for n in r["notes"]}

    def notes_of(self, proxy):
        """What translation for one proxy has to say."""
        r = http_request(self.mesh.monitor["pilot"], f"/debug/notes?proxyID={proxy}").json()
        return {(n["object"], n["kind"], n["path"]) for n in r["notes"]}

    def stop(self):
        super().stop()
        self.good.close()
        self.bad.close()


def hello(name):
    """A ClientHello."""
    out = ssl.MemoryBIO()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(
        ssl.MemoryBIO(), out, server_hostname=name)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def reached(addr, first=b"", source=None):
    """The version of db that a connection reaches, by its greeting; None when it is refused."""
    ip, port = addr.rsplit(":", 1)
    with socket.create_connection((ip, int(port)), timeout=10,
                                  source_address=(source, 0) if source else None) as s:
        s.sendall(first)
        line = b""
        try:
            while not line.endswith(b"\n"):
                more = s.recv(1)
                if not more:
                    return None
                line += more
        except ConnectionResetError:
            return None
    return line.decode().split()[1]
