/* From Galley's objects to worlds.
 *
 * A change of endpoints becomes a world at once: it costs one load assignment a class. A change of
 * rules waits for a short quiet (--debounce-after, at most --debounce-max from the first), since rules
 * come in bursts and each world re-plans what it touches. Until the configuration is complete once,
 * from Galley or from disk, there is no world and proxies wait: serving half of the configuration
 * would take away what they have. */
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/ident/ident.h"
#include "pilot/agents.h"
#include "pilot/metrics.h"
#include "pilot/pilot.h"

static struct mt_log_scope scope = MT_LOG_SCOPE("config");

static const enum mt_kind_id kinds[] = {
	MT_KIND_SERVICE_ENTRY,
	MT_KIND_WORKLOAD_ENTRY,
	MT_KIND_WORKLOAD_GROUP,
	MT_KIND_VIRTUAL_SERVICE,
	MT_KIND_DESTINATION_RULE,
	MT_KIND_GATEWAY,
	MT_KIND_SIDECAR,
	MT_KIND_POLICY,
	MT_KIND_MESH_POLICY,
	MT_KIND_PEER_AUTHENTICATION,
	MT_KIND_MESH_CONFIG,
	MT_KIND_TELEMETRY,
	MT_KIND_ENVOY_FILTER,
	MT_KIND_PROXY_CONFIG,
};

/* ---- worlds ---- */

struct configs {
	struct pilot *p;
	struct pilot_config *v;
	size_t n, cap;
};

static void add_config(void *ctx, uint32_t id, struct mt_object *o)
{
	struct configs *c = ctx;

	if (c->n == c->cap) {
		c->cap = c->cap ? c->cap * 2 : 256;
		c->v = mt_reallocarray(c->v, c->cap, sizeof(*c->v));
	}
	c->v[c->n++] = (struct pilot_config){ id, o };
}

static void tell_registries(struct pilot *p, const struct mt_feed_change *c);

/* All services, once what is in force has been decided with regard to them. */
static void decide(struct pilot *p, struct pilot_services_in *services)
{
	struct pilot_inforce_moves moves = { 0 };

	for (size_t i = 0; i < p->nregistries; i++)
		p->registries[i]->ops->list(p->registries[i], services);
	const struct pilot_world *w = push_current(p->push);
	pilot_inforce_root_namespace(
		p->inforce, w ? pilot_world_mesh(w)->root_namespace : p->opts->root_namespace);
	pilot_inforce_decide(p->inforce, services, push_settled(p->push), &p->dirty, &moves);
	if (!moves.n)
		return;
	for (size_t i = 0; i < moves.n; i++)
		tell_registries(p, &moves.v[i]);
	pilot_inforce_moves_clear(&moves);
	pilot_services_in_clear(services);
	*services = (struct pilot_services_in){ 0 };
	for (size_t i = 0; i < p->nregistries; i++)
		p->registries[i]->ops->list(p->registries[i], services);
}

static struct pilot_world *build_world(struct pilot *p)
{
	struct configs c = { .p = p };
	struct pilot_services_in services = { 0 };
	char mixer_id[600] = "";
	const struct pilot_mesh_local local = { .control_plane_tls = p->identity != NULL,
		.mixer_spiffe_id = mixer_id,
		.redis_filter = p->opts->redis_filter };

	mt_ident_daemon_id(p->opts->common.trust_domain, "mixer", mixer_id, sizeof(mixer_id), NULL);

	decide(p, &services);
	for (size_t i = 0; i < MT_ARRAY_SIZE(kinds); i++)
		if (!pilot_for_registries(kinds[i]))
			pilot_inforce_each(p->inforce, kinds[i], add_config, &c);

	struct pilot_world *w = pilot_world_build(&(struct pilot_world_in){
		.domain = p->opts->domain,
		.root_namespace = p->opts->root_namespace,
		.trust_domain = p->opts->common.trust_domain,
		.local = &local,
		.configs = c.v,
		.nconfigs = c.n,
		.services = services.v,
		.nservices = services.n,
	});
	pilot_services_in_clear(&services);
	mt_free(c.v);
	return w;
}

/* The cheap way, when the services whose endpoints changed are the ones that the world serves under
 * their names (another registry or object may have won the name). */
static struct pilot_world *update_world(struct pilot *p)
{
	const struct pilot_world *old = push_current(p->push);

	if (!old || p->dirty.index)
		return NULL;
	for (size_t i = 0; i < p->eps.n; i++) {
		int at = pilot_world_find(old, p->eps.v[i].hostname, p->eps.v[i].ns);
		if (at < 0 ||
			pilot_world_service(old, (size_t)at, NULL)->hash != p->eps.svc[i]->hash)
			return NULL;
	}
	return pilot_world_update(old, p->eps.v, p->eps.n);
}

