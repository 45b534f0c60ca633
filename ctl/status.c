#include "ctl/status.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "ctl/http.h"

static const char *text(json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s ? s : "";
}

int ctl_status_get(const char *pilot, const char *kind, const char *ns, const char *name,
	json_t **ret, struct mt_err *err)
{
	MT_AUTO(mt_strfreep)
	char *url = kind
		? mt_asprintf("%s/debug/status?kind=%s&ns=%s&name=%s", pilot, kind, ns, name)
		: mt_asprintf("%s/debug/status", pilot);
	return ctl_http_where(ctl_http_json("GET", url, ret, err), "Pilot", "--pilot", err);
}

json_t *ctl_status_find(json_t *page, const char *kind, const char *ns, const char *name)
{
	json_t *o;
	size_t i;

	json_array_foreach(json_object_get(page, "objects"), i, o)
	{
		if (strcmp(text(o, "kind"), kind) == 0 && strcmp(text(o, "namespace"), ns) == 0 &&
			strcmp(text(o, "name"), name) == 0)
			return o;
	}
	return NULL;
}

bool ctl_status_reads(json_t *page, const char *kind)
{
	json_t *k;
	size_t i;

	json_array_foreach(json_object_get(page, "kinds"), i, k)
	{
		if (strcmp(json_string_value(k), kind) == 0)
			return true;
	}
	return false;
}

static void add(struct mt_buf *b, const char *s)
{
	mt_buf_printf(b, "%s%s", b->n ? "; " : "", s);
}

static void add_doubt(struct mt_buf *b, json_t *doubt)
{
	const char *words = text(doubt, "words");

	mt_buf_printf(b, "%sproxies of Envoy %s %s %s %s%s%s", b->n ? "; " : "",
		text(doubt, "envoy"), *words ? "do not get it in" : "have not answered about",
		text(doubt, "type"), text(doubt, "resource"), *words ? ": " : "", words);
}

const char *ctl_status_state(json_t *entry, char **ret_why)
{
	json_t *proxies = json_object_get(entry, "proxies"), *lagging, *x;
	struct mt_buf b = { 0 };
	size_t i;

	if (*text(entry, "refused"))
		mt_buf_printf(&b, "a proxy refused it: %s", text(entry, "refused"));
	if (*text(entry, "pending"))
		add(&b, text(entry, "pending"));
	json_array_foreach(json_object_get(entry, "refusedBy"), i, x) add_doubt(&b, x);
	json_array_foreach(json_object_get(entry, "unanswered"), i, x) add_doubt(&b, x);
	lagging = json_object_get(proxies, "lagging");
	json_array_foreach(lagging, i, x) mt_buf_printf(&b, "%s%s",
		i             ? ", "
			: b.n ? "; not yet at "
			      : "not yet at ",
		json_string_value(x));
	*ret_why = mt_strdup(mt_buf_str(&b));
	mt_buf_clear(&b);
	return text(entry, "state");
}

char *ctl_status_notes(json_t *entry, const char *sep)
{
	struct mt_buf b = { 0 };
	json_t *n;
	size_t i;

	json_array_foreach(json_object_get(entry, "notes"), i, n)
	{
		json_t *proxies = json_object_get(n, "proxies");
		mt_buf_printf(&b, "%s%s: %s%s%s", sep, text(n, "kind"), text(n, "path"),
			*text(n, "path") ? ": " : "", text(n, "note"));
		if (proxies)
			mt_buf_printf(&b, " (%lld %s)", (long long)json_integer_value(proxies),
				json_integer_value(proxies) == 1 ? "proxy" : "proxies");
		if (json_object_get(n, "more"))
			mt_buf_printf(&b, ", and %lld more like this",
				(long long)json_integer_value(json_object_get(n, "more")));
	}
	char *all = mt_strdup(mt_buf_str(&b));
	mt_buf_clear(&b);
	return all;
}
