"""Compare message descriptors: ours against official ones.

Pure functions on FileDescriptorProto: no file, no network. A fault is a string that names what
differs; no fault is an empty list.

Upstream has several generations of Istio's API, and ours hold the fields of all of them. So an
official side is a list of generations, newest first: a thing of ours must equal the newest
generation that has a thing of that name. Envoy's is one generation, and ours is a part of it.
"""

from google.protobuf import descriptor_pb2

F = descriptor_pb2.FieldDescriptorProto
TYPE = {n: F.Type.Name(n).removeprefix("TYPE_").lower() for n in F.Type.values()}
LABEL = {F.LABEL_OPTIONAL: "single", F.LABEL_REQUIRED: "required", F.LABEL_REPEATED: "repeated"}
PACKABLE = set(F.Type.values()) - {F.TYPE_STRING, F.TYPE_BYTES, F.TYPE_MESSAGE, F.TYPE_GROUP}


class Index:
    """All messages, enums and methods of some files, by full name."""

    def __init__(self, files):
        self.messages, self.enums, self.methods, self.packages = {}, {}, set(), set()
        for f in files:
            self.packages.add(f.package)
            prefix = f.package + "." if f.package else ""
            for m in f.message_type:
                self._message(prefix + m.name, m)
            for e in f.enum_type:
                self.enums[prefix + e.name] = e
            for s in f.service:
                self.methods |= {f"/{prefix}{s.name}/{m.name}" for m in s.method}

    def _message(self, name, m):
        self.messages[name] = m
        for n in m.nested_type:
            self._message(f"{name}.{n.name}", n)
        for e in m.enum_type:
            self.enums[f"{name}.{e.name}"] = e


def camel(name):
    """The JSON name that a field has when nothing else is said."""
    head, *rest = name.split("_")
    return head + "".join(p[:1].upper() + p[1:] for p in rest)


def oneof(m, f):
    """The oneof of a field, or "". A proto3 optional counts as the oneof `_name` of its own, which
    has the same wire form and is how we write it."""
    return m.oneof_decl[f.oneof_index].name if f.HasField("oneof_index") else ""


def facts(m, f):
    """What must be equal about a field, as a dictionary for messages that people read."""
    packed = f.label == F.LABEL_REPEATED and f.type in PACKABLE
    if packed and f.options.HasField("packed"):
        packed = f.options.packed
    return {
        "number": f.number,
        "type": f.type_name.lstrip(".") or TYPE[f.type],
        "label": LABEL[f.label],
        "oneof": oneof(m, f),
        "packed": packed,
        "json name": f.json_name or camel(f.name),
    }


def field_faults(name, ours, our_field, theirs, their_field):
    a, b = facts(ours, our_field), facts(theirs, their_field)
    return [f"{name}: {k} is {a[k]!r}, official {b[k]!r}" for k in a if a[k] != b[k]]


def message_faults(name, ours, generations):
    faults = []
    for f in ours.field:
        for theirs in generations:
            found = next((x for x in theirs.field if x.name == f.name), None)
            if found:
                faults += field_faults(f"{name}.{f.name}", ours, f, theirs, found)
                break
        else:
            faults.append(f"{name}.{f.name}: official has no such field")
    if ours.options.map_entry != generations[0].options.map_entry:
        faults.append(f"{name}: a map entry on one side only")
    return faults


def enum_faults(name, ours, generations):
    official = {}
    for theirs in reversed(generations):
        official.update({v.name: v.number for v in theirs.value})
    mine = {v.name: v.number for v in ours.value}
    faults = [f"{name}.{v}: is {n}, official {official.get(v, 'has no such value')}"
              for v, n in mine.items() if official.get(v) != n]
    # Decoding JSON needs every value: an enum is never trimmed.
    return faults + [f"{name}.{v}: missing" for v in official if v not in mine]


def compare(ours, generations):
    """Everything of `ours` (an Index) is in `generations` (Indexes, newest first) and equal."""
    faults = []
    for name, m in ours.messages.items():
        known = [g.messages[name] for g in generations if name in g.messages]
        if known:
            faults += message_faults(name, m, known)
        else:
            faults.append(f"{name}: official has no such message")
    for name, e in ours.enums.items():
        known = [g.enums[name] for g in generations if name in g.enums]
        if known:
            faults += enum_faults(name, e, known)
        else:
            faults.append(f"{name}: official has no such enum")
    return faults


def missing(ours, generations, packages, replaced):
    """What `generations` have in `packages` and `ours` has not: messages, fields, enums.

    replaced: messages and enums that a newer one of another name stands in for; whatever they had
    must be in that one, by name.
    """
    faults, seen = [], set()

    def in_scope(name):
        return any(name.startswith(p + ".") for p in packages) and not any(
            name == r or name.startswith(r + ".") for r in replaced)

    for g in generations:
        for name, m in g.messages.items():
            if not in_scope(name) or (m.options.map_entry and name not in ours.messages):
                continue
            if name not in ours.messages:
                faults.append(f"{name}: missing")
                continue
            have = {f.name for f in ours.messages[name].field}
            faults += [f"{name}.{f.name}: missing" for f in m.field if f.name not in have]
        faults += [f"{n}: missing" for n in g.enums if in_scope(n) and n not in ours.enums]
        for old, new in replaced.items():
            faults += _stand_in(old, new, g, ours)
    return [f for f in faults if not (f in seen or seen.add(f))]


def _stand_in(old, new, generation, ours):
    if old in generation.messages:
        have = {f.name for f in ours.messages[new].field}
        had = {f.name for f in generation.messages[old].field}
    elif old in generation.enums:
        have = {v.name for v in ours.enums[new].value}
        had = {v.name for v in generation.enums[old].value}
    else:
        return []
    return [f"{new}.{x}: missing, {old} had it" for x in sorted(had - have)]
