/* HTTP server over libmicrohttpd.
 *
 * Two threads meet here. libmicrohttpd's own thread (the "wire") reads requests; the loop answers.
 * A request goes through these states:
 *
 *   reading   wire: headers, then the body, up to max_body
 *   waiting   wire suspended the connection and put the request in the inbox; it belongs to the loop
 *   answered  loop set the response and resumed the connection; it belongs to the wire again
 *   done      wire sent it, or the connection went away: freed
 *
 * A suspended connection is left alone by libmicrohttpd, so while a request waits the loop may look
 * into it without a lock. The mutex guards the inbox, the list of waiting requests and the list of
 * connections. The server is reference counted, because a post to the loop may be under way when the
 * server is stopped.
 *
 * Limits: number of connections, header bytes, body bytes, silence (libmicrohttpd's timeout), and
 * the time a request may take to arrive in all: libmicrohttpd is content with a byte now and then,
 * so the reaper below shuts the socket of a client that has not finished asking. */
#include "common/http/server.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/cidr.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/http/request.h"

enum {
	HEADER_MAX = 32 * 1024, /* memory of a connection: request line, headers, reply headers */
	STOP_GRACE_MS = 1000,   /* for answers to leave when the server stops */
	REQUEST_TIME_FACTOR = 2 /* a whole request may take this many timeouts to arrive */
};

static void server_unref(struct mt_http_server *s)
{
	if (atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	for (struct mt_http_route_row *r = s->routes, *next; r; r = next) {
		next = r->next;
		mt_free(r->path);
		mt_free(r->methods);
		mt_free(r);
	}
	pthread_cond_destroy(&s->idle);
	pthread_mutex_destroy(&s->lock);
	mt_free(s);
}

/* --- wire: connections -------------------------------------------------------------------------- */

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

/* Loop. */
static void reap(void *arg)
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

/* --- wire: requests ----------------------------------------------------------------------------- */

static void on_loop(void *arg);

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
		mt_loop_post(s->loop, on_loop, s);
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

/* --- loop: answers ------------------------------------------------------------------------------ */

/* Loop, once a batch of requests. */
static void on_loop(void *arg)
{
	struct mt_http_server *s = arg;
	struct mt_http_req *r, *next;

	pthread_mutex_lock(&s->lock);
	r = s->inbox;
	s->inbox = NULL;
	s->inbox_last = &s->inbox;
	s->batch = r;
	pthread_mutex_unlock(&s->lock);
	/* A handler may stop the server, which empties the batch. */
	for (; (r = s->batch);) {
		next = r->next_inbox;
		s->batch = next;
		mt_http_dispatch(s, r);
	}
	server_unref(s);
}

void mt_http_answer(struct mt_http_req *r, int status, struct MHD_Response *resp)
{
	struct mt_http_server *s = r->server;

	pthread_mutex_lock(&s->lock);
	if (r->prev)
		r->prev->next = r->next;
	else
		s->waiting = r->next;
	if (r->next)
		r->next->prev = r->prev;
	r->state = MT_HTTP_ANSWERED;
	r->status = status;
	r->response = resp;
	/* Inside the lock: it orders what was set here before the wire's next look. */
	MHD_resume_connection(r->conn);
	pthread_mutex_unlock(&s->lock);
}

void mt_http_route(struct mt_http_server *s, const char *methods, const char *path,
	mt_http_handler h, void *ctx)
{
	struct mt_http_route_row *row;

	if (!s)
		return;
	row = MT_NEW(struct mt_http_route_row);

	row->methods = mt_strdup(methods);
	row->path = mt_strdup(path);
	row->handler = h;
	row->ctx = ctx;
	row->next = s->routes;
	s->routes = row;
}

uint16_t mt_http_server_port(const struct mt_http_server *s)
{
	return s->port;
}

/* --- start and stop ----------------------------------------------------------------------------- */

static int resolve(
	const char *addr, struct sockaddr_storage *ret, socklen_t *ret_len, struct mt_err *err)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_PASSIVE | AI_NUMERICSERV },
			*found;
	char host[256], service[8];
	uint16_t port;
	int r;

	if (mt_hostport_parse(addr, host, &port) < 0)
		return mt_fail(err, MT_INVALID, addr, "is not ADDRESS:PORT");
	snprintf(service, sizeof(service), "%u", port);
	r = getaddrinfo(*host ? host : NULL, service, &hints, &found);
	if (r)
		return mt_fail(err, MT_INVALID, addr, "cannot resolve: %s", gai_strerror(r));
	memcpy(ret, found->ai_addr, found->ai_addrlen);
	*ret_len = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

