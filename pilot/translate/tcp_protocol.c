/* Protocols over TCP that Envoy understands: Mongo and Redis. */
#include "envoy/extensions/filters/network/mongo_proxy/v3/mongo_proxy.pb-c.h"
#include "envoy/extensions/filters/network/redis_proxy/v3/redis_proxy.pb-c.h"
#include "pilot/translate/listener.h"

static Listener__Filter *mongo(struct pilot_job *j, const char *stat_prefix)
{
	Mongo__MongoProxy *m = pb_new(j->a, mongo__mongo_proxy);
	m->stat_prefix = pb_s(stat_prefix);
	return pb_filter(j->a, "envoy.filters.network.mongo_proxy", &m->base);
}

static Listener__Filter *redis(struct pilot_job *j, const char *stat_prefix, const char *cluster)
{
	Redis__RedisProxy *m = pb_new(j->a, redis__redis_proxy);
	m->stat_prefix = pb_s(stat_prefix);
	m->latency_in_micros = true;
	m->settings = pb_new(j->a, redis__redis_proxy__conn_pool_settings);
	m->settings->op_timeout = pb_dur(j->a, 5 * MT_NS_PER_SEC);
	m->prefix_routes = pb_new(j->a, redis__redis_proxy__prefix_routes);
	m->prefix_routes->catch_all_route = pb_new(j->a, redis__redis_proxy__prefix_routes__route);
	m->prefix_routes->catch_all_route->cluster = pb_s(cluster);
	return pb_filter(j->a, "envoy.filters.network.redis_proxy", &m->base);
}

void pilot_chain_protocol(struct pilot_job *j, Listener__FilterChain *c,
	enum pilot_protocol protocol, const char *stat_prefix, const char *cluster)
{
	if (protocol == PILOT_MONGO) {
		Listener__Filter *last = c->filters[c->n_filters - 1];
		c->filters[c->n_filters - 1] = mongo(j, stat_prefix);
		pb_add(j->a, c, filters, last);
	} else if (protocol == PILOT_REDIS && j->mesh->redis_filter && cluster) {
		c->filters[c->n_filters - 1] = redis(j, stat_prefix, cluster);
	}
}
