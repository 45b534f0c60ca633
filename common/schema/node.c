/* Helpers over the node tree, and its two conversions from and to jansson's values. */
#include "common/schema/node.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/schema/scalar.h"

const struct mt_decode_limits mt_decode_defaults = {
	.bytes = 4 << 20,
	.depth = 64,
	.nodes = 1000000,
	.objects = 10000,
};

void mt_node_measure(struct mt_node *n)
{
	uint64_t weight = 1;
	unsigned height = 0;

	if (n->type == MT_NODE_SEQ || n->type == MT_NODE_MAP)
		for (uint32_t i = 0; i < n->n; i++) {
			const struct mt_node *c =
				n->type == MT_NODE_SEQ ? n->items[i] : n->pairs[i].value;
			weight += c->weight;
			height = MT_MAX(height, c->height);
		}
	n->weight = (uint32_t)MT_MIN(weight, UINT32_MAX);
	n->height = (uint8_t)MT_MIN(height + 1, 255u);
}

static int pair_cmp(const void *a, const void *b)
{
	const struct mt_pair *x = *(const struct mt_pair *const *)a;
	const struct mt_pair *y = *(const struct mt_pair *const *)b;
	int c = strcmp(x->key, y->key);

	return c ? c : (x > y) - (x < y);
}

const struct mt_pair *mt_node_duplicate(const struct mt_node *map)
{
	const struct mt_pair *found = NULL;

	if (map->n <= 16) {
		for (uint32_t i = 1; i < map->n; i++)
			for (uint32_t j = 0; j < i; j++)
				if (strcmp(map->pairs[i].key, map->pairs[j].key) == 0)
					return &map->pairs[i];
		return NULL;
	}
	const struct mt_pair **sorted = mt_reallocarray(NULL, map->n, sizeof(*sorted));
	for (uint32_t i = 0; i < map->n; i++)
		sorted[i] = &map->pairs[i];
	qsort(sorted, map->n, sizeof(*sorted), pair_cmp);
	for (uint32_t i = 1; i < map->n && !found; i++)
		if (strcmp(sorted[i]->key, sorted[i - 1]->key) == 0)
			found = sorted[i];
	mt_free(sorted);
	return found;
}

struct mt_node *mt_node_get(const struct mt_node *map, const char *key)
{
	if (!map || map->type != MT_NODE_MAP)
		return NULL;
	for (uint32_t i = 0; i < map->n; i++)
		if (strcmp(map->pairs[i].key, key) == 0)
			return map->pairs[i].value;
	return NULL;
}

const char *mt_node_describe(const struct mt_node *n, char *buf, size_t size)
{
	static const char *const words[] = {
		[MT_SCALAR_STRING] = "the string",
		[MT_SCALAR_NULL] = "nothing",
		[MT_SCALAR_BOOL] = "the boolean",
		[MT_SCALAR_INT] = "the number",
		[MT_SCALAR_FLOAT] = "the number",
		[MT_SCALAR_ODD] = "the ambiguous number",
	};
	enum mt_scalar c = MT_SCALAR_STRING;

	if (n->type == MT_NODE_SEQ)
		return "a list";
	if (n->type == MT_NODE_MAP)
		return "a mapping";
	if (n->type == MT_NODE_PLAIN)
		c = mt_scalar_class(n->s, n->n);
	if (c == MT_SCALAR_NULL)
		return words[c];
	snprintf(buf, size, c == MT_SCALAR_STRING ? "%s \"%.*s\"%s" : "%s %.*s%s", words[c],
		(int)MT_MIN(n->n, 60u), n->s, n->n > 60 ? "..." : "");
	return buf;
}

static struct mt_node *scalar_new(
	struct mt_arena *a, enum mt_node_type type, const char *s, size_t n)
{
	struct mt_node *node = MT_ANEW(a, struct mt_node);

	node->type = (uint8_t)type;
	node->s = mt_arena_strndup(a, s, n);
	node->n = (uint32_t)n;
	return node;
}

