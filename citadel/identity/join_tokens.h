/* Join tokens: what a node or daemon shows to get its first certificate.
 *
 * A file, one token a line, "#" starts a comment:
 *
 *   TOKEN | sha256:HEX   SPIFFE-ID[,SPIFFE-ID...]   [expires=2026-12-01T00:00:00Z] [uses=3]
 *
 * An identity may have "*" for a whole segment, the service account for one; its bearer then says in
 * the CSR which one it wants. Tokens in the clear are allowed only in a file that nobody else can read;
 * a file of digests may have any mode. Uses are counted on disk, so a restart of Citadel gives none
 * back.
 *
 * The file is read again when it changes; while the new text has a fault, the tokens before it stay
 * in force. Only digests are kept in memory. Owner: whoever opened it. Threads: any, after open. */
#pragma once

#include <jansson.h>

#include "citadel/identity/authenticator.h"
#include "common/base/clock.h"
#include "common/run/state.h"

enum {
	CITADEL_TOKEN_MIN = 16, /* characters: below that a token can be guessed */
	CITADEL_TOKEN_MAX = 512,
	CITADEL_TOKENS_MAX = 100000,        /* lines with a token */
	CITADEL_TOKENS_FILE_MAX = 16 << 20, /* bytes */
};

/* state: where uses are counted (record "join-uses"). MT_INVALID names file and line. */
int citadel_tokens_open(const char *path, const char *trust_domain, struct mt_state *state,
	const struct mt_clock *clock, struct citadel_tokens **ret, struct mt_err *err);
void citadel_tokens_close(struct citadel_tokens *t); /* NULL allowed */
MT_DEFINE_FREEP(struct citadel_tokens *, citadel_tokens_closep, citadel_tokens_close)

/* MT_UNAUTHENTICATED: unknown, expired or used up. Fills allowed and token of ret. */
int citadel_tokens_find(struct citadel_tokens *t, const char *token, struct citadel_caller *ret,
	struct mt_err *err);
/* Counts a use, on disk when the token has a limit. MT_UNAUTHENTICATED when none is left. */
int citadel_tokens_use(struct citadel_tokens *t, const uint8_t token[32], struct mt_err *err);
size_t citadel_tokens_count(struct citadel_tokens *t);
/* For the debug page: how many, the last fault of the file, and each token without the token. */
json_t *citadel_tokens_json(struct citadel_tokens *t);
