/* Instances, by reflection: the params of a template are strings (expressions) and maps from string to
 * string, so that one compiler and one evaluator serve all templates. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/strs.h"
#include "mixer/template/template.h"

enum { NAMED_MAX = 64 };

static const struct {
	const char *name;
	enum mt_vtype want;
} scalars[MIXER_SCALARS] = {
#define SCALAR(id, field, want) [MIXER_S_##id] = { field, MT_V_##want },
#define VALUES(...)
#include "mixer/template/fields.def"
#undef SCALAR
#undef VALUES
};

static const char *const maps[MIXER_MAPS][2] = {
#define SCALAR(...)
#define VALUES(id, field, other) [MIXER_M_##id] = { field, other },
#include "mixer/template/fields.def"
#undef SCALAR
#undef VALUES
};

/* ---- compile ---- */

static int compile_one(const char *path, const char *text, const struct mt_vocab *vocab,
	enum mt_vtype want, struct mt_expr **ret, struct mt_err *err)
{
	char column[64];
	int r = mt_expr_compile(text, vocab, want, ret, err);

	if (r < 0 && err) {
		snprintf(column, sizeof(column), "%.60s", err->path);
		mt_err_prefix(err, "%s", column);
		snprintf(err->path, sizeof(err->path), "%s", path);
	}
	return r;
}

static int compile_scalar(struct mixer_instance_def *d, const ProtobufCFieldDescriptor *f,
	const char *text, const struct mt_vocab *vocab, struct mt_err *err)
{
	for (int i = 0; i < MIXER_SCALARS; i++)
		if (mt_streq(scalars[i].name, f->name))
			return mt_str_empty(text) ? 0
						  : compile_one(f->name, text, vocab,
							    scalars[i].want, &d->scalars[i], err);
	return mt_fail(err, MT_INTERNAL, f->name, "field of a template without a place");
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct mixer_named_expr *)a)->name,
		((const struct mixer_named_expr *)b)->name);
}

static enum mixer_map map_of(const char *field)
{
	int i = 0;

	while (i < MIXER_MAPS && !mt_streq(maps[i][0], field) && !mt_streq(maps[i][1], field))
		i++;
	return (enum mixer_map)i;
}

/* A map entry is a message with key = 1 and value = 2, both strings here. */
static const char *entry_text(const ProtobufCMessage *entry, unsigned tag)
{
	const ProtobufCFieldDescriptor *f =
		protobuf_c_message_descriptor_get_field(entry->descriptor, tag);
	const char *s = *(char *const *)((const char *)entry + f->offset);

	return s ? s : "";
}

static int compile_map(struct mixer_instance_def *d, const ProtobufCFieldDescriptor *f,
	ProtobufCMessage *const *v, size_t n, const struct mt_vocab *vocab, struct mt_err *err)
{
	enum mixer_map m = map_of(f->name);

	if (m == MIXER_MAPS)
		return mt_fail(err, MT_INTERNAL, f->name, "field of a template without a place");
	if (n > NAMED_MAX)
		return mt_fail(err, MT_LIMIT, f->name, "more than %d entries", NAMED_MAX);
	d->maps[m].v = mt_alloc(n * sizeof(*d->maps[m].v));
	for (size_t i = 0; i < n; i++) {
		struct mixer_named_expr *e = &d->maps[m].v[d->maps[m].n];
		char path[200];
		int r;

		snprintf(path, sizeof(path), "%s.%s", f->name, entry_text(v[i], 1));
		r = compile_one(path, entry_text(v[i], 2), vocab, MT_V_NONE, &e->expr, err);
		if (r < 0)
			return r;
		e->name = mt_strdup(entry_text(v[i], 1));
		d->maps[m].n++;
	}
	qsort(d->maps[m].v, d->maps[m].n, sizeof(*d->maps[m].v), by_name);
	return 0;
}

