/* See h2.h. A thread waits for all of its connections at once, edge-triggered: what has become
 * readable is read to its end, then what HTTP/2 has to say to it goes out in one write. Other threads
 * reach a stream by posting: a list and an eventfd of its thread. */
#include "tests/bench/xds_load/h2.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/cidr.h"
#include "common/base/mem.h"
#include "tests/bench/xds_load/h2_tls.h"

enum {
	READ_SIZE = 256 * 1024,
	STREAM_WINDOW = 16 << 20, /* Envoy's */
	CONNECTION_WINDOW = 24 << 20,
	MAX_MESSAGE = 64 << 20,
	CANCELLED = 1, /* gRPC's codes */
	UNKNOWN = 2,
	UNAVAILABLE = 14,
};
enum { POSTED_START = 1, POSTED_WAKE = 2 };

struct stream {
	struct mt_ref ref; /* the opener's; its thread's until the end; one while posted */
	struct thread *thread;
	struct fake_envoy *e;
	const char *path;
	atomic_uint posted;
	struct stream *next_posted;
	int fd; /* -1: not begun, or ended */
	SSL *tls;
	bool shaken; /* hands: no TLS, or its handshake is over */
	nghttp2_session *session;
	int32_t id;
	int status; /* that the server gave, -1 */
	bool over;  /* the HTTP/2 stream */
	/* gRPC messages: the one that comes in, those that go out */
	uint8_t prefix[5];
	size_t nprefix;
	uint8_t *in; /* heap, NULL between messages */
	size_t in_n, in_len;
	struct mt_buf out;
	size_t out_sent;
	struct mt_buf tx; /* bytes of HTTP/2 for the socket */
	size_t tx_sent;
};

struct thread {
	struct h2 *h;
	pthread_t tid;
	int epoll, event;
	pthread_mutex_t mu;
	struct stream *posted; /* under mu; newest first */
	bool stop;             /* under mu */
	uint8_t *buf;          /* READ_SIZE */
};

struct h2 {
	struct sockaddr_in to;
	char authority[300];
	SSL_CTX *tls; /* NULL: plaintext */
	nghttp2_session_callbacks *callbacks;
	atomic_uint next; /* thread */
	unsigned n;
	struct thread threads[];
};

static void unref(struct stream *s)
{
	if (!mt_ref_put(&s->ref))
		return;
	mt_buf_clear(&s->out);
	mt_buf_clear(&s->tx);
	mt_free(s->in);
	mt_free(s);
}

static void post(struct stream *s, unsigned what)
{
	if (atomic_fetch_or(&s->posted, what))
		return; /* is in the list */
	struct thread *t = s->thread;
	mt_ref_get(&s->ref);
	pthread_mutex_lock(&t->mu);
	s->next_posted = t->posted;
	t->posted = s;
	pthread_mutex_unlock(&t->mu);
	eventfd_write(t->event, 1);
}

/* ---- messages ---- */

