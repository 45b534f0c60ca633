#include "agent/envoy_command.h"

#include <string.h>
#include <unistd.h>

#include "common/base/hash.h"
#include "common/base/strs.h"
#include "common/base/vec.h"
#include "common/base/workload.h"

typedef MT_VEC(char *) strings;

static void add(struct mt_arena *a, strings *v, const char *s)
{
	char *copy = s ? mt_arena_strdup(a, s) : NULL;

	mt_vec_apush(a, v, copy);
}

static bool is_set(const struct mt_strlist *env, const char *entry)
{
	size_t n = strcspn(entry, "=") + 1;

	for (size_t i = 0; i < env->n; i++)
		if (strncmp(env->v[i], entry, n) == 0)
			return true;
	return false;
}

static char **environment(
	const char *workload_env, const struct mt_strlist *env, struct mt_arena *a)
{
	strings v = { 0 };

	for (char **e = environ; *e; e++) {
		if (!mt_str_prefix(*e, MT_WORKLOAD_ENV "=") && !is_set(env, *e))
			mt_vec_apush(a, &v, *e);
	}
	for (size_t i = 0; i < env->n; i++)
		add(a, &v, env->v[i]);
	add(a, &v, mt_arena_printf(a, MT_WORKLOAD_ENV "=%s", workload_env));
	add(a, &v, NULL);
	return v.v;
}

void agent_command_make(const struct agent_options *o, const char *bootstrap_path,
	const char *workload_env, const struct mt_strlist *env, struct mt_arena *a,
	struct agent_command *ret)
{
	/* Listeners close when the drain ends; Envoy counts in whole seconds. */
	long drain_s =
		(long)((MT_MAX(o->drain, o->drain_duration) + MT_NS_PER_SEC - 1) / MT_NS_PER_SEC);
	strings v = { 0 };
	uint64_t h = mt_hash_str(workload_env);

	add(a, &v, o->envoy);
	add(a, &v, "-c");
	add(a, &v, bootstrap_path);
	add(a, &v, "--disable-hot-restart");
	add(a, &v, "--reject-unknown-dynamic-fields");
	add(a, &v, "--drain-strategy");
	add(a, &v, "immediate");
	add(a, &v, "--drain-time-s");
	add(a, &v, mt_arena_printf(a, "%ld", MT_MAX(drain_s, 1L)));
	add(a, &v, "--log-level");
	add(a, &v, o->envoy_log_level);
	if (o->concurrency) {
		add(a, &v, "--concurrency");
		add(a, &v, mt_arena_printf(a, "%lld", (long long)o->concurrency));
	}
	for (size_t i = 0; i < o->envoy_arg.n; i++)
		add(a, &v, o->envoy_arg.v[i]);
	for (size_t i = 0; i < v.n; i++)
		h = mt_hash_mix(h, mt_hash_str(v.v[i]));
	for (size_t i = 0; i < env->n; i++)
		h = mt_hash_mix(h, mt_hash_str(env->v[i]));
	add(a, &v, NULL);
	ret->argv = v.v;
	ret->envp = environment(workload_env, env, a);
	ret->setup = h;
}