static int compile_fields(struct mixer_instance_def *d, const ProtobufCMessage *params,
	const struct mt_vocab *vocab, struct mt_err *err)
{
	for (unsigned i = 0; i < params->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &params->descriptor->fields[i];
		const char *at = (const char *)params + f->offset;
		int r;

		if (f->label == PROTOBUF_C_LABEL_REPEATED)
			r = compile_map(d, f, *(ProtobufCMessage *const *const *)at,
				*(const size_t *)((const char *)params + f->quantifier_offset),
				vocab, err);
		else
			r = compile_scalar(d, f, *(char *const *)at, vocab, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static bool needs_value(const struct mixer_template *t)
{
	return t->id == MIXER_T_METRIC || t->id == MIXER_T_LISTENTRY;
}

int mixer_instance_compile(const struct mixer_template *tmpl, const char *name,
	const ProtobufCMessage *params, const struct mt_vocab *vocab,
	struct mixer_instance_def **ret, struct mt_err *err)
{
	struct mixer_instance_def *d = MT_NEW(struct mixer_instance_def);
	int r;

	mt_ref_init(&d->ref);
	d->tmpl = tmpl;
	d->name = mt_strdup(name);
	r = compile_fields(d, params, vocab, err);
	if (r == 0 && needs_value(tmpl) && !d->scalars[MIXER_S_VALUE])
		r = mt_fail(err, MT_INVALID, "value", "is required");
	if (r < 0) {
		mixer_instance_def_unref(d);
		return r;
	}
	*ret = d;
	return 0;
}

struct mixer_instance_def *mixer_instance_def_ref(struct mixer_instance_def *d)
{
	mt_ref_get(&d->ref);
	return d;
}

void mixer_instance_def_unref(struct mixer_instance_def *d)
{
	if (!d || !mt_ref_put(&d->ref))
		return;
	for (int i = 0; i < MIXER_SCALARS; i++)
		mt_expr_free(d->scalars[i]);
	for (int m = 0; m < MIXER_MAPS; m++) {
		for (size_t i = 0; i < d->maps[m].n; i++) {
			mt_free(d->maps[m].v[i].name);
			mt_expr_free(d->maps[m].v[i].expr);
		}
		mt_free(d->maps[m].v);
	}
	mt_free(d->name);
	mt_free(d);
}

int mixer_instance_def_find(
	const struct mixer_instance_def *d, enum mixer_map map, const char *name)
{
	for (size_t i = 0; i < d->maps[map].n; i++)
		if (mt_streq(d->maps[map].v[i].name, name))
			return (int)i;
	return -1;
}

/* ---- evaluate ---- */

static int eval_maps(const struct mixer_instance_def *d, const struct mt_bag *bag,
	struct mt_arena *scratch, struct mixer_instance *in, struct mt_err *err)
{
	for (int m = 0; m < MIXER_MAPS; m++) {
		in->maps[m] = MT_ANEWN(scratch, struct mt_value, d->maps[m].n);
		for (size_t i = 0; i < d->maps[m].n; i++) {
			int r = mt_expr_eval(
				d->maps[m].v[i].expr, bag, scratch, NULL, &in->maps[m][i], err);

			if (r < 0) {
				mt_err_prefix(err, "%s.%s", maps[m][0], d->maps[m].v[i].name);
				return r;
			}
		}
	}
	return 0;
}

int mixer_instance_eval(const struct mixer_instance_def *d, const struct mt_bag *bag,
	struct mt_arena *scratch, struct mixer_instance *ret, struct mt_err *err)
{
	struct mixer_instance in = { .def = d };
	int r;

	for (int i = 0; i < MIXER_SCALARS; i++) {
		if (!d->scalars[i])
			continue;
		r = mt_expr_eval(d->scalars[i], bag, scratch, NULL, &in.scalars[i], err);
		if (r < 0) {
			mt_err_prefix(err, "%s", scalars[i].name);
			return r;
		}
	}
	r = eval_maps(d, bag, scratch, &in, err);
	if (r < 0)
		return r;
	*ret = in;
	return 0;
}
