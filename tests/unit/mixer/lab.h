/* What the tests of Mixer share: programs from YAML, bags from names and values. */
#pragma once

#include <string.h>

#include "common/base/mem.h"
#include "common/schema/decode.h"
#include "mixer/adapter/prometheus/collectors.h"
#include "mixer/attr/facts.h"
#include "mixer/rule/compile.h"
#include "tests/unit/unit.h"

struct lab {
	struct mt_test_clock clock;
	struct mixer_collectors *collectors;
	struct mixer_adapter_env env;
	struct mixer_compiler *compiler;
	struct mixer_program *program; /* of the last lab_config() */
	struct mt_objects objects;
	struct mt_arena *a; /* scratch */
};

static inline void lab_start(struct lab *l)
{
	*l = (struct lab){ .collectors = mixer_collectors_new(), .a = mt_arena_new(0) };
	mt_test_clock_init(&l->clock, 1000 * MT_NS_PER_SEC, 1600000000 * MT_NS_PER_SEC);
	l->env =
		(struct mixer_adapter_env){ .clock = &l->clock.clock, .collectors = l->collectors };
	l->compiler = mixer_compiler_new(
		&(struct mixer_compiler_opts){ .env = &l->env, .root_namespace = "istio-system" });
}

static inline void lab_stop(struct lab *l)
{
	mixer_program_unref(l->program);
	mixer_compiler_free(l->compiler);
	mixer_collectors_free(l->collectors);
	mt_objects_clear(&l->objects);
	mt_arena_free(l->a);
}

/* All of the configuration. Decoding must succeed; returns how many faults compiling found. */
MT_UNUSED static size_t lab_config(struct lab *l, const char *yaml)
{
	struct mt_diags diags = { 0 };

	mt_objects_clear(&l->objects);
	if (mt_decode_text("test.yaml", yaml, strlen(yaml), NULL, &l->objects, &diags) < 0)
		ck_abort_msg("%s: %s", diags.v[0].path, diags.v[0].msg);
	mt_diags_clear(&diags);
	mixer_program_unref(l->program);
	l->program = mixer_compiler_run(l->compiler, l->objects.v, l->objects.n);
	return mixer_compiler_diags(l->compiler)->n;
}

/* "name", "value", ..., NULL. */
MT_UNUSED static struct mixer_facts lab_facts(struct lab *l, const char *const *pairs)
{
	struct mixer_facts f;

	mixer_facts_init(&f, l->program->words->vocab, l->a);
	for (; pairs[0]; pairs += 2)
		ck_assert_msg(mixer_facts_add(&f, pairs[0], pairs[1]), "%s", pairs[0]);
	mixer_facts_finish(&f);
	return f;
}

#define LAB_CHECK(l, out, err, ...)                                                                \
	({                                                                                         \
		struct mixer_facts f_ =                                                            \
			lab_facts((l), (const char *const[]){ __VA_ARGS__, NULL });                \
		mixer_program_check((l)->program, &f_.bag, (l)->a, (out), (err));                  \
	})

/* Reports n times the same. */
#define LAB_REPORT(l, times, ...)                                                                  \
	do {                                                                                       \
		struct mixer_facts f_ =                                                            \
			lab_facts((l), (const char *const[]){ __VA_ARGS__, NULL });                \
		struct mixer_batch *b_ = mixer_batch_new((l)->program, (l)->a);                    \
		for (int i_ = 0; i_ < (times); i_++)                                               \
			mixer_batch_add(b_, &f_.bag);                                              \
		mixer_batch_send(b_);                                                              \
	} while (0)

/* First fault's text, "" without. */
MT_UNUSED static const char *lab_fault(struct lab *l)
{
	const struct mt_diags *d = mixer_compiler_diags(l->compiler);
	char *text = d->n ? mt_diag_format(&d->v[0]) : NULL;
	const char *copy = text ? mt_arena_strdup(l->a, text) : "";

	mt_free(text);
	return copy;
}
