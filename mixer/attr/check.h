/* Attributes of an ext_authz check. Facts about the destination come from the context extensions,
 * whose keys are attribute names; the source from the peer certificate and its proxy's header. */
#pragma once

#include "envoy/service/auth/v3/auth.pb-c.h"
#include "mixer/attr/facts.h"

struct mixer_check_opts {
	bool trust_source_header;
	int64_t now_ns; /* wall clock */
};

/* Texts are those of the request, which must outlive f. Fills f (initialised, empty). */
void mixer_attr_check(
	struct mixer_facts *f, const Auth__CheckRequest *r, const struct mixer_check_opts *o);
