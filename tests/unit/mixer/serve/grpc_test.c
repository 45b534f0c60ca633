/* The services over real gRPC, in one process: verdicts, failures, reports, and programs that are
 * swapped while thousands of checks run. */
#include <pthread.h>
#include <stdatomic.h>

#include "common/rpc/rpc.h"
#include "common/schema/pb.h"
#include "envoy/service/auth/v3/auth.pb-c.h"
#include "mixer/serve/recent.h"
#include "mixer/serve/reports.h"
#include "tests/unit/mixer/lab.h"

#define CHECK_PATH "/envoy.service.auth.v3.Authorization/Check"
#define LOG_PATH "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs"
#define HEAD "apiVersion: config.istio.io/v1alpha2\n"
#define DENY(message)                                                                              \
	HEAD "kind: denier\nmetadata: {name: deny, namespace: shop}\nspec: {status: {code: 7, "    \
	     "message: " message "}}\n---\n" HEAD                                                  \
	     "kind: checknothing\nmetadata: {name: ask, namespace: shop}\nspec: {}\n---\n" HEAD    \
	     "kind: rule\nmetadata: {name: r, namespace: shop}\nspec: {match: 'request.method == " \
	     "\"PUT\"', requestHeaderOperations: [{name: x-seen, values: ['\"yes\"']}], actions: " \
	     "[{handler: deny.denier, instances: [ask.checknothing]}]}\n---\n" HEAD                \
	     "kind: rule\nmetadata: {name: s, namespace: shop}\nspec: {match: 'request.method == " \
	     "\"GET\"', requestHeaderOperations: [{name: x-seen, values: ['\"yes\"']}]}\n---\n"

struct bench {
	struct lab lab;
	struct mixer_serve serve;
	struct mt_rpc_env *env;
	struct mt_rpc_server *server;
	struct mt_rpc_channel *channel;
	char target[32];
};

static void start(struct bench *b, size_t queue)
{
	static const char *const addr = "127.19.7.2:0";
	struct mt_err err = { 0 };

	memset(b, 0, sizeof(*b));
	lab_start(&b->lab);
	b->serve.slot = mixer_slot_new();
	b->serve.clock = &b->lab.clock.clock;
	b->serve.recent = mixer_recent_new(4);
	mixer_serve_init(&b->serve);
	b->serve.reports = mixer_reports_start(&b->serve, queue);
	b->env = mt_rpc_env_new(2);
	const struct mt_rpc_method methods[] = { mixer_check_method(&b->serve),
		mixer_accesslog_method(&b->serve) };
	const struct mt_rpc_server_opts o = { .max_streams_per_connection = 1024 };
	ck_assert_msg(mt_rpc_server_start(b->env, &o, &addr, 1, methods, 2, &b->server, &err) == 0,
		"%s", err.msg);
	snprintf(b->target, sizeof(b->target), "127.19.7.2:%u", mt_rpc_server_port(b->server, 0));
	const struct mt_rpc_channel_opts co = { 0 };
	ck_assert_int_eq(mt_rpc_channel_new(b->env, b->target, &co, &b->channel, &err), 0);
}

static void put(struct bench *b, const char *yaml)
{
	ck_assert_msg(lab_config(&b->lab, yaml) == 0, "%s", lab_fault(&b->lab));
	mixer_slot_set(b->serve.slot, mixer_program_ref(b->lab.program));
}

static void stop(struct bench *b)
{
	mt_rpc_channel_free(b->channel);
	mt_rpc_server_stop(b->server, 0);
	mixer_reports_stop(b->serve.reports);
	mt_rpc_env_free(b->env);
	mixer_recent_free(b->serve.recent);
	mixer_serve_clear(&b->serve);
	mixer_slot_free(b->serve.slot);
	lab_stop(&b->lab);
}

/* ---- unary calls, waited for ---- */

struct call {
	pthread_mutex_t lock;
	pthread_cond_t over;
	bool done;
	int status;
	char msg[300];
	struct mt_buf answer;
};

