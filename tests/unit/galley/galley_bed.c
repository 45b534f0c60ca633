#include "tests/unit/galley/galley_bed.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "galley/metrics.h"
#include "galley/validate/validate.h"
#include "tests/unit/unit.h"

static const struct mt_metric_desc metrics[] = {
#define METRIC(...) MT_METRIC_ROW(__VA_ARGS__)
#include "galley/metrics.def"
#undef METRIC
};

static void on_changed(void *ctx, const struct galley_change *c, size_t n, int64_t since_ns)
{
	struct bed *b = ctx;

	b->commits++;
	b->changes += n;
	galley_distribute_change(b->distribute, c, n, since_ns);
}

static void on_reported(void *ctx, const struct galley_text *t)
{
	struct bed *b = ctx;

	b->reports++;
	b->report[0] = 0;
	if (t->diags.n) {
		char *s = mt_diag_format(&t->diags.v[0]);
		snprintf(b->report, sizeof(b->report), "%s", s);
		mt_free(s);
	}
}

static int on_validate(void *ctx, const struct mt_object *o, struct mt_diags *diags)
{
	(void)ctx;
	return galley_validate(o, diags);
}

static void on_text(
	void *ctx, struct galley_source *s, const char *name, const char *text, size_t n)
{
	galley_store_text(((struct bed *)ctx)->store, s->index, name, text, n);
}

static void on_unreadable(
	void *ctx, struct galley_source *s, const char *name, const struct mt_err *err)
{
	galley_store_unreadable(((struct bed *)ctx)->store, s->index, name, err);
}

static void on_gone(void *ctx, struct galley_source *s, const char *name)
{
	(void)s;
	galley_store_gone(((struct bed *)ctx)->store, name);
}

static void on_settled(void *ctx, struct galley_source *s, int64_t since_ns)
{
	struct bed *b = ctx;

	(void)s;
	galley_store_commit(b->store, true, since_ns);
	if (!b->settled++ && !galley_store_count(b->store))
		galley_distribute_change(b->distribute, NULL, 0, since_ns);
}

static void on_away(void *ctx, struct galley_source *s, const struct mt_err *err)
{
	(void)s;
	(void)err;
	((struct bed *)ctx)->aways++;
}

static const struct galley_source_events events = {
	.text = on_text,
	.unreadable = on_unreadable,
	.gone = on_gone,
	.settled = on_settled,
	.away = on_away,
};

