/* An open table with linear probing: a verdict is looked up for every resource of a class that is new,
 * so that a look-up has to cost little. */
#include "pilot/push/verdicts.h"

#include <stdio.h>

#include "common/base/hash.h"
#include "common/base/map.h"
#include "common/base/mem.h"

enum { GOOD_MAX = 65536, BAD_MAX = 4096, SLOTS_MIN = 256 };

struct slot {
	uint64_t key; /* of hash and version; 0: free */
	enum push_verdict verdict;
};

struct push_verdicts {
	struct slot *slots;
	size_t size, used;
	struct mt_map *words; /* key in hex -> what a proxy said of what is bad */
	size_t good, bad;
	unsigned epoch;
};

struct push_verdicts *push_verdicts_new(void)
{
	struct push_verdicts *v = MT_NEW(struct push_verdicts);
	v->size = SLOTS_MIN;
	v->slots = mt_alloc(v->size * sizeof(struct slot));
	v->words = mt_map_new();
	return v;
}

void push_verdicts_free(struct push_verdicts *v)
{
	if (!v)
		return;
	mt_map_free(v->words, mt_free);
	mt_free(v->slots);
	mt_free(v);
}

static uint64_t key_of(uint64_t hash, uint32_t envoy)
{
	uint64_t key = mt_hash_mix(hash, envoy);
	return key ? key : 1;
}

/* Where the key is, or would be. */
static size_t find(const struct push_verdicts *v, uint64_t key)
{
	size_t i = key & (v->size - 1);
	while (v->slots[i].key && v->slots[i].key != key)
		i = (i + 1) & (v->size - 1);
	return i;
}

enum push_verdict push_verdict_of(const struct push_verdicts *v, uint64_t hash, uint32_t envoy)
{
	const struct slot *s = &v->slots[find(v, key_of(hash, envoy))];
	return s->key ? s->verdict : PUSH_UNTRIED;
}

static void count(struct push_verdicts *v, enum push_verdict verdict, size_t by)
{
	v->good += verdict == PUSH_GOOD || verdict == PUSH_PASSED ? by : 0;
	v->bad += verdict == PUSH_BAD ? by : 0;
}

static const char *hex(uint64_t key, char buf[17])
{
	mt_hash_hex(key, buf);
	return buf;
}

/* Those behind a freed slot move up, so that each is found from its own place. */
static void remove_at(struct push_verdicts *v, size_t i)
{
	char buf[17];
	size_t mask = v->size - 1;
	count(v, v->slots[i].verdict, (size_t)-1);
	if (v->slots[i].verdict == PUSH_BAD)
		mt_free(mt_map_del(v->words, hex(v->slots[i].key, buf)));
	v->used--;
	for (size_t k = (i + 1) & mask; v->slots[k].key; k = (k + 1) & mask) {
		size_t home = v->slots[k].key & mask;
		if (((k - home) & mask) < ((k - i) & mask))
			continue;
		v->slots[i] = v->slots[k];
		i = k;
	}
	v->slots[i] = (struct slot){ 0 };
}

static void grow(struct push_verdicts *v)
{
	struct slot *old = v->slots;
	size_t n = v->size;
	v->size *= 2;
	v->slots = mt_alloc(v->size * sizeof(struct slot));
	for (size_t i = 0; i < n; i++)
		if (old[i].key)
			v->slots[find(v, old[i].key)] = old[i];
	mt_free(old);
}

void push_verdict_set(
	struct push_verdicts *v, uint64_t hash, uint32_t envoy, enum push_verdict verdict)
{
	uint64_t key = key_of(hash, envoy);
	size_t i = find(v, key);
	if (v->slots[i].key && (verdict == PUSH_UNTRIED || v->slots[i].verdict == PUSH_BAD)) {
		remove_at(v, i);
		i = find(v, key);
	}
	if (verdict == PUSH_UNTRIED)
		return;
	if (v->slots[i].key) {
		count(v, v->slots[i].verdict, (size_t)-1);
	} else {
		if (2 * (v->used + 1) > v->size) {
			grow(v);
			i = find(v, key);
		}
		v->used++;
	}
	v->slots[i] = (struct slot){ key, verdict };
	count(v, verdict, 1);
	v->epoch += verdict == PUSH_BAD;
}

void push_verdict_condemn(struct push_verdicts *v, uint64_t hash, uint32_t envoy, const char *words)
{
	char buf[17];
	push_verdict_set(v, hash, envoy, PUSH_BAD);
	mt_free(mt_map_put(v->words, hex(key_of(hash, envoy), buf), mt_strdup(words)));
}

const char *push_verdict_words(const struct push_verdicts *v, uint64_t hash, uint32_t envoy)
{
	char buf[17];
	const char *words = mt_map_get(v->words, hex(key_of(hash, envoy), buf));
	return words ? words : "";
}

size_t push_verdicts_bad(const struct push_verdicts *v)
{
	return v->bad;
}

unsigned push_verdicts_epoch(const struct push_verdicts *v)
{
	return v->epoch;
}

void push_verdicts_trim(struct push_verdicts *v)
{
	bool good = v->good > GOOD_MAX;
	size_t bad = v->bad > BAD_MAX ? v->bad - BAD_MAX / 2 : 0;
	for (size_t i = 0; (good || bad) && i < v->size;) {
		enum push_verdict was = v->slots[i].key ? v->slots[i].verdict : PUSH_UNTRIED;
		bool drop = (good && (was == PUSH_GOOD || was == PUSH_PASSED)) ||
			(bad && was == PUSH_BAD);
		if (!drop) {
			i++;
			continue;
		}
		bad -= was == PUSH_BAD;
		remove_at(v, i); /* another one may have moved here */
	}
}
