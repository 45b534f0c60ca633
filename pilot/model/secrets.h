/* Secrets by name: which a rule needs, and whether a proxy can be given them. The agent beside it serves
 * NAME (certificate and key) and NAME-cacert (roots) from the folders that it is allowed, and reports what
 * it has. Pure; threads: any. */
#pragma once

#include "istio/networking/v1alpha3/destination_rule.pb-c.h"
#include "istio/networking/v1alpha3/gateway.pb-c.h"
#include "pilot/model/proxy.h"

/* name and suffix: "" or "-cacert". */
typedef void (*pilot_secret_fn)(void *ctx, const char *name, const char *suffix);
void pilot_server_secrets(const Nw__ServerTLSSettings *t, pilot_secret_fn fn, void *ctx);
/* The credential with the roots of clients; "": none. */
const char *pilot_server_roots(const Nw__ServerTLSSettings *t);
/* Of modes SIMPLE and MUTUAL. */
void pilot_client_secrets(const Nw__ClientTLSSettings *t, pilot_secret_fn fn, void *ctx);

enum pilot_has {
	PILOT_HAS_NOT,
	PILOT_HAS_PERHAPS, /* nobody said what it has */
	PILOT_HAS,
};
enum pilot_has pilot_proxy_has(const struct pilot_proxy *p, const char *name, const char *suffix);

/* A gateway's servers or a destination rule's TLS are this proxy's business. */
bool pilot_proxy_concerned(const struct pilot_proxy *p, const struct mt_object *o);
