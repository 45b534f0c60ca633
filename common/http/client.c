/* HTTP client: libcurl's multi interface on the loop.
 *
 * libcurl says which sockets it wants watched (on_socket) and when it wants to be called next
 * (on_timeout); libuv does the watching. After each step the finished transfers are collected, and
 * only then callers' functions run: never inside libcurl, so they may start and cancel calls and
 * even free the client. A call that is freed has left the list first. */
#include "common/http/client.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/vec.h"

enum { HEADERS_MAX = 64 * 1024, CONNECTIONS_MAX = 64 };

struct mt_http_call {
	struct mt_http_call *prev, *next;
	struct mt_http_client *client;
	struct mt_http_result result;
	void (*done)(void *ctx, const struct mt_http_result *r);
	void *ctx;
	CURL *easy;
	struct curl_slist *headers;
	struct mt_buf request_body;
	struct mt_buf body;
	struct mt_buf response_headers; /* "name: value" with NULs between */
	size_t max_body;
	int limit_hit; /* what was too large: 1 body, 2 headers */
	char detail[CURL_ERROR_SIZE];
};

struct mt_http_client {
	struct mt_loop *loop;
	CURLM *multi;
	uv_timer_t timer; /* real time, as libcurl's: not the loop's clock, which a test may stop */
	struct mt_http_call *calls;
	bool collecting;
	bool doomed; /* freed by a caller's function while collecting */
};

/* A socket that libcurl wants watched. */
struct watch {
	uv_poll_t uv;
	struct mt_http_client *client;
	curl_socket_t fd;
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void curl_init(void)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		abort();
}

/* --- finished calls ----------------------------------------------------------------------------- */

static void call_unlink(struct mt_http_call *call)
{
	if (call->prev)
		call->prev->next = call->next;
	else
		call->client->calls = call->next;
	if (call->next)
		call->next->prev = call->prev;
	curl_multi_remove_handle(call->client->multi, call->easy);
}

static void call_free(struct mt_http_call *call)
{
	curl_easy_cleanup(call->easy);
	curl_slist_free_all(call->headers);
	mt_buf_clear(&call->request_body);
	mt_buf_clear(&call->body);
	mt_buf_clear(&call->response_headers);
	mt_free(call);
}

/* Unlinks, tells, frees. err may be NULL. */
static void call_finish(struct mt_http_call *call, const struct mt_err *err)
{
	call_unlink(call);
	call->result.err = err;
	if (err) {
		call->result.status = 0;
		mt_buf_clear(&call->body);
	}
	call->result.body = mt_buf_str(&call->body);
	call->result.n = call->body.n;
	call->done(call->ctx, &call->result);
	call_free(call);
}

static int code_of(CURLcode code)
{
	switch (code) {
	case CURLE_OPERATION_TIMEDOUT: return MT_TIMEOUT;
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL: return MT_INVALID;
	case CURLE_PEER_FAILED_VERIFICATION: return MT_UNAUTHENTICATED;
	case CURLE_SSL_CACERT_BADFILE: return MT_IO;
	case CURLE_OUT_OF_MEMORY: return MT_INTERNAL;
	default: return MT_UNAVAILABLE;
	}
}

static void transfer_done(struct mt_http_call *call, CURLcode code)
{
	struct mt_err err = { 0 };
	char *url = NULL;
	long status = 0;

	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(call->easy, CURLINFO_EFFECTIVE_URL, &url);
	call->result.status = (int)status;
	if (code == CURLE_OK) {
		call_finish(call, NULL);
		return;
	}
	if (call->limit_hit)
		mt_fail(&err, MT_LIMIT, url, "the answer's %s are larger than %zu bytes",
			call->limit_hit == 1 ? "body bytes" : "headers",
			call->limit_hit == 1 ? call->max_body : (size_t)HEADERS_MAX);
	else
		mt_fail(&err, code_of(code), url, "%s",
			*call->detail ? call->detail : curl_easy_strerror(code));
	call_finish(call, &err);
}

static void on_client_closed(uv_handle_t *h)
{
	mt_free(MT_CONTAINER((uv_timer_t *)h, struct mt_http_client, timer));
}

