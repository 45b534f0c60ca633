/* Discovery messages as a peer may send them: requests of both variants (with the node inside), and
 * responses as the client reads them. The first byte chooses. */
#include "common/base/mem.h"
#include "common/xds/client_msg.h"
#include "common/xds/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (!n)
		return 0;
	struct mt_arena *a = mt_arena_new(16 << 20);
	struct mt_err err;
	if (data[0] % 3 == 2) {
		struct mt_xds_response r;
		mt_xds_msg_read(data + 1, n - 1, a, &r, &err);
	} else {
		struct mt_xds_request r;
		Core__Node *node;
		if (mt_xds_request_parse(data + 1, n - 1, data[0] % 3, 100, a, &r, &err) == 0 &&
			r.node.p && mt_xds_node_unpack(r.node, 1 << 20, &node, &err) == 0)
			mt_free(node);
	}
	mt_arena_free(a);
	return 0;
}
