/* The ledger. A line is one write(2) to a file opened for appending, so lines of several threads do
 * not mix and a crash loses at most what was not fsynced. An entry is written before its certificate
 * is handed out: a certificate that is not in the ledger was never used. (A power cut may lose the
 * last group: the ledger is a record for people, nothing is decided by it.) */
#include "citadel/serve/ledger.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/strs.h"

struct citadel_ledger {
	char *path;
	int64_t max_bytes;
	int files;
	pthread_mutex_t lock; /* guards everything below */
	int fd;
	int64_t size;
	bool dirty;
	json_t *recent[CITADEL_LEDGER_RECENT]; /* ring */
	uint64_t added;
};

static int open_file(struct citadel_ledger *l, struct mt_err *err)
{
	struct stat st;

	l->fd = open(l->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (l->fd < 0 || fstat(l->fd, &st) < 0)
		return mt_fail_errno(err, l->path, "cannot open the ledger");
	l->size = st.st_size;
	return 0;
}

int citadel_ledger_open(const char *dir, int64_t max_bytes, int files, struct citadel_ledger **ret,
	struct mt_err *err)
{
	MT_AUTO(citadel_ledger_closep) struct citadel_ledger *l = MT_NEW(struct citadel_ledger);
	int r;

	pthread_mutex_init(&l->lock, NULL);
	l->path = mt_asprintf("%s/ledger", dir);
	l->max_bytes = max_bytes;
	l->files = files;
	l->fd = -1;
	if ((r = open_file(l, err)) < 0)
		return r;
	*ret = MT_TAKE(l);
	return 0;
}

void citadel_ledger_close(struct citadel_ledger *l)
{
	if (!l)
		return;
	citadel_ledger_sync(l);
	if (l->fd >= 0)
		close(l->fd);
	for (size_t i = 0; i < CITADEL_LEDGER_RECENT; i++)
		json_decref(l->recent[i]);
	pthread_mutex_destroy(&l->lock);
	mt_free(l->path);
	mt_free(l);
}

/* ledger.2 -> ledger.3, ledger.1 -> ledger.2, ledger -> ledger.1; the oldest is overwritten. */
static int rotate(struct citadel_ledger *l, struct mt_err *err)
{
	fdatasync(l->fd);
	close(l->fd);
	l->fd = -1;
	for (int i = l->files - 1; i >= 1; i--) {
		MT_AUTO(mt_strfreep) char *to = mt_asprintf("%s.%d", l->path, i);
		MT_AUTO(mt_strfreep)
		char *from = i == 1 ? mt_strdup(l->path) : mt_asprintf("%s.%d", l->path, i - 1);

		rename(from, to);
	}
	if (l->files == 1)
		unlink(l->path);
	return open_file(l, err);
}

static json_t *entry_json(const struct citadel_issue *i)
{
	char at[32], until[32];

	mt_time_format(i->at_ns, at, sizeof(at));
	mt_time_format(i->until_ns, until, sizeof(until));
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "time", at, "serial", i->serial, "id",
		i->id, "until", until, "by", i->method, "peer", i->peer);
}

/* Under the lock. */
static int write_line(struct citadel_ledger *l, const char *line, size_t n, struct mt_err *err)
{
	int r;

	if (l->fd >= 0 && l->size + (int64_t)n > l->max_bytes && l->size > 0 &&
		(r = rotate(l, err)) < 0)
		return r;
	if (l->fd < 0 && (r = open_file(l, err)) < 0)
		return r;
	if (write(l->fd, line, n) != (ssize_t)n)
		return mt_fail_errno(err, l->path, "cannot write to the ledger");
	l->size += (int64_t)n;
	l->dirty = true;
	return 0;
}

int citadel_ledger_add(struct citadel_ledger *l, const struct citadel_issue *i, struct mt_err *err)
{
	json_t *j = entry_json(i);
	char *text = j ? json_dumps(j, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
	MT_AUTO(mt_strfreep) char *line = NULL;
	size_t at;
	int r;

	if (!text) {
		json_decref(j);
		return mt_fail(err, MT_INTERNAL, "ledger", "an entry is not UTF-8");
	}
	line = mt_asprintf("%s\n", text);
	free(text);
	pthread_mutex_lock(&l->lock);
	if ((r = write_line(l, line, strlen(line), err)) == 0) {
		at = l->added++ % CITADEL_LEDGER_RECENT;
		json_decref(l->recent[at]);
		l->recent[at] = MT_TAKE(j);
	}
	pthread_mutex_unlock(&l->lock);
	json_decref(j);
	return r;
}

void citadel_ledger_sync(struct citadel_ledger *l)
{
	int fd = -1;

	pthread_mutex_lock(&l->lock);
	if (l->dirty && l->fd >= 0)
		fd = fcntl(l->fd, F_DUPFD_CLOEXEC, 0);
	l->dirty = false;
	pthread_mutex_unlock(&l->lock);
	if (fd < 0)
		return;
	fdatasync(fd);
	close(fd);
}

json_t *citadel_ledger_recent(struct citadel_ledger *l, size_t limit, const char *id)
{
	json_t *list = json_array();

	pthread_mutex_lock(&l->lock);
	for (uint64_t k = 0; k < CITADEL_LEDGER_RECENT && k < l->added; k++) {
		json_t *j = l->recent[(l->added - 1 - k) % CITADEL_LEDGER_RECENT];

		if (id && !mt_streq(id, json_string_value(json_object_get(j, "id"))))
			continue;
		if (json_array_size(list) >= limit)
			break;
		/* A copy: the counts of jansson's values are not safe to share between threads. */
		json_array_append_new(list, json_deep_copy(j));
	}
	pthread_mutex_unlock(&l->lock);
	return list;
}
