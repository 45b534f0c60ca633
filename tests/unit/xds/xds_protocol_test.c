/* Requests by hand: nonces, subscriptions, what is malformed, limits. */
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/run/metrics.h"
#include "common/xds/wire.h"
#include "tests/unit/unit.h"
#include "tests/unit/xds/bed.h"

#define ADD(...)                                                                                   \
	.add = (const char *const[]){ __VA_ARGS__ },                                               \
	.nadd = MT_ARRAY_SIZE(((const char *const[]){ __VA_ARGS__ }))
#define DEL(...)                                                                                   \
	.del = (const char *const[]){ __VA_ARGS__ },                                               \
	.ndel = MT_ARRAY_SIZE(((const char *const[]){ __VA_ARGS__ }))
#define SEND(e, ...) fake_send((e), &(struct fake_request){ __VA_ARGS__ })

static struct bed *served(const struct bed_opts *o)
{
	struct bed *b = bed_new(o);
	bed_set(b, FAKE_CDS, "a=1 b=1 c=1");
	bed_set(b, FAKE_EDS, "a=1 b=1 c=1");
	bed_set(b, FAKE_LDS, "l=1>r");
	bed_set(b, FAKE_RDS, "r=1 s=1");
	bed_publish(b);
	return b;
}

static struct fake_envoy *by_hand(struct bed *b, bool delta)
{
	return bed_envoy_with(b, (struct fake_opts){ .delta = delta, .manual = true });
}

static void expect(struct fake_envoy *e, const char *want)
{
	ck_assert_msg(fake_wait_log(e, want), "no \"%s\" in \"%s\"", want, fake_log(e));
	char *log = fake_log(e);
	ck_assert_str_eq(log, want);
	mt_free(log);
}

START_TEST(delta_names)
{
	struct bed *b = served(NULL);
	struct fake_envoy *e = by_hand(b, true);
	/* What does not exist is answered as removed. */
	SEND(e, FAKE_EDS, ADD("b", "nobody"));
	expect(e, "EDS +b -nobody");
	SEND(e, FAKE_EDS, .nonce = "");
	/* Another name, one again, one less. */
	SEND(e, FAKE_EDS, ADD("a", "b"));
	expect(e, "EDS +a +b");
	SEND(e, FAKE_EDS, .nonce = "", DEL("b"));
	SEND(e, FAKE_RDS, ADD("s")); /* answered after what was said before */
	expect(e, "RDS +s");
	bed_set(b, FAKE_EDS, "a=2 b=2 c=2 nobody=2");
	bed_publish(b);
	expect(e, "EDS +a +nobody");
	SEND(e, FAKE_EDS, .nonce = "");
	/* Unsubscribed and subscribed again. */
	SEND(e, FAKE_EDS, DEL("a"));
	SEND(e, FAKE_EDS, ADD("a"));
	expect(e, "EDS +a");
	SEND(e, FAKE_EDS, .nonce = "");
	/* What goes away. */
	bed_set(b, FAKE_EDS, "a=2");
	bed_publish(b);
	expect(e, "EDS -nobody");
	fake_envoy_free(e);
	bed_free(b);
}
END_TEST

START_TEST(delta_wildcards)
{
	struct bed *b = served(NULL);
	struct fake_envoy *e = by_hand(b, true);
	/* By name first, then everything, then by name again. */
	SEND(e, FAKE_CDS, ADD("b"));
	expect(e, "CDS +b");
	SEND(e, FAKE_CDS, .nonce = "");
	SEND(e, FAKE_CDS, ADD("*"));
	expect(e, "CDS +a +b +c");
	SEND(e, FAKE_CDS, .nonce = "");
	SEND(e, FAKE_CDS, DEL("*"));
	SEND(e, FAKE_EDS, ADD("a")); /* answered after what was said before */
	expect(e, "EDS +a");
	SEND(e, FAKE_EDS, .nonce = "");
	bed_set(b, FAKE_CDS, "a=2 b=2 c=2");
	bed_publish(b);
	expect(e, "CDS +b");
	SEND(e, FAKE_CDS, .nonce = "");
	/* A type that knows no wildcard by an empty list. */
	SEND(e, FAKE_RDS, .nonce = NULL);
	expect(e, "RDS");
	fake_envoy_free(e);
	bed_free(b);
}
END_TEST

