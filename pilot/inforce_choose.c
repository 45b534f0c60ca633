/* Choosing what is in force: the largest set of newest generations that leaves no new hole.
 *
 * All objects start at their newest generation (a refused one at the one before). Then, until nothing
 * moves:
 *   - a virtual service whose newest generation names what the choice does not have falls back to its
 *     generation before, or to nothing: it waits; so does a gateway or destination rule whose secret
 *     no proxy has that it is for;
 *   - what a virtual service that cannot fall back still names, and a newer generation of a
 *     destination rule (or the deletion of a rule, a delegate, a service inside the mesh) takes away,
 *     makes that one fall back: it waits until nobody uses what it drops.
 * Objects only ever fall back, so this ends, and what is left is the largest such set: two objects
 * that need each other's newest generation come into force together. */
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/strs.h"
#include "pilot/inforce_item.h"
#include "pilot/model/host.h"

struct host { /* one service of a host name */
	const struct pilot_service *svc;
	const struct item *entry; /* the object that it comes from; NULL: of another registry */
	struct host *next;
};

struct provider {                     /* of a subset */
	const struct mt_object *rule; /* NULL: not any more */
	struct provider *next;
};

struct choosing {
	struct pilot_inforce *f;
	struct mt_arena *a;
	struct mt_map *hosts;       /* name -> struct host */
	struct mt_map *subsets;     /* "host subset" -> struct provider */
	struct mt_map *wild;        /* wildcard hosts of rules -> anything */
	MT_VEC(struct item *) held; /* those that can fall back to something */
};

/* The subsets that a generation of a destination rule has, added or taken away. */
static void count_rule(
	struct choosing *c, const struct item *it, const struct mt_object *o, bool there)
{
	const struct pilot_refs *has =
		o && it->kind->id == MT_KIND_DESTINATION_RULE ? item_refs(it, o) : NULL;
	if (has && there && has->v[0].kind == PILOT_REF_SUBSET &&
		pilot_host_is_wild(has->v[0].name))
		mt_map_put(c->wild, has->v[0].name, c);
	for (size_t i = 0; has && i < has->n && has->v[i].kind == PILOT_REF_SUBSET; i++) {
		struct provider *first = mt_map_get(c->subsets, has->v[i].key), *p = first;
		while (p && p->rule != (there ? NULL : o))
			p = p->next;
		if (!p && !there)
			continue;
		if (!p) {
			p = MT_ANEW(c->a, struct provider);
			p->next = first;
			mt_map_put(c->subsets, has->v[i].key, p);
		}
		p->rule = there ? o : NULL;
	}
}

static bool gone(const struct host *h)
{
	return h->entry && !h->entry->choice;
}

static bool has_port(const struct pilot_service *s, const struct pilot_ref *r)
{
	if (r->port)
		return pilot_service_port(s, r->port) >= 0;
	if (!*r->port_name)
		return true;
	for (size_t i = 0; i < s->nports; i++)
		if (strcmp(s->ports[i].name, r->port_name) == 0)
			return true;
	return false;
}

static bool has_service(struct choosing *c, const struct pilot_ref *r)
{
	const struct host *h = mt_map_get(c->hosts, r->name);
	if (!h && *r->bare)
		h = mt_map_get(c->hosts, r->bare);
	for (; h; h = h->next)
		if (!gone(h) && has_port(h->svc, r))
			return true;
	return false;
}

/* Rules of that namespace are for clients elsewhere too. */
static bool is_shared(struct choosing *c, const struct pilot_ref *r, const char *ns)
{
	const struct host *h = mt_map_get(c->hosts, r->name);
	if (!h && *r->bare)
		h = mt_map_get(c->hosts, r->bare);
	for (; h; h = h->next)
		if (strcmp(h->svc->ns, ns) == 0)
			return true;
	return strcmp(c->f->root_ns, ns) == 0;
}

static bool seen(struct choosing *c, const struct mt_object *user, const struct pilot_ref *r,
	const struct mt_object *rule)
{
	return pilot_inforce_sees(c->a, user, rule, is_shared(c, r, rule->ns));
}

static bool provided(struct choosing *c, const struct mt_object *user, const struct pilot_ref *r,
	const char *host)
{
	char key[1024];
	snprintf(key, sizeof(key), "%s %s", host, r->subset);
	for (const struct provider *p = mt_map_get(c->subsets, key); p; p = p->next)
		if (p->rule && seen(c, user, r, p->rule))
			return true;
	return false;
}

