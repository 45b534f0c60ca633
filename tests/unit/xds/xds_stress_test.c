/* Many, fast, slow, silent: what must hold whatever the peers do. */
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "tests/unit/unit.h"
#include "tests/unit/xds/bed.h"

static void base(struct bed *b)
{
	bed_set(b, FAKE_CDS, "a=1 b=1");
	bed_set(b, FAKE_EDS, "a=1 b=1");
	bed_set(b, FAKE_LDS, "l=1>r");
	bed_set(b, FAKE_RDS, "r=1");
	bed_publish(b);
}

/* ---- coalescing ---- */

static void rapid(bool delta)
{
	struct bed *b = bed_new(NULL);
	base(b);
	struct fake_envoy *e = bed_envoy(b, delta);
	ck_assert(bed_wait_synced(b, 1));
	char words[64];
	for (int i = 2; i < 300; i++) {
		snprintf(words, sizeof(words), "a=%d b=1", i);
		bed_set(b, i % 2 ? FAKE_CDS : FAKE_EDS, words);
		snprintf(words, sizeof(words), "r=%d", i);
		bed_set(b, FAKE_RDS, words);
		bed_publish(b);
	}
	ck_assert(bed_wait_synced(b, 1));
	char have[24], want[24];
	for (int t = 0; t < FAKE_VHDS; t++) {
		struct mt_res *r = mt_set_at(b->sets[t], 0);
		fake_version(e, t, r->name, have);
		snprintf(want, sizeof(want), "%016llx", (unsigned long long)r->hash);
		ck_assert_str_eq(have, want);
	}
	fake_envoy_free(e);
	bed_free(b);
}

START_TEST(rapid_sotw)
{
	rapid(false);
}
END_TEST

START_TEST(rapid_delta)
{
	rapid(true);
}
END_TEST

/* Routes are not starved by clusters that change with every publish. */
static bool many_routes(struct fake_envoy *e, void *arg)
{
	return fake_responses(e, FAKE_RDS) >= *(unsigned *)arg;
}

START_TEST(no_starvation)
{
	struct bed *b = bed_new(NULL);
	base(b);
	struct fake_envoy *e = bed_envoy(b, true);
	ck_assert(bed_wait_synced(b, 1));
	char words[64];
	unsigned routes = 10;
	int i = 2;
	for (; i < 100000 && !many_routes(e, &routes); i++) {
		snprintf(words, sizeof(words), "a=%d b=%d", i, i);
		bed_set(b, FAKE_CDS, words);
		snprintf(words, sizeof(words), "r=%d", i);
		bed_set(b, FAKE_RDS, words);
		bed_publish(b);
	}
	ck_assert(many_routes(e, &routes));
	ck_assert(bed_wait_synced(b, 1));
	fake_envoy_free(e);
	bed_free(b);
}
END_TEST

/* ---- time ---- */

static const char *silent_clusters(void *ctx, struct fake_envoy *e, const struct fake_response *r)
{
	(void)ctx;
	(void)e;
	(void)r;
	return NULL;
}

START_TEST(who_never_acknowledges_is_served)
{
	struct bed *b = bed_new(NULL);
	base(b);
	struct fake_envoy *e = bed_envoy_with(
		b, (struct fake_opts){ .delta = true, .manual = true, .judge = silent_clusters });
	fake_send(e, &(struct fake_request){ .type = FAKE_CDS });
	fake_send(e, &(struct fake_request){ .type = FAKE_LDS });
	ck_assert(fake_wait_log(e, "CDS +a +b"));
	ck_assert_uint_eq(fake_responses(e, FAKE_LDS), 0);
	mt_test_clock_advance(&b->clock, 21 * MT_NS_PER_SEC);
	ck_assert(fake_wait_log(e, "LDS +l"));
	/* And newer clusters come, although the older ones were never answered. */
	bed_set(b, FAKE_CDS, "a=2 b=1");
	bed_publish(b);
	ck_assert(fake_wait_log(e, "LDS +l CDS +a"));
	fake_envoy_free(e);
	bed_free(b);
}
END_TEST

