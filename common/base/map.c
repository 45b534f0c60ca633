/* Hash map over uthash. Keys may come from peers, so the hash is seeded once a process with random
 * bytes: nobody outside can choose colliding keys. */
#include "common/base/map.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <xxhash.h>

#include "common/base/mem.h"
#include "common/base/strs.h"

#define uthash_malloc(n) mt_realloc(NULL, (n))
#define uthash_free(p, n) mt_free(p)
#define HASH_FUNCTION(key, len, hashv) ((hashv) = hash_key((key), (len)))
static unsigned hash_key(const void *key, size_t len);
#include <uthash.h>

struct entry {
	UT_hash_handle hh;
	void *value;
	char key[];
};

struct mt_map {
	struct entry *head;
};

static pthread_once_t seed_once = PTHREAD_ONCE_INIT;
static uint64_t seed;

static void seed_init(void)
{
	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != (ssize_t)sizeof(seed))
		seed = (uint64_t)time(NULL) ^ (uint64_t)(uintptr_t)&seed;
}

static unsigned hash_key(const void *key, size_t len)
{
	return (unsigned)XXH3_64bits_withSeed(key, len, seed);
}

struct mt_map *mt_map_new(void)
{
	pthread_once(&seed_once, seed_init);
	return MT_NEW(struct mt_map);
}

void mt_map_free(struct mt_map *m, void (*free_value)(void *))
{
	struct entry *e, *next;

	if (!m)
		return;
	e = m->head;
	HASH_CLEAR(hh, m->head); /* the table only; the entries stay linked */
	for (; e; e = next) {
		next = e->hh.next;
		if (free_value)
			free_value(e->value);
		mt_free(e);
	}
	mt_free(m);
}

static struct entry *find(const struct mt_map *m, const char *key, size_t n)
{
	struct entry *e;

	HASH_FIND(hh, m->head, key, n, e);
	return e;
}

void *mt_map_put(struct mt_map *m, const char *key, void *value)
{
	size_t n = strlen(key);
	struct entry *e = find(m, key, n);
	void *old;

	if (e) {
		old = e->value;
		e->value = value;
		return old;
	}
	e = mt_alloc(sizeof(*e) + n + 1);
	memcpy(e->key, key, n + 1);
	e->value = value;
	HASH_ADD_KEYPTR(hh, m->head, e->key, n, e);
	return NULL;
}

void *mt_map_get(const struct mt_map *m, const char *key)
{
	struct entry *e = m ? find(m, key, strlen(key)) : NULL;

	return e ? e->value : NULL;
}

void *mt_map_del(struct mt_map *m, const char *key)
{
	struct entry *e = m ? find(m, key, strlen(key)) : NULL;
	void *value;

	if (!e)
		return NULL;
	HASH_DEL(m->head, e);
	value = e->value;
	mt_free(e);
	return value;
}

size_t mt_map_size(const struct mt_map *m)
{
	return m ? HASH_COUNT(m->head) : 0;
}

bool mt_map_next(const struct mt_map *m, struct mt_map_it *it)
{
	struct entry *e;

	if (!it->started_) {
		it->started_ = true;
		e = m ? m->head : NULL;
	} else {
		e = it->next_;
	}
	if (!e) {
		it->next_ = NULL;
		return false;
	}
	it->key = e->key;
	it->value = e->value;
	it->next_ = e->hh.next;
	return true;
}

const char **mt_map_sorted_keys(const struct mt_map *m, size_t *ret_n)
{
	size_t n = 0;
	const char **keys = mt_reallocarray(NULL, mt_map_size(m) + 1, sizeof(*keys));

	for (struct mt_map_it it = { 0 }; mt_map_next(m, &it);)
		keys[n++] = it.key;
	keys[n] = NULL;
	qsort(keys, n, sizeof(*keys), mt_strcmpp);
	*ret_n = n;
	return keys;
}
