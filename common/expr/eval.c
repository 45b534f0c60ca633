/* The stack machine. Its stack is on ours: the compiler knows how deep it gets. */
#include <ctype.h>
#include <string.h>

#include "common/expr/code.h"
#include "common/expr/convert.h"

enum { REGEX_STEPS_MAX = 100000 };

struct run {
	const struct mt_expr *e;
	const struct mt_bag *bag;
	struct mt_arena *scratch;
	const struct mt_expr_refs *refs;
	struct mt_err *err;
	struct mt_value *sp; /* one above the top */
};

static void saw(const struct run *r, size_t attr, const struct mt_text *key, bool present)
{
	if (r->refs)
		r->refs->seen(r->refs->ctx, attr, key, present);
}

static int order(const struct mt_value *a, const struct mt_value *b)
{
	if (a->type == MT_V_DOUBLE)
		return a->d < b->d ? -1 : a->d > b->d;
	if (a->type == MT_V_STRING) {
		size_t n = MT_MIN(a->s.n, b->s.n);
		int c = n ? memcmp(a->s.p, b->s.p, n) : 0;
		return c ? c : (a->s.n > b->s.n) - (a->s.n < b->s.n);
	}
	return (a->i > b->i) - (a->i < b->i);
}

static bool compare(enum node_kind op, const struct mt_value *a, const struct mt_value *b)
{
	switch (op) {
	case NODE_EQ: return mt_value_equal(a, b);
	case NODE_NE: return !mt_value_equal(a, b);
	case NODE_LT: return order(a, b) < 0;
	case NODE_LE: return order(a, b) <= 0;
	case NODE_GT: return order(a, b) > 0;
	default: return order(a, b) >= 0;
	}
}

static bool starts(struct mt_text s, struct mt_text p)
{
	return s.n >= p.n && (p.n == 0 || memcmp(s.p, p.p, p.n) == 0);
}

static bool ends(struct mt_text s, struct mt_text p)
{
	return s.n >= p.n && (p.n == 0 || memcmp(s.p + s.n - p.n, p.p, p.n) == 0);
}

static bool glob(struct mt_text s, struct mt_text p)
{
	if (p.n && p.p[p.n - 1] == '*')
		return starts(s, (struct mt_text){ p.p, p.n - 1 });
	if (p.n && p.p[0] == '*')
		return ends(s, (struct mt_text){ p.p + 1, p.n - 1 });
	return s.n == p.n && starts(s, p);
}

static struct mt_text lower(struct mt_text s, struct mt_arena *a)
{
	char *p = mt_arena_memdup(a, s.p, s.n);
	for (size_t i = 0; i < s.n; i++)
		p[i] = (char)tolower((unsigned char)p[i]);
	return (struct mt_text){ p, s.n };
}

static int call(struct run *r, enum func_id f)
{
	int nargs = mt_expr_funcs[f].nargs;
	struct mt_value *a = r->sp - nargs;
	struct mt_value v = { .type = mt_expr_funcs[f].result };

	switch (f) {
	case FUNC_MATCH: v.b = glob(a[0].s, a[1].s); break;
	case FUNC_STARTS_WITH: v.b = starts(a[0].s, a[1].s); break;
	case FUNC_ENDS_WITH: v.b = ends(a[0].s, a[1].s); break;
	case FUNC_TO_LOWER: v.s = lower(a[0].s, r->scratch); break;
	case FUNC_SIZE: v.i = (int64_t)a[0].s.n; break;
	case FUNC_EMPTY_STRING_MAP: break;
	default: {
		int rc = mt_expr_convert(v.type, a[0].s, &v, r->err);
		if (rc < 0)
			return rc;
	}
	}
	*a = v;
	r->sp = a + 1;
	return 0;
}

static int regex(struct run *r, const pcre2_code *re)
{
	struct mt_value *top = r->sp - 1;
	pcre2_match_data *md = pcre2_match_data_create(1, NULL);
	pcre2_match_context *mc = pcre2_match_context_create(NULL);

	pcre2_set_match_limit(mc, REGEX_STEPS_MAX);
	int rc = pcre2_match(re, (PCRE2_SPTR)(top->s.p ? top->s.p : ""), top->s.n, 0, 0, md, mc);
	pcre2_match_context_free(mc);
	pcre2_match_data_free(md);
	if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
		return mt_fail(r->err, rc == PCRE2_ERROR_MATCHLIMIT ? MT_LIMIT : MT_INVALID, NULL,
			"matches(): pattern cannot be applied to this text (%d)", rc);
	*top = (struct mt_value){ .type = MT_V_BOOL, .b = rc >= 0 };
	return 0;
}

