/* Rules that the proxy answers itself: redirects and direct responses. */
#include <string.h>

#include "common/base/strs.h"
#include "pilot/translate/listener.h"
#include "pilot/translate/route.h"

static const char prefix_macro[] = "%PREFIX()%";

static void redirect_path(Route__RedirectAction *a, const Nw__HTTPRedirect *d)
{
	const char *prefix = *d->prefix_rewrite ? d->prefix_rewrite : NULL;
	if (!prefix && mt_str_prefix(d->uri, prefix_macro))
		prefix = d->uri + strlen(prefix_macro);
	if (prefix) {
		a->path_rewrite_specifier_case =
			ROUTE__REDIRECT_ACTION__PATH_REWRITE_SPECIFIER_PREFIX_REWRITE;
		a->prefix_rewrite = pb_s(*prefix ? prefix : "/");
	} else if (*d->uri) {
		a->path_rewrite_specifier_case =
			ROUTE__REDIRECT_ACTION__PATH_REWRITE_SPECIFIER_PATH_REDIRECT;
		a->path_redirect = d->uri;
	}
}

/* Envoy knows no "port of the request", but these routes are those of one port. A port that the
 * scheme implies is not shown beside an authority; without one it must be, or the request's own port
 * would stay. */
static uint32_t redirect_port(const struct pilot_route_ctx *c, const Nw__HTTPRedirect *d)
{
	bool tls = c->server && !pilot_server_plain_http(c->server->spec);
	bool https = *d->scheme ? strcmp(d->scheme, "https") == 0 : tls;
	uint32_t implied = https ? 443 : 80, port;
	if (d->redirect_port_case == NW__HTTPREDIRECT__REDIRECT_PORT_PORT)
		port = d->port;
	else if (d->redirect_port_case != NW__HTTPREDIRECT__REDIRECT_PORT_DERIVE_PORT)
		return 0;
	else if (d->derive_port == NW__HTTPREDIRECT__REDIRECT_PORT_SELECTION__FROM_REQUEST_PORT)
		port = c->port;
	else
		port = implied;
	return port == implied && *d->authority ? 0 : port;
}

static Route__RedirectAction__RedirectResponseCode redirect_code(uint32_t code)
{
	switch (code) {
	case 302: return ROUTE__REDIRECT_ACTION__REDIRECT_RESPONSE_CODE__FOUND;
	case 303: return ROUTE__REDIRECT_ACTION__REDIRECT_RESPONSE_CODE__SEE_OTHER;
	case 307: return ROUTE__REDIRECT_ACTION__REDIRECT_RESPONSE_CODE__TEMPORARY_REDIRECT;
	case 308: return ROUTE__REDIRECT_ACTION__REDIRECT_RESPONSE_CODE__PERMANENT_REDIRECT;
	default: return ROUTE__REDIRECT_ACTION__REDIRECT_RESPONSE_CODE__MOVED_PERMANENTLY;
	}
}

void pilot_redirect(const struct pilot_route_ctx *c, Route__Route *r, const Nw__HTTPRedirect *d)
{
	Route__RedirectAction *a = pb_new(c->j->a, route__redirect_action);
	r->action_case = ROUTE__ROUTE__ACTION_REDIRECT;
	r->redirect = a;
	if (*d->authority)
		a->host_redirect = d->authority;
	redirect_path(a, d);
	if (*d->scheme) {
		a->scheme_rewrite_specifier_case =
			ROUTE__REDIRECT_ACTION__SCHEME_REWRITE_SPECIFIER_SCHEME_REDIRECT;
		a->scheme_redirect = d->scheme;
	}
	a->port_redirect = redirect_port(c, d);
	a->response_code = redirect_code(d->redirect_code);
}

void pilot_direct_response(struct pilot_job *j, Route__Route *r, const Nw__HTTPDirectResponse *d)
{
	Route__DirectResponseAction *a = pb_new(j->a, route__direct_response_action);
	r->action_case = ROUTE__ROUTE__ACTION_DIRECT_RESPONSE;
	r->direct_response = a;
	a->status = d->status;
	if (!d->body || d->body->specifier_case == NW__HTTPBODY__SPECIFIER__NOT_SET)
		return;
	a->body = pb_new(j->a, core__data_source);
	if (d->body->specifier_case == NW__HTTPBODY__SPECIFIER_STRING) {
		a->body->specifier_case = CORE__DATA_SOURCE__SPECIFIER_INLINE_STRING;
		a->body->inline_string = pb_s(*d->body->string ? d->body->string : "");
	} else {
		a->body->specifier_case = CORE__DATA_SOURCE__SPECIFIER_INLINE_BYTES;
		a->body->inline_bytes = d->body->bytes;
	}
}
