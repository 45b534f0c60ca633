/* Objects as istio.mcp.v1alpha1.Resource. What MCP has no field for travels as annotations of a domain
 * of our own, which the reader takes out again: where the object was written, and its generation (as
 * metadata.version too, where other readers of MCP look). Places of single fields stay in Galley. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/feed/feed.h"
#include "common/schema/pb.h"
#include "google/protobuf/timestamp.pb-c.h"
#include "istio/mcp/v1alpha1/mcp.pb-c.h"

#define SOURCE_KEY "internal.meltemi.io/source"

enum { UNPACK_MAX = 64 << 20 };

static void pairs_fill(const struct mt_kv *v, size_t n, ProtobufCMessage **ret, struct mt_arena *a,
	const ProtobufCMessageDescriptor *entry)
{
	for (size_t i = 0; i < n; i++) {
		/* Entries of both maps have one layout: base, key, value. */
		Mcp__Metadata__LabelsEntry *e = (Mcp__Metadata__LabelsEntry *)mt_pb_new(entry, a);
		e->key = (char *)v[i].key;
		e->value = (char *)v[i].value;
		ret[i] = &e->base;
	}
}

static void metadata_fill(Mcp__Metadata *m, const struct mt_object *o, struct mt_arena *a)
{
	struct mt_kv source = { SOURCE_KEY, NULL };
	bool known = o->pos.file != NULL;
	char key[400];

	m->name = mt_arena_strdup(a, mt_object_key(o, key, sizeof(key)));
	m->version = mt_arena_printf(a, "%llu", (unsigned long long)o->generation);
	if (o->created_ns) {
		m->create_time = MT_ANEW(a, Google__Protobuf__Timestamp);
		google__protobuf__timestamp__init(m->create_time);
		m->create_time->seconds = o->created_ns / MT_NS_PER_SEC;
		m->create_time->nanos = (int32_t)(o->created_ns % MT_NS_PER_SEC);
	}
	m->n_labels = o->nlabels;
	m->labels = MT_ANEWN(a, Mcp__Metadata__LabelsEntry *, o->nlabels);
	pairs_fill(o->labels, o->nlabels, (ProtobufCMessage **)m->labels, a,
		&mcp__metadata__labels_entry__descriptor);
	m->n_annotations = o->nannotations + known;
	m->annotations = MT_ANEWN(a, Mcp__Metadata__AnnotationsEntry *, m->n_annotations);
	pairs_fill(o->annotations, o->nannotations, (ProtobufCMessage **)m->annotations, a,
		&mcp__metadata__annotations_entry__descriptor);
	if (known) {
		source.value = mt_arena_printf(a, "%s:%d:%d", o->pos.file, o->pos.line, o->pos.col);
		pairs_fill(&source, 1, (ProtobufCMessage **)m->annotations + o->nannotations, a,
			&mcp__metadata__annotations_entry__descriptor);
	}
}

void mt_feed_pack(const struct mt_object *o, struct mt_buf *out)
{
	MT_AUTO(mt_arena_freep) struct mt_arena *a = mt_arena_new(0);
	Mcp__Resource r = MCP__RESOURCE__INIT;
	Mcp__Metadata m = MCP__METADATA__INIT;

	metadata_fill(&m, o, a);
	r.metadata = &m;
	r.body = mt_pb_any(a, o->spec);
	mt_pb_pack(&r.base, out);
}

/* "file:line:col" */
static void source_read(struct mt_object *o, char *text)
{
	char *col = strrchr(text, ':');

	if (!col)
		return;
	*col++ = 0;
	char *line = strrchr(text, ':');
	if (!line)
		return;
	*line++ = 0;
	o->pos = (struct mt_pos){ text, atoi(line), atoi(col) };
}

static struct mt_kv *pairs_read(
	struct mt_object *o, size_t n, ProtobufCMessage *const *v, size_t *ret_n)
{
	struct mt_kv *kv = MT_ANEWN(o->arena, struct mt_kv, n);
	size_t out = 0;

	for (size_t i = 0; i < n; i++) {
		const Mcp__Metadata__LabelsEntry *e = (const Mcp__Metadata__LabelsEntry *)v[i];
		if (strcmp(e->key, SOURCE_KEY) == 0)
			source_read(o, mt_arena_strdup(o->arena, e->value));
		else
			kv[out++] = (struct mt_kv){ mt_arena_strdup(o->arena, e->key),
				mt_arena_strdup(o->arena, e->value) };
	}
	*ret_n = out;
	return kv;
}

static int metadata_read(struct mt_object *o, const Mcp__Metadata *m, struct mt_err *err)
{
	const char *slash = strchr(m->name, '/');

	if (!*m->name || (slash != NULL) != (o->kind->scope == MT_SCOPE_NAMESPACED) ||
		(slash && (slash == m->name || !slash[1] || strchr(slash + 1, '/'))))
		return mt_fail(err, MT_INVALID, "metadata.name", "\"%.100s\" is no name of a %s",
			m->name, o->kind->kind);
	o->name = mt_arena_strdup(o->arena, slash ? slash + 1 : m->name);
	o->ns = slash ? mt_arena_strndup(o->arena, m->name, (size_t)(slash - m->name)) : "";
	o->generation = strtoull(m->version, NULL, 10);
	if (m->create_time && m->create_time->seconds > 0 &&
		m->create_time->seconds < INT64_MAX / MT_NS_PER_SEC)
		o->created_ns = m->create_time->seconds * MT_NS_PER_SEC + m->create_time->nanos;
	o->labels = pairs_read(o, m->n_labels, (ProtobufCMessage *const *)m->labels, &o->nlabels);
	o->annotations = pairs_read(
		o, m->n_annotations, (ProtobufCMessage *const *)m->annotations, &o->nannotations);
	return 0;
}

int mt_feed_unpack(const struct mt_kind *k, const void *p, size_t n, struct mt_object **ret,
	struct mt_err *err)
{
	MT_AUTO(mt_arena_freep) struct mt_arena *a = mt_arena_new(UNPACK_MAX);
	Mcp__Resource *r = (Mcp__Resource *)mt_pb_unpack(&mcp__resource__descriptor, a, p, n, err);
	struct mt_object *o;
	int code;

	if (!r)
		return MT_INVALID;
	if (!r->metadata || !r->body)
		return mt_fail(err, MT_INVALID, NULL, "a resource without metadata or body");
	const char *slash = strrchr(r->body->type_url, '/');
	if (strcmp(slash ? slash + 1 : r->body->type_url, k->spec->name) != 0)
		return mt_fail(err, MT_INVALID, "body", "%.200s where %s is expected",
			r->body->type_url, k->spec->name);
	/* Once into scratch, to know its size: objects are many, and they stay. */
	size_t before = mt_arena_used(a);
	if (!mt_pb_unpack(k->spec, a, r->body->value.data, r->body->value.len, err))
		return MT_INVALID;
	o = mt_object_new(k, mt_arena_used(a) - before + 3 * (n - r->body->value.len));
	code = metadata_read(o, r->metadata, err);
	if (code == 0)
		o->spec = protobuf_c_message_unpack(
			k->spec, mt_arena_pb(o->arena), r->body->value.len, r->body->value.data);
	if (code < 0) {
		mt_object_unref(o);
		return code;
	}
	mt_object_seal(o);
	*ret = o;
	return 0;
}
