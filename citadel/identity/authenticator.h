/* Who asks, and what may it have?
 *
 * An authenticator looks at the credentials of a call and, when they are of its kind, says which
 * identities their bearer may have. The list in authenticators.def is asked in order; the first that
 * does not pass the call on decides. What a CSR says plays no part here: a name in a CSR is only ever
 * compared with what the caller was allowed (citadel_caller_choose()).
 *
 * Threads: any, several at once. */
#pragma once

#include "common/base/clock.h"
#include "common/pki/spiffe.h"
#include "common/rpc/rpc.h"

enum { CITADEL_ALLOWED_MAX = 8 };

struct citadel_tokens;

/* What authenticators may consult. Lives as long as the server. */
struct citadel_authority {
	const char *trust_domain;
	struct citadel_tokens *tokens; /* NULL: no join tokens here */
};

struct citadel_credentials {
	const char *authorization; /* metadata of that name; NULL when absent */
	const struct mt_rpc_peer *peer;
};

struct citadel_caller {
	const char *method; /* the authenticator's name */
	/* Identities, or patterns in which "*" stands for one whole segment. */
	char allowed[CITADEL_ALLOWED_MAX][MT_SPIFFE_ID_MAX];
	size_t nallowed;
	uint8_t token[32]; /* SHA-256 of the join token, when that was used */
};

struct citadel_authenticator {
	const char *name;
	/* 0: known, *ret is filled. MT_NOT_FOUND: no credentials of this kind, ask the next.
	 * MT_UNAUTHENTICATED: of this kind, and not good. */
	int (*authenticate)(const struct citadel_authority *a, const struct citadel_credentials *c,
		struct citadel_caller *ret, struct mt_err *err);
	/* The caller gets a certificate for id now. Non-zero stops it (a token that is used up).
	 * NULL: nothing to do. */
	int (*admit)(const struct citadel_authority *a, const struct citadel_caller *caller,
		const char *id, struct mt_err *err);
};

#define AUTHENTICATOR(name) extern const struct citadel_authenticator citadel_authenticator_##name;
#include "citadel/identity/authenticators.def"
#undef AUTHENTICATOR

/* Asks the list. MT_UNAUTHENTICATED when nobody knows the caller. */
int citadel_authenticate(const struct citadel_authority *a, const struct citadel_credentials *c,
	struct citadel_caller *ret, struct mt_err *err);
/* The identity for the certificate: the one that the caller is allowed, or, of several, the one that
 * it asked for. asked: the CSR's SPIFFE id, "" when it has none. MT_DENIED when it may not have what
 * it asked for, MT_INVALID when it must ask for one and did not. */
int citadel_caller_choose(const struct citadel_caller *c, const char *asked,
	char ret_id[MT_SPIFFE_ID_MAX], struct mt_err *err);
/* The last step before signing. */
int citadel_caller_admit(const struct citadel_authority *a, const struct citadel_caller *c,
	const char *id, struct mt_err *err);

/* Does id match a pattern, segment by segment? */
bool citadel_pattern_match(const char *pattern, const char *id);
/* A pattern of the mesh's form in the trust domain: MT_INVALID says why not. */
int citadel_pattern_check(const char *pattern, const char *trust_domain, struct mt_err *err);
