#include "pilot/model/proxy.h"

#include <string.h>

#include "pilot/model/service.h"
#include "tests/unit/pilot/world_fixture.h"

START_TEST(node_of_istio)
{
	struct pilot_proxy *p;
	struct mt_err err;
	int r = proxy_of_json(
		"{\"id\": \"sidecar~10.0.0.1~reviews-v1-abc.shop~shop.svc.cluster.local\","
		"\"locality\": {\"region\": \"eu\", \"zone\": \"a\", \"sub_zone\": \"x\"},"
		"\"user_agent_build_version\": {\"version\": {\"major_number\": 1, \"minor_number\": 36,"
		"\"patch\": 2}},"
		"\"metadata\": {\"NAMESPACE\": \"shop\", \"CLUSTER_ID\": \"c1\", \"NETWORK\": \"n1\","
		"\"INSTANCE_IPS\": \"10.0.0.1,10.0.0.2,fd00::1\", \"NODE_NAME\": \"host-1\","
		"\"SERVICE_ACCOUNT\": \"reviews\", \"WORKLOAD_NAME\": \"reviews-v1\","
		"\"INTERCEPTION_MODE\": \"TPROXY\", \"SDS\": \"true\", \"OTHER\": [1, 2],"
		"\"ENVOY_ADMIN\": \"10.0.0.1:15000\","
		"\"LABELS\": {\"version\": \"v1\", \"app\": \"reviews\"}}}",
		&p, &err);
	ck_assert_int_eq(r, 0);
	ck_assert_int_eq(p->type, PILOT_SIDECAR);
	ck_assert_str_eq(p->id, "reviews-v1-abc.shop");
	ck_assert_str_eq(p->name, "reviews-v1-abc");
	ck_assert_str_eq(p->ns, "shop");
	ck_assert_str_eq(p->domain, "shop.svc.cluster.local");
	ck_assert_uint_eq(p->nips, 3);
	ck_assert_str_eq(p->ips[2], "fd00::1");
	ck_assert(p->ipv4 && p->ipv6 && p->tproxy && !p->none && p->sds);
	ck_assert_str_eq(p->labels[0].key, "app");
	ck_assert_str_eq(pilot_label(p->labels, p->nlabels, "version"), "v1");
	ck_assert_str_eq(p->cluster_id, "c1");
	ck_assert_str_eq(p->network, "n1");
	ck_assert_str_eq(p->workload, "reviews-v1");
	ck_assert_str_eq(p->region, "eu");
	ck_assert_int_eq(p->minor, 36);
	struct mt_kv known[] = { { "app", "ratings" } };
	struct pilot_proxy *q = pilot_proxy_with(p, known, 1, NULL, "other");
	pilot_proxy_unref(p);
	ck_assert_str_eq(q->labels[0].value, "ratings");
	ck_assert_str_eq(q->service_account, "other");
	ck_assert_str_eq(q->admin, "10.0.0.1:15000");
	ck_assert_str_eq(q->ns, "shop");
	pilot_proxy_unref(q);
}
END_TEST

START_TEST(what_is_not_said)
{
	struct pilot_proxy *p;
	struct mt_err err;
	ck_assert_int_eq(proxy_of_json("{\"id\": \"router~10.0.0.1~gw.edge~\"}", &p, &err), 0);
	ck_assert_int_eq(p->type, PILOT_ROUTER);
	ck_assert_str_eq(p->ns, "edge");
	ck_assert_str_eq(p->domain, "edge.svc.cluster.local");
	ck_assert_str_eq(p->cluster_id, "");
	ck_assert_str_eq(p->workload, "gw");
	ck_assert(!p->sds);
	pilot_proxy_unref(p);
}
END_TEST

