/* How a change travels:
 *
 *   endpoints only: for each endpoint class, the load assignments of the services that changed are
 *     built again and patched into its set. Keys do not move, so views stay, but for the proxies at
 *     the addresses of those endpoints.
 *   anything else: each proxy's class keys are computed from the new index; proxies whose keys moved
 *     enter other views; classes that the declared flow marks are computed once each. (Keys that
 *     cannot have moved are not computed.)
 *
 * Then every view of which a set changed gets a new snapshot, and its proxies are told. A proxy that
 * connects before there is a world waits; one that connects later usually enters a view that exists
 * and costs a look-up. */
#include "pilot/push/push.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "pilot/metrics.h"
#include "pilot/push/admit.h"
#include "pilot/push/canary.h"
#include "pilot/push/credentials.h"
#include "pilot/push/tally.h"
#include "pilot/push/view.h"

static struct mt_log_scope scope = MT_LOG_SCOPE("ads");

/* Clusters before what routes to them, endpoints again after their clusters (Envoy warms a changed
 * cluster until its endpoints come), clusters removed last. */
const struct mt_xds_type push_types[PUSH_TYPES] = {
	[PUSH_CDS] = { "CDS", "type.googleapis.com/envoy.config.cluster.v3.Cluster",
		.wildcard = true, .needs = -1, .resend_with = -1, .keep_until_users_ack = true },
	[PUSH_EDS] = { "EDS", "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
		.needs = -1, .resend_with = PUSH_CDS, .keep_until_users_ack = true },
	[PUSH_LDS] = { "LDS", "type.googleapis.com/envoy.config.listener.v3.Listener",
		.wildcard = true, .needs = PUSH_CDS, .resend_with = -1 },
	[PUSH_RDS] = { "RDS", "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
		.needs = PUSH_CDS, .resend_with = -1 },
	[PUSH_VHDS] = { "VHDS", "type.googleapis.com/envoy.config.route.v3.VirtualHost",
		.wildcard = true, .needs = PUSH_RDS, .resend_with = PUSH_RDS,
		.resend_below = true },
};

static const char *const table_names[PILOT_TABLES] = {
	[PILOT_CLUSTERS] = "clusters",
	[PILOT_CLUSTERS_INBOUND] = "clusters_inbound",
	[PILOT_ENDPOINTS] = "endpoints",
	[PILOT_LISTENERS] = "listeners",
	[PILOT_ROUTES] = "routes",
	[PILOT_VIRTUAL_HOSTS] = "virtual_hosts",
	[PILOT_LISTENERS_INBOUND] = "listeners_inbound",
	[PILOT_ROUTES_INBOUND] = "routes_inbound",
};

struct push {
	struct mt_loop *loop;
	struct mt_metrics *metrics;
	unsigned max_proxies;
	bool virtual_hosts;
	struct pilot_world *world;
	uint64_t epoch;       /* of the world: grows with each */
	uint64_t built_epoch; /* of the last that more than endpoints changed in */
	uint64_t next_id;     /* of snapshots */
	struct push_views views;
	struct push_canary *canary;
	struct push_proxy *first;
	unsigned n;
	struct mt_metric_series *pushes[PUSH_TYPES]; /* pilot_xds_pushes */
	struct mt_map *credentials;    /* of proxies whose agents reported: credentials.h */
	void (*on_secrets)(void *ctx); /* NULL: nobody asks */
	void *on_secrets_ctx;
};

/* One of pilot_xds_pushes{type="cds"} */
static struct mt_metric_series *series_of(struct mt_metrics *m, int metric, int type)
{
	char name[8] = "";
	for (size_t i = 0; i + 1 < sizeof(name) && push_types[type].name[i]; i++)
		name[i] = (char)tolower((unsigned char)push_types[type].name[i]);
	return mt_metric_series(m, metric, (const char *const[]){ name, NULL });
}

