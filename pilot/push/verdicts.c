#include "pilot/push/verdicts.h"

#include <stdio.h>

#include "common/base/map.h"
#include "common/base/mem.h"

enum { GOOD_MAX = 4096, BAD_MAX = 4096 };

struct push_verdicts {
	struct mt_map *map;   /* "hash version" -> enum push_verdict */
	struct mt_map *words; /* likewise, of what is bad */
	size_t good, bad;
};

struct push_verdicts *push_verdicts_new(void)
{
	struct push_verdicts *v = MT_NEW(struct push_verdicts);
	v->map = mt_map_new();
	v->words = mt_map_new();
	return v;
}

void push_verdicts_free(struct push_verdicts *v)
{
	if (!v)
		return;
	mt_map_free(v->map, NULL);
	mt_map_free(v->words, mt_free);
	mt_free(v);
}

enum { KEY_MAX = 64 };
static void key_of(char key[KEY_MAX], uint64_t hash, const char *envoy)
{
	snprintf(key, KEY_MAX, "%016llx %s", (unsigned long long)hash, envoy);
}

enum push_verdict push_verdict_of(const struct push_verdicts *v, uint64_t hash, const char *envoy)
{
	char key[KEY_MAX];
	key_of(key, hash, envoy);
	return (enum push_verdict)(uintptr_t)mt_map_get(v->map, key);
}

static void forget(struct push_verdicts *v, const char *key)
{
	uintptr_t was = (uintptr_t)mt_map_del(v->map, key);
	v->good -= was == PUSH_GOOD;
	if (was != PUSH_BAD)
		return;
	v->bad--;
	mt_free(mt_map_del(v->words, key));
}

void push_verdict_set(
	struct push_verdicts *v, uint64_t hash, const char *envoy, enum push_verdict verdict)
{
	char key[KEY_MAX];
	key_of(key, hash, envoy);
	forget(v, key);
	if (verdict == PUSH_UNTRIED)
		return;
	mt_map_put(v->map, key, (void *)(uintptr_t)verdict);
	v->good += verdict == PUSH_GOOD;
	v->bad += verdict == PUSH_BAD;
}

void push_verdict_condemn(
	struct push_verdicts *v, uint64_t hash, const char *envoy, const char *words)
{
	char key[KEY_MAX];
	push_verdict_set(v, hash, envoy, PUSH_BAD);
	key_of(key, hash, envoy);
	mt_map_put(v->words, key, mt_strdup(words));
}

const char *push_verdict_words(const struct push_verdicts *v, uint64_t hash, const char *envoy)
{
	char key[KEY_MAX];
	key_of(key, hash, envoy);
	const char *words = mt_map_get(v->words, key);
	return words ? words : "";
}

size_t push_verdicts_bad(const struct push_verdicts *v)
{
	return v->bad;
}

static void drop(struct push_verdicts *v, enum push_verdict what, size_t down_to)
{
	size_t *n = what == PUSH_GOOD ? &v->good : &v->bad;
	for (struct mt_map_it it = { 0 }; *n > down_to && mt_map_next(v->map, &it);)
		if ((uintptr_t)it.value == (uintptr_t)what)
			forget(v, it.key);
}

void push_verdicts_trim(struct push_verdicts *v)
{
	if (v->good > GOOD_MAX)
		drop(v, PUSH_GOOD, 0);
	if (v->bad > BAD_MAX)
		drop(v, PUSH_BAD, BAD_MAX / 2);
}
