/* What is in force, from texts alone. */
#include "galley/store/store.h"

#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "galley/analyze/analyze.h"
#include "galley/validate/validate.h"
#include "tests/unit/unit.h"

static struct mt_test_clock clock_;
static struct mt_loop *loop;
static struct galley_store *store;
static char changes[2000]; /* "+a ~a -a" of the last commit */
static char report[600];

static int on_validate(void *ctx, const struct mt_object *o, struct mt_diags *diags)
{
	(void)ctx;
	return galley_validate(o, diags);
}

static void on_changed(void *ctx, const struct galley_change *c, size_t n, int64_t since_ns)
{
	(void)ctx;
	(void)since_ns;
	for (size_t i = 0; i < n; i++) {
		const struct mt_object *o = c[i].new ? c[i].new : c[i].old;
		size_t at = strlen(changes);
		snprintf(changes + at, sizeof(changes) - at, "%s%c%s:%d", at ? " " : "",
			c[i].old ? (c[i].new ? '~' : '-') : '+', o->name, (int)o->generation);
	}
}

static void on_reported(void *ctx, const struct galley_text *t)
{
	(void)ctx;
	report[0] = 0;
	if (t->diags.n)
		snprintf(report, sizeof(report), "%s: %s", t->name, t->diags.v[t->diags.n - 1].msg);
}

static void open_store(size_t max, int64_t hold)
{
	report[0] = 0;
	mt_test_clock_init(&clock_, MT_NS_PER_SEC, 0);
	loop = mt_loop_new(&clock_.clock);
	store = galley_store_new(loop,
		&(struct galley_store_opts){ .clock = &clock_.clock,
			.max_objects = max,
			.loss_hold_ns = hold,
			.validate = on_validate,
			.changed = on_changed,
			.reported = on_reported });
}

static void close_store(void)
{
	galley_store_free(store);
	mt_loop_free(loop);
}

static void vs_text(char *out, size_t size, const char *names, const char *host)
{
	size_t at = 0;

	out[0] = 0;
	for (const char *p = names; *p; p++)
		at += (size_t)snprintf(out + at, size - at,
			"---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n"
			"metadata: {name: %c}\nspec:\n  hosts: [%s]\n  http:\n"
			"  - route: [{destination: {host: %s, subset: v1}}]\n",
			*p, host, host);
}

static void text(unsigned source, const char *name, const char *names, const char *host)
{
	char buf[8000];

	vs_text(buf, sizeof(buf), names, host);
	galley_store_text(store, source, name, buf, strlen(buf));
}

static const char *commit(bool complete)
{
	changes[0] = 0;
	galley_store_commit(store, complete, 0);
	return changes;
}

START_TEST(only_what_changed)
{
	open_store(100, 0);
	text(0, "f", "abc", "x.y");
	ck_assert_str_eq(commit(true), "+a:1 +b:1 +c:1");
	text(0, "f", "abc", "x.y");
	ck_assert_str_eq(commit(true), "");
	text(0, "f", "ab", "x.z");
	ck_assert_str_eq(commit(true), "~a:2 ~b:2 -c:1");
	galley_store_gone(store, "f");
	ck_assert_str_eq(commit(true), "-a:2 -b:2");
	galley_store_gone(store, "f");
	ck_assert_str_eq(commit(true), "");
	/* An object that moves to another file is the same. */
	text(0, "f", "a", "x.y");
	commit(true);
	galley_store_gone(store, "f");
	text(0, "g", "a", "x.y");
	ck_assert_str_eq(commit(true), "");
	close_store();
}
END_TEST

START_TEST(who_counts)
{
	open_store(100, 0);
	text(1, "a", "a", "second.source");
	ck_assert_str_eq(commit(true), "+a:1");
	text(0, "z", "a", "first.source");
	ck_assert_str_eq(commit(true), "~a:2");
	text(0, "y", "a", "first.name");
	ck_assert_str_eq(commit(true), "~a:3");
	text(0, "zz", "a", "last.name");
	ck_assert_str_eq(commit(true), "");
	ck_assert_str_eq(report, "zz: y defines it too, and counts");
	galley_store_gone(store, "y");
	galley_store_gone(store, "z");
	ck_assert_str_eq(commit(true), "~a:4");
	galley_store_gone(store, "zz");
	ck_assert_str_eq(commit(true), "~a:5");
	/* Twice in one file. */
	text(0, "t", "bb", "x.y");
	ck_assert_str_eq(report, "t: it stands twice in this file: line 2 counts");
	ck_assert_str_eq(commit(true), "+b:1");
	close_store();
}
END_TEST

START_TEST(broken_keeps)
{
	struct mt_err err = { .msg = "no access" };

	open_store(100, 0);
	text(0, "f", "abc", "x.y");
	commit(true);
	galley_store_text(store, 0, "f", "{{{", 3);
	ck_assert_str_eq(commit(true), "");
	galley_store_unreadable(store, 0, "f", &err);
	ck_assert_str_eq(report, "f: not read: no access");
	ck_assert_str_eq(commit(true), "");
	/* One of three is bad, one is new, one is not there: it stays, as it may be the bad one. */
	char buf[4000];
	vs_text(buf, sizeof(buf), "ad", "x.z");
	strcat(buf, "---\nkind: Nothing\n");
	galley_store_text(store, 0, "f", buf, strlen(buf));
	ck_assert_str_eq(commit(true), "~a:2 +d:1");
	ck_assert_uint_eq(galley_store_count(store), 4);
	text(0, "f", "a", "x.z");
	ck_assert_str_eq(report, "");
	ck_assert_str_eq(commit(true), "-b:1 -c:1 -d:1");
	close_store();
}
END_TEST

