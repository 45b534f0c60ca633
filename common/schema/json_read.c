/* JSON text to a node tree with positions, strict (RFC 8259). libyaml reads most JSON, but not
 * surrogate pairs or tabs between tokens, and it is slower. */
#include <stdarg.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/strs.h"
#include "common/base/vec.h"
#include "common/schema/node.h"

struct reader {
	const struct mt_decode_limits *limits;
	struct mt_arena *a;
	const char *p, *end;
	const char *line_start;
	uint32_t line;
	size_t depth;
	size_t total;
	struct mt_buf scratch; /* one string, unescaped */
	char msg[160];
};

static struct mt_node *value_read(struct reader *r);

static void *fault(struct reader *r, const char *fmt, ...) MT_PRINTF(2, 3);
static void *fault(struct reader *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->msg, sizeof(r->msg), fmt, ap);
	va_end(ap);
	return NULL;
}

static void space_skip(struct reader *r)
{
	for (; r->p < r->end; r->p++) {
		if (*r->p == '\n') {
			r->line++;
			r->line_start = r->p + 1;
		} else if (*r->p != ' ' && *r->p != '\t' && *r->p != '\r') {
			return;
		}
	}
}

static struct mt_node *node_new(struct reader *r, enum mt_node_type type)
{
	struct mt_node *n = MT_ANEW(r->a, struct mt_node);

	n->type = (uint8_t)type;
	n->line = r->line;
	n->col = (uint16_t)MT_MIN(r->p - r->line_start + 1, UINT16_MAX);
	return n;
}

static int hex4(struct reader *r)
{
	int v = 0;

	if (r->end - r->p < 4)
		return -1;
	for (int i = 0; i < 4; i++, r->p++) {
		char c = *r->p;
		int d = c >= '0' && c <= '9'   ? c - '0'
			: c >= 'a' && c <= 'f' ? c - 'a' + 10
			: c >= 'A' && c <= 'F' ? c - 'A' + 10
					       : -1;
		if (d < 0)
			return -1;
		v = v << 4 | d;
	}
	return v;
}

static void utf8_add(struct mt_buf *b, uint32_t c)
{
	if (c < 0x80) {
		mt_buf_addc(b, (char)c);
	} else if (c < 0x800) {
		mt_buf_addc(b, (char)(0xc0 | c >> 6));
		mt_buf_addc(b, (char)(0x80 | (c & 0x3f)));
	} else if (c < 0x10000) {
		mt_buf_addc(b, (char)(0xe0 | c >> 12));
		mt_buf_addc(b, (char)(0x80 | (c >> 6 & 0x3f)));
		mt_buf_addc(b, (char)(0x80 | (c & 0x3f)));
	} else {
		mt_buf_addc(b, (char)(0xf0 | c >> 18));
		mt_buf_addc(b, (char)(0x80 | (c >> 12 & 0x3f)));
		mt_buf_addc(b, (char)(0x80 | (c >> 6 & 0x3f)));
		mt_buf_addc(b, (char)(0x80 | (c & 0x3f)));
	}
}

static bool unicode_escape(struct reader *r)
{
	int c = hex4(r), low;

	if (c >= 0xd800 && c < 0xdc00) {
		if (r->end - r->p < 6 || r->p[0] != '\\' || r->p[1] != 'u')
			return false;
		r->p += 2;
		low = hex4(r);
		if (low < 0xdc00 || low > 0xdfff)
			return false;
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	}
	if (c <= 0 || (c >= 0xdc00 && c <= 0xdfff))
		return false;
	utf8_add(&r->scratch, (uint32_t)c);
	return true;
}

static bool escape(struct reader *r)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *at;

	if (r->p == r->end)
		return false;
	char c = *r->p++;
	if (c == 'u')
		return unicode_escape(r);
	if (!c || !(at = strchr(from, c)))
		return false;
	mt_buf_addc(&r->scratch, to[at - from]);
	return true;
}

/* p stands after the opening quote; the text goes to scratch. */
static bool string_read(struct reader *r)
{
	mt_buf_clear(&r->scratch);
	while (r->p < r->end) {
		const char *start = r->p;
		while (r->p < r->end && *r->p != '"' && *r->p != '\\' &&
			(unsigned char)*r->p >= 0x20)
			r->p++;
		mt_buf_add(&r->scratch, start, (size_t)(r->p - start));
		if (r->p == r->end)
			break;
		if (*r->p == '"') {
			r->p++;
			return true;
		}
		if (*r->p++ != '\\') {
			r->p--;
			fault(r, "a control character in a string");
			return false;
		}
		if (!escape(r)) {
			fault(r, "a bad escape in a string");
			return false;
		}
	}
	fault(r, "a string does not end");
	return false;
}

static struct mt_node *plain_read(struct reader *r)
{
	static const char *const words[] = { "true", "false", "null" };
	struct mt_node *n = node_new(r, MT_NODE_PLAIN);
	const char *start = r->p, *digits;

