/* Which generation is in force: rules in every order, refused generations, and what a restart keeps. */
#include "pilot/inforce.h"

#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/schema/decode.h"
#include "tests/unit/unit.h"

#define SERVICE_AT(location, name)                                                                 \
	"apiVersion: networking.istio.io/v1alpha3\nkind: ServiceEntry\n"                           \
	"metadata: {name: " name ", namespace: default}\n"                                         \
	"spec: {hosts: [" name ".default.svc.cluster.local], location: " location ", "             \
	"resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], "                  \
	"endpoints: [{address: 10.1.0.1}]}\n"
#define SERVICE(name) SERVICE_AT("MESH_INTERNAL", name)
#define RULE(subsets)                                                                              \
	"apiVersion: networking.istio.io/v1alpha3\nkind: DestinationRule\n"                        \
	"metadata: {name: a, namespace: default}\n"                                                \
	"spec: {host: a, subsets: [" subsets "]}\n"
#define SUBSET(v) "{name: " v ", labels: {version: " v "}}"
#define ROUTE_NAMED(name, host, more)                                                              \
	"apiVersion: networking.istio.io/v1alpha3\nkind: VirtualService\n"                         \
	"metadata: {name: " name ", namespace: default}\n"                                         \
	"spec: {hosts: [" name "], http: [{route: [{destination: {host: " host more "}}]}]}\n"
#define ROUTE(host, more) ROUTE_NAMED("r", host, more)
#define DELEGATING                                                                                 \
	"apiVersion: networking.istio.io/v1alpha3\nkind: VirtualService\n"                         \
	"metadata: {name: r, namespace: default}\n"                                                \
	"spec: {hosts: [r], http: [{delegate: {name: d}}]}\n"
#define DELEGATE(timeout)                                                                          \
	"apiVersion: networking.istio.io/v1alpha3\nkind: VirtualService\n"                         \
	"metadata: {name: d, namespace: default}\n"                                                \
	"spec: {http: [{timeout: " timeout ", route: [{destination: {host: a}}]}]}\n"

/* Where they lie, and where they are seen. */
#define RULE_AT(ns, export_to)                                                                     \
	"apiVersion: networking.istio.io/v1alpha3\nkind: DestinationRule\n"                        \
	"metadata: {name: a, namespace: " ns "}\n"                                                 \
	"spec: {host: a.default.svc.cluster.local, exportTo: [" export_to                          \
	"], subsets: [" SUBSET("v1") "]}\n"
#define ROUTE_AT(ns, export_to, gateways)                                                          \
	"apiVersion: networking.istio.io/v1alpha3\nkind: VirtualService\n"                         \
	"metadata: {name: r, namespace: " ns "}\n"                                                 \
	"spec: {hosts: [r.example.com], exportTo: [" export_to "], gateways: [" gateways "], "     \
	"http: [{route: [{destination: {host: a.default.svc.cluster.local, subset: v1}}]}]}\n"

struct rig {
	struct pilot_ids *ids;
	struct pilot_inforce *f;
	struct mt_state *state;
	MT_VEC(struct mt_object *) all;  /* every object ever, for changes and to be freed */
	MT_VEC(struct mt_object *) svcs; /* what the registry has: by pilot_inforce's word */
	struct pilot_dirty dirty;
	uint64_t id;
};

static void registry(struct rig *r, const struct mt_feed_change *c)
{
	for (size_t i = 0; i < r->svcs.n; i++)
		if (strcmp(r->svcs.v[i]->name, (c->new ? c->new : c->old)->name) == 0)
			r->svcs.v[i--] = r->svcs.v[--r->svcs.n];
	if (c->new)
		mt_vec_push(&r->svcs, c->new);
}

static void services(struct rig *r, struct pilot_services_in *out)
{
	struct mt_err err = { 0 };
	for (size_t i = 0; i < r->svcs.n; i++)
		ck_assert_int_eq(pilot_service_entry(r->svcs.v[i],
					 pilot_ids_of(r->ids, r->svcs.v[i]), NULL, 0, out, &err),
			0);
}

