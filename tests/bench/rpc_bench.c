/* What gRPC costs: memory of the server per connection with one open stream, and unary calls a second.
 *
 *   rpc_bench memory N [tls]      N connections from another process
 *   rpc_bench unary SECONDS [tls] 8 connections, 16 calls in flight on each, same process
 *
 * Prints one JSON object. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/pki/bundle.h"
#include "common/pki/identity.h"
#include "common/rpc/rpc.h"

#define ID "spiffe://mesh.test/ns/bench/sa/bench"
#define HOUR (3600 * MT_NS_PER_SEC)

static atomic_uint messages;

static long rss_kb(void)
{
	long pages = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (!f || fscanf(f, "%ld %ld", &pages, &resident) != 2)
		resident = 0;
	if (f)
		fclose(f);
	return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void echo_message(struct mt_rpc_stream *s, const void *p, size_t n)
{
	mt_slice m = mt_slice_copy(p, n);

	mt_rpc_stream_send(s, &m, 1);
}
static void reply_message(struct mt_rpc_stream *s, const void *p, size_t n)
{
	mt_slice m = mt_slice_copy(p, n);

	mt_rpc_stream_reply(s, &m, 1);
}
static void count_message(
	struct mt_rpc_stream *s MT_UNUSED, const void *p MT_UNUSED, size_t n MT_UNUSED)
{
	atomic_fetch_add(&messages, 1);
}
static void ask(struct mt_rpc_stream *s)
{
	mt_slice m = mt_slice_copy("hello", 5);

	mt_rpc_stream_send(s, &m, 1);
}
static void on_close(struct mt_rpc_stream *s MT_UNUSED, int st MT_UNUSED, const char *m MT_UNUSED)
{
}

static const struct mt_rpc_ops echo = { .message = echo_message, .close = on_close };
static const struct mt_rpc_ops reply = { .message = reply_message, .close = on_close };
static const struct mt_rpc_ops count = {
	.message = count_message,
	.wake = ask,
	.close = on_close,
};
static const struct mt_rpc_method methods[] = {
	{ .path = "/b.B/Stream", .ops = &echo },
	{ .path = "/b.B/Unary", .ops = &reply },
};
static const char *const ids[] = { ID, NULL };

static void must(int r, const struct mt_err *err)
{
	if (r == 0)
		return;
	fprintf(stderr, "rpc_bench: %s\n", err->msg);
	exit(1);
}

static struct mt_identity_slot *make_identity(void)
{
	struct mt_key *ca_key = NULL, *key = NULL;
	struct mt_chain *ca = NULL, *leaf = NULL;
	struct mt_buf ca_pem = { 0 }, leaf_pem = { 0 };
	struct mt_identity *id = NULL;
	struct mt_err err = { 0 };
	int64_t now = mt_wall(&mt_clock_system);

	must(mt_key_generate(MT_KEY_EC_P256, &ca_key, &err), &err);
	must(mt_key_generate(MT_KEY_EC_P256, &key, &err), &err);
	must(mt_cert_root(ca_key, "mesh.test", now - HOUR, 10 * HOUR, &ca, &err), &err);
	const struct mt_issuer by = { ca, ca_key };
	const struct mt_leaf_request q = {
		.key = key, .spiffe_id = ID, .now_ns = now - MT_NS_PER_SEC, .ttl_ns = HOUR
	};
	must(mt_cert_issue(&by, &q, &leaf, &err), &err);
	mt_chain_pem(ca, &ca_pem);
	mt_chain_pem(leaf, &leaf_pem);
	char *pem = mt_key_pem(key);
	must(mt_identity_new(pem, leaf_pem.p, ca_pem.p, &id, &err), &err);
	struct mt_identity_slot *slot = mt_identity_slot_new();
	mt_identity_slot_set(slot, id);
	mt_identity_unref(id);
	mt_secret_free(pem);
	mt_buf_clear(&ca_pem);
	mt_buf_clear(&leaf_pem);
	mt_chain_unref(ca);
	mt_chain_unref(leaf);
	mt_key_unref(ca_key);
	mt_key_unref(key);
	return slot;
}

static struct mt_rpc_channel *dial(
	struct mt_rpc_env *e, unsigned port, struct mt_identity_slot *slot)
{
	const struct mt_rpc_channel_opts o = { .identity = slot, .server_ids = ids };
	struct mt_rpc_channel *c = NULL;
	struct mt_err err = { 0 };
	char target[64];

	snprintf(target, sizeof(target), "127.15.0.1:%u", port);
	must(mt_rpc_channel_new(e, target, &o, &c, &err), &err);
	return c;
}

static struct mt_rpc_server *serve(struct mt_rpc_env *e, struct mt_identity_slot *slot)
{
	const struct mt_rpc_server_opts o = { .identity = slot };
	const char *addrs[] = { "127.15.0.1:0" };
	struct mt_rpc_server *s = NULL;
	struct mt_err err = { 0 };

	must(mt_rpc_server_start(e, &o, addrs, 1, methods, 2, &s, &err), &err);
	return s;
}

/* The clients of `memory`: reads the port, opens n, says so, ends when its input does. */
static int clients(int in, int out, unsigned n, struct mt_identity_slot *slot)
{
	unsigned port;
	char c;

	if (read(in, &port, sizeof(port)) != sizeof(port))
		return 1;
	struct mt_rpc_env *e = mt_rpc_env_new(1);
	struct mt_rpc_channel **ch = mt_alloc(n * sizeof(*ch));
	for (unsigned i = 0; i < n; i++) {
		ch[i] = dial(e, port, slot);
		struct mt_rpc_stream *s =
			mt_rpc_call(ch[i], "/b.B/Stream", &count, NULL, 0, NULL, 0);
		mt_rpc_stream_wake(s);
		mt_rpc_stream_unref(s);
		while (atomic_load(&messages) + 50 < i)
			usleep(200);
	}
	while (atomic_load(&messages) < n)
		usleep(1000);
	if (write(out, "x", 1) != 1 || read(in, &c, 1) != 0)
		return 1;
	for (unsigned i = 0; i < n; i++)
		mt_rpc_channel_free(ch[i]);
	mt_free(ch);
	mt_rpc_env_free(e);
	return 0;
}

