#include "common/run/state.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "tests/unit/unit.h"

static char dir[] = "/tmp/meltemi-state-XXXXXX";
static char path[256];
static struct mt_state *state;
static struct mt_err err;

static const char *at(const char *name)
{
	snprintf(path, sizeof(path), "%s/s/%s", dir, name);
	return path;
}

static void open_state(void)
{
	err = (struct mt_err){ 0 };
	ck_assert_msg(mt_state_open(at(""), &state, &err) == 0, "%s", err.msg);
}

static int load(const char *record, struct mt_buf *out)
{
	mt_buf_clear(out);
	err = (struct mt_err){ 0 };
	return mt_state_load(state, record, out, &err);
}

START_TEST(saved_and_loaded)
{
	struct mt_buf b = { 0 };
	struct stat st;

	open_state();
	ck_assert_int_eq(load("snapshot", &b), MT_NOT_FOUND);
	ck_assert_int_eq(mt_state_save(state, "snapshot", "a\0b", 3, &err), 0);
	ck_assert_int_eq(load("snapshot", &b), 0);
	ck_assert_uint_eq(b.n, 3);
	ck_assert_mem_eq(b.p, "a\0b", 3);
	ck_assert_int_eq(mt_state_save(state, "snapshot", "", 0, &err), 0);
	mt_state_close(state);
	open_state();
	ck_assert_int_eq(load("snapshot", &b), 0);
	ck_assert_uint_eq(b.n, 0);
	ck_assert(stat(at("snapshot"), &st) == 0 && (st.st_mode & 0777) == 0600);
	ck_assert(stat(at(""), &st) == 0 && (st.st_mode & 0777) == 0700);
	ck_assert_int_eq(mt_state_remove(state, "snapshot", &err), 0);
	ck_assert_int_eq(mt_state_remove(state, "snapshot", &err), MT_NOT_FOUND);
	ck_assert_int_eq(load("snapshot", &b), MT_NOT_FOUND);
	mt_buf_clear(&b);
	mt_state_close(state);
}
END_TEST

START_TEST(one_owner)
{
	struct mt_state *second = NULL;
	char pid[64];

	open_state();
	ck_assert_int_eq(mt_state_open(at(""), &second, &err), MT_CONFLICT);
	snprintf(pid, sizeof(pid), "in use by process %ld", (long)getpid());
	ck_assert_ptr_nonnull(strstr(err.msg, pid));
	ck_assert_ptr_null(second);
	mt_state_close(state);
	open_state(); /* free again */
	mt_state_close(state);
	mt_state_close(NULL);
}
END_TEST

/* Each byte of the header and the payload counts. */
START_TEST(every_flipped_byte_is_noticed)
{
	struct mt_buf good = { 0 }, b = { 0 };

	open_state();
	ck_assert_int_eq(mt_state_save(state, "r", "payload", 7, &err), 0);
	ck_assert_int_eq(mt_file_read(at("r"), 1000, &good, &err), 0);
	for (size_t i = 0; i < good.n; i++) {
		if (i >= 12 && i < 16)
			continue; /* unused bytes of the header */
		good.p[i] ^= 0x40;
		ck_assert_int_eq(mt_file_replace(at("r"), good.p, good.n, 0600, &err), 0);
		good.p[i] ^= 0x40;
		ck_assert_msg(load("r", &b) == MT_INVALID, "byte %zu", i);
		ck_assert_ptr_nonnull(strstr(err.msg, "set aside as r.bad"));
		ck_assert_int_eq(access(at("r"), F_OK), -1);
		ck_assert_int_eq(access(at("r.bad"), F_OK), 0);
		ck_assert_uint_eq(b.n, 0);
	}
	for (size_t n = 0; n < good.n; n++) {
		ck_assert_int_eq(mt_file_replace(at("r"), good.p, n, 0600, &err), 0);
		ck_assert_msg(load("r", &b) == MT_INVALID, "cut at %zu", n);
	}
	mt_buf_addc(&good, 'x');
	ck_assert_int_eq(mt_file_replace(at("r"), good.p, good.n, 0600, &err), 0);
	ck_assert_int_eq(load("r", &b), MT_INVALID);
	ck_assert_int_eq(load("r", &b), MT_NOT_FOUND); /* it goes on as if there were none */
	mt_buf_clear(&good);
	mt_buf_clear(&b);
	mt_state_close(state);
}
END_TEST

START_TEST(names_stay_in_the_folder)
{
	static const char *const bad[] = { "", "..", "../x", "a/b", ".hidden", "lock", "x.bad",
		"a b", "a\nb" };
	struct mt_buf b = { 0 };
	char longest[300];

	open_state();
	for (size_t i = 0; i < MT_ARRAY_SIZE(bad); i++) {
		ck_assert_int_eq(mt_state_save(state, bad[i], "x", 1, &err), MT_INVALID);
		ck_assert_int_eq(load(bad[i], &b), MT_INVALID);
		ck_assert_int_eq(mt_state_remove(state, bad[i], &err), MT_INVALID);
	}
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	ck_assert_int_eq(mt_state_save(state, longest, "x", 1, &err), MT_INVALID);
	mt_buf_clear(&b);
	mt_state_close(state);
}
END_TEST

START_TEST(an_impossible_folder)
{
	struct mt_state *s = NULL;

	ck_assert_int_lt(mt_state_open("/proc/nothing/here", &s, &err), 0);
	ck_assert_str_ne(err.path, "");
	ck_assert_ptr_null(s);
}
END_TEST

static int unlink_one(const char *p, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(p);
}

int main(void)
{
	const TTest *const tests[] = { saved_and_loaded, one_owner, every_flipped_byte_is_noticed,
		names_stay_in_the_folder, an_impossible_folder };
	int r;

	if (!mkdtemp(dir))
		return 1;
	r = mt_unit_run("state", tests, MT_ARRAY_SIZE(tests));
	nftw(dir, unlink_one, 8, FTW_DEPTH | FTW_PHYS);
	return r;
}
