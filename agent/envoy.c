/* The supervisor of Envoy, a small state machine:
 *
 *   IDLE -> (go) -> ADOPTING -> RUNNING        an earlier agent's Envoy, whose admin answers
 *                \-> RUNNING                   a new one
 *   RUNNING -> (it dies) -> WAITING -> RUNNING with a delay that doubles, reset after a quiet minute
 *   any -> (stop) -> DRAINING -> ENDING -> GONE
 *
 * Adoption: envoy.pid names a process (pid, start time, boot) and the hash of its setup. The same setup
 * and an answering admin interface: it is ours again, its connections never noticed. Another setup
 * (new labels, another binary): it is ended the gentle way, and a new one started.
 *
 * Ending: SIGTERM ends Envoy at once, so it is sent after the drain: Envoy asks its peers to close, and
 * when none is left, or the time is over, it goes; SIGKILL follows if it does not. */
#include "agent/envoy.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "agent/admin.h"
#include "agent/envoy_command.h"
#include "agent/log_cap.h"
#include "agent/metrics.h"
#include "agent/pid_file.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/rpc/rpc.h"

static struct mt_log_scope scope = MT_LOG_SCOPE("envoy");

#define POLL_NS (100 * MT_NS_PER_MS)      /* while waiting for something */
#define WATCH_NS (2 * MT_NS_PER_SEC)      /* while it is ready */
#define ADOPT_NS (3 * MT_NS_PER_SEC)      /* for an adopted one's first answer */
#define TERM_NS (3 * MT_NS_PER_SEC)       /* between SIGTERM and SIGKILL */
#define QUIET_NS (60 * MT_NS_PER_SEC)     /* a life that forgives the deaths before */
#define DRAIN_MIN_NS (500 * MT_NS_PER_MS) /* others hear of the drain before anything closes */

enum phase { IDLE, ADOPTING, RUNNING, WAITING, DRAINING, ENDING, GONE };
static const char *const phases[] = { "idle", "adopting", "running", "waiting", "draining",
	"ending", "gone" };

struct agent_envoy {
	struct agent_envoy_opts o;
	struct mt_arena *arena;
	char *pid_path, *log_path;
	const char *bootstrap_path;
	char *plain;      /* another bootstrap, should Envoy refuse this one; NULL none (left) */
	bool lived;       /* its admin interface has answered */
	unsigned unlived; /* deaths in a row before it did */
	struct agent_command cmd;
	uint64_t setup;
	struct agent_admin *admin;
	struct mt_timer *timer;    /* the phase's next step */
	struct mt_timer *deadline; /* the phase's end */
	struct agent_proc *proc;
	enum phase phase;
	bool asking; /* a call of the admin interface is under way */
	bool ready;
	bool replace; /* it is drained to be started anew, not to stop */
	unsigned deaths;
	int64_t since_ns; /* mono clock: when the phase began */
	void (*stopped)(void *ctx);
	void *stopped_ctx;
};

static int64_t now(const struct agent_envoy *e)
{
	return mt_mono(mt_loop_clock(e->o.loop));
}

static void set_ready(struct agent_envoy *e, bool ready, const char *why)
{
	if (ready != e->ready || !ready)
		e->o.ready(e->o.ctx, ready, why);
	if (ready != e->ready)
		mt_metric_set(e->o.metrics, METRIC_agent_envoy_ready, ready);
	e->ready = ready;
}

static void enter(struct agent_envoy *e, enum phase p, int64_t step_ns)
{
	e->phase = p;
	e->since_ns = now(e);
	mt_timer_stop(e->deadline);
	mt_timer_start(e->timer, step_ns, 0);
}

/* ---- starting ---- */

static void on_exited(void *ctx, int status);
static void finished(struct agent_envoy *e);

