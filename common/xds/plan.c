/* The order of things: what a stream may send now. Runs on the stream's thread whenever something
 * happened; sends one message, is called again when flow control has taken it.
 *
 * Additions (and changes) of a type that needs another wait until that one, and the types that are
 * resent with it, have been sent and acknowledged for the same snapshot: a route to a new cluster
 * goes out when the proxy has acknowledged the cluster (which Envoy does once it is warm) and its
 * endpoints. Endpoints wait for nothing and follow their clusters at once, because the
 * acknowledgement of the clusters waits for them.
 * - What goes on anyway: a needed type that was rejected (nothing will get better by waiting), that
 *   was not acknowledged within ack_timeout, or that the peer never subscribed to.
 * - When newer snapshots come faster than acknowledgements, a type goes by the oldest snapshot that
 *   all it needs has reached, before those move on: it cannot starve.
 * - Names that are asked for again while the gate is closed are answered from what is in force.
 *
 * Removals of a type with keep_until_users_ack (and of what is resent with it) wait until all that
 * needs it has acknowledged the newest snapshot, and the grace is over. A rejected or unanswered user
 * keeps them waiting: its old content may still use what would go. That harms nobody, up to a bound:
 * beyond it (KEPT_SLACK) they go.
 *
 * One response of a type is unanswered at a time, but for owed names; a peer that does not answer
 * within ack_timeout is sent newer content all the same. */
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/xds/stream.h"

enum { KEPT_SLACK = 1000 };

static struct mt_set *goal_of(
	const struct mt_xds_sub *s, const struct mt_snapshot *snap, size_t type)
{
	struct mt_set *set = type < snap->n ? snap->sets[type] : NULL;
	return set ? set : s->server->empty;
}

/* Is the last response still to be waited for? */
static bool waiting(struct mt_xds_sub *s, size_t type, struct mt_xds_tstate *t, int64_t now)
{
	if (!t->outstanding)
		return false;
	int64_t until = t->sent_at + s->server->opts.ack_timeout_ns;
	if (now >= until) {
		if (!t->late)
			mt_xds_count(s, (int)type, MT_XDS_M_ACK_TIMEOUTS, 1);
		t->late = true;
		return false;
	}
	mt_xds_wake_at(s, until);
	return true;
}

static bool reached(struct mt_xds_sub *s, size_t type, uint64_t id, int64_t now)
{
	struct mt_xds_tstate *t = s->types[type];
	return !t ||
		(!t->first && !t->pending && t->status.sent_id >= id && !waiting(s, type, t, now));
}

/* May additions of the type go out that come from the snapshot? */
static bool gate(struct mt_xds_sub *s, size_t type, uint64_t id, int64_t now)
{
	const struct mt_xds_type *types = s->server->types;
	int needed = types[type].needs;
	if (needed < 0)
		return true;
	for (size_t i = 0; i < s->server->opts.ntypes; i++) {
		bool counts = (int)i == needed || types[i].resend_with == needed;
		if (counts && i != type && !reached(s, i, id, now))
			return false;
	}
	return true;
}

/* The oldest snapshot among those that the needed types were last sent from. */
static struct mt_snapshot *stage(const struct mt_xds_sub *s, size_t type)
{
	const struct mt_xds_type *types = s->server->types;
	int needed = types[type].needs;
	struct mt_snapshot *oldest = s->newest;
	for (size_t i = 0; needed >= 0 && i < s->server->opts.ntypes; i++) {
		const struct mt_xds_tstate *t = s->types[i];
		bool counts = (int)i == needed || types[i].resend_with == needed;
		if (counts && i != type && t && t->snap && t->snap->id < oldest->id)
			oldest = t->snap;
	}
	return oldest;
}

/* Does the type, or what it needs, need k? */
static bool uses(const struct mt_xds_type *types, size_t type, size_t k)
{
	int n = types[type].needs;
	for (int hops = 0; n >= 0 && hops < MT_XDS_TYPES_MAX; hops++) {
		if ((size_t)n == k)
			return true;
		n = types[n].needs;
	}
	return false;
}

