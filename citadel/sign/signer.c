/* Signing. The only inputs from the CSR are its public key and the lifetime that was asked for. */
#include "citadel/sign/signer.h"

#include <stdio.h>
#include <string.h>

#include "common/base/duration.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/strs.h"

/* How late the clocks of verifiers may be. */
#define SKEW_NS (60 * MT_NS_PER_SEC)

struct dns_names {
	char *text; /* names separated by NUL */
	const char *v[MT_CERT_DNS_MAX];
	size_t n;
};

struct citadel_signer {
	int64_t default_ttl_ns, max_ttl_ns;
	const struct mt_clock *clock;
	struct mt_map *dns; /* SPIFFE id -> struct dns_names */
};

static void dns_free(void *p)
{
	struct dns_names *d = p;

	mt_free(d->text);
	mt_free(d);
}

static bool is_dns_name(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n <= 253 && s[0] != '-' && s[0] != '.' &&
		strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-.") == n && !strstr(s, "..");
}

static int add_dns(struct citadel_signer *s, const char *row, const char *td, struct mt_err *err)
{
	const char *eq = strchr(row, '=');
	MT_AUTO(mt_strfreep) char *id = NULL;
	struct dns_names *d;
	struct mt_spiffe parsed;
	char *save = NULL;

	if (!eq)
		return mt_fail(err, MT_INVALID, "--dns-san", "%s: no \"=\"", row);
	id = mt_strndup(row, (size_t)(eq - row));
	if (mt_spiffe_parse(id, &parsed, err) < 0)
		return mt_err_prefix(err, "--dns-san %s", row);
	if (strcmp(parsed.td, td) != 0)
		return mt_fail(
			err, MT_INVALID, "--dns-san", "%s is not of trust domain %s", id, td);
	if (mt_map_get(s->dns, id))
		return mt_fail(err, MT_INVALID, "--dns-san", "%s twice", id);
	d = MT_NEW(struct dns_names);
	mt_map_put(s->dns, id, d);
	d->text = mt_strdup(eq + 1);
	for (char *name = strtok_r(d->text, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
		if (!is_dns_name(name))
			return mt_fail(err, MT_INVALID, "--dns-san", "%s is no DNS name", name);
		if (d->n == MT_CERT_DNS_MAX)
			return mt_fail(err, MT_LIMIT, "--dns-san", "%s: more than %d names", id,
				MT_CERT_DNS_MAX);
		d->v[d->n++] = name;
	}
	return 0;
}

int citadel_signer_new(
	const struct citadel_signer_opts *o, struct citadel_signer **ret, struct mt_err *err)
{
	MT_AUTO(citadel_signer_freep) struct citadel_signer *s = MT_NEW(struct citadel_signer);

	s->clock = o->clock;
	s->default_ttl_ns = o->default_ttl_ns;
	s->max_ttl_ns = o->max_ttl_ns;
	s->dns = mt_map_new();
	if (s->max_ttl_ns < MT_NS_PER_SEC)
		return mt_fail(err, MT_INVALID, "--max-workload-cert-ttl", "must be 1s or more");
	if (s->default_ttl_ns < MT_NS_PER_SEC || s->default_ttl_ns > s->max_ttl_ns)
		return mt_fail(err, MT_INVALID, "--workload-cert-ttl",
			"must be 1s or more, and at most --max-workload-cert-ttl");
	for (size_t i = 0; i < o->dns_san.n; i++) {
		int r = add_dns(s, o->dns_san.v[i], o->trust_domain, err);

		if (r < 0)
			return r;
	}
	*ret = MT_TAKE(s);
	return 0;
}

void citadel_signer_free(struct citadel_signer *s)
{
	if (!s)
		return;
	mt_map_free(s->dns, dns_free);
	mt_free(s);
}

int citadel_sign(const struct citadel_signer *s, const struct citadel_ca *ca,
	const struct mt_key *key, const char *id, int64_t ttl_ns, struct mt_chain **ret,
	struct mt_err *err)
{
	const struct mt_issuer by = { .chain = ca->chain, .key = ca->key };
	const struct dns_names *dns = mt_map_get(s->dns, id);
	struct mt_leaf_request q = {
		.key = key,
		.spiffe_id = id,
		.dns = dns ? dns->v : NULL,
		.ndns = dns ? dns->n : 0,
		.now_ns = mt_wall(s->clock),
		.ttl_ns = ttl_ns ? ttl_ns : s->default_ttl_ns,
		.skew_ns = SKEW_NS,
	};

	if (q.ttl_ns < MT_NS_PER_SEC || q.ttl_ns > s->max_ttl_ns) {
		char most[32];

		mt_duration_format(s->max_ttl_ns, most, sizeof(most));
		return mt_fail(err, MT_INVALID, "validity_duration", "must be from 1s to %s", most);
	}
	return mt_cert_issue(&by, &q, ret, err);
}