/* Snapshots are made and, but for the newest, accepted. */
static void decide_settled(struct rig *r, uint64_t settled)
{
	struct pilot_services_in in = { 0 };
	struct pilot_inforce_moves moves = { 0 };
	struct mt_err err = { 0 };

	services(r, &in);
	r->dirty = (struct pilot_dirty){ 0 };
	pilot_inforce_decide(r->f, &in, settled, &r->dirty, &moves);
	for (size_t i = 0; i < moves.n; i++) {
		if (moves.v[i].new)
			mt_vec_push(&r->all, mt_object_ref(moves.v[i].new));
		registry(r, &moves.v[i]);
	}
	pilot_inforce_moves_clear(&moves);
	pilot_services_in_clear(&in);
	pilot_inforce_stamp(r->f, ++r->id, &err);
	ck_assert_int_eq(err.code, 0);
}

static void decide(struct rig *r)
{
	decide_settled(r, r->id);
}

static struct rig *rig_new(struct mt_state *state)
{
	struct rig *r = MT_NEW(struct rig);
	struct mt_err err = { 0 };
	r->ids = pilot_ids_new();
	r->state = state;
	r->f = pilot_inforce_new(r->ids, "cluster.local", state, &err);
	ck_assert_int_eq(err.code, 0);
	if (!state)
		pilot_inforce_live(r->f);
	return r;
}

static void rig_free(struct rig *r)
{
	pilot_inforce_free(r->f);
	for (size_t i = 0; i < r->all.n; i++)
		mt_object_unref(r->all.v[i]);
	mt_vec_clear(&r->all);
	mt_vec_clear(&r->svcs);
	pilot_ids_free(r->ids);
	mt_free(r);
}

static const struct mt_object *change(struct rig *r, const char *yaml, bool gone)
{
	struct mt_objects o = { 0 };
	struct mt_diags d = { 0 };
	ck_assert_int_eq(mt_decode_text("f", yaml, strlen(yaml), NULL, &o, &d), 0);
	const struct mt_feed_change c = { gone ? o.v[0] : NULL, gone ? NULL : o.v[0] };
	mt_vec_push(&r->all, mt_object_ref(o.v[0]));
	if (pilot_inforce_object(r->f, &c) && o.v[0]->kind->id == MT_KIND_SERVICE_ENTRY)
		registry(r, &c);
	mt_objects_clear(&o);
	return r->all.v[r->all.n - 1];
}

static const struct mt_object *set(struct rig *r, const char *yaml)
{
	const struct mt_object *o = change(r, yaml, false);
	decide(r);
	return o;
}

static void del(struct rig *r, const char *yaml)
{
	change(r, yaml, true);
	decide(r);
}

static struct pilot_inforce_view see(struct rig *r, enum mt_kind_id kind, const char *key)
{
	struct pilot_inforce_view v = { 0 };
	if (!pilot_inforce_find(r->f, kind, key, &v))
		return (struct pilot_inforce_view){ .why = "", .refused = "" };
	return v;
}

static void in_force(struct rig *r, enum mt_kind_id kind, const char *key,
	const struct mt_object *o, const char *why)
{
	struct pilot_inforce_view v = see(r, kind, key);
	ck_assert_msg((v.force ? v.force->hash : 0) == (o ? o->hash : 0), "%s: %s", key, v.why);
	ck_assert_msg(*why ? strstr(v.why, why) != NULL : !*v.why, "%s: %s", key, v.why);
}

#define VS(key) MT_KIND_VIRTUAL_SERVICE, "default/" key
#define DR(key) MT_KIND_DESTINATION_RULE, "default/" key
#define SE(key) MT_KIND_SERVICE_ENTRY, "default/" key

