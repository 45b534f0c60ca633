/* The answer to an ext_authz check. Pure. */
#pragma once

#include "common/base/buf.h"
#include "mixer/rule/program.h"

/* Appends the packed CheckResponse. A refusal has the HTTP status that belongs to its code and the body
 * "PERMISSION_DENIED:HANDLER:MESSAGE", as Istio's users know it. */
void mixer_verdict_pack(
	const struct mixer_outcome *out, struct mt_arena *scratch, struct mt_buf *to);
