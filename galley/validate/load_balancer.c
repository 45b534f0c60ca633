#include "galley/validate/load_balancer.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/strs.h"

/* Envoy's own bounds. */
enum { RING_MAX = 8388608, MAGLEV_MAX = 5000011 };

static bool is_prime(uint64_t v)
{
	if (v < 2)
		return false;
	for (uint64_t i = 2; i * i <= v; i++)
		if (v % i == 0)
			return false;
	return true;
}

static void ring(const struct check *c, const char *path, uint64_t size)
{
	if (size > RING_MAX)
		fault(c, path, "%llu is more than %d", (unsigned long long)size, RING_MAX);
}

static void cookie(const struct check *c, const char *path,
	const Nw__LoadBalancerSettings__ConsistentHashLB__HTTPCookie *k)
{
	if (mt_str_empty(k->name))
		fault(c, at(c, "%s.name", path), "is missing");
	check_duration(c, at(c, "%s.ttl", path), k->ttl, 0);
	for (size_t i = 0; i < k->n_attributes; i++)
		if (mt_str_empty(k->attributes[i]->name))
			fault(c, at(c, "%s.attributes[%zu].name", path, i), "is missing");
}

static void consistent_hash(const struct check *c, const char *path,
	const Nw__LoadBalancerSettings__ConsistentHashLB *h)
{
	switch (h->hash_key_case) {
	case NW__LOAD_BALANCER_SETTINGS__CONSISTENT_HASH_LB__HASH_KEY_HTTP_HEADER_NAME:
		check_header_name(c, at(c, "%s.httpHeaderName", path), h->http_header_name);
		break;
	case NW__LOAD_BALANCER_SETTINGS__CONSISTENT_HASH_LB__HASH_KEY_HTTP_COOKIE:
		cookie(c, at(c, "%s.httpCookie", path), h->http_cookie);
		break;
	case NW__LOAD_BALANCER_SETTINGS__CONSISTENT_HASH_LB__HASH_KEY_HTTP_QUERY_PARAMETER_NAME:
		if (mt_str_empty(h->http_query_parameter_name))
			fault(c, at(c, "%s.httpQueryParameterName", path), "is empty");
		break;
	case NW__LOAD_BALANCER_SETTINGS__CONSISTENT_HASH_LB__HASH_KEY_USE_SOURCE_IP: break;
	default:
		fault(c, path,
			"needs one of httpHeaderName, httpCookie, useSourceIp, httpQueryParameterName");
	}
	ring(c, at(c, "%s.minimumRingSize", path), h->minimum_ring_size);
	if (h->hash_algorithm_case ==
		NW__LOAD_BALANCER_SETTINGS__CONSISTENT_HASH_LB__HASH_ALGORITHM_RING_HASH)
		ring(c, at(c, "%s.ringHash.minimumRingSize", path),
			h->ring_hash->minimum_ring_size);
	if (h->hash_algorithm_case !=
			NW__LOAD_BALANCER_SETTINGS__CONSISTENT_HASH_LB__HASH_ALGORITHM_MAGLEV ||
		!h->maglev->table_size)
		return;
	uint64_t size = h->maglev->table_size;
	if (size > MAGLEV_MAX)
		fault(c, at(c, "%s.maglev.tableSize", path), "%llu is more than %d",
			(unsigned long long)size, MAGLEV_MAX);
	else if (!is_prime(size))
		fault(c, at(c, "%s.maglev.tableSize", path), "%llu is not a prime number",
			(unsigned long long)size);
}

/* "region/zone/subzone", of which the last part may be "*"; "*" alone. */
static void place(const struct check *c, const char *path, const char *s)
{
	size_t parts = 0;
	const char *p = s;

	if (!*s)
		fault(c, path, "is empty");
	while (*p) {
		size_t n = strcspn(p, "/");
		bool last = !p[n];

		parts++;
		if (!n || (!last && !p[n + 1]))
			fault(c, path, "\"%s\" has an empty part", s);
		if (memchr(p, '*', n) && (n > 1 || !last))
			fault(c, path, "\"%s\": * can only stand alone and last", s);
		p += n + !last;
	}
	if (parts > 3)
		fault(c, path, "\"%s\" has more than region/zone/subzone", s);
}

static void distribute(const struct check *c, const char *path,
	const Nw__LocalityLoadBalancerSetting__Distribute *d)
{
	uint64_t sum = 0;

	place(c, at(c, "%s.from", path), d->from);
	for (size_t i = 0; i < d->n_to; i++) {
		place(c, at(c, "%s.to[\"%s\"]", path, d->to[i]->key), d->to[i]->key);
		sum += d->to[i]->value;
	}
	if (sum != 100)
		fault(c, at(c, "%s.to", path), "the weights add up to %llu, not to 100",
			(unsigned long long)sum);
}

