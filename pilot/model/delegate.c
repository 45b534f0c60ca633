/* HTTP rules in force: a virtual service's own, and those that it delegates.
 *
 * A root's rule may name a delegate: a virtual service without hosts, whose rules then stand in the
 * place of the root's one. Each delegate's rule becomes one rule in force:
 *
 *   its match must lie within one of the root's (else the rule is left out, and a note on the
 *   delegate says so); what the root's match says beyond it is added
 *   rewrite, timeout, retries, fault, mirrors, CORS policy and headers come from the root where the
 *   delegate says nothing
 *   names are joined, root first
 *
 * One level only. A delegate keeps its own namespace: short names in its rules mean what they mean
 * there, and a gateway named in a match is made whole before matches of two namespaces meet. Messages
 * are copied flat: what they point to belongs to objects that the index holds. */
#include <string.h>

#include "common/base/hash.h"
#include "common/base/strs.h"
#include "common/base/vec.h"
#include "pilot/model/host.h"
#include "pilot/model/index.h"

struct rules {
	struct pilot_http *v;
	size_t n;
	size_t cap;
};

struct pair { /* a root's rule and a delegate */
	struct pilot_index *ix;
	const struct pilot_vs *root, *leaf;
	const Nw__HTTPRoute *spec; /* the root's */
};

/* ---- is what the leaf takes part of what the root takes? ---- */

static bool within(const Nw__StringMatch *root, const Nw__StringMatch *leaf)
{
	if (!root || !leaf || root->match_type_case == NW__STRING_MATCH__MATCH_TYPE__NOT_SET)
		return true;
	/* All cases of the oneof are strings in one place. */
	if (leaf->match_type_case == root->match_type_case &&
		root->match_type_case != NW__STRING_MATCH__MATCH_TYPE_PREFIX)
		return strcmp(leaf->exact, root->exact) == 0;
	if (root->match_type_case != NW__STRING_MATCH__MATCH_TYPE_PREFIX)
		return false;
	return (leaf->match_type_case == NW__STRING_MATCH__MATCH_TYPE_EXACT ||
		       leaf->match_type_case == NW__STRING_MATCH__MATCH_TYPE_PREFIX) &&
		mt_str_prefix(leaf->exact, root->prefix);
}

typedef Nw__HTTPMatchRequest__HeadersEntry match_entry; /* all map<string,StringMatch> */
typedef Nw__HTTPMatchRequest__SourceLabelsEntry label_entry;

static bool maps_within(const void *root, size_t nroot, const void *leaf, size_t nleaf)
{
	match_entry *const *r = root, *const *l = leaf;
	for (size_t i = 0; i < nroot; i++)
		for (size_t k = 0; k < nleaf; k++)
			if (strcmp(r[i]->key, l[k]->key) == 0 && !within(r[i]->value, l[k]->value))
				return false;
	return true;
}

static bool labels_within(const Nw__HTTPMatchRequest *root, const Nw__HTTPMatchRequest *leaf)
{
	for (size_t i = 0; i < root->n_source_labels; i++)
		for (size_t k = 0; k < leaf->n_source_labels; k++)
			if (strcmp(root->source_labels[i]->key, leaf->source_labels[k]->key) == 0 &&
				strcmp(root->source_labels[i]->value,
					leaf->source_labels[k]->value) != 0)
				return false;
	return true;
}

/* Gateways are whole names by now. */
static bool gateways_within(const Nw__HTTPMatchRequest *root, const Nw__HTTPMatchRequest *leaf)
{
	for (size_t i = 0; root->n_gateways && i < leaf->n_gateways; i++) {
		bool found = false;
		for (size_t k = 0; k < root->n_gateways; k++)
			found = found || strcmp(root->gateways[k], leaf->gateways[i]) == 0;
		if (!found)
			return false;
	}
	return true;
}

