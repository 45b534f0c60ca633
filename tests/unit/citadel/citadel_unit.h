/* A Citadel without its daemon, for tests: a folder, a turned clock, roots, signer, ledger, tokens. */
#pragma once

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "citadel/metrics.h"
#include "citadel/serve/issuing.h"
#include "common/base/buf.h"
#include "common/base/file.h"
#include "common/base/mem.h"
#include "common/run/state.h"
#include "tests/unit/unit.h"

#define UNIT_ID(name) "spiffe://cluster.local/ns/shop/sa/" name

struct unit_citadel {
	char dir[64];
	char tokens_path[128];
	struct mt_test_clock clock;
	struct mt_state *state;
	struct mt_metrics *metrics;
	struct citadel_issuing s;
	struct mt_rpc_peer peer;
};

static const struct mt_metric_desc unit_metrics[] = {
#define METRIC(...) MT_METRIC_ROW(__VA_ARGS__)
#include "citadel/metrics.def"
#undef METRIC
};

static inline void unit_write(const char *path, const char *text, unsigned mode)
{
	ck_assert_int_eq(mt_file_replace(path, text, strlen(text), mode, NULL), 0);
}

static inline void unit_remove(const char *dir)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	ck_assert_int_eq(system(cmd), 0);
}

static inline struct citadel_roots_opts unit_roots_opts(struct unit_citadel *u)
{
	return (struct citadel_roots_opts){ .dir = u->dir,
		.trust_domain = "cluster.local",
		.root_ttl_ns = 3600 * 24 * 365 * MT_NS_PER_SEC,
		.max_leaf_ttl_ns = 3600 * MT_NS_PER_SEC,
		.clock = &u->clock.clock,
		.ca_cert = "",
		.ca_key = "",
		.cert_chain = "",
		.root_cert = "" };
}

static inline void unit_citadel_open(struct unit_citadel *u, const char *tokens)
{
	struct citadel_signer_opts so = { .trust_domain = "cluster.local",
		.default_ttl_ns = 600 * MT_NS_PER_SEC,
		.max_ttl_ns = 3600 * MT_NS_PER_SEC };
	struct citadel_roots_opts ro;
	struct mt_err err = { 0 };

	memset(u, 0, sizeof(*u));
	strcpy(u->dir, "/tmp/mt-citadel-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(u->dir));
	snprintf(u->tokens_path, sizeof(u->tokens_path), "%s/tokens", u->dir);
	mt_test_clock_init(&u->clock, 1000 * MT_NS_PER_SEC, 1800000000 * MT_NS_PER_SEC);
	so.clock = &u->clock.clock;
	ro = unit_roots_opts(u);
	unit_write(u->tokens_path, tokens, 0600);
	ck_assert_int_eq(mt_state_open(u->dir, &u->state, &err), 0);
	u->metrics = mt_metrics_new(unit_metrics, MT_ARRAY_SIZE(unit_metrics));
	u->s.metrics = u->metrics;
	u->s.clock = &u->clock.clock;
	u->s.authority.trust_domain = "cluster.local";
	ck_assert_msg(citadel_roots_open(&ro, &u->s.roots, &err) == 0, "%s", err.msg);
	ck_assert_msg(citadel_signer_new(&so, &u->s.signer, &err) == 0, "%s", err.msg);
	ck_assert_msg(
		citadel_ledger_open(u->dir, 1 << 20, 2, &u->s.ledger, &err) == 0, "%s", err.msg);
	ck_assert_msg(citadel_tokens_open(u->tokens_path, "cluster.local", u->state, u->s.clock,
			      &u->s.authority.tokens, &err) == 0,
		"%s", err.msg);
	u->s.requests = citadel_throttle_new(100, u->s.clock);
	u->s.failures = citadel_throttle_new(5, u->s.clock);
	snprintf(u->peer.addr, sizeof(u->peer.addr), "ipv4:127.0.0.1:4711");
	u->peer.tls = true;
}

static inline void unit_citadel_close(struct unit_citadel *u)
{
	citadel_tokens_close(u->s.authority.tokens);
	citadel_throttle_free(u->s.requests);
	citadel_throttle_free(u->s.failures);
	citadel_ledger_close(u->s.ledger);
	citadel_signer_free(u->s.signer);
	citadel_roots_close(u->s.roots);
	mt_metrics_free(u->metrics);
	mt_state_close(u->state);
	unit_remove(u->dir);
}
