#include "mixer/attr/check.h"

#include <string.h>

#include "common/base/strs.h"
#include "common/base/workload.h"
#include "mixer/attr/parts.h"
#include "mixer/attr/source.h"

static const char *principal(const Auth__AttributeContext__Peer *p)
{
	return p ? p->principal : NULL;
}

static const Auth__AttributeContext__HttpRequest *http(const Auth__CheckRequest *r)
{
	return r->attributes && r->attributes->request ? r->attributes->request->http : NULL;
}

/* All headers but the one that is a statement of its own. Returns that one. */
static const char *add_headers(struct mixer_facts *f, const Auth__AttributeContext__HttpRequest *h)
{
	const char *workload = NULL;

	for (size_t i = 0; i < h->n_headers; i++) {
		const char *key = h->headers[i]->key, *value = h->headers[i]->value;

		if (mt_streq(key, MT_WORKLOAD_HEADER))
			workload = value;
		else
			mixer_facts_entry(f, MT_ATTR_REQUEST_HEADERS, key, value);
	}
	return workload;
}

static const char *header(const struct mixer_facts *f, const char *name)
{
	return mixer_map_find(f, MT_ATTR_REQUEST_HEADERS, name);
}

static void add_http(struct mixer_facts *f, const Auth__AttributeContext__HttpRequest *h)
{
	const char *type = header(f, "content-type"), *id = header(f, "x-request-id");

	mixer_facts_str(f, MT_ATTR_CONTEXT_PROTOCOL,
		type && mt_str_prefix(type, "application/grpc") ? "grpc" : "http");
	mixer_facts_str(f, MT_ATTR_REQUEST_ID, mt_str_empty(id) ? h->id : id);
	mixer_facts_str(f, MT_ATTR_REQUEST_METHOD, h->method);
	mixer_facts_str(f, MT_ATTR_REQUEST_HOST, h->host);
	mixer_facts_str(f, MT_ATTR_REQUEST_SCHEME, h->scheme);
	mixer_add_path(f, h->path);
	mixer_facts_str(f, MT_ATTR_REQUEST_USERAGENT, header(f, "user-agent"));
	mixer_facts_str(f, MT_ATTR_REQUEST_REFERER, header(f, "referer"));
	if (h->size >= 0)
		mixer_facts_int(f, MT_ATTR_REQUEST_SIZE, h->size);
}

static void add_destination(struct mixer_facts *f, const Auth__AttributeContext__Peer *p)
{
	if (!p)
		return;
	mixer_add_address(f, p->address, MT_ATTR_DESTINATION_IP, MT_ATTR_DESTINATION_PORT);
	mixer_facts_str(f, MT_ATTR_DESTINATION_PRINCIPAL, mixer_principal(p->principal));
	for (size_t i = 0; i < p->n_labels; i++)
		mixer_facts_entry(
			f, MT_ATTR_DESTINATION_LABELS, p->labels[i]->key, p->labels[i]->value);
}

void mixer_attr_check(
	struct mixer_facts *f, const Auth__CheckRequest *r, const struct mixer_check_opts *o)
{
	const Auth__AttributeContext *c = r->attributes;
	const Auth__AttributeContext__HttpRequest *h = http(r);
	const char *workload;

	mt_bag_time(&f->bag, MT_ATTR_CONTEXT_TIME, o->now_ns);
	if (!c)
		return;
	for (size_t i = 0; i < c->n_context_extensions; i++)
		mixer_facts_add(f, c->context_extensions[i]->key, c->context_extensions[i]->value);
	mixer_facts_str(f, MT_ATTR_CONTEXT_REPORTER_KIND, "inbound");
	workload = h ? add_headers(f, h) : NULL;
	mixer_source_add(f, principal(c->source), workload, o->trust_source_header);
	mixer_facts_bool(f, MT_ATTR_CONNECTION_MTLS, false);
	if (c->source)
		mixer_add_address(f, c->source->address, MT_ATTR_SOURCE_IP, MT_ATTR_SOURCE_PORT);
	add_destination(f, c->destination);
	if (c->request && c->request->time)
		mixer_add_time(f, MT_ATTR_REQUEST_TIME, c->request->time, 0);
	if (c->tls_session)
		mixer_facts_str(f, MT_ATTR_CONNECTION_REQUESTED_SERVER_NAME, c->tls_session->sni);
	if (h)
		add_http(f, h);
	mixer_facts_str(f, MT_ATTR_CONTEXT_PROTOCOL, "tcp");
	mixer_facts_finish(f);
}
