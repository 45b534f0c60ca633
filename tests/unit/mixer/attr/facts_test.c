#include "mixer/attr/facts.h"

#include "tests/unit/unit.h"

struct fixture {
	struct mt_vocab *vocab;
	struct mt_arena *a;
	struct mixer_facts f;
};

static void start(struct fixture *x)
{
	x->vocab = mt_vocab_new();
	x->a = mt_arena_new(0);
	mixer_facts_init(&x->f, x->vocab, x->a);
}

static void stop(struct fixture *x)
{
	mt_arena_free(x->a);
	mt_vocab_free(x->vocab);
}

static const char *text(struct fixture *x, size_t attr)
{
	const struct mt_value *v = mt_bag_get(&x->f.bag, attr);
	struct mt_text t;

	if (!v)
		return "(absent)";
	t = mt_value_text(v, x->a);
	return mt_arena_strndup(x->a, t.p ? t.p : "", t.n);
}

START_TEST(by_name_and_type)
{
	struct fixture x;

	start(&x);
	ck_assert(mixer_facts_add(&x.f, "destination.port", "9080"));
	ck_assert(!mixer_facts_add(&x.f, "source.port", "many"));
	ck_assert(mixer_facts_add(&x.f, "destination.ip", "10.0.0.1"));
	ck_assert(!mixer_facts_add(&x.f, "source.ip", "300.0.0.1"));
	ck_assert(mixer_facts_add(&x.f, "connection.mtls", "true"));
	ck_assert(!mixer_facts_add(&x.f, "check.cache_hit", "perhaps"));
	ck_assert(mixer_facts_add(&x.f, "response.duration", "1.5s"));
	ck_assert(mixer_facts_add(&x.f, "context.time", "2026-11-24T04:00:00Z"));
	ck_assert(!mixer_facts_add(&x.f, "no.such.thing", "x"));
	ck_assert(!mixer_facts_add(&x.f, "destination.labels", "x"));
	ck_assert(!mixer_facts_add(&x.f, NULL, "x"));
	ck_assert_str_eq(text(&x, MT_ATTR_DESTINATION_PORT), "9080");
	ck_assert_str_eq(text(&x, MT_ATTR_SOURCE_PORT), "(absent)");
	ck_assert_str_eq(text(&x, MT_ATTR_DESTINATION_IP), "10.0.0.1");
	ck_assert_str_eq(text(&x, MT_ATTR_CONNECTION_MTLS), "true");
	stop(&x);
}
END_TEST

START_TEST(first_statement_counts)
{
	struct fixture x;

	start(&x);
	mixer_facts_str(&x.f, MT_ATTR_SOURCE_NAMESPACE, "proven");
	mixer_facts_add(&x.f, "source.namespace", "claimed");
	mixer_facts_entry(&x.f, MT_ATTR_SOURCE_LABELS, "app", "proven");
	mixer_facts_entry(&x.f, MT_ATTR_SOURCE_LABELS, "app", "claimed");
	mixer_facts_str(&x.f, MT_ATTR_REQUEST_ID, "");
	ck_assert_str_eq(text(&x, MT_ATTR_SOURCE_NAMESPACE), "proven");
	const struct mt_text *app =
		mt_smap_get(&mt_bag_get(&x.f.bag, MT_ATTR_SOURCE_LABELS)->map, "app", 3);
	ck_assert_mem_eq(app->p, "proven", 6);
	ck_assert_str_eq(text(&x, MT_ATTR_REQUEST_ID), "(absent)");
	stop(&x);
}
END_TEST

START_TEST(keys_of_maps_may_hold_dots)
{
	struct fixture x;

	start(&x);
	ck_assert(mixer_facts_add(&x.f, "destination.labels.app.kubernetes.io/name", "reviews"));
	const struct mt_text *v =
		mt_smap_get(&mt_bag_get(&x.f.bag, MT_ATTR_DESTINATION_LABELS)->map,
			"app.kubernetes.io/name", 22);
	ck_assert_ptr_nonnull(v);
	ck_assert_mem_eq(v->p, "reviews", 7);
	stop(&x);
}
END_TEST

