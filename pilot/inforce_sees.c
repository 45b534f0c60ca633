/* Who sees a destination rule, as translation does (pilot/model/select.c): clients in the rule's own
 * namespace always; those of other namespaces when the rule lies in the namespace of the service or in
 * the root namespace, has no workload selector, and is exported to them.
 *
 * The clients of a virtual service are the proxies that obey it: sidecars where it is exported, gateways
 * in the namespaces of those that it names. A subset counts as there when some client of the rule that
 * names it sees it: which namespaces have proxies at all is not known here. What is exported to all by
 * the mesh's default counts as exported to all. */
#include <string.h>

#include "istio/networking/v1alpha3/destination_rule.pb-c.h"
#include "istio/networking/v1alpha3/virtual_service.pb-c.h"
#include "pilot/inforce_item.h"
#include "pilot/model/host.h"

static bool names_mesh(const Nw__VirtualService *s)
{
	for (size_t i = 0; i < s->n_gateways; i++)
		if (strcmp(s->gateways[i], "mesh") == 0)
			return true;
	return !s->n_gateways;
}

/* May proxies in this namespace obey the rule? A delegate's clients are those of its roots: anywhere. */
static bool has_clients_in(struct mt_arena *a, const struct mt_object *vs, const char *ns)
{
	const Nw__VirtualService *s = (const Nw__VirtualService *)vs->spec;
	size_t n = strlen(ns);
	if (!s->n_hosts)
		return true;
	if (names_mesh(s) &&
		pilot_exported((const char *const *)s->export_to, s->n_export_to, vs->ns, ns))
		return true;
	for (size_t i = 0; i < s->n_gateways; i++) {
		const char *g = pilot_gateway_name(a, s->gateways[i], vs->ns);
		if (strncmp(g, ns, n) == 0 && g[n] == '/')
			return true;
	}
	return false;
}

static bool exported_to_clients(
	struct mt_arena *a, const struct mt_object *vs, const struct mt_object *rule)
{
	const Nw__DestinationRule *s = (const Nw__DestinationRule *)rule->spec;
	for (size_t i = 0; i < s->n_export_to; i++) {
		const char *to = s->export_to[i];
		if (strcmp(to, "*") == 0 ||
			has_clients_in(a, vs, strcmp(to, ".") == 0 ? rule->ns : to))
			return true;
	}
	return !s->n_export_to;
}

bool pilot_inforce_sees(
	struct mt_arena *a, const struct mt_object *vs, const struct mt_object *rule, bool shared)
{
	const Nw__DestinationRule *s = (const Nw__DestinationRule *)rule->spec;
	bool selects = s->workload_selector && s->workload_selector->n_match_labels;
	if (has_clients_in(a, vs, rule->ns))
		return true;
	return shared && !selects && exported_to_clients(a, vs, rule);
}
