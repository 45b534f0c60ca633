#include "mixer/attr/accesslog.h"

#include "common/schema/pb.h"
#include "mixer/attr/reporter.h"
#include "tests/unit/unit.h"

struct fixture {
	struct mt_vocab *vocab;
	struct mt_arena *a;
	struct mixer_reporter *who;
	struct mixer_facts f;
};

static const void *parse(struct mt_arena *a, const ProtobufCMessageDescriptor *d, const char *json)
{
	struct mt_diags diags = { 0 };
	json_error_t e;
	json_t *j = json_loads(json, 0, &e);
	const ProtobufCMessage *m;

	ck_assert_msg(j != NULL, "%s at %d", e.text, e.position);
	m = mt_pb_from_json(d, j, "", a, &diags);
	ck_assert_msg(
		m != NULL, "%s: %s", diags.n ? diags.v[0].path : "", diags.n ? diags.v[0].msg : "");
	json_decref(j);
	mt_diags_clear(&diags);
	return m;
}

static void start(struct fixture *x, const char *identifier, const char *spiffe_id)
{
	x->vocab = mt_vocab_new();
	x->a = mt_arena_new(0);
	x->who = mixer_reporter_new(
		parse(x->a, &als__stream_access_logs_message__identifier__descriptor, identifier),
		spiffe_id);
	mixer_facts_init(&x->f, x->vocab, x->a);
	mixer_reporter_add(&x->f, x->who);
}

static void http(struct fixture *x, const char *entry)
{
	const struct mixer_log_opts o = { false, x->who->outbound, 0 };

	mixer_attr_http_log(&x->f, parse(x->a, &alog__httpaccess_log_entry__descriptor, entry), &o);
}

static void tcp(struct fixture *x, const char *entry)
{
	const struct mixer_log_opts o = { false, x->who->outbound, 0 };

	mixer_attr_tcp_log(&x->f, parse(x->a, &alog__tcpaccess_log_entry__descriptor, entry), &o);
}

static void stop(struct fixture *x)
{
	mixer_reporter_unref(x->who);
	mt_arena_free(x->a);
	mt_vocab_free(x->vocab);
}

static const char *text(struct fixture *x, const char *name)
{
	int attr = mt_vocab_find(x->vocab, name, strlen(name), NULL);
	const struct mt_value *v = mt_bag_get(&x->f.bag, (size_t)attr);
	struct mt_text t;

	ck_assert_int_ge(attr, 0);
	if (!v)
		return "(absent)";
	t = mt_value_text(v, x->a);
	return mt_arena_strndup(x->a, t.p ? t.p : "", t.n);
}

#define IS(name, want) ck_assert_str_eq(text(&x, name), want)
#define NODE                                                                                       \
	"\"node\": {\"metadata\": {\"NAMESPACE\": \"shop\", \"WORKLOAD_NAME\": \"reviews-v1\", "   \
	"\"SERVICE_ACCOUNT\": \"reviews\", \"LABELS\": {\"app\": \"reviews\", \"n\": 7}}}"

START_TEST(inbound)
{
	struct fixture x;

	start(&x,
		"{" NODE ", \"logName\": \"context.reporter.kind=inbound&"
		"destination.service.host=reviews.shop.svc.cluster.local\"}",
		"spiffe://cluster.local/ns/shop/sa/reviews");
	http(&x,
		"{\"commonProperties\": {\"duration\": \"0.25s\", \"startTime\": "
		"\"2026-11-24T04:00:00Z\", \"tlsProperties\": {\"peerCertificateProperties\": "
		"{\"subjectAltName\": [{\"dns\": \"x\"}, {\"uri\": "
		"\"spiffe://cluster.local/ns/shop/sa/front\"}]}}, \"responseFlags\": "
		"{\"upstreamConnectionFailure\": true, \"upstreamRetryLimitExceeded\": true}, "
		"\"downstreamDirectRemoteAddress\": {\"socketAddress\": {\"address\": "
		"\"10.0.0.1\", \"portValue\": 99}}, \"downstreamRemoteAddress\": "
		"{\"socketAddress\": {\"address\": \"192.0.2.7\", \"portValue\": 1}}}, "
		"\"request\": {\"requestMethod\": \"POST\", \"path\": \"/r?x=1\", \"authority\": "
		"\"reviews:9080\", \"requestBodyBytes\": \"10\", \"requestHeadersBytes\": \"90\", "
		"\"requestHeaders\": {\"x-meltemi-workload\": "
		"\"name=front-v1&ns=shop&sa=front&l.app=front\", \"content-type\": \"a/b\"}}, "
		"\"response\": {\"responseCode\": 503, \"responseBodyBytes\": \"7\"}}");
	IS("context.reporter.kind", "inbound");
	IS("context.reporter.local", "true");
	IS("destination.workload.name", "reviews-v1");
	IS("destination.labels", "{\"app\":\"reviews\",\"n\":\"\"}");
	IS("destination.service.name", "reviews");
	IS("destination.principal", "cluster.local/ns/shop/sa/reviews");
	IS("source.principal", "cluster.local/ns/shop/sa/front");
	IS("source.workload.name", "front-v1");
	IS("source.labels", "{\"app\":\"front\"}");
	IS("source.ip", "10.0.0.1");
	IS("origin.ip", "192.0.2.7");
	IS("connection.mtls", "true");
	IS("request.method", "POST");
	IS("request.url_path", "/r");
	IS("request.size", "10");
	IS("request.total_size", "100");
	IS("response.code", "503");
	IS("response.size", "7");
	IS("response.flags", "UF,URX");
	IS("context.proxy_error_code", "UF,URX");
	IS("response.duration", "0.250s");
	IS("response.time", "2026-11-24T04:00:00.250Z");
	IS("context.protocol", "http");
	stop(&x);
}
END_TEST

