/* The parameters of handlers and instances: in a kind of their own (kind denier, kind metric) the
 * spec is the parameters; in kinds handler and instance they are a Struct beside the name of the
 * compiled adapter or template. Loop thread. */
#pragma once

#include "common/schema/object.h"
#include "mixer/adapter/adapter.h"

/* *ret_adapter is NULL when o is no handler at all; params live in the object or in a. Faults go to
 * diags: MT_INVALID. */
int mixer_handler_params(const struct mt_object *o, struct mt_arena *a,
	const struct mixer_adapter **ret_adapter, const ProtobufCMessage **ret_params,
	struct mt_diags *diags);
int mixer_instance_params(const struct mt_object *o, struct mt_arena *a,
	const struct mixer_template **ret_template, const ProtobufCMessage **ret_params,
	struct mt_diags *diags);