static void called(void *ctx, int status, const char *msg, const void *p, size_t n)
{
	struct call *c = ctx;

	pthread_mutex_lock(&c->lock);
	c->done = true;
	c->status = status;
	snprintf(c->msg, sizeof(c->msg), "%s", msg ? msg : "");
	mt_buf_add(&c->answer, p ? p : "", n);
	pthread_cond_signal(&c->over);
	pthread_mutex_unlock(&c->lock);
}

static void call(struct bench *b, const void *p, size_t n, struct call *c)
{
	*c = (struct call){ .lock = PTHREAD_MUTEX_INITIALIZER, .over = PTHREAD_COND_INITIALIZER };
	mt_rpc_unary(b->channel, CHECK_PATH, p, n, 10 * MT_NS_PER_SEC, NULL, 0, called, c);
	pthread_mutex_lock(&c->lock);
	while (!c->done)
		pthread_cond_wait(&c->over, &c->lock);
	pthread_mutex_unlock(&c->lock);
}

static void pack(const ProtobufCMessageDescriptor *d, const char *json, struct mt_buf *out)
{
	struct mt_diags diags = { 0 };
	struct mt_arena *a = mt_arena_new(0);
	json_t *j = json_loads(json, 0, NULL);
	const ProtobufCMessage *m = j ? mt_pb_from_json(d, j, "", a, &diags) : NULL;

	ck_assert_msg(m != NULL, "%s: %s", json, diags.n ? diags.v[0].msg : "");
	mt_pb_pack(m, out);
	json_decref(j);
	mt_diags_clear(&diags);
	mt_arena_free(a);
}

static void request(const char *method, struct mt_buf *out)
{
	char json[400];

	snprintf(json, sizeof(json),
		"{\"attributes\": {\"request\": {\"http\": {\"method\": \"%s\", \"headers\": "
		"{\"authorization\": \"secret\"}}}, \"contextExtensions\": "
		"{\"destination.namespace\": \"shop\"}}}",
		method);
	pack(&auth__check_request__descriptor, json, out);
}

static const Auth__CheckResponse *check(struct bench *b, const char *method, struct call *c)
{
	struct mt_buf req = { 0 };
	const ProtobufCMessage *m;

	request(method, &req);
	call(b, req.p, req.n, c);
	mt_buf_clear(&req);
	m = c->status ? NULL
		      : mt_pb_unpack(&auth__check_response__descriptor, b->lab.a, c->answer.p,
				c->answer.n, NULL);
	mt_buf_clear(&c->answer);
	return (const Auth__CheckResponse *)m;
}

START_TEST(verdicts)
{
	struct bench b;
	struct call c;
	const Auth__CheckResponse *r;

	start(&b, 1 << 20);
	check(&b, "PUT", &c);
	ck_assert_int_eq(c.status, 14); /* no configuration yet: the proxy's policy decides */
	put(&b, DENY("go away"));
	r = check(&b, "PUT", &c);
	ck_assert_ptr_nonnull(r);
	ck_assert_int_eq(r->status->code, 7);
	ck_assert_int_eq(
		r->http_response_case, AUTH__CHECK_RESPONSE__HTTP_RESPONSE_DENIED_RESPONSE);
	ck_assert_int_eq(r->denied_response->status->code, 403);
	ck_assert_str_eq(r->denied_response->body, "PERMISSION_DENIED:deny.denier.shop:go away");
	r = check(&b, "GET", &c);
	ck_assert_int_eq(r->status->code, 0);
	ck_assert_uint_eq(r->ok_response->n_headers, 1);
	ck_assert_str_eq(r->ok_response->headers[0]->header->key, "x-seen");
	ck_assert_str_eq(r->ok_response->headers[0]->header->value, "yes");
	r = check(&b, "HEAD", &c);
	ck_assert_int_eq(r->status->code, 0);
	ck_assert_int_eq(r->http_response_case, AUTH__CHECK_RESPONSE__HTTP_RESPONSE_OK_RESPONSE);
	stop(&b);
}
END_TEST

