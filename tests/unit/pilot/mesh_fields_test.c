/* mesh_fields.def has a row for every field of the mesh configuration, and no other. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/macros.h"
#include "istio/mesh/v1alpha1/config.pb-c.h"

static const char *const mesh[] = {
#define MESH(name) #name,
#define MESH_NOTE(name, why) #name,
#define PROXY(name)
#define AGENT(name)
#define PROXY_NOTE(name, why)
#include "pilot/model/mesh_fields.def"
#undef MESH
#undef MESH_NOTE
#undef PROXY
#undef AGENT
#undef PROXY_NOTE
};
static const char *const proxy[] = {
#define MESH(name)
#define MESH_NOTE(name, why)
#define PROXY(name) #name,
#define AGENT(name) #name,
#define PROXY_NOTE(name, why) #name,
#include "pilot/model/mesh_fields.def"
#undef MESH
#undef MESH_NOTE
#undef PROXY
#undef AGENT
#undef PROXY_NOTE
};

static void covers(const ProtobufCMessageDescriptor *d, const char *const *v, size_t n)
{
	for (unsigned i = 0; i < d->n_fields; i++) {
		size_t rows = 0;
		for (size_t k = 0; k < n; k++)
			rows += strcmp(v[k], d->fields[i].name) == 0;
		ck_assert_msg(
			rows == 1, "%s.%s has %zu rows", d->short_name, d->fields[i].name, rows);
	}
	ck_assert_uint_eq(d->n_fields, n);
}

START_TEST(test_every_field)
{
	covers(&mesh__mesh_config__descriptor, mesh, MT_ARRAY_SIZE(mesh));
	covers(&mesh__proxy_config__descriptor, proxy, MT_ARRAY_SIZE(proxy));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("mesh_fields");
	TCase *t = tcase_create("all");
	tcase_add_test(t, test_every_field);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
