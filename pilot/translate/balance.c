/* Load balancers: which one, its table, warming endpoints up, and whether it looks at localities. */
#include "pilot/translate/policy.h"

bool pilot_policy_is_passthrough(const struct pilot_policy *pol)
{
	return pol->lb && pol->lb->lb_policy_case == NW__LOAD_BALANCER_SETTINGS__LB_POLICY_SIMPLE &&
		pol->lb->simple == NW__LOAD_BALANCER_SETTINGS__SIMPLE_LB__PASSTHROUGH;
}

const Nw__LoadBalancerSettings__ConsistentHashLB *pilot_policy_hash(const struct pilot_policy *pol)
{
	if (!pol->lb ||
		pol->lb->lb_policy_case != NW__LOAD_BALANCER_SETTINGS__LB_POLICY_CONSISTENT_HASH)
		return NULL;
	return pol->lb->consistent_hash;
}

static void hash_lb(struct pilot_job *j, Cluster__Cluster *c,
	const Nw__LoadBalancerSettings__ConsistentHashLB *h)
{
	if (h->hash_algorithm_case ==
		NW__LOAD_BALANCER_SETTINGS__CONSISTENT_HASH_LB__HASH_ALGORITHM_MAGLEV) {
		c->lb_policy = CLUSTER__CLUSTER__LB_POLICY__MAGLEV;
		if (h->maglev->table_size) {
			Cluster__Cluster__MaglevLbConfig *m =
				pb_new(j->a, cluster__cluster__maglev_lb_config);
			m->table_size = pb_u64(j->a, h->maglev->table_size);
			c->lb_config_case = CLUSTER__CLUSTER__LB_CONFIG_MAGLEV_LB_CONFIG;
			c->maglev_lb_config = m;
		}
		return;
	}
	uint64_t size = h->minimum_ring_size;
	if (h->hash_algorithm_case ==
		NW__LOAD_BALANCER_SETTINGS__CONSISTENT_HASH_LB__HASH_ALGORITHM_RING_HASH)
		size = h->ring_hash->minimum_ring_size;
	Cluster__Cluster__RingHashLbConfig *r = pb_new(j->a, cluster__cluster__ring_hash_lb_config);
	r->minimum_ring_size = pb_u64(j->a, size ? size : 1024);
	c->lb_policy = CLUSTER__CLUSTER__LB_POLICY__RING_HASH;
	c->lb_config_case = CLUSTER__CLUSTER__LB_CONFIG_RING_HASH_LB_CONFIG;
	c->ring_hash_lb_config = r;
}

/* A new endpoint starts with a small share of the traffic, which grows over the window. */
static Cluster__Cluster__SlowStartConfig *slow_start(
	struct pilot_job *j, const Nw__LoadBalancerSettings *lb)
{
	const Nw__WarmupConfiguration *w = lb ? lb->warmup : NULL;
	const Google__Protobuf__Duration *window = w && w->duration ? w->duration
		: lb                                                ? lb->warmup_duration_secs
								    : NULL;
	if (!window)
		return NULL;
	Cluster__Cluster__SlowStartConfig *m = pb_new(j->a, cluster__cluster__slow_start_config);
	m->slow_start_window = pb_dur_dup(j->a, window);
	if (w && w->aggression) {
		m->aggression = pb_new(j->a, core__runtime_double);
		m->aggression->default_value = w->aggression->value;
		m->aggression->runtime_key = pb_s("meltemi.warmup.aggression");
	}
	if (w && w->minimum_percent) {
		m->min_weight_percent = pb_new(j->a, etype__percent);
		m->min_weight_percent->value = w->minimum_percent->value;
	}
	return m;
}

static void round_robin(
	struct pilot_job *j, Cluster__Cluster *c, Cluster__Cluster__SlowStartConfig *slow)
{
	c->lb_policy = CLUSTER__CLUSTER__LB_POLICY__ROUND_ROBIN;
	if (!slow)
		return;
	c->lb_config_case = CLUSTER__CLUSTER__LB_CONFIG_ROUND_ROBIN_LB_CONFIG;
	c->round_robin_lb_config = pb_new(j->a, cluster__cluster__round_robin_lb_config);
	c->round_robin_lb_config->slow_start_config = slow;
}

static void least_request(
	struct pilot_job *j, Cluster__Cluster *c, Cluster__Cluster__SlowStartConfig *slow)
{
	c->lb_policy = CLUSTER__CLUSTER__LB_POLICY__LEAST_REQUEST;
	if (!slow)
		return;
	c->lb_config_case = CLUSTER__CLUSTER__LB_CONFIG_LEAST_REQUEST_LB_CONFIG;
	c->least_request_lb_config = pb_new(j->a, cluster__cluster__least_request_lb_config);
	c->least_request_lb_config->slow_start_config = slow;
}

static void passthrough(Cluster__Cluster *c)
{
	c->lb_policy = CLUSTER__CLUSTER__LB_POLICY__CLUSTER_PROVIDED;
	c->type = CLUSTER__CLUSTER__DISCOVERY_TYPE__ORIGINAL_DST;
	c->eds_cluster_config = NULL;
	c->load_assignment = NULL;
}

static void simple_lb(struct pilot_job *j, Cluster__Cluster *c, const Nw__LoadBalancerSettings *lb)
{
	switch (lb && lb->lb_policy_case == NW__LOAD_BALANCER_SETTINGS__LB_POLICY_SIMPLE
			? lb->simple
			: NW__LOAD_BALANCER_SETTINGS__SIMPLE_LB__UNSPECIFIED) {
	case NW__LOAD_BALANCER_SETTINGS__SIMPLE_LB__ROUND_ROBIN:
		round_robin(j, c, slow_start(j, lb));
		return;
	case NW__LOAD_BALANCER_SETTINGS__SIMPLE_LB__RANDOM:
		c->lb_policy = CLUSTER__CLUSTER__LB_POLICY__RANDOM;
		return;
	case NW__LOAD_BALANCER_SETTINGS__SIMPLE_LB__PASSTHROUGH: passthrough(c); return;
	default: least_request(j, c, slow_start(j, lb)); return; /* LEAST_CONN is its old name */
	}
}

void pilot_cluster_balance(struct pilot_job *j, Cluster__Cluster *c, const struct pilot_policy *pol)
{
	if (c->type == CLUSTER__CLUSTER__DISCOVERY_TYPE__ORIGINAL_DST) {
		c->lb_policy = CLUSTER__CLUSTER__LB_POLICY__CLUSTER_PROVIDED;
		return;
	}
	if (pilot_policy_hash(pol))
		hash_lb(j, c, pilot_policy_hash(pol));
	else
		simple_lb(j, c, pol->lb);
	if (c->type == CLUSTER__CLUSTER__DISCOVERY_TYPE__ORIGINAL_DST ||
		!pilot_locality_weighted(j, pol))
		return;
	if (!c->common_lb_config)
		c->common_lb_config = pb_new(j->a, cluster__cluster__common_lb_config);
	c->common_lb_config->locality_config_specifier_case =
		CLUSTER__CLUSTER__COMMON_LB_CONFIG__LOCALITY_CONFIG_SPECIFIER_LOCALITY_WEIGHTED_LB_CONFIG;
	c->common_lb_config->locality_weighted_lb_config =
		pb_new(j->a, cluster__cluster__common_lb_config__locality_weighted_lb_config);
}
