/* One scan of a folder: see dir.c for when and why. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "galley/source/dir.h"

enum { FOLDER_DEPTH_MAX = 16 };
enum {
	WATCH_MASK = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE |
		IN_MODIFY | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR
};

bool galley_dir_name_ok(const char *name)
{
	return *name != '.' &&
		(mt_str_suffix(name, ".yaml") || mt_str_suffix(name, ".yml") ||
			mt_str_suffix(name, ".json"));
}

static void tell_unreadable(struct dir *d, const char *path, struct known_file *k, const char *what)
{
	struct mt_err err = { .code = MT_IO };

	snprintf(err.msg, sizeof(err.msg), "%s", what);
	if (!k->failed)
		d->s.o.events->unreadable(d->s.o.ctx, &d->s, path, &err);
	k->failed = true;
	k->hash = 0;
}

static struct known_file *known_get(struct dir *d, const char *path)
{
	struct known_file *k = mt_map_get(d->known, path);

	if (!k) {
		k = MT_NEW(struct known_file);
		mt_map_put(d->known, path, k);
	}
	k->seen = d->s.scans;
	return k;
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool same_file(const struct known_file *k, const struct stat *st)
{
	return k->dev == st->st_dev && k->ino == st->st_ino && k->size == st->st_size &&
		same_time(k->mtime, st->st_mtim) && same_time(k->ctime, st->st_ctim);
}

/* Reads an open regular file whole. */
static int read_whole(int fd, size_t limit, struct mt_buf *out)
{
	char chunk[65536];
	ssize_t n;

	while ((n = read(fd, chunk, sizeof(chunk))) > 0) {
		mt_buf_add(out, chunk, (size_t)n);
		if (out->n > limit)
			return -EFBIG;
	}
	return n < 0 ? -errno : 0;
}

static void file_read(struct dir *d, const char *path, struct known_file *k)
{
	struct mt_buf text = { 0 };
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0) {
		tell_unreadable(d, path, k, strerror(errno));
		return;
	}
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		tell_unreadable(d, path, k, "not a regular file");
		return;
	}
	int r = read_whole(fd, d->s.o.max_file, &text);
	close(fd);
	if (r < 0) {
		tell_unreadable(d, path, k, r == -EFBIG ? "larger than --max-file" : strerror(-r));
	} else {
		uint64_t hash = mt_hash(mt_buf_str(&text), text.n);
		hash += !hash;
		if (hash != k->hash)
			d->s.o.events->text(d->s.o.ctx, &d->s, path, mt_buf_str(&text), text.n);
		k->hash = hash;
		k->failed = false;
	}
	k->dev = st.st_dev;
	k->ino = st.st_ino;
	k->size = st.st_size;
	k->mtime = st.st_mtim;
	k->ctime = st.st_ctim;
	mt_buf_clear(&text);
}

enum look { LOOK_DONE, LOOK_GONE, LOOK_WRITING };

static enum look file_look(struct dir *d, const char *path, bool touched)
{
	struct known_file *k;
	struct stat st, link;

	if (lstat(path, &link) < 0)
		return LOOK_GONE;
	if (S_ISREG(link.st_mode) && link.st_nlink == 1 && galley_dir_writing(d, path)) {
		if (mt_map_get(d->known, path))
			known_get(d, path);
		return LOOK_WRITING;
	}
	k = known_get(d, path);
	d->links = d->links - k->link + S_ISLNK(link.st_mode);
	k->link = S_ISLNK(link.st_mode);
	if (stat(path, &st) < 0) {
		tell_unreadable(d, path, k, strerror(errno));
		return LOOK_DONE;
	}
	if (d->reread || !same_file(k, &st) || touched)
		file_read(d, path, k);
	return LOOK_DONE;
}

static void folder_watch(struct dir *d, const char *path)
{
	int wd = inotify_add_watch(d->fd, path, WATCH_MASK);
	char key[24];

	if (wd < 0)
		return; /* the limit of watches: the rescan finds changes later */
	snprintf(key, sizeof(key), "%d", wd);
	const char *was = mt_map_get(d->folders, key);
	if (!mt_streq(was, path))
		mt_free(mt_map_put(d->folders, key, mt_strdup(path)));
}

