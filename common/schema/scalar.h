/* What a bare word of YAML or JSON means. The core schema of YAML 1.2, and where 1.1 (which
 * Kubernetes' tools speak) reads a word otherwise, the word is ambiguous: it is refused where the
 * two readings differ. Pure; threads: any. */
#pragma once

#include "common/base/macros.h"

enum mt_scalar {
	MT_SCALAR_STRING,
	MT_SCALAR_NULL,
	MT_SCALAR_BOOL,  /* true, false, and 1.1's yes, no, on, off */
	MT_SCALAR_INT,   /* decimal, 0x, 0o */
	MT_SCALAR_FLOAT, /* with a dot or an exponent, .inf, .nan */
	MT_SCALAR_ODD,   /* 010, 0b1, 1_000, 1:30: a number to some readers only */
};
enum mt_scalar mt_scalar_class(const char *s, size_t n);

bool mt_scalar_bool(const char *s, bool *ret);
/* Integers, also written 0x10, 0o17, 1e3 or 80.0 when that is whole. False: not one, or too large.
 * A negative value sets *ret_neg and *ret is its magnitude. */
bool mt_scalar_int(const char *s, size_t n, uint64_t *ret, bool *ret_neg);
bool mt_scalar_double(const char *s, size_t n, double *ret);
