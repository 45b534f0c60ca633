/* From a rule object to a compiled rule.
 *
 * An action may name instances of checks and of reports in one list; compiled, an action has one
 * variety, as the two run at different times: such an action becomes two. */
#include "mixer/rule/rule.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/strs.h"
#include "istio/policy/v1beta1/policy.pb-c.h"

enum { ACTIONS_MAX = 64, INSTANCES_MAX = 64, HEADERS_MAX = 64 };

typedef Policy__Rule__HeaderOperationTemplate op_t;

struct compile {
	const struct mt_object *o;
	const struct mt_vocab *vocab;
	const struct mixer_lookup *lookup;
	struct mixer_rule *rule;
	struct mt_diags *diags;
	int faults;
};

static int fault(struct compile *c, const char *path, const struct mt_err *err)
{
	c->faults++;
	return mt_object_diag(c->o, c->diags, MT_SEV_ERROR, path, "%s%s%s",
		mt_str_prefix(err->path, "column") ? err->path : "",
		mt_str_prefix(err->path, "column") ? ": " : "", err->msg);
}

static void compile_match(struct compile *c, const char *match)
{
	struct mt_err err = { 0 };

	if (mt_str_empty(match))
		return;
	if (mt_expr_compile(match, c->vocab, MT_V_BOOL, &c->rule->match, &err) < 0) {
		fault(c, "spec.match", &err);
		return;
	}
	c->rule->nequalities =
		mt_expr_equalities(c->rule->match, c->rule->equalities, MIXER_EQUALITIES_MAX);
}

/* ---- actions ---- */

static int make_input(struct compile *c, struct mixer_handler *h, const char *ref,
	struct mixer_input *ret, struct mt_err *err)
{
	struct mixer_instance_def *def;
	int r = c->lookup->instance(c->lookup->ctx, ref, c->o->ns, &def, err);

	if (r < 0)
		return r;
	if (!(h->adapter->templates & 1u << def->tmpl->id))
		return mt_fail(err, MT_INVALID, NULL, "handler %s does not take instances of %s",
			h->name, def->tmpl->name);
	ret->binding = NULL;
	if (h->adapter->bind) {
		r = h->adapter->bind(h->self, def, &ret->binding, err);
		if (r < 0)
			return r;
	}
	ret->def = mixer_instance_def_ref(def);
	return 0;
}

/* The action that inputs of a variety go to; actions from number first on are of the one in hand. */
static struct mixer_action *action_of(struct mixer_rule *rule, size_t first,
	struct mixer_handler *h, enum mixer_variety variety, size_t room)
{
	struct mixer_action *a = rule->nactions > first ? &rule->actions[rule->nactions - 1] : NULL;

	if (a && a->variety == variety)
		return a;
	a = &rule->actions[rule->nactions++];
	a->handler = mixer_handler_ref(h);
	a->variety = variety;
	a->inputs = mt_alloc(room * sizeof(*a->inputs));
	return a;
}

static void compile_input(struct compile *c, struct mixer_handler *h, size_t first, size_t i,
	size_t k, const Policy__Action *a, enum mixer_variety variety)
{
	struct mixer_action *to;
	struct mixer_input in;
	struct mt_err err = { 0 };
	char path[80];

	if (make_input(c, h, a->instances[k], &in, &err) < 0) {
		snprintf(path, sizeof(path), "spec.actions[%zu].instances[%zu]", i, k);
		if (variety == 0) /* once is enough */
			fault(c, path, &err);
		return;
	}
	if (in.def->tmpl->variety != variety) {
		if (in.binding)
			h->adapter->unbind(h->self, in.binding);
		mixer_instance_def_unref(in.def);
		return;
	}
	to = action_of(c->rule, first, h, variety, a->n_instances);
	to->inputs[to->ninputs++] = in;
}

static void compile_action(struct compile *c, size_t i, const Policy__Action *a)
{
	size_t first = c->rule->nactions, n = MT_MIN(a->n_instances, (size_t)INSTANCES_MAX);
	struct mixer_handler *h;
	struct mt_err err = { 0 };
	char path[80];

	snprintf(path, sizeof(path), "spec.actions[%zu].handler", i);
	if (c->lookup->handler(c->lookup->ctx, a->handler ? a->handler : "", c->o->ns, &h, &err) <
		0) {
		fault(c, path, &err);
		return;
	}
	/* Checks first, then reports, so that each variety is one run of inputs. */
	for (int variety = 0; variety < MIXER_VARIETIES; variety++)
		for (size_t k = 0; k < n; k++)
			compile_input(c, h, first, i, k, a, (enum mixer_variety)variety);
}

static void compile_actions(struct compile *c, const Policy__Rule *p)
{
	size_t n = MT_MIN(p->n_actions, (size_t)ACTIONS_MAX);

	if (p->n_actions > ACTIONS_MAX) {
		c->faults++;
		mt_object_diag(
			c->o, c->diags, MT_SEV_ERROR, "spec.actions", "more than %d", ACTIONS_MAX);
	}
	c->rule->actions = mt_alloc((MIXER_VARIETIES * n + 1) * sizeof(*c->rule->actions));
	for (size_t i = 0; i < n; i++)
		compile_action(c, i, p->actions[i]);
}

/* ---- headers ---- */

