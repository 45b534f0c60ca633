/* Documents to objects: the envelope that Kubernetes gives every configuration object (apiVersion,
 * kind, metadata, spec, status), then the spec by the kind's descriptor.
 *
 * The text becomes a node tree in a scratch arena first; an object copies what it keeps into its own
 * arena, so that one object of a large file can be freed without the others.
 */
#include "common/schema/decode.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/strs.h"
#include "common/base/vec.h"
#include "common/schema/field.h"
#include "common/schema/node.h"
#include "common/schema/pb.h"
#include "common/schema/pb_decode.h"
#include "common/schema/scalar.h"

struct job {
	const char *file;
	const struct mt_decode_limits *limits;
	struct mt_objects *out;
	struct mt_diags *diags;
	size_t objects;
};

static const char *const envelope_keys[] = { "apiVersion", "kind", "metadata", "spec", "status",
	NULL };
static const char *const metadata_keys[] = { "name", "namespace", "labels", "annotations",
	"creationTimestamp", "generation", "resourceVersion", "uid", "selfLink", "managedFields",
	"ownerReferences", "finalizers", "generateName", "deletionTimestamp",
	"deletionGracePeriodSeconds", "clusterName", NULL };

void mt_objects_clear(struct mt_objects *o)
{
	for (size_t i = 0; i < o->n; i++)
		mt_object_unref(o->v[i]);
	mt_vec_clear(o);
}

static const char *word_at(const void *ctx, size_t i)
{
	return ((const char *const *)ctx)[i];
}

static void keys_check(struct mt_pb_decode *d, const struct mt_node *map, const char *const *known,
	const struct mt_path *path)
{
	for (uint32_t i = 0; i < map->n; i++) {
		const struct mt_pair *p = &map->pairs[i];
		const char *const *k = known;
		while (*k && strcmp(*k, p->key) != 0)
			k++;
		if (*k)
			continue;
		const char *near = mt_nearest(p->key, word_at, known);
		mt_pb_fault(d, (int)p->line, p->col, path,
			near ? "unknown field \"%.100s\" (did you mean \"%s\"?)"
			     : "unknown field \"%.100s\"%s",
			p->key, near ? near : "");
	}
}

/* The text of a scalar that must be a string; NULL (reported) otherwise; "" when it is absent. */
static const char *text_of(struct mt_pb_decode *d, const struct mt_node *map, const char *key,
	const struct mt_path *up)
{
	const struct mt_node *n = mt_node_get(map, key);
	struct mt_path path = { up, key, 0 };
	char buf[128];

	if (!n || mt_node_is_null(n))
		return "";
	if (n->type == MT_NODE_STRING ||
		(n->type == MT_NODE_PLAIN && mt_scalar_class(n->s, n->n) == MT_SCALAR_STRING))
		return n->s;
	mt_pb_fault(d, (int)n->line, n->col, &path, "a string is expected, not %s%s",
		mt_node_describe(n, buf, sizeof(buf)),
		n->type == MT_NODE_PLAIN ? ": write it in quotes" : "");
	return NULL;
}

/* DNS names (RFC 1123): lower-case labels, with dots between them when dots is true. */
static bool is_dns_name(const char *s, size_t max, bool dots)
{
	size_t n = strlen(s);

	if (!n || n > max || !isalnum((unsigned char)s[0]) || !isalnum((unsigned char)s[n - 1]))
		return false;
	for (; *s; s++)
		if (!islower((unsigned char)*s) && !isdigit((unsigned char)*s) && *s != '-' &&
			!(dots && *s == '.'))
			return false;
	return true;
}

static void name_check(struct mt_pb_decode *d, const struct mt_node *meta, const char *key,
	const char *value, size_t max, bool dots, const struct mt_path *up)
{
	const struct mt_node *n = mt_node_get(meta, key);
	struct mt_path path = { up, key, 0 };

	if (n && !is_dns_name(value, max, dots))
		mt_pb_fault(d, (int)n->line, n->col, &path,
			"\"%.80s\" is not a name: lower-case letters, digits, '-'%s, at most %zu",
			value, dots ? " and '.'" : "", max);
}

