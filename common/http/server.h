/* HTTP/1.1 server (libmicrohttpd on its own thread). A request is read whole (body up to a limit,
 * beyond it 413), its connection suspended, and the handler runs on the loop thread, which answers
 * at once or later. JSON errors: {"error": "...", "code": "..."}.
 *
 * Threads: loop thread for all functions. Owner of a request: the server, until it was answered. */
#pragma once

#include <jansson.h>

#include "common/base/err.h"
#include "common/base/macros.h"
#include "common/run/loop.h"

struct mt_http_server;
struct mt_http_req; /* valid until answered */

typedef void (*mt_http_handler)(void *ctx, struct mt_http_req *req);

struct mt_http_server_opts {
	const char *addr;         /* "127.0.0.1:15014" */
	size_t max_body;          /* default 1 MiB */
	size_t max_connections;   /* default 256 */
	unsigned timeout_s;       /* silent connection, default 30 */
	const char *tls_cert_pem; /* NULL: plain */
	const char *tls_key_pem;
};

int mt_http_server_start(struct mt_loop *l, const struct mt_http_server_opts *o,
	struct mt_http_server **ret, struct mt_err *err);
void mt_http_server_stop(struct mt_http_server *s); /* answers what is open with 503, frees */
uint16_t mt_http_server_port(const struct mt_http_server *s);
/* methods: "GET,POST" (GET allows HEAD). path: exact "/a/b", or "/a/" for everything below. The
 * longest match wins. NULL server: nothing (monitoring may be off). Both strings are copied. */
void mt_http_route(struct mt_http_server *s, const char *methods, const char *path,
	mt_http_handler h, void *ctx);

const char *mt_http_method(const struct mt_http_req *r);
const char *mt_http_path(const struct mt_http_req *r); /* decoded, without the query */
const char *mt_http_query(
	const struct mt_http_req *r, const char *name); /* NULL when absent, "" without value */
const char *mt_http_header(const struct mt_http_req *r, const char *name); /* NULL when absent */
const void *mt_http_body(const struct mt_http_req *r, size_t *ret_n);
bool mt_http_peer_is_loopback(const struct mt_http_req *r);

void mt_http_reply(
	struct mt_http_req *r, int status, const char *content_type, const void *p, size_t n);
void mt_http_reply_json(struct mt_http_req *r, int status, json_t *body); /* takes body */
void mt_http_reply_err(struct mt_http_req *r, const struct mt_err *err);