START_TEST(delta_stale_nonces)
{
	struct bed *b = served(NULL);
	struct fake_envoy *e = by_hand(b, true);
	SEND(e, FAKE_EDS, ADD("a"));
	expect(e, "EDS +a");
	/* Nonces that were never given, or of another type, acknowledge nothing. */
	SEND(e, FAKE_EDS, .nonce = "999");
	SEND(e, FAKE_EDS, .nonce = "x1");
	SEND(e, FAKE_EDS, .nonce = "99999999999999999999999", .reject = "no");
	SEND(e, FAKE_EDS, .nonce = "1", .reject = "no");
	ck_assert(bed_wait_nacks(b, 1));
	/* A rejection counts once. */
	SEND(e, FAKE_EDS, .nonce = "1", .reject = "again");
	bed_set(b, FAKE_EDS, "a=2");
	bed_publish(b);
	expect(e, "EDS +a");
	ck_assert_uint_eq(b->nacks, 1);
	fake_envoy_free(e);
	bed_free(b);
}
END_TEST

START_TEST(sotw_names_and_nonces)
{
	struct bed *b = served(NULL);
	struct fake_envoy *e = by_hand(b, false);
	SEND(e, FAKE_EDS, ADD("b", "nobody"));
	expect(e, "EDS +b");
	/* The same names in another order, then one more with an old nonce, then with the last. */
	SEND(e, FAKE_EDS, ADD("nobody", "b"), .nonce = "");
	SEND(e, FAKE_EDS, ADD("nobody", "b", "c"), .nonce = "77");
	SEND(e, FAKE_EDS, ADD("nobody", "b", "a"), .nonce = "");
	expect(e, "EDS +a");
	SEND(e, FAKE_EDS, ADD("nobody", "b", "a"), .nonce = "");
	SEND(e, FAKE_RDS, ADD("s"));
	expect(e, "RDS +s");
	/* Only what changed; what is not there is absent. */
	bed_set(b, FAKE_EDS, "a=1 b=2 c=2 nobody=1");
	bed_publish(b);
	expect(e, "EDS +b +nobody");
	fake_envoy_free(e);
	bed_free(b);
}
END_TEST

START_TEST(sotw_wildcards)
{
	struct bed *b = served(NULL);
	struct fake_envoy *e = by_hand(b, false);
	/* Clusters by name: always all that were named. */
	SEND(e, FAKE_CDS, ADD("a", "b"));
	expect(e, "CDS +a +b");
	SEND(e, FAKE_CDS, ADD("a", "b"), .nonce = "");
	bed_set(b, FAKE_CDS, "a=1 b=2 c=2");
	bed_publish(b);
	expect(e, "CDS +a +b");
	SEND(e, FAKE_CDS, ADD("a", "b"), .nonce = "");
	bed_set(b, FAKE_CDS, "a=1 b=2 c=3"); /* not of interest */
	bed_publish(b);
	SEND(e, FAKE_CDS, ADD("a", "b", "*"), .nonce = "");
	expect(e, "CDS +a +b +c");
	/* An empty list after names is no wildcard. */
	SEND(e, FAKE_CDS, .nonce = "");
	SEND(e, FAKE_LDS, .nonce = NULL);
	expect(e, "LDS +l");
	bed_set(b, FAKE_CDS, "a=4 b=4 c=4");
	bed_publish(b);
	SEND(e, FAKE_EDS, ADD("a"));
	expect(e, "EDS +a");
	fake_envoy_free(e);
	bed_free(b);
}
END_TEST

START_TEST(empty_is_an_answer)
{
	for (int delta = 0; delta < 2; delta++) {
		struct bed *b = bed_new(NULL);
		bed_publish(b);
		struct fake_envoy *e = by_hand(b, delta);
		SEND(e, FAKE_CDS, .nonce = NULL);
		expect(e, "CDS");
		SEND(e, FAKE_EDS, ADD("x"));
		expect(e, delta ? "EDS -x" : "EDS");
		fake_envoy_free(e);
		bed_free(b);
	}
}
END_TEST

