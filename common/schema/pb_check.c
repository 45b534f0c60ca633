/* Bounded walk over packed bytes, before protobuf-c sees them.
 *
 * protobuf-c unpacks recursively without a limit, accepts invalid UTF-8, and merges a singular
 * submessage that comes again and again in quadratic time. This walk goes down the descriptor and the
 * bytes together and refuses: nesting beyond 64, wire types that do not fit, groups, text that is not
 * UTF-8, and a singular submessage more than MERGES_MAX times. Unknown fields are skipped.
 */
#include <string.h>

#include "common/base/strs.h"
#include "common/schema/pb.h"

enum { DEPTH_MAX = 64, MERGES_MAX = 16, FIELDS_MAX = 256 };
enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct walk {
	const uint8_t *p;
	const uint8_t *end;
};

static bool varint(struct walk *w, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64 && w->p < w->end; shift += 7) {
		uint8_t b = *w->p++;
		v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80)) {
			*ret = v;
			return true;
		}
	}
	return false;
}

static int wire_of(ProtobufCType t)
{
	switch (t) {
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_FLOAT: return WIRE_32;
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_DOUBLE: return WIRE_64;
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_BYTES:
	case PROTOBUF_C_TYPE_MESSAGE: return WIRE_BYTES;
	default: return WIRE_VARINT;
	}
}

static bool packed_ok(ProtobufCType t, const uint8_t *p, size_t n)
{
	int wire = wire_of(t);
	struct walk w = { p, p + n };
	uint64_t v;

	if (wire != WIRE_VARINT)
		return n % (wire == WIRE_32 ? 4 : 8) == 0;
	while (w.p < w.end)
		if (!varint(&w, &v))
			return false;
	return true;
}

static int walk_message(const ProtobufCMessageDescriptor *d, const uint8_t *p, size_t n,
	unsigned depth, struct mt_err *err);

static int walk_bytes(const ProtobufCMessageDescriptor *d, const ProtobufCFieldDescriptor *f,
	const uint8_t *p, size_t n, unsigned depth, uint8_t *merges, struct mt_err *err)
{
	size_t index = (size_t)(f - d->fields);

	switch (f->type) {
	case PROTOBUF_C_TYPE_MESSAGE:
		if (f->label != PROTOBUF_C_LABEL_REPEATED && index < FIELDS_MAX &&
			++merges[index] > MERGES_MAX)
			return mt_fail(
				err, MT_INVALID, f->name, "%s: the field comes too often", d->name);
		return walk_message(f->descriptor, p, n, depth + 1, err);
	case PROTOBUF_C_TYPE_STRING:
		if (!mt_utf8_valid(p, n))
			return mt_fail(
				err, MT_INVALID, f->name, "%s: text that is not UTF-8", d->name);
		return 0;
	case PROTOBUF_C_TYPE_BYTES: return 0;
	default: break;
	}
	if (f->label != PROTOBUF_C_LABEL_REPEATED || !packed_ok(f->type, p, n))
		return mt_fail(err, MT_INVALID, f->name, "%s: a bad packed field", d->name);
	return 0;
}

static int walk_message(const ProtobufCMessageDescriptor *d, const uint8_t *p, size_t n,
	unsigned depth, struct mt_err *err)
{
	struct walk w = { p, p + n };
	uint8_t merges[FIELDS_MAX] = { 0 };
	uint64_t tag, v;
	int r;

	if (depth > DEPTH_MAX)
		return mt_fail(
			err, MT_LIMIT, NULL, "%s: nested deeper than %d", d->name, DEPTH_MAX);
	while (w.p < w.end) {
		if (!varint(&w, &tag) || tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
			return mt_fail(err, MT_INVALID, NULL, "%s: a bad field tag", d->name);
		unsigned wire = tag & 7;
		const ProtobufCFieldDescriptor *f =
			protobuf_c_message_descriptor_get_field(d, (unsigned)(tag >> 3));
		if (f && wire != (unsigned)wire_of(f->type) && wire != WIRE_BYTES)
			return mt_fail(err, MT_INVALID, f->name, "%s: wire type %u", d->name, wire);
		if (wire == WIRE_VARINT) {
			if (!varint(&w, &v))
				return mt_fail(err, MT_INVALID, f ? f->name : NULL,
					"%s: a bad varint", d->name);
		} else if (wire == WIRE_64 || wire == WIRE_32) {
			size_t size = wire == WIRE_64 ? 8 : 4;
			if ((size_t)(w.end - w.p) < size)
				return mt_fail(err, MT_INVALID, f ? f->name : NULL, "%s: cut short",
					d->name);
			w.p += size;
		} else if (wire == WIRE_BYTES) {
			if (!varint(&w, &v) || v > (size_t)(w.end - w.p))
				return mt_fail(err, MT_INVALID, f ? f->name : NULL, "%s: cut short",
					d->name);
			if (f && (r = walk_bytes(d, f, w.p, (size_t)v, depth, merges, err)) < 0)
				return r;
			w.p += v;
		} else {
			return mt_fail(err, MT_INVALID, NULL, "%s: wire type %u", d->name, wire);
		}
	}
	return 0;
}

int mt_pb_check(const ProtobufCMessageDescriptor *d, const void *p, size_t n, struct mt_err *err)
{
	/* No bytes may come as a null pointer. */
	return n ? walk_message(d, p, n, 1, err) : 0;
}
