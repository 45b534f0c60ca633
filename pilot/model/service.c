/* Services and endpoints: protocols, labels, hashes, references.
 *
 * Hashes cover content, never pointers, so that a registry that lists the same thing twice makes
 * equal services: what is equal is not sent again. */
#include "pilot/model/service.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/base/vec.h"

enum { TYPICAL_BYTES = 512 }; /* of a service, or of its endpoints; there are thousands */

static const struct {
	const char *name; /* also the prefix of port names */
	enum pilot_protocol p;
} protocols[] = {
	{ "grpc-web", PILOT_GRPC_WEB },
	{ "grpc", PILOT_GRPC },
	{ "http2", PILOT_HTTP2 },
	{ "https", PILOT_HTTPS },
	{ "http_proxy", PILOT_HTTP_PROXY },
	{ "http", PILOT_HTTP },
	{ "tls", PILOT_TLS },
	{ "tcp", PILOT_TCP },
	{ "mongo", PILOT_MONGO },
	{ "redis", PILOT_REDIS },
	{ "udp", PILOT_UDP },
	{ "mysql", PILOT_TCP },
};

int pilot_protocol_parse(const char *text, enum pilot_protocol *ret)
{
	for (size_t i = 0; i < MT_ARRAY_SIZE(protocols); i++)
		if (strcasecmp(text, protocols[i].name) == 0) {
			*ret = protocols[i].p;
			return 0;
		}
	return MT_INVALID;
}

enum pilot_protocol pilot_protocol_of(const char *protocol, const char *port_name, uint16_t number)
{
	static const uint16_t server_first[] = { 25, 53, 3306, 27017 };
	enum pilot_protocol said;
	if (*protocol && pilot_protocol_parse(protocol, &said) == 0)
		return said;
	for (size_t i = 0; i < MT_ARRAY_SIZE(protocols); i++) {
		size_t n = strlen(protocols[i].name);
		if (strncasecmp(port_name, protocols[i].name, n) == 0 &&
			(port_name[n] == '\0' || port_name[n] == '-'))
			return protocols[i].p;
	}
	for (size_t i = 0; i < MT_ARRAY_SIZE(server_first); i++)
		if (number == server_first[i])
			return PILOT_TCP;
	return PILOT_AUTO;
}

bool pilot_protocol_is_http(enum pilot_protocol p)
{
	return p == PILOT_HTTP || p == PILOT_HTTP2 || p == PILOT_GRPC || p == PILOT_GRPC_WEB ||
		p == PILOT_HTTP_PROXY;
}

bool pilot_protocol_is_h2(enum pilot_protocol p)
{
	return p == PILOT_HTTP2 || p == PILOT_GRPC || p == PILOT_GRPC_WEB;
}

bool pilot_protocol_is_tls(enum pilot_protocol p)
{
	return p == PILOT_HTTPS || p == PILOT_TLS;
}

const char *pilot_protocol_name(enum pilot_protocol p)
{
	static const char *const names[] = { "TCP", "HTTP", "HTTP2", "GRPC", "HTTPS", "TLS",
		"Mongo", "Redis", "UDP", "HTTP_PROXY", "GRPC-Web", "detected" };
	return (size_t)p < MT_ARRAY_SIZE(names) ? names[p] : "?";
}

bool pilot_resolution_is_dns(enum pilot_resolution r)
{
	return r == PILOT_RES_DNS || r == PILOT_RES_DNS_ROUND_ROBIN;
}

struct pilot_service *pilot_service_new(void)
{
	struct mt_arena *a = mt_arena_new_sized(0, TYPICAL_BYTES);
	struct pilot_service *s = MT_ANEW(a, struct pilot_service);
	mt_ref_init(&s->ref);
	s->arena = a;
	s->hostname = s->ns = s->name = s->registry = "";
	return s;
}

void pilot_service_done(struct pilot_service *s)
{
	uint64_t h = mt_hash_mix(mt_hash_str(s->hostname), mt_hash_str(s->ns));
	h = mt_hash_mix(h, mt_hash_str(s->registry));
	h = mt_hash_mix_strs(h, s->addresses, s->naddresses);
	h = mt_hash_mix_strs(h, s->sans, s->nsans);
	h = mt_hash_mix_strs(h, s->export_to, s->nexport_to);
	h = mt_hash_mix(h, s->nports);
	for (size_t i = 0; i < s->nports; i++) {
		const struct pilot_port *p = &s->ports[i];
		h = mt_hash_mix(h, mt_hash_str(p->name));
		h = mt_hash_mix(
			h, (uint64_t)p->number << 32 | (uint64_t)p->target << 8 | p->protocol);
	}
	h = mt_hash_mix(h, (uint64_t)s->resolution << 1 | s->external);
	h = mt_hash_mix(h, s->id);
	s->hash = mt_hash_mix(h, (uint64_t)s->created_ns);
}

