#include "galley/validate/http_route.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/strs.h"

static const size_t max_body = 1024 * 1024;

/* A header of a request, or a name that Istio gives to what it knows of a request beside headers. */
static void matched_name(const struct check *c, const char *path, const char *name)
{
	if (mt_str_prefix(name, "@request.auth.claims"))
		fault(c, path,
			"claims of tokens are not matched: the proxies do not verify end users' tokens");
	else
		check_header_name(c, path, name);
}

static void match(const struct check *c, const char *path, const Nw__HTTPMatchRequest *m)
{
	check_string_match(c, at(c, "%s.uri", path), m->uri);
	check_string_match(c, at(c, "%s.scheme", path), m->scheme);
	check_string_match(c, at(c, "%s.method", path), m->method);
	check_string_match(c, at(c, "%s.authority", path), m->authority);
	for (size_t i = 0; i < m->n_headers; i++) {
		const char *p = at(c, "%s.headers.%s", path, m->headers[i]->key);
		matched_name(c, p, m->headers[i]->key);
		check_string_match(c, p, m->headers[i]->value);
	}
	for (size_t i = 0; i < m->n_without_headers; i++) {
		const char *p = at(c, "%s.withoutHeaders.%s", path, m->without_headers[i]->key);
		matched_name(c, p, m->without_headers[i]->key);
		check_string_match(c, p, m->without_headers[i]->value);
	}
	for (size_t i = 0; i < m->n_query_params; i++)
		check_string_match(c, at(c, "%s.queryParams.%s", path, m->query_params[i]->key),
			m->query_params[i]->value);
	if (m->port)
		check_port(c, at(c, "%s.port", path), m->port);
	check_source(c, path, m->source_labels, m->n_source_labels, m->source_namespace);
	for (size_t i = 0; i < m->n_gateways; i++)
		check_gateway_name(c, at(c, "%s.gateways[%zu]", path, i), m->gateways[i]);
}

static void header_names(const struct check *c, const char *path, char *const *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		check_header_name(c, at(c, "%s[%zu]", path, i), v[i]);
}

static void destinations(const struct check *c, const char *path, const Nw__HTTPRoute *r)
{
	int64_t sum = 0;

	for (size_t i = 0; i < r->n_route; i++) {
		const Nw__HTTPRouteDestination *d = r->route[i];
		const char *p = at(c, "%s.route[%zu]", path, i);
		check_destination(c, at(c, "%s.destination", p), d->destination);
		if (d->weight < 0)
			fault(c, at(c, "%s.weight", p), "must not be negative");
		sum += d->weight;
		check_destination_headers(c, p, d);
	}
	if (sum > UINT32_MAX)
		fault(c, at(c, "%s.route", path), "the weights add up to more than 4294967295");
	else if (r->n_route > 1 && sum <= 0)
		fault(c, at(c, "%s.route", path), "the weights of %zu destinations are all zero",
			r->n_route);
	else if (r->n_route > 1 && sum != 100)
		remark(c, at(c, "%s.route", path),
			"the weights add up to %lld: they are taken as shares of it",
			(long long)sum);
}

/* Exactly one of these decides what happens to a request. */
static void action(const struct check *c, const char *path, const Nw__HTTPRoute *r)
{
	int n = (r->n_route > 0) + (r->redirect != NULL) + (r->direct_response != NULL) +
		(r->delegate != NULL);

	if (n == 0)
		fault(c, path, "has no route, redirect, directResponse or delegate");
	else if (n > 1)
		fault(c, path, "has more than one of route, redirect, directResponse and delegate");
	if (r->redirect && r->rewrite)
		fault(c, at(c, "%s.rewrite", path), "cannot stand beside redirect");
	const char *own = r->redirect ? "redirect" : r->direct_response ? "directResponse" : NULL;
	const struct {
		const char *field;
		bool is;
	} idle[] = { { "fault", r->redirect && r->fault }, { "timeout", r->timeout != NULL },
		{ "retries", r->retries != NULL }, { "mirror", r->mirror != NULL },
		{ "mirrors", r->n_mirrors > 0 }, { "rewrite", r->direct_response && r->rewrite } };
	for (size_t i = 0; own && i < MT_ARRAY_SIZE(idle); i++)
		if (idle[i].is)
			remark(c, at(c, "%s.%s", path, idle[i].field), "has no effect beside %s",
				own);
}

