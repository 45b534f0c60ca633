/* EnvoyFilter's patches, applied to what translation built, before it is packed. Private to translate/
 * and filter/.
 *
 * Whole resources that patches add or remove are a matter of plans; changes inside a resource are made
 * when it is built. A plan item's fingerprint covers the patches that may touch it. */
#pragma once

#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "pilot/filter/filter.h"
#include "pilot/model/envoy_filter.h"
#include "pilot/translate/route.h"

/* Fills job->patches with those for this proxy. */
void pilot_scope_patches(struct pilot_job *j);
/* Of the patches that may touch an item; 0 none. */
uint64_t pilot_patch_fp(struct pilot_job *j, enum pilot_how how, const char *name);
/* Takes away and adds clusters and listeners. */
void pilot_patch_plan(struct pilot_job *j, enum pilot_table t, struct pilot_plan *p);
/* Changes a cluster or listener, as built for the item. */
void pilot_patch_built(struct pilot_job *j, const struct pilot_item *it, ProtobufCMessage *m);

/* ---- routes: pilot/filter/patch_route.c ---- */
/* Where a route configuration stands. */
struct pilot_patch_routes {
	pilot_patch_context context;
	const char *name;
	uint16_t port;
	const struct pilot_gw_port *gateway;  /* plain HTTP: all servers of the port */
	const struct pilot_gw_server *server; /* HTTPS */
};
struct pilot_patch_routes pilot_patch_routes_of(
	struct pilot_job *j, const struct pilot_route_ref *rc);
void pilot_patch_route_header(
	struct pilot_job *j, const struct pilot_route_ref *rc, Route__RouteConfiguration *m);
/* Takes away and adds virtual hosts of a plan, and mixes the patches of the others into it. */
void pilot_patch_vhosts(struct pilot_job *j, struct pilot_route_ref *rc);
void pilot_patch_vhost(
	struct pilot_job *j, const struct pilot_vhost_ref *ref, Route__VirtualHost *v);
/* All of it, on the route configuration of an inbound port. */
void pilot_patch_routes_inbound(struct pilot_job *j, uint16_t port, Route__RouteConfiguration *m);
bool pilot_patch_is_route(const struct pilot_patch *p);

/* ---- shared ---- */
/* The patch changed what is being built, or the plan. */
void pilot_patch_hit(struct pilot_job *j, const struct pilot_patch *p);
/* What is built may share parts with what was built before it, and a list that both have would grow with
 * each: a patch changes a copy, which this makes of m and all below. */
void pilot_patch_own(struct pilot_job *j, ProtobufCMessage *m);
/* Notes, of all patches for this proxy, those that changed nothing: once everything was built. */
void pilot_patch_notes(struct pilot_job *j);
bool pilot_patch_in(const struct pilot_patch *p, pilot_patch_context context);
/* A repeated field of messages that have names, as patches change it. */
struct pilot_patch_list {
	ProtobufCMessage ***v;
	size_t *n;
	bool end; /* the last one ends the chain: nothing comes after it */
};
/* false: what the patch stands at is not there. all: without a target it means every one. */
bool pilot_patch_list(struct pilot_job *j, const struct pilot_patch *p,
	const struct pilot_patch_list *l, bool all);
const char *pilot_patch_name_of(const ProtobufCMessage *m);
void pilot_patch_merge(struct pilot_job *j, const struct pilot_patch *p, ProtobufCMessage *m);
/* The resource that an item of PILOT_HOW_PATCHED is: the patch's value. */
ProtobufCMessage *pilot_patch_added(struct pilot_job *j, const struct pilot_patch *p);
/* A copy of the patch's value that may be changed. */
ProtobufCMessage *pilot_patch_value(struct pilot_job *j, const struct pilot_patch *p);
