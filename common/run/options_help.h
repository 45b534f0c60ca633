/* The text side of options: --help, and the nearest name to a misspelt one. */
#pragma once

#include <stdio.h>

#include "common/run/options.h"

void mt_options_help(
	const char *program, const char *usage, const struct mt_opt *rows, size_t n, FILE *out);
/* The row's name that is closest to name ('-' and '_' alike), NULL when none is close. */
const char *mt_options_nearest(const struct mt_opt *rows, size_t n, const char *name);
