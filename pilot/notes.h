/* What is said of configuration objects: that a part has no effect, loses, waits or is wrong, and why.
 * The one source of /debug/status, /debug/push_status and /debug/notes.
 *
 *   world         found while it was built: true for every proxy
 *   endpoints     of a service, that could not be made (struct pilot_left_out)
 *   registries    an object that one of them cannot use
 *   translation   found while resources were planned and built for a class of proxies, and kept with
 *                 them (push/notes.c): gone when they are
 *
 * Code that finds something calls pilot_note_add() in pilot/model, pilot_job_note() in pilot/translate and
 * pilot/filter; nothing else is to do. Loop thread. */
#pragma once

#include "pilot/pilot.h"

struct pilot_said {
	const struct pilot_note *note; /* borrowed: valid until the loop goes on */
	unsigned classes, proxies;     /* of translation: how many it concerns; else 0 */
};
struct pilot_said_list { /* sorted by object; each once */
	struct pilot_said *v;
	size_t n, cap;
	struct mt_arena *a;
};

/* x: only what translation says for this proxy; NULL: everything. To be cleared. */
void pilot_said(const struct pilot *p, const struct push_proxy *x, struct pilot_said_list *ret);
void pilot_said_clear(struct pilot_said_list *l);
/* [{kind, path, note, proxies, classes}] of an object; the last two not for what is so everywhere, nor
 * in a list for one proxy. Of one kind and path a few are shown: the last has "more", how many there are
 * besides. */
json_t *pilot_said_json(const struct pilot_said_list *l, uint32_t id);
/* All of them, each with its "object": its kind, namespace and name. */
json_t *pilot_said_all_json(const struct pilot *p, const struct pilot_said_list *l);
