#include "common/base/cidr.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"

int mt_ip_parse(const char *text, struct mt_ip *ret_ip)
{
	struct mt_ip ip = { 0 };

	if (!text)
		return MT_INVALID;
	if (inet_pton(AF_INET, text, ip.b) == 1)
		ip.len = 4;
	else if (inet_pton(AF_INET6, text, ip.b) == 1)
		ip.len = 16;
	else
		return MT_INVALID;
	*ret_ip = ip;
	return 0;
}

void mt_ip_format(const struct mt_ip *ip, char buf[46])
{
	if (!ip->len || !inet_ntop(ip->len == 4 ? AF_INET : AF_INET6, ip->b, buf, 46))
		buf[0] = '\0';
}

/* Decimal without sign or leading zeros, at most max. */
static int number(const char *text, unsigned max, unsigned *ret)
{
	unsigned v = 0;

	if (!*text || (*text == '0' && text[1]))
		return MT_INVALID;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return MT_INVALID;
		v = v * 10 + (unsigned)(*text - '0');
		if (v > max)
			return MT_INVALID;
	}
	*ret = v;
	return 0;
}

int mt_cidr_parse(const char *text, struct mt_cidr *ret)
{
	const char *slash = text ? strchr(text, '/') : NULL;
	struct mt_cidr c = { 0 };
	unsigned prefix;
	char addr[64];

	if (!text)
		return MT_INVALID;
	if (slash) {
		if ((size_t)(slash - text) >= sizeof(addr))
			return MT_INVALID;
		memcpy(addr, text, (size_t)(slash - text));
		addr[slash - text] = '\0';
		text = addr;
	}
	if (mt_ip_parse(text, &c.ip) < 0)
		return MT_INVALID;
	prefix = c.ip.len * 8u;
	if (slash && number(slash + 1, prefix, &prefix) < 0)
		return MT_INVALID;
	c.prefix = (uint8_t)prefix;
	*ret = c;
	return 0;
}

/* ::ffff:a.b.c.d is how a dual-stack socket shows an IPv4 peer. */
static bool is_mapped(const struct mt_ip *ip)
{
	static const uint8_t head[12] = { [10] = 0xff, [11] = 0xff };

	return ip->len == 16 && memcmp(ip->b, head, sizeof(head)) == 0;
}

bool mt_cidr_contains(const struct mt_cidr *c, const struct mt_ip *ip)
{
	const uint8_t *b = ip->b;
	unsigned bytes = c->prefix / 8u, bits = c->prefix % 8u;

	if (c->ip.len == 4 && is_mapped(ip))
		b += 12;
	else if (!c->ip.len || c->ip.len != ip->len)
		return false;
	if (memcmp(c->ip.b, b, bytes) != 0)
		return false;
	return !bits || (c->ip.b[bytes] ^ b[bytes]) >> (8 - bits) == 0;
}

bool mt_ip_is_loopback(const struct mt_ip *ip)
{
	static const uint8_t one[16] = { [15] = 1 };

	if (ip->len == 4)
		return ip->b[0] == 127;
	if (is_mapped(ip))
		return ip->b[12] == 127;
	return ip->len == 16 && memcmp(ip->b, one, sizeof(one)) == 0;
}

/* Host names and addresses only: nothing that a URL or a log line would read differently. */
static bool host_char(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		c == '.' || c == '-' || c == '_';
}

int mt_hostport_parse(const char *text, char host[256], uint16_t *ret_port)
{
	const char *end, *start = text;
	struct mt_ip ip;
	unsigned port;
	char copy[256];
	size_t n;

	if (!text)
		return MT_INVALID;
	if (*text == '[') {
		start = text + 1;
		end = strchr(start, ']');
		if (!end || end[1] != ':')
			return MT_INVALID;
	} else {
		end = strchr(start, ':');
		if (!end)
			return MT_INVALID;
	}
	n = (size_t)(end - start);
	if (n >= sizeof(copy))
		return MT_INVALID;
	memcpy(copy, start, n);
	copy[n] = '\0';
	if (*text == '[') {
		if (mt_ip_parse(copy, &ip) < 0 || ip.len != 16)
			return MT_INVALID;
		end++;
	} else {
		for (size_t i = 0; i < n; i++)
			if (!host_char(copy[i]))
				return MT_INVALID;
	}
	if (number(end + 1, 65535, &port) < 0)
		return MT_INVALID;
	memcpy(host, copy, n + 1);
	*ret_port = (uint16_t)port;
	return 0;
}
