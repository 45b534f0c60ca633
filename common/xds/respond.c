/* One response: what the peer of a stream has to be told of a type, and the bytes of it.
 *
 * The usual response is shared: a step from one set to another, encoded once (diff.h), behind a small
 * header of the stream's own with version, type and nonce. A response is put together for one stream
 * only when its subscription does not cover the step, when names are owed an answer of their own
 * (new subscriptions, EDS after CDS), and after a reconnect that reported what it holds.
 *
 * Where a peer stands is always one set: `sent`. While removals have to wait (plan.c), that is the
 * union of the old set and the new one. After a rejection it is not known (a proxy applies parts of
 * what it rejects): the next response says everything, and removes all that the peer may hold. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/xds/stream.h"

enum { HELD_SLACK = 1000 };

struct names_vec {
	struct mt_view *v;
	size_t n, cap;
};

struct draft {
	struct mt_xds_sub *sub;
	struct mt_xds_tstate *t;
	const struct mt_xds_type *type;
	int index; /* of the type */
	enum mt_xds_mode mode;
	struct mt_set *target;
	struct mt_diff *step;        /* from where the peer stands to the target */
	struct mt_diff *shared;      /* sent as it is; NULL: own */
	MT_VEC(struct mt_res *) own; /* borrowed from target */
	MT_VEC(const char *) removed;
	MT_VEC(struct mt_view) resend; /* names whose change the companions have to follow */
};

/* Are all names of the list (sorted, by at) in the subscription? Both are walked once. */
static bool covered(const struct mt_names *names, const struct mt_diff *d, bool removed)
{
	size_t n = removed ? d->nremoved : d->n, k = 0, nnames = mt_names_size(names);
	for (size_t i = 0; i < n; i++) {
		const char *name = removed ? d->removed[i] : mt_diff_at(d, i)->name;
		if (n < 16) {
			if (!mt_names_has(names, name))
				return false;
			continue;
		}
		int c = -1;
		while (k < nnames && (c = strcmp(mt_names_at(names, k), name)) < 0)
			k++;
		if (c != 0)
			return false;
	}
	return true;
}

/* Are exactly the resources of the set subscribed by name? By count and a sum of hashes: a false yes
 * needs a collision that hurts only the peer who made it. */
static bool names_are(const struct mt_names *names, const struct mt_set *s)
{
	return mt_names_size(names) == s->n && mt_names_sum(names) == s->names;
}

/* Does the subscription cover all of d? */
static bool covers(const struct mt_xds_tstate *t, const struct mt_diff *d, enum mt_xds_mode mode)
{
	if (t->wildcard)
		return true;
	if (d->n > mt_names_size(t->names))
		return false;
	if (d->whole && names_are(t->names, d->whole))
		return true;
	return covered(t->names, d, false) && (mode != MT_XDS_DELTA || covered(t->names, d, true));
}

static void take_diff(struct draft *f, struct mt_diff *d)
{
	if (covers(f->t, d, f->mode)) {
		f->shared = d;
		return;
	}
	for (size_t i = 0; i < d->n; i++) {
		struct mt_res *r = mt_diff_at(d, i);
		if (mt_xds_wants(f->t, r->name))
			mt_vec_push(&f->own, r);
	}
	for (size_t i = 0; f->mode == MT_XDS_DELTA && i < d->nremoved; i++) {
		if (mt_xds_wants(f->t, d->removed[i]))
			mt_vec_push(&f->removed, d->removed[i]);
	}
}

/* After a reconnect: only what differs from what the peer reported. What it holds and nobody has any
 * more becomes stale: removed now, or with the other removals. */
static void take_holdings(struct draft *f, bool drop)
{
	struct mt_xds_holdings *h = f->t->holdings;
	if (mt_xds_holdings_same(h, f->target))
		return;
	mt_xds_holdings_sort(h);
	MT_VEC(struct mt_view) stale = { 0 };
	struct mt_cursor at = { .set = f->target };
	struct mt_res *r;
	for (size_t j = 0; (r = mt_cursor_res(&at)) || j < h->n;) {
		int c = !r ? 1 : j == h->n ? -1 : strcmp(r->name, h->v[j].name);
		if (c <= 0 && (c < 0 || r->hash != h->v[j].version) && mt_xds_wants(f->t, r->name))
			mt_vec_push(&f->own, r);
		/* A name that is subscribed is answered below, as unknown. */
		if (c > 0 && f->t->wildcard && !mt_names_has(f->t->names, h->v[j].name)) {
			struct mt_view v = { h->v[j].name, strlen(h->v[j].name) };
			if (drop)
				mt_vec_push(&f->removed, h->v[j].name);
			else
				mt_vec_push(&stale, v);
		}
		if (c <= 0)
			mt_cursor_next(&at);
		j += c >= 0;
	}
	struct mt_names *old = f->t->stale;
	f->t->stale = mt_names_edit(f->sub->server->names, old, stale.v, stale.n, NULL, 0);
	mt_names_unref(old);
	mt_vec_clear(&stale);
}

