/* What a discovery server says and in which order, both variants. */
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "tests/unit/unit.h"
#include "tests/unit/xds/bed.h"

static void base(struct bed *b)
{
	bed_set(b, FAKE_CDS, "a=1 b=1 d:x=1");
	bed_set(b, FAKE_EDS, "a=1 b=1");
	bed_set(b, FAKE_LDS, "l=1>r");
	bed_set(b, FAKE_RDS, "r=1");
	bed_publish(b);
}

static void expect_log(struct fake_envoy *e, const char *want)
{
	char *log = fake_log(e);
	ck_assert_str_eq(log, want);
	mt_free(log);
}

static void first_config(bool delta)
{
	struct bed *b = bed_new(NULL);
	base(b);
	struct fake_envoy *e = bed_envoy(b, delta);
	ck_assert(bed_wait_synced(b, 1));
	expect_log(e, "CDS +a +b +d:x EDS +a +b LDS +l RDS +r");

	/* Nothing new: nothing is said. */
	bed_publish(b);
	ck_assert(bed_wait_synced(b, 1));
	expect_log(e, "");

	struct mt_xds_sub *s = bed_sub(b, 0);
	struct mt_xds_status st;
	mt_xds_sub_status(s, FAKE_RDS, &st);
	ck_assert(st.subscribed && st.sent_id == b->id && st.acked_id == b->id && st.pushes == 1);
	ck_assert_uint_gt(st.sent_bytes, 10);
	ck_assert(mt_xds_sub_delta(s) == delta);
	ck_assert_str_eq(
		mt_xds_sub_node(s)->id, "sidecar~127.16.0.9~a.default~default.svc.cluster.local");
	mt_xds_sub_unref(s);
	fake_envoy_free(e);
	ck_assert(bed_wait_detached(b, 1));
	bed_free(b);
}

START_TEST(first_config_sotw)
{
	first_config(false);
}
END_TEST

START_TEST(first_config_delta)
{
	first_config(true);
}
END_TEST

static void small_changes(bool delta)
{
	struct bed *b = bed_new(NULL);
	base(b);
	struct fake_envoy *e = bed_envoy(b, delta);
	ck_assert(bed_wait_synced(b, 1));
	mt_free(fake_log(e));

	bed_set(b, FAKE_EDS, "a=1 b=2");
	bed_publish(b);
	ck_assert(bed_wait_synced(b, 1));
	expect_log(e, "EDS +b");

	bed_set(b, FAKE_RDS, "r=2 other=1");
	bed_publish(b);
	ck_assert(bed_wait_synced(b, 1));
	expect_log(e, "RDS +r");

	/* A changed cluster warms until its endpoints come again. */
	bed_set(b, FAKE_CDS, "a=2 b=1 d:x=1");
	bed_publish(b);
	ck_assert(bed_wait_synced(b, 1));
	expect_log(e, delta ? "CDS +a EDS +a" : "CDS +a +b +d:x EDS +a");
	ck_assert(!fake_warming(e));
	fake_envoy_free(e);
	bed_free(b);
}

START_TEST(small_changes_sotw)
{
	small_changes(false);
}
END_TEST

START_TEST(small_changes_delta)
{
	small_changes(true);
}
END_TEST

/* Virtual hosts as resources of their own: after their table, again with it, one for one change. */
START_TEST(virtual_hosts)
{
	struct bed *b = bed_new(NULL);
	bed_set(b, FAKE_CDS, "a=1 c=1");
	bed_set(b, FAKE_EDS, "a=1 c=1");
	bed_set(b, FAKE_LDS, "l=1>r");
	bed_set(b, FAKE_RDS, "r=/1 r2=/1");
	bed_set(b, FAKE_VHDS, "r/x=1 r/y=1 r2/x=1");
	bed_publish(b);
	struct fake_envoy *e = bed_envoy(b, true);
	/* It may be in step for a moment before it asks for them. */
	ck_assert(fake_wait_count(e, FAKE_VHDS, 2));
	ck_assert(bed_wait_synced(b, 1));
	expect_log(e, "CDS +a +c EDS +a +c LDS +l RDS +r VHDS +r/x +r/y +r2/x");
	ck_assert_uint_eq(fake_count(e, FAKE_VHDS), 2); /* r2 is not its table */

	bed_set(b, FAKE_VHDS, "r/x=1 r/y=2 r/z=1 r2/x=1");
	bed_publish(b);
	ck_assert(bed_wait_synced(b, 1));
	expect_log(e, "VHDS +r/y +r/z");

	/* A table that comes later finds its hosts, although they were said before it. */
	bed_set(b, FAKE_LDS, "l=1>r,r2");
	bed_publish(b);
	ck_assert(fake_wait_count(e, FAKE_VHDS, 4));
	ck_assert(bed_wait_synced(b, 1));
	expect_log(e, "LDS +l RDS +r2 VHDS +r2/x");

	/* A new cluster first, then the host that routes to it. */
	bed_set(b, FAKE_CDS, "a=1 b=1 c=1");
	bed_set(b, FAKE_EDS, "a=1 b=1 c=1");
	bed_set(b, FAKE_VHDS, "r/x=b r/z=1 r2/x=1");
	bed_publish(b);
	ck_assert(bed_wait_synced(b, 1));
	expect_log(e, "CDS +b EDS +b VHDS +r/x -r/y");

	/* A reconnect repeats nothing; a changed table brings its hosts again, after it. */
	fake_envoy_disconnect(e);
	bed_set(b, FAKE_RDS, "r=/2 r2=/1");
	bed_publish(b);
	mt_free(fake_log(e));
	fake_envoy_connect(e);
	ck_assert(fake_wait_log(e, "VHDS"));
	ck_assert(bed_wait_synced(b, 1));
	char *log = fake_log(e);
	ck_assert_msg(strstr(log, "RDS +r VHDS +r/x +r/z") != NULL, "%s", log);
	ck_assert_msg(strstr(log, "r2/x") == NULL, "%s", log);
	mt_free(log);
	fake_envoy_free(e);
	bed_free(b);
}
END_TEST

