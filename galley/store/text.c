#include "galley/store/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/base/vec.h"

const char *galley_object_id(const struct mt_kind *k, const char *key, char *buf, size_t n)
{
	snprintf(buf, n, "%s %s", k->type_url, key);
	return buf;
}

const char *galley_id_of(const struct mt_object *o, char *buf, size_t n)
{
	snprintf(buf, n, "%s %s%s%s", o->kind->type_url, o->ns, *o->ns ? "/" : "", o->name);
	return buf;
}

static int object_cmp(const struct mt_object *a, const struct mt_object *b)
{
	int c = (int)a->kind->id - (int)b->kind->id;

	if (!c)
		c = strcmp(a->ns, b->ns);
	return c ? c : strcmp(a->name, b->name);
}

static int claim_cmp(const void *a, const void *b)
{
	return object_cmp(*(struct mt_object *const *)a, *(struct mt_object *const *)b);
}

struct galley_text *galley_text_new(const char *name, unsigned source)
{
	struct galley_text *t = MT_NEW(struct galley_text);

	t->name = mt_strdup(name);
	t->source = source;
	return t;
}

static void claims_drop(struct galley_text *t)
{
	for (size_t i = 0; i < t->nclaims; i++)
		mt_object_unref(t->claims[i]);
	mt_free(t->claims);
	t->claims = NULL;
	t->nclaims = 0;
}

void galley_text_free(void *p)
{
	struct galley_text *t = p;

	if (!t)
		return;
	claims_drop(t);
	mt_diags_clear(&t->diags);
	mt_free(t->name);
	mt_free(t);
}

/* v is sorted. */
static bool holds(struct mt_object *const *v, size_t n, struct mt_object *o)
{
	return n && bsearch(&o, v, n, sizeof(*v), claim_cmp);
}

/* Objects that stand twice in one text: the first counts. */
static void duplicates_report(struct galley_text *t, struct mt_objects *good)
{
	if (good->n)
		qsort(good->v, good->n, sizeof(*good->v), claim_cmp);
	size_t out = 0;
	for (size_t i = 0; i < good->n; i++) {
		if (out && object_cmp(good->v[out - 1], good->v[i]) == 0) {
			const struct mt_object *first = good->v[out - 1], *second = good->v[i];
			if (first->pos.line > second->pos.line) {
				good->v[out - 1] = good->v[i];
				good->v[i] = (struct mt_object *)first;
				second = first;
				first = good->v[out - 1];
			}
			mt_object_diag(second, &t->diags, MT_SEV_ERROR, "",
				"it stands twice in this file: line %d counts", first->pos.line);
			mt_object_unref(good->v[i]);
		} else {
			good->v[out++] = good->v[i];
		}
	}
	good->n = out;
}

/* What stays of the claims before, and of what an earlier run knew from this text. */
static void keep(struct galley_text *t, const struct mt_objects *fresh,
	const struct galley_text *extra, struct mt_objects *into)
{
	for (size_t i = 0; i < t->nclaims; i++)
		if (!holds(fresh->v, fresh->n, t->claims[i])) {
			struct mt_object *o = mt_object_ref(t->claims[i]);
			mt_vec_push(into, o);
		}
	for (size_t i = 0; extra && i < extra->nclaims; i++) {
		struct mt_object *e = extra->claims[i];
		if (mt_streq(e->pos.file, t->name) && !holds(fresh->v, fresh->n, e) &&
			!holds(t->claims, t->nclaims, e)) {
			struct mt_object *o = mt_object_ref(e);
			mt_vec_push(into, o);
		}
	}
}

static void claims_set(struct galley_text *t, struct mt_objects *good, struct mt_objects *kept)
{
	claims_drop(t);
	for (size_t i = 0; i < kept->n; i++)
		mt_vec_push(good, kept->v[i]);
	mt_vec_clear(kept);
	if (good->n)
		qsort(good->v, good->n, sizeof(*good->v), claim_cmp);
	t->claims = good->v;
	t->nclaims = good->n;
}

void galley_text_adopt(struct galley_text *t, const struct galley_text *extra)
{
	struct mt_objects none = { 0 }, kept = { 0 };

	keep(t, &none, extra, &kept);
	claims_set(t, &none, &kept);
}

void galley_text_read(struct galley_text *t, const char *text, size_t n,
	const struct galley_store_opts *o, const struct galley_text *extra)
{
	struct mt_objects decoded = { 0 }, good = { 0 }, kept = { 0 };

	mt_diags_clear(&t->diags);
	mt_decode_text(t->name, text, n, NULL, &decoded, &t->diags);
	for (size_t i = 0; i < decoded.n; i++) {
		size_t errors = t->diags.errors;
		o->validate(o->ctx, decoded.v[i], &t->diags);
		if (t->diags.errors > errors)
			mt_object_unref(decoded.v[i]);
		else
			mt_vec_push(&good, decoded.v[i]);
	}
	mt_vec_clear(&decoded);
	duplicates_report(t, &good);
	t->broken = t->diags.errors > 0;
	if (t->broken)
		keep(t, &good, extra, &kept);
	claims_set(t, &good, &kept);
}

struct mt_object *galley_text_claim(const struct galley_text *t, const char *id)
{
	char buf[GALLEY_ID_MAX];
	size_t lo = 0, hi = t->nclaims;
	const char *space = strchr(id, ' ');
	const struct mt_kind *k;
	char url[128];

	snprintf(url, sizeof(url), "%.*s", (int)(space - id), id);
	if (!(k = mt_kind_by_type_url(url)))
		return NULL;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		struct mt_object *o = t->claims[mid];
		const char *slash = strchr(space + 1, '/');
		struct mt_object probe = {
			.kind = k, .name = slash ? slash + 1 : space + 1, .ns = ""
		};
		snprintf(buf, sizeof(buf), "%.*s", slash ? (int)(slash - space - 1) : 0, space + 1);
		probe.ns = buf;
		int c = object_cmp(&probe, o);
		if (c == 0)
			return o;
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}
