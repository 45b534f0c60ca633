/* The HTTP server, also against clients that do not behave. The loop runs on a thread of its own,
 * the test is the client. */
#include "common/http/server.h"

#include <jansson.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "tests/unit/http_raw.h"
#include "tests/unit/unit.h"

static struct mt_loop *loop;
static struct mt_http_server *server;
static pthread_t thread;
static uint16_t port;
static sem_t held;
static struct mt_http_req *parked;

/* --- the server under test ---------------------------------------------------------------------- */

static void echo(void *ctx, struct mt_http_req *r)
{
	const char *q = mt_http_query(r, "q"), *h = mt_http_header(r, "x-test");
	size_t n;
	const void *body = mt_http_body(r, &n);

	ck_assert(mt_loop_is_current(loop));
	mt_http_reply_json(r, 200,
		json_pack("{s:s, s:s, s:s, s:s*, s:s*, s:s%, s:b}", "route", ctx, "method",
			mt_http_method(r), "path", mt_http_path(r), "q", q, "header", h, "body",
			body, n, "loopback", mt_http_peer_is_loopback(r)));
}

static void refuse(void *ctx, struct mt_http_req *r)
{
	struct mt_err err;

	(void)ctx;
	mt_fail(&err, MT_DENIED, "spec.x", "not \"you\"");
	mt_http_reply_err(r, &err);
}

static void hold(void *ctx, struct mt_http_req *r)
{
	(void)ctx;
	parked = r;
	sem_post(&held);
}

static void release(void *arg)
{
	(void)arg;
	mt_http_reply(parked, 201, "text/plain", "late", 4);
}

static void *run(void *arg)
{
	mt_loop_run(loop);
	return arg;
}

static void begin(struct mt_http_server_opts o)
{
	struct mt_err err = { 0 };

	o.addr = "127.0.0.1:0";
	loop = mt_loop_new(&mt_clock_system);
	ck_assert_msg(mt_http_server_start(loop, &o, &server, &err) == 0, "%s", err.msg);
	port = mt_http_server_port(server);
	ck_assert_uint_ne(port, 0);
	mt_http_route(server, "GET,POST", "/echo", echo, (void *)"exact");
	mt_http_route(server, "GET", "/tree/", echo, (void *)"tree");
	mt_http_route(server, "GET", "/tree/deep/", echo, (void *)"deep");
	mt_http_route(server, "PUT", "/tree/deep/", echo, (void *)"put");
	mt_http_route(server, "GET", "/fail", refuse, NULL);
	mt_http_route(server, "GET", "/hold", hold, NULL);
	pthread_create(&thread, NULL, run, NULL);
}

static void stop_server(void *arg)
{
	(void)arg;
	mt_http_server_stop(server);
	mt_loop_stop(loop);
}

static void end(void)
{
	mt_loop_post(loop, stop_server, NULL);
	pthread_join(thread, NULL);
	mt_loop_free(loop);
}

static const struct mt_http_server_opts usual = { .max_body = 1000 };

/* --- clients ------------------------------------------------------------------------------------ */

/* Sends text, answers with the whole answer. */
static char *ask(const char *text)
{
	int fd = mt_raw_connect(port);
	char *answer;

	mt_raw_send(fd, text, 0);
	answer = mt_raw_read(fd);
	close(fd);
	return answer;
}

static void expect(const char *text, int status, const char *part)
{
	char *answer = ask(text);

	ck_assert_msg(mt_raw_status(answer) == status, "%s\n%s", text, answer);
	ck_assert_msg(!part || strstr(answer, part), "%s\n%s", text, answer);
	mt_free(answer);
}

static void still_serves(void)
{
	ck_assert_int_eq(mt_raw_get(port, "/echo", NULL), 200);
}

