/* See answer.h. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tests/apps/common/answer.h"

enum { CHUNK_SIZE, CHUNK_DATA, CHUNK_CRLF, CHUNK_TRAILER };

void answer_reset(struct answer *a, const char *wanted)
{
	a->wanted = wanted;
	a->value[0] = '\0';
	a->state = ANSWER_IN_HEAD;
	a->started = false;
	a->status = 0;
	a->keep_alive = true;
	a->chunked = a->to_end = false;
	a->left = 0;
	a->body_size = 0;
	a->head_len = a->body_len = a->chunk_line_len = 0;
	a->body[0] = '\0';
	a->chunk_state = CHUNK_SIZE;
}

static void keep(struct answer *a, const char *p, size_t n)
{
	size_t room = ANSWER_BODY - a->body_len;

	a->body_size += n;
	if (n > room)
		n = room;
	memcpy(a->body + a->body_len, p, n);
	a->body_len += n;
	a->body[a->body_len] = '\0';
}

static void take_header(struct answer *a, char *line, bool *ret_length)
{
	char *colon = strchr(line, ':');

	if (!colon)
		return;
	*colon = '\0';
	char *v = colon + 1 + strspn(colon + 1, " \t");
	if (!strcasecmp(line, "content-length")) {
		a->left = strtoll(v, NULL, 10);
		*ret_length = true;
	} else if (!strcasecmp(line, "transfer-encoding")) {
		a->chunked = !strcasecmp(v, "chunked");
	} else if (!strcasecmp(line, "connection") && !strcasecmp(v, "close")) {
		a->keep_alive = false;
	}
	if (a->wanted && !strcasecmp(line, a->wanted)) {
		strncpy(a->value, v, sizeof(a->value) - 1);
		a->value[sizeof(a->value) - 1] = '\0';
	}
}

static void parse_head(struct answer *a)
{
	bool length = false;
	char *save = NULL;
	char *line = strtok_r(a->head, "\r\n", &save);

	if (!line || strncmp(line, "HTTP/1.", 7) || strlen(line) < 12) {
		a->state = ANSWER_BAD;
		return;
	}
	a->status = atoi(line + 9);
	if (line[7] == '0')
		a->keep_alive = false;
	while ((line = strtok_r(NULL, "\r\n", &save)))
		take_header(a, line, &length);
	a->state = ANSWER_IN_BODY;
	if (a->status == 204 || a->status == 304 || (length && !a->left && !a->chunked))
		a->state = ANSWER_DONE;
	else if (!length && !a->chunked)
		a->to_end = true;
	if (a->status / 100 == 1) { /* an interim answer: the real one follows */
		a->state = ANSWER_IN_HEAD;
		a->head_len = 0;
	}
}

/* A byte at a time until the blank line: heads are small. */
static size_t feed_head(struct answer *a, const char *p, size_t n)
{
	size_t i = 0;

	while (i < n && a->state == ANSWER_IN_HEAD) {
		if (a->head_len == ANSWER_HEAD - 1) {
			a->state = ANSWER_BAD;
			break;
		}
		a->head[a->head_len++] = p[i++];
		if (a->head_len >= 4 && !memcmp(a->head + a->head_len - 4, "\r\n\r\n", 4)) {
			a->head[a->head_len] = '\0';
			parse_head(a);
		}
	}
	return i;
}

static void chunk_line_done(struct answer *a)
{
	a->chunk_line[a->chunk_line_len] = '\0';
	a->chunk_line_len = 0;
	if (a->chunk_state == CHUNK_SIZE) {
		a->left = strtoll(a->chunk_line, NULL, 16);
		a->chunk_state = a->left ? CHUNK_DATA : CHUNK_TRAILER;
	} else if (a->chunk_state == CHUNK_CRLF) {
		a->chunk_state = CHUNK_SIZE;
	} else if (!a->chunk_line[0]) {
		a->state = ANSWER_DONE;
	}
}

static size_t feed_chunked(struct answer *a, const char *p, size_t n)
{
	size_t i = 0;

	while (i < n && a->state == ANSWER_IN_BODY) {
		if (a->chunk_state == CHUNK_DATA) {
			size_t k = n - i < (uint64_t)a->left ? n - i : (size_t)a->left;

			keep(a, p + i, k);
			i += k;
			a->left -= (int64_t)k;
			if (!a->left)
				a->chunk_state = CHUNK_CRLF;
			continue;
		}
		char c = p[i++];
		if (c == '\n')
			chunk_line_done(a);
		else if (c != '\r' && a->chunk_line_len < sizeof(a->chunk_line) - 1)
			a->chunk_line[a->chunk_line_len++] = c;
	}
	return i;
}

static size_t feed_body(struct answer *a, const char *p, size_t n)
{
	if (a->chunked)
		return feed_chunked(a, p, n);
	if (!a->to_end && n > (uint64_t)a->left)
		n = (size_t)a->left;
	keep(a, p, n);
	if (!a->to_end && !(a->left -= (int64_t)n))
		a->state = ANSWER_DONE;
	return n;
}

enum answer_state answer_feed(struct answer *a, const char *p, size_t n)
{
	if (n)
		a->started = true;
	while (n && (a->state == ANSWER_IN_HEAD || a->state == ANSWER_IN_BODY)) {
		size_t k = a->state == ANSWER_IN_HEAD ? feed_head(a, p, n) : feed_body(a, p, n);

		p += k;
		n -= k;
	}
	if (n) /* bytes that nobody asked for */
		a->state = ANSWER_BAD;
	return a->state;
}

enum answer_state answer_eof(struct answer *a)
{
	if (a->state == ANSWER_IN_BODY && a->to_end)
		a->state = ANSWER_DONE;
	a->keep_alive = false;
	return a->state;
}
