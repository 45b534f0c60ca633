/* Answers that are made beside the loop; see page.h.
 *
 * A work holds its own references and copies of everything else that it reads, so it may outlive
 * what it was made from. When the daemon has stopped meanwhile, the request is gone (the server
 * answered it with 503): the gate, which all works share, says so. */
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/base/vec.h"
#include "common/schema/pb.h"
#include "pilot/page/page.h"

struct page_gate {
	struct mt_ref ref;
	bool closed; /* loop thread */
};

static void gate_unref(struct page_gate *g)
{
	if (g && mt_ref_put(&g->ref))
		mt_free(g);
}

struct page_gate *page_gate_new(void)
{
	struct page_gate *g = MT_NEW(struct page_gate);
	mt_ref_init(&g->ref);
	return g;
}

void page_gate_close(struct page_gate *g)
{
	if (g)
		g->closed = true;
	gate_unref(g);
}

static const char *query(struct mt_arena *a, struct mt_http_req *r, const char *name)
{
	const char *v = mt_http_query(r, name);
	return v && *v ? mt_arena_strdup(a, v) : NULL;
}

struct page_work *page_work_new(
	struct pilot *p, struct mt_http_req *r, json_t *(*make)(struct page_work *w))
{
	struct mt_arena *a = mt_arena_new(0);
	struct page_work *w = MT_ANEW(a, struct page_work);

	w->arena = a;
	w->make = make;
	w->req = r;
	w->gate = p->gate;
	mt_ref_get(&w->gate->ref);
	w->name = query(a, r, "name");
	w->host = query(a, r, "host");
	return w;
}

static void work_free(struct page_work *w)
{
	for (size_t i = 0; i < w->nparts; i++) {
		json_decref(w->parts[i].head);
		mt_set_unref(w->parts[i].set);
	}
	for (size_t i = 0; i < w->nobjs; i++)
		mt_object_unref(w->objs[i]);
	for (size_t i = 0; i < w->nproxies; i++)
		pilot_proxy_unref(w->proxies[i]);
	pilot_world_unref(w->world);
	mt_set_unref(w->apart);
	mt_free(w->text);
	gate_unref(w->gate);
	mt_arena_free(w->arena);
}

/* ---- what the loop hands over ---- */

static const char *source_of(struct mt_arena *a, const struct mt_object *o)
{
	if (!o || !o->pos.file)
		return NULL;
	return mt_arena_printf(a, "%s:%d", o->pos.file, o->pos.line);
}

void page_work_objects(struct page_work *w, struct pilot *p)
{
	struct mt_arena *a = w->arena;

	w->nobjects = pilot_ids_count(p->ids);
	w->objects = MT_ANEWN(a, struct page_object, w->nobjects + 1);
	for (size_t i = 0; i < w->nobjects; i++) {
		enum mt_kind_id kind;
		const char *key = pilot_ids_key(p->ids, (uint32_t)i + 1, &kind);
		const char *slash = strchr(key, '/');
		struct page_object *o = &w->objects[i];
		o->kind = mt_kinds[kind].kind;
		o->ns = slash ? mt_arena_strndup(a, key, (size_t)(slash - key)) : "";
		o->name = mt_arena_strdup(a, slash ? slash + 1 : key);
		o->source = source_of(a, p->feed ? mt_feed_find(p->feed, kind, key) : NULL);
	}
}

void page_work_part(struct page_work *w, json_t *head, const char *member, struct mt_set *set)
{
	struct {
		struct page_part *v;
		size_t n, cap;
	} list = { w->parts, w->nparts, w->parts_cap };
	struct page_part part = { head, member, set ? mt_set_ref(set) : NULL };

	mt_vec_apush(w->arena, &list, part);
	w->parts = list.v;
	w->nparts = list.n;
	w->parts_cap = list.cap;
}

void page_work_proxy(struct page_work *w, const struct push_proxy *x)
{
	struct {
		struct pilot_proxy **v;
		size_t n, cap;
	} list = { w->proxies, w->nproxies, w->proxies_cap };

	mt_vec_apush(w->arena, &list, pilot_proxy_ref(x->proxy));
	w->proxies = list.v;
	w->nproxies = list.n;
	w->proxies_cap = list.cap;
}

static void add_vhost(
	void *ctx, const char *route, const char *name, const uint32_t *prov, size_t n)
{
	struct page_work *w = ctx;
	struct {
		struct page_vhost *v;
		size_t n, cap;
	} list = { w->vhosts, w->nvhosts, w->vhosts_cap };
	struct page_vhost v = { mt_arena_strdup(w->arena, route), mt_arena_strdup(w->arena, name),
		n ? mt_arena_memdup(w->arena, prov, n * sizeof(*prov)) : NULL, n };

	mt_vec_apush(w->arena, &list, v);
	w->vhosts = list.v;
	w->nvhosts = list.n;
	w->vhosts_cap = list.cap;
}

void page_work_vhosts(struct page_work *w, const struct push_proxy *x)
{
	push_each_vhost(x, add_vhost, w);
}

