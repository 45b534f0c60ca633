"""Citadel and agents without the rest of the mesh: a client for Citadel, a Pilot that serves what a
test gives it over mutual TLS."""
import concurrent.futures
import json
import pathlib
import subprocess
import threading

import grpc
from google.protobuf import json_format
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401
from envoy.extensions.filters.network.http_connection_manager.v3 import (  # noqa: F401
    http_connection_manager_pb2)
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2  # noqa: F401
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2  # noqa: F401
from envoy.service.discovery.v3 import discovery_pb2

from mesh import ENVOY
from util import BIN, Process, http_request, wait_for

TD = "cluster.local"
CITADEL_NAME = "citadel.test"
CREATE = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
TYPES = {"type.googleapis.com/envoy.config.cluster.v3.Cluster": cluster_pb2.Cluster,
         "type.googleapis.com/envoy.config.listener.v3.Listener": listener_pb2.Listener}


def sa(name, ns="default"):
    return f"spiffe://{TD}/ns/{ns}/sa/{name}"


def daemon(name):
    return sa(f"istio-{name}-service-account", "istio-system")


def openssl(*argv, stdin=None):
    return subprocess.run(["openssl", *[str(a) for a in argv]], check=True, input=stdin,
                          capture_output=True).stdout


# ---- a request, spelt out: what is sent must not depend on our own encoder ----

def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, data):
    data = data.encode() if isinstance(data, str) else data
    return varint(number << 3 | 2) + varint(len(data)) + data


def strings(data, number=1):
    """The values of a repeated string."""
    out = []
    while data:
        assert data[0] == number << 3 | 2
        n, shift, data = 0, 0, data[1:]
        while True:
            b, data = data[0], data[1:]
            n |= (b & 127) << shift
            shift += 7
            if b < 128:
                break
        out.append(data[:n].decode())
        data = data[n:]
    return out


class Cert:
    """A certificate in PEM, as openssl sees it."""

    def __init__(self, pem, key, roots):
        self.pem, self.key, self.roots = pem, key, roots
        text = openssl("x509", "-noout", "-serial", "-text", stdin=pem.encode()).decode()
        self.serial = text.split("serial=")[1].split()[0].lower()
        self.text = text

    @property
    def sans(self):
        line = self.text.split("X509v3 Subject Alternative Name:")[1].splitlines()[1]
        return [s.strip() for s in line.split(",")]


class Citadel:
    """Citadel with its own root, and a client of it."""

    def __init__(self, net, tmp, *flags):
        self.tmp = pathlib.Path(tmp)
        self.ip = net.ip()
        self.addr, self.monitor = f"{self.ip}:8060", f"{self.ip}:15214"
        self.state = self.tmp / "state"
        self.tokens = self.tmp / "tokens"
        self.lines = {}
        self.token(daemon("pilot"))
        self.process = Process("citadel", [
            BIN / "citadel", "--state-dir", self.state, "--listen", self.addr, "--monitoring-addr",
            self.monitor, "--join-tokens", self.tokens, "--dns-san",
            f"{daemon('citadel')}={CITADEL_NAME}", *flags], self.tmp)

    @property
    def bundle(self):
        return self.state / "citadel" / "root-cert.pem"

    def token(self, ids, *more, text=None):
        """A join token for identities; its text. Citadel sees it within two seconds."""
        text = text or f"token-{len(self.lines)}-{'x' * 16}"
        self.lines[text] = " ".join([text, ids, *more])
        self.tokens.touch(mode=0o600)
        self.tokens.write_text("\n".join(self.lines.values()) + "\n")
        return text

    def start(self):
        self.process.start()
        wait_for(lambda: self.process.check() or
                 http_request(self.monitor, "/readyz").status == 200, what="citadel is ready")
        return self

    def stop(self):
        assert self.process.stop() == 0, self.process.tail()

    def channel(self, cert=None, roots=None):
        creds = grpc.ssl_channel_credentials(
            roots or self.bundle.read_bytes(), cert and cert.key.encode(),
            cert and cert.pem.encode())
        return grpc.secure_channel(self.addr, creds, [
            ("grpc.ssl_target_name_override", CITADEL_NAME),
            ("grpc.use_local_subchannel_pool", 1)])

    def call(self, body, token=None, cert=None, method=CREATE, metadata=None):
        meta = list(metadata or [])
        if token is not None:
            meta.append(("authorization", f"Bearer {token}"))
        with self.channel(cert) as ch:
            return ch.unary_unary(method)(body, metadata=meta, timeout=10)

    def csr(self, san=None, key=("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")):
        path = self.tmp / "key.pem"
        ext = ["-addext", f"subjectAltName={san}"] if san else []
        csr = openssl("req", "-new", "-nodes", *key, "-keyout", path, "-subj", "/O=whoever", *ext)
        return csr.decode(), path.read_text()

    def issue(self, san=None, ttl=0, **kw):
        """A certificate, by token= or cert=."""
        csr, key = self.csr(san)
        body = field(1, csr) + (varint(3 << 3) + varint(ttl) if ttl else b"")
        chain = strings(self.call(body, **kw))
        return Cert(chain[0], key, chain[-1])

    def metric(self, name):
        for line in http_request(self.monitor, "/metrics").text.splitlines():
            if line.split(" ")[0] == name:
                return float(line.split(" ")[1])
        return 0.0