static struct mt_kv *kv_decode(struct mt_pb_decode *d, const struct mt_node *meta, const char *key,
	const struct mt_path *up, size_t *ret_n)
{
	const struct mt_node *map = mt_node_get(meta, key);
	struct mt_path path = { up, key, 0 };
	size_t n = 0;

	if (!map || mt_node_is_null(map))
		return NULL;
	if (map->type != MT_NODE_MAP) {
		mt_pb_expected(d, map, &path, "a mapping");
		return NULL;
	}
	size_t place = mt_pb_place_open(d, key, NULL, map);
	struct mt_kv *v = MT_ANEWN(d->a, struct mt_kv, map->n);
	for (uint32_t i = 0; i < map->n; i++) {
		const struct mt_pair *p = &map->pairs[i];
		const char *text = text_of(d, map, p->key, &path);
		if (!text)
			continue;
		v[n].key = mt_arena_strdup(d->a, p->key);
		v[n].value = mt_arena_strdup(d->a, text);
		mt_pb_place_close(d, mt_pb_place_open(d, v[n].key, p, p->value));
		n++;
	}
	mt_pb_place_close(d, place);
	*ret_n = n;
	return v;
}

static void metadata_scalar_place(
	struct mt_pb_decode *d, const struct mt_node *meta, const char *key)
{
	const struct mt_node *n = mt_node_get(meta, key);

	if (n)
		mt_pb_place_close(d, mt_pb_place_open(d, key, NULL, n));
}

static void metadata_decode(struct mt_pb_decode *d, struct mt_object *o, const struct mt_pair *pair)
{
	static const struct mt_path path = { NULL, "metadata", 0 };
	const struct mt_node *meta = pair->value, *n;
	uint64_t v;
	bool neg;

	size_t place = mt_pb_place_open(d, "metadata", pair, meta);
	keys_check(d, meta, metadata_keys, &path);
	metadata_scalar_place(d, meta, "name");
	metadata_scalar_place(d, meta, "namespace");
	name_check(d, meta, "name", o->name, 253, true, &path);
	if ((n = mt_node_get(meta, "namespace")) && o->kind->scope == MT_SCOPE_CLUSTER && *o->ns)
		mt_pb_fault(d, (int)n->line, n->col, &(struct mt_path){ &path, "namespace", 0 },
			"a %s belongs to no namespace", o->kind->kind);
	else if (*o->ns)
		name_check(d, meta, "namespace", o->ns, 63, false, &path);
	o->labels = kv_decode(d, meta, "labels", &path, &o->nlabels);
	o->annotations = kv_decode(d, meta, "annotations", &path, &o->nannotations);
	mt_pb_place_close(d, place);

	n = mt_node_get(meta, "creationTimestamp");
	if (n && (n->type == MT_NODE_PLAIN || n->type == MT_NODE_STRING) && !mt_node_is_null(n) &&
		mt_time_parse(n->s, &o->created_ns) < 0)
		mt_pb_expected(d, n, &path, "a time");
	n = mt_node_get(meta, "generation");
	if (n && (n->type == MT_NODE_PLAIN || n->type == MT_NODE_STRING) &&
		mt_scalar_int(n->s, n->n, &v, &neg) && !neg)
		o->generation = v;
}

static const struct mt_pair *pair_of(const struct mt_node *map, const char *key)
{
	for (uint32_t i = 0; i < map->n; i++)
		if (strcmp(map->pairs[i].key, key) == 0)
			return &map->pairs[i];
	return NULL;
}

static const char *kind_name_at(const void *ctx, size_t i)
{
	(void)ctx;
	return i < MT_KIND_N ? mt_kinds[i].kind : NULL;
}

static void unknown_kind(
	struct mt_pb_decode *d, const struct mt_node *doc, const char *api, const char *kind)
{
	const struct mt_node *at = mt_node_get(doc, "kind");
	struct mt_path path = { NULL, "kind", 0 };

