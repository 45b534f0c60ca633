/* Code generation. `a | b` compiles a with its misses pointing behind a jump over b; the depth of the
 * stack at that point is known, so a miss in the middle of a bigger left side just drops what was
 * pushed. && and || leave their left value as the result when they jump. */
#include <string.h>

#include "common/base/vec.h"
#include "common/expr/code.h"

struct gen {
	struct mt_expr *e;
	struct mt_err *err;
	MT_VEC(struct insn) code;
	MT_VEC(const char *) names;
	MT_VEC(struct mt_value) consts;
	MT_VEC(pcre2_code *) regexes;
	unsigned depth, deepest;
	MT_VEC(size_t) * misses; /* instructions to patch; NULL outside of `|` */
	unsigned miss_depth;
};
typedef __typeof__(*((struct gen *)0)->misses) miss_list;

static int gen_node(struct gen *g, const struct node *n);

static size_t emit(
	struct gen *g, enum opcode op, int32_t a, int32_t b, int pushes, const char *name)
{
	struct insn i = { .op = op, .a = a, .b = b, .miss = -1 };
	mt_vec_apush(g->e->arena, &g->code, i);
	mt_vec_apush(g->e->arena, &g->names, name);
	g->depth = (unsigned)((int)g->depth + pushes);
	g->deepest = MT_MAX(g->deepest, g->depth);
	return g->code.n - 1;
}

static void may_miss(struct gen *g, size_t at)
{
	if (!g->misses)
		return;
	g->code.v[at].depth = (uint16_t)g->miss_depth;
	mt_vec_apush(g->e->arena, g->misses, at);
}

static int32_t constant(struct gen *g, const struct mt_value *v)
{
	mt_vec_apush(g->e->arena, &g->consts, *v);
	return (int32_t)g->consts.n - 1;
}

