"""Configuration at random: objects that an operator could have written, in changes one file at a time.

    g = Generator(seed)
    for change in g.changes(60):
        write(change.file, change.objects)      # objects None: the file goes
    for change in g.settle(): ...               # nothing refers to what is not there

Everything comes from the seed: the same seed gives the same changes. Few hosts, ports, subsets and
labels, so that objects meet: rules for one host in several objects and namespaces, subsets without
endpoints, services of one name, ports of two protocols. What is generated is valid, and each version
of an object has its own label `rev`, by which it can be told whether it has arrived.

A further kind is a method that returns a spec, and a row in KINDS.
"""
import dataclasses
import random

DOMAIN = "svc.cluster.local"
NETWORKING = "networking.istio.io/v1alpha3"
NAMESPACES = ("default", "other", "istio-system")
VERSIONS = ("v1", "v2", "v3")
APPS = ("a", "b", "c", "d", "web")
HOSTS = [f"{app}.{ns}.{DOMAIN}" for ns in ("default", "other") for app in APPS]
OUTSIDE = ["api.example.com", "www.example.com", "*.wild.example.com"]
GATEWAYS = ["edge", "inner"]
CREDENTIALS = ["c1", "c2", "c3"]
CERTIFICATES = 3  # that a credential may be, by number
PORTS = {80: ("http", "HTTP"), 8080: ("http-alt", "HTTP"), 9082: ("grpc", "GRPC"),
         9443: ("tls", "TLS"), 9090: ("tcp", "TCP"), 5000: ("tcp-alt", "TCP"),
         27017: ("mongo", "MONGO"), 7000: ("any", None)}
METHODS = ("GET", "POST", "DELETE")
DELEGATES = ["d0", "d1", "d2"]
API = {"PeerAuthentication": "security.istio.io/v1beta1", "Policy": "authentication.istio.io/v1alpha1",
       "Telemetry": "telemetry.istio.io/v1alpha1", "MeshConfig": "mesh.istio.io/v1alpha1"}
HCM = "envoy.filters.network.http_connection_manager"


@dataclasses.dataclass
class Change:
    file: str  # "": of a credential
    objects: list | None  # what the file holds now
    what: str
    credential: tuple | None = None  # (name, number of its certificate, or None: it goes)


def port(number):
    name, protocol = PORTS[number]
    return {"number": number, "name": name, **({"protocol": protocol} if protocol else {})}


