/* Parts that checks and access logs have in common: Envoy's addresses, times, paths. For the files of
 * this folder. */
#pragma once

#include "envoy/config/core/v3/core.pb-c.h"
#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"
#include "mixer/attr/facts.h"

/* ip_attr and port_attr from a socket address; nothing from others. */
void mixer_add_address(
	struct mixer_facts *f, const Core__Address *a, size_t ip_attr, size_t port_attr);
/* request.path, request.url_path, request.query_params. */
void mixer_add_path(struct mixer_facts *f, const char *path);
/* Saturating; a NULL duration is 0. */
int64_t mixer_duration_ns(const Google__Protobuf__Duration *d);
/* t + plus_ns as a timestamp attribute. */
void mixer_add_time(
	struct mixer_facts *f, size_t attr, const Google__Protobuf__Timestamp *t, int64_t plus_ns);
/* Entry of a map attribute that came from NUL-terminated text; NULL when absent. */
const char *mixer_map_find(const struct mixer_facts *f, size_t attr, const char *key);
