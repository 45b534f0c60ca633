#include "common/base/err.h"

#include <errno.h>
#include <string.h>

#include "common/base/diag.h"
#include "common/base/mem.h"
#include "tests/unit/unit.h"

START_TEST(fills_and_returns)
{
	struct mt_err err = { 0 };

	ck_assert_int_eq(mt_fail(&err, MT_LIMIT, "spec.a", "%d is too many", 7), MT_LIMIT);
	ck_assert_int_eq(err.code, MT_LIMIT);
	ck_assert_str_eq(err.path, "spec.a");
	ck_assert_str_eq(err.msg, "7 is too many");
	ck_assert_int_eq(mt_fail(NULL, MT_DENIED, NULL, "x"), MT_DENIED);
	/* An error may be rebuilt out of itself. */
	mt_fail(&err, MT_INVALID, err.path, "%s, indeed", err.msg);
	ck_assert_str_eq(err.msg, "7 is too many, indeed");
	ck_assert_str_eq(err.path, "spec.a");
	mt_fail(&err, MT_INVALID, NULL, "x");
	ck_assert_str_eq(err.path, "");
}
END_TEST

START_TEST(errno_text)
{
	struct mt_err err = { 0 };

	errno = ENOENT;
	ck_assert_int_eq(mt_fail_errno(&err, "/f", "cannot open %s", "f"), MT_NOT_FOUND);
	ck_assert_str_eq(err.msg, "cannot open f: No such file or directory");
	errno = EACCES;
	ck_assert_int_eq(mt_fail_errno(&err, "/f", "cannot open"), MT_IO);
	ck_assert_str_eq(err.path, "/f");
}
END_TEST

START_TEST(prefix_and_truncation)
{
	struct mt_err err = { 0 };
	char big[2000];

	mt_fail(&err, MT_IO, "p", "inner");
	ck_assert_int_eq(mt_err_prefix(&err, "outer %d", 1), MT_IO);
	ck_assert_str_eq(err.msg, "outer 1: inner");
	memset(big, 'z', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	mt_err_prefix(&err, "%s", big);
	ck_assert_uint_eq(strlen(err.msg), sizeof(err.msg) - 1);
	mt_fail(&err, MT_IO, big, "%s", big);
	ck_assert_uint_eq(strlen(err.msg), sizeof(err.msg) - 1);
	ck_assert_uint_eq(strlen(err.path), sizeof(err.path) - 1);
	mt_err_prefix(NULL, "x");
}
END_TEST

START_TEST(code_table)
{
	ck_assert_str_eq(mt_code_name(MT_NOT_FOUND), "not_found");
	ck_assert_int_eq(mt_code_http(MT_DENIED), 403);
	ck_assert_int_eq(mt_code_http(0), 200);
	ck_assert_int_eq(mt_code_grpc(MT_UNAVAILABLE), 14);
	ck_assert_str_eq(mt_code_name(-99), "internal");
	for (int code = 0; code >= MT_CONFLICT; code--) {
		if (code == MT_IO) /* shares INTERNAL's status */
			continue;
		ck_assert_int_eq(mt_code_from_grpc(mt_code_grpc(code)), code);
	}
	ck_assert_int_eq(mt_code_from_grpc(9), MT_CONFLICT);
	ck_assert_int_eq(mt_code_from_grpc(1234), MT_INTERNAL);
}
END_TEST

START_TEST(diagnostics)
{
	struct mt_diags d = { 0 };
	struct mt_pos pos = { "a.yaml", 12, 3 };
	char *s;

	ck_assert_int_eq(mt_diag_add(&d, MT_SEV_ERROR, &pos, "VirtualService default/r",
				 "spec.http[2]", "no %s", "route"),
		MT_INVALID);
	mt_diag_add(&d, MT_SEV_WARNING, NULL, NULL, NULL, "careful");
	ck_assert_uint_eq(d.n, 2);
	ck_assert_uint_eq(d.errors, 1);
	s = mt_diag_format(&d.v[0]);
	ck_assert_str_eq(s, "a.yaml:12:3: error: VirtualService default/r: spec.http[2]: no route");
	mt_free(s);
	s = mt_diag_format(&d.v[1]);
	ck_assert_str_eq(s, "warning: careful");
	mt_free(s);
	for (int i = 0; i < MT_DIAGS_MAX; i++)
		mt_diag_add(&d, MT_SEV_ERROR, NULL, NULL, "", "more");
	ck_assert_uint_eq(d.n, MT_DIAGS_MAX);
	ck_assert_uint_eq(d.dropped, 2);
	ck_assert_uint_eq(d.errors, MT_DIAGS_MAX + 1);
	mt_diags_clear(&d);
	ck_assert_uint_eq(d.n, 0);
}
END_TEST

MT_UNIT(err, fills_and_returns, errno_text, prefix_and_truncation, code_table, diagnostics)
