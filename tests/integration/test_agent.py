"""The agent: its certificate, its secrets, its Envoy's life. Pilot is a stand-in."""
import os
import pathlib
import signal
import socket
import stat
import threading
import time

import pytest

from identities import (Agent, Citadel, Pilot, alive, cluster, listener, openssl, sa, tls_context)
from util import http_request, wait_for


class World:
    """Citadel, Pilot, an echo server, and two workloads: `client` calls `server` over mutual TLS."""

    def __init__(self, net, tmp, apps):
        self.net, self.tmp, self.agents = net, tmp, []
        self.citadel = Citadel(net, tmp)
        self.citadel.start()
        self.pilot = Pilot(net, self.citadel)
        self.echo = apps.echo()
        self.server = self.agent("server", "--cert-ttl", "8s", "--drain", "3s")
        self.client = self.agent("client", "--cert-ttl", "8s", "--drain", "3s")
        self.server.listen = f"{self.server.ip}:8080"
        self.client.listen = f"{self.client.ip}:8001"
        self.pilot.config["server"] = {
            "Listener": [listener("in", self.server.listen, "app", tls_context(
                "DownstreamTlsContext", require_client_certificate=True))],
            "Cluster": [cluster("app", self.echo.addr)]}
        self.pilot.config["client"] = self.client_config(sa("server"))

    def client_config(self, expect):
        return {"Listener": [listener("out", self.client.listen, "server")],
                "Cluster": [cluster("server", self.server.listen,
                                    tls_context("UpstreamTlsContext", san=expect))]}

    def agent(self, name, *flags, **kw):
        a = Agent(self.net, self.tmp, self.citadel, self.pilot.addr, name, *flags, **kw)
        self.agents.append(a)
        return a

    def get(self, path="/", **kw):
        return http_request(self.client.listen, path, **kw)

    def stop(self):
        for a in self.agents:
            a.process.stop(timeout=20)
        self.pilot.stop()
        self.citadel.stop()


@pytest.fixture(scope="module")
def world(net, tmp, apps):
    w = World(net, tmp, apps)
    w.server.start()
    w.client.start()
    try:
        w.server.wait()
        w.client.wait()
        yield w
    finally:
        w.stop()


@pytest.fixture(autouse=True)
def report(request, world):
    yield
    if getattr(request.node, "failed", False):
        for a in (world.client, world.server):
            print(a.process.tail(), a.envoy_log()[-2000:], sep="\n")
        print(world.citadel.process.tail(20))
    assert world.pilot.nacks == []


class Requests:
    """Requests without a pause, until stop(): the statuses and errors that were not a 200."""

    def __init__(self, world, path="/"):
        self.world, self.path, self.done, self.n, self.bad = world, path, False, 0, []
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.done:
            try:
                r = self.world.get(self.path, timeout=5)
                if r.status != 200:
                    self.bad.append(r)
            except OSError as e:
                self.bad.append(e)
            self.n += 1

    def stop(self):
        self.done = True
        self.thread.join()
        assert self.n > 0
        return self.bad


def test_mutual_tls(world):
    r = world.get("/hello").json()
    assert f"URI={sa('client')}" in r["headers"]["x-forwarded-client-cert"]
    assert world.pilot.nodes["client"]["LABELS"] == {"app": "client", "version": "v1"}
    assert world.pilot.nodes["client"]["SERVICE_ACCOUNT"] == "client"
    assert any(sa("client") in p for p in world.pilot.peers["client"])
    # In the clear, or without a certificate, nothing gets in.
    with pytest.raises(OSError):
        http_request(world.server.listen, "/", timeout=2)
    ip, port = world.server.listen.split(":")
    before = http_request(world.echo.addr, "/stats").json()["total"]
    with socket.create_connection((ip, int(port)), timeout=5) as s:
        s.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert s.recv(100) == b""
    assert http_request(world.echo.addr, "/stats").json()["total"] == before


def test_files_and_sockets_are_private(world):
    d = world.client.dir
    mode = {p: stat.S_IMODE(os.stat(d / p).st_mode)
            for p in ("sds", "sds/socket", "identity.json", "bootstrap.json", "envoy.log")}
    assert mode == {"sds": 0o700, "sds/socket": 0o600, "identity.json": 0o600,
                    "bootstrap.json": 0o600, "envoy.log": 0o600}
    for text in ((d / "bootstrap.json").read_text(), world.client.process.log(),
                 world.client.envoy_log()):
        assert "PRIVATE KEY" not in text
        assert world.client.token_file.read_text().strip() not in text
    assert not [p for p in pathlib.Path(f"/proc/{world.client.envoy_pid()}/fd").iterdir()
                if "lock" in os.readlink(p)]


def test_environment_names_the_workload(world):
    env = pathlib.Path(f"/proc/{world.client.envoy_pid()}/environ").read_bytes().split(b"\0")
    assert (b"MELTEMI_WORKLOAD=name=client&ns=default&sa=client&l.app=client&l.version=v1") in env


