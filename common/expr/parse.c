/* Recursive descent, one function a level of precedence:
 *
 *   or    := and { "||" and }            first  := post { ("|" | "+") post }
 *   and   := cmp { "&&" cmp }            post   := atom { "[" or "]" | "." name "(" args ")" }
 *   cmp   := first [ cmpop first ]       atom   := literal | name | name "(" args ")" | "(" or ")"
 *
 * A dotted name directly before "(" ends in a method: request.path.startsWith("/x") is a call of
 * startsWith whose first argument is request.path. Depth is counted at every level that recurses. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/expr/lex.h"

const struct func mt_expr_funcs[FUNC_N] = {
#define FUNC(id, name, method, result, nargs, a, b, c, help)                                       \
	[FUNC_##id] = { name, method, MT_V_##result, nargs, { MT_V_##a, MT_V_##b, MT_V_##c } },
#include "common/expr/functions.def"
#undef FUNC
};

int mt_expr_fail(struct mt_err *err, int col, const char *fmt, ...)
{
	char path[32], msg[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	snprintf(path, sizeof(path), "column %d", col);
	return mt_fail(err, MT_INVALID, path, "%s", msg);
}

static int parse_or(struct lexer *lx, int depth, struct node **ret, struct mt_err *err);

static struct node *node_new(struct lexer *lx, enum node_kind kind, int col)
{
	struct node *n = MT_ANEW(lx->arena, struct node);
	n->kind = kind;
	n->col = col;
	return n;
}

static struct node *node_two(
	struct lexer *lx, enum node_kind kind, int col, struct node *a, struct node *b)
{
	struct node *n = node_new(lx, kind, col);
	n->nkids = 2;
	n->kid[0] = a;
	n->kid[1] = b;
	return n;
}

static int expect(struct lexer *lx, enum tok tok, const char *what, struct mt_err *err)
{
	if (lx->tok != tok)
		return mt_expr_fail(err, lx->col, "expected %s", what);
	return mt_lex_next(lx, err);
}

static int find_func(const struct lexer *lx, const char *p, size_t n, bool method,
	enum func_id *ret, int col, struct mt_err *err)
{
	(void)lx;
	for (int f = 0; f < FUNC_N; f++)
		if (strlen(mt_expr_funcs[f].name) == n &&
			memcmp(mt_expr_funcs[f].name, p, n) == 0) {
			if (method && !mt_expr_funcs[f].method)
				break;
			*ret = f;
			return 0;
		}
	return mt_expr_fail(
		err, col, "unknown %s \"%.*s\"", method ? "method" : "function", (int)n, p);
}

/* The current token is "(" of a call; first is the receiver of a method or NULL. */
static int parse_call(struct lexer *lx, int depth, struct mt_text name, int col, struct node *first,
	struct node **ret, struct mt_err *err)
{
	struct node *call = node_new(lx, NODE_CALL, col);
	int r = find_func(lx, name.p, name.n, first != NULL, &call->func, col, err);

	if (r < 0 || (r = mt_lex_next(lx, err)) < 0)
		return r;
	if (first)
		call->kid[call->nkids++] = first;
	while (lx->tok != TOK_RPAR) {
		if (call->nkids == mt_expr_funcs[call->func].nargs)
			return mt_expr_fail(
				err, lx->col, "too many arguments of %.*s()", (int)name.n, name.p);
		if ((r = parse_or(lx, depth + 1, &call->kid[call->nkids], err)) < 0)
			return r;
		call->nkids++;
		if (lx->tok == TOK_RPAR)
			break;
		if ((r = expect(lx, TOK_COMMA, "\",\" or \")\"", err)) < 0)
			return r;
	}
	if (call->nkids != mt_expr_funcs[call->func].nargs)
		return mt_expr_fail(err, lx->col, "%.*s() takes %d arguments", (int)name.n, name.p,
			mt_expr_funcs[call->func].nargs);
	*ret = call;
	return mt_lex_next(lx, err);
}

