/* Claims to what is in force.
 *
 * `texts` holds every text by name, `slots` every object by id: the texts that claim it, in order of
 * precedence, and the object in force. A batch touches texts; the ids that they claimed before or claim
 * now are `touched`, and a commit settles those alone: the first claim wins, an equal hash changes
 * nothing. So a commit costs what changed, not what there is.
 *
 * Removals are the one dangerous kind of change (a half-written listing, an unmounted folder): with a
 * loss_hold, a commit that would remove more than half of all objects leaves those in force, marked as
 * held, until a later commit no longer removes them or the time has passed.
 */
#include "galley/store/store.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "galley/store/text.h"

enum { LOSS_MIN = 4 }; /* fewer objects are never held */

struct slot {
	MT_VEC(struct galley_text *) texts; /* by precedence */
	struct mt_object *in_force;         /* a reference; NULL: none */
};

struct galley_store {
	struct galley_store_opts o;
	struct mt_map *texts;
	struct mt_map *slots;
	struct mt_map *touched;    /* ids, value: the store */
	struct mt_map *held;       /* ids whose removal waits */
	struct galley_text *state; /* of an earlier run; also in texts */
	size_t count;
	size_t broken; /* texts */
	struct mt_timer *hold;
	int64_t hold_since;
	int64_t now_ns; /* wall clock of the commit that runs: its objects are of one age */
	bool complete;
};

static void touch(struct galley_store *s, const struct galley_text *t)
{
	char id[GALLEY_ID_MAX];

	for (size_t i = 0; i < t->nclaims; i++)
		mt_map_put(s->touched, galley_id_of(t->claims[i], id, sizeof(id)), s);
}

static bool precedes(const struct galley_text *a, const struct galley_text *b)
{
	return a->source != b->source ? a->source < b->source : strcmp(a->name, b->name) < 0;
}

static struct slot *slot_get(struct galley_store *s, const char *id)
{
	struct slot *slot = mt_map_get(s->slots, id);

	if (!slot) {
		slot = MT_NEW(struct slot);
		mt_map_put(s->slots, id, slot);
	}
	return slot;
}

/* Puts the text on the slots of its claims, or takes it off. */
static void claims_link(struct galley_store *s, struct galley_text *t, bool on)
{
	char id[GALLEY_ID_MAX];

	touch(s, t);
	for (size_t i = 0; i < t->nclaims; i++) {
		struct slot *slot = slot_get(s, galley_id_of(t->claims[i], id, sizeof(id)));
		size_t at = 0;
		while (at < slot->texts.n &&
			(on ? precedes(slot->texts.v[at], t) : slot->texts.v[at] != t))
			at++;
		if (on) {
			mt_vec_push(&slot->texts, t);
			memmove(slot->texts.v + at + 1, slot->texts.v + at,
				(slot->texts.n - 1 - at) * sizeof(t));
			slot->texts.v[at] = t;
		} else if (at < slot->texts.n) {
			slot->texts.n--;
			memmove(slot->texts.v + at, slot->texts.v + at + 1,
				(slot->texts.n - at) * sizeof(t));
		}
	}
}

static struct galley_text *text_get(struct galley_store *s, unsigned source, const char *name)
{
	struct galley_text *t = mt_map_get(s->texts, name);

	if (!t) {
		t = galley_text_new(name, source);
		mt_map_put(s->texts, name, t);
	}
	return t;
}

/* A later text that defines an object which an earlier one has. */
static void conflicts_report(struct galley_store *s, struct galley_text *t)
{
	char id[GALLEY_ID_MAX];

	for (size_t i = 0; i < t->nclaims; i++) {
		const struct slot *slot =
			mt_map_get(s->slots, galley_id_of(t->claims[i], id, sizeof(id)));
		const struct galley_text *first = slot->texts.v[0];
		if (first != t)
			mt_object_diag(t->claims[i], &t->diags, MT_SEV_WARNING, "",
				"%s defines it too, and counts", first->name);
	}
}

static void broken_mark(struct galley_store *s, struct galley_text *t)
{
	s->broken += !t->broken;
	t->broken = true;
}

void galley_store_text(
	struct galley_store *s, unsigned source, const char *name, const char *text, size_t n)
{
	struct galley_text *t = text_get(s, source, name);
	bool had = t->diags.n > 0;

	s->broken -= t->broken;
	claims_link(s, t, false);
	galley_text_read(t, text, n, &s->o, s->state);
	s->broken += t->broken;
	claims_link(s, t, true);
	conflicts_report(s, t);
	if ((had || t->diags.n) && s->o.reported)
		s->o.reported(s->o.ctx, t);
}

void galley_store_unreadable(
	struct galley_store *s, unsigned source, const char *name, const struct mt_err *err)
{
	struct galley_text *t = text_get(s, source, name);

