"""Galley alone: its folder, its state, its REST, and what a discovery client is sent."""
import datetime
import json
import os
import queue
import threading
import time

import grpc
import pytest
import yaml
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2

from identities import Citadel, daemon, sa
from util import BIN, Process, http_request, wait_for, write_atomic

pytestmark = pytest.mark.leaks
VS_TYPE = "networking.istio.io/v1alpha3/VirtualService"
SERVICE = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"


def vs(name, host="a.example.com", ns="default", **meta):
    return {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": {"name": name, "namespace": ns, **meta},
            "spec": {"hosts": [host], "http": [{"route": [{"destination": {"host": host}}]}]}}


class Galley:
    def __init__(self, net, tmp, name, *flags, tls=("--tls", "off")):
        self.dir, self.state = tmp / f"{name}-conf", tmp / f"{name}-state"
        self.dir.mkdir()
        ip = net.ip()
        self.addr, self.monitor = f"{ip}:9901", f"{ip}:15114"
        self.process = Process(f"galley-{name}", [
            BIN / "galley", "--source", f"dir:{self.dir}", "--state-dir", self.state,
            "--listen", self.addr, "--monitoring-addr", self.monitor, *tls, *flags], tmp)

    def start(self, ready=True):
        self.process.start()
        wait_for(lambda: self.process.check() or
                 http_request(self.monitor, "/readyz" if ready else "/healthz").status == 200,
                 what="galley is ready")
        return self

    def write(self, name, *objects):
        write_atomic(self.dir / name, yaml.safe_dump_all(objects, sort_keys=False))

    def page(self):
        return http_request(self.monitor, "/debug/config").json()

    def rest(self, method, path, body=None):
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        return http_request(self.monitor, f"/v1/{path}", method=method, body=body)

    def object(self, name, kind="virtualservices", ns="default"):
        r = self.rest("GET", f"objects/{kind}/{ns}/{name}")
        return r.json() if r.status == 200 else None

    def until(self, n, what=""):
        wait_for(lambda: self.page()["objects"] == n, what=what or f"{n} objects are in force")


class Client:
    """A delta or state-of-the-world stream for one type, which keeps what it is sent."""

    def __init__(self, addr, held=None, delta=True, type_url=VS_TYPE, channel=None):
        self.type_url, self.delta = type_url, delta
        self.held = dict(held or {})
        self.responses = []
        self.requests = queue.Queue()
        self.channel = channel or grpc.insecure_channel(addr)
        self.error = None
        kind = "Delta" if delta else ""
        cls = getattr(discovery_pb2, kind + "DiscoveryRequest")
        out = getattr(discovery_pb2, kind + "DiscoveryResponse")
        method = "DeltaAggregatedResources" if delta else "StreamAggregatedResources"
        first = cls(node=base_pb2.Node(id="test"), type_url=type_url)
        if delta and held:
            first.initial_resource_versions.update(held)
        self.requests.put(first)
        call = self.channel.stream_stream(SERVICE + method, cls.SerializeToString, out.FromString)
        self.stream = call(iter(self.requests.get, None))
        self.thread = threading.Thread(target=self.run, args=(cls,), daemon=True)
        self.thread.start()

    def run(self, cls):
        try:
            for r in self.stream:
                if self.delta:
                    for res in r.resources:
                        assert res.resource.type_url.endswith("istio.mcp.v1alpha1.Resource")
                        self.held[res.name] = res.version
                    for name in r.removed_resources:
                        self.held.pop(name, None)
                else:
                    self.held = dict(enumerate(r.resources))
                self.responses.append(r)
                answer = cls(type_url=self.type_url, response_nonce=r.nonce)
                if not self.delta:
                    answer.version_info = r.version_info
                self.requests.put(answer)
        except grpc.RpcError as e:
            self.error = e

    def close(self):
        self.requests.put(None)
        self.stream.cancel()
        self.channel.close()
        self.thread.join()


@pytest.fixture(scope="module")
def galley(net, tmp):
    g = Galley(net, tmp, "a").start()
    yield g
    assert g.process.stop() == 0


@pytest.fixture
def clean(galley):
    """An empty folder, before and after."""
    def empty():
        for path in sorted(galley.dir.rglob("*"), reverse=True):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
                path.rmdir()
            else:
                path.unlink()
        galley.until(0)
    empty()
    yield galley
    empty()


