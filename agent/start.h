/* What a proxy is to be started with: Pilot is asked once, before Envoy is started, for the ProxyConfig
 * and the patches of the bootstrap that concern it. Without an answer what it said last time counts, else
 * nothing. Loop thread. */
#pragma once

#include "agent/report.h"
#include "common/run/state.h"
#include "istio/mesh/v1alpha1/proxy.pb-c.h"

struct agent_settings {
	const Mesh__ProxyConfig *config; /* never NULL */
	json_t **patches;                /* merged into the bootstrap one after the other */
	size_t npatches;
	bool known; /* by Pilot's word, of now or of the last time */
};

struct agent_start;

struct agent_start_opts {
	struct agent_report_opts report; /* whom to ask, and as whom */
	struct mt_state *state;          /* the last answer */
	int64_t wait_ns;                 /* for an answer */
	const Mesh__ProxyConfig *own;    /* over all that others say; NULL none */
	/* Once. What it is given lies there until agent_start_free(). */
	void (*done)(void *ctx, const struct agent_settings *s);
	void *ctx;
};

/* MT_INVALID: an address is wrong. */
int agent_start_ask(const struct agent_start_opts *o, struct agent_start **ret, struct mt_err *err);
void agent_start_free(struct agent_start *s); /* NULL allowed */

/* The YAML of --proxy-config; "" NULL. MT_INVALID says what is wrong with it. */
int agent_start_parse(
	const char *yaml, struct mt_arena *a, const Mesh__ProxyConfig **ret, struct mt_err *err);

/* What the settings say of the agent's own options, for those that nobody set. */
void agent_settings_apply(const Mesh__ProxyConfig *c, bool (*said)(void *ctx, const char *option),
	void *ctx, struct mt_arena *a, struct agent_options *o);
