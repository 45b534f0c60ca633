#include "agent/file_certs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/secrets.h"
#include "common/base/arena.h"
#include "common/base/file.h"
#include "common/base/mem.h"
#include "common/pki/cert.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls.pb-c.h"
#include "tests/unit/unit.h"

struct bench {
	struct mt_loop *loop;
	struct mt_test_clock clock;
	struct agent_file_certs *f;
	char dir[64], other[96], allowed[96];
	unsigned changes, faults;
	struct mt_err fault;
};

static void changed(void *ctx)
{
	struct bench *b = ctx;

	b->changes++;
	mt_loop_stop(b->loop);
}

static void fault(void *ctx, const char *name, const struct mt_err *err)
{
	struct bench *b = ctx;

	(void)name;
	b->faults++;
	b->fault = *err;
	mt_loop_stop(b->loop);
}

static void put(const char *dir, const char *name, const char *text)
{
	MT_AUTO(mt_strfreep) char *path = mt_asprintf("%s/%s", dir, name);

	ck_assert_int_eq(mt_file_replace(path, text, strlen(text), 0600, NULL), 0);
}

/* A root in dir/name.pem and its key in dir/name.key, as file names or swapped in two steps. */
static void make(const char *dir, const char *name, bool cert, bool key)
{
	MT_AUTO(mt_strfreep) char *cert_name = mt_asprintf("%s.pem", name);
	MT_AUTO(mt_strfreep) char *key_name = mt_asprintf("%s.key", name);
	static struct mt_key *k;
	static struct mt_chain *c;

	if (cert) {
		struct mt_buf pem = { 0 };

		mt_key_unref(k);
		mt_chain_unref(c);
		ck_assert_int_eq(mt_key_generate(MT_KEY_EC_P256, &k, NULL), 0);
		ck_assert_int_eq(mt_cert_root(k, "cluster.local", 1800000000 * MT_NS_PER_SEC,
					 3600 * MT_NS_PER_SEC, &c, NULL),
			0);
		mt_chain_pem(c, &pem);
		put(dir, cert_name, mt_buf_str(&pem));
		mt_buf_clear(&pem);
	}
	if (key) {
		char *pem = mt_key_pem(k);

		put(dir, key_name, pem);
		mt_secret_free(pem);
		mt_key_unref(k);
		mt_chain_unref(c);
		k = NULL;
		c = NULL;
	}
}

