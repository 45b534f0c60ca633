/* Private to common/expr: tokens of an expression. */
#pragma once

#include "common/expr/ast.h"

enum tok {
	TOK_END,
	TOK_NAME, /* dotted: source.labels; text */
	TOK_STR,  /* text, unescaped, in the arena */
	TOK_INT,
	TOK_DBL,
	TOK_OR,
	TOK_AND,
	TOK_EQ,
	TOK_NE,
	TOK_LT,
	TOK_LE,
	TOK_GT,
	TOK_GE,
	TOK_BAR,
	TOK_PLUS,
	TOK_MINUS,
	TOK_DOT, /* before a method on something that is no name */
	TOK_LPAR,
	TOK_RPAR,
	TOK_LBRA,
	TOK_RBRA,
	TOK_COMMA,
};

struct lexer {
	const char *start;
	const char *p;
	struct mt_arena *arena;
	enum tok tok; /* the current token */
	int col;
	struct mt_text text;
	int64_t i;
	double d;
};

/* Reads the next token into lx. */
int mt_lex_next(struct lexer *lx, struct mt_err *err);
