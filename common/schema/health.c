#include "common/schema/health.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/strs.h"
#include "common/schema/decode.h"
#include "common/schema/pb.h"

static void bad(struct mt_diags *d, const char *path, const char *what)
{
	mt_diag_add(d, MT_SEV_ERROR, NULL, NULL, path, "%s", what);
}

static void span(struct mt_diags *d, const char *path, const Google__Protobuf__Duration *v)
{
	if (v && (v->seconds < 0 || v->nanos < 0 || (!v->seconds && v->nanos < MT_NS_PER_MS)))
		bad(d, path, "must be at least 1 ms");
}

static void http(struct mt_diags *d, const Meltemi__HealthCheck__Http *h)
{
	if (*h->path && *h->path != '/')
		bad(d, "http.path", "does not start with /");
	for (const char *p = h->path; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f) {
			bad(d, "http.path", "has a space or a control character");
			break;
		}
	if (*h->method && !mt_streq(h->method, "GET") && !mt_streq(h->method, "HEAD"))
		bad(d, "http.method", "is neither GET nor HEAD");
	for (size_t i = 0; i < h->n_expected_statuses; i++)
		if (h->expected_statuses[i] < 100 || h->expected_statuses[i] > 599) {
			bad(d, "http.expectedStatuses", "has what is no HTTP status (100 to 599)");
			break;
		}
}

static void check(struct mt_diags *d, const Meltemi__HealthCheck *m)
{
	if ((m->http != NULL) + (m->grpc != NULL) + (m->tcp != NULL) > 1)
		bad(d, "", "has more than one of http, grpc and tcp");
	if (m->http)
		http(d, m->http);
	if (m->port > 65535)
		bad(d, "port", "is above 65535");
	span(d, "interval", m->interval);
	span(d, "timeout", m->timeout);
	span(d, "noTrafficInterval", m->no_traffic_interval);
}

const Meltemi__HealthCheck *mt_health_check_parse(
	const char *text, struct mt_arena *a, struct mt_diags *diags)
{
	json_t *doc = NULL;
	size_t before = diags->errors;
	if (mt_yaml_to_json(NULL, text, strlen(text), NULL, &doc, diags) < 0)
		return NULL;
	const Meltemi__HealthCheck *m = NULL;
	if (json_is_object(doc))
		m = (const Meltemi__HealthCheck *)mt_pb_from_json(
			&meltemi__health_check__descriptor, doc, "", a, diags);
	else
		bad(diags, "", "is not a mapping such as {http: {path: /healthz}}");
	json_decref(doc);
	if (m)
		check(diags, m);
	return diags->errors == before ? m : NULL;
}
