/* A fake proxy: see fake_envoy.h. Its stream's ops run on one thread; everything that others read is
 * under e->mu, and every change signals e->changed. */
#include "tests/unit/xds/fake_envoy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/hash.h"
#include "common/base/strs.h"
#include "tests/unit/xds/fake_state.h"
#include "tests/unit/xds/fake_wire.h"

enum { WAIT_SECONDS = 20 };

static void envoy_unref(struct fake_envoy *e)
{
	if (!mt_ref_put(&e->ref))
		return;
	for (int i = 0; i < FAKE_TYPES; i++) {
		mt_vec_clear(&e->t[i].held);
		mt_vec_clear(&e->t[i].names);
	}
	mt_vec_each (&e->queue, b)
		mt_buf_clear(b);
	mt_vec_clear(&e->queue);
	mt_vec_clear(&e->warming);
	mt_buf_clear(&e->log);
	pthread_mutex_destroy(&e->mu);
	pthread_cond_destroy(&e->changed);
	mt_free(e);
}

/* ---- what it says; mu held ---- */

/* Subscribes, or changes a subscription by name; in state of the world all names are said again. */
static void say(struct fake_envoy *e, int type, const fake_names *add, const fake_names *del,
	const char *nonce, const char *reject)
{
	struct fake_tstate *t = &e->t[type];
	struct fake_request r = { .type = type, .nonce = nonce, .reject = reject };
	if (e->o.delta) {
		r.add = add ? add->v : NULL;
		r.nadd = add ? add->n : 0;
		r.del = del ? del->v : NULL;
		r.ndel = del ? del->n : 0;
	} else {
		r.add = t->names.v;
		r.nadd = t->names.n;
	}
	fake_ask(e, &r, false);
}

static void acknowledge(struct fake_envoy *e, int type)
{
	e->t[type].withheld = false;
	say(e, type, NULL, NULL, "", NULL);
}

/* Makes the subscription of a type what the resources of another refer to. */
static void follow(struct fake_envoy *e, int type, const struct fake_tstate *leader, bool warm)
{
	struct fake_tstate *t = &e->t[type];
	fake_names want = { 0 }, add = { 0 }, del = { 0 };
	fake_refers(leader, &want);
	fake_names_differ(&t->names, &want, &add, &del);
	mt_vec_each (&del, n) {
		fake_held_del(t, *n);
		fake_names_del(&e->warming, *n);
	}
	mt_vec_clear(&t->names);
	t->names = want;
	/* In state of the world a proxy that warms asks again, with what looks like an old answer. */
	if (add.n || del.n || (warm && !e->o.delta && t->subscribed && want.n))
		say(e, type, &add, &del, t->subscribed && !e->o.delta ? "" : NULL, NULL);
	mt_vec_clear(&add);
	mt_vec_clear(&del);
}

static void clusters_warm(struct fake_envoy *e)
{
	if (e->warming.n)
		return;
	if (e->t[FAKE_CDS].withheld)
		acknowledge(e, FAKE_CDS);
	if (!e->t[FAKE_LDS].subscribed)
		say(e, FAKE_LDS, NULL, NULL, NULL, NULL);
}

/* ---- what it takes in; mu held ---- */

/* Is the route that a virtual host belongs to ("ROUTE/HOST") there? */
static bool table_of(struct fake_envoy *e, const char *name)
{
	mt_vec_each (&e->t[FAKE_RDS].held, h) {
		size_t n = strlen(h->name);
		if (strncmp(h->name, name, n) == 0 && name[n] == '/')
			return true;
	}
	return false;
}

/* A route that is not wanted any more takes its virtual hosts with it. */
static void forget_hosts(struct fake_envoy *e)
{
	struct fake_tstate *t = &e->t[FAKE_VHDS];
	for (size_t i = t->held.n; i--;) {
		if (!table_of(e, t->held.v[i].name))
			fake_held_del(t, t->held.v[i].name);
	}
}

static void take_in(struct fake_envoy *e, const struct fake_parsed *p)
{
	struct fake_tstate *t = &e->t[p->r.type];
	bool full = !e->o.delta && (p->r.type == FAKE_CDS || p->r.type == FAKE_LDS);
	if (p->r.type == FAKE_CDS && !e->o.no_warming) {
		for (size_t i = 0; i < p->r.n; i++) {
			struct fake_held *h = fake_held_find(t, p->res[i]->name);
			for (size_t k = 0; k < p->res[i]->nrefers && (!h || h->r != p->res[i]); k++)
				fake_names_add(&e->warming, p->res[i]->refers[k]);
		}
	}
	if (full)
		t->held.n = 0;
	for (size_t i = 0; i < p->r.n; i++) {
		if (p->r.type != FAKE_VHDS || table_of(e, p->res[i]->name))
			fake_held_put(t, p->res[i]);
	}
	for (size_t i = 0; i < p->r.nremoved; i++)
		fake_held_del(t, p->r.removed[i]);
}

