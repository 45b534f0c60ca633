#include "common/schema/kind.h"

#include <string.h>
#include <strings.h>

#include "common/base/strs.h"
#include "istio/authentication/v1alpha1/authentication.pb-c.h"
#include "istio/extensions/v1alpha1/extensions.pb-c.h"
#include "istio/mesh/v1alpha1/config.pb-c.h"
#include "istio/mixer/adapter/config/denier.pb-c.h"
#include "istio/mixer/adapter/config/fluentd.pb-c.h"
#include "istio/mixer/adapter/config/kubernetesenv.pb-c.h"
#include "istio/mixer/adapter/config/list.pb-c.h"
#include "istio/mixer/adapter/config/memquota.pb-c.h"
#include "istio/mixer/adapter/config/noop.pb-c.h"
#include "istio/mixer/adapter/config/opa.pb-c.h"
#include "istio/mixer/adapter/config/prometheus.pb-c.h"
#include "istio/mixer/adapter/config/rbac.pb-c.h"
#include "istio/mixer/adapter/config/redisquota.pb-c.h"
#include "istio/mixer/adapter/config/statsd.pb-c.h"
#include "istio/mixer/adapter/config/stdio.pb-c.h"
#include "istio/mixer/adapter/model/v1beta1/model.pb-c.h"
#include "istio/mixer/template/apikey.pb-c.h"
#include "istio/mixer/template/authorization.pb-c.h"
#include "istio/mixer/template/checknothing.pb-c.h"
#include "istio/mixer/template/edge.pb-c.h"
#include "istio/mixer/template/kubernetes.pb-c.h"
#include "istio/mixer/template/listentry.pb-c.h"
#include "istio/mixer/template/logentry.pb-c.h"
#include "istio/mixer/template/metric.pb-c.h"
#include "istio/mixer/template/quota.pb-c.h"
#include "istio/mixer/template/reportnothing.pb-c.h"
#include "istio/mixer/template/tracespan.pb-c.h"
#include "istio/mixer/v1/config/client/api_spec.pb-c.h"
#include "istio/mixer/v1/config/client/quota.pb-c.h"
#include "istio/networking/v1alpha3/destination_rule.pb-c.h"
#include "istio/networking/v1alpha3/envoy_filter.pb-c.h"
#include "istio/networking/v1alpha3/gateway.pb-c.h"
#include "istio/networking/v1alpha3/service_entry.pb-c.h"
#include "istio/networking/v1alpha3/sidecar.pb-c.h"
#include "istio/networking/v1alpha3/virtual_service.pb-c.h"
#include "istio/networking/v1alpha3/workload_entry.pb-c.h"
#include "istio/networking/v1alpha3/workload_group.pb-c.h"
#include "istio/networking/v1beta1/proxy_config.pb-c.h"
#include "istio/policy/v1beta1/policy.pb-c.h"
#include "istio/rbac/v1alpha1/rbac.pb-c.h"
#include "istio/security/v1beta1/security.pb-c.h"
#include "istio/telemetry/v1alpha1/telemetry.pb-c.h"

const struct mt_kind mt_kinds[MT_KIND_N] = {
#define KIND(row, group_, first, more, kind_, plural_, scope_, spec_)                              \
	[MT_KIND_##row] = {                                                                        \
		.id = MT_KIND_##row,                                                               \
		.group = group_,                                                                   \
		.versions = first more,                                                            \
		.kind = kind_,                                                                     \
		.plural = plural_,                                                                 \
		.scope = MT_SCOPE_##scope_,                                                        \
		.spec = &spec_,                                                                    \
		.type_url = group_ "/" first "/" kind_,                                            \
	},
#include "common/schema/kinds.def"
#undef KIND
};

const struct mt_kind *mt_kind_by_name(const char *kind_or_plural)
{
	for (size_t i = 0; i < MT_KIND_N; i++)
		if (strcasecmp(mt_kinds[i].kind, kind_or_plural) == 0 ||
			strcasecmp(mt_kinds[i].plural, kind_or_plural) == 0)
			return &mt_kinds[i];
	return NULL;
}

static bool version_listed(const char *versions, const char *version)
{
	size_t n = strlen(version);

	for (const char *p = versions; p; p = strchr(p, ',')) {
		p += *p == ',';
		if (n && strncmp(p, version, n) == 0 && (p[n] == ',' || !p[n]))
			return true;
	}
	return false;
}

const struct mt_kind *mt_kind_by_api(const char *api_version, const char *kind)
{
	const char *slash = strchr(api_version, '/');

	if (!slash)
		return NULL;
	for (size_t i = 0; i < MT_KIND_N; i++) {
		const struct mt_kind *k = &mt_kinds[i];
		size_t n = strlen(k->group);
		if (strcmp(k->kind, kind) == 0 && (size_t)(slash - api_version) == n &&
			memcmp(k->group, api_version, n) == 0 &&
			version_listed(k->versions, slash + 1))
			return k;
	}
	return NULL;
}

const struct mt_kind *mt_kind_by_type_url(const char *type_url)
{
	for (size_t i = 0; i < MT_KIND_N; i++)
		if (strcmp(mt_kinds[i].type_url, type_url) == 0)
			return &mt_kinds[i];
	return NULL;
}
