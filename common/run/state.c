/* State on disk.
 *
 * One process owns a state folder: it holds flock() on STATE/lock, which the kernel releases however
 * the process ends; the pid in it is only for the message. A record is a file with a header of 32
 * bytes (magic, format version, length, XXH3 of the payload), written aside, synced and renamed, so
 * a reader sees the old or the new one. Anything else (torn by a dying disk, edited, foreign) is
 * noticed by the header and set aside as <record>.bad, for a human to look at: the owner goes on as
 * if there were none. */
#include "common/run/state.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/strs.h"

enum { FORMAT = 1, RECORD_NAME_MAX = 128 };
static const size_t record_max = (size_t)1 << 30;

struct header {
	char magic[8];
	uint32_t format; /* all little endian */
	uint32_t unused;
	uint64_t length;
	uint64_t hash;
};
_Static_assert(sizeof(struct header) == 32, "header layout");
static const char magic[8] = "MELTEMI";

struct mt_state {
	char *dir;
	int lock_fd;
};

static long owner_pid(int fd)
{
	char text[32] = "";
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	return n > 0 ? strtol(text, NULL, 10) : 0;
}

static int take_lock(int fd, const char *path, struct mt_err *err)
{
	char text[32];
	int n;

	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK)
			return mt_fail(err, MT_CONFLICT, path,
				"the state folder is in use by process %ld", owner_pid(fd));
		return mt_fail_errno(err, path, "cannot lock");
	}
	n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n)
		return mt_fail_errno(err, path, "cannot write the lock file");
	return 0;
}

int mt_state_open(const char *dir, struct mt_state **ret, struct mt_err *err)
{
	MT_AUTO(mt_strfreep) char *path = mt_asprintf("%s/lock", dir);
	struct mt_state *s;
	int r, fd;

	if ((r = mt_dir_make(dir, 0700, err)) < 0)
		return r;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return mt_fail_errno(err, path, "cannot open the lock file");
	if ((r = take_lock(fd, path, err)) < 0) {
		close(fd);
		return r;
	}
	s = MT_NEW(struct mt_state);
	s->dir = mt_strdup(dir);
	s->lock_fd = fd;
	*ret = s;
	return 0;
}

void mt_state_close(struct mt_state *s)
{
	if (!s)
		return;
	/* The file stays: removing it would let two owners lock two files of one name. */
	close(s->lock_fd);
	mt_free(s->dir);
	mt_free(s);
}

const char *mt_state_dir(const struct mt_state *s)
{
	return s->dir;
}

/* Record names become file names: nothing that leaves the folder, hides, or is ours. */
static int record_path(
	const struct mt_state *s, const char *record, char **ret_path, struct mt_err *err)
{
	size_t n =
		strspn(record, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

	if (!n || record[n] || n > RECORD_NAME_MAX || record[0] == '.' ||
		mt_streq(record, "lock") || mt_str_suffix(record, ".bad"))
		return mt_fail(err, MT_INVALID, s->dir, "'%s' cannot name a record", record);
	*ret_path = mt_asprintf("%s/%s", s->dir, record);
	return 0;
}

int mt_state_save(
	struct mt_state *s, const char *record, const void *p, size_t n, struct mt_err *err)
{
	MT_AUTO(mt_buf_clear) struct mt_buf b = { 0 };
	MT_AUTO(mt_strfreep) char *path = NULL;
	struct header h = {
		.format = htole32(FORMAT), .length = htole64(n), .hash = htole64(mt_hash(p, n))
	};
	int r = record_path(s, record, &path, err);

	if (r < 0)
		return r;
	if (n > record_max)
		return mt_fail(err, MT_LIMIT, path, "%zu bytes are too many for a record", n);
	memcpy(h.magic, magic, sizeof(magic));
	mt_buf_reserve(&b, sizeof(h) + n);
	mt_buf_add(&b, &h, sizeof(h));
	mt_buf_add(&b, p, n);
	return mt_file_replace(path, b.p, b.n, 0600, err);
}

/* NULL when sound, else what is wrong. */
static const char *damage(const struct mt_buf *b)
{
	struct header h;

	if (b->n < sizeof(h))
		return "is cut short";
	memcpy(&h, b->p, sizeof(h));
	if (memcmp(h.magic, magic, sizeof(magic)) != 0)
		return "is not a state record";
	if (le32toh(h.format) != FORMAT)
		return "has an unknown format version";
	if (le64toh(h.length) != b->n - sizeof(h))
		return "has not the length that it states";
	if (le64toh(h.hash) != mt_hash(b->p + sizeof(h), b->n - sizeof(h)))
		return "does not match its checksum";
	return NULL;
}

int mt_state_load(struct mt_state *s, const char *record, struct mt_buf *out, struct mt_err *err)
{
	MT_AUTO(mt_buf_clear) struct mt_buf b = { 0 };
	MT_AUTO(mt_strfreep) char *path = NULL;
	MT_AUTO(mt_strfreep) char *aside = NULL;
	const char *what;
	int r = record_path(s, record, &path, err);

	if (r < 0)
		return r;
	r = mt_file_read(path, record_max + sizeof(struct header), &b, err);
	if (r < 0)
		return r;
	what = damage(&b);
	if (!what) {
		mt_buf_add(out, b.p + sizeof(struct header), b.n - sizeof(struct header));
		return 0;
	}
	aside = mt_asprintf("%s.bad", path);
	if (rename(path, aside) < 0)
		return mt_fail(err, MT_INVALID, path, "%s, and cannot be set aside", what);
	return mt_fail(err, MT_INVALID, path, "%s; set aside as %s.bad", what, record);
}

int mt_state_remove(struct mt_state *s, const char *record, struct mt_err *err)
{
	MT_AUTO(mt_strfreep) char *path = NULL;
	int r = record_path(s, record, &path, err);

	if (r < 0)
		return r;
	if (unlink(path) < 0)
		return mt_fail_errno(err, path, "cannot remove");
	return 0;
}
