/* From a node tree to a typed message: the strict half of protobuf's JSON mapping.
 *
 * The decoder walks the tree beside the descriptor and allocates the message in the object's arena.
 * It never stops at the first fault: each one is reported with its place and path, and the field is
 * left out. Maps are sorted by key, so that equal content has equal bytes.
 */
#include "common/schema/pb_decode.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strs.h"
#include "common/schema/base64.h"
#include "common/schema/field.h"
#include "common/schema/pb.h"
#include "common/schema/scalar.h"

enum { FIELDS_MAX = 512 };

static bool is_word(const char *s)
{
	if (!*s)
		return false;
	for (; *s; s++)
		if (!(*s == '_' || *s == '-' || *s == '@' || (*s >= '0' && *s <= '9') ||
			    ((*s | 32) >= 'a' && (*s | 32) <= 'z')))
			return false;
	return true;
}

void mt_path_write(const struct mt_path *path, struct mt_buf *out)
{
	if (!path)
		return;
	mt_path_write(path->up, out);
	if (!path->key)
		mt_buf_printf(out, "[%zu]", path->index);
	else if (!path->up || is_word(path->key))
		mt_buf_printf(out, "%s%s", out->n ? "." : "", path->key);
	else
		mt_buf_printf(out, "[\"%s\"]", path->key);
}

void mt_pb_fault(
	struct mt_pb_decode *d, int line, int col, const struct mt_path *path, const char *fmt, ...)
{
	struct mt_pos pos = { d->file, line, col };
	struct mt_buf where = { 0 }, msg = { 0 };
	va_list ap;

	va_start(ap, fmt);
	mt_buf_vprintf(&msg, fmt, ap);
	va_end(ap);
	mt_path_write(path, &where);
	mt_diag_add(d->diags, MT_SEV_ERROR, &pos, d->object, mt_buf_str(&where), "%s",
		mt_buf_str(&msg));
	mt_buf_clear(&where);
	mt_buf_clear(&msg);
}

bool mt_node_is_null(const struct mt_node *n)
{
	return n->type == MT_NODE_PLAIN && mt_scalar_class(n->s, n->n) == MT_SCALAR_NULL;
}

void mt_pb_expected(struct mt_pb_decode *d, const struct mt_node *n, const struct mt_path *path,
	const char *what)
{
	char buf[128];

	mt_pb_fault(d, (int)n->line, n->col, path, "%s is expected, not %s", what,
		mt_node_describe(n, buf, sizeof(buf)));
}

size_t mt_pb_place_open(
	struct mt_pb_decode *d, const char *key, const struct mt_pair *p, const struct mt_node *n)
{
	bool scalar = n->type == MT_NODE_PLAIN || n->type == MT_NODE_STRING;

	if (!d->places)
		return 0;
	return mt_places_open(
		d->places, key, p && !scalar ? p->line : n->line, p && !scalar ? p->col : n->col);
}

void mt_pb_place_close(struct mt_pb_decode *d, size_t index)
{
	if (d->places)
		mt_places_close(d->places, index);
}

/* ---- names ---- */

static const char *field_name_at(const void *ctx, size_t i)
{
	const ProtobufCMessageDescriptor *desc = ctx;

	return i < desc->n_fields ? desc->fields[i].name : NULL;
}

static const char *enum_name_at(const void *ctx, size_t i)
{
	const ProtobufCEnumDescriptor *e = ctx;

	return i < e->n_value_names ? e->values_by_name[i].name : NULL;
}

static void unknown_field(struct mt_pb_decode *d, const ProtobufCMessageDescriptor *desc,
	const struct mt_pair *p, const struct mt_path *path)
{
	const char *near = mt_nearest(p->key, field_name_at, desc);
	char buf[128];

	if (near)
		mt_pb_fault(d, (int)p->line, p->col, path,
			"unknown field \"%.100s\" (did you mean \"%s\"?)", p->key,
			mt_field_json_name(
				protobuf_c_message_descriptor_get_field_by_name(desc, near), buf,
				sizeof(buf)));
	else
		mt_pb_fault(d, (int)p->line, p->col, path, "unknown field \"%.100s\"", p->key);
}

/* ---- scalars ---- */

static bool decode_integer(struct mt_pb_decode *d, const struct mt_node *n,
	const struct mt_path *path, uint64_t max, uint64_t max_neg, int64_t *ret)
{
	uint64_t v;
	bool neg;

	if (n->type == MT_NODE_SEQ || n->type == MT_NODE_MAP || !n->n ||
		!mt_scalar_int(n->s, n->n, &v, &neg)) {
		mt_pb_expected(d, n, path, "an integer");
		return false;
	}
	if (v > (neg ? max_neg : max)) {
		mt_pb_fault(d, (int)n->line, n->col, path, "%.40s is out of range", n->s);
		return false;
	}
	*ret = neg ? (int64_t)(0 - v) : (int64_t)v;
	return true;
}

