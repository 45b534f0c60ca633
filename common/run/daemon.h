/* What every daemon does the same way: options, logging, file limit, signals, ordered start and stop
 * of components, monitoring, readiness.
 *
 *   static const struct mt_component components[] = {
 *       { "state", state_start, state_stop }, { "server", server_start, server_stop } };
 *   int main(int argc, char **argv) { return mt_daemon_main(&desc, argc, argv); }
 *
 * Options that every daemon shares stand in common/run/options.def (state_dir, monitoring_addr,
 * log_level, log_format, tls, drain_timeout, ...); a daemon's options struct starts with a member
 * `struct mt_common_options common;` and lists its own rows after. */
#pragma once

#include <jansson.h>

#include "common/http/server.h"
#include "common/run/loop.h"
#include "common/run/metrics.h"
#include "common/run/options.h"
#include "common/run/state.h"

struct mt_common_options {
#define OPT MT_OPT_MEMBER
#include "common/run/options.def"
#undef OPT
};

struct mt_daemon; /* handed to every component; accessors below; loop thread */

struct mt_component {
	const char *name;
	/* Fill in self (the daemon's own struct). An error stops the start: what had started is
	 * stopped in reverse, the process exits 1 with the component's name and the message. A start
	 * that fails cleans up after itself: its own stop is not called. */
	int (*start)(struct mt_daemon *d, void *self, struct mt_err *err);
	void (*stop)(struct mt_daemon *d, void *self); /* NULL allowed; must return when stopped */
};

struct mt_daemon_desc {
	const char *name;          /* "pilot" */
	const char *usage;         /* one paragraph for --help */
	const struct mt_opt *opts; /* the daemon's own rows; the common ones are added */
	size_t nopts;
	size_t options_size; /* of its options struct, whose first member is mt_common_options */
	size_t self_size;    /* of its own struct, zeroed */
	const struct mt_component *components;
	size_t ncomponents;
	const struct mt_metric_desc *metrics;
	size_t nmetrics;
	/* SIGHUP, after the log options were read again; the other options stay. NULL allowed. */
	void (*reload)(struct mt_daemon *d, void *self);
	/* Default of --monitoring-addr ("127.0.0.1:15014"); NULL: off unless given. */
	const char *monitoring_addr;
};

int mt_daemon_main(const struct mt_daemon_desc *desc, int argc, char **argv);

struct mt_loop *mt_daemon_loop(struct mt_daemon *d);
const void *mt_daemon_options(const struct mt_daemon *d);
bool mt_daemon_said(const struct mt_daemon *d, const char *option); /* not just its default */
struct mt_metrics *mt_daemon_metrics(struct mt_daemon *d);
struct mt_state *mt_daemon_state(struct mt_daemon *d); /* STATE/<name>; opened before components */
struct mt_http_server *mt_daemon_monitor(struct mt_daemon *d); /* add routes to it in start */
void mt_daemon_stop(struct mt_daemon *d);                      /* as SIGTERM; any thread */

/* Readiness: /readyz is 200 when every condition is true, else 503 with the reasons. Loop thread. */
void mt_daemon_ready(struct mt_daemon *d, const char *condition, bool ok, const char *reason);

/* With --tls off every address that a daemon listens on must be a loopback one: MT_INVALID names the
 * flag otherwise. A host name counts by all its addresses; "unix:" paths pass. No-op with TLS on. */
int mt_daemon_check_plaintext(
	const struct mt_daemon *d, const char *flag, const char *addr, struct mt_err *err);
bool mt_daemon_tls(const struct mt_daemon *d);

/* A page below /debug/: f answers on the loop thread. Listed at /debug/ with its one-line help. */
void mt_daemon_debug(
	struct mt_daemon *d, const char *name, const char *help, mt_http_handler f, void *ctx);
