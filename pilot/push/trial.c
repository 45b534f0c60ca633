/* A trial's snapshots: of the whole change, or (searching for what was rejected) of the view's own sets
 * with one group of the changed resources of a type in them. Types that come before the searched one
 * in the safe order are as the change wants them, since they were accepted; those after it as they
 * were. */
#include "pilot/push/trial.h"

#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "pilot/metrics.h"

static const int type_of[PILOT_TABLES] = {
	[PILOT_CLUSTERS] = PUSH_CDS,
	[PILOT_CLUSTERS_INBOUND] = PUSH_CDS,
	[PILOT_ENDPOINTS] = PUSH_EDS,
	[PILOT_LISTENERS] = PUSH_LDS,
	[PILOT_LISTENERS_INBOUND] = PUSH_LDS,
	[PILOT_ROUTES] = PUSH_RDS,
	[PILOT_ROUTES_INBOUND] = PUSH_RDS,
	[PILOT_VIRTUAL_HOSTS] = PUSH_VHDS,
};

bool push_gated(int table)
{
	return type_of[table] != PUSH_EDS;
}

enum push_type push_type_of(int table)
{
	return (enum push_type)type_of[table];
}

uint32_t push_envoy_of(const struct push_view *v)
{
	const struct pilot_proxy *p = v->first->proxy;
	return push_envoy(p->major, p->minor, p->patch);
}

const char *push_envoy_text(uint32_t envoy, char buf[32])
{
	snprintf(buf, 32, "%u.%u.%u", envoy >> 20, envoy >> 8 & 0xfff, envoy & 0xff);
	return buf;
}

/* ---- changes ---- */

struct finding {
	struct push_canary *c;
	uint32_t envoy;
	enum pilot_table table;
	struct push_found *out;
};

static void found(void *ctx, struct mt_res *was, struct mt_res *is)
{
	struct finding *f = ctx;
	enum push_verdict verdict = push_verdict_of(f->c->verdicts, is->hash, f->envoy);
	(void)was;
	f->out->passed += verdict == PUSH_PASSED;
	if (verdict == PUSH_GOOD || verdict == PUSH_BAD || verdict == PUSH_PASSED)
		return;
	const struct push_change ch = { f->table, (enum push_type)type_of[f->table],
		mt_res_ref(is) };
	mt_vec_push(&f->out->changes, ch);
	f->out->untried += verdict == PUSH_UNTRIED;
}

/* Many views begin with the same large sets: one look at each is enough, when all of it is good. */
static bool is_clear(
	const struct push_canary *c, const struct push_class *k, const struct mt_set *s)
{
	return k->clear == s && k->clear_epoch == push_verdicts_epoch(c->verdicts);
}

static void find_all(struct finding *f, struct push_class *k, struct mt_set *want)
{
	const struct push_found *out = f->out;
	size_t before = out->changes.n + out->passed;
	if (is_clear(f->c, k, want))
		return;
	mt_set_each_changed(NULL, want, found, f);
	if (out->changes.n + out->passed > before)
		return;
	mt_set_unref(k->clear);
	k->clear = mt_set_ref(want);
	k->clear_epoch = push_verdicts_epoch(f->c->verdicts);
}

void push_changes_find(struct push_canary *c, const struct push_view *v,
	struct mt_set *const want[PILOT_TABLES], struct push_found *ret)
{
	struct finding f = { .c = c, .envoy = push_envoy_of(v), .out = ret };
	for (int t = 0; t < PILOT_TABLES; t++) {
		f.table = (enum pilot_table)t;
		if (push_gated(t) && v->made_of[t])
			mt_set_each_changed(v->made_of[t], want[t], found, &f);
		else if (push_gated(t))
			find_all(&f, v->classes[t], want[t]);
	}
}

void push_changes_clear(struct push_changes *ch)
{
	for (size_t i = 0; i < ch->n; i++)
		mt_res_unref(ch->v[i].res);
	mt_vec_clear(ch);
}

/* ---- whom ---- */

bool push_trial_has(const struct push_trial *t, const struct push_proxy *x)
{
	for (unsigned i = 0; i < t->ntried; i++)
		if (t->tried[i] == mt_xds_sub_id(x->sub))
			return true;
	return false;
}

/* 2: has acknowledged all that it was sent; 1: is subscribed to something; 0: neither. */
static int fitness(const struct push_proxy *x)
{
	bool any = false, in_step = true;
	for (int t = 0; t < PUSH_TYPES; t++) {
		struct mt_xds_status st;
		mt_xds_sub_status(x->sub, t, &st);
		if (!st.subscribed)
			continue;
		any = true;
		in_step = in_step && st.acked_id && st.acked_id == st.sent_id && !st.nacked;
	}
	return any ? 1 + in_step : 0;
}

