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
 * it goes to all: silence is no rejection. It is not proof either (allow.c): what is unproven and
 * rejected later is taken back from all, and goes the way of a change, on the proxy that rejected it.
 * So does, with the canary off, whatever is rejected: until that is settled, changes are tried.
 *
 * What the proxies of a new view get first is tried as well, unless all of it is known to be good for
 * their version: that is one look-up for each resource, once for each class. The others of the view
 * wait without anything, and so for a short time only; proxies that came from another class keep what
 * they had there first (view.c, inherit()). */
#include "pilot/push/canary.h"

#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "pilot/metrics.h"
#include "pilot/push/trial.h"

static struct mt_log_scope scope = MT_LOG_SCOPE("canary");

enum { LOST_MAX = 2, TICK_MS = 50, QUIET_MS = 100, POISON_KEY = 600, POISONED_MAX = 4096 };

static void run_waiting(struct push_canary *c);

static void poison_key(char key[POISON_KEY], const struct mt_res *res, uint32_t envoy)
{
	snprintf(key, POISON_KEY, "%s %u", res->name, envoy);
}

bool push_canary_tell(struct push_canary *c, const struct push_view *v, const struct mt_res *res,
	enum push_type type, const struct push_proxy *x, const char *words)
{
	struct push_refusal r = {
		.res = res, .type = type, .proxy = x, .words = words, .nids = res->nprov
	};
	char key[POISON_KEY];
	poison_key(key, res, push_envoy_of(v));
	if (mt_map_get(c->poisoned, key))
		return false;
	uint32_t *ids = res->nprov ? mt_memdup(res->prov, res->nprov * sizeof(*ids)) : NULL;
	/* To a proxy that has nothing yet nothing is new: what others accept is not to blame. */
	if (v->proven_id)
		r.settled = MT_MAX(v->held ? v->approved_id : 0, c->settled_id);
	else
		r.nids = push_views_unaccepted(c, push_envoy_of(v), ids, r.nids);
	r.ids = ids;
	bool back = c->s.refused && r.nids && c->s.refused(c->s.ctx, &r);
	mt_free(ids);
	/* (Known before, it may be told by several views, of which the first has said all.) */
	if (x && !back && mt_map_size(c->poisoned) < POISONED_MAX)
		mt_map_put(c->poisoned, key, c);
	return back;
}

void push_canary_good(struct push_canary *c, const struct mt_res *res, uint32_t envoy)
{
	char key[POISON_KEY];
	push_verdict_set(c->verdicts, res->hash, envoy, PUSH_GOOD);
	if (!mt_map_size(c->poisoned))
		return;
	poison_key(key, res, envoy);
	mt_map_del(c->poisoned, key);
}

static void unref_all(struct mt_set *sets[PILOT_TABLES])
{
	for (int t = 0; t < PILOT_TABLES; t++)
		mt_set_unref(sets[t]);
}

/* ---- views ---- */

/* With the newest: what was pinned may be out of force already. What a view has first was pinned now. */
static void start_trial(struct push_canary *c, struct push_view *v,
	struct mt_set *want[PILOT_TABLES], struct push_changes *found)
{
	if (!v->snap || push_view_has_newest(v)) {
		push_trial_start(c, v, want, found);
		return;
	}
	push_view_pin(c, v, v->newest_ns);
	c->moved = true; /* push_canary_run() looks at it again */
}

/* A client without a proxy asks for some names only: what it has first cannot be judged as a whole. */
static bool gated_view(const struct push_canary *c, const struct push_view *v)
{
	return push_canary_gates(c) && (v->snap || v->first->proxy->type != PILOT_PROXYLESS);
}

/* True when the view has all that was pinned. */
static bool advance(struct push_canary *c, struct push_view *v, bool fresh)
{
	struct mt_set *want[PILOT_TABLES];
	struct push_found found = { 0 };
	bool gated = gated_view(c, v);
	push_view_wanted(c, v, fresh, want);
	if (gated)
		push_changes_find(c, v, want, &found);
	bool clear = !found.changes.n;
	if (clear) {
		if (v->trial)
			push_trial_end(c, v->trial, true);
		push_view_approve(c, v, want, push_canary_gates(c) && !found.passed);
	} else {
		push_view_hold_back(c, v);
		/* What others try is waited for: it shall be refused once, not by each. */
		if (found.untried == found.changes.n && !v->trial &&
			push_canary_now(c) >= c->quiet_until)
			start_trial(c, v, want, &found.changes);
	}
	push_changes_clear(&found.changes);
	unref_all(want);
	return clear;
}

void push_canary_view(struct push_canary *c, struct push_view *v, int64_t made_ns)
{
	bool fresh = !v->held;
	v->newest_ns = made_ns;
	if (!v->snap && v->trial && !v->trial->given_up)
		return;
	if (!v->snap && !v->trial)
		push_view_pin_first(c, v, made_ns);
	/* What was pinned first, then what came since. */
	if ((!v->snap || v->held) && !advance(c, v, fresh))
		return;
	if (push_view_has_newest(v)) {
		v->allowed_id = c->world_id;
		return;
	}
	push_view_pin(c, v, made_ns);
	advance(c, v, true);
}

