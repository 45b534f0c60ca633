/* The way of a change: a source tells texts, the store decides what is in force, and what changed goes
 * to the distribution and to disk. Faults are logged once, when they appear or change. */
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "galley/galley.h"
#include "galley/metrics.h"
#include "galley/validate/validate.h"

enum { LOGGED_FAULTS_MAX = 20 };

static struct mt_log_scope scope = MT_LOG_SCOPE("config");

/* ---- the store's reports ---- */

static void on_changed(void *ctx, const struct galley_change *c, size_t n, int64_t since_ns)
{
	struct galley *g = ctx;

	galley_distribute_change(g->distribute, c, n, since_ns);
	if (g->keep)
		galley_keep_changed(g->keep);
	mt_metric_observe(mt_daemon_metrics(g->d), METRIC_galley_ingest_seconds,
		(double)(mt_mono(mt_loop_clock(mt_daemon_loop(g->d))) - since_ns) / 1e9);
	mt_log_info(&scope, "configuration changed", MT_I("objects", n),
		MT_I("in_force", galley_store_count(g->store)));
}

static void log_fault(const struct mt_diag *d)
{
	enum mt_level level = d->severity == MT_SEV_ERROR ? MT_LOG_ERROR : MT_LOG_WARN;

	mt_log_at(&scope, level,
		d->severity == MT_SEV_ERROR ? "invalid configuration" : "configuration warning",
		MT_S("file", d->file ? d->file : ""), MT_I("line", d->line), MT_I("column", d->col),
		MT_S("object", d->object ? d->object : ""), MT_S("path", d->path),
		MT_S("error", d->msg));
}

static void on_reported(void *ctx, const struct galley_text *t)
{
	struct galley *g = ctx;

	if (t->broken)
		mt_metric_add(mt_daemon_metrics(g->d), METRIC_galley_validation_failed, 1,
			t->nclaims ? "invalid" : "invalid_nothing_kept");
	for (size_t i = 0; i < t->diags.n && i < LOGGED_FAULTS_MAX; i++)
		log_fault(&t->diags.v[i]);
	if (t->diags.n > LOGGED_FAULTS_MAX)
		mt_log_error(&scope, "more faults", MT_S("file", t->name),
			MT_I("count", t->diags.n + t->diags.dropped - LOGGED_FAULTS_MAX));
	if (t->broken)
		mt_log_warn(&scope, "what was in force from this file stays", MT_S("file", t->name),
			MT_I("objects", t->nclaims));
	else if (!t->diags.n)
		mt_log_info(&scope, "valid again, or gone", MT_S("file", t->name));
}

static int on_validate(void *ctx, const struct mt_object *o, struct mt_diags *diags)
{
	struct galley *g = ctx;
	int r = galley_validate(o, diags);

	if (r == 0)
		mt_metric_add(mt_daemon_metrics(g->d), METRIC_galley_validation_passed, 1,
			o->kind->group, o->kind->versions, o->kind->plural);
	return r;
}

/* ---- the sources' events ---- */

static void on_text(
	void *ctx, struct galley_source *s, const char *name, const char *text, size_t n)
{
	galley_store_text(((struct galley *)ctx)->store, s->index, name, text, n);
}

static void on_unreadable(
	void *ctx, struct galley_source *s, const char *name, const struct mt_err *err)
{
	galley_store_unreadable(((struct galley *)ctx)->store, s->index, name, err);
}

static void on_gone(void *ctx, struct galley_source *s, const char *name)
{
	(void)s;
	galley_store_gone(((struct galley *)ctx)->store, name);
}

static void readiness(struct galley *g)
{
	bool all = g->sources.n > 0;
	const struct galley_source *away = NULL;

	for (size_t i = 0; i < g->sources.n; i++) {
		all = all && g->sources.v[i]->settled;
		if (!g->sources.v[i]->up)
			away = g->sources.v[i];
	}
	if (all || (g->restored && away))
		mt_daemon_ready(g->d, "config", true,
			away ? "a source is away: the last good state is served" : "");
	else
		mt_daemon_ready(g->d, "config", false,
			away ? "a source cannot be read, and there is no earlier state"
			     : "sources are being read");
}

