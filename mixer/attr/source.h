/* Who the source is: what its certificate proves, and what its proxy says of it in the header of
 * common/base/workload.h.
 *
 * The header is believed when its namespace and service account are those of the certificate, as then
 * the proxy that holds that key set it. Without a certificate anybody may have written it: it is not
 * believed, unless the operator of a mesh without mutual TLS says so (--trust-source-header). */
#pragma once

#include "mixer/attr/facts.h"

/* uri: SPIFFE id of the peer's certificate, NULL or "" without; header: NULL without. Texts must live
 * as long as the bag. */
void mixer_source_add(
	struct mixer_facts *f, const char *uri, const char *header, bool trust_header);
