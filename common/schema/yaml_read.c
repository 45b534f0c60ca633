/* YAML text to node trees, from libyaml's events.
 *
 * Events, not libyaml's document loader: the depth, the number of nodes and the aliases are counted
 * while reading, so that hostile text is refused before it costs anything (nested flow collections
 * are quadratic inside libyaml: the 65th level stops the reading). An alias adds its anchor's weight
 * to the count without copying, which refuses a "billion laughs" at the alias that passes the limit.
 *
 * Values are collected on one stack; a collection that closes moves its slice of the stack into the
 * arena. A fault in the structure (duplicate key, tag, merge key) spoils its document only; one in the
 * syntax, or a limit, ends the reading.
 */
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "common/base/buf.h"
#include "common/base/map.h"
#include "common/base/strs.h"
#include "common/base/vec.h"
#include "common/schema/node.h"
#include "common/schema/scalar.h"

#define TAG_PREFIX "tag:yaml.org,2002:"

struct frame {
	bool map;
	size_t base; /* first of its values on the stack; keys and values alternate in a map */
	uint32_t line;
	uint16_t col;
	char *anchor;
};

struct reader {
	const char *file;
	const struct mt_decode_limits *limits;
	struct mt_arena *a;
	struct mt_diags *diags;
	yaml_parser_t parser;
	const char *text;
	size_t text_n;
	size_t total; /* nodes so far, aliases expanded */
	MT_VEC(struct frame) frames;
	MT_VEC(struct mt_node *) values;
	struct mt_map *anchors;
	bool spoilt; /* the document at hand had a fault */
	int fatal;   /* the reading ends with this */
};

static uint16_t column_of(size_t column)
{
	return (uint16_t)MT_MIN(column + 1, (size_t)UINT16_MAX);
}

/* Path of the place where the next value would go. */
static void path_here(const struct reader *r, struct mt_buf *out)
{
	for (size_t i = 0; i < r->frames.n; i++) {
		const struct frame *f = &r->frames.v[i];
		size_t end = i + 1 < r->frames.n ? r->frames.v[i + 1].base : r->values.n;
		size_t n = end - f->base;
		if (!f->map)
			mt_buf_printf(out, "[%zu]", n);
		else if (n % 2)
			mt_buf_printf(out, "%s%s", out->n ? "." : "", r->values.v[end - 1]->s);
	}
}

static void fault(struct reader *r, yaml_mark_t at, const char *fmt, ...) MT_PRINTF(3, 4);
static void fault(struct reader *r, yaml_mark_t at, const char *fmt, ...)
{
	struct mt_pos pos = { r->file, (int)at.line + 1, (int)at.column + 1 };
	struct mt_buf path = { 0 }, msg = { 0 };
	va_list ap;

	va_start(ap, fmt);
	mt_buf_vprintf(&msg, fmt, ap);
	va_end(ap);
	path_here(r, &path);
	mt_diag_add(r->diags, MT_SEV_ERROR, &pos, NULL, mt_buf_str(&path), "%s", mt_buf_str(&msg));
	mt_buf_clear(&path);
	mt_buf_clear(&msg);
	r->spoilt = true;
}

static void syntax_fault(struct reader *r)
{
	const yaml_parser_t *p = &r->parser;
	yaml_mark_t at = p->problem_mark;
	const char *hint = "";

	if (p->error == YAML_READER_ERROR) {
		at.line = at.column = 0;
	} else if (at.index < r->text_n && r->text[at.index] == '\t') {
		hint = " (a tab: YAML is indented with spaces)";
	} else if (at.index < r->text_n && (r->text[at.index] == '@' || r->text[at.index] == '`')) {
		hint = " (a reserved character: write the value in quotes)";
	}
	fault(r, at, "not YAML: %s%s%s%s", p->problem ? p->problem : "unreadable",
		p->context ? ", " : "", p->context ? p->context : "", hint);
	r->fatal = MT_INVALID;
}

