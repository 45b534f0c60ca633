#include "mixer/serve/reports.h"

#include <pthread.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/schema/pb.h"
#include "mixer/attr/accesslog.h"
#include "mixer/metrics.h"

enum { BATCH_BYTES = 1 << 20, UNPACKED_MAX = 256 << 20 };

static struct mt_log_scope scope = MT_LOG_SCOPE("reports");

struct item {
	struct item *next;
	struct mixer_reporter *who;
	size_t n;
	char p[];
};

struct mixer_reports {
	const struct mixer_serve *serve;
	size_t max_bytes;
	pthread_t thread;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t more;
	struct item *first, **last;
	size_t bytes;
	bool stop;
};

/* ---- the queue ---- */

/* Reads a varint; NULL at the end or when it is too long. */
static const uint8_t *varint(const uint8_t *p, const uint8_t *end, uint64_t *ret)
{
	uint64_t v = 0;

	for (int shift = 0; p < end && shift < 64; shift += 7) {
		v |= (uint64_t)(*p & 0x7f) << shift;
		if (!(*p++ & 0x80)) {
			*ret = v;
			return p;
		}
	}
	return NULL;
}

/* The next length-delimited field; others do not occur in what is counted here. */
static const uint8_t *next_field(const uint8_t *p, const uint8_t *end, uint64_t *ret_number,
	const uint8_t **ret_value, uint64_t *ret_n)
{
	uint64_t tag;

	p = varint(p, end, &tag);
	if (!p || (tag & 7) != 2)
		return NULL;
	p = varint(p, end, ret_n);
	if (!p || *ret_n > (uint64_t)(end - p))
		return NULL;
	*ret_number = tag >> 3;
	*ret_value = p;
	return p + *ret_n;
}

static size_t count_fields(const uint8_t *p, const uint8_t *end, uint64_t number)
{
	const uint8_t *value;
	uint64_t got, n;
	size_t count = 0;

	while (p < end && (p = next_field(p, end, &got, &value, &n)))
		count += got == number;
	return p ? count : 0;
}

size_t mixer_reports_entries(const void *message, size_t size)
{
	const uint8_t *p = message, *end = p + size, *value;
	uint64_t number, n;
	size_t count = 0;

	while (p && p < end) {
		p = next_field(p, end, &number, &value, &n);
		if (p && (number == 2 || number == 3)) /* http_logs, tcp_logs; in them log_entry */
			count += count_fields(value, value + n, 1);
	}
	return p ? count : 0;
}

static void queue_bytes(const struct mixer_reports *r, size_t bytes)
{
	if (r->serve->metrics)
		mt_metric_set(r->serve->metrics, METRIC_mixer_report_queue_bytes, (double)bytes);
}

bool mixer_reports_put(struct mixer_reports *r, struct mixer_reporter *who, const void *p, size_t n)
{
	struct item *it;
	bool full;

	pthread_mutex_lock(&r->lock);
	full = r->stop || r->bytes + n > r->max_bytes;
	if (!full) {
		it = mt_alloc(sizeof(*it) + n);
		it->who = mixer_reporter_ref(who);
		it->n = n;
		memcpy(it->p, p, n);
		*r->last = it;
		r->last = &it->next;
		r->bytes += n;
		pthread_cond_signal(&r->more);
	}
	pthread_mutex_unlock(&r->lock);
	if (full)
		mixer_serve_count(r->serve, METRIC_mixer_reports_dropped_total,
			(double)mixer_reports_entries(p, n), NULL);
	return !full;
}

/* Waits for work; up to BATCH_BYTES, or one message. NULL: the end. */
static struct item *take(struct mixer_reports *r)
{
	struct item *first, **end;
	size_t bytes = 0;

	pthread_mutex_lock(&r->lock);
	while (!r->first && !r->stop)
		pthread_cond_wait(&r->more, &r->lock);
	first = r->first;
	for (end = &first; *end && bytes < BATCH_BYTES; end = &(*end)->next)
		bytes += (*end)->n;
	r->first = *end;
	*end = NULL;
	if (!r->first)
		r->last = &r->first;
	r->bytes -= bytes;
	bytes = r->bytes;
	pthread_mutex_unlock(&r->lock);
	queue_bytes(r, bytes);
	return first;
}

/* ---- the work ---- */

struct work {
	const struct mixer_serve *serve;
	const struct mixer_program *program;
	struct mixer_batch *batch;
	struct mt_arena *message, *scratch;
	int64_t now_ns;
	size_t entries;
};

static struct mixer_facts *facts_of(struct work *w, const struct mixer_facts *base)
{
	struct mixer_facts *f = MT_ANEW(w->scratch, struct mixer_facts);

