/* The canary with real streams: who is given what changed, who is not, and what is left in the end.
 * The loop variable: 0 state of the world, 1 delta. */
#include "tests/unit/pilot/canary_rig.h"

START_TEST(test_accepted_goes_to_all)
{
	struct fleet *f = fleet_new(_i, "");

	publish_yaml(f->r, BOTH POLICY("a", "7"), MT_KIND_DESTINATION_RULE);
	for (int i = 0; i < 3; i++)
		ck_assert(fake_wait(f->e[i], changed, f->good));
	wait_settled(f->r, &f->s, f->settled);
	ck_assert_uint_eq(now(f->r, &f->s).refused, 0);
	fleet_free(f);
}
END_TEST

START_TEST(test_refused_stays_with_one)
{
	struct fleet *f = fleet_new(_i, "nny"); /* both; a; b */

	atomic_store(&f->p.on, true);
	publish_yaml(f->r, BOTH POLICY("a", "7") POLICY("b", "8"), MT_KIND_DESTINATION_RULE);
	wait_settled(f->r, &f->s, f->settled);
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
	wait_settled(f->r, &f->s, f->settled);
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
	unsigned before = now(r, &s).settled;
	publish_yaml(r, BOTH POLICY("a", "7"), MT_KIND_DESTINATION_RULE);
	ck_assert(fake_wait(e1, changed, good));
	fake_envoy_free(mute);
	wait_settled(r, &s, before);
	fake_envoy_free(e1);
	rig_free(r);
}
END_TEST

START_TEST(test_lost_canary_is_replaced)
{
	struct rig *r = rig_new();
	struct safety s = { 0 }; /* nobody is replaced for being silent */
	char good[24];

	on_loop(r, start, &s);
	publish_yaml(r, BOTH, MT_KIND_SERVICE_ENTRY);
	struct fake_envoy *e1 = proxy(r, _i, NODE(1));
	ck_assert(fake_wait_count(e1, FAKE_RDS, 1));
	wait_in_step(r);
	wait_idle(r);
	fake_version(e1, FAKE_CDS, CLUSTER("a"), good);
	/* The newest of a view is asked first: this one, which says nothing to the change. */
	struct fake_envoy *mute = fake_envoy_new(&(struct fake_opts){
		.channel = r->channel, .delta = _i, .id = NODE(2), .manual = true });
	fake_send(mute, &(struct fake_request){ .type = FAKE_CDS });
	ck_assert(fake_wait(mute, asked, &(unsigned){ 1 }));
	fake_send(mute, &(struct fake_request){ .type = FAKE_CDS, .nonce = "" });
	wait_in_step(r);
	publish_yaml(r, BOTH POLICY("a", "7"), MT_KIND_DESTINATION_RULE);
	ck_assert(fake_wait(mute, asked, &(unsigned){ 2 }));
	ck_assert(!changed(e1, good));
	fake_envoy_free(mute);
	ck_assert(fake_wait(e1, changed, good));
	wait_idle(r);
	fake_envoy_free(e1);
	rig_free(r);
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
	tcase_add_loop_test(tc, test_lost_canary_is_replaced, 0, 2);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_set_fork_status(sr, CK_NOFORK);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
