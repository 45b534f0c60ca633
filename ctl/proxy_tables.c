/* Tables of listeners, routes, clusters and endpoints. A resource (of routes: a virtual host) with
 * several rows names its configuration objects in the first of them. What is absent is "-";
 * nothing here trusts the shape of the answer: a missing member reads as absent. */
#include "ctl/proxy_tables.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "ctl/table.h"

/* A member by path: "address.socketAddress.portValue", "filters.0.typedConfig". NULL: absent. */
static json_t *at(json_t *j, const char *path)
{
	char key[64];

	while (j && *path) {
		size_t n = strcspn(path, ".");
		snprintf(key, sizeof(key), "%.*s", (int)n, path);
		j = json_is_array(j) ? json_array_get(j, strtoul(key, NULL, 10))
				     : json_object_get(j, key);
		path += n + (path[n] == '.');
	}
	return j;
}

static const char *text(json_t *j, const char *path)
{
	const char *s = json_string_value(at(j, path));
	return s ? s : "";
}

/* Strings of a list, with commas. */
static void cell_list(struct ctl_table *t, json_t *list)
{
	MT_AUTO(mt_buf_clear) struct mt_buf b = { 0 };
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
		mt_buf_printf(&b, "%s%s", i ? ", " : "", json_string_value(v));
	ctl_table_cell(t, mt_buf_str(&b));
}

/* "VirtualService shop/reviews (rules.yaml:12), ..." */
static void cell_names(struct ctl_table *t, json_t *objects)
{
	MT_AUTO(mt_buf_clear) struct mt_buf b = { 0 };
	json_t *o;
	size_t i;

	json_array_foreach(objects, i, o)
	{
		const char *ns = text(o, "namespace"), *source = text(o, "source");
		mt_buf_printf(&b, "%s%s %s%s%s", i ? ", " : "", text(o, "kind"), ns, *ns ? "/" : "",
			text(o, "name"));
		if (*source)
			mt_buf_printf(&b, " (%s)", source);
	}
	ctl_table_cell(t, mt_buf_str(&b));
}

static void cell_objects(struct ctl_table *t, json_t *res, bool first)
{
	if (first)
		cell_names(t, json_object_get(res, "objects"));
	else
		ctl_table_cell(t, "\"");
}

/* Those behind one virtual host of a route configuration; NULL: not said. One that is a resource of its
 * own has the table's name before its own. */
static json_t *vhost_objects(json_t *res, const char *name)
{
	const char *route = text(res, "name");
	json_t *v;
	size_t i, n = strlen(route);

	if (strncmp(name, route, n) == 0 && name[n] == '/')
		name += n + 1;

	json_array_foreach(json_object_get(res, "virtualHosts"), i,
		v) if (strcmp(text(v, "name"), name) == 0) return json_object_get(v, "objects");
	return NULL;
}

static void cell_address(struct ctl_table *t, json_t *address)
{
	json_t *sock = at(address, "socketAddress");

	if (sock)
		ctl_table_cellf(t, "%s:%lld", text(sock, "address"),
			(long long)json_integer_value(at(sock, "portValue")));
	else
		ctl_table_cell(t, text(address, "pipe.path"));
}

/* ---- listeners ---- */

static const char *short_name(const char *filter)
{
	const char *dot = strrchr(filter, '.');
	return dot ? dot + 1 : filter;
}

/* The last network filter says where bytes go: an HTTP connection manager with its routes, or a
 * cluster. */
static void cell_routes(struct ctl_table *t, json_t *last)
{
	json_t *config = at(last, "typedConfig");

	if (at(config, "rds"))
		ctl_table_cell(t, text(config, "rds.routeConfigName"));
	else if (at(config, "routeConfig"))
		ctl_table_cellf(t, "%s (in place)", text(config, "routeConfig.name"));
	else
		ctl_table_cell(t, text(config, "cluster"));
}

static void cell_filters(struct ctl_table *t, json_t *filters, json_t *last)
{
	MT_AUTO(mt_buf_clear) struct mt_buf b = { 0 };
	json_t *f, *http = at(last, "typedConfig.httpFilters");
	size_t i;

	json_array_foreach(filters, i, f) if (f != last || !http)
		mt_buf_printf(&b, "%s%s", b.n ? ", " : "", short_name(text(f, "name")));
	json_array_foreach(http, i, f)
		mt_buf_printf(&b, "%s%s", b.n ? ", " : "", short_name(text(f, "name")));
	ctl_table_cell(t, mt_buf_str(&b));
}

