#include "common/schema/object.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/hash.h"
#include "common/schema/pb.h"
#include "common/schema/places.h"

struct mt_object *mt_object_new(const struct mt_kind *kind, size_t size)
{
	struct mt_arena *a = mt_arena_new_sized(0, size + sizeof(struct mt_object));
	struct mt_object *o = MT_ANEW(a, struct mt_object);

	mt_ref_init(&o->ref);
	o->arena = a;
	o->kind = kind;
	o->name = o->ns = "";
	return o;
}

static int kv_cmp(const void *a, const void *b)
{
	return strcmp(((const struct mt_kv *)a)->key, ((const struct mt_kv *)b)->key);
}

static uint64_t kv_hash(uint64_t h, const struct mt_kv *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		h = mt_hash_mix(mt_hash_mix(h, mt_hash_str(v[i].key)), mt_hash_str(v[i].value));
	return mt_hash_mix(h, n);
}

void mt_object_seal(struct mt_object *o)
{
	uint64_t h = mt_hash_str(o->kind->type_url);

	if (!o->spec)
		o->spec = mt_pb_new(o->kind->spec, o->arena);
	if (o->nlabels)
		qsort(o->labels, o->nlabels, sizeof(*o->labels), kv_cmp);
	if (o->nannotations)
		qsort(o->annotations, o->nannotations, sizeof(*o->annotations), kv_cmp);
	h = mt_hash_mix(mt_hash_mix(h, mt_hash_str(o->ns)), mt_hash_str(o->name));
	h = kv_hash(h, o->labels, o->nlabels);
	h = kv_hash(h, o->annotations, o->nannotations);
	o->hash = mt_hash_mix(h, mt_pb_hash(o->spec));
}

struct mt_object *mt_object_ref(const struct mt_object *o)
{
	struct mt_object *mutable = (struct mt_object *)o;

	mt_ref_get(&mutable->ref);
	return mutable;
}

/* The object lies in its own arena. */
void mt_object_unref(struct mt_object *o)
{
	if (o && mt_ref_put(&o->ref))
		mt_arena_free(o->arena);
}

const char *mt_object_key(const struct mt_object *o, char *buf, size_t n)
{
	snprintf(buf, n, "%s%s%s", o->ns, *o->ns ? "/" : "", o->name);
	return buf;
}

const char *mt_object_title(const struct mt_object *o, char *buf, size_t n)
{
	snprintf(buf, n, "%s %s%s%s", o->kind->kind, o->ns, *o->ns ? "/" : "", o->name);
	return buf;
}

struct mt_pos mt_object_place(const struct mt_object *o, const char *path)
{
	struct mt_pos pos = o->pos;

	if (o->places && path)
		mt_places_find(o->places, path, &pos.line, &pos.col);
	return pos;
}

static const char *kv_find(const struct mt_kv *v, size_t n, const char *key)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = strcmp(v[mid].key, key);
		if (c == 0)
			return v[mid].value;
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

const char *mt_object_label(const struct mt_object *o, const char *key)
{
	return kv_find(o->labels, o->nlabels, key);
}

const char *mt_object_annotation(const struct mt_object *o, const char *key)
{
	return kv_find(o->annotations, o->nannotations, key);
}

int mt_object_diag(const struct mt_object *o, struct mt_diags *d, enum mt_severity sev,
	const char *path, const char *fmt, ...)
{
	struct mt_pos pos = mt_object_place(o, path);
	struct mt_buf msg = { 0 };
	char title[600];
	va_list ap;

	va_start(ap, fmt);
	mt_buf_vprintf(&msg, fmt, ap);
	va_end(ap);
	int r = mt_diag_add(d, sev, &pos, mt_object_title(o, title, sizeof(title)),
		path ? path : "", "%s", mt_buf_str(&msg));
	mt_buf_clear(&msg);
	return r;
}
