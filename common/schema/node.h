/* The text of a configuration as a tree with positions: what YAML, JSON and json_t become before a
 * descriptor gives them types. Nodes live in the arena of one reading and never outlive it.
 * An alias shares its anchor's node, so a tree may be a graph without cycles; `weight` counts the
 * nodes as if it were expanded. Private to schema. Threads: one. */
#pragma once

#include <jansson.h>

#include "common/base/arena.h"
#include "common/base/diag.h"
#include "common/schema/decode.h"

enum mt_node_type { MT_NODE_PLAIN, MT_NODE_STRING, MT_NODE_SEQ, MT_NODE_MAP };

struct mt_pair;
struct mt_node {
	uint8_t type;    /* enum mt_node_type; PLAIN: a bare word whose type the text decides */
	uint8_t height;  /* 1 for a scalar */
	uint16_t col;    /* from 1; 0 unknown */
	uint32_t line;   /* from 1; 0 unknown */
	uint32_t n;      /* bytes, items or pairs */
	uint32_t weight; /* nodes below and itself */
	union {
		const char *s; /* NUL terminated */
		struct mt_node **items;
		struct mt_pair *pairs;
	};
};
struct mt_pair {
	const char *key;
	uint32_t line;
	uint16_t col;
	struct mt_node *value;
};

struct mt_nodes {
	struct mt_node **v;
	size_t n;
	size_t cap;
};

extern const struct mt_decode_limits mt_decode_defaults;

/* Both append the documents that were read whole; -> MT_INVALID with the fault in diags. */
int mt_yaml_read(const char *file, const char *text, size_t n,
	const struct mt_decode_limits *limits, struct mt_arena *a, struct mt_nodes *docs,
	struct mt_diags *diags);
int mt_json_read(const char *file, const char *text, size_t n,
	const struct mt_decode_limits *limits, struct mt_arena *a, struct mt_nodes *docs,
	struct mt_diags *diags);
/* Either: JSON where the text looks like it, with YAML as the fallback. */
int mt_text_read(const char *file, const char *text, size_t n,
	const struct mt_decode_limits *limits, struct mt_arena *a, struct mt_nodes *docs,
	struct mt_diags *diags);

/* depth beyond the limit gives NULL. */
struct mt_node *mt_node_from_json(const json_t *j, struct mt_arena *a, size_t depth);
json_t *mt_node_to_json(const struct mt_node *n);

/* Fills weight and height from those of what lies below. */
void mt_node_measure(struct mt_node *n);
/* First pair whose key stands twice, or NULL. */
const struct mt_pair *mt_node_duplicate(const struct mt_node *map);
struct mt_node *mt_node_get(const struct mt_node *map, const char *key);
/* "a list", "the number 1.10", ... for messages; buf is used when the text is quoted. */
const char *mt_node_describe(const struct mt_node *n, char *buf, size_t size);
