/* The file of options and one flag: anything is taken or refused with a place. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/run/options.h"

struct opts {
	const char *name;
	bool flag;
	int64_t count, time, size;
	struct mt_strlist list;
};

/* clang-format off */
static const struct mt_opt rows[] = {
	MT_OPT_ROW(struct opts, STR, name, "x", "NAME", "")
	MT_OPT_ROW(struct opts, BOOL, flag, "", "", "")
	MT_OPT_ROW(struct opts, INT, count, "1", "-5..1000", "")
	MT_OPT_ROW(struct opts, DURATION, time, "1s", "DURATION", "")
	MT_OPT_ROW(struct opts, SIZE, size, "1K", "SIZE", "")
	MT_OPT_ROW(struct opts, LIST, list, "a,b", "THING", "")
};
/* clang-format on */

static void parse(char *flag, char *value)
{
	char *argv[] = { (char *)"fuzz", flag, value, NULL };
	struct mt_options *o = NULL;
	struct mt_err err = { 0 };
	struct opts v = { 0 };
	int r;

	r = mt_options_parse(
		"fuzz", "usage", rows, MT_ARRAY_SIZE(rows), &v, value ? 3 : 2, argv, &o, &err);
	if (r == 0) {
		if (v.count < -5 || v.count > 1000 || v.time < 0 || v.size < 0 || !v.name)
			abort();
		json_decref(mt_options_json(o));
		mt_options_free(o);
	} else if (!*err.msg || (r == MT_INVALID && !*err.path)) {
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	char path[64], *text = mt_strndup((const char *)p, n);
	int fd = memfd_create("options", MFD_CLOEXEC);

	if (fd < 0 || write(fd, p, n) != (ssize_t)n)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	parse((char *)"--config", path);
	close(fd);
	if (strcmp(text, "--help") != 0 && strcmp(text, "-h") != 0 &&
		strcmp(text, "--version") != 0)
		parse(text, NULL);
	mt_free(text);
	return 0;
}
