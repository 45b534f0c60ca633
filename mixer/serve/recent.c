#include "mixer/serve/recent.h"

#include <pthread.h>
#include <string.h>
#include <strings.h>

#include "common/base/mem.h"
#include "mixer/adapter/adapter.h"

struct mixer_recent {
	pthread_mutex_t lock; /* guards all below */
	size_t keep;
	size_t next;
	json_t *v[];
};

struct mixer_recent *mixer_recent_new(size_t keep)
{
	struct mixer_recent *r = mt_alloc(sizeof(*r) + keep * sizeof(r->v[0]));

	pthread_mutex_init(&r->lock, NULL);
	r->keep = keep;
	return r;
}

void mixer_recent_free(struct mixer_recent *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->keep; i++)
		json_decref(r->v[i]);
	pthread_mutex_destroy(&r->lock);
	mt_free(r);
}

static bool secret(const struct mt_text *key)
{
	static const char *const names[] = { "authorization", "cookie", "set-cookie", "x-api-key",
		"proxy-authorization", "api-key" };

	for (size_t i = 0; i < MT_ARRAY_SIZE(names); i++)
		if (strlen(names[i]) == key->n && strncasecmp(names[i], key->p, key->n) == 0)
			return true;
	return false;
}

static json_t *text_json(struct mt_text t)
{
	json_t *j = json_stringn(t.p ? t.p : "", t.n);

	return j ? j : json_string("(not UTF-8)");
}

static json_t *value_json(const struct mt_value *v, struct mt_arena *scratch)
{
	json_t *o;

	if (v->type != MT_V_STRING_MAP)
		return text_json(mt_value_text(v, scratch));
	o = json_object();
	for (size_t i = 0; i < v->map.n; i++)
		json_object_setn_new(o, v->map.v[i].key.p, v->map.v[i].key.n,
			secret(&v->map.v[i].key) ? json_string("(hidden)")
						 : text_json(v->map.v[i].value));
	return o;
}

void mixer_recent_add(struct mixer_recent *r, const struct mt_vocab *vocab,
	const struct mt_bag *bag, const struct mixer_outcome *out, const char *why,
	struct mt_arena *scratch)
{
	json_t *attributes = json_object(), *entry, *old;

	for (size_t i = 0; i < bag->n && i < mt_vocab_size(vocab); i++)
		if (bag->v[i].type != MT_V_NONE && i != MT_ATTR_REQUEST_API_KEY)
			json_object_set_new(attributes, mt_vocab_name(vocab, i),
				value_json(&bag->v[i], scratch));
	entry = json_pack("{s:s, s:s, s:s, s:s, s:i, s:o}", "verdict",
		out ? mixer_code_name(out->code) : "ERROR", "message", out ? out->message : why,
		"rule", out ? out->rule : "", "handler", out ? out->handler : "", "rules_applied",
		out ? (int)out->rules : 0, "attributes", attributes);
	pthread_mutex_lock(&r->lock);
	old = r->v[r->next];
	r->v[r->next] = entry;
	r->next = (r->next + 1) % r->keep;
	pthread_mutex_unlock(&r->lock);
	json_decref(old);
}

json_t *mixer_recent_json(struct mixer_recent *r)
{
	json_t *out = json_array();

	pthread_mutex_lock(&r->lock);
	for (size_t i = 0; i < r->keep; i++) {
		const json_t *e = r->v[(r->next + r->keep - 1 - i) % r->keep];

		if (e)
			json_array_append_new(out, json_deep_copy(e));
	}
	pthread_mutex_unlock(&r->lock);
	return out;
}
