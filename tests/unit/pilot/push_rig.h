/* The push engine behind a real discovery server, with a loop of its own; worlds made from YAML. For
 * the tests of pilot/push. */
#pragma once

#include "tests/unit/pilot/world_fixture.h"

#include <pthread.h>
#include <semaphore.h>

#include "pilot/metrics.h"
#include "pilot/push/push.h"
#include "tests/unit/xds/fake_envoy.h"

#define SERVICE(name, address)                                                                     \
	"apiVersion: networking.istio.io/v1alpha3\nkind: ServiceEntry\n"                           \
	"metadata: {name: " name ", namespace: default}\n"                                         \
	"spec: {hosts: [" name ".default.svc.cluster.local], location: MESH_INTERNAL, "            \
	"resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], "                  \
	"endpoints: [{address: " address ", labels: {app: " name "}}]}\n---\n"
#define RULE(timeout)                                                                              \
	"apiVersion: networking.istio.io/v1alpha3\nkind: VirtualService\n"                         \
	"metadata: {name: a, namespace: default}\n"                                                \
	"spec: {hosts: [a], http: [{timeout: " timeout                                             \
	", route: [{destination: {host: a}}]}]}\n---\n"

static const struct mt_metric_desc rows[] = {
#define METRIC MT_METRIC_ROW
#include "pilot/metrics.def"
#undef METRIC
};

struct rig {
	struct mt_loop *loop;
	pthread_t thread;
	struct mt_metrics *metrics;
	struct mt_rpc_env *env;
	struct mt_rpc_server *rpc;
	struct mt_rpc_channel *channel;
	struct push *push;
	struct mt_xds_server *xds;
};

static inline void *run_loop(void *arg)
{
	mt_loop_run(arg);
	return NULL;
}

/* o: of the discovery server; what the rig itself is about is filled in. */
static inline struct rig *rig_with(const struct mt_xds_server_opts *o)
{
	struct rig *r = MT_NEW(struct rig);
	struct mt_rpc_method methods[2];
	struct mt_err err = { 0 };
	const char *addr = "127.0.0.1:0";

	r->loop = mt_loop_new(&mt_clock_system);
	r->metrics = mt_metrics_new(rows, MT_ARRAY_SIZE(rows));
	r->env = mt_rpc_env_new(2);
	r->push = push_new(r->loop, r->metrics, 3);
	struct mt_xds_server_opts xds = *o;
	xds.types = push_types;
	xds.ntypes = PUSH_TYPES;
	xds.app = &push_app;
	xds.ctx = r->push;
	xds.measure = push_measure;
	r->xds = mt_xds_server_new(r->loop, &xds);
	mt_xds_server_methods(r->xds, methods);
	if (mt_rpc_server_start(r->env, &(struct mt_rpc_server_opts){ 0 }, &addr, 1, methods, 2,
		    &r->rpc, &err) < 0)
		ck_abort_msg("%s", err.msg);
	char target[64];
	snprintf(target, sizeof(target), "127.0.0.1:%u", mt_rpc_server_port(r->rpc, 0));
	if (mt_rpc_channel_new(
		    r->env, target, &(struct mt_rpc_channel_opts){ 0 }, &r->channel, &err) < 0)
		ck_abort_msg("%s", err.msg);
	pthread_create(&r->thread, NULL, run_loop, r->loop);
	return r;
}

static inline struct rig *rig_new(void)
{
	return rig_with(&(struct mt_xds_server_opts){ 0 });
}

static inline void rig_free(struct rig *r)
{
	mt_rpc_channel_free(r->channel);
	mt_rpc_server_stop(r->rpc, 0);
	mt_loop_stop(r->loop);
	pthread_join(r->thread, NULL);
	mt_xds_server_free(r->xds);
	push_free(r->push);
	mt_loop_free(r->loop);
	mt_rpc_env_free(r->env);
	mt_metrics_free(r->metrics);
	mt_free(r);
	fake_intern_clear();
}

/* Runs something on the loop and waits for it. */
struct task {
	struct rig *r;
	void (*run)(struct rig *r, void *arg);
	void *arg;
	sem_t done;
};

static inline void run_task(void *arg)
{
	struct task *t = arg;
	t->run(t->r, t->arg);
	sem_post(&t->done);
}

static inline void on_loop(struct rig *r, void (*run)(struct rig *r, void *arg), void *arg)
{
	struct task t = { .r = r, .run = run, .arg = arg };

	sem_init(&t.done, 0, 0);
	mt_loop_post(r->loop, run_task, &t);
	while (sem_wait(&t.done) < 0)
		;
	sem_destroy(&t.done);
}

struct publish {
	struct pilot_world *w;
	struct pilot_dirty dirty;
	const struct pilot_endpoints_change *eps;
	size_t neps;
};

static inline void publish(struct rig *r, void *arg)
{
	const struct publish *p = arg;
	push_world(r->push, p->w, &p->dirty, p->eps, p->neps);
}

/* The whole world anew, as a change of rules does it. */
static inline void publish_yaml(struct rig *r, const char *yaml, enum mt_kind_id kind)
{
	struct fixture f;
	struct publish p = { 0 };

	fixture_load(&f, yaml);
	p.w = f.w;
	pilot_flow_object(&p.dirty, kind);
	on_loop(r, publish, &p);
	fixture_clear(&f);
}

static inline struct fake_envoy *proxy(struct rig *r, bool delta, const char *id)
{
	return fake_envoy_new(
		&(struct fake_opts){ .channel = r->channel, .delta = delta, .id = id });
}

#define NODE(n) "sidecar~10.9.0." #n "~w" #n ".default~default.svc.cluster.local"
