/* What is in force: the promise and its rules.
 *
 * The promise: rules may be applied and taken away in any order, one by one, and no request fails
 * because of the order. Therefore a rule is in force whole or not at all, and what it names is there
 * for as long as it is in force.
 *
 *   A rule that names a service, port, subset or delegate that does not exist waits. Its generation
 *   before stays in force; a rule that never had one is not in force at all (requests go where they
 *   went without it: half of a rule could send them anywhere). When what it waits for comes, it comes
 *   into force by itself, in the same world and so in the same push, clusters before routes.
 *   A gateway that is named and missing keeps only a newer generation waiting: a rule that is new has
 *   nothing to lose, and its other gateways are served.
 *   A gateway or destination rule waits for its secrets likewise (inforce_secrets.c); a new gateway is in
 *   force, and serves what it has certificates for.
 *
 *   A destination rule whose newer generation drops a subset (or which is deleted) while a rule in
 *   force sends requests to that subset waits until nobody does. The same holds for a deleted virtual
 *   service that others delegate to, and for a deleted ServiceEntry inside the mesh. Not for one
 *   outside of it: that is a permission, and it is taken away at once; nor for what a changed
 *   ServiceEntry or another registry says (endpoints, hosts, ports): those are facts.
 *   So the opposite order works as well, and two changes that need each other come in together.
 *
 *   A generation that a proxy refused (push/canary.c) is out of force: the last one that was accepted
 *   comes back. The next generation of the object is tried again. When several came in together and
 *   one resource has them all, all go out and are tried again by halves.
 *
 * What cannot be known from the newest generations is kept on disk: generations that are in force
 * though newer ones exist (or though what they name is gone), and what was refused. The feed's own last
 * good state may be older than this record, so what only the record has is kept until the feed is
 * complete. */
#include "pilot/inforce.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/feed/record.h"
#include "istio/networking/v1alpha3/service_entry.pb-c.h"
#include "pilot/inforce_item.h"

/* A search that takes longer goes round in circles: then all that are refused together are to blame. */
enum { ROUNDS_MAX = 32 };
#define RECORD "inforce"
#define RECORD_REFUSED "refused"
#define RECORD_WAITING "waiting"

/* ---- items ---- */

static void put(struct mt_object **at, struct pilot_refs **refs, const struct mt_object *o,
	struct pilot_refs *r)
{
	struct mt_object *old = *at;
	struct pilot_refs *old_refs = *refs;
	*at = o ? mt_object_ref(o) : NULL;
	*refs = pilot_refs_ref(r);
	mt_object_unref(old);
	pilot_refs_unref(old_refs);
}

static void item_free(void *p)
{
	struct item *it = p;
	put(&it->newest, &it->newest_refs, NULL, NULL);
	put(&it->force, &it->force_refs, NULL, NULL);
	put(&it->before, &it->before_refs, NULL, NULL);
	mt_free(it->why);
	mt_free(it->words);
	mt_free(it);
}

/* What was refused before this process started. */
static void was_refused(const struct pilot_inforce *f, struct item *it)
{
	json_t *o = json_object_get(f->old_refused, pilot_ids_title(f->ids, it->id));
	const char *hash = json_string_value(json_object_get(o, "hash"));
	const char *words = json_string_value(json_object_get(o, "words"));
	if (!hash || !words)
		return;
	it->refused = strtoull(hash, NULL, 16);
	it->words = mt_strdup(words);
}

static struct item *item_of(struct pilot_inforce *f, const struct mt_object *o)
{
	char key[600];
	struct mt_map **m = &f->items[o->kind->id];
	mt_object_key(o, key, sizeof(key));
	if (!*m)
		*m = mt_map_new();
	struct item *it = mt_map_get(*m, key);
	if (it)
		return it;
	it = MT_NEW(struct item);
	it->kind = o->kind;
	it->id = pilot_ids_of(f->ids, o);
	mt_map_put(*m, key, it);
	was_refused(f, it);
	while (f->by_id.n < it->id)
		mt_vec_push(&f->by_id, NULL);
	f->by_id.v[it->id - 1] = it;
	return it;
}

