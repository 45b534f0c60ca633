/* A report is whole and repeated: Pilot takes one that does not come for 20 s as the end of the workload.
 * One is sent every 5 s, and at once when something changed; one call is under way at a time, and what
 * changes meanwhile goes with the next.
 *
 *   Pilot's answer ──group──> probe ──health──┐
 *   folders of credentials ──────names────────┴──> report */
#include "agent/report.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "agent/answer.h"
#include "agent/bootstrap.h"
#include "agent/probe.h"
#include "agent/secret_name.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/base/vec.h"
#include "common/run/version.h"
#include "common/schema/pb.h"
#include "meltemi/agent/v1/agent.pb-c.h"

static struct mt_log_scope scope = MT_LOG_SCOPE("report");

enum { CREDENTIALS_MAX = 1024, PERIOD_S = 5 };

struct names {
	char **v;
	size_t n, cap;
};

struct agent_report {
	struct mt_ref ref;
	struct agent_report_opts o;
	struct mt_arena *arena;
	Core__Node *node;
	struct mt_rpc_channel *channel;
	struct agent_probe *probe;
	struct mt_timer *timer;
	enum agent_health health;
	char reason[200];
	struct names credentials;
	bool stopped, draining, calling, changed, refused;
	int64_t sent_ns;
};

static void unref(struct agent_report *r)
{
	if (!mt_ref_put(&r->ref))
		return;
	mt_arena_free(r->arena);
	mt_free(r);
}

/* ---- credentials ---- */

static void names_clear(struct names *l)
{
	for (size_t i = 0; i < l->n; i++)
		mt_free(l->v[i]);
	mt_vec_clear(l);
}

static bool names_equal(const struct names *a, const struct names *b)
{
	bool same = a->n == b->n;

	for (size_t i = 0; same && i < a->n; i++)
		same = strcmp(a->v[i], b->v[i]) == 0;
	return same;
}

static void look_for(struct agent_report *r, const char *name, struct names *out)
{
	MT_AUTO(mt_strfreep) char *secret = mt_asprintf("kubernetes://%s", name);
	struct agent_secret_files f;

	if (out->n >= CREDENTIALS_MAX ||
		agent_secret_files_of(secret, (char *const *)(uintptr_t)r->o.credentials_dirs.v,
			r->o.credentials_dirs.n, &f, NULL) < 0)
		return;
	agent_secret_files_clear(&f);
	mt_vec_push(out, mt_strdup(name));
}

static void scan(struct agent_report *r, struct names *out)
{
	for (size_t i = 0; i < r->o.credentials_dirs.n; i++) {
		DIR *d = opendir(r->o.credentials_dirs.v[i]);
		for (struct dirent *e; d && (e = readdir(d));) {
			MT_AUTO(mt_strfreep) char *roots = mt_asprintf("%s-cacert", e->d_name);
			if (e->d_name[0] == '.')
				continue;
			look_for(r, e->d_name, out);
			if (!mt_str_suffix(e->d_name, "-cacert"))
				look_for(r, roots, out);
		}
		if (d)
			closedir(d);
	}
	if (out->n > 1)
		qsort(out->v, out->n, sizeof(*out->v), mt_strcmpp);
}

static void refresh_credentials(struct agent_report *r)
{
	struct names now = { 0 };

	scan(r, &now);
	if (names_equal(&now, &r->credentials)) {
		names_clear(&now);
		return;
	}
	names_clear(&r->credentials);
	r->credentials = now;
	r->changed = true;
}

/* ---- calls ---- */

static void send_report(struct agent_report *r);

static void take_group(struct agent_report *r, const uint8_t *p, size_t n)
{
	MT_AUTO(mt_arena_freep) struct mt_arena *a = mt_arena_new(0);
	struct mt_err err = { 0 };
	const Mtagent__ReportResponse *m = (const Mtagent__ReportResponse *)mt_pb_unpack(
		&mtagent__report_response__descriptor, a, p, n, &err);

	if (!m) {
		mt_log_error(&scope, "Pilot's answer cannot be read", MT_S("why", err.msg));
		return;
	}
	agent_probe_set(r->probe, m->group ? m->group->probe : NULL);
	/* A member of a group that asks nothing is well. */
	if (m->group && !m->group->probe && r->health == AGENT_HEALTH_UNKNOWN) {
		r->health = AGENT_HEALTHY;
		r->changed = true;
	}
}

static void run_answer(void *arg)
{
	struct agent_answer *w = arg;
	struct agent_report *r = w->owner;

	r->calling = false;
	if (!r->stopped && w->status == 0) {
		r->refused = false;
		take_group(r, w->bytes, w->n);
	} else if (!r->stopped) {
		if (!r->refused)
			mt_log_warn(&scope, "Pilot does not take the report",
				MT_I("status", w->status), MT_S("why", (const char *)w->bytes));
		r->refused = true;
		r->changed = false; /* again with the next period */
	}
	if (!r->stopped && r->changed)
		send_report(r);
	mt_free(w);
	unref(r);
}

