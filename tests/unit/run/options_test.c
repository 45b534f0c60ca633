#include "common/run/options.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/mem.h"
#include "common/run/options_help.h"
#include "tests/unit/unit.h"

struct opts {
	const char *state_dir;
	bool verbose;
	int64_t workers;
	int64_t timeout;
	int64_t cache;
	struct mt_strlist source;
};
/* clang-format off */
static const struct mt_opt rows[] = {
	MT_OPT_ROW(struct opts, STR, state_dir, "/var/x", "DIR", "where")
	MT_OPT_ROW(struct opts, BOOL, verbose, "", "", "say more")
	MT_OPT_ROW(struct opts, INT, workers, "2", "1..64", "threads")
	MT_OPT_ROW(struct opts, DURATION, timeout, "5s", "DURATION", "how long")
	MT_OPT_ROW(struct opts, SIZE, cache, "64M", "SIZE", "how much")
	MT_OPT_ROW(struct opts, LIST, source, "", "URL", "from where")
};
/* clang-format on */

static struct opts o;
static struct mt_options *options;
static struct mt_err err;
static char file[] = "/tmp/meltemi-options-XXXXXX";

/* Words are separated by blanks. */
static int parse(const char *line)
{
	char copy[512], *argv[32] = { (char *)"test" }, *save = NULL;
	int argc = 1;

	snprintf(copy, sizeof(copy), "%s", line);
	for (char *p = strtok_r(copy, " ", &save); p; p = strtok_r(NULL, " ", &save))
		argv[argc++] = p;
	mt_options_free(options);
	options = NULL;
	memset(&o, 0, sizeof(o));
	memset(&err, 0, sizeof(err));
	return mt_options_parse(
		"a-test", "usage", rows, MT_ARRAY_SIZE(rows), &o, argc, argv, &options, &err);
}

static int parse_file(const char *text, const char *flags)
{
	char line[256];

	ck_assert_int_eq(mt_file_replace(file, text, strlen(text), 0600, NULL), 0);
	snprintf(line, sizeof(line), "--config %s %s", file, flags);
	return parse(line);
}

static void refused(const char *line, const char *where, const char *why)
{
	ck_assert_msg(parse(line) == MT_INVALID, "%s", line);
	ck_assert_msg(strcmp(err.path, where) == 0, "%s: %s", line, err.path);
	ck_assert_msg(strstr(err.msg, why) != NULL, "%s: %s", line, err.msg);
}

static const char *source_of(const char *name)
{
	static char found[256];
	json_t *all = mt_options_json(options), *one;
	size_t i;

	found[0] = '\0';
	json_array_foreach(all, i, one)
	{
		if (strcmp(json_string_value(json_object_get(one, "name")), name) == 0)
			snprintf(found, sizeof(found), "%s",
				json_string_value(json_object_get(one, "source")));
	}
	json_decref(all);
	return found;
}

START_TEST(defaults)
{
	ck_assert_int_eq(parse(""), 0);
	ck_assert_str_eq(o.state_dir, "/var/x");
	ck_assert(!o.verbose && o.workers == 2 && o.timeout == 5000000000 && o.cache == 64 << 20);
	ck_assert_uint_eq(o.source.n, 0);
	ck_assert_str_eq(source_of("workers"), "default");
}
END_TEST

START_TEST(flags)
{
	const char *const *rest;

	ck_assert_int_eq(parse("--state-dir /s --verbose --workers=64 a --timeout 1m30s "
			       "--cache=1Gi --source dir:a --source=dir:b,c -- --not-a-flag"),
		0);
	ck_assert_str_eq(o.state_dir, "/s");
	ck_assert(o.verbose && o.workers == 64 && o.timeout == 90000000000 && o.cache == 1 << 30);
	ck_assert_uint_eq(o.source.n, 2);
	ck_assert_str_eq(o.source.v[1], "dir:b,c"); /* a comma is part of it */
	ck_assert_uint_eq(mt_options_rest(options, &rest), 2);
	ck_assert_str_eq(rest[0], "a");
	ck_assert_str_eq(rest[1], "--not-a-flag");
	ck_assert_str_eq(source_of("workers"), "--workers");
	ck_assert_int_eq(parse("--verbose=off --state-dir="), 0);
	ck_assert(!o.verbose);
	ck_assert_str_eq(o.state_dir, "");
	ck_assert_int_eq(parse("--workers 3 --workers 4"), 0);
	ck_assert(o.workers == 4);
}
END_TEST

START_TEST(faults_are_named)
{
	refused("--worker 3", "--worker", "unknown flag; did you mean --workers?");
	refused("--zzzzzzzz", "--zzzzzzzz", "unknown flag");
	refused("-v", "-v", "unknown flag");
	refused("--workers", "--workers", "needs a value");
	refused("--workers 65", "--workers", "65 is not in 1..64");
	refused("--workers 0", "--workers", "not in");
	refused("--workers 3x", "--workers", "not an integer");
	refused("--workers 99999999999999999999", "--workers", "not an integer");
	refused("--timeout 5", "--timeout", "not a duration");
	refused("--timeout -5s", "--timeout", "negative");
	refused("--cache 5X", "--cache", "not a size");
	refused("--cache -5", "--cache", "not a size");
	refused("--cache 9999999999G", "--cache", "not a size");
	refused("--verbose=maybe", "--verbose", "true or false");
	ck_assert_ptr_null(options);
}
END_TEST

