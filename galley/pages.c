/* Debug pages: what is in force, which files are broken and where, who is subscribed. */
#include <string.h>

#include "common/base/mem.h"
#include "galley/analyze/analyze.h"
#include "galley/galley.h"

json_t *galley_diag_json(const struct mt_diag *d)
{
	static const char *const names[] = { "error", "warning", "info" };
	char *text = mt_diag_format(d);
	json_t *j = json_pack("{s:s, s:s, s:i, s:i, s:s, s:s, s:s, s:s}", "severity",
		names[d->severity], "file", d->file ? d->file : "", "line", d->line, "column",
		d->col, "object", d->object ? d->object : "", "path", d->path, "message", d->msg,
		"text", text);

	mt_free(text);
	return j;
}

json_t *galley_diags_json(const struct mt_diags *d)
{
	json_t *list = json_array();

	for (size_t i = 0; i < d->n; i++)
		json_array_append_new(list, galley_diag_json(&d->v[i]));
	return list;
}

static json_t *source_json(const struct galley_source *s)
{
	return json_pack("{s:s, s:b, s:b, s:I, s:s}", "url", s->url, "readable", s->up,
		"read_whole", s->settled, "scans", (json_int_t)s->scans, "error",
		s->why ? s->why : "");
}

static void text_add(void *ctx, const struct galley_text *t)
{
	json_t *list = ctx;

	if (t->diags.n)
		json_array_append_new(list,
			json_pack("{s:s, s:b, s:I, s:I, s:o}", "file", t->name, "invalid",
				t->broken, "objects_in_force", (json_int_t)t->nclaims, "errors",
				(json_int_t)t->diags.errors, "diagnostics",
				galley_diags_json(&t->diags)));
}

static void kind_count(void *ctx, struct mt_object *o)
{
	json_t *counts = ctx;
	json_t *n = json_object_get(counts, o->kind->kind);

	json_object_set_new(counts, o->kind->kind, json_integer(n ? json_integer_value(n) + 1 : 1));
}

static void page_config(void *ctx, struct mt_http_req *req)
{
	struct galley *g = ctx;
	json_t *sources = json_array(), *reports = json_array(), *kinds = json_object();

	for (size_t i = 0; i < g->sources.n; i++)
		json_array_append_new(sources, source_json(g->sources.v[i]));
	galley_store_each_text(g->store, text_add, reports);
	galley_store_each(g->store, kind_count, kinds);
	mt_http_reply_json(req, 200,
		json_pack("{s:o, s:I, s:I, s:I, s:o, s:I, s:o}", "sources", sources, "files",
			(json_int_t)galley_store_texts(g->store), "invalid_files",
			(json_int_t)galley_store_broken(g->store), "objects",
			(json_int_t)galley_store_count(g->store), "kinds", kinds, "held",
			(json_int_t)galley_store_held(g->store), "reports", reports));
}

static void page_analysis(void *ctx, struct mt_http_req *req)
{
	struct galley *g = ctx;
	struct mt_diags diags = { 0 };

	galley_analyze(g->store, g->o->domain, &diags);
	mt_http_reply_json(req, 200,
		json_pack("{s:I, s:o}", "warnings", (json_int_t)(diags.n + diags.dropped),
			"diagnostics", galley_diags_json(&diags)));
	mt_diags_clear(&diags);
}

static void page_subscribers(void *ctx, struct mt_http_req *req)
{
	mt_http_reply_json(req, 200, galley_distribute_json(((struct galley *)ctx)->distribute));
}

int galley_pages_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	(void)err;
	mt_daemon_debug(
		d, "config", "sources, invalid files, objects in force by kind", page_config, self);
	mt_daemon_debug(
		d, "analysis", "references between objects that lead nowhere", page_analysis, self);
	mt_daemon_debug(d, "subscribers", "who reads configuration, and what they hold",
		page_subscribers, self);
	return 0;
}
