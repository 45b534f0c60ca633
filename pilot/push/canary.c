/* The canary: what changed goes to one proxy first.
 *
 * When the classes of a view have new clusters, listeners or routes, the view's snapshot stays and the
 * new sets are pinned to it (`pinned`; newer ones wait until these are decided, so that a stream of
 * changes starves nobody). What is new in them, by hash and Envoy version:
 *   - all known to be good (another view's canary took it): the view moves on;
 *   - being tried elsewhere: the view waits;
 *   - else one proxy of the view, in step if there is one, is given the pinned sets: a trial.
 * Endpoints are facts and are not tried: they reach all proxies at once; load assignments that only
 * the old clusters have stay as long as those.
 *
 * A trial ends when its proxy has settled (everything answered): what was new is good, and this view
 * and all that wait for the same hashes move on. With one proxy, that was the change itself.
 * When the proxy rejects a response, the changed resources of that type are suspects. One: condemned.
 * Several: halves of them are tried on the same proxy until each is good or condemned, or one is
 * condemned whose objects go back to the generation before, which changes the rest. Then the proxy
 * gets its snapshot again, whole, because nobody knows which parts of a rejected response it applied.
 * In place of a condemned resource a view keeps what it had under that name (and then all clusters
 * that it had, which the old resource may use); where it had none, it has none. The engine is told,
 * so that the objects behind it are blamed, and go back to the generation before (inforce.c).
 *
 * A canary that disconnects is replaced: by another of its view, or, since most views have one proxy
 * only, by another view that waits for the same. After two in a row the next one is asked only after
 * --canary-timeout, because what is tried may be what ends them. One that is silent for that time is
 * replaced likewise (a late answer still counts); when nobody has answered after three times as long,
 * it goes to all: silence is no rejection.
 *
 * What a new class has at first is not tried: there is nothing to keep; but proxies that came from
 * another class keep what they had there first (view.c, inherit()). */
#include "pilot/push/canary.h"

#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "pilot/metrics.h"
#include "pilot/push/trial.h"

static struct mt_log_scope scope = MT_LOG_SCOPE("canary");

enum { LOST_MAX = 2, SILENT_MAX = 3, TICK_MS = 50, QUIET_MS = 100 };

/* ---- what a view should have ---- */

static bool tell_refused(struct push_canary *c, const struct push_view *v, const struct mt_res *res,
	enum push_type type, const struct push_proxy *x, const char *words)
{
	const struct push_refusal r = { .res = res,
		.type = type,
		.proxy = x,
		.words = words,
		.settled = MT_MAX(v->held ? v->approved_id : 0, c->settled_id) };
	return c->s.refused && c->s.refused(c->s.ctx, &r);
}

struct filter {
	struct push_canary *c;
	const struct push_view *v;
	const char *envoy;
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
		tell_refused(f->c, f->v, is, push_type_of(f->table), NULL,
			push_verdict_words(f->c->verdicts, is->hash, f->envoy));
	if (was)
		mt_vec_push(&f->back, mt_res_ref(was));
	else
		mt_vec_push(&f->none, is->name);
}

