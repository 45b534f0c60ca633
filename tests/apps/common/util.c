/* Flags, time and last words of the sample applications; see app.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/apps/common/app.h"

void app_die(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

static void usage(FILE *f, const char *about, const struct app_flag *flags, size_t n)
{
	fprintf(f, "%s: %s\n", program_invocation_short_name, about);
	for (size_t i = 0; i < n; i++) {
		const char *def = flags[i].value && *flags[i].value ? *flags[i].value : "";

		fprintf(f, "  --%-16s %s%s%s%s\n", flags[i].name, flags[i].help,
			*def ? " (default " : "", def, *def ? ")" : "");
	}
}

static void flag_set(const struct app_flag *f, const char *value)
{
	if (!f->many) {
		*f->value = value;
		return;
	}
	if (*f->many_n == APP_MAX_LISTEN)
		app_die("--%s: at most %d of them", f->name, APP_MAX_LISTEN);
	(*f->many)[(*f->many_n)++] = value;
}

void app_flags(int argc, char **argv, const char *about, const struct app_flag *flags, size_t n)
{
	for (int i = 1; i < argc; i++) {
		const char *arg = argv[i];
		const struct app_flag *hit = NULL;
		size_t len = strcspn(arg, "=");

		if (!strcmp(arg, "--help")) {
			usage(stdout, about, flags, n);
			exit(0);
		}
		for (size_t k = 0; k < n && !strncmp(arg, "--", 2); k++)
			if (strlen(flags[k].name) == len - 2 &&
				!strncmp(flags[k].name, arg + 2, len - 2))
				hit = &flags[k];
		if (!hit || (arg[len] != '=' && i + 1 == argc)) {
			usage(stderr, about, flags, n);
			app_die("%s: %s", arg, hit ? "needs a value" : "no such flag");
		}
		flag_set(hit, arg[len] == '=' ? arg + len + 1 : argv[++i]);
	}
}

int64_t app_duration_ms(const char *text)
{
	char *end;
	double v = strtod(text, &end);

	if (end == text || v < 0 || v > 86400000)
		return -1;
	if (!*end || !strcmp(end, "ms"))
		return (int64_t)v;
	if (!strcmp(end, "s"))
		return (int64_t)(v * 1000);
	return -1;
}

int64_t app_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000LL + ts.tv_nsec / 1000;
}

void app_sleep_ms(int64_t ms)
{
	int64_t until = app_now_us() + ms * 1000;

	while (!app_stopping()) {
		int64_t left = until - app_now_us();

		if (left <= 0)
			return;
		if (left > 50000)
			left = 50000;
		nanosleep(&(struct timespec){ .tv_nsec = left * 1000 }, NULL);
	}
}
