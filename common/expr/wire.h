/* How facts about workloads travel through Envoy to Mixer. Three places use one text form:
 *
 *   - the request header MT_SOURCE_HEADER, set by the source's own proxy from its environment variable
 *     MT_SOURCE_ENV (which the agent fills), stripped where a client could have set it, and believed
 *     only when its service account is the one of the peer's certificate;
 *   - log_name of gRPC access logs, set by Pilot: facts about the listener;
 *   - keys of ext_authz context extensions are the same names, unencoded, one pair each.
 *
 * The form is `name=value&name=value`, names and values percent-encoded where they are not
 * [A-Za-z0-9._-]. Names are attribute names; an entry of a map attribute has the map's name, a dot and
 * the key: `source.labels.app=reviews`. In the header the leading "source." is left out. Pure. */
#pragma once

#include "common/base/arena.h"
#include "common/base/buf.h"

#define MT_SOURCE_HEADER "x-meltemi-source"
#define MT_SOURCE_ENV "MELTEMI_WORKLOAD"
enum { MT_WIRE_MAX = 8192, MT_WIRE_PAIRS_MAX = 128 };

/* Appends one pair, with '&' before it unless out is empty. value NULL or "": nothing is written. */
void mt_wire_add(struct mt_buf *out, const char *name, const char *value);
/* The same for an entry of a map: name "labels", key "app". */
void mt_wire_add_entry(struct mt_buf *out, const char *map, const char *key, const char *value);

struct mt_wire_pair {
	const char *name;
	const char *value;
};
/* Pairs in the arena; how many. Broken escapes and what exceeds the limits are left out. */
size_t mt_wire_parse(const char *text, size_t n, struct mt_arena *a, struct mt_wire_pair **ret);
