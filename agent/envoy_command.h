/* Envoy's command line and environment. */
#pragma once

#include "agent/options.h"
#include "common/base/arena.h"

struct agent_command {
	char **argv; /* ends with NULL; in the arena */
	char **envp;
	uint64_t setup; /* hash of binary and arguments */
};

/* environ with MT_WORKLOAD_ENV and what `env` has set. Strings of the environment are borrowed. */
void agent_command_make(const struct agent_options *o, const char *bootstrap_path,
	const char *workload_env, const struct mt_strlist *env, struct mt_arena *a,
	struct agent_command *ret);
