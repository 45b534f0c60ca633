/* The discovery node of a proxy, in the form that Istio's agents write it.
 *
 * The id is type~ip~name~domain. Metadata adds what the id does not say; values are strings, or for
 * LABELS a struct of strings, or for INSTANCE_IPS a comma-separated list. Everything is bounded:
 * the peer writes it. */
#include "pilot/model/proxy.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cidr.h"
#include "common/base/strs.h"
#include "pilot/model/service.h"

enum { TYPICAL_BYTES = 1024 }; /* of a proxy; there are thousands */

typedef const Google__Protobuf__Value pb_value;

static pb_value *meta_get(const Google__Protobuf__Struct *s, const char *key)
{
	for (size_t i = 0; s && i < s->n_fields; i++)
		if (strcmp(s->fields[i]->key, key) == 0)
			return s->fields[i]->value;
	return NULL;
}

static const char *value_str(pb_value *v)
{
	return v && v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE ? v->string_value
									       : "";
}

static const char *meta_str(const Core__Node *n, const char *key)
{
	return value_str(meta_get(n->metadata, key));
}

static bool meta_true(const Core__Node *n, const char *key)
{
	pb_value *v = meta_get(n->metadata, key);
	if (v && v->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE)
		return v->bool_value;
	return strcmp(value_str(v), "true") == 0;
}

static int kv_cmp(const void *a, const void *b)
{
	return strcmp(((const struct mt_kv *)a)->key, ((const struct mt_kv *)b)->key);
}

static int read_labels(struct pilot_proxy *p, const Core__Node *n, struct mt_err *err)
{
	pb_value *v = meta_get(n->metadata, "LABELS");
	if (!v || v->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE)
		return 0;
	const Google__Protobuf__Struct *s = v->struct_value;
	if (s->n_fields > PILOT_PROXY_LABELS_MAX)
		return mt_fail(err, MT_INVALID, "node.metadata.LABELS", "more than %d labels",
			PILOT_PROXY_LABELS_MAX);
	struct mt_kv *kv = MT_ANEWN(p->arena, struct mt_kv, s->n_fields + 1);
	for (size_t i = 0; i < s->n_fields; i++) {
		kv[i].key = mt_arena_strdup(p->arena, s->fields[i]->key);
		kv[i].value = mt_arena_strdup(p->arena, value_str(s->fields[i]->value));
	}
	qsort(kv, s->n_fields, sizeof(*kv), kv_cmp);
	p->labels = kv;
	p->nlabels = s->n_fields;
	return 0;
}

/* Short texts alone: matches of patches ask for them. */
static void read_meta(struct pilot_proxy *p, const Core__Node *n)
{
	const Google__Protobuf__Struct *s = n->metadata;
	size_t max = MT_MIN(s ? s->n_fields : 0, (size_t)PILOT_PROXY_META_MAX);
	struct mt_kv *kv = MT_ANEWN(p->arena, struct mt_kv, max + 1);
	for (size_t i = 0; s && i < s->n_fields && p->nmeta < max; i++) {
		const char *v = value_str(s->fields[i]->value);
		if (!*v || strlen(v) > 256)
			continue;
		kv[p->nmeta].key = mt_arena_strdup(p->arena, s->fields[i]->key);
		kv[p->nmeta++].value = mt_arena_strdup(p->arena, v);
	}
	qsort(kv, p->nmeta, sizeof(*kv), kv_cmp);
	p->meta = kv;
}

static int add_ip(
	struct pilot_proxy *p, const char **ips, const char *text, size_t n, struct mt_err *err)
{
	struct mt_ip ip;
	char *s = mt_arena_strndup(p->arena, text, n);
	if (mt_ip_parse(s, &ip) < 0)
		return mt_fail(err, MT_INVALID, "node", "%.60s is not an IP address", s);
	for (size_t i = 0; i < p->nips; i++)
		if (strcmp(ips[i], s) == 0)
			return 0;
	if (p->nips == PILOT_PROXY_IPS_MAX)
		return mt_fail(err, MT_INVALID, "node.metadata.INSTANCE_IPS",
			"more than %d addresses", PILOT_PROXY_IPS_MAX);
	ips[p->nips++] = s;
	if (ip.len == 4)
		p->ipv4 = true;
	else
		p->ipv6 = true;
	return 0;
}

