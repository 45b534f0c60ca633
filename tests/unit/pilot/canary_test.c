/* The canary with real streams: who is given what changed, who is not, and what is left in the end.
 * The loop variable: 0 state of the world, 1 delta. */
#include "pilot/push/reach.h"
#include "pilot/push/verdicts.h"
#include "tests/unit/pilot/push_rig.h"

#define CLUSTER(name) "outbound|80||" name ".default.svc.cluster.local"
#define POLICY(name, seconds)                                                                      \
	"apiVersion: networking.istio.io/v1alpha3\nkind: DestinationRule\n"                        \
	"metadata: {name: " name ", namespace: default}\n"                                         \
	"spec: {host: " name ", trafficPolicy: {connectionPool: {tcp: {connectTimeout: " seconds   \
	"s}}}}\n---\n"
#define BOTH SERVICE("a", "10.1.0.1") SERVICE("b", "10.1.0.2") SERVICE("c", "10.1.0.3")

struct safety {
	struct push_safety s;
	unsigned refused, settled;
	char names[256];
	char words[256];
};

static bool on_refused(void *ctx, const struct push_refusal *r)
{
	struct safety *s = ctx;
	s->refused++;
	strcat(strcat(s->names, r->res->name), " ");
	snprintf(s->words, sizeof(s->words), "%s", r->words);
	ck_assert_uint_gt(r->res->nprov, 0);
	return false; /* the world stays as it is */
}

static void on_settled(void *ctx)
{
	((struct safety *)ctx)->settled++;
}

static void start(struct rig *r, void *arg)
{
	struct safety *s = arg;
	s->s = (struct push_safety){ .canary = true,
		.canary_timeout_ns =
			s->s.canary_timeout_ns ? s->s.canary_timeout_ns : 20 * MT_NS_PER_SEC,
		.refused = on_refused,
		.settled = on_settled,
		.ctx = s };
	push_safety(r->push, &s->s);
}

static void copy(struct rig *r, void *arg)
{
	void **both = arg;
	(void)r;
	memcpy(both[0], both[1], sizeof(struct safety));
}

static struct safety now(struct rig *r, struct safety *s)
{
	struct safety out;
	void *both[] = { &out, s };
	on_loop(r, copy, both);
	return out;
}

static void wait_settled(struct rig *r, struct safety *s, unsigned n)
{
	while (now(r, s).settled < n)
		;
}

/* What proxies answer to the next responses of clusters, together: "ny" refuses one, accepts the next,
 * and then everything. (By content they cannot tell: what was good comes again after a rejection.) */
struct picky {
	const char *script;
	atomic_uint at;
	atomic_bool on;
};

static const char *judge(void *ctx, struct fake_envoy *e, const struct fake_response *r)
{
	struct picky *p = ctx;
	(void)e;
	if (r->type != FAKE_CDS || !atomic_load(&p->on))
		return NULL;
	unsigned at = atomic_fetch_add(&p->at, 1);
	return at < strlen(p->script) && p->script[at] == 'n' ? "I do not like it" : NULL;
}

static struct fake_envoy *picky(struct rig *r, bool delta, const char *id, struct picky *p)
{
	return fake_envoy_new(&(struct fake_opts){
		.channel = r->channel, .delta = delta, .id = id, .judge = judge, .ctx = p });
}

static void in_step(struct rig *r, void *arg)
{
	bool *all = arg;
	*all = true;
	for (const struct push_proxy *x = push_proxies(r->push); x; x = x->next)
		for (int t = 0; t < PUSH_TYPES; t++) {
			struct mt_xds_status st;
			mt_xds_sub_status(x->sub, t, &st);
			if (!st.subscribed)
				continue;
			*all = *all && st.acked_id && st.acked_id == st.sent_id && !st.nacked;
		}
}

static void wait_in_step(struct rig *r)
{
	bool all = false;
	while (!all)
		on_loop(r, in_step, &all);
}

struct fleet {
	struct rig *r;
	struct safety s;
	struct picky p;
	struct fake_envoy *e[3];
	char good[24]; /* version of a's cluster before the change */
	char b[24];
};

