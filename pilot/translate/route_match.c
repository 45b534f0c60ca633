/* HTTP matches: which requests a rule is about. */
#include <string.h>

#include "common/base/strs.h"
#include "pilot/translate/route.h"

bool pilot_match_gateway(struct pilot_job *j, const struct pilot_vs *vs,
	const struct pilot_gw_server *s, char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(pilot_gateway_name(j->a, names[i], vs->obj->ns),
			    s ? s->gw->name : "mesh") == 0)
			return true;
	return n == 0;
}

bool pilot_match_applies(const struct pilot_route_ctx *c, const Nw__HTTPMatchRequest *m)
{
	if (!m)
		return true;
	/* At a gateway the source is the gateway's own workload: who called it has no labels. */
	return (!m->port || m->port == c->port) &&
		pilot_match_gateway(c->j, c->vs, c->server, m->gateways, m->n_gateways) &&
		pilot_job_labels(c->j, m->source_labels, m->n_source_labels) &&
		(!*m->source_namespace || strcmp(m->source_namespace, c->j->p->ns) == 0);
}

static const char *literal(const char *s)
{
	return *s ? s : ""; /* the shared empty string would be dropped from a oneof */
}

/* NULL: any value will do. */
static Matcher__StringMatcher *string_matcher(struct pilot_job *j, const Nw__StringMatch *m)
{
	Matcher__StringMatcher *s = pb_new(j->a, matcher__string_matcher);
	switch (m ? m->match_type_case : NW__STRING_MATCH__MATCH_TYPE__NOT_SET) {
	case NW__STRING_MATCH__MATCH_TYPE_EXACT:
		s->match_pattern_case = MATCHER__STRING_MATCHER__MATCH_PATTERN_EXACT;
		s->exact = pb_s(literal(m->exact));
		return s;
	case NW__STRING_MATCH__MATCH_TYPE_PREFIX:
		if (!*m->prefix)
			return NULL;
		s->match_pattern_case = MATCHER__STRING_MATCHER__MATCH_PATTERN_PREFIX;
		s->prefix = m->prefix;
		return s;
	case NW__STRING_MATCH__MATCH_TYPE_REGEX:
		if (!*m->regex || strcmp(m->regex, "*") == 0 || strcmp(m->regex, ".*") == 0)
			return NULL;
		s->match_pattern_case = MATCHER__STRING_MATCHER__MATCH_PATTERN_SAFE_REGEX;
		s->safe_regex = pb_regex(j->a, m->regex);
		return s;
	default: return NULL;
	}
}

static void add_header(struct pilot_job *j, Route__RouteMatch *r, const char *name,
	const Nw__StringMatch *m, bool invert)
{
	Route__HeaderMatcher *h = pb_new(j->a, route__header_matcher);
	Matcher__StringMatcher *s = string_matcher(j, m);
	h->name = pb_s(name);
	h->invert_match = invert;
	if (s) {
		h->header_match_specifier_case =
			ROUTE__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_STRING_MATCH;
		h->string_match = s;
		/* "without x: 1" holds for a request that has no x. */
		h->treat_missing_header_as_empty = invert;
	} else {
		h->header_match_specifier_case =
			ROUTE__HEADER_MATCHER__HEADER_MATCH_SPECIFIER_PRESENT_MATCH;
		h->present_match = true;
	}
	pb_add(j->a, r, headers, h);
}

static void set_path(struct pilot_job *j, Route__RouteMatch *r, const Nw__HTTPMatchRequest *m)
{
	const Nw__StringMatch *u = m ? m->uri : NULL;
	r->path_specifier_case = ROUTE__ROUTE_MATCH__PATH_SPECIFIER_PREFIX;
	r->prefix = pb_s("/");
	switch (u ? u->match_type_case : NW__STRING_MATCH__MATCH_TYPE__NOT_SET) {
	case NW__STRING_MATCH__MATCH_TYPE_EXACT:
		r->path_specifier_case = ROUTE__ROUTE_MATCH__PATH_SPECIFIER_PATH;
		r->path = pb_s(literal(u->exact));
		break;
	case NW__STRING_MATCH__MATCH_TYPE_PREFIX:
		if (*u->prefix)
			r->prefix = u->prefix;
		break;
	case NW__STRING_MATCH__MATCH_TYPE_REGEX:
		r->path_specifier_case = ROUTE__ROUTE_MATCH__PATH_SPECIFIER_SAFE_REGEX;
		r->safe_regex = pb_regex(j->a, u->regex);
		return; /* ignoreUriCase is for exact and prefix alone */
	default: break;
	}
	if (m && m->ignore_uri_case)
		r->case_sensitive = pb_bool(j->a, false);
}

Route__RouteMatch *pilot_match_build(struct pilot_job *j, const Nw__HTTPMatchRequest *m)
{
	Route__RouteMatch *r = pb_new(j->a, route__route_match);
	set_path(j, r, m);
	if (!m)
		return r;
	for (size_t i = 0; i < m->n_headers; i++)
		add_header(j, r, m->headers[i]->key, m->headers[i]->value, false);
	for (size_t i = 0; i < m->n_without_headers; i++)
		add_header(j, r, m->without_headers[i]->key, m->without_headers[i]->value, true);
	if (m->method)
		add_header(j, r, ":method", m->method, false);
	if (m->authority)
		add_header(j, r, ":authority", m->authority, false);
	if (m->scheme)
		add_header(j, r, ":scheme", m->scheme, false);
	for (size_t i = 0; i < m->n_query_params; i++) {
		Route__QueryParameterMatcher *q = pb_new(j->a, route__query_parameter_matcher);
		Matcher__StringMatcher *s = string_matcher(j, m->query_params[i]->value);
		q->name = m->query_params[i]->key;
		if (s) {
			q->query_parameter_match_specifier_case =
				ROUTE__QUERY_PARAMETER_MATCHER__QUERY_PARAMETER_MATCH_SPECIFIER_STRING_MATCH;
			q->string_match = s;
		} else {
			q->query_parameter_match_specifier_case =
				ROUTE__QUERY_PARAMETER_MATCHER__QUERY_PARAMETER_MATCH_SPECIFIER_PRESENT_MATCH;
			q->present_match = true;
		}
		pb_add(j->a, r, query_parameters, q);
	}
	return r;
}

bool pilot_match_all(const Nw__HTTPMatchRequest *m)
{
	if (!m)
		return true;
	const Nw__StringMatch *u = m->uri;
	bool path = !u || u->match_type_case == NW__STRING_MATCH__MATCH_TYPE__NOT_SET ||
		(u->match_type_case == NW__STRING_MATCH__MATCH_TYPE_PREFIX &&
			(!*u->prefix || strcmp(u->prefix, "/") == 0)) ||
		(u->match_type_case == NW__STRING_MATCH__MATCH_TYPE_REGEX &&
			strcmp(u->regex, ".*") == 0);
	return path && !m->n_headers && !m->n_without_headers && !m->method && !m->authority &&
		!m->scheme && !m->n_query_params;
}
