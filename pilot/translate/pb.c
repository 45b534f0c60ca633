#include "pilot/translate/pb.h"

#include "common/base/cidr.h"
#include "common/base/strs.h"

Google__Protobuf__UInt32Value *pb_u32(struct mt_arena *a, uint32_t v)
{
	Google__Protobuf__UInt32Value *m = pb_new(a, google__protobuf__uint32_value);
	m->value = v;
	return m;
}

Google__Protobuf__UInt64Value *pb_u64(struct mt_arena *a, uint64_t v)
{
	Google__Protobuf__UInt64Value *m = pb_new(a, google__protobuf__uint64_value);
	m->value = v;
	return m;
}

Google__Protobuf__BoolValue *pb_bool(struct mt_arena *a, bool v)
{
	Google__Protobuf__BoolValue *m = pb_new(a, google__protobuf__bool_value);
	m->value = v;
	return m;
}

Google__Protobuf__DoubleValue *pb_double(struct mt_arena *a, double v)
{
	Google__Protobuf__DoubleValue *m = pb_new(a, google__protobuf__double_value);
	m->value = v;
	return m;
}

Google__Protobuf__Duration *pb_dur(struct mt_arena *a, int64_t ns)
{
	Google__Protobuf__Duration *m = pb_new(a, google__protobuf__duration);
	m->seconds = ns / MT_NS_PER_SEC;
	m->nanos = (int32_t)(ns % MT_NS_PER_SEC);
	return m;
}

Google__Protobuf__Duration *pb_dur_dup(struct mt_arena *a, const Google__Protobuf__Duration *d)
{
	return d ? pb_dur(a, pb_dur_ns(d)) : NULL;
}

int64_t pb_dur_ns(const Google__Protobuf__Duration *d)
{
	return d ? d->seconds * MT_NS_PER_SEC + d->nanos : 0;
}

Core__Address *pb_addr(struct mt_arena *a, const char *ip, uint16_t port)
{
	Core__SocketAddress *s = pb_new(a, core__socket_address);
	s->address = pb_s(ip);
	s->port_specifier_case = CORE__SOCKET_ADDRESS__PORT_SPECIFIER_PORT_VALUE;
	s->port_value = port;
	Core__Address *m = pb_new(a, core__address);
	m->address_case = CORE__ADDRESS__ADDRESS_SOCKET_ADDRESS;
	m->socket_address = s;
	return m;
}

Core__Address *pb_bind(struct mt_arena *a, const char *bind, uint16_t port)
{
	if (!mt_str_prefix(bind, "unix://"))
		return pb_addr(a, bind, port);
	Core__Pipe *p = pb_new(a, core__pipe);
	p->path = pb_s(bind + strlen("unix://"));
	Core__Address *m = pb_new(a, core__address);
	m->address_case = CORE__ADDRESS__ADDRESS_PIPE;
	m->pipe = p;
	return m;
}

Core__ConfigSource *pb_ads(struct mt_arena *a)
{
	Core__ConfigSource *m = pb_new(a, core__config_source);
	m->config_source_specifier_case = CORE__CONFIG_SOURCE__CONFIG_SOURCE_SPECIFIER_ADS;
	m->ads = pb_new(a, core__aggregated_config_source);
	/* Waits: a listener or cluster without its routes or endpoints is worse than a late one. */
	m->initial_fetch_timeout = pb_dur(a, 0);
	m->resource_api_version = CORE__API_VERSION__V3;
	return m;
}

Core__GrpcService *pb_grpc(struct mt_arena *a, const char *cluster, int64_t timeout_ns)
{
	Core__GrpcService__EnvoyGrpc *e = pb_new(a, core__grpc_service__envoy_grpc);
	e->cluster_name = pb_s(cluster);
	Core__GrpcService *m = pb_new(a, core__grpc_service);
	m->target_specifier_case = CORE__GRPC_SERVICE__TARGET_SPECIFIER_ENVOY_GRPC;
	m->envoy_grpc = e;
	if (timeout_ns)
		m->timeout = pb_dur(a, timeout_ns);
	return m;
}

Core__CidrRange *pb_cidr(struct mt_arena *a, const char *text)
{
	struct mt_cidr c;
	if (mt_cidr_parse(text, &c) < 0)
		return NULL;
	char buf[46];
	mt_ip_format(&c.ip, buf);
	Core__CidrRange *m = pb_new(a, core__cidr_range);
	m->address_prefix = mt_arena_strdup(a, buf);
	m->prefix_len = pb_u32(a, c.prefix);
	return m;
}

