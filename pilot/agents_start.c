/* One ProxyConfig from everybody who has a say, each over those before:
 *
 *   defaultConfig of the mesh configuration
 *   ProxyConfig objects: of the root namespace, of the workload's, of those that select it
 *   annotations of its WorkloadGroup: proxy.istio.io/config, and those of 1.x for statistics
 *
 * and the EnvoyFilter patches of its bootstrap. The agent has the last word. */
#include "pilot/agents_start.h"

#include <string.h>

#include "common/base/log.h"
#include "common/base/strs.h"
#include "common/base/vec.h"
#include "common/schema/decode.h"
#include "common/schema/pb_merge.h"
#include "istio/networking/v1beta1/proxy_config.pb-c.h"
#include "pilot/model/envoy_filter.h"

static struct mt_log_scope scope = MT_LOG_SCOPE("agents");

/* ---- ProxyConfig objects ---- */

enum { LEVELS = 3 };

struct choice {
	const char *root;
	const struct pilot_proxy *x;
	const struct mt_object *best[LEVELS];
};

/* 0 all, 1 the namespace, 2 the workload; -1: not for this one. */
static int level(const struct choice *c, const struct mt_object *o)
{
	const Nwproxy__ProxyConfig *s = (const Nwproxy__ProxyConfig *)o->spec;
	bool own = strcmp(o->ns, c->x->ns) == 0, root = strcmp(o->ns, c->root) == 0;
	size_t n = s->selector ? s->selector->n_match_labels : 0;

	for (size_t i = 0; i < n; i++)
		if (!mt_streq(pilot_label(c->x->labels, c->x->nlabels,
				      s->selector->match_labels[i]->key),
			    s->selector->match_labels[i]->value))
			return -1;
	if (n)
		return own || root ? 2 : -1;
	return root ? 0 : own ? 1 : -1;
}

static bool is_older(const struct mt_object *a, const struct mt_object *b)
{
	if (a->created_ns != b->created_ns)
		return a->created_ns < b->created_ns;
	return strcmp(a->name, b->name) < 0;
}

static void consider(void *ctx, struct mt_object *o)
{
	struct choice *c = ctx;
	int l = level(c, o);

	if (l >= 0 && (!c->best[l] || is_older(o, c->best[l])))
		c->best[l] = o;
}

static void apply_object(const struct mt_object *o, struct mt_arena *a, Mesh__ProxyConfig *into)
{
	const Nwproxy__ProxyConfig *s = (const Nwproxy__ProxyConfig *)o->spec;
	Mesh__ProxyConfig over = MESH__PROXY_CONFIG__INIT;

	over.concurrency = s->concurrency;
	/* Both are maps of texts. */
	over.proxy_metadata = (Mesh__ProxyConfig__ProxyMetadataEntry **)MT_ANEWN(
		a, void *, s->n_environment_variables + 1);
	for (size_t i = 0; i < s->n_environment_variables; i++) {
		Mesh__ProxyConfig__ProxyMetadataEntry *e =
			(void *)mt_pb_new(&mesh__proxy_config__proxy_metadata_entry__descriptor, a);
		e->key = s->environment_variables[i]->key;
		e->value = s->environment_variables[i]->value;
		over.proxy_metadata[over.n_proxy_metadata++] = e;
	}
	mt_pb_merge(&into->base, &over.base, a, true);
}

/* ---- annotations ---- */

static void warn(const struct mt_object *group, const char *key, const char *why)
{
	mt_log_warn(&scope, "an annotation of a group cannot be read", MT_S("group", group->name),
		MT_S("annotation", key), MT_S("why", why));
}

static void apply_yaml(const struct mt_object *group, const char *key, const char *text,
	struct mt_arena *a, Mesh__ProxyConfig *into)
{
	struct mt_diags diags = { 0 };
	json_t *j = NULL;
	ProtobufCMessage *m = NULL;

