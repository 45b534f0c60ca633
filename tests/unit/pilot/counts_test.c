/* What Pilot counts of streams that do not behave, and of rules that come to nothing. */
#include "tests/unit/pilot/push_rig.h"

#define SNI_RULE(match)                                                                            \
	"apiVersion: networking.istio.io/v1alpha3\nkind: VirtualService\n"                         \
	"metadata: {name: s, namespace: default}\n"                                                \
	"spec: {hosts: [n.example.com], tls: [{match: [{" match                                    \
	"sniHosts: [n.example.com]}], route: [{destination: {host: n.example.com}}]}]}\n---\n"
#define NAMED                                                                                      \
	"apiVersion: networking.istio.io/v1alpha3\nkind: ServiceEntry\n"                           \
	"metadata: {name: n, namespace: default}\n"                                                \
	"spec: {hosts: [n.example.com], location: MESH_EXTERNAL, resolution: STATIC, "             \
	"addresses: [240.1.2.3], ports: [{number: 443, name: tls, protocol: TLS}], "               \
	"endpoints: [{address: 10.1.0.9}]}\n---\n"

static double value(struct rig *r, int metric)
{
	return mt_series_value(mt_metric_series(r->metrics, metric, (const char *const[]){ NULL }));
}

/* The loop variable of the first two: 0 state of the world, 1 delta. */

START_TEST(test_requests_that_are_none)
{
	struct rig *r = rig_new();
	struct fake_envoy *e = fake_envoy_new(&(struct fake_opts){
		.channel = r->channel, .delta = _i, .id = NODE(1), .manual = true });

	ck_assert(value(r, METRIC_pilot_total_xds_internal_errors) == 0);
	fake_send_raw(e, "\xff\xff\xff", 3);
	ck_assert(fake_wait_end(e));
	ck_assert_int_eq(fake_ended(e), 3); /* INVALID_ARGUMENT */
	ck_assert(value(r, METRIC_pilot_total_xds_internal_errors) == 1);
	fake_envoy_free(e);
	rig_free(r);
}
END_TEST

/* It takes a response and says nothing: what waits for the answer goes out without it, and that is
 * counted once for the response, however much is sent after. */
START_TEST(test_answers_that_do_not_come)
{
	struct rig *r = rig_with(&(struct mt_xds_server_opts){ .ack_timeout_ns = MT_NS_PER_MS });

	publish_yaml(r, SERVICE("a", "10.1.0.1"), MT_KIND_SERVICE_ENTRY);
	struct fake_envoy *e = proxy(r, _i, NODE(1));
	ck_assert(fake_wait_count(e, FAKE_RDS, 1));
	struct fake_envoy *mute = fake_envoy_new(&(struct fake_opts){
		.channel = r->channel, .delta = _i, .id = NODE(2), .manual = true });
	fake_send(mute, &(struct fake_request){ .type = FAKE_CDS });
	ck_assert(fake_wait_count(mute, FAKE_CDS, fake_count(e, FAKE_CDS)));
	double before = value(r, METRIC_pilot_xds_push_timeout);
	unsigned had = fake_responses(mute, FAKE_CDS);
	publish_yaml(r, SERVICE("a", "10.1.0.1") SERVICE("b", "10.1.0.2"), MT_KIND_SERVICE_ENTRY);
	ck_assert(fake_wait_log(mute, "+outbound|80||b.default.svc.cluster.local"));
	ck_assert_uint_gt(fake_responses(mute, FAKE_CDS), had);
	ck_assert(value(r, METRIC_pilot_xds_push_timeout) > before);
	fake_envoy_free(mute);
	fake_envoy_free(e);
	rig_free(r);
}
END_TEST

START_TEST(test_a_match_that_no_listener_can_have)
{
	struct rig *r = rig_new();

	publish_yaml(r, SERVICE("a", "10.1.0.1") NAMED SNI_RULE("destinationSubnets: [nowhere], "),
		MT_KIND_SERVICE_ENTRY);
	struct fake_envoy *e = proxy(r, true, NODE(1));
	ck_assert(fake_wait_count(e, FAKE_RDS, 1));
	ck_assert(value(r, METRIC_pilot_invalid_out_listeners) == 1);
	publish_yaml(r, SERVICE("a", "10.1.0.1") NAMED SNI_RULE(""), MT_KIND_VIRTUAL_SERVICE);
	ck_assert(value(r, METRIC_pilot_invalid_out_listeners) == 0);
	fake_envoy_free(e);
	rig_free(r);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("counts");
	TCase *tc = tcase_create("counts");
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_requests_that_are_none, 0, 2);
	tcase_add_loop_test(tc, test_answers_that_do_not_come, 0, 2);
	tcase_add_test(tc, test_a_match_that_no_listener_can_have);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_set_fork_status(sr, CK_NOFORK);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