static void start_new(struct agent_envoy *e)
{
	struct mt_err err = { 0 };
	int r;

	e->lived = false;
	r = agent_proc_spawn(e->o.loop,
		&(struct agent_proc_spec){ .path = e->o.o->envoy,
			.argv = e->cmd.argv,
			.envp = e->cmd.envp,
			.output = e->log_path,
			.exited = on_exited,
			.ctx = e },
		&e->proc, &err);

	if (r == 0) {
		const struct agent_pid_file f = { .id = *agent_proc_id(e->proc),
			.setup = e->setup };

		mt_metric_add(e->o.metrics, METRIC_agent_envoy_starts_total, 1, "started");
		mt_log_info(
			&scope, "Envoy started", MT_I("pid", f.id.pid), MT_S("log", e->log_path));
		enter(e, RUNNING, POLL_NS);
		r = agent_pid_file_save(e->pid_path, &f, &err);
		if (r < 0)
			mt_log_error(&scope, "the next agent will not find this Envoy",
				MT_S("error", err.msg));
		return;
	}
	mt_log_error(
		&scope, "Envoy does not start", MT_S("where", err.path), MT_S("error", err.msg));
	set_ready(e, false, err.msg);
	enter(e, WAITING, mt_rpc_backoff_ns(e->deaths++));
}

static bool adopt(struct agent_envoy *e)
{
	struct agent_pid_file f;
	struct mt_err err = { 0 };
	int r = agent_pid_file_load(e->pid_path, &f, &err);

	if (r == 0)
		r = agent_proc_adopt(e->o.loop, &f.id, on_exited, e, &e->proc, &err);
	if (r < 0) {
		if (r != MT_NOT_FOUND)
			mt_log_warn(&scope, "no Envoy is adopted", MT_S("error", err.msg));
		return false;
	}
	if (f.setup != e->setup) {
		mt_log_info(&scope, "an Envoy of another setup runs: it is replaced",
			MT_I("pid", f.id.pid));
		e->replace = true;
	}
	enter(e, ADOPTING, 0);
	mt_timer_start(e->deadline, ADOPT_NS, 0);
	return true;
}

static char *text_of(const json_t *bootstrap)
{
	return json_dumps(bootstrap, JSON_INDENT(1) | JSON_SORT_KEYS);
}

static int write_bootstrap(struct agent_envoy *e, const char *text, struct mt_err *err)
{
	e->setup = mt_hash_mix(e->cmd.setup, mt_hash_str(text));
	return mt_file_replace(e->bootstrap_path, text, strlen(text), 0600, err);
}

/* A proxy that is not what the mesh wants it to be is better than none. Once is no reason: the address of
 * its admin interface may have been taken for a moment. */
static void fall_back(struct agent_envoy *e)
{
	struct mt_err err = { 0 };

	if (e->unlived < 2 || !e->plain)
		return;
	mt_log_error(&scope,
		"Envoy does not start with what the mesh says of it: it starts with the options alone",
		MT_S("log", e->log_path));
	if (write_bootstrap(e, e->plain, &err) < 0)
		mt_log_error(&scope, "the bootstrap is not written", MT_S("error", err.msg));
	free(MT_TAKE(e->plain));
}

int agent_envoy_go(struct agent_envoy *e, const json_t *bootstrap, const json_t *plain,
	const struct mt_strlist *env, struct mt_err *err)
{
	char *text;
	int r;

	if (e->phase != IDLE)
		return 0;
	e->bootstrap_path = mt_arena_printf(e->arena, "%s/bootstrap.json", e->o.dir);
	agent_command_make(e->o.o, e->bootstrap_path, e->o.workload_env, env, e->arena, &e->cmd);
	text = text_of(bootstrap);
	r = write_bootstrap(e, text, err);
	free(text);
	if (r < 0)
		return r;
	e->plain = plain ? text_of(plain) : NULL;
	e->admin = agent_admin_new(e->o.loop, e->o.o->envoy_admin);
	if (!adopt(e))
		start_new(e);
	return 0;
}

/* ---- running ---- */

static void cap_log(struct agent_envoy *e)
{
	struct mt_err err = { 0 };

	if (agent_log_cap(e->log_path, AGENT_LOG_MAX, &err) < 0)
		mt_log_warn(&scope, "Envoy's log", MT_S("where", err.path), MT_S("error", err.msg));
}

