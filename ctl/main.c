/* meltemi: the operator's command. */
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *args;
	const char *help;
} commands[] = {
#define COMMAND(name, fn, args, help) { name, fn, args, help },
#include "ctl/commands.def"
#undef COMMAND
};

static void usage(FILE *f)
{
	fprintf(f, "meltemi COMMAND [ARGUMENTS]\n\n");
	for (size_t i = 0; i < MT_ARRAY_SIZE(commands); i++)
		fprintf(f, "  %-14s %-30s %s\n", commands[i].name, commands[i].args,
			commands[i].help);
	fprintf(f, "\n`meltemi COMMAND --help` says more.\n");
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		usage(stderr);
		return 2;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
		strcmp(argv[1], "help") == 0) {
		usage(stdout);
		return 0;
	}
	const char *name = strcmp(argv[1], "--version") == 0 ? "version" : argv[1];
	for (size_t i = 0; i < MT_ARRAY_SIZE(commands); i++)
		if (strcmp(name, commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	fprintf(stderr, "meltemi: unknown command \"%s\" (meltemi help lists them)\n", argv[1]);
	return 2;
}
