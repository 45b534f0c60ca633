#include "common/run/options_help.h"

#include <ctype.h>
#include <string.h>

enum { NAME_MAX_LEN = 64, COLUMN = 34 };

/* Edit distance of two names; anything too long is simply far. */
static size_t distance(const char *a, const char *b)
{
	size_t row[NAME_MAX_LEN + 1], n = strlen(a), k = strlen(b), diagonal, above;

	if (n > NAME_MAX_LEN || k > NAME_MAX_LEN)
		return SIZE_MAX;
	for (size_t j = 0; j <= k; j++)
		row[j] = j;
	for (size_t i = 1; i <= n; i++) {
		diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= k; j++) {
			char x = a[i - 1] == '-' ? '_' : a[i - 1];

			above = row[j];
			row[j] = MT_MIN(MT_MIN(above, row[j - 1]) + 1, diagonal + (x != b[j - 1]));
			diagonal = above;
		}
	}
	return row[k];
}

const char *mt_options_nearest(const struct mt_opt *rows, size_t n, const char *name)
{
	size_t best = SIZE_MAX, max = MT_MAX(strlen(name) / 3, (size_t)2);
	const char *near = NULL;

	for (size_t i = 0; i < n; i++) {
		size_t d = distance(name, rows[i].name);

		if (d < best) {
			best = d;
			near = rows[i].name;
		}
	}
	return best <= max ? near : NULL;
}

static void help_line(const struct mt_opt *row, FILE *out)
{
	char flag[160];
	int n = snprintf(
		flag, sizeof(flag), "  --%s%s%s", row->name, *row->arg ? " " : "", row->arg);

	for (char *p = flag + 4; *p && *p != ' '; p++)
		if (*p == '_')
			*p = '-';
	if (n < COLUMN)
		fprintf(out, "%-*s%s", COLUMN, flag, row->help);
	else
		fprintf(out, "%s\n%*s%s", flag, COLUMN, "", row->help);
	if (*row->def)
		fprintf(out, " (default %s)", row->def);
	if (row->type == MT_OPT_LIST)
		fputs(" (repeatable)", out);
	fputc('\n', out);
}

void mt_options_help(
	const char *program, const char *usage, const struct mt_opt *rows, size_t n, FILE *out)
{
	fprintf(out, "%s\n\nOptions:\n", usage);
	for (size_t i = 0; i < n; i++)
		help_line(&rows[i], out);
	fprintf(out, "%-*s%s\n", COLUMN, "  --config FILE", "lines of the form name = value");
	fprintf(out, "%-*s%s\n", COLUMN, "  --version", "print the version");
	fprintf(out, "%-*s%s\n", COLUMN, "  --help", "print this");
	fputs("\nEach option is also a variable (", out);
	fputs("MELTEMI_", out);
	for (const char *p = program; *p; p++)
		fputc(*p == '-' ? '_' : toupper((unsigned char)*p), out);
	fputs("_NAME) and a line of the file;\nflags beat variables, variables beat the file.\n",
		out);
}
