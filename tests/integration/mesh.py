"""A mesh for tests: real daemons, real Envoys, sample applications, all on a loopback /24 of its own.

    mesh = Mesh(net, tmp, protocol="delta")
    a = mesh.workload("client")
    b = mesh.workload("reviews", version="v1")
    mesh.start()
    mesh.apply("rules", YAML)
    a.get("reviews")                     # through a's Envoy and b's Envoy

Layout of a workload, as in deploy/samples/bookshop: two addresses, OUTER (its Envoy's inbound
listener, port 9080) and INNER (the application on 8000, Envoy's outbound listener on 9080, Envoy's
admin on 15000); nothing is captured. With grpc=True there is a gRPC application too (grpc_echo.py).
"""
import json
import pathlib
import re
import subprocess
import sys

import yaml

from util import BIN, BUILD, ROOT, Process, Timeout, http_request, wait_for, write_atomic

ENVOY = ROOT / "build/envoy/envoy"
GRPC_ECHO = ROOT / "tests/integration/grpc_echo.py"
SERVICE_PORT, TCP_PORT, APP_PORT, APP_TCP_PORT, ADMIN_PORT = 9080, 9081, 8000, 8001, 15000
GRPC_PORT, APP_GRPC_PORT = 9082, 8002
DOMAIN = "svc.cluster.local"


def bootstrap(node, xds_addr, admin, protocol, extra_clusters=()):
    """Envoy's bootstrap: everything over one aggregated stream, plaintext."""
    ip, port = xds_addr.rsplit(":", 1)
    h2 = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}}}}
    ads = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    admin_ip, admin_port = admin.rsplit(":", 1)
    return {
        "node": node,
        "admin": {"address": {"socket_address": {
            "address": admin_ip, "port_value": int(admin_port)}}},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC" if protocol == "delta" else "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {
                    "cluster_name": "xds-grpc",
                    # Tests of recovery should not wait for the default 30 s.
                    "retry_policy": {"retry_back_off": {
                        "base_interval": "0.1s", "max_interval": "0.5s"}}}}]},
            "cds_config": ads, "lds_config": ads},
        "static_resources": {"clusters": [{
            "name": "xds-grpc", "type": "STATIC", "connect_timeout": "1s",
            "typed_extension_protocol_options": h2,
            "load_assignment": {"cluster_name": "xds-grpc", "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": {"socket_address": {
                    "address": ip, "port_value": int(port)}}}}]}]}}, *extra_clusters]},
        "layered_runtime": {"layers": [{"name": "static", "static_layer": {
            "re2.max_program_size.error_level": 1024}}, {"name": "admin", "admin_layer": {}}]},
    }


