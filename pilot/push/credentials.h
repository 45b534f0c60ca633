/* What agents reported: node id -> the credentials by name that it has. Private to pilot/push; loop thread. */
#pragma once

#include "common/base/map.h"
#include "pilot/model/proxy.h"

/* True: it is another report than the one before. At most max nodes are known. */
bool push_reported(
	struct mt_map *all, size_t max, const char *node_id, const char *const *names, size_t n);
/* Exchanges the proxy for one that has what its agent reported, if it did. */
void push_reported_take(const struct mt_map *all, struct pilot_proxy **proxy);
