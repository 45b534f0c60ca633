/* The life of a daemon.
 *
 * Start: options, log, file limit, loop, state folder (its lock), metrics, monitoring, then the
 * components in the order of their table. A component that cannot start ends it: what had started is
 * stopped in reverse and the process exits 1, with the component's name and the message. Then the
 * loop runs until SIGTERM, SIGINT or mt_daemon_stop().
 *
 * Stop: the pages say "not ready", the components stop in reverse, monitoring goes last. Signals
 * have their default effect again by then, so a second one ends a process that hangs.
 *
 * Exit status: 0 stopped as asked, 1 could not start, 2 wrong options. */
#include "common/run/daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/run/daemon_inside.h"
#include "common/run/notify.h"
#include "common/run/version.h"

static struct mt_log_scope scope = MT_LOG_SCOPE("daemon");

static const struct mt_opt common_rows[] = {
#define OPT(...) MT_OPT_ROW(struct mt_common_options, __VA_ARGS__)
#include "common/run/options.def"
#undef OPT
};

/* --- accessors ---------------------------------------------------------------------------------- */

struct mt_loop *mt_daemon_loop(struct mt_daemon *d)
{
	return d->loop;
}

const void *mt_daemon_options(const struct mt_daemon *d)
{
	return d->values;
}

bool mt_daemon_said(const struct mt_daemon *d, const char *option)
{
	return mt_options_said(d->options, option);
}

struct mt_metrics *mt_daemon_metrics(struct mt_daemon *d)
{
	return d->metrics;
}

struct mt_state *mt_daemon_state(struct mt_daemon *d)
{
	return d->state;
}

struct mt_http_server *mt_daemon_monitor(struct mt_daemon *d)
{
	return d->http;
}

void mt_daemon_stop(struct mt_daemon *d)
{
	mt_loop_stop(d->loop);
}

/* --- start -------------------------------------------------------------------------------------- */

/* The shared rows first, with this daemon's default of the monitoring address, then its own. */
static struct mt_opt *all_rows(const struct mt_daemon_desc *desc, size_t *ret_n)
{
	size_t n = MT_ARRAY_SIZE(common_rows);
	struct mt_opt *rows = mt_reallocarray(NULL, n + desc->nopts, sizeof(*rows));

	memcpy(rows, common_rows, sizeof(common_rows));
	if (desc->nopts)
		memcpy(rows + n, desc->opts, desc->nopts * sizeof(*rows));
	for (size_t i = 0; i < n; i++)
		if (desc->monitoring_addr && mt_streq(rows[i].name, "monitoring_addr"))
			rows[i].def = desc->monitoring_addr;
	*ret_n = n + desc->nopts;
	return rows;
}

static int check_options(
	const struct mt_options *o, const struct mt_common_options *c, struct mt_err *err)
{
	const char *const *rest;
	bool json = mt_streq(c->log_format, "json");
	int r;

	if (mt_options_rest(o, &rest))
		return mt_fail(err, MT_INVALID, rest[0], "is not an option");
	if (mt_str_empty(c->state_dir))
		return mt_fail(err, MT_INVALID, "--state-dir", "is required");
	if (!mt_streq(c->tls, "on") && !mt_streq(c->tls, "off"))
		return mt_fail(err, MT_INVALID, "--tls", "'%s' is not on or off", c->tls);
	if (!json && !mt_streq(c->log_format, "text"))
		return mt_fail(
			err, MT_INVALID, "--log-format", "'%s' is not text or json", c->log_format);
	if ((r = mt_log_configure(c->log_level, json, err)) < 0)
		return mt_err_prefix(err, "--log-level");
	return 0;
}

/* A thousand proxies are more than the usual soft limit of 1024 files. */
static void raise_file_limit(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) < 0 || lim.rlim_cur == lim.rlim_max)
		return;
	lim.rlim_cur = lim.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &lim) < 0)
		mt_log_warn(&scope, "cannot raise the limit of open files",
			MT_S("error", strerror(errno)));
}

static int open_state(struct mt_daemon *d, struct mt_err *err)
{
	MT_AUTO(mt_strfreep) char *dir = mt_asprintf("%s/%s", d->values->state_dir, d->desc->name);

	return mt_state_open(dir, &d->state, err);
}

static int start_components(struct mt_daemon *d, struct mt_err *err)
{
	for (; d->started < d->desc->ncomponents; d->started++) {
		const struct mt_component *c = &d->desc->components[d->started];
		int r = c->start(d, d->self, err);

		if (r < 0)
			return mt_err_prefix(err, "%s", c->name);
		mt_log_debug(&scope, "component started", MT_S("component", c->name));
	}
	return 0;
}

static void stop_components(struct mt_daemon *d)
{
	while (d->started) {
		const struct mt_component *c = &d->desc->components[--d->started];

		if (c->stop)
			c->stop(d, d->self);
		mt_log_debug(&scope, "component stopped", MT_S("component", c->name));
	}
}

