#include "agent/secret_name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/file.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "tests/unit/unit.h"

static char dir[64];

static void put(const char *folder, const char *file)
{
	MT_AUTO(mt_strfreep) char *at = mt_asprintf("%s/%s", dir, folder);
	MT_AUTO(mt_strfreep) char *path = mt_asprintf("%s/%s", at, file);

	ck_assert_int_eq(mt_dir_make(at, 0700, NULL), 0);
	ck_assert_int_eq(mt_file_replace(path, "x", 1, 0600, NULL), 0);
}

static void temp(void)
{
	strcpy(dir, "/tmp/mt-names-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void temp_gone(void)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	ck_assert_int_eq(system(cmd), 0);
}

/* What the name is made of, without the folder: "a/tls.crt a/tls.key"; or the error's code. */
static const char *files(const char *name)
{
	static char text[256];
	char *dirs[] = { dir };
	struct agent_secret_files f;
	int r = agent_secret_files_of(name, dirs, 1, &f, NULL);
	size_t n = strlen(dir) + 1;

	if (r < 0)
		return r == MT_NOT_FOUND ? "not found" : "invalid";
	if (f.by_name)
		snprintf(text, sizeof(text), "%s%s %s", f.roots ? "roots " : "", f.path[0] + n,
			f.path[1] ? f.path[1] + n : "-");
	else
		snprintf(text, sizeof(text), "%s%s %s", f.roots ? "roots " : "", f.path[0],
			f.path[1] ? f.path[1] : "-");
	agent_secret_files_clear(&f);
	return text;
}

START_TEST(by_path)
{
	ck_assert_str_eq(files("file-cert:/c~/k"), "/c /k");
	ck_assert_str_eq(files("file-root:/r"), "roots /r -");
	ck_assert_str_eq(files("file-root:/r~/l"), "roots /r /l");
	ck_assert_str_eq(files("file-cert:/c"), "invalid");
	ck_assert_str_eq(files("file-cert:c~/k"), "invalid");
	ck_assert_str_eq(files("file-root:/a~/b~/c"), "invalid");
}
END_TEST

START_TEST(by_name)
{
	temp();
	ck_assert_str_eq(files("kubernetes://shop"), "not found");
	put("shop", "tls.crt");
	ck_assert_str_eq(files("kubernetes://shop"), "not found");
	put("shop", "tls.key");
	ck_assert_str_eq(files("kubernetes://shop"), "shop/tls.crt shop/tls.key");
	ck_assert_str_eq(files("kubernetes://shop-cacert"), "not found");
	put("shop", "ca.crt");
	ck_assert_str_eq(files("kubernetes://shop-cacert"), "roots shop/ca.crt -");
	put("shop", "ca.crl");
	ck_assert_str_eq(files("kubernetes://shop-cacert"), "roots shop/ca.crt shop/ca.crl");
	/* A folder of the roots' own goes first. */
	put("shop-cacert", "cacert");
	ck_assert_str_eq(files("kubernetes://shop-cacert"), "roots shop-cacert/cacert -");
	put("old", "cert");
	put("old", "key");
	ck_assert_str_eq(files("kubernetes://old"), "old/cert old/key");
	temp_gone();
}
END_TEST

START_TEST(a_name_leads_nowhere_else)
{
	temp();
	ck_assert_str_eq(files("kubernetes://../etc"), "invalid");
	ck_assert_str_eq(files("kubernetes://a/b"), "invalid");
	ck_assert_str_eq(files("kubernetes://"), "invalid");
	ck_assert_str_eq(files("kubernetes://.hidden"), "invalid");
	ck_assert(!agent_secret_name_is("default"));
	ck_assert(!agent_secret_name_is("ROOTCA"));
	temp_gone();
}
END_TEST

MT_UNIT(secret_name, by_path, by_name, a_name_leads_nowhere_else)
