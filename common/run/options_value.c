/* One option's value: from text, by the type of its row, and back as JSON. */
#include "common/run/options_value.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/duration.h"
#include "common/base/strs.h"

enum { LIST_MAX = 1000 };

static int parse_bool(const char *text, bool *ret)
{
	static const char *const yes[] = { "true", "on", "yes", "1" };
	static const char *const no[] = { "false", "off", "no", "0" };

	for (size_t i = 0; i < MT_ARRAY_SIZE(yes); i++) {
		if (mt_streq(text, yes[i])) {
			*ret = true;
			return 0;
		}
		if (mt_streq(text, no[i])) {
			*ret = false;
			return 0;
		}
	}
	return MT_INVALID;
}

static int parse_int(const char *text, const char **ret_end, int64_t *ret)
{
	char *end;
	long long v;

	if (!isdigit((unsigned char)text[text[0] == '-']))
		return MT_INVALID;
	errno = 0;
	v = strtoll(text, &end, 10);
	if (errno)
		return MT_INVALID;
	*ret_end = end;
	*ret = v;
	return 0;
}

/* "64", "64K", "64M", "64Gi": powers of 1024. */
static int parse_size(const char *text, int64_t *ret)
{
	static const char units[] = "KMGT";
	const char *end, *unit;
	int64_t v;

	if (parse_int(text, &end, &v) < 0 || v < 0)
		return MT_INVALID;
	if (*end) {
		unit = strchr(units, toupper((unsigned char)*end));
		if (!unit)
			return MT_INVALID;
		for (const char *u = units; u <= unit; u++)
			if (__builtin_mul_overflow(v, 1024, &v))
				return MT_INVALID;
		end++;
		if (*end == 'i')
			end++;
		if (*end == 'B')
			end++;
	}
	if (*end)
		return MT_INVALID;
	*ret = v;
	return 0;
}

/* "1..64": false when the row states no range. */
static bool range_of(const struct mt_opt *row, int64_t *lo, int64_t *hi)
{
	const char *end;

	return parse_int(row->arg, &end, lo) == 0 && mt_str_prefix(end, "..") &&
		parse_int(end + 2, &end, hi) == 0 && !*end;
}

static int set_int(const struct mt_opt *row, const char *text, int64_t *ret, const char *where,
	struct mt_err *err)
{
	int64_t v, lo, hi;
	const char *end;

	if (parse_int(text, &end, &v) < 0 || *end)
		return mt_fail(err, MT_INVALID, where, "'%s' is not an integer", text);
	if (range_of(row, &lo, &hi) && (v < lo || v > hi))
		return mt_fail(err, MT_INVALID, where, "%s is not in %s", text, row->arg);
	*ret = v;
	return 0;
}

static int list_add(struct mt_arena *a, struct mt_strlist *l, const char *text, const char *where,
	struct mt_err *err)
{
	const char **v;

	if (l->n >= LIST_MAX)
		return mt_fail(err, MT_LIMIT, where, "more than %d values", LIST_MAX);
	v = mt_arena_alloc(a, (l->n + 1) * sizeof(*v));
	if (l->n)
		memcpy(v, l->v, l->n * sizeof(*v));
	v[l->n] = mt_arena_strdup(a, text);
	l->v = v;
	l->n++;
	return 0;
}

/* Defaults and variables are one text: values separated by commas. */
static int list_split(struct mt_arena *a, struct mt_strlist *l, const char *text, const char *where,
	struct mt_err *err)
{
	char *copy = mt_arena_strdup(a, text), *save = NULL;
	int r = 0;

	for (char *p = strtok_r(copy, ",", &save); p && r == 0; p = strtok_r(NULL, ",", &save))
		r = list_add(a, l, p, where, err);
	return r;
}

int mt_option_set(struct mt_arena *a, const struct mt_opt *row, void *p, const char *text,
	bool split, const char *where, struct mt_err *err)
{
	switch (row->type) {
	case MT_OPT_STR: *(const char **)p = mt_arena_strdup(a, text); return 0;
	case MT_OPT_BOOL:
		if (parse_bool(text, p) < 0)
			return mt_fail(err, MT_INVALID, where, "'%s' is not true or false", text);
		return 0;
	case MT_OPT_INT: return set_int(row, text, p, where, err);
	case MT_OPT_DURATION:
		if (mt_duration_parse(text, p) < 0)
			return mt_fail(err, MT_INVALID, where,
				"'%s' is not a duration such as 500ms, 10s or 1h30m", text);
		if (*(int64_t *)p < 0)
			return mt_fail(err, MT_INVALID, where, "'%s' is negative", text);
		return 0;
	case MT_OPT_SIZE:
		if (parse_size(text, p) < 0)
			return mt_fail(err, MT_INVALID, where,
				"'%s' is not a size such as 4096, 64K or 1G", text);
		return 0;
	case MT_OPT_LIST:
		if (split)
			return list_split(a, p, text, where, err);
		return list_add(a, p, text, where, err);
	}
	return mt_fail(err, MT_INTERNAL, where, "option of unknown type");
}

json_t *mt_option_json(const struct mt_opt *row, const void *p)
{
	const struct mt_strlist *l = p;
	char text[32];
	json_t *a;

	switch (row->type) {
	case MT_OPT_STR: return json_string(*(const char *const *)p);
	case MT_OPT_BOOL: return json_boolean(*(const bool *)p);
	case MT_OPT_INT:
	case MT_OPT_SIZE: return json_integer(*(const int64_t *)p);
	case MT_OPT_DURATION:
		mt_duration_format(*(const int64_t *)p, text, sizeof(text));
		return json_string(text);
	case MT_OPT_LIST: break;
	}
	a = json_array();
	for (size_t i = 0; i < l->n; i++)
		json_array_append_new(a, json_string(l->v[i]));
	return a;
}
