#include "mixer/template/template.h"

#include "common/base/strs.h"
#include "template/checknothing.pb-c.h"
#include "template/listentry.pb-c.h"
#include "template/logentry.pb-c.h"
#include "template/metric.pb-c.h"
#include "template/reportnothing.pb-c.h"

static const struct mixer_template templates[MIXER_TEMPLATES] = {
#define TEMPLATE(id_, name_, variety_, msg)                                                        \
	[MIXER_T_##id_] = { MIXER_T_##id_, name_, MIXER_##variety_, MT_KIND_##id_,                 \
		&msg##__descriptor },
#include "mixer/template/templates.def"
#undef TEMPLATE
};

const struct mixer_template *mixer_template(enum mixer_template_id id)
{
	return &templates[id];
}

const struct mixer_template *mixer_template_by_name(const char *name)
{
	for (int i = 0; i < MIXER_TEMPLATES; i++)
		if (mt_streq(templates[i].name, name))
			return &templates[i];
	return NULL;
}

const struct mixer_template *mixer_template_by_kind(enum mt_kind_id kind)
{
	for (int i = 0; i < MIXER_TEMPLATES; i++)
		if (templates[i].kind == kind)
			return &templates[i];
	return NULL;
}
