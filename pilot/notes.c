#include "pilot/notes.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/vec.h"
#include "pilot/page/page.h"

enum { ALIKE_MAX = 10 };

static int said_cmp(const void *pa, const void *pb)
{
	const struct pilot_note *a = ((const struct pilot_said *)pa)->note,
				*b = ((const struct pilot_said *)pb)->note;
	int r = a->id != b->id ? (a->id < b->id ? -1 : 1) : (int)a->kind - (int)b->kind;
	if (!r)
		r = strcmp(a->path, b->path);
	return r ? r : strcmp(a->text, b->text);
}

static void add_translated(
	void *ctx, const struct pilot_note *n, unsigned classes, unsigned proxies)
{
	struct pilot_said_list *l = ctx;
	const struct pilot_note *copy = mt_arena_memdup(l->a, n, sizeof(*n));
	const struct pilot_said s = { .note = copy, .classes = classes, .proxies = proxies };
	mt_vec_push(l, s);
}

static void add_left_out(const struct pilot_world *w, struct pilot_said_list *l)
{
	for (size_t i = 0; i < pilot_world_nservices(w); i++) {
		const struct pilot_endpoints *eps;
		const struct pilot_service *s = pilot_world_service(w, i, &eps);
		for (size_t k = 0; k < eps->nleft_out; k++) {
			const struct pilot_left_out *o = &eps->left_out[k];
			struct pilot_note *n = MT_ANEW(l->a, struct pilot_note);
			*n = (struct pilot_note){ o->id, PILOT_NOTE_IGNORED, o->path,
				mt_arena_printf(l->a, "no endpoint of %s: %s", s->hostname, o->why),
				0, 0 };
			const struct pilot_said one = { .note = n };
			mt_vec_push(l, one);
		}
	}
}

static void add_unusable(const struct pilot *p, struct pilot_said_list *l)
{
	for (struct mt_map_it it = { 0 }; mt_map_next(p->unusable, &it);) {
		const struct pilot_unusable *u = it.value;
		struct pilot_note *n = MT_ANEW(l->a, struct pilot_note);
		*n = (struct pilot_note){ u->id, PILOT_NOTE_INVALID, u->err.path,
			mt_arena_printf(l->a, "cannot be used, what was there before stays: %s",
				u->err.msg),
			0, 0 };
		const struct pilot_said one = { .note = n };
		mt_vec_push(l, one);
	}
}

void pilot_said(const struct pilot *p, const struct push_proxy *x, struct pilot_said_list *ret)
{
	const struct pilot_world *w = push_current(p->push);
	struct pilot_said_list l = { .a = mt_arena_new(0) };
	size_t k = 0;

	for (size_t i = 0; w && !x && i < pilot_world_notes(w)->n; i++) {
		const struct pilot_said s = { .note = &pilot_world_notes(w)->v[i] };
		mt_vec_push(&l, s);
	}
	if (w && !x)
		add_left_out(w, &l);
	if (!x)
		add_unusable(p, &l);
	push_each_note(p->push, x, l.a, add_translated, &l);
	if (l.n > 1)
		qsort(l.v, l.n, sizeof(*l.v), said_cmp);
	for (size_t i = 0; i < l.n; i++)
		if (!k || said_cmp(&l.v[k - 1], &l.v[i]) != 0)
			l.v[k++] = l.v[i];
	l.n = k;
	*ret = l;
}

void pilot_said_clear(struct pilot_said_list *l)
{
	mt_vec_clear(l);
	mt_arena_free(l->a);
	l->a = NULL;
}

static json_t *said_json(const struct pilot_said *s)
{
	const struct pilot_note *n = s->note;
	json_t *j = json_pack("{s:s, s:s, s:s}", "kind", pilot_note_kind_name(n->kind), "path",
		n->path, "note", n->text);
	if (s->classes) {
		json_object_set_new(j, "proxies", json_integer(s->proxies));
		json_object_set_new(j, "classes", json_integer(s->classes));
	}
	return j;
}

/* How many from here on say of the same place the same kind of thing. */
static size_t alike(const struct pilot_said_list *l, size_t from)
{
	const struct pilot_note *a = l->v[from].note;
	size_t n = 1;

	while (from + n < l->n && l->v[from + n].note->id == a->id &&
		l->v[from + n].note->kind == a->kind &&
		strcmp(l->v[from + n].note->path, a->path) == 0)
		n++;
	return n;
}

json_t *pilot_said_json(const struct pilot_said_list *l, uint32_t id)
{
	size_t lo = 0, hi = l->n, n;
	json_t *all = json_array();

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (l->v[mid].note->id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < l->n && l->v[lo].note->id == id; lo += n) {
		json_t *last = NULL;
		n = alike(l, lo);
		for (size_t i = 0; i < n && i < ALIKE_MAX; i++)
			json_array_append_new(all, last = said_json(&l->v[lo + i]));
		if (n > ALIKE_MAX)
			json_object_set_new(
				last, "more", json_integer((json_int_t)(n - ALIKE_MAX)));
	}
	return all;
}

json_t *pilot_said_all_json(const struct pilot *p, const struct pilot_said_list *l)
{
	json_t *all = json_array();

	for (size_t i = 0; i < l->n; i++) {
		json_t *j = said_json(&l->v[i]);
		json_object_set_new(
			j, "object", json_string(pilot_ids_title(p->ids, l->v[i].note->id)));
		json_array_append_new(all, j);
	}
	return all;
}

/* ---- /debug/notes ---- */

static void page(void *ctx, struct mt_http_req *r)
{
	const struct pilot *p = ctx;
	const struct push_proxy *x = page_proxy(p, r);
	struct pilot_said_list l;

	if (!x)
		return;
	if (!push_current(p->push)) {
		struct mt_err err;
		mt_fail(&err, MT_UNAVAILABLE, NULL, "there is no configuration yet");
		mt_http_reply_err(r, &err);
		return;
	}
	pilot_said(p, x, &l);
	mt_http_reply_json(r, 200, json_pack("{s:o}", "notes", pilot_said_all_json(p, &l)));
	pilot_said_clear(&l);
}

void pilot_notes_start(struct mt_daemon *d, struct pilot *p)
{
	mt_daemon_debug(
		d, "notes", "?proxyID=ID: what has no effect for a proxy, and why", page, p);
}