def test_first_answer_is_nothing(clean):
    for delta in (True, False):
        c = Client(clean.addr, delta=delta)
        wait_for(lambda: c.responses, what="an empty answer says that there is nothing")
        assert c.held == {}
        c.close()


@pytest.mark.parametrize("delta", [True, False])
def test_changes_reach_a_stream(clean, delta):
    c = Client(clean.addr, delta=delta)
    clean.write("a.yaml", vs("one"), vs("two"))
    wait_for(lambda: len(c.held) == 2)
    before = len(c.responses)
    clean.write("a.yaml", vs("one"), vs("two", "b.example.com"))
    wait_for(lambda: len(c.responses) > before)
    if delta:
        assert [r.name for r in c.responses[-1].resources] == ["default/two"]
    (clean.dir / "a.yaml").unlink()
    wait_for(lambda: not c.held)
    c.close()


def test_hundreds_of_files_in_bursts(clean):
    c = Client(clean.addr)
    for i in range(400):
        clean.write(f"f{i}.yaml", vs(f"vs-{i}"))
    wait_for(lambda: len(c.held) == 400)
    for round_ in range(3):
        (clean.dir / f"sub{round_}").mkdir()
        for i in range(400):
            clean.write(f"f{i}.yaml", vs(f"vs-{i}", f"h{round_}.example.com"))
        clean.write(f"sub{round_}/x.yml", vs(f"sub-{round_}"))
    wait_for(lambda: len(c.held) == 403)
    wait_for(lambda: clean.object("vs-399")["spec"]["hosts"] == ["h2.example.com"])
    wait_for(lambda: all(clean.object(f"vs-{i}")["spec"]["hosts"] == ["h2.example.com"]
                         for i in range(0, 400, 57)))
    for i in range(400):
        (clean.dir / f"f{i}.yaml").unlink()
    wait_for(lambda: len(c.held) == 3)
    c.close()


def test_invalid_edits_keep_what_was(clean):
    clean.write("a.yaml", vs("one"), vs("two"))
    clean.until(2)
    (clean.dir / "a.yaml").write_text("apiVersion: networking.istio.io/v1\nkind: VirtualService\n"
                                      "metadata: {name: one}\nspec:\n  hosts: [x]\n  https: []\n")
    report = wait_for(lambda: clean.page()["reports"])[0]
    assert report["invalid"] and report["objects_in_force"] == 2
    fault = report["diagnostics"][0]
    assert (fault["line"], fault["column"], fault["path"]) == (6, 3, "spec")
    assert "https" in fault["message"]
    assert clean.object("one")["spec"]["hosts"] == ["a.example.com"]
    # Valid in form, wrong in meaning: the weights.
    bad = vs("one")
    bad["spec"]["http"][0]["timeout"] = "-5s"
    clean.write("a.yaml", bad, vs("two", "new.example.com"))
    wait_for(lambda: clean.object("two")["spec"]["hosts"] == ["new.example.com"])
    assert clean.object("one")["spec"]["http"][0].get("timeout") is None
    clean.write("a.yaml", vs("one", "fixed.example.com"))
    clean.until(1)
    assert clean.page()["reports"] == []


def test_json_and_other_names(clean):
    write_atomic(clean.dir / "a.json", json.dumps(vs("json")))
    (clean.dir / "readme.txt").write_text("nothing")
    (clean.dir / ".hidden.yaml").write_text("a: [")
    clean.write("b.yml", vs("yml"))
    clean.until(2)
    assert clean.page()["reports"] == []


def test_a_change_costs_its_file(clean):
    """Changed, new, renamed and removed files are looked at by name: the folder is not read again."""
    def scans():
        return clean.page()["sources"][0]["scans"]

    for i in range(20):
        clean.write(f"f{i}.yaml", vs(f"one-{i}"))
    clean.until(20)
    before, start = scans(), time.monotonic()
    for i in range(10):
        clean.write("f0.yaml", vs("one-0", f"host-{i}.example.com"))
        wait_for(lambda: clean.object("one-0")["metadata"]["generation"] == i + 2)
        clean.write(f"new-{i}.yaml", vs(f"new-{i}"))
        wait_for(lambda: clean.object(f"new-{i}"))
        os.rename(clean.dir / f"new-{i}.yaml", clean.dir / f"moved-{i}.yaml")
        (clean.dir / f"f{i + 1}.yaml").unlink()
        wait_for(lambda: not clean.object(f"one-{i + 1}"))
    clean.until(20)
    # The folder is still read whole from time to time (--rescan, 30 s).
    assert scans() - before <= (time.monotonic() - start) / 30 + 1


