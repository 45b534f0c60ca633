#include <stdio.h>

#include "ctl/ctl.h"

int ctl_version(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("meltemi %s\n", MT_VERSION);
	return 0;
}

int ctl_fail(const char *command, const struct mt_err *err)
{
	fprintf(stderr, "meltemi %s: %s%s%s\n", command, err->path, err->path[0] ? ": " : "",
		err->msg);
	return 1;
}
