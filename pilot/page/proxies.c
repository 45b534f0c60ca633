/* Who is connected, what each was sent and said to it: syncz, adsz; and finding the proxy that a page
 * is asked about. */
#include <stdio.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/strs.h"
#include "pilot/page/page.h"

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

json_t *page_proxy_json(const struct pilot *p, const struct push_proxy *x)
{
	const struct pilot_proxy *pr = x->claimed;
	const struct mt_snapshot *snap = push_snapshot(x);
	char when[40], version[32];

	mt_time_format(x->connected_ns, when, sizeof(when));
	snprintf(version, sizeof(version), "%d.%d.%d", pr->major, pr->minor, pr->patch);
	json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I}", "proxy", pr->id,
		"node", pr->node_id, "type", pilot_proxy_type_name(pr->type), "peer",
		mt_xds_sub_peer(x->sub)->addr, "identity", x->spiffe_id, "envoy", version, "agent",
		pr->agent, "variant", mt_xds_sub_delta(x->sub) ? "delta" : "state-of-the-world",
		"connected", when, "snapshot", (json_int_t)(snap ? snap->id : 0));
	if (*pr->admin)
		json_object_set_new(j, "admin", json_string(pr->admin));
	json_t *types = json_object();
	for (int t = 0; t < PUSH_TYPES; t++)
		json_object_set_new(types, push_types[t].name, type_status(p, x, t));
	json_object_set_new(j, "types", types);
	return j;
}

bool page_proxy_if(const struct pilot *p, struct mt_http_req *r, const struct push_proxy **ret)
{
	const char *id = mt_http_query(r, "proxyID");
	struct mt_err err;

	*ret = NULL;
	if (!id || !*id)
		id = mt_http_query(r, "proxy");
	if (!id || !*id)
		return true;
	*ret = push_find(p->push, id);
	if (*ret)
		return true;
	mt_fail(&err, MT_NOT_FOUND, "proxyID", "no proxy \"%s\" is connected to this Pilot", id);
	mt_http_reply_err(r, &err);
	return false;
}

const struct push_proxy *page_proxy(const struct pilot *p, struct mt_http_req *r)
{
	const struct push_proxy *x;
	struct mt_err err;

	if (!page_proxy_if(p, r, &x) || x)
		return x;
	mt_fail(&err, MT_INVALID, "proxyID",
		"?proxyID= must name a proxy (its node id, or name.namespace)");
	mt_http_reply_err(r, &err);
	return NULL;
}

static json_t *proxies_json(const struct pilot *p)
{
	json_t *all = json_array();

	for (const struct push_proxy *x = push_proxies(p->push); x; x = x->next)
		json_array_append_new(all, page_proxy_json(p, x));
	return all;
}

void pilot_page_syncz(void *ctx, struct mt_http_req *r)
{
	mt_http_reply_json(r, 200, proxies_json(ctx));
}

void pilot_page_adsz(void *ctx, struct mt_http_req *r)
{
	struct pilot *p = ctx;
	json_t *tables = json_object(), *all;

	/* As in 1.0. What comes out equal to what proxies have is not sent again. */
	if (mt_streq(mt_http_query(r, "push"), "1"))
		pilot_config_recompute(p, "debug page");
	for (int t = 0; t < PILOT_TABLES; t++)
		json_object_set_new(tables, push_table_name(t),
			json_integer((json_int_t)push_class_count(p->push, t)));
	all = proxies_json(p);
	mt_http_reply_json(r, 200,
		json_pack("{s:I, s:o, s:o}", "proxies", (json_int_t)json_array_size(all), "classes",
			tables, "connected", all));
}
