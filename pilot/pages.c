/* The debug pages, under the names that operators of Istio's Pilot know. JSON, on loopback only. */
#include <stdio.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/schema/decode.h"
#include "common/schema/pb.h"
#include "pilot/pilot.h"

static const char *const type_keys[PUSH_TYPES] = { "clusters", "endpoints", "listeners", "routes" };

/* ---- proxies ---- */

static const char *sync_state(const struct mt_xds_status *st, uint64_t newest)
{
	if (st->nacked)
		return "NACKED";
	if (!st->subscribed || !st->sent_id)
		return "NOT SENT";
	return st->acked_id == st->sent_id && st->acked_id >= newest ? "SYNCED" : "STALE";
}

static json_t *type_status(const struct pilot *p, const struct push_proxy *x, int type)
{
	struct mt_xds_status st;
	char nack[1024];
	const struct mt_snapshot *snap = push_snapshot(x);
	int64_t now = mt_mono(mt_loop_clock(p->loop));

	mt_xds_sub_status(x->sub, type, &st);
	json_t *j = json_pack("{s:s, s:I, s:I, s:I, s:i, s:i}", "status",
		sync_state(&st, snap ? snap->id : 0), "sent", (json_int_t)st.sent_id, "acked",
		(json_int_t)st.acked_id, "bytes", (json_int_t)st.sent_bytes, "pushes",
		(int)st.pushes, "nacks", (int)st.nacks);
	if (st.sent_id)
		json_object_set_new(
			j, "sent_age_ms", json_integer((now - st.sent_ns) / MT_NS_PER_MS));
	if (st.acked_id)
		json_object_set_new(
			j, "acked_age_ms", json_integer((now - st.acked_ns) / MT_NS_PER_MS));
	mt_xds_sub_nack(x->sub, type, nack, sizeof(nack));
	if (nack[0])
		json_object_set_new(j, "message", json_string(nack));
	return j;
}

static json_t *proxy_json(const struct pilot *p, const struct push_proxy *x)
{
	const struct pilot_proxy *pr = x->claimed;
	const struct mt_snapshot *snap = push_snapshot(x);
	char when[40], version[32];

	mt_time_format(x->connected_ns, when, sizeof(when));
	snprintf(version, sizeof(version), "%d.%d.%d", pr->major, pr->minor, pr->patch);
	json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I}", "proxy", pr->id, "node",
		pr->node_id, "type", pr->type == PILOT_ROUTER ? "router" : "sidecar", "identity",
		x->spiffe_id, "envoy", version, "variant",
		mt_xds_sub_delta(x->sub) ? "delta" : "state-of-the-world", "connected", when,
		"snapshot", (json_int_t)(snap ? snap->id : 0));
	if (*pr->admin)
		json_object_set_new(j, "admin", json_string(pr->admin));
	json_t *types = json_object();
	for (int t = 0; t < PUSH_TYPES; t++)
		json_object_set_new(types, push_types[t].name, type_status(p, x, t));
	json_object_set_new(j, "types", types);
	return j;
}

static void syncz(void *ctx, struct mt_http_req *r)
{
	const struct pilot *p = ctx;
	json_t *all = json_array();

	for (const struct push_proxy *x = push_proxies(p->push); x; x = x->next)
		json_array_append_new(all, proxy_json(p, x));
	mt_http_reply_json(r, 200, all);
}

static json_t *resource_json(const struct pilot *p, const struct mt_res *res, bool whole)
{
	MT_AUTO(mt_arena_freep) struct mt_arena *a = mt_arena_new(0);
	char version[17];
	json_t *objects = json_array();

	mt_hash_hex(res->hash, version);
	for (uint32_t i = 0; i < res->nprov; i++)
		json_array_append_new(objects, json_string(pilot_ids_title(p->ids, res->prov[i])));
	json_t *j = json_pack("{s:s, s:s, s:I, s:o}", "name", res->name, "version", version,
		"bytes", (json_int_t)res->bytes, "objects", objects);
	if (whole) {
		ProtobufCMessage *m = mt_res_unpack(res, a);
		if (m)
			json_object_set_new(j, "resource", mt_pb_to_json(m));
	}
	return j;
}

static json_t *set_json(
	const struct pilot *p, const struct mt_set *set, const char *name, bool whole)
{
	json_t *all = json_array();

	for (size_t i = 0; i < mt_set_size(set); i++) {
		const struct mt_res *res = mt_set_at(set, i);
		if (!name || strcmp(res->name, name) == 0)
			json_array_append_new(all, resource_json(p, res, whole));
	}
	return all;
}

/* The proxy that ?proxyID= names, or an answer that says why not. */
static const struct push_proxy *wanted(const struct pilot *p, struct mt_http_req *r)
{
	const char *id = mt_http_query(r, "proxyID");
	struct mt_err err;

	if (!id || !*id) {
		mt_fail(&err, MT_INVALID, "proxyID",
			"?proxyID= must name a proxy (its node id, or name.namespace)");
		mt_http_reply_err(r, &err);
		return NULL;
	}
	const struct push_proxy *x = push_find(p->push, id);
	if (!x) {
		mt_fail(&err, MT_NOT_FOUND, "proxyID", "no proxy \"%s\" is connected to this Pilot",
			id);
		mt_http_reply_err(r, &err);
	}
	return x;
}

static void dump(const struct pilot *p, struct mt_http_req *r, bool whole)
{
	const struct push_proxy *x = wanted(p, r);

	if (!x)
		return;
	const struct mt_snapshot *snap = push_snapshot(x);
	json_t *j = proxy_json(p, x);
	for (int t = 0; t < PUSH_TYPES; t++)
		json_object_set_new(j, type_keys[t],
			set_json(p, snap ? snap->sets[t] : NULL, mt_http_query(r, "name"), whole));
	mt_http_reply_json(r, 200, j);
}

