/* Types: each node gets one, bottom up. Literals adapt to their neighbour (a text beside a DURATION
 * becomes one), conversions of constants are done here so that a mistake shows when the rule is
 * written, not when a request comes. */
#include <string.h>

#include "common/expr/ast.h"
#include "common/expr/convert.h"

static int check_attr(struct node *n, const struct mt_vocab *vocab, struct mt_err *err)
{
	int at = mt_vocab_find(vocab, n->name, strlen(n->name), &n->type);

	if (at < 0) {
		const char *near = mt_vocab_nearest(vocab, n->name);
		return mt_expr_fail(err, n->col, "unknown attribute \"%s\"%s%s%s", n->name,
			near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
	}
	n->attr = (size_t)at;
	return 0;
}

static bool adapt(struct node *n, enum mt_vtype to)
{
	if (n->kind == NODE_CONST && n->type == MT_V_STRING && to == MT_V_DURATION &&
		mt_expr_convert(to, n->value.s, &n->value, NULL) == 0)
		n->type = to;
	if (n->kind == NODE_CONST && n->type == MT_V_INT64 && to == MT_V_DOUBLE) {
		n->value = (struct mt_value){ .type = to, .d = (double)n->value.i };
		n->type = to;
	}
	return n->type == to;
}

static bool same_type(struct node *a, struct node *b)
{
	return a->type == b->type || adapt(a, b->type) || adapt(b, a->type);
}

static bool ordered(enum mt_vtype t)
{
	return t == MT_V_INT64 || t == MT_V_DOUBLE || t == MT_V_DURATION || t == MT_V_TIMESTAMP ||
		t == MT_V_STRING;
}

static const char *op_text(enum node_kind k)
{
	static const char *const text[] = { [NODE_OR] = "||",
		[NODE_AND] = "&&",
		[NODE_EQ] = "==",
		[NODE_NE] = "!=",
		[NODE_LT] = "<",
		[NODE_LE] = "<=",
		[NODE_GT] = ">",
		[NODE_GE] = ">=",
		[NODE_FIRST] = "|",
		[NODE_ADD] = "+",
		[NODE_INDEX] = "[]" };
	return text[k];
}

static int mismatch(const struct node *n, struct mt_err *err)
{
	return mt_expr_fail(err, n->col, "operator %s does not take %s and %s", op_text(n->kind),
		mt_vtype_name(n->kid[0]->type), mt_vtype_name(n->kid[1]->type));
}

/* conditional(): the second and third have one type, which is the result's. */
static int check_args(struct node *n, struct mt_err *err)
{
	const struct func *f = &mt_expr_funcs[n->func];

	for (int i = 0; i < f->nargs; i++)
		if (f->args[i] != MT_V_NONE && !adapt(n->kid[i], f->args[i]))
			return mt_expr_fail(err, n->kid[i]->col,
				"argument %d of %s() is %s, not %s", i + 1, f->name,
				mt_vtype_name(n->kid[i]->type), mt_vtype_name(f->args[i]));
	if (n->func == FUNC_CONDITIONAL && !same_type(n->kid[1], n->kid[2]))
		return mt_expr_fail(err, n->col, "the results of conditional() are %s and %s",
			mt_vtype_name(n->kid[1]->type), mt_vtype_name(n->kid[2]->type));
	n->type = f->result == MT_V_NONE ? n->kid[1]->type : f->result;
	return 0;
}

static int check_call(struct node *n, struct mt_err *err)
{
	int r = check_args(n, err);
	if (r < 0)
		return r;

	if (n->func == FUNC_MATCHES && n->kid[0]->kind != NODE_CONST)
		return mt_expr_fail(err, n->col, "the pattern of matches() must be a literal");
	if (n->func > FUNC_URI || n->kid[0]->kind != NODE_CONST)
		return 0;

	struct mt_err why = { 0 };
	struct mt_value v;
	if (mt_expr_convert(n->type, n->kid[0]->value.s, &v, &why) < 0)
		return mt_expr_fail(err, n->kid[0]->col, "%s", why.msg);
	n->kind = NODE_CONST;
	n->value = v;
	n->nkids = 0;
	return 0;
}

static int check_binary(struct node *n, struct mt_err *err)
{
	struct node *a = n->kid[0], *b = n->kid[1];

	switch (n->kind) {
	case NODE_OR:
	case NODE_AND:
		n->type = MT_V_BOOL;
		return a->type == MT_V_BOOL && b->type == MT_V_BOOL ? 0 : mismatch(n, err);
	case NODE_INDEX:
		n->type = MT_V_STRING;
		return a->type == MT_V_STRING_MAP && b->type == MT_V_STRING ? 0 : mismatch(n, err);
	case NODE_ADD:
		n->type = MT_V_STRING;
		return a->type == MT_V_STRING && b->type == MT_V_STRING ? 0 : mismatch(n, err);
	case NODE_FIRST:
		if (!same_type(a, b))
			return mismatch(n, err);
		n->type = a->type;
		return 0;
	case NODE_EQ:
	case NODE_NE: n->type = MT_V_BOOL; return same_type(a, b) ? 0 : mismatch(n, err);
	default:
		n->type = MT_V_BOOL;
		return same_type(a, b) && ordered(a->type) ? 0 : mismatch(n, err);
	}
}

int mt_expr_check(struct node *n, const struct mt_vocab *vocab, struct mt_err *err)
{
	for (int i = 0; i < n->nkids; i++) {
		int r = mt_expr_check(n->kid[i], vocab, err);
		if (r < 0)
			return r;
	}
	switch (n->kind) {
	case NODE_CONST: n->type = n->value.type; return 0;
	case NODE_ATTR: return check_attr(n, vocab, err);
	case NODE_CALL: return check_call(n, err);
	default: return check_binary(n, err);
	}
}
