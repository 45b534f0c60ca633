/* Words of YAML. The classes follow what the common readers do with a plain scalar:
 *
 *   word            1.1 (Kubernetes)   1.2 core      here
 *   yes, off        bool               string        bool, also where a string is wanted: refused
 *   y, n            bool in some       string        string
 *   010             8                  10            odd: refused as a number and as a string
 *   1_000, 1:30     number             string        odd
 *   1.10            float              float         float: not the version "1.10"
 *   ~, null, empty  null               null          null
 */
#include "common/schema/scalar.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool word_in(const char *s, size_t n, const char *const *list)
{
	for (; *list; list++)
		if (strlen(*list) == n && memcmp(*list, s, n) == 0)
			return true;
	return false;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

bool mt_scalar_bool(const char *s, bool *ret)
{
	static const char *const yes[] = { "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On",
		"ON", NULL };
	static const char *const no[] = { "false", "False", "FALSE", "no", "No", "NO", "off", "Off",
		"OFF", NULL };

	if (word_in(s, strlen(s), yes)) {
		*ret = true;
		return true;
	}
	if (word_in(s, strlen(s), no)) {
		*ret = false;
		return true;
	}
	return false;
}

/* Digits with an optional fraction and exponent; p stands after the sign. */
static enum mt_scalar decimal_class(const char *p, const char *end)
{
	const char *start = p;
	size_t digits = 0, odd = 0;
	bool is_float = false;

	for (; p < end && (is_digit(*p) || *p == '_' || *p == ':'); p++) {
		digits += is_digit(*p);
		odd += !is_digit(*p);
	}
	if (p < end && *p == '.') {
		is_float = true;
		for (p++; p < end && (is_digit(*p) || *p == '_'); p++) {
			digits += is_digit(*p);
			odd += *p == '_';
		}
	}
	if (!digits || *start == '_' || *start == ':' || end[-1] == ':')
		return MT_SCALAR_STRING;
	if (p < end && (*p == 'e' || *p == 'E')) {
		is_float = true;
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		if (p == end)
			return MT_SCALAR_STRING;
		while (p < end && is_digit(*p))
			p++;
	}
	if (p != end)
		return MT_SCALAR_STRING;
	if (odd || (!is_float && digits > 1 && *start == '0'))
		return MT_SCALAR_ODD;
	return is_float ? MT_SCALAR_FLOAT : MT_SCALAR_INT;
}

/* Sexagesimal numbers need two-digit groups: an IPv6 or MAC address is no number. */
static bool sexagesimal(const char *s, const char *end)
{
	for (const char *c = memchr(s, ':', (size_t)(end - s)); c;
		c = memchr(c + 1, ':', (size_t)(end - c - 1))) {
		const char *p = c + 1;
		while (p < end && is_digit(*p))
			p++;
		if (p - c - 1 < 1 || p - c - 1 > 2 || (p - c - 1 == 2 && c[1] > '5'))
			return false;
	}
	return true;
}

static enum mt_scalar number_class(const char *s, size_t n)
{
	static const char *const specials[] = { ".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN",
		NULL };
	const char *p = s, *end = s + n;

	if (*p == '-' || *p == '+')
		p++;
	if (p == end)
		return MT_SCALAR_STRING;
	if (word_in(p, (size_t)(end - p), specials))
		return MT_SCALAR_FLOAT;
	if (end - p > 2 && *p == '0' && strchr("xob", p[1])) {
		char base = p[1];
		for (p += 2; p < end; p++)
			if (base == 'x' ? !is_hex(*p)
					: !(*p >= '0' && *p <= (base == 'o' ? '7' : '1')))
				return MT_SCALAR_STRING;
		return base == 'b' ? MT_SCALAR_ODD : MT_SCALAR_INT;
	}
	if (!is_digit(*p) && *p != '.')
		return MT_SCALAR_STRING;
	if (memchr(p, ':', (size_t)(end - p)) && !sexagesimal(p, end))
		return MT_SCALAR_STRING;
	return decimal_class(p, end);
}

enum mt_scalar mt_scalar_class(const char *s, size_t n)
{
	static const char *const nulls[] = { "~", "null", "Null", "NULL", NULL };
	bool b;

	if (n == 0 || word_in(s, n, nulls))
		return MT_SCALAR_NULL;
	if (strchr("0123456789.+-", *s))
		return number_class(s, n);
	if (strchr("tTfFyYnNoO", *s) && mt_scalar_bool(s, &b))
		return MT_SCALAR_BOOL;
	return MT_SCALAR_STRING;
}

bool mt_scalar_double(const char *s, size_t n, double *ret)
{
	bool neg = *s == '-';
	const char *p = s + (*s == '-' || *s == '+');
	char *end;

	if (strcasecmp(p, ".inf") == 0 || strcmp(p, "Infinity") == 0) {
		*ret = neg ? -INFINITY : INFINITY;
		return true;
	}
	if (strcasecmp(p, ".nan") == 0 || strcmp(p, "NaN") == 0) {
		*ret = NAN;
		return true;
	}
	if (!is_digit(*p) && *p != '.')
		return false;
	if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X'))
		return false;
	*ret = strtod(s, &end);
	return end == s + n && isfinite(*ret);
}

bool mt_scalar_int(const char *s, size_t n, uint64_t *ret, bool *ret_neg)
{
	bool neg = *s == '-';
	const char *p = s + (*s == '-' || *s == '+');
	int base = 10;
	char *end;
	double d;

	if (p[0] == '0' && (p[1] == 'x' || p[1] == 'o')) {
		base = p[1] == 'x' ? 16 : 8;
		p += 2;
	} else if (p[0] == '0' && is_digit(p[1])) {
		return false;
	}
	if (base == 16 ? !is_hex(*p) : !is_digit(*p))
		return false;
	errno = 0;
	unsigned long long v = strtoull(p, &end, base);
	if (end == s + n) {
		if (errno)
			return false;
	} else {
		/* 2^53: beyond it a double does not say which integer was meant. */
		if (base != 10 || !mt_scalar_double(p, (size_t)(s + n - p), &d) || d != floor(d) ||
			d > 9007199254740992.0)
			return false;
		v = (unsigned long long)d;
	}
	*ret = v;
	*ret_neg = neg && v;
	return true;
}
