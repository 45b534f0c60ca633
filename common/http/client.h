/* HTTP client (libcurl multi, driven by the loop). No redirects, no proxy, http and https only.
 * Threads: loop thread. Errors in a result: MT_TIMEOUT, MT_LIMIT, MT_UNAVAILABLE, MT_INVALID (URL),
 * MT_UNAUTHENTICATED (the peer's certificate), MT_CANCELLED, each naming the URL. */
#pragma once

#include "common/base/err.h"
#include "common/run/loop.h"

struct mt_http_client;
struct mt_http_call;

struct mt_http_result {
	int status; /* 0 when err is set */
	const char *body;
	size_t n;
	const char *(*header)(const struct mt_http_result *r, const char *name);
	const struct mt_err *err; /* NULL on an HTTP answer of any status */
};

struct mt_http_call_opts {
	const char *method; /* NULL: GET */
	const char *url;
	const char *const *headers; /* "Name: value", ends with NULL; may be NULL */
	const void *body;
	size_t body_n;
	int64_t timeout_ns;      /* default 5 s */
	size_t max_body;         /* default 1 MiB; beyond: MT_LIMIT */
	const char *ca_pem_file; /* NULL: the system's */
};

struct mt_http_client *mt_http_client_new(struct mt_loop *l);
void mt_http_client_free(
	struct mt_http_client *c); /* cancels what is open, done is called with MT_CANCELLED */
/* done runs on the loop exactly once; the result is valid during it. */
struct mt_http_call *mt_http_call_start(struct mt_http_client *c, const struct mt_http_call_opts *o,
	void (*done)(void *ctx, const struct mt_http_result *r), void *ctx);
/* Calls done with MT_CANCELLED before it returns. A call is gone once its done was called. */
void mt_http_call_cancel(struct mt_http_call *call);