static char *lower(const char *s)
{
	char *out = mt_strdup(s ? s : "");

	for (char *p = out; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return out;
}

static int compile_values(
	struct compile *c, struct mixer_header *h, const op_t *op, struct mt_err *err)
{
	size_t n = h->op == MIXER_HEADER_REMOVE ? 0 : op->n_values;

	if (h->op != MIXER_HEADER_REMOVE && !n)
		return mt_fail(err, MT_INVALID, NULL, "needs a value");
	h->values = mt_alloc((n + 1) * sizeof(struct mt_expr *));
	for (; h->nvalues < n; h->nvalues++) {
		int r = mt_expr_compile(
			op->values[h->nvalues], c->vocab, MT_V_STRING, &h->values[h->nvalues], err);

		if (r < 0)
			return r;
	}
	return 0;
}

static void header_clear(struct mixer_header *h)
{
	for (size_t i = 0; i < h->nvalues; i++)
		mt_expr_free(h->values[i]);
	mt_free(h->values);
	mt_free(h->name);
}

/* Pseudo headers and Host decide where a request goes: they are not for rules to change here. */
static bool name_ok(const char *name)
{
	return *name && *name != ':' && !mt_streq(name, "host") &&
		strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.!#$%&'*+^`|~") == strlen(name);
}

static void compile_headers(
	struct compile *c, const char *field, op_t *const *ops, size_t n, struct mixer_headers *out)
{
	out->v = mt_alloc((n + 1) * sizeof(*out->v));
	for (size_t i = 0; i < MT_MIN(n, (size_t)HEADERS_MAX); i++) {
		struct mixer_header h = { .name = lower(ops[i]->name) };
		struct mt_err err = { 0 };
		char path[80];
		int r;

		h.op = ops[i]->operation ==
				POLICY__RULE__HEADER_OPERATION_TEMPLATE__OPERATION__REMOVE
			? MIXER_HEADER_REMOVE
			: ops[i]->operation ==
				POLICY__RULE__HEADER_OPERATION_TEMPLATE__OPERATION__APPEND
			? MIXER_HEADER_APPEND
			: MIXER_HEADER_REPLACE;
		snprintf(path, sizeof(path), "spec.%s[%zu]", field, i);
		r = name_ok(h.name) ? compile_values(c, &h, ops[i], &err)
				    : mt_fail(&err, MT_INVALID, NULL,
					      "\"%s\" is not a header to change", h.name);
		if (r == 0 && out == &c->rule->response && h.op == MIXER_HEADER_REMOVE)
			r = mt_fail(&err, MT_UNSUPPORTED, NULL,
				"a check cannot remove headers of the response");
		if (r < 0) {
			fault(c, path, &err);
			header_clear(&h);
			continue;
		}
		out->v[out->n++] = h;
	}
}

/* ---- rules ---- */

static struct mixer_rule *rule_new(const struct mt_object *o, const struct mixer_adapter_env *env)
{
	struct mixer_rule *r = MT_NEW(struct mixer_rule);
	char key[600];

	mt_ref_init(&r->ref);
	r->env = env;
	r->name = mt_strdup(mt_object_key(o, key, sizeof(key)));
	r->ns = mt_strdup(o->ns);
	return r;
}

int mixer_rule_compile(const struct mt_object *o, const struct mt_vocab *vocab,
	const struct mixer_lookup *lookup, const struct mixer_adapter_env *env,
	struct mixer_rule **ret, struct mt_diags *diags)
{
	const Policy__Rule *p = (const Policy__Rule *)o->spec;
	struct compile c = { o, vocab, lookup, rule_new(o, env), diags, 0 };

	c.rule->text = mt_strdup(p->match ? p->match : "");
	compile_match(&c, p->match);
	if (c.faults) { /* without its condition a rule must not apply at all */
		mixer_rule_unref(c.rule);
		*ret = NULL;
		return MT_INVALID;
	}
	compile_actions(&c, p);
	compile_headers(&c, "requestHeaderOperations", p->request_header_operations,
		p->n_request_header_operations, &c.rule->request);
	compile_headers(&c, "responseHeaderOperations", p->response_header_operations,
		p->n_response_header_operations, &c.rule->response);
	if (p->sampling)
		mt_object_diag(o, diags, MT_SEV_WARNING, "spec.sampling",
			"not in force: every report is counted");
	c.rule->partial = c.faults > 0;
	*ret = c.rule;
	return c.faults ? MT_INVALID : 0;
}

struct mixer_rule *mixer_rule_ref(struct mixer_rule *r)
{
	mt_ref_get(&r->ref);
	return r;
}

static void rule_free(void *arg)
{
	struct mixer_rule *r = arg;

	for (size_t i = 0; i < r->nactions; i++) {
		struct mixer_action *a = &r->actions[i];

		for (size_t k = 0; k < a->ninputs; k++) {
			if (a->inputs[k].binding)
				a->handler->adapter->unbind(a->handler->self, a->inputs[k].binding);
			mixer_instance_def_unref(a->inputs[k].def);
		}
		mt_free(a->inputs);
		mixer_handler_unref(a->handler);
	}
	mt_free(r->actions);
	for (size_t i = 0; i < r->request.n; i++)
		header_clear(&r->request.v[i]);
	for (size_t i = 0; i < r->response.n; i++)
		header_clear(&r->response.v[i]);
	mt_free(r->request.v);
	mt_free(r->response.v);
	mt_expr_free(r->match);
	mt_free(r->text);
	mt_free(r->name);
	mt_free(r->ns);
	mt_free(r);
}

void mixer_rule_unref(struct mixer_rule *r)
{
	if (!r || !mt_ref_put(&r->ref))
		return;
	if (r->env->loop && !mt_loop_is_current(r->env->loop))
		mt_loop_post(r->env->loop, rule_free, r);
	else
		rule_free(r);
}
