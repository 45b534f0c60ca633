#include <string.h>

#include "common/base/cidr.h"
#include "common/base/clock.h"
#include "common/base/strs.h"
#include "galley/validate/check.h"
#include "istio/mesh/v1alpha1/config.pb-c.h"

static void server(const struct check *c, const char *path, const char *s)
{
	char host[256];
	uint16_t port;

	if (mt_str_empty(s))
		return;
	if (mt_hostport_parse(s, host, &port) < 0 || !*host || !port)
		fault(c, path, "\"%s\" is not HOST:PORT", s);
}

void galley_check_mesh_config(const struct check *c, const ProtobufCMessage *spec)
{
	const Mesh__MeshConfig *m = (const Mesh__MeshConfig *)spec;

	if (strcmp(c->obj->name, "default") != 0)
		fault(c, "metadata.name", "the mesh has one configuration, named default");
	server(c, "spec.mixerCheckServer", m->mixer_check_server);
	server(c, "spec.mixerReportServer", m->mixer_report_server);
	check_duration(c, "spec.connectTimeout", m->connect_timeout, MT_NS_PER_MS);
	if (m->proxy_listen_port)
		check_port(c, "spec.proxyListenPort", (uint32_t)m->proxy_listen_port);
}