static bool of_registry(const struct item *it)
{
	return pilot_for_registries(it->kind->id);
}

static void came_into_force(struct item *it, const struct mt_object *o)
{
	put(&it->force, &it->force_refs, o, item_refs(it, o));
	it->fresh = true;
}

/* What is in force is about to be replaced: if it is known to be accepted, it is what comes back. */
static void keep_accepted(struct pilot_inforce *f, struct item *it)
{
	if (it->since && it->since <= f->settled)
		put(&it->before, &it->before_refs, it->force, it->force_refs);
}

static bool internal(const struct mt_object *o)
{
	return o->kind->id == MT_KIND_SERVICE_ENTRY &&
		((const Nw__ServiceEntry *)o->spec)->location ==
		NW__SERVICE_ENTRY__LOCATION__MESH_INTERNAL;
}

bool pilot_inforce_object(struct pilot_inforce *f, const struct mt_feed_change *c)
{
	struct item *it = item_of(f, c->new ? c->new : c->old);
	struct pilot_refs *refs = c->new ? pilot_refs_of(c->new, f->domain) : NULL;

	put(&it->newest, &it->newest_refs, c->new, refs);
	pilot_refs_unref(refs);
	it->suspect = it->loaded = false;
	pilot_inforce_secrets_newest(f, it);
	if (!of_registry(it)) {
		/* After a start, the same content as an older object. */
		if (it->force && same(it->force, it->newest))
			put(&it->force, &it->force_refs, it->newest, it->newest_refs);
		return true;
	}
	if (!c->new)
		return !it->force || !internal(it->force);
	if (c->new->hash == it->refused)
		return false;
	keep_accepted(f, it);
	came_into_force(it, it->newest);
	return true;
}

void pilot_inforce_live(struct pilot_inforce *f)
{
	f->live = true;
}

/* ---- decisions ---- */

static void move(struct pilot_inforce *f, struct item *it, struct pilot_dirty *d,
	struct pilot_inforce_moves *out)
{
	if (it->choice != it->before)
		keep_accepted(f, it);
	if (of_registry(it)) {
		const struct mt_feed_change c = { it->force ? mt_object_ref(it->force) : NULL,
			it->choice ? mt_object_ref(it->choice) : NULL };
		mt_vec_push(out, c);
	}
	pilot_flow_object(d, it->kind->id);
	came_into_force(it, it->choice);
}

static void forget(struct pilot_inforce *f, const char *key, struct item *it)
{
	f->by_id.v[it->id - 1] = NULL;
	mt_map_del(f->items[it->kind->id], key);
	item_free(it);
}

void pilot_inforce_decide(struct pilot_inforce *f, const struct pilot_services_in *services,
	uint64_t settled, struct pilot_dirty *d, struct pilot_inforce_moves *out)
{
	pilot_inforce_choose(f, services);
	f->npending = 0;
	f->settled = settled;
	for (int k = 0; k < MT_KIND_N; k++)
		for (struct mt_map_it at = { 0 }; f->items[k] && mt_map_next(f->items[k], &at);) {
			struct item *it = at.value;
			if (!same(it->choice, it->force))
				move(f, it, d, out);
			f->npending += it->why || !same(it->force, it->newest);
			it->waits_secret = it->waits_secret && !same(it->force, it->newest);
			if (!it->newest && !it->force)
				forget(f, at.key, it);
		}
}

void pilot_inforce_moves_clear(struct pilot_inforce_moves *m)
{
	for (size_t i = 0; i < m->n; i++) {
		mt_object_unref(m->v[i].old);
		mt_object_unref(m->v[i].new);
	}
	mt_vec_clear(m);
}

