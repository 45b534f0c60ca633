/* Files are looked at by stat() of what the path leads to: that sees replaced files, edited ones and
 * the symlink swaps of mounted volumes alike, and one stat a second for a handful of files costs
 * nothing. A path is resolved first, and what it leads to must lie in an allowed folder: a symlink
 * inside that points out is refused. */
#include "agent/file_certs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/secrets.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/pki/bundle.h"
#include "common/pki/cert.h"

static const char cert_prefix[] = "file-cert:", root_prefix[] = "file-root:";
/* file-root:system: where distributions keep what they trust, the first that is there. */
static const char system_name[] = "file-root:system";
static const char *const system_roots[] = { "/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem" };
enum { NAME_MAX_BYTES = 2048, FILE_MAX = MT_CHAIN_PEM_MAX, SYSTEM_MAX = 4 << 20 };

struct entry {
	char *name;
	char *path[2];      /* certificate and key, or roots and NULL */
	uint64_t seen;      /* of what stat() said about both */
	uint64_t told;      /* of the fault that was told last */
	struct mt_res *res; /* NULL: never could be read */
};

struct agent_file_certs {
	struct agent_file_certs_opts o;
	char **dirs; /* resolved */
	size_t ndirs;
	struct mt_map *entries; /* by name */
	struct mt_timer *timer;
};

bool agent_file_certs_is(const char *name)
{
	return mt_str_prefix(name, cert_prefix) || mt_str_prefix(name, root_prefix);
}

static void entry_free(void *p)
{
	struct entry *e = p;

	mt_res_unref(e->res);
	mt_free(e->name);
	mt_free(e->path[0]);
	mt_free(e->path[1]);
	mt_free(e);
}

/* ---- reading ---- */

/* Resolves path and checks that it is allowed. The result is from malloc. */
static int resolve(struct agent_file_certs *f, const char *path, char **ret, struct mt_err *err)
{
	char *real = realpath(path, NULL);

	if (!real)
		return mt_fail_errno(err, path, "cannot be read");
	for (size_t i = 0; i < f->ndirs; i++) {
		size_t n = strlen(f->dirs[i]);

		if (strncmp(real, f->dirs[i], n) == 0 && real[n] == '/') {
			*ret = real;
			return 0;
		}
	}
	free(real);
	return mt_fail(err, MT_DENIED, path, "is in no folder that --file-cert-dir allows");
}

static int read_one(
	struct agent_file_certs *f, const char *path, struct mt_buf *out, struct mt_err *err)
{
	char *real = NULL;
	int r = resolve(f, path, &real, err);

	if (r < 0)
		return r;
	r = mt_file_read(real, FILE_MAX, out, err);
	free(real);
	return r;
}

static int make_cert(const struct entry *e, const struct mt_buf *cert, const struct mt_buf *key,
	struct mt_res **ret, struct mt_err *err)
{
	MT_AUTO(mt_chain_unrefp) struct mt_chain *c = NULL;
	MT_AUTO(mt_key_unrefp) struct mt_key *k = NULL;
	int r;

	if ((r = mt_chain_parse(mt_buf_str(cert), cert->n, &c, err)) < 0)
		return mt_err_prefix(err, "%s", e->path[0]);
	if ((r = mt_key_parse(mt_buf_str(key), key->n, &k, err)) < 0)
		return mt_err_prefix(err, "%s", e->path[1]);
	if (!mt_chain_has_key(c, k))
		return mt_fail(err, MT_INVALID, e->path[0], "does not belong to the key in %s",
			e->path[1]);
	*ret = agent_secret_cert(e->name, mt_buf_str(cert), mt_buf_str(key));
	return 0;
}

static int make_roots(
	const struct entry *e, const struct mt_buf *roots, struct mt_res **ret, struct mt_err *err)
{
	MT_AUTO(mt_bundle_unrefp) struct mt_bundle *b = NULL;
	int r = mt_bundle_parse(mt_buf_str(roots), roots->n, &b, err);

	if (r < 0)
		return mt_err_prefix(err, "%s", e->path[0]);
	*ret = agent_secret_roots(e->name, mt_buf_str(roots));
	return 0;
}

static int read_entry(
	struct agent_file_certs *f, const struct entry *e, struct mt_res **ret, struct mt_err *err)
{
	struct mt_buf first = { 0 }, key = { 0 };
	int r;

	if (strcmp(e->name, system_name) == 0) {
		/* Public, and too many to look at each: Envoy does. */
		r = mt_file_read(e->path[0], SYSTEM_MAX, &first, err);
		if (r == 0)
			*ret = agent_secret_roots(e->name, mt_buf_str(&first));
		mt_buf_clear(&first);
		return r;
	}
	r = read_one(f, e->path[0], &first, err);

	if (r == 0 && e->path[1])
		r = read_one(f, e->path[1], &key, err);
	if (r == 0)
		r = e->path[1] ? make_cert(e, &first, &key, ret, err)
			       : make_roots(e, &first, ret, err);
	if (key.p)
		explicit_bzero(key.p, key.n);
	mt_buf_clear(&first);
	mt_buf_clear(&key);
	return r;
}

static uint64_t look(const struct entry *e)
{
	uint64_t h = 1;

	for (int i = 0; i < 2 && e->path[i]; i++) {
		struct stat st;
		struct {
			ino_t ino;
			dev_t dev;
			off_t size;
			struct timespec mtime, ctime;
		} v;

		memset(&v, 0, sizeof(v));
		if (stat(e->path[i], &st) == 0) {
			v.ino = st.st_ino;
			v.dev = st.st_dev;
			v.size = st.st_size;
			v.mtime = st.st_mtim;
			v.ctime = st.st_ctim;
		}
		h = mt_hash_mix(h, mt_hash(&v, sizeof(v)));
	}
	return h;
}

