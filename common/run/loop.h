/* The loop: one libuv thread that owns a daemon's mutable model. Everything here runs on that
 * thread except mt_loop_post() and mt_loop_stop(), which any thread may call. */
#pragma once

#include <uv.h>

#include "common/base/clock.h"
#include "common/base/macros.h"

struct mt_loop;

struct mt_loop *mt_loop_new(const struct mt_clock *clock);
void mt_loop_free(struct mt_loop *l); /* after mt_loop_run() returned; runs posts that are left */
void mt_loop_run(struct mt_loop *l);
void mt_loop_stop(struct mt_loop *l);
uv_loop_t *mt_loop_uv(struct mt_loop *l);
const struct mt_clock *mt_loop_clock(const struct mt_loop *l);
bool mt_loop_is_current(const struct mt_loop *l); /* is this the loop's thread? */

/* Runs fn(arg) on the loop, in the order of the posts of one thread. Any thread. */
void mt_loop_post(struct mt_loop *l, void (*fn)(void *arg), void *arg);

/* Runs work(arg) on a worker thread, then done(arg) on the loop. Loop thread. */
void mt_loop_work(struct mt_loop *l, void (*work)(void *arg), void (*done)(void *arg), void *arg);

/* One-shot or repeating timer. Loop thread. Free stops it; its callback may free it. */
struct mt_timer;
struct mt_timer *mt_timer_new(struct mt_loop *l, void (*fn)(void *arg), void *arg);
void mt_timer_start(struct mt_timer *t, int64_t after_ns, int64_t repeat_ns); /* restarts */
void mt_timer_stop(struct mt_timer *t);
bool mt_timer_active(const struct mt_timer *t);
void mt_timer_free(struct mt_timer *t); /* NULL allowed */
