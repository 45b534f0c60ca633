/* Golden cases: each folder of tests/golden has in.yaml (configuration), proxy.json (a discovery node,
 * or an array of them) and expected.json (what each proxy gets, as canonical JSON). An empty file
 * redis-filter beside them switches that option of Pilot on.
 *
 *   golden-run DIR [CASE...]      compares; GOLDEN_UPDATE=1 writes expected.json instead
 *
 * Beyond the text, each case checks what the contract of pilot/translate promises: an order of arrival
 * of the configuration that is turned round gives the same, a route configuration put together from
 * its header and packed virtual hosts is the whole, one resource planned by its name is the same one,
 * and building twice gives equal bytes. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/file.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/base/vec.h"
#include "common/schema/decode.h"
#include "common/schema/pb.h"
#include "pilot/translate/translate.h"

struct input {
	struct mt_objects objs;
	struct pilot_services_in svcs;
	struct pilot_config *configs;
	size_t nconfigs;
	bool redis_filter;
};

static int fail(const char *name, const char *what)
{
	fprintf(stderr, "golden: %s: %s\n", name, what);
	return -1;
}

static int read_input(const char *name, const char *path, struct input *in)
{
	struct mt_buf text = { 0 };
	struct mt_diags diags = { 0 };
	struct mt_err err = { 0 };
	int r = mt_file_read(path, 1 << 20, &text, &err);
	if (r == 0)
		r = mt_decode_text(path, mt_buf_str(&text), text.n, NULL, &in->objs, &diags);
	for (size_t i = 0; i < diags.n; i++) {
		char *s = mt_diag_format(&diags.v[i]);
		fprintf(stderr, "%s\n", s);
		mt_free(s);
	}
	in->configs = mt_reallocarray(NULL, in->objs.n + 1, sizeof(*in->configs));
	struct pilot_workload *workloads =
		mt_reallocarray(NULL, in->objs.n + 1, sizeof(*workloads));
	size_t nworkloads = 0;
	for (size_t i = 0; r == 0 && i < in->objs.n; i++)
		if (in->objs.v[i]->kind->id == MT_KIND_WORKLOAD_ENTRY)
			workloads[nworkloads++] =
				(struct pilot_workload){ (uint32_t)i + 1, in->objs.v[i], false };
	for (size_t i = 0; r == 0 && i < in->objs.n; i++) {
		const struct mt_object *o = in->objs.v[i];
		if (strcmp(o->kind->kind, "ServiceEntry") == 0)
			r = pilot_service_entry(
				o, (uint32_t)i + 1, workloads, nworkloads, &in->svcs, &err);
		else
			in->configs[in->nconfigs++] = (struct pilot_config){ (uint32_t)i + 1, o };
	}
	mt_free(workloads);
	mt_buf_clear(&text);
	mt_diags_clear(&diags);
	return r < 0 ? fail(name, *err.msg ? err.msg : "in.yaml does not decode") : 0;
}

static void clear_input(struct input *in)
{
	mt_objects_clear(&in->objs);
	pilot_services_in_clear(&in->svcs);
	mt_free(in->configs);
}

static struct pilot_world *build_world(const struct input *in, bool backwards)
{
	struct pilot_config *c = mt_reallocarray(NULL, in->nconfigs + 1, sizeof(*c));
	struct pilot_service_in *s = mt_reallocarray(NULL, in->svcs.n + 1, sizeof(*s));
	for (size_t i = 0; i < in->nconfigs; i++)
		c[i] = in->configs[backwards ? in->nconfigs - 1 - i : i];
	for (size_t i = 0; i < in->svcs.n; i++)
		s[i] = in->svcs.v[backwards ? in->svcs.n - 1 - i : i];
	struct pilot_mesh_local local = { .control_plane_tls = true,
		.redis_filter = in->redis_filter };
	struct pilot_world_in win = { .domain = "cluster.local",
		.root_namespace = "istio-system",
		.trust_domain = "cluster.local",
		.local = &local,
		.configs = c,
		.nconfigs = in->nconfigs,
		.services = s,
		.nservices = in->svcs.n };
	struct pilot_world *w = pilot_world_build(&win);
	mt_free(c);
	mt_free(s);
	return w;
}

static bool equal(const ProtobufCMessage *a, const ProtobufCMessage *b)
{
	struct mt_buf x = { 0 }, y = { 0 };
	mt_pb_pack(a, &x);
	mt_pb_pack(b, &y);
	bool same = x.n == y.n && (!x.n || memcmp(x.p, y.p, x.n) == 0);
	mt_buf_clear(&x);
	mt_buf_clear(&y);
	return same;
}

/* Header, then field 2 for each virtual host: the bytes of the whole. */
static int check_rope(const char *name, struct pilot_job *j, const struct pilot_item *it,
	const ProtobufCMessage *whole, struct mt_arena *a)
{
	struct pilot_route_plan rp;
	struct mt_buf b = { 0 }, v = { 0 };
	struct mt_err err;
	pilot_plan_route(j, it, &rp);
	mt_pb_pack(rp.header.msg, &b);
	for (size_t i = 0; i < rp.vhosts.n; i++) {
		struct pilot_built built;
		pilot_build(j, &rp.vhosts.v[i], &built);
		v.n = 0;
		mt_pb_pack(built.msg, &v);
		mt_buf_addc(&b, 0x12);
		for (size_t n = v.n;; n >>= 7) {
			mt_buf_addc(&b, (char)((n & 0x7f) | (n > 0x7f ? 0x80 : 0)));
			if (n <= 0x7f)
				break;
		}
		mt_buf_add(&b, v.p, v.n);
	}
	ProtobufCMessage *m = mt_pb_unpack(whole->descriptor, a, b.p, b.n, &err);
	int r = m && equal(m, whole) ? 0
				     : fail(name, "rope of a route configuration is not the whole");
	mt_buf_clear(&b);
	mt_buf_clear(&v);
	return r;
}

