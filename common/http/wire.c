/* The wire's side of the HTTP server: what runs on libmicrohttpd's thread. See server.c. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/mem.h"
#include "common/http/request.h"

enum {
	HEADER_MAX = 32 * 1024, /* memory of a connection: request line, headers, reply headers */
	REQUEST_TIME_FACTOR = 2 /* a whole request may take this many timeouts to arrive */
};

/* --- connections -------------------------------------------------------------------------------- */

/* A connection as the reaper sees it. */
struct wire_conn {
	struct wire_conn *prev, *next;
	int fd;
	int64_t since_ns; /* when the request that is awaited could first arrive */
	bool busy;        /* a whole request was read, its answer is not out */
};

static void on_connection(void *cls, struct MHD_Connection *c, void **socket_ctx,
	enum MHD_ConnectionNotificationCode code)
{
	struct mt_http_server *s = cls;
	struct wire_conn *w = *socket_ctx;
	const union MHD_ConnectionInfo *info;

	pthread_mutex_lock(&s->lock);
	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
		w = MT_NEW(struct wire_conn);
		w->fd = info ? info->connect_fd : -1;
		w->since_ns = mt_mono(&mt_clock_system);
		w->next = s->conns;
		if (w->next)
			w->next->prev = w;
		s->conns = w;
		*socket_ctx = w;
	} else if (w) {
		/* Comes before libmicrohttpd closes the socket: the reaper never sees a stale fd. */
		if (w->prev)
			w->prev->next = w->next;
		else
			s->conns = w->next;
		if (w->next)
			w->next->prev = w->prev;
		mt_free(w);
		*socket_ctx = NULL;
	}
	pthread_mutex_unlock(&s->lock);
}

static void mark(struct mt_http_server *s, struct MHD_Connection *c, bool busy)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct wire_conn *w = info ? info->socket_context : NULL;

	if (!w)
		return;
	pthread_mutex_lock(&s->lock);
	w->busy = busy;
	w->since_ns = mt_mono(&mt_clock_system);
	pthread_mutex_unlock(&s->lock);
}

void mt_http_wire_reap(void *arg)
{
	struct mt_http_server *s = arg;
	int64_t oldest = mt_mono(&mt_clock_system) -
		(int64_t)s->timeout_s * REQUEST_TIME_FACTOR * MT_NS_PER_SEC;

	pthread_mutex_lock(&s->lock);
	for (struct wire_conn *w = s->conns; w; w = w->next)
		if (!w->busy && w->since_ns < oldest && w->fd >= 0)
			shutdown(w->fd, SHUT_RDWR); /* the wire notices and closes */
	pthread_mutex_unlock(&s->lock);
}

/* --- requests ----------------------------------------------------------------------------------- */

/* Hands the request to the loop. False when the server stops. */
static bool submit(struct mt_http_req *r)
{
	struct mt_http_server *s = r->server;
	bool post;

	mark(s, r->conn, true);
	pthread_mutex_lock(&s->lock);
	if (s->stopping) {
		pthread_mutex_unlock(&s->lock);
		return false;
	}
	MHD_suspend_connection(r->conn);
	r->state = MT_HTTP_WAITING;
	post = !s->inbox;
	*s->inbox_last = r;
	s->inbox_last = &r->next_inbox;
	r->next_inbox = NULL;
	r->prev = NULL;
	r->next = s->waiting;
	if (r->next)
		r->next->prev = r;
	s->waiting = r;
	if (post) {
		atomic_fetch_add(&s->refs, 1);
		mt_loop_post(s->loop, mt_http_on_loop, s);
	}
	pthread_mutex_unlock(&s->lock);
	return true;
}

static enum MHD_Result send_response(struct mt_http_req *r, struct MHD_Response *resp, int status)
{
	enum MHD_Result ok = MHD_queue_response(r->conn, (unsigned)status, resp);

	MHD_destroy_response(resp);
	return ok;
}

static enum MHD_Result refuse(struct mt_http_req *r, int status, int code, const char *msg)
{
	struct MHD_Response *resp = mt_http_error_response(status, code, msg);

	r->state = MT_HTTP_ANSWERED;
	MHD_add_response_header(resp, "Connection", "close");
	return send_response(r, resp, status);
}