static void redirect(const struct check *c, const char *path, const Nw__HTTPRedirect *r)
{
	static const uint32_t codes[] = { 0, 301, 302, 303, 307, 308 };
	bool known = false;

	if (!r)
		return;
	for (size_t i = 0; i < MT_ARRAY_SIZE(codes); i++)
		known = known || codes[i] == r->redirect_code;
	if (!known)
		fault(c, at(c, "%s.redirectCode", path), "%u is not 301, 302, 303, 307 or 308",
			r->redirect_code);
	if (mt_str_empty(r->uri) && mt_str_empty(r->authority) && mt_str_empty(r->scheme) &&
		mt_str_empty(r->prefix_rewrite) &&
		r->redirect_port_case == NW__HTTPREDIRECT__REDIRECT_PORT__NOT_SET)
		fault(c, path, "changes nothing: say uri, authority, port or scheme");
	if (!mt_str_empty(r->scheme) && strcmp(r->scheme, "http") != 0 &&
		strcmp(r->scheme, "https") != 0)
		fault(c, at(c, "%s.scheme", path), "\"%s\" is not http or https", r->scheme);
	if (r->redirect_port_case == NW__HTTPREDIRECT__REDIRECT_PORT_PORT)
		check_port(c, at(c, "%s.port", path), r->port);
}

static void retries(const struct check *c, const char *path, const Nw__HTTPRetry *r)
{
	static const char *const conditions[] = {
		"5xx",
		"gateway-error",
		"reset",
		"reset-before-request",
		"connect-failure",
		"envoy-ratelimited",
		"retriable-4xx",
		"refused-stream",
		"retriable-status-codes",
		"retriable-headers",
		"http3-post-connect-failure",
		"cancelled",
		"deadline-exceeded",
		"internal",
		"resource-exhausted",
		"unavailable",
	};

	if (!r)
		return;
	if (r->attempts < 0)
		fault(c, at(c, "%s.attempts", path), "must not be negative");
	check_duration(c, at(c, "%s.perTryTimeout", path), r->per_try_timeout, MT_NS_PER_MS);
	check_duration(c, at(c, "%s.backoff", path), r->backoff, MT_NS_PER_MS);
	if (r->attempts == 0 && !mt_str_empty(r->retry_on))
		remark(c, at(c, "%s.retryOn", path), "has no effect with attempts 0");
	char *save, *list = mt_arena_strdup(c->arena, r->retry_on ? r->retry_on : "");
	for (char *s = strtok_r(list, ", ", &save); s; s = strtok_r(NULL, ", ", &save)) {
		bool known = s[0] >= '1' && s[0] <= '5' && strspn(s, "0123456789") == 3 && !s[3];
		for (size_t i = 0; i < MT_ARRAY_SIZE(conditions); i++)
			known = known || strcmp(conditions[i], s) == 0;
		if (!known)
			fault(c, at(c, "%s.retryOn", path),
				"\"%s\" is not a condition that Envoy knows", s);
	}
}

static bool is_grpc_status(const char *s)
{
	static const char *const names[] = { "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT",
		"DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
		"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
		"UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED" };
	char *end;
	long n = strtol(s, &end, 10);

	for (size_t i = 0; i < MT_ARRAY_SIZE(names); i++)
		if (strcmp(names[i], s) == 0)
			return true;
	return *s && !*end && n >= 0 && n < (long)MT_ARRAY_SIZE(names);
}

static void faults(const struct check *c, const char *path, const Nw__HTTPFaultInjection *f)
{
	if (!f)
		return;
	if (!f->delay && !f->abort)
		fault(c, path, "has no delay and no abort");
	if (f->delay) {
		const Nw__HTTPFaultInjection__Delay *d = f->delay;
		check_percent_int(c, at(c, "%s.delay.percent", path), d->percent);
		check_percent(c, at(c, "%s.delay.percentage.value", path), d->percentage);
		if (d->http_delay_type_case !=
			NW__HTTPFAULT_INJECTION__DELAY__HTTP_DELAY_TYPE_FIXED_DELAY)
			fault(c, at(c, "%s.delay.fixedDelay", path), "is missing");
		else
			check_duration(c, at(c, "%s.delay.fixedDelay", path), d->fixed_delay,
				MT_NS_PER_MS);
		if (!d->percentage && !d->percent)
			remark(c, at(c, "%s.delay", path), "has no percentage: every request");
	}
	if (f->abort) {
		const Nw__HTTPFaultInjection__Abort *a = f->abort;
		check_percent_int(c, at(c, "%s.abort.percent", path), a->percent);
		check_percent(c, at(c, "%s.abort.percentage.value", path), a->percentage);
		if (a->error_type_case == NW__HTTPFAULT_INJECTION__ABORT__ERROR_TYPE_HTTP_STATUS)
			check_http_status(c, at(c, "%s.abort.httpStatus", path), a->http_status);
		else if (a->error_type_case !=
			NW__HTTPFAULT_INJECTION__ABORT__ERROR_TYPE_GRPC_STATUS)
			fault(c, at(c, "%s.abort", path), "has no httpStatus and no grpcStatus");
		else if (!is_grpc_status(a->grpc_status))
			fault(c, at(c, "%s.abort.grpcStatus", path),
				"\"%s\" is not a status of gRPC", a->grpc_status);
		if (!a->percentage && !a->percent)
			remark(c, at(c, "%s.abort", path), "has no percentage: every request");
	}
}

