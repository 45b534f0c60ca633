#include "common/pki/identity.h"

#include <pthread.h>

#include "tests/unit/pki/pki_unit.h"

#define ID "spiffe://mesh.test/ns/a/sa/b"

START_TEST(whole)
{
	struct ca ca;

	ca_make(&ca, "mesh.test");
	struct mt_identity *i = identity_at(&ca, ID, ca.pem, now_ns(), HOUR);
	ck_assert_str_eq(i->spiffe_id, ID);
	ck_assert_int_gt(i->not_after_ns, i->not_before_ns);
	ck_assert_uint_eq(strlen(i->serial), 32);
	mt_identity_unref(i);
	ca_clear(&ca);
}
END_TEST

START_TEST(refusals)
{
	struct ca ca;
	struct mt_err err = { 0 };
	struct mt_identity *none = NULL, *roots = NULL;

	ca_make(&ca, "mesh.test");
	struct mt_identity *i = identity_at(&ca, ID, ca.pem, now_ns(), HOUR);
	char *other = mt_key_pem(ca.key);
	ck_assert_int_eq(mt_identity_new(other, i->chain_pem, ca.pem, &none, &err), MT_INVALID);
	ck_assert_msg(strstr(err.msg, "does not belong"), "%s", err.msg);
	ck_assert_int_eq(mt_identity_new(i->key_pem, NULL, ca.pem, &none, &err), MT_INVALID);
	ck_assert_int_eq(mt_identity_new(NULL, i->chain_pem, ca.pem, &none, &err), MT_INVALID);
	ck_assert_int_eq(mt_identity_new(i->key_pem, i->chain_pem, NULL, &none, &err), MT_INVALID);
	ck_assert_int_eq(mt_identity_new(i->key_pem, i->chain_pem, "x", &none, &err), MT_INVALID);
	ck_assert_int_eq(mt_identity_new(i->key_pem, "x", ca.pem, &none, &err), MT_INVALID);
	ck_assert_int_eq(
		mt_identity_new(other, ca.pem, ca.pem, &none, &err), MT_INVALID); /* a CA */
	ck_assert_ptr_null(none);
	ck_assert_int_eq(mt_identity_new(NULL, NULL, ca.pem, &roots, &err), 0);
	ck_assert_str_eq(roots->spiffe_id, "");
	mt_secret_free(other);
	mt_identity_unref(roots);
	mt_identity_unref(i);
	ca_clear(&ca);
}
END_TEST

static atomic_bool stop;

static void *reader(void *arg)
{
	while (!atomic_load(&stop)) {
		struct mt_identity *i = mt_identity_slot_get(arg);
		if (i && i->spiffe_id[0] != 's')
			abort();
		mt_identity_unref(i);
	}
	return NULL;
}

START_TEST(slot)
{
	struct ca ca;
	struct mt_identity_slot *s = mt_identity_slot_new();
	pthread_t t[2];

	ca_make(&ca, "mesh.test");
	ck_assert_ptr_null(mt_identity_slot_get(s));
	uint64_t g = mt_identity_slot_generation(s);
	struct mt_identity *a = identity_at(&ca, ID, ca.pem, now_ns(), HOUR);
	struct mt_identity *b = identity_at(&ca, ID, ca.pem, now_ns(), HOUR);
	for (int i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, reader, s);
	for (int i = 0; i < 500; i++)
		mt_identity_slot_set(s, i % 2 ? a : b);
	atomic_store(&stop, true);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	ck_assert_uint_eq(mt_identity_slot_generation(s), g + 500);
	mt_identity_slot_set(s, NULL);
	ck_assert_ptr_null(mt_identity_slot_get(s));
	mt_identity_unref(a);
	mt_identity_unref(b);
	mt_identity_slot_free(s);
	ca_clear(&ca);
}
END_TEST

MT_UNIT(identity, whole, refusals, slot)
