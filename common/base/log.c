/* Logging.
 *
 * Every scope is static in its file and joins one list at its first use. The list, the default
 * level, the levels set by name and the sink are guarded by one mutex; a scope's own level is an
 * atomic that mt_log_on() reads without it, so a line that is switched off costs one load.
 *
 * Levels set by name outlive the registration: `ads:debug` on the command line counts although the
 * scope registers only when the first proxy connects. Two files may use one name.
 *
 * This is one of the few places with process-wide mutable state: a log line must be possible from
 * every thread, with nothing handed down. */
#include "common/base/log.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/base/vec.h"

enum { VALUE_MAX = 4096, SPEC_MAX = 256 };

struct named {
	char *name;
	enum mt_level level;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	struct mt_log_scope *scopes;
	enum mt_level def;
	MT_VEC(struct named) named;
	void (*sink)(void *ctx, const char *line, size_t n);
	void *sink_ctx;
} state = { .def = MT_LOG_INFO };
static atomic_bool as_json;

static const char *const level_names[] = { "none", "error", "warn", "info", "debug" };

int mt_log_level_parse(const char *text, enum mt_level *ret_level)
{
	for (size_t i = 0; i < MT_ARRAY_SIZE(level_names); i++)
		if (mt_streq(text, level_names[i])) {
			*ret_level = (enum mt_level)i;
			return 0;
		}
	return MT_INVALID;
}

/* --- levels; all under the lock ---------------------------------------------------------------- */

static struct named *named_find(const char *name)
{
	mt_vec_each (&state.named, n)
		if (strcmp(n->name, name) == 0)
			return n;
	return NULL;
}

static void named_set(const char *name, enum mt_level level)
{
	struct named *n = named_find(name);

	if (n)
		n->level = level;
	else
		mt_vec_push(&state.named, ((struct named){ mt_strdup(name), level }));
}

static void levels_apply(void)
{
	for (struct mt_log_scope *s = state.scopes; s; s = s->next) {
		const struct named *n = named_find(s->name);

		atomic_store_explicit(
			&s->level, (int)(n ? n->level : state.def), memory_order_relaxed);
	}
}

static int scope_register(struct mt_log_scope *s)
{
	const struct named *n;
	int level;

	pthread_mutex_lock(&lock);
	level = atomic_load_explicit(&s->level, memory_order_relaxed);
	if (level < 0) {
		n = named_find(s->name);
		level = (int)(n ? n->level : state.def);
		s->next = state.scopes;
		state.scopes = s;
		atomic_store_explicit(&s->level, level, memory_order_relaxed);
	}
	pthread_mutex_unlock(&lock);
	return level;
}

bool mt_log_on(struct mt_log_scope *s, enum mt_level level)
{
	int have = atomic_load_explicit(&s->level, memory_order_relaxed);

	if (have < 0)
		have = scope_register(s);
	return (int)level <= have;
}

int mt_log_set_level(const char *scope, enum mt_level level)
{
	int r = MT_NOT_FOUND;

	pthread_mutex_lock(&lock);
	if (strcmp(scope, "default") == 0) {
		state.def = level;
		r = 0;
	}
	for (struct mt_log_scope *s = state.scopes; s && r < 0; s = s->next)
		if (strcmp(s->name, scope) == 0) {
			named_set(scope, level);
			r = 0;
		}
	levels_apply();
	pthread_mutex_unlock(&lock);
	return r;
}

void mt_log_each(void (*f)(void *ctx, const char *scope, enum mt_level level), void *ctx)
{
	MT_VEC(struct named) copy = { 0 };

	/* Copied out: no lock is held across a call. Names are static. */
	pthread_mutex_lock(&lock);
	mt_vec_push(&copy, ((struct named){ (char *)"default", state.def }));
	for (struct mt_log_scope *s = state.scopes; s; s = s->next) {
		bool seen = false;

		mt_vec_each (&copy, c)
			seen |= strcmp(c->name, s->name) == 0;
		if (!seen)
			mt_vec_push(&copy,
				((struct named){
					(char *)s->name, (enum mt_level)atomic_load(&s->level) }));
	}
	pthread_mutex_unlock(&lock);
	mt_vec_each (&copy, c)
		f(ctx, c->name, c->level);
	mt_vec_clear(&copy);
}

