"""`make up` from end to end: the mesh comes up, the five things to try have their effect within a
second, it goes down and leaves nothing behind."""
import collections
import fcntl
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time

import pytest

from util import BIN, http_request, wait_for


class Dev:
    """A mesh of `meltemi dev` on a 127.X of its own."""

    def __init__(self, folder):
        locks = pathlib.Path(tempfile.gettempdir()) / "meltemi-test-nets"
        locks.mkdir(mode=0o777, exist_ok=True)
        for i in range(50):
            x = 200 + (os.getpid() + i) % 50
            self.lock = os.open(locks / f"127.{x}", os.O_CREAT | os.O_RDWR, 0o666)
            try:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                os.close(self.lock)
        self.prefix, self.ip, self.dir = f"127.{x}", f"127.{x}.9.1", folder / "mesh"
        with socket.create_server(("127.0.0.1", 0)) as s:
            self.port = s.getsockname()[1]
        self.page = f"127.0.0.1:{self.port}"
        self.sample = self.dir / "sample"

    def run(self, *flags, timeout=90):
        return subprocess.run(
            [BIN / "meltemi", "dev", "--dir", self.dir, "--prefix", self.prefix, "--control-addr",
             self.ip, "--port", str(self.port), *flags], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False)

    def ctl(self, command, *args):
        """`meltemi COMMAND` against this mesh."""
        return subprocess.run([BIN / "meltemi", command, "--galley", f"http://{self.ip}:15114",
                               *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=20, check=False)

    def pilot(self, command, *args):
        return subprocess.run([BIN / "meltemi", command, "--pilot", f"http://{self.ip}:15014",
                               *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=20, check=False)

    def apply(self, name):
        done = self.ctl("apply", "-f", str(self.sample / name))
        assert done.returncode == 0, done.stdout

    def pids(self):
        """Processes of this mesh: all name its folder or its addresses."""
        marks = (str(self.dir).encode(), f"{self.prefix}.".encode())
        out = []
        for p in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                cmd = (p / "cmdline").read_bytes()
            except OSError:
                continue
            if any(m in cmd for m in marks) and int(p.name) != os.getpid():
                out.append(int(p.name))
        return out

    def load(self, n=1, **headers):
        return [http_request(self.page, "/", headers=headers) for _ in range(n)]

    def versions(self, n, **headers):
        return collections.Counter(
            r.headers.get("x-reviews-version") for r in self.load(n, **headers))


@pytest.fixture(scope="module")
def dev(tmp):
    d = Dev(tmp)
    start = time.monotonic()
    done = d.run("--detach")
    d.took, d.said = time.monotonic() - start, done.stdout
    try:
        assert done.returncode == 0, done.stdout + "".join(
            f"--- {p}\n" + p.read_text(errors="replace")[-1500:] for p in d.dir.glob("logs/*.log"))
        yield d
    finally:
        d.run("--stop")
        os.close(d.lock)


@pytest.fixture
def fresh(dev):
    dev.apply("mesh/routes.yaml")
    wait_for(lambda: dev.versions(5) == {"v1": 5})
    return dev


def within_a_second(condition, what):
    wait_for(condition, 1.0, what=f"within a second: {what}", interval=0.01)


def test_up_in_time_and_says_what_to_try(dev):
    assert dev.took < 15, f"{dev.took:.1f} s"
    assert f"http://127.0.0.1:{dev.port}/" in dev.said
    assert len(re.findall(r"meltemi apply -f", dev.said)) >= 4
    assert "/metrics" in dev.said and "logs" in dev.said.lower()
    r = http_request(dev.page, "/")
    assert r.status == 200 and "Meltemi Bookshop" in r.text
    assert r.headers["x-details-status"] == "200" and r.headers["x-reviews-status"] == "200"


def test_a_second_one_says_so(dev):
    again = dev.run("--detach")
    assert again.returncode != 0
    assert "run" in again.stdout.lower(), again.stdout
    assert http_request(dev.page, "/").status == 200


def test_shift_a_fifth(fresh):
    fresh.apply("try/1-shift-20-percent-to-v2.yaml")
    within_a_second(lambda: fresh.versions(1) == {"v2": 1}, "some loads show v2")
    seen = fresh.versions(200)
    # p = 0.2: five standard deviations are 28.
    assert set(seen) == {"v1", "v2"} and abs(seen["v2"] - 40) < 29, seen
    assert "stars black" in next(r for r in fresh.load(100)
                                 if r.headers["x-reviews-version"] == "v2").text


def test_route_one_user(fresh):
    fresh.apply("try/2-route-one-user.yaml")
    within_a_second(lambda: fresh.versions(1, cookie="user=ada") == {"v3": 1}, "ada sees v3")
    assert fresh.versions(10, cookie="user=ada") == {"v3": 10}
    assert fresh.versions(10, cookie="user=bob") == {"v1": 10}
    assert fresh.versions(10) == {"v1": 10}
    assert "stars red" in http_request(fresh.page, "/", headers={"cookie": "user=ada"}).text


def test_inject_fault(fresh):
    fresh.apply("try/3-inject-fault.yaml")
    within_a_second(lambda: fresh.load()[0].headers["x-reviews-status"] == "503", "a fault")
    replies = fresh.load(200)
    bad = sum(r.headers["x-reviews-status"] == "503" for r in replies)
    # p = 0.5: five standard deviations are 35.
    assert abs(bad - 100) < 36, bad
    assert all(r.status == 200 for r in replies)


def test_deny_caller(fresh):
    fresh.apply("try/4-deny-caller.yaml")
    within_a_second(lambda: fresh.load()[0].headers["x-details-status"] == "403", "denied")
    r = fresh.load()[0]
    assert r.status == 200 and "denied" in r.text and r.headers["x-reviews-status"] == "200"
    done = fresh.ctl("delete", "-f", str(fresh.sample / "try/4-deny-caller.yaml"))
    assert done.returncode == 0, done.stdout
    within_a_second(lambda: fresh.load()[0].headers["x-details-status"] == "200", "allowed again")


def test_see_the_metrics(fresh):
    def seen():
        text = http_request(f"{fresh.ip}:42422", "/metrics").text
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                   if line.startswith("istio_requests_total") and
                   'destination_app="reviews"' in line and 'source_app="productpage"' in line
                   and 'reporter="destination"' in line)
    before = seen()
    fresh.load(20)
    wait_for(lambda: seen() - before >= 20, 5, what="20 requests counted")


def test_the_command_knows_what_is_in_force(fresh):
    got = fresh.ctl("get", "virtualservices", "-n", "bookshop", "-o", "yaml")
    assert got.returncode == 0 and "reviews" in got.stdout, got.stdout
    status = subprocess.run([BIN / "meltemi", "proxy-status", "--pilot",
                             f"http://{fresh.ip}:15014"], stdout=subprocess.PIPE, text=True,
                            check=False, timeout=20).stdout
    for name in ("productpage-v1", "reviews-v3", "ingressgateway"):
        assert name in status, status


def test_an_invalid_file_is_refused_with_its_place(fresh, tmp):
    bad = tmp / "bad.yaml"
    bad.write_text("apiVersion: networking.istio.io/v1alpha3\nkind: VirtualService\n"
                   "metadata:\n  name: reviews\n  namespace: bookshop\n"
                   "spec:\n  hosts: [reviews]\n  htpp: []\n")
    for command in ("validate", "apply"):
        done = fresh.ctl(command, "-f", str(bad))
        assert done.returncode != 0 and "htpp" in done.stdout and ":8" in done.stdout, done.stdout
    assert fresh.versions(5) == {"v1": 5}


def test_what_it_says_to_type_works(dev):
    """The printed commands, as they are, although this mesh is not where `meltemi` looks first."""
    commands = re.findall(r"^ +(\S+/meltemi apply -f .*)$", dev.said, re.M)
    commands += re.findall(r"^Back to the beginning: (.*)$", dev.said, re.M)
    assert len(commands) == 5, dev.said
    for command in commands:
        done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False,
                              timeout=20)
        assert done.returncode == 0, done.stderr
    dev.ctl("delete", "-f", str(dev.sample / "try/4-deny-caller.yaml"))