static struct mt_http_req *request_new(
	struct mt_http_server *s, struct MHD_Connection *c, const char *url, const char *method)
{
	struct mt_http_req *r = MT_NEW(struct mt_http_req);

	r->server = s;
	r->conn = c;
	r->path = mt_strdup(url);
	r->method = mt_strdup(method);
	pthread_mutex_lock(&s->lock);
	s->requests++;
	pthread_mutex_unlock(&s->lock);
	return r;
}

/* The body's length as the client states it, 0 when it does not. */
static unsigned long long stated_length(struct MHD_Connection *c)
{
	const char *text = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Content-Length");

	return text ? strtoull(text, NULL, 10) : 0;
}

static enum MHD_Result take_body(struct mt_http_req *r, const char *data, size_t *size)
{
	size_t max = r->server->max_body;

	if (r->body.n + *size > max || r->too_large) {
		/* Nothing can be answered before the body has ended: read on for a while, keep none,
		 * and hang up on one that does not end. */
		r->too_large = true;
		r->discarded += *size;
		mt_buf_clear(&r->body);
		if (r->discarded > 8 * max + (1 << 20))
			return MHD_NO;
	} else {
		mt_buf_add(&r->body, data, *size);
	}
	*size = 0;
	return MHD_YES;
}

static enum MHD_Result on_access(void *cls, struct MHD_Connection *c, const char *url,
	const char *method, const char *version, const char *data, size_t *size, void **ctx)
{
	struct mt_http_server *s = cls;
	struct mt_http_req *r = *ctx;

	(void)version;
	if (!r) {
		*ctx = r = request_new(s, c, url, method);
		if (stated_length(c) > s->max_body)
			return refuse(r, 413, MT_LIMIT, "the body is too large");
		return MHD_YES; /* go on with the body */
	}
	if (r->response)
		return send_response(r, MT_TAKE(r->response), r->status);
	if (*size)
		return take_body(r, data, size);
	if (r->too_large)
		return refuse(r, 413, MT_LIMIT, "the body is too large");
	if (!submit(r))
		return refuse(r, 503, MT_UNAVAILABLE, "the server is stopping");
	return MHD_YES;
}

static void on_completed(
	void *cls, struct MHD_Connection *c, void **ctx, enum MHD_RequestTerminationCode code)
{
	struct mt_http_server *s = cls;
	struct mt_http_req *r = *ctx;

	(void)code;
	mark(s, c, false);
	if (!r)
		return;
	*ctx = NULL;
	if (r->response)
		MHD_destroy_response(r->response);
	mt_buf_clear(&r->body);
	mt_free(r->path);
	mt_free(r->method);
	mt_free(r);
	pthread_mutex_lock(&s->lock);
	if (--s->requests == 0)
		pthread_cond_broadcast(&s->idle);
	pthread_mutex_unlock(&s->lock);
}

/* libmicrohttpd's own complaints are about peers: counted by nobody, logged by nobody. */
static void no_log(void *cls, const char *fmt, va_list ap)
{
	(void)cls, (void)fmt, (void)ap;
}

struct MHD_Daemon *mt_http_wire_start(
	struct mt_http_server *s, const struct mt_http_server_opts *o, int fd)
{
	unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC |
		MHD_USE_ERROR_LOG;
	struct MHD_OptionItem tls[] = { { MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)o->tls_cert_pem },
		{ MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)o->tls_key_pem },
		{ MHD_OPTION_END, 0, NULL } };
	struct MHD_OptionItem none[] = { { MHD_OPTION_END, 0, NULL } };

	if (o->tls_cert_pem)
		flags |= MHD_USE_TLS;
	return MHD_start_daemon(flags, 0, NULL, NULL, on_access, s, MHD_OPTION_EXTERNAL_LOGGER,
		no_log, NULL, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED,
		on_completed, s, MHD_OPTION_NOTIFY_CONNECTION, on_connection, s,
		MHD_OPTION_CONNECTION_LIMIT,
		(unsigned)(o->max_connections ? o->max_connections : 256),
		MHD_OPTION_CONNECTION_TIMEOUT, s->timeout_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)HEADER_MAX, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_ARRAY,
		o->tls_cert_pem ? tls : none, MHD_OPTION_END);
}
