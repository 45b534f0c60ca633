/* What a rule does with a request: route, redirect, answer; headers, faults, retries, mirrors.
 *
 * A route to something missing is emitted as it is written: Envoy answers 503 for that route (or for
 * that share of the weights) alone, and a note says what is missing. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/strs.h"
#include "envoy/extensions/retry/host/previous_hosts/v3/previous_hosts.pb-c.h"
#include "pilot/filter/filter.h"
#include "pilot/translate/cluster.h"
#include "pilot/translate/route.h"

/* ---- headers: routes and weighted clusters have the same four lists ---- */

struct header_lists {
	struct mt_arena *a;
	Core__HeaderValueOption **add[2]; /* request, response */
	size_t nadd[2];
	char **del[2];
	size_t ndel[2];
	const char *host; /* Host or :authority is set: a rewrite */
};

/* Length of a command of Envoy's formatter ("%REQ(X)%", "%START_TIME%", "%%") at s, 0: none. */
static size_t command(const char *s)
{
	size_t n = 1;
	if (s[n] == '%')
		return 2;
	while ((s[n] >= 'A' && s[n] <= 'Z') || s[n] == '_' || (s[n] >= '0' && s[n] <= '9'))
		n++;
	if (n > 1 && s[n] == '(')
		n += strcspn(s + n, ")") + 1;
	return n > 1 && s[n - 1] && s[n] == '%' ? n + 1 : 0;
}

/* A percent sign that begins no command is doubled: Envoy would refuse the whole update for it. */
static const char *header_text(struct mt_arena *a, const char *value)
{
	if (!strchr(value, '%'))
		return value;
	char *out = mt_arena_alloc(a, 2 * strlen(value) + 1), *o = out;
	for (const char *s = value; *s;) {
		size_t n = *s == '%' ? command(s) : 1;
		if (!n) {
			*o++ = '%';
			n = 1;
		}
		memcpy(o, s, n);
		o += n;
		s += n;
	}
	return out;
}

static void list_add(
	struct header_lists *l, int dir, const char *key, const char *value, bool append)
{
	if (dir == 0 && (strcasecmp(key, "host") == 0 || strcasecmp(key, ":authority") == 0)) {
		l->host = value;
		return;
	}
	struct {
		size_t n_v;
		Core__HeaderValueOption **v;
	} t = { l->nadd[dir], l->add[dir] };
	pb_add(l->a, &t, v, pb_header(l->a, key, header_text(l->a, value), append));
	l->add[dir] = t.v;
	l->nadd[dir] = t.n_v;
}

static void list_del(struct header_lists *l, int dir, char *key)
{
	struct {
		size_t n_v;
		char **v;
	} t = { l->ndel[dir], l->del[dir] };
	pb_add(l->a, &t, v, key);
	l->del[dir] = t.v;
	l->ndel[dir] = t.n_v;
}

typedef Nw__Headers__HeaderOperations__SetEntry map_entry; /* all map<string,string> look like it */

static void map_add(struct header_lists *l, int dir, const void *entries, size_t n, bool append)
{
	map_entry *const *e = entries;
	for (size_t i = 0; i < n; i++)
		list_add(l, dir, e[i]->key, e[i]->value, append);
}

static void operations(struct header_lists *l, int dir, const Nw__Headers__HeaderOperations *o)
{
	if (!o)
		return;
	map_add(l, dir, o->set, o->n_set, false);
	map_add(l, dir, o->add, o->n_add, true);
	for (size_t i = 0; i < o->n_remove; i++)
		list_del(l, dir, o->remove[i]);
}

static void route_headers(struct header_lists *l, const Nw__HTTPRoute *h)
{
	map_add(l, 0, h->append_headers, h->n_append_headers, true);
	map_add(l, 0, h->append_request_headers, h->n_append_request_headers, true);
	map_add(l, 1, h->append_response_headers, h->n_append_response_headers, true);
	for (size_t i = 0; i < h->n_remove_request_headers; i++)
		list_del(l, 0, h->remove_request_headers[i]);
	for (size_t i = 0; i < h->n_remove_response_headers; i++)
		list_del(l, 1, h->remove_response_headers[i]);
	if (h->headers) {
		operations(l, 0, h->headers->request);
		operations(l, 1, h->headers->response);
	}
}