/* Puts a finished value where it belongs, and counts it. */
static void value_add(struct reader *r, struct mt_node *n, size_t weight, yaml_mark_t at)
{
	r->total += weight;
	if (r->total > r->limits->nodes) {
		fault(r, at, "more than %zu values (aliases counted in full)", r->limits->nodes);
		r->fatal = MT_LIMIT;
		return;
	}
	mt_vec_push(&r->values, n);
}

static void anchor_set(struct reader *r, const char *anchor, struct mt_node *n)
{
	if (!r->anchors)
		r->anchors = mt_map_new();
	mt_map_put(r->anchors, anchor, n);
}

static bool expects_key(const struct reader *r)
{
	const struct frame *f = r->frames.n ? &r->frames.v[r->frames.n - 1] : NULL;

	return f && f->map && (r->values.n - f->base) % 2 == 0;
}

static void on_scalar(struct reader *r, const yaml_event_t *ev)
{
	const char *s = (const char *)ev->data.scalar.value;
	const char *tag = (const char *)ev->data.scalar.tag;
	size_t n = ev->data.scalar.length;
	yaml_mark_t at = ev->start_mark;
	bool plain = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;

	if (memchr(s, 0, n))
		fault(r, at, "a NUL character");
	if (tag && (strcmp(tag, "!") == 0 || strcmp(tag, TAG_PREFIX "str") == 0))
		plain = false;
	else if (tag)
		fault(r, at, "the tag %s is not supported", tag);
	if (expects_key(r) && plain && n == 2 && memcmp(s, "<<", 2) == 0)
		fault(r, at, "merge keys (<<) are not supported: write the fields out");

	struct mt_node *node = MT_ANEW(r->a, struct mt_node);
	node->type = plain ? MT_NODE_PLAIN : MT_NODE_STRING;
	node->s = mt_arena_strndup(r->a, s, n);
	node->n = (uint32_t)n;
	node->line = (uint32_t)at.line + 1;
	node->col = column_of(at.column);
	mt_node_measure(node);
	if (ev->data.scalar.anchor)
		anchor_set(r, (const char *)ev->data.scalar.anchor, node);
	value_add(r, node, 1, at);
}

static void on_alias(struct reader *r, const yaml_event_t *ev)
{
	const char *name = (const char *)ev->data.alias.anchor;
	struct mt_node *n = mt_map_get(r->anchors, name);

	if (expects_key(r)) {
		fault(r, ev->start_mark, "an alias cannot be a key");
		r->fatal = MT_INVALID;
	} else if (!n) {
		/* An anchor is known when its value has ended: an alias inside it is unknown yet. */
		fault(r, ev->start_mark, "alias *%s: no such anchor before it", name);
		r->fatal = MT_INVALID;
	} else if (r->frames.n + n->height > r->limits->depth) {
		fault(r, ev->start_mark, "nested deeper than %zu", r->limits->depth);
		r->fatal = MT_LIMIT;
	} else {
		value_add(r, n, n->weight, ev->start_mark);
	}
}

static void on_open(struct reader *r, const yaml_event_t *ev, bool map)
{
	const yaml_char_t *tag = map ? ev->data.mapping_start.tag : ev->data.sequence_start.tag;
	const yaml_char_t *anchor =
		map ? ev->data.mapping_start.anchor : ev->data.sequence_start.anchor;

	if (expects_key(r)) {
		fault(r, ev->start_mark, "a key must be a word, not a %s",
			map ? "mapping" : "list");
		r->fatal = MT_INVALID;
		return;
	}
	if (r->frames.n + 1 >= r->limits->depth) {
		fault(r, ev->start_mark, "nested deeper than %zu", r->limits->depth);
		r->fatal = MT_LIMIT;
		return;
	}
	if (tag && strcmp((const char *)tag, map ? TAG_PREFIX "map" : TAG_PREFIX "seq") != 0 &&
		strcmp((const char *)tag, "!") != 0)
		fault(r, ev->start_mark, "the tag %s is not supported", tag);
	struct frame f = {
		.map = map,
		.base = r->values.n,
		.line = (uint32_t)ev->start_mark.line + 1,
		.col = column_of(ev->start_mark.column),
		.anchor = mt_arena_strdup(r->a, (const char *)anchor),
	};
	mt_vec_push(&r->frames, f);
}

