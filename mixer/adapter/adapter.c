#include "mixer/adapter/adapter.h"

#include "common/base/strs.h"

#define ADAPTER(name) extern const struct mixer_adapter mixer_adapter_##name;
#include "mixer/adapter/adapters.def"
#undef ADAPTER

static const struct mixer_adapter *const all[] = {
#define ADAPTER(name) &mixer_adapter_##name,
#include "mixer/adapter/adapters.def"
#undef ADAPTER
};

const struct mixer_adapter *mixer_adapter_at(size_t i)
{
	return i < MT_ARRAY_SIZE(all) ? all[i] : NULL;
}

const struct mixer_adapter *mixer_adapter_by_name(const char *name)
{
	for (size_t i = 0; i < MT_ARRAY_SIZE(all); i++)
		if (mt_streq(all[i]->name, name))
			return all[i];
	return NULL;
}

const struct mixer_adapter *mixer_adapter_by_kind(enum mt_kind_id kind)
{
	for (size_t i = 0; i < MT_ARRAY_SIZE(all); i++)
		if (all[i]->kind == kind)
			return all[i];
	return NULL;
}
