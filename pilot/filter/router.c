/* The last filter: sends the request on. */
#include "envoy/extensions/filters/http/router/v3/router.pb-c.h"
#include "pilot/filter/filter.h"
#include "pilot/translate/mesh_settings.h"

const ProtobufCMessage *pilot_filter_router(const struct pilot_filter_in *in, const char **ret_name)
{
	Router__Router *m = pb_new(in->j->a, router__router);
	const Mesh__ProxyConfig__ProxyHeaders *h = pilot_proxy_headers(in->j);
	m->suppress_envoy_headers =
		h->envoy_debug_headers && pilot_is_true(h->envoy_debug_headers->disabled);
	*ret_name = "envoy.filters.http.router";
	return &m->base;
}
