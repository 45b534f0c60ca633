/* Messages of a delta discovery client, encoded and read in place. Private to common/xds. Pure. */
#pragma once

#include "common/base/arena.h"
#include "common/base/map.h"
#include "common/xds/client.h"
#include "common/xds/wire.h"

/* First request of a type; node NULL after the first one of a stream. held: name to version text. */
void mt_xds_msg_subscribe(struct mt_buf *out, const Core__Node *node,
	const struct mt_xds_client_type *type, const struct mt_map *held);
/* Answers a response; why NULL accepts. */
void mt_xds_msg_answer(
	struct mt_buf *out, const char *type_url, struct mt_view nonce, const char *why);

struct mt_xds_response {
	struct mt_view type_url;
	struct mt_view nonce;
	struct mt_xds_item *items;
	size_t n;
	const char **removed;
	size_t nremoved;
};
/* Views into the bytes; strings and arrays in the arena. MT_INVALID when malformed. */
int mt_xds_msg_read(const void *p, size_t n, struct mt_arena *a, struct mt_xds_response *ret,
	struct mt_err *err);
