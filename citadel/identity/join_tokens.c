/* The table of join tokens: found by SHA-256, so that looking one up takes the same time whether the
 * guess is near or far, and memory holds nothing that could be shown as a token.
 *
 * A table is immutable once read, except for the counts of uses; a changed file makes a new table,
 * which takes over the counts of the tokens that are still there. One mutex guards it all: a look-up
 * is a hash and a search, and only the use of a counted token writes to disk under it (a join happens
 * once in a node's life). */
#include "citadel/identity/join_tokens.h"

#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "citadel/identity/join_token_line.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/base/vec.h"

static struct mt_log_scope scope = MT_LOG_SCOPE("tokens");
static const char record[] = "join-uses";

struct citadel_tokens {
	char *path;
	char *trust_domain;
	struct mt_state *state;
	const struct mt_clock *clock;
	pthread_mutex_t lock; /* guards everything below */
	struct mt_map *table; /* hex digest -> struct citadel_token_line */
	struct mt_map *used;  /* hex digest -> count + 1, as a pointer */
	int64_t looked_ns;    /* mono clock: when the file was last looked at */
	struct timespec mtime;
	ino_t ino;
	off_t size;
	struct mt_err fault; /* of the newest text; code 0: none */
};

static void line_free(void *p)
{
	mt_free(p);
}

static int parse(const char *path, const char *td, const char *text, struct mt_map *into,
	bool *ret_clear, struct mt_err *err)
{
	int number = 0;

	*ret_clear = false;
	while (*text) {
		size_t n = strcspn(text, "\n");
		struct citadel_token_line *line = NULL;
		bool clear = false;
		int r;

		number++;
		if ((r = citadel_token_line_parse(text, n, td, &line, &clear, err)) < 0)
			return mt_err_prefix(err, "%s:%d", path, number);
		*ret_clear |= clear;
		text += n + (text[n] == '\n');
		if (!line)
			continue;
		if (mt_map_get(into, line->hex)) {
			mt_free(line);
			return mt_fail(err, MT_INVALID, NULL, "%s:%d: the same token once more",
				path, number);
		}
		mt_map_put(into, line->hex, line);
		if (mt_map_size(into) > CITADEL_TOKENS_MAX)
			return mt_fail(err, MT_LIMIT, NULL, "%s: more than %d tokens", path,
				CITADEL_TOKENS_MAX);
	}
	return 0;
}

static int read_file(struct citadel_tokens *t, const struct stat *st, struct mt_err *err)
{
	struct mt_buf text = { 0 };
	struct mt_map *table = mt_map_new();
	bool clear;
	int r;

	if ((r = mt_file_read(t->path, CITADEL_TOKENS_FILE_MAX, &text, err)) < 0)
		goto out;
	if ((r = parse(t->path, t->trust_domain, mt_buf_str(&text), table, &clear, err)) < 0)
		goto out;
	if (clear && (st->st_mode & 077)) {
		r = mt_fail(err, MT_INVALID, NULL,
			"%s holds tokens in the clear and others may read it (mode %04o): chmod 600, or "
			"write sha256:HEX",
			t->path, (unsigned)st->st_mode & 07777);
		goto out;
	}
	mt_map_free(t->table, line_free);
	t->table = MT_TAKE(table);
out:
	if (text.p)
		explicit_bzero(text.p, text.n);
	mt_buf_clear(&text);
	mt_map_free(table, line_free);
	return r;
}

/* Looks at the file again, at most once a second. Under the lock (or before others know t). */
static int refresh(struct citadel_tokens *t, struct mt_err *err)
{
	int64_t now = mt_mono(t->clock);
	struct stat st;
	int r;

	if (t->table && now - t->looked_ns < MT_NS_PER_SEC)
		return 0;
	t->looked_ns = now;
	if (stat(t->path, &st) < 0) {
		r = mt_fail_errno(&t->fault, t->path, "cannot look at the join tokens");
	} else if (t->table && st.st_ino == t->ino && st.st_size == t->size &&
		memcmp(&st.st_mtim, &t->mtime, sizeof(t->mtime)) == 0) {
		return 0;
	} else {
		t->ino = st.st_ino;
		t->size = st.st_size;
		t->mtime = st.st_mtim;
		t->fault = (struct mt_err){ 0 };
		r = read_file(t, &st, &t->fault);
	}
	if (r < 0 && err)
		*err = t->fault;
	if (r < 0 && t->table)
		mt_log_warn(&scope, "join tokens not read, the ones before stay",
			MT_S("error", t->fault.msg));
	else if (r == 0)
		mt_log_info(&scope, "join tokens read", MT_I("tokens", mt_map_size(t->table)));
	return r;
}

static int load_uses(struct citadel_tokens *t, struct mt_err *err)
{
	struct mt_buf text = { 0 };
	char hex[65];
	unsigned long n;
	int r, used;

	if ((r = mt_state_load(t->state, record, &text, err)) < 0) {
		mt_buf_clear(&text);
		return r == MT_NOT_FOUND ? 0 : r;
	}
	for (const char *p = mt_buf_str(&text); sscanf(p, "%64s %lu\n%n", hex, &n, &used) == 2;
		p += used)
		mt_map_put(t->used, hex, (void *)(uintptr_t)(n + 1));
	mt_buf_clear(&text);
	return 0;
}

/* Counts of tokens that are in no file any more are dropped: their digests never come back as the
 * same token with fresh uses, because a token is random. */
static int save_uses(struct citadel_tokens *t, struct mt_err *err)
{
	struct mt_buf text = { 0 };
	struct mt_map_it it = { 0 };
	int r;

	while (mt_map_next(t->used, &it)) {
		if (mt_map_get(t->table, it.key))
			mt_buf_printf(
				&text, "%s %lu\n", it.key, (unsigned long)(uintptr_t)it.value - 1);
	}
	r = mt_state_save(t->state, record, mt_buf_str(&text), text.n, err);
	mt_buf_clear(&text);
	return r;
}

