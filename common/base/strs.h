/* String helpers that C lacks. */
#pragma once
#include "common/base/macros.h"

static inline bool mt_streq(const char *a, const char *b); /* NULL equals only NULL */
bool mt_str_prefix(const char *s, const char *prefix);
bool mt_str_suffix(const char *s, const char *suffix);
static inline bool mt_str_empty(const char *s)
{
	return !s || !*s;
}
/* Valid UTF-8 without embedded NUL in the first n bytes. */
bool mt_utf8_valid(const void *p, size_t n);
int mt_strcmpp(const void *a, const void *b); /* qsort over const char * */

#include <string.h>
static inline bool mt_streq(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}
