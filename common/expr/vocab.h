/* The vocabulary: attribute names, numbers and types. Starts with attributes.def; attributemanifest
 * objects add to it. Immutable once shared; reference counting is its owner's business. */
#pragma once

#include "common/base/err.h"
#include "common/expr/value.h"

struct mt_vocab;

struct mt_vocab *mt_vocab_new(void); /* the known attributes */
void mt_vocab_free(struct mt_vocab *v);
MT_DEFINE_FREEP(struct mt_vocab *, mt_vocab_freep, mt_vocab_free)
/* MT_EXISTS when the name is there with another type (with the same: 0). MT_INVALID for a bad name
 * (letters, digits, '_', '-' and '.'). MT_LIMIT beyond 4096 attributes. */
int mt_vocab_add(struct mt_vocab *v, const char *name, enum mt_vtype type, struct mt_err *err);
/* Number of an attribute, or -1. */
int mt_vocab_find(const struct mt_vocab *v, const char *name, size_t n, enum mt_vtype *ret_type);
size_t mt_vocab_size(const struct mt_vocab *v);
const char *mt_vocab_name(const struct mt_vocab *v, size_t attr);
enum mt_vtype mt_vocab_type(const struct mt_vocab *v, size_t attr);
/* The known name nearest to a misspelt one, or NULL. */
const char *mt_vocab_nearest(const struct mt_vocab *v, const char *name);
