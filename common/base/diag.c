#include "common/base/diag.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/buf.h"
#include "common/base/mem.h"

int mt_diag_add(struct mt_diags *d, enum mt_severity sev, const struct mt_pos *pos,
	const char *object, const char *path, const char *fmt, ...)
{
	struct mt_buf msg = { 0 };
	struct mt_diag *one;
	va_list ap;

	if (sev == MT_SEV_ERROR)
		d->errors++;
	if (d->n == MT_DIAGS_MAX) {
		d->dropped++;
		return MT_INVALID;
	}
	if (d->n == d->cap) {
		d->cap = d->cap ? d->cap * 2 : 8;
		d->v = mt_reallocarray(d->v, d->cap, sizeof(*d->v));
	}
	va_start(ap, fmt);
	mt_buf_vprintf(&msg, fmt, ap);
	va_end(ap);
	one = &d->v[d->n++];
	*one = (struct mt_diag){ .severity = sev,
		.file = mt_strdup(pos ? pos->file : NULL),
		.line = pos ? pos->line : 0,
		.col = pos ? pos->col : 0,
		.object = mt_strdup(object),
		.path = mt_strdup(path ? path : ""),
		.msg = mt_buf_take(&msg, NULL) };
	return MT_INVALID;
}

void mt_diags_clear(struct mt_diags *d)
{
	for (size_t i = 0; i < d->n; i++) {
		mt_free(d->v[i].file);
		mt_free(d->v[i].object);
		mt_free(d->v[i].path);
		mt_free(d->v[i].msg);
	}
	mt_free(d->v);
	*d = (struct mt_diags){ 0 };
}

char *mt_diag_format(const struct mt_diag *d)
{
	static const char *const names[] = { "error", "warning", "info" };
	struct mt_buf b = { 0 };

	if (d->file) {
		mt_buf_printf(&b, "%s:", d->file);
		if (d->line)
			mt_buf_printf(&b, "%d:", d->line);
		if (d->line && d->col)
			mt_buf_printf(&b, "%d:", d->col);
		mt_buf_addc(&b, ' ');
	} else if (d->line) {
		mt_buf_printf(&b, "line %d: ", d->line);
	}
	mt_buf_printf(&b, "%s: ", names[d->severity]);
	if (d->object && *d->object)
		mt_buf_printf(&b, "%s: ", d->object);
	if (*d->path)
		mt_buf_printf(&b, "%s: ", d->path);
	mt_buf_adds(&b, d->msg);
	return mt_buf_take(&b, NULL);
}
