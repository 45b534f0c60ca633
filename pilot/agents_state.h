/* Members of groups on disk: a Pilot that starts again serves them until their agents have reported to it
 * once more, or their lease has run out. Loop thread. */
#pragma once

#include "common/run/state.h"
#include "common/schema/object.h"

struct pilot_member {
	const char *node_id;
	const char *group; /* "ns/name" */
	bool healthy;
	struct mt_object *made; /* the WorkloadEntry that stands for it */
};

int pilot_members_save(
	struct mt_state *s, const struct pilot_member *v, size_t n, struct mt_err *err);
/* Calls each for every member; m->made is borrowed. MT_NOT_FOUND: nothing was saved. */
int pilot_members_load(struct mt_state *s, void (*each)(void *ctx, const struct pilot_member *m),
	void *ctx, struct mt_err *err);
