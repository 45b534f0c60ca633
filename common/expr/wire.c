#include "common/expr/wire.h"

#include <ctype.h>
#include <string.h>

static bool plain(unsigned char c)
{
	return isalnum(c) || c == '.' || c == '_' || c == '-';
}

static void encode(struct mt_buf *out, const char *s)
{
	for (; *s; s++) {
		if (plain((unsigned char)*s))
			mt_buf_addc(out, *s);
		else
			mt_buf_printf(out, "%%%02X", (unsigned char)*s);
	}
}

void mt_wire_add(struct mt_buf *out, const char *name, const char *value)
{
	if (!value || !*value)
		return;
	if (out->n)
		mt_buf_addc(out, '&');
	encode(out, name);
	mt_buf_addc(out, '=');
	encode(out, value);
}

void mt_wire_add_entry(struct mt_buf *out, const char *map, const char *key, const char *value)
{
	if (!value || !*value)
		return;
	if (out->n)
		mt_buf_addc(out, '&');
	encode(out, map);
	mt_buf_addc(out, '.');
	encode(out, key);
	mt_buf_addc(out, '=');
	encode(out, value);
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* NULL for a broken escape or an encoded NUL. */
static char *decode(struct mt_arena *a, const char *p, size_t n)
{
	char *out = mt_arena_alloc(a, n + 1);
	size_t w = 0;

	for (size_t i = 0; i < n; i++) {
		if (p[i] != '%') {
			out[w++] = p[i];
			continue;
		}
		if (i + 2 >= n || hex(p[i + 1]) < 0 || hex(p[i + 2]) < 0)
			return NULL;
		out[w] = (char)(hex(p[i + 1]) << 4 | hex(p[i + 2]));
		if (!out[w++])
			return NULL;
		i += 2;
	}
	return out;
}

size_t mt_wire_parse(const char *text, size_t n, struct mt_arena *a, struct mt_wire_pair **ret)
{
	struct mt_wire_pair *v = MT_ANEWN(a, struct mt_wire_pair, MT_WIRE_PAIRS_MAX);
	size_t count = 0;
	const char *p = text, *end = text + MT_MIN(n, (size_t)MT_WIRE_MAX);

	while (p < end && count < MT_WIRE_PAIRS_MAX) {
		const char *amp = memchr(p, '&', (size_t)(end - p));
		const char *stop = amp ? amp : end;
		const char *eq = memchr(p, '=', (size_t)(stop - p));
		if (eq && eq > p) {
			char *name = decode(a, p, (size_t)(eq - p));
			char *value = decode(a, eq + 1, (size_t)(stop - eq - 1));
			if (name && value)
				v[count++] = (struct mt_wire_pair){ name, value };
		}
		p = stop + 1;
	}
	*ret = v;
	return count;
}
