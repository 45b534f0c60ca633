#include "citadel/rotate/roots.h"

#include "tests/unit/citadel/citadel_unit.h"

static struct citadel_roots *open_roots(struct unit_citadel *u)
{
	struct citadel_roots_opts o = unit_roots_opts(u);
	struct citadel_roots *r = NULL;
	struct mt_err err = { 0 };

	ck_assert_msg(citadel_roots_open(&o, &r, &err) == 0, "%s: %s", err.path, err.msg);
	return r;
}

static size_t bundle_size(struct citadel_roots *r)
{
	struct citadel_ca *ca = citadel_roots_get(r);
	size_t n = mt_bundle_len(ca->bundle);

	citadel_ca_unref(ca);
	return n;
}

static void active_serial(struct citadel_roots *r, char serial[64])
{
	struct citadel_ca *ca = citadel_roots_get(r);
	struct mt_cert_info info;

	mt_cert_info(ca->chain, 0, &info);
	memcpy(serial, info.serial, 64);
	citadel_ca_unref(ca);
}

START_TEST(made_once)
{
	char before[64], after[64], path[256];
	struct unit_citadel u;
	struct citadel_roots *r;
	struct stat st;
	json_t *j;

	unit_citadel_open(&u, "");
	active_serial(u.s.roots, before);
	r = open_roots(&u);
	active_serial(r, after);
	ck_assert_str_eq(before, after);
	j = citadel_roots_json(r);
	ck_assert_uint_eq(json_array_size(j), 1);
	snprintf(path, sizeof(path), "%s/%s.key", u.dir,
		json_string_value(json_object_get(json_array_get(j, 0), "name")));
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	json_decref(j);
	citadel_roots_close(r);
	/* A root whose key is gone is damage, not a fresh start. */
	unlink(path);
	struct citadel_roots_opts o = unit_roots_opts(&u);
	struct mt_err err = { 0 };
	struct citadel_roots *none = NULL;
	ck_assert_int_eq(citadel_roots_open(&o, &none, &err), MT_INVALID);
	ck_assert_ptr_nonnull(strstr(err.msg, "is gone"));
	unit_citadel_close(&u);
}
END_TEST

START_TEST(rotation)
{
	char name[CITADEL_SLOT_NAME_MAX], first[64], now[64];
	struct unit_citadel u;
	struct mt_err err = { 0 };
	struct citadel_roots *r;

	unit_citadel_open(&u, "");
	r = u.s.roots;
	active_serial(r, first);
	ck_assert_int_eq(citadel_roots_prepare(r, name, &err), 0);
	ck_assert_uint_eq(bundle_size(r), 1);
	ck_assert_int_eq(citadel_roots_activate(r, name, &err), MT_CONFLICT);
	ck_assert_int_eq(citadel_roots_publish(r, name, &err), 0);
	ck_assert_uint_eq(bundle_size(r), 2);
	active_serial(r, now);
	ck_assert_str_eq(first, now);
	ck_assert_int_eq(citadel_roots_publish(r, "nobody", &err), MT_NOT_FOUND);
	ck_assert_int_eq(citadel_roots_activate(r, name, &err), 0);
	active_serial(r, now);
	ck_assert_str_ne(first, now);
	ck_assert_uint_eq(bundle_size(r), 2);
	ck_assert_int_eq(citadel_roots_expire(r, &err), 0);
	/* All of it survives a restart. */
	citadel_roots_close(r);
	u.s.roots = r = open_roots(&u);
	ck_assert_uint_eq(bundle_size(r), 2);
	char again[64];
	active_serial(r, again);
	ck_assert_str_eq(now, again);
	/* The old root goes when the last leaf of it has ended. */
	mt_test_clock_advance(&u.clock, 3601 * MT_NS_PER_SEC);
	ck_assert_int_eq(citadel_roots_expire(r, &err), 1);
	ck_assert_uint_eq(bundle_size(r), 1);
	unit_citadel_close(&u);
}
END_TEST

START_TEST(too_many)
{
	char name[CITADEL_SLOT_NAME_MAX];
	struct unit_citadel u;
	struct mt_err err = { 0 };
	int r = 0, n = 0;

	unit_citadel_open(&u, "");
	while ((r = citadel_roots_prepare(u.s.roots, name, &err)) == 0)
		n++;
	ck_assert_int_eq(r, MT_LIMIT);
	ck_assert_int_eq(n, CITADEL_SLOTS_MAX - 1);
	unit_citadel_close(&u);
}
END_TEST

START_TEST(given)
{
	struct mt_key *key = NULL, *other = NULL;
	struct mt_chain *root = NULL;
	struct citadel_roots *r = NULL;
	struct citadel_roots_opts o;
	struct mt_buf pem = { 0 };
	struct mt_err err = { 0 };
	struct unit_citadel u;
	char cert_path[128], key_path[128], name[CITADEL_SLOT_NAME_MAX], *key_pem;

	unit_citadel_open(&u, "");
	snprintf(cert_path, sizeof(cert_path), "%s/ca.pem", u.dir);
	snprintf(key_path, sizeof(key_path), "%s/ca.key", u.dir);
	ck_assert_int_eq(mt_key_generate(MT_KEY_EC_P256, &key, &err), 0);
	ck_assert_int_eq(mt_key_generate(MT_KEY_EC_P256, &other, &err), 0);
	ck_assert_int_eq(mt_cert_root(key, "cluster.local", mt_wall(u.s.clock),
				 3600 * MT_NS_PER_SEC, &root, &err),
		0);
	mt_chain_pem(root, &pem);
	unit_write(cert_path, mt_buf_str(&pem), 0644);
	key_pem = mt_key_pem(other);
	unit_write(key_path, key_pem, 0600);
	mt_secret_free(key_pem);
	o = unit_roots_opts(&u);
	o.ca_cert = cert_path;
	ck_assert_int_eq(citadel_roots_open(&o, &r, &err), MT_INVALID);
	o.ca_key = key_path;
	ck_assert_int_eq(citadel_roots_open(&o, &r, &err), MT_INVALID);
	ck_assert_ptr_nonnull(strstr(err.msg, "does not belong"));
	key_pem = mt_key_pem(key);
	unit_write(key_path, key_pem, 0600);
	mt_secret_free(key_pem);
	ck_assert_msg(citadel_roots_open(&o, &r, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(citadel_roots_prepare(r, name, &err), MT_UNSUPPORTED);
	citadel_roots_close(r);
	mt_buf_clear(&pem);
	mt_chain_unref(root);
	mt_key_unref(key);
	mt_key_unref(other);
	unit_citadel_close(&u);
}
END_TEST

MT_UNIT(roots, made_once, rotation, too_many, given)
