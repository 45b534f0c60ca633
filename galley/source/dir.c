/* A folder of YAML and JSON files, with its subfolders, watched.
 *
 * A scan puts the watch on a folder first and reads it then, so that nothing is missed between the
 * two. What it finds is compared with what is known: a file whose identity (device, inode, size,
 * times) is the same is not read again, unless a notification named it, because two writes within one
 * tick of the file system's clock leave the same identity. A hash decides whether the text is new.
 *
 * A scan of the whole folder costs a look at every file. When notifications named files and nothing
 * else, only those are looked at: one changed file costs the reading of one file.
 *
 * When to scan: a notification starts the gathering time (at most 10 ms, so a burst is one change);
 * the queue's overflow too; from time to time without any sign; and twice a second the folder itself
 * is looked at, because a symlink that leads to it, or a folder moved away and back, notifies nobody.
 *
 * A file that is being written (created or modified, not closed yet) is left as it was known: half of
 * it may be valid YAML. Symlinks to files are followed (mounted Kubernetes volumes swap them), symlinks
 * to folders inside are not, so there are no cycles; hidden names are skipped.
 */
#include "galley/source/dir.h"

#include <errno.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/mem.h"
#include "common/base/strs.h"

static const int64_t ROOT_LOOK_NS = 500 * MT_NS_PER_MS;
static const int64_t GATHER_MAX_NS = 10 * MT_NS_PER_MS;
static const int64_t WRITING_MAX_NS = 10 * MT_NS_PER_SEC;

static int64_t now(const struct dir *d)
{
	return mt_mono(mt_loop_clock(d->s.o.loop));
}

static void scan_soon(struct dir *d)
{
	if (d->since_ns)
		return;
	d->since_ns = now(d);
	mt_timer_start(d->gather, MT_MIN(d->s.o.gather_ns, GATHER_MAX_NS), 0);
}

bool galley_dir_writing(struct dir *d, const char *path)
{
	int64_t *since = mt_map_get(d->writing, path);

	if (!since)
		return false;
	if (now(d) - *since < WRITING_MAX_NS)
		return true;
	mt_free(mt_map_del(d->writing, path));
	return false;
}

static void writing_set(struct dir *d, const char *path, bool on)
{
	int64_t *since = mt_map_get(d->writing, path);

	if (!on) {
		mt_free(mt_map_del(d->writing, path));
		return;
	}
	if (!since) {
		since = MT_NEW(int64_t);
		mt_map_put(d->writing, path, since);
	}
	*since = now(d);
}

/* More than files by their names: the next scan reads the folders. Returns yes. */
static bool whole(struct dir *d, bool yes)
{
	d->whole = d->whole || yes;
	return yes;
}

/* True: worth a scan. */
static bool note(struct dir *d, const struct inotify_event *ev)
{
	char key[24];
	const char *folder;

	if (ev->mask & (IN_Q_OVERFLOW | IN_DELETE_SELF | IN_MOVE_SELF)) {
		d->reread = d->reread || (ev->mask & IN_Q_OVERFLOW);
		return whole(d, true);
	}
	snprintf(key, sizeof(key), "%d", ev->wd);
	if (ev->mask & IN_IGNORED) {
		mt_free(mt_map_del(d->folders, key));
		return false;
	}
	if (!ev->len || !(folder = mt_map_get(d->folders, key)))
		return whole(d, ev->mask & IN_ATTRIB);
	if (ev->mask & IN_ISDIR)
		return whole(d, true);
	if (!galley_dir_name_ok(
		    ev->name)) /* a symlink may lead there: "..data" of a mounted volume */
		return whole(d, d->links && ev->mask & (IN_MOVED_TO | IN_CREATE | IN_DELETE));
	char *path = mt_asprintf("%s/%s", folder, ev->name);
	bool open = ev->mask & (IN_CREATE | IN_MODIFY);
	if (open || (ev->mask & (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE)))
		writing_set(d, path, open);
	if (!open || (ev->mask & IN_CREATE))
		mt_map_put(d->touched, path, d);
	mt_free(path);
	return !(ev->mask & IN_MODIFY);
}

static void on_notified(uv_poll_t *h, int status, int events)
{
	struct dir *d = h->data;
	_Alignas(struct inotify_event) char buf[16384];
	bool scan = whole(d, status < 0);

	(void)events;
	for (;;) {
		ssize_t n = read(d->fd, buf, sizeof(buf));
		if (n <= 0)
			break;
		for (char *p = buf; p < buf + n;) {
			const struct inotify_event *ev = (const struct inotify_event *)p;
			scan = note(d, ev) || scan;
			p += sizeof(*ev) + ev->len;
		}
	}
	if (scan)
		scan_soon(d);
}