/* A subset counts when some client of the rule sees the destination rule that has it. */
START_TEST(test_subsets_are_seen_by_clients)
{
	static const struct {
		const char *vs, *key, *dr;
		bool there;
	} cases[] = {
		/* the client's own namespace, the service's, the root, none of these */
		{ ROUTE_AT("shop", "'*'", "mesh"), "shop/r", RULE_AT("shop", "'.'"), true },
		{ ROUTE_AT("shop", "'*'", "mesh"), "shop/r", RULE_AT("default", "'*'"), true },
		{ ROUTE_AT("shop", "'*'", "mesh"), "shop/r", RULE_AT("istio-system", "'*'"), true },
		{ ROUTE_AT("shop", "'.'", "mesh"), "shop/r", RULE_AT("other", "'*'"), false },
		{ ROUTE_AT("shop", "'*'", "mesh"), "shop/r", RULE_AT("other", "'.'"), true },
		/* exported to clients, or not */
		{ ROUTE_AT("shop", "'.'", "mesh"), "shop/r", RULE_AT("default", "'.'"), false },
		{ ROUTE_AT("shop", "'.'", "mesh"), "shop/r", RULE_AT("default", "shop"), true },
		{ ROUTE_AT("shop", "'.'", "mesh"), "shop/r", RULE_AT("default", "other"), false },
		{ ROUTE_AT("shop", "default", "mesh"), "shop/r", RULE_AT("default", "'.'"), true },
		/* gateways are clients where they are */
		{ ROUTE_AT("shop", "'*'", "edge/gw"), "shop/r", RULE_AT("shop", "'*'"), false },
		{ ROUTE_AT("shop", "'*'", "edge/gw"), "shop/r", RULE_AT("edge", "'.'"), true },
		{ ROUTE_AT("shop", "'*'", "edge/gw"), "shop/r", RULE_AT("default", "edge"), true },
		{ ROUTE_AT("shop", "'*'", "edge/gw"), "shop/r", RULE_AT("default", "shop"), false },
	};

	for (size_t i = 0; i < MT_ARRAY_SIZE(cases); i++) {
		struct rig *r = rig_new(NULL);
		pilot_inforce_root_namespace(r->f, "istio-system");
		set(r, SERVICE("a"));
		const struct mt_object *vs = set(r, cases[i].vs);
		in_force(r, MT_KIND_VIRTUAL_SERVICE, cases[i].key, NULL, "subset v1");
		set(r, cases[i].dr);
		struct pilot_inforce_view v = see(r, MT_KIND_VIRTUAL_SERVICE, cases[i].key);
		ck_assert_msg((v.force != NULL) == cases[i].there, "case %zu: %s", i, v.why);
		if (cases[i].there) { /* what is used stays; what nobody sees goes */
			del(r, cases[i].dr);
			v = see(r, MT_KIND_VIRTUAL_SERVICE, cases[i].key);
			ck_assert(v.force && v.force->hash == vs->hash);
			char dr[300];
			snprintf(dr, sizeof(dr), "%.*s/a",
				(int)strcspn(strstr(cases[i].dr, "namespace: ") + 11, "}"),
				strstr(cases[i].dr, "namespace: ") + 11);
			v = see(r, MT_KIND_DESTINATION_RULE, dr);
			ck_assert_msg(strstr(v.why, "still used"), "case %zu: %s", i, v.why);
		}
		rig_free(r);
	}
}
END_TEST

