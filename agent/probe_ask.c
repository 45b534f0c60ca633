/* One question: begun, answered once or cancelled. What it began (a connection, a call, a command) may
 * end later than that, so a question is counted by who still points to it. */
#include "agent/probe_ask.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/proc.h"
#include "common/base/arena.h"
#include "common/base/mem.h"
#include "common/base/ref.h"
#include "common/base/strs.h"

struct agent_ask {
	struct mt_ref ref;
	struct agent_ask_opts o;
	bool over; /* answered or cancelled */
	char why[200];
	struct mt_timer *timer;
	struct mt_http_call *call;
	uv_tcp_t *tcp;
	struct agent_proc *proc;
	pid_t pid;
	struct mt_rpc_channel *channel;
};

static void unref(struct agent_ask *a)
{
	if (mt_ref_put(&a->ref))
		mt_free(a);
}

static void on_tcp_closed(uv_handle_t *h)
{
	struct agent_ask *a = h->data;

	mt_free(h);
	unref(a);
}

/* Lets go of everything that is under way. */
static void release(struct agent_ask *a)
{
	a->over = true;
	mt_timer_free(a->timer);
	a->timer = NULL;
	if (a->call)
		mt_http_call_cancel(MT_TAKE(a->call));
	if (a->tcp)
		uv_close((uv_handle_t *)MT_TAKE(a->tcp), on_tcp_closed);
	if (a->proc) {
		agent_proc_signal(a->proc, SIGKILL);
		agent_proc_forget(MT_TAKE(a->proc));
		waitpid(a->pid, NULL, 0); /* it was killed: at once */
	}
	if (a->channel)
		mt_rpc_channel_free(MT_TAKE(a->channel));
}

static void finish(struct agent_ask *a, const char *why)
{
	if (a->over)
		return;
	release(a);
	a->o.answer(a->o.ctx, why);
	unref(a);
}

void agent_ask_cancel(struct agent_ask *a)
{
	if (a->over)
		return;
	release(a);
	unref(a);
}

static void on_late(void *arg)
{
	finish(arg, "no answer in time");
}

/* A question that could not even be put: answered from the timer, as all others are. */
static void on_refused(void *arg)
{
	struct agent_ask *a = arg;

	finish(a, a->why);
}

static void refuse(struct agent_ask *a, const char *why)
{
	snprintf(a->why, sizeof(a->why), "%s", why);
	mt_timer_free(a->timer);
	a->timer = mt_timer_new(a->o.loop, on_refused, a);
	mt_timer_start(a->timer, 0, 0);
}

/* ---- HTTP ---- */

static void on_http(void *ctx, const struct mt_http_result *r)
{
	struct agent_ask *a = ctx;

	a->call = NULL;
	if (!a->over && r->err)
		finish(a, r->err->msg);
	else if (!a->over && (r->status < 200 || r->status >= 400)) {
		snprintf(a->why, sizeof(a->why), "HTTP status %d", r->status);
		finish(a, a->why);
	} else if (!a->over) {
		finish(a, NULL);
	}
	unref(a);
}

static void ask_http(struct agent_ask *a, const Nw__HTTPHealthCheckConfig *h)
{
	MT_AUTO(mt_arena_freep) struct mt_arena *s = mt_arena_new(0);
	const char *host = *h->host ? h->host : a->o.ip;
	const char **headers = MT_ANEWN(s, const char *, h->n_http_headers + 1);

	for (size_t i = 0; i < h->n_http_headers; i++)
		headers[i] = mt_arena_printf(
			s, "%s: %s", h->http_headers[i]->name, h->http_headers[i]->value);
	const char *url =
		mt_arena_printf(s, strchr(host, ':') ? "%s://[%s]:%u%s%s" : "%s://%s:%u%s%s",
			strcasecmp(h->scheme, "HTTPS") == 0 ? "https" : "http", host, h->port,
			*h->path == '/' ? "" : "/", h->path);
	mt_ref_get(&a->ref);
	a->call = mt_http_call_start(a->o.http,
		&(struct mt_http_call_opts){
			.url = url, .headers = headers, .timeout_ns = a->o.timeout_ns },
		on_http, a);
}

/* ---- TCP ---- */

static void on_connected(uv_connect_t *req, int status)
{
	struct agent_ask *a = req->data;

	mt_free(req);
	if (!a->over) {
		snprintf(a->why, sizeof(a->why), "cannot connect: %s",
			status < 0 ? uv_strerror(status) : "");
		finish(a, status < 0 ? a->why : NULL);
	}
	unref(a);
}

static int address(const char *host, uint16_t port, struct sockaddr_storage *ret)
{
	if (strcmp(host, "localhost") == 0)
		host = "127.0.0.1";
	if (strchr(host, ':'))
		return uv_ip6_addr(host, port, (struct sockaddr_in6 *)ret);
	return uv_ip4_addr(host, port, (struct sockaddr_in *)ret);
}

