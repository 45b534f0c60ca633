/* Building, deriving and looking up worlds.
 *
 * Services are sorted by hostname so that one name's services stand together: those of the more
 * trusted registry first, then the oldest. A world's endpoint table has the same order, in chunks of
 * PILOT_CHUNK pointers; a derived world copies the table of chunks and the chunks that change. */
#include "pilot/model/world.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/base/vec.h"
#include "pilot/model/host.h"
#include "pilot/model/index.h"

void pilot_note_add(struct mt_arena *a, struct pilot_notes *n, uint32_t id,
	enum pilot_note_kind kind, const char *path, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	struct pilot_note note = { id, kind, path, mt_arena_vprintf(a, fmt, ap), 0, 0 };
	va_end(ap);
	mt_vec_apush(a, n, note);
}

const char *pilot_note_kind_name(enum pilot_note_kind k)
{
	static const char *const names[] = { "shadowed", "pending", "ignored", "invalid",
		"applied" };
	return (size_t)k < MT_ARRAY_SIZE(names) ? names[k] : "?";
}

struct svc_order {
	const struct pilot_service_in *in;
	size_t rank; /* order of arrival: the registry's trust */
};

static int svc_cmp(const void *pa, const void *pb)
{
	const struct svc_order *a = pa, *b = pb;
	int r = strcmp(a->in->svc->hostname, b->in->svc->hostname);
	if (r)
		return r;
	if (strcmp(a->in->svc->registry, b->in->svc->registry) != 0)
		return a->rank < b->rank ? -1 : 1;
	if (a->in->svc->created_ns != b->in->svc->created_ns)
		return a->in->svc->created_ns < b->in->svc->created_ns ? -1 : 1;
	r = strcmp(a->in->svc->ns, b->in->svc->ns);
	if (!r)
		r = strcmp(a->in->svc->name, b->in->svc->name);
	if (!r)
		r = (a->in->svc->id > b->in->svc->id) - (a->in->svc->id < b->in->svc->id);
	return r ? r : (a->rank > b->rank) - (a->rank < b->rank);
}

static void keep_objects(struct pilot_index *ix, const struct pilot_world_in *in)
{
	ix->objs = MT_ANEWN(ix->arena, const struct mt_object *, in->nconfigs + 1);
	for (size_t i = 0; i < in->nconfigs; i++) {
		ix->objs[ix->nobjs++] = mt_object_ref(in->configs[i].obj);
		/* A sum: the order of arrival does not matter. */
		ix->hash += mt_hash_mix(in->configs[i].obj->hash, in->configs[i].id);
	}
	ix->hash = mt_hash_mix(ix->hash, ix->mesh.hash);
}

static void note_udp(struct pilot_index *ix, const struct pilot_service *s)
{
	for (size_t i = 0; i < s->nports; i++)
		if (s->ports[i].protocol == PILOT_UDP)
			pilot_note_add(ix->arena, &ix->notes, s->id, PILOT_NOTE_IGNORED,
				mt_arena_printf(ix->arena, "spec.ports[%zu]", i),
				"UDP port %u of %s is not carried by the mesh", s->ports[i].number,
				s->hostname);
}

static void note_services(struct pilot_index *ix)
{
	for (size_t i = 0; i < ix->nsvcs; i++)
		note_udp(ix, ix->svcs[i]);
	for (size_t i = 1; i < ix->nsvcs; i++) {
		const struct pilot_service *a = ix->svcs[i - 1], *b = ix->svcs[i];
		if (strcmp(a->hostname, b->hostname) == 0 && strcmp(a->ns, b->ns) == 0)
			pilot_note_add(ix->arena, &ix->notes, b->id, PILOT_NOTE_SHADOWED,
				"spec.hosts", "%s is already defined in namespace %s", b->hostname,
				b->ns);
	}
}

