/* Objects in force to resource sets to streams.
 *
 * A snapshot has one set a kind. A change packs the objects that changed, patches the sets of their
 * kinds, and publishes the new snapshot to every subscriber; what a stream is sent is the engine's
 * work (common/xds). Until the first commit of the store nothing is published, so that a subscriber
 * that comes early does not take "nothing yet" for "nothing".
 */
#include "galley/distribute/distribute.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/base/vec.h"
#include "common/feed/feed.h"
#include "galley/metrics.h"

#define MCP_URL "type.googleapis.com/istio.mcp.v1alpha1.Resource"

static struct mt_log_scope scope = MT_LOG_SCOPE("distribute");

struct galley_distribute {
	struct galley_distribute_opts o;
	struct mt_xds_server *server;
	struct mt_xds_type types[MT_KIND_N];
	struct mt_snapshot *now; /* NULL before the first change */
	uint64_t next_id;
	MT_VEC(struct mt_xds_sub *) subs; /* the engine's references, from attach to detach */
};

static int allowed(
	const struct galley_distribute *g, const struct mt_rpc_peer *peer, struct mt_err *err)
{
	if (!g->o.identity)
		return 0;
	if (!g->o.allow || !mt_daemon_identity_slot((struct mt_daemon_identity *)g->o.identity))
		return mt_daemon_identity_allow(g->o.identity, peer, "pilot,mixer,citadel", err);
	if (!*peer->spiffe_id)
		return mt_fail(err, MT_UNAUTHENTICATED, NULL, "a client certificate is needed");
	for (size_t i = 0; i < g->o.nallow; i++)
		if (strcmp(g->o.allow[i], peer->spiffe_id) == 0)
			return 0;
	return mt_fail(err, MT_DENIED, NULL, "%s may not read configuration", peer->spiffe_id);
}

static int on_attach(void *ctx, struct mt_xds_sub *s, struct mt_err *err)
{
	struct galley_distribute *g = ctx;
	const struct mt_rpc_peer *peer = mt_xds_sub_peer(s);
	int r = allowed(g, peer, err);

	if (r < 0) {
		mt_metric_add(g->o.metrics, METRIC_galley_denied, 1);
		mt_log_warn(&scope, "caller refused", MT_S("peer", peer->addr),
			MT_S("id", peer->spiffe_id));
		return r;
	}
	mt_vec_push(&g->subs, s);
	mt_metric_set(g->o.metrics, METRIC_galley_subscribers, (double)g->subs.n);
	mt_log_info(&scope, "subscriber", MT_S("node", mt_xds_sub_node(s)->id),
		MT_S("peer", peer->addr), MT_S("id", peer->spiffe_id));
	if (g->now)
		mt_xds_sub_publish(s, g->now);
	return 0;
}

static void on_detach(void *ctx, struct mt_xds_sub *s)
{
	struct galley_distribute *g = ctx;

	for (size_t i = 0; i < g->subs.n; i++) {
		if (g->subs.v[i] != s)
			continue;
		g->subs.v[i] = g->subs.v[--g->subs.n];
		mt_metric_set(g->o.metrics, METRIC_galley_subscribers, (double)g->subs.n);
		mt_log_info(&scope, "subscriber left", MT_S("node", mt_xds_sub_node(s)->id));
		return;
	}
}

static void on_event(void *ctx, struct mt_xds_sub *s, const struct mt_xds_event *ev)
{
	struct galley_distribute *g = ctx;

	if (ev->kind != MT_XDS_NACK)
		return;
	mt_metric_add(g->o.metrics, METRIC_galley_rejections, 1);
	mt_log_error(&scope, "configuration rejected", MT_S("node", mt_xds_sub_node(s)->id),
		MT_S("kind", mt_kinds[ev->type].kind), MT_S("error", ev->message));
}

static const struct mt_xds_app app = {
	.attach = on_attach, .detach = on_detach, .event = on_event
};

struct galley_distribute *galley_distribute_new(const struct galley_distribute_opts *o)
{
	struct galley_distribute *g = MT_NEW(struct galley_distribute);

	g->o = *o;
	for (size_t i = 0; i < MT_KIND_N; i++)
		g->types[i] = (struct mt_xds_type){ .name = mt_kinds[i].kind,
			.type_url = mt_kinds[i].type_url,
			.wildcard = true,
			.needs = -1,
			.resend_with = -1 };
	g->server = mt_xds_server_new(o->loop,
		&(struct mt_xds_server_opts){ .types = g->types,
			.ntypes = MT_KIND_N,
			.app = &app,
			.ctx = g,
			.metrics = o->metrics });
	return g;
}

