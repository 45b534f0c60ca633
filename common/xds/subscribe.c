/* Requests of a stream: subscriptions, acknowledgements, rejections.
 *
 * State of the world: each request names all that is wanted; it is compared as a set, because the
 * order changes. A request whose nonce is not the last one is old: its names are dropped (a newer
 * request follows, the answer to what was sent since), but a rejection in it counts. An empty list is
 * a wildcard for the types that allow it, until the first list that is not empty.
 * Delta: each request changes the subscription, whatever its nonce; a name that is subscribed again
 * is owed an answer again.
 * In both "*" is the wildcard by name. */
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/xds/stream.h"

enum { NACK_WORDS_MAX = 4096 };

static int type_find(const struct mt_xds_server *sv, struct mt_view url)
{
	for (size_t i = 0; i < sv->opts.ntypes; i++) {
		if (mt_view_eq(url, sv->types[i].type_url))
			return (int)i;
	}
	return -1;
}

static struct mt_xds_tstate *tstate_new(struct mt_xds_sub *s, int type)
{
	struct mt_xds_tstate *t = MT_NEW(struct mt_xds_tstate);
	t->sent = mt_set_ref(s->server->empty);
	t->acked = mt_set_ref(s->server->empty);
	t->first = true;
	t->status.subscribed = true;
	pthread_mutex_lock(&s->mu);
	s->types[type] = t;
	pthread_mutex_unlock(&s->mu);
	s->synced_id = 0; /* in step means this type too, from now on */
	return t;
}

/* Takes "*" out of the names. True when it was there. */
static bool take_star(struct mt_view *v, size_t *n)
{
	bool star = false;
	size_t k = 0;
	for (size_t i = 0; i < *n; i++) {
		if (mt_view_eq(v[i], "*"))
			star = true;
		else
			v[k++] = v[i];
	}
	*n = k;
	return star;
}

static int limit(const struct mt_xds_sub *s, const struct mt_xds_tstate *t, struct mt_err *err)
{
	size_t max = s->server->opts.max_names;
	if (mt_names_size(t->names) <= max && mt_names_size(t->pending) <= 2 * max)
		return 0;
	return mt_fail(err, MT_LIMIT, NULL, "more than %zu resources subscribed", max);
}

static void set_names(struct mt_names **at, struct mt_names *n)
{
	mt_names_unref(*at);
	*at = n;
}

/* Names are owed an answer, unless the first one is still to come, which answers all. */
static void owe(
	struct mt_xds_tstate *t, struct mt_view *v, size_t n, struct mt_view * not, size_t k)
{
	if (!t->first && (n || (t->pending && k)))
		set_names(&t->pending, mt_names_edit(NULL, t->pending, v, n, not, k));
}

/* ---- acknowledgements ---- */

static uint64_t nonce_parse(struct mt_view v)
{
	uint64_t n = 0;
	if (!v.n || v.n > 19)
		return 0;
	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] < '0' || v.p[i] > '9')
			return 0;
		n = n * 10 + (uint64_t)(v.p[i] - '0');
	}
	return n;
}

static void set_ref(struct mt_set **at, struct mt_set *by)
{
	struct mt_set *old = *at;
	*at = mt_set_ref(by);
	mt_set_unref(old);
}

static void acknowledged(struct mt_xds_sub *s, int type)
{
	struct mt_xds_tstate *t = s->types[type];
	int64_t now = mt_mono(s->server->clock);
	t->outstanding = false;
	t->settled = t->nonce;
	if (!t->unknown)
		set_ref(&t->acked, t->sent);
	pthread_mutex_lock(&s->mu);
	t->status.acked_id = t->status.sent_id;
	t->status.acked_ns = now;
	t->status.nacked = false;
	pthread_mutex_unlock(&s->mu);
	mt_xds_count(s, type, MT_XDS_M_ACK_TIME, (double)(now - t->made_ns) / MT_NS_PER_SEC);
}

static void rejected(struct mt_xds_sub *s, int type, uint64_t nonce, struct mt_view words)
{
	struct mt_xds_tstate *t = s->types[type];
	struct mt_set *may = mt_set_union(t->acked, t->sent);
	bool small = mt_set_size(may) <= 2 * mt_set_size(t->sent) + 1000;
	set_ref(&t->acked, small ? may : t->sent);
	mt_set_unref(may);
	t->settled = nonce;
	t->unknown = true;
	if (nonce == t->nonce) {
		t->outstanding = false;
		t->rejected = true;
	}
	mt_xds_count(s, type, MT_XDS_M_REJECTS, 1);
	words.n = MT_MIN(words.n, (size_t)NACK_WORDS_MAX);
	mt_xds_post_nack(s, type, words);
}

