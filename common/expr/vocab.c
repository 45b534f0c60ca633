#include "common/expr/vocab.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/vec.h"

enum { VOCAB_MAX = 4096, NAME_MAX_LEN = 200 };

struct attr {
	char *name;
	enum mt_vtype type;
};

struct mt_vocab {
	MT_VEC(struct attr) attrs;
	struct mt_map *by_name; /* name -> number + 1 */
};

static void put(struct mt_vocab *v, const char *name, enum mt_vtype type)
{
	struct attr a = { mt_strdup(name), type };
	mt_vec_push(&v->attrs, a);
	mt_map_put(v->by_name, name, (void *)(uintptr_t)v->attrs.n);
}

struct mt_vocab *mt_vocab_new(void)
{
	struct mt_vocab *v = MT_NEW(struct mt_vocab);
	v->by_name = mt_map_new();
#define ATTR(id, name, type, help) put(v, name, MT_V_##type);
#include "common/expr/attributes.def"
#undef ATTR
	return v;
}

void mt_vocab_free(struct mt_vocab *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < v->attrs.n; i++)
		mt_free(v->attrs.v[i].name);
	mt_vec_clear(&v->attrs);
	mt_map_free(v->by_name, NULL);
	mt_free(v);
}

static bool name_valid(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n > NAME_MAX_LEN || name[0] == '.' || name[n - 1] == '.')
		return false;
	for (const char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("_-.", *p))
			return false;
	return true;
}

int mt_vocab_add(struct mt_vocab *v, const char *name, enum mt_vtype type, struct mt_err *err)
{
	if (!name_valid(name))
		return mt_fail(err, MT_INVALID, NULL, "\"%s\" is not an attribute name", name);
	if (type <= MT_V_NONE || type >= MT_V_N)
		return mt_fail(err, MT_INVALID, NULL, "attribute %s has no type", name);

	enum mt_vtype there;
	if (mt_vocab_find(v, name, strlen(name), &there) >= 0) {
		if (there == type)
			return 0;
		return mt_fail(err, MT_EXISTS, NULL, "attribute %s is of type %s already", name,
			mt_vtype_name(there));
	}
	if (v->attrs.n >= VOCAB_MAX)
		return mt_fail(err, MT_LIMIT, NULL, "more than %d attributes", VOCAB_MAX);
	put(v, name, type);
	return 0;
}

int mt_vocab_find(const struct mt_vocab *v, const char *name, size_t n, enum mt_vtype *ret_type)
{
	char key[NAME_MAX_LEN + 1];

	if (n > NAME_MAX_LEN)
		return -1;
	memcpy(key, name, n);
	key[n] = 0;
	uintptr_t at = (uintptr_t)mt_map_get(v->by_name, key);
	if (!at)
		return -1;
	if (ret_type)
		*ret_type = v->attrs.v[at - 1].type;
	return (int)(at - 1);
}

size_t mt_vocab_size(const struct mt_vocab *v)
{
	return v->attrs.n;
}

const char *mt_vocab_name(const struct mt_vocab *v, size_t attr)
{
	return v->attrs.v[attr].name;
}

enum mt_vtype mt_vocab_type(const struct mt_vocab *v, size_t attr)
{
	return v->attrs.v[attr].type;
}

/* Levenshtein distance of short names, by rows. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[NAME_MAX_LEN + 1];
	size_t nb = strlen(b);

	for (size_t j = 0; j <= nb; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; a[i - 1]; i++) {
		unsigned diag = row[0];
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= nb; j++) {
			unsigned up = row[j];
			unsigned best = diag + (a[i - 1] != b[j - 1]);
			best = MT_MIN(best, MT_MIN(up, row[j - 1]) + 1);
			diag = up;
			row[j] = best;
		}
	}
	return row[nb];
}

const char *mt_vocab_nearest(const struct mt_vocab *v, const char *name)
{
	const char *best = NULL;
	unsigned least = 4; /* farther than three edits is no misspelling */

	if (strlen(name) > NAME_MAX_LEN)
		return NULL;
	for (size_t i = 0; i < v->attrs.n; i++) {
		unsigned d = distance(name, v->attrs.v[i].name);
		if (d < least) {
			least = d;
			best = v->attrs.v[i].name;
		}
	}
	return best;
}
