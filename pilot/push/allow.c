/* What a view is allowed to have: all that its classes have, or less while something is being tried.
 *
 *   pinned    what is to be decided: the classes' sets of one moment
 *   made_of   what its proxies have been given, all of them
 *   proven    what at least one of them has accepted
 *
 * A view that is held has made_of, and pinned waits. What comes into force with the canary was accepted
 * by one proxy, so that it is proven at once; what came into force otherwise (the canary is off, or
 * nobody answered) is unproven until a proxy of the view has answered all of it. When one rejects what
 * is unproven, the view is rolled back to what was proven, and what it had goes the way of a change.
 *
 * A view whose proxies have nothing yet has no snapshot: they are told nothing (a proxy that comes from
 * another Pilot keeps what it has) until what is new in it is decided. */
#include <stdio.h>

#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "pilot/push/trial.h"

static void replace(struct mt_set **at, struct mt_set *by) /* takes the reference */
{
	mt_set_unref(*at);
	*at = by;
}

static struct mt_set *ref(struct mt_set *s)
{
	return s ? mt_set_ref(s) : NULL;
}

static void unref_all(struct mt_set *sets[PILOT_TABLES])
{
	for (int t = 0; t < PILOT_TABLES; t++)
		replace(&sets[t], NULL);
}

/* ---- held and unproven ---- */

void push_view_hold(struct push_canary *c, struct push_view *v, bool held)
{
	if (v->held_prev) {
		*v->held_prev = v->held_next;
		if (v->held_next)
			v->held_next->held_prev = v->held_prev;
		v->held_prev = NULL;
		v->held_next = NULL;
	}
	if (held && !v->held)
		v->held_ns = push_canary_now(c);
	v->held = held;
	if (!held)
		return;
	struct push_view **list = v->trial ? &c->trying : &c->waiting;
	v->held_next = *list;
	if (*list)
		(*list)->held_prev = &v->held_next;
	v->held_prev = list;
	*list = v;
	push_canary_stir(c);
}

void push_view_unproven(struct push_canary *c, struct push_view *v, bool on)
{
	bool counted = v->unproven && !v->silent;
	v->unproven = on;
	v->silent = false;
	c->nunproven += (size_t)on - (size_t)counted;
	if (on) {
		v->unproven_ns = push_canary_now(c);
		push_canary_stir(c);
	}
}

void push_view_silent(struct push_canary *c, struct push_view *v)
{
	if (v->unproven && !v->silent) {
		v->silent = true;
		c->nunproven--;
	}
}

static void prove(struct push_canary *c, struct push_view *v)
{
	for (int t = 0; t < PILOT_TABLES; t++)
		if (v->proven[t] != v->made_of[t])
			replace(&v->proven[t], mt_set_ref(v->made_of[t]));
	v->proven_id = MT_MAX(v->allowed_id, 1);
	push_view_unproven(c, v, false);
}

static bool is_proven(const struct push_view *v)
{
	for (int t = 0; t < PILOT_TABLES; t++)
		if (push_gated(t) && v->proven[t] != v->made_of[t])
			return false;
	return true;
}

/* ---- pinning ---- */

void push_view_pin(const struct push_canary *c, struct push_view *v, int64_t made_ns)
{
	for (int t = 0; t < PILOT_TABLES; t++)
		replace(&v->pinned[t], mt_set_ref(v->classes[t]->set));
	v->pinned_ns = made_ns;
	v->pinned_id = c->world_id;
}

bool push_view_has_newest(const struct push_view *v)
{
	for (int t = 0; t < PILOT_TABLES; t++)
		if (v->pinned[t] != v->classes[t]->set)
			return false;
	return true;
}

void push_view_pin_first(const struct push_canary *c, struct push_view *v, int64_t made_ns)
{
	for (int t = 0; t < PILOT_TABLES; t++) {
		struct push_class *k = v->classes[t];
		bool none = !k->good || k->mixed || !push_canary_gates(c);
		if (t == PILOT_ENDPOINTS && !none)
			replace(&v->pinned[t], mt_set_union(k->good, k->set));
		else
			replace(&v->pinned[t], mt_set_ref(none ? k->set : k->good));
		k->mixed = false;
	}
	v->pinned_ns = made_ns;
	/* Of an older world, perhaps; then what comes next is held, and this does not matter. */
	v->pinned_id = push_view_has_newest(v) ? c->world_id : 0;
}