	for (size_t i = 0; i < MT_ARRAY_SIZE(words); i++) {
		size_t len = strlen(words[i]);
		if ((size_t)(r->end - r->p) >= len && memcmp(r->p, words[i], len) == 0) {
			r->p += len;
			n->s = words[i];
			n->n = (uint32_t)len;
			return n;
		}
	}
	if (*r->p == '-')
		r->p++;
	for (digits = r->p; r->p < r->end && *r->p >= '0' && *r->p <= '9'; r->p++)
		;
	if (r->p == digits || (*digits == '0' && r->p - digits > 1)) {
		r->p = start;
		return fault(r, "a value is expected here");
	}
	while (r->p < r->end && ((*r->p >= '0' && *r->p <= '9') || strchr(".eE+-", *r->p)) && *r->p)
		r->p++;
	n->s = mt_arena_strndup(r->a, start, (size_t)(r->p - start));
	n->n = (uint32_t)(r->p - start);
	return n;
}

static bool separator(struct reader *r, char close, bool *ret_end)
{
	space_skip(r);
	if (r->p < r->end && *r->p == close) {
		r->p++;
		*ret_end = true;
		return true;
	}
	if (r->p == r->end || *r->p != ',') {
		fault(r, "',' or '%c' is expected here", close);
		return false;
	}
	r->p++;
	space_skip(r);
	return true;
}

static struct mt_node *seq_read(struct reader *r)
{
	struct mt_node *n = node_new(r, MT_NODE_SEQ);
	MT_VEC(struct mt_node *) items = { 0 };
	bool end = false, ok = true;

	r->p++;
	space_skip(r);
	if (r->p < r->end && *r->p == ']') {
		r->p++;
		return n;
	}
	while (ok && !end) {
		struct mt_node *item = value_read(r);
		ok = item && separator(r, ']', &end);
		if (item)
			mt_vec_push(&items, item);
	}
	n->n = (uint32_t)items.n;
	if (ok)
		n->items = mt_arena_memdup(r->a, items.v, items.n * sizeof(*items.v));
	mt_vec_clear(&items);
	return ok ? n : NULL;
}

static bool pair_read(struct reader *r, struct mt_pair *pair)
{
	pair->line = r->line;
	pair->col = (uint16_t)MT_MIN(r->p - r->line_start + 1, UINT16_MAX);
	if (r->p == r->end || *r->p != '"') {
		fault(r, "a key in quotes is expected here");
		return false;
	}
	r->p++;
	if (!string_read(r))
		return false;
	pair->key = mt_arena_strndup(r->a, mt_buf_str(&r->scratch), r->scratch.n);
	space_skip(r);
	if (r->p == r->end || *r->p != ':') {
		fault(r, "':' is expected here");
		return false;
	}
	r->p++;
	space_skip(r);
	return (pair->value = value_read(r)) != NULL;
}

static struct mt_node *map_read(struct reader *r)
{
	struct mt_node *n = node_new(r, MT_NODE_MAP);
	MT_VEC(struct mt_pair) pairs = { 0 };
	bool end = false, ok = true;

	r->p++;
	space_skip(r);
	if (r->p < r->end && *r->p == '}') {
		r->p++;
		return n;
	}
	while (ok && !end) {
		struct mt_pair pair;
		ok = pair_read(r, &pair) && separator(r, '}', &end);
		if (ok)
			mt_vec_push(&pairs, pair);
	}
	n->n = (uint32_t)pairs.n;
	if (ok)
		n->pairs = mt_arena_memdup(r->a, pairs.v, pairs.n * sizeof(*pairs.v));
	mt_vec_clear(&pairs);
	const struct mt_pair *dup = ok ? mt_node_duplicate(n) : NULL;
	if (dup)
		return fault(r, "duplicate key \"%.100s\" (line %u)", dup->key, dup->line);
	return ok ? n : NULL;
}

static struct mt_node *value_read(struct reader *r)
{
	struct mt_node *n;

	if (r->p == r->end)
		return fault(r, "the text ends too early");
	if (++r->total > r->limits->nodes)
		return fault(r, "more than %zu values", r->limits->nodes);
	if (r->depth + 1 > r->limits->depth)
		return fault(r, "nested deeper than %zu", r->limits->depth);
	r->depth++;
	if (*r->p == '{') {
		n = map_read(r);
	} else if (*r->p == '[') {
		n = seq_read(r);
	} else if (*r->p == '"') {
		n = node_new(r, MT_NODE_STRING);
		r->p++;
		if (!string_read(r))
			return NULL;
		n->s = mt_arena_strndup(r->a, mt_buf_str(&r->scratch), r->scratch.n);
		n->n = (uint32_t)r->scratch.n;
	} else {
		n = plain_read(r);
	}
	r->depth--;
	if (n)
		mt_node_measure(n);
	return n;
}

int mt_json_read(const char *file, const char *text, size_t n,
	const struct mt_decode_limits *limits, struct mt_arena *a, struct mt_nodes *docs,
	struct mt_diags *diags)
{
	struct reader r = {
		.limits = limits,
		.a = a,
		.p = text,
		.end = text + n,
		.line_start = text,
		.line = 1,
	};
	struct mt_node *doc = NULL;

	for (space_skip(&r); r.p < r.end; space_skip(&r)) {
		if (!(doc = value_read(&r)))
			break;
		mt_vec_push(docs, doc);
	}
	mt_buf_clear(&r.scratch);
	if (r.p == r.end && !*r.msg)
		return 0;
	return mt_diag_add(diags, MT_SEV_ERROR,
		&(struct mt_pos){ file, (int)r.line, (int)(r.p - r.line_start) + 1 }, NULL, "",
		"not JSON: %s", r.msg);
}
