/* What agents report: health of workloads, membership of groups, credentials that a proxy may be given.
 *
 *   agent ── Report ──> admitted as its proxy would be ──> record, a lease of LEASE_NS
 *      ├─ health of the WorkloadEntry objects that have the workload's address and namespace
 *      ├─ group: a WorkloadEntry made of the WorkloadGroup's template, for as long as the lease runs
 *      └─ credentials: chains that name others are left out of that proxy's listeners
 *
 * With a probe in its group a workload is unhealthy until its agent says otherwise: nothing is sent to
 * what has never answered. Health of a WorkloadEntry that somebody wrote stays as it was last said when
 * the lease ends: who took the workload away will take the entry away too.
 *
 * Members are kept on disk: a Pilot that starts again goes on with them, for as long as a lease.
 *
 * A call arrives on its own thread, is answered on it, and does its work on the loop in between. */
#include "pilot/agents.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/base/cidr.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/base/vec.h"
#include "common/schema/pb.h"
#include "meltemi/agent/v1/agent.pb-c.h"
#include "pilot/agents_start.h"
#include "pilot/agents_state.h"
#include "pilot/push/admit.h"

static struct mt_log_scope scope = MT_LOG_SCOPE("agents");

enum { REPORT_MAX = 256 << 10, AGENTS_MAX = 100000 };
#define LEASE_NS (20 * MT_NS_PER_SEC)

struct agent {
	struct pilot_proxy *proxy; /* as admitted; NULL: it has not reported to this Pilot yet */
	int64_t seen_ns;
	char *group;            /* "ns/name"; NULL none */
	struct mt_object *made; /* the WorkloadEntry that stands for it; NULL none */
	Mtagent__ReportRequest__Health health;
	char *reason;
};

struct pilot_agents {
	struct pilot *p;
	struct mt_map *agents; /* by node id */
	struct mt_timer *timer;
	bool unsaved; /* what is on disk is older */
};

/* ---- the entry that stands for a member of a group ---- */

struct find {
	const char *key;
	const struct mt_object *found;
};

static void find_one(void *ctx, struct mt_object *o)
{
	struct find *f = ctx;
	char key[600];

	if (!f->found && strcmp(mt_object_key(o, key, sizeof(key)), f->key) == 0)
		f->found = o;
}

static const struct mt_object *find_object(struct pilot *p, enum mt_kind_id kind, const char *key)
{
	struct find f = { .key = key };

	mt_feed_each(p->feed, kind, find_one, &f);
	return f.found;
}

static void entry_changed(struct pilot_agents *as, struct mt_object *old, struct mt_object *new)
{
	struct mt_feed_change c = { .old = old, .new = new };

	as->unsaved = true;
	pilot_config_object(as->p, &c);
}

static char *entry_name(struct mt_arena *a, const char *group, const char *ip)
{
	char *name = mt_arena_printf(a, "%s-%s", group, ip);

	for (char *c = name; *c; c++)
		if (*c == ':')
			*c = '-';
	return name;
}

static const char *locality(struct mt_arena *a, const struct pilot_proxy *p)
{
	if (!*p->region || !*p->zone)
		return mt_arena_strdup(a, p->region);
	return *p->subzone ? mt_arena_printf(a, "%s/%s/%s", p->region, p->zone, p->subzone)
			   : mt_arena_printf(a, "%s/%s", p->region, p->zone);
}

/* The template, with what only the workload knows. */
static struct mt_object *make_entry(const struct mt_object *group, const struct pilot_proxy *p)
{
	const Nw__WorkloadGroup *g = (const Nw__WorkloadGroup *)group->spec;
	struct mt_object *o = mt_object_new(&mt_kinds[MT_KIND_WORKLOAD_ENTRY], 1024);
	struct mt_arena *a = o->arena;
	Nw__WorkloadEntry *w = (Nw__WorkloadEntry *)mt_pb_dup(&g->template_->base, a);
	size_t n = g->metadata ? g->metadata->n_labels : 0;

