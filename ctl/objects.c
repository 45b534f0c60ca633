#include "ctl/objects.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/strs.h"
#include "common/base/vec.h"
#include "common/schema/field.h"
#include "ctl/ctl.h"
#include "ctl/http.h"
#include "galley/validate/validate.h"

enum { FILE_MAX = 16 << 20, PUT_MS = 15000 };

static const struct mt_opt rows[] = {
#define OPT(...) MT_OPT_ROW(struct object_options, __VA_ARGS__)
#include "ctl/object_options.def"
#undef OPT
};

static char *lengthen(char *arg)
{
	static const char *const shorts[][2] = { { "-f", "--file" }, { "-n", "--namespace" },
		{ "-o", "--output" } };

	for (size_t i = 0; i < MT_ARRAY_SIZE(shorts); i++)
		if (strcmp(arg, shorts[i][0]) == 0)
			return (char *)shorts[i][1];
	return arg;
}

static bool known_output(const char *s)
{
	return strcmp(s, "table") == 0 || strcmp(s, "wide") == 0 || strcmp(s, "yaml") == 0 ||
		strcmp(s, "json") == 0;
}

int ctl_object_options(const char *command, const char *usage, int argc, char **argv,
	struct object_options *v, struct mt_options **ret_o)
{
	struct mt_err err = { 0 };

	*v = (struct object_options){ 0 }; /* a list has no default */
	for (int i = 1; i < argc; i++)
		argv[i] = lengthen(argv[i]);
	int r = 0;

	/* -f followed by another flag: a name was forgotten, or a variable is empty. */
	for (int i = 1; r == 0 && i < argc; i++)
		if (strcmp(argv[i], "--file") == 0 &&
			(i + 1 == argc || strncmp(argv[i + 1], "--", 2) == 0))
			r = mt_fail(&err, MT_INVALID, "-f", "no file is named after it");
	if (r == 0)
		r = mt_options_parse(
			"ctl", usage, rows, MT_ARRAY_SIZE(rows), v, argc, argv, ret_o, &err);
	if (r == 0 && !known_output(v->output)) {
		r = mt_fail(&err, MT_INVALID, "-o", "\"%s\" is not table, wide, yaml or json",
			v->output);
		mt_options_free(*ret_o);
		*ret_o = NULL;
	}
	if (r == MT_CANCELLED)
		return 0;
	if (r < 0) {
		ctl_fail(command, &err);
		return 2;
	}
	return 0;
}

int ctl_only_files(const char *command, const struct object_options *v, const struct mt_options *o)
{
	const char *const *rest;

	if (!v->file.n) {
		fprintf(stderr,
			"meltemi %s: say which file: -f FILE, a folder, or - for standard input\n",
			command);
		return MT_INVALID;
	}
	if (mt_options_rest(o, &rest)) {
		fprintf(stderr,
			"meltemi %s: %s: not expected here; each file has a -f of its own, a "
			"folder stands for all that is in it\n",
			command, rest[0]);
		return MT_INVALID;
	}
	if (*v->namespace) {
		fprintf(stderr, "meltemi %s: -n: the namespace of an object is in its metadata\n",
			command);
		return MT_INVALID;
	}
	return 0;
}

static const char *kind_at(const void *ctx, size_t i)
{
	(void)ctx;
	return i < MT_KIND_N ? mt_kinds[i].plural : NULL;
}

