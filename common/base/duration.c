#include "common/base/duration.h"

#include <stdio.h>
#include <string.h>

#include "common/base/err.h"

static const struct unit {
	const char *name;
	int64_t ns;
} units[] = { { "ns", 1 }, { "us", 1000 }, { "\xc2\xb5s", 1000 }, { "\xce\xbcs", 1000 },
	{ "ms", 1000000 }, { "s", 1000000000 }, { "m", 60000000000 }, { "h", 3600000000000 } };

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int64_t unit_of(const char *p, size_t n)
{
	for (size_t i = 0; i < MT_ARRAY_SIZE(units); i++)
		if (strlen(units[i].name) == n && memcmp(units[i].name, p, n) == 0)
			return units[i].ns;
	return 0;
}

/* One "1.5h": adds it to *sum (kept negative, so that the smallest int64 parses too). */
static int part(const char **text, int64_t *sum)
{
	const char *p = *text, *whole = p, *frac, *unit;
	int64_t n = 0, ns, scale;

	for (; is_digit(*p); p++)
		if (__builtin_mul_overflow(n, 10, &n) || __builtin_sub_overflow(n, *p - '0', &n))
			return MT_INVALID;
	frac = p;
	if (*p == '.')
		for (p++; is_digit(*p); p++)
			;
	if (p - whole - (*frac == '.') < 1)
		return MT_INVALID; /* not a digit */
	unit = p;
	while (*p && *p != '.' && !is_digit(*p))
		p++;
	ns = unit_of(unit, (size_t)(p - unit));
	if (!ns || __builtin_mul_overflow(n, ns, &n))
		return MT_INVALID;
	/* Digits below a nanosecond are cut off. */
	if (*frac == '.')
		for (scale = ns, frac++; is_digit(*frac); frac++) {
			/* 3.6e12 is not a power of ten: keep the remainder in thousandths. */
			int64_t digit = *frac - '0', whole_part = scale / 10;

			if (scale < 10)
				break;
			if (__builtin_sub_overflow(
				    n, digit * whole_part + digit * (scale % 10) / 10, &n))
				return MT_INVALID;
			scale = whole_part;
		}
	*text = p;
	return __builtin_add_overflow(*sum, n, sum) ? MT_INVALID : 0;
}

int mt_duration_parse(const char *text, int64_t *ret_ns)
{
	bool negative = false;
	int64_t sum = 0;

	if (!text)
		return MT_INVALID;
	if (*text == '-' || *text == '+')
		negative = *text++ == '-';
	do {
		if (part(&text, &sum) < 0)
			return MT_INVALID;
	} while (*text);
	if (!negative && __builtin_sub_overflow((int64_t)0, sum, &sum))
		return MT_INVALID;
	*ret_ns = sum;
	return 0;
}

void mt_duration_format(int64_t ns, char *buf, size_t n)
{
	uint64_t abs = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
	uint64_t s = abs / 1000000000, frac = abs % 1000000000;
	const char *sign = ns < 0 ? "-" : "";

	if (!frac)
		snprintf(buf, n, "%s%llus", sign, (unsigned long long)s);
	else if (frac % 1000000 == 0)
		snprintf(buf, n, "%s%llu.%03llus", sign, (unsigned long long)s,
			(unsigned long long)frac / 1000000);
	else if (frac % 1000 == 0)
		snprintf(buf, n, "%s%llu.%06llus", sign, (unsigned long long)s,
			(unsigned long long)frac / 1000);
	else
		snprintf(buf, n, "%s%llu.%09llus", sign, (unsigned long long)s,
			(unsigned long long)frac);
}
