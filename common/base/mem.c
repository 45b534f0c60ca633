#include "common/base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* No allocation and no stdio here: there is no memory left for either. */
static void __attribute__((noreturn)) out_of_memory(void)
{
	static const char msg[] = "meltemi: out of memory\n";
	ssize_t r = write(STDERR_FILENO, msg, sizeof(msg) - 1);

	(void)r;
	abort();
}

void *mt_alloc(size_t size)
{
	void *p = calloc(1, size ? size : 1);

	if (!p)
		out_of_memory();
	return p;
}

void *mt_realloc(void *p, size_t size)
{
	void *q = realloc(p, size ? size : 1);

	if (!q)
		out_of_memory();
	return q;
}

void *mt_reallocarray(void *p, size_t n, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(n, size, &total))
		out_of_memory();
	return mt_realloc(p, total);
}

char *mt_strdup(const char *s)
{
	return s ? mt_memdup(s, strlen(s) + 1) : NULL;
}

char *mt_strndup(const char *s, size_t n)
{
	size_t len;
	char *p;

	if (!s)
		return NULL;
	len = strnlen(s, n);
	p = mt_realloc(NULL, len + 1);
	memcpy(p, s, len);
	p[len] = '\0';
	return p;
}

void *mt_memdup(const void *p, size_t n)
{
	void *q = mt_realloc(NULL, n);

	if (n)
		memcpy(q, p, n);
	return q;
}

char *mt_asprintf(const char *fmt, ...)
{
	va_list ap;
	char *s;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	if (n < 0)
		out_of_memory();
	return s;
}

void mt_free(void *p)
{
	free(p);
}