	claims_link(s, t, false);
	galley_text_adopt(t, s->state);
	claims_link(s, t, true);
	mt_diags_clear(&t->diags);
	mt_diag_add(&t->diags, MT_SEV_ERROR, &(struct mt_pos){ name, 0, 0 }, NULL, "",
		"not read: %s", err->msg);
	broken_mark(s, t);
	if (s->o.reported)
		s->o.reported(s->o.ctx, t);
}

void galley_store_gone(struct galley_store *s, const char *name)
{
	struct galley_text *t = mt_map_get(s->texts, name);

	if (!t)
		return;
	s->broken -= t->broken;
	claims_link(s, t, false);
	mt_map_del(s->texts, name);
	if (t->diags.n && s->o.reported) {
		mt_diags_clear(&t->diags);
		t->broken = false;
		s->o.reported(s->o.ctx, t);
	}
	galley_text_free(t);
}

void galley_store_restore(struct galley_store *s, struct mt_object *o)
{
	char id[GALLEY_ID_MAX];

	if (!s->state) {
		s->state = galley_text_new("the last good state", galley_source_state);
		mt_map_put(s->texts, s->state->name, s->state);
	}
	struct slot *slot = slot_get(s, galley_id_of(o, id, sizeof(id)));
	if (slot->in_force) {
		mt_object_unref(o);
		return;
	}
	struct galley_text *t = s->state;
	/* Grown by doubling; sorted order does not matter until it is looked up, which is not done. */
	if ((t->nclaims & (t->nclaims + 1)) == 0)
		t->claims = mt_reallocarray(t->claims, 2 * (t->nclaims + 1), sizeof(*t->claims));
	t->claims[t->nclaims++] = o;
	mt_vec_push(&slot->texts, t);
	slot->in_force = mt_object_ref(o);
	s->count++;
}

/* ---- commit ---- */

static struct mt_object *winner(const struct slot *slot, const char *id)
{
	const struct galley_text *t;

	if (!slot->texts.n)
		return NULL;
	t = slot->texts.v[0];
	if (t->source == galley_source_state)
		return slot->in_force;
	return galley_text_claim(t, id);
}

struct batch {
	MT_VEC(struct galley_change) changes; /* references held until handed out */
};

static void put_in_force(
	struct galley_store *s, struct slot *slot, struct mt_object *claim, struct batch *b)
{
	struct galley_change c = { .old = slot->in_force };

	if (claim && c.old && claim->hash == c.old->hash)
		return;
	if (claim && !c.old && s->count >= s->o.max_objects) {
		struct galley_text *t = slot->texts.v[0];
		mt_object_diag(claim, &t->diags, MT_SEV_ERROR, "",
			"not in force: --max-objects (%zu) is reached", s->o.max_objects);
		broken_mark(s, t);
		if (s->o.reported)
			s->o.reported(s->o.ctx, t);
		return;
	}
	if (claim) {
		/* The claim is not published yet: its generation and age may be written. */
		claim->generation = c.old ? c.old->generation + 1 : MT_MAX(claim->generation, 1u);
		if (!claim->created_ns)
			claim->created_ns = c.old ? c.old->created_ns : s->now_ns;
		c.new = mt_object_ref(claim);
	}
	s->count = s->count + (claim != NULL) - (c.old != NULL);
	slot->in_force = claim ? mt_object_ref(claim) : NULL;
	mt_vec_push(&b->changes, c);
}

/* How many of the touched ids would go. */
static size_t losses(struct galley_store *s)
{
	struct mt_map_it it = { 0 };
	size_t n = 0;

	while (mt_map_next(s->touched, &it)) {
		const struct slot *slot = mt_map_get(s->slots, it.key);
		n += slot && slot->in_force && !slot->texts.n;
	}
	return n;
}

static bool hold_losses(struct galley_store *s)
{
	int64_t now = mt_mono(s->o.clock);

	if (!s->o.loss_hold_ns || s->count < LOSS_MIN || losses(s) * 2 <= s->count) {
		s->hold_since = 0;
		return false;
	}
	if (!s->hold_since)
		s->hold_since = now;
	/* Armed for what is left each time: a timer counts whole milliseconds and may be a little early. */
	int64_t left = s->hold_since + s->o.loss_hold_ns - now;
	if (left > 0) {
		mt_timer_start(s->hold, left, 0);
		return true;
	}
	s->hold_since = 0;
	return false;
}

