/* Values of options: inside of the options table. */
#pragma once

#include "common/base/arena.h"
#include "common/run/options.h"

/* Parses text into *p, a member of the row's type; strings go to the arena. A list takes text as one
 * more value, or with split as values separated by commas. where: what the error names. */
int mt_option_set(struct mt_arena *a, const struct mt_opt *row, void *p, const char *text,
	bool split, const char *where, struct mt_err *err);
json_t *mt_option_json(const struct mt_opt *row, const void *p);
