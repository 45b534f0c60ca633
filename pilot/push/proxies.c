/* Proxies come, speak and go, and what their agents report of credentials. A proxy that connects before
 * there is a world waits; one that connects later usually enters a view that exists and costs a look-up. */
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "pilot/push/admit.h"
#include "pilot/push/credentials.h"
#include "pilot/push/internal.h"

static struct mt_log_scope scope = MT_LOG_SCOPE("ads");

static void proxy_free(struct push_proxy *x)
{
	pilot_proxy_unref(x->proxy);
	pilot_proxy_unref(x->claimed);
	mt_free(x);
}

static int refuse(struct push *p, struct mt_xds_sub *s, const struct mt_err *err)
{
	const Core__Node *node = mt_xds_sub_node(s);

	mt_log_warn(&scope, "proxy refused", MT_S("proxy", node && node->id ? node->id : ""),
		MT_S("peer", mt_xds_sub_peer(s)->addr), MT_S("why", err->msg));
	mt_metric_add(p->metrics, METRIC_pilot_proxies_refused, 1, mt_code_name(err->code));
	return err->code;
}

/* Over aggregated delta streams Envoy takes virtual hosts as resources from 1.37.0 on (measured: earlier
 * ones reject the table). */
static bool takes_vhds(const struct mt_xds_sub *s, const struct pilot_proxy *p)
{
	return mt_xds_sub_delta(s) && (p->major > 1 || (p->major == 1 && p->minor >= 37));
}

void push_on_secrets(struct push *p, void (*fn)(void *ctx), void *ctx)
{
	p->on_secrets = fn;
	p->on_secrets_ctx = ctx;
}

static void tell_secrets(struct push *p)
{
	if (p->on_secrets)
		p->on_secrets(p->on_secrets_ctx);
}

void push_credentials_forget(struct push *p, const char *node_id)
{
	mt_free(mt_map_del(p->credentials, node_id));
}

void push_credentials(struct push *p, const char *node_id, const char *const *names, size_t n)
{
	if (!push_reported(p->credentials, p->max_proxies, node_id, names, n))
		return;
	for (struct push_proxy *x = p->first; x; x = x->next) {
		struct mt_err err = { 0 };
		if (strcmp(x->claimed->node_id, node_id) != 0)
			continue;
		push_reported_take(p->credentials, &x->claimed);
		if (push_admit(p, x, &err) < 0 || !p->world)
			continue; /* it is sent away with the next world */
		struct push_view *old = x->view;
		push_canary_leaving(p->canary, x);
		push_enter(p, x);
		if (x->view != old && x->view->snap)
			push_canary_again(p->canary, x);
		else if (x->view != old)
			push_refresh(p, x->view, T_ALL, mt_mono(mt_loop_clock(p->loop)));
	}
	push_canary_run(p->canary);
	tell_secrets(p);
}

static int attach(void *ctx, struct mt_xds_sub *s, struct mt_err *ret_err)
{
	struct push *p = ctx;
	struct mt_err err = { 0 };
	struct push_proxy *x = MT_NEW(struct push_proxy);
	int r;

	x->sub = s;
	if (p->n >= p->max_proxies)
		r = mt_fail(&err, MT_LIMIT, NULL, "%u proxies are connected (--max-proxies)", p->n);
	else if ((r = pilot_proxy_new(mt_xds_sub_node(s), &x->claimed, &err)) == 0) {
		x->claimed->vhds = p->virtual_hosts && takes_vhds(s, x->claimed);
		push_reported_take(p->credentials, &x->claimed);
		r = push_admit(p, x, &err);
	}
	if (r < 0) {
		if (ret_err)
			*ret_err = err;
		proxy_free(x);
		return refuse(p, s, &err);
	}

	x->connected_ns = mt_wall(mt_loop_clock(p->loop));
	memcpy(x->spiffe_id, mt_xds_sub_peer(s)->spiffe_id, sizeof(x->spiffe_id));
	x->next = p->first;
	if (p->first)
		p->first->prev = x;
	p->first = x;
	p->n++;
	mt_xds_sub_set_user(s, x);
	mt_metric_set(p->metrics, METRIC_pilot_xds, p->n);
	mt_log_info(&scope, "proxy connected", MT_S("proxy", x->claimed->node_id),
		MT_S("identity", x->spiffe_id),
		MT_S("variant", mt_xds_sub_delta(s) ? "delta" : "state-of-the-world"),
		MT_I("proxies", p->n));
	tell_secrets(p);
	if (!p->world)
		return 0;
	push_enter(p, x);
	if (x->view->snap) {
		mt_xds_sub_publish(s, x->view->snap);
		push_canary_watch(p->canary, x);
	} else {
		push_refresh(p, x->view, T_ALL, mt_mono(mt_loop_clock(p->loop)));
	}
	return 0;
}

