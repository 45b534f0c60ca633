/* Attribute values and bags of them.
 *
 * A value is plain data: its text, map and so on belong to whoever made it and must outlive it. A bag
 * is an array of values indexed by attribute number (mt_attr for the known ones, further numbers for
 * what attributemanifests added); a value of type MT_V_NONE is absent. Threads: one at a time;
 * a bag that nobody changes may be read by many. */
#pragma once

#include "common/base/arena.h"
#include "common/base/cidr.h"
#include "common/base/macros.h"

enum mt_vtype {
	MT_V_NONE = 0,
#define VTYPE(id, number) MT_V_##id = number,
#include "common/expr/types.def"
#undef VTYPE
	MT_V_N,
};

enum mt_attr {
#define ATTR(id, ...) MT_ATTR_##id,
#include "common/expr/attributes.def"
#undef ATTR
	MT_ATTR_N, /* how many are known; added ones follow */
};

struct mt_text {
	const char *p; /* not NUL terminated */
	size_t n;
};

struct mt_pair {
	struct mt_text key;
	struct mt_text value;
};

struct mt_smap {
	const struct mt_pair *v; /* any order; of two equal keys the first counts */
	size_t n;
};

struct mt_value {
	enum mt_vtype type;
	union {
		bool b;
		int64_t i; /* INT64; TIMESTAMP: wall ns; DURATION: ns */
		double d;
		struct mt_text s; /* STRING, EMAIL_ADDRESS, URI, DNS_NAME */
		struct mt_ip ip;
		struct mt_smap map;
	};
};

struct mt_bag {
	struct mt_value *v;
	size_t n;
};

static inline const struct mt_value *mt_bag_get(const struct mt_bag *b, size_t attr)
{
	return attr < b->n && b->v[attr].type != MT_V_NONE ? &b->v[attr] : NULL;
}
/* All absent, storage in the arena, room for n attributes. */
void mt_bag_init(struct mt_bag *b, struct mt_arena *a, size_t n);
/* Setters. Text is not copied. mt_bag_str with NULL leaves the attribute absent. */
void mt_bag_str(struct mt_bag *b, size_t attr, const char *s);
void mt_bag_text(struct mt_bag *b, size_t attr, const char *p, size_t n);
void mt_bag_int(struct mt_bag *b, size_t attr, int64_t i);
void mt_bag_bool(struct mt_bag *b, size_t attr, bool v);
void mt_bag_time(struct mt_bag *b, size_t attr, int64_t wall_ns);
void mt_bag_duration(struct mt_bag *b, size_t attr, int64_t ns);
void mt_bag_ip(struct mt_bag *b, size_t attr, const struct mt_ip *ip);
void mt_bag_map(struct mt_bag *b, size_t attr, const struct mt_pair *v, size_t n);

const char *mt_vtype_name(enum mt_vtype t);     /* "IP_ADDRESS" */
enum mt_vtype mt_vtype_parse(const char *name); /* MT_V_NONE when unknown */
bool mt_value_equal(const struct mt_value *a, const struct mt_value *b); /* of one type */
const struct mt_text *mt_smap_get(const struct mt_smap *m, const char *key, size_t n); /* NULL */
static inline struct mt_text mt_text(const char *s)
{
	return (struct mt_text){ s, s ? __builtin_strlen(s) : 0 };
}
static inline struct mt_value mt_value_str(const char *p, size_t n)
{
	return (struct mt_value){ .type = MT_V_STRING, .s = { p, n } };
}
/* As text for labels and log lines: "1.5s", RFC 3339, dotted addresses, JSON object for maps. The
 * text lives in the arena (or is the value's own). */
struct mt_text mt_value_text(const struct mt_value *v, struct mt_arena *a);
