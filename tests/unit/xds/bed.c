#include "tests/unit/xds/bed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/mem.h"
#include "common/base/strs.h"
#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/config/endpoint/v3/endpoint.pb-c.h"
#include "envoy/config/listener/v3/listener.pb-c.h"
#include "envoy/config/route/v3/route.pb-c.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"

enum { WAIT_SECONDS = 20 };

static const struct mt_xds_type types[FAKE_TYPES] = {
	[FAKE_CDS] = { .name = "CDS",
		.wildcard = true,
		.needs = -1,
		.resend_with = -1,
		.keep_until_users_ack = true },
	[FAKE_EDS] = { .name = "EDS", .needs = -1, .resend_with = FAKE_CDS },
	[FAKE_LDS] = { .name = "LDS", .wildcard = true, .needs = FAKE_CDS, .resend_with = -1 },
	[FAKE_RDS] = { .name = "RDS", .needs = FAKE_CDS, .resend_with = -1 },
	[FAKE_VHDS] = { .name = "VHDS",
		.wildcard = true,
		.needs = FAKE_RDS,
		.resend_with = FAKE_RDS,
		.resend_below = true },
};

/* ---- resources from words ---- */

static struct mt_res *make_cluster(const char *name, const char *value)
{
	Cluster__Cluster c = CLUSTER__CLUSTER__INIT;
	c.name = (char *)name;
	c.alt_stat_name = (char *)value;
	c.cluster_discovery_type_case = CLUSTER__CLUSTER__CLUSTER_DISCOVERY_TYPE_TYPE;
	c.type = mt_str_prefix(name, "d:") ? CLUSTER__CLUSTER__DISCOVERY_TYPE__STRICT_DNS
					   : CLUSTER__CLUSTER__DISCOVERY_TYPE__EDS;
	return mt_res_new(name, &c.base, NULL, 0);
}

static struct mt_res *make_endpoints(const char *name, const char *value)
{
	Endpoint__ClusterLoadAssignment a = ENDPOINT__CLUSTER_LOAD_ASSIGNMENT__INIT;
	Endpoint__LocalityLbEndpoints l = ENDPOINT__LOCALITY_LB_ENDPOINTS__INIT, *list = &l;
	a.cluster_name = (char *)name;
	l.priority = (uint32_t)atoi(value);
	a.endpoints = &list;
	a.n_endpoints = 1;
	return mt_res_new(name, &a.base, NULL, 0);
}

static struct mt_res *make_routes(const char *name, const char *value)
{
	Route__RouteConfiguration r = ROUTE__ROUTE_CONFIGURATION__INIT;
	char *header = (char *)value;
	Route__Vhds vhds = ROUTE__VHDS__INIT;
	if (*value == '/')
		r.vhds = &vhds;
	r.name = (char *)name;
	r.internal_only_headers = &header;
	r.n_internal_only_headers = 1;
	return mt_res_new(name, &r.base, NULL, 0);
}

static struct mt_res *make_host(const char *name, const char *value)
{
	Route__VirtualHost v = ROUTE__VIRTUAL_HOST__INIT;
	char *domain = (char *)value;
	v.name = (char *)name;
	v.domains = &domain;
	v.n_domains = 1;
	return mt_res_new(name, &v.base, NULL, 0);
}