/* Objects behind the strings of the mesh settings and all rules stay referenced by the index. */
static struct pilot_index *index_build(const struct pilot_world_in *in, struct svc_order *order)
{
	struct mt_arena *a = mt_arena_new(0);
	struct pilot_index *ix = MT_ANEW(a, struct pilot_index);
	mt_ref_init(&ix->ref);
	ix->arena = a;
	pilot_index_mesh(ix, in);
	keep_objects(ix, in);
	ix->svcs = MT_ANEWN(a, const struct pilot_service *, in->nservices + 1);
	for (size_t i = 0; i < in->nservices; i++) {
		ix->svcs[ix->nsvcs++] = pilot_service_ref(order[i].in->svc);
		ix->hash = mt_hash_mix(ix->hash, order[i].in->svc->hash);
	}
	note_services(ix);
	pilot_index_rules(ix, in);
	pilot_index_keys(ix);
	return ix;
}

static void index_unref(struct pilot_index *ix)
{
	if (!ix || !mt_ref_put(&ix->ref))
		return;
	for (size_t i = 0; i < ix->nobjs; i++)
		mt_object_unref((struct mt_object *)ix->objs[i]);
	for (size_t i = 0; i < ix->nsvcs; i++)
		pilot_service_unref((struct pilot_service *)ix->svcs[i]);
	mt_arena_free(ix->arena);
}

static int addr_cmp(const void *pa, const void *pb)
{
	const struct pilot_addr *a = pa, *b = pb;
	if (a->hash != b->hash)
		return a->hash < b->hash ? -1 : 1;
	if (a->service != b->service)
		return a->service < b->service ? -1 : 1;
	return (a->endpoint > b->endpoint) - (a->endpoint < b->endpoint);
}

/* Entries of one service, appended; their part of the hash, a sum, is returned. */
static uint64_t addrs_add(struct pilot_addrs *r, const struct pilot_endpoints *e, size_t svc)
{
	uint64_t sum = 0;
	for (size_t k = 0; k < e->n; k++) {
		uint64_t h = mt_hash_str(e->v[k].address);
		r->v[r->n++] = (struct pilot_addr){ h, (uint32_t)svc, (uint32_t)k };
		for (size_t p = 0; p < e->nports; p++)
			h = mt_hash_mix(h, e->v[k].ports[p]);
		for (size_t l = 0; l < e->v[k].nlabels; l++)
			h = mt_hash_mix(h, mt_hash_str(e->v[k].labels[l].value));
		sum += mt_hash_mix(h, svc << 20 | k);
	}
	return sum;
}

static struct pilot_addrs *addrs_new(size_t n)
{
	struct pilot_addrs *r = mt_alloc(sizeof(*r) + n * sizeof(r->v[0]));
	mt_ref_init(&r->ref);
	return r;
}

static struct pilot_addrs *addrs_build(const struct pilot_world *w)
{
	size_t n = 0;
	for (size_t i = 0; i < w->ix->nsvcs; i++)
		n += pilot_world_eps(w, i)->n;
	struct pilot_addrs *r = addrs_new(n);
	for (size_t i = 0; i < w->ix->nsvcs; i++)
		r->hash += addrs_add(r, pilot_world_eps(w, i), i);
	if (r->n > 1)
		qsort(r->v, r->n, sizeof(r->v[0]), addr_cmp);
	return r;
}

/* One service's entries exchanged: the sorted rest is merged with the few new ones. */
static struct pilot_addrs *addrs_exchange(const struct pilot_addrs *old, size_t svc,
	const struct pilot_endpoints *before, const struct pilot_endpoints *after)
{
	struct pilot_addrs *gone = addrs_new(before->n), *add = addrs_new(after->n);
	struct pilot_addrs *r = addrs_new(old->n - before->n + after->n);
	size_t k = 0;
	r->hash = old->hash - addrs_add(gone, before, svc) + addrs_add(add, after, svc);
	if (add->n > 1)
		qsort(add->v, add->n, sizeof(add->v[0]), addr_cmp);
	for (size_t i = 0; i < old->n; i++) {
		if (old->v[i].service == svc)
			continue;
		while (k < add->n && addr_cmp(&add->v[k], &old->v[i]) < 0)
			r->v[r->n++] = add->v[k++];
		r->v[r->n++] = old->v[i];
	}
	while (k < add->n)
		r->v[r->n++] = add->v[k++];
	mt_free(gone);
	mt_free(add);
	return r;
}

