#include "mixer/attr/reporter.h"

#include <string.h>

#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/pki/spiffe.h"
#include "mixer/attr/source.h"

enum { LABELS_MAX = 64, LABEL_LEN_MAX = 512 };

static const Google__Protobuf__Value *field(const Google__Protobuf__Struct *s, const char *name)
{
	for (size_t i = 0; s && i < s->n_fields; i++)
		if (mt_streq(s->fields[i]->key, name))
			return s->fields[i]->value;
	return NULL;
}

static const char *text(const Google__Protobuf__Value *v)
{
	return v && v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE && v->string_value
		? v->string_value
		: "";
}

static void take_labels(struct mixer_reporter *r, const Google__Protobuf__Value *v)
{
	const Google__Protobuf__Struct *s =
		v && v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE ? v->struct_value
										: NULL;
	size_t n = s ? MT_MIN(s->n_fields, (size_t)LABELS_MAX) : 0;

	r->labels = MT_ANEWN(r->arena, struct mt_wire_pair, n + 1);
	for (size_t i = 0; i < n; i++) {
		r->labels[r->nlabels].name =
			mt_arena_strndup(r->arena, s->fields[i]->key, LABEL_LEN_MAX);
		r->labels[r->nlabels++].value =
			mt_arena_strndup(r->arena, text(s->fields[i]->value), LABEL_LEN_MAX);
	}
}

static void take_node(struct mixer_reporter *r, const Google__Protobuf__Struct *meta)
{
	const char *ns = text(field(meta, "NAMESPACE"));
	const char *sa = text(field(meta, "SERVICE_ACCOUNT"));
	const char *name = text(field(meta, "WORKLOAD_NAME"));
	struct mt_spiffe id;

	if (*r->uri) {
		if (mt_spiffe_parse(r->uri, &id, NULL) < 0)
			return;
		r->ns = mt_arena_strdup(r->arena, id.ns);
		if (!mt_streq(ns, id.ns) || (*sa && !mt_streq(sa, id.sa)))
			return;
	}
	r->ns = mt_arena_strndup(r->arena, ns, LABEL_LEN_MAX);
	r->workload =
		mt_arena_strndup(r->arena, *name ? name : text(field(meta, "NAME")), LABEL_LEN_MAX);
	take_labels(r, field(meta, "LABELS"));
}

struct mixer_reporter *mixer_reporter_new(
	const Als__StreamAccessLogsMessage__Identifier *id, const char *spiffe_id)
{
	struct mt_arena *a = mt_arena_new(0);
	struct mixer_reporter *r = MT_ANEW(a, struct mixer_reporter);
	struct mt_wire_pair *v;
	size_t n;

	mt_ref_init(&r->ref);
	r->arena = a;
	r->uri = mt_arena_strdup(a, spiffe_id);
	r->workload = r->ns = "";
	if (id->node && id->node->metadata)
		take_node(r, id->node->metadata);
	if (!id->log_name)
		return r;
	n = mt_wire_parse(id->log_name, strlen(id->log_name), a, &v);
	r->facts = v;
	r->nfacts = n;
	/* A bare word will do. A gateway reports on what it calls. */
	r->outbound = mt_streq(id->log_name, "outbound") || mt_streq(id->log_name, "gateway");
	for (size_t i = 0; i < n; i++)
		if (mt_streq(v[i].name, "context.reporter.kind"))
			r->outbound = mt_streq(v[i].value, "outbound");
	return r;
}

struct mixer_reporter *mixer_reporter_ref(struct mixer_reporter *r)
{
	mt_ref_get(&r->ref);
	return r;
}

void mixer_reporter_unref(struct mixer_reporter *r)
{
	if (r && mt_ref_put(&r->ref))
		mt_arena_free(r->arena); /* it lies in there itself */
}

void mixer_reporter_add(struct mixer_facts *f, const struct mixer_reporter *r)
{
	bool out = r->outbound;

	for (size_t i = 0; i < r->nfacts; i++)
		mixer_facts_add(f, r->facts[i].name, r->facts[i].value);
	mixer_facts_str(f, MT_ATTR_CONTEXT_REPORTER_KIND, out ? "outbound" : "inbound");
	mixer_facts_bool(f, MT_ATTR_CONTEXT_REPORTER_LOCAL, !out);
	mixer_facts_str(f, out ? MT_ATTR_SOURCE_WORKLOAD_NAME : MT_ATTR_DESTINATION_WORKLOAD_NAME,
		r->workload);
	mixer_facts_str(f,
		out ? MT_ATTR_SOURCE_WORKLOAD_NAMESPACE : MT_ATTR_DESTINATION_WORKLOAD_NAMESPACE,
		r->ns);
	mixer_facts_str(f, out ? MT_ATTR_SOURCE_PRINCIPAL : MT_ATTR_DESTINATION_PRINCIPAL,
		mixer_principal(r->uri));
	for (size_t i = 0; i < r->nlabels; i++)
		mixer_facts_entry(f, out ? MT_ATTR_SOURCE_LABELS : MT_ATTR_DESTINATION_LABELS,
			r->labels[i].name, r->labels[i].value);
}