class Generator:
    FILES = 14

    def __init__(self, seed, addresses=()):
        """addresses: of the proxies under test, so that some endpoints are theirs."""
        self.rng = random.Random(seed)
        self.addresses = list(addresses)
        self.files = {f"gen-{i}": {} for i in range(self.FILES)}
        self.credentials = {}  # name -> number of its certificate
        self.revision = 0

    # --- small choices ---
    def chance(self, p):
        return self.rng.random() < p

    def one(self, values):
        return self.rng.choice(list(values))

    def some(self, values, least=1, most=3):
        values = list(values)
        n = min(len(values), self.rng.randint(least, most))
        return self.rng.sample(values, n)

    def maybe(self, p, **fields):
        """The fields that are callables are called, all with probability p or none."""
        if not self.chance(p):
            return {}
        return {k: v() if callable(v) else v for k, v in fields.items()}

    def export_to(self, ns):
        return self.maybe(0.25, exportTo=lambda: self.one([["*"], ["."], [ns], ["default", "other"]]))

    def seconds(self):
        return self.one(["0.1s", "0.25s", "1s", "2.5s", "30s"])

    def text_match(self):
        return self.one([{"exact": "/a"}, {"prefix": "/b"}, {"prefix": "/"}, {"exact": "/a/b"},
                         {"regex": "/[a-z]+/[0-9]+"}])

    def value_match(self):
        return self.one([{"exact": "gold"}, {"prefix": "sil"}, {"regex": "[0-9]{1,3}"}])

    # --- services ---
    def ports(self, numbers=PORTS):
        return [port(n) for n in sorted(self.some(numbers, 1, 4))]

    def endpoint(self, app, ports):
        # Few addresses: endpoints of several services share some.
        ip = f"10.7.{APPS.index(app)}.{self.rng.randint(1, 12)}"
        if self.addresses and self.chance(0.2):
            ip = self.one(self.addresses)
        elif self.chance(0.1):
            ip = f"2001:db8:7::{APPS.index(app)}:{self.rng.randint(1, 4)}"
        e = {"address": ip, "labels": {"app": app, "version": self.one(VERSIONS)}}
        if self.chance(0.4):
            e["ports"] = {p["name"]: p["number"] + 1000 for p in self.some(ports, 1, 2)}
        e |= self.maybe(0.3, locality=lambda: self.one(
            ["r1/z1/s1", "r1/z1/s2", "r1/z2", "r2/z1", "r2"]))
        e |= self.maybe(0.2, weight=lambda: self.rng.randint(1, 5))
        e |= self.maybe(0.5, serviceAccount=lambda: self.one(["sa-1", "sa-2"]))
        return e

    def service_entry(self, ns):
        inside = self.chance(0.8)
        host = self.one([h for h in HOSTS if f".{ns}." in h] or HOSTS) if inside else \
            self.one(OUTSIDE)
        app = host.split(".")[0] if inside else "d"
        ports = self.ports()
        spec = {"hosts": [host], "ports": ports,
                "location": "MESH_INTERNAL" if inside else "MESH_EXTERNAL", **self.export_to(ns)}
        if host.startswith("*"):
            # A wildcard has no address of its own to resolve.
            spec["resolution"] = "NONE"
        elif inside and self.chance(0.25):  # its endpoints are WorkloadEntry objects
            spec["resolution"] = "STATIC"
            spec["workloadSelector"] = {"labels": {"app": app}}
        elif inside or self.chance(0.5):
            spec["resolution"] = "STATIC"
            seen = {}
            for _ in range(self.rng.randint(0, 5)):
                e = self.endpoint(app, ports)
                seen[e["address"]] = e
            if not seen:
                seen[""] = self.endpoint(app, ports)
            spec["endpoints"] = list(seen.values())
        else:
            spec["resolution"] = "DNS"
        blocks = [f"10.9.{self.rng.randint(1, 3)}.0/24"] if spec["resolution"] != "DNS" else []
        spec |= self.maybe(0.4, addresses=lambda: self.some(
            [f"10.9.0.{self.rng.randint(1, 20)}", f"2001:db8:9::{self.rng.randint(1, 9)}", *blocks],
            1, 2))
        return spec

    def workload_group(self, _ns):
        return {"metadata": {"labels": {"app": self.one(APPS), "version": self.one(VERSIONS)}},
                "template": {"serviceAccount": self.one(["sa-1", "sa-2"]),
                             **self.maybe(0.5, ports=lambda: {"http": 9080})},
                **self.maybe(0.5, probe=lambda: {"periodSeconds": 5, "httpGet": {
                    "path": "/healthz", "port": 8000}})}

    def workload_entry(self, _ns):
        e = self.endpoint(self.one(APPS), [port(80), port(9090)])
        return e if self.chance(0.8) else {k: v for k, v in e.items() if k != "ports"}

    # --- rules ---
    def subset(self):
        return self.maybe(0.6, subset=lambda: self.one(VERSIONS))

    def destination(self, host=None):
        host = host or self.one(HOSTS)
        return {"host": host, **self.subset(), **self.maybe(
            0.3, port=lambda: {"number": self.one([80, 8080])})}

    def weighted(self, host):
        n = self.one([1, 1, 1, 2, 2, 3])
        if n == 1:
            return [{"destination": self.destination(host)}]
        cuts = sorted(self.some(range(1, 100), n - 1, n - 1))
        return [{"destination": self.destination(host if self.chance(0.8) else None), "weight": w}
                for w in [b - a for a, b in zip([0, *cuts], [*cuts, 100])]]

    def http_match(self, ns):
        m = {}
        while not m:
            m |= self.maybe(0.5, uri=self.text_match)
            m |= self.maybe(0.3, headers=lambda: {
                self.one(["x-tier", "x-user", "cookie"]): self.value_match()})
            m |= self.maybe(0.2, method=lambda: {"exact": self.one(METHODS)})
            m |= self.maybe(0.1, authority=lambda: {"prefix": "a."})
            m |= self.maybe(0.1, queryParams=lambda: {"debug": {"exact": "1"}})
            m |= self.maybe(0.1, withoutHeaders=lambda: {"x-skip": {"exact": "1"}})
            m |= self.maybe(0.1, sourceLabels=lambda: {"version": self.one(VERSIONS)})
            m |= self.maybe(0.1, port=lambda: self.one([80, 8080]))
            m |= self.maybe(0.1, ignoreUriCase=True, uri={"prefix": "/Case"})
        return m

    def http_route(self, ns, host):
        r = {}
        if self.chance(0.1):
            r["redirect"] = self.one([{"uri": "/moved"}, {"authority": "www.example.com"},
                                      {"uri": "/x", "redirectCode": 302}])
        else:
            r["route"] = self.weighted(host)
            r |= self.maybe(0.3, timeout=self.seconds)
            r |= self.maybe(0.3, retries=lambda: {
                "attempts": self.rng.randint(0, 4), **self.maybe(0.5, perTryTimeout=self.seconds),
                **self.maybe(0.5, retryOn=lambda: self.one(["5xx", "connect-failure,503",
                                                            "unavailable,cancelled"]))})
            r |= self.maybe(0.15, rewrite=lambda: self.one(
                [{"uri": "/re"}, {"authority": "re.example.com"}]))
            r |= self.maybe(0.15, mirror=self.destination)
            r |= self.maybe(0.15, corsPolicy=lambda: {
                "allowOrigins": [{"exact": "https://example.com"}], "allowMethods": ["GET"],
                "maxAge": "24h"})
            r |= self.maybe(0.2, headers=lambda: {"request": {"set": {"x-set": "1"},
                                                              "remove": ["x-gone"]}})
        r |= self.maybe(0.2, fault=lambda: self.one([
            {"abort": {"httpStatus": 503, "percentage": {"value": 0.5}}},
            {"delay": {"fixedDelay": "0.1s", "percentage": {"value": 10}}}]))
        r |= self.maybe(0.1, name=lambda: self.one(["first", "second"]))
        return r

    def delegate(self, ns):
        """A virtual service without hosts; its name is one of a few, which roots name."""
        host = self.one([h for h in HOSTS if f".{ns}." in h] or HOSTS)
        return {"http": [{"match": [{"uri": {"prefix": "/d" + self.one("123")}}],
                          **self.http_route(ns, host)} for _ in range(self.rng.randint(0, 1))]
                + [self.http_route(ns, host)], **self.export_to(ns)}

    def virtual_service(self, ns):
        hosts = self.some(HOSTS, 1, 2)
        if self.chance(0.15):
            hosts = [self.one(OUTSIDE)]
        spec = {"hosts": hosts, **self.export_to(ns)}
        target = hosts[0] if not hosts[0].startswith("*") else self.one(HOSTS)
        spec |= self.maybe(0.3, gateways=lambda: self.one([
            ["mesh"], ["mesh", "istio-system/edge"], ["istio-system/edge"],
            ["istio-system/edge", "istio-system/inner"]]))
        spec["http"] = [{"match": [self.http_match(ns) for _ in range(self.rng.randint(1, 2))],
                         **self.http_route(ns, target)} for _ in range(self.rng.randint(0, 3))]
        if self.chance(0.15):
            spec["http"].append({"match": [{"uri": {"prefix": "/d"}}], "delegate": {
                "name": self.one(DELEGATES), "namespace": self.one(("default", "other"))}})
        spec["http"].append(self.http_route(ns, target))
        if self.chance(0.2):
            spec["tcp"] = [{"route": [{"destination": {"host": target, **self.subset(), "port": {
                "number": self.one([9090, 5000])}}}], **self.maybe(0.5, match=lambda: [
                    {"port": self.one([9090, 5000])}])}]
        if self.chance(0.1) and not target.startswith("*"):
            spec["tls"] = [{"match": [{"port": 9443, "sniHosts": hosts[:1]}], "route": [
                {"destination": {"host": target, "port": {"number": 9443}}}]}]
        return spec

    def policy(self):
        p = {}
        p |= self.maybe(0.4, loadBalancer=lambda: self.one([
            {"simple": "ROUND_ROBIN"}, {"simple": "RANDOM"}, {"simple": "LEAST_REQUEST"},
            {"consistentHash": {"httpHeaderName": "x-user"}},
            {"consistentHash": {"useSourceIp": True}},
            {"consistentHash": {"httpCookie": {"name": "c", "ttl": "60s"}}}]))
        p |= self.maybe(0.3, connectionPool=lambda: self.one([
            {"tcp": {"maxConnections": 100, "connectTimeout": "2s"}},
            {"http": {"http1MaxPendingRequests": 10, "maxRequestsPerConnection": 1}},
            {"http": {"http2MaxRequests": 77, "maxRetries": 2}}]))
        p |= self.maybe(0.3, outlierDetection=lambda: {
            "consecutive5xxErrors": self.rng.randint(1, 9), "interval": "5s",
            "baseEjectionTime": "30s", **self.maybe(0.5, maxEjectionPercent=50)})
        if "outlierDetection" in p and self.chance(0.5):
            p["loadBalancer"] = {"simple": "ROUND_ROBIN", "localityLbSetting": self.one([
                {"distribute": [{"from": "r1/*", "to": {"r1/*": 70, "r2/*": 30}}]},
                {"failover": [{"from": "r1", "to": "r2"}]}, {"enabled": False}])}
        p |= self.maybe(0.2, tls=lambda: self.one([
            {"mode": "DISABLE"}, {"mode": "SIMPLE", "sni": "sni.example.com"},
            self.client_tls()]))
        return p

    def client_tls(self):
        return {"mode": self.one(["SIMPLE", "MUTUAL"]), "sni": "sni.example.com",
                "credentialName": self.one(CREDENTIALS)}

    def destination_rule(self, ns):
        host = self.one(HOSTS + HOSTS + OUTSIDE + [f"*.default.{DOMAIN}"])
        spec = {"host": host, **self.export_to(ns)}
        spec |= self.maybe(0.6, trafficPolicy=lambda: {
            **self.policy(), **self.maybe(0.2, portLevelSettings=lambda: [
                {"port": {"number": 80}, **self.policy()}])})
        spec |= self.maybe(0.8, subsets=lambda: [
            {"name": v, "labels": {"version": v}, **self.maybe(0.3, trafficPolicy=self.policy)}
            for v in sorted(self.some(VERSIONS, 1, 3))])
        if credentials_of(spec):  # for the gateways, which have an agent, too: else it waits for ever
            spec.pop("exportTo", None)
        return spec

    def gateway(self, _ns):
        ports = self.some([7080, 7081, 7082, 7443, 7444, 7445], 1, 3)
        return {"selector": {"istio": "ingressgateway"}, "servers": [
            self.server(p) for p in ports]}

    def server(self, number):
        protocol = {7443: "TLS", 7444: "HTTPS", 7445: "HTTPS", 7446: "HTTPS"}.get(number) or self.one(
            ["HTTP", "HTTP", "GRPC", "HTTP2"])
        server = {"port": {"number": number, "name": f"p{number}", "protocol": protocol},
                  "hosts": self.some(["*", *HOSTS[:4], *OUTSIDE, "default/*"], 1, 2)}
        if protocol == "TLS":
            server["tls"] = {"mode": "PASSTHROUGH"}
        elif protocol == "HTTPS":
            server["tls"] = {"mode": self.one(["SIMPLE", "SIMPLE", "MUTUAL"]),
                             "credentialName": self.one(CREDENTIALS)}
        return server

    def sidecar(self, ns):
        spec = self.maybe(0.5, workloadSelector=lambda: {"labels": {"app": self.one(APPS)}})
        spec["egress"] = [{"hosts": self.some(
            ["*/*", "./*", "~/*", "default/*", "other/*", f"default/a.default.{DOMAIN}",
             "*/*.example.com"], 1, 3)}]
        if self.chance(0.3):
            spec["egress"].insert(0, {"port": port(self.one([80, 9090])),
                                      "hosts": [self.one(["./*", "*/*"])]})
        if self.chance(0.2):  # a listener of its own, which does not capture
            spec["egress"].insert(0, {"port": port(self.one([8080, 9082])), "captureMode": "NONE",
                                      "bind": "127.0.0.1", "hosts": self.some(["./*", "*/*"], 1, 1)})
        spec |= self.maybe(0.2, inboundConnectionPool=lambda: {"http": {"http2MaxRequests": 44}})
        spec |= self.maybe(0.3, outboundTrafficPolicy=lambda: {
            "mode": self.one(["ALLOW_ANY", "REGISTRY_ONLY"])})
        spec |= self.maybe(0.2, ingress=lambda: [
            {"port": {"number": 8080, "name": "http-alt", "protocol": "HTTP"},
             "defaultEndpoint": "127.0.0.1:8080"}])
        return spec

    def envoy_filter(self, ns):
        context = self.one(["SIDECAR_OUTBOUND", "SIDECAR_INBOUND", "GATEWAY", "ANY"])
        lua = {"name": f"lua-{self.one('xy')}", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string":
                                    "function envoy_on_response(h) h:headers():add('x-lua', '1') end"}}}
        patches = [
            lambda: {"applyTo": "CLUSTER", "match": {"context": context, **self.maybe(
                0.5, cluster=lambda: {"service": self.one(HOSTS)})}, "patch": {
                    "operation": "MERGE",
                    "value": {"connect_timeout": self.one(["3s", "4s"])}}},
            lambda: {"applyTo": "LISTENER", "match": {"context": context}, "patch": {
                "operation": "MERGE", "value": {"per_connection_buffer_limit_bytes": 65536}}},
            lambda: {"applyTo": "HTTP_FILTER", "match": {"context": context, "listener": {
                "filterChain": {"filter": {"name": HCM, "subFilter": {
                    "name": "envoy.filters.http.router"}}}}},
                     "patch": {"operation": "INSERT_BEFORE", "value": lua}},
            lambda: {"applyTo": "NETWORK_FILTER", "match": {"context": context, "listener": {
                "filterChain": {"filter": {"name": HCM}}}}, "patch": {
                    "operation": "MERGE", "value": {"typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.network."
                                 "http_connection_manager.v3.HttpConnectionManager",
                        "max_request_headers_kb": self.one([80, 90])}}}},
            lambda: {"applyTo": "VIRTUAL_HOST", "match": {"context": context}, "patch": {
                "operation": "MERGE", "value": {"include_request_attempt_count": True}}},
            lambda: {"applyTo": "HTTP_ROUTE", "match": {"context": context}, "patch": {
                "operation": "MERGE", "value": {"metadata": {"filter_metadata": {
                    "x": {"y": self.one(["1", "2"])}}}}}}]
        return {"configPatches": [p() for p in self.some(patches, 1, 2)], **self.maybe(
            0.4, workloadSelector=lambda: {"labels": {"app": self.one(APPS)}})}

    def telemetry(self, ns):
        spec = {}
        while not spec:
            spec |= self.maybe(0.5, tracing=lambda: [
                {"randomSamplingPercentage": self.rng.randint(0, 100)}])
            spec |= self.maybe(0.5, accessLogging=lambda: [
                {"providers": [{"name": "envoy"}], **self.maybe(0.3, disabled=True)}])
        return spec | self.maybe(0.4, selector=lambda: {"matchLabels": {"app": self.one(APPS)}})

    def peer_authentication(self, ns):
        spec = {"mtls": {"mode": self.one(["STRICT", "PERMISSIVE", "DISABLE"])}}
        if self.chance(0.4):
            spec["selector"] = {"matchLabels": {"app": self.one(APPS)}}
            spec |= self.maybe(0.5, portLevelMtls=lambda: {"8080": {"mode": "DISABLE"}})
        return spec

    def policy_object(self, ns):
        return {"targets": [{"name": self.one(APPS)}],
                **self.maybe(0.7, peers=lambda: [{"mtls": self.one([{}, {"mode": "PERMISSIVE"}])}])}

    def mesh_config(self, ns):
        spec = self.maybe(0.4, outboundTrafficPolicy=lambda: {
            "mode": self.one(["ALLOW_ANY", "REGISTRY_ONLY"])})
        spec |= self.maybe(0.3, connectTimeout=lambda: self.one(["1s", "7s"]))
        spec |= self.maybe(0.3, accessLogFile="/dev/null", accessLogEncoding=self.one(
            ["TEXT", "JSON"]))
        spec |= self.maybe(0.2, defaultServiceExportTo=lambda: self.one([["*"], ["."]]))
        spec |= self.maybe(0.2, localityLbSetting=lambda: {
            "failover": [{"from": "r1", "to": "r2"}]})
        spec |= self.maybe(0.2, defaultHttpRetryPolicy=lambda: {
            "attempts": self.rng.randint(0, 3), "retryOn": "5xx"})
        return spec | self.maybe(0.2, protocolDetectionTimeout="0.2s")

    # method: (kind, how often, the namespaces that it is found in, names if they are special)
    KINDS = {
        "service_entry": ("ServiceEntry", 8, ("default", "other")),
        "workload_entry": ("WorkloadEntry", 3, ("default", "other")),
        "virtual_service": ("VirtualService", 6, NAMESPACES),
        "destination_rule": ("DestinationRule", 5, NAMESPACES),
        "gateway": ("Gateway", 2, ("istio-system",)),
        "sidecar": ("Sidecar", 1, ("default", "other")),
        "delegate": ("VirtualService", 2, ("default", "other"), DELEGATES),
        "workload_group": ("WorkloadGroup", 1, ("default", "other")),
        "envoy_filter": ("EnvoyFilter", 2, NAMESPACES),
        "telemetry": ("Telemetry", 1, NAMESPACES),
        "peer_authentication": ("PeerAuthentication", 1, NAMESPACES),
        "policy_object": ("Policy", 1, ("default", "other")),
        "mesh_config": ("MeshConfig", 1, ("",), ["default"]),
    }

    # --- objects and files ---
    def meta(self, kind, ns, name, spec):
        self.revision += 1
        old = self.held().get((kind, ns, name))
        # Several objects of one second: names decide then which is the older one.
        created = old["metadata"]["creationTimestamp"] if old else (
            f"2026-01-01T00:{self.revision // 300 % 60:02}:{self.revision // 5 % 60:02}Z")
        return {"apiVersion": API.get(kind, NETWORKING), "kind": kind, "metadata": {
            "name": name, **({"namespace": ns} if ns else {}), "creationTimestamp": created,
            "labels": {"rev": f"r{self.revision}"}}, "spec": spec}

    def object(self):
        """A new version of a new or of an existing object."""
        method = self.rng.choices(list(self.KINDS), [k[1] for k in self.KINDS.values()])[0]
        kind, _, namespaces, *names = self.KINDS[method]
        ns = self.one(namespaces)
        name = self.one(GATEWAYS) if kind == "Gateway" else self.one(names[0]) if names else \
            f"{kind[0].lower()}{self.rng.randint(0, 7)}"
        return self.meta(kind, ns, name, getattr(self, method)(ns))

    @staticmethod
    def key(o):
        return o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]

    def held(self):
        """{key: object}: what should be in force."""
        return {k: o for f in self.files.values() for k, o in f.items()}

    def written(self, file, what):
        objects = list(self.files[file].values())
        return Change(file, objects or None, what)

    def put(self, o, file=None):
        """Into the file that has it already, else into one of choice."""
        key = self.key(o)
        at = next((f for f, have in self.files.items() if key in have), None)
        file = at or file or self.one(self.files)
        self.files[file][key] = o
        return self.written(file, f"{'changes' if at else 'adds'} {'/'.join(key)}")

    def drop(self, key):
        at = next(f for f, have in self.files.items() if key in have)
        del self.files[at][key]
        return self.written(at, f"removes {'/'.join(key)}")

    def credential(self, name, number):
        if number is None:
            del self.credentials[name]
        else:
            self.credentials[name] = number
        return Change("", None, f"credential {name} is {number}", (name, number))

    def change_credential(self):
        name = self.one(CREDENTIALS)
        if name in self.credentials and self.chance(0.4):
            return self.credential(name, None)
        old = self.credentials.get(name)
        return self.credential(name, self.one(i for i in range(CERTIFICATES) if i != old))

    def change(self):
        held = self.held()
        if self.chance(0.1):
            return self.change_credential()
        roll = self.rng.random()
        if held and roll < 0.25:
            return self.drop(self.one(sorted(held)))
        full = [f for f, have in self.files.items() if have]
        if full and roll < 0.30:
            file = self.one(full)
            self.files[file] = {}
            return self.written(file, f"removes all of {file}")
        if held and roll < 0.40:  # an object as it was before it was removed or changed
            old = held[self.one(sorted(held))]
            kind, ns, name = self.key(old)
            return self.put(self.meta(kind, ns, name, old["spec"]))
        return self.put(self.object())

    def changes(self, n):
        for _ in range(n):
            yield self.change()

    # --- the end ---
    def settle(self):
        """Changes after which every reference has its object: hosts that routes lead to are services
        with the ports and subsets that are asked for, gateways and credentials that are named are
        there."""
        wanted = {}
        for (kind, ns, name), o in sorted(self.held().items()):
            if kind != "VirtualService":
                continue
            for host, subset in references(o["spec"]):
                wanted.setdefault(host, set()).add(subset)
            for route in o["spec"].get("http", []):
                d = route.get("delegate")
                key = ("VirtualService", d["namespace"], d["name"]) if d else None
                if key and key not in self.held():
                    host = self.one(HOSTS)
                    wanted.setdefault(host, set())
                    yield self.put(self.meta(*key, {"http": [
                        {"route": [{"destination": {"host": host}}]}]}))
            for gateway in o["spec"].get("gateways", []):
                key = ("Gateway", *gateway.split("/")) if "/" in gateway else None
                if key and key not in self.held():
                    yield self.put(self.meta(*key, self.gateway(key[1])))
        for host, subsets in sorted(wanted.items()):
            app, ns = host.split(".")[:2]
            if host in OUTSIDE:
                app, ns = "d", "default"
            yield from self.settle_service(host, app, ns, subsets - {None})
        # Some gateway serves with a credential, some cluster has one.
        yield self.put(self.meta("Gateway", "istio-system", "edge", {
            "selector": {"istio": "ingressgateway"}, "servers": [
                *self.gateway("")["servers"][:1], self.server(7446)]}))
        yield self.put(self.meta("DestinationRule", "default", "settled-outside", {
            "host": OUTSIDE[0], "trafficPolicy": {"tls": self.client_tls()}}))
        for name in sorted(credentials_of([o["spec"] for o in self.held().values()])):
            if name not in self.credentials:
                yield self.credential(name, self.rng.randrange(CERTIFICATES))

    def settle_service(self, host, app, ns, subsets):
        mine = [k for k, o in sorted(self.held().items())
                if (k[0] == "ServiceEntry" and host in o["spec"]["hosts"]) or
                (k[0] == "DestinationRule" and o["spec"]["host"] == host)]
        for key in mine:
            yield self.drop(key)
        ports = [port(n) for n in PORTS]
        spec = {"hosts": [host], "ports": ports, "location": "MESH_INTERNAL",
                "resolution": "STATIC", "endpoints": [self.endpoint(app, ports)]}
        yield self.put(self.meta("ServiceEntry", ns, f"settled-{host.split('.')[0]}", spec))
        if subsets:
            spec = {"host": host, "subsets": [
                {"name": s, "labels": {"version": s}} for s in sorted(subsets)]}
            yield self.put(self.meta(
                "DestinationRule", ns, f"settled-{host.split('.')[0]}", spec))


def mappings(spec):
    """Every mapping in it, at any depth."""
    if isinstance(spec, dict):
        yield spec
        spec = spec.values()
    elif not isinstance(spec, list):
        return
    for v in spec:
        yield from mappings(v)


def credentials_of(spec):
    """The names of credentials in it."""
    return {m["credentialName"] for m in mappings(spec) if "credentialName" in m}


def references(spec):
    """(host, subset or None) of every destination in a VirtualService."""
    return ((m["host"], m.get("subset")) for m in mappings(spec) if isinstance(m.get("host"), str))
