#include "common/base/cidr.h"

#include "tests/unit/unit.h"

START_TEST(addresses)
{
	static const char *const bad[] = { "", "1.2.3", "1.2.3.4.5", "256.1.1.1", "::g",
		"fe80::1%lo", " 1.2.3.4", "1.2.3.4 " };
	struct mt_ip ip;
	char buf[46];

	ck_assert_int_eq(mt_ip_parse("10.1.2.3", &ip), 0);
	ck_assert_uint_eq(ip.len, 4);
	mt_ip_format(&ip, buf);
	ck_assert_str_eq(buf, "10.1.2.3");
	ck_assert_int_eq(mt_ip_parse("2001:DB8:0::1", &ip), 0);
	mt_ip_format(&ip, buf);
	ck_assert_str_eq(buf, "2001:db8::1");
	for (size_t i = 0; i < MT_ARRAY_SIZE(bad); i++)
		ck_assert_msg(mt_ip_parse(bad[i], &ip) < 0, "%s", bad[i]);
	ip = (struct mt_ip){ 0 };
	mt_ip_format(&ip, buf);
	ck_assert_str_eq(buf, "");
}
END_TEST

static bool in(const char *cidr, const char *addr)
{
	struct mt_cidr c;
	struct mt_ip ip;

	ck_assert_msg(mt_cidr_parse(cidr, &c) == 0, "%s", cidr);
	ck_assert_msg(mt_ip_parse(addr, &ip) == 0, "%s", addr);
	return mt_cidr_contains(&c, &ip);
}

START_TEST(blocks)
{
	static const char *const bad[] = { "", "/8", "10.0.0.0/", "10.0.0.0/33", "::/129",
		"10.0.0.0/-1", "10.0.0.0/08", "10.0.0.0/8/8", "x/8" };
	struct mt_cidr c;

	ck_assert(in("10.0.0.0/8", "10.255.0.1") && !in("10.0.0.0/8", "11.0.0.0"));
	ck_assert(in("10.0.0.128/25", "10.0.0.200") && !in("10.0.0.128/25", "10.0.0.100"));
	ck_assert(in("0.0.0.0/0", "1.2.3.4") && !in("0.0.0.0/0", "::1"));
	ck_assert(in("1.2.3.4", "1.2.3.4") && !in("1.2.3.4", "1.2.3.5"));
	ck_assert(in("2001:db8::/33", "2001:db8:7fff::1") &&
		!in("2001:db8::/33", "2001:db8:8000::1"));
	ck_assert(in("10.0.0.0/8", "::ffff:10.1.1.1") && !in("10.0.0.0/8", "::ffff:11.1.1.1"));
	for (size_t i = 0; i < MT_ARRAY_SIZE(bad); i++)
		ck_assert_msg(mt_cidr_parse(bad[i], &c) < 0, "%s", bad[i]);
}
END_TEST

START_TEST(loopback)
{
	static const char *const yes[] = { "127.0.0.1", "127.13.0.9", "::1", "::ffff:127.0.0.1" };
	static const char *const no[] = { "128.0.0.1", "0.0.0.0", "::", "::2", "::ffff:10.0.0.1" };
	struct mt_ip ip;

	for (size_t i = 0; i < MT_ARRAY_SIZE(yes); i++)
		ck_assert(mt_ip_parse(yes[i], &ip) == 0 && mt_ip_is_loopback(&ip));
	for (size_t i = 0; i < MT_ARRAY_SIZE(no); i++)
		ck_assert(mt_ip_parse(no[i], &ip) == 0 && !mt_ip_is_loopback(&ip));
}
END_TEST

START_TEST(hosts_and_ports)
{
	static const char *const bad[] = { "", "127.0.0.1", "127.0.0.1:", "::1:80", "[::1]",
		"[::1]80", "[1.2.3.4]:80", "a b:80", "a:65536", "a:-1", "a:080", "a/b:80",
		"[::1:80", "a:80x" };
	char host[256] = "";
	uint16_t port = 0;

	ck_assert(mt_hostport_parse("127.0.0.1:80", host, &port) == 0 && port == 80);
	ck_assert_str_eq(host, "127.0.0.1");
	ck_assert(mt_hostport_parse("[::1]:8080", host, &port) == 0 && port == 8080);
	ck_assert_str_eq(host, "::1");
	ck_assert(mt_hostport_parse(":0", host, &port) == 0 && port == 0);
	ck_assert_str_eq(host, "");
	ck_assert(mt_hostport_parse("galley.mesh:9901", host, &port) == 0 && port == 9901);
	ck_assert_str_eq(host, "galley.mesh");
	for (size_t i = 0; i < MT_ARRAY_SIZE(bad); i++)
		ck_assert_msg(mt_hostport_parse(bad[i], host, &port) < 0, "%s", bad[i]);
	ck_assert_str_eq(host, "galley.mesh"); /* untouched on failure */
}
END_TEST

MT_UNIT(cidr, addresses, blocks, loopback, hosts_and_ports)
