/* Galley's last good state: every object in force, with its generation, in STATE/galley/objects. Loop
 * thread. */
#pragma once

#include "common/run/metrics.h"
#include "common/run/state.h"
#include "galley/store/store.h"

struct galley_keep;

/* Restores what an earlier run saved into the store; *ret_n says how many. A damaged record is told in
 * err and not used. */
struct galley_keep *galley_keep_open(struct mt_loop *l, struct mt_state *state,
	struct galley_store *store, struct mt_metrics *metrics, size_t *ret_n, struct mt_err *err);
void galley_keep_close(struct galley_keep *k);   /* saves; NULL allowed */
void galley_keep_changed(struct galley_keep *k); /* saves soon, at most once a second */
