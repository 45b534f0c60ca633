/* Private to common/expr: code of the stack machine. */
#pragma once

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "common/expr/ast.h"
#include "common/expr/expr.h"

enum opcode {
	OP_CONST,    /* push consts[a] */
	OP_LOAD,     /* push attribute a, of type b; absent: miss */
	OP_LOAD_KEY, /* push attribute a at key consts[b]; absent: miss */
	OP_INDEX,    /* map, key -> value; absent: miss. a: attribute, or -1 */
	OP_CALL,     /* function a */
	OP_REGEX,    /* text -> whether regexes[a] matches it */
	OP_COMPARE,  /* a: node_kind */
	OP_ADD,
	OP_JUMP,       /* to a */
	OP_JUMP_FALSE, /* top false: keep it and jump to a; else pop */
	OP_JUMP_TRUE,
	OP_JUMP_POP_FALSE, /* pop; jump to a when it was false */
};

struct insn {
	uint8_t op;
	uint16_t depth; /* of the stack when a miss jumps */
	int32_t a;
	int32_t b;
	int32_t miss; /* where to go when an attribute is absent; -1: the evaluation fails */
};

struct mt_expr {
	struct mt_arena *arena;
	enum mt_vtype type;
	struct insn *code;
	size_t ncode;
	struct mt_value *consts;
	size_t nconsts;
	pcre2_code **regexes;
	size_t nregexes;
	unsigned stack; /* deepest */
	/* name of the attribute, beside each instruction that loads one */
	const char **names;
	struct mt_expr_equality *eqs;
	size_t neqs;
};

int mt_expr_generate(struct mt_expr *e, const struct node *root, struct mt_err *err);
