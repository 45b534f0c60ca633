/* Read before every file by tools/analyze: what the analyser cannot see from a declaration. */
#ifndef TOOLS_ANALYZE_H
#define TOOLS_ANALYZE_H

#include "common/base/err.h"
#include "common/pki/internal.h"

/* They return the code that they were given, which is negative. */
#define mt_fail(err, code, ...) ((mt_fail)((err), (code), __VA_ARGS__), (code))
#define mt_fail_errno(err, ...) ((mt_fail_errno)((err), __VA_ARGS__), MT_IO)
#define pki_fail_ssl(err, code, ...) ((pki_fail_ssl)((err), (code), __VA_ARGS__), (code))

#endif