/* Is it among the first n of the own resources, which are sorted? */
static bool has_own(const struct draft *f, size_t n, const char *name)
{
	for (size_t lo = 0, hi = n; lo < hi;) {
		size_t mid = (lo + hi) / 2;
		int c = strcmp(f->own.v[mid]->name, name);
		if (c == 0)
			return true;
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return false;
}

/* Names that are owed an answer: the resource, or that there is none. */
static void take_names(struct draft *f, const struct mt_names *names, bool missing_only)
{
	size_t sorted = f->own.n;
	for (size_t i = 0; i < mt_names_size(names); i++) {
		const char *name = mt_names_at(names, i);
		struct mt_res *r = mt_set_find(f->target, name);
		if (!r)
			mt_vec_push(&f->removed, name);
		else if (missing_only || !mt_xds_wants(f->t, name))
			continue;
		else if (f->shared ? !mt_diff_has(f->shared, name) : !has_own(f, sorted, name))
			mt_vec_push(&f->own, r);
	}
}

/* After a rejection: what the peer may hold besides the target. */
static void take_unknown(struct draft *f)
{
	const struct mt_set *may = f->t->acked;
	for (size_t i = 0; f->mode == MT_XDS_DELTA && i < mt_set_size(may); i++) {
		const char *name = mt_set_at(may, i)->name;
		if (!mt_set_find(f->target, name) && mt_xds_wants(f->t, name))
			mt_vec_push(&f->removed, name);
	}
}

static void take_stale(struct draft *f)
{
	for (size_t i = 0; i < mt_names_size(f->t->stale); i++) {
		const char *name = mt_names_at(f->t->stale, i);
		if (!mt_set_find(f->target, name))
			mt_vec_push(&f->removed, name);
	}
}

static int name_cmp(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A name that went and came and went again while removals waited is stale and part of the step, and
 * may be owed an answer besides. Envoy rejects a response that says a name twice. */
static void drop_repeats(struct draft *f)
{
	const struct mt_diff *d = f->shared;
	size_t k = 0, at = 0;
	if (f->removed.n > 1)
		qsort(f->removed.v, f->removed.n, sizeof(f->removed.v[0]), name_cmp);
	for (size_t i = 0; i < f->removed.n; i++) {
		const char *name = f->removed.v[i];
		while (d && at < d->nremoved && strcmp(d->removed[at], name) < 0)
			at++;
		if ((k && strcmp(f->removed.v[k - 1], name) == 0) ||
			(d && at < d->nremoved && strcmp(d->removed[at], name) == 0))
			continue;
		f->removed.v[k++] = name;
	}
	f->removed.n = k;
}

/* Must a companion follow? When it is still to be answered whole, that will be enough. */
static bool follows(const struct draft *f, size_t type)
{
	const struct mt_xds_tstate *c = f->sub->types[type];
	if (f->sub->server->types[type].resend_with != f->index)
		return false;
	return c ? !c->first || c->holdings : f->t->reconnected;
}

static bool leads(const struct draft *f)
{
	for (size_t i = 0; i < f->sub->server->opts.ntypes; i++) {
		if (follows(f, i))
			return true;
	}
	return false;
}

static void note_resend(struct draft *f)
{
	for (size_t i = 0; f->shared && i < f->shared->n; i++) {
		const char *name = mt_diff_at(f->shared, i)->name;
		mt_vec_push(&f->resend, ((struct mt_view){ name, strlen(name) }));
	}
	for (size_t i = 0; i < f->own.n; i++) {
		const char *name = f->own.v[i]->name;
		mt_vec_push(&f->resend, ((struct mt_view){ name, strlen(name) }));
	}
}

/* Fills in the draft. False when there is nothing to say. */
static bool compose(struct draft *f, const struct mt_xds_step *step, bool full_state)
{
	struct mt_xds_tstate *t = f->t;
	struct mt_xds_server *sv = f->sub->server;
	bool anew = t->first || t->unknown;
	if (!anew && !t->pending && !(step->drop && t->stale) &&
		mt_set_hash(t->sent) == mt_set_hash(f->target))
		return false;
	if (t->first && t->holdings) {
		take_holdings(f, step->drop);
	} else {
		f->step = mt_set_diff(anew ? sv->empty : t->sent, f->target, f->mode);
		take_diff(f, f->step);
	}
	/* None of them is missing when there are as many and all are the target's. */
	bool all = (f->shared && f->shared->n == mt_names_size(t->names)) ||
		names_are(t->names, f->target);
	if (t->first && !all)
		take_names(f, t->names, true);
	take_names(f, t->pending, false);
	if (t->unknown)
		take_unknown(f);
	if (step->drop && t->stale)
		take_stale(f);
	drop_repeats(f);

	if (leads(f))
		note_resend(f);
	size_t gone = f->mode == MT_XDS_DELTA ? f->removed.n
		: full_state && f->step       ? f->step->nremoved
					      : 0;
	size_t said = f->own.n + gone;
	if (f->shared)
		said += f->shared->n + (f->mode == MT_XDS_DELTA ? f->shared->nremoved : 0);
	/* Of a state of the world without a name Envoy acknowledges nothing that is empty. */
	bool nobody = f->mode == MT_XDS_SOTW && !t->wildcard && !mt_names_size(t->names);
	if (!said && (!anew || nobody))
		return false;
	if (full_state && !anew) {
		/* The absence of a resource removes it: everything that is wanted is said. */
		mt_diff_unref(f->step);
		f->step = mt_set_diff(sv->empty, f->target, f->mode);
		f->shared = NULL;
		f->own.n = 0;
		take_diff(f, f->step);
	}
	return true;
}

static void add_header(struct mt_body *b, struct draft *f, uint64_t nonce)
{
	char version[17], text[24];
	mt_hash_hex(mt_set_hash(f->target), version);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)nonce);
	struct mt_buf head = { 0 };
	mt_flat_adds(&head, 1, version);
	mt_flat_adds(&head, 4, f->type->type_url);
	mt_flat_adds(&head, 5, text);
	mt_body_bytes(b, head.p, head.n);
	mt_buf_clear(&head);
}

