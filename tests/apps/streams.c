/* streams: holds long-lived connections and notices when one breaks.
 *
 * With an http:// URL it asks once on each connection and expects the answer's body never to end
 * (echo's /stream); with tcp://ADDRESS:PORT it reads the greeting and then expects an echo of a line
 * every --interval. A connection breaks when it is closed, answered with an error status, or silent
 * for --stall. A broken one is counted and opened again. One thread, one poll.
 * At SIGTERM, or after --seconds, it prints one JSON object: streams, opened, breaks {kind: n},
 * lines, samples. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "tests/apps/common/app.h"

#define MAX_STREAMS 1024
#define MAX_SAMPLES 20

struct stream {
	bool connected, head_seen;
	int64_t last_us, ping_us, retry_us;
	char head[16];
	size_t head_len;
};

static struct stream all[MAX_STREAMS];
static struct pollfd fds[MAX_STREAMS];
static size_t nstreams;
static struct sockaddr_in to;
static bool tcp;
static char request[4096];
static int64_t stall_us, interval_us;
static uint64_t opened, lines;
static json_t *breaks, *samples;
static volatile sig_atomic_t stop_asked;

static void on_signal(int sig)
{
	(void)sig;
	stop_asked = 1;
}

static void stream_open(size_t i)
{
	struct stream *s = &all[i];

	*s = (struct stream){ .last_us = app_now_us() };
	fds[i].fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	fds[i].events = POLLOUT;
	if (fds[i].fd < 0)
		app_die("socket: %s", strerror(errno));
	opened++;
	if (connect(fds[i].fd, (struct sockaddr *)&to, sizeof(to)) && errno != EINPROGRESS)
		s->last_us = 0; /* stalls at once: counted there */
}

static void stream_break(size_t i, const char *kind, const char *detail)
{
	struct timespec now;

	json_object_set_new(
		breaks, kind, json_integer(json_integer_value(json_object_get(breaks, kind)) + 1));
	clock_gettime(CLOCK_REALTIME, &now);
	if (json_array_size(samples) < MAX_SAMPLES)
		json_array_append_new(samples,
			json_pack("{s:f, s:i, s:s, s:s}", "at",
				(double)now.tv_sec + (double)now.tv_nsec / 1e9, "stream", (int)i,
				"what", kind, "detail", detail));
	close(fds[i].fd);
	fds[i].fd = -1;
	all[i].retry_us = app_now_us() + 100000;
}

/* The first bytes of an HTTP answer must say 200. */
static bool head_ok(struct stream *s, const char *p, size_t n)
{
	if (tcp || s->head_seen)
		return true;
	while (n && s->head_len < 12)
		s->head[s->head_len++] = *p++, n--;
	if (s->head_len < 12)
		return true;
	s->head_seen = true;
	return !strncmp(s->head + 9, "200", 3);
}

static void stream_read(size_t i)
{
	struct stream *s = &all[i];
	char buf[16384];
	ssize_t n = recv(fds[i].fd, buf, sizeof(buf), 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		stream_break(i, n ? "reset" : "closed", n ? strerror(errno) : "by the peer");
		return;
	}
	s->last_us = app_now_us();
	if (!head_ok(s, buf, (size_t)n)) {
		stream_break(i, "status", s->head + 9);
		return;
	}
	for (ssize_t k = 0; k < n; k++)
		lines += buf[k] == '\n';
}

static void stream_event(size_t i)
{
	struct stream *s = &all[i];

	if (!s->connected) {
		int err = 0;
		socklen_t len = sizeof(err);

		getsockopt(fds[i].fd, SOL_SOCKET, SO_ERROR, &err, &len);
		if (err) {
			stream_break(i, "connect", strerror(err));
			return;
		}
		s->connected = true;
		fds[i].events = POLLIN;
		if (!tcp && send(fds[i].fd, request, strlen(request), MSG_NOSIGNAL) < 0)
			stream_break(i, "reset", strerror(errno));
		return;
	}
	stream_read(i);
}

static void stream_tick(size_t i, int64_t now)
{
	struct stream *s = &all[i];

	if (fds[i].fd < 0) {
		if (now >= s->retry_us)
			stream_open(i);
	} else if (now - s->last_us > stall_us) {
		stream_break(i, s->connected ? "stalled" : "connect", "silent for too long");
	} else if (tcp && s->connected && now >= s->ping_us) {
		s->ping_us = now + interval_us;
		if (send(fds[i].fd, "ping\n", 5, MSG_NOSIGNAL) < 0 && errno != EAGAIN)
			stream_break(i, "reset", strerror(errno));
	}
}

static void set_url(const char *url, const char *host)
{
	char authority[256];

	tcp = !strncmp(url, "tcp://", 6);
	if (!tcp && strncmp(url, "http://", 7))
		app_die("--url %s: http://ADDRESS:PORT/PATH or tcp://ADDRESS:PORT", url);
	url += tcp ? 6 : 7;
	size_t n = strcspn(url, "/");
	if (n >= sizeof(authority))
		app_die("--url: too long");
	memcpy(authority, url, n);
	authority[n] = '\0';
	if (!app_addr(authority, &to))
		app_die("--url: %s is not ADDRESS:PORT", authority);
	snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n",
		url[n] ? url + n : "/", *host ? host : authority);
}

int main(int argc, char **argv)
{
	const char *url = "", *host = "", *streams = "20", *seconds = "3600", *stall = "5s",
		   *interval = "200ms";
	const struct app_flag flags[] = {
		{ "url", "http://ADDRESS:PORT/stream or tcp://ADDRESS:PORT", .value = &url },
		{ "host-header", "Host to name instead of the URL's", .value = &host },
		{ "streams", "how many connections", .value = &streams },
		{ "seconds", "how long; SIGTERM ends it before", .value = &seconds },
		{ "stall", "silence that counts as a break", .value = &stall },
		{ "interval", "time between lines sent over tcp", .value = &interval },
	};

	app_flags(argc, argv, "holds connections and notices when one breaks", flags,
		sizeof(flags) / sizeof(flags[0]));
	set_url(url, host);
	nstreams = (size_t)atoi(streams);
	stall_us = app_duration_ms(stall) * 1000;
	interval_us = app_duration_ms(interval) * 1000;
	if (nstreams < 1 || nstreams > MAX_STREAMS || stall_us <= 0 || interval_us <= 0)
		app_die("--streams (1 to %d), --stall or --interval is wrong", MAX_STREAMS);
	breaks = json_object();
	samples = json_array();
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	for (size_t i = 0; i < nstreams; i++)
		stream_open(i);
	int64_t end = app_now_us() + (int64_t)(atof(seconds) * 1e6);
	bool last;
	do { /* once more after being told to stop: what has broken until then is counted */
		last = stop_asked || app_now_us() >= end;
		poll(fds, nstreams, last ? 0 : 20);
		for (size_t i = 0; i < nstreams; i++)
			if (fds[i].fd >= 0 && fds[i].revents)
				stream_event(i);
		for (size_t i = 0; i < nstreams && !last; i++)
			stream_tick(i, app_now_us());
	} while (!last);
	json_t *doc = json_pack("{s:I, s:I, s:o, s:I, s:o}", "streams", (json_int_t)nstreams,
		"opened", (json_int_t)opened, "breaks", breaks, "lines", (json_int_t)lines,
		"samples", samples);
	json_dumpf(doc, stdout, JSON_INDENT(1) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(13));
	putchar('\n');
	json_decref(doc);
	return 0;
}