class Envoy:
    """One Envoy, with the questions that tests ask of it."""

    def __init__(self, name, node, xds_addr, admin, protocol, folder, binary=None,
                 drain_s=3):
        self.name, self.admin, self.protocol = name, admin, protocol
        config = pathlib.Path(folder) / f"{name}.bootstrap.json"
        config.write_text(json.dumps(bootstrap(node, xds_addr, admin, protocol), indent=1))
        self.process = Process(f"envoy-{name}", [
            binary or ENVOY, "-c", config, "--disable-hot-restart", "--concurrency", "1",
            "--reject-unknown-dynamic-fields", "--drain-time-s", drain_s, "-l", "info",
            "--file-flush-interval-msec", "100"], folder)

    def start(self):
        self.process.start()
        return self

    def stop(self):
        return self.process.stop()

    def tail(self, lines=25):
        return self.process.tail(lines)

    def get(self, path):
        r = http_request(self.admin, path)
        assert r.status == 200, f"{self.name}{path}: {r}"
        return r

    def ready(self):
        self.process.check()
        return http_request(self.admin, "/ready").status == 200

    def stats(self, pattern):
        """{name: value} of the counters and gauges whose names match."""
        r = self.get("/stats?format=json&filter=" + pattern).json()
        return {s["name"]: s["value"] for s in r["stats"] if "value" in s}

    def stat(self, name):
        return self.stats("^" + re.escape(name).replace("\\", "%5C") + "$").get(name, 0)

    def rejected(self):
        """Updates that Envoy refused, by statistic, with the reasons in its config dump."""
        counts = {k: v for k, v in self.stats("update_rejected").items() if v}
        if counts:
            dump = json.dumps(self.dump(), indent=1)
            why = re.findall(r'"details": ("(?:[^"\\]|\\.)*")', dump)
            counts["why"] = why or [line for line in self.process.log().splitlines()
                                    if "rejected" in line][-10:]
        return counts

    def dump(self, resource=None):
        q = f"?resource={resource}" if resource else "?include_eds"
        return self.get("/config_dump" + q).json()

    def resources(self, kind):
        """Active dynamic resources by name: kind is "cluster", "listener", "route", "endpoint" or
        "secret" (private keys are left out)."""
        names = {"cluster": ("dynamic_active_clusters", "cluster"),
                 "listener": ("dynamic_listeners", None),
                 "route": ("dynamic_route_configs", "route_config"),
                 "endpoint": ("dynamic_endpoint_configs", "endpoint_config"),
                 "secret": ("dynamic_active_secrets", "secret")}
        table, member = names[kind]
        out = {}
        for section in self.dump().get("configs", []):
            for item in section.get(table, []):
                if kind == "listener":
                    body = item.get("active_state", {}).get("listener")
                else:
                    body = item.get(member)
                if body:
                    out[body.get("name") or body.get("cluster_name")] = body
        return out

    def listeners(self):
        """Addresses that are listened on."""
        r = self.get("/listeners?format=json").json()
        return {f"{a['address']}:{a['port_value']}" for s in r.get("listener_statuses", [])
                for a in [s["local_address"].get("socket_address", {"address": "", "port_value": 0})]}

    def endpoints(self, cluster):
        """{"ip:port": health} of one cluster as Envoy sees it now."""
        r = self.get("/clusters?format=json").json()
        for c in r.get("cluster_statuses", []):
            if c["name"] == cluster:
                return {"{address}:{port_value}".format(**h["address"]["socket_address"]):
                        h["health_status"].get("eds_health_status", "UNKNOWN")
                        for h in c.get("host_statuses", [])}
        return {}


