/* Addresses of servers and targets: "127.0.0.1:9901", "[::1]:9901", ":9901" (any), "unix:/path", and
 * for targets "host.name:port". Servers and plaintext targets are literal on purpose: what a resolver
 * says about "localhost" must not decide whether traffic without TLS leaves the machine. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/cidr.h"
#include "common/rpc/internal.h"

static int parse_unix(const char *path, struct rpc_addr *a, struct mt_err *err)
{
	if (!path[0])
		return mt_fail(err, MT_INVALID, NULL, "unix: without a path");
	if (strlen(path) >= sizeof(a->path))
		return mt_fail(err, MT_INVALID, NULL, "unix:%s: a path beyond %zu bytes", path,
			sizeof(a->path) - 1);
	a->local = a->unix_socket = true;
	snprintf(a->path, sizeof(a->path), "%s", path);
	snprintf(a->core, sizeof(a->core), "unix:%s", path);
	return 0;
}

int rpc_addr_parse(const char *text, bool names, struct rpc_addr *ret, struct mt_err *err)
{
	struct rpc_addr a = { .local = false };
	char host[256];
	struct mt_ip ip;
	uint16_t port;
	int r = 0;

	if (mt_str_prefix(text, "unix:")) {
		r = parse_unix(text + strlen("unix:"), &a, err);
	} else if (mt_hostport_parse(text, host, &port) < 0) {
		return mt_fail(err, MT_INVALID, NULL, "%s is not HOST:PORT or unix:PATH", text);
	} else if (!host[0] && !names) {
		snprintf(a.core, sizeof(a.core), "[::]:%u", port);
	} else if (mt_ip_parse(host, &ip) == 0) {
		a.local = mt_ip_is_loopback(&ip);
		if (!names) /* core's listeners take no scheme, its channels want one */
			snprintf(a.core, sizeof(a.core), ip.len == 4 ? "%s:%u" : "[%s]:%u", host,
				port);
		else if (ip.len == 4)
			snprintf(a.core, sizeof(a.core), "ipv4:%s:%u", host, port);
		else
			snprintf(a.core, sizeof(a.core), "ipv6:%%5B%s%%5D:%u", host, port);
	} else if (names && host[0]) {
		snprintf(a.core, sizeof(a.core), "dns:///%s:%u", host, port);
	} else {
		return mt_fail(err, MT_INVALID, NULL, "%s: %s is not an IP address", text,
			host[0] ? host : "(nothing)");
	}
	if (r == 0)
		*ret = a;
	return r;
}

static socklen_t to_sockaddr(
	const char *text, const struct rpc_addr *a, struct sockaddr_storage *ss)
{
	char host[256] = "";
	struct mt_ip ip = { .len = 16 };
	uint16_t port = 0;

	memset(ss, 0, sizeof(*ss));
	if (a->unix_socket) {
		struct sockaddr_un *un = (struct sockaddr_un *)ss;
		un->sun_family = AF_UNIX;
		snprintf(un->sun_path, sizeof(un->sun_path), "%s", a->path);
		return sizeof(*un);
	}
	mt_hostport_parse(text, host, &port);
	if (host[0])
		mt_ip_parse(host, &ip);
	if (ip.len == 4) {
		struct sockaddr_in *in = (struct sockaddr_in *)ss;
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, ip.b, 4);
		return sizeof(*in);
	}
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	memcpy(&in6->sin6_addr, ip.b, 16);
	return sizeof(*in6);
}

int rpc_addr_explain(const char *text, const struct rpc_addr *a, struct mt_err *err)
{
	struct sockaddr_storage ss;
	socklen_t n = to_sockaddr(text, a, &ss);
	int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0)
		return mt_fail_errno(err, NULL, "cannot listen on %s", text);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	int r = bind(fd, (struct sockaddr *)&ss, n);
	if (r == 0)
		r = listen(fd, 1);
	if (r < 0)
		r = mt_fail_errno(err, NULL, "cannot listen on %s", text);
	else
		r = mt_fail(err, MT_UNAVAILABLE, NULL, "cannot listen on %s", text);
	close(fd);
	return r;
}
