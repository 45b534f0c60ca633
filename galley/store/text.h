/* One text and its claims. Private to store. */
#pragma once

#include "galley/store/store.h"

/* "TYPE-URL key", the name of an object in the store's tables; returns buf. */
const char *galley_object_id(const struct mt_kind *k, const char *key, char *buf, size_t n);
const char *galley_id_of(const struct mt_object *o, char *buf, size_t n);
enum { GALLEY_ID_MAX = 512 };

struct galley_text *galley_text_new(const char *name, unsigned source);
void galley_text_free(void *t);

/* Decodes and validates; sets broken, diags. What the text defines validly becomes its claim, what it
 * claimed before stays when the text is broken. extra: objects that an earlier run knew from this text
 * (may be NULL). */
void galley_text_read(struct galley_text *t, const char *text, size_t n,
	const struct galley_store_opts *o, const struct galley_text *extra);
/* The text cannot be read: it keeps its claims, and what an earlier run knew from it. */
void galley_text_adopt(struct galley_text *t, const struct galley_text *extra);
struct mt_object *galley_text_claim(
	const struct galley_text *t, const char *id); /* borrowed; NULL */
