/* /debug/notes: what translation has to say of the configuration for one proxy, such as a patch whose
 * filter is not there or a provider that is missing. What is wrong for every proxy is at push_status;
 * this is found only by translating everything for the proxy, which is done when it is asked. */
#include "common/base/arena.h"
#include "pilot/page/page.h"
#include "pilot/translate/translate.h"

static json_t *notes_json(const struct pilot *p, const struct pilot_notes *notes)
{
	json_t *all = json_array();

	for (size_t i = 0; i < notes->n; i++) {
		const struct pilot_note *n = &notes->v[i];
		json_array_append_new(all,
			json_pack("{s:s, s:s, s:s, s:s}", "object", pilot_ids_title(p->ids, n->id),
				"kind", pilot_note_kind_name(n->kind), "path", n->path, "note",
				n->text));
	}
	return all;
}

static void page(void *ctx, struct mt_http_req *r)
{
	const struct pilot *p = ctx;
	const struct pilot_world *w = push_current(p->push);
	const struct push_proxy *x = page_proxy(p, r);

	if (!x)
		return;
	if (!w) {
		struct mt_err err;
		mt_fail(&err, MT_UNAVAILABLE, NULL, "there is no configuration yet");
		mt_http_reply_err(r, &err);
		return;
	}
	MT_AUTO(mt_arena_freep) struct mt_arena *a = mt_arena_new(0);
	struct pilot_notes notes;
	pilot_job_all_notes(pilot_job_new(w, x->proxy, a), &notes);
	mt_http_reply_json(r, 200, json_pack("{s:o}", "notes", notes_json(p, &notes)));
}

void pilot_notes_start(struct mt_daemon *d, struct pilot *p)
{
	mt_daemon_debug(
		d, "notes", "?proxyID=ID: what has no effect for a proxy, and why", page, p);
}