/* A folder that cannot be read keeps what was known below it. */
static void folder_unreadable(struct dir *d, const char *path)
{
	struct mt_map_it it = { 0 };
	size_t n = strlen(path);

	while (mt_map_next(d->known, &it))
		if (strncmp(it.key, path, n) == 0 && it.key[n] == '/')
			((struct known_file *)it.value)->seen = d->s.scans;
}

/* -> 0 or -errno of opening it. */
static int folder_scan(struct dir *d, const char *path, int depth)
{
	folder_watch(d, path);
	DIR *dp = opendir(path);
	if (!dp)
		return -errno;
	for (struct dirent *e; (e = readdir(dp));) {
		if (*e->d_name == '.')
			continue;
		char *child = mt_asprintf("%s/%s", path, e->d_name);
		struct stat st;
		bool folder = e->d_type == DT_DIR ||
			(e->d_type == DT_UNKNOWN && lstat(child, &st) == 0 && S_ISDIR(st.st_mode));
		if (folder && depth < FOLDER_DEPTH_MAX) {
			if (folder_scan(d, child, depth + 1) < 0)
				folder_unreadable(d, child);
		} else if (!folder && galley_dir_name_ok(e->d_name)) {
			file_look(d, child, mt_map_get(d->touched, child) != NULL);
		}
		mt_free(child);
	}
	closedir(dp);
	return 0;
}

static void forget(struct dir *d, const char *path)
{
	const struct known_file *k = mt_map_get(d->known, path);

	if (!k)
		return;
	d->links -= k->link;
	d->s.o.events->gone(d->s.o.ctx, &d->s, path);
	mt_free(mt_map_del(d->known, path));
}

static void forget_gone(struct dir *d)
{
	struct mt_map_it it = { 0 };

	while (mt_map_next(d->known, &it))
		if (((struct known_file *)it.value)->seen != d->s.scans)
			forget(d, it.key);
}

static void away(struct dir *d, int error)
{
	struct mt_err err = { .code = MT_IO };

	snprintf(err.path, sizeof(err.path), "%s", d->root);
	snprintf(err.msg, sizeof(err.msg), "%s", strerror(error));
	bool news = d->s.up || !mt_streq(d->s.why, err.msg);
	d->s.up = false;
	mt_free(d->s.why);
	d->s.why = mt_strdup(err.msg);
	if (news)
		d->s.o.events->away(d->s.o.ctx, &d->s, &err);
}

void galley_dir_scan(struct dir *d)
{
	struct stat st;

	d->s.scans++;
	if (stat(d->root, &st) < 0) {
		away(d, errno);
		return;
	}
	int r = folder_scan(d, d->root, 0);
	if (r < 0) {
		away(d, -r);
		return;
	}
	d->root_dev = st.st_dev;
	d->root_ino = st.st_ino;
	/* Vanished while it was read: an incomplete reading is none. */
	if (stat(d->root, &st) < 0) {
		away(d, errno);
		return;
	}
	forget_gone(d);
	mt_map_free(d->touched, NULL);
	d->touched = mt_map_new();
	d->s.up = true;
	d->s.settled = true;
	mt_free(d->s.why);
	d->s.why = NULL;
	d->s.o.events->settled(d->s.o.ctx, &d->s, d->since_ns);
}

bool galley_dir_look(struct dir *d)
{
	struct mt_map *touched = d->touched;
	struct mt_map_it it = { 0 };
	struct stat st;

	if (stat(d->root, &st) < 0 || st.st_dev != d->root_dev || st.st_ino != d->root_ino)
		return false;
	d->touched = mt_map_new();
	while (mt_map_next(touched, &it)) {
		enum look l = file_look(d, it.key, true);
		if (l == LOOK_GONE)
			forget(d, it.key);
		else if (l == LOOK_WRITING)
			mt_map_put(d->touched, it.key, d); /* again, when it is closed or stale */
	}
	mt_map_free(touched, NULL);
	d->s.o.events->settled(d->s.o.ctx, &d->s, d->since_ns);
	return true;
}
