/* Destination rules: every fault that the validator finds, with its path. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/schema/decode.h"
#include "galley/validate/validate.h"

static void faults(const char *meta, const char *spec, struct mt_buf *out)
{
	struct mt_objects objs = { 0 };
	struct mt_diags diags = { 0 };
	struct mt_buf text = { 0 };

	mt_buf_printf(&text,
		"apiVersion: networking.istio.io/v1\nkind: DestinationRule\n"
		"metadata: {name: x%s}\nspec: {host: a, %s}\n",
		meta, spec);
	ck_assert_int_eq(mt_decode_text("f.yaml", text.p, text.n, NULL, &objs, &diags), 0);
	ck_assert_uint_eq(objs.n, 1);
	galley_validate(objs.v[0], &diags);
	for (size_t i = 0; i < diags.n; i++) {
		ck_assert_int_ge(diags.v[i].line, 3);
		mt_buf_printf(out, "%s%s: %s\n", diags.v[i].severity == MT_SEV_ERROR ? "" : "~",
			diags.v[i].path, diags.v[i].msg);
	}
	mt_objects_clear(&objs);
	mt_diags_clear(&diags);
	mt_buf_clear(&text);
}

#define P "spec.trafficPolicy."
#define LB P "loadBalancer."
#define HASH LB "consistentHash."
#define LOC LB "localityLbSetting"

static const struct {
	const char *policy; /* of spec.trafficPolicy */
	const char *want;
} policies[] = {
	{ "loadBalancer: {consistentHash: {httpCookie: {name: u, ttl: 0s, attributes: [{name: SameSite, value: Lax}]}, maglev: {tableSize: 65537}}}",
		"" },
	{ "loadBalancer: {consistentHash: {httpCookie: {ttl: 1s, attributes: [{value: x}]}}}",
		HASH "httpCookie.name: is missing\n" HASH
		     "httpCookie.attributes[0].name: is missing\n" },
	{ "loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 65536}}}",
		HASH "maglev.tableSize: 65536 is not a prime number\n" },
	{ "loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 5000021}}}",
		HASH "maglev.tableSize: 5000021 is more than 5000011\n" },
	{ "loadBalancer: {consistentHash: {useSourceIp: true, minimumRingSize: 8388609, ringHash: {minimumRingSize: 9000000}}}",
		HASH "minimumRingSize: 8388609 is more than 8388608\n" HASH
		     "ringHash.minimumRingSize: 9000000 is more than 8388608\n" },
	{ "loadBalancer: {warmup: {minimumPercent: 101, aggression: 0.5}}",
		LB "warmup.duration: is missing\n" LB
		   "warmup.minimumPercent: 101 is not a percentage (0 to 100)\n" LB
		   "warmup.aggression: 0.5 is less than 1\n" },
	{ "loadBalancer: {warmup: {duration: 10s}, warmupDurationSecs: 5s}",
		"~" LB "warmupDurationSecs: is the old name: warmup wins\n" },
	{ "loadBalancer: {warmupDurationSecs: 0.5s}",
		LB "warmupDurationSecs: must be at least 1000 ms\n" },
	{ "loadBalancer: {localityLbSetting: {distribute: [{from: r1/z1/*, to: {'r1/*': 80, r2: 20}}]}}",
		"" },
	{ "loadBalancer: {localityLbSetting: {distribute: [{from: 'r1/*/s', to: {'r1//x': 50, r2/a/b/c: 40}}]}}",
		LOC
		".distribute[0].from: \"r1/*/s\": * can only stand alone and last\n" LOC
		".distribute[0].to[\"r1//x\"]: \"r1//x\" has an empty part\n" LOC
		".distribute[0].to[\"r2/a/b/c\"]: \"r2/a/b/c\" has more than region/zone/subzone\n" LOC
		".distribute[0].to: the weights add up to 90, not to 100\n" },
	{ "loadBalancer: {localityLbSetting: {distribute: [{from: a, to: {b: 100}}, {from: a, to: {c: 100}}], failoverPriority: [app]}}",
		LOC ": has both distribute and failoverPriority\n" LOC
		    ".distribute[1].from: \"a\" stands here twice\n" },
	{ "loadBalancer: {localityLbSetting: {failover: [{from: r1, to: r2}, {from: r3, to: r3}, {from: r4/z, to: '*'}, {from: r1}]}}",
		LOC
		".failover[1].to: \"r3\" fails over to itself\n" LOC
		".failover[2].from: \"r4/z\" is not a region: failover goes from region to region\n" LOC
		".failover[2].to: \"*\" is not a region: failover goes from region to region\n" LOC
		".failover[3].to: is missing\n" LOC
		".failover[3].from: \"r1\" stands here twice\n" },
	{ "loadBalancer: {localityLbSetting: {failoverPriority: [topology.kubernetes.io/region, version=v1, version, 'a b']}}",
		LOC ".failoverPriority[2]: \"version\" stands here twice\n" LOC
		    ".failoverPriority[3]: \"a b\" is not a label's key: [PREFIX/]NAME\n" },
	{ "connectionPool: {tcp: {maxConnections: -1, connectTimeout: 0s, maxConnectionDuration: 0s, idleTimeout: -1s, tcpKeepalive: {time: 1ms, interval: 0s}}}",
		P "connectionPool.tcp.maxConnections: must not be negative\n" P
		  "connectionPool.tcp.connectTimeout: must be at least 1 ms\n" P
		  "connectionPool.tcp.maxConnectionDuration: must be at least 1 ms\n" P
		  "connectionPool.tcp.idleTimeout: must not be negative\n" P
		  "connectionPool.tcp.tcpKeepalive.time: must be at least 1000 ms\n" P
		  "connectionPool.tcp.tcpKeepalive.interval: must be at least 1000 ms\n" },
	{ "connectionPool: {http: {http1MaxPendingRequests: -1, http2MaxRequests: -1, maxRequestsPerConnection: -1, maxRetries: -1, maxConcurrentStreams: -1, idleTimeout: -1s, useClientProtocol: true, h2UpgradePolicy: UPGRADE, http2KeepAlive: {interval: 1s}}}",
		P
		"connectionPool.http.http1MaxPendingRequests: must not be negative\n" P
		"connectionPool.http.http2MaxRequests: must not be negative\n" P
		"connectionPool.http.maxRequestsPerConnection: must not be negative\n" P
		"connectionPool.http.maxRetries: must not be negative\n" P
		"connectionPool.http.maxConcurrentStreams: must not be negative\n" P
		"connectionPool.http.idleTimeout: must not be negative\n" P
		"connectionPool.http.useClientProtocol: has no place with h2UpgradePolicy UPGRADE\n" P
		"connectionPool.http.http2KeepAlive.timeout: is missing\n" },
	{ "outlierDetection: {consecutiveErrors: -1, baseEjectionTime: 0s, minHealthPercent: 101, outlierDetectionHttpErrorCodes: [99]}",
		P
		"outlierDetection.consecutiveErrors: must not be negative\n" P
		"outlierDetection.baseEjectionTime: must be at least 1 ms\n" P
		"outlierDetection.minHealthPercent: 101 is not a percentage (0 to 100)\n" P
		"outlierDetection.outlierDetectionHttpErrorCodes[0]: 99 is not an HTTP status (200 to 599)\n" },
	{ "outlierDetection: {consecutiveErrors: 2, consecutive5xxErrors: 3, consecutiveLocalOriginFailures: 4}",
		"~" P
		"outlierDetection.consecutiveErrors: is the old name: consecutive5xxErrors or consecutiveGatewayErrors win\n"
		"~" P
		"outlierDetection.consecutiveLocalOriginFailures: has no effect without splitExternalLocalOriginErrors\n" },
	{ "tls: {mode: SIMPLE, credentialName: c, caCertificates: /ca.pem}",
		P
		"tls.caCertificates: has no place with mode SIMPLE or MUTUAL and credentialName\n" },
	{ "tls: {mode: MUTUAL, credentialName: c, clientCertificate: /c, privateKey: /k, caCrl: /crl}",
		P "tls.clientCertificate: has no place with mode MUTUAL and credentialName\n" P
		  "tls.privateKey: has no place with mode MUTUAL and credentialName\n" P
		  "tls.caCrl: has no place with mode SIMPLE or MUTUAL and credentialName\n" },
	{ "tls: {mode: ISTIO_MUTUAL, caCertificates: /ca, credentialName: c}",
		P "tls.caCertificates: has no place with mode ISTIO_MUTUAL\n"
		  "~" P "tls.credentialName: has no effect with mode ISTIO_MUTUAL\n" },
	{ "tls: {mode: SIMPLE, insecureSkipVerify: true, subjectAltNames: ['']}",
		P
		"tls.subjectAltNames[0]: is empty\n"
		"~" P
		"tls.insecureSkipVerify: makes caCertificates, caCrl and subjectAltNames have no effect\n" },
	{ "tunnel: {protocol: GET, targetHost: 'a b'}",
		P "tunnel.protocol: \"GET\" is neither CONNECT nor POST\n" P
		  "tunnel.targetHost: \"a b\" is not a host name\n" P
		  "tunnel.targetPort: 0 is not a port (1 to 65535)\n" },
	{ "tunnel: {targetHost: 2001:db8::1, targetPort: 443}, proxyProtocol: {version: V2}", "" },
	{ "retryBudget: {percent: 120, budgetInterval: -1s}",
		P "retryBudget.percent: 120 is not a percentage (0 to 100)\n" P
		  "retryBudget.budgetInterval: must not be negative\n" },
	{ "portLevelSettings: [{loadBalancer: {warmup: {duration: 0s}}}, {port: {number: 80}}, {port: {number: 80}, tls: {mode: MUTUAL, credentialName: x}}]",
		P "portLevelSettings[0].port: is missing\n" P
		  "portLevelSettings[0].loadBalancer.warmup.duration: must be at least 1000 ms\n" P
		  "portLevelSettings[2].port.number: 80 stands here twice\n" },
};