static struct mt_res *make_listener(const char *name, char *value)
{
	Listener__Listener l = LISTENER__LISTENER__INIT;
	char *routes = strchr(value, '>');
	Listener__FilterChain chains[8], *pchains[8];
	Listener__Filter filters[8], *pfilters[8];
	Google__Protobuf__Any anys[8];
	size_t n = 0;
	if (routes)
		*routes++ = '\0';
	l.name = (char *)name;
	l.stat_prefix = value;
	for (char *save, *r = routes ? strtok_r(routes, ",", &save) : NULL; r;
		r = strtok_r(NULL, ",", &save), n++) {
		Hcm__HttpConnectionManager h = HCM__HTTP_CONNECTION_MANAGER__INIT;
		Hcm__Rds rds = HCM__RDS__INIT;
		rds.route_config_name = r;
		h.route_specifier_case = HCM__HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_RDS;
		h.rds = &rds;
		google__protobuf__any__init(&anys[n]);
		anys[n].type_url = "type.googleapis.com/envoy.extensions.filters.network."
				   "http_connection_manager.v3.HttpConnectionManager";
		anys[n].value.len = hcm__http_connection_manager__get_packed_size(&h);
		anys[n].value.data = mt_alloc(anys[n].value.len);
		hcm__http_connection_manager__pack(&h, anys[n].value.data);
		listener__filter__init(&filters[n]);
		filters[n].name = "hcm";
		filters[n].config_type_case = LISTENER__FILTER__CONFIG_TYPE_TYPED_CONFIG;
		filters[n].typed_config = &anys[n];
		listener__filter_chain__init(&chains[n]);
		pfilters[n] = &filters[n];
		chains[n].filters = &pfilters[n];
		chains[n].n_filters = 1;
		pchains[n] = &chains[n];
	}
	l.filter_chains = pchains;
	l.n_filter_chains = n;
	struct mt_res *res = mt_res_new(name, &l.base, NULL, 0);
	while (n)
		mt_free(anys[--n].value.data);
	return res;
}

void bed_set(struct bed *b, int type, const char *words)
{
	MT_VEC(struct mt_res *) res = { 0 };
	MT_VEC(const char *) gone = { 0 };
	char *copy = mt_strdup(words);
	for (char *save, *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		char *value = strchr(w, '=');
		*value++ = '\0';
		mt_vec_push(&res,
			type == FAKE_CDS           ? make_cluster(w, value)
				: type == FAKE_EDS ? make_endpoints(w, value)
				: type == FAKE_LDS ? make_listener(w, value)
				: type == FAKE_RDS ? make_routes(w, value)
						   : make_host(w, value));
	}
	for (size_t i = 0; i < mt_set_size(b->sets[type]); i++) {
		const char *name = mt_set_at(b->sets[type], i)->name;
		mt_vec_push(&gone, name);
	}
	struct mt_set *old = b->sets[type];
	b->sets[type] = mt_set_patch(old, res.v, res.n, gone.v, gone.n);
	mt_set_unref(old);
	mt_vec_clear(&res);
	mt_vec_clear(&gone);
	mt_free(copy);
}

/* ---- the application ---- */

static int app_attach(void *ctx, struct mt_xds_sub *s, struct mt_err *err)
{
	struct bed *b = ctx;
	if (b->refuse)
		return mt_fail(err, MT_DENIED, NULL, "%s", b->refuse);
	pthread_mutex_lock(&b->mu);
	mt_vec_push(&b->subs, s);
	b->attached++;
	if (b->snapshot)
		mt_xds_sub_publish(s, b->snapshot);
	pthread_cond_broadcast(&b->changed);
	pthread_mutex_unlock(&b->mu);
	return 0;
}

static void app_detach(void *ctx, struct mt_xds_sub *s)
{
	struct bed *b = ctx;
	pthread_mutex_lock(&b->mu);
	for (size_t i = 0; i < b->subs.n; i++) {
		if (b->subs.v[i] == s)
			b->subs.v[i--] = b->subs.v[--b->subs.n];
	}
	b->detached++;
	pthread_cond_broadcast(&b->changed);
	pthread_mutex_unlock(&b->mu);
}

static void app_event(void *ctx, struct mt_xds_sub *s, const struct mt_xds_event *ev)
{
	struct bed *b = ctx;
	pthread_mutex_lock(&b->mu);
	if (ev->kind == MT_XDS_NACK) {
		b->nacks++;
		b->nack_type = ev->type;
		b->nack_id = ev->snapshot_id;
		snprintf(b->nack, sizeof(b->nack), "%s", ev->message);
	} else {
		mt_xds_sub_set_user(s, (void *)(uintptr_t)ev->snapshot_id);
	}
	pthread_cond_broadcast(&b->changed);
	pthread_mutex_unlock(&b->mu);
}