def test_get_tells_the_age_and_its_yaml_can_be_applied(fresh):
    table = fresh.ctl("get", "virtualservices", "-n", "bookshop").stdout
    assert re.search(r"reviews +\d+ +\d+[smh]$", table, re.M), table
    for args in (["-o", "yaml"], ["-o", "json"]):
        text = fresh.ctl("get", "virtualservices", "reviews", "-n", "bookshop", *args).stdout
        again = fresh.dir / "again.yaml"
        again.write_text(text)
        done = fresh.ctl("apply", "-f", str(again))
        assert done.returncode == 0 and "reviews applied" in done.stdout, done.stdout


@pytest.mark.parametrize("kind, proxy, words", [
    ("listener", "productpage-v1.bookshop",
     ["9080", "INBOUND", "mutual", "ext_authz", "router", "Sidecar bookshop/productpage-v1"]),
    ("route", "ingressgateway.istio-system",
     ["/*", "outbound|9080||productpage.bookshop", "VirtualService bookshop/bookshop"]),
    ("cluster", "productpage-v1.bookshop",
     ["reviews.bookshop.svc.cluster.local", "v2", "EDS", "mutual", "DestinationRule"]),
    ("endpoint", "productpage-v1.bookshop", [".0.42:9080", "HEALTHY", "outbound|9080|v2|reviews"]),
    ("secret", "reviews-v1.bookshop", ["default", "active", "certificate", "ROOTCA"])])
