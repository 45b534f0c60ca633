/* Trials of changed resources on one proxy, and what views are allowed to have. Private to canary.c,
 * allow.c and trial.c. Loop thread. */
#pragma once

#include "common/base/vec.h"
#include "pilot/push/canary.h"
#include "pilot/push/verdicts.h"

struct push_change {
	enum pilot_table table;
	enum push_type type;
	struct mt_res *res; /* a reference */
};
struct push_changes {
	struct push_change *v;
	size_t n;
	size_t cap;
};
struct push_range {
	size_t from, to;
};

enum { PUSH_TRIED_MAX = 8 };

struct push_trial {
	struct push_view *view;
	struct push_proxy *canary;      /* NULL: gone, to be replaced */
	uint64_t tried[PUSH_TRIED_MAX]; /* ids of subs that were given it */
	unsigned ntried;
	bool given_up;     /* nobody of the view answers: other views may try the same */
	bool searched;     /* something was rejected: the culprit is looked for */
	bool halved;       /* ... and what is tried now is not all of it any more */
	bool first;        /* its proxies have nothing yet */
	uint64_t first_id; /* its first snapshot: answers to older ones do not count */
	int64_t started_ns;
	uint32_t envoy;
	struct mt_set *want[PILOT_TABLES]; /* references */
	struct push_changes changes;       /* what is tried; in a search, all of one type */
	MT_VEC(struct push_range) groups;  /* of changes, the last one is being tried; none: all */
};

struct push_canary {
	struct push_canary_opts o;
	struct push_safety s;
	struct push_verdicts *verdicts;
	/* "name version" of what was refused though everything behind it was accepted before: by a
	 * proxy of another version, or elsewhere. Who changes it next is not to blame. */
	struct mt_map *poisoned;
	struct mt_timer *timer;
	struct push_view *waiting, *trying; /* held views: without a trial, with one */
	struct push_proxy *asked; /* while a trial starts: who shall be the canary, NULL any */
	size_t nunproven; /* views that have something new, and from which an answer may yet come */
	size_t nsearching; /* trials that look for what was rejected */
	uint64_t world_id; /* of the newest world: smaller than its snapshots, larger than others */
	uint64_t settled_id; /* the last snapshot when nothing was held back or unproven */
	unsigned lost;       /* canaries in a row that disconnected */
	int64_t quiet_until; /* no new trial before */
	bool hunting; /* until all is settled, what changes is tried even with the canary off */
	bool busy;
	bool moved; /* verdicts or trials changed: look at held views again */
};

enum { PUSH_SILENT_MAX = 3 }; /* canary timeouts after which silence is no reason to wait */

static inline int64_t push_canary_now(const struct push_canary *c)
{
	return mt_mono(mt_loop_clock(c->o.loop));
}
/* Is what changed tried first? */
static inline bool push_canary_gates(const struct push_canary *c)
{
	return c->s.canary || c->hunting;
}
/* Something is held back or unproven: the timer runs. */
void push_canary_stir(struct push_canary *c);
/* A proxy accepts a resource. */
void push_canary_good(struct push_canary *c, const struct mt_res *res, uint32_t envoy);
/* The engine hears of a resource that a view does not get. True: whoever brought it is going back. */
bool push_canary_tell(struct push_canary *c, const struct push_view *v, const struct mt_res *res,
	enum push_type type, const struct push_proxy *x, const char *words);

/* Is the table tried before all get it? */
bool push_gated(int table);
enum push_type push_type_of(int table);
uint32_t push_envoy_of(const struct push_view *v);
/* "1.40.0" */
const char *push_envoy_text(uint32_t envoy, char buf[32]);

/* Resources in want that the view does not have and that are not known to be good. */
struct push_found {
	struct push_changes changes;
	size_t untried; /* of them: nobody is trying those */
	size_t passed;  /* not among them: let through because nobody answered */
};
void push_changes_find(struct push_canary *c, const struct push_view *v,
	struct mt_set *const want[PILOT_TABLES], struct push_found *ret);
void push_changes_clear(struct push_changes *ch);

