/* Who writes an access-log stream: the identifier that only its first message has. The node's metadata
 * says which workload the proxy serves (its own side of each request), log_name holds facts about the
 * listener in the form of common/expr/wire.h.
 *
 * With mutual TLS the metadata is believed only when namespace and service account are those of the
 * stream's certificate. Immutable, reference counted; threads: any. */
#pragma once

#include "common/base/ref.h"
#include "common/expr/wire.h"
#include "envoy/service/accesslog/v3/accesslog.pb-c.h"
#include "mixer/attr/facts.h"

struct mixer_reporter {
	struct mt_ref ref;
	struct mt_arena *arena;
	bool outbound;
	struct mt_wire_pair *facts; /* from log_name */
	size_t nfacts;
	const char *uri; /* SPIFFE id of its certificate, "" without */
	const char *workload;
	const char *ns;
	struct mt_wire_pair *labels;
	size_t nlabels;
};

/* spiffe_id: of the stream's peer, "" on plaintext. Never fails: what is missing stays unknown. */
struct mixer_reporter *mixer_reporter_new(
	const Als__StreamAccessLogsMessage__Identifier *id, const char *spiffe_id);
struct mixer_reporter *mixer_reporter_ref(struct mixer_reporter *r);
void mixer_reporter_unref(struct mixer_reporter *r); /* NULL allowed */

/* What is the same for all entries. Texts are those of r. */
void mixer_reporter_add(struct mixer_facts *f, const struct mixer_reporter *r);