/* A reconnecting Envoy asks for the endpoints of no cluster, and does not acknowledge an answer. */
START_TEST(sotw_without_names)
{
	struct bed *b = served(NULL);
	struct fake_envoy *e = by_hand(b, false);
	SEND(e, FAKE_EDS, .nonce = NULL);
	SEND(e, FAKE_CDS, .nonce = NULL);
	expect(e, "CDS +a +b +c");
	SEND(e, FAKE_CDS, .nonce = "");
	SEND(e, FAKE_LDS, .nonce = NULL); /* needs endpoints that are acknowledged */
	expect(e, "LDS +l");
	SEND(e, FAKE_LDS, .nonce = "");
	SEND(e, FAKE_RDS, ADD("s"));
	expect(e, "RDS +s");
	SEND(e, FAKE_RDS, ADD("s"), .nonce = "");
	ck_assert(bed_wait_synced(b, 1));
	SEND(e, FAKE_EDS, ADD("a"));
	expect(e, "EDS +a");
	SEND(e, FAKE_EDS, ADD("a"), .nonce = "");
	ck_assert(bed_wait_synced(b, 1));
	fake_envoy_free(e);

	/* It asked for a cluster that is gone, and heard of that before the (empty) answer came. */
	e = by_hand(b, false);
	SEND(e, FAKE_EDS, ADD("nobody"));
	expect(e, "EDS");
	SEND(e, FAKE_EDS, .nonce = NULL);
	SEND(e, FAKE_CDS, .nonce = NULL);
	SEND(e, FAKE_LDS, .nonce = NULL);
	expect(e, "CDS +a +b +c");
	SEND(e, FAKE_CDS, .nonce = "");
	expect(e, "LDS +l");
	SEND(e, FAKE_LDS, .nonce = "");
	fake_envoy_free(e);
	bed_free(b);
}
END_TEST

/* Clusters that were sent warm until their endpoints come, whatever became of them since. */
START_TEST(endpoints_of_what_was_sent)
{
	for (int delta = 0; delta < 2; delta++) {
		struct bed *b = served(NULL);
		struct fake_envoy *e = by_hand(b, delta);
		SEND(e, FAKE_CDS, .nonce = NULL);
		expect(e, "CDS +a +b +c");
		bed_set(b, FAKE_CDS, "a=1 d=1");
		bed_set(b, FAKE_EDS, "a=2 d=1");
		bed_publish(b);
		SEND(e, FAKE_EDS, ADD("a", "b", "c"));
		expect(e, "EDS +a +b +c");
		if (delta)
			SEND(e, FAKE_EDS, .nonce = "");
		else
			SEND(e, FAKE_EDS, ADD("a", "b", "c"), .nonce = "");
		SEND(e, FAKE_CDS, .nonce = "");
		expect(e, delta ? "CDS +d -b -c" : "CDS +a +d");
		fake_envoy_free(e);
		bed_free(b);
	}
}
END_TEST

/* ---- malformed ---- */

static void ends_with(struct bed *b, bool delta, const void *p, size_t n, int status)
{
	struct fake_envoy *e = by_hand(b, delta);
	fake_send_raw(e, p, n);
	ck_assert_msg(fake_wait_end(e), "%zu bytes, delta %d", n, delta);
	ck_assert_int_eq(fake_ended(e), status);
	fake_envoy_free(e);
}

START_TEST(malformed_requests)
{
	struct bed *b = served(NULL);
	static const struct {
		const char *bytes;
		size_t n;
	} bad[] = {
		{ "\xff\xff\xff", 3 }, /* a varint that does not end */
		{ "\x0a\x7f"
		  "ab",
			4 },                               /* longer than the message */
		{ "\x0b\x00", 2 },                         /* a group */
		{ "\x0a\x00", 2 },                         /* no type */
		{ "\x08\x01\x12\x01t", 5 },                /* wire type of a known field */
		{ "\x12\x02\xc3\x28\x22\x02\xc3\x28", 8 }, /* no UTF-8, in the type of both */
		{ "", 0 },
	};
	for (size_t i = 0; i < MT_ARRAY_SIZE(bad); i++) {
		ends_with(b, true, bad[i].bytes, bad[i].n, 3);
		ends_with(b, false, bad[i].bytes, bad[i].n, 3);
	}
	/* Well-formed, but the first one has to say who asks. */
	struct fake_envoy *e = by_hand(b, true);
	SEND(e, FAKE_CDS, .no_node = true);
	ck_assert(fake_wait_end(e));
	ck_assert_int_eq(fake_ended(e), 3);
	fake_envoy_free(e);

	/* A node nested too deep: Struct in Struct, far beyond any limit. */
	struct mt_buf node = { 0 };
	for (int i = 0; i < 2001; i++) {
		struct mt_buf outer = { 0 };
		mt_flat_add(&outer, i % 3 == 0 ? 5 : i % 3 == 1 ? 2 : 1, mt_buf_str(&node), node.n);
		mt_buf_clear(&node);
		node = outer;
	}
	struct mt_buf req = { 0 }, meta = { 0 };
	mt_flat_add(&meta, 3, node.p, node.n);
	mt_flat_add(&req, 1, meta.p, meta.n);
	mt_flat_adds(&req, 2, fake_type_url[0]);
	ends_with(b, true, req.p, req.n, 8);
	mt_buf_clear(&req);
	mt_buf_clear(&meta);
	mt_buf_clear(&node);
	bed_free(b);
}
END_TEST

