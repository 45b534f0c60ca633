/* Templates and instances. A template's params are a message of expressions; compiled once they are an
 * instance definition, which is evaluated over a bag into an instance: what adapters get.
 *
 * All templates share one shape: up to MIXER_SCALARS single values, one map of named values
 * (dimensions of a metric, variables of a log entry) and one for the monitored resource. A field of
 * the params finds its place by its name (fields.def). Threads: definitions are immutable and
 * reference counted; instances live in the scratch arena that they were evaluated in. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "common/base/ref.h"
#include "common/expr/expr.h"
#include "common/schema/kind.h"

enum mixer_variety { MIXER_CHECK, MIXER_REPORT, MIXER_VARIETIES };

enum mixer_template_id {
#define TEMPLATE(id, ...) MIXER_T_##id,
#include "mixer/template/templates.def"
#undef TEMPLATE
	MIXER_TEMPLATES
};

struct mixer_template {
	enum mixer_template_id id;
	const char *name;
	enum mixer_variety variety;
	enum mt_kind_id kind;
	const ProtobufCMessageDescriptor *params;
};
const struct mixer_template *mixer_template(enum mixer_template_id id);
const struct mixer_template *mixer_template_by_name(const char *name); /* NULL when unknown */
const struct mixer_template *mixer_template_by_kind(enum mt_kind_id kind);

enum mixer_scalar {
#define SCALAR(id, ...) MIXER_S_##id,
#define VALUES(id, ...)
#include "mixer/template/fields.def"
#undef SCALAR
#undef VALUES
	MIXER_SCALARS
};
enum mixer_map {
#define SCALAR(id, ...)
#define VALUES(id, ...) MIXER_M_##id,
#include "mixer/template/fields.def"
#undef SCALAR
#undef VALUES
	MIXER_MAPS
};

struct mixer_named_expr {
	char *name;
	struct mt_expr *expr;
};

struct mixer_instance_def {
	struct mt_ref ref;
	const struct mixer_template *tmpl;
	char *name;                             /* "requestcount.metric.istio-system" */
	struct mt_expr *scalars[MIXER_SCALARS]; /* NULL: not written */
	struct {
		struct mixer_named_expr *v; /* sorted by name */
		size_t n;
	} maps[MIXER_MAPS];
};

/* params: of tmpl->params. MT_INVALID: err->path is the field ("dimensions.source"). */
int mixer_instance_compile(const struct mixer_template *tmpl, const char *name,
	const ProtobufCMessage *params, const struct mt_vocab *vocab,
	struct mixer_instance_def **ret, struct mt_err *err);
struct mixer_instance_def *mixer_instance_def_ref(struct mixer_instance_def *d);
void mixer_instance_def_unref(struct mixer_instance_def *d); /* NULL allowed */
/* Index of a named value (dimension, variable), or -1. */
int mixer_instance_def_find(
	const struct mixer_instance_def *d, enum mixer_map map, const char *name);

struct mixer_instance {
	const struct mixer_instance_def *def;
	struct mt_value scalars[MIXER_SCALARS]; /* MT_V_NONE: not written */
	struct mt_value *maps[MIXER_MAPS];      /* as many as def->maps[].n, in its order */
};

/* Texts live in the bag, the definition or scratch. Errors as mt_expr_eval(), prefixed by the field. */
int mixer_instance_eval(const struct mixer_instance_def *d, const struct mt_bag *bag,
	struct mt_arena *scratch, struct mixer_instance *ret, struct mt_err *err);