static int read_ips(
	struct pilot_proxy *p, const Core__Node *n, const char *first, struct mt_err *err)
{
	const char **ips = MT_ANEWN(p->arena, const char *, PILOT_PROXY_IPS_MAX);
	int r = *first ? add_ip(p, ips, first, strlen(first), err) : 0;
	const char *s = meta_str(n, "INSTANCE_IPS");
	while (r == 0 && *s) {
		size_t len = strcspn(s, ",");
		if (len)
			r = add_ip(p, ips, s, len, err);
		s += len + (s[len] == ',');
	}
	if (r == 0 && !p->nips)
		r = mt_fail(err, MT_INVALID, "node.id", "no IP address");
	p->ips = ips;
	return r;
}

/* type~ip~name~domain into four strings. */
static int split_id(struct pilot_proxy *p, char *part[4], struct mt_err *err)
{
	char *s = mt_arena_strdup(p->arena, p->node_id);
	for (int i = 0; i < 4; i++) {
		if (!s)
			return mt_fail(err, MT_INVALID, "node.id",
				"%.100s is not of the form type~ip~name~domain", p->node_id);
		part[i] = s;
		s = strchr(s, '~');
		if (s)
			*s++ = '\0';
	}
	if (s)
		return mt_fail(err, MT_INVALID, "node.id", "too many parts in %.100s", p->node_id);
	return 0;
}

static const char *const type_names[] = {
	[PILOT_SIDECAR] = "sidecar", [PILOT_ROUTER] = "router", [PILOT_PROXYLESS] = "grpc"
};

const char *pilot_proxy_type_name(enum pilot_proxy_type t)
{
	return type_names[t];
}

static void set_names(struct pilot_proxy *p, const Core__Node *n, char *part[4])
{
	p->id = part[2];
	const char *dot = strrchr(p->id, '.');
	p->name = dot ? mt_arena_strndup(p->arena, p->id, (size_t)(dot - p->id)) : p->id;
	const char *ns = meta_str(n, "NAMESPACE");
	if (!*ns)
		ns = meta_str(n, "CONFIG_NAMESPACE");
	if (!*ns && dot)
		ns = dot + 1;
	if (!*ns && strchr(part[3], '.'))
		ns = mt_arena_strndup(p->arena, part[3], strcspn(part[3], "."));
	p->ns = mt_arena_strdup(p->arena, *ns ? ns : "default");
	p->domain = *part[3] ? part[3] : mt_arena_printf(p->arena, "%s.svc.cluster.local", p->ns);
}

static void set_workload(struct pilot_proxy *p, const Core__Node *n)
{
	const char *w = meta_str(n, "WORKLOAD_NAME");
	if (!*w)
		w = pilot_label(p->labels, p->nlabels, "service.istio.io/workload-name");
	if (!w || !*w)
		w = p->name;
	p->workload = mt_arena_strdup(p->arena, w);
}

static void set_version(struct pilot_proxy *p, const Core__Node *n)
{
	if (n->user_agent_version_type_case ==
			CORE__NODE__USER_AGENT_VERSION_TYPE_USER_AGENT_BUILD_VERSION &&
		n->user_agent_build_version && n->user_agent_build_version->version) {
		const Etype__SemanticVersion *v = n->user_agent_build_version->version;
		p->major = (int)v->major_number;
		p->minor = (int)v->minor_number;
		p->patch = (int)v->patch;
	}
}