static void dest_headers(struct header_lists *l, const Nw__HTTPRouteDestination *d)
{
	map_add(l, 0, d->append_request_headers, d->n_append_request_headers, true);
	map_add(l, 1, d->append_response_headers, d->n_append_response_headers, true);
	for (size_t i = 0; i < d->n_remove_request_headers; i++)
		list_del(l, 0, d->remove_request_headers[i]);
	for (size_t i = 0; i < d->n_remove_response_headers; i++)
		list_del(l, 1, d->remove_response_headers[i]);
	if (d->headers) {
		operations(l, 0, d->headers->request);
		operations(l, 1, d->headers->response);
	}
}

#define PUT_HEADERS(m, l)                                                                          \
	do {                                                                                       \
		(m)->request_headers_to_add = (l).add[0];                                          \
		(m)->n_request_headers_to_add = (l).nadd[0];                                       \
		(m)->response_headers_to_add = (l).add[1];                                         \
		(m)->n_response_headers_to_add = (l).nadd[1];                                      \
		(m)->request_headers_to_remove = (l).del[0];                                       \
		(m)->n_request_headers_to_remove = (l).ndel[0];                                    \
		(m)->response_headers_to_remove = (l).del[1];                                      \
		(m)->n_response_headers_to_remove = (l).ndel[1];                                   \
	} while (0)

static void host_rewrite(Route__RouteAction *a, const char *host)
{
	a->host_rewrite_specifier_case =
		ROUTE__ROUTE_ACTION__HOST_REWRITE_SPECIFIER_HOST_REWRITE_LITERAL;
	a->host_rewrite_literal = pb_s(host);
}

/* ---- retries ---- */

static const char default_on[] = "connect-failure,refused-stream,unavailable,cancelled";
static const char rule_on[] = "5xx,connect-failure,refused-stream,unavailable,cancelled";

/* "5xx,503,gateway-error": numbers are status codes. */
static void retry_on(struct pilot_job *j, Route__RetryPolicy *p, const char *text)
{
	char *out = mt_arena_strdup(j->a, "");
	bool codes = false;
	for (const char *s = text; *s;) {
		size_t n = strcspn(s, ",");
		char *word = mt_arena_strndup(j->a, s, n), *end;
		unsigned long code = strtoul(word, &end, 10);
		if (n && !*end && code >= 100 && code < 600) {
			pb_add(j->a, p, retriable_status_codes, (uint32_t)code);
			codes = true;
		} else if (n) {
			out = mt_arena_printf(j->a, "%s%s%s", out, *out ? "," : "", word);
		}
		s += n + (s[n] == ',');
	}
	if (codes)
		out = mt_arena_printf(j->a, "%s%sretriable-status-codes", out, *out ? "," : "");
	p->retry_on = out;
}

static Route__RetryPolicy *retries(struct pilot_job *j, const Nw__HTTPRetry *r)
{
	if (r && r->attempts <= 0)
		return NULL;
	Route__RetryPolicy *p = pb_new(j->a, route__retry_policy);
	p->num_retries = pb_u32(j->a, r ? (uint32_t)r->attempts : 2);
	retry_on(j, p, !r ? default_on : *r->retry_on ? r->retry_on : rule_on);
	if (r && pb_dur_ns(r->per_try_timeout) > 0)
		p->per_try_timeout = pb_dur_dup(j->a, r->per_try_timeout);
	if (r && pb_dur_ns(r->backoff) > 0) {
		p->retry_back_off = pb_new(j->a, route__retry_policy__retry_back_off);
		p->retry_back_off->base_interval = pb_dur_dup(j->a, r->backoff);
	}
	if (r && r->retry_ignore_previous_hosts && !r->retry_ignore_previous_hosts->value)
		return p;
	/* Another host, if there is one. */
	Retryhost__PreviousHostsPredicate *prev = pb_new(j->a, retryhost__previous_hosts_predicate);
	Route__RetryPolicy__RetryHostPredicate *h =
		pb_new(j->a, route__retry_policy__retry_host_predicate);
	h->name = pb_s("envoy.retry_host_predicates.previous_hosts");
	h->config_type_case = ROUTE__RETRY_POLICY__RETRY_HOST_PREDICATE__CONFIG_TYPE_TYPED_CONFIG;
	h->typed_config = mt_pb_any(j->a, &prev->base);
	pb_add(j->a, p, retry_host_predicate, h);
	p->host_selection_retry_max_attempts = 5;
	return p;
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
	pilot_policy_resolve(dr, subset, port, &pol);
	if (!pol.lb ||
		pol.lb->lb_policy_case != NW__LOAD_BALANCER_SETTINGS__LB_POLICY_CONSISTENT_HASH)
		return;
	Route__RouteAction__HashPolicy *p = hash_policy(j, pol.lb->consistent_hash);
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
	if (!c->server || pilot_cluster_name_parse(cluster, &cn) < 0)
		return NULL;
	int svc = pilot_world_find(c->j->w, cn.host, c->j->p->ns);
	return pilot_mixer_service(c->j, svc >= 0 ? c->j->ix->svcs[svc] : NULL,
		mt_arena_strdup(c->j->a, cn.host), cn.port);
}