/* ---- trials that need somebody ---- */

/* Those that have it already, untried, get what was there before. */
static void withdraw(
	struct push_canary *c, const struct push_trial *t, const struct push_change *ch)
{
	for (struct mt_map_it it = { 0 }; c->nunproven && mt_map_next(c->o.views->views, &it);) {
		struct push_view *v = it.value;
		if (v->unproven && !v->trial && push_envoy_of(v) == t->envoy &&
			push_view_has(v, (int)ch->table, ch->res))
			push_view_roll_back(c, v);
	}
}

/* True when whoever brought it is going back. */
static bool condemn(struct push_canary *c, struct push_trial *t, const struct push_change *ch,
	const struct push_proxy *x, const char *words)
{
	char envoy[32];
	push_verdict_condemn(c->verdicts, ch->res->hash, t->envoy, words);
	mt_log_error(&scope, "refused; all proxies keep what they have",
		MT_S("resource", ch->res->name), MT_S("type", push_types[ch->type].name),
		MT_S("proxy", x ? x->claimed->node_id : ""),
		MT_S("envoy", push_envoy_text(t->envoy, envoy)), MT_S("why", words));
	mt_metric_add(c->o.metrics, METRIC_pilot_canary_refused, 1, push_types[ch->type].name);
	c->hunting = true;
	withdraw(c, t, ch);
	return push_canary_tell(c, t->view, ch->res, ch->type, x, words);
}

/* Silence is no rejection, and what is silent shall not stop the mesh: the change goes to all, and is
 * not taken for good. Whoever rejects it later is heard (hunt()). */