START_TEST(removals_wait_for_the_grace)
{
	struct bed *b = bed_new(&(struct bed_opts){ .removal_grace_ns = 5 * MT_NS_PER_SEC });
	base(b);
	struct fake_envoy *e = bed_envoy(b, true);
	ck_assert(bed_wait_synced(b, 1));
	mt_free(fake_log(e));
	bed_set(b, FAKE_CDS, "a=1");
	bed_set(b, FAKE_EDS, "a=1");
	bed_set(b, FAKE_RDS, "r=2");
	bed_publish(b);
	ck_assert(fake_wait_log(e, "RDS +r"));
	mt_test_clock_advance(&b->clock, 4 * MT_NS_PER_SEC);
	/* Something that is answered after that shows that nothing was removed. */
	bed_set(b, FAKE_EDS, "a=2");
	bed_publish(b);
	ck_assert(fake_wait_log(e, "RDS +r EDS +a"));
	ck_assert(fake_has(e, FAKE_CDS, "b"));
	for (int i = 0; i < 3 && fake_has(e, FAKE_CDS, "b"); i++) {
		mt_test_clock_advance(&b->clock, 6 * MT_NS_PER_SEC);
		fake_wait_count(e, FAKE_CDS, 1);
	}
	ck_assert(bed_wait_synced(b, 1));
	ck_assert(!fake_has(e, FAKE_CDS, "b"));
	fake_envoy_free(e);
	bed_free(b);
}
END_TEST

/* What a reconnecting proxy holds and nobody has any more comes back while its removal waits, and
 * goes again: its name is in the step and among the stale ones, and is said once. */
START_TEST(gone_and_back_and_gone)
{
	struct bed *b = bed_new(&(struct bed_opts){ .removal_grace_ns = 5 * MT_NS_PER_SEC });
	base(b);
	struct fake_envoy *e = bed_envoy(b, true);
	ck_assert(bed_wait_synced(b, 1));
	fake_envoy_disconnect(e);
	ck_assert(bed_wait_detached(b, 1));
	mt_free(fake_log(e));
	bed_set(b, FAKE_CDS, "a=1");
	bed_set(b, FAKE_EDS, "a=1");
	bed_publish(b);
	fake_envoy_connect(e);
	ck_assert(fake_wait_log(e, "RDS"));
	bed_set(b, FAKE_CDS, "a=1 b=2");
	bed_set(b, FAKE_EDS, "a=1 b=2");
	bed_publish(b);
	ck_assert(fake_wait_log(e, "EDS +b"));
	bed_set(b, FAKE_CDS, "a=1");
	bed_set(b, FAKE_EDS, "a=1");
	bed_set(b, FAKE_RDS, "r=2");
	bed_publish(b);
	ck_assert(fake_wait_log(e, "RDS +r"));
	for (int i = 0; i < 3 && fake_has(e, FAKE_CDS, "b"); i++) {
		mt_test_clock_advance(&b->clock, 6 * MT_NS_PER_SEC);
		fake_wait_count(e, FAKE_CDS, 1);
	}
	ck_assert(bed_wait_synced(b, 1));
	ck_assert(!fake_has(e, FAKE_CDS, "b"));
	ck_assert_uint_eq(b->nacks, 0);
	fake_envoy_free(e);
	bed_free(b);
}
END_TEST

/* ---- many ---- */

enum { STORM = 200 };

