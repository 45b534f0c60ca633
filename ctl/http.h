/* One HTTP request to a daemon of ours. Blocking; for commands. */
#pragma once

#include <jansson.h>

#include "common/base/buf.h"
#include "common/base/err.h"

/* Sends body (NULL: none) and appends the answer to out. Returns the HTTP status, or MT_UNAVAILABLE with
 * the URL and the reason. At most 64 MiB of answer, ms milliseconds in all. */
int ctl_http(const char *method, const char *url, const void *body, size_t n, long ms,
	struct mt_buf *out, struct mt_err *err);
/* GET or another method without a body, answered with JSON. An answer other than 200 becomes an error
 * with the words of its {"error": ...}. */
int ctl_http_json(const char *method, const char *url, json_t **ret, struct mt_err *err);
/* The error that an answer of that status with that body means. Returns its code. */
int ctl_http_fail(int status, const struct mt_buf *body, const char *url, struct mt_err *err);
/* Says who should have answered, and the option that names its address, where err comes from nobody or
 * somebody else at that address. Returns r, which came with err. */
int ctl_http_where(int r, const char *daemon, const char *option, struct mt_err *err);
/* "a b" -> "a%20b", heap. */
char *ctl_url_escape(const char *s);
