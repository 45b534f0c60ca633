/* A WebSocket server that echoes frames (RFC 6455); see app.h. Enough to prove that an upgrade
 * passes through proxies: text and binary frames as they come, pings answered, close answered.
 * Fragments are echoed frame by frame, which is a legal fragmented message again. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include <openssl/evp.h>

#include "tests/apps/common/app.h"

#define MAX_FRAME (64 * 1024)
#define KEY_MAX 64

struct ws {
	MHD_socket fd;
	struct MHD_UpgradeResponseHandle *handle;
	const char *early; /* bytes that libmicrohttpd had read already */
	size_t early_len;
	char early_buf[4096];
};

static bool read_full(struct ws *w, void *buf, size_t n)
{
	char *p = buf;

	while (n) {
		if (w->early_len) {
			size_t k = n < w->early_len ? n : w->early_len;

			memcpy(p, w->early, k);
			w->early += k;
			w->early_len -= k;
			p += k;
			n -= k;
			continue;
		}
		ssize_t k = recv(w->fd, p, n, 0);
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return false;
		p += k;
		n -= (size_t)k;
	}
	return true;
}

static bool write_full(struct ws *w, const void *buf, size_t n)
{
	const char *p = buf;

	while (n) {
		ssize_t k = send(w->fd, p, n, MSG_NOSIGNAL);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return false;
		p += k;
		n -= (size_t)k;
	}
	return true;
}

/* One frame in, the same frame out, unmasked. False when the connection is to end. */
static bool echo_frame(struct ws *w, unsigned char *payload)
{
	unsigned char h[2], ext[8], mask[4], out[4];
	size_t len, hlen = 2;

	if (!read_full(w, h, 2) || !(h[1] & 0x80))
		return false; /* clients must mask */
	len = h[1] & 0x7f;
	if (len == 126) {
		if (!read_full(w, ext, 2))
			return false;
		len = (size_t)ext[0] << 8 | ext[1];
	} else if (len == 127) {
		return false; /* beyond what is echoed here */
	}
	if (len > MAX_FRAME || !read_full(w, mask, 4) || !read_full(w, payload, len))
		return false;
	for (size_t i = 0; i < len; i++)
		payload[i] ^= mask[i & 3];
	unsigned opcode = h[0] & 0x0f;
	out[0] = opcode == 9 ? (unsigned char)(0x80 | 10) : h[0]; /* a ping gets a pong */
	if (len < 126) {
		out[1] = (unsigned char)len;
	} else {
		out[1] = 126;
		out[2] = (unsigned char)(len >> 8);
		out[3] = (unsigned char)len;
		hlen = 4;
	}
	if (opcode == 10)
		return true; /* an unasked pong */
	return write_full(w, out, hlen) && write_full(w, payload, len) && opcode != 8;
}

static void *ws_run(void *arg)
{
	struct ws *w = arg;
	unsigned char *payload = malloc(MAX_FRAME);
	struct timeval tv = { .tv_sec = 60 };

	fcntl(w->fd, F_SETFL, fcntl(w->fd, F_GETFL) & ~O_NONBLOCK);
	setsockopt(w->fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	if (payload)
		while (!app_stopping() && echo_frame(w, payload))
			;
	free(payload);
	MHD_upgrade_action(w->handle, MHD_UPGRADE_ACTION_CLOSE);
	free(w);
	return NULL;
}

/* libmicrohttpd keeps the connection's thread while the upgrade lasts only in this mode's own way:
 * the handler must return at once, so that each upgraded connection gets a thread of its own. */
static void on_upgrade(void *cls, struct MHD_Connection *conn, void *state, const char *extra,
	size_t extra_size, MHD_socket sock, struct MHD_UpgradeResponseHandle *urh)
{
	struct ws *w = calloc(1, sizeof(*w));
	pthread_t thread;

	(void)cls;
	(void)conn;
	(void)state;
	if (w && extra_size <= sizeof(w->early_buf)) {
		*w = (struct ws){ .fd = sock, .handle = urh, .early_len = extra_size };
		memcpy(w->early_buf, extra, extra_size);
		w->early = w->early_buf;
		if (!pthread_create(&thread, NULL, ws_run, w)) {
			pthread_detach(thread);
			return;
		}
	}
	free(w);
	MHD_upgrade_action(urh, MHD_UPGRADE_ACTION_CLOSE);
}

bool app_websocket_echo(struct app_req *r)
{
	static const char magic[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	const char *upgrade = app_header(r, "upgrade");
	const char *key = app_header(r, "sec-websocket-key");
	unsigned char digest[EVP_MAX_MD_SIZE];
	char text[KEY_MAX + sizeof(magic)], accept[64];
	unsigned n = 0;

	if (!upgrade || strcasecmp(upgrade, "websocket") || !key || strlen(key) > KEY_MAX)
		return false;
	strcpy(text, key);
	strcat(text, magic);
	if (!EVP_Digest(text, strlen(text), digest, &n, EVP_sha1(), NULL))
		return false;
	EVP_EncodeBlock((unsigned char *)accept, digest, (int)n);
	app_reply_header(r, "Upgrade", "websocket");
	app_reply_header(r, "Sec-WebSocket-Accept", accept);
	app_reply_response(
		r, MHD_HTTP_SWITCHING_PROTOCOLS, MHD_create_response_for_upgrade(on_upgrade, NULL));
	return true;
}