	for (size_t i = 0; i < MT_KIND_N; i++) {
		const struct mt_kind *k = &mt_kinds[i];
		if (strcmp(k->kind, kind) != 0)
			continue;
		at = mt_node_get(doc, "apiVersion");
		path.key = "apiVersion";
		mt_pb_fault(d, (int)at->line, at->col, &path,
			"%s is not a version of %s: it is in %s (%s)", api, kind, k->group,
			k->versions);
		return;
	}
	const char *near = mt_nearest(kind, kind_name_at, NULL);
	mt_pb_fault(d, (int)at->line, at->col, &path, "unknown kind %s in %s%s%s%s", kind, api,
		near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

/* Reports and returns NULL when apiVersion and kind do not name one of ours. */
static const struct mt_kind *kind_decode(struct mt_pb_decode *d, const struct mt_node *doc)
{
	const char *api = text_of(d, doc, "apiVersion", NULL);
	const char *kind = text_of(d, doc, "kind", NULL);
	const struct mt_kind *k;

	if (!api || !kind)
		return NULL;
	if (!*api || !*kind) {
		mt_pb_fault(d, (int)doc->line, doc->col, NULL, "%s is missing",
			*api ? "kind" : "apiVersion");
		return NULL;
	}
	if (!(k = mt_kind_by_api(api, kind)))
		unknown_kind(d, doc, api, kind);
	return k;
}

static struct mt_object *object_start(struct job *job, struct mt_pb_decode *d,
	const struct mt_node *doc, const struct mt_kind *kind)
{
	const struct mt_node *meta = mt_node_get(doc, "metadata");
	struct mt_path path = { NULL, "metadata", 0 };

	if (!meta || meta->type != MT_NODE_MAP) {
		mt_pb_fault(d, (int)(meta ? meta : doc)->line, (meta ? meta : doc)->col, &path,
			meta ? "a mapping is expected" : "it is missing");
		return NULL;
	}
	const char *name = text_of(d, meta, "name", &path);
	const char *ns = text_of(d, meta, "namespace", &path);
	if (!name || !ns)
		return NULL;
	if (!*name) {
		mt_pb_fault(d, (int)meta->line, meta->col, &path, "name is missing");
		return NULL;
	}
	/* Measured: 40 to 60 bytes a value; a second block would cost more than the slack. */
	struct mt_object *o = mt_object_new(kind, 384 + 64 * (size_t)doc->weight);
	o->name = mt_arena_strdup(o->arena, name);
	o->ns = *ns                               ? mt_arena_strdup(o->arena, ns)
		: kind->scope == MT_SCOPE_CLUSTER ? ""
						  : "default";
	o->pos = (struct mt_pos){ mt_arena_strdup(o->arena, job->file), (int)doc->line, doc->col };
	return o;
}

static void object_decode(struct job *job, const struct mt_node *doc)
{
	struct mt_places_build places = { 0 };
	struct mt_pb_decode d = { .diags = job->diags, .file = job->file };
	size_t errors = job->diags->errors;
	const struct mt_kind *kind = kind_decode(&d, doc);
	struct mt_object *o = kind ? object_start(job, &d, doc, kind) : NULL;
	const struct mt_pair *spec;
	char title[600];

	if (!o)
		return;
	d.a = o->arena;
	d.object = mt_object_title(o, title, sizeof(title));
	if (doc->line)
		d.places = &places;
	keys_check(&d, doc, envelope_keys, NULL);
	metadata_decode(&d, o, pair_of(doc, "metadata"));
	if ((spec = pair_of(doc, "spec"))) {
		struct mt_path path = { NULL, "spec", 0 };
		size_t place = mt_pb_place_open(&d, "spec", spec, spec->value);
		o->spec = mt_pb_decode(&d, kind->spec, spec->value, &path);
		mt_pb_place_close(&d, place);
	}
	if (d.places)
		o->places = mt_places_done(&places, o->arena);
	mt_places_clear(&places);
	if (job->diags->errors > errors) {
		mt_object_unref(o);
		return;
	}
	mt_object_seal(o);
	mt_vec_push(job->out, o);
}

static void document_decode(struct job *job, const struct mt_node *doc)
{
	struct mt_pb_decode d = { .diags = job->diags, .file = job->file };
	const struct mt_node *kind, *items;

	if (mt_node_is_null(doc))
		return;
	if (doc->type != MT_NODE_MAP) {
		mt_pb_expected(&d, doc, NULL, "an object (apiVersion, kind, metadata, spec)");
		return;
	}
	kind = mt_node_get(doc, "kind");
	items = mt_node_get(doc, "items");
	if (kind && items && kind->type <= MT_NODE_STRING && mt_str_suffix(kind->s, "List") &&
		items->type == MT_NODE_SEQ) {
		for (uint32_t i = 0; i < items->n; i++)
			document_decode(job, items->items[i]);
		return;
	}
	if (++job->objects > job->limits->objects) {
		if (job->objects == job->limits->objects + 1)
			mt_pb_fault(&d, (int)doc->line, doc->col, NULL, "more than %zu objects",
				job->limits->objects);
		return;
	}
	object_decode(job, doc);
}

static const struct mt_decode_limits *limits_fill(
	const struct mt_decode_limits *given, struct mt_decode_limits *buf)
{
	if (!given)
		return &mt_decode_defaults;
	*buf = *given;
	buf->bytes = given->bytes ? given->bytes : mt_decode_defaults.bytes;
	buf->depth = given->depth ? given->depth : mt_decode_defaults.depth;
	buf->nodes = given->nodes ? given->nodes : mt_decode_defaults.nodes;
	buf->objects = given->objects ? given->objects : mt_decode_defaults.objects;
	return buf;
}

int mt_decode_text(const char *file, const char *text, size_t n,
	const struct mt_decode_limits *limits, struct mt_objects *out, struct mt_diags *diags)
{
	struct mt_decode_limits buf;
	struct job job = { file, limits_fill(limits, &buf), out, diags, 0 };
	struct mt_arena *scratch = mt_arena_new(0);
	struct mt_nodes docs = { 0 };
	size_t errors = diags->errors;

	mt_text_read(file, text, n, job.limits, scratch, &docs, diags);
	for (size_t i = 0; i < docs.n; i++)
		document_decode(&job, docs.v[i]);
	mt_vec_clear(&docs);
	mt_arena_free(scratch);
	return diags->errors > errors ? MT_INVALID : 0;
}

int mt_decode_json(const char *file, json_t *doc, struct mt_objects *out, struct mt_diags *diags)
{
	struct job job = { file, &mt_decode_defaults, out, diags, 0 };
	struct mt_arena *scratch = mt_arena_new(0);
	struct mt_node *n = mt_node_from_json(doc, scratch, mt_decode_defaults.depth);
	size_t errors = diags->errors;

	if (n)
		document_decode(&job, n);
	else
		mt_diag_add(diags, MT_SEV_ERROR, &(struct mt_pos){ file, 0, 0 }, NULL, "",
			"nested deeper than %zu", mt_decode_defaults.depth);
	mt_arena_free(scratch);
	return diags->errors > errors ? MT_INVALID : 0;
}

int mt_yaml_to_json(const char *file, const char *text, size_t n,
	const struct mt_decode_limits *limits, json_t **ret, struct mt_diags *diags)
{
	struct mt_decode_limits buf;
	struct mt_arena *scratch = mt_arena_new(0);
	struct mt_nodes docs = { 0 };
	int r = mt_text_read(file, text, n, limits_fill(limits, &buf), scratch, &docs, diags);

	if (r == 0 && docs.n > 1)
		r = mt_diag_add(diags, MT_SEV_ERROR,
			&(struct mt_pos){ file, (int)docs.v[1]->line, docs.v[1]->col }, NULL, "",
			"one document is expected");
	if (r == 0)
		*ret = docs.n ? mt_node_to_json(docs.v[0]) : json_null();
	mt_vec_clear(&docs);
	mt_arena_free(scratch);
	return r;
}
