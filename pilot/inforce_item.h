/* What is known of one object. Private to pilot/inforce*.c. */
#pragma once

#include "common/base/map.h"
#include "common/base/vec.h"
#include "pilot/inforce.h"
#include "pilot/model/refs.h"

struct item {
	uint32_t id;
	const struct mt_kind *kind;
	struct mt_object *newest; /* references */
	struct mt_object *force;
	struct mt_object *before; /* the last one that is known to be accepted, NULL none */
	struct pilot_refs *newest_refs, *force_refs, *before_refs;
	char *why;
	bool partly;       /* what is in force waits itself: for a secret */
	bool waits_secret; /* the newest did, when last somebody knew; it goes on until somebody has it */
	uint64_t secrets; /* of what was known of its secrets when it was decided */
	uint64_t refused; /* hash of the generation that a proxy refused, 0 none */
	char *words;      /* the proxy's */
	bool suspect;     /* one of several that may be the reason: tried again alone */
	bool loaded;      /* from disk, and the feed has not said anything of it yet */
	bool fresh;       /* came into force since the last stamp */
	uint64_t since;
	/* while deciding */
	struct mt_object *choice;
	struct mt_object *fallback; /* what stays in force when the newest cannot be */
};

struct pilot_inforce {
	struct pilot_ids *ids;
	char *domain;
	char *root_ns;
	struct mt_state *state;
	struct mt_map *items[MT_KIND_N]; /* "ns/name" -> struct item; NULL until one comes */
	MT_VEC(struct item *) by_id;     /* id - 1 */
	json_t *old_refused;             /* title -> hash and words, of the process before */
	json_t *old_waiting; /* title -> hash of a generation that waited for a secret */
	struct pilot_inforce_secrets secrets;
	uint64_t saved;   /* hash of what lies on disk */
	uint64_t settled; /* as the last decision was told */
	size_t npending;
	size_t batch;    /* how many suspects are tried again together */
	unsigned rounds; /* how often several were refused together in this search */
	bool live;       /* the feed is complete */
};

static inline bool same(const struct mt_object *a, const struct mt_object *b)
{
	return a == b || (a && b && a->hash == b->hash);
}

static inline struct pilot_refs *item_refs(const struct item *it, const struct mt_object *o)
{
	return !o                 ? NULL
		: o == it->newest ? it->newest_refs
		: o == it->force  ? it->force_refs
				  : it->before_refs;
}

/* inforce_choose.c: fills in choice, fallback and why of every item. */
void pilot_inforce_choose(struct pilot_inforce *f, const struct pilot_services_in *services);
/* inforce_sees.c: does some client of the virtual service obey the destination rule? shared: the rule
 * lies in the namespace of the service, or in the root namespace. */
bool pilot_inforce_sees(
	struct mt_arena *a, const struct mt_object *vs, const struct mt_object *rule, bool shared);
/* inforce_secrets.c */
bool pilot_inforce_has_secret(
	const struct pilot_inforce *f, const struct item *it, const struct pilot_ref *r);
uint64_t pilot_inforce_secrets_hash(const struct pilot_inforce *f, const struct item *it);
/* Its newest generation is another: did that wait for a secret when the process before ended? */
void pilot_inforce_secrets_newest(const struct pilot_inforce *f, struct item *it);
char *pilot_inforce_secrets_record(const struct pilot_inforce *f); /* JSON, to be freed */
