/* Bytes that are no gRPC, thrown at a plaintext and at a TLS port: the server answers honest clients
 * afterwards, holds no stream, and closes silent connections at the handshake timeout. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/pki/pki_unit.h"
#include "tests/unit/rpc/rpc_unit.h"

#define SERVER_ID "spiffe://mesh.test/ns/sys/sa/galley"

static const struct mt_rpc_method methods[] = { { .path = "/t.T/Unary", .ops = &unary_ops } };

static int dial(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, "127.15.0.1", &a.sin_addr);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

/* Sends all (as far as the server takes it), then waits for the server to close. */
static void throw_and_wait(uint16_t port, const void *p, size_t n, bool half_close)
{
	int fd = dial(port);
	char buf[4096];
	size_t done = 0;

	while (done < n) {
		ssize_t w = send(fd, (const char *)p + done, n - done, MSG_NOSIGNAL);
		if (w <= 0)
			break;
		done += (size_t)w;
	}
	if (half_close)
		shutdown(fd, SHUT_WR);
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	for (;;) {
		ck_assert_msg(poll(&pfd, 1, 20000) == 1, "the server keeps a dead connection");
		if (recv(fd, buf, sizeof(buf), 0) <= 0)
			break;
	}
	close(fd);
}

static void hex_frame(uint8_t *p, size_t len, uint8_t type, uint8_t flags, uint32_t stream)
{
	const uint8_t h[9] = { (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len, type, flags,
		(uint8_t)(stream >> 24), (uint8_t)(stream >> 16), (uint8_t)(stream >> 8),
		(uint8_t)stream };
	memcpy(p, h, 9);
}

static void throw_all(uint16_t port)
{
	static const char http1[] =
		"POST /t.T/Unary HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	static const uint8_t hello[] = { 0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 1, 2, 3 };
	static const uint8_t huge_record[] = { 0x17, 3, 3, 0xff, 0xff };
	uint8_t buf[4096];
	unsigned seed = 1;

	throw_and_wait(port, http1, sizeof(http1) - 1, true);
	throw_and_wait(port, preface, 10, true);
	throw_and_wait(port, hello, sizeof(hello), true);
	throw_and_wait(port, huge_record, sizeof(huge_record), true);
	throw_and_wait(port, "", 0, true);
	throw_and_wait(port, "\0", 1, false); /* and silence */
	for (int i = 0; i < 40; i++) {
		for (size_t k = 0; k < sizeof(buf); k++)
			buf[k] = (uint8_t)rand_r(&seed);
		throw_and_wait(port, buf, 1 + (size_t)rand_r(&seed) % sizeof(buf), true);
	}
	/* A good preface and settings, then frames of every type with nonsense in them. */
	for (int i = 0; i < 60; i++) {
		size_t n = sizeof(preface) - 1;
		memcpy(buf, preface, n);
		hex_frame(buf + n, 0, 4, 0, 0);
		n += 9;
		for (int f = 0; f < 5; f++) {
			size_t len = (size_t)rand_r(&seed) % 100;
			hex_frame(buf + n, len, (uint8_t)(i % 12), (uint8_t)rand_r(&seed),
				(uint32_t)rand_r(&seed) % 4);
			n += 9;
			for (size_t k = 0; k < len; k++)
				buf[n++] = (uint8_t)rand_r(&seed);
		}
		throw_and_wait(port, buf, n, true);
	}
}

/* The server forgets a stream a moment after its peer has the answer. */
static void no_streams(struct mt_rpc_server *s)
{
	int64_t end = mt_mono(&mt_clock_system) + 20 * MT_NS_PER_SEC;

	while (mt_rpc_server_streams(s))
		ck_assert_int_lt(mt_mono(&mt_clock_system), end);
}

START_TEST(plaintext)
{
	struct mt_rpc_env *e = mt_rpc_env_new(2);
	struct mt_rpc_server *s;
	const struct mt_rpc_server_opts o = { .handshake_timeout_ns = MT_NS_PER_SEC };
	uint16_t port = start_server(e, &o, methods, 1, &s);
	struct mt_rpc_channel *ch = connect_to(e, port, NULL);
	struct one a;

	ck_assert_int_eq(ask(ch, "/t.T/Unary", "x", &a), OK);
	throw_all(port);
	ck_assert_int_eq(ask(ch, "/t.T/Unary", "x", &a), OK);
	no_streams(s);
	mt_rpc_channel_free(ch);
	mt_rpc_server_stop(s, 0);
	mt_rpc_env_free(e);
}
END_TEST

START_TEST(tls)
{
	struct ca ca;
	struct mt_rpc_env *e = mt_rpc_env_new(2);
	struct mt_rpc_server *s;
	struct mt_identity_slot *slot = mt_identity_slot_new();
	const char *const ids[] = { SERVER_ID, NULL };
	const struct mt_rpc_server_opts o = { .identity = slot,
		.handshake_timeout_ns = MT_NS_PER_SEC };
	const struct mt_rpc_channel_opts co = { .identity = slot, .server_ids = ids };
	struct one a;

	ca_make(&ca, "mesh.test");
	slot_fill(slot, &ca, SERVER_ID, ca.pem);
	uint16_t port = start_server(e, &o, methods, 1, &s);
	struct mt_rpc_channel *ch = connect_to(e, port, &co);
	ck_assert_int_eq(ask(ch, "/t.T/Unary", "x", &a), OK);
	throw_all(port);
	ck_assert_int_eq(ask(ch, "/t.T/Unary", "x", &a), OK);
	no_streams(s);
	mt_rpc_channel_free(ch);
	mt_rpc_server_stop(s, 0);
	mt_rpc_env_free(e);
	mt_identity_slot_free(slot);
	ca_clear(&ca);
}
END_TEST

static size_t add_header(uint8_t *p, const char *name, const char *value)
{
	size_t n = strlen(name), v = strlen(value);

	p[0] = 0; /* a literal that is not indexed, without Huffman coding */
	p[1] = (uint8_t)n;
	memcpy(p + 2, name, n);
	p[2 + n] = (uint8_t)v;
	memcpy(p + 3 + n, value, v);
	return 3 + n + v;
}

/* A message that says it is compressed is refused, not unpacked: a kilobyte could be a megabyte. */
START_TEST(compressed)
{
	static const char *const headers[][2] = { { ":method", "POST" }, { ":scheme", "http" },
		{ ":path", "/t.T/Unary" }, { ":authority", "x" },
		{ "content-type", "application/grpc" }, { "te", "trailers" },
		{ "grpc-encoding", "gzip" } };
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	static const uint8_t message[] = { 1, 0, 0, 0, 4, 'a', 'b', 'c', 'd' };
	struct mt_rpc_env *e = mt_rpc_env_new(1);
	struct mt_rpc_server *s;
	uint16_t port = start_server(e, NULL, methods, 1, &s);
	uint8_t out[1024];
	char in[4096] = "";
	size_t n = sizeof(preface) - 1, got = 0;

	memcpy(out, preface, n);
	hex_frame(out + n, 0, 4, 0, 0);
	n += 9;
	size_t start = n + 9, len = 0;
	for (size_t i = 0; i < MT_ARRAY_SIZE(headers); i++)
		len += add_header(out + start + len, headers[i][0], headers[i][1]);
	hex_frame(out + n, len, 1, 4, 1);
	n = start + len;
	hex_frame(out + n, sizeof(message), 0, 1, 1);
	memcpy(out + n + 9, message, sizeof(message));
	n += 9 + sizeof(message);
	int fd = dial(port);
	ck_assert_int_eq(send(fd, out, n, MSG_NOSIGNAL), (ssize_t)n);
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	while (!memmem(in, got, "'gzip' is disabled", 18)) {
		ck_assert_int_eq(poll(&pfd, 1, 20000), 1);
		ssize_t r = recv(fd, in + got, sizeof(in) - got, 0);
		ck_assert_int_gt(r, 0);
		got += (size_t)r;
	}
	close(fd);
	mt_rpc_server_stop(s, 0);
	mt_rpc_env_free(e);
}
END_TEST

START_TEST(handshakes_cut_short)
{
	struct mt_rpc_env *e = mt_rpc_env_new(1);
	struct mt_rpc_server *s;
	uint16_t port = start_server(e, NULL, methods, 1, &s);
	int fd[100];

	/* Stopping does not wait for connections that never said anything. */
	for (size_t i = 0; i < MT_ARRAY_SIZE(fd); i++)
		fd[i] = dial(port);
	int64_t begin = mt_mono(&mt_clock_system);
	mt_rpc_server_stop(s, 0);
	ck_assert_int_lt(mt_mono(&mt_clock_system) - begin, 5 * MT_NS_PER_SEC);
	for (size_t i = 0; i < MT_ARRAY_SIZE(fd); i++)
		close(fd[i]);
	mt_rpc_env_free(e);
}
END_TEST

MT_UNIT(rpc_garbage, plaintext, tls, compressed, handshakes_cut_short)
