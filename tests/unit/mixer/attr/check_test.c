#include "mixer/attr/check.h"

#include "common/schema/pb.h"
#include "tests/unit/unit.h"

struct fixture {
	struct mt_vocab *vocab;
	struct mt_arena *a;
	struct mixer_facts f;
};

static void start(struct fixture *x, const char *json, bool trust)
{
	struct mt_diags diags = { 0 };
	json_error_t e;
	json_t *j = json_loads(json, 0, &e);
	const struct mixer_check_opts o = { trust, 1600000000 * 1000000000LL };
	const ProtobufCMessage *m;

	ck_assert_msg(j != NULL, "%s at %d", e.text, e.position);
	x->vocab = mt_vocab_new();
	x->a = mt_arena_new(0);
	m = mt_pb_from_json(&auth__check_request__descriptor, j, "", x->a, &diags);
	ck_assert_msg(m != NULL, "%s", diags.n ? diags.v[0].msg : "");
	json_decref(j);
	mt_diags_clear(&diags);
	mixer_facts_init(&x->f, x->vocab, x->a);
	mixer_attr_check(&x->f, (const Auth__CheckRequest *)m, &o);
}

static void stop(struct fixture *x)
{
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

static const char whole[] =
	"{attributes: {source: {address: {socketAddress: {address: \"10.0.0.1\", portValue: 4711}},"
	"  principal: \"spiffe://cluster.local/ns/shop/sa/front\"},"
	" destination: {address: {socketAddress: {address: \"10.0.0.2\", portValue: 9080}},"
	"  principal: \"spiffe://cluster.local/ns/shop/sa/details\"},"
	" request: {time: \"2026-11-24T04:00:00Z\", http: {id: \"77\", method: GET,"
	"  path: \"/details/1?lang=en&q=a%20b\", host: \"details:9080\", scheme: http, size: \"-1\","
	"  headers: {\":path\": \"/details/1\", \"x-request-id\": abc, \"user-agent\": curl,"
	"   \"x-meltemi-workload\": \"name=front-v1&ns=shop&sa=front&l.app=front&l.version=v1\"}}},"
	" contextExtensions: {\"destination.labels.app\": details,"
	"  \"destination.service.host\": \"details.shop.svc.cluster.local\","
	"  \"destination.workload.name\": details-v1, \"destination.namespace\": shop,"
	"  \"context.reporter.kind\": inbound}, tlsSession: {sni: \"outbound_.9080_._.details\"}}}";

/* JSON with bare keys, for reading: quotes are put in here. */
static char *strict(const char *loose)
{
	static char out[8192];
	char *w = out;
	bool in = false;

	for (const char *p = loose; *p; p++) {
		bool word = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z');

		if (*p == '"')
			in = !in;
		if (in || !word) {
			*w++ = *p;
			continue;
		}
		*w++ = '"';
		while ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || *p == '-' ||
			(*p >= '0' && *p <= '9'))
			*w++ = *p++;
		*w++ = '"';
		p--;
	}
	*w = '\0';
	return out;
}

START_TEST(all_of_it)
{
	struct fixture x;

	start(&x, strict(whole), false);
	IS("source.ip", "10.0.0.1");
	IS("source.port", "4711");
	IS("source.principal", "cluster.local/ns/shop/sa/front");
	IS("source.user", "cluster.local/ns/shop/sa/front");
	IS("source.namespace", "shop");
	IS("source.workload.name", "front-v1");
	IS("source.labels", "{\"app\":\"front\",\"version\":\"v1\"}");
	IS("connection.mtls", "true");
	IS("destination.ip", "10.0.0.2");
	IS("destination.port", "9080");
	IS("destination.labels", "{\"app\":\"details\"}");
	IS("destination.namespace", "shop");
	IS("destination.service.name", "details");
	IS("destination.principal", "cluster.local/ns/shop/sa/details");
	IS("request.path", "/details/1?lang=en&q=a%20b");
	IS("request.url_path", "/details/1");
	IS("request.query_params", "{\"lang\":\"en\",\"q\":\"a b\"}");
	IS("request.method", "GET");
	IS("request.host", "details:9080");
	IS("request.id", "abc");
	IS("request.useragent", "curl");
	IS("request.size", "(absent)");
	IS("request.time", "2026-11-24T04:00:00.000Z");
	IS("connection.requested_server_name", "outbound_.9080_._.details");
	IS("context.protocol", "http");
	IS("context.reporter.kind", "inbound");
	ck_assert(!mt_smap_get(
		&mt_bag_get(&x.f.bag, MT_ATTR_REQUEST_HEADERS)->map, "x-meltemi-workload", 18));
	stop(&x);
}
END_TEST

