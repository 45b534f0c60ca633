#include "common/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void set_path(struct mt_err *err, int code, const char *path)
{
	err->code = code;
	snprintf(err->path, sizeof(err->path), "%s", path ? path : "");
}

int mt_fail(struct mt_err *err, int code, const char *path, const char *fmt, ...)
{
	char msg[sizeof(err->msg)];
	va_list ap;

	if (!err)
		return code;
	/* Formatted aside: an argument may point into err itself. */
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	if (path != err->path)
		set_path(err, code, path);
	err->code = code;
	memcpy(err->msg, msg, sizeof(msg));
	return code;
}

int mt_fail_errno(struct mt_err *err, const char *path, const char *fmt, ...)
{
	int number = errno, code = number == ENOENT ? MT_NOT_FOUND : MT_IO;
	char why[128];
	va_list ap;
	int n;

	if (!err)
		return code;
	va_start(ap, fmt);
	n = vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
	set_path(err, code, path);
	if (n >= 0 && (size_t)n < sizeof(err->msg))
		snprintf(err->msg + n, sizeof(err->msg) - (size_t)n, ": %s",
			strerror_r(number, why, sizeof(why)));
	errno = number;
	return code;
}

int mt_err_prefix(struct mt_err *err, const char *fmt, ...)
{
	char msg[2 * sizeof(err->msg)];
	va_list ap;
	int n;

	if (!err)
		return MT_INTERNAL;
	va_start(ap, fmt);
	n = vsnprintf(msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
	n = n < 0 ? 0 : MT_MIN(n, (int)sizeof(err->msg) - 1);
	snprintf(msg + n, sizeof(msg) - (size_t)n, ": %s", err->msg);
	msg[sizeof(err->msg) - 1] = '\0';
	memcpy(err->msg, msg, sizeof(err->msg));
	return err->code;
}

/* Codes count down from zero, as the rows do. */
static const struct row {
	int code;
	const char *name;
	int grpc, http;
} rows[] = {
#define CODE(code, name, grpc, http) { code, name, grpc, http },
#include "common/base/errors.def"
#undef CODE
};

static const struct row *row_of(int code)
{
	for (size_t i = 0; i < MT_ARRAY_SIZE(rows); i++)
		if (rows[i].code == code)
			return &rows[i];
	return row_of(MT_INTERNAL);
}

const char *mt_code_name(int code)
{
	return row_of(code)->name;
}

int mt_code_grpc(int code)
{
	return row_of(code)->grpc;
}

int mt_code_http(int code)
{
	return row_of(code)->http;
}

int mt_code_from_grpc(int grpc_status)
{
	switch (grpc_status) {
	case 2:                      /* UNKNOWN */
	case 13:                     /* INTERNAL */
	case 15: return MT_INTERNAL; /* DATA_LOSS */
	case 9: return MT_CONFLICT;  /* FAILED_PRECONDITION */
	case 11: return MT_INVALID;  /* OUT_OF_RANGE */
	default: break;
	}
	for (size_t i = 0; i < MT_ARRAY_SIZE(rows); i++)
		if (rows[i].grpc == grpc_status)
			return rows[i].code;
	return MT_INTERNAL;
}
