#include "galley/keep.h"

#include "common/base/buf.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/feed/record.h"
#include "galley/metrics.h"

#define RECORD "objects"

static struct mt_log_scope scope = MT_LOG_SCOPE("state");

struct galley_keep {
	struct mt_state *state;
	struct galley_store *store;
	struct mt_metrics *metrics;
	struct mt_timer *save;
	size_t *restored;
	bool dirty;
};

static void restored(void *ctx, struct mt_feed_entry *e)
{
	struct galley_keep *k = ctx;

	galley_store_restore(k->store, mt_object_ref(e->object));
	mt_feed_entry_free(e);
	(*k->restored)++;
}

static void add(void *ctx, struct mt_object *o)
{
	struct mt_feed_entry *e = mt_feed_entry_new(mt_object_ref(o), "");

	mt_feed_record_add(ctx, e);
	mt_feed_entry_free(e);
}

static void save_now(void *arg)
{
	struct galley_keep *k = arg;
	struct mt_buf b = { 0 };
	struct mt_err err = { 0 };

	mt_timer_stop(k->save);
	if (!k->dirty)
		return;
	galley_store_each(k->store, add, &b);
	if (mt_state_save(k->state, RECORD, mt_buf_str(&b), b.n, &err) < 0) {
		mt_metric_add(k->metrics, METRIC_galley_state_save_errors, 1);
		mt_log_error(&scope, "last good state not saved", MT_S("error", err.msg));
		mt_timer_start(k->save, 10 * MT_NS_PER_SEC, 0);
	} else {
		k->dirty = false;
	}
	mt_buf_clear(&b);
}

struct galley_keep *galley_keep_open(struct mt_loop *l, struct mt_state *state,
	struct galley_store *store, struct mt_metrics *metrics, size_t *ret_n, struct mt_err *err)
{
	struct galley_keep *k = MT_NEW(struct galley_keep);
	struct mt_buf b = { 0 };

	k->state = state;
	k->store = store;
	k->metrics = metrics;
	k->save = mt_timer_new(l, save_now, k);
	k->restored = ret_n;
	*ret_n = 0;
	if (mt_state_load(state, RECORD, &b, err) == 0) {
		err->code = 0;
		mt_feed_record_read(b.p, b.n, restored, k, err);
	}
	mt_buf_clear(&b);
	k->restored = NULL;
	return k;
}

void galley_keep_close(struct galley_keep *k)
{
	if (!k)
		return;
	save_now(k);
	mt_timer_free(k->save);
	mt_free(k);
}

void galley_keep_changed(struct galley_keep *k)
{
	k->dirty = true;
	if (!mt_timer_active(k->save))
		mt_timer_start(k->save, MT_NS_PER_SEC, 0);
}
