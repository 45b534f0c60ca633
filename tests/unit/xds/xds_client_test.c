/* The discovery client against the discovery server. */
#include "common/xds/client.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "tests/unit/unit.h"
#include "tests/unit/xds/bed.h"

/* An owner that writes down what it hears; everything under the bed's mutex. */
struct owner {
	struct bed *b;
	struct mt_xds_client *c;
	struct mt_buf log;
	size_t from;
	const char *reject; /* answer to the next update */
	bool stop_inside;
	bool connected;
	unsigned failures;
	bool turn;               /* the clock goes on while waiting: retries come due */
	const char *const *hold; /* name, version, ..., NULL */
};

static int on_update(void *ctx, const struct mt_xds_update *u, struct mt_err *err)
{
	struct owner *o = ctx;
	pthread_mutex_lock(&o->b->mu);
	mt_buf_printf(&o->log, "%s%d%s", o->log.n ? " " : "", u->type, u->first ? "!" : "");
	for (size_t i = 0; i < u->n; i++)
		mt_buf_printf(&o->log, " +%s", u->items[i].name);
	for (size_t i = 0; i < u->nremoved; i++)
		mt_buf_printf(&o->log, " -%s", u->removed[i]);
	const char *reject = o->reject;
	bool stop = o->stop_inside;
	pthread_cond_broadcast(&o->b->changed);
	pthread_mutex_unlock(&o->b->mu);
	if (stop)
		mt_xds_client_stop(MT_TAKE(o->c));
	return reject ? mt_fail(err, MT_INVALID, NULL, "%s", reject) : 0;
}

static void on_state(void *ctx, bool connected, const char *why)
{
	struct owner *o = ctx;
	pthread_mutex_lock(&o->b->mu);
	o->connected = connected;
	o->failures += !connected && *why;
	pthread_cond_broadcast(&o->b->changed);
	pthread_mutex_unlock(&o->b->mu);
}

static void start(struct bed *b, void *arg)
{
	struct owner *o = arg;
	Core__Node node = CORE__NODE__INIT;
	node.id = "owner";
	const char *routes[] = { "r" };
	struct mt_xds_client_type types[] = { { .type_url = fake_type_url[FAKE_CDS] },
		{ .type_url = fake_type_url[FAKE_RDS], .names = routes, .nnames = 1 } };
	struct mt_xds_client_opts co = { .channel = b->channel,
		.node = &node,
		.types = types,
		.ntypes = 2,
		.update = on_update,
		.state = on_state,
		.ctx = o };
	o->b = b;
	o->c = mt_xds_client_start(b->loop, &co);
	for (const char *const *h = o->hold; h && *h; h += 2)
		mt_xds_client_hold(o->c, 0, h[0], h[1]);
}

static void stop(struct bed *b, void *arg)
{
	struct owner *o = arg;
	(void)b;
	mt_xds_client_stop(MT_TAKE(o->c));
}

static void owner_end(struct owner *o)
{
	bed_run(o->b, stop, o);
	mt_buf_clear(&o->log);
}

/* The log since the last call is that, and it failed to connect so often. */
static bool wait_owner(struct owner *o, const char *text, unsigned failures)
{
	bool ok = false;
	pthread_mutex_lock(&o->b->mu);
	for (int round = 0; round < 1000; round++) {
		struct timespec until;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 20 * MT_NS_PER_MS;
		until.tv_sec += until.tv_nsec / MT_NS_PER_SEC;
		until.tv_nsec %= MT_NS_PER_SEC;
		ok = strcmp(mt_buf_str(&o->log) + o->from, text) == 0 && o->failures >= failures;
		if (ok)
			break;
		if (pthread_cond_timedwait(&o->b->changed, &o->b->mu, &until) && o->turn)
			mt_test_clock_advance(&o->b->clock, 300 * MT_NS_PER_MS);
	}
	if (!ok)
		fprintf(stderr, "heard: %s\n", mt_buf_str(&o->log) + o->from);
	o->from = o->log.n;
	pthread_mutex_unlock(&o->b->mu);
	return ok;
}

static struct bed *served(void)
{
	struct bed *b = bed_new(NULL);
	bed_set(b, FAKE_CDS, "a=1 b=1");
	bed_set(b, FAKE_RDS, "r=1 s=1");
	bed_publish(b);
	return b;
}

