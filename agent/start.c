/* One call to Pilot, again every half second until it answers or the time is over:
 *
 *   ask ──answer──> save, done
 *       └─no─> again … └─time over─> the saved answer, else none; done
 *
 * What changes while Envoy runs reaches it only when it is started anew: nothing here is worth a restart
 * that nobody asked for. */
#include "agent/start.h"

#include <string.h>

#include "agent/answer.h"
#include "common/base/cidr.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/schema/decode.h"
#include "common/schema/pb_merge.h"
#include "meltemi/agent/v1/agent.pb-c.h"

static struct mt_log_scope scope = MT_LOG_SCOPE("start");

#define AGAIN_NS (500 * MT_NS_PER_MS)
#define RECORD "start"

struct agent_start {
	struct mt_ref ref;
	struct agent_start_opts o;
	struct mt_arena *arena;
	Core__Node *node;
	struct mt_rpc_channel *channel;
	struct mt_timer *timer;
	int64_t until_ns;
	struct agent_settings s;
	bool stopped, done, warned;
};

static void unref(struct agent_start *s)
{
	if (!mt_ref_put(&s->ref))
		return;
	for (size_t i = 0; i < s->s.npatches; i++)
		json_decref(s->s.patches[i]);
	mt_arena_free(s->arena);
	mt_free(s);
}

/* ---- the answer ---- */

static int take(struct agent_start *s, const uint8_t *p, size_t n, struct mt_err *err)
{
	const Mtagent__ReportResponse *m = (const Mtagent__ReportResponse *)mt_pb_unpack(
		&mtagent__report_response__descriptor, s->arena, p, n, err);

	if (!m)
		return err->code;
	s->s.known = true;
	if (m->proxy_config)
		s->s.config = m->proxy_config;
	s->s.patches = MT_ANEWN(s->arena, json_t *, m->n_bootstrap_patches + 1);
	for (size_t i = 0; i < m->n_bootstrap_patches; i++)
		s->s.patches[s->s.npatches++] = mt_pb_to_json(&m->bootstrap_patches[i]->base);
	return 0;
}

static void finish(struct agent_start *s)
{
	Mesh__ProxyConfig *c = (Mesh__ProxyConfig *)mt_pb_dup(&s->s.config->base, s->arena);

	s->done = true;
	mt_timer_stop(s->timer);
	if (s->o.own)
		mt_pb_merge(&c->base, &s->o.own->base, s->arena, true);
	s->s.config = c;
	s->o.done(s->o.ctx, &s->s);
}

static void use_saved(struct agent_start *s, const char *why)
{
	struct mt_buf b = { 0 };
	struct mt_err err = { 0 };
	int r = mt_state_load(s->o.state, RECORD, &b, &err);

	if (r == 0)
		r = take(s, (const uint8_t *)mt_buf_str(&b), b.n, &err);
	mt_log_warn(&scope, "Pilot does not say what to start the proxy with", MT_S("why", why),
		MT_S("instead", r == 0 ? "what it said last time" : "the options alone"));
	mt_buf_clear(&b);
}

static void ask(struct agent_start *s);

/* gRPC's codes of what may be otherwise in a moment. Anything else is an answer: a control plane that
 * does not know the question, or refuses this proxy, will not think better of it. */
static bool may_pass(int status)
{
	enum { CANCELLED = 1, UNKNOWN = 2, DEADLINE_EXCEEDED = 4, INTERNAL = 13, UNAVAILABLE = 14 };

	return status == CANCELLED || status == UNKNOWN || status == DEADLINE_EXCEEDED ||
		status == INTERNAL || status == UNAVAILABLE;
}

static void run_answer(void *arg)
{
	struct agent_answer *w = arg;
	struct agent_start *s = w->owner;
	struct mt_err err = { 0 };

	if (s->stopped || s->done) {
		/* nobody waits for it any more */
	} else if (w->status == 0 && take(s, w->bytes, w->n, &err) == 0) {
		if (mt_state_save(s->o.state, RECORD, w->bytes, w->n, &err) < 0)
			mt_log_error(&scope, "the settings are not saved", MT_S("why", err.msg));
		finish(s);
	} else if (!may_pass(w->status)) {
		use_saved(s, (const char *)w->bytes);
		finish(s);
	} else {
		if (!s->warned)
			mt_log_info(&scope, "Pilot has no answer yet", MT_I("status", w->status),
				MT_S("why", w->status ? (const char *)w->bytes : err.msg));
		s->warned = true;
		mt_timer_start(s->timer, AGAIN_NS, 0);
	}
	mt_free(w);
	unref(s);
}

/* On a completion-queue thread. */
static void on_done(void *ctx, int status, const char *msg, const void *p, size_t n)
{
	struct agent_start *s = ctx;

	mt_loop_post(s->o.report.loop, run_answer, agent_answer_new(s, status, msg, p, n));
}

static void ask(struct agent_start *s)
{
	Mtagent__ReportRequest m = MTAGENT__REPORT_REQUEST__INIT;
	struct mt_buf b = { 0 };
	int64_t left = s->until_ns - mt_mono(mt_loop_clock(s->o.report.loop));

	if (left <= 0) {
		use_saved(s, "no answer within --start-wait");
		finish(s);
		return;
	}
	m.node = s->node;
	m.group = (char *)(uintptr_t)s->o.report.group;
	m.starting = true;
	mt_pb_pack(&m.base, &b);
	mt_ref_get(&s->ref);
	mt_rpc_unary(s->channel, "/meltemi.agent.v1.Workloads/Report", b.p, b.n, left, NULL, 0,
		on_done, s);
	mt_buf_clear(&b);
}

