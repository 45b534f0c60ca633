/* Header operations. Envoy refuses an update, whole, in which Host or a pseudo-header is changed as
 * if it were any other header: only a request's Host may be set, which becomes a rewrite. */
#include <string.h>
#include <strings.h>

#include "galley/validate/http_route.h"

typedef Nw__Headers__HeaderOperations__SetEntry entry; /* all map<string,string> look like it */

static bool is_host_header(const char *name)
{
	return strcasecmp(name, "host") == 0 || strcasecmp(name, ":authority") == 0;
}

static void check_value(const struct check *c, const char *path, const char *value)
{
	for (const char *p = value; *p; p++)
		if ((unsigned char)*p < ' ' && *p != '\t') {
			fault(c, path, "has a control character, which no header value has");
			return;
		}
}

/* settable: the list may say Host. */
static void check_map(
	const struct check *c, const char *path, const void *entries, size_t n, bool settable)
{
	entry *const *v = entries;

	for (size_t i = 0; i < n; i++) {
		const char *name = v[i]->key, *p = at(c, "%s.%s", path, name);
		check_header_name(c, p, name);
		check_value(c, p, v[i]->value);
		if (settable && is_host_header(name)) {
			if (!*v[i]->value)
				fault(c, p, "is empty: a request needs a host");
		} else if (name[0] == ':' || is_host_header(name)) {
			fault(c, p, "\"%s\" cannot be changed here", name);
		}
	}
}

static void check_removed(const struct check *c, const char *path, char *const *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *p = at(c, "%s[%zu]", path, i);
		check_header_name(c, p, v[i]);
		if (v[i][0] == ':' || is_host_header(v[i]))
			fault(c, p, "\"%s\" cannot be removed", v[i]);
	}
}

static void operations(const struct check *c, const char *path,
	const Nw__Headers__HeaderOperations *o, bool request)
{
	if (!o)
		return;
	check_map(c, at(c, "%s.set", path), o->set, o->n_set, request);
	check_map(c, at(c, "%s.add", path), o->add, o->n_add, request);
	check_removed(c, at(c, "%s.remove", path), o->remove, o->n_remove);
}

static void headers(const struct check *c, const char *path, const Nw__Headers *h)
{
	if (!h)
		return;
	operations(c, at(c, "%s.headers.request", path), h->request, true);
	operations(c, at(c, "%s.headers.response", path), h->response, false);
}

void check_route_headers(const struct check *c, const char *path, const Nw__HTTPRoute *r)
{
	headers(c, path, r->headers);
	check_map(c, at(c, "%s.appendHeaders", path), r->append_headers, r->n_append_headers, true);
	check_map(c, at(c, "%s.appendRequestHeaders", path), r->append_request_headers,
		r->n_append_request_headers, true);
	check_map(c, at(c, "%s.appendResponseHeaders", path), r->append_response_headers,
		r->n_append_response_headers, false);
	check_removed(c, at(c, "%s.removeRequestHeaders", path), r->remove_request_headers,
		r->n_remove_request_headers);
	check_removed(c, at(c, "%s.removeResponseHeaders", path), r->remove_response_headers,
		r->n_remove_response_headers);
}

void check_destination_headers(
	const struct check *c, const char *path, const Nw__HTTPRouteDestination *d)
{
	headers(c, path, d->headers);
	check_map(c, at(c, "%s.appendRequestHeaders", path), d->append_request_headers,
		d->n_append_request_headers, true);
	check_map(c, at(c, "%s.appendResponseHeaders", path), d->append_response_headers,
		d->n_append_response_headers, false);
	check_removed(c, at(c, "%s.removeRequestHeaders", path), d->remove_request_headers,
		d->n_remove_request_headers);
	check_removed(c, at(c, "%s.removeResponseHeaders", path), d->remove_response_headers,
		d->n_remove_response_headers);
}
