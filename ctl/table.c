#include "ctl/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/strs.h"

enum { COLUMNS_MAX = 16 };

void ctl_table_start(struct ctl_table *t, const char *titles)
{
	size_t n;

	*t = (struct ctl_table){ 0 };
	for (const char *p = titles; *p && t->columns < COLUMNS_MAX; p += n + (p[n] == '|')) {
		n = strcspn(p, "|");
		ctl_table_cellf(t, "%.*s", (int)n, p);
		t->columns++;
	}
}

void ctl_table_cell(struct ctl_table *t, const char *text)
{
	mt_vec_push(&t->cells, mt_strdup(mt_str_empty(text) ? "-" : text));
}

void ctl_table_cellf(struct ctl_table *t, const char *fmt, ...)
{
	MT_AUTO(mt_buf_clear) struct mt_buf b = { 0 };
	va_list ap;

	va_start(ap, fmt);
	mt_buf_vprintf(&b, fmt, ap);
	va_end(ap);
	ctl_table_cell(t, mt_buf_str(&b));
}

static int width(const struct ctl_table *t, size_t column)
{
	size_t w = 0;

	for (size_t i = column; i < t->cells.n; i += t->columns)
		w = MT_MAX(w, strlen(t->cells.v[i]));
	return (int)w;
}

void ctl_table_print(struct ctl_table *t)
{
	int widths[COLUMNS_MAX];

	for (size_t c = 0; c < t->columns; c++)
		widths[c] = width(t, c);
	for (size_t i = 0, c = 0; i < t->cells.n; i++, c = c + 1 == t->columns ? 0 : c + 1) {
		bool last = c + 1 == t->columns;
		printf("%-*s%s", last ? 0 : widths[c], t->cells.v[i], last ? "\n" : "  ");
		mt_free(t->cells.v[i]);
	}
	mt_vec_clear(&t->cells);
}
