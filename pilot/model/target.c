#include "pilot/model/target.h"

#include <string.h>

#include "common/base/strs.h"

static bool is_gateway(const Istype__PolicyTargetReference *r, const char *ns)
{
	return strcmp(r->group, "networking.istio.io") == 0 && strcmp(r->kind, "Gateway") == 0 &&
		(!*r->namespace_ || strcmp(r->namespace_, ns) == 0);
}

static const struct pilot_gw *gateway_of(
	const struct pilot_index *ix, const char *ns, const Istype__PolicyTargetReference *r)
{
	for (size_t i = 0; i < ix->ngws; i++)
		if (strcmp(ix->gws[i].obj->ns, ns) == 0 &&
			strcmp(ix->gws[i].obj->name, r->name) == 0)
			return &ix->gws[i];
	return NULL;
}

bool pilot_targets_select(const struct pilot_index *ix, const char *ns,
	Istype__PolicyTargetReference *const *refs, size_t n, const struct pilot_proxy *p)
{
	for (size_t i = 0; i < n && p->type == PILOT_ROUTER; i++) {
		const struct pilot_gw *g =
			is_gateway(refs[i], ns) ? gateway_of(ix, ns, refs[i]) : NULL;
		bool all = g != NULL;
		for (size_t k = 0; g && k < g->spec->n_selector; k++)
			all = all &&
				mt_streq(pilot_label(
						 p->labels, p->nlabels, g->spec->selector[k]->key),
					g->spec->selector[k]->value);
		if (all)
			return true;
	}
	return false;
}

void pilot_targets_note(struct pilot_index *ix, uint32_t id, const char *ns, const char *path,
	Istype__PolicyTargetReference *const *refs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!is_gateway(refs[i], ns))
			pilot_note_add(ix->arena, &ix->notes, id, PILOT_NOTE_IGNORED,
				mt_arena_printf(ix->arena, "%s[%zu]", path, i),
				"a target is a Gateway of networking.istio.io, of the object's namespace");
		else if (!gateway_of(ix, ns, refs[i]))
			pilot_note_add(ix->arena, &ix->notes, id, PILOT_NOTE_IGNORED,
				mt_arena_printf(ix->arena, "%s[%zu]", path, i),
				"there is no Gateway %s", refs[i]->name);
}