	w->address = mt_arena_strdup(a, p->ips[0]);
	if (!*w->service_account)
		w->service_account = mt_arena_strdup(a, p->service_account);
	if (!*w->network)
		w->network = mt_arena_strdup(a, p->network);
	if (!*w->locality)
		w->locality = (char *)(uintptr_t)locality(a, p);
	o->name = entry_name(a, group->name, p->ips[0]);
	o->ns = mt_arena_strdup(a, group->ns);
	o->labels = MT_ANEWN(a, struct mt_kv, n + 1);
	for (size_t i = 0; i < n; i++)
		o->labels[i] = (struct mt_kv){ mt_arena_strdup(a, g->metadata->labels[i]->key),
			mt_arena_strdup(a, g->metadata->labels[i]->value) };
	o->nlabels = n;
	o->spec = &w->base;
	mt_object_seal(o);
	return o;
}

static bool has_probe(const struct mt_object *group)
{
	return ((const Nw__WorkloadGroup *)group->spec)->probe != NULL;
}

/* Brings the entry that stands for it up to date with its group. */
static void refresh_entry(struct pilot_agents *as, struct agent *x)
{
	const struct mt_object *group =
		x->group ? find_object(as->p, MT_KIND_WORKLOAD_GROUP, x->group) : NULL;
	struct mt_object *old = x->made;
	char key[600];

	x->made = NULL;
	if (group && ((const Nw__WorkloadGroup *)group->spec)->template_) {
		x->made = make_entry(group, x->proxy);
		mt_object_key(x->made, key, sizeof(key));
		if (find_object(as->p, MT_KIND_WORKLOAD_ENTRY, key)) {
			mt_object_unref(x->made); /* somebody wrote it: that one counts */
			x->made = NULL;
		}
	}
	if (x->made && (!old || old->hash != x->made->hash)) {
		entry_changed(as, old, x->made);
		pilot_config_health(as->p, key,
			x->health == MTAGENT__REPORT_REQUEST__HEALTH__HEALTHY || !has_probe(group));
	} else if (old && !x->made) {
		entry_changed(as, old, NULL);
	}
	mt_object_unref(old);
}

/* ---- health ---- */

struct told {
	struct pilot_agents *as;
	const struct agent *x;
};

static void tell_one(void *ctx, struct mt_object *o)
{
	const struct told *t = ctx;
	const Nw__WorkloadEntry *w = (const Nw__WorkloadEntry *)o->spec;
	char key[600];

	if (strcmp(o->ns, t->x->proxy->ns) != 0)
		return;
	for (size_t i = 0; i < t->x->proxy->nips; i++)
		if (strcmp(w->address, t->x->proxy->ips[i]) == 0) {
			pilot_config_health(t->as->p, mt_object_key(o, key, sizeof(key)),
				t->x->health == MTAGENT__REPORT_REQUEST__HEALTH__HEALTHY);
			return;
		}
}

static void tell_health(struct pilot_agents *as, const struct agent *x)
{
	struct told t = { as, x };

	if (x->health == MTAGENT__REPORT_REQUEST__HEALTH__UNKNOWN)
		return;
	mt_feed_each(as->p->feed, MT_KIND_WORKLOAD_ENTRY, tell_one, &t);
	if (x->made)
		tell_one(&t, x->made);
}

/* ---- reports ---- */

static void agent_free(void *ptr)
{
	struct agent *x = ptr;

	pilot_proxy_unref(x->proxy);
	mt_object_unref(x->made);
	mt_free(x->group);
	mt_free(x->reason);
	mt_free(x);
}

