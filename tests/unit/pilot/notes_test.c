/* Notes of translation stay beside what carries them, and go with it. */
#include "tests/unit/pilot/push_rig.h"

#include "pilot/push/view.h"

#define RULE_OF(name, host, more)                                                                  \
	"apiVersion: networking.istio.io/v1alpha3\nkind: VirtualService\n"                         \
	"metadata: {name: " name ", namespace: default}\n"                                         \
	"spec: {hosts: [" host "], http: [{route: [{destination: {host: a}}]}" more "]}\n---\n"
#define NEVER_REACHED ", {route: [{destination: {host: a}}]}"
#define TCP(name)                                                                                  \
	"apiVersion: networking.istio.io/v1alpha3\nkind: ServiceEntry\n"                           \
	"metadata: {name: " name ", namespace: default}\n"                                         \
	"spec: {hosts: [" name ".default.svc.cluster.local], location: MESH_INTERNAL, "            \
	"resolution: STATIC, ports: [{number: 9000, name: p, protocol: TCP}]}\n---\n"

struct said {
	char text[4096];
	unsigned n, classes, proxies;
};

static void one(void *ctx, const struct pilot_note *n, unsigned classes, unsigned proxies)
{
	struct said *s = ctx;
	size_t at = strlen(s->text);
	s->n++;
	s->classes = classes;
	s->proxies = proxies;
	snprintf(s->text + at, sizeof(s->text) - at, "%s %s %s\n", pilot_note_kind_name(n->kind),
		n->path, n->text);
}

static void look(struct rig *r, void *arg)
{
	struct said *s = arg;
	*s = (struct said){ 0 };
	struct mt_arena *a = mt_arena_new(0);
	push_each_note(r->push, NULL, a, one, s);
	mt_arena_free(a);
}

static void look_first(struct rig *r, void *arg)
{
	struct said *s = arg;
	*s = (struct said){ 0 };
	struct mt_arena *a = mt_arena_new(0);
	push_each_note(r->push, push_proxies(r->push), a, one, s);
	mt_arena_free(a);
}

static struct said said(struct rig *r)
{
	struct said s;
	on_loop(r, look, &s);
	return s;
}

static struct fake_envoy *connected(struct rig *r, const char *id)
{
	struct fake_envoy *e = proxy(r, true, id);
	ck_assert(fake_wait_count(e, FAKE_RDS, 1));
	return e;
}

START_TEST(notes_go_with_what_carries_them)
{
	struct rig *r = rig_new();
	struct said s;

	publish_yaml(r, SERVICE("a", "10.1.0.1") TCP("x") TCP("y") RULE_OF("v", "a", NEVER_REACHED),
		MT_KIND_SERVICE_ENTRY);
	s = said(r);
	ck_assert_uint_eq(s.n, 0); /* nobody is there */

	struct fake_envoy *e1 = connected(r, NODE(1)), *e2 = connected(r, NODE(2));
	s = said(r);
	/* One of a virtual host's build, one of the plan of listeners: each once, of both proxies. */
	ck_assert_msg(s.n == 2 && s.proxies == 2 && strstr(s.text, "ignored spec.http[1]") &&
			strstr(s.text, "shadowed spec.ports"),
		"%u %u: %s", s.n, s.proxies, s.text);
	on_loop(r, look_first, &s);
	ck_assert_msg(s.n == 2 && s.proxies == 1, "%u %u: %s", s.n, s.proxies, s.text);

	/* What has nothing to do with them changes. */
	publish_yaml(r,
		SERVICE("a", "10.1.0.1") TCP("x") TCP("y") RULE_OF("v", "a", NEVER_REACHED)
			RULE_OF("w", "elsewhere.example.com", ""),
		MT_KIND_VIRTUAL_SERVICE);
	s = said(r);
	ck_assert_msg(s.n == 2 && s.proxies == 2, "%u %u: %s", s.n, s.proxies, s.text);

	publish_yaml(r, SERVICE("a", "10.1.0.1") TCP("x") TCP("y") RULE_OF("v", "a", ""),
		MT_KIND_VIRTUAL_SERVICE);
	s = said(r);
	ck_assert_msg(s.n == 1 && strstr(s.text, "shadowed spec.ports"), "%s", s.text);
	publish_yaml(
		r, SERVICE("a", "10.1.0.1") TCP("x") RULE_OF("v", "a", ""), MT_KIND_SERVICE_ENTRY);
	s = said(r);
	ck_assert_msg(s.n == 0, "%s", s.text);
	fake_envoy_free(e1);
	fake_envoy_free(e2);
	rig_free(r);
}
END_TEST

