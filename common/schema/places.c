/* Paths look like spec.http[2].match[0].headers["x-user"].exact; a map key that is a plain word may
 * also follow a dot. Keys compare as protobuf JSON does: http_status and httpStatus are one field. */
#include "common/schema/places.h"

#include <ctype.h>
#include <string.h>

#include "common/base/vec.h"

size_t mt_places_open(struct mt_places_build *b, const char *key, uint32_t line, uint32_t col)
{
	struct mt_place p = {
		.key = key,
		.line = MT_MIN(line, (1u << 22) - 1),
		.col = MT_MIN(col, (1u << 10) - 1),
	};

	mt_vec_push(b, p);
	return b->n - 1;
}

void mt_places_close(struct mt_places_build *b, size_t index)
{
	b->v[index].end = (uint32_t)b->n;
}

const struct mt_places *mt_places_done(struct mt_places_build *b, struct mt_arena *a)
{
	struct mt_places *p = mt_arena_alloc(a, sizeof(*p) + b->n * sizeof(*b->v));

	p->n = (uint32_t)b->n;
	if (b->n)
		memcpy(p->v, b->v, b->n * sizeof(*b->v));
	return p;
}

void mt_places_clear(struct mt_places_build *b)
{
	mt_vec_clear(b);
}

/* One step of a path: a key (key, n) or an index. */
struct step {
	const char *key;
	size_t n;
	size_t index;
};

static const char *step_next(const char *p, struct step *ret)
{
	if (*p == '.')
		p++;
	if (!*p)
		return NULL;
	if (p[0] == '[' && p[1] == '"') {
		const char *end = strstr(p, "\"]");
		if (!end || end == p + 1)
			return NULL;
		*ret = (struct step){ p + 2, (size_t)(end - p - 2), 0 };
		return end + 2;
	}
	if (*p == '[') {
		*ret = (struct step){ 0 };
		for (p++; isdigit((unsigned char)*p); p++)
			ret->index = ret->index * 10 + (size_t)(*p - '0');
		return *p == ']' ? p + 1 : NULL;
	}
	size_t n = strcspn(p, ".[");
	*ret = (struct step){ p, n, 0 };
	return n ? p + n : NULL;
}

static bool key_equal(const char *field, const char *key, size_t n)
{
	const char *end = key + n;

	while (*field && key < end) {
		if (*field == '_' && *key != '_') {
			field++;
			if (toupper((unsigned char)*field) != *key)
				return false;
		} else if (*field != *key) {
			return false;
		}
		field++;
		key++;
	}
	return !*field && key == end;
}

bool mt_places_find(const struct mt_places *p, const char *path, int *ret_line, int *ret_col)
{
	uint32_t at = 0, end = p->n;
	const struct mt_place *found = NULL;
	struct step s;

	while (path && (path = step_next(path, &s))) {
		size_t index = 0;
		for (; at < end; at = p->v[at].end, index++)
			if (s.key ? p->v[at].key && key_equal(p->v[at].key, s.key, s.n)
				  : !p->v[at].key && index == s.index)
				break;
		if (at >= end)
			break;
		found = &p->v[at];
		end = found->end;
		at++;
	}
	if (!found)
		return false;
	*ret_line = (int)found->line;
	*ret_col = (int)found->col;
	return true;
}