def test_what_a_link_leads_to(clean):
    """A file of another name may be where a link leads: its replacement is seen."""
    (clean.dir / "text").write_text(yaml.safe_dump(vs("one")))
    os.symlink("text", clean.dir / "a.yaml")
    clean.until(1)
    write_atomic(clean.dir / "text", yaml.safe_dump(vs("two")))
    wait_for(lambda: clean.object("two") and not clean.object("one"))


def test_mounted_volume(clean):
    """How Kubernetes swaps what it mounts: files are links through ..data, which is renamed."""
    d = clean.dir

    def version(n, *objects):
        (d / f"..v{n}").mkdir()
        (d / f"..v{n}" / "a.yaml").write_text(yaml.safe_dump_all(objects))
        os.symlink(f"..v{n}", d / "..data_tmp")
        os.rename(d / "..data_tmp", d / "..data")

    version(1, vs("one"))
    os.symlink("..data/a.yaml", d / "a.yaml")
    clean.until(1)
    version(2, vs("one", "second.example.com"), vs("two"))
    clean.until(2)
    assert clean.object("one")["metadata"]["generation"] == 2


def test_half_written_file_waits_for_its_end(clean):
    c = Client(clean.addr)
    text = yaml.safe_dump_all([vs("one"), vs("two")])
    half = text.index("---")
    with open(clean.dir / "a.yaml", "w") as f:
        f.write(text[:half])
        f.flush()
        # Others are read meanwhile.
        clean.write("b.yaml", vs("other"))
        wait_for(lambda: "default/other" in c.held)
        assert clean.page()["objects"] == 1
        f.write(text[half:])
    clean.until(3)
    c.close()


def test_unreadable_things(clean):
    clean.write("a.yaml", vs("one"))
    clean.until(1)
    (clean.dir / "folder.yaml").mkdir()
    os.symlink("nowhere", clean.dir / "dangling.yaml")
    os.mkfifo(clean.dir / "pipe.yaml")
    wait_for(lambda: {r["file"].rsplit("/", 1)[1] for r in clean.page()["reports"]} ==
             {"dangling.yaml", "pipe.yaml"})
    assert clean.page()["objects"] == 1
    # A file that turns unreadable keeps its objects.
    (clean.dir / "a.yaml").unlink()
    os.symlink("gone", clean.dir / "a.yaml")
    wait_for(lambda: "a.yaml" in str(clean.page()["reports"]))
    assert clean.page()["objects"] in (0, 1)


def test_two_files_with_one_object(clean):
    clean.write("b.yaml", vs("one", "b.example.com"))
    clean.until(1)
    clean.write("a.yaml", vs("one", "a.example.com"))
    wait_for(lambda: clean.object("one")["spec"]["hosts"] == ["a.example.com"])
    clean.write("b.yaml", vs("one", "b2.example.com"))
    wait_for(lambda: "a.yaml defines it too" in json.dumps(clean.page()))
    (clean.dir / "a.yaml").unlink()
    wait_for(lambda: clean.object("one")["spec"]["hosts"] == ["b2.example.com"])


def test_age(clean):
    """What came without a creationTimestamp is as old as its first sight; a change keeps that."""
    stamp = "creationTimestamp"
    clean.rest("PUT", "objects/virtualservices/default/one", vs("one"))
    first = clean.object("one")["metadata"][stamp]
    age = time.time() - datetime.datetime.fromisoformat(first.replace("Z", "+00:00")).timestamp()
    assert -1 < age < 60, first
    clean.rest("PUT", "objects/virtualservices/default/one", vs("one", "b.c"))
    changed = clean.object("one")["metadata"]
    assert changed["generation"] == 2 and changed[stamp] == first
    clean.write("two.yaml", vs("two", **{stamp: "2020-01-02T03:04:05Z"}))
    clean.until(2)
    assert clean.object("two")["metadata"][stamp].startswith("2020-01-02T03:04:05")
    written = (clean.dir / "two.yaml").stat().st_mtime_ns
    wait_for(lambda: any(p.stat().st_mtime_ns > written for p in clean.state.rglob("objects")),
             what="the first sight is saved")
    clean.process.kill()
    clean.start()
    assert clean.object("one")["metadata"][stamp] == first


