/* Inside of a daemon: what daemon.c, monitor.c and debug.c share. */
#pragma once

#include "common/run/daemon.h"

struct mt_condition {
	struct mt_condition *next;
	char *name;
	bool ok;
	char *reason;
};

/* A page below /debug/. */
struct mt_page {
	struct mt_page *next;
	struct mt_daemon *daemon;
	char *path; /* "/debug/options" */
	char *help;
	mt_http_handler handler;
	void *ctx;
};

struct mt_daemon {
	const struct mt_daemon_desc *desc;
	int argc;
	char **argv;
	struct mt_opt *rows; /* the common ones, then the daemon's own */
	size_t nrows;
	struct mt_options *options;
	struct mt_common_options *values; /* the head of the daemon's own options struct */
	void *self;
	struct mt_loop *loop;
	struct mt_state *state;
	struct mt_metrics *metrics;
	struct mt_http_server *http; /* NULL when monitoring is off */
	struct mt_page *pages;
	struct mt_condition *conditions;
	size_t started; /* components */
	bool announced; /* ready, to systemd and the log */
	struct mt_timer *upkeep;
	int process_metrics; /* index of the first one of process_metrics.c */
};

bool mt_daemon_is_ready(const struct mt_daemon *d);
void mt_daemon_ready_free(struct mt_daemon *d);
void mt_upkeep_start(struct mt_daemon *d); /* gives memory back from time to time */
void mt_upkeep_stop(struct mt_daemon *d);
int mt_monitor_start(struct mt_daemon *d, struct mt_err *err);
void mt_monitor_stop(struct mt_daemon *d);
void mt_debug_pages(struct mt_daemon *d); /* the pages that every daemon has */

/* What the kernel and the allocator know of this process, as metrics: defined once, read at each
 * scrape. Loop thread. */
void mt_process_metrics_define(struct mt_daemon *d);
void mt_process_metrics_read(struct mt_daemon *d);
