/* A discovery request of either variant, read in place. Private to common/xds. Pure. */
#pragma once

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/xds/wire.h"
#include "envoy/config/core/v3/core.pb-c.h"

struct mt_xds_held { /* initial_resource_versions */
	struct mt_view name;
	struct mt_view version;
};

/* Views point into the request's bytes; arrays live in the arena. */
struct mt_xds_request {
	struct mt_view type_url;
	struct mt_view nonce;
	struct mt_view version; /* state of the world */
	struct mt_view node;    /* p NULL: none */
	bool rejected;          /* error_detail is there */
	struct mt_view error;   /* its message */
	struct mt_view *names;  /* resource_names, resource_names_subscribe */
	size_t nnames;
	struct mt_view *gone; /* resource_names_unsubscribe */
	size_t ngone;
	struct mt_xds_held *held;
	size_t nheld;
};

/* MT_INVALID says what is malformed; MT_LIMIT when there are more than max_names names of a sort. */
int mt_xds_request_parse(const void *p, size_t n, bool delta, size_t max_names, struct mt_arena *a,
	struct mt_xds_request *ret, struct mt_err *err);

/* In place of an unpacked node one that has nothing but its id, likewise one block. Frees the node. */
Core__Node *mt_xds_node_shrink(Core__Node *node);
/* Unpacks a node into one heap block (mt_free) that is no larger than it needs; the list of the
 * proxy's extensions, most of its bytes, is left out. At most max bytes of memory: MT_LIMIT. */
int mt_xds_node_unpack(struct mt_view bytes, size_t max, Core__Node **ret, struct mt_err *err);