class Workload:
    """An application with an Envoy before it."""

    def __init__(self, mesh, app, version="v1", namespace="default", labels=None, tcp=False,
                 name=None, egress_hosts=None, account=None, sidecar=True, listed=True, grpc=False,
                 envoy_binary=None):
        self.envoy_binary = envoy_binary  # None: the mesh's
        self.mesh, self.app, self.version, self.namespace = mesh, app, version, namespace
        self.name = name or f"{app}-{version}"
        self.labels = {"app": app, "version": version, "instance": self.name, **(labels or {})}
        self.account = account or app
        self.outer, self.inner = mesh.net.ip(), mesh.net.ip()
        self.tcp, self.grpc, self.sidecar, self.listed = tcp, grpc, sidecar, listed
        self.egress_hosts = egress_hosts or ["./*"]
        self.host = f"{app}.{namespace}.{DOMAIN}"
        self.inbound = f"{self.outer}:{SERVICE_PORT}"
        self.outbound = f"{self.inner}:{SERVICE_PORT}"
        self.outbound_tcp = f"{self.inner}:{TCP_PORT}"
        self.more_ingress, self.more_egress = [], []  # listeners of its Sidecar, as they are written
        self.outbound_grpc = f"{self.inner}:{GRPC_PORT}"
        self.envoy = self.echo = self.grpc_echo = None

    @property
    def node(self):
        domain = f"{self.namespace}.{DOMAIN}"
        return {"id": f"sidecar~{self.outer}~{self.name}.{self.namespace}~{domain}",
                "cluster": f"{self.app}.{self.namespace}",
                "metadata": {"NAMESPACE": self.namespace, "LABELS": self.labels,
                             "CLUSTER_ID": "test", "INSTANCE_IPS": self.outer,
                             "INTERCEPTION_MODE": "NONE", "WORKLOAD_NAME": self.name,
                             "SERVICE_ACCOUNT": self.account}}

    def start(self):
        mesh = self.mesh
        self.echo = mesh.apps.start(
            "echo", "--listen", f"{self.inner}:{APP_PORT}", "--tcp",
            f"{self.inner}:{APP_TCP_PORT}", "--name", self.app, "--version", self.version,
            label=f"app-{self.name}")
        if self.grpc:
            self.grpc_echo = Process(f"grpc-{self.name}", [
                sys.executable, GRPC_ECHO, "serve", f"{self.inner}:{APP_GRPC_PORT}", "--name",
                self.app, "--version", self.version], mesh.tmp).start()
        if self.sidecar:
            self.envoy = mesh.make_envoy(self, f"{self.inner}:{ADMIN_PORT}").start()
        return self

    def stop(self):
        if self.envoy:
            self.envoy.stop()
        for p in (self.echo, self.grpc_echo):
            if p:
                p.stop()

    def wait_ready(self, timeout=30):
        wait_for(lambda: self.echo.check() or http_request(
            f"{self.inner}:{APP_PORT}", "/healthz").status == 200, what=f"{self.name} answers")
        if self.grpc:
            wait_for(lambda: self.grpc_echo.check() or "serving" in self.grpc_echo.log(), timeout,
                     what=f"the gRPC application of {self.name} serves")
        if self.envoy:
            want = {self.inbound, self.outbound}
            try:
                wait_for(lambda: self.envoy.ready() and want <= self.envoy.listeners(), timeout,
                         what=f"Envoy of {self.name} listens on {want}")
            except Timeout as e:
                raise Timeout(f"{e}\n{self.mesh.describe(self)}") from None

    def stats(self):
        return http_request(f"{self.inner}:{APP_PORT}", "/stats").json()

    def reset(self):
        http_request(f"{self.inner}:{APP_PORT}", "/stats", method="DELETE")

    def get(self, app, path="/", method="GET", headers=None, timeout=20, body=None):
        """A request of this workload's application to a service, through its own Envoy."""
        host = app if "." in app else f"{app}.{self.namespace}.{DOMAIN}"
        return http_request(self.outbound, path, method, {"host": host, **(headers or {})}, body,
                            timeout)

    def sidecar_yaml(self):
        def port(number, protocol):
            return {"number": number, "protocol": protocol, "name": protocol.lower()}
        ingress = [{"port": port(SERVICE_PORT, "HTTP"), "bind": self.outer, "captureMode": "NONE",
                    "defaultEndpoint": f"{self.inner}:{APP_PORT}"}]
        egress = [{"port": port(SERVICE_PORT, "HTTP"), "bind": self.inner, "captureMode": "NONE",
                   "hosts": self.egress_hosts}]
        if self.tcp:
            ingress.append({"port": port(TCP_PORT, "TCP"), "bind": self.outer,
                            "captureMode": "NONE",
                            "defaultEndpoint": f"{self.inner}:{APP_TCP_PORT}"})
        if self.grpc:
            ingress.append({"port": port(GRPC_PORT, "GRPC"), "bind": self.outer,
                            "captureMode": "NONE",
                            "defaultEndpoint": f"{self.inner}:{APP_GRPC_PORT}"})
        if any(w.grpc for w in self.mesh.workloads):
            egress.append({"port": port(GRPC_PORT, "GRPC"), "bind": self.inner,
                           "captureMode": "NONE", "hosts": self.egress_hosts})
        for app in sorted(self.mesh.tcp_targets.get(self.name, ())):
            egress.append({"port": port(TCP_PORT, "TCP"), "bind": self.inner,
                           "captureMode": "NONE", "hosts": [f"./{app}.{self.namespace}.{DOMAIN}"]})
        return {"apiVersion": "networking.istio.io/v1alpha3", "kind": "Sidecar",
                "metadata": {"name": self.name, "namespace": self.namespace},
                "spec": {"workloadSelector": {"labels": {"instance": self.name}},
                         "ingress": ingress + self.more_ingress,
                         "egress": egress + self.more_egress}}


class Gateway:
    """An Envoy at the edge."""

    def __init__(self, mesh, name="ingressgateway", namespace="istio-system"):
        self.mesh, self.name, self.namespace = mesh, name, namespace
        self.account, self.labels = name, {"istio": "ingressgateway", "app": name}
        self.outer = mesh.net.ip()
        self.envoy = None

    @property
    def node(self):
        return {"id": f"router~{self.outer}~{self.name}.{self.namespace}~"
                      f"{self.namespace}.{DOMAIN}",
                "cluster": self.name,
                "metadata": {"NAMESPACE": self.namespace, "CLUSTER_ID": "test",
                             "LABELS": self.labels, "INSTANCE_IPS": self.outer,
                             "WORKLOAD_NAME": self.name, "SERVICE_ACCOUNT": self.account}}

    def start(self):
        self.envoy = self.mesh.make_envoy(self, f"{self.outer}:{ADMIN_PORT}").start()
        return self

    def stop(self):
        if self.envoy:
            self.envoy.stop()

    def wait_ready(self, timeout=30):
        wait_for(self.envoy.ready, timeout, what=f"Envoy of {self.name} is ready")


