"""What benchmarks are made of: configuration in files, daemons, the load generator, identities."""
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.path.join(ROOT, "build", "bin")
OUT = os.path.join(ROOT, "build", "bench")
HOST = "127.16.9.1"
NAMESPACES = {"flat": 1, "spread": 100}
TYPES = ("CDS", "EDS", "LDS", "RDS", "VHDS")
LOCALITIES = {"flat": 1, "spread": 10}

SERVICE = """\
apiVersion: networking.istio.io/v1alpha3
kind: ServiceEntry
metadata: {{name: svc-{i}, namespace: {ns}}}
spec:
  hosts: [svc-{i}.bench.example]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints:
{endpoints}
---
apiVersion: networking.istio.io/v1alpha3
kind: DestinationRule
metadata: {{name: svc-{i}, namespace: {ns}}}
spec:
  host: svc-{i}.bench.example
  subsets: [{{name: v1, labels: {{version: v1}}}}, {{name: v2, labels: {{version: v2}}}}]
---
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {{name: svc-{i}, namespace: {ns}}}
spec:
  hosts: [svc-{i}.bench.example]
  http:
  - route:
    - {{destination: {{host: svc-{i}.bench.example, subset: v1}}, weight: {weight}}}
    - {{destination: {{host: svc-{i}.bench.example, subset: v2}}, weight: {rest}}}
"""
SIDECAR = """\
apiVersion: networking.istio.io/v1alpha3
kind: Sidecar
metadata: {{name: default, namespace: ns-{k}}}
spec:
  egress: [{{hosts: ["./*", "ns-{next}/*"]}}]
"""


class Workload:
    """The files in one folder."""

    def __init__(self, name, services, folder):
        self.name, self.services, self.folder = name, services, folder
        self.namespaces = NAMESPACES[name]
        for i in range(services):
            self.write(i)
        for k in range(self.namespaces if name == "spread" else 0):
            self.put(f"sidecar-{k}.yaml", SIDECAR.format(k=k, next=(k + 1) % self.namespaces))

    def put(self, name, text):
        """Writes aside and renames; returns the moment just before the rename."""
        path = os.path.join(self.folder, name)
        with open(path + ".tmp", "w", encoding="utf-8") as f:
            f.write(text)
        at = time.monotonic_ns()
        os.rename(path + ".tmp", path)
        return at

    def write(self, i, weight=90, last=4):
        rows = []
        for k, octet in enumerate((1, 2, 3, last)):
            where = f", locality: region/zone-{(i + k) % 10}" if self.name == "spread" else ""
            rows.append(f"  - {{address: 10.{i >> 8 & 127}.{i & 255}.{octet}, "
                        f"labels: {{version: v{k % 2 + 1}}}{where}}}")
        return self.put(f"svc-{i}.yaml", SERVICE.format(
            i=i, ns=f"ns-{i % self.namespaces}", endpoints="\n".join(rows),
            weight=weight, rest=100 - weight))

    def who_sees_first(self, streams):
        """How many of the proxies see service 0, which is in namespace 0."""
        if self.name == "flat":
            return streams
        seen_by = {0, self.namespaces - 1}
        return sum(1 for i in range(streams) if i % self.namespaces in seen_by)


def cpu_of(pid):
    """Seconds of processor time that a process has used: its own clock, exact where ticks are not."""
    return time.clock_gettime((~pid << 3) | 2)