/* True when the secret is new or changed. */
static bool refresh(struct agent_file_certs *f, struct entry *e)
{
	uint64_t seen = look(e), cause;
	struct mt_err err = { 0 };
	struct mt_res *res = NULL;
	bool changed;

	if (seen == e->seen)
		return false;
	if (read_entry(f, e, &res, &err) < 0) {
		/* Not marked as seen: what was wrong may right itself without a change of ours to see
		 * (a folder that becomes readable). The same cause is told once. */
		cause = mt_hash_mix(mt_hash_str(err.msg), mt_hash_str(err.path));
		if (cause != e->told)
			f->o.fault(f->o.ctx, e->name, &err);
		e->told = cause;
		return false;
	}
	e->seen = seen;
	e->told = 0;
	changed = !e->res || e->res->hash != res->hash;
	mt_res_unref(e->res);
	e->res = res;
	return changed;
}

static void on_timer(void *arg)
{
	struct agent_file_certs *f = arg;
	struct mt_map_it it = { 0 };
	bool changed = false;

	while (mt_map_next(f->entries, &it))
		changed |= refresh(f, it.value);
	if (changed)
		f->o.changed(f->o.ctx);
}

/* ---- names ---- */

static int parse_name(struct entry *e, struct mt_err *err)
{
	if (strlen(e->name) > NAME_MAX_BYTES)
		return mt_fail(err, MT_LIMIT, NULL, "the name is too long");
	if (strcmp(e->name, system_name) == 0) {
		size_t i = 0;

		while (i + 1 < MT_ARRAY_SIZE(system_roots) && access(system_roots[i], R_OK) != 0)
			i++;
		e->path[0] = mt_strdup(system_roots[i]);
	} else if (mt_str_prefix(e->name, root_prefix)) {
		e->path[0] = mt_strdup(e->name + strlen(root_prefix));
	} else {
		const char *both = e->name + strlen(cert_prefix), *tilde = strchr(both, '~');

		if (!tilde || strchr(tilde + 1, '~'))
			return mt_fail(err, MT_INVALID, NULL, "is not file-cert:CERT~KEY");
		e->path[0] = mt_strndup(both, (size_t)(tilde - both));
		e->path[1] = mt_strdup(tilde + 1);
		if (e->path[1][0] != '/')
			return mt_fail(
				err, MT_INVALID, NULL, "%s is not an absolute path", e->path[1]);
	}
	if (e->path[0][0] != '/')
		return mt_fail(err, MT_INVALID, NULL, "%s is not an absolute path", e->path[0]);
	return 0;
}

void agent_file_certs_want(struct agent_file_certs *f, const char *name)
{
	struct mt_err err = { 0 };
	struct entry *e;

	if (!agent_file_certs_is(name) || mt_map_get(f->entries, name))
		return;
	if (mt_map_size(f->entries) == AGENT_FILE_CERTS_MAX) {
		mt_fail(&err, MT_LIMIT, NULL, "more than %d files are asked for",
			AGENT_FILE_CERTS_MAX);
		f->o.fault(f->o.ctx, name, &err);
		return;
	}
	e = MT_NEW(struct entry);
	e->name = mt_strdup(name);
	if (parse_name(e, &err) < 0) {
		f->o.fault(f->o.ctx, name, &err);
		entry_free(e);
		return;
	}
	mt_map_put(f->entries, name, e);
	if (!mt_timer_active(f->timer))
		mt_timer_start(f->timer, MT_NS_PER_SEC, MT_NS_PER_SEC);
	if (refresh(f, e))
		f->o.changed(f->o.ctx);
}

size_t agent_file_certs_get(struct agent_file_certs *f, struct mt_res *v[AGENT_FILE_CERTS_MAX])
{
	struct mt_map_it it = { 0 };
	size_t n = 0;

	while (mt_map_next(f->entries, &it)) {
		struct entry *e = it.value;

		if (e->res)
			v[n++] = mt_res_ref(e->res);
	}
	return n;
}

int agent_file_certs_new(
	const struct agent_file_certs_opts *o, struct agent_file_certs **ret, struct mt_err *err)
{
	struct agent_file_certs *f = MT_NEW(struct agent_file_certs);

	f->o = *o;
	f->entries = mt_map_new();
	f->timer = mt_timer_new(o->loop, on_timer, f);
	f->dirs = mt_reallocarray(NULL, o->dirs.n + 1, sizeof(*f->dirs));
	for (size_t i = 0; i < o->dirs.n; i++) {
		char *real = realpath(o->dirs.v[i], NULL);

		if (!real) {
			mt_fail_errno(err, "--file-cert-dir", "%s", o->dirs.v[i]);
			agent_file_certs_free(f);
			return MT_INVALID;
		}
		f->dirs[f->ndirs++] = real;
	}
	*ret = f;
	return 0;
}

void agent_file_certs_free(struct agent_file_certs *f)
{
	if (!f)
		return;
	mt_timer_free(f->timer);
	mt_map_free(f->entries, entry_free);
	for (size_t i = 0; i < f->ndirs; i++)
		free(f->dirs[i]);
	mt_free(f->dirs);
	mt_free(f);
}