static int concat(struct run *r)
{
	struct mt_text a = r->sp[-2].s, b = r->sp[-1].s;
	char *p = mt_arena_alloc(r->scratch, a.n + b.n + 1);

	if (a.n)
		memcpy(p, a.p, a.n);
	if (b.n)
		memcpy(p + a.n, b.p, b.n);
	r->sp--;
	r->sp[-1] = mt_value_str(p, a.n + b.n);
	return 0;
}

/* Bags come from peers: a value of another type than the vocabulary's counts as absent, but for plain
 * text where a kind of text is wanted. */
static bool fits(const struct mt_value *v, enum mt_vtype want)
{
	return v->type == want ||
		(v->type == MT_V_STRING &&
			(want == MT_V_DNS_NAME || want == MT_V_EMAIL_ADDRESS || want == MT_V_URI));
}

/* Pushes an attribute, or a text out of a map. False: absent. */
static bool load(struct run *r, const struct insn *i)
{
	const struct mt_value *v = mt_bag_get(r->bag, (size_t)i->a);

	if (v && !fits(v, i->op == OP_LOAD ? (enum mt_vtype)i->b : MT_V_STRING_MAP))
		v = NULL;
	if (i->op == OP_LOAD) {
		saw(r, (size_t)i->a, NULL, v != NULL);
		if (!v)
			return false;
		*r->sp = *v;
		r->sp++->type = (enum mt_vtype)i->b;
		return true;
	}
	const struct mt_text *key = &r->e->consts[i->b].s;
	const struct mt_text *found = v ? mt_smap_get(&v->map, key->p, key->n) : NULL;
	saw(r, (size_t)i->a, key, found != NULL);
	if (found)
		*r->sp++ = mt_value_str(found->p, found->n);
	return found != NULL;
}

static bool index_map(struct run *r, const struct insn *i)
{
	struct mt_value key = r->sp[-1];
	const struct mt_text *found = mt_smap_get(&r->sp[-2].map, key.s.p, key.s.n);

	if (i->a >= 0)
		saw(r, (size_t)i->a, &key.s, found != NULL);
	if (!found)
		return false;
	r->sp--;
	r->sp[-1] = mt_value_str(found->p, found->n);
	return true;
}

static int absent(const struct run *r, const struct insn *i)
{
	const char *name = r->e->names[i - r->e->code];

	if (i->op == OP_LOAD_KEY) {
		const struct mt_text *key = &r->e->consts[i->b].s;
		return mt_fail(r->err, MT_NOT_FOUND, NULL, "attribute %s[\"%.*s\"] is absent", name,
			(int)key->n, key->p);
	}
	return mt_fail(r->err, MT_NOT_FOUND, NULL,
		i->op == OP_INDEX ? "%s has no such key" : "attribute %s is absent", name);
}

/* One instruction; *pc is already the next one. */
static int step(struct run *r, const struct insn *i, size_t *pc)
{
	switch (i->op) {
	case OP_CONST: *r->sp++ = r->e->consts[i->a]; return 0;
	case OP_CALL: return call(r, (enum func_id)i->a);
	case OP_REGEX: return regex(r, r->e->regexes[i->a]);
	case OP_ADD: return concat(r);
	case OP_COMPARE:
		r->sp--;
		r->sp[-1] = (struct mt_value){ .type = MT_V_BOOL,
			.b = compare((enum node_kind)i->a, &r->sp[-1], &r->sp[0]) };
		return 0;
	case OP_JUMP: *pc = (size_t)i->a; return 0;
	case OP_JUMP_FALSE:
	case OP_JUMP_TRUE:
		if (r->sp[-1].b == (i->op == OP_JUMP_TRUE))
			*pc = (size_t)i->a;
		else
			r->sp--;
		return 0;
	case OP_JUMP_POP_FALSE:
		if (!(--r->sp)->b)
			*pc = (size_t)i->a;
		return 0;
	default: return mt_fail(r->err, MT_INTERNAL, NULL, "unknown instruction %d", i->op);
	}
}

static bool fetch(struct run *r, const struct insn *i)
{
	return i->op == OP_INDEX ? index_map(r, i) : load(r, i);
}

int mt_expr_eval(const struct mt_expr *e, const struct mt_bag *bag, struct mt_arena *scratch,
	const struct mt_expr_refs *refs, struct mt_value *ret, struct mt_err *err)
{
	struct mt_value stack[e->stack + 1];
	struct run r = { e, bag, scratch, refs, err, stack };

	for (size_t pc = 0; pc < e->ncode;) {
		const struct insn *i = &e->code[pc++];
		if (i->op == OP_LOAD || i->op == OP_LOAD_KEY || i->op == OP_INDEX) {
			if (fetch(&r, i))
				continue;
			if (i->miss < 0)
				return absent(&r, i);
			pc = (size_t)i->miss;
			r.sp = stack + i->depth;
			continue;
		}
		int rc = step(&r, i, &pc);
		if (rc < 0)
			return rc;
	}
	*ret = stack[0];
	return 0;
}
