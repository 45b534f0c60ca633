/* echo: answers with what it saw. The backend of the traffic tests.
 *
 * Any path answers JSON: name, version, method, path, host, headers, peer and local address. What the
 * answer should be is asked in the query:
 *   status=503        answer with that status
 *   delay=250ms       wait before answering
 *   fail=2&id=x       the next two requests with id x answer 503 (see fail-status), later ones 200
 *   size=10000        pad the answer to about that many bytes
 *   drop=1            close the connection without an answer
 * /healthz answers 200 (or 503 after POST /unhealthy, until POST /healthy), /stats the counts since
 * the start or the last DELETE /stats, /stream?interval=200ms lines until the peer goes, and a
 * WebSocket handshake on any path echoes frames. --tcp serves plain TCP: a greeting, then an echo. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <jansson.h>

#include "tests/apps/common/app.h"

#define MAX_KEYS 256 /* distinct paths or hosts that are counted by name */
#define MAX_IDS 1024 /* distinct ids of ?fail= */

static const char *name = "echo", *version = "v1";
static atomic_bool unhealthy;

/* Counts since the start or the last reset, behind one mutex. */
static struct {
	pthread_mutex_t lock;
	json_int_t total;
	json_t *by_path, *by_status, *by_host;
	json_t *failed; /* id: how many requests were failed for it */
} stats = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void stats_reset(void)
{
	json_decref(stats.by_path);
	json_decref(stats.by_status);
	json_decref(stats.by_host);
	json_decref(stats.failed);
	stats.total = 0;
	stats.by_path = json_object();
	stats.by_status = json_object();
	stats.by_host = json_object();
	stats.failed = json_object();
}

static void bump(json_t *table, const char *key)
{
	json_t *v = json_object_get(table, key);

	if (!v && json_object_size(table) >= MAX_KEYS) {
		key = "(other)";
		v = json_object_get(table, key);
	}
	json_object_set_new(table, key, json_integer(json_integer_value(v) + 1));
}

static void count(const struct app_req *r, int status)
{
	const char *host = app_header(r, "host");
	char code[16];

	snprintf(code, sizeof(code), "%d", status);
	pthread_mutex_lock(&stats.lock);
	stats.total++;
	bump(stats.by_path, r->path);
	bump(stats.by_status, code);
	bump(stats.by_host, host ? host : "");
	pthread_mutex_unlock(&stats.lock);
}

static void reply_json(struct app_req *r, int status, json_t *doc)
{
	char *text = json_dumps(doc, JSON_INDENT(1) | JSON_PRESERVE_ORDER);

	app_reply(r, status, "application/json", text, strlen(text));
	free(text);
	json_decref(doc);
}

static void serve_stats(struct app_req *r)
{
	uint64_t tcp_open, tcp_total;

	app_tcp_counts(&tcp_open, &tcp_total);
	pthread_mutex_lock(&stats.lock);
	if (!strcmp(r->method, "DELETE"))
		stats_reset();
	json_t *doc = json_pack("{s:s, s:s, s:I, s:o, s:o, s:o, s:I, s:I}", "name", name, "version",
		version, "total", stats.total, "by_path", json_deep_copy(stats.by_path),
		"by_status", json_deep_copy(stats.by_status), "by_host",
		json_deep_copy(stats.by_host), "tcp_open", (json_int_t)tcp_open, "tcp_total",
		(json_int_t)tcp_total);
	pthread_mutex_unlock(&stats.lock);
	reply_json(r, 200, doc);
}

/* Should this request fail? ?fail=N fails the first N requests of its id. */
static bool must_fail(const struct app_req *r)
{
	const char *n = app_query(r, "fail");
	const char *id = app_query(r, "id");
	bool fail = false;

	if (!n)
		return false;
	id = id ? id : "";
	pthread_mutex_lock(&stats.lock);
	json_int_t seen = json_integer_value(json_object_get(stats.failed, id));
	if (seen < atoi(n) && (seen || json_object_size(stats.failed) < MAX_IDS)) {
		json_object_set_new(stats.failed, id, json_integer(seen + 1));
		fail = true;
	}
	pthread_mutex_unlock(&stats.lock);
	return fail;
}

static enum MHD_Result add_value(
	void *ctx, enum MHD_ValueKind kind, const char *key, const char *value)
{
	(void)kind;
	char lower[256];
	size_t i;

	for (i = 0; i < sizeof(lower) - 1 && key[i]; i++)
		lower[i] = (char)(key[i] >= 'A' && key[i] <= 'Z' ? key[i] + 32 : key[i]);
	lower[i] = '\0';
	json_object_set_new(
		ctx, lower, json_stringn_nocheck(value ? value : "", value ? strlen(value) : 0));
	return MHD_YES;
}

static int connection_fd(const struct app_req *r)
{
	return MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
}

static void local_addr(const struct app_req *r, char *ret, size_t size)
{
	struct sockaddr_in sa = { 0 };
	socklen_t len = sizeof(sa);
	char ip[INET_ADDRSTRLEN] = "?";

	getsockname(connection_fd(r), (struct sockaddr *)&sa, &len);
	inet_ntop(AF_INET, &sa.sin_addr, ip, sizeof(ip));
	snprintf(ret, size, "%s:%u", ip, ntohs(sa.sin_port));
}