static bool match_within(const Nw__HTTPMatchRequest *root, const Nw__HTTPMatchRequest *leaf)
{
	if (!within(root->uri, leaf->uri) || !within(root->scheme, leaf->scheme) ||
		!within(root->method, leaf->method) || !within(root->authority, leaf->authority))
		return false;
	if (root->uri && leaf->uri && root->ignore_uri_case != leaf->ignore_uri_case)
		return false;
	if (root->port && leaf->port && root->port != leaf->port)
		return false;
	if (*root->source_namespace && *leaf->source_namespace &&
		strcmp(root->source_namespace, leaf->source_namespace) != 0)
		return false;
	return labels_within(root, leaf) && gateways_within(root, leaf) &&
		maps_within(root->headers, root->n_headers, leaf->headers, leaf->n_headers) &&
		maps_within(root->without_headers, root->n_without_headers, leaf->without_headers,
			leaf->n_without_headers) &&
		maps_within(root->query_params, root->n_query_params, leaf->query_params,
			leaf->n_query_params);
}

/* ---- merging ---- */

/* The root's entries that the leaf has no key for, then the leaf's. */
static void *merge_map(struct mt_arena *a, const void *root, size_t nroot, const void *leaf,
	size_t nleaf, size_t *ret_n)
{
	label_entry *const *r = root, *const *l = leaf;
	label_entry **v = MT_ANEWN(a, label_entry *, nroot + nleaf + 1);
	size_t n = 0;
	for (size_t i = 0; i < nroot; i++) {
		bool own = false;
		for (size_t k = 0; k < nleaf; k++)
			own = own || strcmp(l[k]->key, r[i]->key) == 0;
		if (!own)
			v[n++] = r[i];
	}
	for (size_t k = 0; k < nleaf; k++)
		v[n++] = l[k];
	*ret_n = n;
	return v;
}

