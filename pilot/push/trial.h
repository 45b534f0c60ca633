/* One trial of changed resources on one proxy. Private to canary.c and trial.c. Loop thread. */
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
	uint64_t first_id; /* its first snapshot: answers to older ones do not count */
	int64_t started_ns;
	char envoy[32];
	struct mt_set *want[PILOT_TABLES]; /* references */
	struct push_changes changes;       /* what is tried; in a search, all of one type */
	MT_VEC(struct push_range) groups;  /* of changes, the last one is being tried; none: all */
};

struct push_canary {
	struct push_canary_opts o;
	struct push_safety s;
	struct push_verdicts *verdicts;
	struct mt_timer *timer;
	uint64_t settled_id; /* the last snapshot when nothing was held back */
	unsigned lost;       /* canaries in a row that disconnected */
	int64_t quiet_until; /* no new trial before */
	bool busy;
	bool moved; /* verdicts or trials changed: look at held views again */
};

/* Is the table tried before all get it? */
bool push_gated(int table);
enum push_type push_type_of(int table);
/* "1.40.0" */
void push_envoy_of(const struct push_view *v, char buf[32]);

/* Resources in want that the view does not have and that are not known to be good. Returns how many
 * of them nobody is trying. */
size_t push_changes_find(struct push_canary *c, const struct push_view *v,
	struct mt_set *const want[PILOT_TABLES], struct push_changes *ret);
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
/* Only changes of this type are left, as one group. False (nothing is changed): there are none. */
bool push_trial_suspect(struct push_canary *c, struct push_trial *t, enum push_type type);
/* Splits the group that is being tried, and tries a half. */
void push_trial_halve(struct push_canary *c, struct push_trial *t);
/* What is undecided is untried again. */
void push_trial_forget(struct push_canary *c, const struct push_trial *t);
/* Unless it is good (and the view goes there at once, or there is no view any more), proxies that have
 * it get the view's snapshot again; what is undecided is untried again. Frees it. */
void push_trial_end(struct push_canary *c, struct push_trial *t, bool good);
void push_trial_free(struct push_trial *t);
