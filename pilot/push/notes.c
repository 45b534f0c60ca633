#include "pilot/push/notes.h"

#include <string.h>

#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "pilot/metrics.h"
#include "pilot/push/view.h"

struct patch;
struct one { /* texts follow in the block */
	struct pilot_note note;
	unsigned uses;
	/* while somebody looks: */
	uint64_t looked;          /* the look that has counted it */
	const void *view, *class; /* the last ones that were counted */
	struct patch *patch;      /* that it says something of */
	unsigned classes, proxies;
};

struct push_notes {
	struct mt_map *all; /* text that spells out a note -> struct one */
	struct mt_metrics *metrics;
	uint64_t looks;
};

struct push_noted {
	struct push_noted *next, **before; /* in the list of its class */
	size_t n;
	struct one *v[];
};

struct push_notes *push_notes_new(struct mt_metrics *metrics)
{
	struct push_notes *n = MT_NEW(struct push_notes);
	n->all = mt_map_new();
	n->metrics = metrics;
	return n;
}

void push_notes_free(struct push_notes *n)
{
	if (!n)
		return;
	mt_map_free(n->all, mt_free);
	mt_free(n);
}

/* ---- each note once ---- */

static char *key_of(const struct pilot_note *n)
{
	return mt_asprintf(
		"%u %d %zu:%s %s", n->id, (int)n->kind, strlen(n->path), n->path, n->text);
}

static const int abouts[PILOT_ABOUTS] = {
#define NOTED(name) [PILOT_ABOUT_##name] = METRIC_pilot_##name,
#include "pilot/model/noted.def"
#undef NOTED
};

static void count(const struct push_notes *all, const struct one *o, double by)
{
	if (all->metrics && o->note.about)
		mt_metric_add(all->metrics, abouts[o->note.about], by);
	if (all->metrics && o->note.kind != PILOT_NOTE_APPLIED)
		mt_metric_add(all->metrics, METRIC_pilot_object_notes, by,
			pilot_note_kind_name(o->note.kind), "translation");
}

static struct one *one_get(struct push_notes *all, const struct pilot_note *n)
{
	MT_AUTO(mt_strfreep) char *key = key_of(n);
	struct one *o = mt_map_get(all->all, key);

	if (o)
		return o;
	size_t npath = strlen(n->path) + 1, ntext = strlen(n->text) + 1;
	o = mt_alloc(sizeof(*o) + npath + ntext);
	char *texts = (char *)(o + 1);
	o->note = *n;
	o->note.path = memcpy(texts, n->path, npath);
	o->note.text = memcpy(texts + npath, n->text, ntext);
	mt_map_put(all->all, key, o);
	count(all, o, 1);
	return o;
}

static void one_release(struct push_notes *all, struct one *o)
{
	if (--o->uses)
		return;
	MT_AUTO(mt_strfreep) char *key = key_of(&o->note);
	count(all, o, -1);
	mt_free(mt_map_del(all->all, key));
}

/* ---- what carries them ---- */

void push_noted_drop(struct push_notes *n, struct push_noted **at)
{
	struct push_noted *b = *at;

	if (!b)
		return;
	*at = NULL;
	*b->before = b->next;
	if (b->next)
		b->next->before = b->before;
	for (size_t i = 0; i < b->n; i++)
		one_release(n, b->v[i]);
	mt_free(b);
}

static void link_block(struct push_noted **list, struct push_noted *b)
{
	b->next = *list;
	b->before = list;
	if (b->next)
		b->next->before = &b->next;
	*list = b;
}

void push_noted_set(struct push_notes *n, struct push_noted **list, struct push_noted **at,
	const struct pilot_job *j, int table, size_t from)
{
	const struct pilot_notes *notes = pilot_job_notes(j);
	struct one *v[PUSH_NOTES_MAX];
	struct push_noted *old = *at;
	size_t k = 0;

	if (!n || (!old && from == notes->n))
		return;
	n->looks++;
	for (size_t i = from; i < notes->n && k < PUSH_NOTES_MAX; i++) {
		struct one *o = notes->v[i].table == table && notes->v[i].id
			? one_get(n, &notes->v[i])
			: NULL;
		if (!o || o->looked == n->looks)
			continue;
		o->looked = n->looks;
		o->uses++; /* before the old ones go: most stay */
		v[k++] = o;
	}
	*at = NULL;
	push_noted_drop(n, &old);
	if (!k)
		return;
	struct push_noted *b = mt_alloc(sizeof(*b) + k * sizeof(b->v[0]));
	b->n = k;
	memcpy(b->v, v, k * sizeof(b->v[0]));
	link_block(list, b);
	*at = b;
}