static struct mt_node *map_from_json(const json_t *j, struct mt_arena *a, size_t depth)
{
	struct mt_node *node = MT_ANEW(a, struct mt_node);
	const char *key;
	json_t *value;

	node->type = MT_NODE_MAP;
	node->pairs = MT_ANEWN(a, struct mt_pair, json_object_size(j));
	json_object_foreach((json_t *)j, key, value)
	{
		struct mt_pair *p = &node->pairs[node->n++];
		p->key = mt_arena_strdup(a, key);
		if (!(p->value = mt_node_from_json(value, a, depth - 1)))
			return NULL;
	}
	return node;
}

struct mt_node *mt_node_from_json(const json_t *j, struct mt_arena *a, size_t depth)
{
	struct mt_node *node = NULL;
	char num[64];

	if (!depth)
		return NULL;
	switch (json_typeof(j)) {
	case JSON_OBJECT: node = map_from_json(j, a, depth); break;
	case JSON_ARRAY:
		node = MT_ANEW(a, struct mt_node);
		node->type = MT_NODE_SEQ;
		node->n = (uint32_t)json_array_size(j);
		node->items = MT_ANEWN(a, struct mt_node *, node->n);
		for (uint32_t i = 0; i < node->n; i++)
			if (!(node->items[i] =
					    mt_node_from_json(json_array_get(j, i), a, depth - 1)))
				return NULL;
		break;
	case JSON_STRING:
		node = scalar_new(a, MT_NODE_STRING, json_string_value(j), json_string_length(j));
		break;
	case JSON_INTEGER:
		snprintf(num, sizeof(num), "%" JSON_INTEGER_FORMAT, json_integer_value(j));
		node = scalar_new(a, MT_NODE_PLAIN, num, strlen(num));
		break;
	case JSON_REAL:
		snprintf(num, sizeof(num), "%.17g", json_real_value(j));
		node = scalar_new(a, MT_NODE_PLAIN, num, strlen(num));
		break;
	case JSON_TRUE: node = scalar_new(a, MT_NODE_PLAIN, "true", 4); break;
	case JSON_FALSE: node = scalar_new(a, MT_NODE_PLAIN, "false", 5); break;
	case JSON_NULL: node = scalar_new(a, MT_NODE_PLAIN, "null", 4); break;
	}
	if (node)
		mt_node_measure(node);
	return node;
}

static json_t *plain_to_json(const struct mt_node *n)
{
	uint64_t u;
	double d;
	bool b, neg;

	switch (mt_scalar_class(n->s, n->n)) {
	case MT_SCALAR_NULL: return json_null();
	case MT_SCALAR_BOOL:
		if (mt_scalar_bool(n->s, &b))
			return json_boolean(b);
		break;
	case MT_SCALAR_INT:
		if (mt_scalar_int(n->s, n->n, &u, &neg) && u <= INT64_MAX)
			return json_integer(neg ? -(json_int_t)u : (json_int_t)u);
		/* fall through */
	case MT_SCALAR_FLOAT:
		if (mt_scalar_double(n->s, n->n, &d) && isfinite(d))
			return json_real(d);
		break;
	default: break;
	}
	return json_stringn(n->s, n->n);
}

json_t *mt_node_to_json(const struct mt_node *n)
{
	json_t *j;

	switch (n->type) {
	case MT_NODE_PLAIN: return plain_to_json(n);
	case MT_NODE_STRING: return json_stringn(n->s, n->n);
	case MT_NODE_SEQ:
		j = json_array();
		for (uint32_t i = 0; i < n->n; i++)
			json_array_append_new(j, mt_node_to_json(n->items[i]));
		return j;
	default:
		j = json_object();
		for (uint32_t i = 0; i < n->n; i++)
			json_object_set_new(j, n->pairs[i].key, mt_node_to_json(n->pairs[i].value));
		return j;
	}
}
