#include "pilot/translate/tally.h"

#include <stdarg.h>

#include "pilot/translate/job.h"

const struct pilot_tallies *pilot_job_tallies(const struct pilot_job *j)
{
	return &j->tallies;
}

enum pilot_table pilot_tally_table(enum pilot_tally_kind k)
{
	static const enum pilot_table tables[PILOT_TALLIES] = {
#define TALLY(name, table) [PILOT_TALLY_##name] = (table),
#include "pilot/translate/tallies.def"
#undef TALLY
	};
	return tables[k];
}

void pilot_tally(struct pilot_job *j, enum pilot_tally_kind k, const char *fmt, ...)
{
	struct pilot_tally t = { .kind = k };
	va_list ap;
	va_start(ap, fmt);
	t.key = mt_arena_vprintf(j->a, fmt, ap);
	va_end(ap);
	mt_vec_apush(j->a, &j->tallies, t);
}
