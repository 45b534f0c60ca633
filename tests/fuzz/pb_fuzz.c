/* Bytes as messages: what the check lets through unpacks within its memory, and can be shown. The
 * first byte picks the type. */
#include <stdlib.h>

#include "common/feed/feed.h"
#include "common/feed/record.h"
#include "common/schema/pb.h"
#include "envoy/config/listener/v3/listener.pb-c.h"
#include "envoy/service/discovery/v3/discovery.pb-c.h"
#include "google/protobuf/struct.pb-c.h"
#include "istio/mcp/v1alpha1/mcp.pb-c.h"
#include "istio/mixer/v1/mixer.pb-c.h"

static const ProtobufCMessageDescriptor *const types[] = {
	&google__protobuf__struct__descriptor,
	&mcp__resource__descriptor,
	&discovery__delta_discovery_request__descriptor,
	&listener__listener__descriptor,
	&mixer__report_request__descriptor,
};

static void drop(void *ctx, struct mt_feed_entry *e)
{
	(void)ctx;
	mt_feed_entry_free(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mt_err err = { 0 };
	struct mt_object *o;

	if (!size)
		return 0;
	uint8_t pick = *data++;
	size--;
	if (pick == 255) {
		mt_feed_record_read(data, size, drop, NULL, &err);
		return 0;
	}
	if (pick >= 200) {
		if (mt_feed_unpack(&mt_kinds[pick % MT_KIND_N], data, size, &o, &err) == 0)
			mt_object_unref(o);
		return 0;
	}
	struct mt_arena *a = mt_arena_new(64 << 20);
	ProtobufCMessage *m = mt_pb_unpack(types[pick % MT_ARRAY_SIZE(types)], a, data, size, &err);
	if (m)
		json_decref(mt_pb_to_json(m));
	mt_arena_free(a);
	return 0;
}
