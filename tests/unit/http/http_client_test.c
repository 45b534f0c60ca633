/* The HTTP client against our own server; both on one loop. */
#include "common/http/client.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/http/server.h"
#include "tests/unit/unit.h"

static struct mt_loop *loop;
static struct mt_http_server *server;
static struct mt_http_client *client;
static char base[64];
static struct mt_http_req *parked;

/* What the last call brought. */
static struct {
	int calls, want;
	int status, code;
	char body[256], msg[512], type[64];
} got;

static void echo(void *ctx, struct mt_http_req *r)
{
	const char *h = mt_http_header(r, "X-Test");
	size_t n;
	const void *body = mt_http_body(r, &n);

	(void)ctx;
	mt_http_reply_json(r, 200,
		json_pack(
			"{s:s, s:s*, s:s%}", "method", mt_http_method(r), "h", h, "body", body, n));
}

static void big(void *ctx, struct mt_http_req *r)
{
	char *p = mt_alloc(100000);

	(void)ctx;
	memset(p, 'x', 100000);
	mt_http_reply(r, 200, "text/plain", p, 100000);
	mt_free(p);
}

static void hold(void *ctx, struct mt_http_req *r)
{
	(void)ctx;
	parked = r;
}

static void begin(void)
{
	struct mt_http_server_opts o = { .addr = "127.0.0.1:0" };
	struct mt_err err = { 0 };

	memset(&got, 0, sizeof(got));
	got.want = 1;
	loop = mt_loop_new(&mt_clock_system);
	ck_assert_msg(mt_http_server_start(loop, &o, &server, &err) == 0, "%s", err.msg);
	mt_http_route(server, "GET,POST,PUT,DELETE", "/echo", echo, NULL);
	mt_http_route(server, "GET", "/big", big, NULL);
	mt_http_route(server, "GET", "/hold", hold, NULL);
	snprintf(base, sizeof(base), "http://127.0.0.1:%u", mt_http_server_port(server));
	client = mt_http_client_new(loop);
}

static void end(void)
{
	mt_http_client_free(client);
	client = NULL;
	mt_http_server_stop(server);
	mt_loop_free(loop);
}

static void done(void *ctx, const struct mt_http_result *r)
{
	(void)ctx;
	got.status = r->status;
	got.code = r->err ? r->err->code : 0;
	snprintf(got.msg, sizeof(got.msg), "%s", r->err ? r->err->msg : "");
	snprintf(got.body, sizeof(got.body), "%.*s", (int)MT_MIN(r->n, sizeof(got.body) - 1),
		r->body);
	snprintf(got.type, sizeof(got.type), "%s",
		r->header(r, "content-TYPE") ? r->header(r, "content-TYPE") : "");
	if (++got.calls == got.want)
		mt_loop_stop(loop);
}

static struct mt_http_call *start(const char *path, struct mt_http_call_opts o)
{
	MT_AUTO(mt_strfreep)
	char *url = *path == '/' ? mt_asprintf("%s%s", base, path) : mt_strdup(path);

	o.url = url;
	return mt_http_call_start(client, &o, done, NULL);
}

static const struct mt_http_call_opts usual = { 0 };

START_TEST(asks_and_is_answered)
{
	static const char *const headers[] = { "X-Test: yes", NULL };
	struct mt_http_call_opts o = {
		.method = "PUT", .headers = headers, .body = "bytes", .body_n = 5
	};

	begin();
	start("/echo", o);
	mt_loop_run(loop);
	ck_assert_int_eq(got.status, 200);
	ck_assert_ptr_nonnull(strstr(got.body, "\"method\": \"PUT\""));
	ck_assert_ptr_nonnull(strstr(got.body, "\"h\": \"yes\""));
	ck_assert_ptr_nonnull(strstr(got.body, "\"body\": \"bytes\""));
	ck_assert_str_eq(got.type, "application/json");
	start("/none", usual); /* an answer of any status is an answer */
	got.calls = 0;
	mt_loop_run(loop);
	ck_assert_int_eq(got.status, 404);
	ck_assert_int_eq(got.code, 0);
	o = (struct mt_http_call_opts){ .method = "POST" };
	start("/echo", o);
	got.calls = 0;
	mt_loop_run(loop);
	ck_assert_ptr_nonnull(strstr(got.body, "\"method\": \"POST\""));
	o.method = "HEAD";
	start("/echo", o);
	got.calls = 0;
	mt_loop_run(loop);
	ck_assert_int_eq(got.status, 200);
	ck_assert_str_eq(got.body, "");
	end();
}
END_TEST

START_TEST(many_at_once)
{
	begin();
	got.want = 200;
	for (int i = 0; i < got.want; i++)
		start("/echo", usual);
	mt_loop_run(loop);
	ck_assert_int_eq(got.calls, 200);
	ck_assert_int_eq(got.status, 200);
	end();
}
END_TEST

START_TEST(limits)
{
	struct mt_http_call_opts o = { .max_body = 99999 };

	begin();
	start("/big", o);
	mt_loop_run(loop);
	ck_assert_int_eq(got.code, MT_LIMIT);
	ck_assert_int_eq(got.status, 0);
	ck_assert_str_eq(got.body, "");
	o.max_body = 100000;
	start("/big", o);
	got.calls = 0;
	mt_loop_run(loop);
	ck_assert_int_eq(got.status, 200);
	o = (struct mt_http_call_opts){ .timeout_ns = 50 * MT_NS_PER_MS };
	start("/hold", o);
	got.calls = 0;
	mt_loop_run(loop);
	ck_assert_int_eq(got.code, MT_TIMEOUT);
	end();
}
END_TEST

