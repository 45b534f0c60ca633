/* Galley's folder, store and distribution with the feed at the other end of a real connection. */
#include "common/feed/feed.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/feed/record.h"
#include "tests/unit/galley/galley_bed.h"
#include "tests/unit/unit.h"

static bool batches(struct bed *b, long n)
{
	return b->batches >= (unsigned)n;
}

static bool connected(struct bed *b, long want)
{
	return b->connected == want;
}

static bool generation(struct bed *b, long n)
{
	struct mt_object *o = mt_feed_find(b->feed, MT_KIND_VIRTUAL_SERVICE, "default/vs-7");

	return o && o->generation == (uint64_t)n;
}

static bool reported(struct bed *b, long n)
{
	return b->reports >= (unsigned)n;
}

static void many(struct bed *b, int n, const char *host)
{
	char name[32];

	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "vs-%d", i);
		bed_vs(b, name, host);
	}
}

START_TEST(hundreds_of_files)
{
	struct bed b;
	char path[200];

	bed_open(&b);
	many(&b, 300, "a.example.com");
	bed_galley_start(&b);
	bed_feed_start(&b, false);
	ck_assert(bed_until(&b, bed_fed, 300));
	ck_assert_uint_eq(b.batches, 1);
	struct mt_object *mine = mt_feed_find(b.feed, MT_KIND_VIRTUAL_SERVICE, "default/vs-7");
	struct mt_object *its =
		galley_store_find(b.store, &mt_kinds[MT_KIND_VIRTUAL_SERVICE], "default/vs-7");
	ck_assert_uint_eq(mine->hash, its->hash);
	ck_assert_uint_eq(mine->generation, 1);
	snprintf(path, sizeof(path), "%s/vs-7.yaml", b.dir);
	ck_assert_str_eq(mine->pos.file, path);
	ck_assert_int_eq(mine->pos.line, 1);

	/* One file: one change. */
	b.batches = 0;
	b.fed = 0;
	bed_vs(&b, "vs-7", "b.example.com");
	ck_assert(bed_until(&b, batches, 1));
	ck_assert(generation(&b, 2));
	ck_assert_uint_eq(b.fed, 1);
	ck_assert_str_eq(b.last, "VirtualService default/vs-7");

	/* A burst: few commits. */
	b.commits = 0;
	many(&b, 300, "c.example.com");
	ck_assert(bed_until(&b, generation, 3));
	ck_assert_uint_le(b.commits, 30);

	/* The same text again, or only its layout: nothing. */
	b.commits = 0;
	unsigned settled = b.settled;
	bed_vs(&b, "vs-7", "c.example.com # the same");
	bed_vs(&b, "vs-8", "c.example.com");
	bed_remove(&b, "vs-9.yaml");
	ck_assert(bed_until(&b, bed_fed, 299));
	ck_assert_uint_gt(b.settled, settled);
	ck_assert(generation(&b, 3));
	bed_close(&b);
}
END_TEST

START_TEST(invalid_edits)
{
	struct bed b;

	bed_open(&b);
	many(&b, 10, "a.example.com");
	bed_galley_start(&b);
	bed_feed_start(&b, false);
	ck_assert(bed_until(&b, bed_fed, 10));
	bed_write(&b, "vs-7.yaml",
		"apiVersion: networking.istio.io/v1\nkind: VirtualService\n"
		"metadata: {name: vs-7}\nspec:\n  hosts: [a.example.com]\n  htp: []\n");
	ck_assert(bed_until(&b, reported, 1));
	ck_assert_ptr_nonnull(strstr(b.report,
		"vs-7.yaml:6:3: error: VirtualService default/vs-7: spec: "
		"unknown field \"htp\" (did you mean \"http\"?)"));
	ck_assert_uint_eq(galley_store_count(b.store), 10);
	/* Not YAML at all. */
	bed_write(&b, "vs-7.yaml", "{{{");
	ck_assert(bed_until(&b, reported, 2));
	ck_assert_uint_eq(galley_store_count(b.store), 10);
	/* Of two objects in a file the good one comes in, the bad one keeps what was. */
	bed_write(&b, "vs-7.yaml",
		"apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: vs-7}\n"
		"spec: 5\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n"
		"metadata: {name: new}\nspec: {hosts: [n], http: [{route: [{destination: {host: n}}]}]}\n");
	ck_assert(bed_until(&b, bed_fed, 11));
	/* Gone with the file, the kept one too. */
	bed_remove(&b, "vs-7.yaml");
	ck_assert(bed_until(&b, bed_fed, 9));
	ck_assert_str_eq(b.report, "");
	bed_close(&b);
}
END_TEST

START_TEST(galley_comes_back)
{
	struct bed b;

	bed_open(&b);
	many(&b, 50, "a.example.com");
	bed_galley_start(&b);
	bed_feed_start(&b, true);
	ck_assert(bed_until(&b, bed_fed, 50));
	bed_galley_stop(&b);
	ck_assert(bed_until(&b, connected, 0));
	ck_assert_uint_eq(mt_feed_count(b.feed), 50);
	bed_remove(&b, "vs-1.yaml");
	bed_vs(&b, "vs-2", "z.example.com");
	b.batches = 0;
	b.fed = b.removed = 0;
	bed_galley_start(&b);
	ck_assert(bed_until(&b, bed_fed, 49));
	ck_assert(bed_until(&b, batches, 1));
	/* Only what changed was sent, because the versions are the contents'. */
	ck_assert_uint_eq(b.fed, 1);
	ck_assert_uint_eq(b.removed, 1);

	/* The client starts while Galley is away: from its own state. */
	bed_feed_stop(&b);
	bed_galley_stop(&b);
	bed_feed_start(&b, true);
	ck_assert(b.synced);
	ck_assert_uint_eq(mt_feed_count(b.feed), 49);
	ck_assert_uint_eq(b.fed, 49);
	struct mt_object *o = mt_feed_find(b.feed, MT_KIND_VIRTUAL_SERVICE, "default/vs-2");
	ck_assert_ptr_nonnull(o->pos.file);
	b.fed = 0;
	bed_galley_start(&b);
	ck_assert(bed_until(&b, connected, 1));
	ck_assert(bed_until(&b, bed_fed, 49));
	ck_assert_uint_eq(b.fed, 0);
	bed_close(&b);
}
END_TEST

START_TEST(nothing_is_an_answer)
{
	struct bed b;

	bed_open(&b);
	bed_galley_start(&b);
	bed_feed_start(&b, true);
	ck_assert(bed_until(&b, bed_fed, 0));
	ck_assert(b.synced);
	bed_close(&b);
}
END_TEST

START_TEST(records)
{
	struct mt_err err = { 0 };
	static const char junk[] = "x\0y\0\xff\xff\xff\x7fz";

	ck_assert_int_eq(mt_feed_record_read(NULL, 0, NULL, NULL, &err), 0);
	ck_assert_int_eq(mt_feed_record_read(junk, sizeof(junk), NULL, NULL, &err), MT_INVALID);
	ck_assert_int_eq(mt_feed_record_read(junk, 3, NULL, NULL, &err), MT_INVALID);
}
END_TEST

MT_UNIT(feed, hundreds_of_files, invalid_edits, galley_comes_back, nothing_is_an_answer, records)
