#include <string.h>
#include <strings.h>

#include "common/base/cidr.h"
#include "common/base/strs.h"
#include "galley/validate/workload.h"
#include "istio/networking/v1alpha3/service_entry.pb-c.h"

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

static void address(const struct check *c, const char *path, const Nw__WorkloadEntry *w, bool dns)
{
	struct mt_ip ip;

	if (mt_str_empty(w->address)) {
		if (mt_str_empty(w->network))
			fault(c, path, "is missing");
		else
			remark(c, path, "is missing: what only names its network is not reached");
	} else if (mt_str_prefix(w->address, "unix://")) {
		if (w->address[7] != '/' && w->address[7] != '@')
			fault(c, path, "a Unix socket has an absolute path");
	} else if (mt_ip_parse(w->address, &ip) < 0 && !(dns && is_host(w->address, false))) {
		fault(c, path,
			dns ? "\"%s\" is neither an IP address nor a host name"
			    : "\"%s\" is not an IP address",
			w->address);
	}
}

static void locality(const struct check *c, const char *path, const char *s)
{
	size_t slashes = 0;

	for (const char *p = s; *p; p++)
		slashes += *p == '/';
	if (slashes > 2 || *s == '/' || strstr(s, "//"))
		fault(c, path, "\"%s\" is not REGION[/ZONE[/SUBZONE]]", s);
}

void galley_check_workload(
	const struct check *c, const char *path, const Nw__WorkloadEntry *w, bool dns)
{
	address(c, at(c, "%s.address", path), w, dns);
	galley_check_workload_rest(c, path, w);
}

void galley_check_workload_rest(const struct check *c, const char *path, const Nw__WorkloadEntry *w)
{
	if (mt_str_prefix(w->address, "unix://") && w->n_ports)
		fault(c, at(c, "%s.ports", path), "a Unix socket has no ports");
	for (size_t i = 0; i < w->n_ports; i++)
		check_port(c, at(c, "%s.ports.%s", path, w->ports[i]->key), w->ports[i]->value);
	for (size_t i = 0; i < w->n_labels; i++)
		check_label(c, at(c, "%s.labels.%s", path, w->labels[i]->key), w->labels[i]->key,
			w->labels[i]->value);
	if (!mt_str_empty(w->locality))
		locality(c, at(c, "%s.locality", path), w->locality);
}

static bool has_port(const Nw__ServiceEntry *s, const char *name)
{
	for (size_t i = 0; i < s->n_ports; i++)
		if (strcmp(s->ports[i]->name, name) == 0)
			return true;
	return false;
}

static bool is_wild(const char *host)
{
	return host[0] == '*';
}

/* Endpoints against the way in which they are found. */
static void resolution(const struct check *c, const Nw__ServiceEntry *s, bool dns)
{
	bool none = !s->n_endpoints && !s->workload_selector;

	switch (s->resolution) {
	case NW__SERVICE_ENTRY__RESOLUTION__NONE:
		if (s->n_endpoints)
			fault(c, "spec.endpoints", "have no place with resolution NONE");
		if (s->workload_selector)
			fault(c, "spec.workloadSelector", "has no place with resolution NONE");
		break;
	case NW__SERVICE_ENTRY__RESOLUTION__STATIC:
		if (none)
			remark(c, "spec.endpoints", "are missing: nothing answers");
		break;
	case NW__SERVICE_ENTRY__RESOLUTION__DNS_ROUND_ROBIN:
		if (s->n_endpoints > 1)
			fault(c, "spec.endpoints", "more than one has no place with %s",
				"resolution DNS_ROUND_ROBIN");
		break;
	case NW__SERVICE_ENTRY__RESOLUTION__DYNAMIC_DNS:
		if (!none)
			fault(c, "spec.endpoints", "have no place with resolution DYNAMIC_DNS");
		for (size_t i = 0; i < s->n_hosts; i++)
			if (!is_wild(s->hosts[i]))
				fault(c, at(c, "spec.hosts[%zu]", i),
					"resolution DYNAMIC_DNS is for wildcards: use DNS");
		return;
	default: break;
	}
	for (size_t i = 0; dns && none && i < s->n_hosts; i++)
		if (is_wild(s->hosts[i]))
			fault(c, at(c, "spec.hosts[%zu]", i),
				"a wildcard cannot be resolved: give endpoints");
}

static void endpoint(const struct check *c, const Nw__ServiceEntry *s, size_t i, bool dns)
{
	const char *path = at(c, "spec.endpoints[%zu]", i);
	const Nw__WorkloadEntry *w = s->endpoints[i];

	galley_check_workload(c, path, w, dns);
	if (mt_str_prefix(w->address, "unix://")) {
		if (dns)
			fault(c, at(c, "%s.address", path), "a Unix socket is not resolved");
		if (s->n_ports > 1)
			fault(c, at(c, "%s.address", path),
				"a Unix socket serves one port: spec.ports has %zu", s->n_ports);
	}
	for (size_t k = 0; k < w->n_ports; k++)
		if (!has_port(s, w->ports[k]->key))
			fault(c, at(c, "%s.ports.%s", path, w->ports[k]->key),
				"names no port of spec.ports");
}

static void endpoints(const struct check *c, const Nw__ServiceEntry *s)
{
	bool dns = s->resolution == NW__SERVICE_ENTRY__RESOLUTION__DNS ||
		s->resolution == NW__SERVICE_ENTRY__RESOLUTION__DNS_ROUND_ROBIN;

	for (size_t i = 0; i < s->n_endpoints; i++)
		endpoint(c, s, i, dns);
	resolution(c, s, dns);
	if (s->workload_selector && s->n_endpoints)
		fault(c, "spec.endpoints", "have no place beside workloadSelector");
	galley_check_workload_selector(c, "spec.workloadSelector", s->workload_selector);
	for (size_t i = 0; i < s->n_addresses; i++)
		if (strchr(s->addresses[i], '/') &&
			s->resolution >= NW__SERVICE_ENTRY__RESOLUTION__DNS)
			fault(c, at(c, "spec.addresses[%zu]", i),
				"a block of addresses needs resolution NONE or STATIC");
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
		for (size_t k = 0; k < i; k++)
			if (strcmp(s->hosts[k], s->hosts[i]) == 0)
				fault(c, at(c, "spec.hosts[%zu]", i), "\"%s\" stands here twice",
					s->hosts[i]);
	}
	for (size_t i = 0; i < s->n_addresses; i++)
		check_cidr(c, at(c, "spec.addresses[%zu]", i), s->addresses[i]);
	if (!s->n_ports)
		fault(c, "spec.ports", "is missing");
	ports(c, s);
	endpoints(c, s);
	check_export_to(c, s->export_to, s->n_export_to);
}

void galley_check_workload_selector(
	const struct check *c, const char *path, const Nw__WorkloadSelector *s)
{
	if (!s)
		return;
	if (!s->n_labels)
		remark(c, at(c, "%s.labels", path), "are missing: every workload is meant");
	for (size_t i = 0; i < s->n_labels; i++)
		check_label(c, at(c, "%s.labels.%s", path, s->labels[i]->key), s->labels[i]->key,
			s->labels[i]->value);
}

void galley_check_workload_entry(const struct check *c, const ProtobufCMessage *spec)
{
	galley_check_workload(c, "spec", (const Nw__WorkloadEntry *)spec, true);
}
