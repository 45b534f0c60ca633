/* Content hashes (XXH3, 64 bits). Not for untrusted maps where collisions can be chosen. */
#pragma once
#include "common/base/macros.h"

uint64_t mt_hash(const void *p, size_t n);
uint64_t mt_hash_str(const char *s);
uint64_t mt_hash_mix(uint64_t a, uint64_t b); /* order matters */
/* h, and how many texts there are, and each. */
uint64_t mt_hash_mix_strs(uint64_t h, const char *const *v, size_t n);
/* 16 lower-case hex digits and NUL. */
void mt_hash_hex(uint64_t h, char buf[17]);