/* One request with this principal and this header. */
static void source(struct fixture *x, const char *principal, const char *header, bool trust)
{
	struct mt_arena *a = mt_arena_new(0);

	start(x,
		mt_arena_printf(a,
			"{\"attributes\": {\"source\": {\"principal\": \"%s\"}, \"request\": "
			"{\"http\": {\"headers\": {\"x-meltemi-workload\": \"%s\"}}}}}",
			principal, header),
		trust);
	mt_arena_free(a);
}

START_TEST(header_is_believed_with_its_certificate_alone)
{
	static const char own[] = "spiffe://cluster.local/ns/shop/sa/front";
	static const struct {
		const char *principal, *header;
		bool trust, believed;
	} v[] = {
		{ own, "name=w&ns=shop&sa=front&l.app=a", false, true },
		{ own, "name=w&ns=shop&sa=other&l.app=a", false, false },
		{ own, "name=w&ns=other&sa=front&l.app=a", false, false },
		{ own, "name=w&ns=shop&l.app=a", false, false },
		{ own, "name=w&ns=shop&sa=other&l.app=a", true, false },
		{ own, "garbage%", false, false },
		{ "", "name=w&ns=shop&sa=front&l.app=a", false, false },
		{ "", "name=w&ns=shop&sa=front&l.app=a", true, true },
		{ "CN=someone", "name=w&ns=shop&sa=front&l.app=a", false, false },
		{ "CN=someone", "name=w&ns=shop&sa=front&l.app=a", true, false },
		{ "spiffe://cluster.local/other/form", "name=w&ns=shop&sa=front&l.app=a", true,
			false },
	};

	for (size_t i = 0; i < MT_ARRAY_SIZE(v); i++) {
		struct fixture x;

		source(&x, v[i].principal, v[i].header, v[i].trust);
		IS("source.workload.name", v[i].believed ? "w" : "(absent)");
		IS("source.labels", v[i].believed ? "{\"app\":\"a\"}" : "(absent)");
		IS("connection.mtls", *v[i].principal ? "true" : "false");
		stop(&x);
	}
}
END_TEST

START_TEST(certificate_proves_the_namespace)
{
	struct fixture x;

	source(&x, "spiffe://cluster.local/ns/shop/sa/front", "name=w&ns=forged&sa=front", false);
	IS("source.namespace", "shop");
	stop(&x);
}
END_TEST

START_TEST(protocols)
{
	struct fixture x;

	start(&x, "{}", false);
	IS("context.protocol", "(absent)");
	stop(&x);
	start(&x, "{\"attributes\": {}}", false);
	IS("context.protocol", "tcp");
	stop(&x);
	start(&x,
		"{\"attributes\": {\"request\": {\"http\": {\"headers\": "
		"{\"content-type\": \"application/grpc+proto\"}}}}}",
		false);
	IS("context.protocol", "grpc");
	stop(&x);
}
END_TEST

START_TEST(paths)
{
	static const struct {
		const char *path, *url, *query;
	} v[] = {
		{ "/", "/", "(absent)" },
		{ "/a?", "/a", "(absent)" },
		{ "/a?x", "/a", "{\"x\":\"\"}" },
		{ "/a?x=1&x=2&&=3", "/a", "{\"x\":\"1\"}" },
		{ "/a?x=%4", "/a", "{\"x\":\"%4\"}" },
		{ "/a?x=%00y", "/a", "{\"x\":\"%00y\"}" },
		{ "/a?%78=a+b", "/a", "{\"x\":\"a b\"}" },
	};

	for (size_t i = 0; i < MT_ARRAY_SIZE(v); i++) {
		struct fixture x;
		char json[200];

		snprintf(json, sizeof(json),
			"{\"attributes\": {\"request\": {\"http\": {\"path\": \"%s\"}}}}",
			v[i].path);
		start(&x, json, false);
		IS("request.url_path", v[i].url);
		/* Of two equal keys the first counts; as text the last would win: look it up. */
		if (i == 3)
			ck_assert_mem_eq(
				mt_smap_get(
					&mt_bag_get(&x.f.bag, MT_ATTR_REQUEST_QUERY_PARAMS)->map,
					"x", 1)
					->p,
				"1", 1);
		else
			IS("request.query_params", v[i].query);
		stop(&x);
	}
}
END_TEST

MT_UNIT(check, all_of_it, header_is_believed_with_its_certificate_alone,
	certificate_proves_the_namespace, protocols, paths)