static int table(
	const char *name, struct pilot_job *j, enum pilot_table t, struct mt_arena *a, json_t *out)
{
	struct pilot_plan p;
	pilot_plan(j, t, &p);
	for (size_t i = 0; i < p.n; i++) {
		struct pilot_built b, again;
		struct pilot_item one;
		pilot_build(j, &p.v[i], &b);
		if (!pilot_plan_one(j, t, p.v[i].name, &one) || one.fp != p.v[i].fp)
			return fail(name, "a resource planned by name differs");
		pilot_build(j, &one, &again);
		if (!equal(b.msg, again.msg))
			return fail(name, "built twice, two results");
		if (t == PILOT_ROUTES && check_rope(name, j, &p.v[i], b.msg, a) < 0)
			return -1;
		json_t *ids = json_array();
		for (size_t k = 0; k < b.nprov; k++)
			json_array_append_new(ids, json_integer(b.prov[k]));
		json_array_append_new(out,
			json_pack("{s:s, s:o, s:o}", "name", b.name, "from", ids, "resource",
				mt_pb_to_json(b.msg)));
	}
	return 0;
}

static json_t *notes_json(const struct pilot_notes *n)
{
	json_t *out = json_array();
	for (size_t i = 0; i < n->n; i++) {
		char *s = mt_asprintf("%u %s %s: %s", n->v[i].id,
			pilot_note_kind_name(n->v[i].kind), n->v[i].path, n->v[i].text);
		bool dup = false;
		for (size_t k = 0; k < json_array_size(out); k++)
			dup = dup || strcmp(json_string_value(json_array_get(out, k)), s) == 0;
		if (!dup)
			json_array_append_new(out, json_string(s));
		mt_free(s);
	}
	return out;
}

static const struct {
	enum pilot_table t;
	const char *key;
} tables[] = {
	{ PILOT_CLUSTERS, "clusters" },
	{ PILOT_CLUSTERS_INBOUND, "clusters" },
	{ PILOT_ENDPOINTS, "endpoints" },
	{ PILOT_LISTENERS, "listeners" },
	{ PILOT_LISTENERS_INBOUND, "listeners" },
	{ PILOT_ROUTES, "routes" },
	{ PILOT_ROUTES_INBOUND, "routes" },
};

/* NULL on failure. */
static json_t *translate(const char *name, const struct pilot_world *w, const json_t *node)
{
	struct mt_arena *a = mt_arena_new(0);
	struct mt_diags diags = { 0 };
	struct mt_err err = { 0 };
	struct pilot_proxy *p = NULL;
	json_t *out = NULL;
	ProtobufCMessage *n = mt_pb_from_json(&core__node__descriptor, node, "node", a, &diags);
	if (!n || pilot_proxy_new((const Core__Node *)n, &p, &err) < 0) {
		fail(name, n ? err.msg : "proxy.json is not a node");
		goto done;
	}
	struct pilot_job *j = pilot_job_new(w, p, a);
	struct pilot_class_key keys[PILOT_TABLES];
	pilot_class_keys(w, p, a, keys);
	out = json_pack("{s:s, s:s}", "proxy", p->node_id, "class", keys[PILOT_CLUSTERS].text);
	for (size_t i = 0; i < MT_ARRAY_SIZE(tables); i++) {
		json_t *list = json_object_get(out, tables[i].key);
		if (!list) {
			list = json_array();
			json_object_set_new(out, tables[i].key, list);
		}
		if (table(name, j, tables[i].t, a, list) < 0) {
			json_decref(out);
			out = NULL;
			goto done;
		}
	}
	struct pilot_notes notes;
	pilot_job_all_notes(j, &notes);
	json_object_set_new(out, "notes", notes_json(&notes));
done:
	pilot_proxy_unref(p);
	mt_diags_clear(&diags);
	mt_arena_free(a);
	return out;
}