/* Have all users of type k acknowledged the newest snapshot? */
static bool users_done(const struct mt_xds_sub *s, size_t k)
{
	for (size_t i = 0; i < s->server->opts.ntypes; i++) {
		const struct mt_xds_tstate *t = s->types[i];
		if (!t || !uses(s->server->types, i, k))
			continue;
		if (t->first || t->pending || t->outstanding || t->rejected || t->unknown ||
			t->status.sent_id != s->newest->id)
			return false;
	}
	return true;
}

/* May removals of the type go out that the newest snapshot brings? */
static bool may_drop(struct mt_xds_sub *s, size_t type, int64_t now)
{
	const struct mt_xds_type *types = s->server->types;
	struct mt_xds_tstate *t = s->types[type];
	size_t k = types[type].resend_with >= 0 ? (size_t)types[type].resend_with : type;
	if (!types[k].keep_until_users_ack || !s->types[k])
		return true;
	size_t kept = mt_set_size(t->sent) + mt_names_size(t->stale);
	if (kept > 2 * mt_set_size(goal_of(s, s->newest, type)) + KEPT_SLACK)
		return true;
	bool lead_done = k == type ||
		(!s->types[k]->holding && !s->types[k]->stale && !s->types[k]->outstanding);
	if (!lead_done || !users_done(s, k)) {
		t->removal_at = 0;
		return false;
	}
	if (!t->removal_at)
		t->removal_at = now + (k == type ? s->server->opts.removal_grace_ns : 0);
	if (now < t->removal_at) {
		mt_xds_wake_at(s, t->removal_at);
		return false;
	}
	return true;
}

/* Answers owed names while the gate is closed, as far as what is in force knows them. */
static bool answer_from_force(struct mt_xds_sub *s, size_t type)
{
	struct mt_xds_tstate *t = s->types[type];
	struct mt_names *owed = t->pending;
	if (!owed || t->unknown)
		return false;
	MT_VEC(struct mt_view) later = { 0 };
	for (size_t i = 0; i < mt_names_size(owed); i++) {
		const char *name = mt_names_at(owed, i);
		if (!mt_set_find(t->sent, name))
			mt_vec_push(&later, ((struct mt_view){ name, strlen(name) }));
	}
	bool sent = false;
	if (later.n < mt_names_size(owed)) {
		t->pending = mt_names_edit(NULL, owed, NULL, 0, later.v, later.n);
		struct mt_xds_step step = { .type = (int)type, .goal = t->sent };
		sent = mt_xds_respond(s, &step);
		t->pending = mt_names_edit(NULL, NULL, later.v, later.n, NULL, 0);
		mt_names_unref(owed);
	}
	mt_vec_clear(&later);
	return sent;
}

/* Pass 1: subscriptions and names that nobody has answered yet. */
static bool send_owed(struct mt_xds_sub *s, size_t type, int64_t now)
{
	struct mt_xds_tstate *t = s->types[type];
	if (!t->first && !t->pending)
		return false;
	struct mt_snapshot *snap = s->newest;
	if (!gate(s, type, snap->id, now)) {
		snap = stage(s, type);
		if (snap->id < t->status.sent_id || !gate(s, type, snap->id, now))
			return !t->first && !s->server->types[type].resend_below &&
				answer_from_force(s, type);
	}
	struct mt_xds_step step = {
		.type = (int)type, .goal = goal_of(s, snap, type), .snap = snap
	};
	step.drop = !t->first && snap == s->newest && may_drop(s, type, now);
	if (t->first && !s->server->types[type].keep_until_users_ack)
		step.drop = true;
	return mt_xds_respond(s, &step);
}

