/* Pilot: configuration and services in, discovery for proxies out. */
#include "common/base/strs.h"
#include "pilot/metrics.h"
#include "pilot/pilot.h"

static int base_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	struct pilot *p = self;

	(void)err;
	p->d = d;
	p->opts = mt_daemon_options(d);
	p->loop = mt_daemon_loop(d);
	p->env = mt_rpc_env_new((unsigned)p->opts->rpc_threads);
	p->changes = pilot_changes_new();
	p->push = push_new(p->loop, mt_daemon_metrics(d), (unsigned)p->opts->max_proxies);
	push_virtual_hosts(p->push, p->opts->virtual_host_discovery);
	mt_metric_set(mt_daemon_metrics(d), METRIC_pilot_info, 1, MT_VERSION);
	return 0;
}

static void base_stop(struct mt_daemon *d, void *self)
{
	struct pilot *p = self;

	(void)d;
	push_free(p->push);
	pilot_changes_free(p->changes);
	mt_rpc_env_free(p->env);
}

static int identity_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	struct pilot *p = self;
	int r = mt_daemon_identity_start(d, p->env, "pilot", &p->self, err);

	p->identity = r == 0 ? mt_daemon_identity_slot(p->self) : NULL;
	return r;
}

static void identity_stop(struct mt_daemon *d, void *self)
{
	struct pilot *p = self;

	(void)d;
	mt_daemon_identity_stop(p->self);
}

static const struct mt_component components[] = {
	{ "base", base_start, base_stop },
	{ "identity", identity_start, identity_stop },
	{ "config", pilot_config_start, pilot_config_stop },
	{ "discovery", pilot_serve_start, pilot_serve_stop },
	{ "pages", pilot_pages_start, pilot_pages_stop },
	{ "status", pilot_status_start, NULL },
};

static const struct mt_opt opts[] = {
#define OPT(...) MT_OPT_ROW(struct pilot_options, __VA_ARGS__)
#include "pilot/options.def"
#undef OPT
};

static const struct mt_metric_desc metrics[] = {
#define METRIC MT_METRIC_ROW
#include "pilot/metrics.def"
#undef METRIC
};

static const struct mt_daemon_desc desc = {
	.name = "pilot",
	.usage =
		"Discovery for proxies: reads configuration from Galley and tells each Envoy what to do (xDS v3).",
	.opts = opts,
	.nopts = MT_ARRAY_SIZE(opts),
	.options_size = sizeof(struct pilot_options),
	.self_size = sizeof(struct pilot),
	.components = components,
	.ncomponents = MT_ARRAY_SIZE(components),
	.metrics = metrics,
	.nmetrics = MT_ARRAY_SIZE(metrics),
	.monitoring_addr = "127.0.0.1:15014",
};

int main(int argc, char **argv)
{
	return mt_daemon_main(&desc, argc, argv);
}
