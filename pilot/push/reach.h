/* How far configuration has come: for an object, how many of the proxies that it concerns have it in
 * force. Nothing is kept for it: what an object shaped is known from the provenance of the resources
 * of each class, and what a proxy has from the snapshots that it acknowledged. Loop thread. */
#pragma once

#include "pilot/push/push.h"

struct push_reach; /* a look at all proxies at one moment */

struct push_reach *push_reach_new(const struct push *p);
void push_reach_free(struct push_reach *r); /* NULL allowed */

/* Resources shaped by the object that not all who should have them have accepted: each once for each
 * version of Envoy. Strings are borrowed until the look is freed. */
struct push_reach_doubt {
	const char *resource;
	enum push_type type;
	char envoy[32];
	const char
		*words; /* a proxy's, which refused it: none of its version has it. NULL: nobody has
			      answered, and all have it */
};
void push_reach_doubts(const struct push_reach *r, uint32_t id,
	void (*fn)(void *ctx, const struct push_reach_doubt *d), void *ctx);

enum { PUSH_LAGGING_MAX = 5 };
struct push_reached {
	unsigned concerned; /* proxies that have a resource which the object shaped */
	unsigned in_force;  /* ... and acknowledged all that came with it */
	unsigned behind; /* all proxies that have not, concerned or not: it may have taken away */
	unsigned nlagging;
	const struct push_proxy *lagging[PUSH_LAGGING_MAX]; /* some of those behind */
};
/* since: the first snapshot that has the object's generation in force. */
void push_reach_of(
	const struct push_reach *r, uint32_t id, uint64_t since, struct push_reached *ret);
