/* One walk over the descriptor. protobuf-c keeps, for a field, its value at `offset`, and at
 * `quantifier_offset` how many there are (repeated), or which member is set (oneof). */
#include "common/schema/pb_merge.h"

#include <string.h>

#include "common/base/strs.h"

static void *at(const ProtobufCMessage *m, unsigned offset)
{
	return (char *)m + offset;
}

static size_t size_of(ProtobufCType t)
{
	switch (t) {
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE: return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES: return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_BOOL: return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE: return 8;
	default: return 4;
	}
}

/* The zero of proto3: not set. */
static bool is_unset(const ProtobufCFieldDescriptor *f, const void *v)
{
	static const char zero[sizeof(ProtobufCBinaryData)];
	if (f->type == PROTOBUF_C_TYPE_STRING)
		return mt_str_empty(*(char *const *)v);
	if (f->type == PROTOBUF_C_TYPE_BYTES)
		return ((const ProtobufCBinaryData *)v)->len == 0;
	return memcmp(v, zero, size_of(f->type)) == 0;
}

static bool is_value(const ProtobufCMessageDescriptor *d)
{
	static const char *const whole[] = { "google.protobuf.Duration",
		"google.protobuf.Timestamp", "google.protobuf.Value" };
	for (size_t i = 0; i < MT_ARRAY_SIZE(whole); i++)
		if (strcmp(d->name, whole[i]) == 0)
			return true;
	/* A wrapper says that its value is set: a zero counts. */
	return mt_str_prefix(d->name, "google.protobuf.") && mt_str_suffix(d->name, "Value") &&
		d->n_fields == 1 && strcmp(d->name, "google.protobuf.ListValue") != 0;
}

static void merge_any(Google__Protobuf__Any *dst, const Google__Protobuf__Any *src,
	struct mt_arena *a, bool replace_lists)
{
	ProtobufCMessage *into = NULL, *from = NULL;
	if (mt_streq(dst->type_url, src->type_url)) {
		into = mt_pb_any_unpack(dst, a, NULL);
		from = mt_pb_any_unpack(src, a, NULL);
	}
	if (!into || !from) {
		dst->type_url = src->type_url;
		dst->value = src->value;
		return;
	}
	mt_pb_merge(into, from, a, replace_lists);
	dst->value = mt_pb_any(a, into)->value;
}

static void merge_message(
	ProtobufCMessage **dst, ProtobufCMessage *src, struct mt_arena *a, bool replace_lists)
{
	if (!src)
		return;
	if (!*dst || is_value(src->descriptor))
		*dst = mt_pb_dup(src, a);
	else if (src->descriptor == &google__protobuf__any__descriptor)
		merge_any((Google__Protobuf__Any *)*dst, (const Google__Protobuf__Any *)src, a,
			replace_lists);
	else
		mt_pb_merge(*dst, src, a, replace_lists);
}

/* Entries of a map are messages of two fields, key and value. */
static bool is_map(const ProtobufCFieldDescriptor *f)
{
	const ProtobufCMessageDescriptor *d = f->descriptor;
	return f->type == PROTOBUF_C_TYPE_MESSAGE && d->n_fields == 2 &&
		mt_str_suffix(d->name, "Entry") && strcmp(d->fields[0].name, "key") == 0 &&
		strcmp(d->fields[1].name, "value") == 0 &&
		d->fields[0].type == PROTOBUF_C_TYPE_STRING;
}

static int key_cmp(const ProtobufCMessage *x, const ProtobufCMessage *y)
{
	unsigned o = x->descriptor->fields[0].offset;
	return strcmp(*(char **)at(x, o), *(char **)at(y, o));
}

/* Both sorted or not, what comes out is sorted: equal content packs to equal bytes. */
static size_t merge_map(ProtobufCMessage **v, size_t n, ProtobufCMessage **add, size_t nadd)
{
	for (size_t i = 0; i < nadd; i++) {
		size_t k = 0;
		while (k < n && key_cmp(v[k], add[i]) < 0)
			k++;
		if (k < n && key_cmp(v[k], add[i]) == 0) {
			v[k] = add[i];
			continue;
		}
		memmove(&v[k + 1], &v[k], (n - k) * sizeof(*v));
		v[k] = add[i];
		n++;
	}
	return n;
}

/* A later merge may change what this one brought: never src's own messages. */
static ProtobufCMessage **dup_all(ProtobufCMessage **v, size_t n, struct mt_arena *a)
{
	ProtobufCMessage **r = MT_ANEWN(a, ProtobufCMessage *, n);
	for (size_t i = 0; i < n; i++)
		r[i] = mt_pb_dup(v[i], a);
	return r;
}

static void merge_list(ProtobufCMessage *dst, const ProtobufCMessage *src,
	const ProtobufCFieldDescriptor *f, struct mt_arena *a, bool replace)
{
	size_t *n = at(dst, f->quantifier_offset), nadd = *(size_t *)at(src, f->quantifier_offset);
	size_t size = size_of(f->type);
	char **v = at(dst, f->offset), *add = *(char **)at(src, f->offset);
	if (!nadd)
		return;
	bool map = is_map(f);
	size_t keep = replace && !map ? 0 : *n;
	char *all = mt_arena_alloc(a, (keep + nadd) * size);
	if (keep)
		memcpy(all, *v, keep * size);
	if (f->type == PROTOBUF_C_TYPE_MESSAGE)
		add = (char *)dup_all((ProtobufCMessage **)add, nadd, a);
	if (map) {
		*n = merge_map((ProtobufCMessage **)all, keep, (ProtobufCMessage **)add, nadd);
	} else {
		memcpy(all + keep * size, add, nadd * size);
		*n = keep + nadd;
	}
	*v = all;
}

static void merge_oneof(ProtobufCMessage *dst, const ProtobufCMessage *src,
	const ProtobufCFieldDescriptor *f, struct mt_arena *a, bool replace_lists)
{
	uint32_t *to = at(dst, f->quantifier_offset);
	if (*(uint32_t *)at(src, f->quantifier_offset) != f->id)
		return;
	if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
		ProtobufCMessage **m = at(dst, f->offset);
		if (*to != f->id)
			*m = NULL;
		merge_message(m, *(ProtobufCMessage **)at(src, f->offset), a, replace_lists);
	} else {
		memcpy(at(dst, f->offset), at(src, f->offset), size_of(f->type));
	}
	*to = f->id;
}

void mt_pb_merge(
	ProtobufCMessage *dst, const ProtobufCMessage *src, struct mt_arena *a, bool replace_lists)
{
	const ProtobufCMessageDescriptor *d = dst->descriptor;
	for (unsigned i = 0; i < d->n_fields && d == src->descriptor; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];
		if (f->label == PROTOBUF_C_LABEL_REPEATED)
			merge_list(dst, src, f, a, replace_lists);
		else if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
			merge_oneof(dst, src, f, a, replace_lists);
		else if (f->type == PROTOBUF_C_TYPE_MESSAGE)
			merge_message(at(dst, f->offset), *(ProtobufCMessage **)at(src, f->offset),
				a, replace_lists);
		else if (!is_unset(f, at(src, f->offset)))
			memcpy(at(dst, f->offset), at(src, f->offset), size_of(f->type));
	}
}