int citadel_tokens_open(const char *path, const char *trust_domain, struct mt_state *state,
	const struct mt_clock *clock, struct citadel_tokens **ret, struct mt_err *err)
{
	MT_AUTO(citadel_tokens_closep) struct citadel_tokens *t = MT_NEW(struct citadel_tokens);
	int r;

	t->path = mt_strdup(path);
	t->trust_domain = mt_strdup(trust_domain);
	t->state = state;
	t->clock = clock;
	t->used = mt_map_new();
	pthread_mutex_init(&t->lock, NULL);
	if ((r = refresh(t, err)) < 0 || (r = load_uses(t, err)) < 0)
		return r;
	*ret = MT_TAKE(t);
	return 0;
}

void citadel_tokens_close(struct citadel_tokens *t)
{
	if (!t)
		return;
	mt_map_free(t->table, line_free);
	mt_map_free(t->used, NULL);
	pthread_mutex_destroy(&t->lock);
	mt_free(t->path);
	mt_free(t->trust_domain);
	mt_free(t);
}

static uint64_t uses_of(const struct citadel_tokens *t, const char *hex)
{
	void *v = mt_map_get(t->used, hex);

	return v ? (uint64_t)(uintptr_t)v - 1 : 0;
}

/* Under the lock. The words do not tell an unknown token from a bad one beyond what its holder knows. */
static int check(struct citadel_tokens *t, const char *hex, struct citadel_token_line **ret,
	struct mt_err *err)
{
	struct citadel_token_line *line = mt_map_get(t->table, hex);

	if (!line)
		return mt_fail(err, MT_UNAUTHENTICATED, "authorization", "unknown join token");
	if (line->expires_ns && mt_wall(t->clock) >= line->expires_ns)
		return mt_fail(
			err, MT_UNAUTHENTICATED, "authorization", "the join token has expired");
	if (line->uses && uses_of(t, hex) >= line->uses)
		return mt_fail(
			err, MT_UNAUTHENTICATED, "authorization", "the join token is used up");
	*ret = line;
	return 0;
}

int citadel_tokens_find(
	struct citadel_tokens *t, const char *token, struct citadel_caller *ret, struct mt_err *err)
{
	struct citadel_token_line *line;
	char hex[65];
	size_t n = strnlen(token, CITADEL_TOKEN_MAX + 1);
	int r;

	if (n < CITADEL_TOKEN_MIN || n > CITADEL_TOKEN_MAX)
		return mt_fail(err, MT_UNAUTHENTICATED, "authorization", "unknown join token");
	citadel_token_digest(token, n, ret->token, hex);
	pthread_mutex_lock(&t->lock);
	refresh(t, NULL);
	if ((r = check(t, hex, &line, err)) == 0) {
		for (size_t i = 0; i < line->nallowed; i++)
			snprintf(ret->allowed[i], sizeof(ret->allowed[i]), "%s", line->allowed[i]);
		ret->nallowed = line->nallowed;
	}
	pthread_mutex_unlock(&t->lock);
	return r;
}

int citadel_tokens_use(struct citadel_tokens *t, const uint8_t token[32], struct mt_err *err)
{
	struct citadel_token_line *line;
	char hex[65];
	int r;

	citadel_token_hex(token, hex);
	pthread_mutex_lock(&t->lock);
	if ((r = check(t, hex, &line, err)) == 0 && line->uses) {
		uint64_t before = uses_of(t, hex);

		mt_map_put(t->used, hex, (void *)(uintptr_t)(before + 2));
		/* What cannot be counted is not given out. */
		if ((r = save_uses(t, err)) < 0)
			mt_map_put(t->used, hex, (void *)(uintptr_t)(before + 1));
	}
	pthread_mutex_unlock(&t->lock);
	return r;
}

size_t citadel_tokens_count(struct citadel_tokens *t)
{
	size_t n;

	pthread_mutex_lock(&t->lock);
	n = mt_map_size(t->table);
	pthread_mutex_unlock(&t->lock);
	return n;
}

static json_t *line_json(struct citadel_tokens *t, const struct citadel_token_line *line)
{
	json_t *j = json_object(), *ids = json_array();
	char when[32];

	for (size_t i = 0; i < line->nallowed; i++)
		json_array_append_new(ids, json_string(line->allowed[i]));
	json_object_set_new(j, "digest", json_sprintf("sha256:%.12s...", line->hex));
	json_object_set_new(j, "identities", ids);
	if (line->expires_ns) {
		mt_time_format(line->expires_ns, when, sizeof(when));
		json_object_set_new(j, "expires", json_string(when));
	}
	if (line->uses) {
		json_object_set_new(j, "uses", json_integer((json_int_t)line->uses));
		json_object_set_new(j, "used", json_integer((json_int_t)uses_of(t, line->hex)));
	}
	return j;
}

json_t *citadel_tokens_json(struct citadel_tokens *t)
{
	json_t *j = json_object(), *list = json_array();
	struct mt_map_it it = { 0 };

	pthread_mutex_lock(&t->lock);
	json_object_set_new(j, "file", json_string(t->path));
	if (t->fault.code)
		json_object_set_new(j, "fault", json_string(t->fault.msg));
	json_object_set_new(j, "count", json_integer((json_int_t)mt_map_size(t->table)));
	while (mt_map_next(t->table, &it) && json_array_size(list) < 1000)
		json_array_append_new(list, line_json(t, it.value));
	pthread_mutex_unlock(&t->lock);
	json_object_set_new(j, "tokens", list);
	return j;
}
