/* Options: from default, file, environment and flags, in this order, into the caller's struct.
 *
 * Every row has a slot with its source. A source that is stronger replaces what a weaker one set,
 * lists included; inside one source a list grows and a single value is overwritten (in the file:
 * refused, it is a mistake). Strings live in one arena as long as the options. */
#include "common/run/options.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/file.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/base/vec.h"
#include "common/run/options_help.h"
#include "common/run/options_value.h"
#include "common/run/version.h"

enum { FILE_MAX = 1 << 20 };
enum strength { FROM_DEFAULT, FROM_FILE, FROM_ENV, FROM_FLAG };

struct slot {
	enum strength strength;
	const char *source; /* "default", "pilot.conf:3", "MELTEMI_PILOT_X", "--x" */
	bool set;
};

struct mt_options {
	struct mt_arena *arena;
	const struct mt_opt *rows;
	size_t n;
	char *values;
	struct slot *slots;
	char *prefix; /* "MELTEMI_PILOT_" */
	MT_VEC(const char *) rest;
};

static char *flag_of(struct mt_arena *a, const char *name)
{
	char *s = mt_arena_printf(a, "--%s", name);

	for (char *p = s; *p; p++)
		if (*p == '_')
			*p = '-';
	return s;
}

/* Names with '-' and '_' are the same. */
static bool same_name(const char *a, size_t n, const char *b)
{
	size_t i;

	for (i = 0; i < n && b[i]; i++)
		if ((a[i] == '-' ? '_' : a[i]) != b[i])
			return false;
	return i == n && !b[i];
}

static const struct mt_opt *row_find(const struct mt_options *o, const char *name, size_t n)
{
	for (size_t i = 0; i < o->n; i++)
		if (same_name(name, n, o->rows[i].name))
			return &o->rows[i];
	return NULL;
}

static int assign(struct mt_options *o, const struct mt_opt *row, const char *text,
	enum strength strength, const char *source, struct mt_err *err)
{
	struct slot *slot = &o->slots[row - o->rows];

	if (row->type == MT_OPT_LIST && strength != slot->strength)
		*(struct mt_strlist *)(void *)(o->values + row->offset) = (struct mt_strlist){ 0 };
	if (strength == FROM_FILE && slot->strength == FROM_FILE && row->type != MT_OPT_LIST)
		return mt_fail(err, MT_INVALID, source, "%s is set twice (first at %s)", row->name,
			slot->source);
	slot->strength = strength;
	slot->source = mt_arena_strdup(o->arena, source);
	/* Defaults and variables are one text; flags and lines of the file come again and again. */
	return mt_option_set(o->arena, row, o->values + row->offset, text,
		strength == FROM_DEFAULT || strength == FROM_ENV, source, err);
}

static int unknown(struct mt_options *o, const char *where, const char *what, const char *name,
	size_t n, struct mt_err *err)
{
	char *copy = mt_arena_strndup(o->arena, name, n);
	const char *near = mt_options_nearest(o->rows, o->n, copy);

	if (near)
		return mt_fail(err, MT_INVALID, where, "unknown %s; did you mean %s?", what,
			flag_of(o->arena, near) + (*where == '-' ? 0 : 2));
	return mt_fail(err, MT_INVALID, where, "unknown %s", what);
}

/* --- sources ------------------------------------------------------------------------------------ */

static int from_defaults(struct mt_options *o, struct mt_err *err)
{
	for (size_t i = 0; i < o->n; i++) {
		const struct mt_opt *row = &o->rows[i];
		int r;

		o->slots[i].source = "default";
		if (!*row->def && row->type != MT_OPT_STR)
			continue; /* zero, false, empty */
		r = mt_option_set(
			o->arena, row, o->values + row->offset, row->def, true, row->name, err);
		if (r < 0)
			return mt_err_prefix(err, "default");
	}
	return 0;
}

static char *trim(char *s)
{
	char *end;

	while (isspace((unsigned char)*s))
		s++;
	end = s + strlen(s);
	while (end > s && isspace((unsigned char)end[-1]))
		*--end = '\0';
	return s;
}

static int file_line(struct mt_options *o, char *line, const char *where, struct mt_err *err)
{
	const struct mt_opt *row;
	char *eq, *name, *value;
	size_t n;

	line = trim(line);
	if (!*line || *line == '#')
		return 0;
	eq = strchr(line, '=');
	if (!eq)
		return mt_fail(err, MT_INVALID, where, "is not of the form name = value");
	*eq = '\0';
	name = trim(line);
	value = trim(eq + 1);
	n = strlen(value);
	if (n >= 2 && value[0] == '"' && value[n - 1] == '"') {
		value[n - 1] = '\0';
		value++;
	}
	row = row_find(o, name, strlen(name));
	if (!row)
		return unknown(o, where, mt_arena_printf(o->arena, "option '%s'", name), name,
			strlen(name), err);
	return assign(o, row, value, FROM_FILE, where, err);
}

static int from_file(struct mt_options *o, const char *path, struct mt_err *err)
{
	MT_AUTO(mt_buf_clear) struct mt_buf b = { 0 };
	char *next;
	int r, number = 0;

	if ((r = mt_file_read(path, FILE_MAX, &b, err)) < 0)
		return r;
	if (memchr(mt_buf_str(&b), '\0', b.n))
		return mt_fail(err, MT_INVALID, path, "is not text");
	for (char *line = b.p; line && *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		r = file_line(o, line, mt_arena_printf(o->arena, "%s:%d", path, ++number), err);
		if (r < 0)
			return r;
	}
	return 0;
}

static char *variable_of(struct mt_options *o, const char *name)
{
	char *s = mt_arena_printf(o->arena, "%s%s", o->prefix, name);

	for (char *p = s; *p; p++)
		*p = (char)toupper((unsigned char)*p);
	return s;
}

