/* Envoy's admin interface, as the agent uses it. Loop thread; each call ends within 2 s. */
#pragma once

#include "common/http/client.h"

struct agent_admin;

struct agent_admin *agent_admin_new(struct mt_loop *l, const char *addr);
void agent_admin_free(
	struct agent_admin *a); /* calls under way are answered with an error; NULL allowed */

/* Is Envoy live, with its first clusters and listeners in force and its workers started? why says what
 * is missing; valid during the call. */
void agent_admin_ready(
	struct agent_admin *a, void (*done)(void *ctx, bool ready, const char *why), void *ctx);
/* Starts the graceful drain: answers ask for the connection to be closed, listeners stay open for
 * Envoy's drain time. */
void agent_admin_drain(
	struct agent_admin *a, void (*done)(void *ctx, bool ok, const char *why), void *ctx);
/* Connections that its listeners hold, the admin interface's not counted; -1 unknown. */
void agent_admin_connections(struct agent_admin *a, void (*done)(void *ctx, long n), void *ctx);

/* The sum of the values in Envoy's text statistics ("name: value" lines), the admin listener's left
 * out. Pure. */
long agent_admin_sum(const char *text);
