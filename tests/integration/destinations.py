"""The mesh of the tests of destination rules: a client, and backends of the test's own that say by which
connection a request came."""
import json
import threading
import time
import urllib.parse

from mesh import DOMAIN, SERVICE_PORT, TCP_PORT, Mesh
from routes import obj
from servers import Http, Server
from world import BaseWorld

OTHER_PORT = 9083


def host_of(name):
    return f"{name}.default.{DOMAIN}"


def cluster_of(name, port=SERVICE_PORT):
    return f"outbound|{port}||{host_of(name)}"


def rule(name, **policy):
    return obj("DestinationRule", name, {"host": name, "trafficPolicy": policy})


def pool(http=None, **tcp):
    return {"connectionPool": {**({"tcp": tcp} if tcp else {}), **({"http": http} if http else {})}}


class Backend(Server):
    """Answers by which connection a request came; `status` is what it answers; ?delay=SECONDS."""

    def __init__(self, ip, name):
        self.name, self.status, self.seen, self.connections = name, 200, 0, set()
        outer, lock = self, threading.Lock()

        class Handler(Http):
            def setup(self):
                super().setup()
                outer.connections.add(self.client_address[1])

            def finish(self):
                outer.connections.discard(self.client_address[1])
                super().finish()

            def do_GET(self):  # pylint: disable=invalid-name
                q = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
                with lock:
                    outer.seen += 1
                time.sleep(float(q.get("delay", 0)))
                self.answer(json.dumps({"name": name, "connection": self.client_address[1]}).encode(),
                            int(q.get("status", outer.status)))
        super().__init__((ip, 0), Handler)


class World(BaseWorld):
    """client -> web (a, b, c, d: of the test itself), shop (behind a sidecar), and whatever a test has."""

    def __init__(self, net, tmp, apps, protocol):
        m = self.mesh = Mesh(net, tmp, apps, protocol=protocol)
        self.net = net
        m.tcp_targets["client-v1"] = {"db"}
        self.client = m.workload("client")
        self.client.more_egress.append({
            "port": {"number": OTHER_PORT, "protocol": "HTTP", "name": "other"},
            "bind": self.client.inner, "captureMode": "NONE", "hosts": ["./*"]})
        self.shop = m.workload("shop")
        self.web = {n: Backend(net.ip(), n) for n in "abcd"}
        m.apply("rules", [self.service("web", *self.web.values()),
                          self.service("db", protocol="TCP")])
        m.start()

    def service(self, name, *backends, protocol="HTTP", ports=None):
        """A service whose endpoints are backends or (address, port)."""
        at = [(b.ip, b.port) if isinstance(b, Backend) else b for b in backends]
        ports = ports or [TCP_PORT if protocol == "TCP" else SERVICE_PORT]
        return obj("ServiceEntry", name, {
            "hosts": [host_of(name)], "location": "MESH_INTERNAL", "resolution": "STATIC",
            "ports": [{"number": p, "name": f"p{p}", "protocol": protocol} for p in ports],
            "endpoints": [{"address": ip, "ports": {f"p{p}": port for p in ports}}
                          for ip, port in at]})

    def rules(self, *objects, web="abcd", db=()):
        super().rules(self.service("web", *(self.web[n] for n in web)),
                      self.service("db", *db, protocol="TCP"), *objects)

    def get(self, name="web", path="/", **kw):
        return self.client.get(host_of(name), path, **kw)

    def connections(self, n, name="web", **kw):
        """The connections by which n requests came, one after the other."""
        replies = [self.get(name, **kw) for _ in range(n)]
        assert all(r.status == 200 for r in replies), replies
        return [r.json()["connection"] for r in replies]

    def who(self, n=1, **kw):
        return [self.get(**kw).json()["name"] for _ in range(n)]

    def stat(self, name, service="web", port=SERVICE_PORT):
        return self.client.envoy.stats(f"{service}.*{name}").get(
            f"cluster.{cluster_of(service, port)}.{name}", 0)

    def policy(self, name="web", port=SERVICE_PORT):
        """The cluster as Envoy has it, as text."""
        return json.dumps(self.client.envoy.resources("cluster").get(cluster_of(name, port), ""))

    def in_force(self, text, name="web"):
        self.mesh.eventually(lambda: text in self.policy(name), what=f"{text} of {name}")

    def ejected(self):
        """The backends of web that outlier detection put aside."""
        by_port = {b.port: n for n, b in self.web.items()}
        doc = self.client.envoy.get("/clusters?format=json").json()
        hosts = next(c.get("host_statuses", []) for c in doc["cluster_statuses"]
                     if c["name"] == cluster_of("web"))
        return {by_port.get(h["address"]["socket_address"]["port_value"], "nobody") for h in hosts
                if h["health_status"].get("failed_outlier_check")}

    def at_once(self, n, name="web", path="/"):
        """The replies to n requests that are sent together."""
        replies = []
        threads = [threading.Thread(target=lambda: replies.append(self.get(name, path)))
                   for _ in range(n)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert len(replies) == n
        return replies

    def after(self):
        for b in self.web.values():
            b.status = 200

    def stop(self):
        super().stop()
        for b in self.web.values():
            b.close()


def once(test):
    """For a test that takes its time: in one variant, how a cluster came makes no difference to it."""
    test.once = True
    return test


def variants(metafunc):
    """For pytest_generate_tests."""
    metafunc.parametrize("world", ["delta"] if hasattr(metafunc.function, "once") else
                         ["delta", "sotw"], indirect=True, scope="module")
