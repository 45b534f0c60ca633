/* The chain of authenticators, and the rule that joins an authenticated caller with what it asks for.
 *
 * The invariant of this folder: an identity that ends up in a certificate is an element of what the
 * caller was allowed by credentials that only it can show. The CSR can narrow a choice, never widen
 * it. */
#include "citadel/identity/authenticator.h"

#include <stdio.h>
#include <string.h>

#include "common/base/strs.h"

static const struct citadel_authenticator *const list[] = {
#define AUTHENTICATOR(name) &citadel_authenticator_##name,
#include "citadel/identity/authenticators.def"
#undef AUTHENTICATOR
};

int citadel_authenticate(const struct citadel_authority *a, const struct citadel_credentials *c,
	struct citadel_caller *ret, struct mt_err *err)
{
	for (size_t i = 0; i < MT_ARRAY_SIZE(list); i++) {
		int r;

		memset(ret, 0, sizeof(*ret));
		ret->method = list[i]->name;
		r = list[i]->authenticate(a, c, ret, err);
		if (r != MT_NOT_FOUND)
			return r;
	}
	return mt_fail(err, MT_UNAUTHENTICATED, NULL,
		"show a join token (authorization: Bearer ...) or a certificate of this mesh");
}

int citadel_caller_admit(const struct citadel_authority *a, const struct citadel_caller *c,
	const char *id, struct mt_err *err)
{
	for (size_t i = 0; i < MT_ARRAY_SIZE(list); i++) {
		if (mt_streq(list[i]->name, c->method))
			return list[i]->admit ? list[i]->admit(a, c, id, err) : 0;
	}
	return mt_fail(err, MT_INTERNAL, NULL, "no authenticator is called %s", c->method);
}

static bool is_pattern(const char *p)
{
	return strchr(p, '*') != NULL;
}

int citadel_caller_choose(const struct citadel_caller *c, const char *asked,
	char ret_id[MT_SPIFFE_ID_MAX], struct mt_err *err)
{
	if (mt_str_empty(asked)) {
		if (c->nallowed != 1 || is_pattern(c->allowed[0]))
			return mt_fail(err, MT_INVALID, "csr",
				"the caller may have several identities: the CSR must name one "
				"(URI SAN)");
		memcpy(ret_id, c->allowed[0], MT_SPIFFE_ID_MAX);
		return 0;
	}
	for (size_t i = 0; i < c->nallowed; i++) {
		if (citadel_pattern_match(c->allowed[i], asked)) {
			snprintf(ret_id, MT_SPIFFE_ID_MAX, "%s", asked);
			return 0;
		}
	}
	return mt_fail(err, MT_DENIED, "csr", "asks for %s, but its caller (%s) may have %s%s",
		asked, c->method, c->nallowed ? c->allowed[0] : "nothing",
		c->nallowed > 1 ? ", ..." : "");
}

bool citadel_pattern_match(const char *pattern, const char *id)
{
	for (;;) {
		size_t np = strcspn(pattern, "/"), ni = strcspn(id, "/");

		if (np == 1 && *pattern == '*') {
			if (ni == 0)
				return false;
		} else if (np != ni || memcmp(pattern, id, np) != 0) {
			return false;
		}
		pattern += np;
		id += ni;
		if (!*pattern || !*id)
			return !*pattern && !*id;
		pattern++;
		id++;
	}
}

int citadel_pattern_check(const char *pattern, const char *trust_domain, struct mt_err *err)
{
	char probe[MT_SPIFFE_ID_MAX], *to = probe;
	struct mt_spiffe id;
	int r;

	if (strlen(pattern) >= sizeof(probe))
		return mt_fail(err, MT_INVALID, NULL, "the identity is too long");
	/* With every whole-segment "*" made a letter, a pattern must be an identity. */
	for (const char *p = pattern; *p; p++)
		*to++ = *p == '*' && p > pattern && p[-1] == '/' && (!p[1] || p[1] == '/') ? 'x'
											   : *p;
	*to = '\0';
	if ((r = mt_spiffe_parse(probe, &id, err)) < 0)
		return r;
	if (strcmp(id.td, trust_domain) != 0)
		return mt_fail(err, MT_INVALID, NULL, "%s is not of trust domain %s", pattern,
			trust_domain);
	return 0;
}
