/* A message as canonical protobuf JSON: lowerCamelCase, defaults left out, int64 as strings. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/duration.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/schema/base64.h"
#include "common/schema/field.h"
#include "common/schema/pb.h"
#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/struct.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"

/* Each Any is unpacked anew, so the check of packed bytes does not bound how many lie in each other. */
enum { ANY_DEPTH_MAX = 16 };

static json_t *int64_json(int64_t v)
{
	char buf[32];

	snprintf(buf, sizeof(buf), "%lld", (long long)v);
	return json_string(buf);
}

static json_t *message_json(const ProtobufCMessage *m, unsigned depth);

static json_t *uint64_json(uint64_t v)
{
	char buf[32];

	snprintf(buf, sizeof(buf), "%llu", (unsigned long long)v);
	return json_string(buf);
}

static json_t *double_json(double v)
{
	if (isnan(v))
		return json_string("NaN");
	if (isinf(v))
		return json_string(v > 0 ? "Infinity" : "-Infinity");
	/* Whole numbers without a fraction; an integer has no negative zero. */
	if (v == floor(v) && fabs(v) < 1e15 && !(v == 0 && signbit(v)))
		return json_integer((json_int_t)v);
	return json_real(v);
}

/* The shortest decimal that reads back as the same float. */
static double float_decimal(float v)
{
	char buf[32];
	double d = (double)v;

	for (int digits = 6; digits < 10; digits++) {
		snprintf(buf, sizeof(buf), "%.*g", digits, (double)v);
		sscanf(buf, "%lf", &d);
		if ((float)d == v)
			break;
	}
	return d;
}

static json_t *bytes_json(const ProtobufCBinaryData *b)
{
	char *text = mt_base64_encode(b->data, b->len);
	json_t *j = json_string(text);

	mt_free(text);
	return j;
}

static json_t *enum_json(const ProtobufCEnumDescriptor *e, int v)
{
	const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(e, v);

	return value ? json_string(value->name) : json_integer(v);
}

static json_t *value_json(const ProtobufCFieldDescriptor *f, const void *p, unsigned depth)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32: return json_integer(*(const int32_t *)p);
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32: return json_integer(*(const uint32_t *)p);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64: return int64_json(*(const int64_t *)p);
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64: return uint64_json(*(const uint64_t *)p);
	case PROTOBUF_C_TYPE_FLOAT:
		return double_json(isfinite(*(const float *)p) ? float_decimal(*(const float *)p)
							       : (double)*(const float *)p);
	case PROTOBUF_C_TYPE_DOUBLE: return double_json(*(const double *)p);
	case PROTOBUF_C_TYPE_BOOL: return json_boolean(*(const protobuf_c_boolean *)p);
	case PROTOBUF_C_TYPE_ENUM: return enum_json(f->descriptor, *(const int *)p);
	case PROTOBUF_C_TYPE_STRING: {
		const char *s = *(const char *const *)p;
		return json_string(s ? s : "");
	}
	case PROTOBUF_C_TYPE_BYTES: return bytes_json(p);
	case PROTOBUF_C_TYPE_MESSAGE: {
		const ProtobufCMessage *m = *(const ProtobufCMessage *const *)p;
		return m ? message_json(m, depth) : json_object();
	}
	}
	return NULL;
}

static bool is_default(const ProtobufCFieldDescriptor *f, const void *p)
{
	static const char zero[sizeof(ProtobufCBinaryData)];

	if (f->type == PROTOBUF_C_TYPE_STRING)
		return mt_str_empty(*(const char *const *)p);
	if (f->type == PROTOBUF_C_TYPE_BYTES)
		return ((const ProtobufCBinaryData *)p)->len == 0;
	return memcmp(p, zero, mt_field_size(f)) == 0;
}

static json_t *map_json(const ProtobufCMessageDescriptor *entry, ProtobufCMessage *const *v,
	size_t n, unsigned depth)
{
	const ProtobufCFieldDescriptor *kf = &entry->fields[0], *vf = &entry->fields[1];
	json_t *j = json_object();

	for (size_t i = 0; i < n; i++) {
		json_t *key = value_json(kf, (const char *)v[i] + kf->offset, depth);
		json_t *value = value_json(vf, (const char *)v[i] + vf->offset, depth);
		char num[32];
		const char *k = json_string_value(key);
		if (!k && json_is_integer(key)) {
			snprintf(num, sizeof(num), "%lld", (long long)json_integer_value(key));
			k = num;
		} else if (!k) {
			k = json_is_true(key) ? "true" : "false";
		}
		json_object_set_new(j, k, value);
		json_decref(key);
	}
	return j;
}

static json_t *repeated_json(
	const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, unsigned depth)
{
	size_t n = *(const size_t *)((const char *)m + f->quantifier_offset);
	const char *v = *(const char *const *)((const char *)m + f->offset);
	const ProtobufCMessageDescriptor *map = mt_field_map(m->descriptor, f);
	json_t *j;

	if (!n)
		return NULL;
	if (map)
		return map_json(map, (ProtobufCMessage *const *)v, n, depth);
	j = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(j, value_json(f, v + i * mt_field_size(f), depth));
	return j;
}

