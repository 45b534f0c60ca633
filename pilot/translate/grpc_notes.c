/* What a rule says and gRPC without a proxy does not do, said on the object. */
#include <string.h>

#include "common/base/strs.h"
#include "pilot/translate/grpc.h"
#include "pilot/translate/route.h"

static void left_out(const struct pilot_route_ctx *c, const char *field, const char *why)
{
	pilot_job_note(c->j, c->vs->id, PILOT_NOTE_IGNORED,
		mt_arena_printf(c->j->a, "%s.%s", c->path, field),
		"a gRPC client without a proxy %s", why);
}

static bool changes_headers(const Nw__HTTPRoute *h)
{
	if (h->headers || h->n_append_headers || h->n_append_request_headers ||
		h->n_append_response_headers || h->n_remove_request_headers ||
		h->n_remove_response_headers)
		return true;
	for (size_t i = 0; i < h->n_route; i++) {
		const Nw__HTTPRouteDestination *d = h->route[i];
		if (d->headers || d->n_append_request_headers || d->n_append_response_headers ||
			d->n_remove_request_headers || d->n_remove_response_headers)
			return true;
	}
	return false;
}

/* One of its conditions is one of gRPC's (gRFC A44). */
static bool retries_something(const char *on)
{
	static const char *const known[] = { "cancelled", "deadline-exceeded", "internal",
		"resource-exhausted", "unavailable" };
	for (const char *s = on; *s; s += strspn(s, ", ")) {
		size_t n = strcspn(s, ", ");
		for (size_t i = 0; i < MT_ARRAY_SIZE(known); i++)
			if (strlen(known[i]) == n && strncmp(known[i], s, n) == 0)
				return true;
		s += n;
	}
	return !*on; /* Meltemi's own conditions have two of them */
}

static void retries(const struct pilot_route_ctx *c, const Nw__HTTPRetry *r)
{
	if (!r || r->attempts <= 0)
		return;
	if (r->per_try_timeout)
		left_out(c, "retries.perTryTimeout", "limits the time of the whole call alone");
	if (r->retry_remote_localities && r->retry_remote_localities->value)
		left_out(c, "retries.retryRemoteLocalities", "chooses for a retry as for a call");
	if (!retries_something(r->retry_on))
		left_out(c, "retries.retryOn",
			"retries on cancelled, deadline-exceeded, internal, resource-exhausted and "
			"unavailable alone");
}

void pilot_grpc_notes(
	const struct pilot_route_ctx *c, const Nw__HTTPRoute *h, const Nw__HTTPMatchRequest *m)
{
	if (m && m->n_query_params)
		left_out(c, "match", "has no query parameters: the match never holds");
	if (h->redirect)
		left_out(c, "redirect", "follows no redirect: the call fails");
	if (h->direct_response)
		left_out(c, "directResponse", "takes no answer from a rule: the call fails");
	if (h->rewrite)
		left_out(c, "rewrite", "does not change a call");
	if (changes_headers(h))
		left_out(c, "headers", "does not change a call's headers");
	if (h->mirror || h->n_mirrors)
		left_out(c, h->mirror ? "mirror" : "mirrors", "sends no copies");
	if (h->cors_policy)
		left_out(c, "corsPolicy", "is no browser");
	retries(c, h->retries);
}
