/* The command: `meltemi dev` runs a mesh in the foreground until SIGINT or SIGTERM and stops all of it;
 * with --detach a child does that, and the command returns once the mesh is ready (the child says so
 * through a pipe). --stop and --status speak of the mesh in --dir.
 *
 * A program that ends by itself is started again, with a word in the terminal and its log. */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "ctl/ctl.h"
#include "ctl/dev/dev.h"

static const struct mt_opt rows[] = {
#define OPT(...) MT_OPT_ROW(struct dev_options, __VA_ARGS__)
#include "ctl/dev/options.def"
#undef OPT
};

enum { STOP_GRACE_S = 10 };

static int64_t now(const struct dev *d)
{
	return mt_mono(mt_loop_clock(d->loop));
}

static void say(const struct dev *d, int64_t since, const char *what)
{
	printf("  %5.1f s  %s\n", (double)(now(d) - since) / MT_NS_PER_SEC, what);
	fflush(stdout);
}

static int ready(struct dev *d, const char *name, int port, int64_t deadline, struct mt_err *err)
{
	MT_AUTO(mt_strfreep)
	char *url = mt_asprintf("http://%s:%d/readyz", d->opts.control_addr, port);

	return dev_wait(d, name, url, deadline, err);
}

static int wait_workloads(struct dev *d, int64_t deadline, struct mt_err *err)
{
	int r;

	mt_vec_each (&d->workloads, w) {
		MT_AUTO(mt_strfreep)
		char *url = mt_asprintf("http://%s:15020/healthz/ready", w->address);
		if ((r = dev_wait(d, w->name, url, deadline, err)) < 0)
			return r;
	}
	return 0;
}

static int bring_up(struct dev *d, struct mt_err *err)
{
	MT_AUTO(mt_strfreep)
	char *page = mt_asprintf("http://127.0.0.1:%lld/", (long long)d->opts.port);
	int64_t start = now(d), deadline = start + d->opts.timeout;
	int r;

	if ((r = dev_layout(d, err)) < 0 || (r = dev_tokens(d, err)) < 0 ||
		(r = dev_start_citadel(d, err)) < 0 || (r = dev_record(d, err)) < 0 ||
		(r = ready(d, "citadel", 15214, deadline, err)) < 0)
		return r;
	say(d, start, "citadel: the mesh has a root of trust");
	if ((r = dev_start_daemons(d, err)) < 0 || (r = dev_start_workloads(d, err)) < 0 ||
		(r = dev_record(d, err)) < 0 ||
		(r = ready(d, "galley", 15114, deadline, err)) < 0 ||
		(r = dev_apply_sample(d, err)) < 0)
		return r;
	say(d, start, "galley: configuration read and validated");
	if ((r = ready(d, "pilot", 15014, deadline, err)) < 0)
		return r;
	say(d, start, "pilot: ready to tell proxies");
	if ((r = ready(d, "mixer", 15314, deadline, err)) < 0)
		return r;
	say(d, start, "mixer: policy and metrics");
	if ((r = wait_workloads(d, deadline, err)) < 0)
		return r;
	say(d, start, "agents: every workload has a certificate and a configured Envoy");
	if ((r = dev_wait(d, "the front page", page, deadline, err)) < 0)
		return r;
	say(d, start, "the front page answers");
	return 0;
}

static void hints(const struct dev *d)
{
	const char *bin = d->bin_dir;
	/* Galley where `meltemi` looks for it needs no word. */
	bool usual = strcmp(d->opts.control_addr, "127.0.0.1") == 0;
	MT_AUTO(mt_strfreep)
	char *galley = usual ? mt_strdup("")
			     : mt_asprintf(" --galley http://%s:15114", d->opts.control_addr);
	MT_AUTO(mt_strfreep) char *s = dev_path(d, "sample");

	printf("\nThe bookshop is open: http://127.0.0.1:%lld/\n\n", (long long)d->opts.port);
	printf("Five things to try (reload the page after each):\n");
	printf("  1. one load in five shows black stars:\n     %s/meltemi apply -f %s/try/1-shift-20-percent-to-v2.yaml%s\n",
		bin, s, galley);
	printf("  2. sign in as ada: red stars, for her alone:\n     %s/meltemi apply -f %s/try/2-route-one-user.yaml%s\n",
		bin, s, galley);
	printf("  3. half of the loads say that the reviews answered 503:\n     %s/meltemi apply -f %s/try/3-inject-fault.yaml%s\n",
		bin, s, galley);
	printf("  4. Mixer refuses the front page at the details, 403 (delete -f undoes it):\n"
	       "     %s/meltemi apply -f %s/try/4-deny-caller.yaml%s\n",
		bin, s, galley);
	printf("  5. requests by source, destination and code:\n     curl -s http://%s:42422/metrics | grep istio_requests_total\n",
		d->opts.control_addr);
	printf("\nBack to the beginning: %s/meltemi apply -f %s/mesh/routes.yaml%s\n", bin, s,
		galley);
	printf("Logs: %s/logs\n", d->dir);
	fflush(stdout);
}

/* ---- running ---- */

static void on_signal(uv_signal_t *h, int sig)
{
	struct dev *d = h->data;

	(void)sig;
	d->interrupted = true;
	mt_loop_stop(d->loop);
}