#define PATCH(service)                                                                             \
	"apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\n"                            \
	"metadata: {name: p, namespace: default}\n"                                                \
	"spec: {configPatches: [{applyTo: CLUSTER, match: {cluster: {service: " service "}}, "     \
	"patch: {operation: MERGE, value: {alt_stat_name: x}}}]}\n---\n"

START_TEST(a_patch_that_changes_nothing)
{
	struct rig *r = rig_new();
	struct said s;

	publish_yaml(r, SERVICE("a", "10.1.0.1") PATCH("nobody.default"), MT_KIND_ENVOY_FILTER);
	struct fake_envoy *e1 = connected(r, NODE(1)), *e2 = connected(r, NODE(2));
	s = said(r);
	ck_assert_msg(s.n == 1 && s.proxies == 2 &&
			strstr(s.text, "ignored spec.configPatches[0] changes nothing:"),
		"%u %u: %s", s.n, s.proxies, s.text);
	publish_yaml(r, SERVICE("a", "10.1.0.1") PATCH("a.default.svc.cluster.local"),
		MT_KIND_ENVOY_FILTER);
	s = said(r);
	ck_assert_msg(s.n == 0, "%s", s.text);
	/* What it changed stays as it is; another table is made again. */
	publish_yaml(r, SERVICE("a", "10.1.0.1") PATCH("a.default.svc.cluster.local") RULE("1s"),
		MT_KIND_VIRTUAL_SERVICE);
	s = said(r);
	ck_assert_msg(s.n == 0, "%s", s.text);
	fake_envoy_free(e1);
	fake_envoy_free(e2);
	rig_free(r);
}
END_TEST

#define NAMED                                                                                      \
	"apiVersion: networking.istio.io/v1alpha3\nkind: ServiceEntry\n"                           \
	"metadata: {name: n, namespace: default}\n"                                                \
	"spec: {hosts: [n.example.com], location: MESH_EXTERNAL, resolution: STATIC, "             \
	"addresses: [240.1.2.3], ports: [{number: 443, name: tls, protocol: TLS}], "               \
	"endpoints: [{address: 10.1.0.9}]}\n---\n"
#define TO_NAMED                                                                                   \
	"{match: [{sniHosts: [n.example.com]}], route: [{destination: {host: n.example.com}}]}"
#define SNI(rules)                                                                                 \
	"apiVersion: networking.istio.io/v1alpha3\nkind: VirtualService\n"                         \
	"metadata: {name: s, namespace: default}\n"                                                \
	"spec: {hosts: [n.example.com], tls: [" rules "]}\n---\n"

static double chains(struct rig *r)
{
	return mt_series_value(mt_metric_series(
		r->metrics, METRIC_pilot_conf_filter_chains, (const char *const[]){ NULL }));
}

START_TEST(matches_in_conflict_are_counted)
{
	struct rig *r = rig_new();

	publish_yaml(r, SERVICE("a", "10.1.0.1") NAMED SNI(TO_NAMED ", " TO_NAMED),
		MT_KIND_SERVICE_ENTRY);
	struct fake_envoy *e = connected(r, NODE(1));
	said(r); /* on the loop: it has been computed */
	ck_assert(chains(r) == 1);
	publish_yaml(r, SERVICE("a", "10.1.0.1") NAMED SNI(TO_NAMED), MT_KIND_VIRTUAL_SERVICE);
	ck_assert(chains(r) == 0);
	fake_envoy_free(e);
	rig_free(r);
}
END_TEST

MT_UNIT(notes, matches_in_conflict_are_counted, a_patch_that_changes_nothing,
	notes_go_with_what_carries_them)
