"""What a changed route, and a changed endpoint, cost a real Envoy: its processor time, per variant.

One Envoy as a sidecar without capture (an HTTP proxy listener on loopback, so one route table has the
hosts of all services). Pilot's count of acknowledgements says when a change is in force: asking Envoy
itself would cost it time.
"""
import json
import os
import re
import subprocess
import time
import urllib.request

from parts import HOST, ROOT, Daemon, Workload, cpu_of, free_port, memory_of

ENVOY = os.path.join(ROOT, "build", "envoy", "envoy")
# name: (delta, virtual hosts as resources)
VARIANTS = {"delta": (True, True), "delta-rds": (True, False), "sotw": (False, False)}

SIDECAR = """\
apiVersion: networking.istio.io/v1alpha3
kind: Sidecar
metadata: {{name: default, namespace: ns-0}}
spec:
  egress:
  - port: {{number: {port}, protocol: HTTP_PROXY, name: proxy}}
    bind: {host}
    captureMode: NONE
    hosts: ["./*"]
"""


def bootstrap(xds, delta):
    ip, port = xds.rsplit(":", 1)
    ads = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    http2 = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        "node": {"id": f"sidecar~{HOST}~one.ns-0~ns-0.svc.cluster.local", "cluster": "one",
                 "metadata": {"NAMESPACE": "ns-0", "INTERCEPTION_MODE": "NONE",
                              "INSTANCE_IPS": HOST}},
        "dynamic_resources": {
            "ads_config": {"api_type": "DELTA_GRPC" if delta else "GRPC",
                           "transport_api_version": "V3", "set_node_on_first_message_only": True,
                           "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}]},
            "cds_config": ads, "lds_config": ads},
        "static_resources": {"clusters": [{
            "name": "xds", "type": "STATIC", "connect_timeout": "5s",
            "typed_extension_protocol_options": {http2: {
                "@type": "type.googleapis.com/" + http2,
                "explicit_http_config": {"http2_protocol_options": {}}}},
            "load_assignment": {"cluster_name": "xds", "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": {"socket_address": {
                    "address": ip, "port_value": int(port)}}}}]}]}}]}}


def acknowledged(monitor, kind):
    """How many acknowledgements of a type Pilot has had."""
    with urllib.request.urlopen(f"http://{monitor}/metrics", timeout=5) as r:
        text = r.read().decode()
    found = re.search(rf'^xds_ack_seconds_count\{{type="{kind}"\}} (\S+)', text, re.M)
    return float(found[1]) if found else 0.0


def until(condition, what, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"bench: {what}: not within {seconds} s")
        time.sleep(0.01)


def one(workload, config, variant, repeats, scratch):
    """One row: one Pilot, one Envoy."""
    delta, apart = VARIANTS[variant]
    monitor, xds = f"{HOST}:{free_port()}", f"{HOST}:{free_port()}"
    pilot = Daemon("pilot", ["--config-server", config, "--state-dir",
                             os.path.join(scratch, "pilot-" + variant), "--xds-addr", xds,
                             "--monitoring-addr", monitor, "--tls", "off",
                             f"--virtual-host-discovery={'true' if apart else 'false'}"],
                   monitor, os.path.join(scratch, "pilot.log"))
    path = os.path.join(scratch, variant + ".json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(bootstrap(xds, delta), f)
    log = open(os.path.join(scratch, variant + ".log"), "wb")
    envoy = None
    try:
        pilot.wait_ready()
        envoy = subprocess.Popen([ENVOY, "-c", path, "--disable-hot-restart", "--concurrency", "1",
                                  "-l", "warning"], stdout=log, stderr=log)
        routes = "VHDS" if apart else "RDS"
        until(lambda: acknowledged(monitor, routes) > 0, "Envoy has its first routes")
        time.sleep(2)  # it settles: what follows is the change alone
        row = {"services": workload.services, "variant": variant, "envoy_rss": memory_of(envoy.pid, "VmRSS")}
        for what, kind, change in (
                ("route", routes, lambda n: workload.write(0, weight=10 + n % 80)),
                ("endpoint", "EDS", lambda n: workload.write(0, last=5 + n % 200))):
            used = cpu_of(envoy.pid)
            for n in range(repeats):
                before = acknowledged(monitor, kind)
                change(n)
                until(lambda b=before, k=kind: acknowledged(monitor, k) > b, f"a changed {what}")
            row[what + "_cpu_s"] = (cpu_of(envoy.pid) - used) / repeats
            workload.write(0)
            time.sleep(0.5)
        return row
    finally:
        if envoy:
            envoy.terminate()
            envoy.wait()
        log.close()
        pilot.stop()


def measure(services, repeats, scratch):
    """Rows for all variants."""
    folder = os.path.join(scratch, "config")
    os.mkdir(folder)
    workload = Workload("flat", services, folder)
    workload.put("sidecar.yaml", SIDECAR.format(port=free_port(), host=HOST))
    config, monitor = f"{HOST}:{free_port()}", f"{HOST}:{free_port()}"
    galley = Daemon("galley", ["--source", "dir:" + folder, "--state-dir",
                               os.path.join(scratch, "galley"), "--listen", config,
                               "--monitoring-addr", monitor, "--tls", "off"], monitor,
                    os.path.join(scratch, "galley.log"))
    try:
        galley.wait_ready()
        return [one(workload, config, v, repeats, scratch) for v in VARIANTS]
    finally:
        galley.stop()


def table(rows):
    lines = ["Envoy's own processor time for one change:"]
    for r in rows:
        lines.append(f"  S={r['services']} {r['variant']:>9}: route {r['route_cpu_s'] * 1e3:.1f} ms, "
                     f"endpoint {r['endpoint_cpu_s'] * 1e3:.1f} ms, {r['envoy_rss'] / 1e6:.0f} MB")
    return "\n".join(lines)