struct push *push_new(struct mt_loop *l, struct mt_metrics *metrics, unsigned max_proxies)
{
	struct push *p = MT_NEW(struct push);
	p->loop = l;
	p->metrics = metrics;
	p->max_proxies = max_proxies;
	push_views_init(&p->views, metrics);
	p->canary = push_canary_new(&(struct push_canary_opts){
		.loop = l, .metrics = metrics, .views = &p->views, .last_id = &p->next_id });
	p->credentials = mt_map_new();
	for (int t = 0; t < PUSH_TYPES; t++)
		p->pushes[t] = series_of(metrics, METRIC_pilot_xds_pushes, t);
	return p;
}

void push_safety(struct push *p, const struct push_safety *s)
{
	push_canary_configure(p->canary, s);
}

void push_virtual_hosts(struct push *p, bool on)
{
	p->virtual_hosts = on;
}

void push_free(struct push *p)
{
	if (!p)
		return;
	push_canary_free(p->canary);
	push_views_clear(&p->views);
	mt_map_free(p->credentials, mt_free);
	pilot_world_unref(p->world);
	mt_free(p);
}

/* ---- views and snapshots ---- */

const struct push_views *push_views_of(const struct push *p)
{
	return &p->views;
}

const struct push_canary *push_canary_of(const struct push *p)
{
	return p->canary;
}

static void enter_view(struct push *p, struct push_proxy *x)
{
	MT_AUTO(mt_arena_freep) struct mt_arena *a = mt_arena_new(0);
	struct pilot_class_key keys[PILOT_TABLES];

	size_t instances = pilot_class_keys(p->world, x->proxy, a, keys);
	bool no_ip = x->proxy->type != PILOT_ROUTER && !instances;
	mt_metric_add(p->metrics, METRIC_pilot_no_ip, (double)no_ip - (double)x->no_ip);
	x->no_ip = no_ip;
	push_view_enter(&p->views, x, keys);
}

static void refresh_view(struct push *p, struct push_view *v, unsigned tables, int64_t made_ns)
{
	push_view_compute(v, p->world, p->epoch, tables);
	push_canary_view(p->canary, v, made_ns);
}

static void count_classes(struct push *p)
{
	push_tally_publish(&p->views, p->world, p->metrics);
	for (int t = 0; t < PILOT_TABLES; t++)
		mt_metric_set(p->metrics, METRIC_pilot_classes,
			(double)mt_map_size(p->views.classes[t]), table_names[t]);
}

/* A proxy whose certificate and registry no longer agree is sent away; the list may shrink. */
static int admit(struct push *p, struct push_proxy *x, struct mt_err *err)
{
	struct pilot_proxy *proxy;
	int r = pilot_admit(p->world, x->claimed, mt_xds_sub_peer(x->sub), &proxy, err);

	if (r < 0)
		return r;
	pilot_proxy_unref(x->proxy);
	x->proxy = proxy;
	return 0;
}

/* Where it belongs now. */
static void regroup_one(struct push *p, struct push_proxy *x)
{
	struct mt_err err = { 0 };

	if (admit(p, x, &err) < 0) {
		mt_log_warn(&scope, "proxy sent away", MT_S("proxy", x->claimed->node_id),
			MT_S("why", err.msg));
		mt_metric_add(p->metrics, METRIC_pilot_proxies_refused, 1, mt_code_name(err.code));
		mt_xds_sub_close(x->sub, err.code, err.msg);
		return;
	}
	struct push_view *old = x->view;
	enter_view(p, x);
	if (x->view != old && x->view->snap)
		push_canary_again(p->canary, x); /* it may have seen newer numbers */
}

static void regroup(struct push *p)
{
	for (struct push_proxy *x = p->first, *next; x; x = next) {
		next = x->next;
		regroup_one(p, x);
	}
}

/* ---- changes ---- */

/* For the endpoints of a class. What the class sees is found out once after each change of rules or
 * services. */
