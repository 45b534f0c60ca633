/* load: HTTP/1.1 requests at a fixed rate, whatever the answers do (open loop).
 *
 * Request number i is due at start + i / rate. It goes out on an idle kept-alive connection, or on a
 * new one while there are fewer than --connections, or waits; its latency counts from when it was
 * due, so that a stalled server shows. When more than --backlog requests wait, the surplus is not sent
 * and counted as `dropped`: this machine or the server was too slow, no answer was lost. A kept-alive
 * connection that turns out closed before any byte of the answer came is what every client retries:
 * once, counted as `retried`.
 *
 * One thread, one epoll. Memory is fixed by --connections. On exit (after --seconds or --count
 * requests, or at SIGTERM) it prints one JSON object:
 *   sent, ok (status below 400), status {code: n}, errors {kind: n}, retried, by {value: n},
 *   dropped, latency_ms {mean, p50, p90, p99, p999, max}, seconds, samples [the first 20 failures]
 * Kinds of errors: connect, closed, timeout, parse. */
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "tests/apps/common/answer.h"
#include "tests/apps/common/app.h"
#include "tests/apps/common/hist.h"

#define MAX_CONNECTIONS 4096
#define MAX_REQUEST 4096
#define MAX_SAMPLES 20
#define MAX_BY 64

enum conn_state { CONN_CLOSED, CONN_CONNECTING, CONN_BUSY, CONN_IDLE };

struct conn {
	int fd;
	enum conn_state state;
	bool reused, retried;
	int64_t due_us, deadline_us;
	uint64_t number;
	char out[MAX_REQUEST];
	size_t out_len, out_sent;
	struct answer answer;
};

static struct {
	/* what to send */
	struct sockaddr_in to;
	char path[2048], host[256];
	const char *headers[APP_MAX_LISTEN];
	size_t nheaders;
	const char *by_header, *by_json;
	/* how much */
	double rate;
	uint64_t count, backlog;
	int64_t end_us, timeout_us;
	/* now */
	int epoll;
	struct conn *conns;
	size_t nconns;
	int64_t start_us;
	uint64_t next; /* number of the next request to go out */
	size_t in_flight;
	/* results */
	uint64_t sent, ok, retried, dropped;
	uint64_t status[600];
	json_t *errors, *by, *samples;
	struct hist latency;
} load;

static volatile sig_atomic_t stop_asked;

static void on_signal(int sig)
{
	(void)sig;
	stop_asked = 1;
}

static void sample(const struct conn *c, const char *what, const char *detail)
{
	struct timespec now;

	if (json_array_size(load.samples) >= MAX_SAMPLES)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	json_array_append_new(load.samples,
		json_pack("{s:f, s:I, s:s, s:s%}", "at",
			(double)now.tv_sec + (double)now.tv_nsec / 1e9, "request",
			(json_int_t)(c ? c->number : 0), "what", what, "detail", detail,
			strnlen(detail, 200)));
}

static void bump(json_t *table, const char *key, uint64_t by)
{
	json_t *v = json_object_get(table, key);

	if (!v && json_object_size(table) >= MAX_BY)
		key = "(other)", v = json_object_get(table, key);
	json_object_set_new(table, key, json_integer(json_integer_value(v) + (json_int_t)by));
}

static void conn_close(struct conn *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->state = CONN_CLOSED;
}

static void conn_watch(struct conn *c, int op, uint32_t events)
{
	struct epoll_event ev = { .events = events | EPOLLRDHUP, .data.ptr = c };

	epoll_ctl(load.epoll, op, c->fd, &ev);
}

static void fail(struct conn *c, const char *kind, const char *detail)
{
	bump(load.errors, kind, 1);
	sample(c, kind, detail);
	load.in_flight--;
	conn_close(c);
}

/* True when the connection could be begun; a failure has been counted otherwise. */
static bool conn_open(struct conn *c)
{
	int one = 1;

	c->reused = false;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0 ||
		(connect(c->fd, (struct sockaddr *)&load.to, sizeof(load.to)) &&
			errno != EINPROGRESS)) {
		fail(c, "connect", strerror(errno));
		return false;
	}
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->state = CONN_CONNECTING;
	conn_watch(c, EPOLL_CTL_ADD, EPOLLOUT);
	return true;
}

