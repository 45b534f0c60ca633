/* The last filter: sends the request on. */
#include "envoy/extensions/filters/http/router/v3/router.pb-c.h"
#include "pilot/filter/filter.h"

const ProtobufCMessage *pilot_filter_router(const struct pilot_filter_in *in, const char **ret_name)
{
	Router__Router *m = pb_new(in->j->a, router__router);
	*ret_name = "envoy.filters.http.router";
	return &m->base;
}
