/* The chain of HTTP filters, from filters.def. */
#include "pilot/filter/filter.h"

struct row {
	pilot_filter_fn *fn;
	int where;
};

static const struct row rows[] = {
#define FILTER(name, at) { pilot_filter_##name, at },
#include "pilot/filter/filters.def"
#undef FILTER
};

void pilot_filters_add(const struct pilot_filter_in *in, Hcm__HttpConnectionManager *m)
{
	for (size_t i = 0; i < MT_ARRAY_SIZE(rows); i++) {
		const char *name = NULL;
		const ProtobufCMessage *config = NULL;
		if (rows[i].where & in->at)
			config = rows[i].fn(in, &name);
		if (!config)
			continue;
		Hcm__HttpFilter *f = pb_new(in->j->a, hcm__http_filter);
		f->name = pb_s(name);
		f->config_type_case = HCM__HTTP_FILTER__CONFIG_TYPE_TYPED_CONFIG;
		f->typed_config = mt_pb_any(in->j->a, config);
		pb_add(in->j->a, m, http_filters, f);
	}
}
