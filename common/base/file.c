#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"

static void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* Non-blocking, so that a FIFO that somebody left in a watched folder cannot hang the reader. */
static int open_regular(const char *path, int *ret_fd, struct mt_err *err)
{
	MT_AUTO(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0)
		return mt_fail_errno(err, path, "cannot open");
	if (fstat(fd, &st) < 0)
		return mt_fail_errno(err, path, "cannot stat");
	if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode))
		return mt_fail(err, MT_INVALID, path, "is not a regular file");
	*ret_fd = fd;
	fd = -1;
	return 0;
}

int mt_file_read(const char *path, size_t limit, struct mt_buf *out, struct mt_err *err)
{
	MT_AUTO(mt_buf_clear) struct mt_buf b = { 0 };
	MT_AUTO(closep) int fd = -1;
	int r = open_regular(path, &fd, err);

	if (r < 0)
		return r;
	for (;;) {
		ssize_t got;

		mt_buf_reserve(&b, MT_MAX(b.n, (size_t)16384)); /* doubling */
		got = read(fd, b.p + b.n, b.cap - b.n - 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return mt_fail_errno(err, path, "cannot read");
		if (got == 0)
			break;
		b.n += (size_t)got;
		if (b.n > limit)
			return mt_fail(err, MT_LIMIT, path, "is larger than %zu bytes", limit);
	}
	mt_buf_add(out, b.p, b.n);
	return 0;
}

/* "/a/b" gives "/a", "b" gives ".". */
static char *parent(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return mt_strdup(".");
	return slash == path ? mt_strdup("/") : mt_strndup(path, (size_t)(slash - path));
}

static int write_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t w = write(fd, p, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return -1;
		p += w;
		n -= (size_t)w;
	}
	return 0;
}

static int sync_dir(const char *dir, struct mt_err *err)
{
	MT_AUTO(closep) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return mt_fail_errno(err, dir, "cannot open folder");
	/* Some file systems cannot sync a folder and say EINVAL: nothing is lost by that. */
	if (fsync(fd) < 0 && errno != EINVAL)
		return mt_fail_errno(err, dir, "cannot sync folder");
	return 0;
}

/* Writes and syncs the new content in tmp (a template), which is left behind on success only. */
static int write_aside(
	char *tmp, const char *path, const void *p, size_t n, unsigned mode, struct mt_err *err)
{
	MT_AUTO(closep) int fd = mkostemp(tmp, O_CLOEXEC);
	int r = 0;

	if (fd < 0)
		return mt_fail_errno(err, path, "cannot write aside");
	if (fchmod(fd, mode) < 0)
		r = mt_fail_errno(err, path, "cannot set mode");
	else if (write_all(fd, p, n) < 0)
		r = mt_fail_errno(err, path, "cannot write");
	else if (fsync(fd) < 0)
		r = mt_fail_errno(err, path, "cannot sync");
	if (r < 0)
		unlink(tmp);
	return r;
}

int mt_file_replace(const char *path, const void *p, size_t n, unsigned mode, struct mt_err *err)
{
	MT_AUTO(mt_strfreep) char *dir = parent(path);
	const char *slash = strrchr(path, '/');
	/* A leading dot: who watches the folder skips it. */
	MT_AUTO(mt_strfreep)
	char *tmp = mt_asprintf("%s/.%s.XXXXXX", dir, slash ? slash + 1 : path);
	int r = write_aside(tmp, path, p, n, mode, err);

	if (r < 0)
		return r;
	if (rename(tmp, path) < 0) {
		r = mt_fail_errno(err, path, "cannot replace");
		unlink(tmp);
		return r;
	}
	return sync_dir(dir, err);
}

int mt_dir_make(const char *path, unsigned mode, struct mt_err *err)
{
	MT_AUTO(mt_strfreep) char *copy = mt_strdup(path);
	struct stat st;

	for (char *p = copy + (*copy == '/');; p++) {
		char c = *p;

		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		if (*copy && mkdir(copy, mode) < 0 && errno != EEXIST)
			return mt_fail_errno(err, copy, "cannot make folder");
		*p = c;
		if (!c)
			break;
	}
	if (stat(path, &st) < 0)
		return mt_fail_errno(err, path, "cannot stat");
	if (!S_ISDIR(st.st_mode))
		return mt_fail(err, MT_IO, path, "is not a folder");
	return 0;
}