/* A variable of ours with an unknown name is no error: Kubernetes makes some for every service. */
static int from_env(struct mt_options *o, struct mt_err *err)
{
	for (size_t i = 0; i < o->n; i++) {
		const char *name = variable_of(o, o->rows[i].name), *text = getenv(name);
		int r;

		if (text && (r = assign(o, &o->rows[i], text, FROM_ENV, name, err)) < 0)
			return r;
	}
	return 0;
}

/* A flag at argv[i]; returns how many arguments it took. */
static int one_flag(struct mt_options *o, int argc, char **argv, int i, struct mt_err *err)
{
	const char *name = argv[i] + 2, *eq = strchr(name, '='), *value = eq ? eq + 1 : NULL;
	size_t n = eq ? (size_t)(eq - name) : strlen(name);
	const char *where = mt_arena_printf(o->arena, "--%.*s", (int)n, name);
	const struct mt_opt *row = row_find(o, name, n);
	int r, took = 1;

	if (same_name(name, n, "config"))
		row = NULL; /* was read before */
	else if (!row)
		return unknown(o, where, "flag", name, n, err);
	if (!value && row && row->type == MT_OPT_BOOL)
		value = "true";
	if (!value) {
		if (i + 1 >= argc)
			return mt_fail(err, MT_INVALID, where, "needs a value");
		value = argv[i + 1];
		took = 2;
	}
	r = row ? assign(o, row, value, FROM_FLAG, where, err) : 0;
	return r < 0 ? r : took;
}

static int from_flags(struct mt_options *o, int argc, char **argv, struct mt_err *err)
{
	for (int i = 1, took; i < argc; i += took) {
		if (mt_streq(argv[i], "--")) {
			for (i++; i < argc; i++)
				mt_vec_apush(
					o->arena, &o->rest, mt_arena_strdup(o->arena, argv[i]));
			break;
		}
		if (!mt_str_prefix(argv[i], "--")) {
			if (argv[i][0] == '-' && argv[i][1])
				return mt_fail(err, MT_INVALID, argv[i], "unknown flag");
			mt_vec_apush(o->arena, &o->rest, mt_arena_strdup(o->arena, argv[i]));
			took = 1;
			continue;
		}
		took = one_flag(o, argc, argv, i, err);
		if (took < 0)
			return took;
	}
	return 0;
}

/* The flags that come before all others: --help, --version, --config. */
static bool wants(int argc, char **argv, const char *flag, const char *alias)
{
	for (int i = 1; i < argc && !mt_streq(argv[i], "--"); i++)
		if (mt_streq(argv[i], flag) || mt_streq(argv[i], alias))
			return true;
	return false;
}

static const char *config_path(struct mt_options *o, int argc, char **argv)
{
	const char *path = getenv(variable_of(o, "config"));

	for (int i = 1; i < argc && !mt_streq(argv[i], "--"); i++) {
		if (mt_str_prefix(argv[i], "--config="))
			path = argv[i] + strlen("--config=");
		else if (mt_streq(argv[i], "--config") && i + 1 < argc)
			path = argv[i + 1];
	}
	return mt_str_empty(path) ? NULL : path;
}

int mt_options_parse(const char *program, const char *usage, const struct mt_opt *rows, size_t n,
	void *values, int argc, char **argv, struct mt_options **ret, struct mt_err *err)
{
	struct mt_options *o;
	const char *path;
	int r;

	if (wants(argc, argv, "--help", "-h")) {
		mt_options_help(program, usage, rows, n, stdout);
		return mt_fail(err, MT_CANCELLED, NULL, "help was asked for");
	}
	if (wants(argc, argv, "--version", NULL)) {
		printf("%s %s\n", program, mt_version());
		return mt_fail(err, MT_CANCELLED, NULL, "the version was asked for");
	}
	o = MT_NEW(struct mt_options);
	o->arena = mt_arena_new(0);
	o->rows = rows;
	o->n = n;
	o->values = values;
	o->slots = mt_arena_alloc(o->arena, n * sizeof(*o->slots));
	o->prefix = mt_arena_printf(o->arena, "MELTEMI_%s_", program);
	for (char *p = o->prefix; *p; p++)
		*p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
	path = config_path(o, argc, argv);
	r = from_defaults(o, err);
	if (r == 0 && path)
		r = from_file(o, path, err);
	if (r == 0)
		r = from_env(o, err);
	if (r == 0)
		r = from_flags(o, argc, argv, err);
	if (r < 0) {
		mt_options_free(o);
		return r;
	}
	*ret = o;
	return 0;
}

void mt_options_free(struct mt_options *o)
{
	if (!o)
		return;
	mt_arena_free(o->arena);
	mt_free(o);
}

size_t mt_options_rest(const struct mt_options *o, const char *const **ret_v)
{
	*ret_v = o->rest.v;
	return o->rest.n;
}

bool mt_options_said(const struct mt_options *o, const char *name)
{
	for (size_t i = 0; i < o->n; i++)
		if (strcmp(o->rows[i].name, name) == 0)
			return strcmp(o->slots[i].source, "default") != 0;
	return false;
}

json_t *mt_options_json(const struct mt_options *o)
{
	json_t *all = json_array();

	for (size_t i = 0; i < o->n; i++) {
		const struct mt_opt *row = &o->rows[i];
		json_t *value = mt_option_json(row, o->values + row->offset);

		/* A command line may hold any bytes; JSON may not. */
		json_array_append_new(all,
			json_pack("{s:s, s:o, s:s, s:s}", "name", row->name, "value",
				value ? value : json_null(), "source", o->slots[i].source, "help",
				row->help));
	}
	return all;
}