static void config_dump(void *ctx, struct mt_http_req *r)
{
	dump(ctx, r, true);
}

static void provenance(void *ctx, struct mt_http_req *r)
{
	dump(ctx, r, false);
}

/* ---- the world ---- */

static json_t *endpoints_json(const struct pilot_endpoints *eps)
{
	json_t *all = json_array();

	for (size_t i = 0; i < eps->n; i++) {
		const struct pilot_endpoint *e = &eps->v[i];
		json_t *labels = json_object();
		for (size_t k = 0; k < e->nlabels; k++)
			json_object_set_new(
				labels, e->labels[k].key, json_string(e->labels[k].value));
		json_array_append_new(all,
			json_pack("{s:s, s:o, s:s, s:b, s:s, s:s, s:s}", "address", e->address,
				"labels", labels, "serviceAccount", e->service_account, "mtls",
				e->mtls, "region", e->region, "zone", e->zone, "network",
				e->network));
	}
	return all;
}

static json_t *service_json(
	const struct pilot_service *s, const struct pilot_endpoints *eps, bool with_endpoints)
{
	static const char *const resolutions[] = { "NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN",
		"DYNAMIC_DNS" };
	json_t *ports = json_array();

	for (size_t i = 0; i < s->nports; i++)
		json_array_append_new(ports,
			json_pack("{s:s, s:i, s:s}", "name", s->ports[i].name, "port",
				(int)s->ports[i].number, "protocol",
				pilot_protocol_name(s->ports[i].protocol)));
	json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:b, s:o, s:i}", "hostname", s->hostname,
		"namespace", s->ns, "registry", s->registry, "resolution",
		resolutions[s->resolution], "external", s->external, "ports", ports,
		"endpointCount", (int)eps->n);
	if (with_endpoints)
		json_object_set_new(j, "endpoints", endpoints_json(eps));
	return j;
}

static void services(const struct pilot *p, struct mt_http_req *r, bool with_endpoints)
{
	const struct pilot_world *w = push_current(p->push);
	const char *host = mt_http_query(r, "host");
	json_t *all = json_array();

	for (size_t i = 0; w && i < pilot_world_nservices(w); i++) {
		const struct pilot_endpoints *eps;
		const struct pilot_service *s = pilot_world_service(w, i, &eps);
		if (!host || strcmp(host, s->hostname) == 0)
			json_array_append_new(all, service_json(s, eps, with_endpoints));
	}
	mt_http_reply_json(r, 200, all);
}

static void registryz(void *ctx, struct mt_http_req *r)
{
	services(ctx, r, false);
}

static void endpointz(void *ctx, struct mt_http_req *r)
{
	services(ctx, r, true);
}

static void add_object(void *ctx, struct mt_object *o)
{
	json_array_append_new(ctx, mt_object_to_json(o));
}

static void configz(void *ctx, struct mt_http_req *r)
{
	const struct pilot *p = ctx;
	json_t *all = json_array();

	for (int k = 0; p->feed && k < MT_KIND_N; k++)
		mt_feed_each(p->feed, (enum mt_kind_id)k, add_object, all);
	mt_http_reply_json(r, 200, all);
}

static void push_status(void *ctx, struct mt_http_req *r)
{
	const struct pilot *p = ctx;
	const struct pilot_world *w = push_current(p->push);
	json_t *all = json_array();

	for (size_t i = 0; w && i < pilot_world_notes(w)->n; i++) {
		const struct pilot_note *n = &pilot_world_notes(w)->v[i];
		json_array_append_new(all,
			json_pack("{s:s, s:s, s:s, s:s}", "object", pilot_ids_title(p->ids, n->id),
				"kind", pilot_note_kind_name(n->kind), "path", n->path, "note",
				n->text));
	}
	mt_http_reply_json(r, 200, json_pack("{s:o}", "notes", all));
}

static void adsz(void *ctx, struct mt_http_req *r)
{
	const struct pilot *p = ctx;
	json_t *tables = json_object();
	size_t n = 0;

	for (const struct push_proxy *x = push_proxies(p->push); x; x = x->next)
		n++;
	for (int t = 0; t < PILOT_TABLES; t++)
		json_object_set_new(tables, push_table_name(t),
			json_integer((json_int_t)push_class_count(p->push, t)));
	mt_http_reply_json(
		r, 200, json_pack("{s:I, s:o}", "proxies", (json_int_t)n, "classes", tables));
}

int pilot_pages_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	(void)err;
	mt_daemon_debug(
		d, "syncz", "each proxy: what it was sent, acknowledged, rejected", syncz, self);
	mt_daemon_debug(d, "config_dump", "?proxyID=ID[&name=RESOURCE]: resources of a proxy",
		config_dump, self);
	mt_daemon_debug(d, "provenance",
		"?proxyID=ID[&name=RESOURCE]: the objects behind its resources", provenance, self);
	mt_daemon_debug(d, "registryz", "[?host=HOST] services", registryz, self);
	mt_daemon_debug(d, "endpointz", "[?host=HOST] services with endpoints", endpointz, self);
	mt_daemon_debug(d, "configz", "configuration objects in use", configz, self);
	mt_daemon_debug(d, "push_status", "what has no effect, and why", push_status, self);
	mt_daemon_debug(d, "adsz", "how many proxies and classes of proxies", adsz, self);
	return 0;
}
