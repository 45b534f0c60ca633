"""Where the descriptors come from: ours from protoc, the official ones from the registries.

Envoy, xds, udpa and google.rpc: the Python modules of PyPI's `xds-protos` (pinned in
tests/requirements.txt) carry their descriptors. Istio: the Go module `istio.io/api` ships its
.proto files; the `go` command fetches the pinned versions, protoc makes descriptors of them. What
was made is kept in build/proto-test, so only the first run needs the network.
"""

import functools
import hashlib
import importlib
import importlib.metadata
import json
import os
import pathlib
import pkgutil
import shutil
import subprocess

from google.protobuf import descriptor_pb2

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROTO = ROOT / "proto"
CACHE = ROOT / "build" / "proto-test"
WELL_KNOWN = "/usr/include"

# The packages that xds-protos has.
ENVOY = ("envoy.", "xds.", "udpa.", "google.rpc", "opentelemetry.")

# istio.io/api, newest first: today's, the last with Mixer's API, the last with rbac v1alpha1, and
# two that still had the fields of 1.0. With the checksums of the module system.
ISTIO = {
    "v1.31.4": "h1:AcnncYrlDj1PJkym7h88Gggkef4MAra8QpGaXRMsr+E=",
    "v0.0.0-20200911191701-0dc35ad5c478": "h1:vOw9fVFdz0Lr+AyVMr6Gb8CilyiXyNboy269MBdimOs=",
    "v0.0.0-20200518203817-6d29a38039bd": "h1:Q78EIyrsZ8DCFYUcdZ5vkIeEdwvAMEmM1ciS2LxhNKs=",
    "v0.0.0-20191111210003-35e06ef8d838": "h1:6cTt4JYrfqWmOXvRm9OB6yQ535Dlbauv4xlVHVP/rdo=",
    "v0.0.0-20190515205759-982e5c3888c6": "h1:lnDXeR6NYxT+Rfa5jKE1CpMfStnJ36/bYOSziS8dubU=",
}
# The versions whose common-protos/ has what all of them import (gogoproto, google/api).
ISTIO_IMPORTS = ("v0.0.0-20200911191701-0dc35ad5c478", "v1.31.4")
ISTIO_FOLDERS = (
    "analysis", "authentication", "extensions", "mcp", "mesh", "meta", "mixer",
    "networking/v1alpha3", "networking/v1beta1/proxy_config.proto", "policy", "rbac", "security",
    "telemetry", "type",
)


def run(*args, **kwargs):
    """Run a command; what it says on failure is the failure's message."""
    done = subprocess.run(args, capture_output=True, text=True, **kwargs)
    if done.returncode:
        raise RuntimeError(f"{args[0]} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def load(path):
    fds = descriptor_pb2.FileDescriptorSet()
    fds.ParseFromString(path.read_bytes())
    return list(fds.file)


def save(path, files):
    fds = descriptor_pb2.FileDescriptorSet(file=files)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(f".{os.getpid()}")
    aside.write_bytes(fds.SerializeToString())
    aside.rename(path)


def protoc(include, names, out):
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.with_suffix(f".{os.getpid()}")
    run("protoc", *(f"-I{i}" for i in include), "--include_imports", f"-o{aside}", *names)
    aside.rename(out)
    return load(out)


@functools.cache
def ours():
    """Our files, without the well-known types."""
    names = sorted(str(p.relative_to(PROTO)) for p in PROTO.rglob("*.proto"))
    files = protoc((PROTO, WELL_KNOWN), names, CACHE / "ours.pb")
    return [f for f in files if f.name in set(names)]


@functools.cache
def envoy():
    """All files of xds-protos that are in a package of ours."""
    wanted = {f.package for f in ours() if f.package.startswith(ENVOY)}
    version = importlib.metadata.version("xds-protos")
    cached = CACHE / f"xds-protos-{version}.pb"
    if cached.exists():
        files = load(cached)
        if wanted <= {f.package for f in files}:
            return files
    files = []
    for package in sorted(wanted):
        for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
            if info.name.endswith("_pb2"):
                module = importlib.import_module(f"{package}.{info.name}")
                files.append(descriptor_pb2.FileDescriptorProto())
                module.DESCRIPTOR.CopyToProto(files[-1])
    save(cached, files)
    return files


def istio_module(version):
    """The folder of one version of istio.io/api, fetched when it is not there yet."""
    go = shutil.which("go") or "/usr/lib/go/bin/go"
    if not os.path.exists(go):
        raise RuntimeError("the go command is missing (Debian: golang-go; make deps installs it)")
    CACHE.mkdir(parents=True, exist_ok=True)
    # Outside of any module, with the toolchain at hand; the checksum is checked here.
    env = {**os.environ, "GO111MODULE": "on", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local",
           "GOWORK": "off", "GONOSUMDB": "istio.io/*"}
    env.setdefault("HOME", str(CACHE))
    said = json.loads(run(go, "mod", "download", "-json", f"istio.io/api@{version}",
                          cwd=CACHE, env=env))
    if said["Sum"] != ISTIO[version]:
        raise RuntimeError(f"istio.io/api {version} has the checksum {said['Sum']}")
    return pathlib.Path(said["Dir"])


def istio_version(version):
    selection = hashlib.sha256(repr(ISTIO_FOLDERS).encode()).hexdigest()[:8]
    cached = CACHE / f"istio-api-{version}-{selection}.pb"
    if cached.exists():
        return load(cached)
    root = istio_module(version)
    names = []
    for folder in ISTIO_FOLDERS:
        path = root / folder
        names += [path] if path.is_file() else sorted(path.rglob("*.proto"))
    include = [root] + [istio_module(v) / "common-protos" for v in (version, *ISTIO_IMPORTS)]
    include = [i for i in dict.fromkeys(include) if i.is_dir()] + [WELL_KNOWN]
    return protoc(include, [str(n.relative_to(root)) for n in names], cached)


@functools.cache
def istio():
    """The generations of istio.io/api, newest first, Istio's own packages only."""
    return [[f for f in istio_version(v) if f.package.startswith("istio.")] for v in ISTIO]