/* Endpoints that stand in clusters: those of services that Envoy resolves by name, and the identities
 * that are expected of any. */
static bool clusters_read(
	const struct pilot_world *old, const struct pilot_endpoints_changes *changes)
{
	for (size_t i = 0; i < changes->n; i++) {
		const struct pilot_endpoints *before;
		int at = pilot_world_find(old, changes->v[i].hostname, changes->v[i].ns);
		if (at < 0 || pilot_resolution_is_dns(changes->svc[i]->resolution))
			return true;
		pilot_world_service(old, (size_t)at, &before);
		if (before->accounts_hash != changes->v[i].eps->accounts_hash)
			return true;
	}
	return false;
}

/* Snapshots from the next one on have what came into force. */
static void stamp(struct pilot *p)
{
	struct mt_err err = { 0 };

	pilot_inforce_stamp(p->inforce, push_next_id(p->push), &err);
	if (err.code < 0)
		mt_log_error(&scope, "what is in force is not saved", MT_S("why", err.msg));
}

static bool settled(void *ctx);

/* The last good state may be older than what proxies have, and older than the record of what is in
 * force. Galley usually answers within milliseconds: proxies, which have what they had, wait so long. */
static bool wait_for_galley(struct pilot *p)
{
	int64_t left = p->start_until_ns - mt_mono(mt_loop_clock(p->loop));

	if (p->live || push_current(p->push) || left <= 0)
		return false;
	mt_timer_start(p->debounce, left, 0);
	return true;
}

static void apply(void *arg)
{
	struct pilot *p = arg;

	mt_timer_stop(p->debounce);
	if (!p->synced || !p->dirty.any || wait_for_galley(p))
		return;
	const struct pilot_world *old = push_current(p->push);
	struct pilot_world *w = update_world(p);
	if (!w) {
		if (!p->dirty.index) /* one of them is not what the world serves by its name */
			pilot_flow_services(&p->dirty);
		w = build_world(p);
	} else if (pilot_world_addresses_hash(w) != pilot_world_addresses_hash(old)) {
		pilot_flow_endpoints(&p->dirty, true);
	}
	if (old && clusters_read(old, &p->eps))
		pilot_flow_clusters(&p->dirty);
	stamp(p);
	struct pilot_dirty d = p->dirty;
	p->dirty = (struct pilot_dirty){ 0 }; /* the push may find something to decide again */
	int64_t start = mt_mono(mt_loop_clock(p->loop));
	push_world(p->push, w, &d, p->eps.v, p->eps.n);
	pilot_changes_computed(p->changes, d.reason ? d.reason : "start",
		mt_wall(mt_loop_clock(p->loop)), mt_mono(mt_loop_clock(p->loop)) - start);
	pilot_world_unref(w);
	mt_metric_set(mt_daemon_metrics(p->d), METRIC_pilot_pending_objects,
		(double)pilot_inforce_pending(p->inforce));
	mt_metric_set(mt_daemon_metrics(p->d), METRIC_pilot_virt_services,
		(double)pilot_config_count(p, MT_KIND_VIRTUAL_SERVICE));
	pilot_endpoints_changes_clear(&p->eps);
	mt_daemon_ready(p->d, "configuration", true, "");
	if (push_idle(p->push))
		settled(p);
}

static void schedule(struct pilot *p)
{
	if (!p->synced || !p->dirty.any)
		return; /* apply() comes back to it when the configuration is complete */
	if (!p->dirty.index && push_current(p->push)) {
		apply(p);
		return;
	}
	int64_t age = mt_mono(mt_loop_clock(p->loop)) - p->dirty.since_ns;
	int64_t left = MT_MAX(p->opts->debounce_max - age, 0);
	mt_timer_start(p->debounce, MT_MIN(p->opts->debounce_after, left), 0);
}

void pilot_config_recompute(struct pilot *p, const char *reason)
{
	if (!p->dirty.any)
		p->dirty.since_ns = mt_mono(mt_loop_clock(p->loop));
	pilot_flow_all(&p->dirty, reason);
	schedule(p);
}

/* ---- the feed ---- */

void pilot_config_decide_again(struct pilot *p)
{
	if (!p->dirty.any)
		p->dirty.since_ns = mt_mono(mt_loop_clock(p->loop));
	pilot_flow_refused(&p->dirty);
	mt_timer_start(p->debounce, 0, 0);
}

