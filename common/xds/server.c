/* Discovery server: the loop's side. Keeps the list of accepted subs, tells the application, and
 * wakes streams whose time has come (a stream's thread has no timers). */
#include "common/xds/server.h"

#include <malloc.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/xds/stream.h"

enum {
	MAX_REQUEST = 1 << 20,
	MAX_NAMES = 50000,
	TICK_MS = 100,
	TRIM_TICKS = 10,
	TRIM_BYTES = 32 << 20,
};
#define ACK_TIMEOUT (20 * MT_NS_PER_SEC)

static const struct mt_metric_desc rows[] = {
#define METRIC MT_METRIC_ROW
#include "common/xds/metrics.def"
#undef METRIC
};

static void define_metrics(struct mt_xds_server *s)
{
	struct mt_metrics *m = s->opts.metrics;
	int index[MT_XDS_M_N + 1];
	for (size_t i = 0; i < MT_ARRAY_SIZE(rows); i++)
		index[i] = mt_metrics_define(m, &rows[i]);
	s->series = mt_alloc((s->opts.ntypes + 1) * sizeof(s->series[0]));
	for (size_t t = 0; t < s->opts.ntypes; t++) {
		for (size_t i = 0; i < MT_XDS_M_N; i++)
			s->series[t][i] = mt_metric_series(
				m, index[i], (const char *const[]){ s->types[t].name, NULL });
	}
	s->streams[0] =
		mt_metric_series(m, index[MT_XDS_M_N], (const char *const[]){ "sotw", NULL });
	s->streams[1] =
		mt_metric_series(m, index[MT_XDS_M_N], (const char *const[]){ "delta", NULL });
}

void mt_xds_count(const struct mt_xds_sub *s, int type, enum mt_xds_measure what, double v)
{
	const struct mt_xds_server *sv = s->server;
	if (what >= MT_XDS_M_N)
		; /* no row */
	else if (sv->series && what == MT_XDS_M_ACK_TIME)
		mt_series_observe(sv->series[type][what], v);
	else if (sv->series)
		mt_series_add(sv->series[type][what], v);
	if (sv->opts.measure)
		sv->opts.measure(sv->opts.ctx, what, type, v);
}

static void drop_synced(struct mt_xds_server *sv)
{
	struct mt_xds_sub *next, *s = atomic_exchange(&sv->synced, NULL);
	for (; s; s = next) {
		next = s->synced_next;
		mt_xds_sub_unref(s);
	}
}

static void tell_synced(struct mt_xds_server *sv);

static void trim(void *arg MT_UNUSED)
{
	malloc_trim(0);
}

static void trimmed(void *arg MT_UNUSED)
{
}

/* A burst (a thousand proxies connect) leaves free pages in the threads' arenas, which the C library
 * does not give back by itself: do it when the burst is over. */
static void give_back(struct mt_xds_server *sv)
{
	uint64_t sent = atomic_load(&sv->sent_bytes);
	sv->quiet = sent == sv->ticked_bytes ? sv->quiet + 1 : 0;
	sv->ticked_bytes = sent;
	if (sv->quiet == TRIM_TICKS && sent - sv->trimmed_bytes > TRIM_BYTES) {
		sv->trimmed_bytes = sent;
		mt_loop_work(sv->loop, trim, trimmed, NULL);
	}
}

static void lower(_Atomic int64_t *at, int64_t to)
{
	int64_t was = atomic_load(at);
	while (to < was && !atomic_compare_exchange_weak(at, &was, to))
		;
}

void mt_xds_wake_at(struct mt_xds_sub *s, int64_t at)
{
	int64_t set = atomic_load(&s->deadline);
	if (set && set <= at)
		return;
	atomic_store(&s->deadline, at);
	lower(&s->server->next_deadline, at);
}

/* Wakes the streams whose time has come. While no deadline is due nobody is looked at, so that ten
 * thousand proxies in step cost nothing. The earliest is forgotten before the walk: a stream that sets
 * one meanwhile is either seen or lowers it again. */
static void wake_due(struct mt_xds_server *sv, int64_t now)
{
	int64_t next = INT64_MAX;
	if (now < atomic_load(&sv->next_deadline))
		return;
	atomic_store(&sv->next_deadline, INT64_MAX);
	for (struct mt_xds_sub *s = sv->subs; s; s = s->next) {
		int64_t at = atomic_load(&s->deadline);
		/* Cleared here; the pump sets the next one. */
		if (at && at <= now && atomic_compare_exchange_strong(&s->deadline, &at, 0))
			mt_rpc_stream_wake(s->stream);
		else if (at)
			next = MT_MIN(next, at);
	}
	lower(&sv->next_deadline, next);
}

