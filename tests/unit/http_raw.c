#include "tests/unit/http_raw.h"

#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/mem.h"

int mt_raw_connect(uint16_t port)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timeval limit = { .tv_sec = 20 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	return fd;
}

int mt_raw_send(int fd, const char *p, size_t n)
{
	n = n ? n : strlen(p);
	while (n) {
		ssize_t w = send(fd, p, n, MSG_NOSIGNAL);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return 0;
		p += w;
		n -= (size_t)w;
	}
	return 1;
}

static int whole(const struct mt_buf *b)
{
	const char *end = strstr(mt_buf_str(b), "\r\n\r\n"), *length;

	if (!end)
		return 0;
	length = strcasestr(b->p, "Content-Length:");
	if (!length || length > end)
		return 0;
	return b->n >= (size_t)(end + 4 - b->p) + strtoul(length + 15, NULL, 10);
}

char *mt_raw_read(int fd)
{
	struct mt_buf b = { 0 };
	char chunk[4096];

	while (!whole(&b)) {
		ssize_t n = recv(fd, chunk, sizeof(chunk), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		mt_buf_add(&b, chunk, (size_t)n);
	}
	return mt_buf_take(&b, NULL);
}

int mt_raw_status(const char *answer)
{
	int status = 0;

	return sscanf(answer, "HTTP/1.%*d %d", &status) == 1 ? status : 0;
}

int mt_raw_get(uint16_t port, const char *path, char **ret_body)
{
	int fd = mt_raw_connect(port), status;
	char *ask = mt_asprintf("GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path), *answer;
	const char *body;

	ck_assert(mt_raw_send(fd, ask, 0));
	mt_free(ask);
	answer = mt_raw_read(fd);
	close(fd);
	status = mt_raw_status(answer);
	body = strstr(answer, "\r\n\r\n");
	if (ret_body)
		*ret_body = mt_strdup(body ? body + 4 : "");
	mt_free(answer);
	return status;
}