class Proxy:
    """A captured proxy in a network namespace (netns.py), of a workload `of` that need not run: one of
    the mesh's gateways whatever it is. ip: its addresses, with commas. Two of one workload, one of each
    protocol variant, hold the same."""

    def __init__(self, mesh, number, of, protocol, ns, labels, ip, kind="sidecar", capture="REDIRECT"):
        self.of, self.name, self.protocol = of, f"{of}-{protocol}", protocol
        self.namespace, self.account, self.labels = ns, of, labels
        self.outer = ip.split(",")[0]
        self.node = {"id": f"{kind}~{self.outer}~{self.name}.{ns}~{ns}.{DOMAIN}",
                     "cluster": f"{of}.{ns}",
                     "metadata": {"NAMESPACE": ns, "LABELS": labels, "CLUSTER_ID": "test",
                                  "INSTANCE_IPS": ip, "INTERCEPTION_MODE": capture,
                                  "WORKLOAD_NAME": of, "SERVICE_ACCOUNT": of}}
        self.envoy = self.make_envoy(mesh, f"127.77.1.{number}")

    def make_envoy(self, mesh, own):
        """Without an identity. own: an address that no other proxy of the mesh has, for its admin."""
        return Envoy(self.name, self.node, mesh.plain_xds_addr, f"{own}:{ADMIN_PORT}", self.protocol,
                     mesh.tmp, drain_s=1)

    def start(self):
        self.envoy.start()
        return self

    def stop(self):
        self.envoy.stop()

    def wait_ready(self, timeout=30):
        wait_for(self.envoy.ready, timeout, what=f"{self.name} is ready")


