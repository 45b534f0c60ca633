/* Configuration kinds: one row each in kinds.def, from which decoding, validation, distribution,
 * `meltemi get` and the reference page come.
 *
 *   KIND(VIRTUAL_SERVICE, "networking.istio.io", "v1alpha3", ",v1beta1,v1", "VirtualService",
 *        "virtualservices", NAMESPACED, nw__virtual_service__descriptor)
 *
 * The validator of a kind is named by Galley's own table, keyed by the row's id, so that common
 * never depends on a daemon. Plain constant data; any thread. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "common/base/macros.h"

enum mt_kind_id {
#define KIND(id, ...) MT_KIND_##id,
#include "common/schema/kinds.def"
#undef KIND
	MT_KIND_N
};
enum mt_scope { MT_SCOPE_NAMESPACED, MT_SCOPE_CLUSTER };

struct mt_kind {
	enum mt_kind_id id;
	const char *group;    /* "networking.istio.io" */
	const char *versions; /* accepted, comma separated; the first names the type URL */
	const char *kind;     /* "VirtualService" */
	const char *plural;   /* "virtualservices" */
	enum mt_scope scope;
	const ProtobufCMessageDescriptor *spec;
	const char *type_url; /* "networking.istio.io/v1alpha3/VirtualService" */
};

extern const struct mt_kind mt_kinds[MT_KIND_N];
const struct mt_kind *mt_kind_by_name(const char *kind_or_plural); /* case-insensitive; NULL */
const struct mt_kind *mt_kind_by_api(
	const char *api_version, const char *kind); /* "group/version" */
const struct mt_kind *mt_kind_by_type_url(const char *type_url);
