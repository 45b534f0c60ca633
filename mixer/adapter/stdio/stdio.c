/* stdio: log entries and metrics as lines on standard output, standard error or in a file.
 *
 * JSON: one object a line, {"level","time","instance", variables...}. Text: time, level, instance and
 * the variables as JSON, separated by tabs. A batch is one write, so lines of several handlers that
 * share a stream do not mix. A rotated file is renamed PATH.TIME when it would grow beyond its size. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapter/stdio/config/config.pb-c.h"
#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "mixer/adapter/adapter.h"

typedef AdapterStdio__Params__Level level_t;

struct severity {
	char *text;
	level_t level;
};

struct stdio {
	const struct mt_clock *clock;
	int fd;
	bool json;
	level_t metric_level;
	level_t output_level;
	struct severity *severities;
	size_t nseverities;

	char *path;           /* NULL: standard output or error */
	int64_t rotate_bytes; /* 0: never */
	int max_files;        /* 0: all are kept */
	int64_t size;
};

static const char *const level_names[] = { "info", "warn", "error" };

/* ---- files ---- */

static int open_file(struct stdio *s, struct mt_err *err)
{
	struct stat st;

	s->fd = open(s->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
	if (s->fd < 0)
		return mt_fail_errno(err, "outputPath", "%s", s->path);
	s->size = fstat(s->fd, &st) == 0 ? st.st_size : 0;
	return 0;
}

static void remove_oldest(const struct stdio *s)
{
	MT_AUTO(mt_strfreep) char *pattern = mt_asprintf("%s.[0-9]*", s->path);
	glob_t g = { 0 };

	/* Names sort by time. */
	if (s->max_files && glob(pattern, 0, NULL, &g) == 0)
		for (size_t i = 0; i + (size_t)s->max_files < g.gl_pathc; i++)
			unlink(g.gl_pathv[i]);
	globfree(&g);
}

static void rotate(struct stdio *s, size_t more)
{
	char *old;
	char when[40];

	if (!s->rotate_bytes || s->size == 0 || s->size + (int64_t)more <= s->rotate_bytes)
		return;
	mt_time_format(mt_wall(s->clock), when, sizeof(when));
	old = mt_asprintf("%s.%s", s->path, when);
	if (rename(s->path, old) == 0) {
		close(s->fd);
		if (open_file(s, NULL) < 0)
			s->fd = -1; /* tried again with the next batch */
		remove_oldest(s);
	}
	mt_free(old);
}

static void write_all(struct stdio *s, const char *p, size_t n)
{
	if (s->path) {
		rotate(s, n);
		if (s->fd < 0 && open_file(s, NULL) < 0)
			return;
	}
	while (n) {
		ssize_t w = write(s->fd, p, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return; /* a full disk or closed pipe must not stop the reports */
		p += w;
		n -= (size_t)w;
		s->size += w;
	}
}

/* ---- lines ---- */

static json_t *text_json(struct mt_text t)
{
	json_t *j = json_stringn(t.p ? t.p : "", t.n);

	return j ? j : json_string("(not UTF-8)");
}

static json_t *value_json(const struct mt_value *v, struct mt_arena *scratch)
{
	switch (v->type) {
	case MT_V_INT64: return json_integer(v->i);
	case MT_V_DOUBLE: return json_real(v->d);
	case MT_V_BOOL: return json_boolean(v->b);
	case MT_V_STRING_MAP: {
		json_t *o = json_object();

		for (size_t i = 0; i < v->map.n; i++)
			json_object_setn_new(o, v->map.v[i].key.p, v->map.v[i].key.n,
				text_json(v->map.v[i].value));
		return o;
	}
	default: return text_json(mt_value_text(v, scratch));
	}
}

static level_t level_of(
	const struct stdio *s, const struct mixer_instance *in, struct mt_arena *scratch)
{
	struct mt_text t;

	if (in->def->tmpl->id == MIXER_T_METRIC)
		return s->metric_level;
	t = mt_value_text(&in->scalars[MIXER_S_SEVERITY], scratch);
	for (size_t i = 0; i < s->nseverities; i++)
		if (strlen(s->severities[i].text) == t.n &&
			memcmp(s->severities[i].text, t.p, t.n) == 0)
			return s->severities[i].level;
	for (int l = 0; l < (int)MT_ARRAY_SIZE(level_names); l++)
		if (t.n && strncasecmp(level_names[l], t.p, MT_MIN(t.n, 4)) == 0)
			return (level_t)l;
	return ADAPTER_STDIO__PARAMS__LEVEL__INFO;
}

static void add_line(struct stdio *s, const struct mixer_instance *in, level_t level,
	struct mt_arena *scratch, struct mt_buf *out)
{
	const struct mixer_instance_def *d = in->def;
	const struct mt_value *when = &in->scalars[MIXER_S_TIMESTAMP];
	json_t *o = json_object();
	char time[40];
	char *text;

	mt_time_format(
		when->type == MT_V_TIMESTAMP ? when->i : mt_wall(s->clock), time, sizeof(time));
	if (s->json) {
		json_object_set_new(o, "level", json_string(level_names[level]));
		json_object_set_new(o, "time", json_string(time));
		json_object_set_new(o, "instance", json_string(d->name));
	} else {
		mt_buf_printf(out, "%s\t%s\t%s\t", time, level_names[level], d->name);
	}
	if (d->tmpl->id == MIXER_T_METRIC)
		json_object_set_new(o, "value", value_json(&in->scalars[MIXER_S_VALUE], scratch));
	for (size_t i = 0; i < d->maps[MIXER_M_VARIABLES].n; i++)
		json_object_set_new(o, d->maps[MIXER_M_VARIABLES].v[i].name,
			value_json(&in->maps[MIXER_M_VARIABLES][i], scratch));
	text = json_dumps(o, JSON_COMPACT);
	mt_buf_adds(out, text ? text : "{}");
	mt_buf_addc(out, '\n');
	free(text);
	json_decref(o);
}

static void report(void *self, void *const *bindings, const struct mixer_instance *const *v,
	size_t n, struct mt_arena *scratch)
{
	struct stdio *s = self;
	struct mt_buf out = { 0 };

	(void)bindings;
	for (size_t i = 0; i < n; i++) {
		level_t level = level_of(s, v[i], scratch);

		if (level >= s->output_level)
			add_line(s, v[i], level, scratch, &out);
	}
	write_all(s, out.p, out.n);
	mt_buf_clear(&out);
}

/* ---- the adapter ---- */

static void close_stdio(void *self)
{
	struct stdio *s = self;

	if (s->path && s->fd >= 0)
		close(s->fd);
	for (size_t i = 0; i < s->nseverities; i++)
		mt_free(s->severities[i].text);
	mt_free(s->severities);
	mt_free(s->path);
	mt_free(s);
}

static int open_output(struct stdio *s, const AdapterStdio__Params *p, struct mt_err *err)
{
	switch (p->log_stream) {
	case ADAPTER_STDIO__PARAMS__STREAM__STDOUT: s->fd = STDOUT_FILENO; return 0;
	case ADAPTER_STDIO__PARAMS__STREAM__STDERR: s->fd = STDERR_FILENO; return 0;
	default: break;
	}
	if (mt_str_empty(p->output_path))
		return mt_fail(err, MT_INVALID, "outputPath", "is required for a file");
	s->path = mt_strdup(p->output_path);
	if (p->log_stream == ADAPTER_STDIO__PARAMS__STREAM__ROTATED_FILE) {
		s->rotate_bytes = (int64_t)(p->max_megabytes_before_rotation > 0
						  ? p->max_megabytes_before_rotation
						  : 100) *
			1024 * 1024;
		s->max_files = p->max_rotated_files > 0 ? p->max_rotated_files : 1000;
	}
	return open_file(s, err);
}

static int open_stdio(const struct mixer_adapter_env *env, const char *handler,
	const ProtobufCMessage *params, void **ret_self, struct mt_err *err)
{
	const AdapterStdio__Params *p = (const AdapterStdio__Params *)params;
	struct stdio *s;
	int r;

	(void)handler;
	if (p->max_days_before_rotation)
		return mt_fail(err, MT_UNSUPPORTED, "maxDaysBeforeRotation",
			"files are rotated by size and number");
	s = MT_NEW(struct stdio);
	s->fd = -1;
	s->clock = env->clock;
	s->json = p->output_as_json;
	s->metric_level = p->metric_level;
	s->output_level = p->output_level;
	s->severities = mt_reallocarray(NULL, p->n_severity_levels + 1, sizeof(*s->severities));
	for (size_t i = 0; i < p->n_severity_levels; i++)
		s->severities[s->nseverities++] =
			(struct severity){ mt_strdup(p->severity_levels[i]->key),
				p->severity_levels[i]->value };
	r = open_output(s, p, err);
	if (r < 0) {
		close_stdio(s);
		return r;
	}
	*ret_self = s;
	return 0;
}

extern const struct mixer_adapter mixer_adapter_stdio;
const struct mixer_adapter mixer_adapter_stdio = {
	.name = "stdio",
	.kind = MT_KIND_STDIO,
	.params = &adapter_stdio__params__descriptor,
	.templates = MIXER_ACCEPTS(LOGENTRY) | MIXER_ACCEPTS(METRIC),
	.help = "writes log entries and metrics to standard output, standard error or a file",
	.open = open_stdio,
	.close = close_stdio,
	.report = report,
};