START_TEST(test_waits_for_service_port_and_subset)
{
	struct rig *r = rig_new(NULL);
	const struct mt_object *vs = set(r, ROUTE("a", ", subset: v1, port: {number: 80}"));

	in_force(r, VS("r"), NULL, "no service a.default.svc.cluster.local with port 80");
	ck_assert_uint_eq(pilot_inforce_pending(r->f), 1);
	set(r, SERVICE("a"));
	in_force(r, VS("r"), NULL, "spec.http[0].route[0]: no destination rule has subset v1");
	set(r, RULE(SUBSET("v2")));
	in_force(r, VS("r"), NULL, "subset v1");
	set(r, RULE(SUBSET("v2") ", " SUBSET("v1")));
	in_force(r, VS("r"), vs, "");
	ck_assert(r->dirty.tables & 1u << PILOT_ROUTES);
	ck_assert_uint_eq(pilot_inforce_pending(r->f), 0);

	/* A newer generation that waits leaves the one before. */
	const struct mt_object *next = set(r, ROUTE("a", ", port: {number: 81}"));
	in_force(r, VS("r"), vs, "with port 81");
	next = set(r, ROUTE("b", ""));
	in_force(r, VS("r"), vs, "no service b.default");
	set(r, SERVICE("b"));
	in_force(r, VS("r"), next, "");
	rig_free(r);
}
END_TEST

START_TEST(test_what_is_used_stays)
{
	struct rig *r = rig_new(NULL);

	set(r, SERVICE("a"));
	const struct mt_object *dr1 = set(r, RULE(SUBSET("v1") ", " SUBSET("v2")));
	set(r, ROUTE("a", ", subset: v2"));
	const struct mt_object *dr2 = set(r, RULE(SUBSET("v1")));
	in_force(r, DR("a"), dr1,
		"subset v2 of a.default.svc.cluster.local is still used by "
		"VirtualService default/r");
	set(r, ROUTE("a", ", subset: v1"));
	in_force(r, DR("a"), dr2, "");

	/* Deletions: the rule goes when its user does, in either order. */
	del(r, RULE(SUBSET("v1")));
	in_force(r, DR("a"), dr2, "still used");
	del(r, ROUTE("a", ", subset: v1"));
	in_force(r, DR("a"), NULL, "");
	in_force(r, VS("r"), NULL, "");
	ck_assert_uint_eq(pilot_inforce_pending(r->f), 0);
	rig_free(r);
}
END_TEST

START_TEST(test_two_that_need_each_other)
{
	struct rig *r = rig_new(NULL);

	set(r, SERVICE("a"));
	set(r, RULE(SUBSET("v1")));
	const struct mt_object *vs1 = set(r, ROUTE("a", ", subset: v1"));
	const struct mt_object *dr = set(r, RULE(SUBSET("v2"))); /* waits for the rule */
	in_force(r, DR("a"), see(r, DR("a")).force, "still used");
	in_force(r, VS("r"), vs1, "");
	const struct mt_object *vs = set(r, ROUTE("a", ", subset: v2"));
	in_force(r, DR("a"), dr, "");
	in_force(r, VS("r"), vs, "");
	rig_free(r);
}
END_TEST

START_TEST(test_services_that_go)
{
	struct rig *r = rig_new(NULL);

	set(r, SERVICE("a"));
	set(r, SERVICE("b"));
	const struct mt_object *vs = set(r, ROUTE("a", ""));
	del(r, SERVICE("a"));
	in_force(r, SE("a"), r->all.v[0], "still used by VirtualService default/r");
	ck_assert_uint_eq(r->svcs.n, 2);
	set(r, ROUTE("b", ""));
	ck_assert_uint_eq(r->svcs.n, 1);
	in_force(r, SE("a"), NULL, "");

	/* Permission to go outside is taken away at once; the rule stays, and says so. */
	set(r, SERVICE_AT("MESH_EXTERNAL", "a"));
	vs = set(r, ROUTE("a", ""));
	del(r, SERVICE_AT("MESH_EXTERNAL", "a"));
	ck_assert_uint_eq(r->svcs.n, 1);
	in_force(r, VS("r"), vs, "no service a");
	ck_assert_uint_eq(pilot_inforce_pending(r->f), 1);
	rig_free(r);
}
END_TEST

