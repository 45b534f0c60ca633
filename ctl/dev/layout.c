/* Where everything is, and the folder of the mesh. The sample's files speak of 127.9. and port 8080,
 * the mesh's own of 127.0.0.1: another prefix, port or control address replaces them as text. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/strs.h"
#include "ctl/dev/dev.h"

char *dev_path(const struct dev *d, const char *fmt, ...)
{
	struct mt_buf b = { 0 };
	va_list ap;

	mt_buf_printf(&b, "%s/", d->dir);
	va_start(ap, fmt);
	mt_buf_vprintf(&b, fmt, ap);
	va_end(ap);
	return mt_buf_take(&b, NULL);
}

static int resolve_path(const char *given, const char *base, const char *rel, char **ret,
	const char *option, struct mt_err *err)
{
	MT_AUTO(mt_strfreep)
	char *path = *given ? mt_strdup(given) : mt_asprintf("%s/%s", base, rel);
	char whole[PATH_MAX];

	if (!realpath(path, whole))
		return mt_fail_errno(err, path, "is not there (%s)", option);
	*ret = mt_strdup(whole);
	return 0;
}

/* A path below the source tree (build/bin/../..) or below an installed prefix (bin/../share/meltemi). */
static int resolve_data(struct dev *d, const char *given, const char *rel, char **ret,
	const char *option, struct mt_err *err)
{
	MT_AUTO(mt_strfreep)
	char *installed = mt_asprintf("%s/../share/meltemi/%s", d->bin_dir, rel);
	MT_AUTO(mt_strfreep) char *source = mt_asprintf("../../%s", rel);

	if (!*given && access(installed, R_OK) == 0)
		return resolve_path(installed, "", "", ret, option, err);
	return resolve_path(given, d->bin_dir, source, ret, option, err);
}

