#include "common/pki/spiffe.h"

#include <stdio.h>
#include <string.h>

#include "common/base/strs.h"

static const char SCHEME[] = "spiffe://";
enum { SCHEME_LEN = sizeof(SCHEME) - 1 };

static bool td_char(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}

static bool path_char(unsigned char c)
{
	return td_char(c) || (c >= 'A' && c <= 'Z');
}

static int td_check(const char *td, size_t n, struct mt_err *err)
{
	if (!n)
		return mt_fail(err, MT_INVALID, NULL, "SPIFFE id: the trust domain is empty");
	if (n > MT_SPIFFE_TD_MAX)
		return mt_fail(err, MT_INVALID, NULL,
			"SPIFFE id: a trust domain of %zu bytes is beyond %d", n, MT_SPIFFE_TD_MAX);
	for (size_t i = 0; i < n; i++)
		if (!td_char((unsigned char)td[i]))
			return mt_fail(err, MT_INVALID, NULL,
				"SPIFFE id: byte 0x%02x at %zu of the trust domain is not in [a-z0-9._-]",
				(unsigned char)td[i], i);
	return 0;
}

static int segment_check(const char *p, size_t n, struct mt_err *err)
{
	if (!n)
		return mt_fail(err, MT_INVALID, NULL, "SPIFFE id: an empty path segment");
	if ((n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
		return mt_fail(err, MT_INVALID, NULL, "SPIFFE id: a dot segment in the path");
	for (size_t i = 0; i < n; i++)
		if (!path_char((unsigned char)p[i]))
			return mt_fail(err, MT_INVALID, NULL,
				"SPIFFE id: byte 0x%02x in the path is not in [a-zA-Z0-9._-]",
				(unsigned char)p[i]);
	return 0;
}

int mt_spiffe_check(const char *uri, size_t n, struct mt_err *err)
{
	int r;

	if (n > MT_SPIFFE_URI_MAX)
		return mt_fail(err, MT_INVALID, NULL, "SPIFFE id: %zu bytes is beyond %d", n,
			MT_SPIFFE_URI_MAX);
	if (n < SCHEME_LEN || memcmp(uri, SCHEME, SCHEME_LEN) != 0)
		return mt_fail(err, MT_INVALID, NULL, "SPIFFE id: does not start with %s", SCHEME);
	const char *p = uri + SCHEME_LEN, *end = uri + n;
	const char *slash = memchr(p, '/', (size_t)(end - p));
	if ((r = td_check(p, (size_t)((slash ? slash : end) - p), err)) < 0)
		return r;
	while (slash) {
		p = slash + 1;
		slash = memchr(p, '/', (size_t)(end - p));
		if ((r = segment_check(p, (size_t)((slash ? slash : end) - p), err)) < 0)
			return r;
	}
	return 0;
}

int mt_spiffe_td_check(const char *td, struct mt_err *err)
{
	return td_check(td, strlen(td), err);
}

/* Copies the segment that starts at *p and moves *p behind its slash (or to NULL at the end). */
static int take(const char **p, char *out, size_t max, const char *what, struct mt_err *err)
{
	const char *slash = *p ? strchr(*p, '/') : NULL;
	size_t n = !*p ? 0 : slash ? (size_t)(slash - *p) : strlen(*p);

	if (!n || n > max)
		return mt_fail(err, MT_INVALID, NULL,
			"SPIFFE id: a %s of %zu bytes: 1 to %zu are allowed", what, n, max);
	memcpy(out, *p, n);
	out[n] = 0;
	*p = slash ? slash + 1 : NULL;
	return 0;
}

int mt_spiffe_parse(const char *uri, struct mt_spiffe *ret, struct mt_err *err)
{
	struct mt_spiffe id = { { 0 }, { 0 }, { 0 } };
	char word[3];
	int r = mt_spiffe_check(uri, strlen(uri), err);

	if (r < 0)
		return r;
	const char *p = uri + SCHEME_LEN;
	if ((r = take(&p, id.td, MT_SPIFFE_TD_MAX, "trust domain", err)) < 0)
		return r;
	if (!p || take(&p, word, 2, "path segment", NULL) < 0 || !mt_streq(word, "ns"))
		goto form;
	if ((r = take(&p, id.ns, MT_SPIFFE_NS_MAX, "namespace", err)) < 0)
		return r;
	if (!p || take(&p, word, 2, "path segment", NULL) < 0 || !mt_streq(word, "sa"))
		goto form;
	if ((r = take(&p, id.sa, MT_SPIFFE_SA_MAX, "service account", err)) < 0)
		return r;
	if (p)
		goto form;
	*ret = id;
	return 0;
form:
	return mt_fail(err, MT_INVALID, NULL,
		"SPIFFE id: not of the form spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT");
}

int mt_spiffe_make(
	const char *td, const char *ns, const char *sa, char *buf, size_t n, struct mt_err *err)
{
	char text[MT_SPIFFE_URI_MAX + 1];
	struct mt_spiffe id;
	int len = snprintf(text, sizeof(text), "%s%s/ns/%s/sa/%s", SCHEME, td, ns, sa);
	int r;

	if (len < 0 || (size_t)len >= sizeof(text))
		return mt_fail(err, MT_INVALID, NULL, "SPIFFE id: too long");
	if ((r = mt_spiffe_parse(text, &id, err)) < 0)
		return r;
	/* A slash inside a part would have moved the borders. */
	if (!mt_streq(id.td, td) || !mt_streq(id.ns, ns) || !mt_streq(id.sa, sa))
		return mt_fail(err, MT_INVALID, NULL, "SPIFFE id: a part contains a slash");
	if ((size_t)len >= n)
		return mt_fail(err, MT_LIMIT, NULL, "SPIFFE id: does not fit %zu bytes", n);
	memcpy(buf, text, (size_t)len + 1);
	return 0;
}

int mt_spiffe_format(const struct mt_spiffe *id, char *buf, size_t n, struct mt_err *err)
{
	return mt_spiffe_make(id->td, id->ns, id->sa, buf, n, err);
}

bool mt_spiffe_in_td(const char *uri, const char *td)
{
	size_t n = strlen(td);

	return mt_spiffe_check(uri, strlen(uri), NULL) == 0 &&
		strncmp(uri + SCHEME_LEN, td, n) == 0 &&
		(uri[SCHEME_LEN + n] == '/' || uri[SCHEME_LEN + n] == 0);
}