static void on_died(void *ctx, const struct proc_info *p)
{
	struct dev *d = ctx;

	fprintf(stderr, "meltemi dev: %s ended with %s %d, see %s\n", p->name,
		p->signal ? "signal" : "status", p->signal ? p->signal : p->exit_status, p->log);
	if (d->up)
		procs_restart(d->procs, p->name);
}

static void on_restarted(void *ctx, const struct proc_info *p)
{
	struct dev *d = ctx;
	struct mt_err err = { 0 };

	fprintf(stderr, "meltemi dev: %s runs again\n", p->name);
	if (dev_record(d, &err) < 0)
		ctl_fail("dev", &err);
}

/* From now on nobody reads what we say: whoever waits for the end of our output gets it. */
static void speak_into_log(const struct dev *d)
{
	MT_AUTO(mt_strfreep) char *path = dev_path(d, "logs/dev.log");
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

	fflush(stdout);
	if (fd < 0)
		return;
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	close(fd);
}

static int run(struct dev *d, int ready_fd)
{
	struct mt_err err = { 0 };
	uv_signal_t sig[2];
	static const int nums[2] = { SIGINT, SIGTERM };
	int r;

	d->loop = mt_loop_new(&mt_clock_system);
	d->procs = procs_new(
		d->loop, &(struct procs_events){ .died = on_died, .restarted = on_restarted }, d);
	for (int i = 0; i < 2; i++) {
		uv_signal_init(mt_loop_uv(d->loop), &sig[i]);
		sig[i].data = d;
		uv_signal_start(&sig[i], on_signal, nums[i]);
	}
	if ((r = bring_up(d, &err)) == 0) {
		d->up = true;
		hints(d);
		if (ready_fd >= 0)
			speak_into_log(d);
		if (ready_fd >= 0 && write(ready_fd, "1", 1) < 0)
			r = mt_fail_errno(&err, NULL, "cannot say that the mesh is ready");
		if (ready_fd < 0)
			printf("Ctrl-C stops it.\n");
		fflush(stdout); /* also when it is read by a program */
		if (!d->interrupted)
			mt_loop_run(d->loop);
	} else if (err.code != MT_CANCELLED) {
		ctl_fail("dev", &err);
	}
	d->up = false;
	procs_stop(d->procs, STOP_GRACE_S * MT_NS_PER_SEC);
	MT_AUTO(mt_strfreep) char *record = dev_path(d, "processes.json");
	unlink(record);
	for (int i = 0; i < 2; i++)
		uv_close((uv_handle_t *)&sig[i], NULL);
	uv_run(mt_loop_uv(d->loop), UV_RUN_NOWAIT);
	procs_free(d->procs);
	mt_loop_free(d->loop);
	return r < 0 ? 1 : 0;
}

/* The child runs the mesh with its output in logs/dev.log once it is up; until then it speaks here. */
static int run_detached(struct dev *d)
{
	int fds[2];
	char byte;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return 1;
	fflush(stdout);
	pid_t pid = fork();
	if (pid < 0)
		return 1;
	if (pid == 0) {
		close(fds[0]);
		setsid();
		exit(run(d, fds[1]));
	}
	close(fds[1]);
	ssize_t n = read(fds[0], &byte, 1);
	close(fds[0]);
	MT_AUTO(mt_strfreep) char *stop = dev_stop_command(d);
	if (n == 1)
		printf("%s stops it.\n", stop);
	return n == 1 ? 0 : 1;
}

static int prepare(struct dev *d, struct mt_err *err)
{
	int r;

	if ((r = dev_resolve(d, err)) < 0 || (r = dev_lock(d, err)) < 0 ||
		(r = dev_workloads_load(d, err)) < 0)
		return r;
	return dev_ports_free(d, err);
}

static void clear(struct dev *d)
{
	mt_vec_clear(&d->workloads);
	json_decref(d->doc);
	mt_free(d->bin_dir);
	mt_free(d->sample);
	mt_free(d->mesh);
	mt_free(d->envoy);
	mt_free(d->dir);
	if (d->lock > 0)
		close(d->lock);
}

static int stop(const struct dev *d)
{
	struct mt_err err = { 0 };
	int n = dev_end_recorded(d->opts.dir, &err);

	if (n < 0 && err.code == MT_NOT_FOUND) {
		printf("no mesh runs in %s\n", d->opts.dir);
		return 0;
	}
	if (n < 0)
		return ctl_fail("dev", &err);
	printf("stopped the mesh in %s\n", d->opts.dir);
	return 0;
}

int ctl_dev(int argc, char **argv)
{
	struct dev d = { .lock = -1 };
	struct mt_options *o = NULL;
	struct mt_err err = { 0 };
	int r = mt_options_parse("dev",
		"meltemi dev [OPTIONS]: a whole mesh on this machine, with the sample application.",
		rows, MT_ARRAY_SIZE(rows), &d.opts, argc, argv, &o, &err);

	if (r == MT_CANCELLED)
		return 0;
	if (r < 0) {
		ctl_fail("dev", &err);
		return 2;
	}
	curl_global_init(CURL_GLOBAL_ALL);
	if (d.opts.stop)
		r = stop(&d);
	else if (d.opts.status)
		r = dev_status(d.opts.dir);
	else if (prepare(&d, &err) < 0)
		r = ctl_fail("dev", &err);
	else
		r = d.opts.detach ? run_detached(&d) : run(&d, -1);
	clear(&d);
	mt_options_free(o);
	curl_global_cleanup();
	return r;
}