class Pilot:
    """Serves listeners and clusters by node name, state of the world, over mutual TLS."""

    def __init__(self, net, citadel):
        self.addr = f"{net.ip()}:15012"
        self.config, self.nodes, self.peers, self.nacks = {}, {}, {}, []
        self.closing = threading.Event()
        cert = citadel.issue(token=next(iter(citadel.lines)), ttl=3600)
        creds = grpc.ssl_server_credentials([(cert.key.encode(), cert.pem.encode())],
                                            cert.roots.encode(), True)
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
        handler = grpc.stream_stream_rpc_method_handler(
            self.stream, discovery_pb2.DiscoveryRequest.FromString,
            discovery_pb2.DiscoveryResponse.SerializeToString)
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
            "envoy.service.discovery.v3.AggregatedDiscoveryService",
            {"StreamAggregatedResources": handler}),))
        self.server.add_secure_port(self.addr, creds)
        self.server.start()

    def stream(self, requests, context):
        name = None
        for q in requests:
            if q.HasField("node"):
                name = q.node.id.split("~")[2].split(".")[0]
                self.nodes[name] = json_format.MessageToDict(q.node.metadata)
                self.peers[name] = [v.decode() for v in context.auth_context().get(
                    "peer_spiffe_id", context.auth_context().get("x509_subject_alternative_name",
                                                                 []))]
            if q.HasField("error_detail"):
                self.nacks.append(q.error_detail.message)
            if q.response_nonce or q.type_url not in TYPES:
                continue
            resp = discovery_pb2.DiscoveryResponse(version_info="1", nonce="1", type_url=q.type_url)
            for r in self.config.get(name, {}).get(q.type_url.rsplit(".", 1)[1], []):
                resp.resources.add().Pack(json_format.ParseDict(r, TYPES[q.type_url]()))
            yield resp

    def stop(self):
        self.server.stop(0.2).wait()


# ---- what the test's Pilot serves ----

def sds(name, api="GRPC"):
    return {"name": name, "sds_config": {
        "resource_api_version": "V3", "api_config_source": {
            "api_type": api, "transport_api_version": "V3", "grpc_services": [
                {"envoy_grpc": {"cluster_name": "sds-grpc"}}]}}}


def tls_context(kind, cert="default", roots="ROOTCA", san=None, api="GRPC", **more):
    common = {"tls_certificate_sds_secret_configs": [sds(cert, api)] if cert else []}
    if san:
        common["combined_validation_context"] = {
            "default_validation_context": {"match_typed_subject_alt_names": [
                {"san_type": "URI", "matcher": {"exact": san}}]},
            "validation_context_sds_secret_config": sds(roots, api)}
    elif roots:
        common["validation_context_sds_secret_config"] = sds(roots, api)
    return {"name": "envoy.transport_sockets.tls", "typed_config": {
        "@type": f"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{kind}",
        "common_tls_context": common, **more}}


def address(addr):
    ip, port = addr.rsplit(":", 1)
    return {"socket_address": {"address": ip, "port_value": int(port)}}


def cluster(name, addr, tls=None):
    c = {"name": name, "type": "STATIC", "connect_timeout": "1s", "load_assignment": {
        "cluster_name": name, "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": address(addr)}}]}]}}
    return {**c, "transport_socket": tls} if tls else c


def listener(name, addr, to, tls=None):
    ext = "type.googleapis.com/envoy.extensions.filters."
    hcm = {"@type": ext + "network.http_connection_manager.v3.HttpConnectionManager",
           "stat_prefix": name, "route_config": {"virtual_hosts": [
               {"name": "all", "domains": ["*"], "routes": [
                   {"match": {"prefix": "/"}, "route": {"cluster": to, "timeout": "0s"}}]}]},
           "http_filters": [{"name": "router", "typed_config": {
               "@type": ext + "http.router.v3.Router"}}],
           "forward_client_cert_details": "SANITIZE_SET", "set_current_client_cert_details":
               {"uri": True}}
    chain = {"filters": [{"name": "hcm", "typed_config": hcm}]}
    if tls:
        chain["transport_socket"] = tls
    return {"name": name, "address": address(addr), "filter_chains": [chain]}


class Agent:
    """An agent with its Envoy."""

    def __init__(self, net, tmp, citadel, pilot_addr, name, *flags, token=None):
        self.name, self.ip = name, net.ip()
        self.status, self.admin = f"{self.ip}:15020", f"{self.ip}:15000"
        self.work = pathlib.Path(tmp) / f"work-{name}"
        self.dir = self.work / "agent"
        self.token_file = pathlib.Path(tmp) / f"{name}.token"
        self.token_file.write_text((token or citadel.token(sa(name))) + "\n")
        self.process = Process(f"agent-{name}", [
            BIN / "meltemi-agent", "run", "--work-dir", self.work, "--status-addr", self.status,
            "--ca-addr", citadel.addr, "--join-token-file", self.token_file, "--trust-bundle",
            citadel.bundle, "--pilot-addr", pilot_addr, "--ip", self.ip, "--name", name,
            "--service-account", name, "--labels", f"app={name},version=v1", "--envoy", ENVOY,
            "--envoy-admin", self.admin, "--concurrency", "1", "--delta", "off", *flags], tmp)

    def start(self):
        self.process.start()
        return self

    def ready(self):
        self.process.check()
        return http_request(self.status, "/healthz/ready").status == 200

    def wait(self, timeout=20):
        wait_for(self.ready, timeout, what=f"{self.name} is ready")
        return self

    def serial(self):
        for c in http_request(self.admin, "/certs").json()["certificates"]:
            for item in c.get("cert_chain", []):
                if any(n.get("uri") == sa(self.name) for n in item["subject_alt_names"]):
                    return item["serial_number"]
        return None

    def envoy_pid(self):
        return json.loads((self.dir / "envoy.pid").read_text())["pid"]

    def envoy_log(self):
        return (self.dir / "envoy.log").read_text()

    def stat(self, name):
        text = http_request(self.admin, f"/stats?filter=^{name}$").text
        return int(text.rsplit(":", 1)[1]) if ":" in text else 0


def alive(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        return state != "Z"
    except OSError:
        return False