/* Passes 2 and 3: what a snapshot changed. */
static bool send_change(struct mt_xds_sub *s, size_t type, struct mt_snapshot *snap, int64_t now)
{
	struct mt_xds_tstate *t = s->types[type];
	struct mt_set *goal = goal_of(s, snap, type);
	bool fresh = t->status.sent_id < snap->id;
	bool removals = t->holding || t->stale;
	bool again = t->unknown && !t->rejected;
	if (t->first || (!fresh && !removals && !again))
		return false;
	if (t->rejected && mt_set_hash(goal) == t->goal_hash) {
		/* The peer said no to this already. */
		if (t->snap != snap) {
			mt_snapshot_unref(t->snap);
			t->snap = mt_snapshot_ref(snap);
		}
		pthread_mutex_lock(&s->mu);
		t->status.sent_id = snap->id;
		pthread_mutex_unlock(&s->mu);
		return false;
	}
	if (waiting(s, type, t, now))
		return false;
	bool drop = snap == s->newest && may_drop(s, type, now);
	if (!fresh && !again && !drop)
		return false;
	struct mt_xds_step step = { .type = (int)type, .goal = goal, .snap = snap, .drop = drop };
	return mt_xds_respond(s, &step);
}

static bool send_one(struct mt_xds_sub *s, int64_t now)
{
	const struct mt_xds_type *types = s->server->types;
	size_t n = s->server->opts.ntypes;
	for (size_t i = 0; i < n; i++) {
		if (s->types[i] && send_owed(s, i, now))
			return true;
	}
	for (size_t i = 0; i < n; i++) {
		if (!s->types[i] || types[i].needs < 0)
			continue;
		struct mt_snapshot *snap = stage(s, i);
		if (gate(s, i, snap->id, now) && send_change(s, i, snap, now))
			return true;
	}
	for (size_t i = 0; i < n; i++) {
		if (s->types[i] && types[i].needs < 0 && send_change(s, i, s->newest, now))
			return true;
	}
	return false;
}

/* Has the peer acknowledged all of the newest snapshot? */
static bool in_step(const struct mt_xds_sub *s)
{
	bool any = false;
	for (size_t i = 0; i < s->server->opts.ntypes; i++) {
		const struct mt_xds_tstate *t = s->types[i];
		if (!t)
			continue;
		any = true;
		if (t->first || t->pending || t->outstanding || t->rejected || t->unknown ||
			t->holding || t->stale || t->status.acked_id != s->newest->id)
			return false;
	}
	return any;
}

/* Settling one type (found equal) may open the gate of another: go round until nothing moves. */
static uint64_t progress(const struct mt_xds_sub *s)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < s->server->opts.ntypes; i++) {
		const struct mt_xds_tstate *t = s->types[i];
		uint64_t flags = !t ? 0
				    : (uint64_t)t->holding | (uint64_t)(t->stale != NULL) << 1 |
				(uint64_t)(t->pending != NULL) << 2 | (uint64_t)t->first << 3;
		/* No hash that others see: quick, because it runs for each message. */
		sum = (sum + (t ? t->status.sent_id << 4 | flags : 0)) * 0x9e3779b97f4a7c15u;
	}
	return sum;
}

/* The snapshot that all types have come to, when nothing is owed or unanswered; else 0. */
static uint64_t settled_at(const struct mt_xds_sub *s)
{
	uint64_t least = UINT64_MAX;
	for (size_t i = 0; i < s->server->opts.ntypes; i++) {
		const struct mt_xds_tstate *t = s->types[i];
		if (!t)
			continue;
		if (t->first || t->pending || t->outstanding)
			return 0;
		least = MT_MIN(least, t->status.sent_id);
	}
	return least == UINT64_MAX ? 0 : least;
}

static void tell_settled(struct mt_xds_sub *s)
{
	uint64_t id = atomic_load(&s->watched) ? settled_at(s) : 0;
	if (id && id != s->settled_id) {
		s->settled_id = id;
		mt_xds_post_settled(s, id);
	}
}

void mt_xds_pump(struct mt_xds_sub *s)
{
	if (s->finished)
		return;
	mt_xds_sub_take_inbox(s);
	if (!s->newest || mt_rpc_stream_sending(s->stream))
		return;
	atomic_store(&s->deadline, 0);
	int64_t now = mt_mono(s->server->clock);
	for (;;) {
		uint64_t before = progress(s);
		if (send_one(s, now)) {
			/* The rest when this one is on its way; sent runs the pump again. */
			return;
		}
		if (progress(s) == before)
			break;
	}
	if (s->synced_id != s->newest->id && in_step(s)) {
		s->synced_id = s->newest->id;
		mt_xds_post_synced(s, s->synced_id);
	}
	tell_settled(s);
}