static struct push_proxy *choose(const struct push_canary *c, const struct push_trial *t)
{
	struct push_proxy *best = NULL;
	int fit = -1;
	if (c->asked && c->asked->view == t->view && !push_trial_has(t, c->asked))
		return c->asked;
	for (struct push_proxy *x = t->view->first; x && fit < 2; x = x->view_next) {
		int f = push_trial_has(t, x) ? -1 : fitness(x);
		if (f > fit) {
			fit = f;
			best = x;
		}
	}
	return best;
}

/* ---- snapshots ---- */

struct push_range push_trial_group(const struct push_trial *t)
{
	return t->groups.n ? t->groups.v[t->groups.n - 1] : (struct push_range){ 0, t->changes.n };
}

static bool in_group(const struct push_trial *t, size_t i)
{
	struct push_range g = push_trial_group(t);
	return i >= g.from && i < g.to;
}

/* What the view has with the group in it. */
static struct mt_set *group_set(const struct push_trial *t, int table)
{
	MT_VEC(struct mt_res *) res = { 0 };
	for (size_t i = 0; i < t->changes.n; i++)
		if ((int)t->changes.v[i].table == table && in_group(t, i))
			mt_vec_push(&res, mt_res_ref(t->changes.v[i].res));
	struct mt_set *s = mt_set_patch(t->view->made_of[table], res.v, res.n, NULL, 0);
	mt_vec_clear(&res);
	return s;
}

/* The view has nothing yet: what it should have without the other groups. */
static struct mt_set *without_others(const struct push_trial *t, int table)
{
	MT_VEC(const char *) names = { 0 };
	for (size_t i = 0; i < t->changes.n; i++)
		if ((int)t->changes.v[i].table == table && !in_group(t, i))
			mt_vec_push(&names, t->changes.v[i].res->name);
	struct mt_set *s = mt_set_patch(t->want[table], NULL, 0, names.v, names.n);
	mt_vec_clear(&names);
	return s;
}

static struct mt_set *trial_set(const struct push_trial *t, int table)
{
	const struct push_view *v = t->view;
	if (table == PILOT_ENDPOINTS) {
		struct mt_set *both = mt_set_union(t->want[table], v->classes[table]->set);
		struct mt_set *all = mt_set_union(v->made_of[table], both);
		mt_set_unref(both);
		return all;
	}
	int searched = t->groups.n ? (int)t->changes.v[0].type : PUSH_TYPES;
	if (type_of[table] == searched)
		return t->first ? without_others(t, table) : group_set(t, table);
	return mt_set_ref(
		t->first || type_of[table] < searched ? t->want[table] : v->made_of[table]);
}

void push_trial_send(struct push_canary *c, struct push_trial *t)
{
	struct mt_set *sets[PILOT_TABLES];
	struct mt_snapshot *snap = mt_snapshot_new(++*c->o.last_id, t->view->pinned_ns, PUSH_TYPES);
	if (!t->canary) {
		mt_snapshot_unref(snap);
		return;
	}
	for (int i = 0; i < PILOT_TABLES; i++)
		sets[i] = trial_set(t, i);
	push_view_join(t->view, sets, snap->sets);
	mt_xds_sub_publish(t->canary->sub, snap);
	mt_snapshot_unref(snap);
	for (int i = 0; i < PILOT_TABLES; i++)
		mt_set_unref(sets[i]);
}

/* Something else is tried: only answers from now on count. */
static void send_first(struct push_canary *c, struct push_trial *t)
{
	t->first_id = *c->o.last_id + 1;
	t->started_ns = mt_mono(mt_loop_clock(c->o.loop));
	push_trial_send(c, t);
}

bool push_trial_next(struct push_canary *c, struct push_trial *t)
{
	struct push_proxy *x = t->ntried < PUSH_TRIED_MAX ? choose(c, t) : NULL;
	if (!x)
		return false;
	t->canary = x;
	t->tried[t->ntried++] = mt_xds_sub_id(x->sub);
	t->started_ns = mt_mono(mt_loop_clock(c->o.loop));
	if (!t->first_id)
		t->first_id = *c->o.last_id + 1;
	push_trial_send(c, t);
	mt_xds_sub_watch(x->sub, true);
	return true;
}

void push_trial_start(struct push_canary *c, struct push_view *v,
	struct mt_set *const want[PILOT_TABLES], struct push_changes *ch)
{
	struct push_trial *t = MT_NEW(struct push_trial);
	t->view = v;
	t->first = !v->snap;
	t->envoy = push_envoy_of(v);
	for (int i = 0; i < PILOT_TABLES; i++)
		t->want[i] = mt_set_ref(want[i]);
	t->changes = *ch;
	*ch = (struct push_changes){ 0 };
	for (size_t i = 0; i < t->changes.n; i++)
		push_verdict_set(c->verdicts, t->changes.v[i].res->hash, t->envoy, PUSH_TRYING);
	v->trial = t;
	push_view_hold(c, v, true);
	mt_metric_add(c->o.metrics, METRIC_pilot_canary_trials, 1);
	push_trial_next(c, t);
}

/* ---- the search ---- */

