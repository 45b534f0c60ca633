/* One child process that may outlive us, and that a later agent may adopt: known by pid, start time
 * and boot, so that a pid used again by the kernel is never mistaken for it. Watched and signalled
 * through a pidfd. Loop thread. */
#pragma once

#include <sys/types.h>

#include "common/base/err.h"
#include "common/run/loop.h"

struct agent_proc_id {
	pid_t pid;
	uint64_t start; /* clock ticks since boot, /proc/PID/stat field 22 */
	char boot[64];  /* /proc/sys/kernel/random/boot_id */
};

struct agent_proc;

struct agent_proc_spec {
	const char *path;   /* binary; without a slash looked up in PATH */
	char *const *argv;  /* ends with NULL */
	char *const *envp;  /* ends with NULL */
	const char *output; /* file for stdout and stderr, appended, 0600 */
	/* Loop, once. status as waitpid() gives it; -1 when it was adopted and cannot be known. */
	void (*exited)(void *ctx, int status);
	void *ctx;
};

/* Starts it in a session of its own, with no file of ours but `output`, default signals. MT_NOT_FOUND,
 * MT_IO. */
int agent_proc_spawn(struct mt_loop *l, const struct agent_proc_spec *s, struct agent_proc **ret,
	struct mt_err *err);
/* Takes over one that runs. MT_NOT_FOUND when it does not (or another has its pid). */
int agent_proc_adopt(struct mt_loop *l, const struct agent_proc_id *id,
	void (*exited)(void *ctx, int status), void *ctx, struct agent_proc **ret,
	struct mt_err *err);
const struct agent_proc_id *agent_proc_id(const struct agent_proc *p);
int agent_proc_signal(struct agent_proc *p, int sig); /* MT_NOT_FOUND when it is gone */
/* Forgets it without touching it; exited is not called any more. NULL allowed. */
void agent_proc_forget(struct agent_proc *p);