static void registry_changed(
	struct pilot *p, const struct pilot_registry *r, enum pilot_services_change change)
{
	if (change != PILOT_SERVICES_SAME)
		mt_metric_add(mt_daemon_metrics(p->d), METRIC_pilot_registry_events, 1,
			r->ops->name, change == PILOT_SERVICES_CHANGED ? "services" : "endpoints");
	if (change == PILOT_SERVICES_CHANGED)
		pilot_flow_services(&p->dirty);
	else if (change == PILOT_SERVICES_ENDPOINTS)
		pilot_flow_endpoints(&p->dirty, false);
}

static void tell_registries(struct pilot *p, const struct mt_feed_change *c)
{
	const struct mt_object *o = c->new ? c->new : c->old;
	struct mt_err why = { 0 };
	char title[600];

	for (size_t i = 0; i < p->nregistries; i++) {
		const struct pilot_registry_ops *ops = p->registries[i]->ops;
		struct mt_err err = { 0 };
		if (ops->object)
			registry_changed(p, p->registries[i],
				ops->object(p->registries[i], c, &p->eps, &err));
		if (err.code < 0)
			why = err;
	}
	mt_object_title(o, title, sizeof(title));
	mt_free(mt_map_del(p->unusable, title));
	if (why.code >= 0)
		return;
	struct pilot_unusable *u = MT_NEW(struct pilot_unusable);
	*u = (struct pilot_unusable){ pilot_ids_of(p->ids, o), why };
	mt_map_put(p->unusable, title, u);
	mt_log_error(&scope, "object not usable, what was there before stays",
		MT_S("object", title), MT_S("path", why.path), MT_S("why", why.msg));
	mt_metric_add(mt_daemon_metrics(p->d), METRIC_pilot_config_errors, 1, o->kind->kind);
	mt_metric_add(mt_daemon_metrics(p->d), METRIC_pilot_xds_push_context_errors, 1);
}

static void object_changed(struct pilot *p, const struct mt_feed_change *c)
{
	const struct mt_object *o = c->new ? c->new : c->old;
	enum mt_kind_id kind = o->kind->id;

	if (!pilot_inforce_object(p->inforce, c))
		pilot_flow_services(&p->dirty);
	else if (!pilot_for_registries(kind))
		pilot_flow_object(&p->dirty, kind);
	else
		tell_registries(p, c);
}

static void changing(struct pilot *p)
{
	if (!p->dirty.any)
		p->dirty.since_ns = mt_mono(mt_loop_clock(p->loop));
}

void pilot_config_object(struct pilot *p, const struct mt_feed_change *c)
{
	changing(p);
	tell_registries(p, c);
	schedule(p);
}

void pilot_config_health(struct pilot *p, const char *key, bool healthy)
{
	changing(p);
	for (size_t i = 0; i < p->nregistries; i++)
		if (p->registries[i]->ops->health)
			registry_changed(p, p->registries[i],
				p->registries[i]->ops->health(
					p->registries[i], key, healthy, &p->eps));
	schedule(p);
}

static void note_change(struct pilot *p, const struct mt_feed_change *c)
{
	const struct mt_object *o = c->new ? c->new : c->old;
	char title[600];

	pilot_changes_object(p->changes, mt_object_title(o, title, sizeof(title)),
		mt_wall(mt_loop_clock(p->loop)));
	mt_metric_add(mt_daemon_metrics(p->d), METRIC_pilot_config_events, 1, o->kind->kind,
		!c->old           ? "add"
			: !c->new ? "delete"
				  : "update");
}

static void changed(void *ctx, const struct mt_feed_change *c, size_t n)
{
	struct pilot *p = ctx;

	changing(p);
	for (size_t i = 0; i < n; i++) {
		note_change(p, &c[i]);
		object_changed(p, &c[i]);
	}
	schedule(p);
	for (size_t i = 0; i < n; i++)
		pilot_agents_changed(p->agents, c[i].new ? c[i].new : c[i].old);
}

static void state_changed(void *ctx, bool connected, bool synced, const char *why)
{
	struct pilot *p = ctx;

	if (connected)
		mt_log_info(&scope, "Galley connected", MT_S("server", p->opts->config_server));
	else
		mt_log_warn(&scope, "Galley away, serving what is known",
			MT_S("server", p->opts->config_server), MT_S("why", why ? why : ""));
	if (p->feed && mt_feed_live(p->feed) && !p->live) {
		p->live = true;
		pilot_inforce_live(p->inforce);
		pilot_config_decide_again(p);
	}
	if (!synced || p->synced)
		return;
	p->synced = true;
	if (!p->dirty.any) { /* complete, and empty: that is a world too */
		p->dirty.since_ns = mt_mono(mt_loop_clock(p->loop));
		pilot_flow_services(&p->dirty);
	}
	/* From disk, this runs inside mt_feed_start(), before there is a feed to list objects of. */
	mt_timer_start(p->debounce, 0, 0);
}

