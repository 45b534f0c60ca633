/* Commands of `meltemi`: each a function in a file of its own and a row in commands.def.
 * argv[0] is the command's name. The result is the exit status: 0 done, 1 failed, 2 misused. */
#pragma once

#include "common/base/err.h"

#define COMMAND(name, fn, args, help) int fn(int argc, char **argv);
#include "ctl/commands.def"
#undef COMMAND

/* Prints "meltemi COMMAND: path: message" to stderr. Returns 1. */
int ctl_fail(const char *command, const struct mt_err *err);