int ctl_no_kind(const char *command, const char *word)
{
	const char *near = mt_nearest(word, kind_at, NULL);

	fprintf(stderr, "meltemi %s: there is no kind \"%s\"%s%s%s\n", command, word,
		near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
	return 2;
}

/* ---- files ---- */

static int read_stdin(struct mt_buf *text, struct mt_err *err)
{
	char part[65536];
	size_t n;

	while ((n = fread(part, 1, sizeof(part), stdin)) > 0) {
		mt_buf_add(text, part, n);
		if (text->n > FILE_MAX)
			return mt_fail(err, MT_LIMIT, "standard input", "is larger than %d MiB",
				FILE_MAX >> 20);
	}
	return 0;
}

static int read_one(
	const char *path, struct mt_objects *out, struct mt_diags *diags, struct mt_err *err)
{
	MT_AUTO(mt_buf_clear) struct mt_buf text = { 0 };
	bool in = strcmp(path, "-") == 0;
	int r = in ? read_stdin(&text, err) : mt_file_read(path, FILE_MAX, &text, err);

	if (r < 0)
		return r;
	mt_decode_text(in ? "standard input" : path, mt_buf_str(&text), text.n, NULL, out, diags);
	return 0;
}

static int by_name(const struct dirent *e)
{
	return mt_str_suffix(e->d_name, ".yaml") || mt_str_suffix(e->d_name, ".yml") ||
		mt_str_suffix(e->d_name, ".json");
}

static int read_path(
	const char *path, struct mt_objects *out, struct mt_diags *diags, struct mt_err *err)
{
	struct dirent **names;
	struct stat st;
	int r = 0;

	if (strcmp(path, "-") == 0 || stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return read_one(path, out, diags, err);
	int n = scandir(path, &names, by_name, alphasort);
	if (n < 0)
		return mt_fail_errno(err, path, "cannot read the folder");
	for (int i = 0; i < n; i++) {
		MT_AUTO(mt_strfreep) char *file = mt_asprintf("%s/%s", path, names[i]->d_name);
		if (r == 0)
			r = read_one(file, out, diags, err);
		free(names[i]);
	}
	free(names);
	return r;
}

int ctl_objects_read(const char *command, const struct mt_strlist *files, struct mt_objects *out)
{
	struct mt_objects all = { 0 };
	struct mt_diags diags = { 0 };
	struct mt_err err = { 0 };
	size_t kept = 0;
	int r = files->n ? 0 : mt_fail(&err, MT_INVALID, "-f", "say which file");

	for (size_t i = 0; r == 0 && i < files->n; i++)
		r = read_path(files->v[i], &all, &diags, &err);
	if (r == 0 && !all.n && !diags.n)
		r = mt_fail(&err, MT_INVALID, files->v[0], "holds no configuration object");
	for (size_t i = 0; i < all.n; i++) {
		struct mt_object *o = all.v[i];
		if (galley_validate(o, &diags) == 0)
			all.v[kept++] = o;
		else
			mt_object_unref(o);
	}
	all.n = kept;
	for (size_t i = 0; i < diags.n; i++) {
		MT_AUTO(mt_strfreep) char *line = mt_diag_format(&diags.v[i]);
		fprintf(stderr, "%s\n", line);
	}
	if (r < 0)
		ctl_fail(command, &err);
	else
		r = (int)diags.errors;
	mt_diags_clear(&diags);
	*out = all;
	return r;
}

/* ---- REST ---- */

char *ctl_object_url(const char *galley, const struct mt_kind *k, const char *ns, const char *name)
{
	MT_AUTO(mt_strfreep) char *n = name ? ctl_url_escape(name) : NULL;
	MT_AUTO(mt_strfreep) char *s = !mt_str_empty(ns) ? ctl_url_escape(ns) : NULL;

	if (name && k->scope == MT_SCOPE_CLUSTER)
		return mt_asprintf("%s/v1/objects/%s/%s", galley, k->kind, n);
	return mt_asprintf("%s/v1/objects/%s%s%s%s%s", galley, k->kind, s ? "/" : "", s ? s : "",
		n ? "/" : "", n ? n : "");
}

int ctl_object_put(const char *galley, const struct mt_object *o, struct mt_err *err)
{
	MT_AUTO(mt_strfreep) char *url = ctl_object_url(galley, o->kind, o->ns, o->name);
	MT_AUTO(mt_buf_clear) struct mt_buf answer = { 0 };
	json_t *doc = mt_object_to_json(o);
	char *text = json_dumps(doc, JSON_COMPACT);
	int r = ctl_http("PUT", url, text, strlen(text), PUT_MS, &answer, err);

	free(text);
	json_decref(doc);
	if (r < 0)
		return ctl_http_where(r, "Galley", "--galley", err);
	return r / 100 == 2
		? 0
		: ctl_http_where(ctl_http_fail(r, &answer, url, err), "Galley", "--galley", err);
}
