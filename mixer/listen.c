/* Where others reach Mixer: gRPC for proxies, HTTP for Prometheus. */
#include <string.h>

#include "common/base/cidr.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "mixer/adapter/prometheus/collectors.h"
#include "mixer/mixer.h"

static struct mt_log_scope scope = MT_LOG_SCOPE("serve");

/* ---- gRPC ---- */

static int start_server(struct mixer *m, const char *const *addrs, size_t n, struct mt_err *err)
{
	const struct mt_rpc_method methods[] = { mixer_check_method(&m->serve),
		mixer_accesslog_method(&m->serve) };
	const struct mt_rpc_server_opts o = {
		.identity = mt_daemon_identity_slot(m->identity),
		.max_streams = (unsigned)m->o->max_streams,
		/* A proxy sends all its checks over one connection a worker. */
		.max_streams_per_connection = 1024,
	};
	int r;

	for (size_t i = 0; i < n; i++)
		if ((r = mt_daemon_check_plaintext(m->d, "--listen", addrs[i], err)) < 0)
			return r;
	r = mt_rpc_server_start(
		m->env, &o, addrs, n, methods, MT_ARRAY_SIZE(methods), &m->server, err);
	for (size_t i = 0; r == 0 && i < n; i++)
		mt_log_info(&scope, "checks and reports", MT_S("address", addrs[i]),
			MT_I("port", mt_rpc_server_port(m->server, i)),
			MT_S("tls", o.identity ? "mutual" : "off"));
	return r;
}

int mixer_listen_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	struct mixer *m = self;
	bool tls = mt_daemon_identity_slot(m->identity) != NULL;
	const char *def = tls ? "0.0.0.0:9091" : "127.0.0.1:9091";

	m->serve.clock = mt_loop_clock(m->loop);
	m->serve.metrics = mt_daemon_metrics(d);
	m->serve.trust_domain = tls ? m->o->common.trust_domain : NULL;
	m->serve.trust_source_header = m->o->trust_source_header;
	m->serve.recent =
		m->o->recent_checks ? mixer_recent_new((size_t)m->o->recent_checks) : NULL;
	mixer_serve_init(&m->serve);
	m->serve.reports = mixer_reports_start(&m->serve, (size_t)m->o->report_queue);
	if (!m->o->listen.n)
		return start_server(m, &def, 1, err);
	return start_server(m, m->o->listen.v, m->o->listen.n, err);
}

void mixer_listen_stop(struct mt_daemon *d, void *self)
{
	struct mixer *m = self;

	(void)d;
	/* Checks end by themselves at once, access log streams never. */
	if (m->server)
		mt_rpc_server_stop(
			m->server, MT_MIN(m->o->common.drain_timeout, 300 * MT_NS_PER_MS));
	mixer_reports_stop(m->serve.reports);
	mixer_recent_free(m->serve.recent);
	mixer_serve_clear(&m->serve);
}

/* ---- Prometheus ---- */

static void scrape(void *ctx, struct mt_http_req *req)
{
	struct mixer *m = ctx;
	struct mt_buf out = { 0 };

	mixer_collectors_text(m->collectors, &out);
	mt_http_reply(
		req, 200, "text/plain; version=0.0.4; charset=utf-8", mt_buf_str(&out), out.n);
	mt_buf_clear(&out);
}

/* Beside the monitoring address. */
static char *scrape_addr(const struct mixer *m)
{
	char host[256] = "127.0.0.1";
	uint16_t port;

	if (strcmp(m->o->prometheus_addr, "auto") != 0)
		return mt_strdup(m->o->prometheus_addr);
	if (!mt_str_empty(m->o->common.monitoring_addr) &&
		mt_hostport_parse(m->o->common.monitoring_addr, host, &port) < 0)
		return NULL;
	return mt_asprintf(strchr(host, ':') ? "[%s]:42422" : "%s:42422", host);
}

int mixer_scrape_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	struct mixer *m = self;
	MT_AUTO(mt_strfreep) char *addr = scrape_addr(m);
	const struct mt_http_server_opts o = { .addr = addr };
	int r;

	if (!addr)
		return mt_fail(err, MT_INVALID, "--prometheus-addr", "say ADDR:PORT, or nothing");
	if (!*addr)
		return 0;
	r = mt_daemon_check_plaintext(d, "--prometheus-addr", addr, err);
	if (r == 0)
		r = mt_http_server_start(m->loop, &o, &m->prometheus, err);
	if (r < 0)
		return r;
	mt_http_route(m->prometheus, "GET,HEAD", "/metrics", scrape, m);
	mt_log_info(&scope, "metrics of the mesh", MT_S("address", addr));
	return 0;
}

void mixer_scrape_stop(struct mt_daemon *d, void *self)
{
	struct mixer *m = self;

	(void)d;
	if (m->prometheus)
		mt_http_server_stop(m->prometheus);
}
