/* What proxies are given without a trial: first sets, what a canary was silent about, what is refused
 * after all. The loop variable: 0 state of the world, 1 delta, unless the test says more. */
#include "pilot/push/reach.h"
#include "tests/unit/pilot/canary_rig.h"

/* Rejects every cluster a but one, or names nothing. */
struct strict {
	uint64_t good; /* version, 0 none */
	bool names;    /* the words say which */
	atomic_bool on;
	atomic_uint by[3]; /* rejections by each proxy */
};
struct strict_one {
	struct strict *all;
	unsigned i;
};

static const char *judge_strictly(void *ctx, struct fake_envoy *e, const struct fake_response *r)
{
	const struct strict_one *one = ctx;
	struct strict *s = one->all;
	(void)e;
	for (size_t i = 0; r->type == FAKE_CDS && atomic_load(&s->on) && i < r->n; i++) {
		if (strcmp(r->names[i], CLUSTER("a")) != 0 || r->versions[i] == s->good)
			continue;
		atomic_fetch_add(&s->by[one->i], 1);
		return s->names ? "a cluster " CLUSTER("a") " that I do not like"
				: "I do not like it";
	}
	return NULL;
}

static struct fake_envoy *strict(struct rig *r, bool delta, const char *id, struct strict_one *one)
{
	return fake_envoy_new(&(struct fake_opts){ .channel = r->channel,
		.delta = delta,
		.id = id,
		.judge = judge_strictly,
		.ctx = one });
}

/* The loop variable: whether the words name the culprit, and the variant. */
START_TEST(test_the_first_set_goes_to_one)
{
	struct rig *r = rig_new();
	struct safety s = { 0 };
	struct strict all = { .names = _i & 2, .on = true };
	struct strict_one ones[3] = { { &all, 0 }, { &all, 1 }, { &all, 2 } };
	static const char *const ids[] = { NODE(1), NODE(2), NODE(3) };
	struct fake_envoy *e[3];
	unsigned who = 0;

	on_loop(r, start, &s);
	publish_yaml(r, BOTH, MT_KIND_SERVICE_ENTRY);
	for (int i = 0; i < 3; i++)
		e[i] = strict(r, _i & 1, ids[i], &ones[i]);
	for (int i = 0; i < 3; i++) {
		ck_assert(fake_wait_count(e[i], FAKE_RDS, 1));
		who += atomic_load(&all.by[i]) > 0;
	}
	wait_in_step(r);
	wait_idle(r);
	ck_assert_uint_eq(who, 1); /* the others have never been shown it */
	ck_assert_uint_eq(now(r, &s).refused, 1);
	ck_assert_str_eq(now(r, &s).names, CLUSTER("a") " ");
	for (int i = 0; i < 3; i++) {
		ck_assert(!fake_has(e[i], FAKE_CDS, CLUSTER("a")));
		ck_assert(fake_has(e[i], FAKE_CDS, CLUSTER("b")));
		ck_assert(fake_has(e[i], FAKE_CDS, CLUSTER("c")));
		fake_envoy_free(e[i]);
	}
	rig_free(r);
}
END_TEST

/* All were given it; whoever is heard first is believed, and all go back. */
START_TEST(test_a_refusal_without_a_canary_is_hunted)
{
	struct fleet *f = fleet_of(_i & 1, "", true);
	struct strict all = { .names = _i & 2, .good = strtoull(f->good, NULL, 16) };
	struct strict_one ones[3] = { { &all, 0 }, { &all, 1 }, { &all, 2 } };
	static const char *const ids[] = { NODE(1), NODE(2), NODE(3) };
	unsigned by = 0;

	for (int i = 0; i < 3; i++) {
		fake_envoy_free(f->e[i]);
		f->e[i] = strict(f->r, _i & 1, ids[i], &ones[i]);
		ck_assert(fake_wait_count(f->e[i], FAKE_RDS, 1));
	}
	wait_in_step(f->r);
	wait_idle(f->r);
	atomic_store(&all.on, true);
	publish_yaml(f->r, BOTH POLICY("a", "7") POLICY("b", "8"), MT_KIND_DESTINATION_RULE);
	for (int i = 0; i < 3; i++)
		ck_assert(fake_wait(f->e[i], changed_b, f->b));
	wait_in_step(f->r);
	wait_idle(f->r);
	struct safety s = now(f->r, &f->s);
	ck_assert_str_eq(s.names, CLUSTER("a") " ");
	for (int i = 0; i < 3; i++) {
		by += atomic_load(&all.by[i]);
		ck_assert(has_version(f, i, CLUSTER("a"), f->good));
		ck_assert(!has_version(f, i, CLUSTER("b"), f->b));
	}
	ck_assert_uint_gt(by, 0);
	/* A newcomer gets what is good. */
	fake_envoy_free(f->e[2]);
	f->e[2] = strict(f->r, _i & 1, NODE(3), &ones[2]);
	ck_assert(fake_wait_count(f->e[2], FAKE_RDS, 1));
	ck_assert(has_version(f, 2, CLUSTER("a"), f->good));
	for (int i = 0; i < 3; i++)
		by -= atomic_load(&all.by[i]);
	ck_assert_uint_eq(by, 0);
	fleet_free(f);
}
END_TEST

struct doubts {
	unsigned refused, unanswered;
};

static void count_doubt(void *ctx, const struct push_reach_doubt *d)
{
	struct doubts *n = ctx;
	n->refused += d->words != NULL;
	n->unanswered += d->words == NULL;
}