static void region(const struct check *c, const char *path, const char *s)
{
	if (!*s)
		fault(c, path, "is missing");
	else if (strpbrk(s, "/*"))
		fault(c, path, "\"%s\" is not a region: failover goes from region to region", s);
}

static void failover(
	const struct check *c, const char *path, const Nw__LocalityLoadBalancerSetting *l, size_t i)
{
	const Nw__LocalityLoadBalancerSetting__Failover *f = l->failover[i];

	region(c, at(c, "%s.from", path), f->from);
	region(c, at(c, "%s.to", path), f->to);
	if (*f->to && strcmp(f->from, f->to) == 0)
		fault(c, at(c, "%s.to", path), "\"%s\" fails over to itself", f->to);
	for (size_t k = 0; k < i; k++)
		if (strcmp(l->failover[k]->from, f->from) == 0)
			fault(c, at(c, "%s.from", path), "\"%s\" stands here twice", f->from);
}

static void rank(
	const struct check *c, const char *path, const Nw__LocalityLoadBalancerSetting *l, size_t i)
{
	const char *s = l->failover_priority[i], *eq = strchr(s, '=');
	size_t n = strcspn(s, "=");

	check_label(c, path, mt_arena_strndup(c->arena, s, n), eq ? eq + 1 : "");
	for (size_t k = 0; k < i; k++)
		if (strcspn(l->failover_priority[k], "=") == n &&
			memcmp(l->failover_priority[k], s, n) == 0)
			fault(c, path, "\"%.*s\" stands here twice", (int)n, s);
}

void galley_check_locality(
	const struct check *c, const char *path, const Nw__LocalityLoadBalancerSetting *l)
{
	if (!l)
		return;
	if (l->n_distribute && l->n_failover)
		fault(c, path, "has both distribute and failover");
	if (l->n_distribute && l->n_failover_priority)
		fault(c, path, "has both distribute and failoverPriority");
	for (size_t i = 0; i < l->n_distribute; i++) {
		distribute(c, at(c, "%s.distribute[%zu]", path, i), l->distribute[i]);
		for (size_t k = 0; k < i; k++)
			if (strcmp(l->distribute[k]->from, l->distribute[i]->from) == 0)
				fault(c, at(c, "%s.distribute[%zu].from", path, i),
					"\"%s\" stands here twice", l->distribute[i]->from);
	}
	for (size_t i = 0; i < l->n_failover; i++)
		failover(c, at(c, "%s.failover[%zu]", path, i), l, i);
	for (size_t i = 0; i < l->n_failover_priority; i++)
		rank(c, at(c, "%s.failoverPriority[%zu]", path, i), l, i);
}

static void warmup(const struct check *c, const char *path, const Nw__WarmupConfiguration *w)
{
	if (!w->duration)
		fault(c, at(c, "%s.duration", path), "is missing");
	check_duration(c, at(c, "%s.duration", path), w->duration, MT_NS_PER_SEC);
	if (w->minimum_percent &&
		!(w->minimum_percent->value >= 0 && w->minimum_percent->value <= 100))
		fault(c, at(c, "%s.minimumPercent", path), "%g is not a percentage (0 to 100)",
			w->minimum_percent->value);
	if (w->aggression && !(w->aggression->value >= 1))
		fault(c, at(c, "%s.aggression", path), "%g is less than 1", w->aggression->value);
}

void galley_check_load_balancer(
	const struct check *c, const char *path, const Nw__LoadBalancerSettings *lb)
{
	if (!lb)
		return;
	if (lb->lb_policy_case == NW__LOAD_BALANCER_SETTINGS__LB_POLICY_CONSISTENT_HASH)
		consistent_hash(c, at(c, "%s.consistentHash", path), lb->consistent_hash);
	galley_check_locality(c, at(c, "%s.localityLbSetting", path), lb->locality_lb_setting);
	check_duration(
		c, at(c, "%s.warmupDurationSecs", path), lb->warmup_duration_secs, MT_NS_PER_SEC);
	if (lb->warmup)
		warmup(c, at(c, "%s.warmup", path), lb->warmup);
	if (lb->warmup && lb->warmup_duration_secs)
		remark(c, at(c, "%s.warmupDurationSecs", path), "is the old name: warmup wins");
}