START_TEST(what_cannot_work)
{
	begin();
	start("http://127.0.0.1:1/", usual);
	ck_assert_int_eq(got.calls, 0); /* never from inside start */
	mt_loop_run(loop);
	ck_assert_int_eq(got.code, MT_UNAVAILABLE);
	ck_assert_str_ne(got.msg, "");
	start("file:///etc/hostname", usual);
	got.calls = 0;
	mt_loop_run(loop);
	ck_assert_int_eq(got.code, MT_INVALID);
	start("http://[broken/", usual);
	got.calls = 0;
	mt_loop_run(loop);
	ck_assert_int_eq(got.code, MT_INVALID);
	end();
}
END_TEST

START_TEST(cancelled)
{
	struct mt_http_call *call;

	begin();
	got.want = 2;
	call = start("/hold", usual);
	mt_http_call_cancel(call);
	ck_assert_int_eq(got.calls, 1);
	ck_assert_int_eq(got.code, MT_CANCELLED);
	start("/hold", usual);
	mt_http_client_free(client);
	ck_assert_int_eq(got.calls, 2);
	ck_assert_int_eq(got.code, MT_CANCELLED);
	client = NULL;
	end();
}
END_TEST

static void done_and_free(void *ctx, const struct mt_http_result *r)
{
	ck_assert_int_eq(r->status, 200);
	(void)ctx;
	mt_http_client_free(client);
	client = NULL;
	mt_loop_stop(loop);
}

START_TEST(freed_by_its_own_callback)
{
	struct mt_http_call_opts o = usual;
	char url[128];

	begin();
	got.want = 1000;
	for (int i = 0; i < 5; i++)
		start("/hold", usual);
	snprintf(url, sizeof(url), "%s/echo", base);
	o.url = url;
	mt_http_call_start(client, &o, done_and_free, NULL);
	mt_loop_run(loop);
	ck_assert_int_eq(got.calls, 5);
	ck_assert_int_eq(got.code, MT_CANCELLED);
	end();
}
END_TEST

/* Servers that do not speak HTTP, one connection each. */
static uv_tcp_t raw, raw_conn;
static const char *raw_text;

static void on_written(uv_write_t *w, int status)
{
	(void)status;
	uv_close((uv_handle_t *)w->handle, NULL);
	mt_free(w);
}

static void on_room(uv_handle_t *h, size_t want, uv_buf_t *b)
{
	static char room[4096];

	(void)h, (void)want;
	*b = uv_buf_init(room, sizeof(room));
}

/* The request is read first: closing with unread bytes would be a reset, not an answer. */
static void on_request(uv_stream_t *s, ssize_t n, const uv_buf_t *in)
{
	uv_buf_t b = uv_buf_init((char *)raw_text, (unsigned)strlen(raw_text));

	(void)in;
	ck_assert_int_ge(n, 0);
	uv_read_stop(s);
	uv_write(MT_NEW(uv_write_t), s, &b, 1, on_written);
}

static void on_connect(uv_stream_t *s, int status)
{
	ck_assert_int_eq(status, 0);
	uv_tcp_init(s->loop, &raw_conn);
	uv_accept(s, (uv_stream_t *)&raw_conn);
	uv_read_start((uv_stream_t *)&raw_conn, on_room, on_request);
}

static int against(const char *text)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int len = sizeof(in);
	char url[64];

	raw_text = text;
	uv_tcp_init(mt_loop_uv(loop), &raw);
	uv_tcp_bind(&raw, (struct sockaddr *)&in, 0);
	uv_listen((uv_stream_t *)&raw, 5, on_connect);
	uv_tcp_getsockname(&raw, (struct sockaddr *)&in, &len);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/", ntohs(in.sin_port));
	got.calls = 0;
	start(url, usual);
	mt_loop_run(loop);
	uv_close((uv_handle_t *)&raw, NULL);
	uv_run(mt_loop_uv(loop), UV_RUN_NOWAIT);
	return got.code;
}

START_TEST(servers_that_misbehave)
{
	static char endless[200000];
	size_t n = 0;

	begin();
	ck_assert_int_lt(against(""), 0);
	ck_assert_int_lt(against("hello\r\n\r\n"), 0);
	ck_assert_int_lt(against("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), 0);
	ck_assert_int_lt(against("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n"), 0);
	/* A redirect is an answer, not an order. */
	ck_assert_int_eq(against("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n"
				 "Content-Length: 0\r\n\r\n"),
		0);
	ck_assert_int_eq(got.status, 302);
	n += (size_t)snprintf(endless, sizeof(endless), "HTTP/1.1 200 OK\r\n");
	while (n + 100 < sizeof(endless))
		n += (size_t)snprintf(endless + n, sizeof(endless) - n, "X-%zu: %050d\r\n", n, 1);
	ck_assert_int_lt(against(endless), 0);
	end();
}
END_TEST

MT_UNIT(http_client, asks_and_is_answered, many_at_once, limits, what_cannot_work, cancelled,
	freed_by_its_own_callback, servers_that_misbehave)