static void let_pass(struct push_canary *c, struct push_trial *t)
{
	char envoy[32];
	mt_log_warn(&scope, "nobody answers: the change goes to all proxies",
		MT_I("resources", (int64_t)t->changes.n),
		MT_S("envoy", push_envoy_text(t->envoy, envoy)));
	for (size_t i = 0; i < t->changes.n; i++)
		push_verdict_set(c->verdicts, t->changes.v[i].res->hash, t->envoy, PUSH_PASSED);
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
		if (age >= PUSH_SILENT_MAX * c->s.canary_timeout_ns)
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

/* Proxies that have nothing cannot wait as long as others: after first_timeout_ns without an
 * answer they get what there is, unproven. Unless something is known to be wrong with what they wait for. */
static void hurry(struct push_canary *c, struct push_view *v, int64_t now)
{
	int64_t patience =
		c->nsearching ? PUSH_SILENT_MAX * c->s.canary_timeout_ns : c->s.first_timeout_ns;
	struct mt_set *want[PILOT_TABLES];
	if (v->snap || !v->held || now - v->held_ns < patience)
		return;
	if (v->trial)
		push_trial_end(c, v->trial, true);
	push_view_wanted(c, v, false, want);
	push_view_approve(c, v, want, false);
	unref_all(want);
	push_canary_view(c, v, v->newest_ns); /* what came since is a change like any other */
}

/* ---- events ---- */

static void rejected(struct push_canary *c, struct push_trial *t, struct push_proxy *x,
	enum push_type type, const char *words)
{
	if (t->groups.n && t->changes.v[0].type != type)
		return; /* that comes next */
	if (!t->groups.n && !push_trial_suspect(c, t, type, words)) {
		/* Nothing of that type changed: it is the proxy's own trouble. */
		return;
	}
	t->canary = x; /* it may be a silent one, which answered after all */
	if (t->groups.n == 2 && !t->halved) {
		t->halved = true; /* those that the words name are being tried alone */
		return;
	}
	t->halved = true;
	struct push_range g = push_trial_group(t);
	if (g.to - g.from > 1) {
		push_trial_halve(c, t);
		return;
	}
	bool back = condemn(c, t, &t->changes.v[g.from], x, words);
	/* Then the rest of the search, and trials of the same elsewhere, would be for nothing. */
	if (back)
		c->quiet_until = push_canary_now(c) + QUIET_MS * MT_NS_PER_MS;
	if (back || !push_trial_next_group(c, t))
		push_trial_end(c, t, false);
}

static void settled(struct push_canary *c, struct push_trial *t, struct push_proxy *x)
{
	struct push_range g = push_trial_group(t);
	bool whole = !t->groups.n;
	int nacked = push_trial_nacked(t, x);
	if (nacked >= 0) { /* of what it rejected before it was asked, it is not asked again */
		char words[1024];
		mt_xds_sub_nack(x->sub, nacked, words, sizeof(words));
		rejected(c, t, x, (enum push_type)nacked, words);
		return;
	}
	if (!push_trial_answered(t, x))
		return;
	for (size_t i = g.from; i < g.to; i++)
		push_canary_good(c, t->changes.v[i].res, t->envoy);
	if (!push_trial_next_group(c, t))
		push_trial_end(c, t, whole);
}

/* A proxy rejects what all have been given, and nobody has accepted. Then it is as if that had not been
 * given: the view goes back, and this proxy is asked what is wrong with it. */
static void hunt(struct push_canary *c, struct push_proxy *x, const struct mt_xds_event *ev)
{
	struct push_view *v = x->view;
	enum push_type type = (enum push_type)ev->type;
	if (!v->unproven || v->trial || !push_view_doubtful(c, v, type))
		return;
	c->hunting = true;
	push_view_roll_back(c, v);
	c->asked = x;
	advance(c, v, false);
	c->asked = NULL;
	if (v->trial && push_trial_has(v->trial, x))
		rejected(c, v->trial, x, type, ev->message);
}

void push_canary_event(struct push_canary *c, struct push_proxy *x, const struct mt_xds_event *ev)
{
	struct push_view *v = x->view;
	struct push_trial *t = v ? v->trial : NULL;
	bool tried = t && push_trial_has(t, x);
	if (!v || ev->kind == MT_XDS_SYNCED || (tried && ev->snapshot_id < t->first_id))
		return;
	if (tried)
		c->lost = 0;
	if (tried && ev->kind == MT_XDS_SETTLED)
		settled(c, t, x);
	else if (tried)
		rejected(c, t, x, (enum push_type)ev->type, ev->message);
	else if (ev->kind == MT_XDS_SETTLED)
		push_view_settled(c, v, x, ev->snapshot_id);
	else
		hunt(c, x, ev);
	run_waiting(c);
}

static void leave(struct push_canary *c, struct push_proxy *x, bool gone)
{
	struct push_view *v = x->view;
	struct push_trial *t = v ? v->trial : NULL;
	if (!t)
		return;
	if (gone && t->canary == x && ++c->lost >= LOST_MAX)
		c->quiet_until = push_canary_now(c) + c->s.canary_timeout_ns;
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
	struct push_canary *c = ctx;
	struct push_view *v = x->view;
	leave(c, x, false);
	if (v->n > 1)
		return;
	push_view_hold(c, v, false); /* it is about to be freed */
	push_view_unproven(c, v, false);
}

/* ---- life ---- */

void push_canary_stir(struct push_canary *c)
{
	c->busy = true;
	if (!mt_timer_active(c->timer))
		mt_timer_start(c->timer, TICK_MS * MT_NS_PER_MS, TICK_MS * MT_NS_PER_MS);
}

static void tell_idle(struct push_canary *c)
{
	bool was = c->busy || c->hunting;
	if (c->waiting || c->trying || c->nunproven) {
		push_canary_stir(c);
		return;
	}
	c->busy = false;
	c->settled_id = *c->o.last_id;
	push_verdicts_trim(c->verdicts);
	mt_timer_stop(c->timer);
	if (was)
		c->hunting = c->s.settled && c->s.settled(c->s.ctx);
}

/* Those that wait for what others try. */
static void run_waiting(struct push_canary *c)
{
	while (c->moved) {
		c->moved = false;
		for (struct push_view *v = c->waiting, *next; v; v = next) {
			next = v->held_next;
			push_canary_view(c, v, v->newest_ns);
		}
	}
	tell_idle(c);
}

static void look_at_unproven(struct push_canary *c, int64_t now)
{
	for (struct mt_map_it it = { 0 }; c->nunproven && mt_map_next(c->o.views->views, &it);) {
		struct push_view *v = it.value;
		if (v->unproven && now - v->unproven_ns >= PUSH_SILENT_MAX * c->s.canary_timeout_ns)
			push_view_silent(c, v);
	}
}

void push_canary_run(struct push_canary *c)
{
	int64_t now = push_canary_now(c);
	for (struct push_view *v = c->trying, *next; v; v = next) {
		next = v->held_next;
		look_after(c, v->trial, now);
		hurry(c, v, now);
		if (v->trial && v->trial->given_up) /* others may have tried it meanwhile */
			push_canary_view(c, v, v->newest_ns);
	}
	for (struct push_view *v = c->waiting, *next; v; v = next) {
		next = v->held_next;
		hurry(c, v, now);
	}
	look_at_unproven(c, now);
	c->moved = true;
	run_waiting(c);
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
	c->poisoned = mt_map_new();
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
	mt_map_free(c->poisoned, NULL);
	mt_free(c);
}

void push_canary_configure(struct push_canary *c, const struct push_safety *s)
{
	c->s = *s;
}

void push_canary_world(struct push_canary *c, uint64_t id)
{
	c->world_id = id;
}

void push_canary_watch(struct push_canary *c, struct push_proxy *x)
{
	(void)c;
	if (x->view && x->view->unproven)
		mt_xds_sub_watch(x->sub, true);
}

bool push_canary_idle(const struct push_canary *c)
{
	return !c->busy;
}

uint64_t push_canary_settled(const struct push_canary *c)
{
	return c->busy ? c->settled_id : *c->o.last_id;
}
