#include "common/schema/envoy_patch.h"

#include <string.h>

#include "common/base/strs.h"
#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/config/listener/v3/listener.pb-c.h"
#include "envoy/config/route/v3/route.pb-c.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"

static const struct {
	const char *old, *name, *type;
} names[] = {
#define NAME(old, name, type) { old, name, type },
#include "common/schema/envoy_names.def"
#undef NAME
};

const ProtobufCMessageDescriptor *mt_patch_type(Nw__EnvoyFilter__ApplyTo to)
{
	switch (to) {
	case NW__ENVOY_FILTER__APPLY_TO__LISTENER: return &listener__listener__descriptor;
	case NW__ENVOY_FILTER__APPLY_TO__FILTER_CHAIN: return &listener__filter_chain__descriptor;
	case NW__ENVOY_FILTER__APPLY_TO__NETWORK_FILTER: return &listener__filter__descriptor;
	case NW__ENVOY_FILTER__APPLY_TO__HTTP_FILTER: return &hcm__http_filter__descriptor;
	case NW__ENVOY_FILTER__APPLY_TO__ROUTE_CONFIGURATION:
		return &route__route_configuration__descriptor;
	case NW__ENVOY_FILTER__APPLY_TO__VIRTUAL_HOST: return &route__virtual_host__descriptor;
	case NW__ENVOY_FILTER__APPLY_TO__HTTP_ROUTE: return &route__route__descriptor;
	case NW__ENVOY_FILTER__APPLY_TO__CLUSTER: return &cluster__cluster__descriptor;
	case NW__ENVOY_FILTER__APPLY_TO__EXTENSION_CONFIG:
		return &core__typed_extension_config__descriptor;
	case NW__ENVOY_FILTER__APPLY_TO__LISTENER_FILTER:
		return &listener__listener_filter__descriptor;
	default: return NULL;
	}
}

#define TO(name) NW__ENVOY_FILTER__APPLY_TO__##name
#define BIT(name) (1u << NW__ENVOY_FILTER__PATCH__OPERATION__##name)

enum {
	MERGES = BIT(MERGE) | BIT(MERGE_AND_REPLACE_LIST),
	WHOLE = MERGES | BIT(ADD) | BIT(REMOVE),
	PLACED = WHOLE | BIT(INSERT_BEFORE) | BIT(INSERT_AFTER) | BIT(INSERT_FIRST),
	FILTER = PLACED | BIT(REPLACE),
};

static const unsigned ops[] = {
	[TO(LISTENER)] = WHOLE,
	[TO(FILTER_CHAIN)] = WHOLE,
	[TO(NETWORK_FILTER)] = FILTER,
	[TO(HTTP_FILTER)] = FILTER,
	[TO(LISTENER_FILTER)] = FILTER,
	[TO(ROUTE_CONFIGURATION)] = MERGES,
	[TO(VIRTUAL_HOST)] = WHOLE,
	[TO(HTTP_ROUTE)] = PLACED,
	[TO(CLUSTER)] = WHOLE,
	[TO(EXTENSION_CONFIG)] = BIT(ADD),
	[TO(BOOTSTRAP)] = BIT(MERGE),
};

bool mt_patch_can(Nw__EnvoyFilter__ApplyTo to, Nw__EnvoyFilter__Patch__Operation op)
{
	return (unsigned)to < MT_ARRAY_SIZE(ops) && (unsigned)op < 32 && (ops[to] & 1u << op);
}

static const char *enum_name(const ProtobufCEnumDescriptor *d, int v)
{
	const ProtobufCEnumValue *e = protobuf_c_enum_descriptor_get_value(d, v);
	return e ? e->name : NULL;
}

const char *mt_patch_kind_name(Nw__EnvoyFilter__ApplyTo to)
{
	return enum_name(&nw__envoy_filter__apply_to__descriptor, (int)to);
}

const char *mt_patch_op_name(Nw__EnvoyFilter__Patch__Operation op)
{
	return enum_name(&nw__envoy_filter__patch__operation__descriptor, (int)op);
}

ProtobufCMessage *mt_patch_value(Nw__EnvoyFilter__ApplyTo to, const Google__Protobuf__Struct *value,
	const char *path, struct mt_arena *a, struct mt_diags *diags)
{
	const ProtobufCMessageDescriptor *d = mt_patch_type(to);
	if (!d)
		return NULL;
	json_t *j = value ? mt_pb_to_json(&value->base) : json_object();
	ProtobufCMessage *m = mt_pb_from_json_open(d, j, path, a, diags);
	json_decref(j);
	return m;
}

const char *mt_patch_filter_name(const char *name)
{
	for (size_t i = 0; i < MT_ARRAY_SIZE(names); i++)
		if (strcmp(names[i].old, name) == 0)
			return names[i].name;
	return name;
}

static const char *type_of(const char *name)
{
	for (size_t i = 0; i < MT_ARRAY_SIZE(names); i++)
		if (*names[i].type &&
			(strcmp(names[i].old, name) == 0 || strcmp(names[i].name, name) == 0))
			return names[i].type;
	return NULL;
}

ProtobufCMessage *mt_patch_filter(const Nw__EnvoyFilter__Filter *f, const char *path,
	struct mt_arena *a, struct mt_diags *diags)
{
	bool http = f->filter_type == NW__ENVOY_FILTER__FILTER__FILTER_TYPE__HTTP;
	const char *type = type_of(f->filter_name);
	json_t *config = f->filter_config ? mt_pb_to_json(&f->filter_config->base) : json_object();
	if (!json_object_get(config, "@type") && type) {
		char *url = mt_arena_printf(a, "type.googleapis.com/%s", type);
		json_object_set_new(config, "@type", json_string(url));
	}
	json_t *j = json_pack(
		"{s:s, s:o}", "name", mt_patch_filter_name(f->filter_name), "typedConfig", config);
	ProtobufCMessage *m = mt_pb_from_json_open(
		http ? &hcm__http_filter__descriptor : &listener__filter__descriptor, j, path, a,
		diags);
	json_decref(j);
	return m;
}
