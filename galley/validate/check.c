#define PCRE2_CODE_UNIT_WIDTH 8
#include "galley/validate/check.h"

#include <ctype.h>
#include <pcre2.h>
#include <string.h>
#include <strings.h>

#include "common/base/cidr.h"
#include "common/base/clock.h"
#include "common/base/strs.h"

const char *at(const struct check *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	const char *s = mt_arena_vprintf(c->arena, fmt, ap);
	va_end(ap);
	return s;
}

static void report(
	const struct check *c, enum mt_severity sev, const char *path, const char *fmt, va_list ap)
{
	mt_object_diag(c->obj, c->diags, sev, path, "%s", mt_arena_vprintf(c->arena, fmt, ap));
}

void fault(const struct check *c, const char *path, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report(c, MT_SEV_ERROR, path, fmt, ap);
	va_end(ap);
}

void remark(const struct check *c, const char *path, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report(c, MT_SEV_WARNING, path, fmt, ap);
	va_end(ap);
}

/* ---- names ---- */

static size_t label_length(const char *s)
{
	size_t n = 0;

	while (isalnum((unsigned char)s[n]) || ((s[n] == '-' || s[n] == '_') && n > 0))
		n++;
	return n && n <= 63 && s[n - 1] != '-' ? n : 0;
}

bool is_label(const char *s)
{
	size_t n = label_length(s);
	return n && !s[n];
}

bool is_host(const char *s, bool wildcard)
{
	if (strlen(s) > 253)
		return false;
	if (wildcard && s[0] == '*') {
		if (!s[1])
			return true;
		if (s[1] != '.' && s[1] != '-')
			return false;
		s += s[1] == '.' ? 2 : 1;
		if (*s == '-')
			s++;
	}
	for (;;) {
		size_t n = label_length(s);
		if (!n)
			return false;
		s += n;
		if (!*s)
			return true;
		if (*s++ != '.')
			return false;
	}
}

void check_host(const struct check *c, const char *path, const char *s, bool wildcard)
{
	if (mt_str_empty(s))
		fault(c, path, "is missing");
	else if (!is_host(s, wildcard))
		fault(c, path, "\"%s\" is not a host name%s", s,
			wildcard ? " (a wildcard is \"*\" or \"*.name\")" : "");
}

void check_subset_name(const struct check *c, const char *path, const char *s)
{
	if (!is_label(s))
		fault(c, path, "\"%s\" is not a subset name (letters, digits and '-', at most 63)",
			s);
}

void check_gateway_name(const struct check *c, const char *path, const char *s)
{
	const char *slash = strchr(s, '/');
	const char *ns = slash ? mt_arena_strndup(c->arena, s, (size_t)(slash - s)) : NULL;
	const char *name = slash ? slash + 1 : s;

	if ((ns && strcmp(ns, ".") != 0 && !is_label(ns)) || !is_host(name, false))
		fault(c, path, "\"%s\" is not a gateway (mesh, NAME or NAMESPACE/NAME)", s);
}

void check_export_to(const struct check *c, char *const *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(v[i], "*") != 0 && strcmp(v[i], ".") != 0 && strcmp(v[i], "~") != 0 &&
			!is_label(v[i]))
			fault(c, at(c, "spec.exportTo[%zu]", i),
				"\"%s\" is not a namespace, \".\" or \"*\"", v[i]);
}

/* RFC 9110 token, or an HTTP/2 pseudo-header. */
void check_header_name(const struct check *c, const char *path, const char *s)
{
	const char *p = s[0] == ':' ? s + 1 : s;

	for (; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("!#$%&'*+-.^_`|~", *p))
			break;
	if (!*s || *p || (s[0] == ':' && !s[1]))
		fault(c, path, "\"%s\" is not a header name", s);
}