static void addrs_unref(struct pilot_addrs *r)
{
	if (r && mt_ref_put(&r->ref))
		mt_free(r);
}

static void chunk_unref(struct pilot_chunk *c)
{
	if (!c || !mt_ref_put(&c->ref))
		return;
	for (size_t i = 0; i < PILOT_CHUNK; i++)
		pilot_endpoints_unref(c->eps[i]);
	mt_free(c);
}

static struct pilot_world *world_new(struct pilot_index *ix)
{
	size_t n = (ix->nsvcs + PILOT_CHUNK - 1) / PILOT_CHUNK;
	struct pilot_world *w = mt_alloc(sizeof(*w) + n * sizeof(w->chunks[0]));
	mt_ref_init(&w->ref);
	w->ix = ix;
	w->nchunks = n;
	return w;
}

struct pilot_world *pilot_world_build(const struct pilot_world_in *in)
{
	struct svc_order *order = mt_reallocarray(NULL, in->nservices + 1, sizeof(*order));
	for (size_t i = 0; i < in->nservices; i++)
		order[i] = (struct svc_order){ &in->services[i], i };
	qsort(order, in->nservices, sizeof(*order), svc_cmp);
	struct pilot_world *w = world_new(index_build(in, order));
	for (size_t i = 0; i < in->nservices; i++) {
		struct pilot_chunk **c = &w->chunks[i / PILOT_CHUNK];
		if (!*c) {
			*c = MT_NEW(struct pilot_chunk);
			mt_ref_init(&(*c)->ref);
		}
		(*c)->eps[i % PILOT_CHUNK] = pilot_endpoints_ref(order[i].in->eps);
	}
	mt_free(order);
	w->addrs = addrs_build(w);
	return w;
}

static int find_exact(const struct pilot_index *ix, const char *hostname, const char *ns)
{
	size_t lo = 0, hi = ix->nsvcs;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (strcmp(ix->svcs[mid]->hostname, hostname) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < ix->nsvcs && strcmp(ix->svcs[lo]->hostname, hostname) == 0; lo++)
		if (!ns || strcmp(ix->svcs[lo]->ns, ns) == 0)
			return (int)lo;
	return -1;
}

int pilot_world_find(const struct pilot_world *w, const char *hostname, const char *from_ns)
{
	const struct pilot_index *ix = w->ix;
	int first = find_exact(ix, hostname, NULL), found = -1;
	if (first < 0 || !*from_ns)
		return first;
	for (size_t i = (size_t)first; i < ix->nsvcs; i++) {
		const struct pilot_service *s = ix->svcs[i];
		if (strcmp(s->hostname, hostname) != 0)
			break;
		if (!pilot_index_exported(
			    ix, PILOT_EXPORT_SERVICE, s->export_to, s->nexport_to, s->ns, from_ns))
			continue;
		if (strcmp(s->ns, from_ns) == 0)
			return (int)i;
		if (found < 0)
			found = (int)i;
	}
	return found;
}

/* The chunk of service i, made this world's own: shared ones are copied once. */
static struct pilot_chunk *own_chunk(struct pilot_world *w, const struct pilot_world *old, size_t i)
{
	struct pilot_chunk **c = &w->chunks[i / PILOT_CHUNK];
	if (*c != old->chunks[i / PILOT_CHUNK])
		return *c;
	struct pilot_chunk *n = MT_NEW(struct pilot_chunk);
	mt_ref_init(&n->ref);
	for (size_t k = 0; k < PILOT_CHUNK; k++)
		if ((*c)->eps[k])
			n->eps[k] = pilot_endpoints_ref((*c)->eps[k]);
	chunk_unref(*c);
	return *c = n;
}

