/* get: what is in force, from Galley; -o wide: where, from Pilot, and what Galley has not any more that
 * others still need. */
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "ctl/ctl.h"
#include "ctl/http.h"
#include "ctl/objects.h"
#include "ctl/status.h"
#include "ctl/table.h"

struct asked {
	const struct mt_kind *kind; /* NULL: any */
	const char *ns;             /* "": any */
	const char *name;           /* NULL: any */
};

static const char *meta(json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(json_object_get(o, "metadata"), key));
	return s ? s : "";
}

static void age(json_t *o, char *buf, size_t n)
{
	int64_t then, s;

	if (mt_time_parse(meta(o, "creationTimestamp"), &then) < 0) {
		snprintf(buf, n, "-");
		return;
	}
	s = (mt_wall(&mt_clock_system) - then) / MT_NS_PER_SEC;
	if (s < 120)
		snprintf(buf, n, "%llds", (long long)s);
	else if (s < 7200)
		snprintf(buf, n, "%lldm", (long long)(s / 60));
	else if (s < 172800)
		snprintf(buf, n, "%lldh", (long long)(s / 3600));
	else
		snprintf(buf, n, "%lldd", (long long)(s / 86400));
}

static void status_cells(struct ctl_table *t, json_t *e)
{
	MT_AUTO(mt_strfreep) char *why = NULL;
	MT_AUTO(mt_strfreep) char *notes = ctl_status_notes(e, "; ");
	const char *state = ctl_status_state(e, &why);
	json_t *proxies = json_object_get(e, "proxies");
	ctl_table_cell(t, state);
	ctl_table_cellf(t, "%lld/%lld",
		(long long)json_integer_value(json_object_get(proxies, "inForce")),
		(long long)json_integer_value(json_object_get(proxies, "concerned")));
	ctl_table_cellf(t, "%s%s", why, *why || !*notes ? notes : notes + strlen("; "));
}

/* Where it is in force, and why not. */
static void wide_cells(struct ctl_table *t, json_t *page, json_t *o)
{
	const char *kind = json_string_value(json_object_get(o, "kind"));
	json_t *e = ctl_status_find(page, kind, meta(o, "namespace"), meta(o, "name"));

	if (e) {
		status_cells(t, e);
		return;
	}
	ctl_table_cell(t, "");
	ctl_table_cell(t, "");
	ctl_table_cell(t, ctl_status_reads(page, kind) ? "Pilot has no such object" : "");
}

static const char *word(json_t *e, const char *key)
{
	const char *s = json_string_value(json_object_get(e, key));
	return s ? s : "";
}

/* Rows of what is deleted, and stays in force because others name it. t NULL: only counted. */
static size_t deleted_rows(struct ctl_table *t, json_t *page, const struct asked *a)
{
	json_t *e;
	size_t i, n = 0;

	json_array_foreach(json_object_get(page, "objects"), i, e)
	{
		if (!mt_str_prefix(word(e, "state"), "deleted") ||
			(a->kind && strcmp(word(e, "kind"), a->kind->kind) != 0) ||
			(*a->ns && strcmp(word(e, "namespace"), a->ns) != 0) ||
			(a->name && strcmp(word(e, "name"), a->name) != 0))
			continue;
		n++;
		if (!t)
			continue;
		ctl_table_cell(t, word(e, "namespace"));
		ctl_table_cell(t, word(e, "kind"));
		ctl_table_cell(t, word(e, "name"));
		ctl_table_cell(t, "-");
		ctl_table_cell(t, "-");
		status_cells(t, e);
	}
	return n;
}

/* page: Pilot's word on them, NULL none. */
static void print_table(json_t *items, json_t *page, const struct asked *a)
{
	struct ctl_table t;
	json_t *o;
	size_t i;
	char when[32];

	if (!json_array_size(items) && !deleted_rows(NULL, page, a)) {
		fprintf(stderr, "nothing of that kind is in force\n");
		return;
	}
	ctl_table_start(&t,
		page ? "NAMESPACE|KIND|NAME|GEN|AGE|STATE|PROXIES|WHY"
		     : "NAMESPACE|KIND|NAME|GEN|AGE");
	json_array_foreach(items, i, o)
	{
		age(o, when, sizeof(when));
		ctl_table_cell(&t, meta(o, "namespace"));
		ctl_table_cell(&t, json_string_value(json_object_get(o, "kind")));
		ctl_table_cell(&t, meta(o, "name"));
		ctl_table_cellf(&t, "%lld",
			(long long)json_integer_value(
				json_object_get(json_object_get(o, "metadata"), "generation")));
		ctl_table_cell(&t, when);
		if (page)
			wide_cells(&t, page, o);
	}
	deleted_rows(&t, page, a);
	ctl_table_print(&t);
}

