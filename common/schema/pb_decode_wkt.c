/* The messages that protobuf's JSON mapping writes in a form of their own. */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/duration.h"
#include "common/base/strs.h"
#include "common/schema/field.h"
#include "common/schema/pb.h"
#include "common/schema/pb_decode.h"
#include "common/schema/scalar.h"
#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/struct.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"
#include "xds/type/v3/type.pb-c.h"

static ProtobufCMessage *decode_duration(
	struct mt_pb_decode *d, const struct mt_node *n, const struct mt_path *path)
{
	Google__Protobuf__Duration *m;
	int64_t ns;

	if (n->type == MT_NODE_SEQ || n->type == MT_NODE_MAP || mt_duration_parse(n->s, &ns) < 0) {
		mt_pb_expected(d, n, path, "a duration such as 1.5s");
		return NULL;
	}
	m = MT_ANEW(d->a, Google__Protobuf__Duration);
	google__protobuf__duration__init(m);
	m->seconds = ns / MT_NS_PER_SEC;
	m->nanos = (int32_t)(ns % MT_NS_PER_SEC);
	return &m->base;
}

static ProtobufCMessage *decode_timestamp(
	struct mt_pb_decode *d, const struct mt_node *n, const struct mt_path *path)
{
	Google__Protobuf__Timestamp *m;
	int64_t ns;

	if (n->type == MT_NODE_SEQ || n->type == MT_NODE_MAP || mt_time_parse(n->s, &ns) < 0) {
		mt_pb_expected(d, n, path, "a time such as 2026-11-24T03:12:01Z");
		return NULL;
	}
	m = MT_ANEW(d->a, Google__Protobuf__Timestamp);
	google__protobuf__timestamp__init(m);
	m->seconds = ns / MT_NS_PER_SEC;
	m->nanos = (int32_t)(ns % MT_NS_PER_SEC);
	if (m->nanos < 0) {
		m->nanos += (int32_t)MT_NS_PER_SEC;
		m->seconds--;
	}
	return &m->base;
}

/* Wrappers, Duration and so on have no fields to speak of: they are written as one value. */
static ProtobufCMessage *decode_wrapper(struct mt_pb_decode *d,
	const ProtobufCMessageDescriptor *desc, const struct mt_node *n, const struct mt_path *path)
{
	ProtobufCMessage *m = mt_pb_new(desc, d->a);

	return mt_pb_decode_scalar(d, &desc->fields[0], n, path, (char *)m + desc->fields[0].offset)
		? m
		: NULL;
}

static bool decode_plain_value(struct mt_pb_decode *d, const struct mt_node *n,
	const struct mt_path *path, Google__Protobuf__Value *v)
{
	bool b;

	switch (mt_scalar_class(n->s, n->n)) {
	case MT_SCALAR_NULL: v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE; return true;
	case MT_SCALAR_BOOL:
		mt_scalar_bool(n->s, &b);
		v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE;
		v->bool_value = b;
		return true;
	case MT_SCALAR_INT:
	case MT_SCALAR_FLOAT: {
		ProtobufCFieldDescriptor number = { .type = PROTOBUF_C_TYPE_DOUBLE };
		v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE;
		return mt_pb_decode_scalar(d, &number, n, path, &v->number_value);
	}
	case MT_SCALAR_ODD: {
		char buf[128];
		mt_pb_fault(d, (int)n->line, n->col, path, "%s: write a string in quotes",
			mt_node_describe(n, buf, sizeof(buf)));
		return false;
	}
	default: break;
	}
	v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE;
	v->string_value = mt_arena_strndup(d->a, n->s, n->n);
	return true;
}

static ProtobufCMessage *decode_value(
	struct mt_pb_decode *d, const struct mt_node *n, const struct mt_path *path)
{
	Google__Protobuf__Value *v = MT_ANEW(d->a, Google__Protobuf__Value);
	ProtobufCMessage *m;

	google__protobuf__value__init(v);
	switch (n->type) {
	case MT_NODE_PLAIN: return decode_plain_value(d, n, path, v) ? &v->base : NULL;
	case MT_NODE_STRING:
		v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE;
		v->string_value = mt_arena_strndup(d->a, n->s, n->n);
		return &v->base;
	case MT_NODE_SEQ:
		m = mt_pb_decode(d, &google__protobuf__list_value__descriptor, n, path);
		v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE;
		v->list_value = (Google__Protobuf__ListValue *)m;
		return m ? &v->base : NULL;
	default:
		m = mt_pb_decode(d, &google__protobuf__struct__descriptor, n, path);
		v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE;
		v->struct_value = (Google__Protobuf__Struct *)m;
		return m ? &v->base : NULL;
	}
}

/* Struct and ListValue have one field; their JSON form is that field's. A node with one pair stands
 * in for the message, so that lists and maps are decoded in one place. */