START_TEST(the_newest_checks_are_kept)
{
	struct bench b;
	struct call c;
	json_t *j;
	char *text;

	start(&b, 1 << 20);
	put(&b, DENY("go away"));
	for (int i = 0; i < 9; i++)
		check(&b, i == 8 ? "PUT" : "GET", &c);
	j = mixer_recent_json(b.serve.recent);
	ck_assert_uint_eq(json_array_size(j), 4);
	ck_assert_str_eq(json_string_value(json_object_get(json_array_get(j, 0), "verdict")),
		"PERMISSION_DENIED");
	text = json_dumps(j, 0);
	ck_assert_ptr_null(strstr(text, "secret"));
	ck_assert_ptr_nonnull(strstr(text, "authorization"));
	free(text);
	json_decref(j);
	stop(&b);
}
END_TEST

START_TEST(malformed_checks)
{
	struct bench b;
	struct call c;

	start(&b, 1 << 20);
	put(&b, DENY("go away"));
	call(&b, "\xff\xff\xff", 3, &c);
	ck_assert_int_eq(c.status, 3);
	mt_buf_clear(&c.answer);
	call(&b, "", 0, &c);
	ck_assert_int_eq(c.status, 0);
	mt_buf_clear(&c.answer);
	stop(&b);
}
END_TEST

START_TEST(who_may_call)
{
	struct mixer_serve s = { .trust_domain = "cluster.local" };
	struct mt_rpc_peer p = { .tls = true };

	ck_assert_int_eq(mixer_serve_allow(&s, &p, NULL), MT_UNAUTHENTICATED);
	strcpy(p.spiffe_id, "spiffe://elsewhere/ns/a/sa/b");
	ck_assert_int_eq(mixer_serve_allow(&s, &p, NULL), MT_DENIED);
	strcpy(p.spiffe_id, "spiffe://cluster.local/ns/a/sa/b");
	ck_assert_int_eq(mixer_serve_allow(&s, &p, NULL), 0);
	s.trust_domain = NULL;
	p.spiffe_id[0] = '\0';
	ck_assert_int_eq(mixer_serve_allow(&s, &p, NULL), 0);
}
END_TEST

/* ---- swaps under load ---- */

struct load {
	struct bench *b;
	atomic_int left, denied, passed, wrong;
	struct mt_buf put_req, get_req;
};

struct one {
	struct load *l;
	bool put;
};

static void next(struct load *l, struct one *o);

static void answered(void *ctx, int status, const char *msg, const void *p, size_t n)
{
	struct one *o = ctx;
	struct mt_arena *a = mt_arena_new(0);
	const Auth__CheckResponse *r = status || !n
		? NULL
		: (const Auth__CheckResponse *)mt_pb_unpack(
			  &auth__check_response__descriptor, a, p, n, NULL);

	(void)msg;
	if (!r || (r->status && r->status->code) != o->put)
		atomic_fetch_add(&o->l->wrong, 1);
	else
		atomic_fetch_add(o->put ? &o->l->denied : &o->l->passed, 1);
	mt_arena_free(a);
	next(o->l, o);
}

static void next(struct load *l, struct one *o)
{
	int n = atomic_fetch_sub(&l->left, 1);
	const struct mt_buf *req;

	if (n <= 0) {
		mt_free(o);
		return;
	}
	o->put = n % 2;
	req = o->put ? &l->put_req : &l->get_req;
	mt_rpc_unary(l->b->channel, CHECK_PATH, req->p, req->n, 30 * MT_NS_PER_SEC, NULL, 0,
		answered, o);
}

