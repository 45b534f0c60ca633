/* Expressions over attributes: the language of Istio's Mixer configuration (rule matches and instance
 * fields).
 *
 *   destination.labels["app"] == "ratings" && (source.namespace | "unknown") != "default"
 *   request.path.startsWith("/api") || match(request.host, "*.local")
 *
 * Operators by rising precedence: || && (== != < <= > >=) (| +) then indexing, calls and methods. `|`
 * gives its left side when all attributes it needs are present, else its right. Literals: "text",
 * `text`, 12, 1.5, true, false; a text literal beside a DURATION is read as one ("10ms").
 * Functions stand in functions.def.
 *
 * Compiling checks types and yields code for a small stack machine; evaluating allocates only when it
 * concatenates. An expression is immutable; threads: any. Bounds: 4 kB of text, nesting 64. */
#pragma once

#include "common/base/err.h"
#include "common/expr/vocab.h"

struct mt_expr;

/* want: the type that the result must have; MT_V_NONE accepts any. Errors: MT_INVALID, with the column
 * as "column 12" in err->path. */
int mt_expr_compile(const char *text, const struct mt_vocab *vocab, enum mt_vtype want,
	struct mt_expr **ret, struct mt_err *err);
void mt_expr_free(struct mt_expr *e); /* NULL allowed */
MT_DEFINE_FREEP(struct mt_expr *, mt_expr_freep, mt_expr_free)
enum mt_vtype mt_expr_type(const struct mt_expr *e);

/* Which attributes (and keys of map attributes) an evaluation looked at, found or not: what the
 * answer to a check may be cached by. May be NULL. */
struct mt_expr_refs {
	void (*seen)(void *ctx, size_t attr, const struct mt_text *key, bool present);
	void *ctx;
};

/* Errors: MT_NOT_FOUND when an attribute without alternative is absent (err names it), MT_INVALID for a
 * value that a function cannot convert. Texts in *ret live in the bag, the expression or scratch. */
int mt_expr_eval(const struct mt_expr *e, const struct mt_bag *bag, struct mt_arena *scratch,
	const struct mt_expr_refs *refs, struct mt_value *ret, struct mt_err *err);

/* Conditions `attribute == "constant"` that must hold for a BOOL expression to be true (its top-level
 * conjuncts): what an index of rules is built on. Returns how many were written, at most max. Texts
 * belong to the expression. key is empty for a plain attribute. */
struct mt_expr_equality {
	size_t attr;
	struct mt_text key;
	struct mt_text value;
};
size_t mt_expr_equalities(const struct mt_expr *e, struct mt_expr_equality *out, size_t max);