static void client_destroy(struct mt_http_client *c)
{
	curl_multi_cleanup(c->multi); /* closes kept connections: on_socket() is called for them */
	uv_close((uv_handle_t *)&c->timer, on_client_closed);
}

static void collect(struct mt_http_client *c)
{
	CURLMsg *msg;
	int left;

	c->collecting = true;
	while ((msg = curl_multi_info_read(c->multi, &left))) {
		struct mt_http_call *call = NULL;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &call);
		transfer_done(call, msg->data.result);
	}
	c->collecting = false;
	if (c->doomed)
		client_destroy(c);
}

/* --- libcurl and libuv -------------------------------------------------------------------------- */

static void on_poll(uv_poll_t *h, int status, int events)
{
	struct watch *w = MT_CONTAINER(h, struct watch, uv);
	struct mt_http_client *c = w->client;
	int running, flags = 0;

	if (status < 0)
		flags = CURL_CSELECT_ERR;
	if (events & UV_READABLE)
		flags |= CURL_CSELECT_IN;
	if (events & UV_WRITABLE)
		flags |= CURL_CSELECT_OUT;
	curl_multi_socket_action(c->multi, w->fd, flags, &running);
	collect(c);
}

static void on_watch_closed(uv_handle_t *h)
{
	mt_free(MT_CONTAINER((uv_poll_t *)h, struct watch, uv));
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
	struct mt_http_client *c = ctx;
	struct watch *w = socket_ctx;
	int events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (w) {
			uv_poll_stop(&w->uv);
			curl_multi_assign(c->multi, fd, NULL);
			uv_close((uv_handle_t *)&w->uv, on_watch_closed);
		}
		return 0;
	}
	if (!w) {
		w = MT_NEW(struct watch);
		w->client = c;
		w->fd = fd;
		if (uv_poll_init_socket(mt_loop_uv(c->loop), &w->uv, fd) < 0) {
			mt_free(w);
			return -1;
		}
		curl_multi_assign(c->multi, fd, w);
	}
	if (what & CURL_POLL_IN)
		events |= UV_READABLE;
	if (what & CURL_POLL_OUT)
		events |= UV_WRITABLE;
	return uv_poll_start(&w->uv, events, on_poll) < 0 ? -1 : 0;
}

static void on_timer(uv_timer_t *h)
{
	struct mt_http_client *c = MT_CONTAINER(h, struct mt_http_client, timer);
	int running;

	curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	collect(c);
}

static int on_timeout(CURLM *multi, long ms, void *ctx)
{
	struct mt_http_client *c = ctx;

	(void)multi;
	if (ms < 0)
		uv_timer_stop(&c->timer);
	else
		uv_timer_start(&c->timer, on_timer, (uint64_t)ms, 0);
	return 0;
}

/* --- one call ----------------------------------------------------------------------------------- */

static size_t on_body(char *p, size_t size, size_t n, void *ctx)
{
	struct mt_http_call *call = ctx;

	if (size * n > call->max_body - call->body.n) {
		call->limit_hit = 1;
		return 0;
	}
	mt_buf_add(&call->body, p, size * n);
	return size * n;
}

static size_t on_header(char *p, size_t size, size_t n, void *ctx)
{
	struct mt_http_call *call = ctx;
	size_t len = size * n, keep = len;

	if (len >= 5 && memcmp(p, "HTTP/", 5) == 0)
		mt_buf_clear(&call->response_headers); /* an answer after "100 Continue" */
	if (len > HEADERS_MAX - MT_MIN(call->response_headers.n, (size_t)HEADERS_MAX)) {
		call->limit_hit = 2;
		return 0;
	}
	while (keep && (p[keep - 1] == '\r' || p[keep - 1] == '\n'))
		keep--;
	if (keep)
		mt_buf_add(&call->response_headers, p, keep);
	if (keep)
		mt_buf_addc(&call->response_headers, '\0');
	return len;
}

