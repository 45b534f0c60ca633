/* What proxies were told: proxy-status asks Pilot what each was sent and acknowledged, proxy-config
 * shows a proxy's resources with the configuration objects behind them. Secrets are Envoy's own
 * business: they are read from its admin interface. */
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/run/options.h"
#include "ctl/ctl.h"
#include "ctl/http.h"
#include "ctl/proxy_tables.h"
#include "ctl/table.h"

struct proxy_options {
#define OPT MT_OPT_MEMBER
#include "ctl/proxy_options.def"
#undef OPT
};

static const struct mt_opt rows[] = {
#define OPT(...) MT_OPT_ROW(struct proxy_options, __VA_ARGS__)
#include "ctl/proxy_options.def"
#undef OPT
};

static const char *text(json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s ? s : "";
}

/* ---- proxy-status ---- */

/* "SYNCED 3s": and for how long, since it was sent or acknowledged. */
static void status_cell(struct ctl_table *t, json_t *type)
{
	const char *status = text(type, "status");
	json_t *age = json_object_get(
		type, strcmp(status, "SYNCED") == 0 ? "acked_age_ms" : "sent_age_ms");
	long long s = (long long)json_integer_value(age) / 1000;

	if (!age)
		ctl_table_cell(t, status);
	else if (s < 120)
		ctl_table_cellf(t, "%s %llds", status, s);
	else if (s < 7200)
		ctl_table_cellf(t, "%s %lldm", status, s / 60);
	else
		ctl_table_cellf(t, "%s %lldh", status, s / 3600);
}

static void print_status(json_t *proxies)
{
	static const char *const types[] = { "CDS", "EDS", "LDS", "RDS", "VHDS" };
	struct ctl_table table;
	json_t *p;
	size_t i, t;

	ctl_table_start(&table, "PROXY|ENVOY|CDS|EDS|LDS|RDS|VHDS|IDENTITY");
	json_array_foreach(proxies, i, p)
	{
		ctl_table_cell(&table, text(p, "proxy"));
		ctl_table_cell(&table, text(p, "envoy"));
		for (t = 0; t < MT_ARRAY_SIZE(types); t++)
			status_cell(&table, json_object_get(json_object_get(p, "types"), types[t]));
		ctl_table_cell(&table, text(p, "identity"));
	}
	ctl_table_print(&table);
	/* What was rejected, in Envoy's words. */
	json_array_foreach(proxies, i, p) for (t = 0; t < MT_ARRAY_SIZE(types); t++)
	{
		const char *words =
			text(json_object_get(json_object_get(p, "types"), types[t]), "message");
		if (*words)
			printf("%s %s: %s\n", text(p, "proxy"), types[t], words);
	}
}

static int parse(const char *name, const char *usage, struct proxy_options *v, int argc,
	char **argv, struct mt_options **o)
{
	struct mt_err err = { 0 };
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "-o") == 0)
			argv[i] = (char *)"--output";
	int r = mt_options_parse("ctl", usage, rows, MT_ARRAY_SIZE(rows), v, argc, argv, o, &err);
	if (r == 0 && strcmp(v->output, "table") != 0 && strcmp(v->output, "json") != 0) {
		r = mt_fail(&err, MT_INVALID, "-o", "\"%s\" is not table or json", v->output);
		mt_options_free(*o);
		*o = NULL;
	}

	if (r < 0 && r != MT_CANCELLED)
		ctl_fail(name, &err);
	return r;
}

static int output(json_t *j, const char *format)
{
	if (strcmp(format, "json") != 0)
		return 1;
	json_dumpf(j, stdout, JSON_INDENT(2));
	printf("\n");
	return 0;
}

/* All, or the one that is named (as it is shown, or by its node id). */
static int status(const struct proxy_options *v, const char *proxy, struct mt_err *err)
{
	json_t *all = NULL, *p;
	size_t i;
	MT_AUTO(mt_strfreep) char *url = mt_asprintf("%s/debug/syncz", v->pilot);
	int r = ctl_http_where(ctl_http_json("GET", url, &all, err), "Pilot", "--pilot", err);

	if (r == 0 && proxy) {
		json_t *one = json_array();
		json_array_foreach(all, i, p)
		{
			if (strcmp(text(p, "proxy"), proxy) == 0 ||
				strcmp(text(p, "node"), proxy) == 0)
				json_array_append(one, p);
		}
		json_decref(all);
		all = one;
		if (!json_array_size(all))
			r = mt_fail(err, MT_NOT_FOUND, proxy,
				"no proxy of this name is connected to this Pilot");
	}
	if (r == 0 && output(all, v->output))
		print_status(all);
	json_decref(all);
	return r;
}

int ctl_proxy_status(int argc, char **argv)
{
	struct proxy_options v = { 0 };
	struct mt_options *o = NULL;
	struct mt_err err = { 0 };
	const char *const *rest;
	int r = parse("proxy-status",
		"meltemi proxy-status [PROXY]: what each proxy, or this one, was sent and acknowledged",
		&v, argc, argv, &o);

	if (r < 0)
		return r == MT_CANCELLED ? 0 : 2;
	size_t n = mt_options_rest(o, &rest);
	if (n > 1) {
		fprintf(stderr, "meltemi proxy-status: %s: not expected\n", rest[1]);
		r = 2;
	} else if (status(&v, n ? rest[0] : NULL, &err) < 0) {
		r = ctl_fail("proxy-status", &err);
	}
	mt_options_free(o);
	return r;
}

/* ---- proxy-config ---- */

