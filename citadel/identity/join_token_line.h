/* One line of the file of join tokens. Pure; threads: any. */
#pragma once

#include "citadel/identity/authenticator.h"

struct citadel_token_line {
	char hex[65];       /* SHA-256 of the token, lower-case hex */
	int64_t expires_ns; /* wall clock; 0: never */
	uint64_t uses;      /* certificates that it is good for; 0: any number */
	size_t nallowed;
	const char *allowed[CITADEL_ALLOWED_MAX]; /* inside ids */
	char ids[];
};

/* n bytes without the newline. *ret is NULL for an empty line or a comment (else heap, mt_free).
 * *ret_clear: the token itself stands there, not its digest. MT_INVALID. */
int citadel_token_line_parse(const char *p, size_t n, const char *trust_domain,
	struct citadel_token_line **ret, bool *ret_clear, struct mt_err *err);

void citadel_token_digest(const char *token, size_t n, uint8_t digest[32], char hex[65]);
void citadel_token_hex(const uint8_t digest[32], char hex[65]);