START_TEST(programs_are_swapped_under_load)
{
	enum { CHECKS = 8000, AT_ONCE = 64 };
	struct bench b;
	struct load l = { .b = &b };
	int swaps = 0;

	start(&b, 1 << 20);
	put(&b, DENY("first"));
	request("PUT", &l.put_req);
	request("GET", &l.get_req);
	atomic_store(&l.left, CHECKS);
	for (int i = 0; i < AT_ONCE; i++) {
		struct one *o = MT_NEW(struct one);

		o->l = &l;
		next(&l, o);
	}
	while (atomic_load(&l.denied) + atomic_load(&l.passed) + atomic_load(&l.wrong) < CHECKS)
		put(&b, swaps++ % 2 ? DENY("one") : DENY("other"));
	ck_assert_int_eq(atomic_load(&l.wrong), 0);
	ck_assert_int_eq(atomic_load(&l.denied) + atomic_load(&l.passed), CHECKS);
	ck_assert_int_gt(swaps, 10);
	mt_buf_clear(&l.put_req);
	mt_buf_clear(&l.get_req);
	stop(&b);
}
END_TEST

/* ---- access logs ---- */

#define TELEMETRY                                                                                   \
	HEAD "kind: metric\nmetadata: {name: count, namespace: istio-system}\nspec: {value: '1', "  \
	     "dimensions: {to: destination.workload.name | \"?\", code: response.code | "           \
	     "0}}\n---\n" HEAD                                                                      \
	     "kind: prometheus\nmetadata: {name: p, namespace: istio-system}\nspec: {metrics: "     \
	     "[{name: n, kind: COUNTER, instanceName: count.metric.istio-system, labelNames: [to, " \
	     "code]}]}\n---\n" HEAD                                                                 \
	     "kind: rule\nmetadata: {name: r, namespace: istio-system}\nspec: {actions: "           \
	     "[{handler: p.prometheus, instances: [count.metric]}]}\n---\n"
#define NODE                                                                                       \
	"\"identifier\": {\"node\": {\"metadata\": {\"WORKLOAD_NAME\": \"reviews-v1\", "           \
	"\"NAMESPACE\": \"shop\"}}, \"logName\": \"context.reporter.kind=inbound\"}"
#define ENTRIES(code)                                                                              \
	"\"httpLogs\": {\"logEntry\": [{\"response\": {\"responseCode\": " code                    \
	"}}, {\"response\": {\"responseCode\": " code "}}]}"

struct logger {
	pthread_mutex_t lock;
	pthread_cond_t change;
	const char *const *messages; /* JSON, ends with NULL */
	bool sent, closed;
	int status;
};

static void send_next(struct mt_rpc_stream *s, struct logger *g)
{
	struct mt_buf b = { 0 };
	mt_slice slice;

	if (!*g->messages) {
		mt_rpc_stream_finish(s, 0, "");
		return;
	}
	pack(&als__stream_access_logs_message__descriptor, *g->messages++, &b);
	slice = mt_slice_copy(b.p, b.n);
	mt_buf_clear(&b);
	mt_rpc_stream_send(s, &slice, 1);
}

static void logger_sent(struct mt_rpc_stream *s)
{
	send_next(s, mt_rpc_stream_user(s));
}

static void logger_message(struct mt_rpc_stream *s, const void *p, size_t n)
{
	(void)s, (void)p, (void)n;
}

static void logger_close(struct mt_rpc_stream *s, int status, const char *msg)
{
	struct logger *g = mt_rpc_stream_user(s);

	(void)msg;
	pthread_mutex_lock(&g->lock);
	g->closed = true;
	g->status = status;
	pthread_cond_signal(&g->change);
	pthread_mutex_unlock(&g->lock);
}

static void logger_wake(struct mt_rpc_stream *s)
{
	struct logger *g = mt_rpc_stream_user(s);

	if (!g->sent) {
		g->sent = true;
		send_next(s, g);
	}
}

/* Sends all, half-closes, waits for the end; the status. */
static int log_all(struct bench *b, const char *const *messages)
{
	static const struct mt_rpc_ops ops = { .message = logger_message,
		.sent = logger_sent,
		.wake = logger_wake,
		.close = logger_close };
	struct logger g = { .lock = PTHREAD_MUTEX_INITIALIZER,
		.change = PTHREAD_COND_INITIALIZER,
		.messages = messages };
	struct mt_rpc_stream *s =
		mt_rpc_call(b->channel, LOG_PATH, &ops, &g, 10 * MT_NS_PER_SEC, NULL, 0);

	mt_rpc_stream_wake(s);
	pthread_mutex_lock(&g.lock);
	while (!g.closed)
		pthread_cond_wait(&g.change, &g.lock);
	pthread_mutex_unlock(&g.lock);
	mt_rpc_stream_unref(s);
	return g.status;
}

