/* Probes against a real server, socket and command; the loop runs until the health that is awaited. */
#include "agent/probe.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/http/server.h"
#include "tests/unit/unit.h"

struct bench {
	struct mt_loop *loop;
	struct mt_rpc_env *env;
	struct agent_probe *p;
	struct mt_timer *limit;
	enum agent_health health, wanted;
	char reason[200];
	unsigned changes;
	int status; /* what the server answers */
};

static void changed(void *ctx, enum agent_health health, const char *reason)
{
	struct bench *b = ctx;

	b->health = health;
	b->changes++;
	snprintf(b->reason, sizeof(b->reason), "%s", reason);
	if (health == b->wanted)
		mt_loop_stop(b->loop);
}

static void too_late(void *arg)
{
	(void)arg;
	ck_abort_msg("the health that is awaited does not come");
}

static void bench_open(struct bench *b, bool allow_exec)
{
	*b = (struct bench){ .loop = mt_loop_new(&mt_clock_system), .env = mt_rpc_env_new(1) };
	b->limit = mt_timer_new(b->loop, too_late, NULL);
	mt_timer_start(b->limit, 20 * MT_NS_PER_SEC, 0);
	b->p = agent_probe_new(&(struct agent_probe_opts){ .loop = b->loop,
		.env = b->env,
		.ip = "127.0.0.1",
		.allow_exec = allow_exec,
		.changed = changed,
		.ctx = b });
}

static void bench_close(struct bench *b)
{
	agent_probe_free(b->p);
	mt_timer_free(b->limit);
	mt_rpc_env_free(b->env);
	mt_loop_free(b->loop);
}

static void await(struct bench *b, enum agent_health health)
{
	b->wanted = health;
	if (b->health != health)
		mt_loop_run(b->loop);
	ck_assert_int_eq(b->health, health);
}

static Nw__ReadinessProbe probe(Nw__ReadinessProbe__HealthCheckMethodCase method)
{
	Nw__ReadinessProbe p = NW__READINESS_PROBE__INIT;

	p.period_seconds = 1;
	p.failure_threshold = 2;
	p.health_check_method_case = method;
	return p;
}

static void page(void *ctx, struct mt_http_req *req)
{
	struct bench *b = ctx;
	const char *who = mt_http_header(req, "x-who");

	mt_http_reply(req, who && strcmp(who, "probe") == 0 ? b->status : 400, "text/plain", "", 0);
}

START_TEST(http)
{
	struct bench b;
	struct mt_http_server *s;
	Nw__HTTPHealthCheckConfig h = NW__HTTPHEALTH_CHECK_CONFIG__INIT;
	Nw__HTTPHeader who = NW__HTTPHEADER__INIT, *headers[] = { &who };
	Nw__ReadinessProbe p = probe(NW__READINESS_PROBE__HEALTH_CHECK_METHOD_HTTP_GET);

	bench_open(&b, false);
	b.status = 200;
	ck_assert_int_eq(mt_http_server_start(b.loop,
				 &(struct mt_http_server_opts){ .addr = "127.0.0.1:0" }, &s, NULL),
		0);
	mt_http_route(s, "GET", "/ready", page, &b);
	h.path = "/ready";
	h.port = mt_http_server_port(s);
	who.name = "x-who";
	who.value = "probe";
	h.n_http_headers = 1;
	h.http_headers = headers;
	p.http_get = &h;
	agent_probe_set(b.p, &p);
	await(&b, AGENT_HEALTHY);
	b.status = 503;
	await(&b, AGENT_UNHEALTHY);
	ck_assert_str_eq(b.reason, "HTTP status 503");
	b.status = 302;
	await(&b, AGENT_HEALTHY);
	/* The same again changes nothing; none makes it unknown. */
	agent_probe_set(b.p, &p);
	ck_assert_uint_eq(b.changes, 3);
	agent_probe_set(b.p, NULL);
	ck_assert_int_eq(b.health, AGENT_HEALTH_UNKNOWN);
	mt_http_server_stop(s);
	bench_close(&b);
}
END_TEST

