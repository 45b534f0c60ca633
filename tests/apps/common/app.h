/* What the sample applications share: an HTTP/1.1 server, a small client and command-line flags.
 *
 * The server runs one thread a connection (libmicrohttpd), so a handler may block: it sleeps for an
 * asked delay, or calls other services. That is the right trade for programs that hold tens of
 * connections from their sidecar. Limits: 1024 connections, 64 KiB of request body, 60 s of silence.
 * Threads: a handler runs on its connection's thread; guard what handlers share. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <microhttpd.h>
#include <netinet/in.h>

#define APP_MAX_LISTEN 16

struct app_req {
	struct MHD_Connection *conn;
	const char *method;
	const char *path;
	char *body; /* NUL-terminated; "" when there is none */
	size_t body_len;
	bool body_too_long;
	bool replied;
	struct app_header {
		const char *name; /* not copied: literals */
		char value[512];
	} out[8]; /* headers of the answer */
	size_t nout;
};

typedef void (*app_handler)(struct app_req *r, void *ctx);

/* Serves on every address ("127.0.0.1:8000"); exits the process with a message when one cannot be
 * bound. */
void app_serve(const char *const *addrs, size_t n, app_handler h, void *ctx);

/* Returns after SIGTERM or SIGINT, with the servers stopped. */
void app_wait(void);

/* True once the process has been told to stop: what streams for long looks at it. */
bool app_stopping(void);

/* Request: NULL when absent. */
const char *app_header(const struct app_req *r, const char *name);
const char *app_query(const struct app_req *r, const char *name);
const char *app_cookie(const struct app_req *r, const char *name);
void app_peer(const struct app_req *r, char *ret, size_t size); /* "ip:port" */

/* Answer: headers first, then one of the replies. The body is copied. */
void app_reply_header(struct app_req *r, const char *name, const char *value);
void app_reply(struct app_req *r, int status, const char *type, const char *body, size_t n);
void app_reply_text(struct app_req *r, int status, const char *text);
/* Hands over any libmicrohttpd response (streams, upgrades); destroys it. */
void app_reply_response(struct app_req *r, int status, struct MHD_Response *resp);

/* Client. `via` ("127.0.0.1:9080", NULL or "" to go straight) is where the connection goes, whatever
 * host the URL names: the outbound listener of the sidecar. Tracing headers and `end-user` of `from`
 * (nullable) are passed on; `user` (nullable) names another end-user. Connections are kept per thread. */
struct app_answer {
	int status; /* 0: no answer, error says why */
	char *body; /* never NULL, NUL-terminated, at most 1 MiB */
	size_t body_len;
	char error[256];
};
void app_get(const char *url, const char *via, const struct app_req *from, const char *user,
	int timeout_ms, struct app_answer *ret);
void app_answer_clear(struct app_answer *a);

/* Flags: --name value or --name=value. An unknown flag, or --help, prints the usage and exits. */
struct app_flag {
	const char *name;
	const char *help;
	const char **value;                  /* holds the default */
	const char *(*many)[APP_MAX_LISTEN]; /* instead: a repeatable flag */
	size_t *many_n;
};
void app_flags(int argc, char **argv, const char *about, const struct app_flag *flags, size_t n);

/* "250ms", "2s", "1.5s", plain digits are milliseconds; -1 when it is none of these. */
int64_t app_duration_ms(const char *text);
bool app_addr(const char *text, struct sockaddr_in *ret); /* "127.0.0.1:80", ":80" */
void app_sleep_ms(int64_t ms);                            /* ends early when stopping */
int64_t app_now_us(void);
void app_die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Plain TCP beside HTTP: every accepted connection gets the greeting, then all it sends comes back.
 * ret_open counts connections that are open, ret_total all that were. */
void app_tcp_echo(const char *addr, const char *greeting);
void app_tcp_counts(uint64_t *ret_open, uint64_t *ret_total);

/* Answers a WebSocket handshake and echoes frames of up to 64 KiB until the peer closes. False when
 * the request is none (nothing has been replied then). */
bool app_websocket_echo(struct app_req *r);