static void ask_tcp(struct agent_ask *a, const Nw__TCPHealthCheckConfig *t)
{
	struct sockaddr_storage to = { 0 };

	if (address(*t->host ? t->host : a->o.ip, (uint16_t)t->port, &to) < 0) {
		refuse(a, "tcpSocket.host is not an IP address");
		return;
	}
	uv_connect_t *req = MT_NEW(uv_connect_t);
	a->tcp = MT_NEW(uv_tcp_t);
	uv_tcp_init(mt_loop_uv(a->o.loop), a->tcp);
	a->tcp->data = a;
	mt_ref_get(&a->ref); /* the handle's */
	req->data = a;
	int r = uv_tcp_connect(req, a->tcp, (struct sockaddr *)&to, on_connected);
	if (r < 0) {
		mt_free(req);
		refuse(a, uv_strerror(r));
		return;
	}
	mt_ref_get(&a->ref); /* the request's */
}

/* ---- a command ---- */

static void on_exit_status(void *ctx, int status)
{
	struct agent_ask *a = ctx;

	agent_proc_forget(MT_TAKE(a->proc));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		finish(a, NULL);
		return;
	}
	snprintf(a->why, sizeof(a->why), "the command ended with %d",
		WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	finish(a, a->why);
}

static void ask_exec(struct agent_ask *a, const Nw__ExecHealthCheckConfig *e)
{
	struct mt_err err = { 0 };

	if (!a->o.allow_exec) {
		refuse(a, "commands are not run without --exec-probes");
		return;
	}
	char **argv = mt_reallocarray(NULL, e->n_command + 1, sizeof(*argv));
	memcpy(argv, e->command, e->n_command * sizeof(*argv));
	argv[e->n_command] = NULL;
	int r = agent_proc_spawn(a->o.loop,
		&(struct agent_proc_spec){ .path = argv[0],
			.argv = argv,
			.envp = environ,
			.output = "/dev/null",
			.exited = on_exit_status,
			.ctx = a },
		&a->proc, &err);
	mt_free(argv);
	if (r < 0)
		refuse(a, err.msg);
	else
		a->pid = agent_proc_id(a->proc)->pid;
}

/* ---- gRPC: grpc.health.v1.Health/Check ---- */

struct grpc_answer {
	struct agent_ask *a;
	char why[160]; /* "": serving */
};

static void run_grpc(void *arg)
{
	struct grpc_answer *g = arg;

	finish(g->a, *g->why ? g->why : NULL);
	unref(g->a);
	mt_free(g);
}

/* On a completion-queue thread. HealthCheckResponse: status = 1, SERVING 1. */
static void on_grpc(void *ctx, int status, const char *msg, const void *p, size_t n)
{
	struct grpc_answer *g = ctx;
	const uint8_t *b = p;

	if (status != 0)
		snprintf(g->why, sizeof(g->why), "gRPC status %d: %s", status, msg ? msg : "");
	else if (n < 2 || b[0] != 0x08 || b[1] != 1)
		snprintf(g->why, sizeof(g->why), "not serving");
	mt_loop_post(g->a->o.loop, run_grpc, g);
}

static void ask_grpc(struct agent_ask *a, const Nw__GrpcHealthCheckConfig *h)
{
	char target[64], req[256];
	size_t n = strnlen(h->service, 120), len = 0;
	struct mt_err err = { 0 };

	/* Plaintext does not leave the machine. */
	snprintf(target, sizeof(target), "%s:%u",
		mt_str_prefix(a->o.ip, "127.") ? a->o.ip : "127.0.0.1", h->port);
	if (mt_rpc_channel_new(
		    a->o.env, target, &(struct mt_rpc_channel_opts){ 0 }, &a->channel, &err) < 0) {
		refuse(a, err.msg);
		return;
	}
	if (n) { /* HealthCheckRequest: service = 1 */
		req[len++] = 0x0a;
		req[len++] = (char)n;
		memcpy(req + len, h->service, n);
		len += n;
	}
	struct grpc_answer *g = MT_NEW(struct grpc_answer);
	g->a = a;
	mt_ref_get(&a->ref);
	mt_rpc_unary(a->channel, "/grpc.health.v1.Health/Check", req, len, a->o.timeout_ns, NULL, 0,
		on_grpc, g);
}

struct agent_ask *agent_ask_start(const Nw__ReadinessProbe *spec, const struct agent_ask_opts *o)
{
	struct agent_ask *a = MT_NEW(struct agent_ask);

	mt_ref_init(&a->ref);
	a->o = *o;
	a->timer = mt_timer_new(o->loop, on_late, a);
	mt_timer_start(a->timer, o->timeout_ns, 0);
	switch (spec->health_check_method_case) {
	case NW__READINESS_PROBE__HEALTH_CHECK_METHOD_HTTP_GET: ask_http(a, spec->http_get); break;
	case NW__READINESS_PROBE__HEALTH_CHECK_METHOD_TCP_SOCKET:
		ask_tcp(a, spec->tcp_socket);
		break;
	case NW__READINESS_PROBE__HEALTH_CHECK_METHOD_EXEC: ask_exec(a, spec->exec); break;
	case NW__READINESS_PROBE__HEALTH_CHECK_METHOD_GRPC: ask_grpc(a, spec->grpc); break;
	default: refuse(a, "the probe says not what to ask");
	}
	return a;
}
