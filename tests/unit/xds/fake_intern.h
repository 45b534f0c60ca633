/* What fake proxies share: names, and what a resource with certain bytes says. A thousand proxies
 * that receive the same cluster keep one pointer each. Threads: any. */
#pragma once

#include "common/xds/wire.h"

/* The same pointer for the same text, until fake_intern_clear(). */
const char *fake_intern(struct mt_view text);

/* A resource as its bytes say. Immutable. */
struct fake_resource {
	const char *name; /* interned */
	uint64_t version; /* hash of the Any */
	const char *
		*refers; /* cluster: the name of its endpoints; listener: its routes; interned */
	size_t nrefers;
};
const struct fake_resource *fake_resource_of(int type, struct mt_view any);
