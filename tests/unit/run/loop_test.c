#include "common/run/loop.h"

#include <pthread.h>

#include "tests/unit/unit.h"

enum { THREADS = 4, POSTS = 5000 };

static struct mt_loop *loop;
static int seen[THREADS], total;
static atomic_int in_work;

struct item {
	int thread, number;
};
static struct item items[THREADS][POSTS];

static void on_post(void *arg)
{
	const struct item *i = arg;

	ck_assert(mt_loop_is_current(loop));
	ck_assert_int_eq(seen[i->thread]++, i->number); /* in order within a thread */
	if (++total == THREADS * POSTS)
		mt_loop_stop(loop);
}

static void *poster(void *arg)
{
	struct item *mine = arg;

	ck_assert(!mt_loop_is_current(loop));
	for (int i = 0; i < POSTS; i++) {
		mine[i].number = i;
		mt_loop_post(loop, on_post, &mine[i]);
	}
	return NULL;
}

START_TEST(posts_from_threads_in_order)
{
	pthread_t t[THREADS];

	total = 0;
	loop = mt_loop_new(&mt_clock_system);
	for (int i = 0; i < THREADS; i++) {
		for (int k = 0; k < POSTS; k++)
			items[i][k].thread = i;
		seen[i] = 0;
		pthread_create(&t[i], NULL, poster, items[i]);
	}
	mt_loop_run(loop);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	ck_assert_int_eq(total, THREADS * POSTS);
	mt_loop_free(loop);
}
END_TEST

static void count(void *arg)
{
	++*(int *)arg;
}

static void post_again(void *arg)
{
	mt_loop_post(loop, count, arg);
}

START_TEST(what_is_left_runs_at_the_end)
{
	int n = 0;

	loop = mt_loop_new(&mt_clock_system);
	mt_loop_post(loop, count, &n);
	mt_loop_post(loop, post_again, &n);
	mt_loop_free(loop);
	ck_assert_int_eq(n, 2);
	mt_loop_free(NULL);
}
END_TEST

START_TEST(stop_before_run_counts)
{
	loop = mt_loop_new(&mt_clock_system);
	ck_assert(mt_loop_is_current(loop));
	mt_loop_stop(loop);
	mt_loop_run(loop);
	mt_loop_free(loop);
}
END_TEST

static void work(void *arg)
{
	(void)arg;
	ck_assert(!mt_loop_is_current(loop));
	atomic_fetch_add(&in_work, 1);
}

static void worked(void *arg)
{
	ck_assert(mt_loop_is_current(loop));
	if (++*(int *)arg == 10)
		mt_loop_stop(loop);
}

START_TEST(work_elsewhere_done_here)
{
	int done = 0;

	atomic_store(&in_work, 0);
	loop = mt_loop_new(&mt_clock_system);
	for (int i = 0; i < 10; i++)
		mt_loop_work(loop, work, worked, &done);
	mt_loop_run(loop);
	ck_assert_int_eq(done, 10);
	ck_assert_int_eq(atomic_load(&in_work), 10);
	/* Work that is under way when the loop goes is finished first. */
	done = 0;
	mt_loop_work(loop, work, worked, &done);
	mt_loop_free(loop);
	ck_assert_int_eq(done, 1);
}
END_TEST

static struct mt_timer *timer;
static int fired;

static void fire(void *arg)
{
	int want = (int)(intptr_t)arg;

	if (++fired < want)
		return;
	mt_timer_free(timer); /* from inside its own callback */
	mt_loop_stop(loop);
}

START_TEST(timers_in_real_time)
{
	int64_t before;

	fired = 0;
	loop = mt_loop_new(&mt_clock_system);
	timer = mt_timer_new(loop, fire, (void *)3);
	ck_assert(!mt_timer_active(timer));
	before = mt_mono(&mt_clock_system);
	mt_timer_start(timer, 2 * MT_NS_PER_MS, 3 * MT_NS_PER_MS);
	ck_assert(mt_timer_active(timer));
	mt_loop_run(loop);
	ck_assert_int_eq(fired, 3);
	ck_assert(mt_mono(&mt_clock_system) - before >= 8 * MT_NS_PER_MS - MT_NS_PER_MS);
	timer = mt_timer_new(loop, fire, (void *)1);
	mt_timer_start(timer, MT_NS_PER_SEC, 0);
	mt_timer_stop(timer);
	ck_assert(!mt_timer_active(timer));
	mt_timer_free(timer);
	mt_timer_free(NULL);
	mt_loop_free(loop);
}
END_TEST

static struct mt_test_clock tc;

static void turn(void *arg)
{
	(void)arg;
	mt_test_clock_advance(&tc, 3600 * MT_NS_PER_SEC);
}

START_TEST(timers_follow_the_tests_clock)
{
	struct mt_timer *never;
	int n = 0;

	fired = 0;
	mt_test_clock_init(&tc, 0, 0);
	loop = mt_loop_new(&tc.clock);
	never = mt_timer_new(loop, count, &n);
	mt_timer_start(never, 2 * 3600 * MT_NS_PER_SEC, 0);
	timer = mt_timer_new(loop, fire, (void *)1);
	mt_timer_start(timer, 3600 * MT_NS_PER_SEC, 0);
	mt_loop_post(loop, turn, NULL);
	mt_loop_run(loop);
	ck_assert_int_eq(fired, 1);
	ck_assert_int_eq(n, 0);
	mt_timer_free(never);
	mt_loop_free(loop);
}
END_TEST

MT_UNIT(loop, posts_from_threads_in_order, what_is_left_runs_at_the_end, stop_before_run_counts,
	work_elsewhere_done_here, timers_in_real_time, timers_follow_the_tests_clock)