static struct pilot_job *endpoints_job(
	struct push *p, struct push_class *c, const struct pilot_proxy *of, struct mt_arena *a)
{
	if (c->scope && c->scope_epoch >= p->built_epoch)
		return pilot_job_endpoints(p->world, of, c->scope, a);
	struct pilot_job *j = pilot_job_new(p->world, of, a);
	mt_free(c->scope);
	c->scope = pilot_job_scope(j);
	c->scope_epoch = p->epoch;
	return j;
}

static void patch_endpoints(
	struct push *p, struct push_view *v, const struct pilot_endpoints_change *eps, size_t n)
{
	struct push_class *c = v->classes[PILOT_ENDPOINTS];

	if (c->epoch == p->epoch)
		return;
	MT_AUTO(mt_arena_freep) struct mt_arena *a = mt_arena_new(0);
	struct pilot_job *j = endpoints_job(p, c, v->first->proxy, a);
	for (size_t i = 0; i < n; i++) {
		int svc = pilot_world_find(p->world, eps[i].hostname, eps[i].ns);
		if (svc < 0)
			continue;
		const char **names;
		size_t nnames = pilot_clusters_of(j, (uint32_t)svc, &names);
		push_class_patch(c, j, names, nnames);
	}
	c->epoch = p->epoch;
}

/* ---- endpoints that are a proxy's own ---- */

static void note_addresses(struct mt_map *m, const struct pilot_endpoints *e)
{
	for (size_t i = 0; e && i < e->n; i++)
		mt_map_put(m, e->v[i].address, m);
}

/* Addresses that the changed services had or have: the proxies there are other instances now, or have
 * other labels. */
static struct mt_map *addresses_of(
	const struct pilot_world *before, const struct pilot_endpoints_change *eps, size_t n)
{
	struct mt_map *m = mt_map_new();

	for (size_t i = 0; i < n; i++) {
		const struct pilot_endpoints *had = NULL;
		int svc = pilot_world_find(before, eps[i].hostname, eps[i].ns);
		if (svc >= 0)
			pilot_world_service(before, (size_t)svc, &had);
		note_addresses(m, had);
		note_addresses(m, eps[i].eps);
	}
	return m;
}

static bool is_at(const struct push_proxy *x, const struct mt_map *addresses)
{
	for (size_t i = 0; i < x->claimed->nips; i++)
		if (mt_map_get(addresses, x->claimed->ips[i]))
			return true;
	return false;
}

static void endpoints_only(struct push *p, const struct pilot_world *before,
	const struct pilot_dirty *d, const struct pilot_endpoints_change *eps, size_t neps)
{
	struct mt_map *moved = addresses_of(before, eps, neps);

	for (struct mt_map_it it = { 0 }; mt_map_next(p->views.views, &it);)
		patch_endpoints(p, it.value, eps, neps);
	for (struct push_proxy *x = p->first, *next; x; x = next) {
		next = x->next;
		if (!is_at(x, moved))
			continue;
		regroup_one(p, x);
		if (x->view) /* none: it has never been let in, and is on its way out */
			refresh_view(p, x->view, T_INBOUND, d->since_ns);
	}
	for (struct mt_map_it it = { 0 }; mt_map_next(p->views.views, &it);)
		refresh_view(p, it.value, 0, d->since_ns);
	mt_map_free(moved, NULL);
}

/* Can the keys of any proxy have changed? They depend on services, Sidecars (which concern inbound
 * tables too) and on which labels are mentioned. */
static bool keys_moved(
	const struct pilot_world *before, const struct pilot_world *w, const struct pilot_dirty *d)
{
	return !before || d->services || (d->tables & T_INBOUND) ||
		pilot_world_keys_hash(before) != pilot_world_keys_hash(w);
}

