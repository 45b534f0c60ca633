#include "pilot/agents_state.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/schema/pb.h"
#include "istio/networking/v1alpha3/workload_entry.pb-c.h"

#define RECORD "members"

int pilot_members_save(
	struct mt_state *s, const struct pilot_member *v, size_t n, struct mt_err *err)
{
	json_t *all = json_array();

	for (size_t i = 0; i < n; i++) {
		const struct mt_object *o = v[i].made;
		json_t *labels = json_object();
		for (size_t k = 0; k < o->nlabels; k++)
			json_object_set_new(
				labels, o->labels[k].key, json_string(o->labels[k].value));
		json_array_append_new(all,
			json_pack("{s:s, s:s, s:b, s:s, s:s, s:o, s:o}", "node", v[i].node_id,
				"group", v[i].group, "healthy", v[i].healthy, "name", o->name,
				"namespace", o->ns, "labels", labels, "spec",
				mt_pb_to_json(o->spec)));
	}
	char *text = json_dumps(all, JSON_COMPACT);
	int r = mt_state_save(s, RECORD, text, strlen(text), err);
	free(text);
	json_decref(all);
	return r;
}

static struct mt_object *object_of(const json_t *j)
{
	struct mt_object *o = mt_object_new(&mt_kinds[MT_KIND_WORKLOAD_ENTRY], 1024);
	json_t *labels = json_object_get(j, "labels"), *value;
	struct mt_diags diags = { 0 };
	const char *key;

	o->name = mt_arena_strdup(o->arena, json_string_value(json_object_get(j, "name")));
	o->ns = mt_arena_strdup(o->arena, json_string_value(json_object_get(j, "namespace")));
	o->labels = MT_ANEWN(o->arena, struct mt_kv, json_object_size(labels) + 1);
	json_object_foreach(labels, key, value) if (json_is_string(value)) o->labels[o->nlabels++] =
		(struct mt_kv){ mt_arena_strdup(o->arena, key),
			mt_arena_strdup(o->arena, json_string_value(value)) };
	o->spec = mt_pb_from_json(&nw__workload_entry__descriptor, json_object_get(j, "spec"),
		"spec", o->arena, &diags);
	mt_diags_clear(&diags);
	if (!o->spec) {
		mt_object_unref(o);
		return NULL;
	}
	mt_object_seal(o);
	return o;
}

int pilot_members_load(struct mt_state *s, void (*each)(void *ctx, const struct pilot_member *m),
	void *ctx, struct mt_err *err)
{
	struct mt_buf b = { 0 };
	int r = mt_state_load(s, RECORD, &b, err);
	json_t *all = r == 0 ? json_loadb(mt_buf_str(&b), b.n, 0, NULL) : NULL, *j;
	size_t i;

	mt_buf_clear(&b);
	if (r == 0 && !json_is_array(all))
		r = mt_fail(err, MT_INVALID, RECORD, "is not a list of members");
	json_array_foreach(all, i, j)
	{
		const char *node, *group, *name, *ns;
		int healthy;
		if (json_unpack(j, "{s:s, s:s, s:b, s:s, s:s}", "node", &node, "group", &group,
			    "healthy", &healthy, "name", &name, "namespace", &ns) < 0)
			continue;
		struct pilot_member m = { node, group, healthy, object_of(j) };
		if (m.made)
			each(ctx, &m);
		mt_object_unref(m.made);
	}
	json_decref(all);
	return r;
}