static void print_yaml(json_t *o)
{
	MT_AUTO(mt_strfreep) char *text = mt_json_to_yaml(o);
	printf("%s", text);
}

static void show(json_t *doc, const char *output, json_t *page, const struct asked *a)
{
	json_t *items = json_object_get(doc, "items"), *o;
	size_t i;

	if (strcmp(output, "json") == 0) {
		json_dumpf(doc, stdout, JSON_INDENT(2));
		printf("\n");
	} else if (strcmp(output, "yaml") == 0) {
		if (!items)
			print_yaml(doc);
		json_array_foreach(items, i, o)
		{
			printf("%s", i ? "---\n" : "");
			print_yaml(o);
		}
	} else if (items) {
		print_table(items, page, a);
	} else {
		json_t *one = json_pack("[O]", doc);
		print_table(one, page, a);
		json_decref(one);
	}
}

/* Asks Galley at the URL, and Pilot too for -o wide. */
static int ask(const struct object_options *v, const char *url, const struct asked *a)
{
	struct mt_err err = { 0 }, why = { 0 };
	json_t *doc = NULL, *page = NULL;
	int r = ctl_http_where(ctl_http_json("GET", url, &doc, &err), "Galley", "--galley", &err);

	bool failed = r < 0;

	if (strcmp(v->output, "wide") == 0 && (!failed || err.code == MT_NOT_FOUND))
		r = ctl_status_get(v->pilot, NULL, "", "", &page, &why);
	if (failed && !deleted_rows(NULL, page, a)) {
		r = ctl_fail("get", &err);
	} else if (r < 0) {
		r = ctl_fail("get", &why);
	} else {
		if (failed)
			doc = json_pack("{s:[]}", "items");
		show(doc, v->output, page, a);
	}
	json_decref(page);
	json_decref(doc);
	return r;
}

static int get(const struct object_options *v, const struct mt_kind *k, const char *name)
{
	const char *ns = k->scope == MT_SCOPE_CLUSTER ? ""
		: name && !*v->namespace              ? "default"
						      : v->namespace;
	MT_AUTO(mt_strfreep) char *url = ctl_object_url(v->galley, k, ns, name);
	return ask(v, url, &(struct asked){ k, ns, name });
}

/* Every kind that has objects, one after the other. */
static int get_all(const struct object_options *v)
{
	MT_AUTO(mt_strfreep)
	char *url = mt_asprintf(
		"%s/v1/objects%s%s", v->galley, *v->namespace ? "?namespace=" : "", v->namespace);
	return ask(v, url, &(struct asked){ NULL, v->namespace, NULL });
}

int ctl_get(int argc, char **argv)
{
	struct object_options v = { 0 };
	struct mt_options *o = NULL;
	const char *const *rest;
	int r = ctl_object_options("get",
		"meltemi get [KIND [NAME]] [-n NAMESPACE] [-o wide|yaml|json]: what is in force.",
		argc, argv, &v, &o);

	if (!o)
		return r;
	size_t n = mt_options_rest(o, &rest);
	const struct mt_kind *k = n ? mt_kind_by_name(rest[0]) : NULL;
	if (n > 2) {
		fprintf(stderr, "meltemi get: say KIND, or KIND NAME\n");
		r = 2;
	} else if (n && !k && strcmp(rest[0], "all") != 0) {
		r = ctl_no_kind("get", rest[0]);
	} else if (v.file.n) {
		fprintf(stderr, "meltemi get: -f: objects are named by KIND and NAME\n");
		r = 2;
	} else {
		r = k ? get(&v, k, n > 1 ? rest[1] : NULL) : get_all(&v);
	}
	mt_options_free(o);
	return r;
}