def test_proxy_config(fresh, kind, proxy, words):
    done = fresh.pilot("proxy-config", kind, proxy)
    assert done.returncode == 0, done.stdout
    for word in words:
        assert word in done.stdout, done.stdout


def test_proxy_config_of_nobody(fresh):
    for kind in ("cluster", "secret"):
        done = fresh.pilot("proxy-config", kind, "nobody.bookshop")
        assert done.returncode == 1 and 'no proxy "nobody.bookshop"' in done.stdout, done.stdout


def test_a_supervisor_that_was_killed(dev):
    """What it had started again is known too, is named when in the way, and goes with the rest."""
    def running():
        done = subprocess.run([BIN / "meltemi", "dev", "--status", "--dir", dev.dir],
                              capture_output=True, text=True, check=False, timeout=20)
        return {a[0]: int(a[1]) for a in (line.split() for line in done.stdout.splitlines())
                if a[2:] == ["running"]}
    was = running()
    os.kill(was["reviews-v1"], signal.SIGKILL)
    wait_for(lambda: running().get("reviews-v1", was["reviews-v1"]) != was["reviews-v1"], 10,
             what="reviews-v1 runs again, and is written down")
    os.kill(was["dev"], signal.SIGKILL)
    wait_for(lambda: "dev" not in running(), 5)
    assert http_request(dev.page, "/").status == 200
    again = dev.run("--detach")
    assert again.returncode != 0 and "in use already" in again.stdout, again.stdout
    assert "--stop" in again.stdout, again.stdout
    start = time.monotonic()
    assert dev.run("--stop").returncode == 0
    assert time.monotonic() - start < 15
    wait_for(lambda: not dev.pids(), 5, what=f"all processes end: {dev.pids()}")
    assert dev.run("--detach").returncode == 0
    wait_for(lambda: http_request(dev.page, "/").status == 200)


def test_interrupted_in_the_foreground(dev):
    assert dev.run("--stop").returncode == 0
    p = subprocess.Popen(
        [BIN / "meltemi", "dev", "--dir", dev.dir, "--prefix", dev.prefix, "--control-addr",
         dev.ip, "--port", str(dev.port)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True)
    try:
        for line in p.stdout:
            if "Ctrl-C" in line:
                break
        assert http_request(dev.page, "/").status == 200
        p.send_signal(signal.SIGINT)
        assert p.wait(30) == 0
    finally:
        p.kill()
        p.wait()
    assert not dev.pids()
    assert dev.run("--detach").returncode == 0


def test_down_leaves_nothing_behind(dev):
    assert dev.pids()
    done = dev.run("--stop")
    assert done.returncode == 0, done.stdout
    wait_for(lambda: not dev.pids(), 15, what=f"all processes end: {dev.pids()}")
    with pytest.raises(OSError):
        http_request(dev.page, "/")
