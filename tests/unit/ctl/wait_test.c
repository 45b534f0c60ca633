/* How often `meltemi wait` asks: its pauses. What it says is tests/integration/test_safety.py's. */
#include "ctl/wait.h"

#include "common/base/clock.h"
#include "tests/unit/unit.h"

#define MS MT_NS_PER_MS

START_TEST(test_soon_at_first)
{
	static const int64_t ms[] = { 10, 20, 40, 80, 160, 200, 200 };

	for (unsigned n = 0; n < MT_ARRAY_SIZE(ms); n++)
		ck_assert_int_eq(ctl_wait_pause_ns(n, 3600 * MT_NS_PER_SEC), ms[n] * MS);
	ck_assert_int_eq(ctl_wait_pause_ns(1000000, 3600 * MT_NS_PER_SEC), 200 * MS);
}
END_TEST

START_TEST(test_not_beyond_the_end)
{
	ck_assert_int_eq(ctl_wait_pause_ns(3, 5 * MS), 5 * MS);
	ck_assert_int_eq(ctl_wait_pause_ns(0, 0), 0);
	ck_assert_int_eq(ctl_wait_pause_ns(0, -1), 0);
}
END_TEST

MT_UNIT(wait, test_soon_at_first, test_not_beyond_the_end)
