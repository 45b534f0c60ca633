/* Secrets that gateways and destination rules name.
 *
 * A credential is there when a proxy that the object is for has it. Proxies say what they have only while
 * they are connected, and an agent that has just come says it a moment later: what is in force stays as it
 * is while nobody knows. So a generation that waits goes on waiting until somebody has the secret, also
 * after a restart; and one that does not wait is not put off because nobody is there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "pilot/inforce_item.h"

void pilot_inforce_secrets(struct pilot_inforce *f, const struct pilot_inforce_secrets *s)
{
	f->secrets = *s;
}

/* The newest generation, unless that one is gone. */
static const struct mt_object *object_of(const struct item *it)
{
	return it->newest ? it->newest : it->force;
}

static enum pilot_has has(
	const struct pilot_inforce *f, const struct item *it, const struct pilot_ref *r)
{
	return f->secrets.has ? f->secrets.has(f->secrets.ctx, object_of(it), r->name)
			      : PILOT_HAS_PERHAPS;
}

bool pilot_inforce_has_secret(
	const struct pilot_inforce *f, const struct item *it, const struct pilot_ref *r)
{
	enum pilot_has h = has(f, it, r);
	return h == PILOT_HAS || (h == PILOT_HAS_PERHAPS && !it->waits_secret);
}

static uint64_t refs_hash(const struct pilot_inforce *f, const struct item *it,
	const struct pilot_refs *refs, uint64_t h)
{
	for (size_t i = 0; refs && refs->secrets && i < refs->n; i++)
		if (refs->v[i].kind == PILOT_REF_SECRET)
			h = mt_hash_mix(h, 1 + (uint64_t)has(f, it, &refs->v[i]));
	return h;
}

uint64_t pilot_inforce_secrets_hash(const struct pilot_inforce *f, const struct item *it)
{
	return object_of(it)
		? refs_hash(f, it, it->force_refs, refs_hash(f, it, it->newest_refs, 0))
		: 0;
}

bool pilot_inforce_secrets_moved(const struct pilot_inforce *f)
{
	static const enum mt_kind_id kinds[] = { MT_KIND_GATEWAY, MT_KIND_DESTINATION_RULE };
	for (size_t k = 0; k < MT_ARRAY_SIZE(kinds); k++)
		for (struct mt_map_it at = { 0 };
			f->items[kinds[k]] && mt_map_next(f->items[kinds[k]], &at);) {
			const struct item *it = at.value;
			if (pilot_inforce_secrets_hash(f, it) != it->secrets)
				return true;
		}
	return false;
}

void pilot_inforce_secrets_newest(const struct pilot_inforce *f, struct item *it)
{
	char title[600], hash[17];
	it->waits_secret = false;
	if (!it->newest || !f->old_waiting)
		return;
	mt_hash_hex(it->newest->hash, hash);
	const char *had = json_string_value(
		json_object_get(f->old_waiting, mt_object_title(it->newest, title, sizeof(title))));
	it->waits_secret = had && strcmp(had, hash) == 0 && !f->live;
}

char *pilot_inforce_secrets_record(const struct pilot_inforce *f)
{
	json_t *all = json_object();
	char title[600], hash[17];
	for (size_t i = 0; i < f->by_id.n; i++) {
		const struct item *it = f->by_id.v[i];
		if (!it || !it->newest || !it->waits_secret)
			continue;
		mt_hash_hex(it->newest->hash, hash);
		json_object_set_new(
			all, mt_object_title(it->newest, title, sizeof(title)), json_string(hash));
	}
	char *text = json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(all);
	return text;
}
