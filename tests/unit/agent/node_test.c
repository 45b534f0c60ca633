#include "agent/node.h"

#include <string.h>

#include "agent/bootstrap.h"
#include "common/base/mem.h"
#include "tests/unit/unit.h"

static const struct mt_opt rows[] = {
#define OPT(...) MT_OPT_ROW(struct agent_options, __VA_ARGS__)
#include "agent/options.def"
#undef OPT
};

struct made {
	struct agent_options o;
	struct mt_options *parsed;
	struct mt_arena *arena;
	struct agent_node n;
	struct mt_err err;
	int r;
};

/* The node that a command line gives; flags end with NULL. */
static struct made *make(const char *const *flags)
{
	struct made *m = MT_NEW(struct made);
	char *argv[32] = { "agent" };
	int argc = 1;

	while (*flags)
		argv[argc++] = (char *)(uintptr_t)*flags++;
	m->o.common.trust_domain = "cluster.local";
	m->arena = mt_arena_new(0);
	ck_assert_int_eq(mt_options_parse("agent", "", rows, MT_ARRAY_SIZE(rows), &m->o, argc, argv,
				 &m->parsed, &m->err),
		0);
	m->r = agent_node_make(&m->o, m->arena, &m->n, &m->err);
	return m;
}
#define MAKE(...) make((const char *const[]){ __VA_ARGS__, NULL })

static void made_free(struct made *m)
{
	mt_options_free(m->parsed);
	mt_arena_free(m->arena);
	mt_free(m);
}

START_TEST(parts)
{
	struct made *m = MAKE("--ip=10.1.2.3", "--name=reviews-v1-x", "--namespace=shop",
		"--workload=reviews-v1", "--service-account=reviews",
		"--labels=app=reviews,version=v1", "--labels=a=b=c", "--locality=eu/eu-1",
		"--instance-ips=10.1.2.4,fd00::1");

	ck_assert_msg(m->r == 0, "%s: %s", m->err.path, m->err.msg);
	ck_assert_str_eq(m->n.id, "sidecar~10.1.2.3~reviews-v1-x.shop~shop.svc.cluster.local");
	ck_assert_str_eq(m->n.spiffe_id, "spiffe://cluster.local/ns/shop/sa/reviews");
	ck_assert_uint_eq(m->n.nlabels, 3);
	ck_assert_str_eq(m->n.labels[2].value, "b=c");
	ck_assert_str_eq(m->n.instance_ips, "10.1.2.3,10.1.2.4,fd00::1");
	ck_assert_str_eq(m->n.region, "eu");
	ck_assert_str_eq(m->n.zone, "eu-1");
	ck_assert_str_eq(m->n.subzone, "");
	ck_assert_ptr_nonnull(
		strstr(m->n.workload_env, "name=reviews-v1&ns=shop&sa=reviews&l.app=reviews"));
	made_free(m);
}
END_TEST

START_TEST(whole)
{
	struct made *m =
		MAKE("--node-id=router~::1~gw-1.istio-system~istio-system.svc.x", "--name=ignored");

	ck_assert_msg(m->r == 0, "%s: %s", m->err.path, m->err.msg);
	ck_assert_str_eq(m->n.id, "router~::1~gw-1.istio-system~istio-system.svc.x");
	ck_assert_str_eq(m->n.name, "gw-1");
	ck_assert_str_eq(m->n.ns, "istio-system");
	ck_assert_str_eq(m->n.type, "router");
	made_free(m);
}
END_TEST

START_TEST(refused)
{
	static const struct {
		const char *path, *flags[4];
	} bad[] = {
		{ "--ip", { "--name=a", "--ip=nowhere" } },
		{ "--ip", { "--name=a" } },
		{ "--name", { "--ip=10.0.0.1" } },
		{ "--name", { "--ip=10.0.0.1", "--name=a~b" } },
		{ "--type", { "--ip=10.0.0.1", "--name=a", "--type=pigeon" } },
		{ "--labels", { "--ip=10.0.0.1", "--name=a", "--labels=novalue" } },
		{ "--instance-ips", { "--ip=10.0.0.1", "--name=a", "--instance-ips=x" } },
		{ "--interception", { "--ip=10.0.0.1", "--name=a", "--interception=MAGIC" } },
		{ "--node-id", { "--node-id=sidecar~10.0.0.1~a.b" } },
		{ "--node-id", { "--node-id=sidecar~10.0.0.1~ab~d" } },
		{ "--node-id", { "--node-id=sidecar~10.0.0.1~a.b~d~e" } },
	};

	for (size_t i = 0; i < MT_ARRAY_SIZE(bad); i++) {
		struct made *m = make(bad[i].flags);

		ck_assert_msg(m->r == MT_INVALID, "%zu", i);
		ck_assert_str_eq(m->err.path, bad[i].path);
		made_free(m);
	}
}
END_TEST

