/* Which endpoints are fit: passive (outlier detection) and active health checks. */
#include <string.h>

#include "common/base/strs.h"
#include "common/schema/health.h"
#include "pilot/translate/policy.h"

static void outliers(struct pilot_job *j, Cluster__Cluster *c, const Nw__OutlierDetection *o)
{
	struct mt_arena *a = j->a;
	Cluster__OutlierDetection *m = pb_new(a, cluster__outlier_detection);
	if (o->interval)
		m->interval = pb_dur_dup(a, o->interval);
	if (o->base_ejection_time)
		m->base_ejection_time = pb_dur_dup(a, o->base_ejection_time);
	if (o->max_ejection_percent > 0)
		m->max_ejection_percent = pb_u32(a, (uint32_t)o->max_ejection_percent);
	m->enforcing_success_rate = pb_u32(a, 0);
	uint32_t n5xx = o->consecutive_5xx_errors ? o->consecutive_5xx_errors->value
						  : (uint32_t)MT_MAX(o->consecutive_errors, 0);
	uint32_t gateway = o->consecutive_gateway_errors ? o->consecutive_gateway_errors->value : 0;
	/* Zero switches it off; a rule that does not name it has Envoy's five, whatever else it says. */
	if (n5xx)
		m->consecutive_5xx = pb_u32(a, n5xx);
	if (o->consecutive_5xx_errors || n5xx)
		m->enforcing_consecutive_5xx = pb_u32(a, n5xx ? 100 : 0);
	if (gateway) {
		m->consecutive_gateway_failure = pb_u32(a, gateway);
		m->enforcing_consecutive_gateway_failure = pb_u32(a, 100);
	}
	if (o->split_external_local_origin_errors) {
		m->split_external_local_origin_errors = true;
		if (o->consecutive_local_origin_failures) {
			m->consecutive_local_origin_failure =
				pb_u32(a, o->consecutive_local_origin_failures->value);
			m->enforcing_consecutive_local_origin_failure = pb_u32(a, 100);
		}
		m->enforcing_local_origin_success_rate = pb_u32(a, 0);
	}
	/* One of two hosts is more than the default tenth: still let it be put aside. */
	m->always_eject_one_host = pb_bool(a, true);
	c->outlier_detection = m;
}

/* Envoy sends to everybody when half of them are unfit, unless told when to panic. */
static void panic(struct pilot_job *j, Cluster__Cluster *c, int32_t percent)
{
	if (!c->common_lb_config)
		c->common_lb_config = pb_new(j->a, cluster__cluster__common_lb_config);
	c->common_lb_config->healthy_panic_threshold = pb_new(j->a, etype__percent);
	c->common_lb_config->healthy_panic_threshold->value = MT_MAX(percent, 0);
}

void pilot_cluster_outliers(
	struct pilot_job *j, Cluster__Cluster *c, const struct pilot_policy *pol)
{
	if (pol->outlier)
		outliers(j, c, pol->outlier);
	if (pol->outlier || pol->health)
		panic(j, c, pol->outlier ? pol->outlier->min_health_percent : 0);
}

static void add_status(
	struct pilot_job *j, Comatch__MatchPredicate__MatchSet *any, Matcher__StringMatcher *match)
{
	Route__HeaderMatcher *h = pb_new(j->a, route__header_matcher);
	h->name = pb_s(":status");
	h->header_match_specifier_case = ROUTE__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_STRING_MATCH;
	h->string_match = match;
	Comatch__MatchPredicate *p = pb_new(j->a, comatch__match_predicate);
	p->rule_case = COMATCH__MATCH_PREDICATE__RULE_HTTP_RESPONSE_HEADERS_MATCH;
	p->http_response_headers_match = pb_new(j->a, comatch__http_headers_match);
	pb_add(j->a, p->http_response_headers_match, headers, h);
	pb_add(j->a, any, rules, p);
}

/* Statuses that count as errors beside 5xx; a matcher replaces what Envoy counts by itself. */
Uphttp__HttpProtocolOptions__OutlierDetection *pilot_outlier_codes(
	struct pilot_job *j, const Nw__OutlierDetection *o)
{
	Comatch__MatchPredicate__MatchSet *any = pb_new(j->a, comatch__match_predicate__match_set);
	add_status(j, any, pb_prefix(j->a, "5"));
	for (size_t i = 0; i < o->n_outlier_detection_http_error_codes; i++)
		add_status(j, any,
			pb_exact(j->a,
				mt_arena_printf(
					j->a, "%u", o->outlier_detection_http_error_codes[i])));
	Uphttp__HttpProtocolOptions__OutlierDetection *m =
		pb_new(j->a, uphttp__http_protocol_options__outlier_detection);
	m->error_matcher = pb_new(j->a, comatch__match_predicate);
	m->error_matcher->rule_case = COMATCH__MATCH_PREDICATE__RULE_OR_MATCH;
	m->error_matcher->or_match = any;
	return m;
}

/* ---- active checks: common/schema/health.h ---- */

