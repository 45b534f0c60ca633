#include "common/expr/expr.h"

#include <string.h>

#include "common/base/mem.h"
#include "common/expr/code.h"

int mt_expr_compile(const char *text, const struct mt_vocab *vocab, enum mt_vtype want,
	struct mt_expr **ret, struct mt_err *err)
{
	MT_AUTO(mt_expr_freep) struct mt_expr *e = MT_NEW(struct mt_expr);
	struct node *root;
	int r;

	e->arena = mt_arena_new(0);
	if ((r = mt_expr_parse(text, e->arena, &root, err)) < 0 ||
		(r = mt_expr_check(root, vocab, err)) < 0)
		return r;
	if (want != MT_V_NONE && root->type != want)
		return mt_expr_fail(err, root->col, "the expression is %s, not %s",
			mt_vtype_name(root->type), mt_vtype_name(want));
	if ((r = mt_expr_generate(e, root, err)) < 0)
		return r;
	e->type = root->type;
	*ret = MT_TAKE(e);
	return 0;
}

void mt_expr_free(struct mt_expr *e)
{
	if (!e)
		return;
	for (size_t i = 0; i < e->nregexes; i++)
		pcre2_code_free(e->regexes[i]);
	mt_arena_free(e->arena);
	mt_free(e);
}

enum mt_vtype mt_expr_type(const struct mt_expr *e)
{
	return e->type;
}

size_t mt_expr_equalities(const struct mt_expr *e, struct mt_expr_equality *out, size_t max)
{
	size_t n = MT_MIN(e->neqs, max);
	if (n)
		memcpy(out, e->eqs, n * sizeof(*out));
	return n;
}