static void on_tick(void *arg)
{
	struct mt_xds_server *sv = arg;
	give_back(sv);
	wake_due(sv, mt_mono(sv->clock));
	tell_synced(sv);
}

struct mt_xds_server *mt_xds_server_new(struct mt_loop *l, const struct mt_xds_server_opts *o)
{
	struct mt_xds_server *s = MT_NEW(struct mt_xds_server);
	mt_ref_init(&s->ref);
	s->loop = l;
	s->clock = mt_loop_clock(l);
	s->opts = *o;
	s->types = mt_memdup(o->types, o->ntypes * sizeof(*o->types));
	s->opts.types = s->types;
	if (!s->opts.max_request)
		s->opts.max_request = MAX_REQUEST;
	if (!s->opts.max_names)
		s->opts.max_names = MAX_NAMES;
	if (!s->opts.ack_timeout_ns)
		s->opts.ack_timeout_ns = ACK_TIMEOUT;
	atomic_init(&s->next_deadline, INT64_MAX);
	s->names = mt_names_table_new();
	s->empty = mt_set_new(NULL, 0);
	if (o->metrics)
		define_metrics(s);
	s->tick = mt_timer_new(l, on_tick, s);
	mt_timer_start(s->tick, TICK_MS * MT_NS_PER_MS, TICK_MS * MT_NS_PER_MS);
	return s;
}

void mt_xds_server_methods(struct mt_xds_server *s, struct mt_rpc_method methods[2])
{
#define ADS "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
	methods[0] = (struct mt_rpc_method){ .path = ADS "StreamAggregatedResources",
		.ops = &mt_xds_sotw_ops,
		.max_message = s->opts.max_request,
		.ctx = s };
	methods[1] = (struct mt_rpc_method){ .path = ADS "DeltaAggregatedResources",
		.ops = &mt_xds_delta_ops,
		.max_message = s->opts.max_request,
		.ctx = s };
#undef ADS
}

void mt_xds_server_unref(struct mt_xds_server *s)
{
	if (!mt_ref_put(&s->ref))
		return;
	mt_set_unref(s->empty);
	mt_names_table_free(s->names);
	mt_free(s->series);
	mt_free(s->types);
	mt_free(s);
}

/* ---- subs on the loop ---- */

static void sub_link(struct mt_xds_sub *s)
{
	struct mt_xds_server *sv = s->server;
	s->next = sv->subs;
	s->prev = &sv->subs;
	if (s->next)
		s->next->prev = &s->next;
	sv->subs = s;
	s->accepted = true;
	if (sv->series)
		mt_series_add(sv->streams[s->delta], 1);
}

static void sub_unlink(struct mt_xds_sub *s)
{
	*s->prev = s->next;
	if (s->next)
		s->next->prev = s->prev;
	s->accepted = false;
	if (s->server->series)
		mt_series_add(s->server->streams[s->delta], -1);
	if (s->server->opts.app->detach)
		s->server->opts.app->detach(s->server->opts.ctx, s);
	mt_xds_sub_unref(s);
}

void mt_xds_server_free(struct mt_xds_server *s)
{
	if (!s)
		return;
	atomic_store(&s->freed, true);
	mt_timer_free(s->tick);
	while (s->subs)
		sub_unlink(s->subs);
	drop_synced(s);
	mt_xds_server_unref(s);
}

static void run_attach(void *arg)
{
	struct mt_xds_sub *s = arg;
	struct mt_err err = { 0 };
	if (s->server->freed) {
		mt_xds_sub_unref(s);
		return;
	}
	int rc = s->server->opts.app->attach(s->server->opts.ctx, s, &err);
	if (rc < 0) {
		mt_xds_sub_close(s, mt_code_grpc(rc), err.msg);
		mt_xds_sub_unref(s);
		return;
	}
	/* The application has taken what it needs: of thousands of nodes only the ids are kept. */
	s->node = mt_xds_node_shrink(s->node);
	sub_link(s); /* keeps the reference of the post */
}

static void run_detach(void *arg)
{
	struct mt_xds_sub *s = arg;
	if (s->accepted)
		sub_unlink(s);
	mt_xds_sub_unref(s);
}

void mt_xds_post_attach(struct mt_xds_sub *s)
{
	mt_loop_post(s->server->loop, run_attach, mt_xds_sub_ref(s));
}

void mt_xds_post_detach(struct mt_xds_sub *s)
{
	mt_loop_post(s->server->loop, run_detach, mt_xds_sub_ref(s));
}

/* ---- events: gathered under mu, at most one post on its way for each sub ---- */