static bool has_subset(struct choosing *c, const struct mt_object *user, const struct pilot_ref *r)
{
	if (provided(c, user, r, r->name) || (*r->bare && provided(c, user, r, r->bare)))
		return true;
	for (struct mt_map_it it = { 0 }; mt_map_next(c->wild, &it);)
		if (pilot_host_covers(it.key, r->name) && provided(c, user, r, it.key))
			return true;
	return false;
}

static bool has_object(struct choosing *c, enum mt_kind_id kind, const char *key)
{
	const struct item *it = mt_map_get(c->f->items[kind], key);
	return it && it->choice;
}

static bool met(struct choosing *c, const struct item *it, const struct pilot_ref *r)
{
	switch (r->kind) {
	case PILOT_REF_SERVICE: return has_service(c, r);
	case PILOT_REF_SUBSET: return has_subset(c, it->choice, r);
	case PILOT_REF_DELEGATE: return has_object(c, MT_KIND_VIRTUAL_SERVICE, r->name);
	case PILOT_REF_GATEWAY: return has_object(c, MT_KIND_GATEWAY, r->name);
	case PILOT_REF_SECRET: return pilot_inforce_has_secret(c->f, it, r);
	}
	return true;
}

/* Would the generation that this one can fall back to provide what the reference names? */
static bool provides(struct choosing *c, const struct item *it, const struct mt_object *user,
	const struct pilot_ref *r)
{
	const struct mt_object *o = it->fallback;
	char key[600];
	if (r->kind == PILOT_REF_DELEGATE)
		return it->kind->id == MT_KIND_VIRTUAL_SERVICE &&
			strcmp(mt_object_key(o, key, sizeof(key)), r->name) == 0;
	if (r->kind == PILOT_REF_SUBSET && it->kind->id == MT_KIND_DESTINATION_RULE) {
		const struct pilot_refs *has = item_refs(it, o);
		for (size_t i = 0; has && i < has->n; i++)
			if (has->v[i].kind == PILOT_REF_SUBSET &&
				strcmp(has->v[i].subset, r->subset) == 0 &&
				(pilot_host_covers(has->v[i].name, r->name) ||
					strcmp(has->v[i].name, r->bare) == 0))
				return seen(c, user, r, o);
	}
	if (r->kind == PILOT_REF_SERVICE && it->kind->id == MT_KIND_SERVICE_ENTRY) {
		const struct host *h = mt_map_get(c->hosts, r->name);
		if (!h && *r->bare)
			h = mt_map_get(c->hosts, r->bare);
		for (; h; h = h->next)
			if (h->entry == it && has_port(h->svc, r))
				return true;
	}
	return false;
}

static void say(struct item *it, const char *why)
{
	mt_free(it->why);
	it->why = mt_strdup(why);
}

static void fall_back(struct choosing *c, struct item *it, const char *why)
{
	count_rule(c, it, it->choice, false);
	it->choice = it->fallback;
	count_rule(c, it, it->choice, true);
	say(it, why);
}

/* Who takes away what `user` names? That one waits. */
static bool hold_provider(struct choosing *c, const struct item *user, const struct pilot_ref *r)
{
	char title[600];
	for (size_t i = 0; i < c->held.n; i++) {
		struct item *it = c->held.v[i];
		if (it->choice == it->fallback || !provides(c, it, user->choice, r))
			continue;
		mt_object_title(user->choice, title, sizeof(title));
		const char *what = r->kind == PILOT_REF_SUBSET
			? mt_arena_printf(c->a, "subset %s of %s", r->subset, r->name)
			: "it";
		fall_back(c, it, mt_arena_printf(c->a, "%s is still used by %s", what, title));
		return true;
	}
	return false;
}

/* What a rule can do without, when it has no generation in force: a gateway, and a gateway one of its
 * certificates. */
static bool waits_for(const struct item *it, const struct pilot_ref *r)
{
	bool dispensable = r->kind == PILOT_REF_GATEWAY ||
		(r->kind == PILOT_REF_SECRET && it->kind->id == MT_KIND_GATEWAY);
	return !dispensable || it->fallback;
}

/* Destination rules have their subsets. */
static bool needs(const struct item *it, const struct pilot_ref *r)
{
	return it->kind->id != MT_KIND_DESTINATION_RULE || r->kind == PILOT_REF_SECRET;
}

