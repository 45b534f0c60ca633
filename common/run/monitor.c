/* The monitoring server: health, readiness, metrics, version. The handlers run on the loop, so an
 * answer to /healthz proves that the loop turns. */
#include <string.h>

#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/run/daemon_inside.h"
#include "common/run/version.h"

static void healthz(void *ctx, struct mt_http_req *req)
{
	(void)ctx;
	mt_http_reply(req, 200, "text/plain; charset=utf-8", "ok\n", 3);
}

static void readyz(void *ctx, struct mt_http_req *req)
{
	struct mt_daemon *d = ctx;
	bool ready = mt_daemon_is_ready(d);
	json_t *reasons = json_array();

	for (const struct mt_condition *c = d->conditions; c; c = c->next)
		if (!c->ok)
			json_array_append_new(reasons,
				json_pack("{s:s, s:s}", "condition", c->name, "reason", c->reason));
	mt_http_reply_json(req, ready ? 200 : 503,
		json_pack("{s:b, s:o}", "ready", ready, "reasons", reasons));
}

static void version(void *ctx, struct mt_http_req *req)
{
	struct mt_daemon *d = ctx;

	mt_http_reply_json(req, 200,
		json_pack("{s:s, s:s}", "component", d->desc->name, "version", mt_version()));
}

static void metrics(void *ctx, struct mt_http_req *req)
{
	MT_AUTO(mt_buf_clear) struct mt_buf b = { 0 };
	struct mt_daemon *d = ctx;

	mt_process_metrics_read(d);
	mt_metrics_text(d->metrics, &b);
	mt_http_reply(req, 200, "text/plain; version=0.0.4; charset=utf-8", mt_buf_str(&b), b.n);
}

int mt_monitor_start(struct mt_daemon *d, struct mt_err *err)
{
	struct mt_http_server_opts o = {
		.addr = d->values->monitoring_addr, .max_body = 64 * 1024, .max_connections = 64
	};
	int r;

	mt_process_metrics_define(d);
	if (mt_str_empty(o.addr))
		return 0; /* switched off */
	if ((r = mt_http_server_start(d->loop, &o, &d->http, err)) < 0)
		return r;
	mt_http_route(d->http, "GET", "/healthz", healthz, d);
	mt_http_route(d->http, "GET", "/readyz", readyz, d);
	mt_http_route(d->http, "GET", "/version", version, d);
	mt_http_route(d->http, "GET", "/metrics", metrics, d);
	mt_debug_pages(d);
	return 0;
}

void mt_monitor_stop(struct mt_daemon *d)
{
	struct mt_page *p, *next;

	mt_http_server_stop(d->http);
	d->http = NULL;
	for (p = d->pages; p; p = next) {
		next = p->next;
		mt_free(p->path);
		mt_free(p->help);
		mt_free(p);
	}
	d->pages = NULL;
}
