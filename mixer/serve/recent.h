/* The newest checks with all their attributes and what became of them, for /debug/checks. Values of
 * headers that carry credentials are not kept. Add: any thread, under a short lock. */
#pragma once

#include <jansson.h>

#include "mixer/rule/program.h"

struct mixer_recent;

struct mixer_recent *mixer_recent_new(size_t keep);
void mixer_recent_free(struct mixer_recent *r); /* NULL allowed */
/* out is NULL when the check could not be decided; then why says so. */
void mixer_recent_add(struct mixer_recent *r, const struct mt_vocab *vocab,
	const struct mt_bag *bag, const struct mixer_outcome *out, const char *why,
	struct mt_arena *scratch);
json_t *mixer_recent_json(struct mixer_recent *r); /* newest first */
