/* The world: everything that translation reads, indexed. Built on the loop, then immutable and
 * reference counted; any thread may read it.
 *
 * It has two parts: the index (services, rules, policies, mesh configuration), shared by all worlds
 * until something other than endpoints changes, and the endpoints, a table in chunks, of which a
 * change copies one. An object's numeric id (given by the caller, never 0, the same for the life of
 * an object's key) is what provenance and notes speak of.
 *
 * In-force generations (idea 7 of the design): the caller decides which generation of each object it
 * hands in. A note of kind PILOT_NOTE_PENDING says which object refers to something missing, so that
 * the caller can build again with the generation before. */
#pragma once

#include "common/schema/object.h"
#include "pilot/model/mesh.h"
#include "pilot/model/proxy.h"
#include "pilot/model/service.h"

struct pilot_world;

struct pilot_config {
	uint32_t id;
	const struct mt_object *obj;
};

struct pilot_world_in {
	const char *domain;                   /* "cluster.local" */
	const char *root_namespace;           /* "istio-system"; what lies there applies to all */
	const char *trust_domain;             /* "cluster.local" */
	const struct pilot_mesh_local *local; /* facts from Pilot's own options; NULL: defaults */
	/* Every object of the kinds that Pilot reads, but ServiceEntry, in any order. References are
	 * taken. Unknown kinds are ignored. */
	const struct pilot_config *configs;
	size_t nconfigs;
	/* From all registries, the more trusted registry first. References are taken. */
	const struct pilot_service_in *services;
	size_t nservices;
};

/* Never fails: what is wrong with an object is a note (pilot_world_notes()) and it is left out. */
struct pilot_world *pilot_world_build(const struct pilot_world_in *in);

struct pilot_endpoints_change {
	const char *hostname;
	const char *ns;
	struct pilot_endpoints *eps; /* reference is taken */
};
/* The same world with other endpoints. NULL when a service is not in it (then build). */
struct pilot_world *pilot_world_update(
	const struct pilot_world *old, const struct pilot_endpoints_change *changes, size_t n);

struct pilot_world *pilot_world_ref(const struct pilot_world *w);
void pilot_world_unref(struct pilot_world *w); /* NULL allowed */
MT_DEFINE_FREEP(struct pilot_world *, pilot_world_unrefp, pilot_world_unref)

/* ---- what went wrong, and what lost ---- */
enum pilot_note_kind {
	PILOT_NOTE_SHADOWED, /* another object, older or more specific, wins */
	PILOT_NOTE_PENDING,  /* refers to something that does not exist (yet) */
	PILOT_NOTE_IGNORED,  /* a part that has no effect here */
	PILOT_NOTE_INVALID,  /* validation should have refused it */
	PILOT_NOTE_APPLIED,  /* nothing went wrong: that the patch at this path changed something */
	PILOT_NOTE_KINDS
};
enum pilot_about {
	PILOT_ABOUT_NOTHING, /* that is counted */
#define NOTED(name) PILOT_ABOUT_##name,
#include "pilot/model/noted.def"
#undef NOTED
	PILOT_ABOUTS
};
struct pilot_note {
	uint32_t id; /* object */
	enum pilot_note_kind kind;
	const char *path; /* "spec.http[0]", "" the whole */
	const char *text;
	int8_t table;  /* of translation: whose plan says it, or PILOT_NOTE_BUILT */
	uint8_t about; /* enum pilot_about */
};
enum { PILOT_NOTE_BUILT = -1 }; /* what is being built says it */
struct pilot_notes {            /* lies in the arena of the work that made it */
	struct pilot_note *v;
	size_t n;
	size_t cap;
};
const struct pilot_notes *pilot_world_notes(const struct pilot_world *w);
const char *pilot_note_kind_name(enum pilot_note_kind k);

/* Patches: one that selects a proxy and of which no note says anything there has changed nothing. */
size_t pilot_world_npatches(const struct pilot_world *w);
/* Fills in the note that says so, its text in the arena. */
void pilot_world_patch_idle(
	const struct pilot_world *w, size_t i, struct mt_arena *a, struct pilot_note *ret);
bool pilot_world_patch_selects(const struct pilot_world *w, size_t i, const struct pilot_proxy *p);

/* ---- lookups: registry pages and the push engine; translation uses pilot/model/index.h ---- */
const struct pilot_mesh *pilot_world_mesh(const struct pilot_world *w);
size_t pilot_world_nservices(const struct pilot_world *w);
const struct pilot_service *pilot_world_service(const struct pilot_world *w, size_t i,
	const struct pilot_endpoints **ret_eps); /* sorted by hostname; ret_eps may be NULL */
/* As seen from a namespace ("" any): its own first, then the oldest that is exported to it. -1 none. */
int pilot_world_find(const struct pilot_world *w, const char *hostname, const char *from_ns);

/* Service instances that a proxy's addresses make it: which endpoint of which service. */
struct pilot_instance {
	uint32_t service; /* index */
	uint32_t endpoint;
};
/* Array in the arena; returns its length. */
size_t pilot_world_instances(const struct pilot_world *w, const struct pilot_proxy *p,
	struct mt_arena *a, struct pilot_instance **ret);
/* Changes of endpoints that keep this number leave pilot_world_instances() of every proxy as it was. */
uint64_t pilot_world_addresses_hash(const struct pilot_world *w);
/* Of what class keys take from the index besides services and Sidecars: which labels and metadata are
 * mentioned by some selector, which secrets by some rule. */
uint64_t pilot_world_keys_hash(const struct pilot_world *w);
/* Of everything but endpoints: equal numbers, equal index. */
uint64_t pilot_world_index_hash(const struct pilot_world *w);