/* The request's text; "{n}" in the path becomes the request's number. */
static void write_request(struct conn *c)
{
	const char *mark = strstr(load.path, "{n}");
	int n = mark ? snprintf(c->out, sizeof(c->out), "GET %.*s%llu%s HTTP/1.1\r\nHost: %s\r\n",
			       (int)(mark - load.path), load.path, (unsigned long long)c->number,
			       mark + 3, load.host)
		     : snprintf(c->out, sizeof(c->out), "GET %s HTTP/1.1\r\nHost: %s\r\n",
			       load.path, load.host);
	size_t len = (size_t)n;

	for (size_t i = 0; i < load.nheaders && len < sizeof(c->out); i++)
		len += (size_t)snprintf(
			c->out + len, sizeof(c->out) - len, "%s\r\n", load.headers[i]);
	if (len + 2 >= sizeof(c->out))
		app_die("the request is longer than %d bytes", MAX_REQUEST);
	memcpy(c->out + len, "\r\n", 2);
	c->out_len = len + 2;
}

static void conn_send(struct conn *c)
{
	while (c->out_sent < c->out_len) {
		ssize_t n =
			send(c->fd, c->out + c->out_sent, c->out_len - c->out_sent, MSG_NOSIGNAL);

		if (n < 0) {
			if (errno == EAGAIN || errno == EINTR)
				break;
			return; /* the read side will tell */
		}
		c->out_sent += (size_t)n;
	}
	conn_watch(c, EPOLL_CTL_MOD, EPOLLIN | (c->out_sent < c->out_len ? EPOLLOUT : 0));
}

static void begin(struct conn *c, uint64_t number, int64_t due)
{
	c->number = number;
	c->due_us = due;
	c->deadline_us = app_now_us() + load.timeout_us;
	c->retried = false;
	c->out_sent = 0;
	write_request(c);
	answer_reset(&c->answer, load.by_header);
	load.sent++;
	load.in_flight++;
	if (c->state == CONN_IDLE) {
		c->reused = true;
		c->state = CONN_BUSY;
		conn_send(c);
	} else {
		conn_open(c);
	}
}

static void count_by(const struct answer *a)
{
	if (load.by_header) {
		bump(load.by, a->value, 1);
	} else if (load.by_json) {
		json_t *doc = json_loads(a->body, 0, NULL);
		const char *v = json_string_value(json_object_get(doc, load.by_json));

		bump(load.by, v ? v : "", 1);
		json_decref(doc);
	}
}

static void complete(struct conn *c)
{
	struct answer *a = &c->answer;
	char what[32];

	hist_add(&load.latency, app_now_us() - c->due_us);
	if (a->status > 0 && a->status < 600)
		load.status[a->status]++;
	if (a->status < 400) {
		load.ok++;
	} else {
		snprintf(what, sizeof(what), "status %d", a->status);
		sample(c, what, a->body);
	}
	count_by(a);
	load.in_flight--;
	if (!a->keep_alive) {
		conn_close(c);
		return;
	}
	c->state = CONN_IDLE;
	conn_watch(c, EPOLL_CTL_MOD, EPOLLIN);
}

/* The peer closed, or the connection broke, while an answer was due. */
static void broken(struct conn *c, const char *why)
{
	if (answer_eof(&c->answer) == ANSWER_DONE) {
		complete(c);
	} else if (c->reused && !c->retried && !c->answer.started) {
		load.retried++;
		conn_close(c);
		c->retried = true;
		c->out_sent = 0;
		conn_open(c);
	} else {
		fail(c, "closed", why);
	}
}

