/* Statistics in the bootstrap: which there are, what of their names becomes tags, where they are sent.
 * Pure; threads: any. */
#pragma once

#include <jansson.h>

#include "istio/mesh/v1alpha1/proxy.pb-c.h"

json_t *agent_stats_config(const Mesh__ProxyConfig *c);
/* Sinks; a cluster that one of them needs is appended to clusters. NULL: none. */
json_t *agent_stats_sinks(const Mesh__ProxyConfig *c, json_t *clusters);