/* Returns the bytes of the message. */
static size_t send_draft(struct draft *f)
{
	struct mt_xds_sub *s = f->sub;
	struct mt_body b = { .mode = f->mode, .join_below = MT_BODY_OWN };
	add_header(&b, f, ++s->nonce);
	if (f->shared)
		mt_body_slices(&b, f->shared->slices, f->shared->nslices);
	mt_vec_each (&f->own, r)
		mt_body_res(&b, *r);
	mt_vec_each (&f->removed, name)
		mt_body_removed(&b, *name);
	mt_body_finish(&b);
	mt_rpc_stream_send(s->stream, b.slices.v, b.slices.n);
	atomic_fetch_add_explicit(&s->server->sent_bytes, b.bytes, memory_order_relaxed);
	mt_vec_clear(&b.slices);
	f->t->nonce = s->nonce;
	return b.bytes;
}

/* Names of the newest set of a type that begin with a name and a slash: the set is sorted. */
static void below(const struct draft *f, size_t type, const char *name, struct names_vec *out)
{
	const struct mt_snapshot *snap = f->sub->newest;
	const struct mt_set *set = type < snap->n ? snap->sets[type] : NULL;
	size_t n = strlen(name), lo = 0, hi = mt_set_size(set);

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = strncmp(mt_set_at(set, mid)->name, name, n);
		if (c < 0 || (c == 0 && mt_set_at(set, mid)->name[n] < '/'))
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < mt_set_size(set); lo++) {
		const char *have = mt_set_at(set, lo)->name;
		if (strncmp(have, name, n) != 0 || have[n] != '/')
			break;
		mt_vec_push(out, ((struct mt_view){ have, strlen(have) }));
	}
}

/* Clusters that changed warm until their endpoints come again: those are owed an answer now. After a
 * reconnect the endpoints are asked for with what is held, which must not silence that answer. */
static void resend_companions(struct draft *f)
{
	struct mt_xds_server *sv = f->sub->server;
	for (size_t i = 0; i < sv->opts.ntypes; i++) {
		struct mt_xds_tstate *c = f->sub->types[i];
		if (!follows(f, i))
			continue;
		struct names_vec wanted = { 0 };
		for (size_t k = 0; k < f->resend.n; k++) {
			if (sv->types[i].resend_below) {
				below(f, i, f->resend.v[k].p, &wanted);
			} else if (!c || mt_xds_wants(c, f->resend.v[k].p)) {
				mt_vec_push(&wanted, f->resend.v[k]);
			}
		}
		struct mt_names **at = c ? &c->pending : &f->t->announced, *old = *at;
		*at = mt_names_edit(NULL, old, wanted.v, wanted.n, NULL, 0);
		mt_names_unref(old);
		mt_vec_clear(&wanted);
	}
}

