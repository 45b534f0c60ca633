/* Citadel's debug pages. No key and no token is ever on one of them. */
#include <stdlib.h>

#include "citadel/citadel.h"

static void issued(void *ctx, struct mt_http_req *req)
{
	struct citadel *c = ctx;
	const char *limit = mt_http_query(req, "limit");
	long n = limit ? strtol(limit, NULL, 10) : 100;

	mt_http_reply_json(req, 200,
		citadel_ledger_recent(
			c->issuing.ledger, n > 0 ? (size_t)n : 100, mt_http_query(req, "id")));
}

static void roots(void *ctx, struct mt_http_req *req)
{
	struct citadel *c = ctx;

	mt_http_reply_json(req, 200, citadel_roots_json(c->issuing.roots));
}

static void tokens(void *ctx, struct mt_http_req *req)
{
	struct citadel *c = ctx;
	struct citadel_tokens *t = c->issuing.authority.tokens;

	mt_http_reply_json(req, 200, t ? citadel_tokens_json(t) : json_object());
}

void citadel_pages(struct mt_daemon *d, struct citadel *c)
{
	mt_daemon_debug(d, "issued", "newest certificates: ?limit=N&id=SPIFFE-ID", issued, c);
	mt_daemon_debug(d, "roots", "roots in their slots", roots, c);
	mt_daemon_debug(d, "tokens", "join tokens in force, without the tokens", tokens, c);
}