static void deliver(struct mt_xds_sub *s, const struct mt_xds_event *ev)
{
	const struct mt_xds_server *sv = s->server;
	if (s->accepted && sv->opts.app->event)
		sv->opts.app->event(sv->opts.ctx, s, ev);
}

static void run_events(void *arg)
{
	struct mt_xds_sub *s = arg;
	uint64_t nacks[MT_ARRAY_SIZE(s->event_nacks)];
	pthread_mutex_lock(&s->mu);
	s->event_posted = false;
	struct mt_xds_event settled = { .kind = MT_XDS_SETTLED,
		.snapshot_id = s->event_settled_id };
	s->event_settled_id = 0;
	memcpy(nacks, s->event_nacks, sizeof(nacks));
	memset(s->event_nacks, 0, sizeof(s->event_nacks));
	pthread_mutex_unlock(&s->mu);
	for (size_t i = 0; i < s->server->opts.ntypes; i++) {
		if (!(nacks[i / 64] >> (i % 64) & 1))
			continue;
		pthread_mutex_lock(&s->mu);
		struct mt_xds_event ev = {
			.kind = MT_XDS_NACK, .type = (int)i, .snapshot_id = s->types[i]->nack_id
		};
		char *words = mt_strdup(s->types[i]->nack);
		pthread_mutex_unlock(&s->mu);
		ev.message = words;
		deliver(s, &ev);
		mt_free(words);
	}
	if (settled.snapshot_id)
		deliver(s, &settled);
	mt_xds_sub_unref(s);
}

/* With mu held: true when the caller has to post. */
static bool must_post(struct mt_xds_sub *s)
{
	bool post = !s->event_posted;
	s->event_posted = true;
	return post;
}

static void run_synced(void *arg)
{
	tell_synced(arg);
	mt_xds_server_unref(arg);
}

void mt_xds_post_synced(struct mt_xds_sub *s, uint64_t id)
{
	struct mt_xds_server *sv = s->server;
	pthread_mutex_lock(&s->mu);
	bool linked = s->event_synced;
	s->event_synced = true;
	s->event_synced_id = id;
	s->event_synced_ns = mt_mono(sv->clock);
	pthread_mutex_unlock(&s->mu);
	if (linked)
		return;
	s->synced_next = atomic_load(&sv->synced);
	mt_xds_sub_ref(s);
	while (!atomic_compare_exchange_weak(&sv->synced, &s->synced_next, s))
		;
	if (atomic_load(&sv->freed)) {
		drop_synced(sv);
	} else if (!sv->opts.synced_later && !s->synced_next) {
		mt_ref_get(&sv->ref);
		mt_loop_post(sv->loop, run_synced, sv);
	}
}

static void tell_synced(struct mt_xds_server *sv)
{
	struct mt_xds_sub *next, *s = atomic_exchange(&sv->synced, NULL);
	for (; s; s = next) {
		next = s->synced_next;
		pthread_mutex_lock(&s->mu);
		struct mt_xds_event ev = { .kind = MT_XDS_SYNCED,
			.snapshot_id = s->event_synced_id,
			.at_ns = s->event_synced_ns };
		s->event_synced = false;
		pthread_mutex_unlock(&s->mu);
		if (ev.snapshot_id)
			deliver(s, &ev);
		mt_xds_sub_unref(s);
	}
}

void mt_xds_post_settled(struct mt_xds_sub *s, uint64_t id)
{
	pthread_mutex_lock(&s->mu);
	s->event_settled_id = id;
	bool post = must_post(s);
	pthread_mutex_unlock(&s->mu);
	if (post)
		mt_loop_post(s->server->loop, run_events, mt_xds_sub_ref(s));
}

/* The peer's words as one line of printable text. */
static char *plain(struct mt_view v)
{
	char *text = mt_strndup(v.p ? v.p : "", v.n);
	bool utf8 = mt_utf8_valid(text, strlen(text));
	for (char *p = text; *p; p++) {
		if ((unsigned char)*p < ' ' || (!utf8 && (unsigned char)*p >= 0x7f))
			*p = ' ';
	}
	return text;
}

void mt_xds_post_nack(struct mt_xds_sub *s, int type, struct mt_view words)
{
	struct mt_xds_tstate *t = s->types[type];
	char *copy = plain(words);
	pthread_mutex_lock(&s->mu);
	mt_free(t->nack);
	t->nack = copy;
	t->nack_id = t->status.sent_id;
	t->status.nacked = true;
	t->status.nacks++;
	s->event_synced_id = 0;
	s->event_nacks[type / 64] |= 1ull << (type % 64);
	bool post = must_post(s);
	pthread_mutex_unlock(&s->mu);
	if (post)
		mt_loop_post(s->server->loop, run_events, mt_xds_sub_ref(s));
}
