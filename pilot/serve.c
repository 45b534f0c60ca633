/* Discovery for proxies: one xDS server behind two listeners, plaintext on loopback and mutual TLS. */
#include <string.h>

#include "common/base/log.h"
#include "pilot/agents.h"

static struct mt_log_scope scope = MT_LOG_SCOPE("ads");

static int listen_on(struct pilot *p, const char *addr, struct mt_identity_slot *identity,
	struct mt_rpc_server **ret, struct mt_err *err)
{
	struct mt_rpc_method methods[3];
	const struct mt_rpc_server_opts o = {
		.identity = identity,
		.max_streams = (unsigned)p->opts->max_proxies,
		.send_timeout_ns = p->opts->send_timeout,
	};

	mt_xds_server_methods(p->xds, methods);
	pilot_agents_method(p->agents, &methods[2]);
	int r = mt_rpc_server_start(
		p->env, &o, &addr, 1, methods, MT_ARRAY_SIZE(methods), ret, err);
	if (r < 0)
		return r;
	mt_log_info(&scope, "discovery listens", MT_S("address", addr),
		MT_S("tls", identity ? "mutual" : "off"));
	return 0;
}

int pilot_serve_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	struct pilot *p = self;
	const char *plain = p->opts->xds_addr, *secure = p->opts->secure_xds_addr;
	int r;

	if (!*plain && !p->identity)
		plain = "127.0.0.1:15010";
	if (!*secure && p->identity)
		secure = "0.0.0.0:15012";
	if (*secure && !p->identity)
		return mt_fail(err, MT_INVALID, "--secure-xds-addr", "needs --tls on");
	p->agents = pilot_agents_new(p);
	p->xds = mt_xds_server_new(p->loop,
		&(struct mt_xds_server_opts){
			.types = push_types,
			.ntypes = PUSH_TYPES,
			.app = &push_app,
			.ctx = p->push,
			.removal_grace_ns = p->opts->removal_grace,
			.metrics = mt_daemon_metrics(d),
			.measure = push_measure,
			.synced_later = true,
		});
	r = *plain ? listen_on(p, plain, NULL, &p->plain, err) : 0;
	if (r == 0 && *secure)
		r = listen_on(p, secure, p->identity, &p->secure, err);
	if (r < 0)
		pilot_serve_stop(d, self);
	return r;
}

void pilot_serve_stop(struct mt_daemon *d, void *self)
{
	struct pilot *p = self;

	(void)d;
	/* Streams to proxies never end by themselves: they are cancelled, proxies reconnect elsewhere. */
	if (p->plain)
		mt_rpc_server_stop(p->plain, 0);
	if (p->secure)
		mt_rpc_server_stop(p->secure, 0);
	mt_xds_server_free(p->xds);
	pilot_agents_free(MT_TAKE(p->agents));
}