static void on_settled(void *ctx, struct galley_source *s, int64_t since_ns)
{
	struct galley *g = ctx;
	bool all = true;

	for (size_t i = 0; i < g->sources.n; i++)
		all = all && g->sources.v[i]->settled;
	mt_metric_set(mt_daemon_metrics(g->d), METRIC_galley_source_up, 1, s->url);
	mt_metric_add(mt_daemon_metrics(g->d), METRIC_galley_source_scans, 1, s->url);
	galley_store_commit(g->store, all, since_ns);
	size_t texts = galley_store_texts(g->store), broken = galley_store_broken(g->store);
	mt_metric_set(mt_daemon_metrics(g->d), METRIC_galley_files, (double)texts);
	mt_metric_set(mt_daemon_metrics(g->d), METRIC_galley_invalid_files, (double)broken);
	if (all && !g->read_once) {
		g->read_once = true;
		mt_log_info(&scope, "sources are read", MT_I("files", texts),
			MT_I("invalid_files", broken),
			MT_I("objects", galley_store_count(g->store)));
		/* Nothing at all is an answer too: subscribers wait for it. */
		if (!galley_store_count(g->store))
			galley_distribute_change(g->distribute, NULL, 0, since_ns);
	}
	if (galley_store_held(g->store))
		mt_log_warn(&scope, "more than half of all objects would go: held (--loss-hold)",
			MT_I("objects", galley_store_held(g->store)));
	readiness(g);
}

static void on_away(void *ctx, struct galley_source *s, const struct mt_err *err)
{
	struct galley *g = ctx;

	mt_metric_set(mt_daemon_metrics(g->d), METRIC_galley_source_up, 0, s->url);
	mt_log_error(&scope, "source cannot be read: what it said before stays in force",
		MT_S("source", s->url), MT_S("error", err->msg),
		MT_I("objects", galley_store_count(g->store)));
	readiness(g);
}

static const struct galley_source_events events = {
	.text = on_text,
	.unreadable = on_unreadable,
	.gone = on_gone,
	.settled = on_settled,
	.away = on_away,
};

/* ---- components ---- */

static void restored_change(void *ctx, struct mt_object *o)
{
	MT_VEC(struct galley_change) *list = ctx;
	struct galley_change c = { NULL, o };

	mt_vec_push(list, c);
}

int galley_ingest_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	struct galley *g = self;
	MT_VEC(struct galley_change) list = { 0 };
	struct mt_err state_err = { 0 };

	(void)err;
	g->d = d;
	g->store = galley_store_new(mt_daemon_loop(d),
		&(struct galley_store_opts){ .clock = mt_loop_clock(mt_daemon_loop(d)),
			.loss_hold_ns = g->o->loss_hold,
			.max_objects = (size_t)g->o->max_objects,
			.validate = on_validate,
			.changed = on_changed,
			.reported = on_reported,
			.ctx = g });
	g->keep = galley_keep_open(mt_daemon_loop(d), mt_daemon_state(d), g->store,
		mt_daemon_metrics(d), &g->restored, &state_err);
	if (state_err.code && state_err.code != MT_NOT_FOUND)
		mt_log_error(&scope, "last good state not used", MT_S("error", state_err.msg));
	if (g->restored) {
		mt_log_info(
			&scope, "started from the last good state", MT_I("objects", g->restored));
		galley_store_each(g->store, restored_change, &list);
		galley_distribute_change(
			g->distribute, list.v, list.n, mt_mono(mt_loop_clock(mt_daemon_loop(d))));
		mt_vec_clear(&list);
	}
	readiness(g);
	return 0;
}

void galley_ingest_stop(struct mt_daemon *d, void *self)
{
	struct galley *g = self;

	(void)d;
	galley_keep_close(g->keep);
	galley_store_free(g->store);
}

void galley_sources_stop(struct mt_daemon *d, void *self)
{
	struct galley *g = self;

	(void)d;
	for (size_t i = 0; i < g->sources.n; i++)
		galley_source_close(g->sources.v[i]);
	mt_vec_clear(&g->sources);
}

int galley_sources_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	struct galley *g = self;
	const struct galley_source_opts o = {
		.loop = mt_daemon_loop(d),
		.events = &events,
		.ctx = g,
		.gather_ns = g->o->gather,
		.rescan_ns = g->o->rescan,
		.max_file = (size_t)g->o->max_file,
	};

	if (!g->o->source.n)
		return mt_fail(
			err, MT_INVALID, "--source", "at least one source is needed: dir:PATH");
	for (size_t i = 0; i < g->o->source.n; i++) {
		struct galley_source *s;
		int r = galley_source_open(g->o->source.v[i], (unsigned)i, &o, &s, err);
		if (r < 0) {
			galley_sources_stop(d, self); /* a start that fails leaves nothing */
			return r;
		}
		mt_vec_push(&g->sources, s);
	}
	return 0;
}
