/* What a rule needs to exist before it can be in force (the services, subsets, delegates, gateways and
 * secrets that it names), and which subsets a destination rule provides. Pure; threads: any (immutable). */
#pragma once

#include "common/schema/object.h"

enum pilot_ref_kind {
	PILOT_REF_SERVICE,  /* host, with its port when one is named */
	PILOT_REF_SUBSET,   /* of a host, defined by a destination rule */
	PILOT_REF_DELEGATE, /* a virtual service: "ns/name" */
	PILOT_REF_GATEWAY,  /* "ns/name" */
	PILOT_REF_SECRET,   /* of a gateway or destination rule: as an agent names it */
};

struct pilot_ref {
	enum pilot_ref_kind kind;
	const char *name;      /* resolved host, or "ns/name" */
	const char *bare;      /* the host as written when it has no dot, else "" */
	const char *subset;    /* PILOT_REF_SUBSET */
	const char *key;       /* ... "host subset" */
	uint16_t port;         /* PILOT_REF_SERVICE, 0: not said by number */
	const char *port_name; /* ... "" not said by name */
	const char *path;      /* "spec.http[0].route[1]" */
};

struct pilot_refs { /* reference counted; one block with all its strings */
	struct mt_ref ref;
	bool secrets; /* there are such */
	size_t n;
	struct pilot_ref v[]; /* a destination rule's subsets first */
};

/* Of a virtual service or gateway: what it needs; of a destination rule: the subsets that it has, and the
 * secrets that it needs. NULL: nothing. */
struct pilot_refs *pilot_refs_of(const struct mt_object *o, const char *domain);
struct pilot_refs *pilot_refs_ref(struct pilot_refs *r); /* NULL allowed */
void pilot_refs_unref(struct pilot_refs *r);             /* NULL allowed */
/* "no service reviews.default.svc.cluster.local", ... what the absence means, in the arena. */
const char *pilot_ref_missing(struct mt_arena *a, const struct pilot_ref *r);