static const char *chain_tls(json_t *chain)
{
	if (!at(chain, "transportSocket"))
		return "";
	return json_is_true(at(chain, "transportSocket.typedConfig.requireClientCertificate"))
		? "mutual"
		: "server";
}

static void chain(struct ctl_table *t, json_t *res, json_t *c, bool first)
{
	json_t *filters = at(c, "filters");
	json_t *last = json_array_size(filters)
		? json_array_get(filters, json_array_size(filters) - 1)
		: NULL;

	cell_address(t, at(res, "resource.address"));
	ctl_table_cell(t, text(res, "resource.trafficDirection"));
	cell_list(t, at(c, "filterChainMatch.serverNames"));
	ctl_table_cell(t, chain_tls(c));
	cell_routes(t, last);
	cell_filters(t, filters, last);
	cell_objects(t, res, first);
}

void ctl_print_listeners(json_t *list)
{
	struct ctl_table t;
	json_t *res, *c;
	size_t i, k;

	ctl_table_start(&t, "ADDRESS|DIRECTION|SERVER NAMES|TLS|ROUTES|FILTERS|OBJECTS");
	json_array_foreach(list, i, res)
	{
		json_t *chains = at(res, "resource.filterChains");
		json_t *rest = at(res, "resource.defaultFilterChain");
		json_array_foreach(chains, k, c) chain(&t, res, c, k == 0);
		if (rest)
			chain(&t, res, rest, !json_array_size(chains));
	}
	ctl_table_print(&t);
}

/* ---- routes ---- */

static void cell_match(struct ctl_table *t, json_t *match)
{
	static const char *const paths[][2] = { { "prefix", "*" }, { "path", "" },
		{ "pathSeparatedPrefix", "/*" }, { "safeRegex.regex", " (regex)" } };
	MT_AUTO(mt_buf_clear) struct mt_buf b = { 0 };
	json_t *h;
	size_t i;

	for (i = 0; i < MT_ARRAY_SIZE(paths); i++)
		if (*text(match, paths[i][0]))
			mt_buf_printf(&b, "%s%s", text(match, paths[i][0]), paths[i][1]);
	json_array_foreach(at(match, "headers"), i, h)
		mt_buf_printf(&b, "%s%s", i ? "," : " with ", text(h, "name"));
	ctl_table_cell(t, mt_buf_str(&b));
}

static void cell_destination(struct ctl_table *t, json_t *route)
{
	MT_AUTO(mt_buf_clear) struct mt_buf b = { 0 };
	json_t *w, *weighted = at(route, "route.weightedClusters.clusters");
	json_t *status = at(route, "directResponse.status");
	size_t i;

	json_array_foreach(weighted, i, w) mt_buf_printf(&b, "%s%s %lld", i ? ", " : "",
		text(w, "name"), (long long)json_integer_value(at(w, "weight")));
	if (*text(route, "route.cluster"))
		mt_buf_adds(&b, text(route, "route.cluster"));
	if (at(route, "redirect"))
		mt_buf_adds(&b, "redirect");
	if (status)
		mt_buf_printf(&b, "answers %lld", (long long)json_integer_value(status));
	if (at(route, "typedPerFilterConfig") &&
		json_object_get(at(route, "typedPerFilterConfig"), "envoy.filters.http.fault"))
		mt_buf_adds(&b, " (fault)");
	ctl_table_cell(t, mt_buf_str(&b));
}

static void virtual_host(struct ctl_table *t, json_t *res, json_t *vh, bool first)
{
	json_t *r, *own = vhost_objects(res, text(vh, "name"));
	size_t i;

	json_array_foreach(at(vh, "routes"), i, r)
	{
		ctl_table_cell(t, text(res, "name"));
		ctl_table_cell(t, i ? "\"" : text(vh, "domains.0"));
		cell_match(t, at(r, "match"));
		cell_destination(t, r);
		if (own && i == 0)
			cell_names(t, own);
		else
			cell_objects(t, res, first && i == 0);
	}
}