START_TEST(test_delegates)
{
	struct rig *r = rig_new(NULL);

	set(r, SERVICE("a"));
	const struct mt_object *root = set(r, DELEGATING);
	in_force(r, VS("r"), NULL, "no virtual service default/d");
	const struct mt_object *d = set(r, DELEGATE("5s"));
	in_force(r, VS("r"), root, "");
	del(r, DELEGATE("5s"));
	in_force(r, VS("d"), d, "still used by VirtualService default/r");
	del(r, DELEGATING);
	in_force(r, VS("d"), NULL, "");
	rig_free(r);
}
END_TEST

START_TEST(test_refused_goes_back)
{
	struct rig *r = rig_new(NULL);

	set(r, SERVICE("a"));
	set(r, SERVICE("b"));
	const struct mt_object *good = set(r, ROUTE("a", ""));
	const struct mt_object *bad = set(r, ROUTE("b", ""));
	in_force(r, VS("r"), bad, "");
	uint32_t ids[] = { see(r, VS("r")).id, see(r, SE("a")).id };
	/* What was accepted before is not to blame. */
	ck_assert_uint_eq(pilot_inforce_refuse(r->f, ids, 2, r->id, "no"), 0);
	ck_assert_uint_eq(pilot_inforce_refuse(r->f, ids, 2, r->id - 1, "Envoy's words"), 1);
	decide_settled(r, r->id - 1);
	in_force(r, VS("r"), good, "");
	ck_assert_str_eq(see(r, VS("r")).refused, "Envoy's words");
	set(r, RULE(SUBSET("v1"))); /* other changes leave it there */
	in_force(r, VS("r"), good, "");
	const struct mt_object *next = set(r, ROUTE("b", ", port: {number: 80}"));
	in_force(r, VS("r"), next, "");
	ck_assert_str_eq(see(r, VS("r")).refused, "");
	rig_free(r);
}
END_TEST

START_TEST(test_several_suspects_alone)
{
	struct rig *r = rig_new(NULL);

	set(r, SERVICE("a"));
	change(r, ROUTE_NAMED("x", "a", ""), false);
	const struct mt_object *y = change(r, ROUTE_NAMED("y", "a", ""), false);
	decide(r);
	uint32_t ids[] = { see(r, VS("x")).id, see(r, VS("y")).id };
	ck_assert_uint_eq(pilot_inforce_refuse(r->f, ids, 2, r->id - 1, "bad"), 2);
	decide_settled(r, r->id - 1);
	in_force(r, VS("x"), NULL, "");
	in_force(r, VS("y"), NULL, "");
	ck_assert(pilot_inforce_retry(r->f)); /* x alone, and refused */
	decide(r);
	in_force(r, VS("y"), NULL, "");
	ck_assert_uint_eq(pilot_inforce_refuse(r->f, ids, 2, r->id - 1, "bad"), 1);
	decide_settled(r, r->id - 1);
	ck_assert(pilot_inforce_retry(r->f)); /* y alone */
	decide(r);
	in_force(r, VS("x"), NULL, "");
	ck_assert_str_eq(see(r, VS("x")).refused, "bad");
	in_force(r, VS("y"), y, "");
	ck_assert_str_eq(see(r, VS("y")).refused, "");
	ck_assert(!pilot_inforce_retry(r->f));
	rig_free(r);
}
END_TEST

static int unlink_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