Etype__FractionalPercent *pb_percent(struct mt_arena *a, double percent)
{
	Etype__FractionalPercent *m = pb_new(a, etype__fractional_percent);
	if (!(percent > 0))
		percent = 0;
	if (percent > 100)
		percent = 100;
	m->numerator = (uint32_t)(percent * 10000 + 0.5);
	m->denominator = ETYPE__FRACTIONAL_PERCENT__DENOMINATOR_TYPE__MILLION;
	return m;
}

Core__RuntimeFractionalPercent *pb_runtime_percent(struct mt_arena *a, double percent)
{
	Core__RuntimeFractionalPercent *m = pb_new(a, core__runtime_fractional_percent);
	m->default_value = pb_percent(a, percent);
	return m;
}

Matcher__RegexMatcher *pb_regex(struct mt_arena *a, const char *regex)
{
	Matcher__RegexMatcher *m = pb_new(a, matcher__regex_matcher);
	m->regex = pb_s(regex);
	return m;
}

Matcher__StringMatcher *pb_exact(struct mt_arena *a, const char *s)
{
	Matcher__StringMatcher *m = pb_new(a, matcher__string_matcher);
	m->match_pattern_case = MATCHER__STRING_MATCHER__MATCH_PATTERN_EXACT;
	m->exact = pb_s(*s ? s : "");
	return m;
}

Matcher__StringMatcher *pb_prefix(struct mt_arena *a, const char *s)
{
	Matcher__StringMatcher *m = pb_new(a, matcher__string_matcher);
	m->match_pattern_case = MATCHER__STRING_MATCHER__MATCH_PATTERN_PREFIX;
	m->prefix = pb_s(s);
	return m;
}

Core__HeaderValueOption *pb_header(
	struct mt_arena *a, const char *key, const char *value, bool append)
{
	Core__HeaderValueOption *m = pb_new(a, core__header_value_option);
	m->header = pb_new(a, core__header_value);
	m->header->key = pb_s(key);
	m->header->value = pb_s(value);
	m->append_action = append
		? CORE__HEADER_VALUE_OPTION__HEADER_APPEND_ACTION__APPEND_IF_EXISTS_OR_ADD
		: CORE__HEADER_VALUE_OPTION__HEADER_APPEND_ACTION__OVERWRITE_IF_EXISTS_OR_ADD;
	return m;
}

Google__Protobuf__Struct *pb_struct1(struct mt_arena *a, const char *key, const char *value)
{
	Google__Protobuf__Struct *s = pb_new(a, google__protobuf__struct);
	Google__Protobuf__Struct__FieldsEntry *f =
		pb_new(a, google__protobuf__struct__fields_entry);
	f->key = pb_s(key);
	f->value = pb_new(a, google__protobuf__value);
	f->value->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE;
	f->value->string_value = pb_s(value);
	pb_add(a, s, fields, f);
	return s;
}

void pb_metadata_add(struct mt_arena *a, Core__Metadata **m, const char *name, const char *key,
	const char *value)
{
	Core__Metadata__FilterMetadataEntry *e = pb_new(a, core__metadata__filter_metadata_entry);
	if (!*m)
		*m = pb_new(a, core__metadata);
	e->key = pb_s(name);
	e->value = pb_struct1(a, key, value);
	pb_add(a, *m, filter_metadata, e);
}

Core__TransportSocket *pb_socket(
	struct mt_arena *a, const char *name, const ProtobufCMessage *config)
{
	Core__TransportSocket *m = pb_new(a, core__transport_socket);
	m->name = pb_s(name);
	m->config_type_case = CORE__TRANSPORT_SOCKET__CONFIG_TYPE_TYPED_CONFIG;
	m->typed_config = mt_pb_any(a, config);
	return m;
}

Listener__Filter *pb_filter(struct mt_arena *a, const char *name, const ProtobufCMessage *config)
{
	Listener__Filter *m = pb_new(a, listener__filter);
	m->name = pb_s(name);
	m->config_type_case = LISTENER__FILTER__CONFIG_TYPE_TYPED_CONFIG;
	m->typed_config = mt_pb_any(a, config);
	return m;
}
