/* Which generation of each configuration object is in force (idea 7 of the design): the newest, or the
 * one before while the newest waits for something that it names, or while a proxy has refused it.
 * inforce.c has the rules.
 *
 * Owner: the daemon. Threads: loop. */
#pragma once

#include <jansson.h>

#include "common/feed/feed.h"
#include "pilot/flow.h"
#include "pilot/model/secrets.h"
#include "pilot/model/service.h"
#include "pilot/registry/ids.h"

struct pilot_inforce;

/* Registries turn these into services; the world itself does not see them. */
static inline bool pilot_for_registries(enum mt_kind_id kind)
{
	return kind == MT_KIND_SERVICE_ENTRY || kind == MT_KIND_WORKLOAD_ENTRY ||
		kind == MT_KIND_WORKLOAD_GROUP;
}

/* Loads what was in force when the process ended (state may be NULL: nothing is kept). A damaged
 * record counts as none; err says so and is not fatal. */
struct pilot_inforce *pilot_inforce_new(
	struct pilot_ids *ids, const char *domain, struct mt_state *state, struct mt_err *err);
/* Whose destination rules are for all (default: nobody's). */
void pilot_inforce_root_namespace(struct pilot_inforce *f, const char *ns);
void pilot_inforce_free(struct pilot_inforce *f); /* NULL allowed */

struct pilot_inforce_secrets {
	/* Can a proxy that the object is for be given the credential? */
	enum pilot_has (*has)(void *ctx, const struct mt_object *o, const char *name);
	void *ctx;
};
/* Without this nothing waits for a secret. */
void pilot_inforce_secrets(struct pilot_inforce *f, const struct pilot_inforce_secrets *s);
/* Would a decision now come out differently, by what proxies have? */
bool pilot_inforce_secrets_moved(const struct pilot_inforce *f);

/* The feed is complete: what it has not brought is deleted. Until then, what was in force when the
 * process ended stays. */
void pilot_inforce_live(struct pilot_inforce *f);

/* A change of the feed. True: registries are told of it at once; false: when it has been decided
 * (what pilot_inforce_decide() returns). */
bool pilot_inforce_object(struct pilot_inforce *f, const struct mt_feed_change *c);

/* Objects of registries whose generation in force changed: old to new, references owned. */
struct pilot_inforce_moves {
	struct mt_feed_change *v;
	size_t n;
	size_t cap;
};
void pilot_inforce_moves_clear(struct pilot_inforce_moves *m);

/* Decides what is in force, given the services that there are. Tables that depend on what changed are
 * marked in d. settled: what came into force up to that snapshot is known to be accepted (see
 * push_settled()). */
void pilot_inforce_decide(struct pilot_inforce *f, const struct pilot_services_in *services,
	uint64_t settled, struct pilot_dirty *d, struct pilot_inforce_moves *out);
/* The world with what came into force since the last call is made now: snapshots from this one on
 * have it. Saves what has to outlive the process. */
void pilot_inforce_stamp(struct pilot_inforce *f, uint64_t snapshot, struct mt_err *err);

/* Calls fn with the generation in force of every object of a kind. */
void pilot_inforce_each(struct pilot_inforce *f, enum mt_kind_id kind,
	void (*fn)(void *ctx, uint32_t id, struct mt_object *o), void *ctx);

/* A proxy refused a resource that these objects shaped. Those that came into force after `settled`
 * are to blame: their generation before comes back, at the next decision. Of several, some are tried
 * again (pilot_inforce_retry()). Returns how many are blamed. */
size_t pilot_inforce_refuse(struct pilot_inforce *f, const uint32_t *ids, size_t n,
	uint64_t settled, const char *words);
/* All that is in force is known to be accepted: tries the next of several suspects again: a half of
 * those that were refused together, until each is accepted or refused alone. True: there are some,
 * decide again. */
bool pilot_inforce_retry(struct pilot_inforce *f);

struct pilot_inforce_view { /* borrowed */
	uint32_t id;
	const struct mt_object *newest; /* NULL: deleted, and still in force */
	const struct mt_object *force;  /* NULL: none is */
	const char *why;                /* what it waits for, or what waits for it; "" nothing */
	const char *refused;            /* a proxy's words about the newest; "" none */
	bool partly; /* what is in force is the newest, and a part of it waits for what why says */
	uint64_t since; /* snapshots from this one on have what is in force */
};
/* key: "ns/name". False: no such object. */
bool pilot_inforce_find(struct pilot_inforce *f, enum mt_kind_id kind, const char *key,
	struct pilot_inforce_view *ret);
void pilot_inforce_views(struct pilot_inforce *f,
	void (*fn)(void *ctx, const struct pilot_inforce_view *v), void *ctx);
size_t pilot_inforce_pending(const struct pilot_inforce *f); /* objects of which the newest waits */
