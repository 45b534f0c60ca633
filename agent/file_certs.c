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

#include "agent/secret_name.h"
#include "agent/secrets.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/pki/bundle.h"
#include "common/pki/cert.h"

/* What the operating system trusts is long, public, and too much to look at each: Envoy does. */
enum { FILE_MAX = MT_CHAIN_PEM_MAX, SYSTEM_MAX = 4 << 20 };

struct entry {
	char *name;
	uint64_t seen;      /* of what stat() said about both */
	uint64_t told;      /* of the fault that was told last */
	struct mt_res *res; /* NULL: never could be read */
};

struct agent_file_certs {
	struct agent_file_certs_opts o;
	struct dirs {
		char **v; /* resolved */
		size_t n;
	} files, credentials;
	struct mt_map *entries; /* by name */
	struct mt_timer *timer;
};

static void entry_free(void *p)
{
	struct entry *e = p;

	mt_res_unref(e->res);
	mt_free(e->name);
	mt_free(e);
}

/* ---- reading ---- */

/* Resolves path and checks that it is allowed. The result is from malloc. */
static int resolve(const struct dirs *dirs, const char *path, char **ret, struct mt_err *err)
{
	char *real = realpath(path, NULL);

	if (!real)
		return mt_fail_errno(err, path, "cannot be read");
	for (size_t i = 0; i < dirs->n; i++) {
		size_t n = strlen(dirs->v[i]);

		if (strncmp(real, dirs->v[i], n) == 0 && real[n] == '/') {
			*ret = real;
			return 0;
		}
	}
	free(real);
	return mt_fail(err, MT_DENIED, path,
		"is in no folder that --file-cert-dir or --credentials-dir allows");
}

static int read_one(
	const struct dirs *dirs, const char *path, struct mt_buf *out, struct mt_err *err)
{
	char *real = NULL;
	int r = resolve(dirs, path, &real, err);

	if (r < 0)
		return r;
	r = mt_file_read(real, FILE_MAX, out, err);
	free(real);
	return r;
}

static int make_cert(const char *name, const struct agent_secret_files *f,
	const struct mt_buf *cert, const struct mt_buf *key, struct mt_res **ret,
	struct mt_err *err)
{
	MT_AUTO(mt_chain_unrefp) struct mt_chain *c = NULL;
	MT_AUTO(mt_key_unrefp) struct mt_key *k = NULL;
	int r;

	if ((r = mt_chain_parse(mt_buf_str(cert), cert->n, &c, err)) < 0)
		return mt_err_prefix(err, "%s", f->path[0]);
	if ((r = mt_key_parse(mt_buf_str(key), key->n, &k, err)) < 0)
		return mt_err_prefix(err, "%s", f->path[1]);
	if (!mt_chain_has_key(c, k))
		return mt_fail(err, MT_INVALID, f->path[0], "does not belong to the key in %s",
			f->path[1]);
	*ret = agent_secret_cert(name, mt_buf_str(cert), mt_buf_str(key));
	return 0;
}

static int make_roots(const char *name, const struct agent_secret_files *f,
	const struct mt_buf *roots, const struct mt_buf *crl, struct mt_res **ret,
	struct mt_err *err)
{
	MT_AUTO(mt_bundle_unrefp) struct mt_bundle *b = NULL;
	int r = mt_bundle_parse(mt_buf_str(roots), roots->n, &b, err);

	if (r < 0)
		return mt_err_prefix(err, "%s", f->path[0]);
	*ret = agent_secret_roots(name, mt_buf_str(roots), f->path[1] ? mt_buf_str(crl) : NULL);
	return 0;
}

static int read_entry(struct agent_file_certs *f, const struct entry *e,
	const struct agent_secret_files *files, struct mt_res **ret, struct mt_err *err)
{
	const struct dirs *dirs = files->by_name ? &f->credentials : &f->files;
	struct mt_buf first = { 0 }, second = { 0 };
	int r;

	if (files->system) {
		r = mt_file_read(files->path[0], SYSTEM_MAX, &first, err);
		if (r == 0)
			*ret = agent_secret_roots(e->name, mt_buf_str(&first), NULL);
		mt_buf_clear(&first);
		return r;
	}
	r = read_one(dirs, files->path[0], &first, err);

	if (r == 0 && files->path[1])
		r = read_one(dirs, files->path[1], &second, err);
	if (r == 0)
		r = files->roots ? make_roots(e->name, files, &first, &second, ret, err)
				 : make_cert(e->name, files, &first, &second, ret, err);
	if (second.p)
		explicit_bzero(second.p, second.n);
	mt_buf_clear(&first);
	mt_buf_clear(&second);
	return r;
}

