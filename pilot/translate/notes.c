/* Everything that translation has to say about the objects, for one proxy: all of it is planned and
 * built for its notes alone. A page asks for it; a push never does. */
#include <string.h>

#include "common/base/vec.h"
#include "pilot/filter/patch.h"
#include "pilot/translate/job.h"

static bool equal(const struct pilot_note *a, const struct pilot_note *b)
{
	return a->id == b->id && a->kind == b->kind && strcmp(a->path, b->path) == 0 &&
		strcmp(a->text, b->text) == 0;
}

void pilot_job_all_notes(struct pilot_job *j, struct pilot_notes *ret)
{
	struct pilot_notes out = { 0 };
	for (int t = 0; t < PILOT_TABLES; t++) {
		struct pilot_plan p;
		struct pilot_built b;
		pilot_plan(j, (enum pilot_table)t, &p);
		for (size_t i = 0; i < p.n; i++)
			pilot_build(j, &p.v[i], &b);
	}
	pilot_patch_notes(j);
	for (size_t i = 0; i < j->notes.n; i++) {
		size_t k = j->notes.v[i].kind == PILOT_NOTE_APPLIED ? out.n + 1 : 0;
		while (k < out.n && !equal(&out.v[k], &j->notes.v[i]))
			k++;
		if (k == out.n)
			mt_vec_apush(j->a, &out, j->notes.v[i]);
	}
	*ret = out;
}