/* The last response of a type was rejected with these words; NULL: of none is. */
static void set_rejected(struct push *p, struct push_proxy *x, int type, const char *words)
{
	static const int metrics[PUSH_TYPES] = {
		[PUSH_CDS] = METRIC_pilot_xds_cds_reject,
		[PUSH_EDS] = METRIC_pilot_xds_eds_reject,
		[PUSH_LDS] = METRIC_pilot_xds_lds_reject,
		[PUSH_RDS] = METRIC_pilot_xds_rds_reject,
	};
	char err[201];

	for (int t = 0; t < PUSH_TYPES; t++)
		if (x->rejected[t] && (!words || t == type)) {
			mt_series_set(x->rejected[t], 0);
			x->rejected[t] = NULL;
		}
	x->nacked = words ? x->nacked | 1u << type : 0;
	if (!words || !metrics[type])
		return;
	snprintf(err, sizeof(err), "%s", words);
	x->rejected[type] = mt_metric_series(
		p->metrics, metrics[type], (const char *const[]){ x->claimed->node_id, err, NULL });
	mt_series_set(x->rejected[type], 1);
}

void push_measure(void *ctx, enum mt_xds_measure what, int type, double v)
{
	struct push *p = ctx;

	switch ((int)what) {
	case MT_XDS_M_PUSHES: mt_series_add(p->pushes[type], v); return;
	case MT_XDS_M_ACK_TIMEOUTS:
		mt_metric_add(p->metrics, METRIC_pilot_xds_push_timeout, v);
		return;
	case MT_XDS_M_ERRORS:
		mt_metric_add(p->metrics, METRIC_pilot_total_xds_internal_errors, v);
		return;
	case MT_XDS_M_SEND_TIMEOUTS: break;
	default: return;
	}
	mt_series_add(push_series(p->metrics, METRIC_pilot_xds_push_errors, type), v);
	mt_metric_add(p->metrics, METRIC_pilot_xds_write_timeout, v);
	mt_metric_add(p->metrics, METRIC_pilot_xds_push_timeout_failures, v);
}

static void detach(void *ctx, struct mt_xds_sub *s)
{
	struct push *p = ctx;
	struct push_proxy *x = mt_xds_sub_user(s);

	mt_log_info(&scope, "proxy gone", MT_S("proxy", x->claimed->node_id));
	push_canary_leaving(p->canary, x);
	push_view_leave(&p->views, x);
	push_canary_run(p->canary);
	set_rejected(p, x, 0, NULL);
	mt_metric_add(p->metrics, METRIC_pilot_no_ip, -(double)x->no_ip);
	if (x->next)
		x->next->prev = x->prev;
	if (x->prev)
		x->prev->next = x->next;
	else
		p->first = x->next;
	p->n--;
	mt_metric_set(p->metrics, METRIC_pilot_xds, p->n);
	proxy_free(x);
	tell_secrets(p);
}

static void event(void *ctx, struct mt_xds_sub *s, const struct mt_xds_event *ev)
{
	struct push *p = ctx;
	struct push_proxy *x = mt_xds_sub_user(s);

	/* Virtual hosts are routes, whether they are resources of their own or not. */
	int routes = MT_MIN(ev->type, (int)PUSH_RDS);
	set_rejected(p, x, routes, ev->kind == MT_XDS_NACK ? ev->message : NULL);
	if (ev->kind == MT_XDS_NACK) {
		mt_metric_add(
			p->metrics, METRIC_pilot_total_xds_rejects, 1, push_types[ev->type].name);
		mt_log_error(&scope, "proxy rejected configuration",
			MT_S("proxy", x->claimed->node_id), MT_S("type", push_types[ev->type].name),
			MT_S("why", ev->message));
	}
	push_canary_event(p->canary, x, ev);
	if (ev->kind != MT_XDS_SYNCED)
		return;
	const struct mt_snapshot *snap = push_snapshot(x);
	if (snap && snap->id == ev->snapshot_id)
		mt_metric_observe(p->metrics, METRIC_pilot_proxy_convergence_time,
			(double)(ev->at_ns - snap->made_ns) / MT_NS_PER_SEC);
}

const struct mt_xds_app push_app = { .attach = attach, .detach = detach, .event = event };
