/* Listening sockets of the HTTP server: bound here and not by libmicrohttpd, which loses errno. */
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/cidr.h"
#include "common/http/request.h"

static int resolve(
	const char *addr, struct sockaddr_storage *ret, socklen_t *ret_len, struct mt_err *err)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_PASSIVE | AI_NUMERICSERV },
			*found;
	char host[256], service[8];
	uint16_t port;
	int r;

	if (mt_hostport_parse(addr, host, &port) < 0)
		return mt_fail(err, MT_INVALID, addr, "is not ADDRESS:PORT");
	snprintf(service, sizeof(service), "%u", port);
	r = getaddrinfo(*host ? host : NULL, service, &hints, &found);
	if (r)
		return mt_fail(err, MT_INVALID, addr, "cannot resolve: %s", gai_strerror(r));
	memcpy(ret, found->ai_addr, found->ai_addrlen);
	*ret_len = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

int mt_http_listen(const char *addr, int *ret_fd, uint16_t *ret_port, struct mt_err *err)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int fd, one = 1, r = resolve(addr, &ss, &len, err);

	if (r < 0)
		return r;
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return mt_fail_errno(err, addr, "cannot make a socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&ss, len) < 0 || listen(fd, 128) < 0) {
		r = mt_fail_errno(err, addr, "cannot listen");
		close(fd);
		return r;
	}
	len = sizeof(ss);
	getsockname(fd, (struct sockaddr *)&ss, &len);
	*ret_port = ntohs(ss.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&ss)->sin6_port
						   : ((struct sockaddr_in *)&ss)->sin_port);
	*ret_fd = fd;
	return 0;
}
