/* One call of CreateCertificate. Private to ident/. Loop thread, except that the answer arrives on a
 * completion-queue thread and is posted. */
#pragma once

#include "common/pki/identity.h"
#include "common/rpc/rpc.h"
#include "common/run/loop.h"

struct mt_ident_request_opts {
	struct mt_loop *loop;
	struct mt_rpc_env *env;
	const char *addr;
	const char *server_id;         /* Citadel's SPIFFE id */
	struct mt_identity_slot *slot; /* roots; with `token` NULL also the certificate to show */
	const char *token;             /* NULL: show the certificate */
	const char *identity;          /* "": what the caller is entitled to */
	int64_t ttl_ns;
	int64_t timeout_ns;
	/* Loop, exactly once. identity is NULL and err filled when it failed; a reference is handed
	 * over otherwise. */
	void (*done)(void *ctx, struct mt_identity *identity, const struct mt_err *err);
	void *ctx;
};

/* Valid until done has run. */
struct mt_ident_request;

/* done is not called when this fails, and not before this has returned. */
int mt_ident_request_start(
	const struct mt_ident_request_opts *o, struct mt_ident_request **ret, struct mt_err *err);
/* done runs soon, with an error (or what came in the meantime). The slot is not used any more. */
void mt_ident_request_cancel(struct mt_ident_request *q);
