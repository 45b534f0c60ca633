/* Running a program: which rules apply to a bag, and what they ask of their handlers. */
#include <string.h>

#include "common/base/vec.h"
#include "mixer/rule/program.h"

static void count(struct mt_metric_series *s, double v)
{
	if (s)
		mt_series_add(s, v);
}

static void observe(struct mt_metric_series *s, double v)
{
	if (s)
		mt_series_observe(s, v);
}

static struct mt_text namespace_of(const struct mt_bag *bag)
{
	const struct mt_value *v = mt_bag_get(bag, MT_ATTR_DESTINATION_NAMESPACE);

	return v && v->type == MT_V_STRING ? v->s : (struct mt_text){ "", 0 };
}

/* A match that cannot be evaluated (an attribute without alternative is absent) does not apply. */
static bool applies(const struct mixer_program *p, const struct mixer_rule *r,
	const struct mt_bag *bag, struct mt_arena *scratch)
{
	struct mt_value v;

	if (!r->match)
		return true;
	if (mt_expr_eval(r->match, bag, scratch, NULL, &v, NULL) < 0) {
		count(p->counts.match_errors, 1);
		return false;
	}
	return v.b;
}

/* ---- checks ---- */

static int64_t now(const struct mixer_handler *h)
{
	return h->duration && h->env->clock ? mt_mono(h->env->clock) : 0;
}

static void dispatched(const struct mixer_handler *h, int64_t start, bool failed)
{
	count(h->dispatched, 1);
	if (failed)
		count(h->failed, 1);
	if (h->duration)
		mt_series_observe(h->duration, (double)(now(h) - start) / MT_NS_PER_SEC);
}

static int ask(const struct mixer_program *p, const struct mixer_action *a,
	const struct mixer_input *in, const struct mt_bag *bag, struct mt_arena *scratch,
	struct mixer_verdict *ret, struct mt_err *err)
{
	struct mixer_handler *h = a->handler;
	struct mixer_instance *i = MT_ANEW(scratch, struct mixer_instance);
	struct mt_err own = { 0 };
	int64_t start;
	int r = mixer_instance_eval(in->def, bag, scratch, i, &own);

	if (r < 0) {
		count(p->counts.instance_errors, 1);
		return mt_fail(err, MT_INTERNAL, NULL, "%s: %s", in->def->name, own.msg);
	}
	start = now(h);
	r = h->adapter->check(h->self, in->binding, i, scratch, ret, &own);
	dispatched(h, start, r < 0);
	if (r < 0)
		return mt_fail(err, r, NULL, "%s: %s", h->name, own.msg);
	return 0;
}

/* Asks the handlers of one rule until one refuses. */
static int check_rule(const struct mixer_program *p, const struct mixer_rule *r,
	const struct mt_bag *bag, struct mt_arena *scratch, struct mixer_outcome *out,
	unsigned *asked, struct mt_err *err)
{
	for (size_t i = 0; i < r->nactions; i++) {
		const struct mixer_action *a = &r->actions[i];

		for (size_t k = 0; a->variety == MIXER_CHECK && k < a->ninputs; k++) {
			struct mixer_verdict v = { 0 };
			int rc = ask(p, a, &a->inputs[k], bag, scratch, &v, err);

			++*asked;
			if (rc < 0)
				return rc;
			if (!v.code)
				continue;
			out->code = v.code;
			out->message = v.message ? v.message : "";
			out->handler = a->handler->name;
			out->rule = r->name;
			return 0;
		}
	}
	return 0;
}

static int change_headers(const struct mixer_program *p, const struct mixer_headers *ops,
	const struct mt_bag *bag, struct mt_arena *scratch, struct mixer_header_changes *out,
	struct mt_err *err)
{
	for (size_t i = 0; i < ops->n; i++) {
		const struct mixer_header *h = &ops->v[i];
		struct mixer_header_change c = { h->op, h->name, NULL };

		if (h->op == MIXER_HEADER_REMOVE)
			mt_vec_apush(scratch, out, c);
		for (size_t k = 0; k < h->nvalues; k++) {
			struct mt_value v;
			struct mt_err own = { 0 };
			int r = mt_expr_eval(h->values[k], bag, scratch, NULL, &v, &own);

			if (r < 0) {
				count(p->counts.instance_errors, 1);
				return mt_fail(
					err, MT_INTERNAL, NULL, "header %s: %s", h->name, own.msg);
			}
			c.op = k ? MIXER_HEADER_APPEND : h->op;
			c.value = mt_arena_strndup(scratch, v.s.p ? v.s.p : "", v.s.n);
			mt_vec_apush(scratch, out, c);
		}
	}
	return 0;
}

