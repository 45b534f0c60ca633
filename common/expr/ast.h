/* Private to common/expr: the tree between parsing, checking and code generation. Lives in an arena. */
#pragma once

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/expr/vocab.h"

enum { EXPR_TEXT_MAX = 4096, EXPR_DEPTH_MAX = 64 };

enum node_kind {
	NODE_CONST, /* value */
	NODE_ATTR,  /* attr */
	NODE_INDEX, /* kid[0] is a map, kid[1] a STRING */
	NODE_CALL,  /* func, kids */
	NODE_OR,
	NODE_AND,
	NODE_EQ,
	NODE_NE,
	NODE_LT,
	NODE_LE,
	NODE_GT,
	NODE_GE,
	NODE_FIRST, /* | */
	NODE_ADD,
};

enum func_id {
#define FUNC(id, ...) FUNC_##id,
#include "common/expr/functions.def"
#undef FUNC
	FUNC_N,
};

struct func {
	const char *name;
	bool method;
	enum mt_vtype result; /* NONE: that of its second argument */
	int nargs;
	enum mt_vtype args[3];
};
extern const struct func mt_expr_funcs[FUNC_N];

struct node {
	enum node_kind kind;
	int col;            /* from 1 */
	enum mt_vtype type; /* set by the check */
	struct mt_value value;
	size_t attr;
	const char *name; /* NODE_ATTR: as written */
	enum func_id func;
	int nkids;
	struct node *kid[3];
};

/* "column 12" as the path of the error. Returns MT_INVALID. */
int mt_expr_fail(struct mt_err *err, int col, const char *fmt, ...) MT_PRINTF(3, 4);
int mt_expr_parse(const char *text, struct mt_arena *a, struct node **ret, struct mt_err *err);
/* Resolves attributes, sets types, converts literals. */
int mt_expr_check(struct node *n, const struct mt_vocab *vocab, struct mt_err *err);