static int admitted(struct pilot *p, const Mtagent__ReportRequest *m,
	const struct mt_rpc_peer *peer, struct pilot_proxy **ret, struct mt_err *err)
{
	MT_AUTO(pilot_proxy_unrefp) struct pilot_proxy *claimed = NULL;
	int r;

	if (!p->synced)
		return mt_fail(err, MT_UNAVAILABLE, NULL, "configuration is not complete yet");
	if (!m->node)
		return mt_fail(err, MT_INVALID, "node", "is missing");
	if ((r = pilot_proxy_new(m->node, &claimed, err)) < 0)
		return r;
	return pilot_admit(push_current(p->push), claimed, peer, ret, err);
}

/* The identity that a group gives is only for who has it. */
static int may_join(const struct mt_object *group, const struct pilot_proxy *p,
	const struct mt_rpc_peer *peer, struct mt_err *err)
{
	const Nw__WorkloadGroup *g = (const Nw__WorkloadGroup *)group->spec;
	const char *sa = g->template_ ? g->template_->service_account : "";

	if (peer->tls && *sa && strcmp(sa, p->service_account) != 0)
		return mt_fail(err, MT_DENIED, "group",
			"%s is for service account %s, the certificate says %s", group->name, sa,
			p->service_account);
	return 0;
}

static void replace_text(char **at, const char *text)
{
	mt_free(*at);
	*at = *text ? mt_strdup(text) : NULL;
}

static void tell_start(struct pilot *p, const struct pilot_proxy *x, const struct mt_object *group,
	struct mt_buf *reply)
{
	MT_AUTO(mt_arena_freep) struct mt_arena *a = mt_arena_new(0);
	Mtagent__ReportResponse out = MTAGENT__REPORT_RESPONSE__INIT;

	pilot_start_answer(p, x, group, a, &out);
	mt_pb_pack(&out.base, reply);
}

static int take_report(struct pilot_agents *as, const Mtagent__ReportRequest *m,
	const struct mt_rpc_peer *peer, struct mt_buf *reply, struct mt_err *err)
{
	struct pilot_proxy *proxy = NULL;
	Mtagent__ReportResponse out = MTAGENT__REPORT_RESPONSE__INIT;
	int r = admitted(as->p, m, peer, &proxy, err);

	if (r < 0)
		return r;
	MT_AUTO(mt_strfreep) char *key = mt_asprintf("%s/%s", proxy->ns, m->group);
	const struct mt_object *group =
		*m->group ? find_object(as->p, MT_KIND_WORKLOAD_GROUP, key) : NULL;
	struct agent *x = mt_map_get(as->agents, proxy->node_id);
	if (!x && mt_map_size(as->agents) >= AGENTS_MAX)
		r = mt_fail(err, MT_LIMIT, NULL, "%d agents report already", AGENTS_MAX);
	else if (group)
		r = may_join(group, proxy, peer, err);
	if (r < 0 || m->starting) {
		if (r == 0)
			tell_start(as->p, proxy, group, reply);
		pilot_proxy_unref(proxy);
		return r;
	}
	if (!x) {
		x = MT_NEW(struct agent);
		mt_map_put(as->agents, proxy->node_id, x);
	}
	as->unsaved = as->unsaved || x->health != m->health;
	if (x->health != m->health)
		mt_log_info(&scope, "workload reports", MT_S("proxy", proxy->node_id),
			MT_S("health",
				m->health == MTAGENT__REPORT_REQUEST__HEALTH__HEALTHY ? "healthy"
					: m->health == MTAGENT__REPORT_REQUEST__HEALTH__UNHEALTHY
					? "unhealthy"
					: "unknown"),
			MT_S("reason", m->reason));
	pilot_proxy_unref(x->proxy);
	x->proxy = proxy;
	x->seen_ns = mt_mono(mt_loop_clock(as->p->loop));
	x->health = m->health;
	replace_text(&x->group, *m->group ? key : "");
	replace_text(&x->reason, m->reason);
	refresh_entry(as, x);
	tell_health(as, x);
	if (m->credentials_known)
		push_credentials(as->p->push, proxy->node_id, (const char *const *)m->credentials,
			m->n_credentials);
	if (group)
		out.group = (Nw__WorkloadGroup *)(uintptr_t)group->spec;
	mt_pb_pack(&out.base, reply);
	return 0;
}

