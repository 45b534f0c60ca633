#!/usr/bin/env python3
"""Includes point one way.

A daemon includes common/ and itself; the command may also include the two pure libraries; within
common/ and within a daemon the tables below say which folder may see which. Headers of protobuf
messages are free for all.

usage: lint_includes.py FILE...
"""
import re
import sys

DAEMONS = {"galley", "pilot", "citadel", "mixer", "agent", "ctl"}

# What each top folder may include besides common/ and itself.
ALSO = {
    "ctl": ("galley/validate/", "pilot/translate/", "pilot/model/", "pilot/filter/"),
    "tests": tuple(d + "/" for d in DAEMONS),
}

# common/: lower folders never see higher ones. `run` and `http` are one layer (monitoring is served
# over HTTP, the HTTP server runs on the loop).
COMMON = {
    "base": set(),
    "run": {"base", "http"},
    "http": {"base", "run"},
    "pki": {"base", "run"},
    "schema": {"base", "run"},
    "expr": {"base", "schema"},
    "rpc": {"base", "run", "pki"},
    "xds": {"base", "run", "rpc", "schema"},
    "ident": {"base", "run", "http", "pki", "schema", "rpc"},
    "ident": {"base", "run", "http", "pki", "rpc", "schema"},
    "feed": {"base", "run", "http", "pki", "schema", "rpc", "xds", "expr"},
}

# Folders of a daemon, in order: a later stage includes earlier ones, never back.
STAGES = {
    "galley": ["validate", "source", "analyze", "distribute"],
    # pilot/filter is one layer with pilot/translate: filters stand in listeners and routes, and are
    # made of the same parts (TLS sockets, clusters).
    "pilot": ["model", "registry", "translate", "push"],
    "citadel": ["identity", "rotate", "sign", "serve"],
    "mixer": ["attr", "template", "adapter", "rule", "serve"],
}

# Libraries without I/O, clock or globals: what they may take from common/.
PURE = {
    "galley/validate/": {"base", "schema", "expr"},
    "pilot/model/": {"base", "schema", "expr"},
    "pilot/translate/": {"base", "schema", "expr"},
    "pilot/filter/": {"base", "schema", "expr"},
}

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def fault(path, target):
    """Why `path` must not include `target`, or None."""
    parts, tparts = path.split("/"), target.split("/")
    top, ttop = parts[0], tparts[0]
    if "/" not in target:
        return "include by the path from the repository's root"
    if ttop not in DAEMONS | {"common", "tests"}:
        return None  # a protobuf header
    if ttop == "common":
        folder = tparts[1]
        if top == "common" and parts[1] != folder and folder not in COMMON.get(parts[1], set()):
            return f"common/{parts[1]} may not see common/{folder}"
        for prefix, allowed in PURE.items():
            if path.startswith(prefix) and folder not in allowed:
                return f"{prefix} is pure: common/{folder} is not for it"
        return None
    if top == "common":
        return "common/ includes no daemon"
    if ttop == top:
        order = STAGES.get(top, [])
        if len(parts) > 2 and len(tparts) > 2 and parts[1] in order and tparts[1] in order:
            if order.index(tparts[1]) > order.index(parts[1]):
                return f"{parts[1]}/ comes before {tparts[1]}/"
        return None
    if target.startswith(ALSO.get(top, ("\0",))):
        return None
    return f"{top}/ may not include {ttop}/"


def main():
    bad = 0
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as f:
            for number, line in enumerate(f, 1):
                m = INCLUDE.match(line)
                why = m and fault(path, m.group(1))
                if why:
                    print(f'{path}:{number}: "{m.group(1)}": {why}')
                    bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
