/* What configuration is in force, and which text says so.
 *
 * Each text (a file) claims the objects that it defines. An object that is found invalid, or a text that
 * cannot be decoded whole, keeps what the same text claimed before: what was in force stays in force,
 * object by object. Where two texts claim one object, the earlier source, then the name that sorts
 * first, wins; the other gets a warning. The last good state of an earlier run claims too, behind all
 * texts, until every source has been read.
 *
 * An object in force is replaced only when its content differs (by hash); its generation then grows.
 * Loop thread. */
#pragma once

#include <jansson.h>

#include "common/base/map.h"
#include "common/run/loop.h"
#include "common/schema/decode.h"

struct galley_change {
	struct mt_object *old; /* NULL: added. Borrowed, valid during the call */
	struct mt_object *new; /* NULL: removed */
};

struct galley_text {
	char *name;
	unsigned source;           /* index; galley_source_state for the last good state */
	bool broken;               /* the newest text has errors, or cannot be read */
	struct mt_diags diags;     /* of the newest text; warnings too */
	struct mt_object **claims; /* references, sorted by kind and key */
	size_t nclaims;
};

struct galley_store_opts {
	const struct mt_clock *clock;
	int64_t loss_hold_ns;
	size_t max_objects;
	/* Is an object fit to be in force? Faults go to diags. */
	int (*validate)(void *ctx, const struct mt_object *o, struct mt_diags *diags);
	void (*changed)(void *ctx, const struct galley_change *c, size_t n, int64_t since_ns);
	/* A text's report changed: it became broken, or its faults are others, or it is fine again. */
	void (*reported)(void *ctx, const struct galley_text *t);
	void *ctx;
};

enum { galley_source_state = 1000000 };

struct galley_store;
struct galley_store *galley_store_new(struct mt_loop *l, const struct galley_store_opts *o);
void galley_store_free(struct galley_store *s); /* NULL allowed */

/* A batch: texts, then commit. */
void galley_store_text(
	struct galley_store *s, unsigned source, const char *name, const char *text, size_t n);
void galley_store_unreadable(
	struct galley_store *s, unsigned source, const char *name, const struct mt_err *err);
void galley_store_gone(struct galley_store *s, const char *name);
/* complete: every source has been read, so what only the last good state claims goes. */
void galley_store_commit(struct galley_store *s, bool complete, int64_t since_ns);

/* An object of the last good state (takes the reference). Before the first commit. */
void galley_store_restore(struct galley_store *s, struct mt_object *o);

size_t galley_store_count(const struct galley_store *s);
/* Borrowed; NULL. key: "ns/name" or "name". */
struct mt_object *galley_store_find(
	const struct galley_store *s, const struct mt_kind *k, const char *key);
/* The newest claim on it, with the places of the newest text: for reports. NULL. */
const struct mt_object *galley_store_claim(
	const struct galley_store *s, const struct mt_kind *k, const char *key);
/* All in force, unordered. */
void galley_store_each(
	const struct galley_store *s, void (*f)(void *ctx, struct mt_object *o), void *ctx);
void galley_store_each_text(
	const struct galley_store *s, void (*f)(void *ctx, const struct galley_text *t), void *ctx);
const struct galley_text *galley_store_text_find(const struct galley_store *s, const char *name);
size_t galley_store_texts(const struct galley_store *s);
size_t galley_store_broken(const struct galley_store *s); /* of them */
/* Removals that wait for loss_hold; 0: none. */
size_t galley_store_held(const struct galley_store *s);