static size_t prefix_length(const uint8_t p[5])
{
	return (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
}

/* Part of a message that has begun, or a whole one: how much of p belongs to it. */
static size_t take_body(struct stream *s, const uint8_t *p, size_t n)
{
	size_t part = MT_MIN(n, s->in_len - s->in_n);

	if (part == s->in_len) { /* whole: where it lies */
		s->nprefix = 0;
		fake_on_message(s->e, s, p, part);
		return part;
	}
	if (!s->in)
		s->in = mt_alloc(s->in_len);
	memcpy(s->in + s->in_n, p, part);
	s->in_n += part;
	if (s->in_n == s->in_len) {
		uint8_t *whole = MT_TAKE(s->in);
		s->nprefix = 0;
		fake_on_message(s->e, s, whole, s->in_len);
		mt_free(whole);
	}
	return part;
}

static int on_data(nghttp2_session *session, uint8_t flags MT_UNUSED, int32_t id MT_UNUSED,
	const uint8_t *p, size_t n, void *user)
{
	struct stream *s = user;
	(void)session;
	while (n) {
		if (s->nprefix < sizeof(s->prefix)) {
			s->prefix[s->nprefix++] = *p++;
			n--;
			if (s->nprefix < sizeof(s->prefix))
				continue;
			s->in_n = 0;
			s->in_len = prefix_length(s->prefix);
			if (s->prefix[0] || s->in_len > MAX_MESSAGE)
				return NGHTTP2_ERR_CALLBACK_FAILURE;
			if (s->in_len)
				continue;
		}
		size_t part = take_body(s, p, n);
		p += part;
		n -= part;
	}
	return 0;
}

static ssize_t give_data(nghttp2_session *session MT_UNUSED, int32_t id MT_UNUSED, uint8_t *p,
	size_t n, uint32_t *flags MT_UNUSED, nghttp2_data_source *source, void *user MT_UNUSED)
{
	struct stream *s = source->ptr;
	size_t part = MT_MIN(n, s->out.n - s->out_sent);

	if (!part)
		return NGHTTP2_ERR_DEFERRED;
	memcpy(p, s->out.p + s->out_sent, part);
	s->out_sent += part;
	if (s->out_sent == s->out.n)
		s->out.n = s->out_sent = 0;
	return (ssize_t)part;
}

static int on_header(nghttp2_session *session MT_UNUSED, const nghttp2_frame *frame MT_UNUSED,
	const uint8_t *name, size_t nname, const uint8_t *value, size_t nvalue MT_UNUSED,
	uint8_t flags MT_UNUSED, void *user)
{
	struct stream *s = user;

	if (nname == strlen("grpc-status") && memcmp(name, "grpc-status", nname) == 0)
		s->status = atoi((const char *)value); /* nghttp2 ends it with a NUL */
	return 0;
}

static int on_stream_close(nghttp2_session *session MT_UNUSED, int32_t id MT_UNUSED,
	uint32_t code MT_UNUSED, void *user)
{
	struct stream *s = user;
	s->over = true;
	return 0;
}

/* ---- the connection ---- */

static void end(struct stream *s, int status, const char *msg)
{
	h2_tls_free(MT_TAKE(s->tls));
	close(s->fd);
	s->fd = -1;
	nghttp2_session_del(MT_TAKE(s->session));
	fake_on_close(s->e, status, msg);
	unref(s);
}

static void submit(struct stream *s)
{
	const struct h2 *h = s->thread->h;
#define HEADER(name, value)                                                                        \
	{                                                                                          \
		(uint8_t *)(name), (uint8_t *)(value), strlen(name), strlen(value),                \
			NGHTTP2_NV_FLAG_NONE                                                       \
	}
	const nghttp2_nv headers[] = {
		HEADER(":method", "POST"),
		HEADER(":scheme", h->tls ? "https" : "http"),
		HEADER(":path", s->path),
		HEADER(":authority", h->authority),
		HEADER("te", "trailers"),
		HEADER("content-type", "application/grpc"),
	};
	const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW },
	};
	const nghttp2_data_provider body = { .source.ptr = s, .read_callback = give_data };

	nghttp2_session_client_new(&s->session, h->callbacks, s);
	nghttp2_submit_settings(s->session, NGHTTP2_FLAG_NONE, settings, MT_ARRAY_SIZE(settings));
	nghttp2_session_set_local_window_size(s->session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW);
	s->id = nghttp2_submit_request(
		s->session, NULL, headers, MT_ARRAY_SIZE(headers), &body, NULL);
}

static void start(struct stream *s)
{
	struct thread *t = s->thread;
	int one = 1;

	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	submit(s);
	s->tls = h2_tls_new(t->h->tls, s->fd);
	s->shaken = !s->tls;
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
		.data.ptr = s };
	if ((connect(s->fd, (struct sockaddr *)&t->h->to, sizeof(t->h->to)) &&
		    errno != EINPROGRESS) ||
		epoll_ctl(t->epoll, EPOLL_CTL_ADD, s->fd, &ev))
		end(s, UNAVAILABLE, strerror(errno));
}

