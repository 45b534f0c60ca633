#include "ctl/dev/procs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/vec.h"

enum { RESTART_AFTER_MS = 500 };

struct proc {
	uv_process_t uv; /* first */
	struct procs *all;
	char *name, *log;
	char **argv; /* ends with NULL; owned */
	struct mt_timer *again;
	int group;
	bool running, exited;
	int exit_status, signal;
};

struct procs {
	struct mt_loop *loop;
	struct procs_events on;
	void *ctx;
	MT_VEC(struct proc *) v;
	bool stopping;
};

struct procs *procs_new(struct mt_loop *l, const struct procs_events *events, void *ctx)
{
	struct procs *p = MT_NEW(struct procs);
	p->loop = l;
	p->on = *events;
	p->ctx = ctx;
	return p;
}

static struct proc_info info(const struct proc *c)
{
	return (struct proc_info){ .name = c->name,
		.group = c->group,
		.log = c->log,
		.pid = c->running ? uv_process_get_pid(&c->uv) : 0,
		.exit_status = c->exit_status,
		.signal = c->signal,
		.exited = c->exited };
}

static void on_exit_child(uv_process_t *uv, int64_t status, int sig)
{
	struct proc *c = (struct proc *)uv;
	struct proc_info i;

	i = info(c);
	c->running = false;
	c->exited = true;
	i.exit_status = c->exit_status = (int)status;
	i.signal = c->signal = sig;
	i.exited = true;
	uv_close((uv_handle_t *)uv, NULL);
	if (!c->all->stopping && c->all->on.died)
		c->all->on.died(c->all->ctx, &i);
}

static int spawn(struct proc *c, struct mt_err *err)
{
	int fd = open(c->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0)
		return mt_fail_errno(err, c->log, "cannot write the log");

	uv_stdio_container_t io[3] = { { .flags = UV_IGNORE },
		{ .flags = UV_INHERIT_FD, .data.fd = fd },
		{ .flags = UV_INHERIT_FD, .data.fd = fd } };
	uv_process_options_t o = { .exit_cb = on_exit_child,
		.file = c->argv[0],
		.args = c->argv,
		.stdio_count = 3,
		.stdio = io,
		.flags = UV_PROCESS_DETACHED }; /* Ctrl-C is ours to handle */
	int r = uv_spawn(mt_loop_uv(c->all->loop), &c->uv, &o);
	close(fd);
	if (r < 0) {
		uv_close((uv_handle_t *)&c->uv, NULL);
		return mt_fail(err, MT_IO, c->argv[0], "cannot start: %s", uv_strerror(r));
	}
	c->running = true;
	c->exited = false;
	return 0;
}

static void start_again(void *arg)
{
	struct proc *c = arg;

	if (c->all->stopping || c->running)
		return;
	if (spawn(c, NULL) < 0) {
		mt_timer_start(c->again, RESTART_AFTER_MS * MT_NS_PER_MS, 0);
		return;
	}
	if (c->all->on.restarted) {
		struct proc_info i = info(c);
		c->all->on.restarted(c->all->ctx, &i);
	}
}

int procs_start(struct procs *p, const char *name, int group, const char *log, char *const *argv,
	struct mt_err *err)
{
	struct proc *c = MT_NEW(struct proc);
	size_t n = 0;

	while (argv[n])
		n++;
	c->all = p;
	c->name = mt_strdup(name);
	c->log = mt_strdup(log);
	c->group = group;
	c->argv = mt_alloc((n + 1) * sizeof(*c->argv));
	for (size_t i = 0; i < n; i++)
		c->argv[i] = mt_strdup(argv[i]);
	c->again = mt_timer_new(p->loop, start_again, c);
	mt_vec_push(&p->v, c);
	return spawn(c, err);
}

void procs_restart(struct procs *p, const char *name)
{
	for (size_t i = 0; i < p->v.n; i++)
		if (strcmp(p->v.v[i]->name, name) == 0)
			mt_timer_start(p->v.v[i]->again, RESTART_AFTER_MS * MT_NS_PER_MS, 0);
}

size_t procs_count(const struct procs *p)
{
	return p->v.n;
}

struct proc_info procs_info(const struct procs *p, size_t i)
{
	return info(p->v.v[i]);
}

static bool running(const struct procs *p, int group)
{
	for (size_t i = 0; i < p->v.n; i++)
		if (p->v.v[i]->running && p->v.v[i]->group == group)
			return true;
	return false;
}

static void kill_group(struct procs *p, int group, int sig)
{
	for (size_t i = 0; i < p->v.n; i++)
		if (p->v.v[i]->running && p->v.v[i]->group == group)
			uv_process_kill(&p->v.v[i]->uv, sig);
}

static void nothing(void *arg)
{
	(void)arg;
}

static void stop_group(struct procs *p, int group, int64_t grace_ns)
{
	const struct mt_clock *clock = mt_loop_clock(p->loop);
	int64_t until = mt_mono(clock) + grace_ns;
	struct mt_timer *t = mt_timer_new(p->loop, nothing, NULL);

	kill_group(p, group, SIGTERM);
	mt_timer_start(t, grace_ns, 100 * MT_NS_PER_MS); /* wakes the loop when the grace is over */
	while (running(p, group)) {
		if (mt_mono(clock) >= until)
			kill_group(p, group, SIGKILL);
		uv_run(mt_loop_uv(p->loop), UV_RUN_ONCE);
	}
	mt_timer_free(t);
}

void procs_stop(struct procs *p, int64_t grace_ns)
{
	int top = 0;

	p->stopping = true;
	for (size_t i = 0; i < p->v.n; i++)
		top = MT_MAX(top, p->v.v[i]->group);
	for (int g = top; g >= 0; g--)
		stop_group(p, g, grace_ns);
	uv_run(mt_loop_uv(p->loop), UV_RUN_NOWAIT); /* close callbacks */
}

void procs_free(struct procs *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->v.n; i++) {
		for (char **a = p->v.v[i]->argv; *a; a++)
			mt_free(*a);
		mt_free(p->v.v[i]->argv);
		mt_timer_free(p->v.v[i]->again);
		mt_free(p->v.v[i]->name);
		mt_free(p->v.v[i]->log);
		mt_free(p->v.v[i]);
	}
	mt_vec_clear(&p->v);
	mt_free(p);
}