static bool decode_string(
	struct mt_pb_decode *d, const struct mt_node *n, const struct mt_path *path, char **ret)
{
	bool bare = n->type == MT_NODE_PLAIN && mt_scalar_class(n->s, n->n) != MT_SCALAR_STRING;
	char buf[128];

	if (bare && !(d->bare_strings && n->n)) {
		mt_pb_fault(d, (int)n->line, n->col, path,
			"a string is expected, not %s: write it in quotes",
			mt_node_describe(n, buf, sizeof(buf)));
		return false;
	}
	if (n->type == MT_NODE_SEQ || n->type == MT_NODE_MAP) {
		mt_pb_expected(d, n, path, "a string");
		return false;
	}
	*ret = mt_arena_strndup(d->a, n->s, n->n);
	return true;
}

static bool decode_enum(struct mt_pb_decode *d, const ProtobufCEnumDescriptor *e,
	const struct mt_node *n, const struct mt_path *path, int *ret)
{
	const ProtobufCEnumValue *v = NULL;
	const char *near;
	uint64_t number;
	bool neg;

	if (n->type == MT_NODE_SEQ || n->type == MT_NODE_MAP || !n->n) {
		mt_pb_expected(d, n, path, "a name");
		return false;
	}
	v = protobuf_c_enum_descriptor_get_value_by_name(e, n->s);
	if (!v && mt_scalar_int(n->s, n->n, &number, &neg) && number <= INT32_MAX)
		v = protobuf_c_enum_descriptor_get_value(e, neg ? -(int)number : (int)number);
	if (v) {
		*ret = v->value;
		return true;
	}
	near = mt_nearest(n->s, enum_name_at, e);
	struct mt_buf all = { 0 };
	for (unsigned i = 0; i < e->n_values && i < 12; i++)
		mt_buf_printf(&all, "%s%s", i ? ", " : "", e->values[i].name);
	if (near)
		mt_pb_fault(d, (int)n->line, n->col, path,
			"\"%.60s\" is not known (did you mean \"%s\"?)", n->s, near);
	else
		mt_pb_fault(d, (int)n->line, n->col, path, "\"%.60s\" is not one of %s%s", n->s,
			mt_buf_str(&all), e->n_values > 12 ? ", ..." : "");
	mt_buf_clear(&all);
	return false;
}

static bool decode_bytes(struct mt_pb_decode *d, const struct mt_node *n,
	const struct mt_path *path, ProtobufCBinaryData *ret)
{
	if (n->type == MT_NODE_SEQ || n->type == MT_NODE_MAP ||
		!mt_base64_decode(n->s, n->n, d->a, &ret->data, &ret->len)) {
		mt_pb_expected(d, n, path, "base64 text");
		return false;
	}
	return true;
}

static bool decode_double(
	struct mt_pb_decode *d, const struct mt_node *n, const struct mt_path *path, double *ret)
{
	bool scalar = n->type == MT_NODE_STRING ||
		(n->type == MT_NODE_PLAIN && mt_scalar_class(n->s, n->n) != MT_SCALAR_ODD);
	uint64_t u;
	bool neg;

	if (scalar && n->n && mt_scalar_double(n->s, n->n, ret))
		return true;
	if (scalar && n->n && mt_scalar_int(n->s, n->n, &u, &neg)) {
		*ret = neg ? -(double)u : (double)u;
		return true;
	}
	mt_pb_expected(d, n, path, "a number");
	return false;
}

static bool decode_bool(struct mt_pb_decode *d, const struct mt_node *n, const struct mt_path *path,
	protobuf_c_boolean *ret)
{
	bool b;

	if (n->type != MT_NODE_PLAIN || !mt_scalar_bool(n->s, &b)) {
		mt_pb_expected(d, n, path, "true or false");
		return false;
	}
	*ret = b;
	return true;
}

bool mt_pb_decode_scalar(struct mt_pb_decode *d, const ProtobufCFieldDescriptor *f,
	const struct mt_node *n, const struct mt_path *path, void *dst)
{
	int64_t v = 0;
	double x;

	switch (f->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		if (!decode_integer(d, n, path, INT32_MAX, (uint64_t)INT32_MAX + 1, &v))
			return false;
		*(int32_t *)dst = (int32_t)v;
		return true;
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		if (!decode_integer(d, n, path, UINT32_MAX, 0, &v))
			return false;
		*(uint32_t *)dst = (uint32_t)v;
		return true;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		return decode_integer(d, n, path, INT64_MAX, (uint64_t)INT64_MAX + 1, dst);
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64: return decode_integer(d, n, path, UINT64_MAX, 0, dst);
	case PROTOBUF_C_TYPE_FLOAT:
		if (!decode_double(d, n, path, &x))
			return false;
		*(float *)dst = (float)x;
		return true;
	case PROTOBUF_C_TYPE_DOUBLE: return decode_double(d, n, path, dst);
	case PROTOBUF_C_TYPE_BOOL: return decode_bool(d, n, path, dst);
	case PROTOBUF_C_TYPE_ENUM: return decode_enum(d, f->descriptor, n, path, dst);
	case PROTOBUF_C_TYPE_STRING: return decode_string(d, n, path, dst);
	case PROTOBUF_C_TYPE_BYTES: return decode_bytes(d, n, path, dst);
	case PROTOBUF_C_TYPE_MESSAGE: break;
	}
	return false;
}