START_TEST(hears_what_changes)
{
	struct bed *b = served();
	struct owner o = { 0 };
	bed_run(b, start, &o);
	ck_assert(wait_owner(&o, "0! +a +b 1! +r", 0));
	ck_assert(o.connected);
	bed_set(b, FAKE_CDS, "a=2 c=1");
	bed_publish(b);
	/* One whose removals wait for nobody: no user of clusters is subscribed but routes. */
	ck_assert(wait_owner(&o, " 0 +a +c 0 -b", 0));
	owner_end(&o);
	ck_assert(bed_wait_detached(b, 1));
	bed_free(b);
}
END_TEST

START_TEST(rejects_and_hears_again)
{
	struct bed *b = served();
	struct owner o = { 0 };
	bed_run(b, start, &o);
	ck_assert(wait_owner(&o, "0! +a +b 1! +r", 0));
	pthread_mutex_lock(&b->mu);
	o.reject = "not like this";
	pthread_mutex_unlock(&b->mu);
	bed_set(b, FAKE_CDS, "a=2 b=1");
	bed_publish(b);
	ck_assert(bed_wait_nacks(b, 1));
	ck_assert_str_eq(b->nack, "not like this");
	ck_assert(wait_owner(&o, " 0 +a", 0));
	pthread_mutex_lock(&b->mu);
	o.reject = NULL;
	pthread_mutex_unlock(&b->mu);
	bed_set(b, FAKE_CDS, "a=3 b=1");
	bed_publish(b);
	ck_assert(wait_owner(&o, " 0 +a +b", 0));
	owner_end(&o);
	bed_free(b);
}
END_TEST

START_TEST(survives_restarts)
{
	struct bed *b = served();
	struct owner o = { 0 };
	bed_run(b, start, &o);
	ck_assert(wait_owner(&o, "0! +a +b 1! +r", 0));
	o.turn = true;
	bed_server_stop(b);
	ck_assert(wait_owner(&o, "", 2));
	ck_assert(!o.connected);
	bed_set(b, FAKE_CDS, "b=1 c=1");
	bed_publish(b);
	bed_server_start(b);
	/* Only what differs from what it holds. */
	ck_assert(wait_owner(&o, " 0! +c 1! 0 -a", 0));
	owner_end(&o);
	bed_free(b);
}
END_TEST

START_TEST(starts_from_what_it_holds)
{
	struct bed *b = served();
	char version[24];
	snprintf(version, sizeof(version), "%016llx",
		(unsigned long long)mt_set_find(b->sets[FAKE_CDS], "a")->hash);
	const char *hold[] = { "a", version, "b", "older", "gone", version, NULL };
	struct owner o = { .hold = hold };
	bed_run(b, start, &o);
	ck_assert(wait_owner(&o, "0! +b 1! +r 0 -gone", 0));
	owner_end(&o);
	bed_free(b);
}
END_TEST

static void start_and_stop(struct bed *b, void *arg)
{
	start(b, arg);
	stop(b, arg);
}

START_TEST(stops_at_any_moment)
{
	struct bed *b = served();
	struct owner o = { 0 };
	bed_run(b, start_and_stop, &o);
	for (int i = 0; i < 20; i++) {
		bed_run(b, start, &o);
		if (i % 2)
			bed_publish(b);
		bed_run(b, stop, &o);
	}
	mt_buf_clear(&o.log);
	o.from = 0;
	/* Inside a callback. */
	o.stop_inside = true;
	bed_run(b, start, &o);
	ck_assert(wait_owner(&o, "0! +a +b", 0));
	bed_publish(b);
	ck_assert_ptr_null(o.c);
	/* While nobody is there. */
	o.stop_inside = false;
	bed_server_stop(b);
	unsigned failures = o.failures;
	bed_run(b, start, &o);
	ck_assert(wait_owner(&o, "", failures + 1));
	owner_end(&o);
	bed_free(b);
}
END_TEST

MT_UNIT(xds_client, hears_what_changes, rejects_and_hears_again, survives_restarts,
	starts_from_what_it_holds, stops_at_any_moment)
