#include "common/base/hash.h"

#include <string.h>
#include <xxhash.h>

uint64_t mt_hash(const void *p, size_t n)
{
	return XXH3_64bits(p, n);
}

uint64_t mt_hash_str(const char *s)
{
	return XXH3_64bits(s, strlen(s));
}

/* Each word goes through its own odd multiplier and the sum through a finaliser, so that neither
 * swapping nor equal words cancel out. */
uint64_t mt_hash_mix(uint64_t a, uint64_t b)
{
	uint64_t h = a * 0x9e3779b97f4a7c15ULL + (b ^ (b >> 29)) * 0xbf58476d1ce4e5b9ULL +
		0x94d049bb133111ebULL;

	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93ULL;
	h ^= h >> 32;
	return h;
}

void mt_hash_hex(uint64_t h, char buf[17])
{
	for (int i = 15; i >= 0; i--, h >>= 4)
		buf[i] = "0123456789abcdef"[h & 15];
	buf[16] = '\0';
}

uint64_t mt_hash_mix_strs(uint64_t h, const char *const *v, size_t n)
{
	h = mt_hash_mix(h, n);
	for (size_t i = 0; i < n; i++)
		h = mt_hash_mix(h, mt_hash_str(v[i]));
	return h;
}
