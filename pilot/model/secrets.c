#include "pilot/model/secrets.h"

#include <string.h>

#include "common/base/strs.h"
#include "pilot/model/host.h"
#include "pilot/model/service.h"

static void tell(pilot_secret_fn fn, void *ctx, const char *name, const char *suffix)
{
	if (!mt_str_empty(name))
		fn(ctx, name, suffix);
}

const char *pilot_server_roots(const Nw__ServerTLSSettings *t)
{
	return *t->ca_cert_credential_name ? t->ca_cert_credential_name
		: *t->ca_certificates      ? ""
		: *t->credential_name      ? t->credential_name
		: t->n_credential_names    ? t->credential_names[0]
					   : "";
}

void pilot_server_secrets(const Nw__ServerTLSSettings *t, pilot_secret_fn fn, void *ctx)
{
	switch (t->mode) {
	case NW__SERVER_TLSSETTINGS__TLSMODE__MUTUAL:
	case NW__SERVER_TLSSETTINGS__TLSMODE__OPTIONAL_MUTUAL:
		tell(fn, ctx, pilot_server_roots(t), "-cacert");
		break;
	case NW__SERVER_TLSSETTINGS__TLSMODE__SIMPLE: break;
	default: return; /* no certificate, or the workload's own */
	}
	tell(fn, ctx, t->credential_name, "");
	for (size_t i = 0; i < t->n_credential_names; i++)
		tell(fn, ctx, t->credential_names[i], "");
}

void pilot_client_secrets(const Nw__ClientTLSSettings *t, pilot_secret_fn fn, void *ctx)
{
	bool mutual = t->mode == NW__CLIENT_TLSSETTINGS__TLSMODE__MUTUAL;
	if (!mutual && t->mode != NW__CLIENT_TLSSETTINGS__TLSMODE__SIMPLE)
		return;
	if (mutual)
		tell(fn, ctx, t->credential_name, "");
	if (!t->insecure_skip_verify || !t->insecure_skip_verify->value)
		tell(fn, ctx, t->credential_name, "-cacert");
}

enum pilot_has pilot_proxy_has(const struct pilot_proxy *p, const char *name, const char *suffix)
{
	size_t n = strlen(name);
	if (!p->sds)
		return PILOT_HAS_NOT; /* nobody serves secrets to it */
	if (!p->credentials)
		return PILOT_HAS_PERHAPS;
	for (size_t i = 0; i < p->ncredentials; i++)
		if (strncmp(p->credentials[i], name, n) == 0 &&
			strcmp(p->credentials[i] + n, suffix) == 0)
			return PILOT_HAS;
	return PILOT_HAS_NOT;
}

static bool selected(const struct pilot_proxy *p, const void *entries, size_t n)
{
	/* Every map<string,string> entry has the same layout. */
	Istype__WorkloadSelector__MatchLabelsEntry *const *v = entries;
	for (size_t i = 0; i < n; i++)
		if (!mt_streq(pilot_label(p->labels, p->nlabels, v[i]->key), v[i]->value))
			return false;
	return true;
}

static bool gateway_concerns(const struct pilot_proxy *p, const Nw__Gateway *g)
{
	return p->type == PILOT_ROUTER && selected(p, g->selector, g->n_selector);
}

static bool rule_concerns(const struct pilot_proxy *p, const Nw__DestinationRule *r, const char *ns)
{
	const Istype__WorkloadSelector *s = r->workload_selector;
	if (s && (strcmp(p->ns, ns) != 0 || !selected(p, s->match_labels, s->n_match_labels)))
		return false;
	return pilot_exported((const char *const *)r->export_to, r->n_export_to, ns, p->ns);
}

bool pilot_proxy_concerned(const struct pilot_proxy *p, const struct mt_object *o)
{
	if (o->kind->id == MT_KIND_GATEWAY)
		return gateway_concerns(p, (const Nw__Gateway *)o->spec);
	return o->kind->id == MT_KIND_DESTINATION_RULE && p->type != PILOT_PROXYLESS &&
		rule_concerns(p, (const Nw__DestinationRule *)o->spec, o->ns);
}
