#include "tests/unit/xds/fake_intern.h"

#include <pthread.h>

#include <uthash.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "tests/unit/xds/fake_envoy.h"

struct text {
	UT_hash_handle hh;
	char s[];
};
struct known {
	UT_hash_handle hh;
	uint64_t hash;
	struct fake_resource r;
};

/* Nearly everything has been seen before: thousands read, one writes. */
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static struct text *texts;
static struct known *resources;

const char *fake_intern(struct mt_view v)
{
	struct text *t;
	pthread_rwlock_rdlock(&lock);
	HASH_FIND(hh, texts, v.p, v.n, t);
	pthread_rwlock_unlock(&lock);
	if (t)
		return t->s;
	pthread_rwlock_wrlock(&lock);
	HASH_FIND(hh, texts, v.p, v.n, t);
	if (!t) {
		t = mt_alloc(sizeof(*t) + v.n + 1);
		memcpy(t->s, v.p, v.n);
		HASH_ADD_KEYPTR(hh, texts, t->s, v.n, t);
	}
	pthread_rwlock_unlock(&lock);
	return t->s;
}

/* The last length-delimited field of that number. */
static bool field(struct mt_view in, uint32_t number, struct mt_view *ret)
{
	struct mt_flat w = mt_flat_of(in.p, in.n);
	struct mt_flat_field f;
	bool found = false;
	while (mt_flat_next(&w, &f)) {
		if (f.number == number && f.type == 2) {
			*ret = f.v;
			found = true;
		}
	}
	return found;
}

/* Calls fn for each field along a path of numbers that ends with 0. */
static void each(
	struct mt_view in, const uint32_t *path, void (*fn)(void *, struct mt_view), void *ctx)
{
	struct mt_flat w = mt_flat_of(in.p, in.n);
	struct mt_flat_field f;
	if (!*path) {
		fn(ctx, in);
		return;
	}
	while (mt_flat_next(&w, &f)) {
		if (f.number == *path && f.type == 2)
			each(f.v, path + 1, fn, ctx);
	}
}

static void add_refer(void *ctx, struct mt_view name)
{
	struct fake_resource *r = ctx;
	const char *s = fake_intern(name);
	for (size_t i = 0; i < r->nrefers; i++) {
		if (r->refers[i] == s)
			return;
	}
	r->refers = mt_reallocarray(r->refers, r->nrefers + 1, sizeof(*r->refers));
	r->refers[r->nrefers++] = s;
}

/* typed_config of a network filter: Any{value = HttpConnectionManager{rds{route_config_name}}} */
static void add_routes(void *ctx, struct mt_view any)
{
	struct mt_view url, hcm;
	static const char want[] = ".HttpConnectionManager";
	if (!field(any, 1, &url) || url.n < sizeof(want) ||
		memcmp(url.p + url.n - sizeof(want) + 1, want, sizeof(want) - 1) != 0)
		return;
	if (field(any, 2, &hcm))
		each(hcm, (const uint32_t[]){ 3, 2, 0 }, add_refer, ctx);
}

static void read_cluster(struct fake_resource *r, struct mt_view value)
{
	struct mt_flat w = mt_flat_of(value.p, value.n);
	struct mt_flat_field f;
	struct mt_view name = { r->name, strlen(r->name) }, config;
	bool eds = false;
	while (mt_flat_next(&w, &f)) {
		if (f.number == 2 && f.type == 0)
			eds = f.scalar == 3;
	}
	if (field(value, 3, &config))
		field(config, 2, &name);
	if (eds)
		add_refer(r, name);
}

const struct fake_resource *fake_resource_of(int type, struct mt_view any)
{
	uint64_t hash = mt_hash(any.p, any.n);
	struct known *k;
	pthread_rwlock_rdlock(&lock);
	HASH_FIND(hh, resources, &hash, sizeof(hash), k);
	pthread_rwlock_unlock(&lock);
	if (k)
		return &k->r;
	struct mt_view value = { "", 0 }, name = { "", 0 };
	field(any, 2, &value);
	field(value, 1, &name);
	k = MT_NEW(struct known);
	k->hash = hash;
	k->r.name = fake_intern(name);
	k->r.version = hash;
	if (type == FAKE_CDS)
		read_cluster(&k->r, value);
	if (type == FAKE_LDS) {
		each(value, (const uint32_t[]){ 3, 3, 4, 0 }, add_routes, &k->r);
		each(value, (const uint32_t[]){ 25, 3, 4, 0 }, add_routes, &k->r);
	}
	/* A route whose virtual hosts are resources of their own refers to itself. */
	struct mt_view vhds;
	if (type == FAKE_RDS && field(value, 9, &vhds))
		add_refer(&k->r, name);
	struct known *there;
	pthread_rwlock_wrlock(&lock);
	HASH_FIND(hh, resources, &hash, sizeof(hash), there);
	if (there) {
		mt_free(k->r.refers);
		mt_free(k);
		k = there;
	} else {
		HASH_ADD(hh, resources, hash, sizeof(k->hash), k);
	}
	pthread_rwlock_unlock(&lock);
	return &k->r;
}

void fake_intern_clear(void)
{
	struct known *k, *knext;
	struct text *t, *tnext;
	HASH_ITER (hh, resources, k, knext) {
		HASH_DEL(resources, k);
		mt_free(k->r.refers);
		mt_free(k);
	}
	HASH_ITER (hh, texts, t, tnext) {
		HASH_DEL(texts, t);
		mt_free(t);
	}
}
