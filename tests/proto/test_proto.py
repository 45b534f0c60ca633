"""proto/ against the official descriptors, and proof that the comparison can fail."""

import copy
import re

import pytest

import compare
import descriptors
from compare import F, Index

# Packages of Istio that are whole in proto/: their kinds are decoded strictly, so every field of
# every generation must be known.
WHOLE = (
    "istio.analysis.v1alpha1", "istio.authentication.v1alpha1", "istio.extensions.v1alpha1",
    "istio.mcp.v1alpha1", "istio.mesh.v1alpha1", "istio.meta.v1alpha1",
    "istio.mixer.adapter.model.v1beta1", "istio.mixer.v1", "istio.mixer.v1.config.client",
    "istio.networking.v1alpha3", "istio.networking.v1beta1", "istio.policy.v1beta1",
    "istio.rbac.v1alpha1", "istio.security.v1beta1", "istio.telemetry.v1alpha1",
    "istio.type.v1beta1", "istio.v1.auth",
)
# What later generations of Istio's API gave another name or place. The stand-in must have all that
# the old one had.
NET, MESH = "istio.networking.v1alpha3.", "istio.mesh.v1alpha1."
REPLACED = {
    NET + "TLSSettings": NET + "ClientTLSSettings",
    NET + "Server.TLSOptions": NET + "ServerTLSSettings",
    NET + "Server.TLSOptions.TLSmode": NET + "ServerTLSSettings.TLSmode",
    NET + "Server.TLSOptions.TLSProtocol": NET + "ServerTLSSettings.TLSProtocol",
    NET + "TLSSettings.TLSmode": NET + "ClientTLSSettings.TLSmode",
    NET + "ServiceEntry.Endpoint": NET + "WorkloadEntry",
    NET + "EnvoyFilter.ListenerMatch.ListenerType":
        NET + "EnvoyFilter.DeprecatedListenerMatch.ListenerType",
    NET + "EnvoyFilter.ListenerMatch.ListenerProtocol":
        NET + "EnvoyFilter.DeprecatedListenerMatch.ListenerProtocol",
    MESH + "LocalityLoadBalancerSetting": NET + "LocalityLoadBalancerSetting",
    MESH + "Topology.ForwardClientCertDetails": MESH + "ForwardClientCertDetails",
}
# Fields whose message had this place in one generation and moved away with a rename; they are
# found in the stand-in by the same name.
MOVED = {
    NET + "EnvoyFilter.ListenerMatch": NET + "EnvoyFilter.DeprecatedListenerMatch",
}
# Mixer's adapters and templates were never published as a package, and ours are ours: see
# unpublished.txt.
UNPUBLISHED = ("adapter.", "apikey", "authorization", "checknothing", "edge", "listentry",
               "logentry", "meltemi.", "metric", "quota", "reportnothing", "tracespan")

# What the Envoy that the tests run has and the published descriptors have not yet; a real Envoy that
# rejects unknown fields took each (tests/integration/test_destination.py).
AHEAD = {"envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget.budget_interval"}


def part(*prefixes):
    return Index([f for f in descriptors.ours() if f.package.startswith(prefixes)])


def generations():
    return [Index(files) for files in descriptors.istio()]


def report(faults):
    return f"{len(faults)} differences:\n" + "\n".join(faults[:100])


def test_envoy():
    faults = set(compare.compare(part(*descriptors.ENVOY), [Index(descriptors.envoy())]))
    ahead = {f"{name}: official has no such field" for name in AHEAD}
    assert ahead <= faults, "published by now: AHEAD need not name it"
    assert faults == ahead, report(sorted(faults - ahead))


def test_istio():
    faults = compare.compare(part("istio."), generations())
    assert not faults, report(faults)


def test_istio_is_whole():
    ours = part("istio.")
    known = {n for g in generations() for n in (*g.messages, *g.enums)}
    assert not set(REPLACED) - known, "REPLACED names what no generation has"
    faults = []
    for f in compare.missing(ours, generations(), WHOLE, REPLACED):
        old = f.removesuffix(": missing")
        message, _, name = old.rpartition(".")
        moved = ours.messages.get(MOVED.get(message, ""))
        if not moved or name not in {x.name for x in moved.field}:
            faults.append(f)
    assert not faults, report(faults)


def listing(index):
    """A line for each field and enum value, to be compared as text."""
    lines = []
    for name, m in index.messages.items():
        if not m.field:
            lines.append(f"{name}")
        for f in m.field:
            x = compare.facts(m, f)
            also = f" oneof {x['oneof']}" if x["oneof"] else ""
            lines.append(f"{name}.{f.name} = {f.number} {x['label']} {x['type']}{also}")
    for name, e in index.enums.items():
        lines += [f"{name}.{v.name} = {v.number}" for v in e.value]
    return sorted(lines)


def test_unpublished():
    """No registry has descriptors of these; the numbers that programs were built with stay."""
    path = descriptors.ROOT / "tests" / "proto" / "unpublished.txt"
    frozen = [x for x in path.read_text().splitlines() if x and not x.startswith("#")]
    now = listing(part(*UNPUBLISHED))
    gone, new = sorted(set(frozen) - set(now)), sorted(set(now) - set(frozen))
    assert not gone and not new, report([f"- {x}" for x in gone] + [f"+ {x}" for x in new])