void push_world(struct push *p, struct pilot_world *w, const struct pilot_dirty *d,
	const struct pilot_endpoints_change *eps, size_t neps)
{
	int64_t start = mt_mono(mt_loop_clock(p->loop));
	struct pilot_world *before = p->world;

	p->world = pilot_world_ref(w);
	p->epoch++;
	push_canary_world(p->canary, ++p->next_id); /* as push_next_id() said */
	if (before && !d->index && !(d->tables & ~(1u << PILOT_ENDPOINTS | T_INBOUND))) {
		endpoints_only(p, before, d, eps, neps);
	} else {
		p->built_epoch = p->epoch;
		if (keys_moved(before, w, d))
			regroup(p);
		for (struct mt_map_it it = { 0 }; mt_map_next(p->views.views, &it);)
			refresh_view(p, it.value, d->tables, d->since_ns);
	}
	pilot_world_unref(before);
	push_canary_run(p->canary);
	count_classes(p);
	mt_metric_add(p->metrics, METRIC_pilot_push_reasons, 1, d->reason ? d->reason : "start");
	mt_metric_set(p->metrics, METRIC_pilot_services, (double)pilot_world_nservices(w));
	mt_metric_observe(p->metrics, METRIC_pilot_compute_seconds,
		(double)(mt_mono(mt_loop_clock(p->loop)) - start) / MT_NS_PER_SEC);
}

const struct pilot_world *push_current(const struct push *p)
{
	return p->world;
}

uint64_t push_next_id(const struct push *p)
{
	return p->next_id + 1;
}

uint64_t push_settled(const struct push *p)
{
	return push_canary_settled(p->canary);
}

bool push_idle(const struct push *p)
{
	return push_canary_idle(p->canary);
}

/* ---- proxies come and go ---- */

static void proxy_free(struct push_proxy *x)
{
	pilot_proxy_unref(x->proxy);
	pilot_proxy_unref(x->claimed);
	mt_free(x);
}

static int refuse(struct push *p, struct mt_xds_sub *s, const struct mt_err *err)
{
	const Core__Node *node = mt_xds_sub_node(s);

	mt_log_warn(&scope, "proxy refused", MT_S("proxy", node && node->id ? node->id : ""),
		MT_S("peer", mt_xds_sub_peer(s)->addr), MT_S("why", err->msg));
	mt_metric_add(p->metrics, METRIC_pilot_proxies_refused, 1, mt_code_name(err->code));
	return err->code;
}

/* Over aggregated delta streams Envoy takes virtual hosts as resources from 1.37.0 on (measured: earlier
 * ones reject the table). */
static bool takes_vhds(const struct mt_xds_sub *s, const struct pilot_proxy *p)
{
	return mt_xds_sub_delta(s) && (p->major > 1 || (p->major == 1 && p->minor >= 37));
}

void push_on_secrets(struct push *p, void (*fn)(void *ctx), void *ctx)
{
	p->on_secrets = fn;
	p->on_secrets_ctx = ctx;
}

static void tell_secrets(struct push *p)
{
	if (p->on_secrets)
		p->on_secrets(p->on_secrets_ctx);
}

void push_credentials_forget(struct push *p, const char *node_id)
{
	mt_free(mt_map_del(p->credentials, node_id));
}

void push_credentials(struct push *p, const char *node_id, const char *const *names, size_t n)
{
	if (!push_reported(p->credentials, p->max_proxies, node_id, names, n))
		return;
	for (struct push_proxy *x = p->first; x; x = x->next) {
		struct mt_err err = { 0 };
		if (strcmp(x->claimed->node_id, node_id) != 0)
			continue;
		push_reported_take(p->credentials, &x->claimed);
		if (admit(p, x, &err) < 0 || !p->world)
			continue; /* it is sent away with the next world */
		struct push_view *old = x->view;
		push_canary_leaving(p->canary, x);
		enter_view(p, x);
		if (x->view != old && x->view->snap)
			push_canary_again(p->canary, x);
		else if (x->view != old)
			refresh_view(p, x->view, T_ALL, mt_mono(mt_loop_clock(p->loop)));
	}
	push_canary_run(p->canary);
	tell_secrets(p);
}