static Route__WeightedCluster__ClusterWeight *cluster_weight(
	const struct pilot_route_ctx *c, const Nw__HTTPRouteDestination *d, Route__RouteAction *a)
{
	struct header_lists l = { .a = c->j->a };
	Route__WeightedCluster__ClusterWeight *w =
		pb_new(c->j->a, route__weighted_cluster__cluster_weight);
	w->name = pb_s(pilot_dest_cluster(c->j, d->destination, c->vs, c->port));
	w->weight = pb_u32(c->j->a, (uint32_t)d->weight);
	dest_headers(&l, d);
	PUT_HEADERS(w, l);
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
	Route__RouteAction *a, struct header_lists *l)
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
		a->cluster = pb_s(pilot_dest_cluster(c->j, one->destination, c->vs, c->port));
		dest_headers(l, one);
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
	m->cluster = pb_s(pilot_dest_cluster(c->j, d, c->vs, c->port));
	m->runtime_fraction = pb_runtime_percent(c->j->a, percent);
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
		host_rewrite(a, w->authority);
}

static void redirect(struct pilot_job *j, Route__Route *r, const Nw__HTTPRedirect *d)
{
	Route__RedirectAction *a = pb_new(j->a, route__redirect_action);
	r->action_case = ROUTE__ROUTE__ACTION_REDIRECT;
	r->redirect = a;
	if (*d->authority)
		a->host_redirect = d->authority;
	if (*d->prefix_rewrite) {
		a->path_rewrite_specifier_case =
			ROUTE__REDIRECT_ACTION__PATH_REWRITE_SPECIFIER_PREFIX_REWRITE;
		a->prefix_rewrite = d->prefix_rewrite;
	} else if (*d->uri) {
		a->path_rewrite_specifier_case =
			ROUTE__REDIRECT_ACTION__PATH_REWRITE_SPECIFIER_PATH_REDIRECT;
		a->path_redirect = d->uri;
	}
	if (*d->scheme) {
		a->scheme_rewrite_specifier_case =
			ROUTE__REDIRECT_ACTION__SCHEME_REWRITE_SPECIFIER_SCHEME_REDIRECT;
		a->scheme_redirect = d->scheme;
	}
	if (d->redirect_port_case == NW__HTTPREDIRECT__REDIRECT_PORT_PORT)
		a->port_redirect = d->port;
	else if (d->redirect_port_case == NW__HTTPREDIRECT__REDIRECT_PORT_DERIVE_PORT &&
		d->derive_port ==
			NW__HTTPREDIRECT__REDIRECT_PORT_SELECTION__FROM_PROTOCOL_DEFAULT &&
		*d->scheme)
		a->port_redirect = strcmp(d->scheme, "https") == 0 ? 443 : 80;
	switch (d->redirect_code) {
	case 302: a->response_code = ROUTE__REDIRECT_ACTION__REDIRECT_RESPONSE_CODE__FOUND; break;
	case 303:
		a->response_code = ROUTE__REDIRECT_ACTION__REDIRECT_RESPONSE_CODE__SEE_OTHER;
		break;
	case 307:
		a->response_code =
			ROUTE__REDIRECT_ACTION__REDIRECT_RESPONSE_CODE__TEMPORARY_REDIRECT;
		break;
	case 308:
		a->response_code =
			ROUTE__REDIRECT_ACTION__REDIRECT_RESPONSE_CODE__PERMANENT_REDIRECT;
		break;
	default: break; /* 301 */
	}
}