static void close_map(struct reader *r, struct mt_node *n, struct mt_node **v)
{
	n->pairs = MT_ANEWN(r->a, struct mt_pair, n->n);
	for (uint32_t i = 0; i < n->n; i++)
		n->pairs[i] = (struct mt_pair){ v[2 * i]->s, v[2 * i]->line, v[2 * i]->col,
			v[2 * i + 1] };
}

static void on_close(struct reader *r, const yaml_event_t *ev)
{
	struct frame f = r->frames.v[--r->frames.n];
	struct mt_node *n = MT_ANEW(r->a, struct mt_node);
	size_t count = r->values.n - f.base;
	struct mt_node **v = count ? r->values.v + f.base : NULL;

	n->type = f.map ? MT_NODE_MAP : MT_NODE_SEQ;
	n->line = f.line;
	n->col = f.col;
	n->n = (uint32_t)(f.map ? count / 2 : count);
	if (f.map)
		close_map(r, n, v);
	else if (n->n)
		n->items = mt_arena_memdup(r->a, v, n->n * sizeof(*v));
	r->values.n = f.base;
	mt_node_measure(n);
	const struct mt_pair *dup = f.map ? mt_node_duplicate(n) : NULL;
	if (dup) {
		yaml_mark_t at = { 0, dup->line - 1, dup->col - 1u };
		fault(r, at, "duplicate key \"%.100s\"", dup->key);
	}
	if (f.anchor)
		anchor_set(r, f.anchor, n);
	value_add(r, n, 1, ev->start_mark);
}

static void on_document_end(struct reader *r, struct mt_nodes *docs)
{
	if (r->values.n && !r->spoilt)
		mt_vec_push(docs, r->values.v[0]);
	r->values.n = 0;
	r->spoilt = false;
	mt_map_free(r->anchors, NULL);
	r->anchors = NULL;
}

static void read_events(struct reader *r, struct mt_nodes *docs)
{
	bool done = false;

	while (!done && !r->fatal) {
		yaml_event_t ev;
		if (!yaml_parser_parse(&r->parser, &ev)) {
			syntax_fault(r);
			return;
		}
		switch (ev.type) {
		case YAML_SCALAR_EVENT: on_scalar(r, &ev); break;
		case YAML_ALIAS_EVENT: on_alias(r, &ev); break;
		case YAML_SEQUENCE_START_EVENT: on_open(r, &ev, false); break;
		case YAML_MAPPING_START_EVENT: on_open(r, &ev, true); break;
		case YAML_SEQUENCE_END_EVENT:
		case YAML_MAPPING_END_EVENT: on_close(r, &ev); break;
		case YAML_DOCUMENT_END_EVENT: on_document_end(r, docs); break;
		case YAML_STREAM_END_EVENT: done = true; break;
		default: break;
		}
		yaml_event_delete(&ev);
	}
}

int mt_yaml_read(const char *file, const char *text, size_t n,
	const struct mt_decode_limits *limits, struct mt_arena *a, struct mt_nodes *docs,
	struct mt_diags *diags)
{
	struct reader r = {
		.file = file,
		.limits = limits,
		.a = a,
		.diags = diags,
		.text = text,
		.text_n = n,
	};
	size_t errors = diags->errors;

	if (!yaml_parser_initialize(&r.parser))
		return mt_diag_add(diags, MT_SEV_ERROR, &(struct mt_pos){ file, 0, 0 }, NULL, "",
			"no memory for the YAML parser");
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, n);
	read_events(&r, docs);
	yaml_parser_delete(&r.parser);
	mt_map_free(r.anchors, NULL);
	mt_vec_clear(&r.frames);
	mt_vec_clear(&r.values);
	return diags->errors > errors ? MT_INVALID : 0;
}
