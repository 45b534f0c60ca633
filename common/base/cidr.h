/* IP addresses and CIDR blocks, IPv4 and IPv6. Plain data. */
#pragma once
#include "common/base/macros.h"

struct mt_ip {
	uint8_t b[16]; /* network order; IPv4 in the first 4 */
	uint8_t len;   /* 4 or 16; 0 = none */
};
struct mt_cidr {
	struct mt_ip ip;
	uint8_t prefix;
};

int mt_ip_parse(const char *text, struct mt_ip *ret_ip); /* MT_INVALID */
void mt_ip_format(const struct mt_ip *ip, char buf[46]);
int mt_cidr_parse(const char *text, struct mt_cidr *ret); /* a bare address is /32 or /128 */
bool mt_cidr_contains(const struct mt_cidr *c, const struct mt_ip *ip);
/* "127.0.0.1:80", "[::1]:80" (host "::1"), "name:80", ":80" (host "", any address), port 0 allowed.
 * MT_INVALID. */
int mt_hostport_parse(const char *text, char host[256], uint16_t *ret_port);
bool mt_ip_is_loopback(const struct mt_ip *ip);