START_TEST(types_that_nobody_serves)
{
	struct bed *b = served(NULL);
	struct fake_envoy *e = by_hand(b, true);
	SEND(e, FAKE_CDS, ADD("a"));
	expect(e, "CDS +a");
	struct mt_buf req = { 0 };
	mt_flat_adds(&req, 2, "type.googleapis.com/envoy.service.runtime.v3.Runtime");
	fake_send_raw(e, req.p, req.n);
	mt_buf_clear(&req);
	SEND(e, FAKE_EDS, ADD("a"));
	expect(e, "EDS +a");
	fake_envoy_free(e);
	bed_free(b);
}
END_TEST

START_TEST(limits)
{
	struct bed *b = served(&(struct bed_opts){ .max_names = 3, .max_request = 4096 });
	struct fake_envoy *e = by_hand(b, true);
	SEND(e, FAKE_EDS, ADD("1", "2", "3", "4"));
	ck_assert(fake_wait_end(e));
	ck_assert_int_eq(fake_ended(e), 8);
	fake_envoy_free(e);
	/* Bit by bit as well. */
	e = by_hand(b, true);
	SEND(e, FAKE_EDS, ADD("1", "2", "3"));
	SEND(e, FAKE_EDS, ADD("4"));
	ck_assert(fake_wait_end(e));
	ck_assert_int_eq(fake_ended(e), 8);
	fake_envoy_free(e);
	char *big = mt_alloc(5000);
	ends_with(b, false, big, 5000, 8);
	mt_free(big);
	bed_free(b);
}
END_TEST

/* ---- the application's side ---- */

static void close_all(struct bed *b, void *arg)
{
	(void)arg;
	struct mt_xds_sub *s = bed_sub(b, 0);
	mt_xds_sub_close(s, 7, "go away");
	mt_xds_sub_unref(s);
}

START_TEST(the_application_decides)
{
	struct bed *b = served(NULL);
	struct fake_envoy *e = bed_envoy(b, true);
	ck_assert(bed_wait_synced(b, 1));
	bed_run(b, close_all, NULL);
	ck_assert(fake_wait_end(e));
	ck_assert_int_eq(fake_ended(e), 7);
	ck_assert(bed_wait_detached(b, 1));
	fake_envoy_free(e);
	b->refuse = "not you";
	e = bed_envoy(b, false);
	ck_assert(fake_wait_end(e));
	ck_assert_int_eq(fake_ended(e), 7);
	fake_envoy_free(e);
	ck_assert_uint_eq(b->detached, 1);
	bed_free(b);
}
END_TEST

START_TEST(streams_wait_for_the_first_snapshot)
{
	struct bed *b = bed_new(NULL);
	struct fake_envoy *e = bed_envoy(b, true);
	ck_assert(bed_wait_attached(b, 1));
	bed_set(b, FAKE_CDS, "a=1");
	bed_set(b, FAKE_EDS, "a=1");
	bed_set(b, FAKE_LDS, "l=1>r");
	bed_set(b, FAKE_RDS, "r=1");
	bed_publish(b);
	ck_assert(bed_wait_synced(b, 1));
	fake_envoy_free(e);
	bed_free(b);
}
END_TEST

START_TEST(metrics_by_type)
{
	struct mt_metrics *m = mt_metrics_new(NULL, 0);
	struct bed *b = served(&(struct bed_opts){ .metrics = m });
	struct fake_envoy *e = bed_envoy(b, true), *f = bed_envoy(b, false);
	ck_assert(bed_wait_synced(b, 2));
	struct mt_buf text = { 0 };
	mt_metrics_text(m, &text);
	ck_assert_ptr_nonnull(strstr(mt_buf_str(&text), "xds_streams{variant=\"delta\"} 1"));
	ck_assert_ptr_nonnull(strstr(mt_buf_str(&text), "xds_streams{variant=\"sotw\"} 1"));
	ck_assert_ptr_nonnull(strstr(mt_buf_str(&text), "xds_pushes{type=\"CDS\"} 2"));
	ck_assert_ptr_nonnull(strstr(mt_buf_str(&text), "xds_ack_seconds_count{type=\"RDS\"} 2"));
	mt_buf_clear(&text);
	fake_envoy_free(e);
	fake_envoy_free(f);
	bed_free(b);
	mt_metrics_free(m);
}
END_TEST

MT_UNIT(xds_protocol, delta_names, delta_wildcards, delta_stale_nonces, sotw_names_and_nonces,
	sotw_wildcards, empty_is_an_answer, sotw_without_names, endpoints_of_what_was_sent,
	malformed_requests, types_that_nobody_serves, limits, the_application_decides,
	streams_wait_for_the_first_snapshot, metrics_by_type)