static bool check(struct choosing *c, struct item *it)
{
	const struct pilot_refs *refs = item_refs(it, it->choice);
	bool moved = false;
	if (it->kind->id == MT_KIND_DESTINATION_RULE && refs && !refs->secrets)
		return false;
	for (size_t i = 0; refs && i < refs->n; i++) {
		const struct pilot_ref *r = &refs->v[i];
		if (!needs(it, r) || met(c, it, r))
			continue;
		const char *why = pilot_ref_missing(c->a, r);
		if (it->choice != it->fallback && waits_for(it, r)) {
			it->waits_secret = it->waits_secret || r->kind == PILOT_REF_SECRET;
			fall_back(c, it, why);
			return true;
		}
		it->partly =
			it->partly || (r->kind == PILOT_REF_SECRET && it->choice == it->newest);
		/* In force as it is; what it names shall not go away under it. */
		if (hold_provider(c, it, r))
			moved = true;
		else if (!it->why)
			say(it, why);
	}
	return moved;
}

/* A deletion may have to wait: of what others use. A service outside of the mesh is a permission to go
 * there, and taking that away is never put off; nor are gateways and policies. */
static bool may_stay(const struct item *it)
{
	return it->kind->id == MT_KIND_DESTINATION_RULE ||
		it->kind->id == MT_KIND_VIRTUAL_SERVICE || it->kind->id == MT_KIND_SERVICE_ENTRY;
}

static void start(struct choosing *c, struct item *it)
{
	mt_free(it->why);
	it->why = NULL;
	it->partly = false;
	it->secrets = pilot_inforce_secrets_hash(c->f, it);
	bool refused = it->newest && (it->suspect || it->newest->hash == it->refused);
	it->fallback = it->force;
	if (refused && same(it->force, it->newest))
		it->fallback = it->before;
	it->choice = refused ? it->fallback : it->newest;
	if (!refused && same(it->newest, it->force))
		it->fallback = it->choice; /* nothing changed */
	if (!it->newest && !may_stay(it))
		it->fallback = NULL;
	if (it->loaded && !c->f->live)
		it->choice = it->fallback = it->force;
	if (it->choice != it->fallback && it->fallback)
		mt_vec_push(&c->held, it);
	count_rule(c, it, it->choice, true);
}

static void add_hosts(struct choosing *c, const struct pilot_services_in *services)
{
	for (size_t i = 0; i < services->n; i++) {
		const struct pilot_service *s = services->v[i].svc;
		const struct item *it =
			s->id && s->id <= c->f->by_id.n ? c->f->by_id.v[s->id - 1] : NULL;
		struct host *h = MT_ANEW(c->a, struct host);
		h->svc = s;
		h->entry = it && it->kind->id == MT_KIND_SERVICE_ENTRY ? it : NULL;
		h->next = mt_map_get(c->hosts, s->hostname);
		mt_map_put(c->hosts, s->hostname, h);
	}
}

static void each(struct choosing *c, void (*fn)(struct choosing *c, struct item *it))
{
	for (int k = 0; k < MT_KIND_N; k++)
		for (struct mt_map_it it = { 0 };
			c->f->items[k] && mt_map_next(c->f->items[k], &it);)
			fn(c, it.value);
}

static const enum mt_kind_id naming[] = { /* kinds that name what has to be there */
	MT_KIND_GATEWAY, MT_KIND_DESTINATION_RULE, MT_KIND_VIRTUAL_SERVICE
};

void pilot_inforce_choose(struct pilot_inforce *f, const struct pilot_services_in *services)
{
	struct choosing c = { .f = f,
		.a = mt_arena_new(0),
		.hosts = mt_map_new(),
		.subsets = mt_map_new(),
		.wild = mt_map_new() };
	bool moved = true;

	each(&c, start);
	add_hosts(&c, services);
	while (moved) {
		moved = false;
		for (size_t k = 0; k < MT_ARRAY_SIZE(naming); k++)
			for (struct mt_map_it it = { 0 };
				f->items[naming[k]] && mt_map_next(f->items[naming[k]], &it);)
				moved |= check(&c, it.value);
	}
	mt_vec_clear(&c.held);
	mt_map_free(c.hosts, NULL);
	mt_map_free(c.subsets, NULL);
	mt_map_free(c.wild, NULL);
	mt_arena_free(c.a);
}
