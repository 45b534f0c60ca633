/* wait: until what files say is in force on every proxy, or the reason why it is not.
 *
 * Pilot is asked again and again: soon at first, since most changes take a few milliseconds, then less
 * often. An object is there when its newest generation has the content of the
 * file, is the one in force, and no proxy is behind. One that a proxy refused will not come by waiting:
 * that ends it at once. What of it has no effect, and why, is said below it and is nothing to wait for.
 * Kinds that Pilot does not read are not its business. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "ctl/ctl.h"
#include "ctl/objects.h"
#include "ctl/status.h"
#include "ctl/wait.h"

#define FIRST_PAUSE (10 * MT_NS_PER_MS)
#define LONGEST_PAUSE (200 * MT_NS_PER_MS)

struct wait_options {
#define OPT MT_OPT_MEMBER
#include "ctl/wait_options.def"
#undef OPT
};

static const struct mt_opt rows[] = {
#define OPT(...) MT_OPT_ROW(struct wait_options, __VA_ARGS__)
#include "ctl/wait_options.def"
#undef OPT
};

enum answer { THERE, NOT_YET, NEVER };

/* line: what to print of it, heap. */
static enum answer look(json_t *page, const struct mt_object *o, char **line)
{
	char title[600], hash[17];
	json_t *e = ctl_status_find(page, o->kind->kind, o->ns, o->name);

	mt_object_title(o, title, sizeof(title));
	mt_hash_hex(o->hash, hash);
	if (!ctl_status_reads(page, o->kind->kind)) {
		*line = mt_asprintf("%s: not for proxies", title);
		return THERE;
	}
	const char *newest = e ? json_string_value(json_object_get(e, "hash")) : NULL;
	if (!newest || strcmp(newest, hash) != 0) {
		*line = mt_asprintf("%s: Pilot has %s", title,
			e ? "another version of it (was it applied?)"
			  : "no such object (was it applied?)");
		return NOT_YET;
	}
	MT_AUTO(mt_strfreep) char *why = NULL;
	MT_AUTO(mt_strfreep) char *notes = ctl_status_notes(e, "\n    ");
	const char *state = ctl_status_state(e, &why);
	json_t *proxies = json_object_get(e, "proxies");
	if (strcmp(state, "in force") == 0) {
		*line = mt_asprintf("%s: in force on %lld of the %lld proxies that it concerns%s",
			title, (long long)json_integer_value(json_object_get(proxies, "inForce")),
			(long long)json_integer_value(json_object_get(proxies, "concerned")),
			notes);
		return THERE;
	}
	*line = mt_asprintf("%s: %s%s%s%s", title, state, *why ? ": " : "", why, notes);
	return mt_str_prefix(state, "refused") ? NEVER : NOT_YET;
}

/* The worst of them; their lines. */
static enum answer look_all(json_t *page, const struct mt_objects *objs, char **lines)
{
	enum answer worst = THERE;
	for (size_t i = 0; i < objs->n; i++) {
		mt_free(lines[i]);
		lines[i] = NULL;
		enum answer a = look(page, objs->v[i], &lines[i]);
		worst = MT_MAX(worst, a);
	}
	return worst;
}

int64_t ctl_wait_pause_ns(unsigned n, int64_t left_ns)
{
	int64_t pause = FIRST_PAUSE << MT_MIN(n, 8u);

	return MT_MAX(0, MT_MIN(MT_MIN(pause, LONGEST_PAUSE), left_ns));
}

static int wait_for(const struct wait_options *v, const struct mt_objects *objs, char **lines)
{
	const struct mt_object *one = objs->n == 1 ? objs->v[0] : NULL;
	int64_t end = mt_mono(&mt_clock_system) + v->timeout;

	for (unsigned n = 0;; n++) {
		json_t *page = NULL;
		struct mt_err err = { 0 };
		int r = ctl_status_get(v->pilot, one ? one->kind->kind : NULL, one ? one->ns : "",
			one ? one->name : "", &page, &err);
		enum answer a = r == 0 ? look_all(page, objs, lines) : NOT_YET;
		json_decref(page);
		if (a == THERE || a == NEVER)
			return a == THERE ? 0 : 1;
		int64_t left = end - mt_mono(&mt_clock_system);
		if (left <= 0)
			return r < 0 ? ctl_fail("wait", &err) : 1;
		nanosleep(&(struct timespec){ .tv_nsec = ctl_wait_pause_ns(n, left) }, NULL);
	}
}

static int parse(int argc, char **argv, struct wait_options *v, struct mt_options **o)
{
	struct mt_err err = { 0 };

	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "-f") == 0)
			argv[i] = (char *)"--file";
	int r = mt_options_parse("ctl",
		"meltemi wait -f FILE [--timeout 30s]: returns when all that FILE says is in force on every "
		"proxy, or says why it is not.",
		rows, MT_ARRAY_SIZE(rows), v, argc, argv, o, &err);
	const char *const *rest;
	if (r == 0 && (!v->file.n || mt_options_rest(*o, &rest))) {
		r = mt_fail(&err, MT_INVALID, "-f", "say which file, and nothing else");
		mt_options_free(*o);
		*o = NULL;
	}
	if (r < 0 && r != MT_CANCELLED)
		ctl_fail("wait", &err);
	return r;
}

int ctl_wait(int argc, char **argv)
{
	struct wait_options v = { 0 };
	struct mt_options *o = NULL;
	struct mt_objects objs = { 0 };
	int r = parse(argc, argv, &v, &o);

	if (r < 0)
		return r == MT_CANCELLED ? 0 : 2;
	r = ctl_objects_read("wait", &v.file, &objs);
	if (r == 0) {
		char **lines = mt_alloc((objs.n + 1) * sizeof(*lines));
		r = wait_for(&v, &objs, lines);
		for (size_t i = 0; i < objs.n; i++) {
			if (lines[i])
				fprintf(r ? stderr : stdout, "%s\n", lines[i]);
			mt_free(lines[i]);
		}
		mt_free(lines);
	}
	mt_objects_clear(&objs);
	mt_options_free(o);
	return r ? 1 : 0;
}