/* ---- without what was refused ---- */

struct filter {
	struct push_canary *c;
	const struct push_view *v;
	uint32_t envoy;
	int table;
	bool tell;
	MT_VEC(struct mt_res *) back; /* what was there instead; references */
	MT_VEC(const char *) none;    /* there was nothing */
};

static void keep_old(void *ctx, struct mt_res *was, struct mt_res *is)
{
	struct filter *f = ctx;
	if (push_verdict_of(f->c->verdicts, is->hash, f->envoy) != PUSH_BAD)
		return;
	/* Known to be refused, and here it is again: whoever brought it now is to blame. */
	if (f->tell)
		push_canary_tell(f->c, f->v, is, push_type_of(f->table), NULL,
			push_verdict_words(f->c->verdicts, is->hash, f->envoy));
	if (was)
		mt_vec_push(&f->back, mt_res_ref(was));
	else
		mt_vec_push(&f->none, is->name);
}

/* Condemned resources exchanged. A new reference. */
static struct mt_set *without_bad(
	struct push_canary *c, struct push_view *v, int table, bool fresh, bool *any)
{
	struct filter f = {
		.c = c, .v = v, .envoy = push_envoy_of(v), .table = table, .tell = fresh
	};
	struct mt_set *set = v->pinned[table];
	mt_set_each_changed(v->made_of[table], set, keep_old, &f);
	struct mt_set *out = mt_set_ref(set);
	if (f.back.n || f.none.n) {
		mt_set_unref(out);
		out = mt_set_patch(set, f.back.v, f.back.n, f.none.v, f.none.n);
		*any = true;
	}
	mt_vec_clear(&f.back);
	mt_vec_clear(&f.none);
	return out;
}

void push_view_wanted(
	struct push_canary *c, struct push_view *v, bool fresh, struct mt_set *want[PILOT_TABLES])
{
	bool kept = false;
	for (int t = 0; t < PILOT_TABLES; t++)
		want[t] = push_verdicts_bad(c->verdicts) && push_gated(t)
			? without_bad(c, v, t, fresh, &kept)
			: mt_set_ref(v->pinned[t]);
	for (int t = 0; kept && t < PILOT_TABLES; t++)
		if (t == PILOT_CLUSTERS || t == PILOT_CLUSTERS_INBOUND || t == PILOT_ENDPOINTS)
			replace(&want[t], mt_set_union(v->made_of[t], want[t]));
	/* Endpoints are always the newest. */
	replace(&want[PILOT_ENDPOINTS],
		mt_set_union(want[PILOT_ENDPOINTS], v->classes[PILOT_ENDPOINTS]->set));
}

/* ---- letting through, holding back ---- */

static void give_all(struct push_canary *c, struct push_view *v)
{
	for (struct push_proxy *x = v->first; x; x = x->view_next) {
		if (v->trial && push_trial_has(v->trial, x))
			continue;
		mt_xds_sub_publish(x->sub, v->snap);
		if (v->unproven)
			mt_xds_sub_watch(x->sub, true);
	}
	if (v->trial)
		push_trial_send(c, v->trial);
}

void push_view_approve(struct push_canary *c, struct push_view *v,
	struct mt_set *const sets[PILOT_TABLES], bool known)
{
	bool moves = !v->snap;
	push_view_hold(c, v, false);
	v->allowed_id = v->pinned_id;
	for (int t = 0; t < PILOT_TABLES; t++) {
		moves = moves || (push_gated(t) && sets[t] != v->made_of[t]);
		replace(&v->classes[t]->good, mt_set_ref(sets[t]));
	}
	bool changed = push_view_snapshot(v, sets, *c->o.last_id + 1, v->pinned_ns);
	*c->o.last_id += changed;
	if (moves && ((known && !v->unproven) || is_proven(v)))
		prove(c, v);
	else if (moves)
		push_view_unproven(c, v, true);
	if (changed)
		give_all(c, v);
}

