/* Validation of what stands at the edges: gateways, service entries, workloads, sidecars. */
#include "tests/unit/galley/faults.h"

#define SERVER "{servers: [{port: {number: 443, name: a, protocol: HTTPS}, hosts: [a.b], tls: "
#define ENTRY "{hosts: [a.b], ports: [{number: 80, name: http, protocol: HTTP}], "
#define PROBE "{template: {serviceAccount: x}, probe: "

static const struct {
	const char *kind;
	const char *spec;
	const char *want;
} cases[] = {
	/* Gateway: ports, hosts, where to listen */
	{ "Gateway",
		"{selector: {istio: gw}, servers: [{port: {number: 80, name: http, protocol: HTTP}, "
		"hosts: ['*', ns/a.b, ./a.b, '*/c.d']}]}",
		"" },
	{ "Gateway", "{servers: [{port: {number: 80, protocol: HTTP}, hosts: ['n s/a', 'a b']}]}",
		"spec.servers[0].hosts[0]: \"n s\" is not a namespace, \".\" or \"*\"\n"
		"spec.servers[0].hosts[1]: \"a b\" is not a host name (a wildcard is \"*\" or \"*.name\")\n" },
	{ "Gateway",
		"{servers: [{port: {number: 70000, protocol: UDP}, hosts: [a], bind: nowhere}]}",
		"spec.servers[0].bind: \"nowhere\" is not an IP address\n"
		"spec.servers[0].port.number: 70000 is not a port (1 to 65535)\n"
		"spec.servers[0].port.protocol: \"UDP\" is not HTTP, HTTPS, GRPC, GRPC-WEB, HTTP2, MONGO, TCP or TLS\n" },
	{ "Gateway",
		"{servers: [{port: {number: 1, protocol: HTTP}, hosts: [a], bind: 'unix:///s'}, "
		"{port: {protocol: HTTP}, hosts: [a], bind: 'unix://s'}]}",
		"spec.servers[0].port.number: a Unix socket has no port: leave it out\n"
		"spec.servers[1].bind: a Unix socket has an absolute path\n" },
	{ "Gateway",
		"{servers: [{name: s, port: {number: 1, name: x, protocol: HTTP}, hosts: [a]}, "
		"{name: s, port: {number: 2, name: x, protocol: HTTP}, hosts: [a], defaultEndpoint: '127.0.0.1:1'}]}",
		"~spec.servers[1].defaultEndpoint: has no effect: routes decide\n"
		"spec.servers[1].port.name: \"x\" stands here twice\n"
		"spec.servers[1].name: \"s\" stands here twice\n" },
	/* ... TLS */
	{ "Gateway", SERVER "{mode: SIMPLE, credentialName: a-b.c}}]}", "" },
	{ "Gateway", SERVER "{mode: SIMPLE, credentialName: ../../etc}}]}",
		"spec.servers[0].tls.credentialName: \"../../etc\" is not a name\n" },
	{ "Gateway",
		SERVER
		"{mode: SIMPLE, credentialName: a, credentialNames: [b, c, d], serverCertificate: /c}}]}",
		"spec.servers[0].tls.serverCertificate: has no place with mode SIMPLE and certificates by name or in tlsCertificates\n"
		"spec.servers[0].tls: has more than one of credentialName, credentialNames and tlsCertificates\n"
		"spec.servers[0].tls.credentialNames: has more than two: one for each type of key\n" },
	{ "Gateway", SERVER "{mode: SIMPLE}}]}",
		"spec.servers[0].tls.serverCertificate: is missing: mode SIMPLE needs it\n"
		"spec.servers[0].tls.privateKey: is missing: mode SIMPLE needs it\n" },
	{ "Gateway", SERVER "{mode: SIMPLE, tlsCertificates: [{serverCertificate: /c}]}}]}",
		"spec.servers[0].tls.tlsCertificates[0].privateKey: is missing\n" },
	{ "Gateway", SERVER "{mode: MUTUAL, serverCertificate: /c, privateKey: /k}}]}",
		"spec.servers[0].tls.caCertificates: is missing: mode MUTUAL needs it\n" },
	{ "Gateway",
		SERVER
		"{mode: OPTIONAL_MUTUAL, serverCertificate: /c, privateKey: /k, caCertCredentialName: x}}]}",
		"" },
	{ "Gateway",
		SERVER
		"{mode: MUTUAL, credentialName: a, verifyCertificateSpki: [abc], verifyCertificateHash: [xyz]}}]}",
		"spec.servers[0].tls.verifyCertificateSpki[0]: \"abc\" is not a SHA-256 in base64\n"
		"spec.servers[0].tls.verifyCertificateHash[0]: \"xyz\" is not a SHA-256 in hex\n" },
	{ "Gateway",
		SERVER
		"{mode: SIMPLE, credentialName: a, minProtocolVersion: TLSV1_3, maxProtocolVersion: TLSV1_2}}]}",
		"spec.servers[0].tls.minProtocolVersion: is above maxProtocolVersion\n" },
	{ "Gateway",
		"{servers: [{port: {number: 80, protocol: HTTP}, hosts: [a], tls: {mode: SIMPLE, credentialName: x}}, "
		"{port: {number: 81, protocol: HTTP}, hosts: [a], tls: {httpsRedirect: true}}, "
		"{port: {number: 82, protocol: TCP}, hosts: [a], tls: {mode: AUTO_PASSTHROUGH}}]}",
		"spec.servers[0].tls: has no place with protocol HTTP: use HTTPS\n"
		"spec.servers[2].tls.mode: AUTO_PASSTHROUGH needs protocol TLS\n" },
	/* ServiceEntry */
	{ "ServiceEntry", ENTRY "resolution: STATIC}",
		"~spec.endpoints: are missing: nothing answers\n" },
	{ "ServiceEntry", "{hosts: [a.b, a.b], ports: [{number: 80, name: http}], resolution: DNS}",
		"spec.hosts[1]: \"a.b\" stands here twice\n" },
	{ "ServiceEntry",
		ENTRY
		"resolution: STATIC, endpoints: [{address: 10.0.0.1, locality: a//b, labels: {'b d': x}}]}",
		"spec.endpoints[0].labels.b d: \"b d\" is not a label's key: [PREFIX/]NAME\n"
		"spec.endpoints[0].locality: \"a//b\" is not REGION[/ZONE[/SUBZONE]]\n" },
	{ "ServiceEntry", ENTRY "resolution: DNS, endpoints: [{address: 'unix:///s'}]}",
		"spec.endpoints[0].address: a Unix socket is not resolved\n" },
	{ "ServiceEntry",
		"{hosts: [a.b], ports: [{number: 80, name: a}, {number: 81, name: b}], resolution: STATIC, "
		"endpoints: [{address: 'unix:///s'}]}",
		"spec.endpoints[0].address: a Unix socket serves one port: spec.ports has 2\n" },
	{ "ServiceEntry",
		ENTRY "resolution: DNS_ROUND_ROBIN, endpoints: [{address: a.b}, {address: c.d}]}",
		"spec.endpoints: more than one has no place with resolution DNS_ROUND_ROBIN\n" },
	{ "ServiceEntry", ENTRY "resolution: DYNAMIC_DNS}",
		"spec.hosts[0]: resolution DYNAMIC_DNS is for wildcards: use DNS\n" },
	{ "ServiceEntry", ENTRY "resolution: DNS, addresses: [10.0.0.0/8]}",
		"spec.addresses[0]: a block of addresses needs resolution NONE or STATIC\n" },
	{ "ServiceEntry", ENTRY "resolution: NONE, workloadSelector: {labels: {app: x}}}",
		"spec.workloadSelector: has no place with resolution NONE\n" },
	{ "ServiceEntry",
		ENTRY "resolution: STATIC, workloadSelector: {}, endpoints: [{address: 10.0.0.1}]}",
		"spec.endpoints: have no place beside workloadSelector\n"
		"~spec.workloadSelector.labels: are missing: every workload is meant\n" },
	/* WorkloadEntry, WorkloadGroup */
	{ "WorkloadEntry", "{address: 10.0.0.1, ports: {http: 80}, labels: {app: x}}", "" },
	{ "WorkloadEntry", "{address: 'unix:///s', ports: {http: 80}}",
		"spec.ports: a Unix socket has no ports\n" },
	{ "WorkloadEntry", "{}", "spec.address: is missing\n" },
	{ "WorkloadEntry", "{network: n}",
		"~spec.address: is missing: what only names its network is not reached\n" },
	{ "WorkloadGroup", "{}", "spec.template: is missing\n" },
	{ "WorkloadGroup", "{template: {address: 1.2.3.4, ports: {http: 0}}}",
		"spec.template.ports.http: 0 is not a port (1 to 65535)\n"
		"~spec.template.address: has no effect: each workload says its own\n" },
	{ "WorkloadGroup",
		PROBE "{periodSeconds: 5, httpGet: {port: 80, path: /ok, scheme: HTTP}}}", "" },
	{ "WorkloadGroup",
		PROBE
		"{periodSeconds: -1, httpGet: {path: ok, scheme: FTP, httpHeaders: [{name: 'a b'}]}}}",
		"spec.probe.periodSeconds: must not be negative\n"
		"spec.probe.httpGet.port: 0 is not a port (1 to 65535)\n"
		"spec.probe.httpGet.path: \"ok\" does not begin with /\n"
		"spec.probe.httpGet.scheme: \"FTP\" is neither HTTP nor HTTPS\n"
		"spec.probe.httpGet.httpHeaders[0].name: \"a b\" is not a header name\n" },
	{ "WorkloadGroup", PROBE "{tcpSocket: {}}}",
		"spec.probe.tcpSocket.port: 0 is not a port (1 to 65535)\n" },
	{ "WorkloadGroup", PROBE "{grpc: {}}}",
		"spec.probe.grpc.port: 0 is not a port (1 to 65535)\n" },
	{ "WorkloadGroup", PROBE "{exec: {}}}", "spec.probe.exec.command: is missing\n" },
	{ "WorkloadGroup", PROBE "{}}", "spec.probe: has no httpGet, tcpSocket, exec or grpc\n" },
	/* Sidecar */
	{ "Sidecar",
		"{workloadSelector: {labels: {app: x}}, egress: [{hosts: ['~/*']}, {hosts: ['./*']}]}",
		"spec.egress[0]: has no port, so it is for all that no other listener takes: it must be the last\n" },
	{ "Sidecar",
		"{ingress: [{port: {number: 80, protocol: HTTP}, tls: {mode: ISTIO_MUTUAL}}, "
		"{port: {number: 80, protocol: HTTP}, tls: {mode: SIMPLE}, localhostClientTls: {}}]}",
		"spec.ingress[0].tls.mode: is not SIMPLE, MUTUAL or OPTIONAL_MUTUAL: others have no place in an ingress listener\n"
		"spec.ingress[1].tls.serverCertificate: is missing: mode SIMPLE needs it\n"
		"spec.ingress[1].tls.privateKey: is missing: mode SIMPLE needs it\n"
		"~spec.ingress[1].localhostClientTls: has no effect: the way to the application is in plaintext\n"
		"spec.ingress[1].port.number: 80 stands here twice\n" },
	{ "Sidecar",
		"{egress: [{hosts: ['./*'], port: {protocol: HTTP}, bind: 'unix:///s', captureMode: IPTABLES}]}",
		"spec.egress[0].captureMode: nothing is captured on a Unix socket\n" },
	{ "Sidecar", "{outboundTrafficPolicy: {mode: REGISTRY_ONLY, egressProxy: {host: gw}}}",
		"spec.outboundTrafficPolicy.egressProxy: needs mode ALLOW_ANY\n"
		"spec.outboundTrafficPolicy.egressProxy.host: \"gw\" is not written in full\n"
		"spec.outboundTrafficPolicy.egressProxy.port: is missing\n" },
};

START_TEST(all)
{
	struct mt_buf got = { 0 };

	faults(cases[_i].kind, cases[_i].spec, &got);
	ck_assert_msg(strcmp(mt_buf_str(&got), cases[_i].want) == 0, "%s %s\ngot:\n%swant:\n%s",
		cases[_i].kind, cases[_i].spec, mt_buf_str(&got), cases[_i].want);
	mt_buf_clear(&got);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("validate_edge");
	TCase *tc = tcase_create("validate_edge");
	tcase_add_loop_test(tc, all, 0, (int)MT_ARRAY_SIZE(cases));
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
