/* Structured logging. Libraries return errors and do not log; daemons log once.
 *
 *   static struct mt_log_scope scope = MT_LOG_SCOPE("ads");
 *   mt_log_info(&scope, "proxy connected", MT_S("proxy", id), MT_I("streams", n));
 *
 * A scope registers itself at its first use; its level follows the default until set by name, and
 * changes at run time (mt_log_set_level, the debug page and SIGHUP do). Output is one line, text or
 * JSON, to stderr, written with one write(2). Never log secrets. Threads: any. */
#pragma once

#include <stdatomic.h>

#include "common/base/macros.h"

enum mt_level { MT_LOG_NONE, MT_LOG_ERROR, MT_LOG_WARN, MT_LOG_INFO, MT_LOG_DEBUG };

struct mt_log_scope {
	const char *name;
	atomic_int level; /* -1: not registered yet */
	struct mt_log_scope *next;
};
#define MT_LOG_SCOPE(n)                                                                            \
	{                                                                                          \
		.name = (n), .level = -1                                                           \
	}

struct mt_field {
	const char *key;
	enum { MT_FIELD_END, MT_FIELD_STR, MT_FIELD_INT, MT_FIELD_DBL } type;
	union {
		const char *s;
		long long i;
		double d;
	};
};
#define MT_S(k, val) ((struct mt_field){ .key = (k), .type = MT_FIELD_STR, .s = (val) })
#define MT_I(k, val) ((struct mt_field){ .key = (k), .type = MT_FIELD_INT, .i = (long long)(val) })
#define MT_D(k, val) ((struct mt_field){ .key = (k), .type = MT_FIELD_DBL, .d = (val) })

void mt_log_write(struct mt_log_scope *s, enum mt_level level, const char *msg,
	const struct mt_field *fields, size_t n);
bool mt_log_on(struct mt_log_scope *s, enum mt_level level);

#define mt_log_at(scope, lvl, msg, ...)                                                            \
	do {                                                                                       \
		if (mt_log_on((scope), (lvl))) {                                                   \
			const struct mt_field mt_f_[] = { { 0 }, ##__VA_ARGS__ };                  \
			mt_log_write((scope), (lvl), (msg), mt_f_ + 1, MT_ARRAY_SIZE(mt_f_) - 1);  \
		}                                                                                  \
	} while (0)
#define mt_log_error(scope, ...) mt_log_at(scope, MT_LOG_ERROR, __VA_ARGS__)
#define mt_log_warn(scope, ...) mt_log_at(scope, MT_LOG_WARN, __VA_ARGS__)
#define mt_log_info(scope, ...) mt_log_at(scope, MT_LOG_INFO, __VA_ARGS__)
#define mt_log_debug(scope, ...) mt_log_at(scope, MT_LOG_DEBUG, __VA_ARGS__)

/* spec: "info" or "default:info,ads:debug". Returns MT_INVALID naming the bad part. */
struct mt_err;
int mt_log_configure(const char *spec, bool json, struct mt_err *err);
/* "default" for all that have no level of their own by name. MT_NOT_FOUND: no such scope (yet). */
int mt_log_set_level(const char *scope, enum mt_level level);
int mt_log_level_parse(const char *text, enum mt_level *ret_level);
/* Calls f for every registered scope: the debug page. */
void mt_log_each(void (*f)(void *ctx, const char *scope, enum mt_level level), void *ctx);
/* Redirects the lines (tests). NULL goes back to stderr. The sink is called under the log's lock: it
 * must not log. */
void mt_log_set_sink(void (*sink)(void *ctx, const char *line, size_t n), void *ctx);