/* ---- the worker ---- */

json_t *page_objects_json(const struct page_work *w, const uint32_t *ids, size_t n)
{
	json_t *all = json_array();

	for (size_t i = 0; i < n; i++) {
		if (!ids[i] || ids[i] > w->nobjects)
			continue;
		const struct page_object *o = &w->objects[ids[i] - 1];
		json_t *j = json_pack("{s:s}", "kind", o->kind);
		if (*o->ns)
			json_object_set_new(j, "namespace", json_string(o->ns));
		json_object_set_new(j, "name", json_string(o->name));
		if (o->source)
			json_object_set_new(j, "source", json_string(o->source));
		json_array_append_new(all, j);
	}
	return all;
}

/* Names of virtual hosts -> the objects behind each. */
static json_t *vhosts_json(const struct page_work *w, const char *route)
{
	json_t *all = NULL;

	for (size_t i = 0; i < w->nvhosts; i++) {
		const struct page_vhost *v = &w->vhosts[i];
		if (strcmp(v->route, route) != 0)
			continue;
		if (!all)
			all = json_array();
		json_array_append_new(all,
			json_pack("{s:s, s:o}", "name", v->name, "objects",
				page_objects_json(w, v->prov, v->nprov)));
	}
	return all;
}

/* A table whose virtual hosts are resources of their own is shown as the whole that Envoy makes of
 * it. */
static void join_apart(const struct page_work *w, const char *route, struct mt_arena *a, json_t *j)
{
	json_t *hosts = json_array(), *bodies = json_array();
	size_t n = strlen(route);

	for (size_t i = 0; i < mt_set_size(w->apart); i++) {
		const struct mt_res *res = mt_set_at(w->apart, i);
		if (strncmp(res->name, route, n) != 0 || res->name[n] != '/')
			continue;
		json_array_append_new(hosts,
			json_pack("{s:s, s:o}", "name", res->name + n + 1, "objects",
				page_objects_json(w, res->prov, res->nprov)));
		ProtobufCMessage *m = w->whole ? mt_res_unpack(res, a) : NULL;
		if (m)
			json_array_append_new(bodies, mt_pb_to_json(m));
	}
	if (json_array_size(hosts))
		json_object_set(j, "virtualHosts", hosts);
	if (json_array_size(bodies))
		json_object_set(json_object_get(j, "resource"), "virtualHosts", bodies);
	json_decref(hosts);
	json_decref(bodies);
}

static json_t *resource_json(
	const struct page_work *w, const char *member, const struct mt_res *res)
{
	MT_AUTO(mt_arena_freep) struct mt_arena *a = mt_arena_new(0);
	char version[17];

	mt_hash_hex(res->hash, version);
	json_t *j = json_pack("{s:s, s:s, s:I, s:o}", "name", res->name, "version", version,
		"bytes", (json_int_t)res->bytes, "objects",
		page_objects_json(w, res->prov, res->nprov));
	json_t *vhosts = vhosts_json(w, res->name);
	if (!vhosts && strcmp(member, "routes") == 0)
		vhosts = json_array(); /* an inbound one, of which the objects above are all */
	if (vhosts)
		json_object_set_new(j, "virtualHosts", vhosts);
	if (w->whole) {
		ProtobufCMessage *m = mt_res_unpack(res, a);
		if (m)
			json_object_set_new(j, "resource", mt_pb_to_json(m));
	}
	if (w->apart && strcmp(member, "routes") == 0)
		join_apart(w, res->name, a, j);
	return j;
}

static json_t *set_json(const struct page_work *w, const char *member, const struct mt_set *set)
{
	json_t *all = json_array();

	for (size_t i = 0; i < mt_set_size(set); i++) {
		const struct mt_res *res = mt_set_at(set, i);
		if (!w->name || strcmp(res->name, w->name) == 0)
			json_array_append_new(all, resource_json(w, member, res));
	}
	return all;
}

json_t *page_make_parts(struct page_work *w)
{
	json_t *all = w->one ? NULL : json_array();

	for (size_t i = 0; i < w->nparts; i++) {
		struct page_part *part = &w->parts[i];
		json_t *head = MT_TAKE(part->head);
		if (w->one && all) {
			json_decref(head);
			head = all;
		}
		json_object_set_new(head, part->member, set_json(w, part->member, part->set));
		if (w->one)
			all = head;
		else
			json_array_append_new(all, head);
	}
	return all;
}

static void run(void *arg)
{
	struct page_work *w = arg;
	json_t *j = w->make(w);

	w->text = json_dumps(j, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_ENCODE_ANY);
	json_decref(j);
}

static void done(void *arg)
{
	struct page_work *w = arg;
	const char *text = w->text ? w->text : "null";

	if (!w->gate->closed)
		mt_http_reply(w->req, 200, "application/json", text, strlen(text));
	work_free(w);
}

void page_work_run(struct page_work *w, struct mt_loop *l)
{
	mt_loop_work(l, run, done, w);
}