void galley_distribute_methods(struct galley_distribute *g, struct mt_rpc_method methods[2])
{
	mt_xds_server_methods(g->server, methods);
}

void galley_distribute_free(struct galley_distribute *g)
{
	if (!g)
		return;
	mt_xds_server_free(g->server); /* detaches all */
	mt_vec_clear(&g->subs);
	mt_snapshot_unref(g->now);
	mt_free(g);
}

static struct mt_res *resource(const struct mt_object *o)
{
	struct mt_buf b = { 0 };
	char key[400];
	size_t n;

	mt_feed_pack(o, &b);
	char *bytes = mt_buf_take(&b, &n);
	mt_slice piece = mt_slice_take(bytes, n);
	return mt_res_new_rope(mt_object_key(o, key, sizeof(key)), MCP_URL, &piece, 1, NULL, 0);
}

/* The set of one kind after the changes; NULL: none of it is touched. */
static struct mt_set *kind_patch(struct mt_set *base, enum mt_kind_id kind,
	const struct galley_change *c, size_t n, double *ret_changes)
{
	MT_VEC(struct mt_res *) res = { 0 };
	MT_VEC(char *) removed = { 0 };
	struct mt_set *set = NULL;
	char key[400];

	for (size_t i = 0; i < n; i++) {
		const struct mt_object *o = c[i].new ? c[i].new : c[i].old;
		if (o->kind->id != kind)
			continue;
		if (c[i].new)
			mt_vec_push(&res, resource(o));
		else
			mt_vec_push(&removed, mt_strdup(mt_object_key(o, key, sizeof(key))));
	}
	*ret_changes = (double)(res.n + removed.n);
	if (res.n || removed.n)
		set = base ? mt_set_patch(
				     base, res.v, res.n, (const char *const *)removed.v, removed.n)
			   : mt_set_new(res.v, res.n);
	for (size_t i = 0; i < removed.n; i++)
		mt_free(removed.v[i]);
	mt_vec_clear(&removed);
	mt_vec_clear(&res);
	return set;
}

void galley_distribute_change(
	struct galley_distribute *g, const struct galley_change *c, size_t n, int64_t since_ns)
{
	struct mt_snapshot *snap = mt_snapshot_new(++g->next_id, since_ns, MT_KIND_N);

	for (size_t i = 0; i < MT_KIND_N; i++) {
		struct mt_set *base = g->now ? g->now->sets[i] : NULL;
		double changes;
		struct mt_set *set = kind_patch(base, (enum mt_kind_id)i, c, n, &changes);
		snap->sets[i] = set ? set : base ? mt_set_ref(base) : NULL;
		if (!set)
			continue;
		mt_metric_add(g->o.metrics, METRIC_galley_changes, changes, mt_kinds[i].plural);
		mt_metric_set(g->o.metrics, METRIC_galley_objects, (double)mt_set_size(set),
			mt_kinds[i].plural);
	}
	mt_snapshot_unref(g->now);
	g->now = snap;
	for (size_t i = 0; i < g->subs.n; i++)
		mt_xds_sub_publish(g->subs.v[i], snap);
}

json_t *galley_distribute_json(const struct galley_distribute *g)
{
	json_t *list = json_array();
	char why[512];

	for (size_t i = 0; i < g->subs.n; i++) {
		struct mt_xds_sub *s = g->subs.v[i];
		const struct mt_rpc_peer *peer = mt_xds_sub_peer(s);
		json_t *types = json_object();
		for (int t = 0; t < MT_KIND_N; t++) {
			struct mt_xds_status st;
			mt_xds_sub_status(s, t, &st);
			if (!st.subscribed)
				continue;
			json_t *j = json_pack("{s:b, s:I, s:I}", "in_step",
				g->now && st.acked_id == g->now->id, "sent", (json_int_t)st.sent_id,
				"acked", (json_int_t)st.acked_id);
			if (st.nacked) {
				mt_xds_sub_nack(s, t, why, sizeof(why));
				json_object_set_new(j, "rejected", json_string(why));
			}
			json_object_set_new(types, mt_kinds[t].kind, j);
		}
		json_array_append_new(list,
			json_pack("{s:s, s:s, s:s, s:o}", "node", mt_xds_sub_node(s)->id, "peer",
				peer->addr, "id", peer->spiffe_id, "types", types));
	}
	return json_pack("{s:I, s:o}", "snapshot", (json_int_t)(g->now ? g->now->id : 0),
		"subscribers", list);
}
