/* Which rules may apply to a bag, without evaluating them all. Rules apply to destinations in their
 * own namespace; those of the root namespace to all. Within a namespace a rule that demands
 * `attribute == "constant"` is found by the value of that attribute.
 *
 * Borrows the rules. Immutable; threads: any. */
#pragma once

#include "mixer/rule/rule.h"

struct mixer_index;

struct mixer_index *mixer_index_new(
	struct mixer_rule *const *rules, size_t n, const char *root_namespace);
void mixer_index_free(struct mixer_index *x); /* NULL allowed */
/* Numbers of the rules that may apply, ascending; in scratch. ns: of the destination, "" unknown. */
size_t mixer_index_find(const struct mixer_index *x, struct mt_text ns, const struct mt_bag *bag,
	struct mt_arena *scratch, uint32_t **ret);
