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
 * so the reaper (wire.c) shuts the socket of a client that has not finished asking. */
#include "common/http/server.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/http/request.h"

enum { STOP_GRACE_S = 1 }; /* for answers to leave when the server stops */

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

/* --- loop: answers ------------------------------------------------------------------------------ */

void mt_http_on_loop(void *arg)
{
	struct mt_http_server *s = arg;
	struct mt_http_req *r;

	pthread_mutex_lock(&s->lock);
	s->batch = s->inbox;
	s->inbox = NULL;
	s->inbox_last = &s->inbox;
	pthread_mutex_unlock(&s->lock);
	/* A handler may stop the server, which empties the batch. */
	while ((r = s->batch)) {
		s->batch = r->next_inbox;
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

int mt_http_server_start(struct mt_loop *l, const struct mt_http_server_opts *o,
	struct mt_http_server **ret, struct mt_err *err)
{
	struct mt_http_server *s;
	uint16_t port = 0;
	int fd = -1, r = mt_http_listen(o->addr, &fd, &port, err);

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
	s->daemon = mt_http_wire_start(s, o, fd);
	if (!s->daemon) {
		server_unref(s);
		return mt_fail(err, MT_IO, o->addr, "cannot start the HTTP server%s",
			o->tls_cert_pem ? " (is the certificate sound?)" : "");
	}
	s->reaper = mt_timer_new(l, mt_http_wire_reap, s);
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
	until.tv_sec += STOP_GRACE_S;
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