static void count_doubts(struct rig *r, void *arg)
{
	struct push_reach *look = push_reach_new(r->push);
	*(struct doubts *)arg = (struct doubts){ 0 };
	for (uint32_t id = 1; id < 10; id++)
		push_reach_doubts(look, id, count_doubt, arg);
	push_reach_free(look);
}

static bool listeners(struct fake_envoy *e, void *arg)
{
	(void)arg;
	return fake_responses(e, FAKE_LDS);
}

static bool routes(struct fake_envoy *e, void *arg)
{
	(void)arg;
	return fake_responses(e, FAKE_RDS);
}

/* Takes what there is, and from then on says nothing. */
static void begin_by_hand(struct fake_envoy *e, bool delta)
{
	fake_send(e, &(struct fake_request){ .type = FAKE_CDS });
	ck_assert(fake_wait(e, asked, &(unsigned){ 1 }));
	fake_send(e, &(struct fake_request){ .type = FAKE_CDS, .nonce = "" });
	fake_send(e, &(struct fake_request){ .type = FAKE_LDS });
	ck_assert(fake_wait(e, listeners, NULL));
	fake_send(e, &(struct fake_request){ .type = FAKE_LDS, .nonce = "" });
	static const char *const names[] = { "80" };
	fake_send(e, &(struct fake_request){ .type = FAKE_RDS, .add = names, .nadd = 1 });
	ck_assert(fake_wait(e, routes, NULL));
	fake_send(e,
		&(struct fake_request){
			.type = FAKE_RDS, .add = names, .nadd = !delta, .nonce = "" });
}

/* Nobody answers, not even when asked three times: all get it, and it is said that nobody knows. */
START_TEST(test_silence_lets_pass)
{
	struct rig *r = rig_new();
	struct safety s = { .s = { .canary_timeout_ns = 50 * MT_NS_PER_MS } };
	static const char *const ids[] = { NODE(1), NODE(2) };
	struct fake_envoy *mute[2];
	struct doubts d;

	on_loop(r, start, &s);
	publish_yaml(r, BOTH, MT_KIND_SERVICE_ENTRY);
	for (int i = 0; i < 2; i++) {
		mute[i] = fake_envoy_new(&(struct fake_opts){
			.channel = r->channel, .delta = _i, .id = ids[i], .manual = true });
		begin_by_hand(mute[i], _i);
	}
	wait_in_step(r);
	wait_idle(r);
	unsigned settled_before = now(r, &s).settled;
	publish_yaml(r, BOTH POLICY("a", "7"), MT_KIND_DESTINATION_RULE);
	for (int i = 0; i < 2; i++)
		ck_assert(fake_wait(mute[i], asked, &(unsigned){ 2 }));
	do
		on_loop(r, count_doubts, &d);
	while (!d.unanswered);
	ck_assert_uint_eq(d.refused, 0);
	wait_settled(r, &s, settled_before); /* it is not waited for any longer */
	for (int i = 0; i < 2; i++)
		fake_send(mute[i],
			&(struct fake_request){
				.type = FAKE_CDS, .nonce = "", .reject = "too late" });
	/* Heard even so. */
	while (!now(r, &s).refused)
		;
	ck_assert_str_eq(now(r, &s).names, CLUSTER("a") " ");
	on_loop(r, count_doubts, &d);
	ck_assert_uint_gt(d.refused, 0);
	for (int i = 0; i < 2; i++)
		fake_envoy_free(mute[i]);
	rig_free(r);
}
END_TEST

/* A newcomer that does not answer is given, after a while, what its classes were allowed; what they have
 * had since is tried then, without another change. */
START_TEST(test_the_newest_follows_a_hurried_first_set)
{
	struct rig *r = rig_new();
	struct safety s = { .s = { .first_timeout_ns = 100 * MT_NS_PER_MS } };
	struct fake_opts o = { .channel = r->channel, .delta = _i, .manual = true };

	on_loop(r, start, &s);
	publish_yaml(r, BOTH SERVICE("d", "10.9.0.2"), MT_KIND_SERVICE_ENTRY);
	o.id = NODE(1);
	struct fake_envoy *first = fake_envoy_new(&o);
	begin_by_hand(first, _i);
	wait_in_step(r);
	wait_idle(r);
	publish_yaml(r, BOTH SERVICE("d", "10.9.0.2") POLICY("a", "7"), MT_KIND_DESTINATION_RULE);
	ck_assert(fake_wait(first, asked, &(unsigned){ 2 }));
	o.id = NODE(2); /* with an inbound side of its own */
	struct fake_envoy *e = fake_envoy_new(&o);
	fake_send(e, &(struct fake_request){ .type = FAKE_CDS });
	ck_assert(fake_wait(e, asked, &(unsigned){ 1 }));
	fake_send(e, &(struct fake_request){ .type = FAKE_CDS, .nonce = "" });
	fake_envoy_free(first); /* nobody tries the change any more */
	ck_assert(fake_wait(e, asked, &(unsigned){ 2 }));
	fake_envoy_free(e);
	rig_free(r);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("untried");
	TCase *tc = tcase_create("untried");
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_the_first_set_goes_to_one, 0, 4);
	tcase_add_loop_test(tc, test_a_refusal_without_a_canary_is_hunted, 0, 4);
	tcase_add_loop_test(tc, test_silence_lets_pass, 0, 2);
	tcase_add_loop_test(tc, test_the_newest_follows_a_hurried_first_set, 0, 2);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_set_fork_status(sr, CK_NOFORK);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
