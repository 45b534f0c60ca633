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
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/cidr.h"
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

bool mt_daemon_tls(const struct mt_daemon *d)
{
	return mt_streq(d->values->tls, "on");
}

/* --- readiness ---------------------------------------------------------------------------------- */

static void announce(struct mt_daemon *d)
{
	bool ready = mt_daemon_is_ready(d);

	if (ready == d->announced)
		return;
	d->announced = ready;
	if (ready) {
		mt_log_info(&scope, "ready");
		mt_notify("READY=1\nSTATUS=ready");
	} else {
		mt_notify("STATUS=not ready");
	}
}

bool mt_daemon_is_ready(const struct mt_daemon *d)
{
	for (const struct mt_condition *c = d->conditions; c; c = c->next)
		if (!c->ok)
			return false;
	return true;
}

void mt_daemon_ready(struct mt_daemon *d, const char *condition, bool ok, const char *reason)
{
	struct mt_condition *c = d->conditions;

	while (c && !mt_streq(c->name, condition))
		c = c->next;
	if (!c) {
		c = MT_NEW(struct mt_condition);
		c->name = mt_strdup(condition);
		c->next = d->conditions;
		d->conditions = c;
	}
	c->ok = ok;
	mt_free(c->reason);
	c->reason = mt_strdup(reason ? reason : "");
	announce(d);
}

/* --- plaintext ---------------------------------------------------------------------------------- */

static bool all_loopback(const struct addrinfo *found)
{
	for (; found; found = found->ai_next) {
		struct mt_ip ip = { 0 };

		if (found->ai_family == AF_INET) {
			ip.len = 4;
			memcpy(ip.b, &((struct sockaddr_in *)(void *)found->ai_addr)->sin_addr, 4);
		} else if (found->ai_family == AF_INET6) {
			ip.len = 16;
			memcpy(ip.b, &((struct sockaddr_in6 *)(void *)found->ai_addr)->sin6_addr,
				16);
		}
		if (!mt_ip_is_loopback(&ip))
			return false;
	}
	return true;
}

int mt_daemon_check_plaintext(
	const struct mt_daemon *d, const char *flag, const char *addr, struct mt_err *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *found;
	char host[256];
	uint16_t port;
	bool ok;
	int r;

	if (mt_daemon_tls(d) || mt_str_prefix(addr, "unix:"))
		return 0;
	if (mt_hostport_parse(addr, host, &port) < 0)
		return mt_fail(err, MT_INVALID, flag, "'%s' is not ADDRESS:PORT", addr);
	r = getaddrinfo(*host ? host : NULL, NULL, &hints, &found);
	if (r)
		return mt_fail(
			err, MT_INVALID, flag, "cannot resolve '%s': %s", host, gai_strerror(r));
	ok = all_loopback(found);
	freeaddrinfo(found);
	if (!ok)
		return mt_fail(err, MT_INVALID, flag,
			"'%s' is not a loopback address, and --tls off allows no other", addr);
	return 0;
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
	mt_daemon_ready(d, "started", true, NULL);
	return 0;
}

static void finish(struct mt_daemon *d)
{
	struct mt_condition *c, *next;

	stop_components(d);
	mt_monitor_stop(d);
	mt_loop_free(d->loop);
	mt_metrics_free(d->metrics);
	mt_state_close(d->state);
	for (c = d->conditions; c; c = next) {
		next = c->next;
		mt_free(c->name);
		mt_free(c->reason);
		mt_free(c);
	}
}

/* --- signals and running ------------------------------------------------------------------------ */

static void on_signal(uv_signal_t *h, int number)
{
	struct mt_daemon *d = h->data;

	if (number == SIGHUP) {
		mt_log_info(&scope, "reload");
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
	mt_daemon_ready(d, "started", false, "stopping");
}

static void say(const char *program, const struct mt_err *err)
{
	fprintf(stderr, "%s: %s%s%s\n", program, err->path, *err->path ? ": " : "", err->msg);
}

static int run_with_options(struct mt_daemon *d)
{
	struct mt_err err = { 0 };
	int r = start(d, &err);

	if (r == 0) {
		mt_log_info(&scope, "started", MT_S("version", mt_version()), MT_I("pid", getpid()),
			MT_S("state_dir", mt_state_dir(d->state)));
		run(d);
	} else {
		mt_log_error(
			&scope, "cannot start", MT_S("where", err.path), MT_S("error", err.msg));
	}
	finish(d);
	if (r == 0)
		mt_log_info(&scope, "stopped");
	return r == 0 ? 0 : 1;
}

int mt_daemon_main(const struct mt_daemon_desc *desc, int argc, char **argv)
{
	struct mt_daemon d = { .desc = desc };
	struct mt_err err = { 0 };
	struct mt_opt *rows;
	size_t n;
	int r;

	rows = all_rows(desc, &n);
	d.values = mt_alloc(MT_MAX(desc->options_size, sizeof(struct mt_common_options)));
	d.self = mt_alloc(desc->self_size);
	r = mt_options_parse(
		desc->name, desc->usage, rows, n, d.values, argc, argv, &d.options, &err);
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
	mt_free(rows);
	return r;
}