static void bench_open(struct bench *b)
{
	const char *dirs[1];
	struct mt_err err = { 0 };

	memset(b, 0, sizeof(*b));
	strcpy(b->dir, "/tmp/mt-certs-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(b->dir));
	snprintf(b->allowed, sizeof(b->allowed), "%s/in", b->dir);
	snprintf(b->other, sizeof(b->other), "%s/in-not", b->dir);
	ck_assert_int_eq(mt_dir_make(b->allowed, 0700, NULL), 0);
	ck_assert_int_eq(mt_dir_make(b->other, 0700, NULL), 0);
	mt_test_clock_init(&b->clock, 0, 1800000000 * MT_NS_PER_SEC);
	b->loop = mt_loop_new(&b->clock.clock);
	dirs[0] = b->allowed;
	ck_assert_int_eq(agent_file_certs_new(&(struct agent_file_certs_opts){ .loop = b->loop,
						      .dirs = { dirs, 1 },
						      .changed = changed,
						      .fault = fault,
						      .ctx = b },
				 &b->f, &err),
		0);
}

static void bench_close(struct bench *b)
{
	char cmd[128];

	agent_file_certs_free(b->f);
	mt_loop_free(b->loop);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", b->dir);
	ck_assert_int_eq(system(cmd), 0);
}

/* Turns the clock until something is told. */
static void tick(struct bench *b)
{
	mt_test_clock_advance(&b->clock, 2 * MT_NS_PER_SEC);
	mt_loop_run(b->loop);
}

static size_t count(struct bench *b)
{
	struct mt_res *v[AGENT_FILE_CERTS_MAX];
	size_t n = agent_file_certs_get(b->f, v);

	for (size_t i = 0; i < n; i++)
		mt_res_unref(v[i]);
	return n;
}

START_TEST(served_and_read_again)
{
	struct bench b;

	bench_open(&b);
	make(b.allowed, "a", true, true);
	MT_AUTO(mt_strfreep)
	char *name = mt_asprintf("file-cert:%s/a.pem~%s/a.key", b.allowed, b.allowed);
	MT_AUTO(mt_strfreep) char *root = mt_asprintf("file-root:%s/a.pem", b.allowed);
	agent_file_certs_want(b.f, name);
	agent_file_certs_want(b.f, name);
	agent_file_certs_want(b.f, root);
	ck_assert_uint_eq(b.changes, 2);
	ck_assert_uint_eq(count(&b), 2);
	/* The certificate without its key: what was there stays. The root is taken. */
	make(b.allowed, "a", true, false);
	b.faults = 0;
	while (!b.faults)
		tick(&b);
	ck_assert_ptr_nonnull(strstr(b.fault.msg, "does not belong"));
	ck_assert_uint_eq(count(&b), 2);
	make(b.allowed, "a", false, true);
	b.changes = 0;
	while (!b.changes)
		tick(&b);
	ck_assert_uint_eq(b.faults, 1);
	bench_close(&b);
}
END_TEST

START_TEST(refused)
{
	struct bench b;
	char *names[6];

	bench_open(&b);
	make(b.allowed, "a", true, true);
	make(b.other, "b", true, true);
	MT_AUTO(mt_strfreep) char *link_to = mt_asprintf("%s/b.pem", b.other);
	MT_AUTO(mt_strfreep) char *link_at = mt_asprintf("%s/link.pem", b.allowed);
	ck_assert_int_eq(symlink(link_to, link_at), 0);
	names[0] = mt_asprintf(
		"file-root:%s/b.pem", b.other); /* a folder whose name begins the same */
	names[1] = mt_asprintf("file-root:%s/../in-not/b.pem", b.allowed);
	names[2] = mt_asprintf("file-root:%s/link.pem", b.allowed);
	names[3] = mt_strdup("file-root:a.pem");
	names[4] = mt_asprintf("file-cert:%s/a.pem", b.allowed);
	names[5] = mt_asprintf("file-cert:%s/a.pem~%s/b.key", b.allowed, b.other);
	for (size_t i = 0; i < MT_ARRAY_SIZE(names); i++) {
		agent_file_certs_want(b.f, names[i]);
		ck_assert_msg(b.faults == i + 1, "%s", names[i]);
		ck_assert_int_eq(b.fault.code, i < 3 || i == 5 ? MT_DENIED : MT_INVALID);
		mt_free(names[i]);
	}
	agent_file_certs_want(b.f, "default");
	ck_assert_uint_eq(count(&b), 0);
	ck_assert_uint_eq(b.changes, 0);
	bench_close(&b);
}
END_TEST

START_TEST(limited)
{
	struct bench b;

	bench_open(&b);
	for (int i = 0; i < AGENT_FILE_CERTS_MAX + 5; i++) {
		MT_AUTO(mt_strfreep) char *name = mt_asprintf("file-root:%s/%d.pem", b.allowed, i);

		agent_file_certs_want(b.f, name);
	}
	ck_assert_int_eq(b.fault.code, MT_LIMIT);
	bench_close(&b);
}
END_TEST

START_TEST(no_such_folder)
{
	const char *dirs[] = { "/nonexistent/folder" };
	struct agent_file_certs *f = NULL;
	struct mt_loop *l = mt_loop_new(&mt_clock_system);
	struct mt_err err = { 0 };

	ck_assert_int_eq(agent_file_certs_new(
				 &(struct agent_file_certs_opts){ .loop = l, .dirs = { dirs, 1 } },
				 &f, &err),
		MT_INVALID);
	ck_assert_str_eq(err.path, "--file-cert-dir");
	mt_loop_free(l);
}
END_TEST

START_TEST(secrets)
{
	struct mt_arena *a = mt_arena_new(0);
	struct mt_res *r = agent_secret_cert("default", "chain", "key");
	const Tls__Secret *s = (const Tls__Secret *)mt_res_unpack(r, a);

	ck_assert_str_eq(s->name, "default");
	ck_assert_int_eq(s->type_case, TLS__SECRET__TYPE_TLS_CERTIFICATE);
	ck_assert_uint_eq(s->tls_certificate->private_key->inline_bytes.len, 3);
	mt_res_unref(r);
	mt_arena_free(a);
}
END_TEST

MT_UNIT(file_certs, served_and_read_again, refused, limited, no_such_folder, secrets)
