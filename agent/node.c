#include "agent/node.h"

#include <string.h>

#include "common/base/cidr.h"
#include "common/base/strs.h"

/* Splits "a<sep>b<sep>c" in place of a copy; the last part takes what is left. */
static size_t split(struct mt_arena *a, const char *text, char sep, const char **v, size_t most)
{
	char *p = mt_arena_strdup(a, text);
	size_t n = 0;

	while (n < most) {
		char *end = strchr(p, sep);

		v[n++] = p;
		if (!end || n == most)
			break;
		*end = '\0';
		p = end + 1;
	}
	return n;
}

/* --node-id beats its parts. */
static int from_node_id(
	const char *text, struct mt_arena *a, struct agent_node *n, struct mt_err *err)
{
	const char *v[4];
	char *dot;

	if (split(a, text, '~', v, 4) != 4 || strchr(v[3], '~'))
		return mt_fail(err, MT_INVALID, "--node-id", "is TYPE~IP~NAME.NAMESPACE~DOMAIN");
	dot = strrchr(v[2], '.');
	if (!dot || dot == v[2] || !dot[1])
		return mt_fail(err, MT_INVALID, "--node-id", "%s is not NAME.NAMESPACE", v[2]);
	n->name = mt_arena_strndup(a, v[2], (size_t)(dot - v[2]));
	n->ns = dot + 1;
	n->type = v[0];
	n->ip = v[1];
	n->domain = v[3];
	return 0;
}

static bool is_name(const char *s)
{
	return !mt_str_empty(s) && strlen(s) <= 253 &&
		strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") ==
		strlen(s);
}

static int check(const struct agent_node *n, struct mt_err *err)
{
	static const struct {
		const char *option;
		size_t offset;
	} names[] = {
		{ "--name", offsetof(struct agent_node, name) },
		{ "--namespace", offsetof(struct agent_node, ns) },
		{ "--domain", offsetof(struct agent_node, domain) },
		{ "--workload", offsetof(struct agent_node, workload) },
		{ "--service-account", offsetof(struct agent_node, service_account) },
	};
	struct mt_ip ip;

	if (strcmp(n->type, "sidecar") != 0 && strcmp(n->type, "router") != 0)
		return mt_fail(
			err, MT_INVALID, "--type", "%s is neither sidecar nor router", n->type);
	if (mt_ip_parse(n->ip, &ip) < 0)
		return mt_fail(err, MT_INVALID, "--ip", "\"%s\" is not an IP address", n->ip);
	for (size_t i = 0; i < MT_ARRAY_SIZE(names); i++) {
		const char *value = *(const char *const *)((const char *)n + names[i].offset);

		if (!is_name(value))
			return mt_fail(
				err, MT_INVALID, names[i].option, "\"%s\" is not a name", value);
	}
	if (strcmp(n->interception, "NONE") != 0 && strcmp(n->interception, "REDIRECT") != 0 &&
		strcmp(n->interception, "TPROXY") != 0)
		return mt_fail(err, MT_INVALID, "--interception",
			"%s is not NONE, REDIRECT or TPROXY", n->interception);
	return 0;
}

static int add_labels(
	const char *text, struct mt_arena *a, struct agent_node *n, struct mt_err *err)
{
	const char *v[AGENT_LABELS_MAX];
	size_t k = split(a, text, ',', v, MT_ARRAY_SIZE(v));

	for (size_t i = 0; i < k; i++) {
		char *eq = strchr(v[i], '=');

		if (!*v[i])
			continue;
		if (!eq || eq == v[i])
			return mt_fail(
				err, MT_INVALID, "--labels", "\"%s\" is not KEY=VALUE", v[i]);
		if (n->nlabels == AGENT_LABELS_MAX)
			return mt_fail(err, MT_LIMIT, "--labels", "more than %d", AGENT_LABELS_MAX);
		*eq = '\0';
		n->labels[n->nlabels++] = (struct mt_workload_label){ v[i], eq + 1 };
	}
	return 0;
}

static int add_ips(
	const struct mt_strlist *list, struct mt_arena *a, struct agent_node *n, struct mt_err *err)
{
	n->instance_ips = n->ip;
	for (size_t i = 0; i < list->n; i++) {
		const char *v[16];
		size_t k = split(a, list->v[i], ',', v, MT_ARRAY_SIZE(v));

		for (size_t j = 0; j < k; j++) {
			struct mt_ip ip;

			if (mt_ip_parse(v[j], &ip) < 0)
				return mt_fail(err, MT_INVALID, "--instance-ips",
					"\"%s\" is not an IP address", v[j]);
			n->instance_ips = mt_arena_printf(a, "%s,%s", n->instance_ips, v[j]);
		}
	}
	return 0;
}

/* With all labels if they fit, else without any: what a header can carry is limited. */
static int describe(struct mt_arena *a, struct agent_node *n, struct mt_err *err)
{
	struct mt_workload w = {
		.name = n->workload,
		.ns = n->ns,
		.service_account = n->service_account,
		.cluster = n->cluster_id,
		.labels = n->labels,
		.nlabels = MT_MIN(n->nlabels, (size_t)MT_WORKLOAD_LABELS_MAX),
	};

	if (mt_workload_format(&w, a, &n->workload_env, err) == 0)
		return 0;
	w.nlabels = 0;
	return mt_workload_format(&w, a, &n->workload_env, err);
}

int agent_node_make(const struct agent_options *o, struct mt_arena *a, struct agent_node *ret,
	struct mt_err *err)
{
	struct agent_node n = {
		.type = o->type,
		.ip = o->ip,
		.name = o->name,
		.ns = o->namespace,
		.service_account = o->service_account,
		.cluster_id = o->cluster_id,
		.network = o->network,
		.interception = o->interception,
	};
	const char *where[3] = { "", "", "" };
	int r;

	n.domain = *o->domain ? o->domain : mt_arena_printf(a, "%s.svc.cluster.local", n.ns);
	if (*o->node_id && (r = from_node_id(o->node_id, a, &n, err)) < 0)
		return r;
	n.workload = *o->workload ? o->workload : n.name;
	if ((r = check(&n, err)) < 0 || (r = add_ips(&o->instance_ips, a, &n, err)) < 0)
		return r;
	for (size_t i = 0; i < o->labels.n; i++) {
		if ((r = add_labels(o->labels.v[i], a, &n, err)) < 0)
			return r;
	}
	split(a, o->locality, '/', where, 3);
	n.region = where[0];
	n.zone = where[1];
	n.subzone = where[2];
	n.id = mt_arena_printf(a, "%s~%s~%s.%s~%s", n.type, n.ip, n.name, n.ns, n.domain);
	if ((r = mt_spiffe_make(o->common.trust_domain, n.ns, n.service_account, n.spiffe_id,
		     sizeof(n.spiffe_id), err)) < 0 ||
		(r = describe(a, &n, err)) < 0)
		return r;
	*ret = n;
	return 0;
}