static void on_ready(void *ctx, bool ready, const char *why)
{
	struct agent_envoy *e = ctx;

	e->asking = false;
	e->lived = e->lived || ready || !mt_str_prefix(why, "not live");
	if (e->phase == ADOPTING && (ready || !mt_str_prefix(why, "not live"))) {
		/* It answers; that it is not ready yet is no reason to end it. */
		mt_log_info(&scope, "Envoy adopted", MT_I("pid", agent_proc_id(e->proc)->pid));
		mt_metric_add(e->o.metrics, METRIC_agent_envoy_starts_total, 1, "adopted");
		enter(e, RUNNING, POLL_NS);
	}
	if (e->phase != RUNNING && e->phase != ADOPTING)
		return;
	set_ready(e, ready, why);
	cap_log(e);
	mt_timer_start(e->timer, ready ? WATCH_NS : POLL_NS, 0);
}

static void died(struct agent_envoy *e, int status)
{
	char how[64] = "unknown";
	int64_t wait;

	if (status >= 0 && WIFEXITED(status))
		snprintf(how, sizeof(how), "exit status %d", WEXITSTATUS(status));
	else if (status >= 0 && WIFSIGNALED(status))
		snprintf(how, sizeof(how), "signal %d", WTERMSIG(status));
	if (e->phase == RUNNING && now(e) - e->since_ns > QUIET_NS)
		e->deaths = 0;
	e->unlived = e->lived ? 0 : e->unlived + 1;
	wait = mt_rpc_backoff_ns(e->deaths++);
	mt_log_error(&scope, "Envoy ended by itself: it is started again", MT_S("how", how),
		MT_S("log", e->log_path), MT_D("after_s", (double)wait / MT_NS_PER_SEC));
	fall_back(e);
	set_ready(e, false, "Envoy has ended");
	enter(e, WAITING, wait);
}

static void on_exited(void *ctx, int status)
{
	struct agent_envoy *e = ctx;

	agent_proc_forget(MT_TAKE(e->proc));
	if (e->phase == DRAINING || e->phase == ENDING)
		finished(e);
	else
		died(e, status);
}

/* ---- ending ---- */

static void finished(struct agent_envoy *e)
{
	mt_timer_stop(e->timer);
	mt_timer_stop(e->deadline);
	if (e->replace && !e->stopped) {
		e->replace = false;
		start_new(e);
		return;
	}
	e->phase = GONE;
	if (e->stopped)
		e->stopped(e->stopped_ctx);
}

static void end(struct agent_envoy *e)
{
	enter(e, ENDING, TERM_NS);
	if (!e->proc || agent_proc_signal(e->proc, SIGTERM) < 0)
		mt_timer_start(e->timer, 0, 0);
}

static void on_connections(void *ctx, long n)
{
	struct agent_envoy *e = ctx;

	e->asking = false;
	if (e->phase != DRAINING)
		return;
	if (n == 0 && now(e) - e->since_ns >= MT_MIN(DRAIN_MIN_NS, e->o.o->drain)) {
		mt_log_info(&scope, "drained");
		end(e);
		return;
	}
	mt_timer_start(e->timer, POLL_NS, 0);
}

static void on_draining(void *ctx, bool ok, const char *why)
{
	struct agent_envoy *e = ctx;

	e->asking = false;
	if (e->phase != DRAINING)
		return;
	if (!ok)
		mt_log_warn(&scope, "Envoy does not drain", MT_S("error", why));
	if (ok)
		mt_timer_start(e->timer, POLL_NS, 0);
	else
		end(e);
}

/* An agent that is killed during the drain leaves an Envoy without listeners: the next one must not
 * adopt it, but end it. */
