/* Text in columns that are as wide as what stands in them. For commands; one thread. */
#pragma once

#include "common/base/vec.h"

struct ctl_table {
	size_t columns;
	MT_VEC(char *) cells; /* owned, row by row */
};

/* The titles, separated by '|', set how many columns there are (16 at most). */
void ctl_table_start(struct ctl_table *t, const char *titles);
/* The next cell, left to right; copied. NULL or "": "-". */
void ctl_table_cell(struct ctl_table *t, const char *text);
void ctl_table_cellf(struct ctl_table *t, const char *fmt, ...) MT_PRINTF(2, 3);
/* Prints to stdout and clears. */
void ctl_table_print(struct ctl_table *t);