/* ---- on disk ---- */

static void save(struct pilot_agents *as)
{
	MT_VEC(struct pilot_member) v = { 0 };
	struct mt_err err = { 0 };

	for (struct mt_map_it it = { 0 }; mt_map_next(as->agents, &it);) {
		const struct agent *x = it.value;
		struct pilot_member m = { it.key, x->group,
			x->health == MTAGENT__REPORT_REQUEST__HEALTH__HEALTHY, x->made };
		if (x->made && x->group)
			mt_vec_push(&v, m);
	}
	if (pilot_members_save(mt_daemon_state(as->p->d), v.v, v.n, &err) < 0)
		mt_log_error(&scope, "members of groups are not saved", MT_S("why", err.msg));
	mt_vec_clear(&v);
	as->unsaved = false;
}

static void loaded(void *ctx, const struct pilot_member *m)
{
	struct pilot_agents *as = ctx;
	struct agent *x = MT_NEW(struct agent);
	char key[600];

	x->seen_ns = mt_mono(mt_loop_clock(as->p->loop));
	x->group = mt_strdup(m->group);
	x->made = mt_object_ref(m->made);
	x->health = m->healthy ? MTAGENT__REPORT_REQUEST__HEALTH__HEALTHY
			       : MTAGENT__REPORT_REQUEST__HEALTH__UNHEALTHY;
	void *twin = mt_map_put(as->agents, m->node_id, x);
	if (twin)
		agent_free(twin);
	entry_changed(as, NULL, x->made);
	pilot_config_health(as->p, mt_object_key(x->made, key, sizeof(key)), m->healthy);
}

static void load(struct pilot_agents *as)
{
	struct mt_err err = { 0 };
	int r = pilot_members_load(mt_daemon_state(as->p->d), loaded, as, &err);

	if (r < 0 && r != MT_NOT_FOUND)
		mt_log_error(
			&scope, "members of groups cannot be read from disk", MT_S("why", err.msg));
	as->unsaved = false;
}

static void expire(void *arg)
{
	struct pilot_agents *as = arg;
	int64_t now = mt_mono(mt_loop_clock(as->p->loop));

	for (struct mt_map_it it = { 0 }; mt_map_next(as->agents, &it);) {
		struct agent *x = it.value;
		if (now - x->seen_ns < LEASE_NS)
			continue;
		push_credentials_forget(as->p->push, it.key);
		mt_map_del(as->agents, it.key);
		if (x->made)
			entry_changed(as, x->made, NULL);
		agent_free(x);
	}
	if (as->unsaved)
		save(as);
}

void pilot_agents_changed(struct pilot_agents *as, const struct mt_object *o)
{
	char key[600];

	if (!as)
		return;
	mt_object_key(o, key, sizeof(key));
	for (struct mt_map_it it = { 0 }; mt_map_next(as->agents, &it);) {
		struct agent *x = it.value;
		if (!x->proxy)
			continue;
		if (o->kind->id == MT_KIND_WORKLOAD_GROUP && mt_streq(x->group, key))
			refresh_entry(as, x);
		else if (o->kind->id == MT_KIND_WORKLOAD_ENTRY && strcmp(o->ns, x->proxy->ns) == 0)
			tell_health(as, x);
	}
}

/* ---- calls ---- */

struct call {
	struct mt_ref ref;
	struct pilot_agents *as;
	struct mt_rpc_stream *stream;
	struct mt_arena *arena;
	Mtagent__ReportRequest *msg;
	struct mt_rpc_peer peer;
	pthread_mutex_t mu;
	bool done; /* guarded by mu, as all below */
	int code;
	struct mt_err err;
	struct mt_buf reply;
};

