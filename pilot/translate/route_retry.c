/* Retries of a route. Without a rule: twice, for what never reached a server. */
#include <stdlib.h>
#include <string.h>

#include "envoy/extensions/retry/host/previous_hosts/v3/previous_hosts.pb-c.h"
#include "envoy/extensions/retry/priority/previous_priorities/v3/previous_priorities.pb-c.h"
#include "pilot/translate/route.h"

static const char default_on[] = "connect-failure,refused-stream,unavailable,cancelled";
static const char rule_on[] = "5xx,connect-failure,refused-stream,unavailable,cancelled";

/* "5xx,503,gateway-error": numbers are status codes. */
static void retry_on(struct pilot_job *j, Route__RetryPolicy *p, const char *text)
{
	char *out = mt_arena_strdup(j->a, "");
	bool codes = false;
	for (const char *s = text + strspn(text, ", "); *s; s += strspn(s, ", ")) {
		size_t n = strcspn(s, ", ");
		char *word = mt_arena_strndup(j->a, s, n), *end;
		unsigned long code = strtoul(word, &end, 10);
		s += n;
		if (!*end && code >= 100 && code < 600) {
			pb_add(j->a, p, retriable_status_codes, (uint32_t)code);
			codes = true;
		} else if (strcmp(word, "retriable-status-codes") == 0) {
			codes = true;
		} else {
			out = mt_arena_printf(j->a, "%s%s%s", out, *out ? "," : "", word);
		}
	}
	if (codes)
		out = mt_arena_printf(j->a, "%s%sretriable-status-codes", out, *out ? "," : "");
	p->retry_on = out;
}

/* Another host, if there is one. */
static void other_hosts(struct pilot_job *j, Route__RetryPolicy *p)
{
	Retryhost__PreviousHostsPredicate *prev = pb_new(j->a, retryhost__previous_hosts_predicate);
	Route__RetryPolicy__RetryHostPredicate *h =
		pb_new(j->a, route__retry_policy__retry_host_predicate);
	h->name = pb_s("envoy.retry_host_predicates.previous_hosts");
	h->config_type_case = ROUTE__RETRY_POLICY__RETRY_HOST_PREDICATE__CONFIG_TYPE_TYPED_CONFIG;
	h->typed_config = mt_pb_any(j->a, &prev->base);
	pb_add(j->a, p, retry_host_predicate, h);
	p->host_selection_retry_max_attempts = 5;
}

/* Localities of lower priority, after two tries in the nearer ones. */
static void other_localities(struct pilot_job *j, Route__RetryPolicy *p)
{
	Retrypriority__PreviousPrioritiesConfig *prev =
		pb_new(j->a, retrypriority__previous_priorities_config);
	Route__RetryPolicy__RetryPriority *r = pb_new(j->a, route__retry_policy__retry_priority);
	prev->update_frequency = 2;
	r->name = pb_s("envoy.retry_priorities.previous_priorities");
	r->config_type_case = ROUTE__RETRY_POLICY__RETRY_PRIORITY__CONFIG_TYPE_TYPED_CONFIG;
	r->typed_config = mt_pb_any(j->a, &prev->base);
	p->retry_priority = r;
}

Route__RetryPolicy *pilot_retries(struct pilot_job *j, const Nw__HTTPRetry *r, bool hashed)
{
	if (!r) /* defaultHttpRetryPolicy of the mesh */
		r = j->mesh->spec->default_http_retry_policy;
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
	if (r && r->retry_remote_localities && r->retry_remote_localities->value)
		other_localities(j, p);
	/* A consistent hash means one host, also on the second try, unless the rule says otherwise. */
	if (r && r->retry_ignore_previous_hosts ? r->retry_ignore_previous_hosts->value : !hashed)
		other_hosts(j, p);
	return p;
}
