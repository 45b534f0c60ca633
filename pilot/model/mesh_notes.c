/* What the mesh configuration says and Pilot has no use for: the object is told, field by field. Many
 * of these are for other programs (the agent has its own options, Kubernetes ingress its own
 * controller) or for a protocol that is gone (refresh delays of polling). */
#include <string.h>

#include "common/base/strs.h"
#include "pilot/model/index.h"

struct obeyed {
	const char *const *names;
	size_t n;
};

static bool is_set(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
	const char *v = (const char *)m + f->offset;
	const char *q = (const char *)m + f->quantifier_offset;
	if (f->label == PROTOBUF_C_LABEL_REPEATED)
		return *(const size_t *)q > 0;
	if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
		return *(const uint32_t *)q == f->id;
	switch (f->type) {
	case PROTOBUF_C_TYPE_MESSAGE: return *(const void *const *)v != NULL;
	case PROTOBUF_C_TYPE_STRING: return !mt_str_empty(*(const char *const *)v);
	case PROTOBUF_C_TYPE_BOOL: return *(const protobuf_c_boolean *)v;
	case PROTOBUF_C_TYPE_DOUBLE: return *(const double *)v != 0;
	default: return *(const uint32_t *)v != 0;
	}
}

/* snake_case to the name that users write. */
static const char *camel(struct mt_arena *a, const char *s)
{
	char *r = mt_arena_strdup(a, s), *w = r;
	for (; *s; s++)
		*w++ = *s == '_' && s[1] ? (char)(*++s >= 'a' && *s <= 'z' ? *s - 32 : *s) : *s;
	*w = '\0';
	return r;
}

static void note(struct pilot_index *ix, const ProtobufCMessage *m, const char *prefix,
	const struct obeyed *o, const char *why)
{
	for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
		bool known = !is_set(m, f);
		for (size_t k = 0; k < o->n && !known; k++)
			known = strcmp(o->names[k], f->name) == 0;
		if (!known)
			pilot_note_add(ix->arena, &ix->notes, ix->mesh.id, PILOT_NOTE_IGNORED,
				mt_arena_printf(
					ix->arena, "%s.%s", prefix, camel(ix->arena, f->name)),
				"%s", why);
	}
}

void pilot_mesh_notes(struct pilot_index *ix)
{
	static const char *const mesh[] = {
#define MESH(name) #name,
#define PROXY(name)
#include "pilot/model/mesh_fields.def"
#undef MESH
#undef PROXY
	};
	static const char *const proxy[] = {
#define MESH(name)
#define PROXY(name) #name,
#include "pilot/model/mesh_fields.def"
#undef MESH
#undef PROXY
	};
	const Mesh__MeshConfig *m = ix->mesh.spec;
	note(ix, &m->base, "spec", &(struct obeyed){ mesh, MT_ARRAY_SIZE(mesh) },
		"has no effect in Pilot");
	if (m->default_config)
		note(ix, &m->default_config->base, "spec.defaultConfig",
			&(struct obeyed){ proxy, MT_ARRAY_SIZE(proxy) },
			"is for the agent, which has options of its own");
}