static void restore(const char *names, const char *host, const char *file, uint64_t generation)
{
	struct mt_objects objects = { 0 };
	struct mt_diags diags = { 0 };
	char buf[8000];

	vs_text(buf, sizeof(buf), names, host);
	ck_assert_int_eq(mt_decode_text(file, buf, strlen(buf), NULL, &objects, &diags), 0);
	for (size_t i = 0; i < objects.n; i++) {
		objects.v[i]->generation = generation;
		galley_store_restore(store, mt_object_ref(objects.v[i]));
	}
	mt_objects_clear(&objects);
}

START_TEST(earlier_run)
{
	open_store(100, 0);
	restore("abcdefgh", "x.y", "f", 7);
	ck_assert_uint_eq(galley_store_count(store), 8);
	/* Not all sources are read: nothing goes. */
	text(0, "f", "ab", "x.y");
	ck_assert_str_eq(commit(false), "");
	text(0, "g", "c", "x.z");
	ck_assert_str_eq(commit(false), "~c:8");
	ck_assert_str_eq(commit(true), "-d:7 -e:7 -f:7 -g:7 -h:7");
	ck_assert_uint_eq(galley_store_find(store, &mt_kinds[MT_KIND_VIRTUAL_SERVICE], "default/a")
				  ->generation,
		7);
	close_store();
	/* The file that it came from is broken now. */
	open_store(100, 0);
	restore("abc", "x.y", "f", 7);
	galley_store_text(store, 0, "f", "{{{", 3);
	ck_assert_str_eq(commit(true), "");
	ck_assert_uint_eq(galley_store_count(store), 3);
	close_store();
}
END_TEST

START_TEST(limits)
{
	open_store(3, 0);
	text(0, "f", "abcde", "x.y");
	ck_assert_str_eq(commit(true), "+a:1 +b:1 +c:1");
	ck_assert_ptr_nonnull(strstr(report, "--max-objects (3) is reached"));
	close_store();

	open_store(100, 10 * MT_NS_PER_SEC);
	text(0, "f", "abcdef", "x.y");
	commit(true);
	text(0, "f", "ab", "x.y");
	ck_assert_str_eq(commit(true), "");
	ck_assert_uint_eq(galley_store_held(store), 4);
	/* Additions are not held; what comes back is not lost. */
	text(0, "g", "gc", "x.y");
	ck_assert_str_eq(commit(true), "+g:1 -d:1 -e:1 -f:1"); /* three of six: no great loss */
	ck_assert_uint_eq(galley_store_held(store), 0);
	ck_assert_uint_eq(galley_store_count(store), 4);
	close_store();
}
END_TEST

START_TEST(analysis)
{
	struct mt_diags diags = { 0 };
	static const char dr[] =
		"apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: r}\n"
		"spec: {host: x, subsets: [{name: v2}]}\n---\napiVersion: networking.istio.io/v1\n"
		"kind: ServiceEntry\nmetadata: {name: x}\nspec: {hosts: [x.default.svc.cluster.local], "
		"resolution: NONE, ports: [{number: 80, name: http, protocol: HTTP}]}\n";

	static const char delegates[] =
		"apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: root}\n"
		"spec: {hosts: [x], http: [{delegate: {name: leaf}}, {delegate: {name: none}}, "
		"{delegate: {name: root, namespace: default}}]}\n---\napiVersion: networking.istio.io/v1\n"
		"kind: VirtualService\nmetadata: {name: leaf}\n"
		"spec: {http: [{directResponse: {status: 200}}]}\n";

	open_store(100, 0);
	text(0, "f", "a", "x");
	text(0, "h", "b", "nowhere");
	galley_store_text(store, 0, "g", dr, strlen(dr));
	ck_assert_str_eq(report, "");
	commit(true);
	galley_analyze(store, "svc.cluster.local", &diags);
	ck_assert_uint_eq(diags.n, 3);
	ck_assert_str_eq(diags.v[0].msg,
		"the DestinationRule of x.default.svc.cluster.local has no subset v1");
	ck_assert_str_eq(diags.v[0].path, "spec.http[0].route[0].destination.subset");
	ck_assert_int_eq(diags.v[0].line, 8);
	ck_assert_str_eq(
		diags.v[1].msg, "no service is known as nowhere.default.svc.cluster.local");
	mt_diags_clear(&diags);
	galley_store_text(store, 0, "d", delegates, strlen(delegates));
	commit(true);
	galley_analyze(store, "svc.cluster.local", &diags);
	size_t found = 0;
	for (size_t i = 0; i < diags.n; i++)
		found += strcmp(diags.v[i].msg, "there is no VirtualService default/none") == 0 ||
			strcmp(diags.v[i].msg,
				"VirtualService default/root has hosts: it is no delegate") == 0;
	ck_assert_uint_eq(diags.n, 3 + 2);
	ck_assert_uint_eq(found, 2);
	mt_diags_clear(&diags);
	close_store();
}
END_TEST

MT_UNIT(store, only_what_changed, who_counts, broken_keeps, earlier_run, limits, analysis)