static struct node *attr_node(struct lexer *lx, const char *p, size_t n, int col)
{
	struct node *a = node_new(lx, NODE_ATTR, col);
	a->name = mt_arena_strndup(lx->arena, p, n);
	return a;
}

static int parse_name(struct lexer *lx, int depth, struct node **ret, struct mt_err *err)
{
	struct mt_text name = lx->text;
	int col = lx->col;
	int r = mt_lex_next(lx, err);

	if (r < 0)
		return r;
	if (lx->tok == TOK_LPAR) {
		const char *dot = memrchr(name.p, '.', name.n);
		if (!dot)
			return parse_call(lx, depth, name, col, NULL, ret, err);
		struct node *first = attr_node(lx, name.p, (size_t)(dot - name.p), col);
		struct mt_text method = { dot + 1, name.n - (size_t)(dot + 1 - name.p) };
		return parse_call(lx, depth, method, col, first, ret, err);
	}
	if ((name.n == 4 && memcmp(name.p, "true", 4) == 0) ||
		(name.n == 5 && memcmp(name.p, "false", 5) == 0)) {
		*ret = node_new(lx, NODE_CONST, col);
		(*ret)->value = (struct mt_value){ .type = MT_V_BOOL, .b = name.n == 4 };
		return 0;
	}
	*ret = attr_node(lx, name.p, name.n, col);
	return 0;
}

static int parse_literal(struct lexer *lx, bool negative, struct node **ret, struct mt_err *err)
{
	struct node *n = node_new(lx, NODE_CONST, lx->col);

	switch (lx->tok) {
	case TOK_STR: n->value = (struct mt_value){ .type = MT_V_STRING, .s = lx->text }; break;
	case TOK_INT:
		n->value = (struct mt_value){ .type = MT_V_INT64, .i = negative ? -lx->i : lx->i };
		break;
	case TOK_DBL:
		n->value = (struct mt_value){ .type = MT_V_DOUBLE, .d = negative ? -lx->d : lx->d };
		break;
	default: return mt_expr_fail(err, lx->col, "expected a value, an attribute or a function");
	}
	*ret = n;
	return mt_lex_next(lx, err);
}

static int parse_atom(struct lexer *lx, int depth, struct node **ret, struct mt_err *err)
{
	int r;

	switch (lx->tok) {
	case TOK_NAME: return parse_name(lx, depth, ret, err);
	case TOK_LPAR:
		if ((r = mt_lex_next(lx, err)) < 0 || (r = parse_or(lx, depth + 1, ret, err)) < 0)
			return r;
		return expect(lx, TOK_RPAR, "\")\"", err);
	case TOK_MINUS:
		if ((r = mt_lex_next(lx, err)) < 0)
			return r;
		if (lx->tok == TOK_STR)
			return mt_expr_fail(err, lx->col, "a text has no negative");
		return parse_literal(lx, true, ret, err);
	default: return parse_literal(lx, false, ret, err);
	}
}

static int parse_index(struct lexer *lx, int depth, struct node **at, struct mt_err *err)
{
	struct node *key;
	int col = lx->col;
	int r = mt_lex_next(lx, err);

	if (r < 0 || (r = parse_or(lx, depth + 1, &key, err)) < 0)
		return r;
	*at = node_two(lx, NODE_INDEX, col, *at, key);
	return expect(lx, TOK_RBRA, "\"]\"", err);
}

static int parse_post(struct lexer *lx, int depth, struct node **ret, struct mt_err *err)
{
	struct node *n;
	int chain = 0;
	int r = parse_atom(lx, depth, &n, err);

	while (r == 0 && (lx->tok == TOK_LBRA || lx->tok == TOK_DOT)) {
		if (depth + ++chain > EXPR_DEPTH_MAX)
			return mt_expr_fail(err, lx->col, "nested deeper than %d", EXPR_DEPTH_MAX);
		if (lx->tok == TOK_LBRA) {
			r = parse_index(lx, depth, &n, err);
			continue;
		}
		int col = lx->col;
		if ((r = mt_lex_next(lx, err)) < 0)
			return r;
		struct mt_text name = lx->text;
		if (lx->tok != TOK_NAME)
			return mt_expr_fail(err, lx->col, "expected the name of a method");
		if ((r = mt_lex_next(lx, err)) < 0)
			return r;
		if (lx->tok != TOK_LPAR)
			return mt_expr_fail(err, lx->col, "expected \"(\" after a method");
		r = parse_call(lx, depth, name, col, n, &n, err);
	}
	if (r == 0)
		*ret = n;
	return r;
}