static void on_timer(void *arg)
{
	ask(arg);
}

int agent_start_ask(const struct agent_start_opts *o, struct agent_start **ret, struct mt_err *err)
{
	static const Mesh__ProxyConfig none = MESH__PROXY_CONFIG__INIT;
	struct agent_start *s = MT_NEW(struct agent_start);
	const char *const ids[] = { o->report.pilot_id, NULL };
	int r;

	mt_ref_init(&s->ref);
	s->o = *o;
	s->arena = mt_arena_new(0);
	s->s.config = &none;
	if ((r = agent_report_node(&o->report, s->arena, &s->node, err)) < 0 ||
		(r = mt_rpc_channel_new(o->report.env, o->report.pilot_addr,
			 &(struct mt_rpc_channel_opts){ .identity = o->report.identity,
				 .server_ids = o->report.pilot_id ? ids : NULL },
			 &s->channel, err)) < 0) {
		unref(s);
		return r;
	}
	s->timer = mt_timer_new(o->report.loop, on_timer, s);
	s->until_ns = mt_mono(mt_loop_clock(o->report.loop)) + o->wait_ns;
	mt_timer_start(s->timer, 0, 0);
	*ret = s;
	return 0;
}

void agent_start_free(struct agent_start *s)
{
	if (!s)
		return;
	s->stopped = true;
	mt_timer_free(s->timer);
	mt_rpc_channel_free(s->channel);
	unref(s);
}

/* ---- options ---- */

int agent_start_parse(
	const char *yaml, struct mt_arena *a, const Mesh__ProxyConfig **ret, struct mt_err *err)
{
	struct mt_diags diags = { 0 };
	json_t *j = NULL;
	ProtobufCMessage *m = NULL;
	int r = 0;

	if (!*yaml) {
		*ret = NULL;
		return 0;
	}
	if (mt_yaml_to_json("--proxy-config", yaml, strlen(yaml), NULL, &j, &diags) == 0)
		m = mt_pb_from_json(
			&mesh__proxy_config__descriptor, j, "--proxy-config", a, &diags);
	if (m)
		*ret = (const Mesh__ProxyConfig *)m;
	else
		r = mt_fail(err, MT_INVALID, "--proxy-config", "%s%s%s",
			diags.n && diags.v[0].path ? diags.v[0].path : "",
			diags.n && diags.v[0].path ? ": " : "",
			diags.n ? diags.v[0].msg : "is no mapping");
	json_decref(j);
	mt_diags_clear(&diags);
	return r;
}

static int64_t ns_of(const Google__Protobuf__Duration *d)
{
	return d->seconds * MT_NS_PER_SEC + d->nanos;
}

static void add_arg(struct agent_options *o, struct mt_arena *a, const char *name, int64_t value)
{
	const char **v = MT_ANEWN(a, const char *, o->envoy_arg.n + 2);

	for (size_t i = 0; i < o->envoy_arg.n; i++)
		v[i] = o->envoy_arg.v[i];
	v[o->envoy_arg.n] = name;
	v[o->envoy_arg.n + 1] = mt_arena_printf(a, "%lld", (long long)value);
	o->envoy_arg.v = v;
	o->envoy_arg.n += 2;
}

static bool has_arg(const struct agent_options *o, const char *name)
{
	for (size_t i = 0; i < o->envoy_arg.n; i++)
		if (mt_str_prefix(o->envoy_arg.v[i], name))
			return true;
	return false;
}

void agent_settings_apply(const Mesh__ProxyConfig *c, bool (*said)(void *ctx, const char *option),
	void *ctx, struct mt_arena *a, struct agent_options *o)
{
	char host[256];
	uint16_t port;

	if (c->concurrency && c->concurrency->value >= 0 && c->concurrency->value <= 1024 &&
		!said(ctx, "concurrency"))
		o->concurrency = c->concurrency->value;
	if (c->drain_duration && ns_of(c->drain_duration) > 0 && !said(ctx, "drain_duration"))
		o->drain_duration = ns_of(c->drain_duration);
	if (c->termination_drain_duration && ns_of(c->termination_drain_duration) > 0 &&
		!said(ctx, "drain"))
		o->drain = ns_of(c->termination_drain_duration);
	if (c->proxy_admin_port > 0 && c->proxy_admin_port <= 65535 && !said(ctx, "envoy_admin") &&
		mt_hostport_parse(o->envoy_admin, host, &port) == 0)
		o->envoy_admin = mt_arena_printf(
			a, strchr(host, ':') ? "[%s]:%d" : "%s:%d", host, c->proxy_admin_port);
	if (c->file_flush_interval && ns_of(c->file_flush_interval) > 0 &&
		!has_arg(o, "--file-flush-interval-msec"))
		add_arg(o, a, "--file-flush-interval-msec",
			MT_MAX(ns_of(c->file_flush_interval) / MT_NS_PER_MS, 1));
	if (c->file_flush_min_size_kb && !has_arg(o, "--file-flush-min-size-kb"))
		add_arg(o, a, "--file-flush-min-size-kb", c->file_flush_min_size_kb);
}