static char *scraped(struct bench *b)
{
	struct mt_buf out = { 0 };
	char *copy;

	mixer_collectors_text(b->lab.collectors, &out);
	copy = mt_arena_strdup(b->lab.a, mt_buf_str(&out));
	mt_buf_clear(&out);
	return copy;
}

static void until(struct bench *b, const char *line)
{
	for (int i = 0; i < 200000 && !strstr(scraped(b), line); i++) {
		mt_arena_reset(b->lab.a);
		sched_yield();
	}
	ck_assert_msg(strstr(scraped(b), line) != NULL, "%s in %s", line, scraped(b));
}

START_TEST(reports)
{
	static const char *const v[] = { "{" NODE ", " ENTRIES("200") "}", "{" ENTRIES("200") "}",
		"{" ENTRIES("503") "}", "{}", NULL };
	struct bench b;

	start(&b, 1 << 20);
	put(&b, TELEMETRY);
	ck_assert_int_eq(log_all(&b, v), 0);
	until(&b, "istio_n{to=\"reviews-v1\",code=\"200\"} 4\n");
	until(&b, "istio_n{to=\"reviews-v1\",code=\"503\"} 2\n");
	stop(&b);
}
END_TEST

START_TEST(first_message_must_say_who)
{
	static const char *const v[] = { "{" ENTRIES("200") "}", "{" ENTRIES("200") "}", NULL };
	struct bench b;

	start(&b, 1 << 20);
	put(&b, TELEMETRY);
	ck_assert_int_eq(log_all(&b, v), 3);
	stop(&b);
}
END_TEST

START_TEST(full_queue_drops)
{
	struct bench b;
	struct mt_buf m = { 0 };
	struct mixer_reporter *who;
	Als__StreamAccessLogsMessage__Identifier id =
		ALS__STREAM_ACCESS_LOGS_MESSAGE__IDENTIFIER__INIT;

	start(&b, 64);
	put(&b, TELEMETRY);
	who = mixer_reporter_new(&id, "");
	pack(&als__stream_access_logs_message__descriptor, "{" NODE ", " ENTRIES("200") "}", &m);
	ck_assert_uint_gt(m.n, 64);
	ck_assert(!mixer_reports_put(b.serve.reports, who, m.p, m.n));
	mt_buf_clear(&m);
	pack(&als__stream_access_logs_message__descriptor, "{" ENTRIES("200") "}", &m);
	ck_assert(mixer_reports_put(b.serve.reports, who, m.p, m.n));
	until(&b, "istio_n{to=\"?\",code=\"200\"} 2\n");
	mt_buf_clear(&m);
	mixer_reporter_unref(who);
	stop(&b);
}
END_TEST

START_TEST(entries_are_counted_without_unpacking)
{
	struct mt_buf m = { 0 };

	pack(&als__stream_access_logs_message__descriptor, "{" NODE ", " ENTRIES("200") "}", &m);
	ck_assert_uint_eq(mixer_reports_entries(m.p, m.n), 2);
	for (size_t cut = 0; cut < m.n; cut++)
		ck_assert_uint_le(mixer_reports_entries(m.p, cut), 2);
	mt_buf_clear(&m);
	pack(&als__stream_access_logs_message__descriptor, "{\"tcpLogs\": {\"logEntry\": [{}]}}",
		&m);
	ck_assert_uint_eq(mixer_reports_entries(m.p, m.n), 1);
	mt_buf_clear(&m);
	ck_assert_uint_eq(mixer_reports_entries("\xff\xff\xff\xff", 4), 0);
}
END_TEST

MT_UNIT(grpc, verdicts, the_newest_checks_are_kept, malformed_checks, who_may_call,
	programs_are_swapped_under_load, reports, first_message_must_say_who, full_queue_drops,
	entries_are_counted_without_unpacking)