def memory_of(pid, key):
    """VmRSS or VmHWM of a process, in bytes."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        for line in f:
            if line.startswith(key + ":"):
                return int(line.split()[1]) * 1024
    return 0


class Daemon:
    """A process of ours; its figures come from /proc."""

    def __init__(self, name, args, monitor, log):
        with open(log, "ab") as out:
            self.process = subprocess.Popen([os.path.join(BIN, name), *args], stdout=out, stderr=out)
        self.name, self.monitor, self.log = name, monitor, log

    def wait_ready(self, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                self.fail("ended")
            try:
                with urllib.request.urlopen(f"http://{self.monitor}/readyz", timeout=2) as r:
                    if r.status == 200:
                        return
            except OSError:
                time.sleep(0.02)
        self.fail(f"is not ready after {seconds} s")

    def fail(self, what):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            sys.stderr.write("".join(f.readlines()[-20:]))
        sys.exit(f"bench: {self.name} {what}")

    def cpu(self):
        return cpu_of(self.process.pid)

    def settle(self, seconds=60):
        """Until it works on nothing: the acknowledgements of one change are no part of the next."""
        end = time.monotonic() + seconds
        busy = True
        while busy and time.monotonic() < end:
            before = self.cpu()
            time.sleep(0.1)
            busy = self.cpu() - before > 0.015

    def memory(self, key):
        return memory_of(self.process.pid, key)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Load:
    """tests/bench/xds_load and its conversation."""

    def __init__(self, target, streams, variant, workload, trust):
        self.process = subprocess.Popen(
            [os.path.join(BIN, "bench", "xds_load"), "--target", target, "--streams", str(streams),
             "--variant", variant, "--namespaces", str(workload.namespaces),
             "--localities", str(LOCALITIES[workload.name]), *trust.load()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def hear(self, *events):
        line = self.process.stdout.readline()
        if not line:
            sys.exit("bench: the load generator ended")
        said = json.loads(line)
        if said["event"] not in events:
            sys.exit(f"bench: {said}")
        return said

    def say(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def change(self, kind, count, act):
        """Seconds from the write to the median proxy and to the last."""
        self.say(f"expect {kind} {count} 30")
        self.hear("armed")
        at = act()
        said = self.hear("change")
        return (said["p50_ns"] - at) / 1e9, (said["last_ns"] - at) / 1e9

    def cpu(self):
        return cpu_of(self.process.pid)

    def stop(self):
        self.say("quit")
        self.process.wait()


class Plaintext:
    """No identities."""

    def args(self, _):
        return ["--tls", "off"]

    def xds(self, addr):
        return ["--xds-addr", addr]

    def load(self):
        return []

    def stop(self):
        pass


class Trust:
    """A Citadel, and a join token for each who asks it."""

    def __init__(self, scratch):
        self.scratch, self.addr, monitor = scratch, f"{HOST}:{free_port()}", f"{HOST}:{free_port()}"
        os.umask(0o077)
        with open(os.path.join(scratch, "tokens"), "w", encoding="utf-8") as f:
            for name, who in (("galley", "istio-system/sa/istio-galley-service-account"),
                              ("pilot", "istio-system/sa/istio-pilot-service-account"),
                              ("load", "ns-0/sa/load")):
                f.write(f"{name}-token-of-the-bench spiffe://cluster.local/ns/{who}\n")
                with open(self.token(name), "w", encoding="utf-8") as t:
                    t.write(f"{name}-token-of-the-bench")
        self.citadel = Daemon("citadel", ["--state-dir", scratch, "--listen", self.addr,
                                          "--monitoring-addr", monitor, "--join-tokens",
                                          os.path.join(scratch, "tokens")], monitor,
                              os.path.join(scratch, "citadel.log"))
        self.bundle = os.path.join(scratch, "citadel", "root-cert.pem")
        self.citadel.wait_ready()

    def token(self, name):
        return os.path.join(self.scratch, name + ".token")

    def args(self, name):
        return ["--ca-addr", self.addr, "--join-token-file", self.token(name), "--trust-bundle",
                self.bundle]

    def xds(self, addr):
        return ["--secure-xds-addr", addr]

    def load(self):
        return ["--ca", self.addr, "--token", self.token("load"), "--bundle", self.bundle]

    def stop(self):
        self.citadel.stop()


def free_port():
    with socket.socket() as s:
        s.bind((HOST, 0))
        return s.getsockname()[1]
