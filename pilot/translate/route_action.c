/* What a rule does with a request: where it goes, rewritten how, mirrored where.
 *
 * A route to something missing is emitted as it is written: Envoy answers 503 for that route (or for
 * that share of the weights) alone, and a note says what is missing. */
#include <string.h>

#include "common/base/strs.h"
#include "pilot/filter/filter.h"
#include "pilot/translate/mesh_settings.h"
#include "pilot/translate/policy.h"
#include "pilot/translate/route.h"

static void host_rewrite(struct pilot_job *j, Route__RouteAction *a, const char *host)
{
	const Mesh__ProxyConfig__ProxyHeaders *h = pilot_proxy_headers(j);
	a->append_x_forwarded_host =
		h->x_forwarded_host && pilot_is_true(h->x_forwarded_host->enabled);
	a->host_rewrite_specifier_case =
		ROUTE__ROUTE_ACTION__HOST_REWRITE_SPECIFIER_HOST_REWRITE_LITERAL;
	a->host_rewrite_literal = pb_s(host);
}

/* ---- hash policy: the destination rule's, on the route ---- */

static Route__RouteAction__HashPolicy *hash_policy(
	struct pilot_job *j, const Nw__LoadBalancerSettings__ConsistentHashLB *h)
{
	Route__RouteAction__HashPolicy *p = pb_new(j->a, route__route_action__hash_policy);
	switch (h->hash_key_case) {
	case NW__LOAD_BALANCER_SETTINGS__CONSISTENT_HASH_LB__HASH_KEY_HTTP_HEADER_NAME:
		p->policy_specifier_case =
			ROUTE__ROUTE_ACTION__HASH_POLICY__POLICY_SPECIFIER_HEADER;
		p->header = pb_new(j->a, route__route_action__hash_policy__header);
		p->header->header_name = h->http_header_name;
		return p;
	case NW__LOAD_BALANCER_SETTINGS__CONSISTENT_HASH_LB__HASH_KEY_HTTP_COOKIE:
		p->policy_specifier_case =
			ROUTE__ROUTE_ACTION__HASH_POLICY__POLICY_SPECIFIER_COOKIE;
		p->cookie = pb_new(j->a, route__route_action__hash_policy__cookie);
		p->cookie->name = h->http_cookie->name;
		p->cookie->path = h->http_cookie->path;
		p->cookie->ttl = pb_dur_dup(j->a, h->http_cookie->ttl);
		for (size_t i = 0; i < h->http_cookie->n_attributes; i++) {
			Route__RouteAction__HashPolicy__CookieAttribute *at =
				pb_new(j->a, route__route_action__hash_policy__cookie_attribute);
			at->name = h->http_cookie->attributes[i]->name;
			at->value = h->http_cookie->attributes[i]->value;
			pb_add(j->a, p->cookie, attributes, at);
		}
		return p;
	case NW__LOAD_BALANCER_SETTINGS__CONSISTENT_HASH_LB__HASH_KEY_USE_SOURCE_IP:
		p->policy_specifier_case =
			ROUTE__ROUTE_ACTION__HASH_POLICY__POLICY_SPECIFIER_CONNECTION_PROPERTIES;
		p->connection_properties =
			pb_new(j->a, route__route_action__hash_policy__connection_properties);
		p->connection_properties->source_ip = true;
		return p;
	case NW__LOAD_BALANCER_SETTINGS__CONSISTENT_HASH_LB__HASH_KEY_HTTP_QUERY_PARAMETER_NAME:
		p->policy_specifier_case =
			ROUTE__ROUTE_ACTION__HASH_POLICY__POLICY_SPECIFIER_QUERY_PARAMETER;
		p->query_parameter =
			pb_new(j->a, route__route_action__hash_policy__query_parameter);
		p->query_parameter->name = h->http_query_parameter_name;
		return p;
	default: return NULL;
	}
}

static void add_hash(struct pilot_job *j, Route__RouteAction *a, int svc, const char *host,
	const char *subset, uint16_t port)
{
	const struct pilot_dr *dr = pilot_job_dr(j, host, svc);
	struct pilot_policy pol;
	pilot_policy_resolve(j->mesh, dr, subset, port, &pol);
	if (!pilot_policy_hash(&pol))
		return;
	Route__RouteAction__HashPolicy *p = hash_policy(j, pilot_policy_hash(&pol));
	if (p)
		pb_add(j->a, a, hash_policy, p);
	for (size_t i = 0; i < dr->nids; i++)
		pilot_prov_add(j, dr->ids[i]);
}

static void dest_hash(const struct pilot_route_ctx *c, Route__RouteAction *a, const char *cluster)
{
	struct pilot_cluster_name cn;
	if (pilot_cluster_name_parse(cluster, &cn) == 0)
		add_hash(c->j, a, pilot_world_find(c->j->w, cn.host, c->j->p->ns), cn.host,
			cn.subset, cn.port);
}

/* ---- destinations ---- */

