/* A CA and certificates for tests, on the real clock unless a time is given. */
#pragma once

#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/pki/bundle.h"
#include "common/pki/identity.h"
#include "tests/unit/unit.h"

#define HOUR (3600 * MT_NS_PER_SEC)

struct ca {
	struct mt_key *key;
	struct mt_chain *chain;
	char *pem;
};

static MT_UNUSED int64_t now_ns(void)
{
	return mt_wall(&mt_clock_system);
}

static MT_UNUSED char *chain_text(const struct mt_chain *c)
{
	struct mt_buf b = { 0 };

	mt_chain_pem(c, &b);
	return mt_buf_take(&b, NULL);
}

static MT_UNUSED void ca_make(struct ca *ca, const char *td)
{
	struct mt_err err = { 0 };

	ck_assert_int_eq(mt_key_generate(MT_KEY_EC_P256, &ca->key, &err), 0);
	int r = mt_cert_root(ca->key, td, now_ns() - 24 * HOUR, 48 * HOUR, &ca->chain, &err);
	ck_assert_msg(r == 0, "%s", err.msg);
	ca->pem = chain_text(ca->chain);
}

static MT_UNUSED void ca_clear(struct ca *ca)
{
	mt_key_unref(ca->key);
	mt_chain_unref(ca->chain);
	mt_free(ca->pem);
}

/* A leaf that was issued at `at` for ttl. */
static MT_UNUSED struct mt_chain *leaf_at(
	const struct ca *ca, const struct mt_key *key, const char *id, int64_t at, int64_t ttl)
{
	struct mt_chain *c = NULL;
	struct mt_err err = { 0 };
	const struct mt_issuer by = { ca->chain, ca->key };
	const struct mt_leaf_request q = {
		.key = key, .spiffe_id = id, .now_ns = at, .ttl_ns = ttl
	};

	int r = mt_cert_issue(&by, &q, &c, &err);
	ck_assert_msg(r == 0, "%s", err.msg);
	return c;
}

static MT_UNUSED struct mt_identity *identity_at(
	const struct ca *ca, const char *id, const char *roots, int64_t at, int64_t ttl)
{
	struct mt_key *key = NULL;
	struct mt_identity *i = NULL;
	struct mt_err err = { 0 };

	ck_assert_int_eq(mt_key_generate(MT_KEY_EC_P256, &key, &err), 0);
	struct mt_chain *c = leaf_at(ca, key, id, at, ttl);
	char *chain = chain_text(c), *pem = mt_key_pem(key);
	int r = mt_identity_new(pem, chain, roots, &i, &err);
	ck_assert_msg(r == 0, "%s", err.msg);
	mt_secret_free(pem);
	mt_free(chain);
	mt_chain_unref(c);
	mt_key_unref(key);
	return i;
}

/* Puts a fresh identity into a slot; ca NULL: roots only. */
static MT_UNUSED void slot_fill(
	struct mt_identity_slot *slot, const struct ca *ca, const char *id, const char *roots)
{
	struct mt_identity *i = identity_at(ca, id, roots, now_ns() - MT_NS_PER_SEC, HOUR);

	mt_identity_slot_set(slot, i);
	mt_identity_unref(i);
}
