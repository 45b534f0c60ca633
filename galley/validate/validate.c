#include "galley/validate/validate.h"

#include "galley/validate/check.h"

static void (*const validators[MT_KIND_N])(const struct check *c, const ProtobufCMessage *spec) = {
#define VALIDATOR(kind, fn) [MT_KIND_##kind] = fn,
#include "galley/validate/validators.def"
#undef VALIDATOR
};

int galley_validate(const struct mt_object *o, struct mt_diags *diags)
{
	MT_AUTO(mt_arena_freep) struct mt_arena *a = mt_arena_new(0);
	const struct check c = { o, diags, a };
	size_t before = diags->errors;

	if (!is_host(o->name, false))
		fault(&c, "metadata.name", "\"%s\" is not a name (letters, digits, '-' and '.')",
			o->name);
	if (o->kind->scope == MT_SCOPE_NAMESPACED && !is_label(o->ns))
		fault(&c, "metadata.namespace", "\"%s\" is not a namespace", o->ns);
	for (size_t i = 0; i < o->nlabels; i++)
		check_label(&c, at(&c, "metadata.labels[\"%s\"]", o->labels[i].key),
			o->labels[i].key, o->labels[i].value);
	if (validators[o->kind->id])
		validators[o->kind->id](&c, o->spec);
	return diags->errors == before ? 0 : MT_INVALID;
}
