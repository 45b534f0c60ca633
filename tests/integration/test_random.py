"""Whatever order configuration came in, what counts is what it is: after random changes, restarts of
daemons and proxies among them, every proxy holds exactly what a new proxy gets from a new Pilot that
knows nothing but the configuration of now. So do the credentials that gateways are given by name.

The changes come from generate.py by a seed, which is printed: MELTEMI_SEEDS=7,8 runs other seeds,
MELTEMI_SEEDS=1-100 a range of them, MELTEMI_STEPS=200 more changes. By default it is bounded to what
CI has time for.
"""
import json
import os
import random
import shutil
import signal

import pytest

from generate import CERTIFICATES, Generator
from mesh import ADMIN_PORT, Proxy
from mesh_tls import AgentEnvoy, TlsMesh, make_ca, make_cert
from netns import Loopback, Namespace
from util import Timeout, http_request, wait_for, write_atomic


def seeds(text):
    """"7,8" or "1-100"."""
    out = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        out += range(int(first), int(last or first) + 1)
    return out


SEEDS = seeds(os.environ.get("MELTEMI_SEEDS", "1,2,3"))
STEPS = int(os.environ.get("MELTEMI_STEPS", "60"))
ROUNDS = 2
KINDS = ("cluster", "listener", "route", "endpoint", "secret")
OWN = {("secret", "default"), ("secret", "ROOTCA")}  # its identity


WORKLOADS = [  # those of the generator's services are found among the endpoints by their addresses
    dict(of="web", ns="default", labels={"app": "web", "version": "v1"}, ip="10.7.4.1"),
    dict(of="peer", ns="other", labels={"app": "a", "version": "v2"}, ip="10.7.0.2"),
    dict(of="bare", ns="default", labels={"app": "b"}, ip="127.77.2.1", capture="NONE"),
    dict(of="edge", ns="istio-system", labels={"istio": "ingressgateway"}, ip="127.77.2.2",
         kind="router"),
]
ADDRESSES = [w["ip"] for w in WORKLOADS[:3]]


@pytest.fixture(scope="module")
def certificates(tmp):
    """Folders of what a credential may be."""
    ca = make_ca(tmp / "roots")
    folders = [tmp / f"cert-{i}" for i in range(CERTIFICATES)]
    for folder in folders:
        make_cert(folder, folder.name, ca, ["sni.example.com"])
        shutil.copy(ca[0], folder / "ca.crt")
    return folders


class Gate(Proxy):
    """A gateway with an agent, which gives it the credentials of a folder."""

    def __init__(self, mesh, number, folder, **w):
        self.agent_flags = ["--credentials-dir", folder]
        super().__init__(mesh, number, **w)

    def make_envoy(self, mesh, own):
        return AgentEnvoy(mesh, self, f"{own}:{ADMIN_PORT}", self.protocol, f"{own}:15020")


class Plane:
    """A mesh in a network namespace of its own; everything in it has the same addresses as in
    another one."""

    def __init__(self, tmp, files, certificates, credentials):
        self.ns, self.certificates = Namespace(), certificates
        self.credentials = tmp / "credentials"
        self.credentials.mkdir(parents=True)
        for name, number in credentials.items():
            self.give(name, number)
        self.mesh = TlsMesh(Loopback(), tmp, None)
        self.mesh.daemons["pilot"].argv += ["--xds-addr", self.mesh.plain_xds_addr]
        self.mesh.gateways = [self.proxy(2 * i + k, protocol=protocol, **w)
                              for i, w in enumerate(WORKLOADS, 1)
                              for k, protocol in enumerate(("delta", "sotw"))]
        for name, objects in files.items():
            if objects:
                self.mesh.apply(name, list(objects.values()))
        with self.ns:
            self.mesh.start()

    def proxy(self, number, **w):
        if w.get("kind") == "router":
            return Gate(self.mesh, number, self.credentials, **w)
        return Proxy(self.mesh, number, **w)

    def stop(self):
        with self.ns:
            self.mesh.stop()
        self.ns.close()

    def give(self, name, number):
        """The credential is this certificate from now on; None: it goes. No file is seen half written."""
        folder = self.credentials / name
        if number is None:
            shutil.rmtree(folder)
            return
        folder.mkdir(exist_ok=True)
        for file in ("ca.crt", "tls.key", "tls.crt"):
            write_atomic(folder / file, (self.certificates[number] / file).read_text())

    def write(self, change):
        if change.credential:
            self.give(*change.credential)
        elif change.objects is not None:
            self.mesh.apply(change.file, change.objects)
        elif (self.mesh.config / f"{change.file}.yaml").exists():
            self.mesh.remove(change.file)

    def revisions(self):
        """{(kind, namespace, name): rev} as Pilot knows them."""
        page = http_request(self.mesh.monitor["pilot"], "/debug/configz").json()
        return {(o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]):
                o["metadata"].get("labels", {}).get("rev") for o in page}

    def in_step(self, held):
        """Pilot has exactly this configuration, and every proxy has what Pilot made of it."""
        want = {k: o["metadata"]["labels"]["rev"] for k, o in held.items()}
        have = self.revisions()
        if have != want:
            reports = http_request(self.mesh.monitor["galley"], "/debug/config").json()["reports"]
            raise AssertionError(f"Pilot has {set(have.items()) ^ set(want.items())}, "
                                 f"Galley says {reports}")
        page = http_request(self.mesh.monitor["pilot"], "/debug/syncz").json()
        late = [(p["proxy"], n, t) for p in page for n, t in p["types"].items()
                if t["status"] not in ("SYNCED", "NOT SENT")]
        assert not late and len(page) == len(self.mesh.gateways), (late, len(page))
        return True

    def pending(self):
        """Objects of which the newest generation is not in force, and why."""
        page = http_request(self.mesh.monitor["pilot"], "/debug/status").json()
        return [{k: o[k] for k in ("kind", "namespace", "name", "state", "pending", "refused")}
                for o in page["objects"]
                if o["state"] != "in force" or o["pending"]]

    def holds(self):
        """{proxy: {kind/name: resource}}."""
        return {p.name: {f"{kind}/{name}": plain(r) for kind in KINDS
                         for name, r in p.envoy.resources(kind).items()
                         if (kind, name) not in OWN}
                for p in self.mesh.gateways}