static void make_before_break(bool delta)
{
	struct bed *b = bed_new(NULL);
	base(b);
	struct fake_envoy *e = bed_envoy(b, delta);
	ck_assert(bed_wait_synced(b, 1));
	mt_free(fake_log(e));

	bed_set(b, FAKE_CDS, "a=1 c=1 d:x=1");
	bed_set(b, FAKE_EDS, "a=1 c=1");
	bed_set(b, FAKE_LDS, "l=2>r,s");
	bed_set(b, FAKE_RDS, "r=2 s=1");
	bed_publish(b);
	ck_assert(bed_wait_synced(b, 1));
	expect_log(e,
		delta ? "CDS +c EDS +c LDS +l RDS +r RDS +s CDS -b"
		      : "CDS +a +b +c +d:x EDS +c LDS +l RDS +r RDS +s CDS +a +c +d:x");
	ck_assert(!fake_has(e, FAKE_CDS, "b"));
	ck_assert_uint_eq(fake_count(e, FAKE_EDS), 2);

	/* Everything goes: listeners first. */
	for (int i = 0; i < FAKE_TYPES; i++)
		bed_set(b, i, "");
	bed_publish(b);
	ck_assert(bed_wait_synced(b, 1));
	ck_assert_uint_eq(fake_count(e, FAKE_CDS), 0);
	ck_assert_uint_eq(fake_count(e, FAKE_LDS), 0);
	char *log = fake_log(e);
	const char *lds = strstr(log, "LDS"), *cds = strstr(log, "CDS");
	ck_assert(lds && cds && lds < cds);
	mt_free(log);
	fake_envoy_free(e);
	bed_free(b);
}

START_TEST(make_before_break_sotw)
{
	make_before_break(false);
}
END_TEST

START_TEST(make_before_break_delta)
{
	make_before_break(true);
}
END_TEST

/* A proxy that acknowledges a listener only when its routes are there gets them. */
static void no_deadlock(bool delta)
{
	struct bed *b = bed_new(NULL);
	base(b);
	struct fake_envoy *e =
		bed_envoy_with(b, (struct fake_opts){ .delta = delta, .lds_after_rds = true });
	ck_assert(bed_wait_synced(b, 1));
	bed_set(b, FAKE_LDS, "l=2>r,s m=1>t");
	bed_set(b, FAKE_RDS, "r=2 s=1 t=1");
	bed_set(b, FAKE_CDS, "a=2 b=2 c=1");
	bed_set(b, FAKE_EDS, "a=1 b=1 c=1");
	bed_publish(b);
	ck_assert(bed_wait_synced(b, 1));
	ck_assert_uint_eq(fake_count(e, FAKE_RDS), 3);
	fake_envoy_free(e);
	bed_free(b);
}

START_TEST(no_deadlock_sotw)
{
	no_deadlock(false);
}
END_TEST

START_TEST(no_deadlock_delta)
{
	no_deadlock(true);
}
END_TEST

/* ---- rejections ---- */

static const char *judge_b2(void *ctx, struct fake_envoy *e, const struct fake_response *r)
{
	const unsigned *refusing = ctx;
	(void)e;
	return r->type == FAKE_CDS && *refusing ? "no such thing\nas b" : NULL;
}

