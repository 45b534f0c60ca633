/* processes.json: what was started, each with its start time in clock ticks since boot (field 22 of
 * /proc/PID/stat), so that a process id that was used again is never ended. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/strs.h"
#include "common/base/vec.h"
#include "ctl/dev/dev.h"

/* The supervisor ends its groups one after the other, each with a grace of its own. */
enum { SUPERVISOR = -1, SUPERVISOR_GRACE_S = 60, GROUP_GRACE_S = 15 };

/* 0 when there is no such process. */
static unsigned long long start_time(int pid)
{
	char path[64], text[1024];
	unsigned long long t = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	FILE *f = fopen(path, "re");
	if (!f)
		return 0;
	size_t n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = 0;
	const char *p = strrchr(text, ')'); /* the name may hold anything */
	for (int field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	return p && sscanf(p, "%llu", &t) == 1 ? t : 0;
}

static json_t *row(const char *name, int pid, int group)
{
	return json_pack("{s:s, s:i, s:i, s:I}", "name", name, "pid", pid, "group", group, "start",
		(json_int_t)start_time(pid));
}

int dev_record(const struct dev *d, struct mt_err *err)
{
	MT_AUTO(mt_strfreep) char *path = dev_path(d, "processes.json");
	json_t *all = json_array();

	json_array_append_new(all, row("dev", (int)getpid(), SUPERVISOR));
	for (size_t i = 0; i < procs_count(d->procs); i++) {
		struct proc_info p = procs_info(d->procs, i);
		if (p.pid)
			json_array_append_new(all, row(p.name, p.pid, p.group));
	}
	char *text = json_dumps(all, JSON_INDENT(1));
	int r = mt_file_replace(path, text, strlen(text), 0644, err);
	free(text);
	json_decref(all);
	return r;
}

static json_t *load(const char *dir)
{
	MT_AUTO(mt_strfreep) char *path = mt_asprintf("%s/processes.json", dir);

	return json_load_file(path, 0, NULL);
}

static bool same_process(json_t *r)
{
	int pid = (int)json_integer_value(json_object_get(r, "pid"));
	unsigned long long t = (unsigned long long)json_integer_value(json_object_get(r, "start"));

	return pid > 1 && t && start_time(pid) == t;
}

/* A process file descriptor names the process for good: no id is reused under our hands. -1: gone. */
static int open_process(json_t *r)
{
	int fd =
		(int)syscall(SYS_pidfd_open, (int)json_integer_value(json_object_get(r, "pid")), 0);

	if (fd >= 0 && !same_process(r)) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool ended(int fd, int64_t until)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int64_t left = (until - mt_mono(&mt_clock_system)) / MT_NS_PER_MS;

	return poll(&p, 1, left > 0 ? (int)left : 0) > 0;
}

/* All of a group at once: agents drain side by side. Returns how many there were. */
static int end_group(json_t *all, int group, int grace_s)
{
	MT_VEC(int) fds = { 0 };
	int64_t until = mt_mono(&mt_clock_system) + grace_s * MT_NS_PER_SEC;
	json_t *r;
	size_t i;

	json_array_foreach(all, i, r)
	{
		if (json_integer_value(json_object_get(r, "group")) != group)
			continue;
		int fd = open_process(r);
		if (fd < 0)
			continue;
		syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0);
		mt_vec_push(&fds, fd);
	}
	int n = (int)fds.n;
	mt_vec_each (&fds, fd) {
		if (!ended(*fd, until)) {
			syscall(SYS_pidfd_send_signal, *fd, SIGKILL, NULL, 0);
			ended(*fd, until + GROUP_GRACE_S * MT_NS_PER_SEC);
		}
		close(*fd);
	}
	mt_vec_clear(&fds);
	return n;
}

int dev_end_recorded(const char *dir, struct mt_err *err)
{
	json_t *all = load(dir), *r;
	int n = 0, top = 0;
	size_t i;

	if (!all)
		return mt_fail(err, MT_NOT_FOUND, dir, "no mesh was started in this folder");
	json_array_foreach(all, i, r) top =
		MT_MAX(top, (int)json_integer_value(json_object_get(r, "group")));
	/* The supervisor stops its own; what is left of them is stopped as it would have been. */
	n += end_group(all, SUPERVISOR, SUPERVISOR_GRACE_S);
	for (int group = top; group >= 0; group--)
		n += end_group(all, group, GROUP_GRACE_S);
	json_decref(all);
	MT_AUTO(mt_strfreep) char *path = mt_asprintf("%s/processes.json", dir);
	unlink(path);
	return n;
}

int dev_status(const char *dir)
{
	json_t *all = load(dir), *r;
	size_t i;
	int alive = 0;

	json_array_foreach(all, i, r)
	{
		bool on = same_process(r);
		alive += on;
		printf("%-24s %8lld  %s\n", json_string_value(json_object_get(r, "name")),
			(long long)json_integer_value(json_object_get(r, "pid")),
			on ? "running" : "ended");
	}
	json_decref(all);
	if (!alive)
		printf("no mesh runs in %s\n", dir);
	return alive ? 0 : 1;
}