bool push_trial_next_group(struct push_canary *c, struct push_trial *t)
{
	if (t->groups.n)
		t->groups.n--;
	if (!t->groups.n)
		return false;
	send_first(c, t);
	return true;
}

static void forget(struct push_canary *c, const struct push_trial *t, struct mt_res *res)
{
	if (push_verdict_of(c->verdicts, res->hash, t->envoy) == PUSH_TRYING)
		push_verdict_set(c->verdicts, res->hash, t->envoy, PUSH_UNTRIED);
}

/* Those that the words name come first. They are only a hint: what they name is tried like the rest. */
static size_t named_first(struct push_changes *ch, const char *words)
{
	size_t named = 0;
	for (size_t i = 0; i < ch->n; i++) {
		struct push_change one = ch->v[i];
		if (!strstr(words, one.res->name))
			continue;
		ch->v[i] = ch->v[named];
		ch->v[named++] = one;
	}
	return named;
}

bool push_trial_suspect(
	struct push_canary *c, struct push_trial *t, enum push_type type, const char *words)
{
	size_t n = 0;
	for (size_t i = 0; i < t->changes.n; i++)
		n += t->changes.v[i].type == type;
	if (!n)
		return false;
	n = 0;
	for (size_t i = 0; i < t->changes.n; i++) {
		struct push_change ch = t->changes.v[i];
		if (ch.type == type) {
			t->changes.v[n++] = ch;
			continue;
		}
		forget(c, t, ch.res);
		mt_res_unref(ch.res);
	}
	t->changes.n = n;
	c->nsearching++;
	t->searched = true;
	size_t named = named_first(&t->changes, words);
	mt_vec_push(&t->groups, ((struct push_range){ named < n ? named : 0, n }));
	if (named && named < n) {
		mt_vec_push(&t->groups, ((struct push_range){ 0, named }));
		send_first(c, t);
	}
	return true;
}

/* ---- answers ---- */

bool push_trial_answered(const struct push_trial *t, const struct push_proxy *x)
{
	if (!t->first)
		return true;
	for (size_t i = 0; i < t->changes.n; i++) {
		struct mt_xds_status st;
		if (!in_group(t, i) || (i && t->changes.v[i].type == t->changes.v[i - 1].type))
			continue;
		mt_xds_sub_status(x->sub, (int)t->changes.v[i].type, &st);
		if (!st.nacked && (!st.subscribed || st.acked_id < t->first_id))
			return false;
	}
	return true;
}

int push_trial_nacked(const struct push_trial *t, const struct push_proxy *x)
{
	for (size_t i = 0; i < t->changes.n; i++) {
		struct mt_xds_status st;
		int type = (int)t->changes.v[i].type;
		if (!in_group(t, i) || (i && t->changes.v[i - 1].type == t->changes.v[i].type))
			continue;
		mt_xds_sub_status(x->sub, type, &st);
		if (st.nacked)
			return type;
	}
	return -1;
}

void push_trial_halve(struct push_canary *c, struct push_trial *t)
{
	struct push_range g = t->groups.v[--t->groups.n];
	size_t half = (g.from + g.to) / 2;
	mt_vec_push(&t->groups, ((struct push_range){ half, g.to }));
	mt_vec_push(&t->groups, ((struct push_range){ g.from, half }));
	send_first(c, t);
}

/* ---- the end ---- */

void push_canary_again(struct push_canary *c, struct push_proxy *x)
{
	const struct mt_snapshot *now = x->view->snap;
	if (!now)
		return; /* it keeps what it has until something is decided */
	struct mt_snapshot *snap = mt_snapshot_new(++*c->o.last_id, now->made_ns, PUSH_TYPES);
	for (int t = 0; t < PUSH_TYPES; t++)
		snap->sets[t] = now->sets[t] ? mt_set_ref(now->sets[t]) : NULL;
	mt_xds_sub_publish(x->sub, snap);
	mt_snapshot_unref(snap);
}

void push_trial_forget(struct push_canary *c, const struct push_trial *t)
{
	for (size_t i = 0; i < t->changes.n; i++)
		forget(c, t, t->changes.v[i].res);
}

void push_trial_end(struct push_canary *c, struct push_trial *t, bool good)
{
	struct push_view *v = t->view;
	push_trial_forget(c, t);
	v->trial = NULL;
	c->nsearching -= t->searched;
	push_view_hold(c, v, v->held);
	for (struct push_proxy *x = v->first; x; x = x->view_next) {
		bool has = push_trial_has(t, x);
		if (has)
			mt_xds_sub_watch(x->sub, v->unproven);
		/* Somebody rejected, meanwhile, what all have: it says so again, and is heard. */
		if (has ? !good : v->unproven && x->nacked)
			push_canary_again(c, x);
	}
	c->moved = true;
	push_trial_free(t);
}

void push_trial_free(struct push_trial *t)
{
	for (int i = 0; i < PILOT_TABLES; i++)
		mt_set_unref(t->want[i]);
	push_changes_clear(&t->changes);
	mt_vec_clear(&t->groups);
	mt_free(t);
}
