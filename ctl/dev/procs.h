/* Child processes of `meltemi dev`: started with their output in a log file, watched, stopped in the
 * reverse order of their groups. Loop thread. */
#pragma once

#include "common/base/err.h"
#include "common/run/loop.h"

struct procs;

struct proc_info {
	const char *name;
	int group;
	const char *log;
	int pid;         /* 0: not running */
	int exit_status; /* of the last run; valid when exited */
	int signal;
	bool exited;
};

struct procs_events {
	void (*died)(void *ctx, const struct proc_info *p); /* it ended, and nobody stopped it */
	void (*restarted)(
		void *ctx, const struct proc_info *p); /* procs_restart() has done its work */
};

/* The events may be NULL; copied. */
struct procs *procs_new(struct mt_loop *l, const struct procs_events *events, void *ctx);
/* group: procs_stop() ends higher groups first. argv[0] is the path; copied. */
int procs_start(struct procs *p, const char *name, int group, const char *log, char *const *argv,
	struct mt_err *err);
/* Starts again, after a pause, one that ended: same arguments, same log. Tries until it can. */
void procs_restart(struct procs *p, const char *name);
size_t procs_count(const struct procs *p);
struct proc_info procs_info(const struct procs *p, size_t i);
/* SIGTERM group by group, SIGKILL for those that stay longer than grace_ns; runs the loop until all
 * have ended. */
void procs_stop(struct procs *p, int64_t grace_ns);
void procs_free(struct procs *p); /* after procs_stop() */
