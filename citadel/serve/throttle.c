#include "citadel/serve/throttle.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"

enum { PLACES = 4096, WAYS = 4, BURST_S = 4 };

struct bucket {
	uint64_t who;  /* hash of the address; 0: empty */
	int64_t at_ns; /* when level was right */
	double level;
};

struct citadel_throttle {
	double rate, most;
	const struct mt_clock *clock;
	pthread_mutex_t lock;
	struct bucket v[PLACES];
};

struct citadel_throttle *citadel_throttle_new(int64_t rate, const struct mt_clock *clock)
{
	struct citadel_throttle *t = MT_NEW(struct citadel_throttle);

	t->rate = (double)rate;
	t->most = (double)rate * BURST_S;
	t->clock = clock;
	pthread_mutex_init(&t->lock, NULL);
	return t;
}

void citadel_throttle_free(struct citadel_throttle *t)
{
	if (!t)
		return;
	pthread_mutex_destroy(&t->lock);
	mt_free(t);
}

static struct bucket *place(struct citadel_throttle *t, uint64_t who, int64_t now)
{
	struct bucket *set = &t->v[(who % (PLACES / WAYS)) * WAYS], *oldest = set;

	for (int i = 0; i < WAYS; i++) {
		if (set[i].who == who)
			return &set[i];
		if (set[i].at_ns < oldest->at_ns)
			oldest = &set[i];
	}
	*oldest = (struct bucket){ .who = who, .at_ns = now, .level = t->most };
	return oldest;
}

bool citadel_throttle_take(struct citadel_throttle *t, const char *addr, unsigned n)
{
	uint64_t who = mt_hash_str(addr) | 1;
	int64_t now = mt_mono(t->clock);
	struct bucket *b;
	bool ok;

	if (t->rate <= 0)
		return true;
	pthread_mutex_lock(&t->lock);
	b = place(t, who, now);
	b->level = MT_MIN(t->most, b->level + t->rate * (double)(now - b->at_ns) / MT_NS_PER_SEC);
	b->at_ns = now;
	ok = b->level >= 1;
	if (ok)
		b->level -= n;
	pthread_mutex_unlock(&t->lock);
	return ok;
}

void citadel_addr_host(const char *peer, char *buf, size_t n)
{
	const char *colon = strrchr(peer, ':');
	const char *scheme = strchr(peer, ':');
	size_t len = colon && colon != scheme ? (size_t)(colon - peer) : strlen(peer);

	snprintf(buf, n, "%.*s", (int)MT_MIN(len, n - 1), peer);
}