START_TEST(variables)
{
	setenv("MELTEMI_A_TEST_WORKERS", "7", 1);
	setenv("MELTEMI_A_TEST_SOURCE", "dir:x,dir:y", 1);
	setenv("MELTEMI_A_TEST_SERVICE_HOST", "kubernetes makes such", 1);
	ck_assert_int_eq(parse(""), 0);
	ck_assert(o.workers == 7);
	ck_assert_uint_eq(o.source.n, 2);
	ck_assert_str_eq(source_of("workers"), "MELTEMI_A_TEST_WORKERS");
	/* A flag replaces the whole list. */
	ck_assert_int_eq(parse("--workers 9 --source dir:z"), 0);
	ck_assert(o.workers == 9);
	ck_assert_uint_eq(o.source.n, 1);
	ck_assert_str_eq(o.source.v[0], "dir:z");
	setenv("MELTEMI_A_TEST_WORKERS", "many", 1);
	refused("", "MELTEMI_A_TEST_WORKERS", "not an integer");
	unsetenv("MELTEMI_A_TEST_WORKERS");
	unsetenv("MELTEMI_A_TEST_SOURCE");
	unsetenv("MELTEMI_A_TEST_SERVICE_HOST");
}
END_TEST

START_TEST(config_file)
{
	char where[64];

	ck_assert_int_eq(parse_file("# a comment\n\n workers = 5 \nstate-dir=\"/a b\"\r\n"
				    "source = dir:1\nsource = dir:2\nverbose = yes",
				 "--workers 6"),
		0);
	ck_assert(o.workers == 6 && o.verbose);
	ck_assert_str_eq(o.state_dir, "/a b");
	ck_assert_uint_eq(o.source.n, 2);
	snprintf(where, sizeof(where), "%s:4", file);
	ck_assert_str_eq(source_of("state_dir"), where);
	ck_assert_str_eq(source_of("workers"), "--workers");
	setenv("MELTEMI_A_TEST_CONFIG", file, 1);
	ck_assert_int_eq(parse(""), 0);
	ck_assert(o.workers == 5);
	unsetenv("MELTEMI_A_TEST_CONFIG");
}
END_TEST

START_TEST(config_file_faults)
{
	char where[64];

	snprintf(where, sizeof(where), "%s:2", file);
	ck_assert_int_eq(parse_file("\nworkrs = 5\n", ""), MT_INVALID);
	ck_assert_str_eq(err.path, where);
	ck_assert_ptr_nonnull(strstr(err.msg, "did you mean workers?"));
	ck_assert_int_eq(parse_file("\nworkers\n", ""), MT_INVALID);
	ck_assert_str_eq(err.path, where);
	ck_assert_int_eq(parse_file("workers = 1\nworkers = 2\n", ""), MT_INVALID);
	ck_assert_str_eq(err.path, where);
	ck_assert_ptr_nonnull(strstr(err.msg, "twice"));
	ck_assert_int_eq(parse_file("\nworkers = 99", ""), MT_INVALID);
	ck_assert_str_eq(err.path, where);
	ck_assert_int_eq(parse("--config /no/such/file"), MT_NOT_FOUND);
}
END_TEST

START_TEST(help_has_every_row)
{
	char text[4096] = "";
	FILE *out = fmemopen(text, sizeof(text) - 1, "w");

	mt_options_help("a-test", "usage line", rows, MT_ARRAY_SIZE(rows), out);
	fclose(out);
	ck_assert_ptr_nonnull(strstr(text, "usage line\n"));
	ck_assert_ptr_nonnull(strstr(text, "--state-dir DIR"));
	ck_assert_ptr_nonnull(strstr(text, "(default /var/x)"));
	ck_assert_ptr_nonnull(strstr(text, "--workers 1..64"));
	ck_assert_ptr_nonnull(strstr(text, "(repeatable)"));
	ck_assert_ptr_nonnull(strstr(text, "MELTEMI_A_TEST_NAME"));
}
END_TEST

START_TEST(nearest)
{
	const size_t n = MT_ARRAY_SIZE(rows);

	ck_assert_str_eq(mt_options_nearest(rows, n, "state-dri"), "state_dir");
	ck_assert_str_eq(mt_options_nearest(rows, n, "sources"), "source");
	ck_assert_ptr_null(mt_options_nearest(rows, n, "completely-different"));
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { defaults, flags, faults_are_named, variables, config_file,
		config_file_faults, help_has_every_row, nearest };
	int r, fd = mkstemp(file);

	if (fd < 0)
		return 1;
	close(fd);
	r = mt_unit_run("options", tests, MT_ARRAY_SIZE(tests));
	mt_options_free(options);
	unlink(file);
	return r;
}