/* As recv() and send(). */
static ssize_t wire_read(struct stream *s, void *p, size_t n)
{
	return s->tls ? h2_tls_read(s->tls, p, n) : recv(s->fd, p, n, 0);
}

static ssize_t wire_write(struct stream *s, const void *p, size_t n)
{
	return s->tls ? h2_tls_write(s->tls, p, n) : send(s->fd, p, n, MSG_NOSIGNAL);
}

/* Sends what there is, as far as the socket takes it: the rest when it is writable. -1: broken. */
static int flush(struct stream *s)
{
	for (;;) {
		const uint8_t *frame;
		ssize_t n;
		while (s->tx.n < READ_SIZE &&
			(n = nghttp2_session_mem_send(s->session, &frame)) > 0)
			mt_buf_add(&s->tx, frame, (size_t)n);
		if (s->tx_sent == s->tx.n)
			return 0;
		n = wire_write(s, s->tx.p + s->tx_sent, s->tx.n - s->tx_sent);
		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		s->tx_sent += (size_t)n;
		if (s->tx_sent == s->tx.n)
			s->tx.n = s->tx_sent = 0;
	}
}

/* Reads all that there is, to the end when the other side is known to have closed. -1: the connection
 * has ended, errno 0 when it was closed. */
static int drain(struct stream *s, bool closed)
{
	for (;;) {
		errno = 0;
		ssize_t n = wire_read(s, s->thread->buf, READ_SIZE);
		if (n <= 0)
			return n < 0 && errno == EAGAIN ? 0 : -1;
		if (nghttp2_session_mem_recv(s->session, s->thread->buf, (size_t)n) < 0) {
			errno = EPROTO;
			return -1;
		}
		if (!s->tls && !closed && n < READ_SIZE)
			return 0;
	}
}

static int shake(struct stream *s)
{
	if (!s->shaken) {
		int r = h2_tls_handshake(s->tls);
		if (r < 0)
			return -1;
		s->shaken = r > 0;
	}
	return 0;
}

static void ready(struct stream *s, uint32_t events)
{
	bool closed = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
	bool broken =
		shake(s) < 0 || (s->shaken && (drain(s, closed) < 0 || (!s->over && flush(s) < 0)));

	if (s->over)
		end(s, s->status >= 0 ? s->status : UNKNOWN, "the stream was reset");
	else if (broken)
		end(s, UNAVAILABLE, errno ? strerror(errno) : "the connection was closed");
}

/* ---- threads ---- */

static void run_posted(struct thread *t)
{
	eventfd_t ignored;
	eventfd_read(t->event, &ignored);
	pthread_mutex_lock(&t->mu);
	struct stream *list = MT_TAKE(t->posted), *old = NULL;
	pthread_mutex_unlock(&t->mu);
	for (struct stream *s = list, *next; s; s = next) { /* oldest first */
		next = s->next_posted;
		s->next_posted = old;
		old = s;
	}
	while (old) {
		struct stream *s = old;
		old = s->next_posted;
		unsigned what = atomic_exchange(&s->posted, 0);
		if (what & POSTED_START)
			start(s);
		if (what & POSTED_WAKE && s->fd >= 0)
			fake_on_wake(s->e, s);
		if (s->fd >= 0 && s->shaken && flush(s) < 0)
			end(s, UNAVAILABLE, strerror(errno));
		unref(s);
	}
}

static void *run(void *arg)
{
	struct thread *t = arg;
	struct epoll_event ev[256];

	for (bool stop = false; !stop;) {
		int n = epoll_wait(t->epoll, ev, MT_ARRAY_SIZE(ev), -1);
		bool posted = false;
		for (int i = 0; i < n; i++) {
			if (ev[i].data.ptr == t)
				posted =
					true; /* last: what is posted may end a stream of this batch */
			else
				ready(ev[i].data.ptr, ev[i].events);
		}
		if (posted)
			run_posted(t);
		pthread_mutex_lock(&t->mu);
		stop = t->stop;
		pthread_mutex_unlock(&t->mu);
	}
	return NULL;
}

