/* envoy.pid: what the next agent needs to find the Envoy that this one started. Threads: any. */
#pragma once

#include "agent/proc.h"

struct agent_pid_file {
	struct agent_proc_id id;
	uint64_t
		setup; /* hash of binary, arguments and bootstrap: another one must not be adopted */
};

int agent_pid_file_save(const char *path, const struct agent_pid_file *f, struct mt_err *err);
/* MT_NOT_FOUND; MT_INVALID when damaged. */
int agent_pid_file_load(const char *path, struct agent_pid_file *ret, struct mt_err *err);
