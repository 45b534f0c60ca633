#include "agent/pid_file.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"

int agent_pid_file_save(const char *path, const struct agent_pid_file *f, struct mt_err *err)
{
	json_t *j = json_pack("{s:i, s:I, s:s, s:I}", "pid", (int)f->id.pid, "start",
		(json_int_t)f->id.start, "boot", f->id.boot, "setup", (json_int_t)f->setup);
	char *text = json_dumps(j, 0);
	int r = mt_file_replace(path, text, strlen(text), 0600, err);

	json_decref(j);
	free(text);
	return r;
}

int agent_pid_file_load(const char *path, struct agent_pid_file *ret, struct mt_err *err)
{
	struct mt_buf text = { 0 };
	struct agent_pid_file f = { 0 };
	json_int_t start, setup;
	const char *boot;
	json_t *j = NULL;
	int pid, r;

	if ((r = mt_file_read(path, 4096, &text, err)) < 0)
		goto out;
	j = json_loadb(mt_buf_str(&text), text.n, 0, NULL);
	if (!j ||
		json_unpack(j, "{s:i, s:I, s:s, s:I}", "pid", &pid, "start", &start, "boot", &boot,
			"setup", &setup) < 0 ||
		pid <= 1 || strlen(boot) >= sizeof(f.id.boot)) {
		r = mt_fail(err, MT_INVALID, path, "is damaged");
		goto out;
	}
	f.id.pid = pid;
	f.id.start = (uint64_t)start;
	snprintf(f.id.boot, sizeof(f.id.boot), "%s", boot);
	f.setup = (uint64_t)setup;
	*ret = f;
out:
	mt_buf_clear(&text);
	json_decref(j);
	return r;
}
