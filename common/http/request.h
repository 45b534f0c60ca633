/* Inside of the HTTP server: what its two files share. server.c is about threads and the wire,
 * request.c about what a handler sees: routes, fields of a request, replies. */
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
struct MHD_Response *mt_http_error_response(int status, int code, const char *msg);