static void mark_drained(struct agent_envoy *e)
{
	const struct agent_pid_file f = { .id = *agent_proc_id(e->proc), .setup = 0 };
	struct mt_err err = { 0 };

	if (agent_pid_file_save(e->pid_path, &f, &err) < 0)
		mt_log_warn(&scope, "envoy.pid is not written", MT_S("error", err.msg));
}

static void drain(struct agent_envoy *e)
{
	mark_drained(e);
	mt_log_info(
		&scope, "Envoy drains", MT_D("at_most_s", (double)e->o.o->drain / MT_NS_PER_SEC));
	enter(e, DRAINING, e->o.o->drain + WATCH_NS);
	mt_timer_stop(e->timer);
	mt_timer_start(e->deadline, e->o.o->drain, 0);
	e->asking = true;
	agent_admin_drain(e->admin, on_draining, e);
}

void agent_envoy_stop(struct agent_envoy *e, void (*done)(void *ctx), void *ctx)
{
	e->stopped = done;
	e->stopped_ctx = ctx;
	set_ready(e, false, "draining");
	if (!e->proc)
		finished(e);
	else if (e->phase != DRAINING && e->phase != ENDING)
		drain(e);
}

/* ---- timers ---- */

static void on_timer(void *arg)
{
	struct agent_envoy *e = arg;

	if (e->asking && (e->phase == ADOPTING || e->phase == RUNNING || e->phase == DRAINING)) {
		mt_timer_start(e->timer, POLL_NS, 0);
		return;
	}
	switch (e->phase) {
	case ADOPTING:
		if (e->replace) {
			drain(e);
			break;
		}
		__attribute__((fallthrough));
	case RUNNING:
		e->asking = true;
		agent_admin_ready(e->admin, on_ready, e);
		break;
	case WAITING: start_new(e); break;
	case DRAINING:
		e->asking = true;
		agent_admin_connections(e->admin, on_connections, e);
		break;
	case ENDING:
		if (e->proc)
			agent_proc_signal(e->proc, SIGKILL);
		mt_timer_start(e->timer, TERM_NS, 0);
		break;
	case IDLE:
	case GONE: break;
	}
}

static void on_deadline(void *arg)
{
	struct agent_envoy *e = arg;

	if (e->phase == DRAINING) {
		mt_log_warn(&scope, "connections are left at the end of the drain (--drain)");
		end(e);
	} else if (e->phase == ADOPTING) {
		mt_log_warn(&scope, "the Envoy that runs does not answer: it is replaced");
		e->replace = true;
		end(e);
	}
}

/* ---- making ---- */

struct agent_envoy *agent_envoy_new(const struct agent_envoy_opts *o)
{
	struct agent_envoy *e = MT_NEW(struct agent_envoy);

	e->o = *o;
	e->arena = mt_arena_new(0);
	e->pid_path = mt_asprintf("%s/envoy.pid", o->dir);
	e->log_path = mt_asprintf("%s/envoy.log", o->dir);
	e->timer = mt_timer_new(o->loop, on_timer, e);
	e->deadline = mt_timer_new(o->loop, on_deadline, e);
	return e;
}

void agent_envoy_free(struct agent_envoy *e)
{
	if (!e)
		return;
	agent_admin_free(e->admin);
	agent_proc_forget(e->proc);
	mt_timer_free(e->timer);
	mt_timer_free(e->deadline);
	free(e->plain);
	mt_free(e->pid_path);
	mt_free(e->log_path);
	mt_arena_free(e->arena);
	mt_free(e);
}

bool agent_envoy_is_ready(const struct agent_envoy *e)
{
	return e->ready;
}

json_t *agent_envoy_json(const struct agent_envoy *e)
{
	json_t *argv = json_array();

	for (char **a = e->cmd.argv; a && *a; a++)
		json_array_append_new(argv, json_string(*a));
	return json_pack("{s:s, s:b, s:i, s:i, s:o, s:s}", "phase", phases[e->phase], "ready",
		e->ready, "pid", e->proc ? (int)agent_proc_id(e->proc)->pid : 0, "deaths",
		(int)e->deaths, "argv", argv, "log", e->log_path);
}
