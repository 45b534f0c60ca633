/* Attributes of gRPC access log entries. base has what is the same for the whole stream
 * (mixer_reporter_add()); what an entry says of itself is added. Custom tags whose names are attribute
 * names count as attributes; `destination` holds several, in the form of common/expr/wire.h: Pilot's
 * way to tell facts about the endpoint that was chosen. */
#pragma once

#include "envoy/data/accesslog/v3/accesslog.pb-c.h"
#include "mixer/attr/facts.h"

struct mixer_log_opts {
	bool trust_source_header;
	bool outbound;
	int64_t now_ns; /* wall clock */
};

/* f: initialised, with the stream's facts. Texts are those of the entry. */
void mixer_attr_http_log(
	struct mixer_facts *f, const Alog__HTTPAccessLogEntry *e, const struct mixer_log_opts *o);
void mixer_attr_tcp_log(
	struct mixer_facts *f, const Alog__TCPAccessLogEntry *e, const struct mixer_log_opts *o);
/* "UF,URX", "-" for none; in the arena. */
const char *mixer_flags_text(const Alog__ResponseFlags *flags, struct mt_arena *a);
