#include "common/schema/field.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/base/strs.h"

/* Compares a proto name with a JSON name: '_x' stands for 'X'. */
static bool json_equal(const char *field, const char *name)
{
	for (; *field && *name; field++, name++) {
		char c = *field;
		if (c == '_' && field[1]) {
			c = (char)toupper((unsigned char)*++field);
		}
		if (c != *name)
			return false;
	}
	return !*field && !*name;
}

const ProtobufCFieldDescriptor *mt_field_find(const ProtobufCMessageDescriptor *d, const char *name)
{
	for (unsigned i = 0; i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];
		if (*f->name == *name && (strcmp(f->name, name) == 0 || json_equal(f->name, name)))
			return f;
	}
	return NULL;
}

const char *mt_field_json_name(const ProtobufCFieldDescriptor *f, char *buf, size_t n)
{
	size_t at = 0;

	for (const char *p = f->name; *p && at + 1 < n; p++) {
		char c = *p;
		if (c == '_' && p[1])
			c = (char)toupper((unsigned char)*++p);
		buf[at++] = c;
	}
	buf[at] = 0;
	return buf;
}

/* protoc names a map's entry message after its field: http_status becomes HttpStatusEntry, nested in
 * the field's own message. */
const ProtobufCMessageDescriptor *mt_field_map(
	const ProtobufCMessageDescriptor *d, const ProtobufCFieldDescriptor *f)
{
	if (f->label != PROTOBUF_C_LABEL_REPEATED || f->type != PROTOBUF_C_TYPE_MESSAGE)
		return NULL;
	const ProtobufCMessageDescriptor *e = f->descriptor;
	if (e->n_fields != 2 || strcmp(e->fields[0].name, "key") != 0 ||
		strcmp(e->fields[1].name, "value") != 0 || e->fields[0].id != 1 ||
		e->fields[1].id != 2 || !mt_str_suffix(e->name, "Entry"))
		return NULL;
	size_t n = strlen(d->name);
	if (strncmp(e->name, d->name, n) != 0 || e->name[n] != '.')
		return NULL;
	const char *p = e->name + n + 1;
	bool up = true;
	for (const char *s = f->name; *s; s++) {
		if (*s == '_') {
			up = true;
			continue;
		}
		if (*p++ != (up ? (char)toupper((unsigned char)*s) : *s))
			return NULL;
		up = false;
	}
	return strcmp(p, "Entry") == 0 ? e : NULL;
}

size_t mt_field_size(const ProtobufCFieldDescriptor *f)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
	case PROTOBUF_C_TYPE_ENUM: return 4;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE: return 8;
	case PROTOBUF_C_TYPE_BOOL: return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_BYTES: return sizeof(ProtobufCBinaryData);
	default: return sizeof(void *);
	}
}

/* Edit distance with case folded, and with a neighbour swap as one edit; words up to 63 bytes. */
static unsigned distance(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);
	unsigned before[64] = { 0 }, last[64], row[64];

	if (n > 63 || m > 63)
		return 99;
	for (size_t j = 0; j <= m; j++)
		last[j] = (unsigned)j;
	for (size_t i = 1; i <= n; i++) {
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= m; j++) {
			int x = tolower((unsigned char)a[i - 1]),
			    y = tolower((unsigned char)b[j - 1]);
			row[j] =
				MT_MIN(MT_MIN(last[j] + 1, row[j - 1] + 1), last[j - 1] + (x != y));
			if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
				tolower((unsigned char)a[i - 2]) == y)
				row[j] = MT_MIN(row[j], before[j - 2] + 1);
		}
		memcpy(before, last, sizeof(last));
		memcpy(last, row, sizeof(row));
	}
	return last[m];
}

const char *mt_nearest(
	const char *word, const char *(*next)(const void *ctx, size_t i), const void *ctx)
{
	const char *best = NULL, *w;
	unsigned best_d = (unsigned)MT_MIN(strlen(word) / 3 + 1, 4u) + 1;

	for (size_t i = 0; (w = next(ctx, i)); i++) {
		unsigned d = distance(word, w);
		if (d < best_d) {
			best_d = d;
			best = w;
		}
	}
	return best;
}