static int attach(void *ctx, struct mt_xds_sub *s, struct mt_err *ret_err)
{
	struct push *p = ctx;
	struct mt_err err = { 0 };
	struct push_proxy *x = MT_NEW(struct push_proxy);
	int r;

	x->sub = s;
	if (p->n >= p->max_proxies)
		r = mt_fail(&err, MT_LIMIT, NULL, "%u proxies are connected (--max-proxies)", p->n);
	else if ((r = pilot_proxy_new(mt_xds_sub_node(s), &x->claimed, &err)) == 0) {
		x->claimed->vhds = p->virtual_hosts && takes_vhds(s, x->claimed);
		push_reported_take(p->credentials, &x->claimed);
		r = admit(p, x, &err);
	}
	if (r < 0) {
		if (ret_err)
			*ret_err = err;
		proxy_free(x);
		return refuse(p, s, &err);
	}

	x->connected_ns = mt_wall(mt_loop_clock(p->loop));
	memcpy(x->spiffe_id, mt_xds_sub_peer(s)->spiffe_id, sizeof(x->spiffe_id));
	x->next = p->first;
	if (p->first)
		p->first->prev = x;
	p->first = x;
	p->n++;
	mt_xds_sub_set_user(s, x);
	mt_metric_set(p->metrics, METRIC_pilot_xds, p->n);
	mt_log_info(&scope, "proxy connected", MT_S("proxy", x->claimed->node_id),
		MT_S("identity", x->spiffe_id),
		MT_S("variant", mt_xds_sub_delta(s) ? "delta" : "state-of-the-world"),
		MT_I("proxies", p->n));
	tell_secrets(p);
	if (!p->world)
		return 0;
	enter_view(p, x);
	if (x->view->snap) {
		mt_xds_sub_publish(s, x->view->snap);
		push_canary_watch(p->canary, x);
	} else {
		refresh_view(p, x->view, T_ALL, mt_mono(mt_loop_clock(p->loop)));
	}
	return 0;
}

/* The last response of a type was rejected with these words; NULL: of none is. */
static void set_rejected(struct push *p, struct push_proxy *x, int type, const char *words)
{
	static const int metrics[PUSH_TYPES] = {
		[PUSH_CDS] = METRIC_pilot_xds_cds_reject,
		[PUSH_EDS] = METRIC_pilot_xds_eds_reject,
		[PUSH_LDS] = METRIC_pilot_xds_lds_reject,
		[PUSH_RDS] = METRIC_pilot_xds_rds_reject,
	};
	char err[201];

	for (int t = 0; t < PUSH_TYPES; t++)
		if (x->rejected[t] && (!words || t == type)) {
			mt_series_set(x->rejected[t], 0);
			x->rejected[t] = NULL;
		}
	x->nacked = words ? x->nacked | 1u << type : 0;
	if (!words || !metrics[type])
		return;
	snprintf(err, sizeof(err), "%s", words);
	x->rejected[type] = mt_metric_series(
		p->metrics, metrics[type], (const char *const[]){ x->claimed->node_id, err, NULL });
	mt_series_set(x->rejected[type], 1);
}

void push_measure(void *ctx, enum mt_xds_measure what, int type, double v)
{
	struct push *p = ctx;

	switch ((int)what) {
	case MT_XDS_M_PUSHES: mt_series_add(p->pushes[type], v); return;
	case MT_XDS_M_ACK_TIMEOUTS:
		mt_metric_add(p->metrics, METRIC_pilot_xds_push_timeout, v);
		return;
	case MT_XDS_M_ERRORS:
		mt_metric_add(p->metrics, METRIC_pilot_total_xds_internal_errors, v);
		return;
	case MT_XDS_M_SEND_TIMEOUTS: break;
	default: return;
	}
	mt_series_add(series_of(p->metrics, METRIC_pilot_xds_push_errors, type), v);
	mt_metric_add(p->metrics, METRIC_pilot_xds_write_timeout, v);
	mt_metric_add(p->metrics, METRIC_pilot_xds_push_timeout_failures, v);
}

