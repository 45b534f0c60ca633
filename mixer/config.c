/* From Galley's objects to programs. Changes that arrive together make one program; nothing is served
 * until the configuration is complete once, from Galley or from disk: half of the rules would let pass
 * what the other half refuses. */
#include <string.h>

#include "common/base/log.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "mixer/metrics.h"
#include "mixer/mixer.h"

static struct mt_log_scope scope = MT_LOG_SCOPE("config");

typedef MT_VEC(struct mt_object *) objects_t;

static void collect(void *ctx, struct mt_object *o)
{
	objects_t *v = ctx;

	mt_vec_push(v, o);
}

/* Each fault once, for as long as it lasts. */
static void tell(struct mixer *m)
{
	const struct mt_diags *d = mixer_compiler_diags(m->compiler);
	json_t *now = json_object();

	for (size_t i = 0; i < d->n; i++) {
		char *text = mt_diag_format(&d->v[i]);

		if (!json_object_get(m->said, text))
			mt_log_warn(&scope, "not all of the configuration is in force",
				MT_S("fault", text));
		json_object_set_new(now, text, json_true());
		mt_free(text);
	}
	json_decref(m->said);
	m->said = now;
}

/* Handlers that are gone do not ail. */
static void forget(struct mixer *m)
{
	struct mt_map_it it = { 0 };

	while (mt_map_next(m->health, &it))
		if (!mixer_compiler_has(m->compiler, it.key))
			mt_free(mt_map_del(m->health, it.key));
}

static void compile(void *arg)
{
	struct mixer *m = arg;
	enum mt_kind_id kinds[MT_KIND_N];
	size_t n = mixer_compiler_kinds(kinds, MT_KIND_N);
	int64_t start = mt_mono(mt_loop_clock(m->loop));
	objects_t objects = { 0 };
	struct mixer_program *p;

	if (!m->synced)
		return;
	for (size_t i = 0; i < n; i++)
		mt_feed_each(m->feed, kinds[i], collect, &objects);
	p = mixer_compiler_run(m->compiler, objects.v, objects.n);
	mt_log_info(&scope, "program in force", MT_I("number", p->number), MT_I("rules", p->nrules),
		MT_I("objects", objects.n), MT_I("faults", mixer_compiler_diags(m->compiler)->n),
		MT_I("us", (mt_mono(mt_loop_clock(m->loop)) - start) / 1000));
	mt_vec_clear(&objects);
	mixer_slot_set(m->serve.slot, p);
	mt_metric_add(mt_daemon_metrics(m->d), METRIC_mixer_config_program_count, 1);
	tell(m);
	forget(m);
	mt_daemon_ready(m->d, "configuration", true, "");
}

static void changed(void *ctx, const struct mt_feed_change *c, size_t n)
{
	struct mixer *m = ctx;

	(void)c, (void)n;
	/* Later: during the start there is no feed yet to list objects of. */
	mt_timer_start(m->compile, 0, 0);
}

static void state_changed(void *ctx, bool connected, bool synced, const char *why)
{
	struct mixer *m = ctx;

	if (connected && !m->connected)
		mt_log_info(&scope, "Galley connected", MT_S("server", m->o->config_server));
	if (!connected)
		mt_log_warn(&scope, "Galley away, serving what is known",
			MT_S("server", m->o->config_server), MT_S("why", why ? why : ""));
	m->connected = connected;
	if (!synced || m->synced)
		return;
	m->synced = true;
	mt_timer_start(m->compile, 0, 0);
}

static void health(void *ctx, const char *handler, const char *why)
{
	struct mixer *m = ctx;
	const char *before = mt_map_get(m->health, handler);

	if (*why && (!before || strcmp(before, why) != 0))
		mt_log_warn(&scope, "handler ails", MT_S("handler", handler), MT_S("why", why));
	mt_free(*why ? mt_map_put(m->health, handler, mt_strdup(why))
		     : mt_map_del(m->health, handler));
}

int mixer_config_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	struct mixer *m = self;
	enum mt_kind_id kinds[MT_KIND_N];
	bool tls = mt_daemon_identity_slot(m->identity) != NULL;

	m->health = mt_map_new();
	m->said = json_object();
	m->adapters = (struct mixer_adapter_env){
		.loop = m->loop,
		.http = m->http,
		.collectors = m->collectors,
		.clock = mt_loop_clock(m->loop),
		.health = health,
		.health_ctx = m,
	};
	m->compiler = mixer_compiler_new(&(struct mixer_compiler_opts){
		.env = &m->adapters,
		.metrics = mt_daemon_metrics(d),
		.root_namespace = m->o->root_namespace,
	});
	m->compile = mt_timer_new(m->loop, compile, m);
	mt_daemon_ready(d, "configuration", false, "waiting for configuration from Galley");
	return mt_feed_start(m->loop,
		&(struct mt_feed_opts){
			.env = m->env,
			.server = m->o->config_server,
			.identity = mt_daemon_identity_slot(m->identity),
			.server_ids = tls ? mt_daemon_identity_expect(m->identity, "galley") : NULL,
			.node_id = "mixer",
			.kinds = kinds,
			.nkinds = mixer_compiler_kinds(kinds, MT_KIND_N),
			.state = mt_daemon_state(d),
			.changed = changed,
			.state_changed = state_changed,
			.ctx = m,
		},
		&m->feed, err);
}

void mixer_config_stop(struct mt_daemon *d, void *self)
{
	struct mixer *m = self;

	(void)d;
	mt_feed_stop(m->feed);
	mt_timer_free(m->compile);
	mixer_slot_set(m->serve.slot, NULL);
	mixer_compiler_free(m->compiler);
	/* What other threads let go last was handed to the loop: before what it needs goes too. */
	for (int i = 0; i < 2; i++)
		uv_run(mt_loop_uv(m->loop), UV_RUN_NOWAIT);
	mt_map_free(m->health, mt_free);
	json_decref(m->said);
}