static uint64_t look(const struct agent_secret_files *files)
{
	uint64_t h = 1;

	for (int i = 0; i < 2 && files->path[i]; i++) {
		struct stat st;
		struct {
			ino_t ino;
			dev_t dev;
			off_t size;
			struct timespec mtime, ctime;
		} v;

		memset(&v, 0, sizeof(v));
		if (stat(files->path[i], &st) == 0) {
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

/* Not marked as seen: what was wrong may right itself without a change of ours to see (a folder that
 * becomes readable). The same cause is told once. */
static void at_fault(struct agent_file_certs *f, struct entry *e, const struct mt_err *err)
{
	uint64_t cause = mt_hash_mix(mt_hash_str(err->msg), mt_hash_str(err->path));

	if (cause != e->told)
		f->o.fault(f->o.ctx, e->name, err);
	e->told = cause;
}

/* True when the secret is new or changed. */
static bool refresh(struct agent_file_certs *f, struct entry *e)
{
	struct agent_secret_files files = { 0 };
	struct mt_err err = { 0 };
	struct mt_res *res = NULL;
	int r = agent_secret_files_of(e->name, f->credentials.v, f->credentials.n, &files, &err);
	uint64_t seen = r < 0 ? 0 : look(&files);

	if (r == 0 && seen == e->seen) {
		agent_secret_files_clear(&files);
		return false;
	}
	if (r == 0)
		r = read_entry(f, e, &files, &res, &err);
	agent_secret_files_clear(&files);
	if (r < 0) {
		at_fault(f, e, &err);
		return false;
	}
	e->seen = seen;
	e->told = 0;
	bool changed = !e->res || e->res->hash != res->hash;
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

void agent_file_certs_want(struct agent_file_certs *f, const char *name)
{
	struct agent_secret_files files = { 0 };
	struct mt_err err = { 0 };
	struct entry *e;

	if (!agent_secret_name_is(name) || mt_map_get(f->entries, name))
		return;
	if (mt_map_size(f->entries) == AGENT_FILE_CERTS_MAX) {
		mt_fail(&err, MT_LIMIT, NULL, "more than %d files are asked for",
			AGENT_FILE_CERTS_MAX);
		f->o.fault(f->o.ctx, name, &err);
		return;
	}
	/* A malformed name never becomes a secret; one that is not found may come. */
	int r = agent_secret_files_of(name, f->credentials.v, f->credentials.n, &files, &err);
	agent_secret_files_clear(&files);
	if (r < 0 && r != MT_NOT_FOUND) {
		f->o.fault(f->o.ctx, name, &err);
		return;
	}
	e = MT_NEW(struct entry);
	e->name = mt_strdup(name);
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

static int dirs_open(
	struct dirs *d, const struct mt_strlist *from, const char *option, struct mt_err *err)
{
	d->v = mt_reallocarray(NULL, from->n + 1, sizeof(*d->v));
	for (size_t i = 0; i < from->n; i++) {
		char *real = realpath(from->v[i], NULL);

		if (!real) {
			mt_fail_errno(err, option, "%s", from->v[i]);
			return MT_INVALID;
		}
		d->v[d->n++] = real;
	}
	return 0;
}

static void dirs_close(struct dirs *d)
{
	for (size_t i = 0; i < d->n; i++)
		free(d->v[i]);
	mt_free(d->v);
}

int agent_file_certs_new(
	const struct agent_file_certs_opts *o, struct agent_file_certs **ret, struct mt_err *err)
{
	struct agent_file_certs *f = MT_NEW(struct agent_file_certs);

	f->o = *o;
	f->entries = mt_map_new();
	f->timer = mt_timer_new(o->loop, on_timer, f);
	if (dirs_open(&f->files, &o->dirs, "--file-cert-dir", err) < 0 ||
		dirs_open(&f->credentials, &o->credentials, "--credentials-dir", err) < 0) {
		agent_file_certs_free(f);
		return MT_INVALID;
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
	dirs_close(&f->files);
	dirs_close(&f->credentials);
	mt_free(f);
}