static void rewrite(const struct check *c, const char *path, const Nw__HTTPRewrite *r)
{
	if (!r)
		return;
	if (mt_str_empty(r->uri) && mt_str_empty(r->authority) && !r->uri_regex_rewrite)
		fault(c, path, "changes nothing: say uri, uriRegexRewrite or authority");
	if (!mt_str_empty(r->uri) && r->uri_regex_rewrite)
		fault(c, path, "has both uri and uriRegexRewrite");
	if (r->uri_regex_rewrite) {
		const char *p = at(c, "%s.uriRegexRewrite", path);
		check_regex(c, at(c, "%s.match", p), r->uri_regex_rewrite->match);
		check_substitution(c, at(c, "%s.rewrite", p), r->uri_regex_rewrite->match,
			r->uri_regex_rewrite->rewrite);
	}
}

static void mirrors(const struct check *c, const char *path, const Nw__HTTPRoute *r)
{
	if (r->mirror)
		check_destination(c, at(c, "%s.mirror", path), r->mirror);
	if (!r->mirror && (r->mirror_percent || r->mirror_percentage))
		remark(c,
			at(c, "%s.%s", path,
				r->mirror_percentage ? "mirrorPercentage" : "mirrorPercent"),
			"has no effect without mirror");
	if (r->mirror && r->n_mirrors)
		fault(c, at(c, "%s.mirrors", path), "cannot stand beside mirror");
	if (r->mirror_percent)
		check_percent_int(c, at(c, "%s.mirrorPercent", path), r->mirror_percent->value);
	check_percent(c, at(c, "%s.mirrorPercentage.value", path), r->mirror_percentage);
	for (size_t i = 0; i < r->n_mirrors; i++) {
		check_destination(c, at(c, "%s.mirrors[%zu].destination", path, i),
			r->mirrors[i]->destination);
		check_percent(c, at(c, "%s.mirrors[%zu].percentage.value", path, i),
			r->mirrors[i]->percentage);
	}
}

static void cors(const struct check *c, const char *path, const Nw__CorsPolicy *p)
{
	if (!p)
		return;
	if (p->n_allow_origin && p->n_allow_origins)
		remark(c, at(c, "%s.allowOrigin", path), "has no effect beside allowOrigins");
	for (size_t i = 0; i < p->n_allow_origins; i++)
		check_string_match(c, at(c, "%s.allowOrigins[%zu]", path, i), p->allow_origins[i]);
	header_names(c, at(c, "%s.allowHeaders", path), p->allow_headers, p->n_allow_headers);
	header_names(c, at(c, "%s.exposeHeaders", path), p->expose_headers, p->n_expose_headers);
	check_duration(c, at(c, "%s.maxAge", path), p->max_age, 0);
}

static void direct_response(
	const struct check *c, const char *path, const Nw__HTTPDirectResponse *d)
{
	if (!d)
		return;
	check_http_status(c, at(c, "%s.status", path), d->status);
	if (!d->body)
		return;
	size_t n = d->body->specifier_case == NW__HTTPBODY__SPECIFIER_BYTES ? d->body->bytes.len
		: d->body->specifier_case == NW__HTTPBODY__SPECIFIER_STRING
		? strlen(d->body->string)
		: 0;
	if (n > max_body)
		fault(c, at(c, "%s.body", path), "has more than %zu bytes", max_body);
}

void galley_check_http_route(const struct check *c, const char *path, const Nw__HTTPRoute *r)
{
	action(c, path, r);
	for (size_t i = 0; i < r->n_match; i++)
		match(c, at(c, "%s.match[%zu]", path, i), r->match[i]);
	destinations(c, path, r);
	redirect(c, at(c, "%s.redirect", path), r->redirect);
	rewrite(c, at(c, "%s.rewrite", path), r->rewrite);
	check_duration(c, at(c, "%s.timeout", path), r->timeout, 0);
	retries(c, at(c, "%s.retries", path), r->retries);
	faults(c, at(c, "%s.fault", path), r->fault);
	mirrors(c, path, r);
	cors(c, at(c, "%s.corsPolicy", path), r->cors_policy);
	check_route_headers(c, path, r);
	direct_response(c, at(c, "%s.directResponse", path), r->direct_response);
	if (r->delegate && !is_host(r->delegate->name, false))
		fault(c, at(c, "%s.delegate.name", path), "\"%s\" is not a name",
			r->delegate->name);
	if (r->delegate && *r->delegate->namespace_ && !is_label(r->delegate->namespace_))
		fault(c, at(c, "%s.delegate.namespace", path), "\"%s\" is not a namespace",
			r->delegate->namespace_);
}