static void call_unref(struct call *c)
{
	if (!mt_ref_put(&c->ref))
		return;
	mt_arena_free(c->arena);
	mt_buf_clear(&c->reply);
	pthread_mutex_destroy(&c->mu);
	mt_free(c);
}

static void run_call(void *arg)
{
	struct call *c = arg;
	struct mt_buf reply = { 0 };
	struct mt_err err = { 0 };
	int r = take_report(c->as, c->msg, &c->peer, &reply, &err);

	if (r < 0)
		mt_log_warn(&scope, "report refused", MT_S("peer", c->peer.addr),
			MT_S("identity", c->peer.spiffe_id), MT_S("why", err.msg));
	pthread_mutex_lock(&c->mu);
	c->done = true;
	c->code = r;
	c->err = err;
	c->reply = reply;
	pthread_mutex_unlock(&c->mu);
	mt_rpc_stream_wake(c->stream);
	mt_rpc_stream_unref(c->stream);
	call_unref(c);
}

static int on_open(struct mt_rpc_stream *s, void *ctx, struct mt_err *err)
{
	struct call *c = MT_NEW(struct call);

	(void)err;
	mt_ref_init(&c->ref);
	pthread_mutex_init(&c->mu, NULL);
	c->as = ctx;
	c->arena = mt_arena_new(0);
	mt_rpc_stream_set_user(s, c);
	return 0;
}

static void on_message(struct mt_rpc_stream *s, const void *p, size_t n)
{
	struct call *c = mt_rpc_stream_user(s);
	struct mt_err err = { 0 };

	if (c->msg) {
		mt_rpc_stream_finish(s, mt_code_grpc(MT_INVALID), "one report a call");
		return;
	}
	c->msg = (Mtagent__ReportRequest *)mt_pb_unpack(
		&mtagent__report_request__descriptor, c->arena, p, n, &err);
	if (!c->msg) {
		mt_rpc_stream_finish(s, mt_code_grpc(err.code), err.msg);
		return;
	}
	c->peer = *mt_rpc_stream_peer(s);
	c->stream = mt_rpc_stream_ref(s);
	mt_ref_get(&c->ref);
	mt_loop_post(c->as->p->loop, run_call, c);
}

static void on_wake(struct mt_rpc_stream *s)
{
	struct call *c = mt_rpc_stream_user(s);

	pthread_mutex_lock(&c->mu);
	bool done = c->done;
	pthread_mutex_unlock(&c->mu);
	if (!done)
		return;
	if (c->code < 0) {
		mt_rpc_stream_finish(s, mt_code_grpc(c->code), c->err.msg);
		return;
	}
	mt_slice m = mt_slice_copy(mt_buf_str(&c->reply), c->reply.n);
	mt_rpc_stream_reply(s, &m, 1);
}

static void on_close(struct mt_rpc_stream *s, int status, const char *msg)
{
	(void)status;
	(void)msg;
	call_unref(mt_rpc_stream_user(s));
}

static const struct mt_rpc_ops ops = {
	.open = on_open,
	.message = on_message,
	.wake = on_wake,
	.close = on_close,
};

void pilot_agents_method(struct pilot_agents *as, struct mt_rpc_method *ret)
{
	*ret = (struct mt_rpc_method){ .path = "/meltemi.agent.v1.Workloads/Report",
		.ops = &ops,
		.max_message = REPORT_MAX,
		.ctx = as };
}

struct pilot_agents *pilot_agents_new(struct pilot *p)
{
	struct pilot_agents *as = MT_NEW(struct pilot_agents);

	as->p = p;
	as->agents = mt_map_new();
	as->timer = mt_timer_new(p->loop, expire, as);
	mt_timer_start(as->timer, MT_NS_PER_SEC, MT_NS_PER_SEC);
	load(as);
	return as;
}

void pilot_agents_free(struct pilot_agents *as)
{
	if (!as)
		return;
	if (as->unsaved)
		save(as);
	mt_timer_free(as->timer);
	mt_map_free(as->agents, agent_free);
	mt_free(as);
}