/* As Istio's agent says it for its clients, or as gRPC says it of itself. */
static bool is_grpc(const Core__Node *n)
{
	return strcmp(meta_str(n, "GENERATOR"), "grpc") == 0 ||
		mt_str_prefix(n->user_agent_name, "gRPC");
}

/* People write the bootstrap of a gRPC client by hand: any id will do, and one without an address
 * gets an address that no instance has. */
static void grpc_id(struct pilot_proxy *p, char *part[4])
{
	struct mt_ip ip;
	if (split_id(p, part, NULL) == 0 && mt_ip_parse(part[1], &ip) == 0)
		return;
	part[0] = part[3] = mt_arena_strdup(p->arena, "");
	part[1] = mt_arena_strdup(p->arena, "0.0.0.0");
	part[2] = mt_arena_strdup(p->arena, p->node_id);
}

static void set_agent(struct pilot_proxy *p, const Core__Node *n)
{
	if (p->major || p->minor)
		p->agent = mt_arena_printf(
			p->arena, "%s %d.%d.%d", n->user_agent_name, p->major, p->minor, p->patch);
	else if (n->user_agent_version_type_case ==
		CORE__NODE__USER_AGENT_VERSION_TYPE_USER_AGENT_VERSION)
		p->agent = mt_arena_printf(
			p->arena, "%s %s", n->user_agent_name, n->user_agent_version);
	else
		p->agent = mt_arena_strdup(p->arena, n->user_agent_name);
}

static int fill(struct pilot_proxy *p, const Core__Node *n, struct mt_err *err)
{
	char *part[4];
	int r;
	if (strlen(n->id) > 1024)
		return mt_fail(err, MT_INVALID, "node.id", "longer than 1024 bytes");
	p->node_id = mt_arena_strdup(p->arena, n->id);
	if (is_grpc(n))
		grpc_id(p, part);
	else if ((r = split_id(p, part, err)) < 0)
		return r;
	if (is_grpc(n))
		p->type = PILOT_PROXYLESS;
	else if (strcmp(part[0], "sidecar") == 0)
		p->type = PILOT_SIDECAR;
	else if (strcmp(part[0], "router") == 0)
		p->type = PILOT_ROUTER;
	else
		return mt_fail(err, MT_INVALID, "node.id", "unknown type %.40s (sidecar or router)",
			part[0]);
	if ((r = read_ips(p, n, part[1], err)) < 0 || (r = read_labels(p, n, err)) < 0)
		return r;
	read_meta(p, n);
	set_names(p, n, part);
	set_workload(p, n);
	set_version(p, n);
	set_agent(p, n);
	struct mt_arena *a = p->arena;
	p->cluster_id = mt_arena_strdup(a, meta_str(n, "CLUSTER_ID"));
	p->network = mt_arena_strdup(a, meta_str(n, "NETWORK"));
	p->node_name = mt_arena_strdup(a, meta_str(n, "NODE_NAME"));
	p->service_account = mt_arena_strdup(a, meta_str(n, "SERVICE_ACCOUNT"));
	p->admin = mt_arena_strdup(a, meta_str(n, "ENVOY_ADMIN"));
	p->region = mt_arena_strdup(a, n->locality ? n->locality->region : "");
	p->zone = mt_arena_strdup(a, n->locality ? n->locality->zone : "");
	p->subzone = mt_arena_strdup(a, n->locality ? n->locality->sub_zone : "");
	p->tproxy = strcmp(meta_str(n, "INTERCEPTION_MODE"), "TPROXY") == 0;
	p->none = strcmp(meta_str(n, "INTERCEPTION_MODE"), "NONE") == 0;
	if (strcmp(meta_str(n, "CREDENTIALS"), "none") == 0)
		p->credentials = MT_ANEWN(a, const char *, 1);
	p->reports = strcmp(meta_str(n, "CREDENTIALS"), "reported") == 0;
	/* Certificates of a gRPC client are the business of its own bootstrap. */
	p->sds = p->type == PILOT_PROXYLESS || meta_true(n, "SDS") ||
		mt_streq(pilot_label(p->labels, p->nlabels, "security.istio.io/tlsMode"), "istio");
	return 0;
}