static const char *find_header(const struct mt_http_result *r, const char *name)
{
	const struct mt_http_call *call = MT_CONTAINER(r, struct mt_http_call, result);
	const char *p = mt_buf_str(&call->response_headers), *end = p + call->response_headers.n;
	size_t n = strlen(name);

	for (; p < end; p += strlen(p) + 1)
		if (strncasecmp(p, name, n) == 0 && p[n] == ':')
			return p + n + 1 + strspn(p + n + 1, " \t");
	return NULL;
}

static void set_method(struct mt_http_call *call, const struct mt_http_call_opts *o)
{
	const char *method = o->method ? o->method : "GET";

	if (strcmp(method, "HEAD") == 0) {
		curl_easy_setopt(call->easy, CURLOPT_NOBODY, 1L);
		return;
	}
	if (o->body_n || strcmp(method, "POST") == 0) {
		mt_buf_add(&call->request_body, o->body, o->body_n);
		curl_easy_setopt(call->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)o->body_n);
		curl_easy_setopt(call->easy, CURLOPT_POSTFIELDS, call->request_body.p);
	}
	curl_easy_setopt(call->easy, CURLOPT_CUSTOMREQUEST, method);
}

static void set_options(struct mt_http_call *call, const struct mt_http_call_opts *o)
{
	int64_t timeout = o->timeout_ns > 0 ? o->timeout_ns : 5 * MT_NS_PER_SEC;
	CURL *e = call->easy;

	curl_easy_setopt(e, CURLOPT_URL, o->url);
	curl_easy_setopt(e, CURLOPT_PRIVATE, call);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, call->detail);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(
		e, CURLOPT_PROXY, ""); /* the mesh's own traffic: no proxy of the shell's */
	curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)((timeout - 1) / MT_NS_PER_MS + 1));
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, call);
	curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(e, CURLOPT_HEADERDATA, call);
	curl_easy_setopt(e, CURLOPT_USERAGENT, "meltemi");
	if (o->ca_pem_file)
		curl_easy_setopt(e, CURLOPT_CAINFO, o->ca_pem_file);
	/* No wait of a second for "100 Continue" with larger bodies. */
	call->headers = curl_slist_append(NULL, "Expect:");
	for (size_t i = 0; o->headers && o->headers[i]; i++)
		call->headers = curl_slist_append(call->headers, o->headers[i]);
	curl_easy_setopt(e, CURLOPT_HTTPHEADER, call->headers);
	set_method(call, o);
}

struct mt_http_call *mt_http_call_start(struct mt_http_client *c, const struct mt_http_call_opts *o,
	void (*done)(void *ctx, const struct mt_http_result *r), void *ctx)
{
	struct mt_http_call *call = MT_NEW(struct mt_http_call);

	call->client = c;
	call->done = done;
	call->ctx = ctx;
	call->result.header = find_header;
	call->max_body = o->max_body ? o->max_body : 1 << 20;
	call->easy = curl_easy_init();
	if (!call->easy)
		abort(); /* no memory */
	set_options(call, o);
	call->next = c->calls;
	if (call->next)
		call->next->prev = call;
	c->calls = call;
	/* Also a call that cannot work (a bad URL) ends later, from the loop. */
	if (curl_multi_add_handle(c->multi, call->easy) != CURLM_OK)
		abort(); /* no memory, or the handle is in use: a bug of ours */
	return call;
}

void mt_http_call_cancel(struct mt_http_call *call)
{
	struct mt_err err;

	mt_fail(&err, MT_CANCELLED, NULL, "the call was cancelled");
	call_finish(call, &err);
}

struct mt_http_client *mt_http_client_new(struct mt_loop *l)
{
	struct mt_http_client *c = MT_NEW(struct mt_http_client);

	pthread_once(&curl_once, curl_init);
	c->loop = l;
	uv_timer_init(mt_loop_uv(l), &c->timer);
	c->multi = curl_multi_init();
	if (!c->multi)
		abort();
	curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
	curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
	curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
	curl_multi_setopt(c->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)CONNECTIONS_MAX);
	return c;
}

void mt_http_client_free(struct mt_http_client *c)
{
	if (!c)
		return;
	while (c->calls)
		mt_http_call_cancel(c->calls);
	if (c->collecting)
		c->doomed = true;
	else
		client_destroy(c);
}
