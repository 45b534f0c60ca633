#include "agent/secret_name.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/strs.h"

static const char cert_prefix[] = "file-cert:", root_prefix[] = "file-root:",
		  name_prefix[] = "kubernetes://", root_suffix[] = "-cacert";
static const char system_name[] = "file-root:system";
/* Where distributions keep what they trust; the first that is there. */
static const char *const system_roots[] = { "/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem" };
enum { NAME_BYTES_MAX = 2048 };

bool agent_secret_name_is(const char *name)
{
	return mt_str_prefix(name, cert_prefix) || mt_str_prefix(name, root_prefix) ||
		mt_str_prefix(name, name_prefix);
}

/* "A~B" or, when b is not required, "A"; both absolute. */
static int two_paths(
	const char *text, bool b_required, struct agent_secret_files *f, struct mt_err *err)
{
	const char *tilde = strchr(text, '~');

	if ((b_required && !tilde) || (tilde && strchr(tilde + 1, '~')))
		return mt_fail(err, MT_INVALID, NULL, "is not file-%s",
			b_required ? "cert:CERT~KEY" : "root:FILE[~CRL]");
	f->path[0] = mt_strndup(text, tilde ? (size_t)(tilde - text) : strlen(text));
	f->path[1] = tilde ? mt_strdup(tilde + 1) : NULL;
	for (int i = 0; i < 2 && f->path[i]; i++)
		if (f->path[i][0] != '/')
			return mt_fail(
				err, MT_INVALID, NULL, "%s is not an absolute path", f->path[i]);
	return 0;
}

/* A name is one folder: nothing in it leads elsewhere. */
static bool is_name(const char *s, size_t n)
{
	static const char may[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";

	return n > 0 && n <= 253 && s[0] != '.' && strspn(s, may) >= n;
}

/* The first of the two names that is there; NULL none. */
static char *there(const char *dir, const char *name, size_t n, const char *a, const char *b)
{
	const char *files[] = { a, b };

	for (int i = 0; i < 2; i++) {
		char *path = mt_asprintf("%s/%.*s/%s", dir, (int)n, name, files[i]);
		if (access(path, F_OK) == 0)
			return path;
		mt_free(path);
	}
	return NULL;
}

static bool find_pair(const char *dir, const char *name, struct agent_secret_files *f)
{
	f->path[0] = there(dir, name, strlen(name), "tls.crt", "cert");
	f->path[1] = there(dir, name, strlen(name), "tls.key", "key");
	if (f->path[0] && f->path[1])
		return true;
	agent_secret_files_clear(f);
	return false;
}

/* n: without the suffix; a folder of the whole name goes first. */
static bool find_roots(const char *dir, const char *name, size_t n, struct agent_secret_files *f)
{
	size_t whole = strlen(name);

	for (size_t len = whole;; len = n) {
		f->path[0] = there(dir, name, len, "ca.crt", "cacert");
		if (f->path[0]) {
			f->path[1] = there(dir, name, len, "ca.crl", "crl");
			return true;
		}
		if (len == n)
			return false;
	}
}

static int by_name(const char *name, char *const *dirs, size_t ndirs, struct agent_secret_files *f,
	struct mt_err *err)
{
	size_t n = strlen(name), k = strlen(root_suffix);

	f->by_name = true;
	f->roots = n > k && strcmp(name + n - k, root_suffix) == 0;
	if (!is_name(name, n))
		return mt_fail(
			err, MT_INVALID, NULL, "\"%s\" is not the name of a credential", name);
	for (size_t i = 0; i < ndirs; i++)
		if (f->roots ? find_roots(dirs[i], name, n - k, f) : find_pair(dirs[i], name, f))
			return 0;
	return mt_fail(err, MT_NOT_FOUND, NULL, "no folder of --credentials-dir has %s/%s", name,
		f->roots ? "ca.crt" : "{tls.crt,tls.key}");
}

int agent_secret_files_of(const char *name, char *const *dirs, size_t ndirs,
	struct agent_secret_files *ret, struct mt_err *err)
{
	struct agent_secret_files f = { 0 };
	int r;

	if (strlen(name) > NAME_BYTES_MAX)
		return mt_fail(err, MT_LIMIT, NULL, "the name is too long");
	if (strcmp(name, system_name) == 0) {
		size_t i = 0;
		while (i + 1 < MT_ARRAY_SIZE(system_roots) && access(system_roots[i], R_OK) != 0)
			i++;
		f.roots = f.system = true;
		f.path[0] = mt_strdup(system_roots[i]);
		r = 0;
	} else if (mt_str_prefix(name, name_prefix)) {
		r = by_name(name + strlen(name_prefix), dirs, ndirs, &f, err);
	} else if (mt_str_prefix(name, root_prefix)) {
		f.roots = true;
		r = two_paths(name + strlen(root_prefix), false, &f, err);
	} else {
		r = two_paths(name + strlen(cert_prefix), true, &f, err);
	}
	if (r < 0) {
		agent_secret_files_clear(&f);
		return r;
	}
	*ret = f;
	return 0;
}

void agent_secret_files_clear(struct agent_secret_files *f)
{
	mt_free(f->path[0]);
	mt_free(f->path[1]);
	f->path[0] = f->path[1] = NULL;
}
