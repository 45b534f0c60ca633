/* Objects and JSON values as YAML in block style: what `meltemi get` prints and `apply` writes. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/schema/decode.h"
#include "common/schema/pb.h"
#include "common/schema/scalar.h"

static json_t *kv_json(const struct mt_kv *v, size_t n)
{
	json_t *j = json_object();

	for (size_t i = 0; i < n; i++)
		json_object_set_new(j, v[i].key, json_string(v[i].value));
	return j;
}

json_t *mt_object_to_json(const struct mt_object *o)
{
	json_t *meta = json_pack("{s:s}", "name", o->name);
	char api[128], when[48];

	if (*o->ns)
		json_object_set_new(meta, "namespace", json_string(o->ns));
	if (o->nlabels)
		json_object_set_new(meta, "labels", kv_json(o->labels, o->nlabels));
	if (o->nannotations)
		json_object_set_new(meta, "annotations", kv_json(o->annotations, o->nannotations));
	if (o->generation)
		json_object_set_new(meta, "generation", json_integer((json_int_t)o->generation));
	if (o->created_ns) {
		mt_time_format(o->created_ns, when, sizeof(when));
		json_object_set_new(meta, "creationTimestamp", json_string(when));
	}
	snprintf(api, sizeof(api), "%s/%.*s", o->kind->group, (int)strcspn(o->kind->versions, ","),
		o->kind->versions);
	return json_pack("{s:s, s:s, s:o, s:o}", "apiVersion", api, "kind", o->kind->kind,
		"metadata", meta, "spec", mt_pb_to_json(o->spec));
}

/* A word may stand without quotes when every reader takes it for the same string. */
static bool plain_ok(const char *s)
{
	size_t n = strlen(s);

	if (mt_scalar_class(s, n) != MT_SCALAR_STRING || (n == 1 && strchr("yYnN", *s)))
		return false;
	if (!isalnum((unsigned char)*s) && !strchr("/_", *s))
		return false;
	for (const char *p = s; *p; p++) {
		if (isalnum((unsigned char)*p) || strchr("/_-.@+=,()*$%;", *p))
			continue;
		if (*p == ':' && p[1] && p[1] != ' ')
			continue;
		if (*p == ' ' && p[1] && p[1] != '#' && p[1] != ' ')
			continue;
		return false;
	}
	return true;
}

static void string_write(struct mt_buf *b, const char *s)
{
	if (plain_ok(s)) {
		mt_buf_adds(b, s);
		return;
	}
	json_t *j = json_string(s);
	char *text = json_dumps(j, JSON_ENCODE_ANY);
	mt_buf_adds(b, text);
	free(text);
	json_decref(j);
}

static void scalar_write(struct mt_buf *b, const json_t *j)
{
	if (json_is_string(j)) {
		string_write(b, json_string_value(j));
		return;
	}
	if (json_is_real(j)) { /* the shortest that reads back as the same */
		char num[40];
		for (int digits = 15; digits <= 17; digits++) {
			snprintf(num, sizeof(num), "%.*g", digits, json_real_value(j));
			if (strtod(num, NULL) == json_real_value(j))
				break;
		}
		mt_buf_printf(b, "%s%s", num, strpbrk(num, ".e") ? "" : ".0");
		return;
	}
	char *text = json_dumps(j, JSON_ENCODE_ANY);
	mt_buf_adds(b, text);
	free(text);
}

static void indent(struct mt_buf *b, int level)
{
	mt_buf_printf(b, "%*s", level * 2, "");
}

static void value_write(struct mt_buf *b, const json_t *j, int level, bool in_list);

static void map_write(struct mt_buf *b, const json_t *j, int level, bool in_list)
{
	const char *key;
	json_t *value;
	bool first = true;

	json_object_foreach((json_t *)j, key, value)
	{
		if (!(first && in_list))
			indent(b, level);
		first = false;
		string_write(b, key);
		mt_buf_addc(b, ':');
		value_write(b, value, level, false);
	}
}

/* Stands after "key:" or "-". */
static void value_write(struct mt_buf *b, const json_t *j, int level, bool in_list)
{
	size_t n = json_is_object(j) ? json_object_size(j)
		: json_is_array(j)   ? json_array_size(j)
				     : 0;

	if (!n) {
		mt_buf_addc(b, ' ');
		if (json_is_object(j))
			mt_buf_adds(b, "{}");
		else if (json_is_array(j))
			mt_buf_adds(b, "[]");
		else
			scalar_write(b, j);
		mt_buf_addc(b, '\n');
		return;
	}
	if (json_is_object(j)) {
		mt_buf_addc(b, in_list ? ' ' : '\n');
		map_write(b, j, level + 1, in_list);
		return;
	}
	mt_buf_addc(b, '\n');
	for (size_t i = 0; i < n; i++) {
		indent(b, level + in_list);
		mt_buf_addc(b, '-');
		value_write(b, json_array_get(j, i), level + in_list, true);
	}
}

char *mt_json_to_yaml(const json_t *doc)
{
	struct mt_buf b = { 0 };

	if (json_is_object(doc) && json_object_size(doc))
		map_write(&b, doc, 0, false);
	else if (json_is_array(doc) && json_array_size(doc))
		for (size_t i = 0; i < json_array_size(doc); i++) {
			mt_buf_addc(&b, '-');
			value_write(&b, json_array_get(doc, i), 0, true);
		}
	else
		value_write(&b, doc, 0, false);
	return mt_buf_take(&b, NULL);
}
