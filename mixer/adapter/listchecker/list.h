/* A list to look values up in: exact texts, texts without case, addresses and blocks, patterns.
 * Immutable, reference counted; threads: any. Bounds: a million entries, 10,000 patterns. */
#pragma once

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/expr/value.h"

enum mixer_list_type { MIXER_LIST_STRINGS, MIXER_LIST_NO_CASE, MIXER_LIST_IPS, MIXER_LIST_REGEX };

struct mixer_list;

/* text: one entry a line, spaces around it and empty lines left out, '#' begins a comment. overrides
 * are further entries. MT_INVALID names the bad entry, MT_LIMIT. */
int mixer_list_new(enum mixer_list_type type, const char *const *overrides, size_t noverrides,
	const char *text, size_t n, struct mixer_list **ret, struct mt_err *err);
struct mixer_list *mixer_list_ref(struct mixer_list *l);
void mixer_list_unref(struct mixer_list *l); /* NULL allowed */
size_t mixer_list_size(const struct mixer_list *l);
/* MT_INVALID when the value is no address in a list of addresses. */
int mixer_list_has(const struct mixer_list *l, const struct mt_value *v, struct mt_arena *scratch,
	bool *ret, struct mt_err *err);