static void per_route(
	struct pilot_job *j, Route__Route *r, const char *name, const ProtobufCMessage *cfg)
{
	if (!cfg)
		return;
	Route__Route__TypedPerFilterConfigEntry *e =
		pb_new(j->a, route__route__typed_per_filter_config_entry);
	e->key = pb_s(name);
	e->value = mt_pb_any(j->a, cfg);
	pb_add(j->a, r, typed_per_filter_config, e);
}

static const ProtobufCMessage *facts(const struct pilot_route_ctx *c, const char *cluster)
{
	struct pilot_cluster_name cn;
	if (!pilot_mixer_checks_at(c->j, c->server ? PILOT_AT_GATEWAY : PILOT_AT_OUTBOUND) ||
		pilot_cluster_name_parse(cluster, &cn) < 0)
		return NULL;
	int svc = pilot_world_find(c->j->w, cn.host, c->j->p->ns);
	return pilot_mixer_service(c->j, svc >= 0 ? c->j->ix->svcs[svc] : NULL,
		mt_arena_strdup(c->j->a, cn.host), cn.port);
}

static Route__WeightedCluster__ClusterWeight *cluster_weight(
	const struct pilot_route_ctx *c, const Nw__HTTPRouteDestination *d, Route__RouteAction *a)
{
	struct pilot_headers l = { .a = c->j->a };
	Route__WeightedCluster__ClusterWeight *w =
		pb_new(c->j->a, route__weighted_cluster__cluster_weight);
	w->name = pb_s(pilot_dest_cluster(c->j, d->destination, c->vs, c->path, c->port));
	w->weight = pb_u32(c->j->a, (uint32_t)d->weight);
	pilot_headers_dest(&l, d);
	PILOT_PUT_HEADERS(w, l);
	if (l.host) {
		w->host_rewrite_specifier_case =
			ROUTE__WEIGHTED_CLUSTER__CLUSTER_WEIGHT__HOST_REWRITE_SPECIFIER_HOST_REWRITE_LITERAL;
		w->host_rewrite_literal = pb_s(l.host);
	}
	const ProtobufCMessage *f = facts(c, w->name);
	if (f) {
		Route__WeightedCluster__ClusterWeight__TypedPerFilterConfigEntry *e = pb_new(
			c->j->a,
			route__weighted_cluster__cluster_weight__typed_per_filter_config_entry);
		e->key = pb_s(pilot_mixer_name);
		e->value = mt_pb_any(c->j->a, f);
		pb_add(c->j->a, w, typed_per_filter_config, e);
	}
	dest_hash(c, a, w->name);
	return w;
}

/* false: no destination has a weight. */
static bool destinations(const struct pilot_route_ctx *c, const Nw__HTTPRoute *h, Route__Route *r,
	Route__RouteAction *a, struct pilot_headers *l)
{
	const Nw__HTTPRouteDestination *one = NULL;
	size_t n = 0;
	for (size_t i = 0; i < h->n_route; i++)
		if (h->route[i]->destination && (h->route[i]->weight > 0 || h->n_route == 1)) {
			one = h->route[i];
			n++;
		}
	if (!n)
		return false;
	if (n == 1) {
		a->cluster_specifier_case = ROUTE__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER;
		a->cluster =
			pb_s(pilot_dest_cluster(c->j, one->destination, c->vs, c->path, c->port));
		/* With weights the route's Host beats the destination's: the same here. */
		const char *host = l->host;
		pilot_headers_dest(l, one);
		if (host)
			l->host = host;
		per_route(c->j, r, pilot_mixer_name, facts(c, a->cluster));
		dest_hash(c, a, a->cluster);
		return true;
	}
	Route__WeightedCluster *w = pb_new(c->j->a, route__weighted_cluster);
	for (size_t i = 0; i < h->n_route; i++)
		if (h->route[i]->destination && h->route[i]->weight > 0)
			pb_add(c->j->a, w, clusters, cluster_weight(c, h->route[i], a));
	a->cluster_specifier_case = ROUTE__ROUTE_ACTION__CLUSTER_SPECIFIER_WEIGHTED_CLUSTERS;
	a->weighted_clusters = w;
	if (a->n_hash_policy > 1)
		a->n_hash_policy = 1; /* one request, one hash */
	return true;
}

static void add_mirror(const struct pilot_route_ctx *c, Route__RouteAction *a,
	const Nw__Destination *d, double percent)
{
	Route__RouteAction__RequestMirrorPolicy *m =
		pb_new(c->j->a, route__route_action__request_mirror_policy);
	if (!d || percent <= 0)
		return;
	m->cluster = pb_s(pilot_dest_cluster(c->j, d, c->vs, c->path, c->port));
	m->runtime_fraction = pb_runtime_percent(c->j->a, percent);
	m->trace_sampled = pb_bool(c->j->a, false); /* a copy is no request of its own */
	pb_add(c->j->a, a, request_mirror_policies, m);
}

