/* `meltemi dev`: a whole mesh on this machine. Private to ctl/dev. One thread.
 *
 * The folder of a mesh (--dir): config/ what Galley reads, sample/ the sample's configuration with this
 * mesh's addresses (applied as a user would, so that it can be applied over), state/ of each program, secrets/ join
 * tokens, logs/ one file a program, processes.json what was started (process id and start time, so
 * that only our own processes are ever ended, also after this one was killed), lock. */
#pragma once

#include <jansson.h>

#include "common/base/vec.h"
#include "common/run/options.h"
#include "ctl/dev/procs.h"

struct dev_options {
#define OPT MT_OPT_MEMBER
#include "ctl/dev/options.def"
#undef OPT
};

struct dev_workload { /* a row of workloads.yaml; strings belong to the document */
	const char *name, *ns, *service_account, *type, *address, *inside;
	json_t *labels;  /* object */
	json_t *command; /* array; empty: a gateway */
};

struct dev {
	struct dev_options opts;
	char *bin_dir, *sample, *mesh, *envoy; /* resolved */
	char *dir;                             /* absolute */
	int lock;                              /* file descriptor */
	json_t *doc;                           /* workloads.yaml */
	MT_VEC(struct dev_workload) workloads;
	struct procs *procs;
	bool up;          /* ready: what dies is started again */
	bool interrupted; /* SIGINT or SIGTERM came */
	struct mt_loop *loop;
};

/* layout.c: paths, copies of the configuration with this mesh's addresses */
int dev_resolve(struct dev *d, struct mt_err *err);
int dev_layout(struct dev *d, struct mt_err *err);
/* "DIR/a/b" in heap memory */
char *dev_path(const struct dev *d, const char *fmt, ...) MT_PRINTF(2, 3);
/* Takes the folder's lock. MT_CONFLICT when another holds it. */
/* How to stop the mesh of d->dir, in backticks, heap. */
char *dev_stop_command(const struct dev *d);
int dev_lock(struct dev *d, struct mt_err *err);
/* sample.c: applies sample/mesh through Galley */
int dev_apply_sample(struct dev *d, struct mt_err *err);

/* workloads.c */
int dev_workloads_load(struct dev *d, struct mt_err *err);
/* tokens.c: a join token for every identity; DIR/secrets/tokens for Citadel, NAME.token for the bearer */
int dev_tokens(struct dev *d, struct mt_err *err);

/* ports.c: is every address that the mesh binds free? Collects all that are not into one message. */
int dev_ports_free(struct dev *d, struct mt_err *err);

/* plan.c: starts what comes next; each returns when its processes were started */
int dev_start_citadel(struct dev *d, struct mt_err *err);
int dev_start_daemons(struct dev *d, struct mt_err *err);
int dev_start_workloads(struct dev *d, struct mt_err *err);

/* wait.c: waits until the URL answers 200; fails when a process of ours died or time is over */
int dev_wait(
	struct dev *d, const char *what, const char *url, int64_t deadline_ns, struct mt_err *err);

/* running.c: processes.json */
int dev_record(const struct dev *d, struct mt_err *err);
/* Ends what the record names and is still the same process: the supervisor first, then leftovers.
 * Returns how many were ended, or an error. */
int dev_end_recorded(const char *dir, struct mt_err *err);
int dev_status(const char *dir);