int pilot_proxy_new(const Core__Node *node, struct pilot_proxy **ret, struct mt_err *err)
{
	struct mt_arena *a = mt_arena_new_sized(0, TYPICAL_BYTES);
	struct pilot_proxy *p = MT_ANEW(a, struct pilot_proxy);
	mt_ref_init(&p->ref);
	p->arena = a;
	int r = fill(p, node, err);
	if (r < 0) {
		mt_arena_free(a);
		return r;
	}
	*ret = p;
	return 0;
}

static void copy_text(struct mt_arena *a, const char **s)
{
	*s = mt_arena_strdup(a, *s);
}

static const struct mt_kv *copy_kv(struct mt_arena *a, const struct mt_kv *from, size_t n)
{
	struct mt_kv *kv = MT_ANEWN(a, struct mt_kv, n + 1);
	for (size_t i = 0; i < n; i++) {
		kv[i].key = mt_arena_strdup(a, from[i].key);
		kv[i].value = mt_arena_strdup(a, from[i].value);
	}
	qsort(kv, n, sizeof(*kv), kv_cmp);
	return kv;
}

static void copy_credentials(struct pilot_proxy *p, const char *const *names, size_t n)
{
	const char **v = MT_ANEWN(p->arena, const char *, n + 1);
	for (size_t i = 0; i < n; i++)
		v[i] = mt_arena_strdup(p->arena, names[i]);
	qsort(v, n, sizeof(*v), mt_strcmpp);
	p->credentials = v;
	p->ncredentials = n;
}

struct pilot_proxy *pilot_proxy_with(const struct pilot_proxy *old, const struct mt_kv *labels,
	size_t nlabels, const char *ns, const char *service_account)
{
	struct mt_arena *a = mt_arena_new_sized(0, TYPICAL_BYTES);
	struct pilot_proxy *p = MT_ANEW(a, struct pilot_proxy);
	*p = *old;
	mt_ref_init(&p->ref);
	p->arena = a;
	if (ns)
		p->ns = ns;
	if (service_account)
		p->service_account = service_account;
	const char **texts[] = { &p->node_id, &p->id, &p->name, &p->ns, &p->domain, &p->cluster_id,
		&p->network, &p->node_name, &p->service_account, &p->workload, &p->admin, &p->agent,
		&p->region, &p->zone, &p->subzone };
	for (size_t i = 0; i < MT_ARRAY_SIZE(texts); i++)
		copy_text(a, texts[i]);
	const char **ips = MT_ANEWN(a, const char *, old->nips + 1);
	for (size_t i = 0; i < old->nips; i++)
		ips[i] = mt_arena_strdup(a, old->ips[i]);
	p->ips = ips;
	p->nlabels = labels ? nlabels : old->nlabels;
	p->labels = copy_kv(a, labels ? labels : old->labels, p->nlabels);
	p->meta = copy_kv(a, old->meta, old->nmeta);
	if (old->credentials)
		copy_credentials(p, old->credentials, old->ncredentials);
	return p;
}

struct pilot_proxy *pilot_proxy_with_credentials(
	const struct pilot_proxy *old, const char *const *names, size_t n)
{
	struct pilot_proxy *p = pilot_proxy_with(old, NULL, 0, NULL, NULL);
	copy_credentials(p, names, n);
	return p;
}

struct pilot_proxy *pilot_proxy_ref(const struct pilot_proxy *p)
{
	struct pilot_proxy *m = (struct pilot_proxy *)p;
	mt_ref_get(&m->ref);
	return m;
}

void pilot_proxy_unref(struct pilot_proxy *p)
{
	if (p && mt_ref_put(&p->ref))
		mt_arena_free(p->arena);
}