static bool routes_there(struct fake_envoy *e)
{
	mt_vec_each (&e->t[FAKE_RDS].names, n) {
		if (!fake_held_find(&e->t[FAKE_RDS], *n))
			return false;
	}
	return true;
}

static void react(struct fake_envoy *e, const struct fake_parsed *p)
{
	struct fake_tstate *t = &e->t[p->r.type];
	fake_names apart = { 0 };
	switch (p->r.type) {
	case FAKE_CDS:
		t->withheld = true;
		follow(e, FAKE_EDS, t, e->warming.n > 0);
		clusters_warm(e);
		break;
	case FAKE_EDS:
		for (size_t i = p->r.n; i--;) /* from the end: nothing moves */
			fake_names_del(&e->warming, p->res[i]->name);
		acknowledge(e, FAKE_EDS);
		if (e->t[FAKE_CDS].withheld)
			clusters_warm(e);
		break;
	case FAKE_LDS:
		follow(e, FAKE_RDS, t, false);
		forget_hosts(e);
		t->withheld = e->o.lds_after_rds && !routes_there(e);
		if (!t->withheld)
			acknowledge(e, FAKE_LDS);
		break;
	case FAKE_VHDS: acknowledge(e, FAKE_VHDS); break;
	default:
		acknowledge(e, FAKE_RDS);
		fake_refers(t, &apart);
		if (apart.n && !e->t[FAKE_VHDS].subscribed)
			say(e, FAKE_VHDS, NULL, NULL, NULL, NULL);
		mt_vec_clear(&apart);
		if (e->t[FAKE_LDS].withheld && routes_there(e))
			acknowledge(e, FAKE_LDS);
		break;
	}
}

/* ---- the stream ---- */

static bool next_queued(struct fake_envoy *e, struct mt_buf *ret)
{
	pthread_mutex_lock(&e->mu);
	bool any = e->queue.n > 0;
	if (any) {
		*ret = e->queue.v[0];
		memmove(e->queue.v, e->queue.v + 1, --e->queue.n * sizeof(*ret));
	}
	pthread_mutex_unlock(&e->mu);
	return any;
}

static void flush(struct fake_envoy *e, void *s)
{
	struct mt_buf b = { 0 };
	while (!e->wire->busy(s) && next_queued(e, &b)) {
		e->wire->send(s, mt_buf_str(&b), b.n);
		mt_buf_clear(&b);
	}
}

