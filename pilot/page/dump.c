/* What proxies are given: config_dump and provenance of one proxy, cdsz and edsz of one or of each
 * class of proxies. */
#include <string.h>
#include <strings.h>

#include "pilot/page/page.h"

static const char *const type_keys[PUSH_TYPES] = { [PUSH_CDS] = "clusters",
	[PUSH_EDS] = "endpoints",
	[PUSH_LDS] = "listeners",
	[PUSH_RDS] = "routes" };

/* Virtual hosts that are resources of their own stand in their routes too, see work.c. */
static const char *key_of(int type)
{
	return type_keys[type] ? type_keys[type] : "virtual_hosts";
}

/* "CDS" or "clusters"; -1 all. false: it has been answered. */
static bool type_wanted(struct mt_http_req *r, int *ret)
{
	const char *text = mt_http_query(r, "type");
	struct mt_err err;

	*ret = -1;
	if (!text || !*text)
		return true;
	for (int t = 0; t < PUSH_TYPES; t++)
		if (strcasecmp(text, push_types[t].name) == 0 ||
			strncasecmp(text, key_of(t), strlen(text)) == 0) {
			*ret = t;
			return true;
		}
	mt_fail(&err, MT_INVALID, "type", "\"%s\" is not CDS, EDS, LDS, RDS or VHDS", text);
	mt_http_reply_err(r, &err);
	return false;
}

static void dump(struct pilot *p, struct mt_http_req *r, bool whole)
{
	const struct push_proxy *x = page_proxy(p, r);
	int type;

	if (!x || !type_wanted(r, &type))
		return;
	const struct mt_snapshot *snap = push_snapshot(x);
	struct page_work *w = page_work_new(p, r, page_make_parts);
	w->one = true;
	w->whole = whole;
	page_work_objects(w, p);
	if (type < 0 || type == PUSH_RDS)
		page_work_vhosts(w, x);
	for (int t = 0; snap && t < PUSH_TYPES; t++)
		if (!type_keys[t] && snap->sets[t])
			w->apart = mt_set_ref(snap->sets[t]);
	json_t *head = page_proxy_json(p, x);
	for (int t = 0; t < PUSH_TYPES; t++)
		if (type < 0 ? type_keys[t] != NULL : t == type)
			page_work_part(
				w, json_incref(head), key_of(t), snap ? snap->sets[t] : NULL);
	json_decref(head);
	page_work_run(w, p->loop);
}

void pilot_page_config_dump(void *ctx, struct mt_http_req *r)
{
	dump(ctx, r, true);
}

void pilot_page_provenance(void *ctx, struct mt_http_req *r)
{
	dump(ctx, r, false);
}

struct table_ctx {
	struct page_work *w;
	const char *member;
};

static void add_class(void *ctx, const char *key, unsigned views, struct mt_set *set)
{
	const struct table_ctx *t = ctx;

	page_work_part(
		t->w, json_pack("{s:s, s:i}", "class", key, "views", (int)views), t->member, set);
}

/* Of one proxy, or of each class. */
static void table(struct pilot *p, struct mt_http_req *r, enum push_type type, enum pilot_table t)
{
	const struct push_proxy *x;

	if (!page_proxy_if(p, r, &x))
		return;
	struct page_work *w = page_work_new(p, r, page_make_parts);
	struct table_ctx c = { w, type_keys[type] };
	w->whole = true;
	page_work_objects(w, p);
	if (x) {
		const struct mt_snapshot *snap = push_snapshot(x);
		page_work_part(w, page_proxy_json(p, x), c.member, snap ? snap->sets[type] : NULL);
	} else {
		push_each_class(p->push, t, add_class, &c);
	}
	page_work_run(w, p->loop);
}

void pilot_page_cdsz(void *ctx, struct mt_http_req *r)
{
	table(ctx, r, PUSH_CDS, PILOT_CLUSTERS);
}

void pilot_page_edsz(void *ctx, struct mt_http_req *r)
{
	table(ctx, r, PUSH_EDS, PILOT_ENDPOINTS);
}