class Mesh:
    DAEMONS = ("galley", "pilot", "mixer")

    def __init__(self, net, tmp, apps, protocol="delta", mixer=False, envoy_binary=None,
                 drain_s=3, pilot_flags=()):
        self.pilot_flags = list(pilot_flags)
        assert protocol in ("delta", "sotw")
        self.net, self.tmp, self.apps, self.protocol = net, tmp, apps, protocol
        self.with_mixer, self.envoy_binary, self.drain_s = mixer, envoy_binary, drain_s
        self.config = pathlib.Path(tmp) / "config"
        self.state = pathlib.Path(tmp) / "state"
        self.config.mkdir()
        self.state.mkdir()
        ip = self.ip = net.ip()
        self.galley_addr, self.plain_xds_addr = f"{ip}:9901", f"{ip}:15010"
        self.xds_addr = self.plain_xds_addr  # where the proxies that the mesh makes go
        self.mixer_addr, self.prometheus_addr = f"{ip}:9091", f"{ip}:42422"
        self.monitor = {"galley": f"{ip}:15114", "pilot": f"{ip}:15014", "mixer": f"{ip}:15314"}
        self.workloads, self.gateways, self.tcp_targets = [], [], {}
        self.daemons = {n: self.daemon(n) for n in self.DAEMONS}
        self.nacks_seen = {}
        self.marks = 0

    def make_envoy(self, w, admin):
        """An Envoy (not started) for a workload or gateway."""
        return Envoy(w.name, w.node, self.xds_addr, admin, self.protocol, self.tmp,
                     getattr(w, "envoy_binary", None) or self.envoy_binary, self.drain_s)

    def daemon(self, name):
        flags = {
            "galley": ["--source", f"dir:{self.config}", "--listen", self.galley_addr],
            "pilot": ["--config-server", self.galley_addr, "--xds-addr", self.xds_addr,
                      *self.pilot_flags],
            "mixer": ["--config-server", self.galley_addr, "--listen", self.mixer_addr,
                      "--prometheus-addr", self.prometheus_addr],
        }[name]
        return Process(name, [BIN / name, *flags, "--state-dir", self.state / name,
                              "--monitoring-addr", self.monitor[name], "--tls", "off"], self.tmp)

    # --- what is in the mesh ---
    def workload(self, app, **kw):
        w = Workload(self, app, **kw)
        self.workloads.append(w)
        return w

    def gateway(self, **kw):
        g = Gateway(self, **kw)
        self.gateways.append(g)
        return g

    def services_yaml(self):
        """A ServiceEntry for each application, a Sidecar for each workload."""
        docs, services = [], {}
        for w in self.workloads:
            if w.listed:
                services.setdefault((w.namespace, w.app), []).append(w)
            if w.sidecar:
                docs.append(w.sidecar_yaml())
        for (ns, app), ws in services.items():
            ports = [{"number": SERVICE_PORT, "name": "http", "protocol": "HTTP"}]
            if any(w.tcp for w in ws):
                ports.append({"number": TCP_PORT, "name": "tcp", "protocol": "TCP"})
            if any(w.grpc for w in ws):
                ports.append({"number": GRPC_PORT, "name": "grpc", "protocol": "GRPC"})
            docs.append({
                "apiVersion": "networking.istio.io/v1alpha3", "kind": "ServiceEntry",
                "metadata": {"name": app, "namespace": ns},
                "spec": {"hosts": [f"{app}.{ns}.{DOMAIN}"], "location": "MESH_INTERNAL",
                         "resolution": "STATIC", "ports": ports,
                         "endpoints": [self.endpoint(w) for w in ws]}})
        return yaml.safe_dump_all(docs, sort_keys=False)

    def endpoint(self, w):
        # Without a sidecar, the application itself is the endpoint.
        ip, http, tcp, grpc = ((w.outer, SERVICE_PORT, TCP_PORT, GRPC_PORT) if w.sidecar else
                               (w.inner, APP_PORT, APP_TCP_PORT, APP_GRPC_PORT))
        ports = {"http": http, **({"tcp": tcp} if w.tcp else {}),
                 **({"grpc": grpc} if w.grpc else {})}
        return {"address": ip, "ports": ports, "labels": w.labels, "serviceAccount": w.account}

    # --- configuration ---
    def apply(self, name, text):
        """Writes config/NAME.yaml, whole. text: YAML, or a list of objects."""
        if not isinstance(text, str):
            text = yaml.safe_dump_all(text, sort_keys=False)
        write_atomic(self.config / f"{name}.yaml", text)

    def apply_live(self, name, objects, timeout=20):
        """As apply; returns once all of it is in force on every proxy, and what the file held before
        is not. The mark makes each text another one: what proxies are to do it leaves alone."""
        self.marks += 1
        mark = {"tests.example/mark": str(self.marks)}
        marked = [{**o, "metadata": {**o["metadata"], "annotations": {
            **o["metadata"].get("annotations", {}), **mark}}} for o in objects]
        self.apply(name, marked)
        self.wait_live(self.config / f"{name}.yaml", timeout)

    def wait_live(self, file, timeout=20):
        """Until all that a file says is in force on every proxy: `meltemi wait`."""
        r = subprocess.run([BIN / "meltemi", "wait", "-f", file, "--timeout", f"{timeout}s",
                            "--pilot", f"http://{self.monitor['pilot']}"], text=True, check=False,
                           timeout=timeout + 30, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if r.returncode:
            raise Timeout(f"not in force within {timeout} s:\n{r.stdout[-3000:]}")

    def remove(self, name):
        (self.config / f"{name}.yaml").unlink()

    # --- life ---
    def start(self, daemons=None, wait=True):
        try:
            return self._start(daemons, wait)
        except BaseException:
            self.stop(check=False)  # a fixture that fails leaves nothing running
            raise

    def _start(self, daemons, wait):
        self.apply("services", self.services_yaml())
        for name in daemons or [d for d in self.DAEMONS if d != "mixer" or self.with_mixer]:
            self.start_daemon(name)
        for w in self.workloads + self.gateways:
            w.start()
        if wait:
            for w in self.workloads + self.gateways:
                w.wait_ready()
        return self

    def start_daemon(self, name, wait=True):
        p = self.daemons[name].start()
        if wait:
            wait_for(lambda: p.check() or
                     http_request(self.monitor[name], "/readyz").status == 200, 15,
                     what=f"{name} is ready")
        return p

    def stop(self, check=True):
        faults = []
        for w in self.workloads + self.gateways:
            try:
                w.stop()
            except AssertionError as e:
                faults.append(str(e))
        for p in reversed(self.daemons.values()):
            try:
                if p.running and p.stop() not in (0, -9):
                    faults.append(f"{p.name} ended with {p.proc.returncode}:\n{p.tail(15)}")
            except AssertionError as e:
                faults.append(str(e))
        if faults:
            (pathlib.Path(self.tmp) / "FAULT").touch()  # keeps the logs
        assert not (check and faults), "\n".join(faults)

    def saved(self, daemon):
        """The daemon's state on disk is newer than all that was written into the source."""
        newest = max(p.stat().st_mtime_ns for p in self.config.iterdir())
        return any(p.stat().st_mtime_ns > newest
                   for p in self.state.joinpath(daemon).rglob("*")
                   if p.is_file() and p.name in ("config", "objects"))

    def describe(self, workload):
        """What Pilot and the Envoy know of each other, for a message."""
        out = []
        for what, ask in (
                ("syncz", lambda: [p for p in http_request(self.monitor["pilot"], "/debug/syncz")
                                   .json() if workload.name in p["proxy"]]),
                ("stats", lambda: [line for line in http_request(
                    workload.envoy.admin, "/stats").text.splitlines()
                    if re.match(r"(control_plane|cluster_manager|listener_manager|server\.state|"
                                r"cluster\.xds)", line) and not line.endswith(": 0")]),
                ("pilot", lambda: self.daemons["pilot"].tail(30))):
            try:
                out.append(f"{what}: {ask()}")
            except Exception as e:  # pylint: disable=broad-except
                out.append(f"{what}: {e}")
        return "\n".join(out)

    # --- questions ---
    def metric(self, daemon, name, addr=None):
        """{labels as text: value} of one metric."""
        text = http_request(addr or self.monitor[daemon], "/metrics").text
        found = re.findall(rf"^{name}(\{{.*\}})? ([0-9.e+-]+)$", text, re.M)
        return {labels: float(value) for labels, value in found}

    def envoys(self):
        return [w.envoy for w in self.workloads + self.gateways if w.envoy]

    def nacks(self):
        """Rejected updates: by Envoy, and as Pilot counted them."""
        out = {}
        for e in self.envoys():
            if e.process.running:
                found = e.rejected()
                if found:
                    out[e.name] = found
        if self.daemons["pilot"].running:
            rejects = {k: v for k, v in
                       self.metric("pilot", "pilot_total_xds_rejects").items() if v}
            if rejects:
                out["pilot"] = rejects
        return out

    def check(self):
        """After each test: nothing died, nothing was rejected that the test did not expect."""
        for p in self.daemons.values():
            p.check()
        for e in self.envoys():
            e.process.check()
        now = self.nacks()
        before, self.nacks_seen = self.nacks_seen, now
        assert now == before, "rejected updates:\n" + json.dumps(now, indent=1)

    def expect_nacks(self):
        """The test provoked them: forget those that there are."""
        self.nacks_seen = self.nacks()

    def logs(self):
        parts = [f"=== {p.name}\n{p.tail()}" for p in self.daemons.values() if p.proc]
        parts += [f"=== {e.process.name}\n{e.tail()}" for e in self.envoys()]
        return "\n".join(parts)

    # --- waiting for an effect ---
    def eventually(self, probe, timeout=10, what=""):
        """wait_for, with the mesh's health looked at meanwhile."""
        def condition():
            for p in self.daemons.values():
                p.check()
            return probe()
        try:
            return wait_for(condition, timeout, what)
        except Timeout as e:
            raise Timeout(f"{e}\nrejected: {json.dumps(self.nacks())[:3000]}") from None


class Background:
    """`load` or `streams` running beside a test; stop() gives its JSON summary."""

    def __init__(self, mesh, program, *flags):
        self.out = pathlib.Path(mesh.tmp) / f"{program}-{len(mesh.apps.running)}.json"
        self.process = mesh.apps.start(program, *flags, label=self.out.stem)

    def stop(self):
        assert self.process.running, f"ended early:\n{self.process.tail()}"
        assert self.process.stop() == 0, self.process.tail()
        text = self.process.log()
        return json.loads(text[text.index("\n{"):])


def load(mesh, workload, app, path="/", rate=500, *flags):
    """Requests at a fixed rate from a workload, through its Envoy, to a service."""
    host = app if "." in app else f"{app}.{workload.namespace}.{DOMAIN}"
    return Background(mesh, "load", "--url", f"http://{workload.outbound}{path}", "--host-header",
                      host, "--rate", str(rate), "--by-header", "x-app-version", *flags)


def streams(mesh, workload, app=None, count=10):
    """Long-lived streams: HTTP to a service, or TCP through the workload's TCP listener."""
    if app is None:
        return Background(mesh, "streams", "--url", f"tcp://{workload.outbound_tcp}", "--streams",
                          str(count))
    return Background(mesh, "streams", "--url",
                      f"http://{workload.outbound}/stream?interval=100ms", "--host-header",
                      f"{app}.{workload.namespace}.{DOMAIN}", "--streams", str(count))