static void conn_read(struct conn *c)
{
	char buf[65536];

	for (;;) {
		ssize_t n = recv(c->fd, buf, sizeof(buf), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (c->state == CONN_IDLE) { /* closed by the peer, or bytes nobody asked for */
			conn_close(c);
			return;
		}
		if (n <= 0) {
			broken(c, n ? strerror(errno) : "closed by the peer");
			return;
		}
		enum answer_state s = answer_feed(&c->answer, buf, (size_t)n);
		if (s == ANSWER_BAD) {
			fail(c, "parse", c->answer.head);
			return;
		}
		if (s == ANSWER_DONE) {
			complete(c);
			return;
		}
	}
}

static void conn_event(struct conn *c, uint32_t events)
{
	if (c->state == CONN_CONNECTING) {
		int err = 0;
		socklen_t len = sizeof(err);

		getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len);
		if (err) {
			fail(c, "connect", strerror(err));
			return;
		}
		c->state = CONN_BUSY;
		conn_send(c);
		return;
	}
	if (c->state == CONN_BUSY && (events & EPOLLOUT))
		conn_send(c);
	if (c->state != CONN_CLOSED && (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
		conn_read(c);
}

static struct conn *conn_free(void)
{
	struct conn *closed = NULL;

	for (size_t i = 0; i < load.nconns; i++) {
		if (load.conns[i].state == CONN_IDLE)
			return &load.conns[i];
		if (load.conns[i].state == CONN_CLOSED && !closed)
			closed = &load.conns[i];
	}
	return closed;
}

static int64_t due_time(uint64_t number)
{
	return load.start_us + (int64_t)((double)number * 1e6 / load.rate);
}

/* Sends what is due; the time when the next one is. */
static int64_t send_due(int64_t now)
{
	while (load.next < load.count && due_time(load.next) <= now) {
		uint64_t due = (uint64_t)((double)(now - load.start_us) * load.rate / 1e6) + 1;
		struct conn *c = conn_free();

		if (due > load.count)
			due = load.count;
		if (!c) {
			if (due - load.next > load.backlog) {
				load.dropped += due - load.next - load.backlog;
				load.next = due - load.backlog;
			}
			return now + 5000; /* an answer will wake us before */
		}
		begin(c, load.next, due_time(load.next));
		load.next++;
	}
	return due_time(load.next);
}

static void check_timeouts(int64_t now)
{
	for (size_t i = 0; i < load.nconns; i++) {
		struct conn *c = &load.conns[i];

		if ((c->state == CONN_BUSY || c->state == CONN_CONNECTING) && now > c->deadline_us)
			fail(c, "timeout", c->answer.started ? "in the answer" : "no answer");
	}
}

static void run(void)
{
	struct epoll_event events[256];
	int64_t check_at = 0;

	load.start_us = app_now_us();
	for (;;) {
		int64_t now = app_now_us(), wake = now + 10000;
		bool over = stop_asked || now >= load.end_us || load.next >= load.count;

		if (over && !load.in_flight)
			break;
		if (!over) {
			int64_t due = send_due(now);

			wake = due < wake ? due : wake;
		}
		int64_t wait = wake > now ? wake - now : 0;
		int n = epoll_pwait2(load.epoll, events, 256,
			&(struct timespec){ .tv_nsec = wait * 1000 }, NULL);
		for (int i = 0; i < n; i++)
			conn_event(events[i].data.ptr, events[i].events);
		if (app_now_us() >= check_at) {
			check_timeouts(app_now_us());
			check_at = app_now_us() + 10000;
		}
	}
}

static void print_summary(void)
{
	json_t *status = json_object();
	const struct hist *h = &load.latency;
	char code[16];

	for (int i = 0; i < 600; i++) {
		if (!load.status[i])
			continue;
		snprintf(code, sizeof(code), "%d", i);
		json_object_set_new(status, code, json_integer((json_int_t)load.status[i]));
	}
	json_t *doc = json_pack(
		"{s:I, s:I, s:o, s:o, s:I, s:o, s:I, s:{s:f, s:f, s:f, s:f, s:f, s:f}, s:f, s:o}",
		"sent", (json_int_t)load.sent, "ok", (json_int_t)load.ok, "status", status,
		"errors", load.errors, "retried", (json_int_t)load.retried, "by", load.by,
		"dropped", (json_int_t)load.dropped, "latency_ms", "mean",
		h->n ? (double)h->sum / (double)h->n / 1000 : 0.0, "p50", hist_ms(h, 0.5), "p90",
		hist_ms(h, 0.9), "p99", hist_ms(h, 0.99), "p999", hist_ms(h, 0.999), "max",
		(double)h->max / 1000, "seconds", (double)(app_now_us() - load.start_us) / 1e6,
		"samples", load.samples);
	json_dumpf(doc, stdout, JSON_INDENT(1) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(13));
	putchar('\n');
	json_decref(doc);
}

/* http://ADDRESS[:PORT]/PATH; the host to name may differ (--host-header). */
static void set_url(const char *url, const char *host)
{
	char authority[256];

	if (strncmp(url, "http://", 7))
		app_die("--url %s: only http://ADDRESS:PORT/PATH", url);
	url += 7;
	size_t n = strcspn(url, "/?");
	if (n >= sizeof(authority) - 3)
		app_die("--url: too long");
	memcpy(authority, url, n);
	authority[n] = '\0';
	snprintf(load.host, sizeof(load.host), "%s", *host ? host : authority);
	if (!strchr(authority, ':'))
		strcat(authority, ":80");
	if (!app_addr(authority, &load.to))
		app_die("--url: %s is not ADDRESS:PORT", authority);
	snprintf(load.path, sizeof(load.path), "%s%s", url[n] == '/' ? "" : "/", url + n);
}

static double number(const char *flag, const char *text, double low, double high)
{
	char *end;
	double v = strtod(text, &end);

	if (end == text || *end || v < low || v > high)
		app_die("--%s %s: a number from %g to %g is needed", flag, text, low, high);
	return v;
}

int main(int argc, char **argv)
{
	const char *url = "", *host = "", *rate = "100", *seconds = "1800", *count = "100000000";
	const char *connections = "50", *timeout = "5s", *backlog = "1000", *by_header = "",
		   *by_json = "";
	const struct app_flag flags[] = {
		{ "url", "http://ADDRESS:PORT/PATH; {n} is the request's number", .value = &url },
		{ "host-header", "Host to name instead of the URL's", .value = &host },
		{ "header", "'name: value', repeatable", .many = &load.headers,
			.many_n = &load.nheaders },
		{ "rate", "requests a second", .value = &rate },
		{ "seconds", "how long; SIGTERM ends it before", .value = &seconds },
		{ "count", "how many requests", .value = &count },
		{ "connections", "at most this many", .value = &connections },
		{ "backlog", "due requests that may wait for a connection", .value = &backlog },
		{ "timeout", "for one request", .value = &timeout },
		{ "by-header", "count answers by this header's value", .value = &by_header },
		{ "by-json", "count answers by this member of a JSON body", .value = &by_json },
	};

	app_flags(argc, argv, "HTTP requests at a fixed rate", flags,
		sizeof(flags) / sizeof(flags[0]));
	set_url(url, host);
	load.rate = number("rate", rate, 0.1, 100000);
	load.count = (uint64_t)number("count", count, 1, 1e12);
	load.backlog = (uint64_t)number("backlog", backlog, 0, 1e6);
	load.nconns = (size_t)number("connections", connections, 1, MAX_CONNECTIONS);
	load.end_us = app_now_us() + (int64_t)(number("seconds", seconds, 0.01, 86400) * 1e6);
	if (app_duration_ms(timeout) < 1)
		app_die("--timeout %s: not a duration", timeout);
	load.timeout_us = app_duration_ms(timeout) * 1000;
	load.by_header = *by_header ? by_header : NULL;
	load.by_json = *by_json ? by_json : NULL;
	load.errors = json_object();
	load.by = json_object();
	load.samples = json_array();
	load.epoll = epoll_create1(EPOLL_CLOEXEC);
	load.conns = calloc(load.nconns, sizeof(*load.conns));
	if (load.epoll < 0 || !load.conns)
		app_die("out of memory or descriptors");
	for (size_t i = 0; i < load.nconns; i++)
		load.conns[i].fd = -1;
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	run();
	print_summary();
	free(load.conns);
	return 0;
}
