/* A handler in force: an adapter with its state. Reference counted; the last reference may go on any
 * thread, the adapter is closed on the loop thread (at once when there is no loop: tests). */
#pragma once

#include "common/base/ref.h"
#include "common/run/metrics.h"
#include "mixer/adapter/adapter.h"

struct mixer_handler {
	struct mt_ref ref;
	const struct mixer_adapter *adapter;
	const struct mixer_adapter_env *env;
	char *name;    /* "details-private.denier.bookshop" */
	uint64_t hash; /* of adapter and parameters */
	void *self;
	struct mt_metric_series *dispatched, *failed, *duration; /* NULL without metrics */
};

/* params: of the adapter's descriptor. */
int mixer_handler_new(const struct mixer_adapter *adapter, const struct mixer_adapter_env *env,
	const char *name, uint64_t hash, const ProtobufCMessage *params, struct mixer_handler **ret,
	struct mt_err *err);
struct mixer_handler *mixer_handler_ref(struct mixer_handler *h);
void mixer_handler_unref(struct mixer_handler *h); /* NULL allowed */
