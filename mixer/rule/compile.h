/* From configuration objects to programs. Remembers the last good version of each object: a fault in
 * one leaves the others working, and what was in force of it stays in force until it is right again
 * or gone. Handlers whose parameters did not change keep their state. Loop thread. */
#pragma once

#include <jansson.h>

#include "common/run/metrics.h"
#include "mixer/rule/program.h"

struct mixer_compiler;

struct mixer_compiler_opts {
	const struct mixer_adapter_env *env; /* outlives the compiler and its programs */
	struct mt_metrics *metrics;          /* NULL: nothing is counted */
	const char *root_namespace;          /* "istio-system": its rules apply to all */
};

struct mixer_compiler *mixer_compiler_new(const struct mixer_compiler_opts *o);
void mixer_compiler_free(struct mixer_compiler *c); /* NULL allowed */

/* objects: all there are, in any order; kinds that are not Mixer's are ignored. Returns a new
 * reference, never NULL. What is wrong is in mixer_compiler_diags() until the next run. */
struct mixer_program *mixer_compiler_run(
	struct mixer_compiler *c, struct mt_object *const *objects, size_t n);
const struct mt_diags *mixer_compiler_diags(const struct mixer_compiler *c);
/* {"handlers": [...], "instances": [...], "errors": [...]} for the debug page. */
json_t *mixer_compiler_json(const struct mixer_compiler *c);
/* Is a handler of this full name in force? */
bool mixer_compiler_has(const struct mixer_compiler *c, const char *handler);
/* The kinds to ask for; returns how many were written, at most max. */
size_t mixer_compiler_kinds(enum mt_kind_id *ret, size_t max);
