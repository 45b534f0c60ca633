/* posix_spawn, never fork: gRPC's threads run in this process. The child gets a session of its own
 * (a Ctrl-C at our terminal is ours alone) and no descriptors but its output file, so it holds no
 * lock and no socket of ours when we are gone. */
#include "agent/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/mem.h"

struct agent_proc {
	struct agent_proc_id id;
	int pidfd;
	bool child; /* ours to reap */
	uv_poll_t poll;
	void (*exited)(void *ctx, int status);
	void *ctx;
};

static int boot_id(char boot[64], struct mt_err *err)
{
	struct mt_buf b = { 0 };
	int r = mt_file_read("/proc/sys/kernel/random/boot_id", 4096, &b, err);

	if (r == 0)
		snprintf(boot, 64, "%.*s", (int)strcspn(mt_buf_str(&b), "\n"), mt_buf_str(&b));
	mt_buf_clear(&b);
	return r;
}

/* Field 22, counted after the command's closing parenthesis (the command may hold anything). A zombie
 * is as good as gone. */
static int start_time(pid_t pid, uint64_t *ret, struct mt_err *err)
{
	struct mt_buf b = { 0 };
	unsigned long long start = 0;
	const char *p;
	char path[64], state = 0;
	int r;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if ((r = mt_file_read(path, 4096, &b, err)) < 0) {
		mt_buf_clear(&b);
		return r;
	}
	p = strrchr(mt_buf_str(&b), ')');
	if (!p ||
		sscanf(p + 1,
			" %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu",
			&state, &start) != 2)
		r = mt_fail(err, MT_IO, path, "cannot be read");
	else if (state == 'Z')
		r = mt_fail(err, MT_NOT_FOUND, path, "has ended");
	mt_buf_clear(&b);
	*ret = start;
	return r;
}

static void on_closed(uv_handle_t *h)
{
	struct agent_proc *p = h->data;

	close(p->pidfd);
	mt_free(p);
}

void agent_proc_forget(struct agent_proc *p)
{
	if (!p)
		return;
	p->exited = NULL;
	uv_close((uv_handle_t *)&p->poll, on_closed);
}

static void on_exit_event(uv_poll_t *h, int status, int events)
{
	struct agent_proc *p = h->data;
	int how = -1;

	(void)status;
	(void)events;
	uv_poll_stop(h);
	if (p->child && waitpid(p->id.pid, &how, 0) != p->id.pid)
		how = -1;
	if (p->exited)
		p->exited(p->ctx, how);
}

static int watch(struct mt_loop *l, struct agent_proc *p, struct mt_err *err)
{
	p->pidfd = (int)syscall(SYS_pidfd_open, p->id.pid, 0);
	if (p->pidfd < 0)
		return errno == ESRCH
			? mt_fail(err, MT_NOT_FOUND, NULL, "process %d is gone", (int)p->id.pid)
			: mt_fail_errno(err, NULL, "pidfd_open");
	if (uv_poll_init(mt_loop_uv(l), &p->poll, p->pidfd) < 0) {
		close(p->pidfd);
		return mt_fail(err, MT_IO, NULL, "cannot watch process %d", (int)p->id.pid);
	}
	p->poll.data = p;
	uv_poll_start(&p->poll, UV_READABLE, on_exit_event);
	return 0;
}

static int spawn(const struct agent_proc_spec *s, pid_t *ret, struct mt_err *err)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t all, none;
	int r;

	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attr);
	sigfillset(&all);
	sigemptyset(&none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(
		&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&files, 1, s->output, O_WRONLY | O_CREAT | O_APPEND, 0600);
	posix_spawn_file_actions_adddup2(&files, 1, 2);
	posix_spawn_file_actions_addclosefrom_np(&files, 3);
	r = posix_spawnp(ret, s->path, &files, &attr, s->argv, s->envp);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	if (r == 0)
		return 0;
	errno = r;
	return mt_fail_errno(err, s->path, "cannot be started");
}

int agent_proc_spawn(struct mt_loop *l, const struct agent_proc_spec *s, struct agent_proc **ret,
	struct mt_err *err)
{
	struct agent_proc *p = MT_NEW(struct agent_proc);
	int r;

	if ((r = boot_id(p->id.boot, err)) < 0 || (r = spawn(s, &p->id.pid, err)) < 0) {
		mt_free(p);
		return r;
	}
	p->child = true;
	p->exited = s->exited;
	p->ctx = s->ctx;
	/* Our own child cannot be reaped before we do it: pid and start time are of one process. A
	 * child that has ended already is told of by the watch. */
	if (start_time(p->id.pid, &p->id.start, NULL) < 0)
		p->id.start = 0;
	if ((r = watch(l, p, err)) < 0) {
		kill(p->id.pid, SIGKILL);
		waitpid(p->id.pid, NULL, 0);
		mt_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

int agent_proc_adopt(struct mt_loop *l, const struct agent_proc_id *id,
	void (*exited)(void *ctx, int status), void *ctx, struct agent_proc **ret,
	struct mt_err *err)
{
	struct agent_proc *p = MT_NEW(struct agent_proc);
	char boot[64];
	uint64_t start;
	int r;

	p->id = *id;
	p->exited = exited;
	p->ctx = ctx;
	if ((r = boot_id(boot, err)) == 0 && strcmp(boot, id->boot) != 0)
		r = mt_fail(err, MT_NOT_FOUND, NULL, "the machine was started again since");
	/* The descriptor first: what is checked after it is checked of the process that it holds. */
	if (r == 0)
		r = watch(l, p, err);
	if (r < 0) {
		mt_free(p);
		return r;
	}
	if ((r = start_time(id->pid, &start, err)) == 0 && start != id->start)
		r = mt_fail(err, MT_NOT_FOUND, NULL, "process %d is another one now", (int)id->pid);
	if (r < 0) {
		agent_proc_forget(p);
		return r;
	}
	*ret = p;
	return 0;
}

const struct agent_proc_id *agent_proc_id(const struct agent_proc *p)
{
	return &p->id;
}

int agent_proc_signal(struct agent_proc *p, int sig)
{
	return syscall(SYS_pidfd_send_signal, p->pidfd, sig, NULL, 0) == 0 ? 0 : MT_NOT_FOUND;
}
