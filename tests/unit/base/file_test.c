#include "common/base/file.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/unit.h"

static char dir[] = "/tmp/meltemi-file-XXXXXX";
static char path[256];

static const char *at(const char *name)
{
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

START_TEST(replaced_and_read)
{
	struct mt_err err = { 0 };
	struct mt_buf b = { 0 };
	struct stat st;

	ck_assert_int_eq(mt_file_replace(at("f"), "one", 3, 0600, &err), 0);
	ck_assert_int_eq(mt_file_replace(at("f"), "second", 6, 0640, &err), 0);
	mt_buf_adds(&b, "<");
	ck_assert_int_eq(mt_file_read(at("f"), 6, &b, &err), 0);
	ck_assert_str_eq(b.p, "<second");
	ck_assert(stat(at("f"), &st) == 0 && (st.st_mode & 0777) == 0640);
	mt_buf_clear(&b);
}
END_TEST

START_TEST(limits_and_errors)
{
	struct mt_err err = { 0 };
	struct mt_buf b = { 0 };

	ck_assert_int_eq(mt_file_read(at("absent"), 10, &b, &err), MT_NOT_FOUND);
	ck_assert_str_eq(err.path, at("absent"));
	ck_assert_int_eq(mt_file_replace(at("big"), "0123456789", 10, 0600, &err), 0);
	ck_assert_int_eq(mt_file_read(at("big"), 9, &b, &err), MT_LIMIT);
	ck_assert_uint_eq(b.n, 0); /* untouched on failure */
	ck_assert_int_eq(mt_file_read(dir, 9, &b, &err), MT_INVALID);
	ck_assert_int_eq(mt_file_read("/dev/zero", 100000, &b, &err), MT_LIMIT);
	ck_assert_int_eq(mkfifo(at("fifo"), 0600), 0);
	ck_assert_int_eq(mt_file_read(at("fifo"), 9, &b, &err), MT_INVALID);
	ck_assert_int_eq(mt_file_replace(at("no/such/f"), "x", 1, 0600, &err), MT_NOT_FOUND);
	ck_assert_int_eq(mkdir(at("sub"), 0700), 0);
	ck_assert_int_lt(mt_file_replace(at("sub"), "x", 1, 0600, &err), 0);
	mt_buf_clear(&b);
}
END_TEST

START_TEST(folders)
{
	struct mt_err err = { 0 };
	struct stat st;

	ck_assert_int_eq(mt_dir_make(at("a/b/c/"), 0700, &err), 0);
	ck_assert_int_eq(mt_dir_make(at("a/b/c"), 0700, &err), 0);
	ck_assert(stat(at("a/b/c"), &st) == 0 && S_ISDIR(st.st_mode));
	ck_assert_int_eq(mt_file_replace(at("plain"), "x", 1, 0600, &err), 0);
	ck_assert_int_eq(mt_dir_make(at("plain"), 0700, &err), MT_IO);
	ck_assert_int_lt(mt_dir_make(at("plain/below"), 0700, &err), 0);
	ck_assert_int_lt(mt_dir_make("", 0700, &err), 0);
}
END_TEST

static int count_hidden(const char *p, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type;
	ck_assert_msg(p[ftw->base] != '.', "%s was left behind", p);
	return 0;
}

START_TEST(nothing_is_left_aside)
{
	ck_assert_int_eq(nftw(dir, count_hidden, 8, FTW_PHYS), 0);
}
END_TEST

static int unlink_one(const char *p, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(p);
}

int main(void)
{
	const TTest *const tests[] = { replaced_and_read, limits_and_errors, folders,
		nothing_is_left_aside };
	int r;

	if (!mkdtemp(dir))
		return 1;
	r = mt_unit_run("file", tests, MT_ARRAY_SIZE(tests));
	nftw(dir, unlink_one, 8, FTW_DEPTH | FTW_PHYS);
	return r;
}