static const struct mt_xds_app app = {
	.attach = app_attach, .detach = app_detach, .event = app_event
};

/* ---- the bed ---- */

static void *run_loop(void *arg)
{
	mt_loop_run(arg);
	return NULL;
}

struct call {
	struct bed *b;
	void (*f)(struct bed *b, void *arg);
	void *arg;
	bool done;
};

static void run_call(void *arg)
{
	struct call *c = arg;
	struct bed *b = c->b;
	c->f(b, c->arg);
	pthread_mutex_lock(&b->mu);
	c->done = true;
	pthread_cond_broadcast(&b->changed);
	pthread_mutex_unlock(&b->mu);
}

void bed_run(struct bed *b, void (*f)(struct bed *b, void *arg), void *arg)
{
	struct call c = { b, f, arg, false };
	mt_loop_post(b->loop, run_call, &c);
	pthread_mutex_lock(&b->mu);
	while (!c.done)
		pthread_cond_wait(&b->changed, &b->mu);
	pthread_mutex_unlock(&b->mu);
}

static void start(struct bed *b, void *arg)
{
	const struct bed_opts *o = arg;
	struct mt_xds_type table[FAKE_TYPES];
	for (int i = 0; i < FAKE_TYPES; i++) {
		table[i] = types[i];
		table[i].type_url = fake_type_url[i];
	}
	struct mt_xds_server_opts so = { .types = table,
		.ntypes = FAKE_TYPES,
		.app = &app,
		.ctx = b,
		.max_request = o->max_request,
		.max_names = o->max_names,
		.removal_grace_ns = o->removal_grace_ns,
		.metrics = o->metrics };
	b->xds = mt_xds_server_new(b->loop, &so);
	struct mt_rpc_method methods[2];
	mt_xds_server_methods(b->xds, methods);
	char target[64];
	snprintf(target, sizeof(target), "127.16.0.1:%u", b->port);
	const char *addr = target;
	struct mt_rpc_server_opts ro = { 0 };
	ro.max_streams_per_connection = 1000;
	struct mt_err err = { 0 };
	if (mt_rpc_server_start(b->env, &ro, &addr, 1, methods, 2, &b->rpc, &err) < 0) {
		fprintf(stderr, "bed: %s\n", err.msg);
		abort();
	}
	b->port = mt_rpc_server_port(b->rpc, 0);
	if (b->channel)
		return;
	snprintf(target, sizeof(target), "127.16.0.1:%u", b->port);
	struct mt_rpc_channel_opts co = { 0 };
	if (mt_rpc_channel_new(b->env, target, &co, &b->channel, &err) < 0) {
		fprintf(stderr, "bed: %s\n", err.msg);
		abort();
	}
}

struct bed *bed_new(const struct bed_opts *o)
{
	static const struct bed_opts defaults = { 0 };
	struct bed *b = MT_NEW(struct bed);
	mt_test_clock_init(&b->clock, 1000 * MT_NS_PER_SEC, 0);
	pthread_mutex_init(&b->mu, NULL);
	pthread_cond_init(&b->changed, NULL);
	b->loop = mt_loop_new(&b->clock.clock);
	b->env = mt_rpc_env_new(2);
	pthread_create(&b->thread, NULL, run_loop, b->loop);
	bed_run(b, start, (void *)(o ? o : &defaults));
	return b;
}

static void stop_server(struct bed *b, void *arg MT_UNUSED)
{
	if (b->rpc)
		mt_rpc_server_stop(b->rpc, 0);
	mt_xds_server_free(b->xds);
	b->rpc = NULL;
	b->xds = NULL;
}

static void stop(struct bed *b, void *arg MT_UNUSED)
{
	mt_rpc_channel_free(b->channel);
	stop_server(b, NULL);
}

void bed_server_stop(struct bed *b)
{
	bed_run(b, stop_server, NULL);
}