/* ---- looking ---- */

struct patch {                        /* of the world */
	const struct push_view *view; /* the last of which something was said of it */
	unsigned views, proxies;      /* that it selects, and of which it changes nothing */
};
struct look {
	struct push_notes *notes;
	const struct pilot_world *world;
	const struct push_view *view;
	bool alone; /* for one proxy of it */
	MT_VEC(struct one *) found;
	struct mt_map *paths; /* "id path" -> struct patch; NULL: there are no patches */
	struct patch *patches;
	struct mt_arena *a;
};

static const char *path_key(struct look *l, const struct pilot_note *n)
{
	return mt_arena_printf(l->a, "%u %s", n->id, n->path);
}

static void patches_start(struct look *l)
{
	size_t n = l->world ? pilot_world_npatches(l->world) : 0;

	if (!n)
		return;
	l->paths = mt_map_new();
	l->patches = MT_ANEWN(l->a, struct patch, n);
	for (size_t i = 0; i < n; i++) {
		struct pilot_note note;
		pilot_world_patch_idle(l->world, i, l->a, &note);
		mt_map_put(l->paths, path_key(l, &note), &l->patches[i]);
	}
}

static void look_at(struct look *l, const struct push_class *c, struct one *o)
{
	if (o->looked != l->notes->looks) {
		o->looked = l->notes->looks;
		o->view = o->class = NULL;
		o->classes = o->proxies = 0;
		o->patch = l->paths ? mt_map_get(l->paths, path_key(l, &o->note)) : NULL;
		mt_vec_push(&l->found, o);
	}
	/* Views come one after the other, and a class is looked at once. */
	if (c && o->class != c) {
		o->class = c;
		o->classes++;
	}
	if (l->view && o->view != l->view) {
		o->view = l->view;
		o->proxies += l->alone ? 1 : (unsigned)l->view->n;
	}
	if (l->view && o->patch)
		o->patch->view = l->view;
}

static void look_in(struct look *l, const struct push_class *c, bool count)
{
	for (const struct push_noted *b = c->noted; b; b = b->next)
		for (size_t i = 0; i < b->n; i++)
			look_at(l, count ? c : NULL, b->v[i]);
}

static void look_view(struct look *l, const struct push_view *v)
{
	l->view = v;
	for (int t = 0; t < PILOT_TABLES; t++)
		look_in(l, v->classes[t], false);
	for (size_t i = 0; l->paths && i < pilot_world_npatches(l->world); i++) {
		struct patch *p = &l->patches[i];
		if (p->view == v || !pilot_world_patch_selects(l->world, i, v->first->proxy))
			continue;
		p->views++;
		p->proxies += l->alone ? 1 : (unsigned)v->n;
	}
	l->view = NULL;
}

static void tell(const struct look *l, push_note_fn fn, void *ctx)
{
	for (size_t i = 0; i < l->found.n; i++) {
		const struct one *o = l->found.v[i];
		if (o->note.kind != PILOT_NOTE_APPLIED)
			fn(ctx, &o->note, o->classes, o->proxies);
	}
	for (size_t i = 0; l->paths && i < pilot_world_npatches(l->world); i++) {
		const struct patch *p = &l->patches[i];
		struct pilot_note note;
		pilot_world_patch_idle(l->world, i, l->a, &note);
		if (p->proxies)
			fn(ctx, &note, l->alone ? 0 : p->views, p->proxies);
	}
}

void push_each_note(const struct push *p, const struct push_proxy *x, struct mt_arena *a,
	push_note_fn fn, void *ctx)
{
	const struct push_views *v = push_views_of(p);
	struct look l = { .notes = v->notes, .world = push_current(p), .alone = x != NULL, .a = a };

	v->notes->looks++;
	patches_start(&l);
	if (x && x->view)
		look_view(&l, x->view);
	for (int t = 0; t < PILOT_TABLES && !x; t++)
		for (struct mt_map_it it = { 0 }; mt_map_next(v->classes[t], &it);)
			look_in(&l, it.value, true);
	for (struct mt_map_it it = { 0 }; !x && mt_map_next(v->views, &it);)
		look_view(&l, it.value);
	tell(&l, fn, ctx);
	mt_map_free(l.paths, NULL);
	mt_vec_clear(&l.found);
}
