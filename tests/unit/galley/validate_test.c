/* Validation: each faulty text gives exactly the faults that are named, with their paths. */
#include "tests/unit/galley/faults.h"

#define ROUTE "{hosts: [a], http: [{route: [{destination: {host: b}}], "

static const struct {
	const char *kind;
	const char *spec;
	const char *want;
} cases[] = {
	/* VirtualService */
	{ "VirtualService", "{hosts: [a], http: [{route: [{destination: {host: b}}]}]}", "" },
	{ "VirtualService", "{}",
		"spec.hosts: is missing\nspec: has no http, tcp or tls routes\n" },
	{ "VirtualService", "{hosts: [a, a], http: [{route: [{destination: {host: b}}]}]}",
		"spec.hosts[1]: \"a\" stands here twice\n" },
	{ "VirtualService", "{hosts: ['*'], http: [{route: [{destination: {host: b}}]}]}",
		"spec.hosts[0]: \"*\" is only for gateways: name them in spec.gateways\n" },
	{ "VirtualService",
		"{hosts: ['*'], gateways: [g], http: [{route: [{destination: {host: b}}]}]}", "" },
	{ "VirtualService", "{hosts: [a], http: [{}]}",
		"spec.http[0]: has no route, redirect, directResponse or delegate\n" },
	{ "VirtualService",
		"{hosts: [a], http: [{redirect: {uri: /x}, route: [{destination: {host: b}}]}]}",
		"spec.http[0]: has more than one of route, redirect, directResponse and delegate\n" },
	{ "VirtualService",
		"{hosts: [a], http: [{route: [{destination: {host: b}, weight: 90}, {destination: {host: c}, weight: 20}]}]}",
		"~spec.http[0].route: the weights add up to 110: they are taken as shares of it\n" },
	{ "VirtualService",
		"{hosts: [a], http: [{route: [{destination: {host: b}, weight: -1}, {destination: {host: 'c d'}}]}]}",
		"spec.http[0].route[0].weight: must not be negative\n"
		"spec.http[0].route[1].destination.host: \"c d\" is not a host name (a wildcard is \"*\" or \"*.name\")\n"
		"spec.http[0].route: the weights of 2 destinations are all zero\n" },
	{ "VirtualService", ROUTE "timeout: -1s}]}",
		"spec.http[0].timeout: must not be negative\n" },
	{ "VirtualService", ROUTE "timeout: 0.0001s}]}",
		"spec.http[0].timeout: is finer than a millisecond\n" },
	{ "VirtualService",
		ROUTE "retries: {attempts: 3, perTryTimeout: 0s, retryOn: '5xx,nonsense,503'}}]}",
		"spec.http[0].retries.perTryTimeout: must be at least 1 ms\n"
		"spec.http[0].retries.retryOn: \"nonsense\" is not a condition that Envoy knows\n" },
	{ "VirtualService", ROUTE "fault: {abort: {percentage: {value: 101}, httpStatus: 700}}}]}",
		"spec.http[0].fault.abort.percentage.value: 101 is not a percentage (0 to 100)\n"
		"spec.http[0].fault.abort.httpStatus: 700 is not an HTTP status (200 to 599)\n" },
	{ "VirtualService", ROUTE "fault: {delay: {percent: 10}}}]}",
		"spec.http[0].fault.delay.fixedDelay: is missing\n" },
	{ "VirtualService", ROUTE "match: [{uri: {regex: '(?=x)'}}]}]}",
		"spec.http[0].match[0].uri.regex: the pattern uses look-around and similar groups, which Envoy's RE2 does not "
		"have\n" },
	{ "VirtualService", ROUTE "match: [{uri: {regex: '(a)\\1'}}]}]}",
		"spec.http[0].match[0].uri.regex: the pattern uses back-references and similar escapes, which Envoy's RE2 does "
		"not have\n" },
	{ "VirtualService", ROUTE "match: [{uri: {regex: '[a-z'}}]}]}",
		"spec.http[0].match[0].uri.regex: bad pattern at character 5: missing terminating ] for character class\n" },
	{ "VirtualService", ROUTE "match: [{uri: {regex: '(?i)/api/v[0-9]+(?:x)?'}}]}]}", "" },
	{ "VirtualService", ROUTE "match: [{headers: {'@request.auth.claims.sub': {exact: a}}}]}]}",
		"spec.http[0].match[0].headers.@request.auth.claims.sub: claims of tokens are not matched: "
		"the proxies do not verify end users' tokens\n" },
	{ "VirtualService", ROUTE "headers: {request: {set: {'bad name': x}}}}]}",
		"spec.http[0].headers.request.set.bad name: \"bad name\" is not a header name\n" },
	{ "VirtualService", "{hosts: [a], http: [{redirect: {redirectCode: 305, uri: /x}}]}",
		"spec.http[0].redirect.redirectCode: 305 is not 301, 302, 303, 307 or 308\n" },
	{ "VirtualService", "{hosts: [a], tls: [{match: [{sniHosts: [x]}], route: []}]}",
		"spec.tls[0].route: is missing: say where to\n" },
	{ "VirtualService",
		"{hosts: [a], tcp: [{match: [{port: 70000}], route: [{destination: {host: b}}]}]}",
		"spec.tcp[0].match[0].port: 70000 is not a port (1 to 65535)\n" },
	{ "VirtualService",
		"{hosts: [a], http: [{route: [{destination: {host: b}}]}, {redirect: {uri: /y}}]}",
		"~spec.http[0]: matches everything: the routes after it are never used\n" },
	{ "VirtualService",
		ROUTE
		"headers: {request: {set: {Host: x, ':authority': y, ':path': /}, remove: [host, x]}, "
		"response: {add: {host: x}, set: {x-a: \"a\\nb\"}, remove: [':status']}}}]}",
		"spec.http[0].headers.request.set.:path: \":path\" cannot be changed here\n"
		"spec.http[0].headers.request.remove[0]: \"host\" cannot be removed\n"
		"spec.http[0].headers.response.set.x-a: has a control character, which no header value has\n"
		"spec.http[0].headers.response.add.host: \"host\" cannot be changed here\n"
		"spec.http[0].headers.response.remove[0]: \":status\" cannot be removed\n" },
	{ "VirtualService",
		"{hosts: [a], http: [{appendHeaders: {'b d': x}, removeRequestHeaders: [':path'], route: "
		"[{destination: {host: b}, appendResponseHeaders: {':status': '1'}, removeResponseHeaders: ['a b']}]}]}",
		"spec.http[0].route[0].appendResponseHeaders.:status: \":status\" cannot be changed here\n"
		"spec.http[0].route[0].removeResponseHeaders[0]: \"a b\" is not a header name\n"
		"spec.http[0].appendHeaders.b d: \"b d\" is not a header name\n"
		"spec.http[0].removeRequestHeaders[0]: \":path\" cannot be removed\n" },
	{ "VirtualService", ROUTE "headers: {request: {set: {host: ''}}}}]}",
		"spec.http[0].headers.request.set.host: is empty: a request needs a host\n" },
	{ "VirtualService",
		ROUTE "rewrite: {uriRegexRewrite: {match: '/(a)/(b)', rewrite: '\\2\\3'}}}]}",
		"spec.http[0].rewrite.uriRegexRewrite.rewrite: \\3 names a group that the pattern does not have\n" },
	{ "VirtualService",
		ROUTE "rewrite: {uriRegexRewrite: {match: '/a', rewrite: '/\\x\\\\'}}}]}",
		"spec.http[0].rewrite.uriRegexRewrite.rewrite: a backslash stands before a digit or another one\n" },
	{ "VirtualService",
		ROUTE "fault: {abort: {percentage: {value: 0.001}, grpcStatus: NOPE}}}]}",
		"spec.http[0].fault.abort.grpcStatus: \"NOPE\" is not a status of gRPC\n" },
	{ "VirtualService",
		ROUTE "fault: {abort: {percent: 1, grpcStatus: '16'}, delay: {fixedDelay: 1s}}}]}",
		"~spec.http[0].fault.delay: has no percentage: every request\n" },
	{ "VirtualService",
		ROUTE
		"match: [{sourceLabels: {'a b': c}, sourceNamespace: x_y.z}], mirrorPercentage: {value: 1}}]}",
		"spec.http[0].match[0].sourceLabels.a b: \"a b\" is not a label's key: [PREFIX/]NAME\n"
		"spec.http[0].match[0].sourceNamespace: \"x_y.z\" is not a namespace\n"
		"~spec.http[0].mirrorPercentage: has no effect without mirror\n" },
	{ "VirtualService",
		"{hosts: [a], http: [{directResponse: {status: 100}, timeout: 1s, rewrite: {uri: /}}]}",
		"~spec.http[0].timeout: has no effect beside directResponse\n"
		"~spec.http[0].rewrite: has no effect beside directResponse\n"
		"spec.http[0].directResponse.status: 100 is not an HTTP status (200 to 599)\n" },
	{ "VirtualService",
		ROUTE
		"corsPolicy: {allowOrigin: ['*'], allowOrigins: [{exact: x}], allowHeaders: ['a b']}}]}",
		"~spec.http[0].corsPolicy.allowOrigin: has no effect beside allowOrigins\n"
		"spec.http[0].corsPolicy.allowHeaders[0]: \"a b\" is not a header name\n" },
	{ "VirtualService",
		"{hosts: [a], http: [{route: [{destination: {host: b}, weight: 2147483647}, "
		"{destination: {host: b}, weight: 2147483647}, {destination: {host: b}, weight: 2}]}]}",
		"spec.http[0].route: the weights add up to more than 4294967295\n" },
	{ "VirtualService", "{hosts: [a], http: [{delegate: {name: 'b c', namespace: d.e}}]}",
		"spec.http[0].delegate.name: \"b c\" is not a name\n"
		"spec.http[0].delegate.namespace: \"d.e\" is not a namespace\n" },
	{ "VirtualService",
		"{http: [{delegate: {name: b}}], tcp: [{route: [{destination: {host: b}}]}]}",
		"spec.http[0].delegate: a virtual service without hosts cannot delegate further\n"
		"spec.tcp: only HTTP rules are delegated: spec.hosts is missing\n" },
	{ "VirtualService",
		"{hosts: [a.b, '*.c.d'], tls: [{match: [{sniHosts: [A.b, x.c.d, c.d, '*.y.c.d'], sourceSubnet: x, "
		"sourceNamespace: 'a/b'}], route: [{destination: {host: b}}]}]}",
		"~spec.tls[0].match[0].sniHosts[2]: \"c.d\" is none of spec.hosts\n"
		"spec.tls[0].match[0].sourceSubnet: \"x\" is not an IP address or CIDR block\n"
		"spec.tls[0].match[0].sourceNamespace: \"a/b\" is not a namespace\n" },
	{ "VirtualService",
		"{hosts: [a], tcp: [{match: [{sourceSubnet: 10.0.0.0/33, sourceLabels: {a: 'b c'}}], route: "
		"[{destination: {host: b}}]}]}",
		"spec.tcp[0].match[0].sourceSubnet: \"10.0.0.0/33\" is not an IP address or CIDR block\n"
		"spec.tcp[0].match[0].sourceLabels.a: \"b c\" is not a label's value: letters, digits, '-', '_' and '.', "
		"at most 63\n" },
	/* DestinationRule */
	{ "DestinationRule", "{host: a, subsets: [{name: v1}, {name: v1}]}",
		"spec.subsets[1].name: \"v1\" stands here twice\n" },
	{ "DestinationRule", "{host: a, trafficPolicy: {loadBalancer: {consistentHash: {}}}}",
		"spec.trafficPolicy.loadBalancer.consistentHash: needs one of httpHeaderName, httpCookie, useSourceIp, "
		"httpQueryParameterName\n" },
	{ "DestinationRule", "{host: a, trafficPolicy: {tls: {mode: MUTUAL}}}",
		"spec.trafficPolicy.tls.clientCertificate: is missing: mode MUTUAL needs it\n"
		"spec.trafficPolicy.tls.privateKey: is missing: mode MUTUAL needs it\n" },
	{ "DestinationRule",
		"{host: a, trafficPolicy: {outlierDetection: {maxEjectionPercent: 120, interval: 0s}}}",
		"spec.trafficPolicy.outlierDetection.interval: must be at least 1 ms\n"
		"spec.trafficPolicy.outlierDetection.maxEjectionPercent: 120 is not a percentage (0 to 100)\n" },
	/* Gateway */
	{ "Gateway", "{servers: [{port: {number: 443, protocol: HTTPS}, hosts: ['*']}]}",
		"spec.servers[0].tls: is missing: protocol HTTPS needs it\n" },
	{ "Gateway", "{servers: [{port: {number: 80, protocol: NOPE}}]}",
		"spec.servers[0].port.protocol: \"NOPE\" is not HTTP, HTTPS, GRPC, GRPC-WEB, HTTP2, MONGO, TCP or TLS\n"
		"spec.servers[0].hosts: is missing\n" },
	/* ServiceEntry */
	{ "ServiceEntry",
		"{hosts: [a], ports: [{number: 80, name: http}], resolution: STATIC, "
		"endpoints: [{address: 10.0.0.300, ports: {nope: 1}}]}",
		"spec.endpoints[0].address: \"10.0.0.300\" is not an IP address\n"
		"spec.endpoints[0].ports.nope: names no port of spec.ports\n" },
	{ "ServiceEntry", "{hosts: ['*'], ports: [{number: 0, name: http}]}",
		"spec.hosts[0]: \"*\" would take all traffic\nspec.ports[0].number: 0 is not a port (1 to 65535)\n" },
	{ "ServiceEntry", "{hosts: ['*.x'], ports: [{number: 80, name: a}], resolution: DNS}",
		"spec.hosts[0]: a wildcard cannot be resolved: give endpoints\n" },
	/* Sidecar */
	{ "Sidecar", "{egress: [{hosts: [nohost]}]}",
		"spec.egress[0].hosts[0]: \"nohost\" is not NAMESPACE/HOST\n" },
	{ "Sidecar", "{ingress: [{port: {number: 80, protocol: HTTP}, defaultEndpoint: 'x'}]}",
		"spec.ingress[0].defaultEndpoint: \"x\" is not ADDRESS:PORT or unix:///PATH\n" },
	/* Mixer */
	{ "rule", "{match: 'source.namespace ==', actions: [{handler: h, instances: [i]}]}",
		"spec.match: column 20: expected a value, an attribute or a function\n" },
	{ "rule", "{match: 'my.own == \"x\"', actions: [{handler: h, instances: [i]}]}",
		"~spec.match: column 1: unknown attribute \"my.own\"\n" },
	{ "rule", "{match: source.name}",
		"spec.match: column 1: the expression is STRING, not BOOL\n"
		"spec.actions: is missing\n" },
	{ "metric", "{value: '1', dimensions: {a: 'source.name | 3'}}",
		"spec.dimensions.a: column 13: operator | does not take STRING and INT64\n" },
	{ "listchecker", "{entryType: IP_ADDRESSES, overrides: [10.0.0.0/33]}",
		"spec.overrides[0]: \"10.0.0.0/33\" is not an IP address or CIDR block\n" },
	{ "MeshConfig", "{mixerCheckServer: nope}",
		"spec.mixerCheckServer: \"nope\" is not HOST:PORT\n" },
	{ "MeshConfig",
		"{proxyHttpPort: 70000, dnsRefreshRate: 0s, protocolDetectionTimeout: 0s, tcpKeepalive: {time: 1ms}}",
		"spec.proxyHttpPort: 70000 is not a port (1 to 65535)\n"
		"spec.dnsRefreshRate: must be at least 1 ms\n"
		"spec.tcpKeepalive.time: must be at least 1000 ms\n" },
	{ "MeshConfig", "{accessLogEncoding: JSON, accessLogFormat: '[1]'}",
		"spec.accessLogFormat: is not a JSON object\n" },
	{ "MeshConfig", "{accessLogEncoding: TEXT, accessLogFormat: '[1]'}", "" },
	{ "MeshConfig",
		"{extensionProviders: [{name: a}, {name: a, zipkin: {port: 1}}, {name: b, lightstep: {service: x, port: 1}}]}",
		"spec.extensionProviders[0]: says not what it is: zipkin, opentelemetry, envoyFileAccessLog, ...\n"
		"spec.extensionProviders[1].name: \"a\" is already defined\n"
		"spec.extensionProviders[1].zipkin.service: is missing\n"
		"~spec.extensionProviders[2]: \"b\" is of a kind that Envoy no longer has, or that is not served\n" },
	{ "MeshConfig", "{defaultConfig: {tracing: {sampling: 101, zipkin: {address: z}}}}",
		"spec.defaultConfig.tracing.sampling: 101 is not between 0 and 100\n"
		"spec.defaultConfig.tracing.zipkin.address: \"z\" is not HOST:PORT\n" },
	{ "MeshConfig",
		"{tlsDefaults: {cipherSuites: [X]}, defaultTrafficPolicy: {outlierDetection: {maxEjectionPercent: 101}}, defaultConfig: {connectionSettings: {httpIdleTimeout: -1s, http2InitialStreamWindowSize: 1}}}",
		"~spec.tlsDefaults.cipherSuites[0]: \"X\" is not known to Envoy: left out\n"
		"spec.defaultTrafficPolicy.outlierDetection.maxEjectionPercent: 101 is not a percentage (0 to 100)\n"
		"spec.defaultConfig.connectionSettings.httpIdleTimeout: must not be negative\n"
		"spec.defaultConfig.connectionSettings.http2InitialStreamWindowSize: 1 is below 65535\n" },
	{ "MeshConfig",
		"{defaultConfig: {proxyStatsMatcher: {inclusionRegexps: ['(']}, proxyAdminPort: 70000, statsdUdpAddress: x}}",
		"spec.defaultConfig.proxyStatsMatcher.inclusionRegexps[0]: bad pattern at character 2: missing closing parenthesis\n"
		"spec.defaultConfig.proxyAdminPort: 70000 is not a port (1 to 65535)\n"
		"spec.defaultConfig.statsdUdpAddress: \"x\" is not HOST:PORT\n" },
	/* ProxyConfig */
	{ "ProxyConfig",
		"{concurrency: 2000, environmentVariables: {'A=B': c}, image: {imageType: distroless}}",
		"spec.concurrency: 2000 is not between 0 and 1024\n"
		"spec.environmentVariables: \"A=B\" is not a variable's name\n"
		"~spec.image: has no effect: the agent's --envoy is the proxy\n" },
	/* EnvoyFilter */
	{ "EnvoyFilter",
		"{configPatches: [{applyTo: CLUSTER, patch: {operation: MERGE, value: {connect_timeout: 1s}}}]}",
		"" },
	{ "EnvoyFilter",
		"{configPatches: [{}, {applyTo: CLUSTER}, {applyTo: CLUSTER, patch: {operation: INSERT_BEFORE, value: {name: a}}}, {applyTo: CLUSTER, match: {listener: {}}, patch: {operation: ADD, value: {type: STATIC}}}]}",
		"spec.configPatches[0].applyTo: is missing\n"
		"spec.configPatches[1].patch.operation: is missing\n"
		"~spec.configPatches[2].patch.operation: has no effect: INSERT_BEFORE is not possible for CLUSTER\n"
		"spec.configPatches[3].match.listener: is for listeners and what is in them\n"
		"spec.configPatches[3].patch.value.name: is missing\n" },
	{ "EnvoyFilter",
		"{configPatches: [{applyTo: HTTP_FILTER, match: {proxy: {proxyVersion: '('}}, patch: {operation: INSERT_FIRST, value: {name: l, typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua, x: 1}}}}]}",
		"spec.configPatches[0].match.proxy.proxyVersion: bad pattern at character 2: missing closing parenthesis\n"
		"spec.configPatches[0].patch.value.typed_config: unknown field \"x\" (of an extension: write it as xds.type.v3.TypedStruct, and Envoy decides)\n" },
	{ "EnvoyFilter",
		"{configPatches: [{applyTo: HTTP_FILTER, patch: {operation: ADD, value: {name: l, typed_config: {'@type': type.googleapis.com/envoy.unknown.v3.X, y: [1, {z: true}]}}}}]}",
		"" },
	{ "EnvoyFilter",
		"{configPatches: [{applyTo: BOOTSTRAP, patch: {operation: MERGE, value: {x: 1}}}]}",
		"~spec.configPatches[0].applyTo: takes effect when the agent starts a proxy next\n" },
	{ "EnvoyFilter",
		"{filters: [{}, {filterName: envoy.buffer, filterType: HTTP, filterConfig: {bad: 1}, insertPosition: {index: AFTER}}, {filterName: mine, filterType: HTTP, filterConfig: {a: 1}}]}",
		"spec.filters[0].filterName: is missing\n"
		"spec.filters[0].filterType: is missing: HTTP or NETWORK\n"
		"spec.filters[1].insertPosition.relativeTo: is missing\n"
		"spec.filters[1].typedConfig: unknown field \"bad\"\n"
		"spec.filters[2].typedConfig: an Any needs \"@type\"\n" },
	/* Telemetry */
	{ "Telemetry",
		"{accessLogging: [{providers: [{name: a}], filter: {expression: x}}], tracing: [{randomSamplingPercentage: 0}]}",
		"" },
	{ "Telemetry",
		"{tracing: [{providers: [{name: a}, {}], randomSamplingPercentage: 100.5, customTags: {x: {}, y: {header: {name: 'a b'}}}}]}",
		"spec.tracing[0].providers[1].name: is missing\n"
		"spec.tracing[0].providers: one tracer at a time: a proxy has one\n"
		"spec.tracing[0].randomSamplingPercentage: 100.5 is not between 0 and 100\n"
		"spec.tracing[0].customTags[\"x\"]: needs literal, environment, header or formatter\n"
		"spec.tracing[0].customTags[\"y\"].header.name: \"a b\" is not a header name\n" },
	{ "Telemetry", "{selector: {matchLabels: {a: b}}, targetRefs: [{kind: Gateway, name: x}]}",
		"spec.selector: say selector or targetRefs, not both\n" },
};

START_TEST(test_case)
{
	struct mt_buf got = { 0 };

	faults(cases[_i].kind, cases[_i].spec, &got);
	ck_assert_msg(strcmp(mt_buf_str(&got), cases[_i].want) == 0, "%s %s\ngives:\n%s\nnot:\n%s",
		cases[_i].kind, cases[_i].spec, mt_buf_str(&got), cases[_i].want);
	mt_buf_clear(&got);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("validate");
	TCase *tc = tcase_create("validate");
	tcase_add_loop_test(tc, test_case, 0, (int)MT_ARRAY_SIZE(cases));
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
