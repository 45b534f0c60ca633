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

static void print_status(json_t *proxies)
{
	static const char *const types[] = { "CDS", "EDS", "LDS", "RDS" };
	json_t *p;
	size_t i;

	printf("%-32s %-10s %-9s %-9s %-9s %-9s %s\n", "PROXY", "ENVOY", types[0], types[1],
		types[2], types[3], "IDENTITY");
	json_array_foreach(proxies, i, p)
	{
		json_t *all = json_object_get(p, "types");
		printf("%-32s %-10s", text(p, "proxy"), text(p, "envoy"));
		for (size_t t = 0; t < MT_ARRAY_SIZE(types); t++)
			printf(" %-9s", text(json_object_get(all, types[t]), "status"));
		printf(" %s\n", text(p, "identity"));
		for (size_t t = 0; t < MT_ARRAY_SIZE(types); t++) {
			const char *words = text(json_object_get(all, types[t]), "message");
			if (*words)
				printf("    %s: %s\n", types[t], words);
		}
	}
}

static int parse(const char *name, const char *usage, struct proxy_options *v, int argc,
	char **argv, struct mt_options **o)
{
	struct mt_err err = { 0 };
	int r = mt_options_parse("ctl", usage, rows, MT_ARRAY_SIZE(rows), v, argc, argv, o, &err);

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

int ctl_proxy_status(int argc, char **argv)
{
	struct proxy_options v;
	struct mt_options *o = NULL;
	struct mt_err err = { 0 };
	json_t *all = NULL;
	int r = parse("proxy-status",
		"meltemi proxy-status: what each proxy was sent and acknowledged", &v, argc, argv,
		&o);

	if (r < 0)
		return r == MT_CANCELLED ? 0 : 2;
	MT_AUTO(mt_strfreep) char *url = mt_asprintf("%s/debug/syncz", v.pilot);
	if ((r = ctl_http_json("GET", url, &all, &err)) < 0)
		r = ctl_fail("proxy-status", &err);
	else if (output(all, v.output))
		print_status(all);
	json_decref(all);
	mt_options_free(o);
	return r < 0 ? 1 : r;
}

/* ---- proxy-config ---- */

static const struct {
	const char *word;
	const char *key; /* in Pilot's dump; NULL: from Envoy */
} kinds[] = { { "listener", "listeners" }, { "route", "routes" }, { "cluster", "clusters" },
	{ "endpoint", "endpoints" }, { "secret", NULL } };

static void join_objects(json_t *objects, struct mt_buf *out)
{
	json_t *o;
	size_t i;

	json_array_foreach(objects, i, o)
		mt_buf_printf(out, "%s%s", i ? ", " : "", json_string_value(o));
}

static void print_resources(json_t *list)
{
	json_t *r;
	size_t i;

	printf("%-64s %-17s %8s  %s\n", "NAME", "VERSION", "BYTES", "OBJECTS");
	json_array_foreach(list, i, r)
	{
		struct mt_buf objects = { 0 };
		join_objects(json_object_get(r, "objects"), &objects);
		printf("%-64s %-17s %8lld  %s\n", text(r, "name"), text(r, "version"),
			(long long)json_integer_value(json_object_get(r, "bytes")),
			mt_buf_str(&objects));
		mt_buf_clear(&objects);
	}
}

static int from_pilot(const struct proxy_options *v, const char *proxy, const char *key,
	json_t **ret, struct mt_err *err)
{
	MT_AUTO(mt_strfreep) char *id = ctl_url_escape(proxy);
	MT_AUTO(mt_strfreep) char *name = *v->name ? ctl_url_escape(v->name) : NULL;
	MT_AUTO(mt_strfreep)
	char *url = mt_asprintf("%s/debug/config_dump?proxyID=%s%s%s", v->pilot, id,
		name ? "&name=" : "", name ? name : "");
	json_t *all;
	int r = ctl_http_json("GET", url, &all, err);

	if (r < 0)
		return r;
	*ret = json_incref(json_object_get(all, key));
	json_decref(all);
	return *ret ? 0 : mt_fail(err, MT_INVALID, url, "the answer has no %s", key);
}

static void print_secret(json_t *s, const char *state)
{
	json_t *certs =
		json_object_get(json_object_get(json_object_get(s, "secret"), "tls_certificate"),
			"certificate_chain");
	printf("%-24s %-10s %-28s %s\n", text(s, "name"), state, text(s, "last_updated"),
		certs ? "certificate" : "validation context");
}

/* Envoy's own dump; keys are redacted by Envoy. */
static int secrets(const struct proxy_options *v, struct mt_err *err)
{
	if (!*v->admin)
		return mt_fail(err, MT_INVALID, "--admin",
			"secrets are read from Envoy: say its admin address");
	MT_AUTO(mt_strfreep) char *url = mt_asprintf("http://%s/config_dump", v->admin);
	json_t *all, *part, *s;
	size_t i, k;
	int r = ctl_http_json("GET", url, &all, err);

	if (r < 0)
		return r;
	if (output(all, v->output)) {
		printf("%-24s %-10s %-28s %s\n", "NAME", "STATE", "UPDATED", "KIND");
		json_array_foreach(json_object_get(all, "configs"), i, part)
		{
			json_array_foreach(json_object_get(part, "dynamic_active_secrets"), k, s)
				print_secret(s, "active");
			json_array_foreach(json_object_get(part, "dynamic_warming_secrets"), k, s)
				print_secret(s, "warming");
		}
	}
	json_decref(all);
	return 0;
}

static int config(
	const struct proxy_options *v, const char *kind, const char *proxy, struct mt_err *err)
{
	json_t *list;

	for (size_t i = 0; i < MT_ARRAY_SIZE(kinds); i++) {
		if (strncmp(kinds[i].word, kind, strlen(kinds[i].word)) != 0)
			continue;
		if (!kinds[i].key)
			return secrets(v, err);
		int r = from_pilot(v, proxy, kinds[i].key, &list, err);
		if (r < 0)
			return r;
		if (output(list, v->output))
			print_resources(list);
		json_decref(list);
		return 0;
	}
	return mt_fail(
		err, MT_INVALID, kind, "is not listener, route, cluster, endpoint or secret");
}

int ctl_proxy_config(int argc, char **argv)
{
	struct proxy_options v;
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
	if (n < 1 || (n < 2 && strncmp(rest[0], "secret", 6) != 0)) {
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
