/* Inputs on the left, tables on the right, in flow.def; here only the bookkeeping.
 *
 *   configuration object ─┐                       ┌─ clusters, clusters inbound
 *   registry: services ───┼─ world index ── plan ─┼─ listeners, listeners inbound
 *   mesh configuration ───┘                       └─ routes
 *   registry: endpoints ──── world endpoints ─────── endpoints (and inbound, when addresses moved)
 */
#include "pilot/flow.h"

static const unsigned tables_of[MT_KIND_N] = {
#define FLOW(kind, tables) [MT_KIND_##kind] = (tables),
#include "pilot/flow.def"
#undef FLOW
};

static void mark(struct pilot_dirty *d, unsigned tables, const char *reason)
{
	if (!d->any)
		d->reason = reason;
	d->any = true;
	d->tables |= tables;
}

void pilot_flow_object(struct pilot_dirty *d, enum mt_kind_id kind)
{
	mark(d, tables_of[kind] ? tables_of[kind] : T_ALL, mt_kinds[kind].kind);
	d->index = true;
}

void pilot_flow_services(struct pilot_dirty *d)
{
	mark(d, T_ALL, "services");
	d->index = d->services = true;
}

void pilot_flow_all(struct pilot_dirty *d, const char *reason)
{
	mark(d, T_ALL, reason);
	d->index = d->services = true;
}

void pilot_flow_endpoints(struct pilot_dirty *d, bool addresses)
{
	mark(d, 1u << PILOT_ENDPOINTS | (addresses ? T_INBOUND : 0), "endpoints");
}

void pilot_flow_clusters(struct pilot_dirty *d)
{
	mark(d, 1u << PILOT_CLUSTERS, "endpoints");
}

void pilot_flow_refused(struct pilot_dirty *d)
{
	mark(d, 0, "refused"); /* the tables are those of the objects that go back */
	d->index = true;
}