def test_renewal_under_load(world):
    run = Requests(world)
    seen = {a.name: set() for a in (world.client, world.server)}

    def renewed():
        for a in (world.client, world.server):
            seen[a.name].add(a.serial())
        return min(len(s) for s in seen.values()) >= 4
    wait_for(renewed, 40, what="three renewals of each", interval=0.2)
    assert run.stop() == []


def test_adoption(world):
    """The agent is killed; Envoy serves on, the next agent takes it over and renews."""
    a = world.server
    pid, serial = a.envoy_pid(), a.serial()
    run = Requests(world)
    a.process.kill()
    assert alive(pid) and world.get().status == 200
    a.start().wait()
    assert "Envoy adopted" in a.process.log()
    assert a.envoy_pid() == pid and alive(pid)
    wait_for(lambda: a.serial() not in (None, serial), 20, what="renewal after the adoption")
    assert run.stop() == []


def test_envoy_dies(world):
    a = world.client
    pid = a.envoy_pid()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not alive(pid))
    wait_for(lambda: a.envoy_pid() != pid and a.ready(), 20, what="another Envoy is ready")
    assert world.get().status == 200
    assert "signal 9" in a.process.log()


def test_drain(world):
    """A request that runs is answered; then Envoy and agent are gone."""
    a, out = world.client, []
    pid = a.envoy_pid()
    slow = threading.Thread(target=lambda: out.append(world.get("/?delay=1500ms").status))
    before = http_request(world.echo.addr, "/stats").json()["total"]
    slow.start()
    wait_for(lambda: a.stat("http.out.downstream_rq_active") > 0 and
             http_request(world.echo.addr, "/stats").json()["total"] >= before)
    a.process.proc.send_signal(signal.SIGTERM)
    wait_for(lambda: http_request(a.status, "/healthz/ready").status == 503)
    assert "drain" in http_request(a.status, "/healthz/ready").json()["reason"]
    a.process.expected_exit = True
    assert a.process.proc.wait(15) == 0
    slow.join()
    assert out == [200] and not alive(pid)
    assert "drained" in a.process.log()
    a.start().wait()
    assert world.get().status == 200