def test_rest(clean):
    r = clean.rest("PUT", "objects/virtualservices/default/one", vs("one"))
    assert r.status == 200 and r.json()["in_force"] and r.json()["generation"] == 1
    assert r.json()["file"].endswith("/applied/default.VirtualService.one.yaml")
    r = clean.rest("PUT", "objects/VirtualService/default/one", yaml.safe_dump(vs("one", "b.c")))
    assert r.json()["generation"] == 2
    listed = clean.rest("GET", "objects/virtualservices").json()["items"]
    assert [o["metadata"]["name"] for o in listed] == ["one"]
    assert clean.rest("GET", "objects/virtualservices/other").json()["items"] == []
    text = clean.rest("GET", "objects/virtualservices/default/one?format=yaml").text
    assert yaml.safe_load(text)["spec"]["hosts"] == ["b.c"]
    # Refused, and nothing changes.
    bad = vs("one")
    bad["spec"]["http"][0]["timeot"] = "1s"
    r = clean.rest("PUT", "objects/virtualservices/default/one", bad)
    assert r.status == 400 and "timeot" in r.text and r.json()["diagnostics"][0]["path"]
    for path, body, status in [
            ("objects/virtualservices/default/two", vs("one"), 400),
            ("objects/virtualservices/default/../x", vs("one"), 400),
            ("objects/pods/default/one", vs("one"), 404),
            ("objects/virtualservices", vs("one"), 400),
            ("objects/virtualservices/default/one", "", 400)]:
        assert clean.rest("PUT", path, body).status == status, path
    assert clean.object("one")["spec"]["hosts"] == ["b.c"]
    # What a person wrote is theirs.
    clean.write("mine.yaml", vs("mine"))
    clean.until(2)
    for method in ("PUT", "DELETE"):
        r = clean.rest(method, "objects/virtualservices/default/mine", vs("mine", "x.y"))
        assert r.status == 409 and "mine.yaml" in r.text
    assert clean.rest("DELETE", "objects/virtualservices/default/one").status == 200
    assert clean.rest("DELETE", "objects/virtualservices/default/one").status == 404
    # A kind of the whole mesh.
    mesh = {"apiVersion": "mesh.istio.io/v1alpha1", "kind": "MeshConfig",
            "metadata": {"name": "default"}, "spec": {"policyCheckFailOpen": True}}
    assert clean.rest("PUT", "objects/MeshConfig/default", mesh).status == 200
    assert clean.rest("GET", "objects/MeshConfig/default").json()["spec"] == mesh["spec"]
    assert clean.rest("DELETE", "objects/MeshConfig/default").status == 200
    r = clean.rest("POST", "validate", yaml.safe_dump_all([vs("x"), bad])).json()
    assert not r["valid"] and r["objects"] == 1 and len(r["diagnostics"]) == 1


def test_killed_and_back(net, tmp):
    g = Galley(net, tmp, "killed").start()
    g.write("a.yaml", vs("one"), vs("two"))
    g.until(2)
    g.write("a.yaml", vs("one", "b.c"), vs("two"))
    wait_for(lambda: g.object("one")["metadata"]["generation"] == 2)
    c = Client(g.addr)
    wait_for(lambda: len(c.held) == 2)
    held = dict(c.held)
    state = g.state / "galley" / "objects"
    wait_for(lambda: state.exists() and b"b.c" in state.read_bytes(), what="the state is on disk")
    g.process.kill()
    c.close()
    # Killed, and back with the same: nothing is sent again, generations go on.
    g.start()
    c = Client(g.addr, held)
    wait_for(lambda: c.responses)
    assert not c.responses[0].resources and not c.responses[0].removed_resources
    assert g.object("one")["metadata"]["generation"] == 2
    g.write("a.yaml", vs("one", "c.d"))
    wait_for(lambda: set(c.held) == {"default/one"} and c.held["default/one"] != held["default/one"])
    assert g.object("one")["metadata"]["generation"] == 3
    c.close()
    # An invalid file at the start: what an earlier run knew from it is in force.
    wait_for(lambda: b"c.d" in state.read_bytes())
    g.process.kill()
    (g.dir / "a.yaml").write_text("{{{")
    g.start()
    wait_for(lambda: g.page()["sources"][0]["read_whole"])
    assert g.page()["objects"] == 1 and g.page()["invalid_files"] == 1
    assert g.object("one")["spec"]["hosts"] == ["c.d"]
    assert g.process.stop() == 0