int dev_resolve(struct dev *d, struct mt_err *err)
{
	char self[PATH_MAX], whole[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int r;

	if (n < 0)
		return mt_fail_errno(err, "/proc/self/exe", "cannot find this program");
	self[n] = 0;
	*strrchr(self, '/') = 0;
	if ((r = resolve_path(d->opts.bin_dir, self, ".", &d->bin_dir,
		     "--bin-dir says another place", err)) < 0 ||
		(r = resolve_data(d, d->opts.sample, "deploy/samples/bookshop", &d->sample,
			 "--sample says another place", err)) < 0 ||
		(r = resolve_data(d, d->opts.mesh, "deploy/local/mesh", &d->mesh,
			 "--mesh says another place", err)) < 0 ||
		(r = resolve_path(d->opts.envoy, d->bin_dir, "../envoy/envoy", &d->envoy,
			 "`make deps` installs it, --envoy says another place", err)) < 0)
		return r;
	if ((r = mt_dir_make(d->opts.dir, 0755, err)) < 0)
		return r;
	if (!realpath(d->opts.dir, whole))
		return mt_fail_errno(err, d->opts.dir, "no such folder");
	d->dir = mt_strdup(whole);
	return 0;
}

char *dev_stop_command(const struct dev *d)
{
	MT_AUTO(mt_strfreep) char *usual = mt_asprintf("%s/../mesh", d->bin_dir);
	char whole[PATH_MAX];

	if (realpath(usual, whole) && strcmp(whole, d->dir) == 0)
		return mt_strdup("`make down`");
	return mt_asprintf("`%s/meltemi dev --stop --dir=%s`", d->bin_dir, d->dir);
}

int dev_lock(struct dev *d, struct mt_err *err)
{
	MT_AUTO(mt_strfreep) char *path = dev_path(d, "lock");

	d->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (d->lock < 0)
		return mt_fail_errno(err, path, "cannot open the lock");
	if (flock(d->lock, LOCK_EX | LOCK_NB) < 0) {
		MT_AUTO(mt_strfreep) char *how = dev_stop_command(d);
		return mt_fail(err, MT_CONFLICT, d->dir,
			"a mesh runs in this folder already; %s stops it", how);
	}
	return 0;
}

/* ---- configuration ---- */

static void replace(struct mt_buf *text, const char *from, const char *to)
{
	struct mt_buf out = { 0 };
	const char *p = mt_buf_str(text), *at;

	while ((at = strstr(p, from))) {
		mt_buf_add(&out, p, (size_t)(at - p));
		mt_buf_adds(&out, to);
		p = at + strlen(from);
	}
	mt_buf_adds(&out, p);
	mt_buf_clear(text);
	*text = out;
}

/* The front page's own address stays 127.0.0.1; everywhere else that address is the daemons'. */
static void localize(const struct dev *d, const char *file, struct mt_buf *text)
{
	MT_AUTO(mt_strfreep) char *prefix = mt_asprintf("%s.", d->opts.prefix);
	MT_AUTO(mt_strfreep) char *control = mt_asprintf("%s:", d->opts.control_addr);
	MT_AUTO(mt_strfreep) char *port = mt_asprintf("number: %lld", (long long)d->opts.port);

	replace(text, "127.9.", prefix);
	replace(text, "127.0.0.1:", control);
	if (strcmp(file, "gateway.yaml") == 0)
		replace(text, "number: 8080", port);
}

static int copy_file(const struct dev *d, const char *from_dir, const char *to_dir,
	const char *name, struct mt_err *err)
{
	MT_AUTO(mt_strfreep) char *from = mt_asprintf("%s/%s", from_dir, name);
	MT_AUTO(mt_strfreep) char *to = dev_path(d, "%s/%s", to_dir, name);
	MT_AUTO(mt_buf_clear) struct mt_buf text = { 0 };
	int r = mt_file_read(from, 1 << 20, &text, err);

	if (r < 0)
		return r;
	localize(d, name, &text);
	return mt_file_replace(to, text.p, text.n, 0644, err);
}

static int copy_dir(const struct dev *d, const char *from, const char *to, struct mt_err *err)
{
	MT_AUTO(mt_strfreep) char *path = dev_path(d, "%s", to);
	int r = mt_dir_make(path, 0755, err);

	if (r < 0)
		return r;
	DIR *dir = opendir(from);
	if (!dir)
		return mt_fail_errno(err, from, "cannot read the configuration");
	for (struct dirent *e; r == 0 && (e = readdir(dir));)
		if (mt_str_suffix(e->d_name, ".yaml"))
			r = copy_file(d, from, to, e->d_name, err);
	closedir(dir);
	return r;
}

/* What an earlier mesh left in config/ goes (rules that were applied there), state and logs stay. */
static void clear_config(const struct dev *d)
{
	static const char *const subdirs[] = { "config", "config/applied" };

	for (size_t i = MT_ARRAY_SIZE(subdirs); i-- > 0;) {
		MT_AUTO(mt_strfreep) char *path = dev_path(d, "%s", subdirs[i]);
		DIR *dir = opendir(path);
		if (!dir)
			continue;
		for (struct dirent *e; (e = readdir(dir));)
			if (mt_str_suffix(e->d_name, ".yaml"))
				unlinkat(dirfd(dir), e->d_name, 0);
		closedir(dir);
	}
}

int dev_layout(struct dev *d, struct mt_err *err)
{
	static const struct {
		const char *name;
		unsigned mode;
	} dirs[] = { { "state", 0700 }, { "secrets", 0700 }, { "logs", 0755 } };
	MT_AUTO(mt_strfreep) char *services = mt_asprintf("%s/mesh", d->sample);
	MT_AUTO(mt_strfreep) char *try = mt_asprintf("%s/try", d->sample);
	int r;

	for (size_t i = 0; i < MT_ARRAY_SIZE(dirs); i++) {
		MT_AUTO(mt_strfreep) char *path = dev_path(d, "%s", dirs[i].name);
		if ((r = mt_dir_make(path, dirs[i].mode, err)) < 0)
			return r;
	}
	clear_config(d);
	if ((r = copy_dir(d, d->mesh, "config", err)) < 0 ||
		(r = copy_dir(d, services, "sample/mesh", err)) < 0)
		return r;
	return copy_dir(d, try, "sample/try", err);
}