static void direct(struct pilot_job *j, Route__Route *r, const Nw__HTTPDirectResponse *d)
{
	Route__DirectResponseAction *a = pb_new(j->a, route__direct_response_action);
	r->action_case = ROUTE__ROUTE__ACTION_DIRECT_RESPONSE;
	r->direct_response = a;
	a->status = d->status;
	if (!d->body || d->body->specifier_case == NW__HTTPBODY__SPECIFIER__NOT_SET)
		return;
	a->body = pb_new(j->a, core__data_source);
	if (d->body->specifier_case == NW__HTTPBODY__SPECIFIER_STRING) {
		a->body->specifier_case = CORE__DATA_SOURCE__SPECIFIER_INLINE_STRING;
		a->body->inline_string = pb_s(*d->body->string ? d->body->string : "");
	} else {
		a->body->specifier_case = CORE__DATA_SOURCE__SPECIFIER_INLINE_BYTES;
		a->body->inline_bytes = d->body->bytes;
	}
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
	struct header_lists *l)
{
	struct pilot_job *j = c->j;
	Route__RouteAction *a = pb_new(j->a, route__route_action);
	if (!destinations(c, h, r, a, l)) {
		Nw__HTTPDirectResponse none = NW__HTTPDIRECT_RESPONSE__INIT;
		none.status = 503;
		direct(j, r, &none);
		pilot_job_note(j, c->vs->id, PILOT_NOTE_INVALID, "spec.http",
			"a route without a destination answers 503");
		return;
	}
	r->action_case = ROUTE__ROUTE__ACTION_ROUTE;
	r->route = a;
	a->timeout = pb_dur(j->a, h->timeout ? pb_dur_ns(h->timeout) : 0);
	a->retry_policy = retries(j, h->retries);
	rewrite(c, a, h->rewrite);
	if (l->host)
		host_rewrite(a, l->host);
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
	struct header_lists l = { .a = j->a };
	route_headers(&l, h);
	if (*h->name && m && *m->name)
		r->name = mt_arena_printf(j->a, "%s.%s", h->name, m->name);
	else
		r->name = *h->name ? h->name : pb_s("default");
	if (h->redirect)
		redirect(j, r, h->redirect);
	else if (h->direct_response)
		direct(j, r, h->direct_response);
	else
		forward(c, h, r, &l);
	PUT_HEADERS(r, l);
	if (m && *m->stat_prefix)
		r->stat_prefix = m->stat_prefix;
	per_route(j, r, pilot_fault_name, pilot_fault_config(j, h->fault));
	per_route(j, r, pilot_cors_name, pilot_cors_config(j, h->cors_policy));
	if (h->delegate)
		pilot_job_note(j, c->vs->id, PILOT_NOTE_IGNORED, "spec.http",
			"delegate has no effect yet");
}

Route__Route *pilot_route_default(struct pilot_job *j, int svc, uint16_t port)
{
	const struct pilot_service *s = j->ix->svcs[svc];
	Route__RouteAction *a = pb_new(j->a, route__route_action);
	a->cluster_specifier_case = ROUTE__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER;
	a->cluster = pb_s(pilot_out_name(j, port, "", s->hostname));
	a->timeout = pb_dur(j->a, 0);
	a->retry_policy = retries(j, NULL);
	add_hash(j, a, svc, s->hostname, "", port);
	Route__Route *r = pb_new(j->a, route__route);
	r->name = pb_s("default");
	r->match = pilot_match_build(j, NULL);
	r->action_case = ROUTE__ROUTE__ACTION_ROUTE;
	r->route = a;
	decorate(j, r, a->cluster);
	return r;
}
