/* An answer of Pilot on its way from the thread that it came on to the loop. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct agent_answer {
	void *owner; /* who asked */
	int status;  /* of gRPC; 0: bytes is the message, else its words */
	size_t n;
	uint8_t bytes[]; /* n, and a NUL */
};

/* Of what a unary call ends with (common/rpc); copies. To be freed with mt_free(). Threads: any. */
struct agent_answer *agent_answer_new(
	void *owner, int status, const char *msg, const void *p, size_t n);