static int gen_kids(struct gen *g, const struct node *n)
{
	for (int i = 0; i < n->nkids; i++) {
		int r = gen_node(g, n->kid[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

static int gen_first(struct gen *g, const struct node *n)
{
	miss_list misses = { 0 };
	void *outer = g->misses;
	unsigned outer_depth = g->miss_depth;

	g->misses = (void *)&misses;
	g->miss_depth = g->depth;
	int r = gen_node(g, n->kid[0]);
	g->misses = outer;
	g->miss_depth = outer_depth;
	if (r < 0)
		return r;

	size_t over =
		emit(g, OP_JUMP, 0, 0, -1, NULL); /* the right side pushes the same one value */
	for (size_t i = 0; i < misses.n; i++)
		g->code.v[misses.v[i]].miss = (int32_t)g->code.n;
	if ((r = gen_node(g, n->kid[1])) < 0)
		return r;
	g->code.v[over].a = (int32_t)g->code.n;
	return 0;
}

static int gen_logic(struct gen *g, const struct node *n)
{
	int r = gen_node(g, n->kid[0]);
	if (r < 0)
		return r;
	size_t jump = emit(g, n->kind == NODE_AND ? OP_JUMP_FALSE : OP_JUMP_TRUE, 0, 0, -1, NULL);
	if ((r = gen_node(g, n->kid[1])) < 0)
		return r;
	g->code.v[jump].a = (int32_t)g->code.n;
	return 0;
}

static int gen_conditional(struct gen *g, const struct node *n)
{
	int r = gen_node(g, n->kid[0]);
	if (r < 0)
		return r;
	size_t to_else = emit(g, OP_JUMP_POP_FALSE, 0, 0, -1, NULL);
	if ((r = gen_node(g, n->kid[1])) < 0)
		return r;
	size_t over = emit(g, OP_JUMP, 0, 0, -1, NULL);
	g->code.v[to_else].a = (int32_t)g->code.n;
	if ((r = gen_node(g, n->kid[2])) < 0)
		return r;
	g->code.v[over].a = (int32_t)g->code.n;
	return 0;
}

/* PCRE2 in UTF mode, without what RE2 lacks: backtracking is bounded at evaluation. */
static int gen_regex(struct gen *g, const struct node *n)
{
	const struct mt_text *p = &n->kid[0]->value.s;
	int code;
	PCRE2_SIZE at;
	pcre2_code *re = pcre2_compile((PCRE2_SPTR)(p->p ? p->p : ""), p->n,
		PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C, &code, &at, NULL);

	if (!re) {
		char msg[128];
		pcre2_get_error_message(code, (PCRE2_UCHAR *)msg, sizeof(msg));
		return mt_expr_fail(
			g->err, n->kid[0]->col, "bad pattern at %zu: %s", (size_t)at, msg);
	}
	pcre2_jit_compile(re, PCRE2_JIT_COMPLETE);
	mt_vec_apush(g->e->arena, &g->regexes, re);
	int32_t k = (int32_t)g->regexes.n - 1;
	int r = gen_node(g, n->kid[1]);
	if (r == 0)
		emit(g, OP_REGEX, k, 0, 0, NULL);
	return r;
}

static int gen_index(struct gen *g, const struct node *n)
{
	const struct node *map = n->kid[0], *key = n->kid[1];

	if (map->kind == NODE_ATTR && key->kind == NODE_CONST) {
		may_miss(g,
			emit(g, OP_LOAD_KEY, (int32_t)map->attr, constant(g, &key->value), 1,
				map->name));
		return 0;
	}
	int r = gen_kids(g, n);
	if (r == 0)
		may_miss(g,
			emit(g, OP_INDEX, map->kind == NODE_ATTR ? (int32_t)map->attr : -1, 0, -1,
				map->kind == NODE_ATTR ? map->name : "the map"));
	return r;
}

static int gen_call(struct gen *g, const struct node *n)
{
	if (n->func == FUNC_MATCHES)
		return gen_regex(g, n);
	if (n->func == FUNC_CONDITIONAL || n->func == FUNC_CONDITIONAL_STRING)
		return gen_conditional(g, n);
	int r = gen_kids(g, n);
	if (r == 0)
		emit(g, OP_CALL, (int32_t)n->func, 0, 1 - n->nkids, mt_expr_funcs[n->func].name);
	return r;
}

static int gen_node(struct gen *g, const struct node *n)
{
	int r;

	switch (n->kind) {
	case NODE_CONST: emit(g, OP_CONST, constant(g, &n->value), 0, 1, NULL); return 0;
	case NODE_ATTR:
		may_miss(g, emit(g, OP_LOAD, (int32_t)n->attr, (int32_t)n->type, 1, n->name));
		return 0;
	case NODE_INDEX: return gen_index(g, n);
	case NODE_CALL: return gen_call(g, n);
	case NODE_OR:
	case NODE_AND: return gen_logic(g, n);
	case NODE_FIRST: return gen_first(g, n);
	case NODE_ADD:
		if ((r = gen_kids(g, n)) == 0)
			emit(g, OP_ADD, 0, 0, -1, NULL);
		return r;
	default:
		if ((r = gen_kids(g, n)) == 0)
			emit(g, OP_COMPARE, (int32_t)n->kind, 0, -1, NULL);
		return r;
	}
}

/* `attr == "text"` or `attr["key"] == "text"`, either way round. */
static bool equality(const struct node *n, struct mt_expr_equality *ret)
{
	if (n->kind != NODE_EQ)
		return false;
	const struct node *a = n->kid[0], *b = n->kid[1];
	if (a->kind == NODE_CONST) {
		a = n->kid[1];
		b = n->kid[0];
	}
	if (b->kind != NODE_CONST || b->type != MT_V_STRING)
		return false;
	struct mt_text key = { 0 };
	if (a->kind == NODE_INDEX && a->kid[0]->kind == NODE_ATTR &&
		a->kid[1]->kind == NODE_CONST) {
		key = a->kid[1]->value.s;
		a = a->kid[0];
	}
	if (a->kind != NODE_ATTR)
		return false;
	*ret = (struct mt_expr_equality){ a->attr, key, b->value.s };
	return true;
}

static void collect(struct mt_expr *e, const struct node *n, size_t *cap)
{
	struct mt_expr_equality eq;

	if (n->kind == NODE_AND) {
		collect(e, n->kid[0], cap);
		collect(e, n->kid[1], cap);
	} else if (equality(n, &eq) && e->neqs < *cap) {
		e->eqs[e->neqs++] = eq;
	}
}

int mt_expr_generate(struct mt_expr *e, const struct node *root, struct mt_err *err)
{
	struct gen g = { .e = e, .err = err };
	size_t cap = EXPR_DEPTH_MAX;
	int r = gen_node(&g, root);

	e->code = g.code.v;
	e->ncode = g.code.n;
	e->names = g.names.v;
	e->consts = g.consts.v;
	e->nconsts = g.consts.n;
	e->regexes = g.regexes.v;
	e->nregexes = g.regexes.n;
	e->stack = g.deepest;
	if (r < 0)
		return r;
	e->eqs = MT_ANEWN(e->arena, struct mt_expr_equality, cap);
	if (root->type == MT_V_BOOL)
		collect(e, root, &cap);
	return 0;
}