static int name_cmp(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Envoy takes no response that says a name twice, be it added or removed. */
static const char *said_twice(const struct fake_response *r, struct mt_arena *a)
{
	const char **all = MT_ANEWN(a, const char *, r->n + r->nremoved + 1);
	size_t n = 0;
	for (size_t i = 0; i < r->n; i++)
		all[n++] = r->names[i];
	for (size_t i = 0; i < r->nremoved; i++)
		all[n++] = r->removed[i];
	qsort(all, n, sizeof(all[0]), name_cmp);
	for (size_t i = 1; i < n; i++)
		if (strcmp(all[i - 1], all[i]) == 0)
			return mt_arena_printf(a, "duplicate name %s", all[i]);
	return NULL;
}

void fake_on_message(struct fake_envoy *e, void *s, const void *bytes, size_t n)
{
	MT_AUTO(mt_arena_freep) struct mt_arena *a = mt_arena_new(0);
	struct fake_parsed p;
	if (!fake_parse(e, bytes, n, a, &p))
		return;
	const char *why = e->o.judge ? e->o.judge(e->o.ctx, e, &p.r) : NULL;
	if (!why)
		why = said_twice(&p.r, a);
	struct fake_tstate *t = &e->t[p.r.type];
	pthread_mutex_lock(&e->mu);
	t->responses++;
	t->answered = true;
	t->bytes += n;
	snprintf(t->nonce, sizeof(t->nonce), "%.*s", (int)p.nonce.n, p.nonce.p);
	if (why && !e->o.manual)
		say(e, p.r.type, NULL, NULL, "", why);
	if (!why) {
		snprintf(t->version, sizeof(t->version), "%.*s", (int)p.version.n, p.version.p);
		take_in(e, &p);
		if (!e->o.manual)
			react(e, &p);
	}
	fake_log_response(e, &p, why != NULL);
	pthread_cond_broadcast(&e->changed);
	pthread_mutex_unlock(&e->mu);
	flush(e, s);
	if (e->o.event)
		e->o.event(e->o.ctx, e, &p.r);
}

void fake_on_sent(struct fake_envoy *e, void *s)
{
	flush(e, s);
}

void fake_on_wake(struct fake_envoy *e, void *s)
{
	pthread_mutex_lock(&e->mu);
	bool cancel = e->cancel;
	pthread_mutex_unlock(&e->mu);
	if (cancel)
		e->wire->cancel(s);
	else
		flush(e, s);
}

void fake_on_close(struct fake_envoy *e, int status, const char *msg)
{
	if (e->o.closed)
		e->o.closed(e->o.ctx, e, status, msg);
	pthread_mutex_lock(&e->mu);
	e->open = false;
	e->ended = status;
	if (!e->o.quiet)
		mt_buf_printf(&e->log, "%send:%d", e->log.n ? " " : "", status);
	pthread_cond_broadcast(&e->changed);
	pthread_mutex_unlock(&e->mu);
	envoy_unref(e);
}

/* ---- from outside ---- */

static void first_requests(struct fake_envoy *e)
{
	bool again = e->t[FAKE_CDS].subscribed, all = e->o.all_at_once || again;
	for (int i = 0; i < FAKE_TYPES; i++) {
		struct fake_tstate *t = &e->t[i];
		bool by_name = i == FAKE_EDS || i == FAKE_RDS;
		bool later = i == FAKE_VHDS && !t->subscribed;
		t->nonce[0] = t->version[0] = '\0';
		t->withheld = false;
		t->subscribed = t->answered = false;
		if (i == FAKE_CDS || (by_name && t->names.n) || (!by_name && all && !later)) {
			struct fake_request r = {
				.type = i, .add = t->names.v, .nadd = t->names.n
			};
			fake_ask(e, &r, again);
		}
	}
}

void fake_envoy_connect(struct fake_envoy *e)
{
#define ADS "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
	const char *path =
		e->o.delta ? ADS "DeltaAggregatedResources" : ADS "StreamAggregatedResources";
	pthread_mutex_lock(&e->mu);
	e->cancel = e->node_sent = false;
	e->open = true;
	e->ended = -1;
	e->warming.n = 0;
	mt_vec_each (&e->queue, b)
		mt_buf_clear(b);
	e->queue.n = 0;
	if (!e->o.manual)
		first_requests(e);
	pthread_mutex_unlock(&e->mu);
	mt_ref_get(&e->ref);
	void *s = e->wire->open(e->wire_ctx, path, e);
	void *old = e->stream;
	e->stream = s;
	if (old)
		e->wire->drop(old);
	e->wire->wake(s);
}

struct fake_envoy *fake_envoy_new(const struct fake_opts *o)
{
	struct fake_envoy *e = MT_NEW(struct fake_envoy);
	mt_ref_init(&e->ref);
	e->o = *o;
	e->wire = o->wire ? o->wire : &fake_wire_rpc;
	e->wire_ctx = o->wire ? o->wire_ctx : o->channel;
	pthread_mutex_init(&e->mu, NULL);
	pthread_cond_init(&e->changed, NULL);
	fake_envoy_connect(e);
	return e;
}

void fake_envoy_disconnect(struct fake_envoy *e)
{
	pthread_mutex_lock(&e->mu);
	e->cancel = true;
	pthread_mutex_unlock(&e->mu);
	e->wire->wake(e->stream);
	pthread_mutex_lock(&e->mu);
	while (e->open)
		pthread_cond_wait(&e->changed, &e->mu);
	pthread_mutex_unlock(&e->mu);
}

void fake_envoy_free(struct fake_envoy *e)
{
	if (!e)
		return;
	fake_envoy_disconnect(e);
	e->wire->drop(e->stream);
	envoy_unref(e);
}

void fake_send_raw(struct fake_envoy *e, const void *p, size_t n)
{
	struct mt_buf b = { 0 };
	mt_buf_add(&b, p, n);
	pthread_mutex_lock(&e->mu);
	mt_vec_push(&e->queue, b);
	pthread_mutex_unlock(&e->mu);
	e->wire->wake(e->stream);
}

void fake_send(struct fake_envoy *e, const struct fake_request *r)
{
	pthread_mutex_lock(&e->mu);
	fake_ask(e, r, false);
	pthread_mutex_unlock(&e->mu);
	e->wire->wake(e->stream);
}

/* ---- looking at it ---- */

char *fake_log(struct fake_envoy *e)
{
	pthread_mutex_lock(&e->mu);
	const char *from = mt_buf_str(&e->log) + e->log_read;
	char *copy = mt_strdup(*from == ' ' ? from + 1 : from);
	e->log_read = e->log.n;
	pthread_mutex_unlock(&e->mu);
	return copy;
}

bool fake_has(struct fake_envoy *e, int type, const char *name)
{
	pthread_mutex_lock(&e->mu);
	bool has = fake_held_find(&e->t[type], name) != NULL;
	pthread_mutex_unlock(&e->mu);
	return has;
}

size_t fake_count(struct fake_envoy *e, int type)
{
	pthread_mutex_lock(&e->mu);
	size_t n = e->t[type].held.n;
	pthread_mutex_unlock(&e->mu);
	return n;
}

void fake_version(struct fake_envoy *e, int type, const char *name, char buf[24])
{
	buf[0] = '\0';
	pthread_mutex_lock(&e->mu);
	struct fake_held *h = fake_held_find(&e->t[type], name);
	if (h)
		mt_hash_hex(h->r->version, buf);
	pthread_mutex_unlock(&e->mu);
}

unsigned fake_responses(struct fake_envoy *e, int type)
{
	pthread_mutex_lock(&e->mu);
	unsigned n = e->t[type].responses;
	pthread_mutex_unlock(&e->mu);
	return n;
}

size_t fake_bytes(struct fake_envoy *e, int type)
{
	pthread_mutex_lock(&e->mu);
	size_t n = e->t[type].bytes;
	pthread_mutex_unlock(&e->mu);
	return n;
}

bool fake_warming(struct fake_envoy *e)
{
	pthread_mutex_lock(&e->mu);
	bool warming = e->t[FAKE_CDS].withheld;
	pthread_mutex_unlock(&e->mu);
	return warming;
}

bool fake_complete(struct fake_envoy *e)
{
	pthread_mutex_lock(&e->mu);
	bool complete = !e->t[FAKE_CDS].withheld && routes_there(e);
	fake_names apart = { 0 };
	fake_refers(&e->t[FAKE_RDS], &apart);
	for (int i = 0; i < FAKE_TYPES; i++) {
		bool by_name = i == FAKE_EDS || i == FAKE_RDS;
		bool none = (by_name && !e->t[i].names.n) || (i == FAKE_VHDS && !apart.n);
		complete = complete && (e->t[i].answered || none);
	}
	mt_vec_clear(&apart);
	pthread_mutex_unlock(&e->mu);
	return complete;
}

int fake_ended(struct fake_envoy *e)
{
	pthread_mutex_lock(&e->mu);
	int status = e->ended;
	pthread_mutex_unlock(&e->mu);
	return status;
}

bool fake_wait(struct fake_envoy *e, bool (*cond)(struct fake_envoy *e, void *arg), void *arg)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_SECONDS;
	for (;;) {
		pthread_mutex_lock(&e->mu);
		unsigned seen = 0;
		for (int i = 0; i < FAKE_TYPES; i++)
			seen += e->t[i].responses;
		bool open = e->open;
		pthread_mutex_unlock(&e->mu);
		if (cond(e, arg))
			return true;
		int rc = 0;
		pthread_mutex_lock(&e->mu);
		for (unsigned now = seen; rc == 0 && now == seen && e->open == open;) {
			rc = pthread_cond_timedwait(&e->changed, &e->mu, &until);
			now = 0;
			for (int i = 0; i < FAKE_TYPES; i++)
				now += e->t[i].responses;
		}
		pthread_mutex_unlock(&e->mu);
		if (rc)
			return cond(e, arg);
	}
}

static bool log_has(struct fake_envoy *e, void *part)
{
	pthread_mutex_lock(&e->mu);
	bool has = strstr(mt_buf_str(&e->log) + e->log_read, part) != NULL;
	pthread_mutex_unlock(&e->mu);
	return has;
}

bool fake_wait_log(struct fake_envoy *e, const char *part)
{
	return fake_wait(e, log_has, (void *)part);
}

struct count {
	int type;
	size_t n;
};

static bool has_count(struct fake_envoy *e, void *arg)
{
	const struct count *c = arg;
	return fake_count(e, c->type) == c->n;
}

bool fake_wait_count(struct fake_envoy *e, int type, size_t n)
{
	return fake_wait(e, has_count, &(struct count){ type, n });
}

static bool has_ended(struct fake_envoy *e, void *arg MT_UNUSED)
{
	return fake_ended(e) >= 0;
}

bool fake_wait_end(struct fake_envoy *e)
{
	return fake_wait(e, has_ended, NULL);
}
