/* The HTTP server of the sample applications; see app.h.
 *
 * libmicrohttpd calls the access handler once when the headers are there, once for each piece of
 * body, and once at the end; only then the application's handler runs. Addresses are bound here and
 * not by libmicrohttpd, so that an address in use ends the program with a sentence.
 *
 * Stopping: SIGTERM and SIGINT are blocked in all threads and taken with sigwait by the main one,
 * which then raises `stopping` (long streams and delays watch it) and stops the daemons. */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/apps/common/app.h"

#define MAX_BODY (64 * 1024)

struct server {
	app_handler handler;
	void *ctx;
	struct MHD_Daemon *daemons[APP_MAX_LISTEN];
	size_t n;
};

static struct server server;
static atomic_bool stopping;

bool app_stopping(void)
{
	return atomic_load(&stopping);
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *conn, const char *url,
	const char *method, const char *version, const char *data, size_t *size, void **state)
{
	struct app_req *r = *state;

	(void)cls;
	(void)version;
	if (!r) {
		r = calloc(1, sizeof(*r));
		if (!r || !(r->body = calloc(1, 1)))
			app_die("out of memory");
		r->conn = conn;
		*state = r;
		return MHD_YES;
	}
	if (*size) {
		if (r->body_len + *size <= MAX_BODY) {
			r->body = realloc(r->body, r->body_len + *size + 1);
			if (!r->body)
				app_die("out of memory");
			memcpy(r->body + r->body_len, data, *size);
			r->body_len += *size;
			r->body[r->body_len] = '\0';
		} else {
			r->body_too_long = true;
		}
		*size = 0;
		return MHD_YES;
	}
	r->method = method;
	r->path = url;
	if (r->body_too_long)
		app_reply_text(r, 413, "the body is too long\n");
	else
		server.handler(r, server.ctx);
	if (!r->replied)
		app_reply_text(r, 404, "not found\n");
	return MHD_YES;
}

static void on_done(
	void *cls, struct MHD_Connection *conn, void **state, enum MHD_RequestTerminationCode why)
{
	struct app_req *r = *state;

	(void)cls;
	(void)conn;
	(void)why;
	if (!r)
		return;
	free(r->body);
	free(r);
	*state = NULL;
}

bool app_addr(const char *text, struct sockaddr_in *ret)
{
	const char *colon = strrchr(text, ':');
	char host[64];
	char *end;

	if (!colon || (size_t)(colon - text) >= sizeof(host))
		return false;
	memcpy(host, text, (size_t)(colon - text));
	host[colon - text] = '\0';
	long port = strtol(colon + 1, &end, 10);
	if (end == colon + 1 || *end || port < 0 || port > 65535)
		return false;
	*ret = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	return inet_pton(AF_INET, *host ? host : "127.0.0.1", &ret->sin_addr) == 1;
}

static int bind_or_die(const char *text)
{
	struct sockaddr_in sa;
	int one = 1;

	if (!app_addr(text, &sa))
		app_die("--listen %s: not ADDRESS:PORT", text);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		app_die("socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) || listen(fd, 512))
		app_die("cannot listen on %s: %s", text, strerror(errno));
	return fd;
}

void app_serve(const char *const *addrs, size_t n, app_handler h, void *ctx)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	server.handler = h;
	server.ctx = ctx;
	for (size_t i = 0; i < n && server.n < APP_MAX_LISTEN; i++) {
		struct MHD_Daemon *d = MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION |
				MHD_USE_INTERNAL_POLLING_THREAD | MHD_ALLOW_UPGRADE,
			0, NULL, NULL, on_request, NULL, MHD_OPTION_LISTEN_SOCKET,
			bind_or_die(addrs[i]), MHD_OPTION_NOTIFY_COMPLETED, on_done, NULL,
			MHD_OPTION_CONNECTION_LIMIT, 1024u, MHD_OPTION_CONNECTION_TIMEOUT, 60u,
			MHD_OPTION_THREAD_STACK_SIZE, (size_t)256 * 1024, MHD_OPTION_END);
		if (!d)
			app_die("cannot serve on %s", addrs[i]);
		server.daemons[server.n++] = d;
	}
}

void app_wait(void)
{
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	sigwait(&set, &sig);
	atomic_store(&stopping, true);
	for (size_t i = 0; i < server.n; i++)
		MHD_stop_daemon(server.daemons[i]);
}

const char *app_header(const struct app_req *r, const char *name)
{
	return MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND, name);
}

const char *app_query(const struct app_req *r, const char *name)
{
	return MHD_lookup_connection_value(r->conn, MHD_GET_ARGUMENT_KIND, name);
}

const char *app_cookie(const struct app_req *r, const char *name)
{
	return MHD_lookup_connection_value(r->conn, MHD_COOKIE_KIND, name);
}

void app_peer(const struct app_req *r, char *ret, size_t size)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	char ip[INET_ADDRSTRLEN] = "?";
	unsigned port = 0;

	if (info && info->client_addr->sa_family == AF_INET) {
		const struct sockaddr_in *sa = (const void *)info->client_addr;

		inet_ntop(AF_INET, &sa->sin_addr, ip, sizeof(ip));
		port = ntohs(sa->sin_port);
	}
	snprintf(ret, size, "%s:%u", ip, port);
}

void app_reply_header(struct app_req *r, const char *name, const char *value)
{
	if (r->nout == sizeof(r->out) / sizeof(r->out[0]))
		return;
	r->out[r->nout].name = name;
	snprintf(r->out[r->nout].value, sizeof(r->out[0].value), "%s", value);
	r->nout++;
}

void app_reply_response(struct app_req *r, int status, struct MHD_Response *resp)
{
	if (!resp)
		app_die("out of memory");
	for (size_t i = 0; i < r->nout; i++)
		MHD_add_response_header(resp, r->out[i].name, r->out[i].value);
	MHD_queue_response(r->conn, (unsigned)status, resp);
	MHD_destroy_response(resp);
	r->replied = true;
}

void app_reply(struct app_req *r, int status, const char *type, const char *body, size_t n)
{
	app_reply_header(r, "content-type", type);
	app_reply_response(r, status,
		MHD_create_response_from_buffer(n, (void *)(uintptr_t)body, MHD_RESPMEM_MUST_COPY));
}

void app_reply_text(struct app_req *r, int status, const char *text)
{
	app_reply(r, status, "text/plain; charset=utf-8", text, strlen(text));
}
