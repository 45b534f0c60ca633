/* The loop.
 *
 * Posts from other threads go to a list under a mutex; the one that finds it empty wakes the loop.
 * The loop takes the whole list at once and runs it without the lock, so a post made by a post waits
 * for the next round and input and output are not starved.
 *
 * Timers follow the injected clock. With the system's clock they are libuv timers; with any other (a
 * test's) each active timer looks at that clock every millisecond, so that a test turns the clock by
 * an hour and the timer fires at once. */
#include "common/run/loop.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/mem.h"

struct post {
	struct post *next;
	void (*fn)(void *arg);
	void *arg;
};

struct mt_loop {
	uv_loop_t uv;
	uv_async_t wake;
	const struct mt_clock *clock;
	_Atomic(pthread_t) thread;
	atomic_bool stop;
	pthread_mutex_t lock; /* guards the posts */
	struct post *first, **last;
};

/* libuv fails here only when the process is out of descriptors or memory at its very start. */
static void must(int r, const char *what)
{
	if (r == 0)
		return;
	fprintf(stderr, "meltemi: %s: %s\n", what, uv_strerror(r));
	abort();
}

static bool run_posts(struct mt_loop *l)
{
	struct post *p, *next;

	pthread_mutex_lock(&l->lock);
	p = l->first;
	l->first = NULL;
	l->last = &l->first;
	pthread_mutex_unlock(&l->lock);
	if (!p)
		return false;
	for (; p; p = next) {
		next = p->next;
		p->fn(p->arg);
		mt_free(p);
	}
	return true;
}

static void on_wake(uv_async_t *h)
{
	struct mt_loop *l = h->data;

	run_posts(l);
	if (atomic_load(&l->stop))
		uv_stop(&l->uv);
}

struct mt_loop *mt_loop_new(const struct mt_clock *clock)
{
	struct mt_loop *l = MT_NEW(struct mt_loop);

	must(uv_loop_init(&l->uv), "event loop");
	must(uv_async_init(&l->uv, &l->wake, on_wake), "event loop");
	l->wake.data = l;
	l->clock = clock;
	l->last = &l->first;
	pthread_mutex_init(&l->lock, NULL);
	atomic_init(&l->thread, pthread_self()); /* until somebody else runs it */
	return l;
}

static void close_handle(uv_handle_t *h, void *arg)
{
	(void)arg;
	if (!uv_is_closing(h))
		uv_close(h, NULL);
}

void mt_loop_free(struct mt_loop *l)
{
	if (!l)
		return;
	/* What posts and finished work bring up is run too; what their owners left open is closed. */
	do {
		while (run_posts(l))
			;
		uv_run(&l->uv, UV_RUN_NOWAIT);
	} while (l->first);
	uv_walk(&l->uv, close_handle, NULL);
	uv_run(&l->uv, UV_RUN_DEFAULT);
	while (run_posts(l))
		;
	must(uv_loop_close(&l->uv), "closing the event loop");
	pthread_mutex_destroy(&l->lock);
	mt_free(l);
}

void mt_loop_run(struct mt_loop *l)
{
	atomic_store(&l->thread, pthread_self());
	if (!atomic_load(&l->stop))
		uv_run(&l->uv, UV_RUN_DEFAULT);
	atomic_store(&l->stop, false);
}

void mt_loop_stop(struct mt_loop *l)
{
	atomic_store(&l->stop, true);
	uv_async_send(&l->wake);
}

uv_loop_t *mt_loop_uv(struct mt_loop *l)
{
	return &l->uv;
}

const struct mt_clock *mt_loop_clock(const struct mt_loop *l)
{
	return l->clock;
}

bool mt_loop_is_current(const struct mt_loop *l)
{
	return pthread_equal(atomic_load(&l->thread), pthread_self());
}

void mt_loop_post(struct mt_loop *l, void (*fn)(void *arg), void *arg)
{
	struct post *p = MT_NEW(struct post);
	bool wake;

	p->fn = fn;
	p->arg = arg;
	pthread_mutex_lock(&l->lock);
	wake = !l->first;
	*l->last = p;
	l->last = &p->next;
	/* Under the lock: once it is released the post may run and end the loop's life. */
	if (wake)
		uv_async_send(&l->wake);
	pthread_mutex_unlock(&l->lock);
}

/* --- work on other threads ---------------------------------------------------------------------- */

struct work {
	uv_work_t req;
	void (*work)(void *arg);
	void (*done)(void *arg);
	void *arg;
};

static void on_work(uv_work_t *req)
{
	struct work *w = MT_CONTAINER(req, struct work, req);

	w->work(w->arg);
}

static void on_worked(uv_work_t *req, int status)
{
	struct work *w = MT_CONTAINER(req, struct work, req);

	(void)status; /* never cancelled */
	w->done(w->arg);
	mt_free(w);
}

void mt_loop_work(struct mt_loop *l, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
	struct work *w = MT_NEW(struct work);

	w->work = work;
	w->done = done;
	w->arg = arg;
	must(uv_queue_work(&l->uv, &w->req, on_work, on_worked), "worker thread");
}

/* --- timers ------------------------------------------------------------------------------------- */

struct mt_timer {
	uv_timer_t uv;
	struct mt_loop *loop;
	void (*fn)(void *arg);
	void *arg;
	int64_t due_ns; /* by the injected clock; meaningless with the system's */
	int64_t repeat_ns;
};

static bool real_time(const struct mt_timer *t)
{
	return t->loop->clock == &mt_clock_system;
}

struct mt_timer *mt_timer_new(struct mt_loop *l, void (*fn)(void *arg), void *arg)
{
	struct mt_timer *t = MT_NEW(struct mt_timer);

	must(uv_timer_init(&l->uv, &t->uv), "timer");
	t->loop = l;
	t->fn = fn;
	t->arg = arg;
	return t;
}

static void on_timer(uv_timer_t *h)
{
	struct mt_timer *t = MT_CONTAINER(h, struct mt_timer, uv);

	if (!real_time(t)) {
		int64_t now = mt_mono(t->loop->clock);

		if (now < t->due_ns)
			return;
		if (t->repeat_ns)
			t->due_ns = now + t->repeat_ns;
		else
			uv_timer_stop(&t->uv);
	}
	t->fn(t->arg); /* may free t */
}

/* Never early: rounded up. */
static uint64_t to_ms(int64_t ns)
{
	return ns <= 0 ? 0 : (uint64_t)(ns - 1) / MT_NS_PER_MS + 1;
}

void mt_timer_start(struct mt_timer *t, int64_t after_ns, int64_t repeat_ns)
{
	t->repeat_ns = repeat_ns;
	if (real_time(t)) {
		uv_update_time(&t->loop->uv); /* the callback that calls may have run for long */
		uv_timer_start(&t->uv, on_timer, to_ms(after_ns), to_ms(repeat_ns));
		return;
	}
	t->due_ns = mt_mono(t->loop->clock) + MT_MAX(after_ns, 0);
	uv_timer_start(&t->uv, on_timer, 0, 1);
}

void mt_timer_stop(struct mt_timer *t)
{
	uv_timer_stop(&t->uv);
}

bool mt_timer_active(const struct mt_timer *t)
{
	return uv_is_active((const uv_handle_t *)&t->uv);
}

static void on_timer_closed(uv_handle_t *h)
{
	mt_free(MT_CONTAINER((uv_timer_t *)h, struct mt_timer, uv));
}

void mt_timer_free(struct mt_timer *t)
{
	if (!t)
		return;
	uv_timer_stop(&t->uv);
	uv_close((uv_handle_t *)&t->uv, on_timer_closed);
}
