/* workloads.yaml of a sample: what runs where. */
#include <string.h>

#include "common/base/file.h"
#include "common/base/strs.h"
#include "common/schema/decode.h"
#include "ctl/dev/dev.h"

static int diags_fail(struct mt_diags *diags, const char *path, struct mt_err *err)
{
	MT_AUTO(mt_strfreep) char *text = diags->n ? mt_diag_format(&diags->v[0]) : NULL;

	mt_diags_clear(diags);
	return mt_fail(err, MT_INVALID, path, "%s", text ? text : "cannot be read");
}

/* A text that begins with the sample's prefix, under another one. */
static json_t *moved(const char *to, const json_t *v, const char *from)
{
	const char *s = json_string_value(v);

	if (!s || !mt_str_prefix(s, from) || s[strlen(from)] != '.')
		return NULL;
	MT_AUTO(mt_strfreep) char *text = mt_asprintf("%s%s", to, s + strlen(from));
	return json_string(text);
}

static void readdress(const char *to, json_t *node, const char *from)
{
	json_t *v, *new;
	const char *key;
	size_t i;

	json_array_foreach(node, i, v)
	{
		if ((new = moved(to, v, from)))
			json_array_set_new(node, i, new);
		else
			readdress(to, v, from);
	}
	json_object_foreach(node, key, v)
	{
		if ((new = moved(to, v, from)))
			json_object_set_new(node, key, new);
		else
			readdress(to, v, from);
	}
}

static int workload(struct dev *d, size_t i, json_t *row, const char *path, struct mt_err *err)
{
	struct dev_workload w;
	json_error_t why;

	if (json_unpack_ex(row, &why, JSON_STRICT, "{s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o}",
		    "name", &w.name, "namespace", &w.ns, "serviceAccount", &w.service_account,
		    "type", &w.type, "address", &w.address, "inside", &w.inside, "labels",
		    &w.labels, "command", &w.command) < 0)
		return mt_fail(err, MT_INVALID, path, "workloads[%zu]: %s", i, why.text);
	mt_vec_push(&d->workloads, w);
	return 0;
}

int dev_workloads_load(struct dev *d, struct mt_err *err)
{
	MT_AUTO(mt_strfreep) char *path = mt_asprintf("%s/workloads.yaml", d->sample);
	MT_AUTO(mt_buf_clear) struct mt_buf text = { 0 };
	struct mt_diags diags = { 0 };
	size_t i;
	json_t *row;
	int r = mt_file_read(path, 1 << 20, &text, err);

	if (r < 0)
		return r;
	if (mt_yaml_to_json(path, text.p, text.n, NULL, &d->doc, &diags) < 0)
		return diags_fail(&diags, path, err);
	const char *prefix = json_string_value(json_object_get(d->doc, "prefix"));
	if (!prefix)
		return mt_fail(err, MT_INVALID, path, "prefix: is missing");
	json_t *rows = json_object_get(d->doc, "workloads");
	if (!json_is_array(rows))
		return mt_fail(err, MT_INVALID, path, "workloads: is missing");
	readdress(d->opts.prefix, rows, prefix);
	json_array_foreach(rows, i, row) if ((r = workload(d, i, row, path, err)) < 0) return r;
	return 0;
}
