/* TLS settings of clients and servers. Private to galley/validate. */
#pragma once

#include "galley/validate/check.h"
#include "istio/networking/v1alpha3/destination_rule.pb-c.h"
#include "istio/networking/v1alpha3/gateway.pb-c.h"

void galley_check_client_tls(
	const struct check *c, const char *path, const Nw__ClientTLSSettings *t);
void galley_check_server_tls(
	const struct check *c, const char *path, const Nw__ServerTLSSettings *t);