START_TEST(test_survives_a_restart)
{
	char dir[] = "/tmp/mt-inforce-XXXXXX";
	struct mt_state *state;
	struct mt_err err = { 0 };
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(mt_state_open(dir, &state, &err), 0);

	struct rig *r = rig_new(state);
	pilot_inforce_live(r->f);
	set(r, SERVICE("a"));
	set(r, ROUTE("a", ""));
	set(r, ROUTE("c", "")); /* waits */
	set(r, ROUTE_NAMED("new", "a", ""));
	uint32_t id = see(r, VS("new")).id;
	ck_assert_uint_eq(pilot_inforce_refuse(r->f, &id, 1, r->id - 1, "words"), 1);
	decide_settled(r, r->id - 1);
	rig_free(r);

	r = rig_new(state);
	set(r, SERVICE("b")); /* the feed's own state may be older: nothing is deleted yet */
	ck_assert_ptr_nonnull(see(r, VS("r")).force);
	change(r, ROUTE("c", ""), false);
	change(r, ROUTE_NAMED("new", "a", ""), false);
	set(r, SERVICE("a"));
	struct pilot_inforce_view v = see(r, VS("r"));
	ck_assert_ptr_nonnull(v.force);
	ck_assert(v.force->hash != v.newest->hash);
	ck_assert_ptr_nonnull(strstr(v.why, "no service c"));
	in_force(r, VS("new"), NULL, "");
	ck_assert_str_eq(see(r, VS("new")).refused, "words");
	change(r, ROUTE_NAMED("new", "a", ""), true); /* gone at once for who asks */
	struct pilot_inforce_view gone;
	ck_assert(!pilot_inforce_find(r->f, VS("new"), &gone));
	del(r, ROUTE("c", ""));
	ck_assert_ptr_null(see(r, VS("r")).force);
	rig_free(r);

	r = rig_new(state);
	pilot_inforce_live(r->f);
	decide(r);
	ck_assert_ptr_null(see(r, VS("new")).force);
	rig_free(r);
	mt_state_close(state);
	nftw(dir, unlink_one, 8, FTW_DEPTH | FTW_PHYS);
}
END_TEST

#define TLS_RULE(credential)                                                                       \
	"apiVersion: networking.istio.io/v1alpha3\nkind: DestinationRule\n"                        \
	"metadata: {name: a, namespace: default}\n"                                                \
	"spec: {host: a, trafficPolicy: {tls: {mode: MUTUAL, credentialName: " credential "}}, "   \
	"subsets: [" SUBSET("v1") "]}\n"
#define GATEWAY(credential)                                                                        \
	"apiVersion: networking.istio.io/v1alpha3\nkind: Gateway\n"                                \
	"metadata: {name: g, namespace: default}\n"                                                \
	"spec: {selector: {istio: ingress}, servers: [{port: {number: 443, name: h, "              \
	"protocol: HTTPS}, hosts: [\"*\"], tls: {mode: SIMPLE, credentialName: " credential        \
	"}}]}\n"
#define GW(key) MT_KIND_GATEWAY, "default/" key

struct known {
	bool nobody; /* is there to say what it has */
	const char *have;
};

static enum pilot_has has(void *ctx, const struct mt_object *o, const char *name)
{
	const struct known *k = ctx;
	char word[64];
	ck_assert(o->kind->id == MT_KIND_GATEWAY || o->kind->id == MT_KIND_DESTINATION_RULE);
	snprintf(word, sizeof(word), " %s ", name);
	return k->nobody ? PILOT_HAS_PERHAPS : strstr(k->have, word) ? PILOT_HAS : PILOT_HAS_NOT;
}

/* What proxies have is another thing now: decided again if need be. */
static bool known(struct rig *r, struct known *k, bool nobody, const char *have)
{
	*k = (struct known){ nobody, have };
	bool moved = pilot_inforce_secrets_moved(r->f);
	if (moved)
		decide(r);
	return moved;
}