/* --- configuration ------------------------------------------------------------------------------ */

struct spec {
	enum mt_level def;
	MT_VEC(struct named) named;
};

static void spec_clear(struct spec *s)
{
	mt_vec_each (&s->named, n)
		mt_free(n->name);
	mt_vec_clear(&s->named);
}

static int spec_part(struct spec *s, char *part, struct mt_err *err)
{
	char *colon = strchr(part, ':');
	const char *text = colon ? colon + 1 : part;
	enum mt_level level;

	if (mt_log_level_parse(text, &level) < 0)
		return mt_fail(err, MT_INVALID, NULL,
			"'%s': '%s' is not a level (none, error, warn, info, debug)", part, text);
	if (!colon || (*colon = '\0', strcmp(part, "default") == 0))
		s->def = level;
	else if (!*part)
		return mt_fail(err, MT_INVALID, NULL, "':%s' names no scope", text);
	else if (s->named.n == SPEC_MAX)
		return mt_fail(err, MT_LIMIT, NULL, "more than %d scopes", SPEC_MAX);
	else
		mt_vec_push(&s->named, ((struct named){ mt_strdup(part), level }));
	return 0;
}

int mt_log_configure(const char *text, bool json, struct mt_err *err)
{
	MT_AUTO(mt_strfreep) char *copy = mt_strdup(text);
	MT_AUTO(spec_clear) struct spec s = { .def = MT_LOG_INFO };
	char *save = NULL;
	int r;

	for (char *p = strtok_r(copy, ",", &save); p; p = strtok_r(NULL, ",", &save))
		if ((r = spec_part(&s, p, err)) < 0)
			return r;
	atomic_store(&as_json, json);
	pthread_mutex_lock(&lock);
	mt_vec_each (&state.named, n)
		mt_free(n->name);
	mt_vec_clear(&state.named);
	state.def = s.def;
	mt_vec_each (&s.named, n)
		named_set(n->name, n->level);
	levels_apply();
	pthread_mutex_unlock(&lock);
	return 0;
}

void mt_log_set_sink(void (*sink)(void *ctx, const char *line, size_t n), void *ctx)
{
	pthread_mutex_lock(&lock);
	state.sink = sink;
	state.sink_ctx = ctx;
	pthread_mutex_unlock(&lock);
}

/* --- lines -------------------------------------------------------------------------------------- */

/* A peer can choose these bytes: a line stays one line of valid UTF-8 whatever they are. */
static void add_quoted(struct mt_buf *b, const char *s)
{
	size_t n = strnlen(s, VALUE_MAX + 1), cut = MT_MIN(n, (size_t)VALUE_MAX);

	mt_buf_addc(b, '"');
	for (size_t i = 0; i < cut;) {
		unsigned char c = (unsigned char)s[i];
		size_t len = 1;

		if (c == '"' || c == '\\') {
			mt_buf_addc(b, '\\');
			mt_buf_addc(b, (char)c);
		} else if (c == '\n') {
			mt_buf_adds(b, "\\n");
		} else if (c < 0x20 || c == 0x7f) {
			mt_buf_printf(b, "\\u%04x", c);
		} else if (c < 0x80) {
			mt_buf_addc(b, (char)c);
		} else {
			len = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
			if (len <= cut - i && mt_utf8_valid(s + i, len)) {
				mt_buf_add(b, s + i, len);
			} else {
				mt_buf_adds(b, "\\ufffd");
				len = 1;
			}
		}
		i += len;
	}
	mt_buf_adds(b, n > cut ? "...\"" : "\"");
}

