/* What a peer reports to hold of a type when it connects again (initial_resource_versions): names and
 * versions, kept from its request until its first answer. Private to common/xds.
 *
 * A thousand proxies that come back hold exactly what is in force, so that is found out without sorting
 * or comparing names: by count and an order-independent sum over (name, version), the same sum that a
 * set has. Threads: one at a time. */
#pragma once

#include "common/xds/diff.h"
#include "common/xds/request.h"

struct mt_xds_holding {
	const char *name; /* in the same block */
	uint64_t version; /* content hash, 0: not one of ours */
};

struct mt_xds_holdings {
	size_t n;
	uint64_t sum;
	bool sorted; /* by name, each once */
	struct mt_xds_holding v[];
};

/* Copies; to be freed with mt_free(). */
struct mt_xds_holdings *mt_xds_holdings_new(const struct mt_xds_held *held, size_t n);
/* Is it exactly the set? A false yes needs a collision of 64 bits, which only the peer itself can make
 * and which harms nobody else. A name that is said twice is a no. */
bool mt_xds_holdings_same(const struct mt_xds_holdings *h, const struct mt_set *s);
/* Puts it in the order of names; of two with one name the later stays. */
void mt_xds_holdings_sort(struct mt_xds_holdings *h);