bool is_protocol(const char *s)
{
	static const char *const known[] = { "HTTP", "HTTP2", "HTTP_PROXY", "HTTPS", "GRPC",
		"GRPC-WEB", "TCP", "TLS", "MONGO", "REDIS", "MYSQL", "UDP", "" };

	for (size_t i = 0; i < MT_ARRAY_SIZE(known); i++)
		if (strcasecmp(known[i], s) == 0)
			return true;
	return false;
}

/* ---- numbers ---- */

void check_port(const struct check *c, const char *path, uint32_t port)
{
	if (port < 1 || port > 65535)
		fault(c, path, "%u is not a port (1 to 65535)", port);
}

void check_duration(const struct check *c, const char *path, const Google__Protobuf__Duration *d,
	int64_t min_ns)
{
	if (!d)
		return;
	if (d->seconds < 0 || d->nanos < 0) {
		fault(c, path, "must not be negative");
		return;
	}
	int64_t ns = d->seconds > 1000000000 ? INT64_MAX : d->seconds * MT_NS_PER_SEC + d->nanos;
	if (ns < min_ns)
		fault(c, path, "must be at least %lld ms", (long long)(min_ns / MT_NS_PER_MS));
	else if (d->nanos % MT_NS_PER_MS)
		fault(c, path, "is finer than a millisecond");
}

void check_percent(const struct check *c, const char *path, const Nw__Percent *p)
{
	if (p && !(p->value >= 0 && p->value <= 100))
		fault(c, path, "%g is not a percentage (0 to 100)", p->value);
}

void check_percent_int(const struct check *c, const char *path, int64_t v)
{
	if (v < 0 || v > 100)
		fault(c, path, "%lld is not a percentage (0 to 100)", (long long)v);
}

void check_http_status(const struct check *c, const char *path, int64_t v)
{
	if (v < 200 || v > 599)
		fault(c, path, "%lld is not an HTTP status (200 to 599)", (long long)v);
}

/* ---- addresses ---- */

void check_address(const struct check *c, const char *path, const char *s)
{
	struct mt_ip ip;

	if (mt_ip_parse(s, &ip) < 0)
		fault(c, path, "\"%s\" is not an IP address", s);
}

void check_cidr(const struct check *c, const char *path, const char *s)
{
	struct mt_cidr cidr;

	if (mt_cidr_parse(s, &cidr) < 0)
		fault(c, path, "\"%s\" is not an IP address or CIDR block", s);
}

/* ---- patterns ---- */

/* Envoy's RE2 has no constructs that need to go back: find them outside of classes and escapes. */
static const char *not_in_re2(const char *s)
{
	bool in_class = false;

	for (const char *p = s; *p; p++) {
		if (*p == '\\') {
			if (!p[1])
				return NULL; /* PCRE2 reports it */
			p++;
			if (!in_class &&
				(isdigit((unsigned char)*p) ? *p != '0'
							    : strchr("kgRGKXZ", *p) != NULL))
				return "back-references and similar escapes";
			continue;
		}
		if (*p == '[' && !in_class) {
			in_class = true;
			if (p[1] == '^')
				p++;
			if (p[1] == ']')
				p++;
			continue;
		}
		if (*p == ']')
			in_class = false;
		if (in_class)
			continue;
		if (strncmp(p, "(?", 2) == 0 &&
			(strchr("=!>|(#&R+-", p[2]) || strncmp(p, "(?<=", 4) == 0 ||
				strncmp(p, "(?<!", 4) == 0))
			return p[2] == '-' && isalpha((unsigned char)p[3])
				? NULL
				: "look-around and similar groups";
		if (strchr("*+?}", *p) && p[1] == '+')
			return "possessive repetition";
	}
	return NULL;
}