START_TEST(routes)
{
	begin(usual);
	expect("GET /echo?q=a%20b&r HTTP/1.1\r\nHost: x\r\nX-Test: yes\r\n\r\n", 200,
		"\"q\": \"a b\"");
	expect("GET /echo?q HTTP/1.1\r\nHost: x\r\nX-Test: yes\r\n\r\n", 200, "\"q\": \"\"");
	expect("GET /echo HTTP/1.1\r\nHost: x\r\nx-TEST: yes\r\n\r\n", 200, "\"header\": \"yes\"");
	expect("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 200,
		"\"body\": \"hello\"");
	expect("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
	       "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
		200, "\"body\": \"abcde\"");
	expect("GET /tree/%61/b HTTP/1.1\r\nHost: x\r\n\r\n", 200, "\"path\": \"/tree/a/b\"");
	expect("GET /tree/deep/x HTTP/1.1\r\nHost: x\r\n\r\n", 200, "\"route\": \"deep\"");
	expect("PUT /tree/deep/x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 200,
		"\"route\": \"put\"");
	expect("PUT /tree/x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405, "Allow: GET");
	expect("DELETE /echo HTTP/1.1\r\nHost: x\r\n\r\n", 405, "Allow: GET,POST");
	expect("GET /tree HTTP/1.1\r\nHost: x\r\n\r\n", 404, "\"code\": \"not_found\"");
	expect("GET /echo/ HTTP/1.1\r\nHost: x\r\n\r\n", 404, NULL);
	expect("HEAD /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200, NULL);
	expect("GET /fail HTTP/1.1\r\nHost: x\r\n\r\n", 403,
		"\"error\": \"spec.x: not \\\"you\\\"\"");
	end();
}
END_TEST

START_TEST(keep_alive)
{
	int fd;

	begin(usual);
	fd = mt_raw_connect(port);
	for (int i = 0; i < 20; i++) {
		char *answer;

		mt_raw_send(fd, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n", 0);
		answer = mt_raw_read(fd);
		ck_assert_int_eq(mt_raw_status(answer), 200);
		mt_free(answer);
	}
	close(fd);
	end();
}
END_TEST

START_TEST(answers_may_come_later)
{
	char *answer;
	int fd;

	begin(usual);
	fd = mt_raw_connect(port);
	mt_raw_send(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n", 0);
	sem_wait(&held);
	still_serves(); /* one that waits keeps nobody else waiting */
	mt_loop_post(loop, release, NULL);
	answer = mt_raw_read(fd);
	ck_assert_int_eq(mt_raw_status(answer), 201);
	ck_assert_ptr_nonnull(strstr(answer, "\r\n\r\nlate"));
	mt_free(answer);
	close(fd);
	end();
}
END_TEST

START_TEST(a_client_that_left_is_no_matter)
{
	int fd;

	begin(usual);
	fd = mt_raw_connect(port);
	mt_raw_send(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n", 0);
	sem_wait(&held);
	close(fd);
	mt_loop_post(loop, release, NULL);
	still_serves();
	end();
}
END_TEST

START_TEST(stopping_answers_503)
{
	char *answer;
	int fd;

	begin(usual);
	fd = mt_raw_connect(port);
	mt_raw_send(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n", 0);
	sem_wait(&held);
	end();
	answer = mt_raw_read(fd);
	ck_assert_int_eq(mt_raw_status(answer), 503);
	mt_free(answer);
	close(fd);
}
END_TEST

START_TEST(large_bodies)
{
	struct mt_buf b = { 0 };

	begin(usual);
	/* Stated: refused before it is read. */
	expect("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n", 413,
		"\"code\": \"limit\"");
	expect("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
		413, NULL);
	/* Not stated: read to its end. */
	mt_buf_adds(&b, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 300; i++)
		mt_buf_adds(&b, "5\r\nabcde\r\n");
	mt_buf_adds(&b, "0\r\n\r\n");
	expect(b.p, 413, "\"code\": \"limit\"");
	mt_buf_clear(&b);
	mt_buf_printf(
		&b, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n%01000d", 7);
	expect(b.p, 200, "00007\"");
	mt_buf_clear(&b);
	still_serves();
	end();
}
END_TEST

START_TEST(an_endless_body_is_cut_off)
{
	char chunk[8192];
	int fd, i;

	begin(usual);
	fd = mt_raw_connect(port);
	mt_raw_send(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 0);
	snprintf(chunk, sizeof(chunk), "1000\r\n%04096d\r\n", 0);
	for (i = 0; i < 100000 && mt_raw_send(fd, chunk, 0); i++)
		;
	ck_assert_int_lt(i, 100000);
	close(fd);
	still_serves();
	end();
}
END_TEST

START_TEST(large_headers)
{
	struct mt_buf b = { 0 };
	char *answer;
	int status, fd;

	begin(usual);
	/* Both answers are the library's own; what counts is that they are given and bounded. */
	mt_buf_printf(&b, "GET /%0100000d HTTP/1.1\r\nHost: x\r\n\r\n", 1);
	fd = mt_raw_connect(port);
	mt_raw_send(fd, b.p, b.n);
	answer = mt_raw_read(fd);
	status = mt_raw_status(answer);
	ck_assert_msg(status == 414 || status == 0, "%s", answer);
	mt_free(answer);
	close(fd);
	mt_buf_clear(&b);
	mt_buf_adds(&b, "GET /echo HTTP/1.1\r\nHost: x\r\n");
	for (int i = 0; i < 5000; i++)
		mt_buf_printf(&b, "X-H%d: %020d\r\n", i, i);
	mt_buf_adds(&b, "\r\n");
	answer = ask(b.p);
	status = mt_raw_status(answer);
	ck_assert_msg(status == 431 || status == 413 || status == 0, "%s", answer);
	mt_free(answer);
	mt_buf_clear(&b);
	still_serves();
	end();
}
END_TEST

START_TEST(garbage)
{
	static const char *const all[] = { "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /%00%ff?%00=%zz HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET / HTTP/1.1\r\nHost x\r\n\r\n", "GET / HTTP/1.1\r\n\r\n",
		"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
		"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
		"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
		"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
		"ffffffffffffffffffff\r\n" };
	/* No request yet: the library waits for more, even from a client that said it is done. */
	static const char *const parts[] = { "\r\n\r\n\r\n\r\n", "\x16\x03\x01\x02", "G", "" };
	unsigned seed = 1;
	char noise[512];

	begin(usual);
	for (size_t i = 0; i < MT_ARRAY_SIZE(all); i++) {
		int fd = mt_raw_connect(port);

		mt_raw_send(fd, all[i], 0);
		shutdown(fd, SHUT_WR);
		mt_free(mt_raw_read(fd));
		close(fd);
	}
	for (size_t i = 0; i < MT_ARRAY_SIZE(parts); i++) {
		int fd = mt_raw_connect(port);

		mt_raw_send(fd, parts[i], 0);
		close(fd);
	}
	for (int i = 0; i < 200; i++) {
		int fd = mt_raw_connect(port);

		for (size_t k = 0; k < sizeof(noise); k++)
			noise[k] = (char)rand_r(&seed);
		mt_raw_send(fd, noise, sizeof(noise));
		shutdown(fd, SHUT_WR);
		close(fd);
	}
	still_serves();
	end();
}
END_TEST

/* Bytes now and then keep the library's own timeout away: the reaper ends it. */
START_TEST(slow_clients_are_cut_off)
{
	struct mt_http_server_opts o = usual;
	int quiet, slow, i;
	char c;

	o.timeout_s = 1;
	begin(o);
	quiet = mt_raw_connect(port);
	slow = mt_raw_connect(port);
	mt_raw_send(slow, "GET /echo HTTP/1.1\r\n", 0);
	for (i = 0; i < 200; i++) {
		struct timeval wait = { .tv_usec = 100 * 1000 };

		if (!mt_raw_send(slow, "X", 1))
			break;
		setsockopt(slow, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
		if (recv(slow, &c, 1, 0) == 0)
			break;
	}
	ck_assert_int_lt(i, 200);
	ck_assert_int_le(recv(quiet, &c, 1, 0), 0); /* closed by the library's timeout */
	close(quiet);
	close(slow);
	still_serves();
	end();
}
END_TEST

START_TEST(connections_are_limited)
{
	struct mt_http_server_opts o = usual;
	int fds[20];

	o.max_connections = 5;
	o.timeout_s = 1;
	begin(o);
	for (size_t i = 0; i < MT_ARRAY_SIZE(fds); i++)
		fds[i] = mt_raw_connect(port); /* the kernel takes them */
	still_serves();                        /* once the silent ones before it were closed */
	for (size_t i = 0; i < MT_ARRAY_SIZE(fds); i++)
		close(fds[i]);
	end();
}
END_TEST

static void *many(void *arg)
{
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(mt_raw_get(port, i % 2 ? "/echo" : "/tree/x", NULL), 200);
	return arg;
}

START_TEST(many_at_once)
{
	pthread_t t[4];

	begin(usual);
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, many, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	end();
}
END_TEST

START_TEST(bad_addresses)
{
	struct mt_http_server_opts o = { .addr = "nonsense" };
	struct mt_http_server *s = NULL;
	char taken[32];
	struct mt_err err = { 0 };

	begin(usual);
	ck_assert_int_eq(mt_http_server_start(loop, &o, &s, &err), MT_INVALID);
	snprintf(taken, sizeof(taken), "127.0.0.1:%u", port);
	o.addr = taken;
	ck_assert_int_eq(mt_http_server_start(loop, &o, &s, &err), MT_IO);
	ck_assert_str_eq(err.path, taken);
	ck_assert_ptr_nonnull(strstr(err.msg, "in use"));
	ck_assert_ptr_null(s);
	mt_http_server_stop(NULL);
	mt_http_route(NULL, "GET", "/", echo, NULL);
	end();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { routes, keep_alive, answers_may_come_later,
		a_client_that_left_is_no_matter, stopping_answers_503, large_bodies,
		an_endless_body_is_cut_off, large_headers, garbage, slow_clients_are_cut_off,
		connections_are_limited, many_at_once, bad_addresses };

	sem_init(&held, 0, 0);
	return mt_unit_run("http_server", tests, MT_ARRAY_SIZE(tests));
}