void push_view_hold_back(struct push_canary *c, struct push_view *v)
{
	struct mt_set *sets[PILOT_TABLES];
	if (!v->held) {
		v->approved_id = v->snap ? v->allowed_id : 0;
		push_view_hold(c, v, true);
	}
	if (!v->snap)
		return;
	for (int t = 0; t < PILOT_TABLES; t++)
		sets[t] = t == PILOT_ENDPOINTS ? mt_set_union(v->made_of[t], v->classes[t]->set)
					       : mt_set_ref(v->made_of[t]);
	if (push_view_snapshot(v, sets, *c->o.last_id + 1, v->pinned_ns)) {
		++*c->o.last_id;
		give_all(c, v);
	}
	unref_all(sets);
}

/* ---- proof, and what is rejected without it ---- */

struct doubting {
	struct push_canary *c;
	uint32_t envoy;
	size_t n;
};

static void doubt(void *ctx, struct mt_res *was, struct mt_res *is)
{
	struct doubting *d = ctx;
	(void)was;
	d->n += push_verdict_of(d->c->verdicts, is->hash, d->envoy) != PUSH_GOOD;
}

static size_t doubts_of(struct push_canary *c, const struct push_view *v, int table)
{
	struct doubting d = { .c = c, .envoy = push_envoy_of(v) };
	mt_set_each_changed(v->proven[table], v->made_of[table], doubt, &d);
	return d.n;
}

bool push_view_doubtful(struct push_canary *c, const struct push_view *v, enum push_type type)
{
	for (int t = 0; t < PILOT_TABLES; t++)
		if (push_gated(t) && push_type_of(t) == type && doubts_of(c, v, t))
			return true;
	return false;
}

static void mark_good(void *ctx, struct mt_res *was, struct mt_res *is)
{
	const struct doubting *d = ctx;
	(void)was;
	if (push_verdict_of(d->c->verdicts, is->hash, d->envoy) != PUSH_BAD)
		push_canary_good(d->c, is, d->envoy);
}

void push_view_settled(
	struct push_canary *c, struct push_view *v, const struct push_proxy *x, uint64_t id)
{
	struct doubting d = { .c = c, .envoy = push_envoy_of(v) };
	if (!v->unproven || id < v->snap->id)
		return;
	for (int t = 0; t < PILOT_TABLES; t++) {
		struct mt_xds_status st;
		if (!push_gated(t) || !doubts_of(c, v, t))
			continue;
		mt_xds_sub_status(x->sub, (int)push_type_of(t), &st);
		if (!st.subscribed || st.nacked || st.acked_id < v->snap->id)
			return; /* it is told again when the proxy has asked for this too */
	}
	for (int t = 0; t < PILOT_TABLES; t++)
		if (push_gated(t))
			mt_set_each_changed(v->proven[t], v->made_of[t], mark_good, &d);
	prove(c, v);
	for (struct push_proxy *y = v->first; y; y = y->view_next)
		if (!v->trial || !push_trial_has(v->trial, y))
			mt_xds_sub_watch(y->sub, false);
	c->moved = true;
}

static void strike(uint32_t *ids, size_t n, const struct mt_res *res)
{
	for (size_t i = 0, k = 0;
		i < n && k < res->nprov;) { /* both are sorted but for the struck */
		if (!ids[i] || ids[i] < res->prov[k])
			i++;
		else if (ids[i] > res->prov[k])
			k++;
		else
			ids[i++] = 0;
	}
}

/* Those left that shape nothing proven in views of that version (same), or of others. */
static size_t strike_all(
	const struct push_canary *c, uint32_t envoy, bool same, uint32_t *ids, size_t n)
{
	struct mt_map *seen = mt_map_new();
	char key[24];
	for (struct mt_map_it it = { 0 }; mt_map_next(c->o.views->views, &it);) {
		const struct push_view *v = it.value;
		if ((push_envoy_of(v) == envoy) != same)
			continue;
		for (int t = 0; t < PILOT_TABLES; t++) {
			struct mt_set *set = push_gated(t) ? v->proven[t] : NULL;
			snprintf(key, sizeof(key), "%p", (void *)set);
			if (!set || mt_map_put(seen, key, set))
				continue;
			for (size_t i = 0; i < mt_set_size(set); i++)
				strike(ids, n, mt_set_at(set, i));
		}
	}
	mt_map_free(seen, NULL);
	size_t left = 0;
	for (size_t i = 0; i < n; i++)
		if (ids[i])
			ids[left++] = ids[i];
	return left;
}