static void rejection(bool delta)
{
	struct bed *b = bed_new(NULL);
	unsigned refusing = 0;
	base(b);
	struct fake_envoy *e = bed_envoy_with(
		b, (struct fake_opts){ .delta = delta, .judge = judge_b2, .ctx = &refusing });
	ck_assert(bed_wait_synced(b, 1));
	mt_free(fake_log(e));

	/* Clusters are rejected; listeners and routes go on. */
	refusing = 1;
	bed_set(b, FAKE_CDS, "a=1 b=2 c=1");
	bed_set(b, FAKE_EDS, "a=1 b=1 c=1");
	bed_set(b, FAKE_RDS, "r=2");
	bed_publish(b);
	ck_assert(bed_wait_nacks(b, 1));
	ck_assert(fake_wait_log(e, "RDS +r"));
	ck_assert_int_eq(b->nack_type, FAKE_CDS);
	ck_assert_uint_eq(b->nack_id, b->id);
	ck_assert_str_eq(b->nack, "no such thing as b");
	struct mt_xds_sub *s = bed_sub(b, 0);
	struct mt_xds_status st;
	char words[64];
	mt_xds_sub_status(s, FAKE_CDS, &st);
	ck_assert(st.nacked && st.nacks == 1 && st.acked_id == b->id - 1);
	mt_xds_sub_nack(s, FAKE_CDS, words, sizeof(words));
	ck_assert_str_eq(words, "no such thing as b");

	/* The same content is not said again, however often it is published. */
	unsigned before = fake_responses(e, FAKE_CDS);
	bed_publish(b);
	bed_set(b, FAKE_RDS, "r=3");
	bed_publish(b);
	ck_assert(fake_wait_log(e, "RDS +r RDS +r"));
	ck_assert_uint_eq(fake_responses(e, FAKE_CDS), before);
	mt_free(fake_log(e));

	/* The next one says everything; what the peer may hold besides is removed. */
	refusing = 0;
	bed_set(b, FAKE_CDS, "a=1 b=1");
	bed_publish(b);
	ck_assert(bed_wait_synced(b, 1));
	char *log = fake_log(e);
	ck_assert_ptr_nonnull(strstr(log, delta ? "CDS +a +b -c -d:x" : "CDS +a +b"));
	mt_free(log);
	mt_xds_sub_status(s, FAKE_CDS, &st);
	ck_assert(!st.nacked && st.acked_id == b->id);
	mt_xds_sub_nack(s, FAKE_CDS, words, sizeof(words));
	ck_assert_str_eq(words, "");
	mt_xds_sub_unref(s);
	fake_envoy_free(e);
	bed_free(b);
}

START_TEST(rejection_sotw)
{
	rejection(false);
}
END_TEST

START_TEST(rejection_delta)
{
	rejection(true);
}
END_TEST

/* ---- reconnecting ---- */

START_TEST(reconnect_sends_the_difference)
{
	struct bed *b = bed_new(NULL);
	base(b);
	struct fake_envoy *e = bed_envoy(b, true);
	ck_assert(bed_wait_synced(b, 1));
	fake_envoy_disconnect(e);
	ck_assert(bed_wait_detached(b, 1));
	mt_free(fake_log(e));

	/* Nothing changed: empty answers. */
	fake_envoy_connect(e);
	ck_assert(bed_wait_attached(b, 2));
	ck_assert(bed_wait_synced(b, 1));
	expect_log(e, "CDS EDS LDS RDS");

	/* Changed while it was away: what differs, and what went is removed last. */
	fake_envoy_disconnect(e);
	ck_assert(bed_wait_detached(b, 2));
	mt_free(fake_log(e));
	bed_set(b, FAKE_CDS, "a=1 c=1 d:x=1");
	bed_set(b, FAKE_EDS, "a=2 c=1");
	bed_set(b, FAKE_RDS, "r=2");
	bed_publish(b);
	fake_envoy_connect(e);
	ck_assert(bed_wait_synced(b, 1));
	char *log = fake_log(e);
	ck_assert_str_eq(log, "CDS +c EDS +a -b EDS +c LDS RDS +r CDS -b");
	mt_free(log);
	ck_assert_uint_eq(fake_count(e, FAKE_CDS), 3);

	/* A cluster that changed meanwhile gets its endpoints, although those are held already. */
	fake_envoy_disconnect(e);
	mt_free(fake_log(e));
	bed_set(b, FAKE_CDS, "a=2 c=1 d:x=1");
	bed_publish(b);
	fake_envoy_connect(e);
	ck_assert(bed_wait_synced(b, 1));
	expect_log(e, "CDS +a EDS +a LDS RDS");
	ck_assert(!fake_warming(e));
	fake_envoy_free(e);
	bed_free(b);
}
END_TEST

START_TEST(reconnect_sotw)
{
	struct bed *b = bed_new(NULL);
	base(b);
	struct fake_envoy *e = bed_envoy(b, false);
	ck_assert(bed_wait_synced(b, 1));
	fake_envoy_disconnect(e);
	bed_set(b, FAKE_CDS, "a=1");
	bed_set(b, FAKE_EDS, "a=1");
	bed_publish(b);
	fake_envoy_connect(e);
	ck_assert(bed_wait_synced(b, 1));
	ck_assert_uint_eq(fake_count(e, FAKE_CDS), 1);
	fake_envoy_free(e);
	bed_free(b);
}
END_TEST

MT_UNIT(xds_server, virtual_hosts, first_config_sotw, first_config_delta, small_changes_sotw,
	small_changes_delta, make_before_break_sotw, make_before_break_delta, no_deadlock_sotw,
	no_deadlock_delta, rejection_sotw, rejection_delta, reconnect_sends_the_difference,
	reconnect_sotw)