size_t pilot_inforce_refuse(
	struct pilot_inforce *f, const uint32_t *ids, size_t n, uint64_t settled, const char *words)
{
	MT_VEC(struct item *) blamed = { 0 };
	for (size_t i = 0; i < n; i++) {
		struct item *it = ids[i] && ids[i] <= f->by_id.n ? f->by_id.v[ids[i] - 1] : NULL;
		if (it && it->force && same(it->force, it->newest) && it->since > settled)
			mt_vec_push(&blamed, it);
	}
	f->rounds += blamed.n > 1;
	mt_vec_each (&blamed, at) {
		struct item *it = *at;
		mt_free(it->words);
		it->words = mt_strdup(words);
		if (blamed.n > 1 && f->rounds <= ROUNDS_MAX)
			it->suspect = true;
		else
			it->refused = it->newest->hash;
	}
	n = blamed.n;
	if (n) /* the half of them; when the one is found, all that is left */
		f->batch = n > 1 ? n / 2 : SIZE_MAX;
	mt_vec_clear(&blamed);
	return n;
}

/* What others hang on is tried first: a route cannot be refused where its gateway is missing. */
static unsigned rank(const struct item *it)
{
	switch (it->kind->id) {
	case MT_KIND_SERVICE_ENTRY:
	case MT_KIND_MESH_CONFIG:
	case MT_KIND_GATEWAY:
	case MT_KIND_SIDECAR: return 0;
	case MT_KIND_DESTINATION_RULE: return 1;
	default: return 2;
	}
}

bool pilot_inforce_retry(struct pilot_inforce *f)
{
	size_t n = 0, max = MT_MAX(f->batch, (size_t)1);
	for (size_t i = 0; n < max && i < 3 * f->by_id.n; i++) {
		struct item *it = f->by_id.v[i % f->by_id.n];
		if (!it || !it->suspect || rank(it) != i / f->by_id.n)
			continue;
		it->suspect = false;
		mt_free(it->words);
		it->words = NULL;
		n++;
	}
	if (!n)
		f->rounds = 0;
	return n > 0;
}

/* ---- disk ---- */

/* Is the generation in force more than the newest generations tell? */
static bool to_keep(const struct item *it)
{
	return it->force && (it->why || !same(it->force, it->newest));
}

static char *save_refused(const struct pilot_inforce *f)
{
	json_t *all = json_object();
	char title[600], hash[17];
	for (size_t i = 0; i < f->by_id.n; i++) {
		const struct item *it = f->by_id.v[i];
		if (!it || !it->newest || !it->refused || it->refused != it->newest->hash)
			continue;
		mt_hash_hex(it->refused, hash);
		json_object_set_new(all, mt_object_title(it->newest, title, sizeof(title)),
			json_pack("{s:s, s:s}", "hash", hash, "words", it->words));
	}
	char *text = json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(all);
	return text;
}

static void save(struct pilot_inforce *f, struct mt_err *err)
{
	struct mt_buf b = { 0 };
	for (size_t i = 0; i < f->by_id.n; i++) {
		if (!f->by_id.v[i] || !to_keep(f->by_id.v[i]))
			continue;
		struct mt_feed_entry *e =
			mt_feed_entry_new(mt_object_ref(f->by_id.v[i]->force), "");
		mt_feed_record_add(&b, e);
		mt_feed_entry_free(e);
	}
	char *refused = save_refused(f), *waiting = pilot_inforce_secrets_record(f);
	uint64_t hash = mt_hash_mix(mt_hash(mt_buf_str(&b), b.n), mt_hash_str(refused));
	hash = mt_hash_mix(hash, mt_hash_str(waiting));
	if (f->state && hash != f->saved) {
		int r = mt_state_save(f->state, RECORD, mt_buf_str(&b), b.n, err);
		if (r == 0)
			r = mt_state_save(f->state, RECORD_REFUSED, refused, strlen(refused), err);
		if (r == 0)
			r = mt_state_save(f->state, RECORD_WAITING, waiting, strlen(waiting), err);
		if (r == 0)
			f->saved = hash;
	}
	free(refused);
	free(waiting);
	mt_buf_clear(&b);
}

void pilot_inforce_stamp(struct pilot_inforce *f, uint64_t snapshot, struct mt_err *err)
{
	for (size_t i = 0; i < f->by_id.n; i++) {
		struct item *it = f->by_id.v[i];
		if (it && it->fresh) {
			it->fresh = false;
			it->since = snapshot;
		}
	}
	save(f, err);
}

