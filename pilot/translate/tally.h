/* Tallies: what plans of a job came upon, by name. Pure; they lie in the job's arena. */
#pragma once

#include "pilot/translate/translate.h"

enum pilot_tally_kind {
#define TALLY(name, table) PILOT_TALLY_##name,
#include "pilot/translate/tallies.def"
#undef TALLY
	PILOT_TALLIES
};
struct pilot_tally {
	enum pilot_tally_kind kind;
	const char *key;
};
struct pilot_tallies {
	struct pilot_tally *v;
	size_t n, cap;
};
const struct pilot_tallies *pilot_job_tallies(const struct pilot_job *j);
enum pilot_table pilot_tally_table(enum pilot_tally_kind k);
void pilot_tally(struct pilot_job *j, enum pilot_tally_kind k, const char *fmt, ...)
	MT_PRINTF(3, 4);