/* More labels than a header can carry: the workload is named without any. */
START_TEST(many_labels)
{
	char flag[32][160];
	const char *flags[32] = { "--ip=10.0.0.1", "--name=a" };
	struct made *m;

	for (int i = 2; i < 30; i++) {
		memset(flag[i], 'v', sizeof(flag[i]));
		int n = snprintf(flag[i], sizeof(flag[i]), "--labels=key%d=", i);
		flag[i][n] = 'v';
		flag[i][sizeof(flag[i]) - 1] = '\0';
		flags[i] = flag[i];
	}
	flags[30] = NULL;
	m = make(flags);
	ck_assert_int_eq(m->r, 0);
	ck_assert_uint_eq(m->n.nlabels, 28);
	ck_assert_str_eq(m->n.workload_env, "name=a&ns=default&sa=default");
	made_free(m);
}
END_TEST

static json_t *bootstrap(
	struct made *m, const char *pilot, const char *pilot_id, bool delta, int want)
{
	const struct agent_bootstrap b = { .node = &m->n,
		.pilot_addr = pilot,
		.pilot_id = pilot_id,
		.sds_socket = "/run/sds/socket",
		.admin_addr = "127.0.0.1:15000",
		.version = "1",
		.delta = delta };
	json_t *j = NULL;

	ck_assert_int_eq(agent_bootstrap_make(&b, &j, &m->err), want);
	return j;
}

static json_t *at(json_t *j, const char *a, const char *b, const char *c)
{
	j = json_object_get(j, a);
	j = b ? json_object_get(j, b) : j;
	return c ? json_object_get(j, c) : j;
}

START_TEST(boots)
{
	struct made *m = MAKE("--ip=10.1.2.3", "--name=a", "--labels=app=a", "--cluster-id=east");
	json_t *j = bootstrap(m, "10.0.0.1:15012", "spiffe://cluster.local/ns/x/sa/pilot", true, 0),
	       *clusters;
	char *text = json_dumps(j, 0);

	ck_assert_str_eq(json_string_value(at(j, "node", "metadata", "CLUSTER_ID")), "east");
	ck_assert(json_is_true(at(j, "node", "metadata", "SDS")));
	ck_assert(json_is_string(at(j, "node", "metadata", "ENVOY_ADMIN")));
	ck_assert_str_eq(json_string_value(at(j, "dynamic_resources", "ads_config", "api_type")),
		"DELTA_GRPC");
	clusters = at(j, "static_resources", "clusters", NULL);
	ck_assert_uint_eq(json_array_size(clusters), 2);
	ck_assert_str_eq(
		json_string_value(json_object_get(json_array_get(clusters, 0), "type")), "STATIC");
	ck_assert_ptr_nonnull(strstr(text, "spiffe://cluster.local/ns/x/sa/pilot"));
	free(text);
	json_decref(j);
	j = bootstrap(m, "pilot.example:15010", NULL, false, 0);
	ck_assert_str_eq(
		json_string_value(at(j, "dynamic_resources", "ads_config", "api_type")), "GRPC");
	ck_assert(json_is_false(at(j, "node", "metadata", "SDS")));
	clusters = at(j, "static_resources", "clusters", NULL);
	ck_assert_str_eq(json_string_value(json_object_get(json_array_get(clusters, 0), "type")),
		"STRICT_DNS");
	ck_assert_ptr_null(json_object_get(json_array_get(clusters, 0), "transport_socket"));
	json_decref(j);
	ck_assert_ptr_null(bootstrap(m, "nonsense", NULL, false, MT_INVALID));
	ck_assert_str_eq(m->err.path, "--pilot-addr");
	made_free(m);
}
END_TEST

MT_UNIT(node, parts, whole, refused, many_labels, boots)