static int memory(unsigned n, struct mt_identity_slot *slot)
{
	int down[2], up[2], status = 1;
	char c;

	if (pipe(down) || pipe(up))
		return 1;
	pid_t pid = fork(); /* before gRPC starts */
	if (pid == 0) {
		close(down[1]);
		close(up[0]);
		_exit(clients(down[0], up[1], n, slot));
	}
	close(down[0]);
	close(up[1]);
	struct mt_rpc_env *e = mt_rpc_env_new(0);
	struct mt_rpc_server *s = serve(e, slot);
	unsigned port = mt_rpc_server_port(s, 0);
	long before = rss_kb();
	if (write(down[1], &port, sizeof(port)) != sizeof(port) || read(up[0], &c, 1) != 1)
		return 1;
	long after = rss_kb();
	printf("{\"connections\":%u,\"tls\":%s,\"streams\":%u,\"base_kb\":%ld,\"rss_kb\":%ld,"
	       "\"kb_per_connection\":%.1f}\n",
		n, slot ? "true" : "false", mt_rpc_server_streams(s), before, after,
		(double)(after - before) / n);
	close(down[1]);
	waitpid(pid, &status, 0);
	mt_rpc_server_stop(s, 0);
	mt_rpc_env_free(e);
	return status ? 1 : 0;
}

static atomic_ulong calls;
static atomic_uint flying;
static atomic_bool over;

static void again(
	void *ctx, int status, const char *msg, const void *p MT_UNUSED, size_t n MT_UNUSED)
{
	const struct mt_err err = { .code = status };

	if (status)
		fprintf(stderr, "rpc_bench: %s\n", msg);
	must(status, &err);
	atomic_fetch_add(&calls, 1);
	if (atomic_load(&over))
		atomic_fetch_sub(&flying, 1);
	else
		mt_rpc_unary(ctx, "/b.B/Unary", "hello", 5, 0, NULL, 0, again, ctx);
}

static int unary(unsigned seconds, struct mt_identity_slot *slot)
{
	enum { CONNS = 8, FLYING = 16 };
	struct mt_rpc_env *e = mt_rpc_env_new(0);
	struct mt_rpc_server *s = serve(e, slot);
	struct mt_rpc_channel *ch[CONNS];

	for (int i = 0; i < CONNS; i++) {
		ch[i] = dial(e, mt_rpc_server_port(s, 0), slot);
		for (int k = 0; k < FLYING; k++) {
			atomic_fetch_add(&flying, 1);
			mt_rpc_unary(ch[i], "/b.B/Unary", "hello", 5, 0, NULL, 0, again, ch[i]);
		}
	}
	sleep(1); /* warm */
	unsigned long before = atomic_load(&calls);
	int64_t begin = mt_mono(&mt_clock_system);
	sleep(seconds);
	unsigned long done = atomic_load(&calls) - before;
	double took = (double)(mt_mono(&mt_clock_system) - begin) / MT_NS_PER_SEC;
	printf("{\"unary_per_second\":%.0f,\"tls\":%s}\n", (double)done / took,
		slot ? "true" : "false");
	atomic_store(&over, true);
	while (atomic_load(&flying))
		usleep(1000);
	for (int i = 0; i < CONNS; i++)
		mt_rpc_channel_free(ch[i]);
	mt_rpc_server_stop(s, 0);
	mt_rpc_env_free(e);
	return 0;
}

int main(int argc, char **argv)
{
	bool tls = argc > 3 && mt_streq(argv[3], "tls");
	struct mt_identity_slot *slot = tls ? make_identity() : NULL;
	int r = 2;

	if (argc > 2 && mt_streq(argv[1], "memory"))
		r = memory((unsigned)atoi(argv[2]), slot);
	else if (argc > 2 && mt_streq(argv[1], "unary"))
		r = unary((unsigned)atoi(argv[2]), slot);
	else
		fprintf(stderr, "usage: rpc_bench memory N [tls] | unary SECONDS [tls]\n");
	mt_identity_slot_free(slot);
	return r;
}
