/* Completion-queue threads.
 *
 * Each thread owns one queue and every stream that is bound to it; only this thread starts batches on
 * a stream's call and runs its ops, so a stream needs no lock. Other threads hand work over as tasks:
 * they push on a list and, when the list was empty, kick the thread. The kick is an empty batch on a
 * call that never starts (of a lame channel): gRPC core has no other way to put an event on a queue
 * from outside. Tasks live in the objects that they work on, so posting allocates nothing and cannot
 * fail, and a storm of wakes costs one event.
 *
 * gRPC core is not built with ThreadSanitizer, so what goes through it carries no happens-before edge
 * that the sanitizer sees. Tasks do (they are our own atomics), which is one more reason to start
 * calls and arm accepts by task instead of from the caller's thread. */
#include <stdio.h>
#include <unistd.h>

#include "common/rpc/internal.h"

void rpc_post(struct rpc_thread *t, struct rpc_task *task)
{
	struct rpc_task *head = atomic_load_explicit(&t->tasks, memory_order_relaxed);

	do {
		task->next = head;
	} while (!atomic_compare_exchange_weak_explicit(
		&t->tasks, &head, task, memory_order_release, memory_order_relaxed));
	if (!head)
		grpc_call_start_batch(t->kick, NULL, 0, rpc_tag(t, RPC_TAG_KICK), NULL);
}

static void run_tasks(struct rpc_thread *t)
{
	struct rpc_task *newest = atomic_exchange_explicit(&t->tasks, NULL, memory_order_acquire);
	struct rpc_task *oldest = NULL;

	while (newest) {
		struct rpc_task *next = newest->next;
		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	while (oldest) {
		struct rpc_task *task = oldest;
		oldest = task->next; /* run may free it or post it again */
		task->run(task);
	}
}

static void dispatch(struct rpc_thread *t, const grpc_event *ev)
{
	enum rpc_tag kind = (uintptr_t)ev->tag & 15;
	void *p = (void *)((uintptr_t)ev->tag & ~(uintptr_t)15);

	switch (kind) {
	case RPC_TAG_KICK: run_tasks(t); break;
	case RPC_TAG_ACCEPT: rpc_accept_event(p, ev->success); break;
	case RPC_TAG_SHUTDOWN: rpc_server_release(p); break;
	default: rpc_stream_event(p, kind, ev->success);
	}
}

static gpr_timespec next_deadline(const struct rpc_thread *t)
{
	if (!t->sending)
		return gpr_inf_future(GPR_CLOCK_MONOTONIC);
	int64_t left = t->sending->send_deadline_ns - mt_mono(&mt_clock_system);
	return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
		gpr_time_from_nanos(MT_MAX(left, 0) + MT_NS_PER_MS, GPR_TIMESPAN));
}

static void *thread_main(void *arg)
{
	struct rpc_thread *t = arg;

	for (;;) {
		grpc_event ev = grpc_completion_queue_next(t->cq, next_deadline(t), NULL);
		if (ev.type == GRPC_QUEUE_SHUTDOWN)
			break;
		if (ev.type == GRPC_OP_COMPLETE)
			dispatch(t, &ev);
		if (t->sending)
			rpc_streams_expire(t, mt_mono(&mt_clock_system));
	}
	run_tasks(t); /* late wakes: they only drop their references */
	return NULL;
}

static void thread_start(struct mt_rpc_env *e, unsigned i)
{
	struct rpc_thread *t = &e->threads[i];
	char name[16];

	t->env = e;
	t->index = i;
	t->cq = grpc_completion_queue_create_for_next(NULL);
	grpc_slice path = grpc_slice_from_static_string("/meltemi.Kick/Kick");
	t->kick = grpc_channel_create_call(e->lame, NULL, GRPC_PROPAGATE_DEFAULTS, t->cq, path,
		NULL, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
	pthread_create(&t->tid, NULL, thread_main, t);
	snprintf(name, sizeof(name), "rpc-%u", i);
	pthread_setname_np(t->tid, name);
}

struct mt_rpc_env *mt_rpc_env_new(unsigned threads)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned n = threads ? threads : cores > 0 ? (unsigned)cores : 1;
	struct mt_rpc_env *e = mt_alloc(sizeof(*e) + n * sizeof(e->threads[0]));

	rpc_log_init();
	rpc_memory_init();
	grpc_init();
	e->n = n;
	e->lame = grpc_lame_client_channel_create("lame", GRPC_STATUS_INTERNAL, "lame");
	pthread_mutex_init(&e->lock, NULL);
	pthread_cond_init(&e->idle, NULL);
	for (unsigned i = 0; i < n; i++)
		thread_start(e, i);
	return e;
}

void rpc_env_stream_opened(struct mt_rpc_env *e)
{
	pthread_mutex_lock(&e->lock);
	e->streams++;
	pthread_mutex_unlock(&e->lock);
}

void rpc_env_stream_closed(struct mt_rpc_env *e)
{
	pthread_mutex_lock(&e->lock);
	if (--e->streams == 0)
		pthread_cond_broadcast(&e->idle);
	pthread_mutex_unlock(&e->lock);
}

void mt_rpc_env_free(struct mt_rpc_env *e)
{
	if (!e)
		return;
	/* Calls of freed channels were cancelled: their last events are on the way. */
	pthread_mutex_lock(&e->lock);
	while (e->streams)
		pthread_cond_wait(&e->idle, &e->lock);
	pthread_mutex_unlock(&e->lock);
	for (unsigned i = 0; i < e->n; i++)
		grpc_completion_queue_shutdown(e->threads[i].cq);
	for (unsigned i = 0; i < e->n; i++) {
		struct rpc_thread *t = &e->threads[i];
		pthread_join(t->tid, NULL);
		grpc_call_unref(t->kick);
		grpc_completion_queue_destroy(t->cq);
		rpc_peer_cache_free(t->peers);
	}
	grpc_channel_destroy(e->lame);
	grpc_shutdown();
	pthread_cond_destroy(&e->idle);
	pthread_mutex_destroy(&e->lock);
	mt_free(e);
}