/* NULL: the field is not written. */
static json_t *field_json(
	const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, unsigned depth)
{
	const char *p = (const char *)m + f->offset;

	if (f->label == PROTOBUF_C_LABEL_REPEATED)
		return repeated_json(m, f, depth);
	if (mt_field_in_oneof(f))
		return *(const uint32_t *)((const char *)m + f->quantifier_offset) == f->id
			? value_json(f, p, depth)
			: NULL;
	return is_default(f, p) ? NULL : value_json(f, p, depth);
}

/* ---- well-known types ---- */

static json_t *any_json(const Google__Protobuf__Any *any, unsigned depth)
{
	struct mt_arena *a = mt_arena_new(64 << 20);
	ProtobufCMessage *m = depth < ANY_DEPTH_MAX ? mt_pb_any_unpack(any, a, NULL) : NULL;
	json_t *j, *inner = m ? message_json(m, depth + 1) : NULL;

	if (inner && json_is_object(inner) &&
		!mt_str_prefix(m->descriptor->name, "google.protobuf.")) {
		j = json_pack("{s:s}", "@type", any->type_url);
		json_object_update(j, inner);
		json_decref(inner);
	} else {
		j = json_pack("{s:s}", "@type", any->type_url ? any->type_url : "");
		json_object_set_new(j, "value", inner ? inner : bytes_json(&any->value));
	}
	mt_arena_free(a);
	return j;
}

static json_t *struct_json(const Google__Protobuf__Struct *s, unsigned depth)
{
	json_t *j = json_object();

	for (size_t i = 0; i < s->n_fields; i++)
		json_object_set_new(j, s->fields[i]->key,
			s->fields[i]->value ? message_json(&s->fields[i]->value->base, depth)
					    : json_null());
	return j;
}

static json_t *any_value_json(const Google__Protobuf__Value *v, unsigned depth)
{
	json_t *j;

	switch (v->kind_case) {
	case GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE: return double_json(v->number_value);
	case GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE:
		return json_string(v->string_value ? v->string_value : "");
	case GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE: return json_boolean(v->bool_value);
	case GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE:
		return v->struct_value ? struct_json(v->struct_value, depth) : json_object();
	case GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE:
		j = json_array();
		for (size_t i = 0; v->list_value && i < v->list_value->n_values; i++)
			json_array_append_new(j, any_value_json(v->list_value->values[i], depth));
		return j;
	default: return json_null();
	}
}

static json_t *duration_json(const Google__Protobuf__Duration *d)
{
	char buf[48];
	int64_t ns;

	if (__builtin_mul_overflow(d->seconds, MT_NS_PER_SEC, &ns) ||
		__builtin_add_overflow(ns, (int64_t)d->nanos, &ns))
		snprintf(buf, sizeof(buf), "%llds", (long long)d->seconds);
	else
		mt_duration_format(ns, buf, sizeof(buf));
	return json_string(buf);
}

static json_t *timestamp_json(const Google__Protobuf__Timestamp *t)
{
	char buf[48];
	int64_t ns;

	if (__builtin_mul_overflow(t->seconds, MT_NS_PER_SEC, &ns) ||
		__builtin_add_overflow(ns, (int64_t)t->nanos, &ns))
		return json_string("");
	mt_time_format(ns, buf, sizeof(buf));
	return json_string(buf);
}

static json_t *wkt_json(const ProtobufCMessage *m, unsigned depth)
{
	const ProtobufCMessageDescriptor *d = m->descriptor;

	if (!mt_str_prefix(d->name, "google.protobuf."))
		return NULL;
	if (d == &google__protobuf__duration__descriptor)
		return duration_json((const Google__Protobuf__Duration *)m);
	if (d == &google__protobuf__timestamp__descriptor)
		return timestamp_json((const Google__Protobuf__Timestamp *)m);
	if (d == &google__protobuf__any__descriptor)
		return any_json((const Google__Protobuf__Any *)m, depth);
	if (d == &google__protobuf__struct__descriptor)
		return struct_json((const Google__Protobuf__Struct *)m, depth);
	if (d == &google__protobuf__value__descriptor)
		return any_value_json((const Google__Protobuf__Value *)m, depth);
	if (d == &google__protobuf__list_value__descriptor) {
		json_t *j = repeated_json(m, &d->fields[0], depth);
		return j ? j : json_array();
	}
	if (d->n_fields == 1 && mt_str_suffix(d->name, "Value"))
		return value_json(&d->fields[0], (const char *)m + d->fields[0].offset, depth);
	return NULL;
}

static json_t *message_json(const ProtobufCMessage *m, unsigned depth)
{
	json_t *j = wkt_json(m, depth);
	char name[128];

	if (j)
		return j;
	j = json_object();
	for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
		json_t *value = field_json(m, f, depth);
		if (value)
			json_object_set_new(j, mt_field_json_name(f, name, sizeof(name)), value);
	}
	return j;
}

json_t *mt_pb_to_json(const ProtobufCMessage *m)
{
	return message_json(m, 0);
}