struct pilot_world *pilot_world_update(
	const struct pilot_world *old, const struct pilot_endpoints_change *changes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (find_exact(old->ix, changes[i].hostname, changes[i].ns) < 0)
			return NULL;
	mt_ref_get(&old->ix->ref);
	mt_ref_get(&old->addrs->ref);
	struct pilot_world *w = world_new(old->ix);
	w->addrs = old->addrs;
	for (size_t i = 0; i < w->nchunks; i++) {
		w->chunks[i] = old->chunks[i];
		mt_ref_get(&w->chunks[i]->ref);
	}
	for (size_t i = 0; i < n; i++) {
		size_t at = (size_t)find_exact(old->ix, changes[i].hostname, changes[i].ns);
		struct pilot_chunk *c = own_chunk(w, old, at);
		struct pilot_addrs *a =
			addrs_exchange(w->addrs, at, c->eps[at % PILOT_CHUNK], changes[i].eps);
		addrs_unref(w->addrs);
		w->addrs = a;
		pilot_endpoints_unref(c->eps[at % PILOT_CHUNK]);
		c->eps[at % PILOT_CHUNK] = pilot_endpoints_ref(changes[i].eps);
	}
	return w;
}

struct pilot_world *pilot_world_ref(const struct pilot_world *w)
{
	struct pilot_world *m = (struct pilot_world *)w;
	mt_ref_get(&m->ref);
	return m;
}

void pilot_world_unref(struct pilot_world *w)
{
	if (!w || !mt_ref_put(&w->ref))
		return;
	for (size_t i = 0; i < w->nchunks; i++)
		chunk_unref(w->chunks[i]);
	addrs_unref(w->addrs);
	index_unref(w->ix);
	mt_free(w);
}

const struct pilot_notes *pilot_world_notes(const struct pilot_world *w)
{
	return &w->ix->notes;
}

const struct pilot_mesh *pilot_world_mesh(const struct pilot_world *w)
{
	return &w->ix->mesh;
}

size_t pilot_world_nservices(const struct pilot_world *w)
{
	return w->ix->nsvcs;
}

const struct pilot_service *pilot_world_service(
	const struct pilot_world *w, size_t i, const struct pilot_endpoints **ret_eps)
{
	if (ret_eps)
		*ret_eps = pilot_world_eps(w, i);
	return w->ix->svcs[i];
}

/* Two workloads may share an address (several processes on one machine): an endpoint is this proxy's
 * only when no label that both have contradicts. */
static bool labels_agree(const struct pilot_endpoint *e, const struct pilot_proxy *p)
{
	for (size_t i = 0; i < e->nlabels; i++) {
		const char *v = pilot_label(p->labels, p->nlabels, e->labels[i].key);
		if (v && strcmp(v, e->labels[i].value) != 0)
			return false;
	}
	return true;
}

size_t pilot_world_instances(const struct pilot_world *w, const struct pilot_proxy *p,
	struct mt_arena *a, struct pilot_instance **ret)
{
	MT_VEC(struct pilot_instance) out = { 0 };
	for (size_t k = 0; k < p->nips; k++) {
		uint64_t h = mt_hash_str(p->ips[k]);
		size_t lo = 0, hi = w->addrs->n;
		while (lo < hi) {
			size_t mid = (lo + hi) / 2;
			if (w->addrs->v[mid].hash < h)
				lo = mid + 1;
			else
				hi = mid;
		}
		for (; lo < w->addrs->n && w->addrs->v[lo].hash == h; lo++) {
			const struct pilot_addr *ad = &w->addrs->v[lo];
			const struct pilot_endpoint *e =
				&pilot_world_eps(w, ad->service)->v[ad->endpoint];
			if (strcmp(e->address, p->ips[k]) != 0 || !labels_agree(e, p) ||
				(*e->ns && strcmp(e->ns, p->ns) != 0))
				continue;
			struct pilot_instance inst = { ad->service, ad->endpoint };
			mt_vec_apush(a, &out, inst);
		}
	}
	*ret = out.v;
	return out.n;
}

uint64_t pilot_world_addresses_hash(const struct pilot_world *w)
{
	return w->addrs->hash;
}

uint64_t pilot_world_keys_hash(const struct pilot_world *w)
{
	uint64_t h = mt_hash_mix_strs(0, w->ix->label_keys, w->ix->nlabel_keys);
	h = mt_hash_mix_strs(h, w->ix->meta_keys, w->ix->nmeta_keys);
	return mt_hash_mix_strs(h, w->ix->secrets, w->ix->nsecrets);
}

uint64_t pilot_world_index_hash(const struct pilot_world *w)
{
	return w->ix->hash;
}