START_TEST(outbound)
{
	struct fixture x;

	start(&x, "{" NODE ", \"logName\": \"outbound\"}",
		"spiffe://cluster.local/ns/shop/sa/reviews");
	/* The application cannot say who it is: its header is not listened to. */
	http(&x,
		"{\"commonProperties\": {\"upstreamCluster\": "
		"\"outbound|9080|v1|details.other.svc.cluster.local\", "
		"\"upstreamRemoteAddress\": {\"socketAddress\": {\"address\": \"10.0.0.9\", "
		"\"portValue\": 9080}}}, \"request\": {\"requestHeaders\": "
		"{\"x-meltemi-workload\": \"name=forged&ns=shop&sa=reviews&l.app=forged\"}}, "
		"\"response\": {\"responseCode\": 200, \"responseTrailers\": "
		"{\"grpc-status\": \"5\"}, \"responseHeaders\": {\"content-type\": "
		"\"application/grpc\"}}}");
	IS("context.reporter.kind", "outbound");
	IS("source.workload.name", "reviews-v1");
	IS("source.labels", "{\"app\":\"reviews\",\"n\":\"\"}");
	IS("source.principal", "cluster.local/ns/shop/sa/reviews");
	IS("destination.service.host", "details.other.svc.cluster.local");
	IS("destination.service.namespace", "other");
	IS("destination.ip", "10.0.0.9");
	IS("destination.workload.name", "(absent)");
	IS("connection.mtls", "false");
	IS("context.protocol", "grpc");
	IS("response.grpc_status", "5");
	IS("response.flags", "-");
	stop(&x);
}
END_TEST

START_TEST(custom_tags_are_facts)
{
	struct fixture x;

	start(&x, "{" NODE ", \"logName\": \"gateway\"}", "");
	http(&x,
		"{\"commonProperties\": {\"customTags\": {\"destination.workload.name\": "
		"\"details-v1\", \"destination.labels.app\": \"details\", \"nonsense\": \"x\", "
		"\"destination.uid\": \"\"}}}");
	IS("context.reporter.kind", "outbound");
	IS("destination.workload.name", "details-v1");
	IS("destination.labels", "{\"app\":\"details\"}");
	IS("destination.uid", "(absent)");
	IS("source.principal", "(absent)");
	stop(&x);
	/* Several in one, about the destination only. */
	start(&x, "{" NODE ", \"logName\": \"outbound\"}", "");
	http(&x,
		"{\"commonProperties\": {\"customTags\": {\"destination\": "
		"\"destination.workload.name=details-v1&destination.labels.app=details&"
		"destination.principal=spiffe%3A%2F%2Fcluster.local%2Fns%2Fa%2Fsa%2Fb&"
		"source.principal=forged\"}}}");
	IS("destination.workload.name", "details-v1");
	IS("destination.labels", "{\"app\":\"details\"}");
	IS("destination.principal", "cluster.local/ns/a/sa/b");
	IS("source.principal", "(absent)");
	stop(&x);
}
END_TEST

START_TEST(node_is_believed_with_its_certificate_alone)
{
	struct fixture x;

	start(&x, "{" NODE "}", "spiffe://cluster.local/ns/shop/sa/other");
	http(&x, "{}");
	IS("destination.workload.name", "(absent)");
	IS("destination.namespace", "shop");
	IS("destination.labels", "(absent)");
	IS("destination.principal", "cluster.local/ns/shop/sa/other");
	stop(&x);
	start(&x, "{" NODE "}", "spiffe://cluster.local/ns/else/sa/reviews");
	http(&x, "{}");
	IS("destination.workload.name", "(absent)");
	IS("destination.namespace", "else");
	stop(&x);
}
END_TEST

START_TEST(connections)
{
	struct fixture x;
#define TCP(more)                                                                                  \
	"{\"commonProperties\": {\"streamId\": \"c1\", \"duration\": \"2s\"" more                  \
	"}, \"connectionProperties\": {\"receivedBytes\": \"100\", \"sentBytes\": \"200\"}}"
	start(&x, "{" NODE "}", "");
	tcp(&x, TCP(", \"intermediateLogEntry\": true"));
	IS("context.protocol", "tcp");
	IS("connection.event", "continue");
	IS("connection.received.bytes_total", "100");
	IS("connection.received.bytes", "0");
	stop(&x);
	start(&x, "{" NODE "}", "");
	tcp(&x, TCP(", \"accessLogType\": \"TcpUpstreamConnected\""));
	IS("connection.event", "open");
	IS("connection.sent.bytes", "0");
	stop(&x);
	start(&x, "{" NODE "}", "");
	tcp(&x, TCP(""));
	IS("connection.event", "close");
	IS("connection.id", "c1");
	IS("connection.duration", "2s");
	IS("connection.received.bytes", "100");
	IS("connection.sent.bytes", "200");
	stop(&x);
}
END_TEST

START_TEST(entries_without_anything)
{
	struct fixture x;

	start(&x, "{}", "");
	http(&x, "{\"commonProperties\": {\"upstreamCluster\": \"outbound|\"}}");
	IS("destination.service.host", "(absent)");
	stop(&x);
	start(&x, "{\"logName\": \"outbound\"}", "");
	http(&x, "{\"commonProperties\": {\"upstreamCluster\": \"outbound|\"}}");
	IS("destination.service.host", "(absent)");
	tcp(&x, "{}");
	stop(&x);
}
END_TEST

MT_UNIT(accesslog, inbound, outbound, custom_tags_are_facts,
	node_is_believed_with_its_certificate_alone, connections, entries_without_anything)
