/* validate, apply and delete: what is in files, checked here first, then handed to Galley. */
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/strs.h"
#include "ctl/ctl.h"
#include "ctl/http.h"
#include "ctl/objects.h"

int ctl_validate(int argc, char **argv)
{
	struct object_options v = { 0 };
	struct mt_options *o = NULL;
	struct mt_objects objs = { 0 };
	int r = ctl_object_options("validate",
		"meltemi validate -f FILE: check configuration without applying it. Every fault is "
		"printed with file, line, column and field.",
		argc, argv, &v, &o);

	if (!o)
		return r;
	if (ctl_only_files("validate", &v, o) < 0) {
		mt_options_free(o);
		return 2;
	}
	r = ctl_objects_read("validate", &v.file, &objs);
	if (r == 0)
		printf("%zu object%s valid\n", objs.n, objs.n == 1 ? "" : "s");
	mt_objects_clear(&objs);
	mt_options_free(o);
	return r ? 1 : 0;
}

static int put_all(const char *galley, const struct mt_objects *objs)
{
	char title[600];
	int failed = 0;

	for (size_t i = 0; i < objs->n; i++) {
		struct mt_err err = { 0 };
		mt_object_title(objs->v[i], title, sizeof(title));
		if (ctl_object_put(galley, objs->v[i], &err) == 0) {
			printf("%s applied\n", title);
			continue;
		}
		/* Galley's refusals name the object themselves. */
		if (strstr(err.msg, title))
			ctl_fail("apply", &err);
		else
			fprintf(stderr, "meltemi apply: %s: %s%s%s\n", title, err.path,
				err.path[0] ? ": " : "", err.msg);
		failed = 1;
		if (err.code == MT_UNAVAILABLE)
			break;
	}
	return failed;
}

/* All or nothing as far as can be known here: a file with a fault changes nothing. */
int ctl_apply(int argc, char **argv)
{
	struct object_options v = { 0 };
	struct mt_options *o = NULL;
	struct mt_objects objs = { 0 };
	int r = ctl_object_options("apply",
		"meltemi apply -f FILE: bring configuration into force.", argc, argv, &v, &o);

	if (!o)
		return r;
	if (ctl_only_files("apply", &v, o) < 0) {
		mt_options_free(o);
		return 2;
	}
	r = ctl_objects_read("apply", &v.file, &objs);
	if (r > 0)
		fprintf(stderr, "meltemi apply: nothing was applied\n");
	else if (r == 0)
		r = put_all(v.galley, &objs);
	mt_objects_clear(&objs);
	mt_options_free(o);
	return r ? 1 : 0;
}

static int delete_one(const char *galley, const struct mt_kind *k, const char *ns, const char *name)
{
	MT_AUTO(mt_strfreep) char *url = ctl_object_url(galley, k, ns, name);
	struct mt_err err = { 0 };
	json_t *answer = NULL;

	if (ctl_http_where(
		    ctl_http_json("DELETE", url, &answer, &err), "Galley", "--galley", &err) < 0)
		return ctl_fail("delete", &err);
	json_decref(answer);
	printf("%s %s%s%s deleted\n", k->kind, ns, *ns ? "/" : "", name);
	return 0;
}

static int delete_named(const struct object_options *v, const char *const *rest, size_t n)
{
	const struct mt_kind *k = n ? mt_kind_by_name(rest[0]) : NULL;
	int failed = 0;

	if (n < 2) {
		fprintf(stderr, "meltemi delete: say -f FILE, or KIND NAME\n");
		return 2;
	}
	if (!k)
		return ctl_no_kind("delete", rest[0]);
	const char *ns = k->scope == MT_SCOPE_CLUSTER ? ""
		: *v->namespace                       ? v->namespace
						      : "default";
	for (size_t i = 1; i < n; i++)
		failed |= delete_one(v->galley, k, ns, rest[i]);
	return failed;
}

static int delete_files(const struct object_options *v)
{
	struct mt_objects objs = { 0 };
	int r = ctl_objects_read("delete", &v->file, &objs);
	int failed = r != 0;

	/* In reverse: what refers to something usually stands after it. */
	for (size_t i = objs.n; i-- > 0;)
		failed |= delete_one(v->galley, objs.v[i]->kind, objs.v[i]->ns, objs.v[i]->name);
	mt_objects_clear(&objs);
	return failed;
}

int ctl_delete(int argc, char **argv)
{
	struct object_options v = { 0 };
	struct mt_options *o = NULL;
	const char *const *rest;
	int r = ctl_object_options("delete",
		"meltemi delete -f FILE | KIND NAME...: take configuration out of force.", argc,
		argv, &v, &o);

	if (!o)
		return r;
	size_t n = mt_options_rest(o, &rest);
	if (v.file.n)
		r = ctl_only_files("delete", &v, o) < 0 ? 2 : delete_files(&v);
	else
		r = delete_named(&v, rest, n);
	mt_options_free(o);
	return r;
}
