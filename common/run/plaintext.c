/* What --tls off allows: loopback addresses, so that nothing leaves the machine in plaintext. */
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

#include "common/base/cidr.h"
#include "common/base/strs.h"
#include "common/run/daemon_inside.h"

bool mt_daemon_tls(const struct mt_daemon *d)
{
	return mt_streq(d->values->tls, "on");
}

static bool all_loopback(const struct addrinfo *found)
{
	for (; found; found = found->ai_next) {
		struct mt_ip ip = { 0 };

		if (found->ai_family == AF_INET) {
			ip.len = 4;
			memcpy(ip.b, &((struct sockaddr_in *)(void *)found->ai_addr)->sin_addr, 4);
		} else if (found->ai_family == AF_INET6) {
			ip.len = 16;
			memcpy(ip.b, &((struct sockaddr_in6 *)(void *)found->ai_addr)->sin6_addr,
				16);
		}
		if (!mt_ip_is_loopback(&ip))
			return false;
	}
	return true;
}

int mt_daemon_check_plaintext(
	const struct mt_daemon *d, const char *flag, const char *addr, struct mt_err *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *found;
	char host[256];
	uint16_t port;
	bool ok;
	int r;

	if (mt_daemon_tls(d) || mt_str_prefix(addr, "unix:"))
		return 0;
	if (mt_hostport_parse(addr, host, &port) < 0)
		return mt_fail(err, MT_INVALID, flag, "'%s' is not ADDRESS:PORT", addr);
	r = getaddrinfo(*host ? host : NULL, NULL, &hints, &found);
	if (r)
		return mt_fail(
			err, MT_INVALID, flag, "cannot resolve '%s': %s", host, gai_strerror(r));
	ok = all_loopback(found);
	freeaddrinfo(found);
	if (!ok)
		return mt_fail(err, MT_INVALID, flag,
			"'%s' is not a loopback address, and --tls off allows no other", addr);
	return 0;
}
