/* Mixer: policy and telemetry. Attributes in, verdicts and metrics out. */
#include "common/base/map.h"
#include "mixer/adapter/prometheus/collectors.h"
#include "mixer/metrics.h"
#include "mixer/mixer.h"

static int base_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	struct mixer *m = self;

	(void)err;
	m->d = d;
	m->o = mt_daemon_options(d);
	m->loop = mt_daemon_loop(d);
	m->env = mt_rpc_env_new((unsigned)m->o->rpc_threads);
	m->http = mt_http_client_new(m->loop);
	m->collectors = mixer_collectors_new();
	m->serve.slot = mixer_slot_new();
	return 0;
}

static void base_stop(struct mt_daemon *d, void *self)
{
	struct mixer *m = self;

	(void)d;
	mixer_slot_free(m->serve.slot);
	mixer_collectors_free(m->collectors);
	mt_http_client_free(m->http);
	mt_rpc_env_free(m->env);
}

static int identity_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	struct mixer *m = self;

	return mt_daemon_identity_start(d, m->env, "mixer", &m->identity, err);
}

static void identity_stop(struct mt_daemon *d, void *self)
{
	struct mixer *m = self;

	(void)d;
	mt_daemon_identity_stop(m->identity);
}

static const struct mt_component components[] = {
	{ "base", base_start, base_stop },
	{ "identity", identity_start, identity_stop },
	{ "config", mixer_config_start, mixer_config_stop },
	{ "listen", mixer_listen_start, mixer_listen_stop },
	{ "prometheus", mixer_scrape_start, mixer_scrape_stop },
	{ "pages", mixer_pages_start, NULL },
};

static const struct mt_opt opts[] = {
#define OPT(...) MT_OPT_ROW(struct mixer_options, __VA_ARGS__)
#include "mixer/options.def"
#undef OPT
};

static const struct mt_metric_desc metrics[] = {
#define METRIC MT_METRIC_ROW
#include "mixer/metrics.def"
#undef METRIC
};

static const struct mt_daemon_desc desc = {
	.name = "mixer",
	.usage =
		"Policy and telemetry: decides the checks of proxies by rules over attributes, and "
		"makes metrics and logs of what they report.",
	.opts = opts,
	.nopts = MT_ARRAY_SIZE(opts),
	.options_size = sizeof(struct mixer_options),
	.self_size = sizeof(struct mixer),
	.components = components,
	.ncomponents = MT_ARRAY_SIZE(components),
	.metrics = metrics,
	.nmetrics = MT_ARRAY_SIZE(metrics),
	.monitoring_addr = "127.0.0.1:15314",
};

int main(int argc, char **argv)
{
	return mt_daemon_main(&desc, argc, argv);
}