static void slot_settle(struct galley_store *s, const char *id, bool hold, struct batch *b)
{
	struct slot *slot = mt_map_get(s->slots, id);

	if (!slot)
		return;
	struct mt_object *claim = winner(slot, id);
	if (!claim && hold && slot->in_force) {
		mt_map_put(s->held, id, s);
		return;
	}
	put_in_force(s, slot, claim, b);
	if (!slot->texts.n) {
		mt_vec_clear(&slot->texts);
		mt_map_del(s->slots, id);
		mt_free(slot);
	}
}

static void state_drop(struct galley_store *s)
{
	struct galley_text *t = MT_TAKE(s->state);

	if (!t)
		return;
	claims_link(s, t, false);
	mt_map_del(s->texts, t->name);
	galley_text_free(t);
}

void galley_store_commit(struct galley_store *s, bool complete, int64_t since_ns)
{
	struct batch b = { 0 };
	struct mt_map_it it = { 0 };

	s->now_ns = mt_wall(s->o.clock);
	s->now_ns -= s->now_ns % MT_NS_PER_SEC; /* as Kubernetes writes it */
	if (complete)
		state_drop(s);
	s->complete = s->complete || complete;
	while (mt_map_next(s->held, &it))
		mt_map_put(s->touched, it.key, s);
	mt_map_free(s->held, NULL);
	s->held = mt_map_new();
	bool hold = hold_losses(s);
	it = (struct mt_map_it){ 0 };
	while (mt_map_next(s->touched, &it))
		slot_settle(s, it.key, hold, &b);
	mt_map_free(s->touched, NULL);
	s->touched = mt_map_new();
	if (b.changes.n)
		s->o.changed(s->o.ctx, b.changes.v, b.changes.n, since_ns);
	mt_vec_each (&b.changes, c) {
		mt_object_unref(c->old);
		mt_object_unref(c->new);
	}
	mt_vec_clear(&b.changes);
}

static void on_hold(void *arg)
{
	struct galley_store *s = arg;

	galley_store_commit(s, s->complete, mt_mono(s->o.clock));
}

/* ---- life and questions ---- */

struct galley_store *galley_store_new(struct mt_loop *l, const struct galley_store_opts *o)
{
	struct galley_store *s = MT_NEW(struct galley_store);

	s->o = *o;
	s->texts = mt_map_new();
	s->slots = mt_map_new();
	s->touched = mt_map_new();
	s->held = mt_map_new();
	s->hold = mt_timer_new(l, on_hold, s);
	return s;
}

static void slot_free(void *p)
{
	struct slot *slot = p;

	mt_object_unref(slot->in_force);
	mt_vec_clear(&slot->texts);
	mt_free(slot);
}

void galley_store_free(struct galley_store *s)
{
	if (!s)
		return;
	mt_timer_free(s->hold);
	mt_map_free(s->slots, slot_free);
	mt_map_free(s->texts, galley_text_free);
	mt_map_free(s->touched, NULL);
	mt_map_free(s->held, NULL);
	mt_free(s);
}

size_t galley_store_count(const struct galley_store *s)
{
	return s->count;
}

size_t galley_store_texts(const struct galley_store *s)
{
	return mt_map_size(s->texts) - (s->state != NULL);
}

size_t galley_store_broken(const struct galley_store *s)
{
	return s->broken;
}

size_t galley_store_held(const struct galley_store *s)
{
	return mt_map_size(s->held);
}

static struct slot *slot_find(
	const struct galley_store *s, const struct mt_kind *k, const char *key)
{
	char id[GALLEY_ID_MAX];

	return mt_map_get(s->slots, galley_object_id(k, key, id, sizeof(id)));
}

struct mt_object *galley_store_find(
	const struct galley_store *s, const struct mt_kind *k, const char *key)
{
	struct slot *slot = slot_find(s, k, key);

	return slot ? slot->in_force : NULL;
}

const struct mt_object *galley_store_claim(
	const struct galley_store *s, const struct mt_kind *k, const char *key)
{
	struct slot *slot = slot_find(s, k, key);
	char id[GALLEY_ID_MAX];

	return slot ? winner(slot, galley_object_id(k, key, id, sizeof(id))) : NULL;
}

void galley_store_each(
	const struct galley_store *s, void (*f)(void *ctx, struct mt_object *o), void *ctx)
{
	struct mt_map_it it = { 0 };

	while (mt_map_next(s->slots, &it))
		if (((struct slot *)it.value)->in_force)
			f(ctx, ((struct slot *)it.value)->in_force);
}

void galley_store_each_text(
	const struct galley_store *s, void (*f)(void *ctx, const struct galley_text *t), void *ctx)
{
	struct mt_map_it it = { 0 };

	while (mt_map_next(s->texts, &it))
		if (it.value != s->state)
			f(ctx, it.value);
}

const struct galley_text *galley_store_text_find(const struct galley_store *s, const char *name)
{
	return mt_map_get(s->texts, name);
}
