#include <string.h>
#include <strings.h>

#include "common/base/cidr.h"
#include "common/base/strs.h"
#include "galley/validate/check.h"
#include "istio/networking/v1alpha3/service_entry.pb-c.h"
#include "istio/networking/v1alpha3/workload_entry.pb-c.h"

static void ports(const struct check *c, const Nw__ServiceEntry *s)
{
	for (size_t i = 0; i < s->n_ports; i++) {
		const Nw__ServicePort *p = s->ports[i];
		const char *path = at(c, "spec.ports[%zu]", i);
		check_port(c, at(c, "%s.number", path), p->number);
		if (!is_label(p->name))
			fault(c, at(c, "%s.name", path), "\"%s\" is not a port name", p->name);
		if (!is_protocol(p->protocol))
			fault(c, at(c, "%s.protocol", path), "\"%s\" is not a protocol",
				p->protocol);
		if (p->target_port)
			check_port(c, at(c, "%s.targetPort", path), p->target_port);
		for (size_t k = 0; k < i; k++) {
			if (s->ports[k]->number == p->number)
				fault(c, at(c, "%s.number", path), "%u stands here twice",
					p->number);
			if (strcmp(s->ports[k]->name, p->name) == 0)
				fault(c, at(c, "%s.name", path), "\"%s\" stands here twice",
					p->name);
		}
	}
}

static void workload(const struct check *c, const char *path, const Nw__WorkloadEntry *w, bool dns)
{
	struct mt_ip ip;

	if (mt_str_empty(w->address)) {
		if (mt_str_empty(w->network))
			fault(c, at(c, "%s.address", path), "is missing");
	} else if (mt_str_prefix(w->address, "unix://")) {
		if (w->address[7] != '/' && w->address[7] != '@')
			fault(c, at(c, "%s.address", path), "a Unix socket has an absolute path");
		if (w->n_ports)
			fault(c, at(c, "%s.ports", path), "a Unix socket has no ports");
	} else if (mt_ip_parse(w->address, &ip) < 0 && !(dns && is_host(w->address, false))) {
		fault(c, at(c, "%s.address", path),
			dns ? "\"%s\" is neither an IP address nor a host name"
			    : "\"%s\" is not an IP address",
			w->address);
	}
	for (size_t i = 0; i < w->n_ports; i++)
		check_port(c, at(c, "%s.ports.%s", path, w->ports[i]->key), w->ports[i]->value);
}

static bool has_port(const Nw__ServiceEntry *s, const char *name)
{
	for (size_t i = 0; i < s->n_ports; i++)
		if (strcmp(s->ports[i]->name, name) == 0)
			return true;
	return false;
}

static void endpoints(const struct check *c, const Nw__ServiceEntry *s)
{
	bool dns = s->resolution == NW__SERVICE_ENTRY__RESOLUTION__DNS ||
		s->resolution == NW__SERVICE_ENTRY__RESOLUTION__DNS_ROUND_ROBIN ||
		s->resolution == NW__SERVICE_ENTRY__RESOLUTION__DYNAMIC_DNS;

	for (size_t i = 0; i < s->n_endpoints; i++) {
		const char *path = at(c, "spec.endpoints[%zu]", i);
		workload(c, path, s->endpoints[i], dns);
		for (size_t k = 0; k < s->endpoints[i]->n_ports; k++)
			if (!has_port(s, s->endpoints[i]->ports[k]->key))
				fault(c, at(c, "%s.ports.%s", path, s->endpoints[i]->ports[k]->key),
					"names no port of spec.ports");
	}
	if (s->resolution == NW__SERVICE_ENTRY__RESOLUTION__NONE && s->n_endpoints)
		fault(c, "spec.endpoints", "have no place with resolution NONE");
	if (s->workload_selector && s->n_endpoints)
		fault(c, "spec.endpoints", "have no place beside workloadSelector");
	for (size_t i = 0; dns && !s->n_endpoints && i < s->n_hosts; i++)
		if (s->hosts[i][0] == '*')
			fault(c, at(c, "spec.hosts[%zu]", i),
				"a wildcard cannot be resolved: give endpoints");
}

void galley_check_service_entry(const struct check *c, const ProtobufCMessage *spec)
{
	const Nw__ServiceEntry *s = (const Nw__ServiceEntry *)spec;

	if (!s->n_hosts)
		fault(c, "spec.hosts", "is missing");
	for (size_t i = 0; i < s->n_hosts; i++) {
		check_host(c, at(c, "spec.hosts[%zu]", i), s->hosts[i], true);
		if (strcmp(s->hosts[i], "*") == 0)
			fault(c, at(c, "spec.hosts[%zu]", i), "\"*\" would take all traffic");
	}
	for (size_t i = 0; i < s->n_addresses; i++)
		check_cidr(c, at(c, "spec.addresses[%zu]", i), s->addresses[i]);
	if (!s->n_ports)
		fault(c, "spec.ports", "is missing");
	ports(c, s);
	endpoints(c, s);
	check_export_to(c, s->export_to, s->n_export_to);
}

void galley_check_workload_entry(const struct check *c, const ProtobufCMessage *spec)
{
	workload(c, "spec", (const Nw__WorkloadEntry *)spec, true);
}