static void storm(bool delta)
{
	struct bed *b = bed_new(NULL);
	struct fake_envoy *e[STORM];
	base(b);
	for (int i = 0; i < STORM; i++)
		e[i] = bed_envoy_with(b, (struct fake_opts){ .delta = delta, .quiet = true });
	ck_assert(bed_wait_synced(b, STORM));
	for (int i = 0; i < STORM; i++)
		fake_envoy_disconnect(e[i]);
	ck_assert(bed_wait_detached(b, STORM));
	bed_set(b, FAKE_CDS, "a=1 b=2 c=1");
	bed_set(b, FAKE_EDS, "a=1 b=1 c=1");
	bed_publish(b);
	for (int i = 0; i < STORM; i++) {
		fake_envoy_connect(e[i]);
		if (i % 20 == 10) {
			char words[32];
			snprintf(words, sizeof(words), "r=%d", i);
			bed_set(b, FAKE_RDS, words);
			bed_publish(b);
		}
	}
	ck_assert(bed_wait_synced(b, STORM));
	for (int i = 0; i < STORM; i++) {
		ck_assert_uint_eq(fake_count(e[i], FAKE_CDS), 3);
		ck_assert_uint_eq(fake_count(e[i], FAKE_EDS), 3);
	}
	/* Ended while publishing goes on. */
	for (int i = 0; i < STORM; i++) {
		if (i % 10 == 0)
			bed_publish(b);
		fake_envoy_free(e[i]);
	}
	ck_assert(bed_wait_detached(b, 2 * STORM));
	bed_free(b);
}

START_TEST(storm_sotw)
{
	storm(false);
}
END_TEST

START_TEST(storm_delta)
{
	storm(true);
}
END_TEST

/* A reader that is held up gets the newest state, not all that happened meanwhile. */
struct brake {
	pthread_mutex_t mu;
	bool on;
};

static const char *held_up(void *ctx, struct fake_envoy *e, const struct fake_response *r)
{
	struct brake *k = ctx;
	(void)e;
	(void)r;
	pthread_mutex_lock(&k->mu); /* the test holds it: this thread reads no more */
	pthread_mutex_unlock(&k->mu);
	return NULL;
}

START_TEST(slow_reader)
{
	struct bed *b = bed_new(NULL);
	struct brake k = { PTHREAD_MUTEX_INITIALIZER, false };
	MT_VEC(char) big = { 0 };
	char word[40];
	base(b);
	struct mt_rpc_env *env = mt_rpc_env_new(1); /* a thread of its own, that stops */
	struct mt_rpc_channel *ch;
	struct mt_err err;
	char target[64];
	snprintf(target, sizeof(target), "127.16.0.1:%u", mt_rpc_server_port(b->rpc, 0));
	ck_assert_int_eq(
		mt_rpc_channel_new(env, target, &(struct mt_rpc_channel_opts){ 0 }, &ch, &err), 0);
	struct fake_envoy *e = fake_envoy_new(&(struct fake_opts){
		.channel = ch, .delta = true, .id = "slow", .judge = held_up, .ctx = &k });
	ck_assert(bed_wait_synced(b, 1));
	pthread_mutex_lock(&k.mu);
	for (int round = 0; round < 40; round++) {
		big.n = 0;
		for (int i = 0; i < 2000; i++) {
			int n = snprintf(word, sizeof(word), "%sd:x%d=%d", i ? " " : "", i, round);
			for (int c = 0; c < n; c++)
				mt_vec_push(&big, word[c]);
		}
		mt_vec_push(&big, '\0');
		bed_set(b, FAKE_CDS, big.v);
		bed_publish(b);
	}
	unsigned before = fake_responses(e, FAKE_CDS);
	pthread_mutex_unlock(&k.mu);
	ck_assert(fake_wait_count(e, FAKE_CDS, 2000));
	ck_assert_uint_lt(fake_responses(e, FAKE_CDS), before + 12);
	fake_envoy_free(e);
	ck_assert(bed_wait_detached(b, 1));
	mt_rpc_channel_free(ch);
	mt_rpc_env_free(env);
	mt_vec_clear(&big);
	bed_free(b);
}
END_TEST

MT_UNIT(xds_stress, rapid_sotw, rapid_delta, no_starvation, who_never_acknowledges_is_served,
	removals_wait_for_the_grace, gone_and_back_and_gone, storm_sotw, storm_delta, slow_reader)