/* On a completion-queue thread. */
static void on_done(void *ctx, int status, const char *msg, const void *p, size_t n)
{
	struct agent_report *r = ctx;

	mt_loop_post(r->o.loop, run_answer, agent_answer_new(r, status, msg, p, n));
}

static void send_report(struct agent_report *r)
{
	Mtagent__ReportRequest m = MTAGENT__REPORT_REQUEST__INIT;
	struct mt_buf b = { 0 };

	r->changed = true;
	if (r->calling)
		return;
	m.node = r->node;
	m.group = (char *)(uintptr_t)r->o.group;
	m.health = (Mtagent__ReportRequest__Health)(r->draining ? AGENT_UNHEALTHY : r->health);
	m.reason = r->draining ? (char *)(uintptr_t) "draining" : r->reason;
	m.credentials_known = r->o.credentials_dirs.n > 0;
	m.credentials = r->credentials.v;
	m.n_credentials = r->credentials.n;
	mt_pb_pack(&m.base, &b);
	r->changed = false;
	r->calling = true;
	r->sent_ns = mt_mono(mt_loop_clock(r->o.loop));
	mt_ref_get(&r->ref);
	mt_rpc_unary(r->channel, "/meltemi.agent.v1.Workloads/Report", b.p, b.n,
		PERIOD_S * MT_NS_PER_SEC, NULL, 0, on_done, r);
	mt_buf_clear(&b);
}

static void on_timer(void *arg)
{
	struct agent_report *r = arg;

	refresh_credentials(r);
	if (r->changed ||
		mt_mono(mt_loop_clock(r->o.loop)) - r->sent_ns >= PERIOD_S * MT_NS_PER_SEC)
		send_report(r);
}

static void on_health(void *ctx, enum agent_health health, const char *reason)
{
	struct agent_report *r = ctx;

	mt_log_info(&scope, "the workload's health changes",
		MT_S("health",
			health == AGENT_HEALTHY             ? "healthy"
				: health == AGENT_UNHEALTHY ? "unhealthy"
							    : "unknown"),
		MT_S("why", reason));
	r->health = health;
	snprintf(r->reason, sizeof(r->reason), "%s", reason);
	send_report(r);
}

/* ---- start and stop ---- */

int agent_report_node(
	const struct agent_report_opts *o, struct mt_arena *a, Core__Node **ret, struct mt_err *err)
{
	struct agent_bootstrap b = { .node = o->node,
		.pilot_addr = o->pilot_addr,
		.pilot_id = o->pilot_id,
		.admin_addr = "",
		.credentials = o->credentials_dirs.n > 0,
		.version = mt_version() };
	struct mt_diags diags = { 0 };
	json_t *j = agent_bootstrap_node(&b);

	*ret = j ? (Core__Node *)mt_pb_from_json(&core__node__descriptor, j, "node", a, &diags)
		 : NULL;
	json_decref(j);
	mt_diags_clear(&diags);
	return *ret ? 0 : mt_fail(err, MT_INVALID, NULL, "the workload cannot be described");
}

int agent_report_start(
	const struct agent_report_opts *o, struct agent_report **ret, struct mt_err *err)
{
	struct agent_report *r = MT_NEW(struct agent_report);
	const char *const ids[] = { o->pilot_id, NULL };
	int code;

	mt_ref_init(&r->ref);
	r->o = *o;
	r->arena = mt_arena_new(0);
	if ((code = agent_report_node(&r->o, r->arena, &r->node, err)) < 0 ||
		(code = mt_rpc_channel_new(o->env, o->pilot_addr,
			 &(struct mt_rpc_channel_opts){
				 .identity = o->identity, .server_ids = o->pilot_id ? ids : NULL },
			 &r->channel, err)) < 0) {
		unref(r);
		return code;
	}
	r->probe = agent_probe_new(&(struct agent_probe_opts){ .loop = o->loop,
		.env = o->env,
		.ip = o->node->ip,
		.allow_exec = o->allow_exec,
		.changed = on_health,
		.ctx = r });
	r->timer = mt_timer_new(o->loop, on_timer, r);
	mt_timer_start(r->timer, 0, MT_NS_PER_SEC);
	r->changed = true;
	*ret = r;
	return 0;
}

void agent_report_drain(struct agent_report *r)
{
	if (!r || r->draining)
		return;
	r->draining = true;
	send_report(r);
}

void agent_report_stop(struct agent_report *r)
{
	if (!r)
		return;
	r->stopped = true;
	mt_timer_free(r->timer);
	agent_probe_free(r->probe);
	mt_rpc_channel_free(r->channel);
	names_clear(&r->credentials);
	unref(r);
}