START_TEST(test_waits_for_secrets)
{
	struct rig *r = rig_new(NULL);
	struct known k = { .have = " old " };
	pilot_inforce_secrets(r->f, &(struct pilot_inforce_secrets){ has, &k });

	/* A destination rule, new: whole or not at all, its subsets with it. */
	set(r, SERVICE("a"));
	set(r, ROUTE("a", ", subset: v1"));
	const struct mt_object *dr = set(r, TLS_RULE("new"));
	in_force(r, DR("a"), NULL,
		"spec.trafficPolicy.tls: no proxy that it is for has the credential new");
	in_force(r, VS("r"), NULL, "no destination rule has subset v1");
	ck_assert(known(r, &k, false, " old new ")); /* the roots are not there yet */
	in_force(r, DR("a"), NULL, "credential new-cacert");
	ck_assert(!known(r, &k, false, " old new other "));
	ck_assert(known(r, &k, false, " old new new-cacert "));
	in_force(r, DR("a"), dr, "");
	ck_assert_ptr_nonnull(see(r, VS("r")).force);
	/* Taken away under it: it stays, and says so. */
	ck_assert(known(r, &k, false, " old "));
	in_force(r, DR("a"), dr, "credential new");
	ck_assert(see(r, DR("a")).partly);

	/* A gateway that changes keeps the generation that has its certificate. */
	const struct mt_object *gw = set(r, GATEWAY("old"));
	in_force(r, GW("g"), gw, "");
	const struct mt_object *next = set(r, GATEWAY("late"));
	in_force(r, GW("g"), gw,
		"spec.servers[0].tls: no proxy that it is for has the credential late");
	known(r, &k, true, "");
	in_force(r, GW("g"), gw, "credential late"); /* nobody says otherwise */
	known(r, &k, false, " late ");
	in_force(r, GW("g"), next, "");
	/* Nobody is there: nothing is put off. */
	known(r, &k, true, "");
	next = set(r, GATEWAY("later"));
	in_force(r, GW("g"), next, "");
	known(r, &k, false, " late ");
	in_force(r, GW("g"), next, "credential later");
	ck_assert(see(r, GW("g")).partly);
	rig_free(r);
}
END_TEST

START_TEST(test_waits_for_secrets_after_a_restart)
{
	char dir[] = "/tmp/mt-inforce-XXXXXX";
	struct mt_state *state;
	struct mt_err err = { 0 };
	struct known k = { .have = " old " };
	const struct pilot_inforce_secrets secrets = { has, &k };
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(mt_state_open(dir, &state, &err), 0);

	struct rig *r = rig_new(state);
	pilot_inforce_live(r->f);
	pilot_inforce_secrets(r->f, &secrets);
	set(r, SERVICE("a"));
	set(r, TLS_RULE("late"));
	uint64_t gw = set(r, GATEWAY("old"))->hash;
	set(r, GATEWAY("late"));
	rig_free(r);

	k.nobody = true; /* proxies come later */
	r = rig_new(state);
	pilot_inforce_secrets(r->f, &secrets);
	change(r, SERVICE("a"), false);
	change(r, TLS_RULE("late"), false);
	set(r, GATEWAY("late"));
	pilot_inforce_live(r->f);
	decide(r);
	in_force(r, DR("a"), NULL, "credential late");
	ck_assert_uint_eq(see(r, GW("g")).force->hash, gw);
	known(r, &k, false, " late late-cacert ");
	ck_assert_ptr_nonnull(see(r, DR("a")).force);
	ck_assert(see(r, GW("g")).force->hash != gw);
	rig_free(r);
	mt_state_close(state);
	nftw(dir, unlink_one, 8, FTW_DEPTH | FTW_PHYS);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("inforce");
	TCase *tc = tcase_create("inforce");
	tcase_add_test(tc, test_waits_for_service_port_and_subset);
	tcase_add_test(tc, test_subsets_are_seen_by_clients);
	tcase_add_test(tc, test_what_is_used_stays);
	tcase_add_test(tc, test_two_that_need_each_other);
	tcase_add_test(tc, test_services_that_go);
	tcase_add_test(tc, test_delegates);
	tcase_add_test(tc, test_refused_goes_back);
	tcase_add_test(tc, test_several_suspects_alone);
	tcase_add_test(tc, test_survives_a_restart);
	tcase_add_test(tc, test_waits_for_secrets);
	tcase_add_test(tc, test_waits_for_secrets_after_a_restart);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_set_fork_status(sr, CK_NOFORK);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