int mixer_program_check(const struct mixer_program *p, const struct mt_bag *bag,
	struct mt_arena *scratch, struct mixer_outcome *ret, struct mt_err *err)
{
	struct mixer_outcome out = { .message = "", .handler = "", .rule = "" };
	uint32_t *numbers;
	unsigned asked = 0;
	size_t n = mixer_index_find(p->index, namespace_of(bag), bag, scratch, &numbers);
	int r = 0;

	for (size_t i = 0; r == 0 && !out.code && i < n; i++) {
		const struct mixer_rule *rule = p->rules[numbers[i]];

		if (!applies(p, rule, bag, scratch))
			continue;
		out.rules++;
		r = check_rule(p, rule, bag, scratch, &out, &asked, err);
		if (r == 0)
			r = change_headers(p, &rule->request, bag, scratch, &out.request, err);
		if (r == 0)
			r = change_headers(p, &rule->response, bag, scratch, &out.response, err);
	}
	observe(p->counts.destinations, asked);
	if (r < 0)
		return r;
	*ret = out;
	return 0;
}

/* ---- reports ---- */

/* What goes to one handler. */
struct pile {
	struct mixer_handler *handler;
	const struct mixer_instance **v;
	void **bindings;
	size_t n, cap;
};

struct mixer_batch {
	const struct mixer_program *p;
	struct mt_arena *scratch;
	struct pile *v;
	size_t n, cap;
};

struct mixer_batch *mixer_batch_new(const struct mixer_program *p, struct mt_arena *scratch)
{
	struct mixer_batch *b = MT_ANEW(scratch, struct mixer_batch);

	b->p = p;
	b->scratch = scratch;
	return b;
}

static struct pile *pile_of(struct mixer_batch *b, struct mixer_handler *h)
{
	struct pile new = { .handler = h };

	for (size_t i = 0; i < b->n; i++)
		if (b->v[i].handler == h)
			return &b->v[i];
	mt_vec_apush(b->scratch, b, new);
	return &b->v[b->n - 1];
}

static void pile_add(
	struct mixer_batch *b, struct pile *to, const struct mixer_instance *in, void *binding)
{
	if (to->n == to->cap) {
		size_t cap = to->cap ? 2 * to->cap : 16;
		const struct mixer_instance **v =
			MT_ANEWN(b->scratch, const struct mixer_instance *, cap);
		void **bindings = MT_ANEWN(b->scratch, void *, cap);

		if (to->n) {
			memcpy(v, to->v, to->n * sizeof(*v));
			memcpy(bindings, to->bindings, to->n * sizeof(*bindings));
		}
		to->v = v;
		to->bindings = bindings;
		to->cap = cap;
	}
	to->v[to->n] = in;
	to->bindings[to->n++] = binding;
}

static unsigned add_rule(
	struct mixer_batch *b, const struct mixer_rule *r, const struct mt_bag *bag)
{
	unsigned made = 0;

	for (size_t i = 0; i < r->nactions; i++) {
		const struct mixer_action *a = &r->actions[i];

		for (size_t k = 0; a->variety == MIXER_REPORT && k < a->ninputs; k++) {
			struct mixer_instance *in = MT_ANEW(b->scratch, struct mixer_instance);

			if (mixer_instance_eval(a->inputs[k].def, bag, b->scratch, in, NULL) < 0) {
				count(b->p->counts.instance_errors, 1);
				continue;
			}
			pile_add(b, pile_of(b, a->handler), in, a->inputs[k].binding);
			made++;
		}
	}
	return made;
}

void mixer_batch_add(struct mixer_batch *b, const struct mt_bag *bag)
{
	uint32_t *numbers;
	unsigned made = 0;
	size_t n = mixer_index_find(b->p->index, namespace_of(bag), bag, b->scratch, &numbers);

	for (size_t i = 0; i < n; i++) {
		const struct mixer_rule *r = b->p->rules[numbers[i]];

		if (applies(b->p, r, bag, b->scratch))
			made += add_rule(b, r, bag);
	}
	observe(b->p->counts.instances, made);
}

void mixer_batch_send(struct mixer_batch *b)
{
	for (size_t i = 0; i < b->n; i++) {
		struct pile *pile = &b->v[i];
		struct mixer_handler *h = pile->handler;
		int64_t start = now(h);

		h->adapter->report(h->self, pile->bindings, pile->v, pile->n, b->scratch);
		dispatched(h, start, false);
	}
}
