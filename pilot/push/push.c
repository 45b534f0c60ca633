/* How a change travels:
 *
 *   endpoints only: for each endpoint class, the load assignments of the services that changed are
 *     built again and patched into its set. Keys do not move, so views stay, but for the proxies at
 *     the addresses of those endpoints.
 *   anything else: each proxy's class keys are computed from the new index; proxies whose keys moved
 *     enter other views; classes that the declared flow marks are computed once each. (Keys that
 *     cannot have moved are not computed.)
 *
 * Then every view of which a set changed gets a new snapshot, and its proxies are told. */
#include <ctype.h>
#include <string.h>

#include "common/base/log.h"
#include "pilot/push/admit.h"
#include "pilot/push/internal.h"
#include "pilot/push/tally.h"

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

struct mt_metric_series *push_series(struct mt_metrics *m, int metric, int type)
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
		p->pushes[t] = push_series(metrics, METRIC_pilot_xds_pushes, t);
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

void push_enter(struct push *p, struct push_proxy *x)
{
	MT_AUTO(mt_arena_freep) struct mt_arena *a = mt_arena_new(0);
	struct pilot_class_key keys[PILOT_TABLES];

	size_t instances = pilot_class_keys(p->world, x->proxy, a, keys);
	bool no_ip = x->proxy->type != PILOT_ROUTER && !instances;
	mt_metric_add(p->metrics, METRIC_pilot_no_ip, (double)no_ip - (double)x->no_ip);
	x->no_ip = no_ip;
	push_view_enter(&p->views, x, keys);
}

void push_refresh(struct push *p, struct push_view *v, unsigned tables, int64_t made_ns)
{
	push_view_compute(v, p->world, p->epoch, tables);
	push_canary_view(p->canary, v, made_ns);
}

static void count_classes(struct push *p)
{
	push_tally_publish(&p->views, p->world, p->metrics);
	for (int t = 0; t < PILOT_TABLES; t++)
		mt_metric_set(p->metrics, METRIC_pilot_classes,
			(double)mt_map_size(p->views.classes[t]),
			push_table_name((enum pilot_table)t));
}

int push_admit(struct push *p, struct push_proxy *x, struct mt_err *err)
{
	struct pilot_proxy *proxy;
	int r = pilot_admit(p->world, x->claimed, mt_xds_sub_peer(x->sub), &proxy, err);

	if (r < 0)
		return r;
	pilot_proxy_unref(x->proxy);
	x->proxy = proxy;
	return 0;
}

/* Where it belongs now. A proxy whose certificate and registry no longer agree is sent away: the list may
 * shrink. */
static void regroup_one(struct push *p, struct push_proxy *x)
{
	struct mt_err err = { 0 };

	if (push_admit(p, x, &err) < 0) {
		mt_log_warn(&scope, "proxy sent away", MT_S("proxy", x->claimed->node_id),
			MT_S("why", err.msg));
		mt_metric_add(p->metrics, METRIC_pilot_proxies_refused, 1, mt_code_name(err.code));
		mt_xds_sub_close(x->sub, err.code, err.msg);
		return;
	}
	struct push_view *old = x->view;
	push_enter(p, x);
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
			push_refresh(p, x->view, T_INBOUND, d->since_ns);
	}
	for (struct mt_map_it it = { 0 }; mt_map_next(p->views.views, &it);)
		push_refresh(p, it.value, 0, d->since_ns);
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
			push_refresh(p, it.value, d->tables, d->since_ns);
	}
	pilot_world_unref(before);
	push_canary_run(p->canary);
	count_classes(p);
	mt_metric_add(p->metrics, METRIC_pilot_push_reasons, 1, d->reason ? d->reason : "start");
	mt_metric_set(p->metrics, METRIC_pilot_services, (double)pilot_world_nservices(w));
	mt_metric_observe(p->metrics, METRIC_pilot_compute_seconds,
		(double)(mt_mono(mt_loop_clock(p->loop)) - start) / MT_NS_PER_SEC);
}
