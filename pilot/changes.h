/* Who causes the work: the objects that change most often, and the last recomputations. Bounded
 * memory whatever changes. Loop thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct pilot_changes;

enum { PILOT_CHANGES_TOP = 256, PILOT_CHANGES_LAST = 64 };

struct pilot_change_source {
	char *title;    /* "ServiceEntry default/reviews" */
	uint64_t count; /* of its changes: at least count - error, at most count */
	uint64_t error;
	int64_t last_ns; /* wall clock */
};
struct pilot_recomputation {
	const char *reason; /* a constant */
	int64_t at_ns;      /* wall clock */
	int64_t took_ns;
};

struct pilot_changes *pilot_changes_new(void);
void pilot_changes_free(struct pilot_changes *c); /* NULL allowed */
void pilot_changes_object(struct pilot_changes *c, const char *title, int64_t now_ns);
void pilot_changes_computed(
	struct pilot_changes *c, const char *reason, int64_t now_ns, int64_t took_ns);
/* Those that change most, the first n of them into v (borrowed titles). Returns how many. */
size_t pilot_changes_top(const struct pilot_changes *c, struct pilot_change_source *v, size_t n);
/* The newest first. */
size_t pilot_changes_last(const struct pilot_changes *c, struct pilot_recomputation *v, size_t n);