/* ---- fields ---- */

static bool decode_value(struct mt_pb_decode *d, const ProtobufCFieldDescriptor *f,
	const struct mt_node *n, const struct mt_path *path, void *dst)
{
	if (f->type != PROTOBUF_C_TYPE_MESSAGE)
		return mt_pb_decode_scalar(d, f, n, path, dst);
	ProtobufCMessage *m = mt_pb_decode(d, f->descriptor, n, path);
	if (!m)
		return false;
	*(ProtobufCMessage **)dst = m;
	return true;
}

static void decode_list(struct mt_pb_decode *d, const ProtobufCFieldDescriptor *f,
	const struct mt_node *n, const struct mt_path *path, ProtobufCMessage *m)
{
	size_t size = mt_field_size(f), count = 0;

	if (n->type != MT_NODE_SEQ) {
		mt_pb_expected(d, n, path, "a list");
		return;
	}
	char *v = n->n ? mt_arena_alloc(d->a, n->n * size) : NULL;
	for (uint32_t i = 0; i < n->n; i++) {
		struct mt_path step = { path, NULL, i };
		size_t place = mt_pb_place_open(d, NULL, NULL, n->items[i]);
		bool null = mt_node_is_null(n->items[i]) &&
			!(f->type == PROTOBUF_C_TYPE_MESSAGE && mt_pb_takes_null(f->descriptor));
		if (null)
			mt_pb_fault(d, (int)n->items[i]->line, n->items[i]->col, &step,
				"an empty item in a list");
		else if (decode_value(d, f, n->items[i], &step, v + count * size))
			count++;
		mt_pb_place_close(d, place);
	}
	*(size_t *)((char *)m + f->quantifier_offset) = count;
	*(void **)((char *)m + f->offset) = count ? v : NULL;
}

struct entry {
	const struct mt_pair *pair;
	ProtobufCMessage *m;
};

static int entry_cmp(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->pair->key, ((const struct entry *)b)->pair->key);
}

static ProtobufCMessage *decode_entry(struct mt_pb_decode *d,
	const ProtobufCMessageDescriptor *desc, const struct mt_pair *p, const struct mt_path *path)
{
	const ProtobufCFieldDescriptor *kf = &desc->fields[0], *vf = &desc->fields[1];
	ProtobufCMessage *m = mt_pb_new(desc, d->a);
	struct mt_node key = { .type = MT_NODE_STRING,
		.line = p->line,
		.col = p->col,
		.s = p->key,
		.n = (uint32_t)strlen(p->key) };
	bool b;

	if (kf->type == PROTOBUF_C_TYPE_BOOL) {
		if (!mt_scalar_bool(p->key, &b)) {
			mt_pb_expected(d, &key, path, "true or false");
			return NULL;
		}
		*(protobuf_c_boolean *)((char *)m + kf->offset) = b;
	} else if (!mt_pb_decode_scalar(d, kf, &key, path, (char *)m + kf->offset)) {
		return NULL;
	}
	const char *place_key = kf->type == PROTOBUF_C_TYPE_STRING
		? *(char **)((char *)m + kf->offset)
		: mt_arena_strdup(d->a, p->key);
	size_t place = mt_pb_place_open(d, place_key, p, p->value);
	bool ok = false;
	if (mt_node_is_null(p->value) &&
		!(vf->type == PROTOBUF_C_TYPE_MESSAGE && mt_pb_takes_null(vf->descriptor)) &&
		!(vf->type == PROTOBUF_C_TYPE_STRING && d->bare_strings && p->value->n))
		mt_pb_fault(d, (int)p->line, p->col, path, "a value is missing");
	else
		ok = decode_value(d, vf, p->value, path, (char *)m + vf->offset);
	mt_pb_place_close(d, place);
	return ok ? m : NULL;
}

