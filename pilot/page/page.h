/* Inside of Pilot's debug pages: what they share. Loop thread unless said otherwise.
 *
 * A page whose answer may be large is a *work*: the loop takes references of what the answer is made
 * from (a snapshot, a world, objects; all immutable) and copies the little that is not, a worker
 * thread makes the JSON, and the loop sends the text. A thousand services cost the loop less than a
 * millisecond that way (tests/integration/test_pages.py measures it). */
#pragma once

#include <jansson.h>

#include "pilot/pilot.h"

/* Requests may be under way when the daemon stops: then nobody is answered any more. */
struct page_gate;
struct page_gate *page_gate_new(void);
void page_gate_close(struct page_gate *g); /* NULL allowed */

struct page_object { /* a configuration object, copied */
	const char *kind, *ns, *name;
	const char *source; /* "rules.yaml:12", NULL unknown */
};

struct page_part {          /* a set of resources and what is said of it */
	json_t *head;       /* object; the set's resources become its member */
	const char *member; /* "clusters" */
	struct mt_set *set; /* a reference, NULL: empty */
};

struct page_vhost {
	const char *route, *name;
	const uint32_t *prov;
	size_t nprov;
};

struct page_work {
	json_t *(*make)(struct page_work *w); /* worker thread */
	struct mt_http_req *req;
	struct page_gate *gate;
	struct mt_arena *arena;
	const char *name, *host; /* of the query: only these; NULL all */
	bool whole;              /* resources with their bodies */
	bool one;                /* parts are members of one object */
	struct pilot_world *world;
	struct page_object *objects; /* by id - 1 */
	size_t nobjects;
	struct page_part *parts;
	size_t nparts, parts_cap;
	struct page_vhost *vhosts;
	size_t nvhosts, vhosts_cap;
	struct mt_set *apart; /* virtual hosts that are resources of their own, "ROUTE/HOST:PORT" */
	struct mt_object **objs;
	size_t nobjs, objs_cap;
	struct pilot_proxy **proxies; /* references */
	size_t nproxies, proxies_cap;
	char *text; /* worker: the answer */
};

struct page_work *page_work_new(
	struct pilot *p, struct mt_http_req *r, json_t *(*make)(struct page_work *w));
void page_work_objects(struct page_work *w, struct pilot *p); /* fills objects */
/* head is taken over; a reference of the set is taken. */
void page_work_part(struct page_work *w, json_t *head, const char *member, struct mt_set *set);
void page_work_proxy(struct page_work *w, const struct push_proxy *x);
void page_work_vhosts(struct page_work *w, const struct push_proxy *x);
void page_work_run(struct page_work *w, struct mt_loop *l); /* answers the request, frees w */

/* Any thread: the objects behind these ids. */
json_t *page_objects_json(const struct page_work *w, const uint32_t *ids, size_t n);
json_t *page_make_parts(struct page_work *w); /* a make: the parts */

/* The proxy that ?proxyID= or ?proxy= names; NULL: the request has been answered with why not. */
const struct push_proxy *page_proxy(const struct pilot *p, struct mt_http_req *r);
/* The same, but *ret is NULL when the query names none. false: it has been answered. */
bool page_proxy_if(const struct pilot *p, struct mt_http_req *r, const struct push_proxy **ret);
/* The kind that ?kind= names, singular or plural in any case; *ret is NULL when the query names none.
 * false: it has been answered. */
bool page_kind_if(struct mt_http_req *r, const struct mt_kind **ret);
json_t *page_proxy_json(const struct pilot *p, const struct push_proxy *x);

/* The pages themselves; ctx is the struct pilot. pages.c lists them. */
#define PAGE(name, help) void pilot_page_##name(void *ctx, struct mt_http_req *r);
#include "pilot/page/pages.def"
#undef PAGE