static void mirrors(const struct pilot_route_ctx *c, Route__RouteAction *a, const Nw__HTTPRoute *h)
{
	if (h->mirror)
		add_mirror(c, a, h->mirror,
			h->mirror_percentage        ? h->mirror_percentage->value
				: h->mirror_percent ? h->mirror_percent->value
						    : 100);
	for (size_t i = 0; i < h->n_mirrors; i++)
		add_mirror(c, a, h->mirrors[i]->destination,
			h->mirrors[i]->percentage ? h->mirrors[i]->percentage->value : 100);
}

static void rewrite(
	const struct pilot_route_ctx *c, Route__RouteAction *a, const Nw__HTTPRewrite *w)
{
	if (!w)
		return;
	if (w->uri_regex_rewrite) {
		a->regex_rewrite = pb_new(c->j->a, matcher__regex_match_and_substitute);
		a->regex_rewrite->pattern = pb_regex(c->j->a, w->uri_regex_rewrite->match);
		a->regex_rewrite->substitution = w->uri_regex_rewrite->rewrite;
	} else if (*w->uri) {
		a->prefix_rewrite = w->uri;
	}
	if (*w->authority)
		host_rewrite(c->j, a, w->authority);
}

static void decorate(struct pilot_job *j, Route__Route *r, const char *cluster)
{
	struct pilot_cluster_name cn;
	if (!cluster || pilot_cluster_name_parse(cluster, &cn) < 0)
		return;
	r->decorator = pb_new(j->a, route__decorator);
	r->decorator->operation = mt_arena_printf(j->a, "%s:%u/*", cn.host, cn.port);
}

static void forward(const struct pilot_route_ctx *c, const Nw__HTTPRoute *h, Route__Route *r,
	struct pilot_headers *l)
{
	struct pilot_job *j = c->j;
	Route__RouteAction *a = pb_new(j->a, route__route_action);
	if (!destinations(c, h, r, a, l)) {
		Nw__HTTPDirectResponse none = NW__HTTPDIRECT_RESPONSE__INIT;
		none.status = 503;
		pilot_direct_response(j, r, &none);
		pilot_job_note(j, c->vs->id, PILOT_NOTE_INVALID, c->path,
			"a route without a destination answers 503");
		return;
	}
	r->action_case = ROUTE__ROUTE__ACTION_ROUTE;
	r->route = a;
	a->timeout = pb_dur(j->a, h->timeout ? pb_dur_ns(h->timeout) : 0);
	a->retry_policy = pilot_retries(j, h->retries, a->n_hash_policy > 0);
	if (l->host)
		host_rewrite(j, a, l->host);
	rewrite(c, a, h->rewrite);
	mirrors(c, a, h);
	const char *first =
		a->cluster_specifier_case == ROUTE__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER
		? a->cluster
		: a->weighted_clusters->clusters[0]->name;
	decorate(j, r, first);
}

void pilot_action_build(const struct pilot_route_ctx *c, const Nw__HTTPRoute *h,
	const Nw__HTTPMatchRequest *m, Route__Route *r)
{
	struct pilot_job *j = c->j;
	struct pilot_headers l = { .a = j->a };
	pilot_headers_route(&l, h);
	if (*h->name && m && *m->name)
		r->name = mt_arena_printf(j->a, "%s.%s", h->name, m->name);
	else
		r->name = *h->name ? h->name : pb_s("default");
	if (h->redirect)
		pilot_redirect(c, r, h->redirect);
	else if (h->direct_response)
		pilot_direct_response(j, r, h->direct_response);
	else
		forward(c, h, r, &l);
	PILOT_PUT_HEADERS(r, l);
	if (m && *m->stat_prefix)
		r->stat_prefix = m->stat_prefix;
	per_route(j, r, pilot_fault_name, pilot_fault_config(j, h->fault));
	per_route(j, r, pilot_cors_name, pilot_cors_config(j, h->cors_policy));
}

Route__Route *pilot_route_default(struct pilot_job *j, int svc, uint16_t port)
{
	const struct pilot_service *s = j->ix->svcs[svc];
	Route__RouteAction *a = pb_new(j->a, route__route_action);
	a->cluster_specifier_case = ROUTE__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER;
	a->cluster = pb_s(pilot_out_name(j, port, "", s->hostname));
	a->timeout = pb_dur(j->a, 0);
	add_hash(j, a, svc, s->hostname, "", port);
	a->retry_policy = pilot_retries(j, NULL, a->n_hash_policy > 0);
	Route__Route *r = pb_new(j->a, route__route);
	r->name = pb_s("default");
	r->match = pilot_match_build(j, NULL);
	r->action_case = ROUTE__ROUTE__ACTION_ROUTE;
	r->route = a;
	decorate(j, r, a->cluster);
	if (pilot_mixer_checks_at(j, PILOT_AT_OUTBOUND))
		per_route(j, r, pilot_mixer_name, pilot_mixer_service(j, s, s->hostname, port));
	return r;
}
