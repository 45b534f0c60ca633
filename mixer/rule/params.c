#include "mixer/rule/params.h"

#include "common/base/strs.h"
#include "common/schema/pb.h"
#include "istio/policy/v1beta1/policy.pb-c.h"

/* A Struct as the message that it describes. */
static int from_struct(const struct mt_object *o, const Google__Protobuf__Struct *s,
	const ProtobufCMessageDescriptor *d, struct mt_arena *a, const ProtobufCMessage **ret,
	struct mt_diags *diags)
{
	struct mt_diags own = { 0 };
	json_t *j = s ? mt_pb_to_json(&s->base) : json_object();
	const ProtobufCMessage *m = j ? mt_pb_from_json(d, j, "spec.params", a, &own) : NULL;

	json_decref(j);
	for (size_t i = 0; i < own.n; i++) /* they know no file: the object does */
		mt_object_diag(o, diags, own.v[i].severity, own.v[i].path, "%s", own.v[i].msg);
	if (!m && !own.n)
		mt_object_diag(o, diags, MT_SEV_ERROR, "spec.params", "cannot be read");
	mt_diags_clear(&own);
	if (!m)
		return MT_INVALID;
	*ret = m;
	return 0;
}

int mixer_handler_params(const struct mt_object *o, struct mt_arena *a,
	const struct mixer_adapter **ret_adapter, const ProtobufCMessage **ret_params,
	struct mt_diags *diags)
{
	const Policy__Handler *h = (const Policy__Handler *)o->spec;
	const char *name;

	if (o->kind->id != MT_KIND_HANDLER) {
		*ret_adapter = mixer_adapter_by_kind(o->kind->id);
		*ret_params = o->spec;
		return 0;
	}
	name = mt_str_empty(h->compiled_adapter) ? h->adapter : h->compiled_adapter;
	*ret_adapter = mixer_adapter_by_name(name);
	if (!*ret_adapter && h->connection)
		return mt_object_diag(o, diags, MT_SEV_ERROR, "spec.connection",
			"adapters in processes of their own are not spoken to yet");
	if (!*ret_adapter)
		return mt_object_diag(o, diags, MT_SEV_ERROR, "spec.compiledAdapter",
			"there is no adapter \"%s\"", name ? name : "");
	return from_struct(o, h->params, (*ret_adapter)->params, a, ret_params, diags);
}

int mixer_instance_params(const struct mt_object *o, struct mt_arena *a,
	const struct mixer_template **ret_template, const ProtobufCMessage **ret_params,
	struct mt_diags *diags)
{
	const Policy__Instance *in = (const Policy__Instance *)o->spec;
	const char *name;

	if (o->kind->id != MT_KIND_INSTANCE) {
		*ret_template = mixer_template_by_kind(o->kind->id);
		*ret_params = o->spec;
		return 0;
	}
	name = mt_str_empty(in->compiled_template) ? in->template_ : in->compiled_template;
	*ret_template = mixer_template_by_name(name);
	if (!*ret_template)
		return mt_object_diag(o, diags, MT_SEV_ERROR, "spec.compiledTemplate",
			"there is no template \"%s\"", name ? name : "");
	return from_struct(o, in->params, (*ret_template)->params, a, ret_params, diags);
}