static void detach(void *ctx, struct mt_xds_sub *s)
{
	struct push *p = ctx;
	struct push_proxy *x = mt_xds_sub_user(s);

	mt_log_info(&scope, "proxy gone", MT_S("proxy", x->claimed->node_id));
	push_canary_leaving(p->canary, x);
	push_view_leave(&p->views, x);
	push_canary_run(p->canary);
	set_rejected(p, x, 0, NULL);
	mt_metric_add(p->metrics, METRIC_pilot_no_ip, -(double)x->no_ip);
	if (x->next)
		x->next->prev = x->prev;
	if (x->prev)
		x->prev->next = x->next;
	else
		p->first = x->next;
	p->n--;
	mt_metric_set(p->metrics, METRIC_pilot_xds, p->n);
	proxy_free(x);
	tell_secrets(p);
}

static void event(void *ctx, struct mt_xds_sub *s, const struct mt_xds_event *ev)
{
	struct push *p = ctx;
	struct push_proxy *x = mt_xds_sub_user(s);

	/* Virtual hosts are routes, whether they are resources of their own or not. */
	int routes = MT_MIN(ev->type, (int)PUSH_RDS);
	set_rejected(p, x, routes, ev->kind == MT_XDS_NACK ? ev->message : NULL);
	if (ev->kind == MT_XDS_NACK) {
		mt_metric_add(
			p->metrics, METRIC_pilot_total_xds_rejects, 1, push_types[ev->type].name);
		mt_log_error(&scope, "proxy rejected configuration",
			MT_S("proxy", x->claimed->node_id), MT_S("type", push_types[ev->type].name),
			MT_S("why", ev->message));
	}
	push_canary_event(p->canary, x, ev);
	if (ev->kind != MT_XDS_SYNCED)
		return;
	const struct mt_snapshot *snap = push_snapshot(x);
	if (snap && snap->id == ev->snapshot_id)
		mt_metric_observe(p->metrics, METRIC_pilot_proxy_convergence_time,
			(double)(ev->at_ns - snap->made_ns) / MT_NS_PER_SEC);
}

const struct mt_xds_app push_app = { .attach = attach, .detach = detach, .event = event };

/* ---- pages ---- */

const struct push_proxy *push_proxies(const struct push *p)
{
	return p->first;
}

const struct push_proxy *push_find(const struct push *p, const char *id)
{
	for (const struct push_proxy *x = p->first; x; x = x->next)
		if (strcmp(x->claimed->node_id, id) == 0 || strcmp(x->claimed->id, id) == 0)
			return x;
	return NULL;
}

const struct mt_snapshot *push_snapshot(const struct push_proxy *x)
{
	return x->view ? x->view->snap : NULL;
}

const char *push_table_name(enum pilot_table t)
{
	return table_names[t];
}

size_t push_class_count(const struct push *p, enum pilot_table t)
{
	return mt_map_size(p->views.classes[t]);
}

void push_each_vhost(const struct push_proxy *x, push_vhost_fn fn, void *ctx)
{
	if (x->view)
		push_class_each_vhost(x->view->classes[PILOT_ROUTES], fn, ctx);
}

void push_each_class(const struct push *p, enum pilot_table t,
	void (*fn)(void *ctx, const char *key, unsigned views, struct mt_set *set), void *ctx)
{
	for (struct mt_map_it it = { 0 }; mt_map_next(p->views.classes[t], &it);) {
		const struct push_class *c = it.value;
		fn(ctx, c->key, c->refs, c->set);
	}
}

void push_each_conflict(
	const struct push *p, void (*fn)(void *ctx, const char *metric, const char *key), void *ctx)
{
	push_tally_each(&p->views, fn, ctx);
}
