/* Inside of the HTTP server: what its files share. server.c is its life and the loop's side, wire.c
 * the thread of libmicrohttpd, request.c what a handler sees: routes, fields of a request, replies. */
#pragma once

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/base/buf.h"
#include "common/http/server.h"

struct mt_http_route_row {
	struct mt_http_route_row *next;
	char *methods;
	char *path;
	mt_http_handler handler;
	void *ctx;
};

struct wire_conn;

struct mt_http_server {
	atomic_uint refs; /* the owner, and each post to the loop that is under way */
	struct mt_loop *loop;
	struct MHD_Daemon *daemon;
	struct mt_timer *reaper;
	uint16_t port;
	size_t max_body;
	unsigned timeout_s;
	struct mt_http_route_row *routes; /* loop */
	struct mt_http_req *batch;        /* loop: being dispatched, linked by next_inbox */

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t idle;  /* requests came down to 0 */
	bool stopping;
	size_t requests;             /* of all states */
	struct mt_http_req *waiting; /* linked by prev, next */
	struct mt_http_req *inbox;   /* waiting and not yet dispatched, linked by next_inbox */
	struct mt_http_req **inbox_last;
	struct wire_conn *conns;
};

enum mt_http_state { MT_HTTP_READING, MT_HTTP_WAITING, MT_HTTP_ANSWERED };

struct mt_http_req {
	struct mt_http_server *server;
	struct MHD_Connection *conn;
	char *method;
	char *path;
	struct mt_buf body;
	bool too_large;
	size_t discarded;
	enum mt_http_state state;
	struct MHD_Response *response; /* owned until queued */
	int status;
	struct mt_http_req *prev, *next, *next_inbox;
};

/* Finds the route and calls its handler, or answers 404 or 405. Loop. */
void mt_http_dispatch(struct mt_http_server *s, struct mt_http_req *r);
/* Takes resp; r is not the caller's any more. Loop. */
void mt_http_answer(struct mt_http_req *r, int status, struct MHD_Response *resp);
/* Runs what has come in since the last time; drops a reference. Loop. */
void mt_http_on_loop(void *arg);

/* Takes fd, which listens, also when it fails (NULL). */
struct MHD_Daemon *mt_http_wire_start(
	struct mt_http_server *s, const struct mt_http_server_opts *o, int fd);
/* Shuts connections whose request takes too long to arrive. Loop. */
void mt_http_wire_reap(void *server);

int mt_http_listen(const char *addr, int *ret_fd, uint16_t *ret_port, struct mt_err *err);
struct MHD_Response *mt_http_error_response(int status, int code, const char *msg);
