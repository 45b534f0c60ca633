/* The wire of the load generator: gRPC over HTTP/2 by libnghttp2, many connections to a thread.
 *
 * gRPC core as a client takes as much of the cores for a message as the server that is measured. This
 * takes a fraction: one read, one write and no memory for most messages. Each stream has a TCP
 * connection of its own, as each Envoy has, with windows as Envoy's. */
#pragma once

#include "common/base/err.h"
#include "common/pki/identity.h"
#include "tests/unit/xds/fake_wire.h"

struct h2;

/* target: "ip:port" of an IPv4 address. id: mutual TLS, with a server whose chain its roots verify
 * (whose name is not looked at); NULL: plaintext. Copies what it needs. MT_INVALID. */
int h2_new(const char *target, unsigned threads, struct mt_identity *id, struct h2 **ret,
	struct mt_err *err);
void h2_free(struct h2 *h); /* after the end of its streams; NULL allowed */

extern const struct fake_wire h2_wire; /* ctx: a struct h2 */
