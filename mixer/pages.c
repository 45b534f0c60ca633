/* /debug/rules, /debug/adapters, /debug/attributes, /debug/checks. */
#include "common/base/map.h"
#include "mixer/mixer.h"

static json_t *action_json(const struct mixer_action *a)
{
	json_t *instances = json_array();

	for (size_t i = 0; i < a->ninputs; i++)
		json_array_append_new(instances, json_string(a->inputs[i].def->name));
	return json_pack("{s:s, s:s, s:o}", "handler", a->handler->name, "variety",
		a->variety == MIXER_CHECK ? "check" : "report", "instances", instances);
}

static json_t *headers_json(const struct mixer_headers *h)
{
	static const char *const ops[] = { "replace", "remove", "append" };
	json_t *out = json_array();

	for (size_t i = 0; i < h->n; i++)
		json_array_append_new(out,
			json_pack(
				"{s:s, s:s}", "name", h->v[i].name, "operation", ops[h->v[i].op]));
	return out;
}

static json_t *rule_json(const struct mixer_rule *r)
{
	json_t *actions = json_array();

	for (size_t i = 0; i < r->nactions; i++)
		json_array_append_new(actions, action_json(&r->actions[i]));
	return json_pack("{s:s, s:s, s:o, s:o, s:o, s:b}", "rule", r->name, "match", r->text,
		"actions", actions, "requestHeaders", headers_json(&r->request), "responseHeaders",
		headers_json(&r->response), "incomplete", r->partial);
}

static void rules(void *ctx, struct mt_http_req *req)
{
	struct mixer *m = ctx;
	struct mixer_program *p = mixer_slot_get(m->serve.slot);
	json_t *out = mixer_compiler_json(m->compiler), *list = json_array();

	for (size_t i = 0; p && i < p->nrules; i++)
		json_array_append_new(list, rule_json(p->rules[i]));
	json_object_set_new(out, "rules", list);
	json_object_set_new(out, "program", json_integer(p ? (json_int_t)p->number : 0));
	mixer_program_unref(p);
	mt_http_reply_json(req, 200, out);
}

static json_t *templates_json(const struct mixer_adapter *a)
{
	json_t *out = json_array();

	for (int t = 0; t < MIXER_TEMPLATES; t++)
		if (a->templates & 1u << t)
			json_array_append_new(out, json_string(mixer_template(t)->name));
	return out;
}

static void adapters(void *ctx, struct mt_http_req *req)
{
	struct mixer *m = ctx;
	json_t *list = json_array(), *ails = json_object();
	struct mt_map_it it = { 0 };

	for (size_t i = 0; mixer_adapter_at(i); i++) {
		const struct mixer_adapter *a = mixer_adapter_at(i);

		json_array_append_new(list,
			json_pack("{s:s, s:s, s:o}", "name", a->name, "does", a->help, "templates",
				templates_json(a)));
	}
	while (mt_map_next(m->health, &it))
		json_object_set_new(ails, it.key, json_string(it.value));
	mt_http_reply_json(req, 200, json_pack("{s:o, s:o}", "adapters", list, "ailing", ails));
}

static void attributes(void *ctx, struct mt_http_req *req)
{
	struct mixer *m = ctx;
	struct mixer_program *p = mixer_slot_get(m->serve.slot);
	json_t *out = json_object();

	for (size_t i = 0; p && i < mt_vocab_size(p->words->vocab); i++)
		json_object_set_new(out, mt_vocab_name(p->words->vocab, i),
			json_string(mt_vtype_name(mt_vocab_type(p->words->vocab, i))));
	mixer_program_unref(p);
	mt_http_reply_json(req, 200, out);
}

static void checks(void *ctx, struct mt_http_req *req)
{
	struct mixer *m = ctx;

	mt_http_reply_json(req, 200,
		m->serve.recent ? mixer_recent_json(m->serve.recent)
				: json_pack("{s:s}", "off",
					  "start with --recent-checks to see checks here"));
}

int mixer_pages_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	(void)err;
	mt_daemon_debug(d, "rules", "rules, handlers and instances in force, and what is wrong",
		rules, self);
	mt_daemon_debug(
		d, "adapters", "what adapters there are, and which handlers ail", adapters, self);
	mt_daemon_debug(d, "attributes", "what expressions may name", attributes, self);
	mt_daemon_debug(d, "checks", "the newest checks with their attributes (--recent-checks)",
		checks, self);
	return 0;
}