	if (mt_yaml_to_json(key, text, strlen(text), NULL, &j, &diags) == 0)
		m = mt_pb_from_json(&mesh__proxy_config__descriptor, j, key, a, &diags);
	if (m)
		mt_pb_merge(&into->base, m, a, true);
	else
		warn(group, key, diags.n ? diags.v[0].msg : "is no mapping");
	json_decref(j);
	mt_diags_clear(&diags);
}

struct texts {
	char **v;
	size_t n, cap;
};

static struct texts split(struct mt_arena *a, const char *text)
{
	struct texts t = { 0 };

	while (*text) {
		size_t n = strcspn(text, ",");
		char *s = mt_arena_strndup(a, text, n);
		if (n)
			mt_vec_apush(a, &t, s);
		text += n + (text[n] == ',');
	}
	return t;
}

static void apply_annotation(const struct mt_object *group, const char *key, const char *value,
	struct mt_arena *a, Mesh__ProxyConfig *into)
{
	Mesh__ProxyConfig over = MESH__PROXY_CONFIG__INIT;
	Mesh__ProxyConfig__ProxyStatsMatcher m = MESH__PROXY_CONFIG__PROXY_STATS_MATCHER__INIT;
	struct texts t = split(a, value);

	if (strcmp(key, "proxy.istio.io/config") == 0)
		return apply_yaml(group, key, value, a, into);
	if (strcmp(key, "sidecar.istio.io/statsInclusionPrefixes") == 0) {
		m.inclusion_prefixes = t.v;
		m.n_inclusion_prefixes = t.n;
	} else if (strcmp(key, "sidecar.istio.io/statsInclusionSuffixes") == 0) {
		m.inclusion_suffixes = t.v;
		m.n_inclusion_suffixes = t.n;
	} else if (strcmp(key, "sidecar.istio.io/statsInclusionRegexps") == 0) {
		m.inclusion_regexps = t.v;
		m.n_inclusion_regexps = t.n;
	} else if (strcmp(key, "sidecar.istio.io/extraStatTags") == 0) {
		over.extra_stat_tags = t.v;
		over.n_extra_stat_tags = t.n;
	} else {
		return;
	}
	if (!over.n_extra_stat_tags)
		over.proxy_stats_matcher = &m;
	mt_pb_merge(&into->base, &over.base, a, true);
}

static void apply_group(const struct mt_object *group, struct mt_arena *a, Mesh__ProxyConfig *into)
{
	const Nw__WorkloadGroup__ObjectMeta *m = ((const Nw__WorkloadGroup *)group->spec)->metadata;

	for (size_t i = 0; m && i < m->n_annotations; i++)
		apply_annotation(group, m->annotations[i]->key, m->annotations[i]->value, a, into);
}

void pilot_start_answer(struct pilot *p, const struct pilot_proxy *x, const struct mt_object *group,
	struct mt_arena *a, Mtagent__ReportResponse *ret)
{
	const struct pilot_world *w = push_current(p->push);
	const struct pilot_mesh *mesh = w ? pilot_world_mesh(w) : NULL;
	const Mesh__ProxyConfig *def = mesh ? mesh->spec->default_config : NULL;
	struct choice c = { .root = mesh ? mesh->root_namespace : p->opts->root_namespace, .x = x };

	ret->proxy_config =
		(Mesh__ProxyConfig *)(def ? mt_pb_dup(&def->base, a)
					  : mt_pb_new(&mesh__proxy_config__descriptor, a));
	mt_feed_each(p->feed, MT_KIND_PROXY_CONFIG, consider, &c);
	for (int i = 0; i < LEVELS; i++)
		if (c.best[i])
			apply_object(c.best[i], a, ret->proxy_config);
	if (group)
		apply_group(group, a, ret->proxy_config);
	if (w)
		ret->n_bootstrap_patches = pilot_world_bootstrap(w, x, a, &ret->bootstrap_patches);
}
