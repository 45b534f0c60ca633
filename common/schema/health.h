/* Active health checks: an annotation of a DestinationRule, whose value is YAML or JSON of a
 * meltemi.networking.v1.HealthCheck. Galley validates with it, Pilot reads it. Pure; threads: any.
 *
 *   metadata:
 *     annotations:
 *       meltemi.io/health-check: '{http: {path: /healthz}, interval: 5s, unhealthyThreshold: 3}' */
#pragma once

#include "common/base/arena.h"
#include "common/base/diag.h"
#include "meltemi/networking/v1/health_check.pb-c.h"

#define MT_HEALTH_CHECK_ANNOTATION "meltemi.io/health-check"
#define MT_HEALTH_CHECK_PATH "metadata.annotations[\"" MT_HEALTH_CHECK_ANNOTATION "\"]"

/* The message in the arena, its values checked: ranges, one kind of check. NULL, and every fault in
 * diags with its path below the annotation ("interval"). */
const Meltemi__HealthCheck *mt_health_check_parse(
	const char *text, struct mt_arena *a, struct mt_diags *diags);