def plain(r):
    """The order of a load assignment's endpoints, and of virtual hosts that came one by one, is that
    in which they came: it has no meaning."""
    if "virtual_hosts" in r:
        r = {**r, "virtual_hosts": sorted(r["virtual_hosts"], key=lambda v: v["name"])}
    if "endpoints" in r:
        def text(x):
            return json.dumps(x, sort_keys=True)
        r = {**r, "endpoints": sorted(
            ({**e, "lb_endpoints": sorted(e.get("lb_endpoints", []), key=text)}
             for e in r["endpoints"]), key=text)}
    return r


def first_difference(a, b, path=""):
    """Where two JSON values part."""
    if type(a) is not type(b) or not isinstance(a, (dict, list)):
        return f"{path}: {json.dumps(a)[:300]} | {json.dumps(b)[:300]}"
    keys = (list(a) + [k for k in b if k not in a]) if isinstance(a, dict) else range(
        max(len(a), len(b)))
    for k in keys:
        try:
            x, y = a[k], b[k]
        except (KeyError, IndexError):
            return f"{path}/{k}: only on the {'left' if k in a else 'right'}" \
                if isinstance(a, dict) else f"{path}: {len(a)} items | {len(b)} items"
        if x != y:
            return first_difference(x, y, f"{path}/{k}")
    return path


def differences(left, right, what):
    out = []
    for name in sorted(set(left) | set(right)):
        a, b = left.get(name), right.get(name)
        if a is None or b is None:
            out.append(f"{what} {name}: only on the {'right' if a is None else 'left'}")
        elif a != b:
            out.append(f"{what} {name}{first_difference(a, b)}")
    return out


def same(live, fresh, held):
    """Raises with what differs between the two planes, and between the variants of one."""
    for plane in (live, fresh):
        with plane.ns:
            plane.in_step(held)
    with live.ns:
        old = live.holds()
    with fresh.ns:
        new = fresh.holds()
    out = [d for proxy in old for d in differences(old[proxy], new[proxy], proxy)]
    for w in WORKLOADS:  # routes have virtual hosts of their own names where those are resources
        delta, sotw = ({n: r for n, r in old[f"{w['of']}-{variant}"].items()
                        if not n.startswith("route/")} for variant in ("delta", "sotw"))
        out += differences(delta, sotw, f"variants of {w['of']}")
    with live.ns:
        assert not out, (f"{len(out)} differences, such as (live | fresh)\n" + "\n".join(out[:20])
                         + f"\npending: {live.pending()}")
    return True


def disturb(rng, live):
    """Now and then something dies, in the midst of the changes."""
    roll = rng.random()
    if roll < 0.02:
        live.mesh.daemons["pilot"].stop(signal.SIGKILL)
        live.mesh.start_daemon("pilot")
        return "Pilot is killed"
    if roll < 0.03:
        live.mesh.daemons["galley"].stop(signal.SIGTERM)
        live.mesh.start_daemon("galley")
        return "Galley is started again"
    if roll < 0.05:
        p = rng.choice(live.mesh.gateways)
        if isinstance(p, Gate):  # an agent that is killed leaves its Envoy behind
            p.stop()
        else:
            p.envoy.process.kill()
        p.start()
        return f"{p.name} starts again"
    return None


@pytest.mark.leaks
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.timeout(300)
def test_what_counts_is_what_is(tmp, certificates, seed):
    gen, rng = Generator(seed, ADDRESSES), random.Random(seed + 1000000)
    print(f"seed {seed}, {STEPS} changes a round")
    live, said = Plane(tmp / f"live-{seed}", gen.files, certificates, {}), []
    try:
        for turn in range(ROUNDS):
            for change in gen.changes(STEPS):
                said.append(f"{change.file}: {change.what}")
                with live.ns:
                    live.write(change)
                    said.append(disturb(rng, live))
                    if rng.random() < 0.3:  # else the next change comes while this one is under way
                        step = dict(gen.held())
                        wait_for(lambda step=step: live.in_step(step), 30, what="a change is in force")
            for change in gen.settle():
                said.append(f"{change.file}: settles: {change.what}")
                live.write(change)
            compare(tmp / f"fresh-{seed}-{turn}", live, gen)
    except BaseException:
        print("\n".join(s for s in said if s))
        with live.ns:
            print(live.mesh.logs()[-4000:])
        raise
    finally:
        live.stop()


def compare(folder, live, gen):
    fresh = Plane(folder, gen.files, live.certificates, gen.credentials)
    try:
        wait_for(lambda: same(live, fresh, gen.held()), 30, interval=0.3, what="both hold the same")
        with live.ns:
            used = {n for p in live.mesh.gateways for n in p.envoy.resources("secret")}
        assert used & {f"kubernetes://{name}" for name in gen.credentials}, used
        for plane in (live, fresh):
            with plane.ns:
                assert not plane.mesh.nacks(), json.dumps(plane.mesh.nacks(), indent=1)
    except Timeout as e:
        with live.ns:
            raise Timeout(f"{e}\nrejected: {json.dumps(live.mesh.nacks())[:3000]}") from None
    finally:
        fresh.stop()
