/* Adapters: what instances are handed to. A handler is an adapter with parameters; its state lives in
 * a `self` that open() makes and close() ends, and outlives changes of the configuration as long as
 * the parameters stay the same.
 *
 * Threads: open, bind, unbind, close on the loop thread. check() on any thread, several at once;
 * it must not block. report() on the reporter thread, one call at a time for each handler, and may
 * block: reports are queued behind it, with a bound. */
#pragma once

#include "common/base/clock.h"
#include "common/http/client.h"
#include "common/run/loop.h"
#include "mixer/template/template.h"

struct mixer_collectors; /* adapter/prometheus/collectors.h */

/* What adapters may use. Members may be NULL in tests that do without. */
struct mixer_adapter_env {
	struct mt_loop *loop;
	struct mt_http_client *http;
	struct mixer_collectors *collectors;
	const struct mt_clock *clock;
	/* Asked for when the state of a handler changed on its own (a list could not be fetched):
	 * "" for well. Loop thread. */
	void (*health)(void *ctx, const char *handler, const char *why);
	void *health_ctx;
};

struct mixer_verdict {
	int code;            /* google.rpc.Code; 0: go on */
	const char *message; /* in scratch, or lives as long as the handler */
	int64_t valid_ns;    /* how long the verdict may be kept, 0: not at all */
	int32_t valid_uses;
};

struct mixer_adapter {
	const char *name;     /* "denier": also what compiledAdapter says */
	enum mt_kind_id kind; /* its own configuration kind */
	const ProtobufCMessageDescriptor *params;
	unsigned templates; /* MIXER_ACCEPTS(...) */
	const char *help;

	/* params are of that descriptor and valid during the call. MT_INVALID: err->path is the
	 * field. */
	int (*open)(const struct mixer_adapter_env *env, const char *handler,
		const ProtobufCMessage *params, void **ret_self, struct mt_err *err);
	void (*close)(void *self);
	/* Prepares for instances of a definition: an adapter that looks into them checks here that
	 * they have what it needs. NULL: nothing to prepare. */
	int (*bind)(void *self, const struct mixer_instance_def *def, void **ret_binding,
		struct mt_err *err);
	void (*unbind)(void *self, void *binding);
	/* Non-zero: the adapter cannot say; the proxy's failure policy decides. */
	int (*check)(void *self, void *binding, const struct mixer_instance *in,
		struct mt_arena *scratch, struct mixer_verdict *ret, struct mt_err *err);
	void (*report)(void *self, void *const *bindings, const struct mixer_instance *const *v,
		size_t n, struct mt_arena *scratch);
};
#define MIXER_ACCEPTS(id) (1u << MIXER_T_##id)

const struct mixer_adapter *mixer_adapter_by_name(const char *name); /* NULL when unknown */
const struct mixer_adapter *mixer_adapter_by_kind(enum mt_kind_id kind);
const struct mixer_adapter *mixer_adapter_at(size_t i); /* NULL beyond the last */

/* google.rpc.Code: "PERMISSION_DENIED" and the HTTP status that goes with it. */
const char *mixer_code_name(int code);
int mixer_code_http(int code);