static struct fleet *fleet_new(bool delta, const char *script)
{
	struct fleet *f = MT_NEW(struct fleet);
	static const char *const ids[] = { NODE(1), NODE(2), NODE(3) };
	f->r = rig_new();
	f->p.script = script;
	on_loop(f->r, start, &f->s);
	publish_yaml(f->r, BOTH, MT_KIND_SERVICE_ENTRY);
	for (int i = 0; i < 3; i++) {
		f->e[i] = picky(f->r, delta, ids[i], &f->p);
		ck_assert(fake_wait_count(f->e[i], FAKE_RDS, 1));
	}
	wait_in_step(f->r);
	fake_version(f->e[0], FAKE_CDS, CLUSTER("a"), f->good);
	fake_version(f->e[0], FAKE_CDS, CLUSTER("b"), f->b);
	return f;
}

static void fleet_free(struct fleet *f)
{
	for (int i = 0; i < 3; i++)
		if (f->e[i])
			fake_envoy_free(f->e[i]);
	rig_free(f->r);
	mt_free(f);
}

static bool has_version(struct fleet *f, int i, const char *name, const char *version)
{
	char have[24];
	fake_version(f->e[i], FAKE_CDS, name, have);
	return strcmp(have, version) == 0;
}

static bool changed(struct fake_envoy *e, void *arg)
{
	char have[24];
	fake_version(e, FAKE_CDS, CLUSTER("a"), have);
	return strcmp(have, arg) != 0;
}

static bool changed_b(struct fake_envoy *e, void *arg)
{
	char have[24];
	fake_version(e, FAKE_CDS, CLUSTER("b"), have);
	return strcmp(have, arg) != 0;
}

START_TEST(test_accepted_goes_to_all)
{
	struct fleet *f = fleet_new(_i, "");

	publish_yaml(f->r, BOTH POLICY("a", "7"), MT_KIND_DESTINATION_RULE);
	for (int i = 0; i < 3; i++)
		ck_assert(fake_wait(f->e[i], changed, f->good));
	wait_settled(f->r, &f->s, 1);
	ck_assert_uint_eq(now(f->r, &f->s).refused, 0);
	fleet_free(f);
}
END_TEST

START_TEST(test_refused_stays_with_one)
{
	struct fleet *f = fleet_new(_i, "nny"); /* both; a; b */

	atomic_store(&f->p.on, true);
	publish_yaml(f->r, BOTH POLICY("a", "7") POLICY("b", "8"), MT_KIND_DESTINATION_RULE);
	wait_settled(f->r, &f->s, 1);
	struct safety s = now(f->r, &f->s);
	ck_assert_uint_eq(s.refused, 1);
	ck_assert_str_eq(s.names, CLUSTER("a") " ");
	ck_assert_str_eq(s.words, "I do not like it");
	/* Among two that changed it was found; the other one is everywhere, and this one nowhere. */
	char b[3][24];
	for (int i = 0; i < 3; i++) {
		ck_assert(fake_wait(f->e[i], changed_b, f->b));
		ck_assert(has_version(f, i, CLUSTER("a"), f->good));
		fake_version(f->e[i], FAKE_CDS, CLUSTER("b"), b[i]);
		ck_assert_str_eq(b[i], b[0]);
	}
	/* A newcomer gets what is good, and so does everybody when the world is made again. */
	fake_envoy_free(f->e[2]);
	f->e[2] = picky(f->r, _i, NODE(3), &f->p);
	ck_assert(fake_wait_count(f->e[2], FAKE_RDS, 1));
	ck_assert(has_version(f, 2, CLUSTER("a"), f->good));
	ck_assert(has_version(f, 2, CLUSTER("b"), b[0]));
	/* Corrected: it is tried, and goes to all. */
	publish_yaml(f->r, BOTH POLICY("a", "9") POLICY("b", "8"), MT_KIND_DESTINATION_RULE);
	for (int i = 0; i < 3; i++)
		ck_assert(fake_wait(f->e[i], changed, f->good));
	fleet_free(f);
}
END_TEST

START_TEST(test_the_culprits_of_many)
{
	struct fleet *f = fleet_new(_i, "nnnyn"); /* all; a; b and c; b; c */

	atomic_store(&f->p.on, true);
	publish_yaml(f->r, BOTH POLICY("a", "7") POLICY("b", "8") POLICY("c", "9"),
		MT_KIND_DESTINATION_RULE);
	wait_settled(f->r, &f->s, 1);
	struct safety s = now(f->r, &f->s);
	ck_assert_uint_eq(s.refused, 2);
	ck_assert_ptr_nonnull(strstr(s.names, CLUSTER("a")));
	ck_assert_ptr_nonnull(strstr(s.names, CLUSTER("c")));
	for (int i = 0; i < 3; i++) {
		ck_assert(fake_wait(f->e[i], changed_b, f->b));
		ck_assert(has_version(f, i, CLUSTER("a"), f->good));
	}
	fleet_free(f);
}
END_TEST