static void serve_echo(struct app_req *r, int status)
{
	const char *host = app_header(r, "host"), *size = app_query(r, "size");
	json_t *headers = json_object(), *query = json_object();
	char peer[64], local[64];

	MHD_get_connection_values(r->conn, MHD_HEADER_KIND, add_value, headers);
	MHD_get_connection_values(r->conn, MHD_GET_ARGUMENT_KIND, add_value, query);
	app_peer(r, peer, sizeof(peer));
	local_addr(r, local, sizeof(local));
	json_t *doc = json_pack("{s:s, s:s, s:s, s:s, s:s?, s:s, s:s, s:o, s:o, s:I}", "name", name,
		"version", version, "method", r->method, "path", r->path, "host", host, "peer",
		peer, "local", local, "query", query, "headers", headers, "body_bytes",
		(json_int_t)r->body_len);
	if (size) {
		int n = atoi(size);
		char *pad = calloc(1, (size_t)(n > 0 && n <= 1048576 ? n : 0) + 1);

		if (!pad)
			app_die("out of memory");
		memset(pad, 'x', (size_t)(n > 0 && n <= 1048576 ? n : 0));
		json_object_set_new(doc, "pad", json_string(pad));
		free(pad);
	}
	app_reply_header(r, "x-app-name", name);
	app_reply_header(r, "x-app-version", version);
	reply_json(r, status, doc);
}

/* A stream: one line an interval, until the peer goes or the program ends. */
struct stream {
	int64_t interval_ms;
	unsigned long seq;
};

static ssize_t stream_read(void *ctx, uint64_t pos, char *buf, size_t max)
{
	struct stream *s = ctx;

	(void)pos;
	if (s->seq)
		app_sleep_ms(s->interval_ms);
	if (app_stopping())
		return MHD_CONTENT_READER_END_OF_STREAM;
	return snprintf(buf, max, "%s %s %lu\n", name, version, s->seq++);
}

static void serve_stream(struct app_req *r)
{
	const char *interval = app_query(r, "interval");
	struct stream *s = calloc(1, sizeof(*s));

	if (!s)
		app_die("out of memory");
	s->interval_ms = interval ? app_duration_ms(interval) : 200;
	if (s->interval_ms < 1)
		s->interval_ms = 1;
	app_reply_header(r, "content-type", "text/plain");
	app_reply_header(r, "x-app-version", version);
	app_reply_response(r, 200,
		MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 256, stream_read, s, free));
}

static bool serve_control(struct app_req *r)
{
	if (!strcmp(r->path, "/healthz")) {
		bool bad = atomic_load(&unhealthy);

		app_reply_text(r, bad ? 503 : 200, bad ? "unhealthy\n" : "ok\n");
	} else if (!strcmp(r->path, "/stats")) {
		serve_stats(r);
	} else if (!strcmp(r->method, "POST") &&
		(!strcmp(r->path, "/unhealthy") || !strcmp(r->path, "/healthy"))) {
		atomic_store(&unhealthy, r->path[1] == 'u');
		app_reply_text(r, 200, "ok\n");
	} else {
		return false;
	}
	return true;
}

static void handle(struct app_req *r, void *ctx)
{
	const char *status = app_query(r, "status"), *delay = app_query(r, "delay");
	int code = status ? atoi(status) : 200;

	(void)ctx;
	if (serve_control(r))
		return;
	if (code < 200 || code > 599)
		code = 400;
	if (must_fail(r))
		code = 503;
	/* As it comes: who gave up waiting for it is counted with the others of its time. */
	count(r, app_query(r, "drop") ? 0 : code);
	if (delay)
		app_sleep_ms(app_duration_ms(delay));
	if (app_query(r, "drop")) {
		shutdown(connection_fd(r), SHUT_RDWR);
		app_reply_text(r, 500, "dropped\n");
	} else if (!strcmp(r->path, "/stream")) {
		serve_stream(r);
	} else if (!app_websocket_echo(r)) {
		serve_echo(r, code);
	}
}

int main(int argc, char **argv)
{
	static const char *listen_on[APP_MAX_LISTEN], *tcp_on[APP_MAX_LISTEN];
	size_t nlisten = 0, ntcp = 0;
	const struct app_flag flags[] = {
		{ "listen", "ADDR:PORT to serve HTTP on, repeatable", .many = &listen_on,
			.many_n = &nlisten },
		{ "tcp", "ADDR:PORT to serve plain TCP on, repeatable", .many = &tcp_on,
			.many_n = &ntcp },
		{ "name", "name in the answers", .value = &name },
		{ "version", "version in the answers", .value = &version },
	};
	char greeting[128];

	app_flags(argc, argv, "answers with what it saw", flags, sizeof(flags) / sizeof(flags[0]));
	if (!nlisten && !ntcp)
		app_die("--listen or --tcp is needed");
	stats_reset();
	snprintf(greeting, sizeof(greeting), "%s %s\n", name, version);
	app_serve(listen_on, nlisten, handle, NULL);
	for (size_t i = 0; i < ntcp; i++)
		app_tcp_echo(tcp_on[i], greeting);
	printf("%s %s ready\n", name, version);
	fflush(stdout);
	app_wait();
	return 0;
}