	mixer_facts_copy(f, base, w->scratch);
	w->entries++;
	return f;
}

static void add_http(struct work *w, const struct mixer_facts *base,
	const Als__StreamAccessLogsMessage__HTTPAccessLogEntries *e, const struct mixer_log_opts *o)
{
	for (size_t i = 0; i < e->n_log_entry; i++) {
		struct mixer_facts *f = facts_of(w, base);

		mixer_attr_http_log(f, e->log_entry[i], o);
		mixer_batch_add(w->batch, &f->bag);
	}
	mixer_serve_count(w->serve, METRIC_mixer_reports_total, (double)e->n_log_entry, "http");
}

static void add_tcp(struct work *w, const struct mixer_facts *base,
	const Als__StreamAccessLogsMessage__TCPAccessLogEntries *e, const struct mixer_log_opts *o)
{
	for (size_t i = 0; i < e->n_log_entry; i++) {
		struct mixer_facts *f = facts_of(w, base);

		mixer_attr_tcp_log(f, e->log_entry[i], o);
		mixer_batch_add(w->batch, &f->bag);
	}
	mixer_serve_count(w->serve, METRIC_mixer_reports_total, (double)e->n_log_entry, "tcp");
}

static void work_off(struct work *w, const struct item *it)
{
	const struct mixer_log_opts o = { w->serve->trust_source_header, it->who->outbound,
		w->now_ns };
	struct mixer_facts base;
	struct mt_err err = { 0 };
	const Als__StreamAccessLogsMessage *m = (const Als__StreamAccessLogsMessage *)mt_pb_unpack(
		&als__stream_access_logs_message__descriptor, w->message, it->p, it->n, &err);

	if (!m) {
		mt_log_debug(&scope, "access logs refused", MT_S("why", err.msg));
		mixer_serve_count(w->serve, METRIC_mixer_reports_invalid_total, 1, NULL);
		return;
	}
	mixer_facts_init(&base, w->program->words->vocab, w->scratch);
	mixer_reporter_add(&base, it->who);
	if (m->log_entries_case == ALS__STREAM_ACCESS_LOGS_MESSAGE__LOG_ENTRIES_HTTP_LOGS)
		add_http(w, &base, m->http_logs, &o);
	else if (m->log_entries_case == ALS__STREAM_ACCESS_LOGS_MESSAGE__LOG_ENTRIES_TCP_LOGS)
		add_tcp(w, &base, m->tcp_logs, &o);
}

static void items_free(struct item *it)
{
	while (it) {
		struct item *next = it->next;

		mixer_reporter_unref(it->who);
		mt_free(it);
		it = next;
	}
}

static void run_batch(struct mixer_reports *r, struct work *w, const struct item *first)
{
	struct mixer_program *program = mixer_slot_get(r->serve->slot);

	if (!program) { /* nothing to count by yet */
		for (const struct item *it = first; it; it = it->next)
			mixer_serve_count(r->serve, METRIC_mixer_reports_dropped_total,
				(double)mixer_reports_entries(it->p, it->n), NULL);
		return;
	}
	w->program = program;
	w->batch = mixer_batch_new(program, w->scratch);
	w->now_ns = mt_wall(r->serve->clock);
	w->entries = 0;
	for (const struct item *it = first; it; it = it->next)
		work_off(w, it);
	mixer_batch_send(w->batch);
	if (r->serve->metrics)
		mt_metric_observe(
			r->serve->metrics, METRIC_mixer_report_batch_size, (double)w->entries);
	mt_arena_reset(w->message);
	mt_arena_reset(w->scratch);
	mixer_program_unref(program);
}

static void *reporter_thread(void *arg)
{
	struct mixer_reports *r = arg;
	struct work w = {
		.serve = r->serve, .message = mt_arena_new(UNPACKED_MAX), .scratch = mt_arena_new(0)
	};
	struct item *first;

	while ((first = take(r))) {
		run_batch(r, &w, first);
		items_free(first);
	}
	mt_arena_free(w.message);
	mt_arena_free(w.scratch);
	return NULL;
}

struct mixer_reports *mixer_reports_start(const struct mixer_serve *serve, size_t max_bytes)
{
	struct mixer_reports *r = MT_NEW(struct mixer_reports);

	r->serve = serve;
	r->max_bytes = max_bytes;
	r->last = &r->first;
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->more, NULL);
	pthread_create(&r->thread, NULL, reporter_thread, r);
	return r;
}

void mixer_reports_stop(struct mixer_reports *r)
{
	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	r->stop = true;
	pthread_cond_signal(&r->more);
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->thread, NULL);
	pthread_cond_destroy(&r->more);
	pthread_mutex_destroy(&r->lock);
	mt_free(r);
}