START_TEST(grpc_without_a_proxy)
{
	struct pilot_proxy *p;
	struct mt_err err;
	ck_assert_int_eq(
		proxy_of_json("{\"id\": \"sidecar~10.0.0.1~a.shop~shop.svc.cluster.local\", "
			      "\"metadata\": {\"GENERATOR\": \"grpc\"}}",
			&p, &err),
		0);
	ck_assert_int_eq(p->type, PILOT_PROXYLESS);
	ck_assert_str_eq(p->id, "a.shop");
	ck_assert_str_eq(p->ns, "shop");
	ck_assert_str_eq(p->ips[0], "10.0.0.1");
	pilot_proxy_unref(p);
	/* Any id will do where gRPC itself speaks. */
	ck_assert_int_eq(proxy_of_json("{\"id\": \"my~client\", \"user_agent_name\": "
				       "\"gRPC C-core linux\", \"user_agent_version\": \"1.2\", "
				       "\"metadata\": {\"NAMESPACE\": \"shop\"}}",
				 &p, &err),
		0);
	ck_assert_int_eq(p->type, PILOT_PROXYLESS);
	ck_assert_str_eq(p->id, "my~client");
	ck_assert_str_eq(p->ns, "shop");
	ck_assert_str_eq(p->domain, "shop.svc.cluster.local");
	ck_assert_str_eq(p->agent, "gRPC C-core linux 1.2");
	ck_assert_uint_eq(p->nips, 1);
	struct pilot_proxy *q = pilot_proxy_with(p, NULL, 0, "other", NULL);
	pilot_proxy_unref(p);
	ck_assert_str_eq(q->agent, "gRPC C-core linux 1.2");
	ck_assert_int_eq(q->type, PILOT_PROXYLESS);
	pilot_proxy_unref(q);
}
END_TEST

START_TEST(bad_nodes)
{
	static const struct {
		const char *json, *said;
	} bad[] = {
		{ "{}", "type~ip~name~domain" },
		{ "{\"id\": \"sidecar~10.0.0.1~x\"}", "type~ip~name~domain" },
		{ "{\"id\": \"sidecar~10.0.0.1~x~y~z\"}", "too many" },
		{ "{\"id\": \"waypoint~10.0.0.1~x~y\"}", "unknown type waypoint" },
		{ "{\"id\": \"sidecar~host~x~y\"}", "not an IP address" },
		{ "{\"id\": \"sidecar~~x~y\"}", "no IP address" },
		{ "{\"id\": \"sidecar~10.0.0.1~x~y\", \"metadata\": {\"INSTANCE_IPS\": \"a\"}}",
			"not an IP address" },
	};
	for (size_t i = 0; i < MT_ARRAY_SIZE(bad); i++) {
		struct pilot_proxy *p;
		struct mt_err err = { 0 };
		ck_assert_int_eq(proxy_of_json(bad[i].json, &p, &err), MT_INVALID);
		ck_assert_msg(strstr(err.msg, bad[i].said), "%s: %s", bad[i].json, err.msg);
	}
}
END_TEST

START_TEST(limits)
{
	struct mt_buf b = { 0 };
	struct pilot_proxy *p;
	struct mt_err err;
	mt_buf_adds(&b, "{\"id\": \"sidecar~10.0.0.1~x~y\", \"metadata\": {\"LABELS\": {");
	for (int i = 0; i <= PILOT_PROXY_LABELS_MAX; i++)
		mt_buf_printf(&b, "%s\"k%d\": \"v\"", i ? "," : "", i);
	mt_buf_adds(&b, "}}}");
	ck_assert_int_eq(proxy_of_json(mt_buf_str(&b), &p, &err), MT_INVALID);
	ck_assert_ptr_nonnull(strstr(err.msg, "labels"));
	mt_buf_clear(&b);
	mt_buf_adds(&b, "{\"id\": \"sidecar~10.0.0.1~x~y\", \"metadata\": {\"INSTANCE_IPS\": \"");
	for (int i = 0; i <= PILOT_PROXY_IPS_MAX; i++)
		mt_buf_printf(&b, "%s10.1.0.%d", i ? "," : "", i);
	mt_buf_adds(&b, "\"}}");
	ck_assert_int_eq(proxy_of_json(mt_buf_str(&b), &p, &err), MT_INVALID);
	mt_buf_clear(&b);
}
END_TEST

MT_UNIT(proxy, node_of_istio, what_is_not_said, grpc_without_a_proxy, bad_nodes, limits)