START_TEST(test_policy)
{
	struct mt_buf got = { 0 }, spec = { 0 };

	mt_buf_printf(&spec, "trafficPolicy: {%s}", policies[_i].policy);
	faults("", mt_buf_str(&spec), &got);
	ck_assert_str_eq(mt_buf_str(&got), policies[_i].want);
	mt_buf_clear(&got);
	mt_buf_clear(&spec);
}
END_TEST

#define HC "metadata.annotations[\"meltemi.io/health-check\"]"

static const struct {
	const char *meta, *spec, *want;
} rules[] = {
	{ "", "subsets: [{name: v1, labels: {version: 'a b'}}]",
		"spec.subsets[0].labels[\"version\"]: \"a b\" is not a label's value: letters, digits, '-', '_' and '.', at most 63\n" },
	{ "", "workloadSelector: {matchLabels: {'/x': y}}",
		"spec.workloadSelector.matchLabels[\"/x\"]: \"/x\" is not a label's key: [PREFIX/]NAME\n" },
	{ ", annotations: {meltemi.io/health-check: '{http: {path: /healthz, expectedStatuses: [200, 204]}, interval: 2s, timeout: 500ms, unhealthyThreshold: 2}'}",
		"exportTo: [.]", "" },
	{ ", annotations: {meltemi.io/health-check: \"tcp: {send: PING, receive: PONG}\\nport: 99\"}",
		"exportTo: [.]", "" },
	{ ", annotations: {meltemi.io/health-check: '{http: {path: x, method: POST, expectedStatuses: [7]}, grpc: {}, port: 70000, interval: 0s, timeout: -1s}'}",
		"exportTo: [.]",
		HC ": has more than one of http, grpc and tcp\n" HC
		   ".http.path: does not start with /\n" HC
		   ".http.method: is neither GET nor HEAD\n" HC
		   ".http.expectedStatuses: has what is no HTTP status (100 to 599)\n" HC
		   ".port: is above 65535\n" HC ".interval: must be at least 1 ms\n" HC
		   ".timeout: must be at least 1 ms\n" },
	{ ", annotations: {meltemi.io/health-check: '{htp: {}}'}", "exportTo: [.]",
		HC ": unknown field \"htp\" (did you mean \"http\"?)\n" },
	{ ", annotations: {meltemi.io/health-check: 'yes'}", "exportTo: [.]",
		HC ": is not a mapping such as {http: {path: /healthz}}\n" },
};

START_TEST(test_rule)
{
	struct mt_buf got = { 0 };

	faults(rules[_i].meta, rules[_i].spec, &got);
	ck_assert_str_eq(mt_buf_str(&got), rules[_i].want);
	mt_buf_clear(&got);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("destination_rule");
	TCase *tc = tcase_create("faults");

	tcase_add_loop_test(tc, test_policy, 0, (int)(sizeof(policies) / sizeof(*policies)));
	tcase_add_loop_test(tc, test_rule, 0, (int)(sizeof(rules) / sizeof(*rules)));
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