def test_drain_ends(world):
    """What does not end is cut when the time is over."""
    a = world.client
    with socket.create_connection(tuple(a.listen.split(":")), timeout=10) as s:
        s.sendall(b"GET /stream?interval=100ms HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"200" in s.recv(1000)
        start = time.monotonic()
        assert a.process.stop(timeout=15) == 0
        assert 2.5 < time.monotonic() - start < 8
    a.start().wait()


def test_another_setup_is_not_adopted(world):
    a = world.client
    pid = a.envoy_pid()
    a.process.kill()
    argv = list(a.process.argv)
    a.process.argv[a.process.argv.index("--labels") + 1] = "app=client,version=v2"
    a.start()
    wait_for(lambda: a.envoy_pid() != pid and a.ready(), 20, what="a new Envoy")
    assert not alive(pid)
    assert world.pilot.nodes["client"]["LABELS"]["version"] == "v2"
    a.process.stop(timeout=15)
    a.process.argv = argv
    a.start().wait()


def test_wrong_identity_is_refused(world):
    """A valid certificate of another service account."""
    other = world.agent("other")
    other.listen = f"{other.ip}:8001"
    world.pilot.config["other"] = {
        "Listener": [listener("out", other.listen, "server")],
        "Cluster": [cluster("server", world.server.listen,
                            tls_context("UpstreamTlsContext", san=sa("somebody-else")))]}
    other.start().wait()
    try:
        r = http_request(other.listen, "/")
        assert r.status == 503, r
        assert other.stat("cluster.server.ssl.fail_verify_san") > 0
    finally:
        other.process.stop(timeout=15)


def test_long_folder(world, net, tmp):
    """A work folder too deep for a socket's path."""
    deep = tmp / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    world.pilot.config["deep"] = {}
    a = Agent(net, deep, world.citadel, world.pilot.addr, "deep")
    world.agents.append(a)
    a.start()
    wait_for(lambda: (a.dir / "envoy.pid").exists(), 20)
    boot = (a.dir / "bootstrap.json").read_text()
    path = pathlib.Path(boot.split('"path": "')[1].split('"')[0])
    assert path.parent.parent == pathlib.Path("/tmp")
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    wait_for(lambda: a.stat("cluster.sds-grpc.upstream_cx_active") > 0)
    a.process.stop(timeout=15)
    path.unlink(missing_ok=True)
    path.parent.rmdir()


def test_bad_token(world):
    a = world.agent("bad", token="nonsense-nonsense-nonsense")
    a.start()
    try:
        wait_for(lambda: "unknown join token" in a.process.log())
        assert http_request(a.status, "/healthz/ready").status == 503
        why = http_request(a.status, "/readyz").json()["reasons"]
        assert any(r["condition"] == "identity" for r in why)
        assert not (a.dir / "envoy.pid").exists()
        # The right token, later: nothing has to be started again.
        a.token_file.write_text(world.citadel.token(sa("bad")) + "\n")
        world.pilot.config["bad"] = {}
        wait_for(lambda: (a.dir / "envoy.pid").exists(), 20, what="the agent joins")
        assert "nonsense-nonsense" not in a.process.log()
    finally:
        a.process.stop(timeout=15)


def test_stolen_token_gives_no_other_identity(world):
    """The token of one workload, asked to be another."""
    a = world.agent("thief", token=world.citadel.token(sa("poor")))
    a.start()
    try:
        wait_for(lambda: "may have" in a.process.log() and sa("poor") in a.process.log())
        assert not (a.dir / "envoy.pid").exists()
    finally:
        a.process.stop(timeout=15)


def self_signed(folder, name):
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    openssl("req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-keyout", key, "-out", cert, "-subj", f"/CN={name}", "-days", "2")
    return cert, key


def subject_at(addr):
    import ssl  # pylint: disable=import-outside-toplevel
    pem = ssl.get_server_certificate(tuple(addr.split(":")), timeout=3)
    return openssl("x509", "-noout", "-subject", stdin=pem.encode()).decode()


def test_certificates_from_files(world, tmp):
    allowed, outside = tmp / "certs", tmp / "outside"
    allowed.mkdir()
    outside.mkdir()
    cert, key = self_signed(allowed, "first")
    (allowed / "escape.pem").symlink_to(self_signed(outside, "secret")[0])
    (allowed / "escape.key").symlink_to(outside / "secret.key")
    gw = world.agent("gateway", "--type", "router", "--file-cert-dir", allowed)
    gw.listen, gw.bad = f"{gw.ip}:8443", f"{gw.ip}:9443"

    def tls(c, k):
        return tls_context("DownstreamTlsContext", cert=f"file-cert:{c}~{k}", roots=None)
    world.pilot.config["gateway"] = {
        "Listener": [listener("gw", gw.listen, "app", tls(cert, key))],
        "Cluster": [cluster("app", world.echo.addr)]}
    gw.start().wait()
    try:
        assert "first" in subject_at(gw.listen)
        # Half a change (the certificate alone) is not taken; the whole is.
        c2, k2 = self_signed(outside, "second")
        os.replace(c2, cert)
        wait_for(lambda: "does not belong" in gw.process.log())
        assert "first" in subject_at(gw.listen)
        os.replace(k2, key)
        wait_for(lambda: "second" in subject_at(gw.listen), what="the new certificate is served")
    finally:
        gw.process.stop(timeout=15)
    # Links that lead out of the folder are not followed.
    world.pilot.config["gateway"]["Listener"] = [
        listener("gw", gw.listen, "app", tls(allowed / "escape.pem", allowed / "escape.key"))]
    gw.start()
    try:
        wait_for(lambda: "--file-cert-dir" in gw.process.log(), 20)
        with pytest.raises(OSError):
            subject_at(gw.listen)
    finally:
        gw.process.stop(timeout=15)


def test_incremental_secrets(world):
    """The same by DeltaSecrets: first values, and renewals. Health has its usual port."""
    a = world.agent("delta", "--cert-ttl", "8s")
    at = a.process.argv.index("--status-addr")
    del a.process.argv[at:at + 2]
    a.listen = f"{a.ip}:8001"
    world.pilot.config["delta"] = {
        "Listener": [listener("out", a.listen, "server")],
        "Cluster": [cluster("server", world.server.listen, tls_context(
            "UpstreamTlsContext", san=sa("server"), api="DELTA_GRPC"))]}
    a.start().wait()
    try:
        r = http_request(a.listen, "/")
        assert f"URI={sa('delta')}" in r.json()["headers"]["x-forwarded-client-cert"]
        seen = set()

        def renewed():
            for c in http_request(a.admin, "/certs").json()["certificates"]:
                seen.update(i["serial_number"] for i in c.get("cert_chain", []))
            assert http_request(a.listen, "/").status == 200
            return len(seen) >= 3
        wait_for(renewed, 30, what="renewals", interval=0.2)
        assert http_request(f"{a.ip}:15020", "/metrics").status == 404
    finally:
        a.process.stop(timeout=15)


def test_starting_with_wrong_options(world):
    for words, flags in (("--pilot-addr", ["--pilot-addr", "x"]), ("--ip", ["--ip", "nowhere"]),
                         ("--labels", ["--labels", "novalue"]), ("--type", ["--type", "pigeon"]),
                         ("loopback", ["--tls", "off", "--pilot-addr", "192.0.2.1:15010"]),
                         ("longer", ["--sds-socket", "/tmp/" + "x" * 120]),
                         ("others may open", ["--sds-socket", "/tmp/socket"]),
                         ("--delta", ["--delta", "perhaps"]),
                         ("--file-cert-dir", ["--file-cert-dir", "/nonexistent"])):
        a = world.agent("wrong", *flags)
        p = a.process.start()
        assert p.proc.wait(10) != 0 and words in p.log(), p.tail()
        p.log_path.unlink()
