/* Options of a daemon or command, one row each in its options.def:
 *
 *   OPT(STR,  state_dir, "/var/lib/meltemi/pilot", "DIR", "where last good state is kept")
 *   OPT(LIST, source, "", "URL", "configuration source, repeatable: dir:PATH")
 *
 * A row becomes a member of `struct pilot_options` (through X-macros in the daemon's options.h), the
 * flag --state-dir, the variable MELTEMI_PILOT_STATE_DIR, the line `state-dir = ...` of --config
 * FILE, a line of --help and of /debug/options with its source. Later beats earlier: default, file,
 * environment, flag. Member types: STR const char * ("" when unset), BOOL bool, INT int64_t,
 * DURATION int64_t nanoseconds, SIZE int64_t bytes ("64M"), LIST struct mt_strlist.
 *
 *   // pilot/options.h
 *   struct pilot_options {
 *   #define OPT MT_OPT_MEMBER
 *   #include "pilot/options.def"
 *   #undef OPT
 *   };
 *   // in one .c
 *   static const struct mt_opt rows[] = {
 *   #define OPT(...) MT_OPT_ROW(struct pilot_options, __VA_ARGS__)
 *   #include "pilot/options.def"
 *   #undef OPT
 *   };
 */
#pragma once

#include <jansson.h>

#include "common/base/err.h"
#include "common/base/macros.h"

struct mt_strlist {
	const char **v;
	size_t n;
};

enum mt_opt_type { MT_OPT_STR, MT_OPT_BOOL, MT_OPT_INT, MT_OPT_DURATION, MT_OPT_SIZE, MT_OPT_LIST };

struct mt_opt {
	enum mt_opt_type type;
	const char *name; /* member name; the flag has '-' for '_' */
	const char *def;  /* default, as text */
	const char
		*arg; /* what --help calls the value, "" for BOOL; "1..64" style for INT ranges */
	const char *help;
	size_t offset;
};

#define MT_OPT_CTYPE_STR const char *
#define MT_OPT_CTYPE_BOOL bool
#define MT_OPT_CTYPE_INT int64_t
#define MT_OPT_CTYPE_DURATION int64_t
#define MT_OPT_CTYPE_SIZE int64_t
#define MT_OPT_CTYPE_LIST struct mt_strlist
#define MT_OPT_MEMBER(t, n, d, a, h) MT_OPT_CTYPE_##t n;
#define MT_OPT_ROW(S, t, n, d, a, h) { MT_OPT_##t, #n, d, a, h, offsetof(S, n) },

struct mt_options; /* owns the strings and knows each value's source */

/* Parses into *values (a struct of the rows' members). program is "pilot": prefix of the variables
 * is MELTEMI_PILOT_. Rest arguments (not flags) are kept. --help prints and returns MT_CANCELLED.
 * MT_INVALID names the flag, variable or file line. values stays valid until mt_options_free(). */
int mt_options_parse(const char *program, const char *usage, const struct mt_opt *rows, size_t n,
	void *values, int argc, char **argv, struct mt_options **ret, struct mt_err *err);
void mt_options_free(struct mt_options *o);
/* Somebody set it: it is not just the default. name: of the row. */
bool mt_options_said(const struct mt_options *o, const char *name);
size_t mt_options_rest(const struct mt_options *o, const char *const **ret_v);
json_t *mt_options_json(const struct mt_options
		*o); /* [{name, value, source}], secrets not masked: none are options */