size_t push_views_unaccepted(const struct push_canary *c, uint32_t envoy, uint32_t *ids, size_t n)
{
	n = strike_all(c, envoy, true, ids, n);
	/* Accepted by another version only: then it is this version that is the trouble. */
	return strike_all(c, envoy, false, ids, n) < n ? 0 : n;
}

bool push_view_has(const struct push_view *v, int table, const struct mt_res *res)
{
	if (!v->unproven || v->proven[table] == v->made_of[table])
		return false;
	const struct mt_res *has = mt_set_find(v->made_of[table], res->name);
	return has && has->hash == res->hash;
}

/* Nothing passes any more because nobody answered. */
static void forget_passed(void *ctx, struct mt_res *was, struct mt_res *is)
{
	const struct doubting *d = ctx;
	(void)was;
	if (push_verdict_of(d->c->verdicts, is->hash, d->envoy) == PUSH_PASSED)
		push_verdict_set(d->c->verdicts, is->hash, d->envoy, PUSH_UNTRIED);
}

void push_view_roll_back(struct push_canary *c, struct push_view *v)
{
	struct mt_set *sets[PILOT_TABLES];
	struct doubting d = { .c = c, .envoy = push_envoy_of(v) };
	push_view_unproven(c, v, false);
	for (int t = 0; t < PILOT_TABLES; t++)
		if (push_gated(t))
			mt_set_each_changed(v->proven[t], v->made_of[t], forget_passed, &d);
	for (int t = 0; t < PILOT_TABLES; t++)
		if (v->classes[t]->good == v->made_of[t])
			replace(&v->classes[t]->good, ref(v->proven[t]));
	push_view_hold(c, v, true);
	v->approved_id = v->proven_id;
	c->moved = true;
	if (!v->proven_id) {
		unref_all(v->made_of);
		mt_snapshot_unref(v->snap);
		v->snap = NULL;
		return;
	}
	for (int t = 0; t < PILOT_TABLES; t++)
		sets[t] = t == PILOT_ENDPOINTS ? mt_set_union(v->proven[t], v->classes[t]->set)
					       : mt_set_ref(v->proven[t]);
	if (push_view_snapshot(v, sets, *c->o.last_id + 1, v->pinned_ns)) {
		++*c->o.last_id;
		give_all(c, v);
	}
	unref_all(sets);
}

/* ---- what is in doubt ---- */

struct telling {
	const struct push_canary *c;
	uint32_t envoy;
	struct push_doubt d;
	void (*fn)(void *ctx, const struct push_doubt *d);
	void *ctx;
};

static void tell_bad(void *ctx, struct mt_res *was, struct mt_res *is)
{
	struct telling *t = ctx;
	(void)was;
	if (push_verdict_of(t->c->verdicts, is->hash, t->envoy) != PUSH_BAD)
		return;
	t->d.res = is;
	t->d.words = push_verdict_words(t->c->verdicts, is->hash, t->envoy);
	t->fn(t->ctx, &t->d);
}

static void tell_unproven(void *ctx, struct mt_res *was, struct mt_res *is)
{
	struct telling *t = ctx;
	(void)was;
	if (push_verdict_of(t->c->verdicts, is->hash, t->envoy) == PUSH_GOOD)
		return;
	t->d.res = is;
	t->d.words = NULL;
	t->fn(t->ctx, &t->d);
}

void push_canary_doubts(
	const struct push_canary *c, void (*fn)(void *ctx, const struct push_doubt *d), void *ctx)
{
	for (struct mt_map_it it = { 0 }; mt_map_next(c->o.views->views, &it);) {
		const struct push_view *v = it.value;
		char envoy[32];
		struct telling t = { .c = c, .envoy = push_envoy_of(v), .fn = fn, .ctx = ctx };
		t.d.envoy = push_envoy_text(t.envoy, envoy);
		for (int k = 0; k < PILOT_TABLES; k++) {
			if (!push_gated(k))
				continue;
			t.d.type = push_type_of(k);
			if (push_verdicts_bad(c->verdicts) && v->classes[k]->set)
				mt_set_each_changed(
					v->made_of[k], v->classes[k]->set, tell_bad, &t);
			if (v->silent)
				mt_set_each_changed(v->proven[k], v->made_of[k], tell_unproven, &t);
		}
	}
}