def test_every_file_is_compared():
    covered = (*descriptors.ENVOY, "istio.", *UNPUBLISHED)
    assert not [f.name for f in descriptors.ours() if not f.package.startswith(covered)]
    assert {f.package for f in descriptors.ours() if f.package.startswith("istio.")} == set(WHOLE)


def test_files_are_proto3():
    assert not [f.name for f in descriptors.ours() if f.syntax != "proto3"]


def test_grpc_paths():
    """The services are comments (protobuf-c would make stubs); their paths are official."""
    official = Index(descriptors.envoy()).methods.union(*(g.methods for g in generations()))
    named = {}
    for path in descriptors.PROTO.rglob("*.proto"):
        for m in re.findall(r"^// gRPC: (\S+)$", path.read_text(), re.M):
            named[m] = path.name
    unknown = {m for m in named if not m[1:].startswith(UNPUBLISHED)} - official
    assert named and not unknown


def test_c_names():
    """One short C name a package, or generated symbols would collide."""
    of = {}
    for f in descriptors.ours():
        text = (descriptors.PROTO / f.name).read_text()
        (c,) = re.findall(r'^option \(pb_c_file\)\.c_package = "(\w+)";$', text, re.M)
        of.setdefault(c, set()).add(f.package)
    assert not {c: p for c, p in of.items() if len(p) > 1}
    assert len({p for ps in of.values() for p in ps}) == len(of)


# --- the comparison can fail -------------------------------------------------------------------

ROUTE = "envoy.config.route.v3.RouteAction"
SERVICE = "istio.networking.v1alpha3.ServiceEntry"


def field(index, message, name):
    return next(f for f in index.messages[message].field if f.name == name)


def number(i):
    field(i, ROUTE, "prefix_rewrite").number = 400


def kind(i):
    field(i, ROUTE, "prefix_rewrite").type = F.TYPE_BYTES


def message_type(i):
    field(i, ROUTE, "retry_policy").type_name = ".envoy.config.route.v3.HedgePolicy"


def label(i):
    field(i, ROUTE, "hash_policy").label = F.LABEL_OPTIONAL


def out_of_oneof(i):
    field(i, ROUTE, "cluster").ClearField("oneof_index")


def other_oneof(i):
    i.messages[ROUTE].oneof_decl[0].name = "target"


def renamed(i):
    field(i, ROUTE, "timeout").name = "time_out"


def enum_value(i):
    i.enums[ROUTE + ".ClusterNotFoundResponseCode"].value[1].number = 7


def enum_value_gone(i):
    del i.enums[ROUTE + ".ClusterNotFoundResponseCode"].value[1]


MUTATIONS = {
    number: "RouteAction.prefix_rewrite: number is 400, official 5",
    kind: "RouteAction.prefix_rewrite: type is 'bytes', official 'string'",
    message_type: "RouteAction.retry_policy: type is 'envoy.config.route.v3.HedgePolicy'",
    label: "RouteAction.hash_policy: label is 'single', official 'repeated'",
    out_of_oneof: "RouteAction.cluster: oneof is '', official 'cluster_specifier'",
    other_oneof: "RouteAction.cluster: oneof is 'target', official 'cluster_specifier'",
    renamed: "RouteAction.time_out: official has no such field",
    enum_value: "RouteAction.ClusterNotFoundResponseCode.NOT_FOUND: is 7, official 1",
    enum_value_gone: "RouteAction.ClusterNotFoundResponseCode.NOT_FOUND: missing",
}


@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda m: m.__name__)
def test_a_wrong_field_is_found(mutate):
    wrong = copy.deepcopy(part("envoy.config.route."))
    mutate(wrong)
    faults = compare.compare(wrong, [Index(descriptors.envoy())])
    assert any(MUTATIONS[mutate] in f for f in faults), report(faults)


def test_a_missing_field_is_found():
    wrong = copy.deepcopy(part("istio."))
    fields = wrong.messages[SERVICE].field
    fields.remove(field(wrong, SERVICE, "resolution"))
    assert f"{SERVICE}.resolution: missing" in compare.missing(
        wrong, generations(), WHOLE, REPLACED)


def test_an_unknown_message_is_found():
    wrong = copy.deepcopy(part("istio.networking."))
    wrong.messages[SERVICE + "s"] = wrong.messages.pop(SERVICE)
    faults = compare.compare(wrong, generations())
    assert f"{SERVICE}s: official has no such message" in faults


def test_proto3_optional_is_a_oneof():
    official = compare.descriptor_pb2.DescriptorProto(name="M")
    official.field.add(name="n", number=1, type=F.TYPE_INT32, label=F.LABEL_OPTIONAL,
                       proto3_optional=True, oneof_index=0)
    official.oneof_decl.add(name="_n")
    mine = copy.deepcopy(official)
    mine.field[0].ClearField("proto3_optional")
    assert not compare.message_faults("M", mine, [official])
    mine.oneof_decl[0].name = "n_case"
    assert compare.message_faults("M", mine, [official])
