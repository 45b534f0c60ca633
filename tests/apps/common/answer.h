/* Reads one HTTP/1.1 response as its bytes come: status, keep-alive, one header of interest, and the
 * body with its length, in chunks or to the end of the connection. Limits: 16 KiB of headers; of the
 * body the first ANSWER_BODY bytes are kept, the rest is counted. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ANSWER_HEAD (16 * 1024)
#define ANSWER_BODY (16 * 1024)

enum answer_state { ANSWER_IN_HEAD, ANSWER_IN_BODY, ANSWER_DONE, ANSWER_BAD };

struct answer {
	const char *wanted; /* name of the header to keep, NULL for none */
	char value[64];     /* its value, "" when absent */
	enum answer_state state;
	bool started; /* at least one byte came */
	int status;
	bool keep_alive, chunked, to_end;
	int64_t left;       /* of the body or the chunk */
	uint64_t body_size; /* in all */
	char head[ANSWER_HEAD];
	size_t head_len;
	char body[ANSWER_BODY + 1]; /* NUL-terminated */
	size_t body_len;
	int chunk_state;
	char chunk_line[32];
	size_t chunk_line_len;
};

void answer_reset(struct answer *a, const char *wanted);
enum answer_state answer_feed(struct answer *a, const char *p, size_t n);
enum answer_state answer_eof(struct answer *a);
