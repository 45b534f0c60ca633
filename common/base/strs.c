#include "common/base/strs.h"

bool mt_str_prefix(const char *s, const char *prefix)
{
	return s && strncmp(s, prefix, strlen(prefix)) == 0;
}

bool mt_str_suffix(const char *s, const char *suffix)
{
	size_t n = s ? strlen(s) : 0, k = strlen(suffix);

	return s && n >= k && memcmp(s + n - k, suffix, k) == 0;
}

/* Length of the sequence that starts at p (RFC 3629: no overlong forms, no surrogates, at most
 * U+10FFFF), 0 when it is malformed. */
static size_t utf8_seq(const unsigned char *p, size_t n)
{
	unsigned char lo = 0x80, hi = 0xbf;
	size_t len;

	if (p[0] < 0x80)
		return p[0] ? 1 : 0;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		len = 2;
	else if (p[0] >= 0xe0 && p[0] <= 0xef)
		len = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		len = 4;
	else
		return 0;
	if (len > n)
		return 0;
	switch (p[0]) {
	case 0xe0: lo = 0xa0; break;
	case 0xed: hi = 0x9f; break;
	case 0xf0: lo = 0x90; break;
	case 0xf4: hi = 0x8f; break;
	default: break;
	}
	if (p[1] < lo || p[1] > hi)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

bool mt_utf8_valid(const void *text, size_t n)
{
	const unsigned char *p = text;

	while (n) {
		/* Eight at a time, as long as they are ASCII and none is NUL. */
		uint64_t w;
		while (n >= sizeof(w)) {
			memcpy(&w, p, sizeof(w));
			if ((w | (w - 0x0101010101010101u)) & 0x8080808080808080u)
				break;
			p += sizeof(w);
			n -= sizeof(w);
		}
		if (!n)
			break;
		size_t len = utf8_seq(p, n);

		if (!len)
			return false;
		p += len;
		n -= len;
	}
	return true;
}

int mt_strcmpp(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}