START_TEST(tcp)
{
	struct bench b;
	Nw__TCPHealthCheckConfig t = NW__TCPHEALTH_CHECK_CONFIG__INIT;
	Nw__ReadinessProbe p = probe(NW__READINESS_PROBE__HEALTH_CHECK_METHOD_TCP_SOCKET);
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_eq(listen(fd, 8), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	bench_open(&b, false);
	t.port = ntohs(a.sin_port);
	p.tcp_socket = &t;
	agent_probe_set(b.p, &p);
	await(&b, AGENT_HEALTHY);
	close(fd);
	await(&b, AGENT_UNHEALTHY);
	ck_assert_ptr_nonnull(strstr(b.reason, "connect"));
	bench_close(&b);
}
END_TEST

START_TEST(command)
{
	struct bench b;
	char *yes[] = { "true" }, *no[] = { "false" }, *slow[] = { "sleep", "60" };
	Nw__ExecHealthCheckConfig e = NW__EXEC_HEALTH_CHECK_CONFIG__INIT;
	Nw__ReadinessProbe p = probe(NW__READINESS_PROBE__HEALTH_CHECK_METHOD_EXEC);

	p.failure_threshold = 1;
	p.exec = &e;
	e.n_command = 1;
	e.command = yes;
	bench_open(&b, true);
	agent_probe_set(b.p, &p);
	await(&b, AGENT_HEALTHY);
	e.command = no;
	agent_probe_set(b.p, &p);
	await(&b, AGENT_UNHEALTHY);
	ck_assert_str_eq(b.reason, "the command ended with 1");
	e.command = yes;
	agent_probe_set(b.p, &p);
	await(&b, AGENT_HEALTHY);
	e.n_command = 2;
	e.command = slow;
	agent_probe_set(b.p, &p);
	await(&b, AGENT_UNHEALTHY);
	ck_assert_str_eq(b.reason, "no answer in time");
	bench_close(&b);

	/* Without leave no command is run. */
	e.n_command = 1;
	e.command = yes;
	bench_open(&b, false);
	agent_probe_set(b.p, &p);
	await(&b, AGENT_UNHEALTHY);
	ck_assert_ptr_nonnull(strstr(b.reason, "--exec-probes"));
	bench_close(&b);
}
END_TEST

START_TEST(grpc_without_a_server)
{
	struct bench b;
	Nw__GrpcHealthCheckConfig g = NW__GRPC_HEALTH_CHECK_CONFIG__INIT;
	Nw__ReadinessProbe p = probe(NW__READINESS_PROBE__HEALTH_CHECK_METHOD_GRPC);

	g.port = 1;
	p.grpc = &g;
	p.failure_threshold = 1;
	bench_open(&b, false);
	agent_probe_set(b.p, &p);
	await(&b, AGENT_UNHEALTHY);
	bench_close(&b);
}
END_TEST

static void health_message(struct mt_rpc_stream *s, const void *p, size_t n)
{
	uint8_t reply[] = { 0x08, n == 4 && memcmp(p, "\x0a\x02hi", 4) == 0 ? 1 : 2 };
	mt_slice m = mt_slice_copy(reply, sizeof(reply));

	mt_rpc_stream_reply(s, &m, 1);
}

static int health_open(struct mt_rpc_stream *s, void *ctx, struct mt_err *err)
{
	(void)s;
	(void)ctx;
	(void)err;
	return 0;
}

static void health_close(struct mt_rpc_stream *s, int status, const char *msg)
{
	(void)s;
	(void)status;
	(void)msg;
}

START_TEST(grpc)
{
	static const struct mt_rpc_ops ops = {
		.open = health_open, .message = health_message, .close = health_close
	};
	const struct mt_rpc_method m = { .path = "/grpc.health.v1.Health/Check", .ops = &ops };
	const char *addr = "127.0.0.1:0";
	struct mt_rpc_server *server;
	struct bench b;
	Nw__GrpcHealthCheckConfig g = NW__GRPC_HEALTH_CHECK_CONFIG__INIT;
	Nw__ReadinessProbe p = probe(NW__READINESS_PROBE__HEALTH_CHECK_METHOD_GRPC);

	bench_open(&b, false);
	ck_assert_int_eq(mt_rpc_server_start(b.env, &(struct mt_rpc_server_opts){ 0 }, &addr, 1, &m,
				 1, &server, NULL),
		0);
	g.port = mt_rpc_server_port(server, 0);
	g.service = "hi";
	p.grpc = &g;
	p.failure_threshold = 1;
	agent_probe_set(b.p, &p);
	await(&b, AGENT_HEALTHY);
	g.service = "other";
	agent_probe_set(b.p, &p);
	await(&b, AGENT_UNHEALTHY);
	ck_assert_str_eq(b.reason, "not serving");
	agent_probe_set(b.p, NULL);
	mt_rpc_server_stop(server, 0);
	bench_close(&b);
}
END_TEST

MT_UNIT(probe, http, tcp, command, grpc_without_a_server, grpc)
