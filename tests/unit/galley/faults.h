/* What validation says of an object, as text. */
#pragma once

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/schema/decode.h"
#include "galley/validate/validate.h"

/* "path: message" of each diagnostic, a line each; warnings begin with '~'. */
static inline void faults(const char *kind, const char *spec, struct mt_buf *out)
{
	struct mt_buf text = { 0 };
	struct mt_objects objs = { 0 };
	struct mt_diags diags = { 0 };
	const char *api = strcmp(kind, "MeshConfig") == 0 ? "mesh.istio.io/v1alpha1"
		: strcmp(kind, "Telemetry") == 0          ? "telemetry.istio.io/v1"
		: strcmp(kind, "ProxyConfig") == 0        ? "networking.istio.io/v1beta1"
		: kind[0] >= 'a'                          ? "config.istio.io/v1alpha2"
							  : "networking.istio.io/v1alpha3";

	mt_buf_printf(&text, "apiVersion: %s\nkind: %s\nmetadata: {name: %s}\nspec: %s\n", api,
		kind, strcmp(kind, "MeshConfig") == 0 ? "default" : "x", spec);
	int r = mt_decode_text("f.yaml", text.p, text.n, NULL, &objs, &diags);
	if (r == 0) {
		ck_assert_uint_eq(objs.n, 1);
		r = galley_validate(objs.v[0], &diags);
		ck_assert_int_eq(r<0, diags.errors> 0);
	}
	for (size_t i = 0; i < diags.n; i++) {
		ck_assert_str_eq(diags.v[i].file, "f.yaml");
		ck_assert_int_ge(diags.v[i].line, 1);
		mt_buf_printf(out, "%s%s: %s\n", diags.v[i].severity == MT_SEV_ERROR ? "" : "~",
			diags.v[i].path, diags.v[i].msg);
	}
	mt_objects_clear(&objs);
	mt_diags_clear(&diags);
	mt_buf_clear(&text);
}