/* Takes the changes over and gives them to a proxy. */
void push_trial_start(struct push_canary *c, struct push_view *v,
	struct mt_set *const want[PILOT_TABLES], struct push_changes *ch);
/* Another proxy. False: there is none. */
bool push_trial_next(struct push_canary *c, struct push_trial *t);
/* Was the proxy given it? */
bool push_trial_has(const struct push_trial *t, const struct push_proxy *x);
/* The trial's snapshot, with the newest endpoints, to its proxy. */
void push_trial_send(struct push_canary *c, struct push_trial *t);
/* What is being tried now. */
struct push_range push_trial_group(const struct push_trial *t);
/* Goes on to the next group of a search. False: there is none. */
bool push_trial_next_group(struct push_canary *c, struct push_trial *t);
/* Only changes of this type are left, as one group, which was rejected; or as two when the words name
 * some: those are being tried now. False (nothing is changed): there are none. */
bool push_trial_suspect(
	struct push_canary *c, struct push_trial *t, enum push_type type, const char *words);
/* Has the proxy answered all that the trial is about? (Types that come after others are asked for late.) */
bool push_trial_answered(const struct push_trial *t, const struct push_proxy *x);
/* The type of what is being tried now that the proxy has rejected; -1 none. */
int push_trial_nacked(const struct push_trial *t, const struct push_proxy *x);
/* Splits the group that is being tried, and tries a half. */
void push_trial_halve(struct push_canary *c, struct push_trial *t);
/* What is undecided is untried again. */
void push_trial_forget(struct push_canary *c, const struct push_trial *t);
/* Unless it is good (and the view goes there at once, or there is no view any more), proxies that have
 * it get the view's snapshot again; what is undecided is untried again. Frees it. */
void push_trial_end(struct push_canary *c, struct push_trial *t, bool good);
void push_trial_free(struct push_trial *t);

/* ---- allow.c ---- */
/* The view has been held, or is not any more; or has got or lost a trial. */
void push_view_hold(struct push_canary *c, struct push_view *v, bool held);
/* Pins what its classes have; of a view whose proxies have nothing: what they were last allowed. */
void push_view_pin(const struct push_canary *c, struct push_view *v, int64_t made_ns);
void push_view_pin_first(const struct push_canary *c, struct push_view *v, int64_t made_ns);
/* Was all that the classes have pinned already (and, as it is not held, decided)? */
bool push_view_has_newest(const struct push_view *v);
/* The pinned sets as they may be: new references. fresh: they have just been pinned. */
void push_view_wanted(
	struct push_canary *c, struct push_view *v, bool fresh, struct mt_set *want[PILOT_TABLES]);
/* All its proxies get the sets. known: they are known to be good. */
void push_view_approve(struct push_canary *c, struct push_view *v,
	struct mt_set *const sets[PILOT_TABLES], bool known);
/* Only endpoints go on; assignments of clusters that are still in force stay. */
void push_view_hold_back(struct push_canary *c, struct push_view *v);
/* A proxy has answered everything: what the view has is proven if this one says so. */
void push_view_settled(
	struct push_canary *c, struct push_view *v, const struct push_proxy *x, uint64_t id);
/* Does the view have unproven resources of the type that nobody of its version is known to accept? */
bool push_view_doubtful(struct push_canary *c, const struct push_view *v, enum push_type type);
/* Does it have this resource, unproven? */
bool push_view_has(const struct push_view *v, int table, const struct mt_res *res);
/* Its proxies get what was proven, whole (those that never had such a thing keep what they have), and
 * what is unproven is held. */
void push_view_roll_back(struct push_canary *c, struct push_view *v);
/* Keeps those of the objects that shape nothing that a proxy is known to accept; none when some are
 * accepted by other versions only. Returns how many. */
size_t push_views_unaccepted(const struct push_canary *c, uint32_t envoy, uint32_t *ids, size_t n);
void push_view_unproven(struct push_canary *c, struct push_view *v, bool on);
/* Nobody answers: it is not waited for any more. */
void push_view_silent(struct push_canary *c, struct push_view *v);
