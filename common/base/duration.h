/* Durations as Istio and protobuf write them: "1.5s", and Go's "1h2m3.5s", "250ms", "10us".
 * Nanoseconds. MT_INVALID for anything else (no unit, overflow). */
#pragma once
#include "common/base/macros.h"

int mt_duration_parse(const char *text, int64_t *ret_ns);
/* Protobuf JSON form: "1.500s". buf of 32 bytes at least. */
void mt_duration_format(int64_t ns, char *buf, size_t n);
