#include <string.h>
#include <strings.h>

#include "common/base/strs.h"
#include "galley/validate/workload.h"
#include "istio/networking/v1alpha3/workload_group.pb-c.h"

static void http_get(const struct check *c, const char *path, const Nw__HTTPHealthCheckConfig *h)
{
	check_port(c, at(c, "%s.port", path), h->port);
	if (!mt_str_empty(h->path) && h->path[0] != '/')
		fault(c, at(c, "%s.path", path), "\"%s\" does not begin with /", h->path);
	if (!mt_str_empty(h->scheme) && strcasecmp(h->scheme, "HTTP") != 0 &&
		strcasecmp(h->scheme, "HTTPS") != 0)
		fault(c, at(c, "%s.scheme", path), "\"%s\" is neither HTTP nor HTTPS", h->scheme);
	for (size_t i = 0; i < h->n_http_headers; i++)
		check_header_name(
			c, at(c, "%s.httpHeaders[%zu].name", path, i), h->http_headers[i]->name);
}

static void probe(const struct check *c, const Nw__ReadinessProbe *p)
{
	const struct {
		const char *name;
		int32_t value;
	} counts[] = {
		{ "initialDelaySeconds", p->initial_delay_seconds },
		{ "timeoutSeconds", p->timeout_seconds },
		{ "periodSeconds", p->period_seconds },
		{ "successThreshold", p->success_threshold },
		{ "failureThreshold", p->failure_threshold },
	};

	for (size_t i = 0; i < MT_ARRAY_SIZE(counts); i++)
		if (counts[i].value < 0)
			fault(c, at(c, "spec.probe.%s", counts[i].name), "must not be negative");
	switch (p->health_check_method_case) {
	case NW__READINESS_PROBE__HEALTH_CHECK_METHOD_HTTP_GET:
		http_get(c, "spec.probe.httpGet", p->http_get);
		break;
	case NW__READINESS_PROBE__HEALTH_CHECK_METHOD_TCP_SOCKET:
		check_port(c, "spec.probe.tcpSocket.port", p->tcp_socket->port);
		break;
	case NW__READINESS_PROBE__HEALTH_CHECK_METHOD_GRPC:
		check_port(c, "spec.probe.grpc.port", p->grpc->port);
		break;
	case NW__READINESS_PROBE__HEALTH_CHECK_METHOD_EXEC:
		if (!p->exec->n_command || mt_str_empty(p->exec->command[0]))
			fault(c, "spec.probe.exec.command", "is missing");
		break;
	default: fault(c, "spec.probe", "has no httpGet, tcpSocket, exec or grpc");
	}
}

void galley_check_workload_group(const struct check *c, const ProtobufCMessage *spec)
{
	const Nw__WorkloadGroup *g = (const Nw__WorkloadGroup *)spec;

	for (size_t i = 0; g->metadata && i < g->metadata->n_labels; i++)
		check_label(c, at(c, "spec.metadata.labels.%s", g->metadata->labels[i]->key),
			g->metadata->labels[i]->key, g->metadata->labels[i]->value);
	if (!g->template_) {
		fault(c, "spec.template", "is missing");
	} else {
		galley_check_workload_rest(c, "spec.template", g->template_);
		if (!mt_str_empty(g->template_->address))
			remark(c, "spec.template.address",
				"has no effect: each workload says its own");
	}
	if (g->probe)
		probe(c, g->probe);
}
