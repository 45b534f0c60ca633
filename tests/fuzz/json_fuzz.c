/* JSON text, and json_t into messages that hold everything (Struct, Any, maps, oneofs, wrappers). */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/schema/decode.h"
#include "common/schema/pb.h"
#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "google/protobuf/struct.pb-c.h"
#include "istio/networking/v1alpha3/virtual_service.pb-c.h"

static void try(const ProtobufCMessageDescriptor *d, const json_t *j)
{
	struct mt_arena *a = mt_arena_new(0);
	struct mt_diags diags = { 0 };
	ProtobufCMessage *m = mt_pb_from_json(d, j, "x", a, &diags);

	if (m) {
		json_t *out = mt_pb_to_json(m);
		ProtobufCMessage *again = mt_pb_from_json(d, out, "x", a, &diags);
		if (!again || mt_pb_hash(again) != mt_pb_hash(m))
			abort();
		json_decref(out);
	}
	mt_diags_clear(&diags);
	mt_arena_free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mt_diags diags = { 0 };
	json_t *j = NULL;

	if (mt_yaml_to_json("fuzz.json", (const char *)data, size, NULL, &j, &diags) == 0) {
		try(&google__protobuf__value__descriptor, j);
		try(&nw__virtual_service__descriptor, j);
		try(&cluster__cluster__descriptor, j);
		json_decref(j);
	}
	mt_diags_clear(&diags);
	return 0;
}