/* ---- what proxies refuse ---- */

/* The objects behind it that came into force lately go back to the generation before. */
static bool refused(void *ctx, const struct push_refusal *r)
{
	struct pilot *p = ctx;

	if (!pilot_inforce_refuse(p->inforce, r->ids, r->nids, r->settled, r->words))
		return false;
	pilot_config_decide_again(p);
	return true;
}

static bool settled(void *ctx)
{
	struct pilot *p = ctx;

	if (!p->dirty.any && pilot_inforce_retry(p->inforce))
		pilot_config_decide_again(p);
	return p->dirty.any;
}

/* Kept in force when the process ended: the feed may not bring it again. */
static void restore_service(void *ctx, uint32_t id, struct mt_object *o)
{
	(void)id;
	tell_registries(ctx, &(struct mt_feed_change){ NULL, o });
}

int pilot_config_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	struct pilot *p = self;
	static const struct pilot_registry_ops *const all[] = {
#define REGISTRY(name) &pilot_registry_##name,
#include "pilot/registry/registries.def"
#undef REGISTRY
	};
	int r;

	struct mt_err lost = { 0 };
	p->ids = pilot_ids_new();
	p->unusable = mt_map_new();
	p->inforce = pilot_inforce_new(p->ids, p->opts->domain, mt_daemon_state(d), &lost);
	if (lost.code < 0)
		mt_log_error(&scope, "which generations were in force is not known",
			MT_S("why", lost.msg));
	for (size_t i = 0; i < MT_ARRAY_SIZE(all); i++)
		p->registries[p->nregistries++] = all[i]->open(p->ids);
	p->debounce = mt_timer_new(p->loop, apply, p);
	p->start_until_ns = mt_mono(mt_loop_clock(p->loop)) + MT_NS_PER_SEC;
	if (strcmp(p->opts->canary, "on") != 0 && strcmp(p->opts->canary, "off") != 0) {
		pilot_config_stop(d, self);
		return mt_fail(
			err, MT_INVALID, "--canary", "\"%s\" is not on or off", p->opts->canary);
	}
	pilot_inforce_each(p->inforce, MT_KIND_SERVICE_ENTRY, restore_service, p);
	pilot_secrets_start(p);
	push_safety(p->push,
		&(struct push_safety){ .canary = strcmp(p->opts->canary, "on") == 0,
			.canary_timeout_ns = p->opts->canary_timeout,
			.first_timeout_ns = MT_MIN(p->opts->canary_timeout, MT_NS_PER_SEC),
			.refused = refused,
			.settled = settled,
			.ctx = p });
	mt_daemon_ready(d, "configuration", false, "waiting for configuration from Galley");
	r = mt_feed_start(p->loop,
		&(struct mt_feed_opts){
			.env = p->env,
			.server = p->opts->config_server,
			.identity = p->identity,
			.server_ids =
				p->identity ? mt_daemon_identity_expect(p->self, "galley") : NULL,
			.node_id = "pilot",
			.kinds = kinds,
			.nkinds = MT_ARRAY_SIZE(kinds),
			.state = mt_daemon_state(d),
			.changed = changed,
			.state_changed = state_changed,
			.ctx = p,
		},
		&p->feed, err);
	if (r < 0)
		pilot_config_stop(d, self);
	return r;
}

void pilot_config_stop(struct mt_daemon *d, void *self)
{
	struct pilot *p = self;

	(void)d;
	mt_feed_stop(p->feed);
	pilot_secrets_stop(p);
	mt_timer_free(p->debounce);
	pilot_endpoints_changes_clear(&p->eps);
	for (size_t i = 0; i < p->nregistries; i++)
		p->registries[i]->ops->close(p->registries[i]);
	mt_map_free(p->unusable, mt_free);
	pilot_inforce_free(p->inforce);
	pilot_ids_free(p->ids);
}

const enum mt_kind_id *pilot_config_kinds(size_t *ret_n)
{
	*ret_n = MT_ARRAY_SIZE(kinds);
	return kinds;
}

static void count_one(void *ctx, struct mt_object *o)
{
	(void)o;
	++*(size_t *)ctx;
}

size_t pilot_config_count(struct pilot *p, enum mt_kind_id kind)
{
	size_t n = 0;
	mt_feed_each(p->feed, kind, count_one, &n);
	return n;
}