void ctl_print_routes(json_t *list)
{
	struct ctl_table t;
	json_t *res, *vh;
	size_t i, k;

	ctl_table_start(&t, "ROUTES|DOMAIN|MATCH|DESTINATION|OBJECTS");
	json_array_foreach(list, i, res)
	{
		json_array_foreach(at(res, "resource.virtualHosts"), k, vh)
			virtual_host(&t, res, vh, k == 0);
	}
	ctl_table_print(&t);
}

/* ---- clusters ---- */

static const char *cluster_tls(json_t *c)
{
	json_t *tls = at(c, "transportSocket.typedConfig.commonTlsContext");

	if (at(c, "transportSocketMatches"))
		return "by endpoint";
	if (!tls)
		return "";
	return at(tls, "tlsCertificateSdsSecretConfigs") || at(tls, "tlsCertificates") ? "mutual"
										       : "simple";
}

/* "outbound|9080|v1|reviews.shop.svc.cluster.local" in four cells; another name stands alone. */
static void cells_of_name(struct ctl_table *t, const char *name)
{
	const char *port = strchr(name, '|'), *subset = port ? strchr(port + 1, '|') : NULL;
	const char *host = subset ? strchr(subset + 1, '|') : NULL;

	if (!host) {
		ctl_table_cell(t, name);
		for (int i = 0; i < 3; i++)
			ctl_table_cell(t, "");
		return;
	}
	ctl_table_cell(t, host + 1);
	ctl_table_cellf(t, "%.*s", (int)(subset - port - 1), port + 1);
	ctl_table_cellf(t, "%.*s", (int)(host - subset - 1), subset + 1);
	ctl_table_cellf(t, "%.*s", (int)(port - name), name);
}

void ctl_print_clusters(json_t *list)
{
	struct ctl_table t;
	json_t *res;
	size_t i;

	ctl_table_start(&t, "HOST|PORT|SUBSET|DIRECTION|TYPE|TLS|OBJECTS");
	json_array_foreach(list, i, res)
	{
		const char *type = text(res, "resource.type");
		cells_of_name(&t, text(res, "name"));
		/* The default, which is not written. */
		ctl_table_cell(&t, *type ? type : "STATIC");
		ctl_table_cell(&t, cluster_tls(at(res, "resource")));
		cell_objects(&t, res, true);
	}
	ctl_table_print(&t);
}

/* ---- endpoints ---- */

static void cell_locality(struct ctl_table *t, json_t *where)
{
	MT_AUTO(mt_buf_clear) struct mt_buf b = { 0 };
	static const char *const parts[] = { "region", "zone", "subZone" };

	for (size_t i = 0; i < MT_ARRAY_SIZE(parts); i++)
		if (*text(where, parts[i]))
			mt_buf_printf(&b, "%s%s", b.n ? "/" : "", text(where, parts[i]));
	ctl_table_cell(t, mt_buf_str(&b));
}

static bool group(struct ctl_table *t, json_t *res, json_t *g, bool first)
{
	json_t *e;
	size_t i;

	json_array_foreach(at(g, "lbEndpoints"), i, e)
	{
		const char *health = text(e, "healthStatus");
		cell_address(t, at(e, "endpoint.address"));
		/* Unknown to Pilot is what Envoy takes for healthy. */
		ctl_table_cell(t, *health && strcmp(health, "UNKNOWN") ? health : "HEALTHY");
		cell_locality(t, at(g, "locality"));
		ctl_table_cell(t, text(res, "name"));
		cell_objects(t, res, first);
		first = false;
	}
	return first;
}

void ctl_print_endpoints(json_t *list)
{
	struct ctl_table t;
	json_t *res, *g;
	size_t i, k;

	ctl_table_start(&t, "ENDPOINT|HEALTH|LOCALITY|CLUSTER|OBJECTS");
	json_array_foreach(list, i, res)
	{
		bool first = true;
		json_array_foreach(at(res, "resource.endpoints"), k, g) first =
			group(&t, res, g, first);
		if (first) {
			ctl_table_cell(&t, "none");
			for (int c = 0; c < 2; c++)
				ctl_table_cell(&t, "");
			ctl_table_cell(&t, text(res, "name"));
			cell_objects(&t, res, true);
		}
	}
	ctl_table_print(&t);
}
