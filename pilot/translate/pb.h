/* Short hands for building protobuf-c messages in an arena. Used by translate/ and filter/ alone. */
#pragma once

#include <string.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/schema/pb.h"
#include "envoy/config/core/v3/core.pb-c.h"
#include "envoy/config/listener/v3/listener.pb-c.h"
#include "envoy/type/matcher/v3/matcher.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"

/* `Route__Route *r = pb_new(a, route__route);` */
#define pb_new(a, name) ((void *)mt_pb_new(&name##__descriptor, (a)))
/* Appends to a repeated field: storage doubles at powers of two. */
#define pb_add(a, m, field, item)                                                                  \
	do {                                                                                       \
		size_t pb_n_ = (m)->n_##field;                                                     \
		if ((pb_n_ & (pb_n_ - 1)) == 0) {                                                  \
			void *pb_v_ = mt_arena_alloc(                                              \
				(a), (pb_n_ ? 2 * pb_n_ : 1) * sizeof(*(m)->field));               \
			if (pb_n_)                                                                 \
				memcpy(pb_v_, (m)->field, pb_n_ * sizeof(*(m)->field));            \
			(m)->field = pb_v_;                                                        \
		}                                                                                  \
		(m)->field[(m)->n_##field++] = (item);                                             \
	} while (0)

/* protobuf-c has char * where it means const. */
static inline char *pb_s(const char *s)
{
	return (char *)s;
}
Google__Protobuf__UInt32Value *pb_u32(struct mt_arena *a, uint32_t v);
Google__Protobuf__UInt64Value *pb_u64(struct mt_arena *a, uint64_t v);
Google__Protobuf__BoolValue *pb_bool(struct mt_arena *a, bool v);
Google__Protobuf__DoubleValue *pb_double(struct mt_arena *a, double v);
Google__Protobuf__Duration *pb_dur(struct mt_arena *a, int64_t ns);
Google__Protobuf__Duration *pb_dur_dup(
	struct mt_arena *a, const Google__Protobuf__Duration *d); /* NULL: NULL */
int64_t pb_dur_ns(const Google__Protobuf__Duration *d);           /* NULL: 0 */

Core__Address *pb_addr(struct mt_arena *a, const char *ip, uint16_t port);
/* "unix://PATH" or an IP address. */
Core__Address *pb_bind(struct mt_arena *a, const char *bind, uint16_t port);
Core__ConfigSource *pb_ads(struct mt_arena *a);
Core__GrpcService *pb_grpc(struct mt_arena *a, const char *cluster, int64_t timeout_ns);
Core__CidrRange *pb_cidr(struct mt_arena *a, const char *text); /* NULL when malformed */
/* percent 0..100, to a millionth. */
Core__RuntimeFractionalPercent *pb_runtime_percent(struct mt_arena *a, double percent);
Etype__FractionalPercent *pb_percent(struct mt_arena *a, double percent);
Matcher__RegexMatcher *pb_regex(struct mt_arena *a, const char *regex);
Matcher__StringMatcher *pb_exact(struct mt_arena *a, const char *s);
Matcher__StringMatcher *pb_prefix(struct mt_arena *a, const char *s);
Core__HeaderValueOption *pb_header(
	struct mt_arena *a, const char *key, const char *value, bool append);
/* Adds filter_metadata[name].{key: value}; names in ascending order, *m NULL before the first. */
void pb_metadata_add(struct mt_arena *a, Core__Metadata **m, const char *name, const char *key,
	const char *value);
Google__Protobuf__Struct *pb_struct1(struct mt_arena *a, const char *key, const char *value);
Core__TransportSocket *pb_socket(
	struct mt_arena *a, const char *name, const ProtobufCMessage *config);
Listener__Filter *pb_filter(struct mt_arena *a, const char *name, const ProtobufCMessage *config);