def test_source_away(net, tmp):
    g = Galley(net, tmp, "away").start()
    g.write("a.yaml", vs("one"), vs("two"))
    g.until(2)
    c = Client(g.addr)
    wait_for(lambda: len(c.held) == 2)
    away = g.dir.with_name("moved")
    g.dir.rename(away)
    wait_for(lambda: not g.page()["sources"][0]["readable"])
    assert g.page()["objects"] == 2 and len(c.held) == 2
    c.close()
    state = g.state / "galley" / "objects"
    wait_for(state.exists)
    # Started without it.
    g.process.stop()
    g.start()
    assert g.page()["objects"] == 2
    assert "last good state" in g.process.log()
    c = Client(g.addr)
    wait_for(lambda: len(c.held) == 2)
    away.rename(g.dir)
    wait_for(lambda: g.page()["sources"][0]["readable"])
    g.write("a.yaml", vs("one"))
    wait_for(lambda: set(c.held) == {"default/one"})
    c.close()
    assert g.process.stop() == 0


def test_great_loss_is_held(net, tmp):
    g = Galley(net, tmp, "loss", "--loss-hold", "1s").start()
    for i in range(10):
        g.write(f"{i}.yaml", vs(f"vs-{i}"))
    g.until(10)
    for i in range(8):
        (g.dir / f"{i}.yaml").unlink()
    wait_for(lambda: g.page()["held"])
    assert g.page()["objects"] >= 8
    g.until(2, "after a second the loss is believed")
    assert g.process.stop() == 0


def test_only_the_control_plane_may_read(net, tmp):
    folder = tmp / "ca"
    folder.mkdir()
    citadel = Citadel(net, folder, "--dns-san", f"{daemon('galley')}=galley.test")
    ids = {"pilot": daemon("pilot"), "mixer": daemon("mixer"), "citadel": daemon("citadel"),
           "galley": daemon("galley"), "workload": sa("reviews"), "pilot-elsewhere":
           sa("istio-pilot-service-account", "default"), "special": sa("special", "ops")}
    tokens = {name: citadel.token(i) for name, i in ids.items()}
    citadel.start()
    token = tmp / "galley-token"
    token.write_text(tokens["galley"])
    token.chmod(0o600)
    tls = ("--ca-addr", citadel.addr, "--join-token-file", token, "--trust-bundle", citadel.bundle)
    certs = {name: citadel.issue(token=tokens[name], ttl=3600) for name in ids}

    def may_read(g, cert):
        creds = grpc.ssl_channel_credentials(
            citadel.bundle.read_bytes(), cert and cert.key.encode(), cert and cert.pem.encode())
        c = Client(g.addr, channel=grpc.secure_channel(g.addr, creds, [
            ("grpc.ssl_target_name_override", "galley.test"),
            ("grpc.use_local_subchannel_pool", 1)]))
        wait_for(lambda: c.responses or c.error)
        c.close()
        return True if c.responses else c.error.code()

    g = Galley(net, tmp, "tls", tls=tls).start()
    g.write("a.yaml", vs("one"))
    g.until(1)
    denied, away = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAVAILABLE
    assert {name: may_read(g, cert) for name, cert in certs.items()} == {
        "pilot": True, "mixer": True, "citadel": True, "galley": denied, "workload": denied,
        "pilot-elsewhere": denied, "special": denied}
    assert may_read(g, None) == away
    plain = Client(g.addr)
    wait_for(lambda: plain.error)
    assert not plain.responses
    plain.close()
    assert g.process.stop() == 0
    # A list of one's own replaces the default one.
    g = Galley(net, tmp, "tls-allow", "--allow", ids["special"], tls=tls).start()
    assert may_read(g, certs["special"]) is True
    assert may_read(g, certs["pilot"]) == denied
    assert g.process.stop() == 0
    citadel.stop()


@pytest.mark.parametrize("flags,word", [
    (["--listen", "0.0.0.0:9901"], "--listen"),
    (["--source", "ftp:x"], "--source"),
    (["--source", "dir:"], "--source"),
])
def test_refuses_to_start(net, tmp, flags, word):
    ip = net.ip()
    p = Process("galley-refused", [BIN / "galley", "--source", f"dir:{tmp}", "--state-dir",
                                   tmp / "refused", "--listen", f"{ip}:9901", "--monitoring-addr",
                                   f"{ip}:15114", "--tls", "off", *flags], tmp).start()
    p.expected_exit = True
    assert p.proc.wait(10) == 1
    assert word in p.tail()