static void thread_start(struct h2 *h, struct thread *t)
{
	t->h = h;
	t->epoll = epoll_create1(EPOLL_CLOEXEC);
	t->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	t->buf = mt_alloc(READ_SIZE);
	pthread_mutex_init(&t->mu, NULL);
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = t };
	epoll_ctl(t->epoll, EPOLL_CTL_ADD, t->event, &ev);
	pthread_create(&t->tid, NULL, run, t);
}

int h2_new(const char *target, unsigned threads, struct mt_identity *id, struct h2 **ret,
	struct mt_err *err)
{
	char host[256];
	uint16_t port;
	struct in_addr ip;

	if (mt_hostport_parse(target, host, &port) < 0 || inet_pton(AF_INET, host, &ip) != 1)
		return mt_fail(err, MT_INVALID, target, "is not an IPv4 address and a port");
	struct h2 *h = mt_alloc(sizeof(*h) + threads * sizeof(h->threads[0]));
	h->to = (struct sockaddr_in){
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = ip
	};
	snprintf(h->authority, sizeof(h->authority), "%s", target);
	if (id && !(h->tls = h2_tls_context(id, err))) {
		mt_free(h);
		return err->code;
	}
	nghttp2_session_callbacks_new(&h->callbacks);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(h->callbacks, on_data);
	nghttp2_session_callbacks_set_on_header_callback(h->callbacks, on_header);
	nghttp2_session_callbacks_set_on_stream_close_callback(h->callbacks, on_stream_close);
	for (; h->n < threads; h->n++)
		thread_start(h, &h->threads[h->n]);
	*ret = h;
	return 0;
}

void h2_free(struct h2 *h)
{
	for (unsigned i = 0; h && i < h->n; i++) {
		struct thread *t = &h->threads[i];
		pthread_mutex_lock(&t->mu);
		t->stop = true;
		pthread_mutex_unlock(&t->mu);
		eventfd_write(t->event, 1);
		pthread_join(t->tid, NULL);
		close(t->epoll);
		close(t->event);
		pthread_mutex_destroy(&t->mu);
		mt_free(t->buf);
	}
	if (h) {
		nghttp2_session_callbacks_del(h->callbacks);
		SSL_CTX_free(h->tls);
	}
	mt_free(h);
}

/* ---- for the fake proxy ---- */

static void *wire_open(void *ctx, const char *path, struct fake_envoy *e)
{
	struct h2 *h = ctx;
	struct stream *s = MT_NEW(struct stream);

	mt_ref_init(&s->ref);
	mt_ref_get(&s->ref); /* of the thread */
	s->thread = &h->threads[atomic_fetch_add(&h->next, 1) % h->n];
	s->e = e;
	s->path = path;
	s->fd = s->status = -1;
	post(s, POSTED_START);
	return s;
}

static void wire_send(void *ctx, const void *p, size_t n)
{
	struct stream *s = ctx;
	const uint8_t prefix[5] = { 0, (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8),
		(uint8_t)n };

	mt_buf_add(&s->out, prefix, sizeof(prefix));
	mt_buf_add(&s->out, p, n);
	nghttp2_session_resume_data(s->session, s->id);
}

static bool wire_busy(void *ctx MT_UNUSED)
{
	return false;
}

static void wire_cancel(void *ctx)
{
	struct stream *s = ctx;

	nghttp2_submit_rst_stream(s->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_CANCEL);
	flush(s);
	end(s, CANCELLED, "cancelled");
}

static void wire_wake(void *ctx)
{
	post(ctx, POSTED_WAKE);
}

static void wire_drop(void *ctx)
{
	unref(ctx);
}

const struct fake_wire h2_wire = { wire_open, wire_send, wire_busy, wire_cancel, wire_wake,
	wire_drop };
