#include "common/base/map.h"

#include <stdio.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "tests/unit/unit.h"

START_TEST(put_get_del)
{
	struct mt_map *m = mt_map_new();
	int a, b;

	ck_assert_ptr_null(mt_map_get(m, "x"));
	ck_assert_ptr_null(mt_map_get(NULL, "x"));
	ck_assert_ptr_null(mt_map_put(m, "x", &a));
	ck_assert_ptr_eq(mt_map_put(m, "x", &b), &a);
	ck_assert_ptr_eq(mt_map_get(m, "x"), &b);
	ck_assert_uint_eq(mt_map_size(m), 1);
	ck_assert_ptr_null(mt_map_put(m, "", &a)); /* an empty key is a key */
	ck_assert_ptr_eq(mt_map_get(m, ""), &a);
	ck_assert_ptr_eq(mt_map_del(m, "x"), &b);
	ck_assert_ptr_null(mt_map_del(m, "x"));
	ck_assert_uint_eq(mt_map_size(m), 1);
	ck_assert_uint_eq(mt_map_size(NULL), 0);
	mt_map_free(m, NULL);
	mt_map_free(NULL, NULL);
}
END_TEST

START_TEST(many_owned_values_in_order)
{
	struct mt_map *m = mt_map_new();
	struct mt_map_it it = { 0 };
	const char **keys;
	char key[32];
	size_t n;

	for (int i = 0; i < 5000; i++) {
		snprintf(key, sizeof(key), "k%04d", (i * 7919) % 5000);
		mt_map_put(m, key, mt_strdup(key));
	}
	for (int i = 0; mt_map_next(m, &it); i++) {
		snprintf(key, sizeof(key), "k%04d", (i * 7919) % 5000);
		ck_assert_str_eq(it.key, key);
		ck_assert_str_eq(it.value, key);
	}
	keys = mt_map_sorted_keys(m, &n);
	ck_assert_uint_eq(n, 5000);
	for (size_t i = 1; i < n; i++)
		ck_assert_int_lt(strcmp(keys[i - 1], keys[i]), 0);
	mt_free(keys);
	mt_map_free(m, mt_free);
}
END_TEST

START_TEST(the_current_entry_may_go)
{
	struct mt_map *m = mt_map_new();
	char keys[] = "abcdef", key[2] = "";
	struct mt_map_it it = { 0 };
	int seen = 0;

	for (char *p = keys; *p; p++) {
		key[0] = *p;
		mt_map_put(m, key, p);
	}
	while (mt_map_next(m, &it)) {
		seen++;
		ck_assert_ptr_nonnull(mt_map_del(m, it.key));
	}
	ck_assert_int_eq(seen, 6);
	ck_assert_uint_eq(mt_map_size(m), 0);
	ck_assert(!mt_map_next(m, &it));
	it = (struct mt_map_it){ 0 };
	ck_assert(!mt_map_next(NULL, &it));
	mt_map_free(m, NULL);
}
END_TEST

START_TEST(hashes)
{
	char hex[17];

	ck_assert_uint_eq(mt_hash("abc", 3), mt_hash_str("abc"));
	ck_assert_uint_eq(mt_hash("", 0), 0x2d06800538d394c2ULL); /* XXH3's own test vector */
	ck_assert(mt_hash_mix(1, 2) != mt_hash_mix(2, 1));
	ck_assert(mt_hash_mix(0, 0) != 0);
	ck_assert(mt_hash_mix(5, 5) != mt_hash_mix(6, 6));
	mt_hash_hex(0x0123456789abcdefULL, hex);
	ck_assert_str_eq(hex, "0123456789abcdef");
	mt_hash_hex(1, hex);
	ck_assert_str_eq(hex, "0000000000000001");
}
END_TEST

MT_UNIT(map, put_get_del, many_owned_values_in_order, the_current_entry_may_go, hashes)
