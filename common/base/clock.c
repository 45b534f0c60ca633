#include "common/base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/err.h"

static int64_t now(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * MT_NS_PER_SEC + ts.tv_nsec;
}

static int64_t system_mono(const struct mt_clock *c)
{
	(void)c;
	return now(CLOCK_MONOTONIC);
}

static int64_t system_wall(const struct mt_clock *c)
{
	(void)c;
	return now(CLOCK_REALTIME);
}

const struct mt_clock mt_clock_system = { .mono = system_mono, .wall = system_wall };

static int64_t test_mono(const struct mt_clock *c)
{
	return atomic_load(&MT_CONTAINER(c, struct mt_test_clock, clock)->mono_ns);
}

static int64_t test_wall(const struct mt_clock *c)
{
	return atomic_load(&MT_CONTAINER(c, struct mt_test_clock, clock)->wall_ns);
}

void mt_test_clock_init(struct mt_test_clock *tc, int64_t mono_ns, int64_t wall_ns)
{
	tc->clock = (struct mt_clock){ .mono = test_mono, .wall = test_wall };
	atomic_init(&tc->mono_ns, mono_ns);
	atomic_init(&tc->wall_ns, wall_ns);
}

void mt_test_clock_advance(struct mt_test_clock *tc, int64_t ns)
{
	atomic_fetch_add(&tc->mono_ns, ns);
	atomic_fetch_add(&tc->wall_ns, ns);
}

void mt_time_format(int64_t wall_ns, char *buf, size_t n)
{
	time_t s = (time_t)(wall_ns / MT_NS_PER_SEC);
	int64_t frac = wall_ns % MT_NS_PER_SEC;
	char date[64];
	struct tm tm;

	if (frac < 0) {
		frac += MT_NS_PER_SEC;
		s--;
	}
	gmtime_r(&s, &tm);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	if (frac % MT_NS_PER_MS == 0)
		snprintf(buf, n, "%s.%03dZ", date, (int)(frac / MT_NS_PER_MS));
	else if (frac % 1000 == 0)
		snprintf(buf, n, "%s.%06dZ", date, (int)(frac / 1000));
	else
		snprintf(buf, n, "%s.%09dZ", date, (int)frac);
}

/* Exactly n digits at *p. */
static bool digits(const char **p, int n, int *ret)
{
	int v = 0;

	for (; n; n--, (*p)++) {
		if (**p < '0' || **p > '9')
			return false;
		v = v * 10 + (**p - '0');
	}
	*ret = v;
	return true;
}

static bool literal(const char **p, char c)
{
	if (**p != c)
		return false;
	(*p)++;
	return true;
}

static bool parse_date(const char **p, struct tm *tm)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	int y, mon, d, max;

	if (!digits(p, 4, &y) || !literal(p, '-') || !digits(p, 2, &mon) || !literal(p, '-') ||
		!digits(p, 2, &d))
		return false;
	/* What nanoseconds in an int64 can say, whole years. */
	if (y < 1678 || y > 2261 || mon < 1 || mon > 12)
		return false;
	max = days[mon - 1];
	if (mon == 2 && y % 4 == 0 && (y % 100 != 0 || y % 400 == 0))
		max = 29;
	if (d < 1 || d > max)
		return false;
	tm->tm_year = y - 1900;
	tm->tm_mon = mon - 1;
	tm->tm_mday = d;
	return true;
}

static bool parse_clock(const char **p, struct tm *tm, int64_t *frac)
{
	int64_t scale = MT_NS_PER_SEC / 10;

	*frac = 0;
	if (!digits(p, 2, &tm->tm_hour) || !literal(p, ':') || !digits(p, 2, &tm->tm_min) ||
		!literal(p, ':') || !digits(p, 2, &tm->tm_sec))
		return false;
	/* 60 is a leap second (RFC 3339, 5.7); timegm() makes it the next second. */
	if (tm->tm_hour > 23 || tm->tm_min > 59 || tm->tm_sec > 60)
		return false;
	if (!literal(p, '.'))
		return true;
	if (**p < '0' || **p > '9')
		return false;
	for (; **p >= '0' && **p <= '9'; (*p)++, scale /= 10)
		*frac += (**p - '0') * scale; /* below a nanosecond scale is 0 */
	return true;
}

int mt_time_parse(const char *text, int64_t *ret_wall_ns)
{
	int64_t frac, offset = 0;
	struct tm tm = { 0 };
	int oh, om, sign;

	if (!text || !parse_date(&text, &tm))
		return MT_INVALID;
	if (*text != 'T' && *text != 't' && *text != ' ')
		return MT_INVALID;
	text++;
	if (!parse_clock(&text, &tm, &frac))
		return MT_INVALID;
	if (*text == '+' || *text == '-') {
		sign = *text++ == '-' ? -1 : 1;
		if (!digits(&text, 2, &oh) || !literal(&text, ':') || !digits(&text, 2, &om) ||
			oh > 23 || om > 59)
			return MT_INVALID;
		offset = sign * (oh * 3600 + om * 60);
	} else if (!literal(&text, 'Z') && !literal(&text, 'z')) {
		return MT_INVALID;
	}
	if (*text)
		return MT_INVALID;
	*ret_wall_ns = ((int64_t)timegm(&tm) - offset) * MT_NS_PER_SEC + frac;
	return 0;
}
