/* Configuration objects in files, and Galley's REST of objects. For commands; one thread. */
#pragma once

#include <jansson.h>

#include "common/run/options.h"
#include "common/schema/decode.h"

struct object_options {
#define OPT MT_OPT_MEMBER
#include "ctl/object_options.def"
#undef OPT
};

/* -f, -n and -o are short for --file, --namespace and --output. As mt_options_parse(). Prints errors
 * and returns 2 for misuse, 0 with *ret_o NULL after --help. */
int ctl_object_options(const char *command, const char *usage, int argc, char **argv,
	struct object_options *v, struct mt_options **ret_o);

/* Refuses (printed) what has no meaning beside -f: further arguments, such as the files of a pattern that
 * the shell spelt out after the first, and -n. */
int ctl_only_files(const char *command, const struct object_options *v, const struct mt_options *o);
/* Prints that there is no such kind, and the one that was perhaps meant. Returns 2. */
int ctl_no_kind(const char *command, const char *word);

/* Decodes and validates the files of -f. Prints every fault to stderr. The objects that are fine go to
 * out; returns how many faults there were, or a negative code (printed) when a file cannot be read, or
 * nothing is in them. */
int ctl_objects_read(const char *command, const struct mt_strlist *files, struct mt_objects *out);

/* PUT of one object. */
int ctl_object_put(const char *galley, const struct mt_object *o, struct mt_err *err);
/* "GALLEY/v1/objects/KIND/NS/NAME"; ns "" and name NULL leave their parts out. Heap. */
char *ctl_object_url(const char *galley, const struct mt_kind *k, const char *ns, const char *name);