static void dir_scan(struct galley_source *s)
{
	struct dir *d = (struct dir *)s;

	if (!d->since_ns)
		d->since_ns = now(d);
	if (d->whole || !d->s.up || !galley_dir_look(d))
		galley_dir_scan(d);
	d->since_ns = 0;
	d->reread = d->whole = false;
}

static void on_gathered(void *arg)
{
	dir_scan(arg);
}

static void scan_whole_soon(struct dir *d)
{
	d->whole = true;
	scan_soon(d);
}

static void on_rescan(void *arg)
{
	scan_whole_soon(arg);
}

static void on_look(void *arg)
{
	struct dir *d = arg;
	struct stat st;
	bool there = stat(d->root, &st) == 0 && S_ISDIR(st.st_mode);

	if (there != d->s.up || (there && (st.st_ino != d->root_ino || st.st_dev != d->root_dev)))
		scan_whole_soon(d);
}

static int dir_open(const char *rest, const struct galley_source_opts *o,
	struct galley_source **ret, struct mt_err *err)
{
	size_t n = strlen(rest);

	if (!n)
		return mt_fail(err, MT_INVALID, "--source", "dir: needs a path");
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (fd < 0)
		return mt_fail_errno(err, "--source", "inotify");
	struct dir *d = MT_NEW(struct dir);
	while (n > 1 && rest[n - 1] == '/')
		n--;
	d->s.o = *o;
	d->root = mt_strndup(rest, n);
	d->fd = fd;
	d->folders = mt_map_new();
	d->known = mt_map_new();
	d->writing = mt_map_new();
	d->touched = mt_map_new();
	d->whole = true;
	d->poll = MT_NEW(uv_poll_t);
	uv_poll_init(mt_loop_uv(o->loop), d->poll, fd);
	d->poll->data = d;
	uv_poll_start(d->poll, UV_READABLE, on_notified);
	d->gather = mt_timer_new(o->loop, on_gathered, d);
	d->rescan = mt_timer_new(o->loop, on_rescan, d);
	d->look = mt_timer_new(o->loop, on_look, d);
	mt_timer_start(d->gather, 0, 0);
	mt_timer_start(d->rescan, o->rescan_ns, o->rescan_ns);
	mt_timer_start(d->look, ROOT_LOOK_NS, ROOT_LOOK_NS);
	*ret = &d->s;
	return 0;
}

static void poll_closed(uv_handle_t *h)
{
	mt_free(h);
}

static void dir_close(struct galley_source *s)
{
	struct dir *d = (struct dir *)s;

	uv_poll_stop(d->poll);
	uv_close((uv_handle_t *)d->poll, poll_closed);
	close(d->fd);
	mt_timer_free(d->gather);
	mt_timer_free(d->rescan);
	mt_timer_free(d->look);
	mt_map_free(d->folders, mt_free);
	mt_map_free(d->known, mt_free);
	mt_map_free(d->writing, mt_free);
	mt_map_free(d->touched, NULL);
	mt_free(d->root);
	mt_free(d);
}

static int dir_write(struct galley_source *s, const char *name, const void *p, size_t n,
	char **ret_name, struct mt_err *err)
{
	struct dir *d = (struct dir *)s;
	MT_AUTO(mt_strfreep) char *path = mt_asprintf("%s/%s", d->root, name);
	MT_AUTO(mt_strfreep) char *folder = mt_strdup(path);
	int r;

	*strrchr(folder, '/') = 0;
	if (!s->up)
		return mt_fail(err, MT_UNAVAILABLE, d->root, "the source is away");
	if ((r = mt_dir_make(folder, 0755, err)) < 0 ||
		(r = mt_file_replace(path, p, n, 0644, err)) < 0)
		return r;
	mt_map_put(d->touched, path, d);
	*ret_name = MT_TAKE(path);
	return 0;
}

static int dir_remove(struct galley_source *s, const char *full_name, struct mt_err *err)
{
	struct dir *d = (struct dir *)s;

	if (!mt_map_get(d->known, full_name))
		return mt_fail(err, MT_NOT_FOUND, full_name, "no such file");
	if (unlink(full_name) < 0)
		return mt_fail_errno(err, full_name, "unlink");
	mt_map_put(d->touched, full_name, d);
	return 0;
}

const struct galley_source_ops galley_source_dir = {
	.scheme = "dir",
	.open = dir_open,
	.close = dir_close,
	.scan = dir_scan,
	.write = dir_write,
	.remove = dir_remove,
};