void bed_server_start(struct bed *b)
{
	static struct bed_opts defaults;
	bed_run(b, start, &defaults);
}

void bed_free(struct bed *b)
{
	bed_run(b, stop, NULL);
	mt_loop_stop(b->loop);
	pthread_join(b->thread, NULL);
	mt_loop_free(b->loop);
	mt_rpc_env_free(b->env);
	mt_snapshot_unref(b->snapshot);
	for (int i = 0; i < FAKE_TYPES; i++)
		mt_set_unref(b->sets[i]);
	mt_vec_clear(&b->subs);
	pthread_mutex_destroy(&b->mu);
	pthread_cond_destroy(&b->changed);
	mt_free(b);
	fake_intern_clear();
}

static void publish(struct bed *b, void *arg MT_UNUSED)
{
	pthread_mutex_lock(&b->mu);
	mt_snapshot_unref(b->snapshot);
	b->snapshot = mt_snapshot_new(++b->id, mt_mono(&b->clock.clock), FAKE_TYPES);
	for (int i = 0; i < FAKE_TYPES; i++)
		b->snapshot->sets[i] = b->sets[i] ? mt_set_ref(b->sets[i]) : NULL;
	for (size_t i = 0; i < b->subs.n; i++)
		mt_xds_sub_publish(b->subs.v[i], b->snapshot);
	pthread_mutex_unlock(&b->mu);
}

void bed_publish(struct bed *b)
{
	bed_run(b, publish, NULL);
}

struct fake_envoy *bed_envoy_with(struct bed *b, struct fake_opts o)
{
	o.channel = b->channel;
	o.id = "sidecar~127.16.0.9~a.default~default.svc.cluster.local";
	return fake_envoy_new(&o);
}

struct fake_envoy *bed_envoy(struct bed *b, bool delta)
{
	return bed_envoy_with(b, (struct fake_opts){ .delta = delta });
}

static bool wait_for(struct bed *b, bool (*cond)(struct bed *b, unsigned n), unsigned n)
{
	struct timespec until;
	int rc = 0;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_SECONDS;
	pthread_mutex_lock(&b->mu);
	while (!cond(b, n) && rc == 0)
		rc = pthread_cond_timedwait(&b->changed, &b->mu, &until);
	bool ok = cond(b, n);
	pthread_mutex_unlock(&b->mu);
	return ok;
}

static bool is_synced(struct bed *b, unsigned n)
{
	for (size_t i = 0; i < b->subs.n; i++) {
		if ((uintptr_t)mt_xds_sub_user(b->subs.v[i]) != b->id)
			return false;
		for (int t = 0; t < FAKE_TYPES; t++) {
			struct mt_xds_status st;
			mt_xds_sub_status(b->subs.v[i], t, &st);
			/* Virtual hosts are asked for only when a route has them. */
			if (st.acked_id != b->id && (t != FAKE_VHDS || st.subscribed))
				return false;
		}
	}
	return b->subs.n >= n;
}

static bool is_nacked(struct bed *b, unsigned n)
{
	return b->nacks >= n;
}

static bool is_detached(struct bed *b, unsigned n)
{
	return b->detached >= n;
}

static bool is_attached(struct bed *b, unsigned n)
{
	return b->attached >= n;
}

bool bed_wait_synced(struct bed *b, unsigned subs)
{
	return wait_for(b, is_synced, subs);
}

bool bed_wait_nacks(struct bed *b, unsigned n)
{
	return wait_for(b, is_nacked, n);
}

bool bed_wait_detached(struct bed *b, unsigned n)
{
	return wait_for(b, is_detached, n);
}

bool bed_wait_attached(struct bed *b, unsigned n)
{
	return wait_for(b, is_attached, n);
}

struct mt_xds_sub *bed_sub(struct bed *b, size_t i)
{
	pthread_mutex_lock(&b->mu);
	struct mt_xds_sub *s = i < b->subs.n ? mt_xds_sub_ref(b->subs.v[i]) : NULL;
	pthread_mutex_unlock(&b->mu);
	return s;
}