/* ---- a canary that is lost ---- */

START_TEST(test_silent_canary_is_replaced)
{
	struct rig *r = rig_new();
	struct safety s = { .s = { .canary_timeout_ns = 100 * MT_NS_PER_MS } };
	char good[24];

	on_loop(r, start, &s);
	publish_yaml(r, BOTH, MT_KIND_SERVICE_ENTRY);
	/* Views are asked in the order in which they came. This one is answered by hand: never again. */
	struct fake_envoy *mute = fake_envoy_new(&(struct fake_opts){
		.channel = r->channel, .delta = _i, .id = NODE(2), .manual = true });
	fake_send(mute, &(struct fake_request){ .type = FAKE_CDS });
	while (!fake_responses(mute, FAKE_CDS))
		;
	fake_send(mute, &(struct fake_request){ .type = FAKE_CDS, .nonce = "" });
	struct fake_envoy *e1 = proxy(r, _i, NODE(1));
	ck_assert(fake_wait_count(e1, FAKE_RDS, 1));
	wait_in_step(r);
	fake_version(e1, FAKE_CDS, CLUSTER("a"), good);
	publish_yaml(r, BOTH POLICY("a", "7"), MT_KIND_DESTINATION_RULE);
	ck_assert(fake_wait(e1, changed, good));
	fake_envoy_free(mute);
	wait_settled(r, &s, 1);
	fake_envoy_free(e1);
	rig_free(r);
}
END_TEST

/* ---- the single parts ---- */

START_TEST(test_verdicts)
{
	struct push_verdicts *v = push_verdicts_new();

	ck_assert_int_eq(push_verdict_of(v, 1, "1.40.0"), PUSH_UNTRIED);
	push_verdict_set(v, 1, "1.40.0", PUSH_TRYING);
	push_verdict_set(v, 1, "1.36.2", PUSH_GOOD);
	ck_assert_int_eq(push_verdict_of(v, 1, "1.40.0"), PUSH_TRYING);
	push_verdict_condemn(v, 1, "1.40.0", "why");
	ck_assert_uint_eq(push_verdicts_bad(v), 1);
	ck_assert_str_eq(push_verdict_words(v, 1, "1.40.0"), "why");
	ck_assert_int_eq(push_verdict_of(v, 1, "1.36.2"), PUSH_GOOD);
	for (uint64_t i = 2; i < 10000; i++)
		push_verdict_set(v, i, "1.40.0", PUSH_GOOD);
	push_verdicts_trim(v);
	ck_assert_int_eq(push_verdict_of(v, 5, "1.40.0"), PUSH_UNTRIED);
	ck_assert_int_eq(push_verdict_of(v, 1, "1.40.0"), PUSH_BAD);
	push_verdict_set(v, 1, "1.40.0", PUSH_UNTRIED);
	ck_assert_uint_eq(push_verdicts_bad(v), 0);
	push_verdicts_free(v);
}
END_TEST

struct reach_ask {
	struct push_reached all, none;
};

static void reach(struct rig *r, void *arg)
{
	struct reach_ask *a = arg;
	struct push_reach *look = push_reach_new(r->push);
	push_reach_of(look, 1, 1, &a->all); /* the service a: in every proxy */
	push_reach_of(look, 999, 1, &a->none);
	push_reach_free(look);
}

START_TEST(test_reach)
{
	struct fleet *f = fleet_new(_i, "");
	struct reach_ask a;

	on_loop(f->r, reach, &a);
	ck_assert_uint_eq(a.all.concerned, 3);
	ck_assert_uint_eq(a.all.in_force, 3);
	ck_assert_uint_eq(a.all.behind, 0);
	ck_assert_uint_eq(a.none.concerned, 0);
	fleet_free(f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("canary");
	TCase *tc = tcase_create("canary");
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_accepted_goes_to_all, 0, 2);
	tcase_add_loop_test(tc, test_refused_stays_with_one, 0, 2);
	tcase_add_loop_test(tc, test_the_culprits_of_many, 0, 2);
	tcase_add_loop_test(tc, test_silent_canary_is_replaced, 0, 2);
	tcase_add_test(tc, test_verdicts);
	tcase_add_loop_test(tc, test_reach, 0, 2);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_set_fork_status(sr, CK_NOFORK);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
