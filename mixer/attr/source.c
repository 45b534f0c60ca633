#include "mixer/attr/source.h"

#include <string.h>

#include "common/base/strs.h"
#include "common/base/workload.h"
#include "common/pki/spiffe.h"

static void add_workload(struct mixer_facts *f, const struct mt_workload *w)
{
	mixer_facts_str(f, MT_ATTR_SOURCE_WORKLOAD_NAME, w->name);
	mixer_facts_str(f, MT_ATTR_SOURCE_WORKLOAD_NAMESPACE, w->ns);
	for (size_t i = 0; i < w->nlabels; i++)
		mixer_facts_entry(f, MT_ATTR_SOURCE_LABELS, w->labels[i].key, w->labels[i].value);
}

void mixer_source_add(struct mixer_facts *f, const char *uri, const char *header, bool trust_header)
{
	struct mt_workload w;
	struct mt_spiffe id;
	bool known = !mt_str_empty(uri) && mt_spiffe_parse(uri, &id, NULL) == 0;

	if (!mt_str_empty(uri)) {
		mixer_facts_str(f, MT_ATTR_SOURCE_PRINCIPAL, mixer_principal(uri));
		mixer_facts_bool(f, MT_ATTR_CONNECTION_MTLS, true);
	}
	if (known)
		mixer_facts_str(
			f, MT_ATTR_SOURCE_WORKLOAD_NAMESPACE, mt_arena_strdup(f->arena, id.ns));
	if (mt_str_empty(header) ||
		mt_workload_parse(header, strlen(header), f->arena, &w, NULL) < 0)
		return;
	if (known ? mt_streq(w.ns, id.ns) && mt_streq(w.service_account, id.sa)
		  : mt_str_empty(uri) && trust_header)
		add_workload(f, &w);
}