/* Text output quotes only what would be ambiguous. */
static void add_word(struct mt_buf *b, const char *s)
{
	bool plain = *s != '\0';

	for (const char *p = s; *p && plain; p++)
		plain = *p > 0x20 && *p < 0x7f && *p != '"' && *p != '=' && *p != '\\' &&
			p - s < VALUE_MAX;
	if (plain)
		mt_buf_adds(b, s);
	else
		add_quoted(b, s);
}

static void add_value(struct mt_buf *b, const struct mt_field *f, bool json)
{
	switch (f->type) {
	case MT_FIELD_INT: mt_buf_printf(b, "%lld", f->i); break;
	case MT_FIELD_DBL:
		if (isfinite(f->d))
			mt_buf_printf(b, "%.9g", f->d);
		else
			mt_buf_adds(b, json ? "null" : "nan");
		break;
	case MT_FIELD_STR:
		if (json && !f->s)
			mt_buf_adds(b, "null");
		else if (json)
			add_quoted(b, f->s);
		else
			add_word(b, f->s ? f->s : "-");
		break;
	case MT_FIELD_END: break;
	}
}

static void json_line(struct mt_buf *b, const char *time, const struct mt_log_scope *s,
	enum mt_level level, const char *msg, const struct mt_field *fields, size_t n)
{
	mt_buf_printf(b, "{\"time\":\"%s\",\"level\":\"%s\",\"scope\":\"%s\",\"msg\":", time,
		level_names[level], s->name);
	add_quoted(b, msg);
	for (size_t i = 0; i < n && fields[i].type != MT_FIELD_END; i++) {
		mt_buf_addc(b, ',');
		add_quoted(b, fields[i].key);
		mt_buf_addc(b, ':');
		add_value(b, &fields[i], true);
	}
	mt_buf_adds(b, "}\n");
}

/* The message is ours, but an error's text in it may hold a peer's bytes. */
static void add_message(struct mt_buf *b, const char *msg)
{
	for (const char *p = msg; *p; p++)
		if ((unsigned char)*p < 0x20) {
			add_quoted(b, msg);
			return;
		}
	mt_buf_adds(b, msg);
}

static void text_line(struct mt_buf *b, const char *time, const struct mt_log_scope *s,
	enum mt_level level, const char *msg, const struct mt_field *fields, size_t n)
{
	mt_buf_printf(b, "%s %-5s %s: ", time, level_names[level], s->name);
	add_message(b, msg);
	for (size_t i = 0; i < n && fields[i].type != MT_FIELD_END; i++) {
		mt_buf_printf(b, " %s=", fields[i].key);
		add_value(b, &fields[i], false);
	}
	mt_buf_addc(b, '\n');
}

static void emit(const struct mt_buf *b)
{
	size_t done = 0;
	bool sunk;

	/* The sink runs under the lock, so that the test that owns it may take it away safely. */
	pthread_mutex_lock(&lock);
	sunk = state.sink != NULL;
	if (sunk)
		state.sink(state.sink_ctx, b->p, b->n);
	pthread_mutex_unlock(&lock);
	while (!sunk && done < b->n) {
		ssize_t w = write(STDERR_FILENO, b->p + done, b->n - done);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return; /* there is nowhere to say it */
		done += (size_t)w;
	}
}

void mt_log_write(struct mt_log_scope *s, enum mt_level level, const char *msg,
	const struct mt_field *fields, size_t n)
{
	MT_AUTO(mt_buf_clear) struct mt_buf b = { 0 };
	int64_t now = mt_wall(&mt_clock_system);
	char time[32];

	mt_time_format(now - now % MT_NS_PER_MS, time, sizeof(time));
	if (atomic_load_explicit(&as_json, memory_order_relaxed))
		json_line(&b, time, s, level, msg, fields, n);
	else
		text_line(&b, time, s, level, msg, fields, n);
	emit(&b);
}
