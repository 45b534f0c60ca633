"""The mesh with identities: Citadel, daemons that speak mutual TLS, an agent beside each Envoy.

Same layout as mesh.py. The CA is given to Citadel, so that its root is known before anything runs;
every daemon and workload proves itself with a join token of its own.
"""
import pathlib
import secrets
import subprocess

from mesh import ENVOY, Envoy, Mesh
from util import BIN, Process

TRUST = "cluster.local"


def openssl(*argv):
    subprocess.run(["openssl", *[str(a) for a in argv]], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


def make_ca(folder, name="Meltemi test root"):
    """A P-256 root: (certificate, key)."""
    folder = pathlib.Path(folder)
    folder.mkdir(mode=0o700, exist_ok=True)
    cert, key = folder / "ca-cert.pem", folder / "ca-key.pem"
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    key.chmod(0o600)
    openssl("req", "-x509", "-new", "-key", key, "-out", cert, "-days", "2", "-subj",
            f"/O={name}", "-addext", "basicConstraints=critical,CA:true", "-addext",
            "keyUsage=critical,keyCertSign,cRLSign")
    return cert, key


def make_cert(folder, name, ca, hosts=(), uri=None):
    """A P-256 certificate from ca (certificate, key): folder/{tls.crt,tls.key}."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    cert, key, csr, ext = (folder / f for f in ("tls.crt", "tls.key", "csr", "ext"))
    names = [f"DNS:{h}" for h in hosts] + ([f"URI:{uri}"] if uri else [])
    ext.write_text("extendedKeyUsage=serverAuth,clientAuth\n" +
                   (f"subjectAltName={','.join(names)}\n" if names else ""))
    # Aside, then renamed: a certificate that does not belong to the key is not served, but the two
    # are never seen half written.
    new_key, new_cert = folder / ".key", folder / ".crt"
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", new_key)
    openssl("req", "-new", "-key", new_key, "-subj", f"/CN={name}", "-out", csr)
    openssl("x509", "-req", "-in", csr, "-CA", ca[0], "-CAkey", ca[1], "-set_serial",
            str(secrets.randbits(63)), "-days", "2", "-extfile", ext, "-out", new_cert)
    new_key.rename(key)
    new_cert.rename(cert)
    return cert, key


def workload_id(namespace, account):
    return f"spiffe://{TRUST}/ns/{namespace}/sa/{account}"


def daemon_id(name):
    return workload_id("istio-system", f"istio-{name}-service-account")


class AgentEnvoy(Envoy):
    """An Envoy that an agent runs; `process` is the agent. protocol: None for the mesh's; health:
    the agent's monitoring address, None for port 15020 of w."""

    def __init__(self, mesh, w, admin, protocol=None, health=None):
        # pylint: disable=super-init-not-called
        self.name, self.admin, self.mesh = w.name, admin, mesh
        self.protocol, self.health = protocol or mesh.protocol, health or f"{w.outer}:15020"
        labels = ",".join(f"{k}={v}" for k, v in sorted(w.labels.items()))
        kind = w.node["id"].split("~")[0]
        argv = [BIN / "meltemi-agent", "run", "--type", kind, "--name", w.name, "--namespace",
                w.namespace, "--ip", w.outer, "--service-account", w.account, "--labels", labels,
                "--cluster-id", "test", "--pilot-addr", mesh.xds_addr, "--envoy",
                mesh.envoy_binary or ENVOY, "--envoy-admin", admin, "--concurrency", "1",
                "--envoy-log-level", "info", "--delta", "on" if self.protocol == "delta" else "off",
                "--state-dir", mesh.state / f"agent-{w.name}", "--monitoring-addr", self.health,
                "--drain", "1s",
                *mesh.identity_flags(w.name, workload_id(w.namespace, w.account))]
        if mesh.cert_ttl:
            argv += ["--cert-ttl", mesh.cert_ttl]
        argv += getattr(w, "agent_flags", [])  # more, of a test's own
        self.process = Process(f"agent-{w.name}", argv, mesh.tmp)
        self.envoy_log = mesh.state / f"agent-{w.name}" / "agent" / "envoy.log"

    def tail(self, lines=25):
        text = self.envoy_log.read_text(errors="replace") if self.envoy_log.exists() else ""
        return self.process.tail(lines) + "\n" + "\n".join(text.splitlines()[-lines:])

    def certs(self):
        """(serial number, SPIFFE ids, end) of the certificates that Envoy holds."""
        out = []
        for c in self.get("/certs").json().get("certificates", []):
            for item in c.get("cert_chain", []):
                out.append((item["serial_number"],
                            [n.get("uri") for n in item.get("subject_alt_names", [])],
                            item.get("expiration_time")))
        return out


class TlsMesh(Mesh):
    DAEMONS = ("citadel", "galley", "pilot", "mixer")

    def __init__(self, net, tmp, apps, protocol="delta", mixer=False, cert_ttl=None, **kw):
        self.tmp, self.cert_ttl = pathlib.Path(tmp), cert_ttl
        self.ca_cert, self.ca_key = make_ca(self.tmp / "ca")
        self.tokens = self.tmp / "tokens"
        self.tokens.mkdir(mode=0o700)
        self.token_lines = {}
        super().__init__(net, tmp, apps, protocol=protocol, mixer=mixer, **kw)
        self.xds_addr = f"{self.ip}:15012"
        self.monitor["citadel"] = f"{self.ip}:15214"
        # Once more, now that the addresses above are known.
        self.daemons = {n: self.daemon(n) for n in self.DAEMONS}

    def identity_flags(self, name, spiffe_id):
        token = self.token_lines.get(name, (secrets.token_hex(16), None))[0]
        self.token_lines[name] = (token, spiffe_id)
        path = self.tokens / name
        path.write_text(token + "\n")
        path.chmod(0o600)
        table = self.tokens / "table"
        if not table.exists():
            table.touch(mode=0o600)
        table.write_text("".join(f"{t} {i}\n" for t, i in self.token_lines.values()))
        return ["--ca-addr", f"{self.ip}:8060", "--join-token-file", path, "--trust-bundle",
                self.ca_cert]

    def daemon(self, name):
        flags = {
            "citadel": ["--listen", f"{self.ip}:8060", "--ca-cert", self.ca_cert, "--ca-key",
                        self.ca_key, "--join-tokens", self.tokens / "table"],
            "galley": ["--source", f"dir:{self.config}", "--listen", self.galley_addr],
            "pilot": ["--config-server", self.galley_addr, "--secure-xds-addr",
                      f"{self.ip}:15012", *self.pilot_flags],
            "mixer": ["--config-server", self.galley_addr, "--listen", self.mixer_addr,
                      "--prometheus-addr", self.prometheus_addr],
        }[name]
        if name != "citadel":
            flags += self.identity_flags(name, daemon_id(name))
        return Process(name, [BIN / name, *flags, "--state-dir", self.state / name,
                              "--monitoring-addr", f"{self.ip}:{self.port(name)}"], self.tmp)

    @staticmethod
    def port(name):
        return {"galley": 15114, "pilot": 15014, "mixer": 15314, "citadel": 15214}[name]

    def endpoint(self, w):
        e = super().endpoint(w)
        if w.sidecar:
            e["labels"] = {**e["labels"], "security.istio.io/tlsMode": "istio"}
        return e

    def make_envoy(self, w, admin):
        return AgentEnvoy(self, w, admin)

    def start(self, daemons=None, wait=True):
        # Citadel reads its table of tokens at start: all of them are to be there.
        for w in self.workloads + self.gateways:
            self.identity_flags(w.name, workload_id(w.namespace, w.account))
        return super().start(daemons, wait)