#define MERGE_MAP(a, out, root, leaf, field)                                                       \
	(out)->field = merge_map((a), (root)->field, (root)->n_##field, (leaf)->field,             \
		(leaf)->n_##field, &(out)->n_##field)

static char *join_names(struct mt_arena *a, const char *root, const char *leaf)
{
	if (!*root || !*leaf)
		return mt_arena_strdup(a, *root ? root : leaf);
	return mt_arena_printf(a, "%s-%s", root, leaf);
}

static Nw__HTTPMatchRequest *merge_match(
	struct mt_arena *a, const Nw__HTTPMatchRequest *root, const Nw__HTTPMatchRequest *leaf)
{
	Nw__HTTPMatchRequest *m = MT_ANEW(a, Nw__HTTPMatchRequest);
	*m = *leaf;
	m->name = join_names(a, root->name, leaf->name);
	if (!m->uri) {
		m->uri = root->uri;
		m->ignore_uri_case = root->ignore_uri_case;
	}
	m->scheme = leaf->scheme ? leaf->scheme : root->scheme;
	m->method = leaf->method ? leaf->method : root->method;
	m->authority = leaf->authority ? leaf->authority : root->authority;
	MERGE_MAP(a, m, root, leaf, headers);
	MERGE_MAP(a, m, root, leaf, without_headers);
	MERGE_MAP(a, m, root, leaf, query_params);
	MERGE_MAP(a, m, root, leaf, source_labels);
	m->port = leaf->port ? leaf->port : root->port;
	if (!*m->source_namespace)
		m->source_namespace = root->source_namespace;
	if (!*m->stat_prefix)
		m->stat_prefix = root->stat_prefix;
	if (!m->n_gateways) {
		m->n_gateways = root->n_gateways;
		m->gateways = root->gateways;
	}
	return m;
}

/* Copies of the matches, with gateways by their whole names. */
static Nw__HTTPMatchRequest **whole_gateways(
	struct mt_arena *a, const Nw__HTTPRoute *h, const char *ns)
{
	Nw__HTTPMatchRequest **v = MT_ANEWN(a, Nw__HTTPMatchRequest *, h->n_match + 1);
	for (size_t i = 0; i < h->n_match; i++) {
		v[i] = MT_ANEW(a, Nw__HTTPMatchRequest);
		*v[i] = *h->match[i];
		v[i]->gateways = MT_ANEWN(a, char *, v[i]->n_gateways + 1);
		for (size_t k = 0; k < v[i]->n_gateways; k++)
			v[i]->gateways[k] =
				(char *)pilot_gateway_name(a, h->match[i]->gateways[k], ns);
	}
	return v;
}

/* false: some match of the leaf lies in none of the root's. */
static bool merge_matches(const struct pair *p, Nw__HTTPRoute *out, const Nw__HTTPRoute *leaf)
{
	struct mt_arena *a = p->ix->arena;
	Nw__HTTPMatchRequest **r = whole_gateways(a, p->spec, p->root->obj->ns);
	Nw__HTTPMatchRequest **l = whole_gateways(a, leaf, p->leaf->obj->ns);
	out->match = leaf->n_match ? l : r;
	out->n_match = leaf->n_match ? leaf->n_match : p->spec->n_match;
	if (!leaf->n_match || !p->spec->n_match)
		return true;
	out->match = MT_ANEWN(a, Nw__HTTPMatchRequest *, leaf->n_match * p->spec->n_match);
	out->n_match = 0;
	for (size_t i = 0; i < leaf->n_match; i++) {
		bool found = false;
		for (size_t k = 0; k < p->spec->n_match; k++)
			if (match_within(r[k], l[i])) {
				out->match[out->n_match++] = merge_match(a, r[k], l[i]);
				found = true;
			}
		if (!found)
			return false;
	}
	return true;
}

/* The root's own destination under the whole name that it has in the root's namespace. */
static Nw__Destination *whole_host(const struct pair *p, const Nw__Destination *d)
{
	Nw__Destination *m = MT_ANEW(p->ix->arena, Nw__Destination);
	*m = *d;
	m->host = pilot_host_resolve(p->ix->arena, d->host, p->root->obj->ns, p->ix->mesh.domain);
	return m;
}

static void inherit_mirrors(const struct pair *p, Nw__HTTPRoute *m)
{
	const Nw__HTTPRoute *root = p->spec;
	if (!m->mirror_percent)
		m->mirror_percent = root->mirror_percent;
	if (!m->mirror_percentage)
		m->mirror_percentage = root->mirror_percentage;
	if (m->mirror || m->n_mirrors)
		return;
	if (root->mirror)
		m->mirror = whole_host(p, root->mirror);
	m->n_mirrors = root->n_mirrors;
	m->mirrors = MT_ANEWN(p->ix->arena, Nw__HTTPMirrorPolicy *, root->n_mirrors + 1);
	for (size_t i = 0; i < root->n_mirrors; i++) {
		m->mirrors[i] = MT_ANEW(p->ix->arena, Nw__HTTPMirrorPolicy);
		*m->mirrors[i] = *root->mirrors[i];
		if (root->mirrors[i]->destination)
			m->mirrors[i]->destination = whole_host(p, root->mirrors[i]->destination);
	}
}

#define INHERIT_LIST(m, root, field)                                                               \
	do {                                                                                       \
		if (!(m)->n_##field) {                                                             \
			(m)->field = (root)->field;                                                \
			(m)->n_##field = (root)->n_##field;                                        \
		}                                                                                  \
	} while (0)

static void inherit(const struct pair *p, Nw__HTTPRoute *m)
{
	const Nw__HTTPRoute *root = p->spec;
	m->name = join_names(p->ix->arena, root->name, m->name);
	m->rewrite = m->rewrite ? m->rewrite : root->rewrite;
	m->timeout = m->timeout ? m->timeout : root->timeout;
	m->retries = m->retries ? m->retries : root->retries;
	m->fault = m->fault ? m->fault : root->fault;
	m->cors_policy = m->cors_policy ? m->cors_policy : root->cors_policy;
	m->headers = m->headers ? m->headers : root->headers;
	INHERIT_LIST(m, root, append_headers);
	INHERIT_LIST(m, root, append_request_headers);
	INHERIT_LIST(m, root, append_response_headers);
	INHERIT_LIST(m, root, remove_request_headers);
	INHERIT_LIST(m, root, remove_response_headers);
	inherit_mirrors(p, m);
}

/* ---- whose rules are where ---- */

static void note_leaf(const struct pair *p, enum pilot_note_kind kind, size_t at, const char *text)
{
	pilot_note_add(p->ix->arena, &p->ix->notes, p->leaf->id, kind,
		mt_arena_printf(p->ix->arena, "spec.http[%zu]", at), "%s (delegated by %s/%s)",
		text, p->root->obj->ns, p->root->obj->name);
}

static void delegated(const struct pair *p, struct rules *out)
{
	const Nw__VirtualService *s = p->leaf->spec;
	for (size_t i = 0; i < s->n_http; i++) {
		Nw__HTTPRoute *m = MT_ANEW(p->ix->arena, Nw__HTTPRoute);
		*m = *s->http[i];
		if (m->delegate) {
			note_leaf(p, PILOT_NOTE_INVALID, i, "a delegate cannot delegate further");
			continue;
		}
		if (!merge_matches(p, m, s->http[i])) {
			note_leaf(p, PILOT_NOTE_IGNORED, i, "a match is not within the root's");
			continue;
		}
		inherit(p, m);
		struct pilot_http h = { m, p->leaf, i };
		mt_vec_apush(p->ix->arena, out, h);
	}
}

static struct pilot_vs *find(struct pilot_index *ix, const char *ns, const char *name)
{
	for (size_t i = 0; i < ix->nvss; i++)
		if (!ix->vss[i].spec->n_hosts && strcmp(ix->vss[i].obj->name, name) == 0 &&
			strcmp(ix->vss[i].obj->ns, ns) == 0)
			return &ix->vss[i];
	return NULL;
}

static void delegate(
	struct pilot_index *ix, struct pilot_vs *root, size_t at, struct rules *out, uint8_t *used)
{
	const Nw__HTTPRoute *h = root->spec->http[at];
	const char *ns = *h->delegate->namespace_ ? h->delegate->namespace_ : root->obj->ns;
	struct pilot_vs *leaf = find(ix, ns, h->delegate->name);
	bool seen = leaf &&
		pilot_index_exported(ix, PILOT_EXPORT_VS,
			(const char *const *)leaf->spec->export_to, leaf->spec->n_export_to,
			leaf->obj->ns, root->obj->ns);
	if (!seen) {
		pilot_note_add(ix->arena, &ix->notes, root->id, PILOT_NOTE_PENDING,
			mt_arena_printf(ix->arena, "spec.http[%zu].delegate", at),
			leaf ? "virtual service %s/%s is not exported to here"
			     : "there is no virtual service %s/%s without hosts",
			ns, h->delegate->name);
		return;
	}
	struct pair p = { ix, root, leaf, h };
	used[leaf - ix->vss] = 1;
	root->hash = mt_hash_mix(root->hash, mt_hash_mix(leaf->obj->hash, leaf->id));
	delegated(&p, out);
}

static void note_unused(struct pilot_index *ix, const uint8_t *used)
{
	for (size_t i = 0; i < ix->nvss; i++) {
		const struct pilot_vs *vs = &ix->vss[i];
		if (vs->spec->n_hosts)
			continue;
		if (!used[i])
			pilot_note_add(ix->arena, &ix->notes, vs->id, PILOT_NOTE_IGNORED, "spec",
				"no virtual service delegates to it");
		if (vs->spec->n_tcp || vs->spec->n_tls)
			pilot_note_add(ix->arena, &ix->notes, vs->id, PILOT_NOTE_IGNORED,
				vs->spec->n_tcp ? "spec.tcp" : "spec.tls",
				"only HTTP rules are delegated");
	}
}

void pilot_index_delegates(struct pilot_index *ix)
{
	uint8_t *used = MT_ANEWN(ix->arena, uint8_t, ix->nvss + 1);
	for (size_t i = 0; i < ix->nvss; i++) {
		struct pilot_vs *vs = &ix->vss[i];
		size_t own = vs->spec->n_hosts ? vs->spec->n_http : 0;
		struct rules out = { MT_ANEWN(ix->arena, struct pilot_http, own + 1), 0, own + 1 };
		vs->hash = mt_hash_mix(vs->obj->hash, vs->id);
		for (size_t k = 0; k < own; k++) {
			struct pilot_http h = { vs->spec->http[k], vs, k };
			if (vs->spec->http[k]->delegate)
				delegate(ix, vs, k, &out, used);
			else
				mt_vec_apush(ix->arena, &out, h);
		}
		vs->http = out.v;
		vs->nhttp = out.n;
	}
	note_unused(ix, used);
}
