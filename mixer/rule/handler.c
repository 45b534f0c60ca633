#include "mixer/rule/handler.h"

#include "common/base/mem.h"

int mixer_handler_new(const struct mixer_adapter *adapter, const struct mixer_adapter_env *env,
	const char *name, uint64_t hash, const ProtobufCMessage *params, struct mixer_handler **ret,
	struct mt_err *err)
{
	void *self;
	struct mixer_handler *h;
	int r = adapter->open(env, name, params, &self, err);

	if (r < 0)
		return r;
	h = MT_NEW(struct mixer_handler);
	mt_ref_init(&h->ref);
	h->adapter = adapter;
	h->env = env;
	h->name = mt_strdup(name);
	h->hash = hash;
	h->self = self;
	*ret = h;
	return 0;
}

struct mixer_handler *mixer_handler_ref(struct mixer_handler *h)
{
	mt_ref_get(&h->ref);
	return h;
}

static void handler_free(void *arg)
{
	struct mixer_handler *h = arg;

	h->adapter->close(h->self);
	mt_free(h->name);
	mt_free(h);
}

void mixer_handler_unref(struct mixer_handler *h)
{
	if (!h || !mt_ref_put(&h->ref))
		return;
	if (h->env->loop && !mt_loop_is_current(h->env->loop))
		mt_loop_post(h->env->loop, handler_free, h);
	else
		handler_free(h);
}
