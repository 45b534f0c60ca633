"""A mesh with a gateway and identities, and whoever comes to it from outside."""
import json
import pathlib
import socket
import ssl

from mesh import SERVICE_PORT
from mesh_tls import TlsMesh, make_ca, make_cert
from world import BaseWorld

API = "networking.istio.io/v1"


def obj(kind, name, spec, namespace="default", **meta):
    return {"apiVersion": API, "kind": kind,
            "metadata": {"name": name, "namespace": namespace, **meta}, "spec": spec}


def service(name, endpoints, host=None, resolution="STATIC", location="MESH_EXTERNAL",
            port=SERVICE_PORT, protocol="HTTP", **spec):
    return obj("ServiceEntry", name, {
        "hosts": [host or f"{name}.default.svc.cluster.local"], "location": location,
        "resolution": resolution,
        "ports": [{"number": port, "name": "p", "protocol": protocol}],
        **({"endpoints": endpoints} if endpoints is not None else {}), **spec})


class Edge(BaseWorld):
    """A gateway with two sample services behind it, and whoever comes from outside."""

    PORTS = {"http": 8080, "https": 8443, "tcp": 8444}

    def __init__(self, net, tmp, apps, protocol="delta"):
        m = self.mesh = TlsMesh(net, tmp, apps, protocol=protocol)
        self.net, self.tmp, self.apps = net, pathlib.Path(tmp), apps
        self.public = make_ca(self.tmp / "public", "Public root")
        self.partners = make_ca(self.tmp / "partners", "Partners' root")
        self.creds = self.tmp / "creds"
        self.creds.mkdir()
        self.client = m.workload("client")
        self.shop = m.workload("shop")
        self.stock = m.workload("stock")
        self.picky = m.workload("picky", egress_hosts=["./shop.default.svc.cluster.local"])
        self.db = m.workload("db", tcp=True)
        self.gw = m.gateway()
        self.gw.agent_flags = ["--credentials-dir", self.creds, "--file-cert-dir", self.creds]
        self.addr = {k: f"{self.gw.outer}:{p}" for k, p in self.PORTS.items()}
        self.more()
        m.start()
        m.eventually(lambda: self.client.get("shop").status == 200, timeout=20)

    def after(self):
        for f in self.mesh.config.iterdir():
            if f.name != "services.yaml":
                f.unlink()

    def more(self):
        """What else is there from the start, for who inherits."""

    def credential(self, name, hosts, ca=None):
        return make_cert(self.creds / name, name, ca or self.public, hosts)

    def server(self, name, kind, hosts, protocol=None, number=None, **tls):
        return {"port": {"number": number or self.PORTS[kind], "name": name,
                         "protocol": protocol or kind.upper()},
                "bind": self.gw.outer, "hosts": hosts, **({"tls": tls} if tls else {})}

    def gateway(self, name, *servers, **meta):
        return obj("Gateway", name, {"selector": {"istio": "ingressgateway"},
                                     "servers": list(servers)}, **meta)

    def routes(self, name, host, to, gateways=("edge",)):
        return obj("VirtualService", name, {
            "hosts": [host], "gateways": list(gateways),
            "http": [{"route": [{"destination": {"host": to}}]}]})

    def tls(self, host, client=None, roots=None, version=None):
        """A TLS connection to the gateway's HTTPS port: (socket, name in the certificate)."""
        ctx = ssl.create_default_context(cafile=str((roots or self.public)[0]))
        if client:
            ctx.load_cert_chain(*[str(p) for p in client])
        if version:
            ctx.minimum_version = ctx.maximum_version = version
        ip, port = self.addr["https"].split(":")
        s = ctx.wrap_socket(socket.create_connection((ip, int(port)), timeout=10),
                            server_hostname=host)
        return s, dict(x[0] for x in s.getpeercert()["subject"])["commonName"]

    def https(self, host, path="/", **kw):
        """(name in the certificate, status, the echo's answer)"""
        s, name = self.tls(host, **kw)
        with s:
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            data = b""
            while chunk := s.recv(65536):
                data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        return name, int(head.split()[1]), body

    def serial(self, host):
        s, _ = self.tls(host)
        with s:
            return s.getpeercert()["serialNumber"]


def app_of(answer):
    return answer[0], answer[1], json.loads(answer[2])["name"] if answer[1] == 200 else None


def not_refused(f):
    """While a listener comes up, connections are refused: not yet."""
    try:
        return f()
    except OSError:
        return False
