/* Notes of translation, kept beside what carries them: each resource (and virtual host) of a class has
 * the notes of its last build, a class those of its last plan. They go with it. A note that many carry
 * is one, counted: nothing is kept per proxy, and a change costs the notes of what it built.
 *
 * Owner: the push engine. Loop thread. */
#pragma once

#include "common/run/metrics.h"
#include "pilot/translate/translate.h"

struct push_notes; /* all that anything carries, each once */
struct push_noted; /* those of one resource or plan */

enum { PUSH_NOTES_MAX = 1000 }; /* of one resource or plan; what comes after these is left out */

/* metrics: counts what there is; NULL allowed. */
struct push_notes *push_notes_new(struct mt_metrics *metrics);
void push_notes_free(struct push_notes *n); /* NULL allowed; after all that carry any */

/* Replaces *at (NULL none, and set to NULL when there are none now), which is in the list. n NULL: none
 * are kept. From the job: those of a plan of table, or, with table PILOT_NOTE_BUILT, those of builds
 * since it had `from` notes. */
void push_noted_set(struct push_notes *n, struct push_noted **list, struct push_noted **at,
	const struct pilot_job *j, int table, size_t from);
void push_noted_drop(struct push_notes *n, struct push_noted **at); /* *at NULL allowed */