/* Condemned resources exchanged. A new reference. */
static struct mt_set *without_bad(struct push_canary *c, struct push_view *v, int table,
	const char *envoy, bool fresh, bool *any)
{
	struct filter f = { .c = c, .v = v, .envoy = envoy, .table = table, .tell = fresh };
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

static void replace(struct mt_set **at, struct mt_set *by) /* takes the reference */
{
	mt_set_unref(*at);
	*at = by;
}

/* The pinned sets as they may be: new references. fresh: they have just been pinned. */
static void wanted(
	struct push_canary *c, struct push_view *v, bool fresh, struct mt_set *want[PILOT_TABLES])
{
	char envoy[32];
	bool kept = false;
	push_envoy_of(v, envoy);
	for (int t = 0; t < PILOT_TABLES; t++)
		want[t] = push_verdicts_bad(c->verdicts) && push_gated(t)
			? without_bad(c, v, t, envoy, fresh, &kept)
			: mt_set_ref(v->pinned[t]);
	for (int t = 0; kept && t < PILOT_TABLES; t++)
		if (t == PILOT_CLUSTERS || t == PILOT_CLUSTERS_INBOUND || t == PILOT_ENDPOINTS) {
			struct mt_set *both = mt_set_union(v->made_of[t], want[t]);
			replace(&want[t], both);
		}
	/* Endpoints are always the newest. */
	struct mt_set *now = mt_set_union(want[PILOT_ENDPOINTS], v->classes[PILOT_ENDPOINTS]->set);
	replace(&want[PILOT_ENDPOINTS], now);
}

static void unref_all(struct mt_set *sets[PILOT_TABLES])
{
	for (int t = 0; t < PILOT_TABLES; t++) {
		mt_set_unref(sets[t]);
		sets[t] = NULL;
	}
}

/* ---- letting through, holding back ---- */

static void give_all(struct push_canary *c, struct push_view *v)
{
	for (struct push_proxy *x = v->first; x; x = x->view_next)
		if (!v->trial || !push_trial_has(v->trial, x))
			mt_xds_sub_publish(x->sub, v->snap);
	if (v->trial)
		push_trial_send(c, v->trial);
}

static void approve(
	struct push_canary *c, struct push_view *v, struct mt_set *const sets[PILOT_TABLES])
{
	v->held = false;
	for (int t = 0; t < PILOT_TABLES; t++)
		replace(&v->classes[t]->good, mt_set_ref(sets[t]));
	if (!push_view_snapshot(v, sets, *c->o.last_id + 1, v->pinned_ns))
		return;
	++*c->o.last_id;
	give_all(c, v);
}

/* Only endpoints go on; assignments of clusters that are still in force stay. */
static void hold(struct push_canary *c, struct push_view *v)
{
	struct mt_set *sets[PILOT_TABLES];
	if (!v->held)
		v->approved_id = v->snap->id;
	v->held = true;
	for (int t = 0; t < PILOT_TABLES; t++)
		sets[t] = t == PILOT_ENDPOINTS ? mt_set_union(v->made_of[t], v->classes[t]->set)
					       : mt_set_ref(v->made_of[t]);
	if (push_view_snapshot(v, sets, *c->o.last_id + 1, v->pinned_ns)) {
		++*c->o.last_id;
		give_all(c, v);
	}
	unref_all(sets);
}

/* ---- views ---- */

static void pin(struct push_view *v, int64_t made_ns)
{
	for (int t = 0; t < PILOT_TABLES; t++)
		replace(&v->pinned[t], mt_set_ref(v->classes[t]->set));
	v->pinned_ns = made_ns;
}

/* Proxies of a new view: what its classes are known to be good for, or what they have. */
static void begin(struct push_canary *c, struct push_view *v)
{
	struct mt_set *sets[PILOT_TABLES];
	for (int t = 0; t < PILOT_TABLES; t++) {
		struct push_class *k = v->classes[t];
		bool none = !k->good || k->mixed || !c->s.canary;
		if (t == PILOT_ENDPOINTS && !none)
			sets[t] = mt_set_union(k->good, k->set);
		else
			sets[t] = mt_set_ref(none ? k->set : k->good);
		k->mixed = false;
	}
	approve(c, v, sets);
	unref_all(sets);
}

static bool has_newest(const struct push_view *v);

/* With the newest: what was pinned may be out of force already. */
static void start_trial(struct push_canary *c, struct push_view *v,
	struct mt_set *want[PILOT_TABLES], struct push_changes *found)
{
	if (has_newest(v)) {
		push_trial_start(c, v, want, found);
		return;
	}
	pin(v, v->newest_ns);
	c->moved = true; /* push_canary_run() looks at it again */
}

/* True when the view has all that was pinned. */
static bool advance(struct push_canary *c, struct push_view *v, bool fresh)
{
	struct mt_set *want[PILOT_TABLES];
	struct push_changes found = { 0 };
	wanted(c, v, fresh, want);
	size_t untried = c->s.canary ? push_changes_find(c, v, want, &found) : 0;
	bool clear = !found.n;
	if (clear) {
		if (v->trial)
			push_trial_end(c, v->trial, true);
		approve(c, v, want);
	} else {
		hold(c, v);
		/* What others try is waited for: it shall be refused once, not by each. */
		if (untried == found.n && !v->trial &&
			mt_mono(mt_loop_clock(c->o.loop)) >= c->quiet_until)
			start_trial(c, v, want, &found);
	}
	push_changes_clear(&found);
	unref_all(want);
	return clear;
}

/* Was all that the classes have pinned already (and, as it is not held, decided)? */
static bool has_newest(const struct push_view *v)
{
	for (int t = 0; t < PILOT_TABLES; t++)
		if (v->pinned[t] != v->classes[t]->set)
			return false;
	return true;
}

void push_canary_view(struct push_canary *c, struct push_view *v, int64_t made_ns)
{
	v->newest_ns = made_ns;
	if (!v->snap) {
		v->pinned_ns = made_ns;
		begin(c, v);
	}
	/* What was pinned first, then what came since. */
	if (v->held && !advance(c, v, false))
		return;
	if (has_newest(v))
		return;
	pin(v, made_ns);
	advance(c, v, true);
}

/* ---- trials that need somebody ---- */

/* True when whoever brought it is going back. */
static bool condemn(struct push_canary *c, struct push_trial *t, const struct push_change *ch,
	const struct push_proxy *x, const char *words)
{
	push_verdict_condemn(c->verdicts, ch->res->hash, t->envoy, words);
	mt_log_error(&scope, "refused; all proxies keep what they have",
		MT_S("resource", ch->res->name), MT_S("type", push_types[ch->type].name),
		MT_S("proxy", x ? x->claimed->node_id : ""), MT_S("envoy", t->envoy),
		MT_S("why", words));
	mt_metric_add(c->o.metrics, METRIC_pilot_canary_refused, 1, push_types[ch->type].name);
	return tell_refused(c, t->view, ch->res, ch->type, x, words);
}

static void let_pass(struct push_canary *c, struct push_trial *t)
{
	mt_log_warn(&scope, "nobody answers: the change goes to all proxies",
		MT_I("resources", (int64_t)t->changes.n), MT_S("envoy", t->envoy));
	for (size_t i = 0; i < t->changes.n; i++)
		push_verdict_set(c->verdicts, t->changes.v[i].res->hash, t->envoy, PUSH_GOOD);
	push_trial_end(c, t, true);
}

/* Others may try it as well; the view keeps its trial, for a late answer. */
static void give_up(struct push_canary *c, struct push_trial *t)
{
	t->given_up = true;
	push_trial_forget(c, t);
	c->moved = true;
}

/* The canary is gone or silent. */
static void look_after(struct push_canary *c, struct push_trial *t, int64_t now)
{
	int64_t age = now - t->started_ns;
	if (!t->canary && now < c->quiet_until)
		return;
	if (!t->canary) {
		if (!push_trial_next(c, t))
			push_trial_end(c, t, false);
		return;
	}
	if (t->given_up) {
		if (age >= SILENT_MAX * c->s.canary_timeout_ns)
			let_pass(c, t);
		return;
	}
	if (age < c->s.canary_timeout_ns)
		return;
	mt_log_warn(&scope, "canary is silent, another proxy is asked",
		MT_S("proxy", t->canary->claimed->node_id));
	if (!push_trial_next(c, t))
		give_up(c, t);
}

/* ---- events ---- */

static void settled(struct push_canary *c, struct push_trial *t)
{
	struct push_range g = push_trial_group(t);
	bool whole = !t->groups.n;
	for (size_t i = g.from; i < g.to; i++)
		push_verdict_set(c->verdicts, t->changes.v[i].res->hash, t->envoy, PUSH_GOOD);
	if (!push_trial_next_group(c, t))
		push_trial_end(c, t, whole);
}

static void rejected(struct push_canary *c, struct push_trial *t, struct push_proxy *x,
	const struct mt_xds_event *ev)
{
	if (t->groups.n == 0 && !push_trial_suspect(c, t, (enum push_type)ev->type)) {
		/* Nothing of that type changed: it is the proxy's own trouble. */
		return;
	}
	t->canary = x; /* it may be a silent one, which answered after all */
	struct push_range g = push_trial_group(t);
	if (g.to - g.from > 1) {
		push_trial_halve(c, t);
		return;
	}
	bool back = condemn(c, t, &t->changes.v[g.from], x, ev->message);
	/* Then the rest of the search, and trials of the same elsewhere, would be for nothing. */
	if (back)
		c->quiet_until = mt_mono(mt_loop_clock(c->o.loop)) + QUIET_MS * MT_NS_PER_MS;
	if (back || !push_trial_next_group(c, t))
		push_trial_end(c, t, false);
}

void push_canary_event(struct push_canary *c, struct push_proxy *x, const struct mt_xds_event *ev)
{
	struct push_trial *t = x->view ? x->view->trial : NULL;
	if (!t || !push_trial_has(t, x) || ev->snapshot_id < t->first_id)
		return;
	c->lost = 0;
	if (ev->kind == MT_XDS_SETTLED)
		settled(c, t);
	else if (ev->kind == MT_XDS_NACK)
		rejected(c, t, x, ev);
	push_canary_run(c);
}

static void leave(struct push_canary *c, struct push_proxy *x, bool gone)
{
	struct push_view *v = x->view;
	struct push_trial *t = v ? v->trial : NULL;
	if (!t)
		return;
	if (gone && t->canary == x && ++c->lost >= LOST_MAX)
		c->quiet_until = mt_mono(mt_loop_clock(c->o.loop)) + c->s.canary_timeout_ns;
	if (v->n == 1) {
		push_trial_end(c, t, true);
	} else if (t->canary == x) {
		t->canary = NULL;
		c->moved = true;
	}
}

void push_canary_leaving(struct push_canary *c, struct push_proxy *x)
{
	leave(c, x, true);
}

static void on_leaving(void *ctx, struct push_proxy *x)
{
	leave(ctx, x, false);
}

/* ---- life ---- */

static bool idle_now(const struct push_canary *c)
{
	for (struct mt_map_it it = { 0 }; mt_map_next(c->o.views->views, &it);)
		if (((const struct push_view *)it.value)->held)
			return false;
	return true;
}

static void tell_idle(struct push_canary *c)
{
	bool busy = c->busy;
	c->busy = !idle_now(c);
	if (c->busy) {
		if (!mt_timer_active(c->timer))
			mt_timer_start(c->timer, TICK_MS * MT_NS_PER_MS, TICK_MS * MT_NS_PER_MS);
		return;
	}
	c->settled_id = *c->o.last_id;
	push_verdicts_trim(c->verdicts);
	mt_timer_stop(c->timer);
	if (busy && c->s.settled)
		c->s.settled(c->s.ctx);
}

void push_canary_run(struct push_canary *c)
{
	int64_t now = mt_mono(mt_loop_clock(c->o.loop));
	do {
		c->moved = false;
		for (struct mt_map_it it = { 0 }; mt_map_next(c->o.views->views, &it);) {
			struct push_view *v = it.value;
			if (v->trial)
				look_after(c, v->trial, now);
			if (v->held)
				push_canary_view(c, v, v->newest_ns);
		}
	} while (c->moved);
	tell_idle(c);
}

static void on_tick(void *arg)
{
	push_canary_run(arg);
}

struct push_canary *push_canary_new(const struct push_canary_opts *o)
{
	struct push_canary *c = MT_NEW(struct push_canary);
	c->o = *o;
	c->verdicts = push_verdicts_new();
	c->timer = mt_timer_new(o->loop, on_tick, c);
	o->views->leaving = on_leaving;
	o->views->ctx = c;
	return c;
}

void push_canary_free(struct push_canary *c)
{
	if (!c)
		return;
	for (struct mt_map_it it = { 0 }; mt_map_next(c->o.views->views, &it);) {
		struct push_view *v = it.value;
		if (v->trial)
			push_trial_free(v->trial);
		v->trial = NULL;
	}
	c->o.views->leaving = NULL;
	mt_timer_free(c->timer);
	push_verdicts_free(c->verdicts);
	mt_free(c);
}

void push_canary_configure(struct push_canary *c, const struct push_safety *s)
{
	c->s = *s;
}

bool push_canary_idle(const struct push_canary *c)
{
	return !c->busy;
}

uint64_t push_canary_settled(const struct push_canary *c)
{
	return c->busy ? c->settled_id : *c->o.last_id;
}