START_TEST(maps_have_a_limit)
{
	struct fixture x;

	start(&x);
	for (int i = 0; i < 2 * MIXER_MAP_MAX; i++)
		mixer_facts_entry(
			&x.f, MT_ATTR_REQUEST_HEADERS, mt_arena_printf(x.a, "h%d", i), "v");
	const struct mt_smap *m = &mt_bag_get(&x.f.bag, MT_ATTR_REQUEST_HEADERS)->map;
	ck_assert_uint_eq(m->n, MIXER_MAP_MAX);
	for (int i = 0; i < MIXER_MAP_MAX; i++) {
		const char *key = mt_arena_printf(x.a, "h%d", i);

		ck_assert_ptr_nonnull(mt_smap_get(m, key, strlen(key)));
	}
	stop(&x);
}
END_TEST

START_TEST(copies_do_not_share)
{
	struct fixture x;
	struct mixer_facts copy;

	start(&x);
	for (int n = 1; n <= 9; n++) {
		mixer_facts_entry(
			&x.f, MT_ATTR_SOURCE_LABELS, mt_arena_printf(x.a, "k%d", n), "base");
		mixer_facts_copy(&copy, &x.f, x.a);
		mixer_facts_entry(&copy, MT_ATTR_SOURCE_LABELS, "own", "copy");
		mixer_facts_str(&copy, MT_ATTR_REQUEST_ID, "copy");
		ck_assert_uint_eq(mt_bag_get(&x.f.bag, MT_ATTR_SOURCE_LABELS)->map.n, n);
		ck_assert_uint_eq(mt_bag_get(&copy.bag, MT_ATTR_SOURCE_LABELS)->map.n, n + 1);
	}
	ck_assert_str_eq(text(&x, MT_ATTR_REQUEST_ID), "(absent)");
	stop(&x);
}
END_TEST

START_TEST(what_follows_from_the_host)
{
	static const struct {
		const char *host, *name, *ns;
	} v[] = {
		{ "details.bookshop.svc.cluster.local", "details", "bookshop" },
		{ "api.example.com", "api.example.com", "(absent)" },
		{ "a.b.c.svc.cluster.local", "a.b.c.svc.cluster.local", "(absent)" },
		{ ".svc.", ".svc.", "(absent)" },
		{ "a.svc.local", "a.svc.local", "(absent)" },
		{ "localhost", "localhost", "(absent)" },
	};

	for (size_t i = 0; i < MT_ARRAY_SIZE(v); i++) {
		struct fixture x;

		start(&x);
		mixer_facts_add(&x.f, "destination.service.host", v[i].host);
		mixer_facts_finish(&x.f);
		ck_assert_str_eq(text(&x, MT_ATTR_DESTINATION_SERVICE_NAME), v[i].name);
		ck_assert_str_eq(text(&x, MT_ATTR_DESTINATION_SERVICE_NAMESPACE), v[i].ns);
		ck_assert_str_eq(text(&x, MT_ATTR_DESTINATION_NAMESPACE), v[i].ns);
		ck_assert_str_eq(text(&x, MT_ATTR_DESTINATION_SERVICE), v[i].host);
		stop(&x);
	}
}
END_TEST

START_TEST(principals_have_no_scheme)
{
	struct fixture x;

	start(&x);
	mixer_facts_add(&x.f, "destination.principal", "spiffe://cluster.local/ns/a/sa/b");
	mixer_facts_finish(&x.f);
	ck_assert_str_eq(text(&x, MT_ATTR_DESTINATION_PRINCIPAL), "cluster.local/ns/a/sa/b");
	ck_assert_str_eq(text(&x, MT_ATTR_DESTINATION_USER), "cluster.local/ns/a/sa/b");
	stop(&x);
}
END_TEST

MT_UNIT(facts, by_name_and_type, first_statement_counts, keys_of_maps_may_hold_dots,
	maps_have_a_limit, copies_do_not_share, what_follows_from_the_host,
	principals_have_no_scheme)