static void loaded(void *ctx, struct mt_feed_entry *e)
{
	struct pilot_inforce *f = ctx;
	struct item *it = item_of(f, e->object);
	struct pilot_refs *refs = pilot_refs_of(e->object, f->domain);
	put(&it->force, &it->force_refs, e->object, refs);
	put(&it->before, &it->before_refs, e->object, refs);
	pilot_refs_unref(refs);
	it->loaded = true;
	mt_feed_entry_free(e);
}

static void load(struct pilot_inforce *f, struct mt_err *err)
{
	struct mt_buf b = { 0 };
	if (mt_state_load(f->state, RECORD_REFUSED, &b, err) == 0)
		f->old_refused = json_loadb(mt_buf_str(&b), b.n, 0, NULL);
	mt_buf_clear(&b);
	if (mt_state_load(f->state, RECORD_WAITING, &b, err) == 0)
		f->old_waiting = json_loadb(mt_buf_str(&b), b.n, 0, NULL);
	mt_buf_clear(&b);
	int r = mt_state_load(f->state, RECORD, &b, err);
	if (r == 0)
		r = mt_feed_record_read(b.p, b.n, loaded, f, err);
	mt_buf_clear(&b);
	if (r == 0 || r == MT_NOT_FOUND)
		*err = (struct mt_err){ 0 };
}

/* ---- life, and what others see ---- */

struct pilot_inforce *pilot_inforce_new(
	struct pilot_ids *ids, const char *domain, struct mt_state *state, struct mt_err *err)
{
	struct pilot_inforce *f = MT_NEW(struct pilot_inforce);
	f->ids = ids;
	f->domain = mt_strdup(domain);
	f->root_ns = mt_strdup("");
	f->state = state;
	if (state)
		load(f, err);
	return f;
}

void pilot_inforce_root_namespace(struct pilot_inforce *f, const char *ns)
{
	if (strcmp(f->root_ns, ns) == 0)
		return;
	mt_free(f->root_ns);
	f->root_ns = mt_strdup(ns);
}

void pilot_inforce_free(struct pilot_inforce *f)
{
	if (!f)
		return;
	for (int k = 0; k < MT_KIND_N; k++)
		mt_map_free(f->items[k], item_free);
	mt_vec_clear(&f->by_id);
	json_decref(f->old_refused);
	json_decref(f->old_waiting);
	mt_free(f->domain);
	mt_free(f->root_ns);
	mt_free(f);
}

void pilot_inforce_each(struct pilot_inforce *f, enum mt_kind_id kind,
	void (*fn)(void *ctx, uint32_t id, struct mt_object *o), void *ctx)
{
	for (struct mt_map_it at = { 0 }; f->items[kind] && mt_map_next(f->items[kind], &at);) {
		struct item *it = at.value;
		if (it->force)
			fn(ctx, it->id, it->force);
	}
}

static struct pilot_inforce_view view_of(const struct item *it)
{
	return (struct pilot_inforce_view){ .id = it->id,
		.newest = it->newest,
		.force = it->force,
		.why = it->why ? it->why : "",
		.refused = it->words &&
				(it->suspect || (it->newest && it->refused == it->newest->hash))
			? it->words
			: "",
		.partly = it->partly,
		.since = it->since };
}

bool pilot_inforce_find(struct pilot_inforce *f, enum mt_kind_id kind, const char *key,
	struct pilot_inforce_view *ret)
{
	const struct item *it = mt_map_get(f->items[kind], key);
	if (!it || (!it->newest && !it->force)) /* deleted, and about to be forgotten */
		return false;
	*ret = view_of(it);
	return true;
}

void pilot_inforce_views(struct pilot_inforce *f,
	void (*fn)(void *ctx, const struct pilot_inforce_view *v), void *ctx)
{
	for (int k = 0; k < MT_KIND_N; k++)
		for (struct mt_map_it at = { 0 }; f->items[k] && mt_map_next(f->items[k], &at);) {
			const struct pilot_inforce_view v = view_of(at.value);
			if (v.newest || v.force)
				fn(ctx, &v);
		}
}

size_t pilot_inforce_pending(const struct pilot_inforce *f)
{
	return f->npending;
}