void check_regex(const struct check *c, const char *path, const char *s)
{
	int code;
	PCRE2_SIZE where;
	const char *missing = not_in_re2(s);

	if (!*s || strlen(s) > 1024) {
		fault(c, path, "a pattern has 1 to 1024 characters");
		return;
	}
	if (missing) {
		fault(c, path, "the pattern uses %s, which Envoy's RE2 does not have", missing);
		return;
	}
	pcre2_code *re =
		pcre2_compile((PCRE2_SPTR)s, PCRE2_ZERO_TERMINATED, PCRE2_UTF, &code, &where, NULL);
	if (!re) {
		char msg[128];
		pcre2_get_error_message(code, (PCRE2_UCHAR *)msg, sizeof(msg));
		fault(c, path, "bad pattern at character %zu: %s", (size_t)where + 1, msg);
		return;
	}
	pcre2_code_free(re);
}

void check_substitution(const struct check *c, const char *path, const char *pattern, const char *s)
{
	int code;
	uint32_t groups = 0;
	PCRE2_SIZE where;
	pcre2_code *re = pcre2_compile(
		(PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF, &code, &where, NULL);

	if (!re)
		return; /* the pattern's own fault */
	pcre2_pattern_info(re, PCRE2_INFO_CAPTURECOUNT, &groups);
	pcre2_code_free(re);
	for (const char *p = strchr(s, '\\'); p; p = strchr(p + 2, '\\')) {
		if (isdigit((unsigned char)p[1]) && (uint32_t)(p[1] - '0') > groups)
			fault(c, path, "\\%c names a group that the pattern does not have", p[1]);
		else if (!isdigit((unsigned char)p[1]) && p[1] != '\\')
			fault(c, path, "a backslash stands before a digit or another one");
		if (!p[1])
			return;
	}
}

void check_string_match(const struct check *c, const char *path, const Nw__StringMatch *m)
{
	if (!m)
		return;
	if (m->match_type_case == NW__STRING_MATCH__MATCH_TYPE_REGEX)
		check_regex(c, at(c, "%s.regex", path), m->regex);
	else if (m->match_type_case == NW__STRING_MATCH__MATCH_TYPE_PREFIX && !*m->prefix)
		fault(c, at(c, "%s.prefix", path), "is empty");
}

void check_destination(const struct check *c, const char *path, const Nw__Destination *d)
{
	if (!d) {
		fault(c, path, "is missing");
		return;
	}
	check_host(c, at(c, "%s.host", path), d->host, true);
	if (strcmp(d->host, "*") == 0)
		fault(c, at(c, "%s.host", path), "\"*\" is no destination");
	if (!mt_str_empty(d->subset))
		check_subset_name(c, at(c, "%s.subset", path), d->subset);
	if (d->port && d->port->port_case != NW__PORT_SELECTOR__PORT_NAME)
		check_port(c, at(c, "%s.port.number", path), d->port->number);
}

/* ---- labels ---- */

static bool is_label_part(const char *s)
{
	size_t n = strlen(s);

	if (!n || n > 63 || !isalnum((unsigned char)s[0]) || !isalnum((unsigned char)s[n - 1]))
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr("-_.", *s))
			return false;
	return true;
}

void check_label(const struct check *c, const char *path, const char *key, const char *value)
{
	const char *slash = strchr(key, '/');
	const char *prefix = slash ? mt_arena_strndup(c->arena, key, (size_t)(slash - key)) : NULL;

	if ((prefix && !is_host(prefix, false)) || !is_label_part(slash ? slash + 1 : key))
		fault(c, path, "\"%s\" is not a label's key: [PREFIX/]NAME", key);
	if (*value && !is_label_part(value))
		fault(c, path,
			"\"%s\" is not a label's value: letters, digits, '-', '_' and '.', at most 63",
			value);
}

void check_source(
	const struct check *c, const char *path, const void *labels, size_t n, const char *ns)
{
	/* All maps of strings look alike. */
	Nw__HTTPMatchRequest__SourceLabelsEntry *const *v = labels;

	for (size_t i = 0; i < n; i++)
		check_label(
			c, at(c, "%s.sourceLabels.%s", path, v[i]->key), v[i]->key, v[i]->value);
	if (*ns && !is_label(ns))
		fault(c, at(c, "%s.sourceNamespace", path), "\"%s\" is not a namespace", ns);
}