/* True when the names of the request count (state of the world: it is not an old one). */
static bool answer(struct mt_xds_sub *s, int type, const struct mt_xds_request *r)
{
	struct mt_xds_tstate *t = s->types[type];
	if (!r->nonce.n || !t->nonce)
		return true; /* no answer: a subscription, or a leftover of an earlier stream */
	uint64_t nonce = nonce_parse(r->nonce);
	if (nonce > t->settled && nonce <= t->nonce) {
		if (r->rejected)
			rejected(s, type, nonce, r->error);
		else if (nonce == t->nonce)
			acknowledged(s, type);
	}
	return nonce == t->nonce;
}

/* ---- subscriptions ---- */

static int subscribe_sotw(struct mt_xds_sub *s, struct mt_xds_tstate *t, bool may_wildcard,
	const struct mt_xds_request *r, struct mt_err *err)
{
	size_t n = r->nnames;
	bool star = take_star(r->names, &n);
	t->named |= n > 0 || star;
	bool wildcard = star || (may_wildcard && !t->named);
	if (wildcard && !t->wildcard)
		t->unknown |= !t->first; /* from names to everything: say everything */
	t->wildcard = wildcard;
	if (mt_names_same(t->names, r->names, n))
		return 0;
	struct mt_names *before = t->names;
	t->names = mt_names_edit(s->server->names, NULL, r->names, n, NULL, 0);
	/* What is new is owed an answer. */
	size_t added = 0;
	for (size_t i = 0; i < n; i++) {
		if (!mt_names_has_view(before, r->names[i]))
			r->names[added++] = r->names[i];
	}
	owe(t, r->names, added, NULL, 0);
	mt_names_unref(before);
	return limit(s, t, err);
}

static int subscribe_delta(struct mt_xds_sub *s, struct mt_xds_tstate *t, bool may_wildcard,
	bool fresh, const struct mt_xds_request *r, struct mt_err *err)
{
	size_t n = r->nnames, k = r->ngone;
	bool star = take_star(r->names, &n), unstar = take_star(r->gone, &k);
	if (fresh && r->nheld)
		t->holdings = mt_xds_holdings_new(r->held, r->nheld);
	t->reconnected |= t->holdings != NULL;
	if (star || (fresh && may_wildcard && !n)) {
		t->unknown |= !fresh && !t->wildcard && !t->first;
		t->wildcard = true;
	} else if (unstar) {
		t->wildcard = false;
	}
	if (!n && !k)
		return 0;
	/* Under a wildcard a name that is given up is still wanted: the peer dropped it, say it again. */
	if (t->wildcard)
		owe(t, r->gone, k, NULL, 0);
	owe(t, r->names, n, r->gone, t->wildcard ? 0 : k);
	struct mt_names *names = mt_names_edit(s->server->names, t->names, r->names, n, r->gone, k);
	set_names(&t->names, names);
	return limit(s, t, err);
}

/* A type is subscribed after its leader was sent: what that changed is owed, whatever is held. */
static void follow_leader(struct mt_xds_sub *s, int type)
{
	int leader = s->server->types[type].resend_with;
	struct mt_xds_tstate *t = s->types[type], *l = leader < 0 ? NULL : s->types[leader];
	if (!l || !l->announced)
		return;
	struct mt_names *all = MT_TAKE(l->announced);
	MT_VEC(struct mt_view) owed = { 0 };
	for (size_t i = 0; t->holdings && i < mt_names_size(all); i++) {
		const char *name = mt_names_at(all, i);
		if (mt_xds_wants(t, name))
			mt_vec_push(&owed, ((struct mt_view){ name, strlen(name) }));
	}
	if (owed.n)
		set_names(&t->pending, mt_names_edit(NULL, t->pending, owed.v, owed.n, NULL, 0));
	mt_vec_clear(&owed);
	mt_names_unref(all);
}

int mt_xds_sub_request(struct mt_xds_sub *s, const struct mt_xds_request *r, struct mt_err *err)
{
	struct mt_xds_server *sv = s->server;
	int type = type_find(sv, r->type_url);
	if (type < 0)
		return 0; /* a type that is not served here: never answered, as everywhere */
	mt_xds_count(s, type, MT_XDS_M_REQUESTS, 1);
	struct mt_xds_tstate *t = s->types[type];
	bool fresh = !t;
	if (fresh)
		t = tstate_new(s, type);
	bool current = answer(s, type, r);
	bool may_wildcard = sv->types[type].wildcard;
	for (size_t i = 0; sv->opts.app->subscribed && i < r->nnames; i++)
		sv->opts.app->subscribed(sv->opts.ctx, type, r->names[i].p, r->names[i].n);
	int rc = 0;
	if (s->delta)
		rc = subscribe_delta(s, t, may_wildcard, fresh, r, err);
	else if (current)
		rc = subscribe_sotw(s, t, may_wildcard, r, err);
	/* A peer that gave up all names while an answer was on its way may not answer that one. */
	if (!s->delta && current && !t->wildcard && !mt_names_size(t->names) && t->outstanding)
		acknowledged(s, type);
	if (fresh)
		follow_leader(s, type);
	if (fresh || t->pending)
		s->settled_id = 0; /* once this is answered too, it is told again */
	return rc;
}
