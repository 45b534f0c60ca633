#!/usr/bin/env python3
"""Gives what the golden cases expect to a real Envoy: `envoy --mode validate`.

    envoy_validate.py ENVOY [CASE...]

Each proxy of each case becomes a static bootstrap: clusters and listeners as they are, routes put in
place of their RDS names, endpoints in place of EDS (and of the secrets' cluster, which the agent
serves, a dummy). Unknown fields are errors, so a wrong field number or name in our protos shows at
once. What Envoy logs as deprecated or wrong fails too.
"""

import concurrent.futures
import copy
import json
import pathlib
import subprocess
import sys
import tempfile

HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def inline_routes(node, routes, missing):
    """Replaces every `rds` by its route configuration."""
    if isinstance(node, dict):
        if node.get("@type") == HCM and "rds" in node:
            name = node.pop("rds")["routeConfigName"]
            if name in routes:
                node["routeConfig"] = copy.deepcopy(routes[name])
            else:
                missing.append(f"no route configuration {name}")
        for v in node.values():
            inline_routes(v, routes, missing)
    elif isinstance(node, list):
        for v in node:
            inline_routes(v, routes, missing)


def real_files(node, cert, key):
    """Certificates in files (TLS contexts alone have such names): a pair that exists."""
    if isinstance(node, dict):
        for k, v in node.items():
            if isinstance(v, dict) and "filename" in v:
                v["filename"] = key if k == "privateKey" else cert
            else:
                real_files(v, cert, key)
    elif isinstance(node, list):
        for v in node:
            real_files(v, cert, key)


def self_signed(folder):
    cert, key = f"{folder}/cert.pem", f"{folder}/key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-subj", "/CN=golden", "-days", "2", "-keyout", key, "-out", cert],
                   check=True, capture_output=True)
    return cert, key


def bootstrap(proxy):
    problems = []
    routes = {r["name"]: r["resource"] for r in proxy["routes"]}
    loads = {e["name"]: e["resource"] for e in proxy["endpoints"]}
    clusters = [copy.deepcopy(c["resource"]) for c in proxy["clusters"]]
    listeners = [copy.deepcopy(l["resource"]) for l in proxy["listeners"]]
    for c in clusters:
        if c.get("type") == "EDS":
            name = c.pop("edsClusterConfig")["serviceName"]
            c["type"] = "STATIC"
            if name not in loads:
                problems.append(f"no load assignment {name}")
            c["loadAssignment"] = loads.get(name, {"clusterName": name})
    inline_routes(listeners, routes, problems)
    names = [c["name"] for c in clusters]
    if len(names) != len(set(names)):
        problems.append("two clusters of one name")
    clusters.append(
        {
            "name": "sds-grpc",
            "type": "STATIC",
            "connectTimeout": "1s",
            "typedExtensionProtocolOptions": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicitHttpConfig": {"http2ProtocolOptions": {}},
                }
            },
            "loadAssignment": {
                "clusterName": "sds-grpc",
                "endpoints": [
                    {
                        "lbEndpoints": [
                            {"endpoint": {"address": {"pipe": {"path": "/nowhere/sds"}}}}
                        ]
                    }
                ],
            },
        }
    )
    config = {
        "node": {"id": proxy["proxy"], "cluster": "golden"},
        "staticResources": {"clusters": clusters, "listeners": listeners},
        "layeredRuntime": {
            "layers": [
                {
                    "name": "static",
                    "staticLayer": {"re2.max_program_size.error_level": 32768},
                }
            ]
        },
    }
    return config, problems


def check(envoy, case, index, proxy, pair):
    config, problems = bootstrap(proxy)
    real_files(config["staticResources"], *pair)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump(config, f)
        f.flush()
        run = subprocess.run(
            [envoy, "--mode", "validate", "--disable-hot-restart", "--log-level", "warning",
             "--concurrency", "1", "-c", f.name],
            capture_output=True, text=True, timeout=120,
        )
    bad = [l for l in run.stderr.splitlines() if "[warning]" in l or "[error]" in l or "[critical]" in l]
    bad = [l for l in bad if not any(k in l for k in EXPECTED)]
    if run.returncode != 0:
        problems.append(run.stderr.strip()[-3000:] + run.stdout[-500:])
    problems += bad
    return [f"{case}[{index}]: {p}" for p in problems]


# Said of any bootstrap: no admin, unlimited connections; of an environment without attributes; of two
# fields that newer versions spell otherwise and older ones know only so.
EXPECTED = ("Failed to detect resource attributes from the environment",
            "OpenTelemetryAccessLogConfig.common_config", "Cluster.dns_refresh_rate",
            "there is no configured limit to the number of allowed active downstream",
            "No overload action", "no overload manager")


def main():
    envoy, *names = sys.argv[1:]
    root = pathlib.Path(__file__).parent
    names = names or sorted(p.parent.name for p in root.glob("*/expected.json"))
    jobs, problems, n = [], [], 0
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(2) as pool:
        pair = self_signed(folder)
        for name in names:
            for i, proxy in enumerate(json.loads((root / name / "expected.json").read_text())["proxies"]):
                if proxy["class"].startswith("grpc "):
                    continue  # gRPC asks for itself, no Envoy ever sees this
                jobs.append(pool.submit(check, envoy, name, i, proxy, pair))
        for j in jobs:
            n += 1
            problems += j.result()
    for p in problems:
        print(p)
    print(f"envoy_validate: {n} proxies, {len(problems)} problems")
    return 1 if problems or not (n or names == ["grpc"]) else 0


if __name__ == "__main__":
    sys.exit(main())
