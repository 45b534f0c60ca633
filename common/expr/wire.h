/* How facts about workloads travel through Envoy to Mixer:
 *
 *   - log_name of gRPC access logs, set by Pilot: facts about the listener, in the text form below;
 *   - keys of ext_authz context extensions: the same names, unencoded, one pair each;
 *   - who the source is: the header of common/base/workload.h, set by the source's own proxy.
 *
 * The form is `name=value&name=value`, names and values percent-encoded where they are not
 * [A-Za-z0-9._-]. Names are attribute names; an entry of a map attribute has the map's name, a dot and
 * the key: `destination.labels.app=reviews`. Pure. */
#pragma once

#include "common/base/arena.h"
#include "common/base/buf.h"

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