void bed_open(struct bed *b)
{
	*b = (struct bed){ 0 };
	snprintf(b->folder, sizeof(b->folder), "/tmp/galley-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(b->folder));
	snprintf(b->dir, sizeof(b->dir), "%s/conf", b->folder);
	ck_assert_int_eq(mkdir(b->dir, 0755), 0);
	b->loop = mt_loop_new(&mt_clock_system);
	b->metrics = mt_metrics_new(metrics, MT_ARRAY_SIZE(metrics));
	b->env = mt_rpc_env_new(1);
}

static int rm(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st;
	(void)type;
	(void)f;
	return remove(path);
}

void bed_close(struct bed *b)
{
	bed_feed_stop(b);
	bed_galley_stop(b);
	mt_rpc_env_free(b->env);
	mt_loop_free(b->loop);
	mt_metrics_free(b->metrics);
	nftw(b->folder, rm, 16, FTW_DEPTH | FTW_PHYS);
}

static int64_t mono(const struct mt_clock *c)
{
	(void)c;
	return mt_mono(&mt_clock_system);
}

/* A Galley that has no state says of an object that it is as old as its first reading. What it restarts
 * with is the same only within one second, so that time stands still here. */
static int64_t one_day(const struct mt_clock *c)
{
	(void)c;
	return 1700000000 * MT_NS_PER_SEC;
}

static const struct mt_clock clock_of_store = { mono, one_day };

void bed_galley_start(struct bed *b)
{
	struct mt_err err = { 0 };
	struct mt_rpc_method methods[2];
	char addr[32], url[100];
	const char *addrs[] = { addr };

	b->store = galley_store_new(b->loop,
		&(struct galley_store_opts){ .clock = &clock_of_store,
			.max_objects = 100000,
			.validate = on_validate,
			.changed = on_changed,
			.reported = on_reported,
			.ctx = b });
	b->distribute = galley_distribute_new(
		&(struct galley_distribute_opts){ .loop = b->loop, .metrics = b->metrics });
	galley_distribute_methods(b->distribute, methods);
	snprintf(addr, sizeof(addr), "127.0.0.1:%u", b->port);
	ck_assert_msg(mt_rpc_server_start(b->env, &(struct mt_rpc_server_opts){ 0 }, addrs, 1,
			      methods, 2, &b->rpc, &err) == 0,
		"%s", err.msg);
	b->port = mt_rpc_server_port(b->rpc, 0);
	snprintf(url, sizeof(url), "dir:%s", b->dir);
	b->settled = 0;
	ck_assert_int_eq(galley_source_open(url, 0,
				 &(struct galley_source_opts){ .loop = b->loop,
					 .events = &events,
					 .ctx = b,
					 .gather_ns = 5 * MT_NS_PER_MS,
					 .rescan_ns = 3600 * MT_NS_PER_SEC,
					 .max_file = 4 << 20 },
				 &b->source, &err),
		0);
}

void bed_galley_stop(struct bed *b)
{
	if (!b->rpc)
		return;
	galley_source_close(b->source);
	mt_rpc_server_stop(MT_TAKE(b->rpc), 0);
	galley_distribute_free(b->distribute);
	galley_store_free(b->store);
}

static void feed_changed(void *ctx, const struct mt_feed_change *c, size_t n)
{
	struct bed *b = ctx;

	b->batches++;
	for (size_t i = 0; i < n; i++) {
		b->fed += c[i].new != NULL;
		b->removed += c[i].new == NULL;
		mt_object_title(c[i].new ? c[i].new : c[i].old, b->last, sizeof(b->last));
	}
}

static void feed_state(void *ctx, bool connected, bool synced, const char *why)
{
	struct bed *b = ctx;

	(void)why;
	b->connected = connected;
	b->synced = synced;
}

void bed_feed_start(struct bed *b, bool with_state)
{
	static const enum mt_kind_id kinds[] = { MT_KIND_VIRTUAL_SERVICE, MT_KIND_GATEWAY,
		MT_KIND_MESH_CONFIG };
	struct mt_err err = { 0 };
	char server[32], state[100];

	snprintf(server, sizeof(server), "127.0.0.1:%u", b->port);
	snprintf(state, sizeof(state), "%s/state", b->folder);
	b->connected = b->synced = false;
	b->batches = 0;
	b->fed = b->removed = 0;
	if (with_state)
		ck_assert_msg(mt_state_open(state, &b->state, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(mt_feed_start(b->loop,
				 &(struct mt_feed_opts){ .env = b->env,
					 .server = server,
					 .node_id = "test",
					 .kinds = kinds,
					 .nkinds = MT_ARRAY_SIZE(kinds),
					 .state = b->state,
					 .changed = feed_changed,
					 .state_changed = feed_state,
					 .ctx = b },
				 &b->feed, &err),
		0);
}

void bed_feed_stop(struct bed *b)
{
	mt_feed_stop(MT_TAKE(b->feed));
	if (b->state)
		mt_state_close(MT_TAKE(b->state));
}

void bed_write(struct bed *b, const char *name, const char *text)
{
	char path[200], aside[200];

	snprintf(path, sizeof(path), "%s/%s", b->dir, name);
	snprintf(aside, sizeof(aside), "%s/aside", b->folder);
	FILE *f = fopen(aside, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
	ck_assert_int_eq(rename(aside, path), 0);
}

void bed_vs(struct bed *b, const char *name, const char *host)
{
	char file[100], text[400];

	snprintf(file, sizeof(file), "%s.yaml", name);
	snprintf(text, sizeof(text),
		"apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: %s}\nspec:\n"
		"  hosts: [%s]\n  http:\n  - route:\n    - destination: {host: %s}\n",
		name, host, host);
	bed_write(b, file, text);
}

void bed_remove(struct bed *b, const char *name)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/%s", b->dir, name);
	ck_assert_int_eq(unlink(path), 0);
}

struct wait {
	struct bed *b;
	bool (*cond)(struct bed *b, long arg);
	long arg;
	int64_t end;
	bool ok;
};

static void look(void *arg)
{
	struct wait *w = arg;

	w->ok = w->cond(w->b, w->arg);
	if (w->ok || mt_mono(&mt_clock_system) > w->end)
		mt_loop_stop(w->b->loop);
}

bool bed_until(struct bed *b, bool (*cond)(struct bed *b, long arg), long arg)
{
	struct wait w = { b, cond, arg, mt_mono(&mt_clock_system) + 20 * MT_NS_PER_SEC, false };
	struct mt_timer *t = mt_timer_new(b->loop, look, &w);

	mt_timer_start(t, 0, MT_NS_PER_MS);
	mt_loop_run(b->loop);
	mt_timer_free(t);
	return w.ok;
}

bool bed_fed(struct bed *b, long n)
{
	return b->synced && mt_feed_count(b->feed) == (size_t)n;
}

bool bed_in_force(struct bed *b, long n)
{
	return b->settled && galley_store_count(b->store) == (size_t)n;
}