static const struct {
	const char *word;
	const char *key;             /* in Pilot's dump */
	void (*print)(json_t *list); /* NULL: from Envoy */
} kinds[] = { { "listener", "listeners", ctl_print_listeners },
	{ "route", "routes", ctl_print_routes }, { "cluster", "clusters", ctl_print_clusters },
	{ "endpoint", "endpoints", ctl_print_endpoints }, { "secret", "secrets", NULL } };

static int from_pilot(const struct proxy_options *v, const char *proxy, const char *key,
	json_t **ret, struct mt_err *err)
{
	MT_AUTO(mt_strfreep) char *id = ctl_url_escape(proxy);
	MT_AUTO(mt_strfreep) char *name = *v->name ? ctl_url_escape(v->name) : NULL;
	MT_AUTO(mt_strfreep)
	char *url = mt_asprintf("%s/debug/config_dump?proxyID=%s&type=%s%s%s", v->pilot, id, key,
		name ? "&name=" : "", name ? name : "");
	json_t *all;
	int r = ctl_http_where(ctl_http_json("GET", url, &all, err), "Pilot", "--pilot", err);

	if (r < 0)
		return r;
	*ret = json_incref(json_object_get(all, key));
	json_decref(all);
	return *ret ? 0 : mt_fail(err, MT_INVALID, url, "the answer has no %s", key);
}

static void add_secret(struct ctl_table *t, json_t *s, const char *state)
{
	json_t *certs =
		json_object_get(json_object_get(json_object_get(s, "secret"), "tls_certificate"),
			"certificate_chain");
	ctl_table_cell(t, text(s, "name"));
	ctl_table_cell(t, state);
	ctl_table_cell(t, text(s, "last_updated"));
	ctl_table_cell(t, certs ? "certificate" : "validation context");
}

/* Where the proxy said, when it connected to Pilot, that its Envoy's admin interface is. */
static int admin_of(
	const struct proxy_options *v, const char *proxy, char **ret, struct mt_err *err)
{
	MT_AUTO(mt_strfreep) char *id = ctl_url_escape(proxy);
	MT_AUTO(mt_strfreep)
	char *url = mt_asprintf("%s/debug/provenance?proxyID=%s", v->pilot, id);
	json_t *all;
	int r = ctl_http_where(ctl_http_json("GET", url, &all, err), "Pilot", "--pilot", err);

	if (r < 0)
		return r;
	if (*text(all, "admin"))
		*ret = mt_strdup(text(all, "admin"));
	else
		r = mt_fail(err, MT_NOT_FOUND, "--admin",
			"%s does not say where its Envoy's admin interface is: say it here", proxy);
	json_decref(all);
	return r;
}

/* Envoy's own dump; keys are redacted by Envoy. */
static int secrets(const struct proxy_options *v, const char *proxy, struct mt_err *err)
{
	MT_AUTO(mt_strfreep) char *admin = *v->admin ? mt_strdup(v->admin) : NULL;

	if (!admin && admin_of(v, proxy, &admin, err) < 0)
		return err->code;
	MT_AUTO(mt_strfreep) char *url = mt_asprintf("http://%s/config_dump", admin);
	json_t *all, *part, *s;
	size_t i, k;
	int r = ctl_http_where(
		ctl_http_json("GET", url, &all, err), "an Envoy's admin interface", "--admin", err);

	if (r < 0)
		return r;
	if (output(all, v->output)) {
		struct ctl_table t;
		ctl_table_start(&t, "NAME|STATE|UPDATED|KIND");
		json_array_foreach(json_object_get(all, "configs"), i, part)
		{
			json_array_foreach(json_object_get(part, "dynamic_active_secrets"), k, s)
				add_secret(&t, s, "active");
			json_array_foreach(json_object_get(part, "dynamic_warming_secrets"), k, s)
				add_secret(&t, s, "warming");
		}
		ctl_table_print(&t);
	}
	json_decref(all);
	return 0;
}

static int config(
	const struct proxy_options *v, const char *kind, const char *proxy, struct mt_err *err)
{
	json_t *list;

	for (size_t i = 0; i < MT_ARRAY_SIZE(kinds); i++) {
		if (strcmp(kinds[i].word, kind) != 0 && strcmp(kinds[i].key, kind) != 0)
			continue;
		if (!kinds[i].print)
			return secrets(v, proxy, err);
		int r = from_pilot(v, proxy, kinds[i].key, &list, err);
		if (r < 0)
			return r;
		if (output(list, v->output))
			kinds[i].print(list);
		json_decref(list);
		return 0;
	}
	return mt_fail(
		err, MT_INVALID, kind, "is not listener, route, cluster, endpoint or secret");
}

int ctl_proxy_config(int argc, char **argv)
{
	struct proxy_options v = { 0 };
	struct mt_options *o = NULL;
	struct mt_err err = { 0 };
	const char *const *rest;
	int r = parse("proxy-config",
		"meltemi proxy-config {listener,route,cluster,endpoint,secret} PROXY: its resources, and the "
		"configuration objects behind each. PROXY is NAME.NAMESPACE as proxy-status shows it.",
		&v, argc, argv, &o);

	if (r < 0)
		return r == MT_CANCELLED ? 0 : 2;
	size_t n = mt_options_rest(o, &rest);
	if (n < 1 || n > 2 || (n < 2 && !(strncmp(rest[0], "secret", 6) == 0 && *v.admin))) {
		fprintf(stderr,
			"meltemi proxy-config: say what and of which proxy: "
			"meltemi proxy-config cluster productpage-v1.bookshop\n");
		r = 2;
	} else if (config(&v, rest[0], n > 1 ? rest[1] : "", &err) < 0) {
		r = ctl_fail("proxy-config", &err);
	}
	mt_options_free(o);
	return r;
}
