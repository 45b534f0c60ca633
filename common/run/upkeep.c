/* Memory upkeep: glibc keeps what was freed. After a large change (thousands of proxies gone, a
 * configuration replaced) much of it may be free and still resident; from time to time a worker
 * thread looks, and returns it when that is worth the walk. */
#include <malloc.h>

#include "common/run/daemon_inside.h"

#define PERIOD (30 * MT_NS_PER_SEC)
static const size_t worth_it = 16 << 20;

static void trim(void *arg)
{
	struct mallinfo2 m = mallinfo2();

	(void)arg;
	/* The free bytes at the top of the main arena go back by themselves. */
	if (m.fordblks > worth_it && m.fordblks - m.keepcost > m.uordblks / 4)
		malloc_trim(0);
}

static void trimmed(void *arg)
{
	(void)arg;
}

static void on_time(void *arg)
{
	struct mt_daemon *d = arg;

	mt_loop_work(d->loop, trim, trimmed, d);
}

void mt_upkeep_start(struct mt_daemon *d)
{
	d->upkeep = mt_timer_new(d->loop, on_time, d);
	mt_timer_start(d->upkeep, PERIOD, PERIOD);
}

void mt_upkeep_stop(struct mt_daemon *d)
{
	mt_timer_free(d->upkeep);
	d->upkeep = NULL;
}