/* Bound here and not by libmicrohttpd, which loses errno. */
static int listen_on(const char *addr, int *ret_fd, uint16_t *ret_port, struct mt_err *err)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int fd, one = 1, r = resolve(addr, &ss, &len, err);

	if (r < 0)
		return r;
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return mt_fail_errno(err, addr, "cannot make a socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&ss, len) < 0 || listen(fd, 128) < 0) {
		r = mt_fail_errno(err, addr, "cannot listen");
		close(fd);
		return r;
	}
	len = sizeof(ss);
	getsockname(fd, (struct sockaddr *)&ss, &len);
	*ret_port = ntohs(ss.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&ss)->sin6_port
						   : ((struct sockaddr_in *)&ss)->sin_port);
	*ret_fd = fd;
	return 0;
}

static struct MHD_Daemon *start_wire(
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

int mt_http_server_start(struct mt_loop *l, const struct mt_http_server_opts *o,
	struct mt_http_server **ret, struct mt_err *err)
{
	struct mt_http_server *s;
	uint16_t port;
	int fd, r = listen_on(o->addr, &fd, &port, err);

	if (r < 0)
		return r;
	s = MT_NEW(struct mt_http_server);
	atomic_init(&s->refs, 1);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->idle, NULL);
	s->loop = l;
	s->port = port;
	s->inbox_last = &s->inbox;
	s->max_body = o->max_body ? o->max_body : 1 << 20;
	s->timeout_s = o->timeout_s ? o->timeout_s : 30;
	s->daemon = start_wire(s, o, fd);
	if (!s->daemon) {
		close(fd);
		server_unref(s);
		return mt_fail(err, MT_IO, o->addr, "cannot start the HTTP server%s",
			o->tls_cert_pem ? " (is the certificate sound?)" : "");
	}
	s->reaper = mt_timer_new(l, reap, s);
	mt_timer_start(s->reaper, MT_NS_PER_SEC / 2, MT_NS_PER_SEC / 2);
	*ret = s;
	return 0;
}

/* Answers what waits, and gives the answers a moment to leave. */
static void flush(struct mt_http_server *s)
{
	struct timespec until;

	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	s->inbox = s->batch = NULL;
	s->inbox_last = &s->inbox;
	while (s->waiting) {
		struct mt_http_req *r = s->waiting;

		pthread_mutex_unlock(&s->lock);
		mt_http_answer(r, 503,
			mt_http_error_response(503, MT_UNAVAILABLE, "the server is stopping"));
		pthread_mutex_lock(&s->lock);
	}
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += STOP_GRACE_MS % 1000 * 1000000L;
	until.tv_sec += STOP_GRACE_MS / 1000;
	while (s->requests)
		if (pthread_cond_timedwait(&s->idle, &s->lock, &until) == ETIMEDOUT)
			break;
	pthread_mutex_unlock(&s->lock);
}

void mt_http_server_stop(struct mt_http_server *s)
{
	int fd;

	if (!s)
		return;
	mt_timer_free(s->reaper);
	fd = MHD_quiesce_daemon(s->daemon);
	flush(s);
	MHD_stop_daemon(s->daemon);
	if (fd >= 0)
		close(fd);
	s->daemon = NULL;
	server_unref(s);
}