static char *result(const char *name, const struct input *in, json_t *nodes, bool backwards)
{
	struct pilot_world *w = build_world(in, backwards);
	json_t *proxies = json_array();
	char *text = NULL;
	size_t n = json_is_array(nodes) ? json_array_size(nodes) : 1;
	for (size_t i = 0; i < n; i++) {
		json_t *r =
			translate(name, w, json_is_array(nodes) ? json_array_get(nodes, i) : nodes);
		if (!r)
			goto done;
		json_array_append_new(proxies, r);
	}
	json_t *all = json_pack(
		"{s:O, s:o}", "proxies", proxies, "world_notes", notes_json(pilot_world_notes(w)));
	text = json_dumps(all, JSON_INDENT(2) | JSON_SORT_KEYS);
	json_decref(all);
done:
	json_decref(proxies);
	pilot_world_unref(w);
	return text;
}

static int compare(const char *name, const char *path, const char *text)
{
	struct mt_buf want = { 0 };
	struct mt_err err;
	int r = 0;
	if (getenv("GOLDEN_UPDATE")) {
		char *line = mt_asprintf("%s\n", text);
		r = mt_file_replace(path, line, strlen(line), 0644, &err);
		mt_free(line);
		return r < 0 ? fail(name, err.msg) : 0;
	}
	if (mt_file_read(path, 64 << 20, &want, &err) < 0)
		r = fail(name, "no expected.json (GOLDEN_UPDATE=1 writes it)");
	else if (want.n != strlen(text) + 1 || memcmp(want.p, text, strlen(text)) != 0) {
		size_t line = 1;
		for (size_t i = 0; i < want.n && text[i] == want.p[i]; i++)
			line += text[i] == '\n';
		char *got = mt_asprintf("/tmp/golden-%s.json", name);
		mt_file_replace(got, text, strlen(text), 0644, &err);
		fprintf(stderr, "golden: %s: differs from expected.json at line %zu; got %s\n",
			name, line, got);
		mt_free(got);
		r = -1;
	}
	mt_buf_clear(&want);
	return r;
}

static int run_case(const char *dir, const char *name)
{
	struct input in = { 0 };
	char *yaml = mt_asprintf("%s/%s/in.yaml", dir, name);
	char *proxy = mt_asprintf("%s/%s/proxy.json", dir, name);
	char *expected = mt_asprintf("%s/%s/expected.json", dir, name);
	json_error_t je;
	json_t *nodes = json_load_file(proxy, 0, &je);
	int r = nodes ? read_input(name, yaml, &in) : fail(name, je.text);
	char *redis = mt_asprintf("%s/%s/redis-filter", dir, name);
	in.redis_filter = access(redis, F_OK) == 0;
	mt_free(redis);
	if (r == 0) {
		char *text = result(name, &in, nodes, false),
		     *back = result(name, &in, nodes, true);
		if (!text || !back)
			r = -1;
		else if (strcmp(text, back) != 0)
			r = fail(name, "the order of arrival changes the result");
		else
			r = compare(name, expected, text);
		free(text);
		free(back);
	}
	json_decref(nodes);
	clear_input(&in);
	mt_free(yaml);
	mt_free(proxy);
	mt_free(expected);
	return r;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_case(const struct dirent *e)
{
	return e->d_type == DT_DIR && e->d_name[0] != '.';
}

int main(int argc, char **argv)
{
	struct dirent **list = NULL;
	int failed = 0, ran = 0;
	const char *dir = argc > 1 ? argv[1] : "tests/golden";
	if (argc > 2) {
		for (int i = 2; i < argc; i++, ran++)
			failed += run_case(dir, argv[i]) < 0;
	} else {
		int n = scandir(dir, &list, is_case, by_name);
		for (int i = 0; i < n; i++) {
			ran++;
			failed += run_case(dir, list[i]->d_name) < 0;
			free(list[i]);
		}
		free(list);
	}
	printf("golden: %d cases, %d failed\n", ran, failed);
	return failed || !ran;
}