static void replace(struct mt_set **at, struct mt_set *by)
{
	struct mt_set *old = *at;
	*at = mt_set_ref(by);
	mt_set_unref(old);
}

/* What the peer may hold when a response is still unanswered: both, unless that grows too large. */
static void widen(struct mt_xds_tstate *t)
{
	struct mt_set *both = mt_set_union(t->acked, t->sent);
	bool small = mt_set_size(both) <= 2 * mt_set_size(t->sent) + HELD_SLACK;
	replace(&t->acked, small ? both : t->sent);
	mt_set_unref(both);
}

static void moved(struct draft *f, const struct mt_xds_step *step, bool sent, size_t bytes)
{
	struct mt_xds_sub *s = f->sub;
	struct mt_xds_tstate *t = f->t;
	if (sent && t->outstanding && t->sent != f->target)
		widen(t);
	replace(&t->sent, f->target);
	if (step->snap) {
		t->goal_hash = mt_set_hash(step->goal);
		t->made_ns = step->snap->made_ns;
		if (t->snap != step->snap) {
			mt_snapshot_unref(t->snap);
			t->snap = mt_snapshot_ref(step->snap);
		}
		/* Still more than the goal has: removals wait. */
		t->holding = mt_set_size(f->target) != mt_set_size(step->goal) ||
			mt_set_hash(f->target) != mt_set_hash(step->goal);
		if (!t->holding && (step->drop || !t->stale))
			t->removal_at = 0;
	}
	if (step->drop && step->snap) {
		mt_names_unref(t->stale);
		t->stale = NULL;
	}
	int64_t now = mt_mono(s->server->clock);
	if (sent) {
		t->sent_at = now;
		t->outstanding = true;
		t->late = false;
		t->first = t->unknown = t->rejected = false;
		mt_free(t->holdings);
		t->holdings = NULL;
	} else if (!t->outstanding && !t->rejected) {
		t->first = t->unknown = false; /* nobody had to be told */
		replace(&t->acked, t->sent);
	}
	pthread_mutex_lock(&s->mu);
	if (step->snap)
		t->status.sent_id = step->snap->id;
	if (sent) {
		t->status.sent_ns = now;
		t->status.sent_bytes += bytes;
		t->status.pushes++;
	} else if (!t->outstanding && !t->rejected) {
		t->status.acked_id = t->status.sent_id;
	}
	pthread_mutex_unlock(&s->mu);
}

/* What the peer shall hold: the goal, and while removals have to wait what it holds besides. A first
 * answer has only its leader to look at: the clusters that were sent from an older snapshot warm until
 * their endpoints come, and are not acknowledged before, though the newest snapshot has neither. */
static struct mt_set *target_of(const struct mt_xds_sub *s, const struct mt_xds_step *step)
{
	const struct mt_xds_tstate *t = s->types[step->type], *l = NULL;
	int leader = s->server->types[step->type].resend_with;
	if (leader >= 0)
		l = s->types[leader];
	if (t->first && l && l->snap && l->snap != step->snap) {
		struct mt_set *with_leader = l->snap->sets[step->type];
		return mt_set_union(with_leader ? with_leader : s->server->empty, step->goal);
	}
	/* After a rejection nothing is kept: the union would say the rejected content again. */
	bool keep = !step->drop && !t->unknown && !t->first;
	return keep ? mt_set_union(t->sent, step->goal) : mt_set_ref(step->goal);
}

bool mt_xds_respond(struct mt_xds_sub *s, const struct mt_xds_step *step)
{
	struct mt_xds_tstate *t = s->types[step->type];
	const struct mt_xds_type *type = &s->server->types[step->type];
	struct draft f = { .sub = s,
		.t = t,
		.type = type,
		.index = step->type,
		.mode = s->delta ? MT_XDS_DELTA : MT_XDS_SOTW };
	bool full_state = !s->delta && type->wildcard;
	f.target = target_of(s, step);
	size_t bytes = 0;
	bool sent = compose(&f, step, full_state);
	if (sent) {
		bytes = send_draft(&f);
		s->sent_type = step->type;
		mt_xds_count(s, step->type, MT_XDS_M_PUSHES, 1);
		mt_xds_count(s, step->type, MT_XDS_M_BYTES, (double)bytes);
		resend_companions(&f);
	}
	moved(&f, step, sent, bytes);
	mt_names_unref(t->pending);
	t->pending = NULL;
	mt_vec_clear(&f.own);
	mt_vec_clear(&f.removed);
	mt_vec_clear(&f.resend);
	mt_diff_unref(f.step);
	mt_set_unref(f.target);
	return sent;
}
