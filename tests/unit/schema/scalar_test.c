#include "common/schema/scalar.h"

#include <math.h>
#include <string.h>

#include "tests/unit/unit.h"

static enum mt_scalar class_of(const char *s)
{
	return mt_scalar_class(s, strlen(s));
}

START_TEST(words)
{
	static const struct {
		const char *s;
		enum mt_scalar want;
	} rows[] = {
		{ "", MT_SCALAR_NULL },
		{ "~", MT_SCALAR_NULL },
		{ "null", MT_SCALAR_NULL },
		{ "NULL", MT_SCALAR_NULL },
		{ "nULL", MT_SCALAR_STRING },
		{ "nil", MT_SCALAR_STRING },
		{ "true", MT_SCALAR_BOOL },
		{ "False", MT_SCALAR_BOOL },
		{ "yes", MT_SCALAR_BOOL },
		{ "NO", MT_SCALAR_BOOL },
		{ "on", MT_SCALAR_BOOL },
		{ "Off", MT_SCALAR_BOOL },
		{ "y", MT_SCALAR_STRING },
		{ "n", MT_SCALAR_STRING },
		{ "tRue", MT_SCALAR_STRING },
		{ "0", MT_SCALAR_INT },
		{ "-1", MT_SCALAR_INT },
		{ "+1", MT_SCALAR_INT },
		{ "0x1F", MT_SCALAR_INT },
		{ "0o17", MT_SCALAR_INT },
		{ "0xg", MT_SCALAR_STRING },
		{ "0b11", MT_SCALAR_ODD },
		{ "010", MT_SCALAR_ODD },
		{ "1_000", MT_SCALAR_ODD },
		{ "1:30", MT_SCALAR_ODD },
		{ "1:30:59.5", MT_SCALAR_ODD },
		{ "00", MT_SCALAR_ODD },
		{ "1.10", MT_SCALAR_FLOAT },
		{ ".5", MT_SCALAR_FLOAT },
		{ "1e3", MT_SCALAR_FLOAT },
		{ "1.", MT_SCALAR_FLOAT },
		{ "-1.5e-7", MT_SCALAR_FLOAT },
		{ ".inf", MT_SCALAR_FLOAT },
		{ "-.INF", MT_SCALAR_FLOAT },
		{ ".nan", MT_SCALAR_FLOAT },
		{ "1e", MT_SCALAR_STRING },
		{ "v1", MT_SCALAR_STRING },
		{ "1.2.3", MT_SCALAR_STRING },
		{ "1a", MT_SCALAR_STRING },
		{ "10.0.0.1", MT_SCALAR_STRING },
		{ "10.0.0.0/8", MT_SCALAR_STRING },
		{ "::1", MT_SCALAR_STRING },
		{ "fe80::1", MT_SCALAR_STRING },
		{ "5s", MT_SCALAR_STRING },
		{ "2001:db8::1", MT_SCALAR_STRING },
		{ "12:ab:34", MT_SCALAR_STRING },
		{ "80:8080", MT_SCALAR_STRING },
		{ "-", MT_SCALAR_STRING },
		{ "+", MT_SCALAR_STRING },
		{ ".", MT_SCALAR_STRING },
		{ "..", MT_SCALAR_STRING },
		{ "-x", MT_SCALAR_STRING },
		{ "2026-11-24", MT_SCALAR_STRING },
		{ "2026-11-24T00:00:00Z", MT_SCALAR_STRING },
		{ "1 2", MT_SCALAR_STRING },
		{ "_1", MT_SCALAR_STRING },
		{ "0x", MT_SCALAR_STRING },
	};

	for (size_t i = 0; i < MT_ARRAY_SIZE(rows); i++)
		ck_assert_msg(class_of(rows[i].s) == rows[i].want, "\"%s\" is %d", rows[i].s,
			(int)class_of(rows[i].s));
}
END_TEST

static bool integer(const char *s, uint64_t *v, bool *neg)
{
	return mt_scalar_int(s, strlen(s), v, neg);
}

START_TEST(integers)
{
	uint64_t v;
	bool neg;

	ck_assert(integer("18446744073709551615", &v, &neg) && v == UINT64_MAX && !neg);
	ck_assert(integer("-9223372036854775808", &v, &neg) && v == 1ull << 63 && neg);
	ck_assert(integer("-0", &v, &neg) && v == 0 && !neg);
	ck_assert(integer("0xff", &v, &neg) && v == 255);
	ck_assert(integer("0o17", &v, &neg) && v == 15);
	ck_assert(integer("1e3", &v, &neg) && v == 1000);
	ck_assert(integer("80.0", &v, &neg) && v == 80);
	ck_assert(integer("-2.5e1", &v, &neg) && v == 25 && neg);
	ck_assert(!integer("18446744073709551616", &v, &neg));
	ck_assert(!integer("1.5", &v, &neg));
	ck_assert(!integer("010", &v, &neg));
	ck_assert(!integer("1e99", &v, &neg));
	ck_assert(!integer("- 1", &v, &neg));
	ck_assert(!integer(" 1", &v, &neg));
	ck_assert(!integer("0x-1", &v, &neg));
	ck_assert(!integer("", &v, &neg));
	ck_assert(!integer("1 ", &v, &neg));
}
END_TEST

static bool number(const char *s, double *d)
{
	return mt_scalar_double(s, strlen(s), d);
}

START_TEST(doubles)
{
	double d;

	ck_assert(number("1.5", &d) && d == 1.5);
	ck_assert(number("-.5e1", &d) && d == -5);
	ck_assert(number("-.inf", &d) && isinf(d) && d < 0);
	ck_assert(number("Infinity", &d) && isinf(d));
	ck_assert(number("NaN", &d) && isnan(d));
	ck_assert(!number("inf", &d));
	ck_assert(!number("nan", &d));
	ck_assert(!number("0x1p3", &d));
	ck_assert(!number("1e999", &d));
	ck_assert(!number("", &d));
	ck_assert(!number("1.5x", &d));
}
END_TEST

MT_UNIT(scalar, words, integers, doubles)