/* Left-associative binary operators of one level; each operator nests the tree one deeper. */
struct level {
	enum tok tok[6];
	enum node_kind kind[6];
	int n;
	bool once; /* comparisons do not chain */
	int (*below)(struct lexer *lx, int depth, struct node **ret, struct mt_err *err);
};

static int parse_level(
	struct lexer *lx, int depth, const struct level *lv, struct node **ret, struct mt_err *err)
{
	struct node *left, *right;
	int r = lv->below(lx, depth, &left, err);

	for (int chain = 1; r == 0; chain++) {
		int op = 0;
		while (op < lv->n && lv->tok[op] != lx->tok)
			op++;
		if (op == lv->n)
			break;
		if (lv->once && chain > 1)
			return mt_expr_fail(err, lx->col, "comparisons cannot be chained");
		if (depth + chain > EXPR_DEPTH_MAX)
			return mt_expr_fail(err, lx->col, "nested deeper than %d", EXPR_DEPTH_MAX);
		int col = lx->col;
		if ((r = mt_lex_next(lx, err)) < 0 || (r = lv->below(lx, depth, &right, err)) < 0)
			return r;
		left = node_two(lx, lv->kind[op], col, left, right);
	}
	if (r == 0)
		*ret = left;
	return r;
}

static int parse_first(struct lexer *lx, int depth, struct node **ret, struct mt_err *err)
{
	static const struct level lv = { { TOK_BAR, TOK_PLUS }, { NODE_FIRST, NODE_ADD }, 2, false,
		parse_post };
	return parse_level(lx, depth, &lv, ret, err);
}

static int parse_cmp(struct lexer *lx, int depth, struct node **ret, struct mt_err *err)
{
	static const struct level lv = { { TOK_EQ, TOK_NE, TOK_LT, TOK_LE, TOK_GT, TOK_GE },
		{ NODE_EQ, NODE_NE, NODE_LT, NODE_LE, NODE_GT, NODE_GE }, 6, true, parse_first };
	return parse_level(lx, depth, &lv, ret, err);
}

static int parse_and(struct lexer *lx, int depth, struct node **ret, struct mt_err *err)
{
	static const struct level lv = { { TOK_AND }, { NODE_AND }, 1, false, parse_cmp };
	return parse_level(lx, depth, &lv, ret, err);
}

static int parse_or(struct lexer *lx, int depth, struct node **ret, struct mt_err *err)
{
	static const struct level lv = { { TOK_OR }, { NODE_OR }, 1, false, parse_and };
	if (depth > EXPR_DEPTH_MAX)
		return mt_expr_fail(err, lx->col, "nested deeper than %d", EXPR_DEPTH_MAX);
	return parse_level(lx, depth, &lv, ret, err);
}

int mt_expr_parse(const char *text, struct mt_arena *a, struct node **ret, struct mt_err *err)
{
	struct lexer lx = { .start = text, .p = text, .arena = a };
	struct node *n;
	int r;

	if (strnlen(text, EXPR_TEXT_MAX + 1) > EXPR_TEXT_MAX)
		return mt_expr_fail(err, 1, "longer than %d bytes", EXPR_TEXT_MAX);
	if ((r = mt_lex_next(&lx, err)) < 0)
		return r;
	if (lx.tok == TOK_END)
		return mt_expr_fail(err, 1, "the expression is empty");
	if ((r = parse_or(&lx, 0, &n, err)) < 0)
		return r;
	if (lx.tok != TOK_END)
		return mt_expr_fail(err, lx.col, "expected an operator or the end");
	*ret = n;
	return 0;
}
