/* What is in force: configz, authenticationz, push_status. */
#include <string.h>

#include "common/base/vec.h"
#include "common/schema/decode.h"
#include "pilot/page/page.h"
#include "pilot/translate/tls_view.h"

/* ---- configz ---- */

static void add_object(void *ctx, struct mt_object *o)
{
	struct page_work *w = ctx;
	struct {
		struct mt_object **v;
		size_t n, cap;
	} list = { w->objs, w->nobjs, w->objs_cap };

	mt_vec_apush(w->arena, &list, mt_object_ref(o));
	w->objs = list.v;
	w->nobjs = list.n;
	w->objs_cap = list.cap;
}

static json_t *make_config(struct page_work *w)
{
	json_t *all = json_array();

	for (size_t i = 0; i < w->nobjs; i++)
		json_array_append_new(all, mt_object_to_json(w->objs[i]));
	return all;
}

void pilot_page_configz(void *ctx, struct mt_http_req *r)
{
	struct pilot *p = ctx;
	const struct mt_kind *kind;

	if (!page_kind_if(r, &kind))
		return;
	struct page_work *w = page_work_new(p, r, make_config);
	for (int k = 0; p->feed && k < MT_KIND_N; k++)
		if (!kind || kind->id == (enum mt_kind_id)k)
			mt_feed_each(p->feed, (enum mt_kind_id)k, add_object, w);
	page_work_run(w, p->loop);
}

/* ---- authenticationz ---- */

static json_t *make_authentication(struct page_work *w)
{
	json_t *all = json_array();
	struct pilot_tls_view *v;

	if (!w->world || !w->nproxies)
		return all;
	struct pilot_job *j = pilot_job_new(w->world, w->proxies[0], w->arena);
	size_t n = pilot_tls_views(j, &v);
	for (size_t i = 0; i < n; i++) {
		if (w->host && strcmp(w->host, v[i].host) != 0)
			continue;
		json_array_append_new(all,
			json_pack("{s:s, s:i, s:s, s:s, s:s, s:o, s:o}", "host", v[i].host, "port",
				(int)v[i].port, "server", v[i].server, "client", v[i].client,
				"status", v[i].conflict ? "CONFLICT" : "OK", "policy",
				page_objects_json(w, &v[i].policy_id, 1), "destinationRule",
				page_objects_json(w, v[i].rule_ids, v[i].nrule_ids)));
	}
	return all;
}

void pilot_page_authenticationz(void *ctx, struct mt_http_req *r)
{
	struct pilot *p = ctx;
	const struct push_proxy *x = page_proxy(p, r);

	if (!x)
		return;
	struct page_work *w = page_work_new(p, r, make_authentication);
	page_work_objects(w, p);
	page_work_proxy(w, x);
	if (push_current(p->push))
		w->world = pilot_world_ref(push_current(p->push));
	page_work_run(w, p->loop);
}
