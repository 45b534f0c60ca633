/* Parts of a destination rule that decode, are valid, and yet have no effect: said on the object. */
#include "common/schema/health.h"
#include "pilot/model/destination.h"

struct notes {
	struct pilot_index *ix;
	uint32_t id;
	bool health; /* the rule has active checks */
	bool local;
};

#define IGNORED(n, path, ...)                                                                      \
	pilot_note_add(                                                                            \
		(n)->ix->arena, &(n)->ix->notes, (n)->id, PILOT_NOTE_IGNORED, (path), __VA_ARGS__)

static const char *sub(struct notes *n, const char *path, const char *field)
{
	return mt_arena_printf(n->ix->arena, "%s.%s", path, field);
}

static bool weighs(const Nw__LoadBalancerSettings *lb)
{
	if (lb->lb_policy_case == NW__LOAD_BALANCER_SETTINGS__LB_POLICY_CONSISTENT_HASH)
		return false;
	return lb->lb_policy_case != NW__LOAD_BALANCER_SETTINGS__LB_POLICY_SIMPLE ||
		(lb->simple != NW__LOAD_BALANCER_SETTINGS__SIMPLE_LB__RANDOM &&
			lb->simple != NW__LOAD_BALANCER_SETTINGS__SIMPLE_LB__PASSTHROUGH);
}

static void balancer(struct notes *n, const char *path, const Nw__LoadBalancerSettings *lb,
	const Nw__OutlierDetection *outlier)
{
	if (outlier || n->health)
		n->local = true;
	if (!lb)
		return;
	if ((lb->warmup || lb->warmup_duration_secs) && !weighs(lb))
		IGNORED(n, sub(n, path, lb->warmup ? "warmup" : "warmupDurationSecs"),
			"only ROUND_ROBIN and LEAST_REQUEST warm endpoints up");
	if (lb->zone_aware_lb_setting)
		IGNORED(n, sub(n, path, "zoneAwareLbSetting"),
			"is not supported: use localityLbSetting");
	const Nw__LocalityLoadBalancerSetting *l = lb->locality_lb_setting;
	if (!l || (l->enabled && !l->enabled->value))
		return;
	if (l->n_distribute)
		n->local = true;
	else if (!outlier && !n->health && (l->n_failover || l->n_failover_priority))
		IGNORED(n, sub(n, path, "localityLbSetting"),
			"failover needs outlierDetection (or active checks): without it no "
			"endpoint is ever found unhealthy");
}

static void policy(struct notes *n, const char *path, const Nw__TrafficPolicy *p,
	const Nw__TrafficPolicy *above)
{
	if (!p)
		return;
	const Nw__OutlierDetection *o = p->outlier_detection ? p->outlier_detection
		: above                                      ? above->outlier_detection
							     : NULL;
	balancer(n, sub(n, path, "loadBalancer"), p->load_balancer, o);
	for (size_t i = 0; i < p->n_port_level_settings; i++) {
		const Nw__TrafficPolicy__PortTrafficPolicy *s = p->port_level_settings[i];
		const char *at =
			mt_arena_printf(n->ix->arena, "%s.portLevelSettings[%zu]", path, i);
		balancer(n, sub(n, at, "loadBalancer"), s->load_balancer, s->outlier_detection);
	}
}

bool pilot_destination_notes(struct pilot_index *ix, const struct pilot_config *c)
{
	const Nw__DestinationRule *s = (const Nw__DestinationRule *)c->obj->spec;
	struct notes n = { .ix = ix,
		.id = c->id,
		.health = mt_object_annotation(c->obj, MT_HEALTH_CHECK_ANNOTATION) != NULL };
	n.local = n.health;
	policy(&n, "spec.trafficPolicy", s->traffic_policy, NULL);
	for (size_t i = 0; i < s->n_subsets; i++)
		policy(&n, mt_arena_printf(ix->arena, "spec.subsets[%zu].trafficPolicy", i),
			s->subsets[i]->traffic_policy, s->traffic_policy);
	return n.local;
}
