#include "common/schema/kind.h"

#include <string.h>
#include <strings.h>

#include "adapter/bypass/config/config.pb-c.h"
#include "adapter/denier/config/config.pb-c.h"
#include "adapter/dogstatsd/config/config.pb-c.h"
#include "adapter/fluentd/config/config.pb-c.h"
#include "adapter/kubernetesenv/config/config.pb-c.h"
#include "adapter/list/config/config.pb-c.h"
#include "adapter/memquota/config/config.pb-c.h"
#include "adapter/opa/config/config.pb-c.h"
#include "adapter/prometheus/config/config.pb-c.h"
#include "adapter/rbac/config/config.pb-c.h"
#include "adapter/redisquota/config/config.pb-c.h"
#include "adapter/statsd/config/config.pb-c.h"
#include "adapter/stdio/config/config.pb-c.h"
#include "adapter/zipkin/config/config.pb-c.h"
#include "common/base/strs.h"
#include "google/protobuf/empty.pb-c.h"
#include "istio/authentication/v1alpha1/authentication.pb-c.h"
#include "istio/extensions/v1alpha1/extensions.pb-c.h"
#include "istio/mesh/v1alpha1/config.pb-c.h"
#include "istio/mixer/adapter/model/v1beta1/model.pb-c.h"
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
#include "template/apikey.pb-c.h"
#include "template/authorization.pb-c.h"
#include "template/checknothing.pb-c.h"
#include "template/edge.pb-c.h"
#include "template/kubernetes.pb-c.h"
#include "template/listentry.pb-c.h"
#include "template/logentry.pb-c.h"
#include "template/metric.pb-c.h"
#include "template/quota.pb-c.h"
#include "template/reportnothing.pb-c.h"
#include "template/tracespan.pb-c.h"

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