static int start(struct mt_daemon *d, struct mt_err *err)
{
	int r;

	raise_file_limit();
	signal(SIGPIPE, SIG_IGN);
	d->loop = mt_loop_new(&mt_clock_system);
	d->metrics = mt_metrics_new(d->desc->metrics, d->desc->nmetrics);
	mt_daemon_ready(d, "started", false, "components are starting");
	if ((r = open_state(d, err)) < 0)
		return r;
	if ((r = mt_monitor_start(d, err)) < 0)
		return mt_err_prefix(err, "monitoring");
	if ((r = start_components(d, err)) < 0)
		return r;
	mt_upkeep_start(d);
	mt_daemon_ready(d, "started", true, NULL);
	return 0;
}

static void finish(struct mt_daemon *d)
{
	stop_components(d);
	mt_monitor_stop(d);
	mt_upkeep_stop(d);
	mt_loop_free(d->loop);
	mt_metrics_free(d->metrics);
	mt_state_close(d->state);
	mt_daemon_ready_free(d);
}

/* --- signals and running ------------------------------------------------------------------------ */

/* Reads the options again and takes from them what may change while running: the log's. */
static void reload_log(struct mt_daemon *d)
{
	struct mt_common_options *fresh =
		mt_alloc(MT_MAX(d->desc->options_size, sizeof(struct mt_common_options)));
	struct mt_options *o = NULL;
	struct mt_err err = { 0 };
	int r = mt_options_parse(d->desc->name, d->desc->usage, d->rows, d->nrows, fresh, d->argc,
		d->argv, &o, &err);

	if (r == 0)
		r = check_options(o, fresh, &err);
	if (r < 0)
		mt_log_error(&scope, "options stay as they were", MT_S("where", err.path),
			MT_S("error", err.msg));
	mt_options_free(o);
	mt_free(fresh);
}

static void on_signal(uv_signal_t *h, int number)
{
	struct mt_daemon *d = h->data;

	if (number == SIGHUP) {
		mt_log_info(&scope, "reload");
		reload_log(d);
		if (d->desc->reload)
			d->desc->reload(d, d->self);
		return;
	}
	mt_log_info(&scope, "stopping", MT_S("signal", number == SIGTERM ? "TERM" : "INT"));
	mt_loop_stop(d->loop);
}

static const int signals[] = { SIGTERM, SIGINT, SIGHUP };

static void run(struct mt_daemon *d)
{
	uv_signal_t handles[MT_ARRAY_SIZE(signals)];

	for (size_t i = 0; i < MT_ARRAY_SIZE(signals); i++) {
		uv_signal_init(mt_loop_uv(d->loop), &handles[i]);
		handles[i].data = d;
		uv_signal_start(&handles[i], on_signal, signals[i]);
	}
	mt_loop_run(d->loop);
	for (size_t i = 0; i < MT_ARRAY_SIZE(signals); i++)
		uv_close((uv_handle_t *)&handles[i], NULL);
	/* One round, while the handles are still here, to end their closing. */
	uv_run(mt_loop_uv(d->loop), UV_RUN_NOWAIT);
	mt_notify("STOPPING=1");
	d->announced = false; /* nothing more to say about readiness */
	mt_daemon_ready(d, "started", false, "stopping");
}

static void say(const char *program, const struct mt_err *err)
{
	fprintf(stderr, "%s: %s%s%s\n", program, err->path, *err->path ? ": " : "", err->msg);
}

static int run_with_options(struct mt_daemon *d)
{
	struct mt_err err = { 0 };
	char why[sizeof(err.path) + sizeof(err.msg) + 2];
	int r = start(d, &err);

	if (r == 0) {
		mt_log_info(&scope, "started", MT_S("version", mt_version()), MT_I("pid", getpid()),
			MT_S("state_dir", mt_state_dir(d->state)));
		run(d);
	} else {
		snprintf(why, sizeof(why), "%s%s%s", err.path, *err.path ? ": " : "", err.msg);
		mt_log_error(&scope, "cannot start", MT_S("error", why));
	}
	finish(d);
	if (r == 0)
		mt_log_info(&scope, "stopped");
	return r == 0 ? 0 : 1;
}

int mt_daemon_main(const struct mt_daemon_desc *desc, int argc, char **argv)
{
	struct mt_daemon d = { .desc = desc, .argc = argc, .argv = argv };
	struct mt_err err = { 0 };
	int r;

	d.rows = all_rows(desc, &d.nrows);
	d.values = mt_alloc(MT_MAX(desc->options_size, sizeof(struct mt_common_options)));
	d.self = mt_alloc(desc->self_size);
	r = mt_options_parse(
		desc->name, desc->usage, d.rows, d.nrows, d.values, argc, argv, &d.options, &err);
	if (r == 0)
		r = check_options(d.options, d.values, &err);
	if (r == 0) {
		r = run_with_options(&d);
	} else if (r == MT_CANCELLED) {
		r = 0;
	} else {
		say(desc->name, &err);
		r = 2;
	}
	mt_options_free(d.options);
	mt_free(d.values);
	mt_free(d.self);
	mt_free(d.rows);
	return r;
}
