/* /debug/status: for each configuration object, what is in force of it, where, and why not. */
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "pilot/notes.h"
#include "pilot/page/page.h"
#include "pilot/push/reach.h"

struct ask {
	const char *kind, *ns, *name; /* NULL: any */
	struct push_reach *reach;
	struct pilot_said_list said;
	json_t *out;
};

static const char *hex(uint64_t h, char buf[17])
{
	mt_hash_hex(h, buf);
	return buf;
}

static const char *state_of(
	const struct pilot_inforce_view *v, const struct push_reached *r, size_t refused_by)
{
	if (*v->refused)
		return "refused";
	if (!v->newest)
		return "deleted, still used";
	if (!v->force || v->force->hash != v->newest->hash || v->partly)
		return "pending";
	if (refused_by)
		return "refused by some";
	return r->behind ? "on its way" : "in force";
}

static json_t *lagging_of(const struct push_reached *r)
{
	json_t *all = json_array();

	for (unsigned i = 0; i < r->nlagging; i++)
		json_array_append_new(all, json_string(r->lagging[i]->claimed->id));
	return all;
}

static void add_doubt(void *ctx, const struct push_reach_doubt *d)
{
	json_t **both = ctx;

	if (d->words)
		json_array_append_new(both[0],
			json_pack("{s:s, s:s, s:s, s:s}", "envoy", d->envoy, "type",
				push_types[d->type].name, "resource", d->resource, "words",
				d->words));
	else
		json_array_append_new(both[1],
			json_pack("{s:s, s:s, s:s}", "envoy", d->envoy, "type",
				push_types[d->type].name, "resource", d->resource));
}

static void add(void *ctx, const struct pilot_inforce_view *v)
{
	struct ask *a = ctx;
	const struct mt_object *o = v->newest ? v->newest : v->force;
	struct push_reached r;
	char newest[17], force[17];

	if ((a->kind && strcmp(a->kind, o->kind->kind) != 0) ||
		(a->ns && strcmp(a->ns, o->ns) != 0) || (a->name && strcmp(a->name, o->name) != 0))
		return;
	push_reach_of(a->reach, v->id, v->since, &r);
	json_t *doubts[] = { json_array(), json_array() };
	push_reach_doubts(a->reach, v->id, add_doubt, doubts);
	json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:s, s:s, s:s}", "kind",
		o->kind->kind, "namespace", o->ns, "name", o->name, "state",
		state_of(v, &r, json_array_size(doubts[0])), "generation",
		(json_int_t)(v->newest ? v->newest->generation : 0), "inForce",
		(json_int_t)(v->force ? v->force->generation : 0), "hash",
		v->newest ? hex(v->newest->hash, newest) : "", "inForceHash",
		v->force ? hex(v->force->hash, force) : "", "pending", v->why, "refused",
		v->refused);
	json_object_set_new(j, "proxies",
		json_pack("{s:i, s:i, s:i, s:o}", "concerned", (int)r.concerned, "inForce",
			(int)r.in_force, "behind", (int)r.behind, "lagging", lagging_of(&r)));
	json_object_set_new(j, "refusedBy", doubts[0]);
	json_object_set_new(j, "unanswered", doubts[1]);
	json_object_set_new(j, "notes", pilot_said_json(&a->said, v->id));
	json_array_append_new(a->out, j);
}

static const char *given(const char *s)
{
	return s && *s ? s : NULL;
}

static void page(void *ctx, struct mt_http_req *req)
{
	const struct pilot *p = ctx;
	const struct mt_kind *k;

	if (!page_kind_if(req, &k))
		return;
	struct ask a = { .kind = k ? k->kind : NULL,
		.ns = given(mt_http_query(req, "ns")),
		.name = given(mt_http_query(req, "name")),
		.reach = push_reach_new(p->push),
		.out = json_array() };
	pilot_said(p, NULL, &a.said);
	pilot_inforce_views(p->inforce, add, &a);
	pilot_said_clear(&a.said);
	push_reach_free(a.reach);
	json_t *kinds = json_array();
	size_t n;
	const enum mt_kind_id *read = pilot_config_kinds(&n);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(kinds, json_string(mt_kinds[read[i]].kind));
	mt_http_reply_json(req, 200,
		json_pack("{s:I, s:o, s:o}", "pending",
			(json_int_t)pilot_inforce_pending(p->inforce), "objects", a.out, "kinds",
			kinds));
}

int pilot_status_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	(void)err;
	pilot_notes_start(d, self);
	mt_daemon_debug(d, "status",
		"[?kind=KIND&ns=NAMESPACE&name=NAME] objects: what is in force of each, on how many "
		"proxies, what it waits for, what of it has no effect",
		page, self);
	return 0;
}
