#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "tests/unit/mixer/lab.h"

#define HEAD "apiVersion: config.istio.io/v1alpha2\n"

/* A handler that writes to a file in a folder of its own, and one log entry and one metric. */
static char dir[] = "/tmp/mixer-stdio-XXXXXX";

static void config(struct lab *l, const char *params)
{
	const char *yaml = mt_arena_printf(l->a,
		HEAD "kind: stdio\nmetadata: {name: out, namespace: shop}\nspec: {logStream: %s, "
		     "outputPath: %s/log}\n---\n" HEAD
		     "kind: logentry\nmetadata: {name: line, namespace: shop}\nspec:\n  severity: "
		     "request.reason | \"info\"\n  timestamp: request.time | "
		     "timestamp(\"2026-11-24T04:00:00Z\")\n  variables: {path: request.path | "
		     "\"-\", code: response.code | 0, labels: source.labels | emptyStringMap()}\n"
		     "---\n" HEAD
		     "kind: metric\nmetadata: {name: m, namespace: shop}\nspec: {value: "
		     "response.size | 5, dimensions: {host: request.host | \"h\"}}\n---\n" HEAD
		     "kind: rule\nmetadata: {name: r, namespace: shop}\nspec: {actions: [{handler: "
		     "out.stdio, instances: [line.logentry, m.metric]}]}\n",
		params, dir);

	ck_assert_msg(lab_config(l, yaml) == 0, "%s", lab_fault(l));
}

static char *written(struct lab *l)
{
	struct mt_buf b = { 0 };
	char *copy;

	ck_assert_int_eq(mt_file_read(mt_arena_printf(l->a, "%s/log", dir), 1 << 20, &b, NULL), 0);
	copy = mt_arena_strdup(l->a, mt_buf_str(&b));
	mt_buf_clear(&b);
	return copy;
}

static void begin(struct lab *l)
{
	lab_start(l);
	strcpy(dir + sizeof(dir) - 7, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void end(struct lab *l)
{
	char command[100];

	lab_stop(l);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	ck_assert_int_eq(system(command), 0);
}

START_TEST(json_lines)
{
	struct lab l;
	json_t *j;
	char *text, *second;

	begin(&l);
	config(&l, "FILE, outputAsJson: true");
	LAB_REPORT(&l, 1, "destination.namespace", "shop", "request.path", "/a\"b", "response.code",
		"404", "source.labels.app", "front");
	text = written(&l);
	second = strchr(text, '\n') + 1;
	second[-1] = '\0';
	j = json_loads(text, 0, NULL);
	ck_assert_ptr_nonnull(j);
	ck_assert_str_eq(json_string_value(json_object_get(j, "level")), "info");
	ck_assert_str_eq(json_string_value(json_object_get(j, "time")), "2026-11-24T04:00:00.000Z");
	ck_assert_str_eq(json_string_value(json_object_get(j, "instance")), "line.logentry.shop");
	ck_assert_str_eq(json_string_value(json_object_get(j, "path")), "/a\"b");
	ck_assert_int_eq(json_integer_value(json_object_get(j, "code")), 404);
	ck_assert_str_eq(
		json_string_value(json_object_get(json_object_get(j, "labels"), "app")), "front");
	json_decref(j);
	j = json_loads(second, 0, NULL);
	ck_assert_int_eq(json_integer_value(json_object_get(j, "value")), 5);
	ck_assert_str_eq(json_string_value(json_object_get(j, "host")), "h");
	json_decref(j);
	end(&l);
}
END_TEST

START_TEST(text_lines_and_levels)
{
	struct lab l;

	begin(&l);
	config(&l, "FILE, severityLevels: {bad: ERROR}, outputLevel: WARNING");
	LAB_REPORT(&l, 1, "destination.namespace", "shop", "request.reason", "bad");
	LAB_REPORT(&l, 1, "destination.namespace", "shop", "request.reason", "fine");
	LAB_REPORT(&l, 1, "destination.namespace", "shop", "request.reason", "warning");
	ck_assert_str_eq(written(&l),
		"2026-11-24T04:00:00.000Z\terror\tline.logentry.shop\t{\"code\":0,\"labels\":{},"
		"\"path\":\"-\"}\n"
		"2026-11-24T04:00:00.000Z\twarn\tline.logentry.shop\t{\"code\":0,\"labels\":{},"
		"\"path\":\"-\"}\n");
	end(&l);
}
END_TEST

START_TEST(files_rotate)
{
	struct lab l;
	char *big;
	size_t files = 0;
	FILE *p;

	begin(&l);
	config(&l, "ROTATED_FILE, maxMegabytesBeforeRotation: 1, maxRotatedFiles: 2");
	big = mt_arena_alloc(l.a, 400001);
	memset(big, 'x', 400000);
	for (int i = 0; i < 12; i++) {
		LAB_REPORT(&l, 1, "destination.namespace", "shop", "request.path", big);
		mt_test_clock_advance(&l.clock, MT_NS_PER_SEC);
	}
	p = popen(mt_arena_printf(l.a, "ls %s", dir), "r");
	for (int c; (c = fgetc(p)) != EOF;)
		files += c == '\n';
	pclose(p);
	ck_assert_uint_eq(files, 3); /* the newest and two old ones */
	end(&l);
}
END_TEST

START_TEST(faults)
{
	struct lab l;

	begin(&l);
	ck_assert_uint_eq(
		lab_config(&l, HEAD "kind: stdio\nmetadata: {name: out}\nspec: {logStream: FILE}"),
		1);
	ck_assert_ptr_nonnull(strstr(lab_fault(&l), "spec.outputPath"));
	ck_assert_uint_eq(
		lab_config(&l,
			HEAD "kind: stdio\nmetadata: {name: out}\nspec: {logStream: FILE, "
			     "outputPath: /nowhere/at/all}"),
		1);
	end(&l);
}
END_TEST

MT_UNIT(stdio, json_lines, text_lines_and_levels, files_rotate, faults)