static void expect(struct pilot_job *j, Core__HealthCheck__HttpHealthCheck *m,
	const Meltemi__HealthCheck__Http *h)
{
	for (size_t i = 0; i < h->n_expected_statuses; i++) {
		Etype__Int64Range *r = pb_new(j->a, etype__int64_range);
		r->start = h->expected_statuses[i];
		r->end = r->start + 1; /* half open */
		pb_add(j->a, m, expected_statuses, r);
	}
}

static void http_check(struct pilot_job *j, Core__HealthCheck *m,
	const Meltemi__HealthCheck__Http *h, const char *host, bool h2)
{
	Core__HealthCheck__HttpHealthCheck *o = pb_new(j->a, core__health_check__http_health_check);
	o->path = *h->path ? h->path : pb_s("/");
	o->host = *h->host ? h->host : pb_s(host);
	if (mt_streq(h->method, "HEAD"))
		o->method = CORE__REQUEST_METHOD__HEAD;
	if (h2)
		o->codec_client_type = ETYPE__CODEC_CLIENT_TYPE__HTTP2;
	expect(j, o, h);
	m->health_checker_case = CORE__HEALTH_CHECK__HEALTH_CHECKER_HTTP_HEALTH_CHECK;
	m->http_health_check = o;
}

static void grpc_check(struct pilot_job *j, Core__HealthCheck *m,
	const Meltemi__HealthCheck__Grpc *h, const char *host)
{
	m->health_checker_case = CORE__HEALTH_CHECK__HEALTH_CHECKER_GRPC_HEALTH_CHECK;
	m->grpc_health_check = pb_new(j->a, core__health_check__grpc_health_check);
	m->grpc_health_check->service_name = h->service;
	m->grpc_health_check->authority = pb_s(host);
}

static Core__HealthCheck__Payload *payload(struct pilot_job *j, const char *text)
{
	static const char digits[] = "0123456789abcdef";
	size_t n = strlen(text);
	char *hex = mt_arena_alloc(j->a, 2 * n + 1);
	for (size_t i = 0; i < n; i++) {
		hex[2 * i] = digits[(unsigned char)text[i] >> 4];
		hex[2 * i + 1] = digits[text[i] & 15];
	}
	hex[2 * n] = '\0';
	Core__HealthCheck__Payload *p = pb_new(j->a, core__health_check__payload);
	p->payload_case = CORE__HEALTH_CHECK__PAYLOAD__PAYLOAD_TEXT; /* hexadecimal, Envoy says */
	p->text = hex;
	return p;
}

static void tcp_check(struct pilot_job *j, Core__HealthCheck *m, const Meltemi__HealthCheck__Tcp *h)
{
	m->health_checker_case = CORE__HEALTH_CHECK__HEALTH_CHECKER_TCP_HEALTH_CHECK;
	m->tcp_health_check = pb_new(j->a, core__health_check__tcp_health_check);
	if (h && *h->send)
		m->tcp_health_check->send = payload(j, h->send);
	if (h && *h->receive)
		pb_add(j->a, m->tcp_health_check, receive, payload(j, h->receive));
}

static Google__Protobuf__Duration *or_seconds(
	struct pilot_job *j, const Google__Protobuf__Duration *d, int64_t seconds)
{
	return d ? pb_dur_dup(j->a, d) : pb_dur(j->a, seconds * MT_NS_PER_SEC);
}

void pilot_cluster_checks(struct pilot_job *j, Cluster__Cluster *c, const struct pilot_policy *pol,
	const struct pilot_service *s, bool h2)
{
	const Meltemi__HealthCheck *h = pol->health;
	if (!h || c->type == CLUSTER__CLUSTER__DISCOVERY_TYPE__ORIGINAL_DST)
		return;
	Core__HealthCheck *m = pb_new(j->a, core__health_check);
	if (h->http)
		http_check(j, m, h->http, s->hostname, h2);
	else if (h->grpc && h2)
		grpc_check(j, m, h->grpc, s->hostname);
	else
		tcp_check(j, m, h->tcp);
	if (h->grpc && !h2)
		pilot_job_note(j, pol->dr->ids[0], PILOT_NOTE_IGNORED, MT_HEALTH_CHECK_PATH,
			"%s speaks no HTTP/2, so no gRPC: a connection is the check", c->name);
	m->timeout = or_seconds(j, h->timeout, 1);
	m->interval = or_seconds(j, h->interval, 5);
	m->no_traffic_interval = h->no_traffic_interval ? pb_dur_dup(j->a, h->no_traffic_interval)
							: or_seconds(j, h->interval, 5);
	m->interval_jitter_percent = 10;
	m->unhealthy_threshold = pb_u32(j->a, h->unhealthy_threshold ? h->unhealthy_threshold : 3);
	m->healthy_threshold = pb_u32(j->a, h->healthy_threshold ? h->healthy_threshold : 2);
	if (h->reuse_connection)
		m->reuse_connection = pb_bool(j->a, h->reuse_connection->value);
	pb_add(j->a, c, health_checks, m);
	/* What the registry took away is gone, however healthy it looks. */
	c->ignore_health_on_host_removal = true;
}