struct pilot_service *pilot_service_ref(const struct pilot_service *s)
{
	struct pilot_service *m = (struct pilot_service *)s;
	mt_ref_get(&m->ref);
	return m;
}

void pilot_service_unref(struct pilot_service *s)
{
	if (s && mt_ref_put(&s->ref))
		mt_arena_free(s->arena);
}

struct pilot_endpoints *pilot_endpoints_new(void)
{
	struct mt_arena *a = mt_arena_new_sized(0, TYPICAL_BYTES);
	struct pilot_endpoints *e = MT_ANEW(a, struct pilot_endpoints);
	mt_ref_init(&e->ref);
	e->arena = a;
	return e;
}

static uint64_t endpoint_hash(const struct pilot_endpoint *e, size_t nports)
{
	const char *texts[] = { e->address, e->region, e->zone, e->subzone, e->network, e->cluster,
		e->service_account, e->ns, e->workload };
	uint64_t h = mt_hash_mix_strs(0, texts, MT_ARRAY_SIZE(texts));
	for (size_t i = 0; i < nports; i++)
		h = mt_hash_mix(h, e->ports[i]);
	for (size_t i = 0; i < e->nlabels; i++) {
		h = mt_hash_mix(h, mt_hash_str(e->labels[i].key));
		h = mt_hash_mix(h, mt_hash_str(e->labels[i].value));
	}
	h = mt_hash_mix(h,
		(uint64_t)e->weight << 3 | (uint64_t)e->unix_socket << 2 | (uint64_t)e->mtls << 1 |
			e->unhealthy);
	return mt_hash_mix(h, e->id);
}

/* The distinct identities: "NS/SA", or the whole SPIFFE id when that was given. */
static void collect_accounts(struct pilot_endpoints *e)
{
	const char **v = MT_ANEWN(e->arena, const char *, e->n + 1);
	size_t n = 0;
	for (size_t i = 0; i < e->n; i++) {
		const struct pilot_endpoint *ep = &e->v[i];
		if (!ep->mtls)
			continue;
		e->any_mtls = true;
		if (!*ep->service_account)
			continue;
		v[n++] = mt_str_prefix(ep->service_account, "spiffe://")
			? ep->service_account
			: mt_arena_printf(e->arena, "%s/%s", ep->ns, ep->service_account);
	}
	qsort(v, n, sizeof(*v), mt_strcmpp);
	size_t k = 0;
	for (size_t i = 0; i < n; i++)
		if (!k || strcmp(v[k - 1], v[i]) != 0)
			v[k++] = v[i];
	e->accounts = v;
	e->naccounts = k;
	e->accounts_hash = mt_hash_mix_strs(e->any_mtls, v, k);
}

void pilot_endpoints_done(struct pilot_endpoints *e)
{
	uint64_t h = mt_hash_mix(e->n, e->nports);
	for (size_t i = 0; i < e->n; i++)
		h = mt_hash_mix(h, endpoint_hash(&e->v[i], e->nports));
	for (size_t i = 0; i < e->nleft_out; i++)
		h = mt_hash_mix(h, mt_hash_mix(e->left_out[i].id, mt_hash_str(e->left_out[i].why)));
	e->hash = h;
	collect_accounts(e);
}

struct pilot_endpoints *pilot_endpoints_ref(const struct pilot_endpoints *e)
{
	struct pilot_endpoints *m = (struct pilot_endpoints *)e;
	mt_ref_get(&m->ref);
	return m;
}

void pilot_endpoints_unref(struct pilot_endpoints *e)
{
	if (e && mt_ref_put(&e->ref))
		mt_arena_free(e->arena);
}

const char *pilot_label(const struct mt_kv *labels, size_t n, const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(labels[i].key, key) == 0)
			return labels[i].value;
	return NULL;
}

bool pilot_labels_match(
	const struct mt_kv *labels, size_t n, const struct mt_kv *want, size_t nwant)
{
	for (size_t i = 0; i < nwant; i++)
		if (!mt_streq(pilot_label(labels, n, want[i].key), want[i].value))
			return false;
	return true;
}

int pilot_service_port(const struct pilot_service *s, uint16_t number)
{
	for (size_t i = 0; i < s->nports; i++)
		if (s->ports[i].number == number)
			return (int)i;
	return -1;
}

void pilot_services_in_clear(struct pilot_services_in *s)
{
	for (size_t i = 0; i < s->n; i++) {
		pilot_service_unref(s->v[i].svc);
		pilot_endpoints_unref(s->v[i].eps);
	}
	mt_vec_clear(s);
}
