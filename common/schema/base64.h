/* Base64 (RFC 4648), both alphabets when reading, padding optional. Pure; threads: any. */
#pragma once

#include "common/base/arena.h"

/* False when text is not base64. The bytes lie in the arena. */
bool mt_base64_decode(const char *text, size_t n, struct mt_arena *a, uint8_t **ret, size_t *ret_n);
char *mt_base64_encode(const void *p, size_t n); /* heap (mt_free) */
