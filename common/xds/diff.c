/* Steps from one set to another: see diff.h.
 *
 * A thousand streams that stand at set A and go to set B need the same bytes. The first computes
 * them under B's mutex, the others take a reference. The key is A's number, which is never used
 * again, so A may be gone by the time somebody asks. STEPS_MAX entries bound the memory: streams that
 * lag behind by different amounts start from different sets. */
#include <string.h>

#include "common/base/mem.h"
#include "common/xds/diff.h"

enum { STEPS_MAX = 8, KIND_UNION = 2 /* after the two modes */ };

struct mt_set_step {
	uint64_t base; /* number of the older set */
	int kind;
	void *object; /* NULL: a union that is the newer set itself */
};

static void step_drop(struct mt_set_step *c)
{
	if (c->kind == KIND_UNION)
		mt_set_unref(c->object);
	else
		mt_diff_unref(c->object);
}

void mt_set_drop_steps(struct mt_set *s)
{
	for (size_t i = 0; i < s->nsteps; i++)
		step_drop(&s->steps[i]);
	mt_free(s->steps);
}

static struct mt_diff *diff_make(struct mt_set *old, struct mt_set *newer, enum mt_xds_mode mode)
{
	struct mt_diff *d = MT_NEW(struct mt_diff);
	mt_ref_init(&d->ref);
	MT_VEC(struct mt_res *) items = { 0 };
	MT_VEC(char *) removed = { 0 };
	struct mt_body body = { .mode = mode, .join_below = MT_BODY_SHARED };
	struct mt_cursor from = { .set = old }, to = { .set = newer };
	struct mt_res *was, *is;
	while (mt_cursor_pair(&from, &to, &was, &is)) {
		if (!is) {
			mt_vec_push(&removed, mt_strdup(was->name));
			mt_body_removed(&body, was->name);
		} else if (!was || was->hash != is->hash) {
			mt_vec_push(&items, mt_res_ref(is));
			mt_body_res(&body, is);
		}
	}
	mt_body_finish(&body);
	d->items = items.v;
	d->n = items.n;
	d->removed = removed.v;
	d->nremoved = removed.n;
	d->slices = body.slices.v;
	d->nslices = body.slices.n;
	d->bytes = body.bytes;
	return d;
}

/* Everything: from the encodings that the runs keep. */
static struct mt_diff *diff_whole(struct mt_set *newer, enum mt_xds_mode mode)
{
	struct mt_diff *d = MT_NEW(struct mt_diff);
	mt_ref_init(&d->ref);
	struct mt_body body = { .mode = mode, .join_below = MT_BODY_SHARED };
	for (size_t i = 0; i < newer->nchunks; i++)
		d->bytes += mt_chunk_encode(newer->chunks[i].c, mode, &body);
	mt_body_finish(&body);
	d->whole = mt_set_ref(newer);
	d->n = newer->n;
	d->slices = body.slices.v;
	d->nslices = body.slices.n;
	return d;
}

static struct mt_set *union_make(struct mt_set *old, struct mt_set *newer)
{
	MT_VEC(struct mt_res *) kept = { 0 };
	struct mt_cursor from = { .set = old }, to = { .set = newer };
	struct mt_res *was, *is;
	while (mt_cursor_pair(&from, &to, &was, &is)) {
		if (!is)
			mt_vec_push(&kept, mt_res_ref(was));
	}
	struct mt_set *s = mt_set_patch(newer, kept.v, kept.n, NULL, 0);
	mt_vec_clear(&kept);
	return s;
}

static void *step_ref(const struct mt_set_step *c, struct mt_set *newer)
{
	if (c->kind == KIND_UNION)
		return mt_set_ref(c->object ? c->object : newer);
	mt_ref_get(&((struct mt_diff *)c->object)->ref);
	return c->object;
}

/* Finds or computes the step of a kind from old to newer. A new reference. */
static void *step(struct mt_set *old, struct mt_set *newer, int kind)
{
	uint64_t base = old ? old->number : 0;
	pthread_mutex_lock(&newer->mu);
	for (size_t i = 0; i < newer->nsteps; i++) {
		if (newer->steps[i].base == base && newer->steps[i].kind == kind) {
			void *found = step_ref(&newer->steps[i], newer);
			pthread_mutex_unlock(&newer->mu);
			return found;
		}
	}
	struct mt_set_step c = { .base = base, .kind = kind }, out = { 0 };
	c.object = kind == KIND_UNION ? (void *)union_make(old, newer)
				      : (void *)diff_make(old, newer, (enum mt_xds_mode)kind);
	if (c.object == newer) { /* kept as NULL: a set that refers to itself would never go */
		mt_set_unref(newer);
		c.object = NULL;
	}
	if (!newer->steps)
		newer->steps = mt_reallocarray(NULL, STEPS_MAX, sizeof(*newer->steps));
	if (newer->nsteps < STEPS_MAX) {
		newer->steps[newer->nsteps++] = c;
	} else {
		out = newer->steps[newer->next];
		newer->steps[newer->next] = c;
		newer->next = (newer->next + 1) % STEPS_MAX;
	}
	void *ret = step_ref(&c, newer);
	pthread_mutex_unlock(&newer->mu);
	if (out.object)
		step_drop(&out);
	return ret;
}

struct mt_diff *mt_set_diff(struct mt_set *old, struct mt_set *newer, enum mt_xds_mode mode)
{
	return mt_set_size(old) ? step(old, newer, (int)mode) : diff_whole(newer, mode);
}

struct mt_set *mt_set_union(struct mt_set *old, struct mt_set *newer)
{
	return !mt_set_size(old) || old == newer ? mt_set_ref(newer) : step(old, newer, KIND_UNION);
}

void mt_diff_unref(struct mt_diff *d)
{
	if (!d || !mt_ref_put(&d->ref))
		return;
	for (size_t i = 0; d->items && i < d->n; i++)
		mt_res_unref(d->items[i]);
	mt_set_unref(d->whole);
	for (size_t i = 0; i < d->nremoved; i++)
		mt_free(d->removed[i]);
	for (size_t i = 0; i < d->nslices; i++)
		mt_slice_unref(d->slices[i]);
	mt_free(d->items);
	mt_free(d->removed);
	mt_free(d->slices);
	mt_free(d);
}

struct mt_res *mt_diff_at(const struct mt_diff *d, size_t i)
{
	return d->items ? d->items[i] : mt_set_at(d->whole, i);
}

bool mt_diff_has(const struct mt_diff *d, const char *name)
{
	if (d->whole)
		return mt_set_find(d->whole, name) != NULL;
	size_t lo = 0, hi = d->n;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = strcmp(d->items[mid]->name, name);
		if (c == 0)
			return true;
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return false;
}

void mt_set_each_changed(struct mt_set *old, struct mt_set *newer,
	void (*fn)(void *ctx, struct mt_res *was, struct mt_res *is), void *ctx)
{
	struct mt_cursor from = { .set = old }, to = { .set = newer };
	struct mt_res *was, *is;
	if (old == newer)
		return;
	while (mt_cursor_pair(&from, &to, &was, &is))
		if (is && (!was || was->hash != is->hash))
			fn(ctx, was, is);
}
