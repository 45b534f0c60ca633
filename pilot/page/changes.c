/* What has no effect and why (push_status), and what causes work (changes). */
#include "pilot/notes.h"
#include "pilot/page/page.h"

static void add_conflict(void *ctx, const char *metric, const char *key)
{
	json_t *list = json_object_get(ctx, metric);

	if (!list) {
		list = json_array();
		json_object_set_new(ctx, metric, list);
	}
	json_array_append_new(list, json_string(key));
}

void pilot_page_push_status(void *ctx, struct mt_http_req *r)
{
	const struct pilot *p = ctx;
	json_t *conflicts = json_object();
	struct pilot_said_list l;

	push_each_conflict(p->push, add_conflict, conflicts);
	pilot_said(p, NULL, &l);
	mt_http_reply_json(r, 200,
		json_pack(
			"{s:o, s:o}", "notes", pilot_said_all_json(p, &l), "conflicts", conflicts));
	pilot_said_clear(&l);
}

static json_t *when(int64_t wall_ns)
{
	char text[40];

	mt_time_format(wall_ns, text, sizeof(text));
	return json_string(text);
}

void pilot_page_changes(void *ctx, struct mt_http_req *r)
{
	const struct pilot *p = ctx;
	struct pilot_change_source top[50];
	struct pilot_recomputation last[PILOT_CHANGES_LAST];
	json_t *objects = json_array(), *computed = json_array();
	size_t n = pilot_changes_top(p->changes, top, MT_ARRAY_SIZE(top));

	for (size_t i = 0; i < n; i++)
		json_array_append_new(objects,
			json_pack("{s:s, s:I, s:I, s:o}", "object", top[i].title, "changes",
				(json_int_t)top[i].count, "error", (json_int_t)top[i].error, "last",
				when(top[i].last_ns)));
	n = pilot_changes_last(p->changes, last, MT_ARRAY_SIZE(last));
	for (size_t i = 0; i < n; i++)
		json_array_append_new(computed,
			json_pack("{s:s, s:o, s:f}", "reason", last[i].reason, "at",
				when(last[i].at_ns), "seconds",
				(double)last[i].took_ns / MT_NS_PER_SEC));
	mt_http_reply_json(
		r, 200, json_pack("{s:o, s:o}", "objects", objects, "recomputations", computed));
}