static void decode_map(struct mt_pb_decode *d, const ProtobufCMessageDescriptor *desc,
	const ProtobufCFieldDescriptor *f, const struct mt_node *n, const struct mt_path *path,
	ProtobufCMessage *m)
{
	size_t count = 0;

	if (n->type != MT_NODE_MAP) {
		mt_pb_expected(d, n, path, "a mapping");
		return;
	}
	struct entry *e = mt_reallocarray(NULL, n->n + 1, sizeof(*e));
	for (uint32_t i = 0; i < n->n; i++) {
		struct mt_path step = { path, n->pairs[i].key, 0 };
		e[count].pair = &n->pairs[i];
		if ((e[count].m = decode_entry(d, desc, &n->pairs[i], &step)))
			count++;
	}
	qsort(e, count, sizeof(*e), entry_cmp);
	ProtobufCMessage **v = count ? MT_ANEWN(d->a, ProtobufCMessage *, count) : NULL;
	for (size_t i = 0; i < count; i++)
		v[i] = e[i].m;
	mt_free(e);
	*(size_t *)((char *)m + f->quantifier_offset) = count;
	*(void **)((char *)m + f->offset) = v;
}

/* False: another member of the oneof is set already. */
static bool oneof_take(struct mt_pb_decode *d, const ProtobufCFieldDescriptor *f,
	const struct mt_pair *p, const struct mt_path *path, ProtobufCMessage *m)
{
	uint32_t *which = (uint32_t *)((char *)m + f->quantifier_offset);
	char other[128], mine[128];

	if (!*which || *which == f->id)
		return true;
	mt_field_json_name(protobuf_c_message_descriptor_get_field(m->descriptor, *which), other,
		sizeof(other));
	mt_pb_fault(d, (int)p->line, p->col, path, "only one of %s and %s may be set", other,
		mt_field_json_name(f, mine, sizeof(mine)));
	return false;
}

/* Istio's examples write `peers: [{mtls: }]`, and its reader took null for the empty message there. */
static bool null_is_empty(const ProtobufCMessageDescriptor *desc, const ProtobufCFieldDescriptor *f)
{
	return mt_field_in_oneof(f) && f->type == PROTOBUF_C_TYPE_MESSAGE &&
		strcmp(desc->name, "istio.authentication.v1alpha1.PeerAuthenticationMethod") == 0;
}

static void decode_field(struct mt_pb_decode *d, const ProtobufCFieldDescriptor *f,
	const struct mt_pair *p, const struct mt_path *path, ProtobufCMessage *m)
{
	struct mt_path step = { path, p->key, 0 };
	const ProtobufCMessageDescriptor *map;

	if (mt_node_is_null(p->value) &&
		!(f->type == PROTOBUF_C_TYPE_MESSAGE && f->label != PROTOBUF_C_LABEL_REPEATED &&
			mt_pb_takes_null(f->descriptor)) &&
		!(d->bare_strings && p->value->n) && !null_is_empty(m->descriptor, f))
		return; /* null is "not set" */
	size_t place = mt_pb_place_open(d, f->name, p, p->value);
	if (f->label == PROTOBUF_C_LABEL_REPEATED) {
		if ((map = mt_field_map(m->descriptor, f)))
			decode_map(d, map, f, p->value, &step, m);
		else
			decode_list(d, f, p->value, &step, m);
	} else if (!mt_field_in_oneof(f)) {
		decode_value(d, f, p->value, &step, (char *)m + f->offset);
	} else if (oneof_take(d, f, p, &step, m) &&
		decode_value(d, f, p->value, &step, (char *)m + f->offset)) {
		*(uint32_t *)((char *)m + f->quantifier_offset) = f->id;
	}
	mt_pb_place_close(d, place);
}

ProtobufCMessage *mt_pb_decode(struct mt_pb_decode *d, const ProtobufCMessageDescriptor *desc,
	const struct mt_node *n, const struct mt_path *path)
{
	ProtobufCMessage *m;
	bool seen[FIELDS_MAX] = { false };

	if (mt_pb_decode_wkt(d, desc, n, path, &m))
		return m;
	if (n->type != MT_NODE_MAP) {
		if (mt_node_is_null(n))
			return mt_pb_new(desc, d->a);
		mt_pb_expected(d, n, path, "a mapping");
		return NULL;
	}
	bool bare = d->bare_strings;
	if (mt_str_suffix(desc->name, "InstanceParam"))
		d->bare_strings = true;
	m = mt_pb_new(desc, d->a);
	for (uint32_t i = 0; i < n->n; i++) {
		const struct mt_pair *p = &n->pairs[i];
		const ProtobufCFieldDescriptor *f = mt_field_find(desc, p->key);
		size_t index = f ? (size_t)(f - desc->fields) : 0;
		if (!f || index >= FIELDS_MAX) {
			unknown_field(d, desc, p, path);
		} else if (seen[index]) {
			mt_pb_fault(d, (int)p->line, p->col, path,
				"the field \"%.100s\" stands twice", p->key);
		} else {
			seen[index] = true;
			decode_field(d, f, p, path, m);
		}
	}
	d->bare_strings = bare;
	return m;
}