static ProtobufCMessage *decode_field_form(struct mt_pb_decode *d,
	const ProtobufCMessageDescriptor *desc, const struct mt_node *n, const struct mt_path *path)
{
	bool list = desc == &google__protobuf__list_value__descriptor;
	ProtobufCMessage *m = mt_pb_new(desc, d->a);
	const ProtobufCFieldDescriptor *f = &desc->fields[0];
	size_t count = 0;

	if (n->type != (list ? MT_NODE_SEQ : MT_NODE_MAP)) {
		if (mt_node_is_null(n))
			return m;
		mt_pb_expected(d, n, path, list ? "a list" : "a mapping");
		return NULL;
	}
	ProtobufCMessage **v = MT_ANEWN(d->a, ProtobufCMessage *, n->n);
	for (uint32_t i = 0; i < n->n; i++) {
		const struct mt_pair *p = list ? NULL : &n->pairs[i];
		const struct mt_node *item = list ? n->items[i] : p->value;
		struct mt_path step = { path, p ? p->key : NULL, i };
		char *key = p ? mt_arena_strdup(d->a, p->key) : NULL;
		size_t place = mt_pb_place_open(d, key, p, item);
		ProtobufCMessage *value = decode_value(d, item, &step);
		mt_pb_place_close(d, place);
		if (!value)
			continue;
		if (p) {
			Google__Protobuf__Struct__FieldsEntry *e =
				MT_ANEW(d->a, Google__Protobuf__Struct__FieldsEntry);
			google__protobuf__struct__fields_entry__init(e);
			e->key = key;
			e->value = (Google__Protobuf__Value *)value;
			value = &e->base;
		}
		v[count++] = value;
	}
	*(size_t *)((char *)m + f->quantifier_offset) = count;
	*(void **)((char *)m + f->offset) = count ? v : NULL;
	return m;
}

static int fields_cmp(const void *a, const void *b)
{
	return strcmp((*(Google__Protobuf__Struct__FieldsEntry *const *)a)->key,
		(*(Google__Protobuf__Struct__FieldsEntry *const *)b)->key);
}

static ProtobufCMessage *decode_struct(
	struct mt_pb_decode *d, const struct mt_node *n, const struct mt_path *path)
{
	Google__Protobuf__Struct *s = (Google__Protobuf__Struct *)decode_field_form(
		d, &google__protobuf__struct__descriptor, n, path);

	if (s && s->n_fields)
		qsort(s->fields, s->n_fields, sizeof(*s->fields), fields_cmp);
	return s ? &s->base : NULL;
}

/* All but "@type" is the value. */
static ProtobufCMessage *decode_typed_struct(struct mt_pb_decode *d, const char *url,
	const struct mt_node *n, const struct mt_path *path)
{
	struct mt_node rest = *n;
	Xtype__TypedStruct *t =
		(Xtype__TypedStruct *)mt_pb_new(&xtype__typed_struct__descriptor, d->a);
	rest.n = 0;
	rest.pairs = MT_ANEWN(d->a, struct mt_pair, n->n);
	for (uint32_t i = 0; i < n->n; i++)
		if (strcmp(n->pairs[i].key, "@type") != 0)
			rest.pairs[rest.n++] = n->pairs[i];
	t->type_url = mt_arena_strdup(d->a, url);
	t->value = (Google__Protobuf__Struct *)decode_struct(d, &rest, path);
	return t->value ? &mt_pb_any(d->a, &t->base)->base : NULL;
}

static ProtobufCMessage *decode_any(
	struct mt_pb_decode *d, const struct mt_node *n, const struct mt_path *path)
{
	const struct mt_node *type = mt_node_get(n, "@type"), *value;
	const ProtobufCMessageDescriptor *desc;
	struct mt_node rest = *n;
	ProtobufCMessage *inner, *unused;

	if (!type || type->type == MT_NODE_SEQ || type->type == MT_NODE_MAP) {
		mt_pb_fault(d, (int)n->line, n->col, path, "an Any needs \"@type\"");
		return NULL;
	}
	desc = mt_pb_type(type->s);
	if (!desc && d->open)
		return decode_typed_struct(d, type->s, n, path);
	if (!desc) {
		mt_pb_fault(
			d, (int)type->line, type->col, path, "unknown type \"%.200s\"", type->s);
		return NULL;
	}
	rest.n = 0;
	rest.pairs = MT_ANEWN(d->a, struct mt_pair, n->n);
	for (uint32_t i = 0; i < n->n; i++)
		if (strcmp(n->pairs[i].key, "@type") != 0)
			rest.pairs[rest.n++] = n->pairs[i];
	value = mt_node_get(&rest, "value");
	size_t errors = d->diags->errors;
	if (rest.n == 1 && value && mt_pb_decode_wkt(d, desc, value, path, &unused))
		inner = unused;
	else
		inner = mt_pb_decode(d, desc, &rest, path);
	if (!inner || d->diags->errors > errors)
		return NULL;
	return &mt_pb_any(d->a, inner)->base;
}

bool mt_pb_takes_null(const ProtobufCMessageDescriptor *desc)
{
	return desc == &google__protobuf__value__descriptor;
}

static bool is_wrapper(const ProtobufCMessageDescriptor *desc)
{
	return desc->n_fields == 1 && mt_str_suffix(desc->name, "Value") &&
		strcmp(desc->fields[0].name, "value") == 0;
}

bool mt_pb_decode_wkt(struct mt_pb_decode *d, const ProtobufCMessageDescriptor *desc,
	const struct mt_node *n, const struct mt_path *path, ProtobufCMessage **ret)
{
	if (!mt_str_prefix(desc->name, "google.protobuf."))
		return false;
	if (desc == &google__protobuf__duration__descriptor)
		*ret = decode_duration(d, n, path);
	else if (desc == &google__protobuf__timestamp__descriptor)
		*ret = decode_timestamp(d, n, path);
	else if (desc == &google__protobuf__value__descriptor)
		*ret = decode_value(d, n, path);
	else if (desc == &google__protobuf__struct__descriptor)
		*ret = decode_struct(d, n, path);
	else if (desc == &google__protobuf__list_value__descriptor)
		*ret = decode_field_form(d, desc, n, path);
	else if (desc == &google__protobuf__any__descriptor)
		*ret = decode_any(d, n, path);
	else if (is_wrapper(desc))
		*ret = decode_wrapper(d, desc, n, path);
	else
		return false;
	return true;
}
