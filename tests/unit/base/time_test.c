#include "common/base/clock.h"

#include <inttypes.h>
#include <stdint.h>

#include "common/base/duration.h"
#include "tests/unit/unit.h"

START_TEST(durations)
{
	static const struct {
		const char *text;
		int64_t ns;
	} good[] = { { "1s", 1000000000 }, { "1.5s", 1500000000 }, { "0s", 0 },
		{ ".5s", 500000000 }, { "1h2m3.5s", 3723500000000 }, { "250ms", 250000000 },
		{ "10us", 10000 }, { "3\xc2\xb5s", 3000 }, { "7ns", 7 }, { "-1.5s", -1500000000 },
		{ "1.000000001s", 1000000001 }, { "1.0000000019s", 1000000001 },
		{ "0.5h", 1800000000000 }, { "1.5m", 90000000000 }, { "0.1h", 360000000000 },
		{ "9223372036854775807ns", INT64_MAX }, { "-9223372036854775808ns", INT64_MIN } };
	static const char *const bad[] = { "", "1", "0", "s", ".s", "1x", "1 s", " 1s", "1s ",
		"9223372036854775808ns", "99999999999h", "--1s", "1s-2s", "1e3s", "1.2.3s", "-" };
	int64_t ns = 42;

	for (size_t i = 0; i < MT_ARRAY_SIZE(good); i++) {
		ck_assert_msg(mt_duration_parse(good[i].text, &ns) == 0, "%s", good[i].text);
		ck_assert_msg(ns == good[i].ns, "%s: %" PRId64, good[i].text, ns);
	}
	ns = 42;
	for (size_t i = 0; i < MT_ARRAY_SIZE(bad); i++)
		ck_assert_msg(mt_duration_parse(bad[i], &ns) < 0, "%s", bad[i]);
	ck_assert_int_lt(mt_duration_parse(NULL, &ns), 0);
	ck_assert_int_eq(ns, 42);
}
END_TEST

START_TEST(duration_round_trip)
{
	static const int64_t all[] = { 0, 1, 1000, 1500000000, -1500000000, 60000000000, 1000000001,
		-1, INT64_MAX, INT64_MIN };
	char buf[32];
	int64_t back;

	for (size_t i = 0; i < MT_ARRAY_SIZE(all); i++) {
		mt_duration_format(all[i], buf, sizeof(buf));
		ck_assert_msg(mt_duration_parse(buf, &back) == 0, "%s", buf);
		ck_assert_msg(back == all[i], "%s", buf);
	}
	mt_duration_format(1500000000, buf, sizeof(buf));
	ck_assert_str_eq(buf, "1.500s");
	mt_duration_format(-1000000000, buf, sizeof(buf));
	ck_assert_str_eq(buf, "-1s");
}
END_TEST

START_TEST(times)
{
	int64_t t = mt_wall(&mt_clock_system), back;
	char buf[32];

	mt_time_format(t, buf, sizeof(buf));
	ck_assert_int_eq(mt_time_parse(buf, &back), 0);
	ck_assert(t == back);
	ck_assert_int_eq(mt_time_parse("2026-11-24T03:12:01.123Z", &t), 0);
	mt_time_format(t, buf, sizeof(buf));
	ck_assert_str_eq(buf, "2026-11-24T03:12:01.123Z");
	ck_assert_int_eq(mt_time_parse("2026-11-24T04:12:01.123+01:00", &back), 0);
	ck_assert(t == back);
	ck_assert_int_eq(mt_time_parse("1969-12-31T23:59:59.5Z", &t), 0);
	ck_assert(t == -500000000);
	mt_time_format(t, buf, sizeof(buf));
	ck_assert_str_eq(buf, "1969-12-31T23:59:59.500Z");
	ck_assert_int_eq(mt_time_parse("2024-02-29T00:00:00Z", &t), 0);
}
END_TEST

START_TEST(bad_times)
{
	static const char *const bad[] = { "", "2026-11-24", "2026-11-24T03:12:01",
		"2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-11-31T00:00:00Z",
		"2026-11-24T24:00:00Z", "2026-11-24T03:12:01.Z", "2026-11-24T03:12:01Zx",
		"0001-01-01T00:00:00Z", "9999-01-01T00:00:00Z", "2026-11-24T03:12:01+1:00",
		"2026-1-24T03:12:01Z" };
	int64_t t;

	for (size_t i = 0; i < MT_ARRAY_SIZE(bad); i++)
		ck_assert_msg(mt_time_parse(bad[i], &t) < 0, "%s", bad[i]);
}
END_TEST

START_TEST(test_clock)
{
	struct mt_test_clock tc;

	mt_test_clock_init(&tc, 5, 100);
	mt_test_clock_advance(&tc, MT_NS_PER_SEC);
	ck_assert(mt_mono(&tc.clock) == 5 + MT_NS_PER_SEC);
	ck_assert(mt_wall(&tc.clock) == 100 + MT_NS_PER_SEC);
	ck_assert(mt_mono(&mt_clock_system) <= mt_mono(&mt_clock_system));
}
END_TEST

MT_UNIT(time, durations, duration_round_trip, times, bad_times, test_clock)
