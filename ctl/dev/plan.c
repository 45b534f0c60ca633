/* What runs, with which arguments. Daemons in group 0 and 1 (Citadel ends last), programs in 2, agents
 * in 3: on the way down agents drain first, while everything that they talk to still answers. */
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "ctl/dev/dev.h"

struct args {
	MT_VEC(char *) v;
};

static void arg(struct args *a, const char *fmt, ...) MT_PRINTF(2, 3);
static void arg(struct args *a, const char *fmt, ...)
{
	struct mt_buf b = { 0 };
	va_list ap;

	va_start(ap, fmt);
	mt_buf_vprintf(&b, fmt, ap);
	va_end(ap);
	mt_vec_push(&a->v, mt_buf_take(&b, NULL));
}

static int start(struct dev *d, struct args *a, const char *name, int group, struct mt_err *err)
{
	MT_AUTO(mt_strfreep) char *log = dev_path(d, "logs/%s.log", name);

	mt_vec_push(&a->v, NULL);
	int r = procs_start(d->procs, name, group, log, a->v.v, err);
	mt_vec_each (&a->v, s)
		mt_free(*s);
	mt_vec_clear(&a->v);
	return r;
}

static void daemon_args(const struct dev *d, struct args *a, const char *name, int monitoring)
{
	arg(a, "%s/%s", d->bin_dir, name);
	arg(a, "--state-dir=%s/state", d->dir); /* each has a folder of its name in it */
	arg(a, "--monitoring-addr=%s:%d", d->opts.control_addr, monitoring);
}

/* How everything but Citadel gets its certificate. */
static void identity_args(const struct dev *d, struct args *a, const char *name)
{
	arg(a, "--ca-addr=%s:8060", d->opts.control_addr);
	arg(a, "--join-token-file=%s/secrets/%s.token", d->dir, name);
	arg(a, "--trust-bundle=%s/state/citadel/root-cert.pem", d->dir);
}

int dev_start_citadel(struct dev *d, struct mt_err *err)
{
	struct args a = { 0 };

	daemon_args(d, &a, "citadel", 15214);
	arg(&a, "--listen=%s:8060", d->opts.control_addr);
	arg(&a, "--join-tokens=%s/secrets/tokens", d->dir);
	return start(d, &a, "citadel", 0, err);
}

int dev_start_daemons(struct dev *d, struct mt_err *err)
{
	const char *ip = d->opts.control_addr;
	struct args a = { 0 };
	int r;

	daemon_args(d, &a, "galley", 15114);
	identity_args(d, &a, "galley");
	arg(&a, "--listen=%s:9901", ip);
	arg(&a, "--source=dir:%s/config", d->dir);
	if ((r = start(d, &a, "galley", 1, err)) < 0)
		return r;
	daemon_args(d, &a, "pilot", 15014);
	identity_args(d, &a, "pilot");
	arg(&a, "--config-server=%s:9901", ip);
	arg(&a, "--secure-xds-addr=%s:15012", ip);
	if ((r = start(d, &a, "pilot", 1, err)) < 0)
		return r;
	daemon_args(d, &a, "mixer", 15314);
	identity_args(d, &a, "mixer");
	arg(&a, "--config-server=%s:9901", ip);
	arg(&a, "--listen=%s:9091", ip);
	arg(&a, "--prometheus-addr=%s:42422", ip);
	return start(d, &a, "mixer", 1, err);
}

static int start_program(struct dev *d, const struct dev_workload *w, struct mt_err *err)
{
	struct args a = { 0 };
	json_t *v;
	size_t i;

	json_array_foreach(w->command, i, v) if (i == 0)
		arg(&a, "%s/apps/%s", d->bin_dir, json_string_value(v));
	else arg(&a, "%s", json_string_value(v));
	return start(d, &a, w->name, 2, err);
}

static int start_agent(struct dev *d, const struct dev_workload *w, struct mt_err *err)
{
	MT_AUTO(mt_strfreep) char *name = mt_asprintf("%s-agent", w->name);
	struct args a = { 0 };
	const char *key;
	json_t *v;

	arg(&a, "%s/meltemi-agent", d->bin_dir);
	arg(&a, "run");
	arg(&a, "--state-dir=%s/state/%s", d->dir, w->name);
	arg(&a, "--monitoring-addr=%s:15020", w->address);
	identity_args(d, &a, w->name);
	arg(&a, "--cert-ttl=%llds", (long long)(d->opts.cert_ttl / MT_NS_PER_SEC));
	arg(&a, "--pilot-addr=%s:15012", d->opts.control_addr);
	arg(&a, "--type=%s", w->type);
	arg(&a, "--ip=%s", w->address);
	arg(&a, "--name=%s", w->name);
	arg(&a, "--namespace=%s", w->ns);
	arg(&a, "--service-account=%s", w->service_account);
	json_object_foreach(w->labels, key, v) arg(&a, "--labels=%s=%s", key, json_string_value(v));
	arg(&a, "--envoy=%s", d->envoy);
	arg(&a, "--envoy-admin=%s:15000", w->inside);
	arg(&a, "--concurrency=1");
	return start(d, &a, name, 3, err);
}

int dev_start_workloads(struct dev *d, struct mt_err *err)
{
	int r;

	mt_vec_each (&d->workloads, w) {
		if (json_array_size(w->command) && (r = start_program(d, w, err)) < 0)
			return r;
		if ((r = start_agent(d, w, err)) < 0)
			return r;
	}
	return 0;
}
