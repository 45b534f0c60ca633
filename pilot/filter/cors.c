/* Cross-origin requests: answered by the proxy, per route. */
#include "envoy/extensions/filters/http/cors/v3/cors.pb-c.h"

#include "common/base/strs.h"
#include "pilot/filter/filter.h"

const char pilot_cors_name[] = "envoy.filters.http.cors";

const ProtobufCMessage *pilot_filter_cors(const struct pilot_filter_in *in, const char **ret_name)
{
	Cors__Cors *m = pb_new(in->j->a, cors__cors);
	*ret_name = pilot_cors_name;
	return &m->base;
}

static char *join(struct pilot_job *j, char **v, size_t n)
{
	char *s = mt_arena_strdup(j->a, "");
	for (size_t i = 0; i < n; i++)
		s = mt_arena_printf(j->a, "%s%s%s", s, i ? "," : "", v[i]);
	return s;
}

static void origins(struct pilot_job *j, Cors__CorsPolicy *m, const Nw__CorsPolicy *c)
{
	/* 1.0's list counts only where today's is not used. */
	for (size_t i = 0; !c->n_allow_origins && i < c->n_allow_origin; i++)
		pb_add(j->a, m, allow_origin_string_match,
			strcmp(c->allow_origin[i], "*") == 0 ? pb_prefix(j->a, "")
							     : pb_exact(j->a, c->allow_origin[i]));
	for (size_t i = 0; i < c->n_allow_origins; i++) {
		const Nw__StringMatch *o = c->allow_origins[i];
		Matcher__StringMatcher *s = NULL;
		if (o->match_type_case == NW__STRING_MATCH__MATCH_TYPE_EXACT) {
			s = pb_exact(j->a, o->exact);
		} else if (o->match_type_case == NW__STRING_MATCH__MATCH_TYPE_PREFIX) {
			s = pb_prefix(j->a, o->prefix);
		} else if (o->match_type_case == NW__STRING_MATCH__MATCH_TYPE_REGEX) {
			s = pb_new(j->a, matcher__string_matcher);
			s->match_pattern_case = MATCHER__STRING_MATCHER__MATCH_PATTERN_SAFE_REGEX;
			s->safe_regex = pb_regex(j->a, o->regex);
		}
		if (s)
			pb_add(j->a, m, allow_origin_string_match, s);
	}
	for (size_t i = 0; i < m->n_allow_origin_string_match; i++) {
		Matcher__StringMatcher *s = m->allow_origin_string_match[i];
		/* "*": any origin; an empty prefix is not allowed, an expression for all is. */
		if (s->match_pattern_case == MATCHER__STRING_MATCHER__MATCH_PATTERN_PREFIX &&
			mt_str_empty(s->prefix)) {
			s->match_pattern_case = MATCHER__STRING_MATCHER__MATCH_PATTERN_SAFE_REGEX;
			s->safe_regex = pb_regex(j->a, ".*");
		}
	}
}

const ProtobufCMessage *pilot_cors_config(struct pilot_job *j, const Nw__CorsPolicy *c)
{
	if (!c)
		return NULL;
	Cors__CorsPolicy *m = pb_new(j->a, cors__cors_policy);
	origins(j, m, c);
	m->allow_methods = join(j, c->allow_methods, c->n_allow_methods);
	m->allow_headers = join(j, c->allow_headers, c->n_allow_headers);
	m->expose_headers = join(j, c->expose_headers, c->n_expose_headers);
	if (c->max_age)
		m->max_age = mt_arena_printf(j->a, "%lld", (long long)c->max_age->seconds);
	if (c->allow_credentials)
		m->allow_credentials = pb_bool(j->a, c->allow_credentials->value);
	m->forward_not_matching_preflights = pb_bool(
		j->a, c->unmatched_preflights != NW__CORS_POLICY__UNMATCHED_PREFLIGHTS__IGNORE);
	m->filter_enabled = pb_runtime_percent(j->a, 100);
	return &m->base;
}
