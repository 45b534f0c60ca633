#include "common/run/metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "tests/unit/unit.h"

/* clang-format off */
static const struct mt_metric_desc rows[] = {
	MT_METRIC_ROW(COUNTER, pushes, "Pushes by type.", "type,code")
	MT_METRIC_ROW(GAUGE, streams, "Open\nstreams \\ now.", "")
	MT_METRIC_ROW(HISTOGRAM, seconds, "Time.", "type", 0.1, 0.5, 1)
	MT_METRIC_ROW(HISTOGRAM, plain, "Time.", "")
};
/* clang-format on */
enum { METRIC_pushes, METRIC_streams, METRIC_seconds, METRIC_plain };

static struct mt_metrics *m;

static char *text(void)
{
	struct mt_buf b = { 0 };

	mt_metrics_text(m, &b);
	return mt_buf_take(&b, NULL);
}

/* A small reader of the text format: checks the grammar of the whole page, returns the value of one
 * line (name and labels as written), NaN when absent. */
static double read_back(const char *page, const char *line)
{
	double found = NAN;
	size_t n = strlen(line);

	for (const char *p = page, *end; *p; p = end + 1) {
		char *after;
		const char *q = p;
		bool quoted = false;
		double v;

		end = strchr(p, '\n');
		ck_assert_ptr_nonnull(end); /* the last line ends too */
		if (*p == '#') {
			ck_assert(mt_str_prefix(p, "# HELP ") || mt_str_prefix(p, "# TYPE "));
			continue;
		}
		for (; q < end && (quoted || *q != ' '); q++) {
			if (quoted && *q == '\\')
				q++;
			else if (*q == '"')
				quoted = !quoted;
		}
		ck_assert(q < end && *q == ' ' && !quoted);
		v = strtod(q + 1, &after);
		ck_assert_ptr_eq(after, end);
		if ((size_t)(q - p) == n && memcmp(p, line, n) == 0) {
			ck_assert_msg(isnan(found), "%s is there twice", line);
			found = v;
		}
	}
	return found;
}

START_TEST(counts_and_shows)
{
	char *page;

	m = mt_metrics_new(rows, MT_ARRAY_SIZE(rows));
	mt_metric_add(m, METRIC_pushes, 1, "cds", "ok");
	mt_metric_add(m, METRIC_pushes, 2, "cds", "ok");
	mt_metric_add(m, METRIC_pushes, 0.25, "cds", "ok");
	mt_metric_add(m, METRIC_pushes, -5, "cds", "ok"); /* a counter never goes back */
	mt_metric_add(m, METRIC_pushes, NAN, "cds", "ok");
	mt_metric_add(m, METRIC_pushes, 1, "eds", "a\"b\\c\nd");
	mt_metric_add(m, METRIC_streams, 5);
	mt_metric_add(m, METRIC_streams, -2);
	mt_metric_set(m, METRIC_seconds, 9, "x"); /* not a gauge: nothing */
	page = text();
	ck_assert(read_back(page, "pushes{type=\"cds\",code=\"ok\"}") == 3.25);
	ck_assert(read_back(page, "pushes{type=\"eds\",code=\"a\\\"b\\\\c\\nd\"}") == 1);
	ck_assert(read_back(page, "streams") == 3);
	ck_assert_ptr_nonnull(strstr(page, "# HELP streams Open\\nstreams \\\\ now.\n"));
	ck_assert_ptr_nonnull(strstr(page, "# TYPE pushes counter\n"));
	ck_assert_ptr_nonnull(strstr(page, "# TYPE seconds histogram\n"));
	mt_free(page);
	mt_metric_set(m, METRIC_streams, INFINITY);
	page = text();
	ck_assert(isinf(read_back(page, "streams")));
	mt_free(page);
	mt_metrics_free(m);
	mt_metrics_free(NULL);
}
END_TEST

START_TEST(histograms)
{
	static const double seen[] = { 0.05, 0.1, 0.3, 0.9, 7, 1 };
	char *page;

	m = mt_metrics_new(rows, MT_ARRAY_SIZE(rows));
	for (size_t i = 0; i < MT_ARRAY_SIZE(seen); i++)
		mt_metric_observe(m, METRIC_seconds, seen[i], "a");
	mt_metric_observe(m, METRIC_seconds, NAN, "a");
	mt_metric_observe(m, METRIC_plain, 3);
	page = text();
	ck_assert(read_back(page, "seconds_bucket{type=\"a\",le=\"0.1\"}") == 2);
	ck_assert(read_back(page, "seconds_bucket{type=\"a\",le=\"0.5\"}") == 3);
	ck_assert(read_back(page, "seconds_bucket{type=\"a\",le=\"1\"}") == 5);
	ck_assert(read_back(page, "seconds_bucket{type=\"a\",le=\"+Inf\"}") == 6);
	ck_assert(read_back(page, "seconds_count{type=\"a\"}") == 6);
	ck_assert(fabs(read_back(page, "seconds_sum{type=\"a\"}") - 9.35) < 1e-9);
	ck_assert(read_back(page, "plain_bucket{le=\"2.5\"}") == 0);
	ck_assert(read_back(page, "plain_bucket{le=\"5\"}") == 1);
	ck_assert(read_back(page, "plain_sum") == 3);
	mt_free(page);
	mt_metrics_free(m);
}
END_TEST

START_TEST(series_are_limited)
{
	const char *labels[2] = { "t", NULL };
	struct mt_metric_series *first, *s;
	char code[32], *page;

	m = mt_metrics_new(rows, MT_ARRAY_SIZE(rows));
	labels[1] = "first";
	first = mt_metric_series(m, METRIC_pushes, labels);
	labels[1] = code;
	for (int i = 0; i < MT_METRIC_SERIES_MAX + 100; i++) {
		snprintf(code, sizeof(code), "%d", i);
		mt_series_add(mt_metric_series(m, METRIC_pushes, labels), 1);
	}
	labels[1] = "first";
	ck_assert_ptr_eq(mt_metric_series(m, METRIC_pushes, labels), first);
	labels[1] = "one more";
	s = mt_metric_series(m, METRIC_pushes, labels);
	ck_assert(mt_series_value(s) == 101);
	page = text();
	ck_assert(read_back(page, "pushes{type=\"other\",code=\"other\"}") == 101);
	mt_free(page);
	mt_metrics_free(m);
}
END_TEST

START_TEST(label_values_of_peers)
{
	char big[5000], *page;

	m = mt_metrics_new(rows, MT_ARRAY_SIZE(rows));
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	mt_metric_add(m, METRIC_pushes, 1, big, "\xff\xc3.caf\xc3\xa9");
	for (size_t i = 0; i + 2 < sizeof(big); i += 2)
		memcpy(big + i, "\xc3\xa9", 2);
	big[253] = 'y'; /* an odd place for the cut */
	mt_metric_add(m, METRIC_pushes, 1, big, "");
	page = text();
	ck_assert_uint_lt(strlen(page), 4000);
	ck_assert(mt_utf8_valid(page, strlen(page)));
	ck_assert_ptr_nonnull(strstr(page, "code=\"??.caf\xc3\xa9\"} 1\n"));
	read_back(page, "");
	mt_free(page);
	mt_metrics_free(m);
}
END_TEST

START_TEST(defined_at_run_time)
{
	struct mt_metric_desc row = { MT_METRIC_COUNTER, "istio_requests_total", "", "code", NULL };
	char *page;
	int r;

	m = mt_metrics_new(rows, MT_ARRAY_SIZE(rows));
	r = mt_metrics_define(m, &row);
	ck_assert_int_eq(r, (int)MT_ARRAY_SIZE(rows));
	ck_assert_int_eq(mt_metrics_define(m, &row), r);
	row.labels = "code,more";
	ck_assert_int_eq(mt_metrics_define(m, &row), MT_EXISTS);
	row.name = "bad name";
	ck_assert_int_eq(mt_metrics_define(m, &row), MT_INVALID);
	row.name = "good";
	row.labels = "a,,b";
	ck_assert_int_eq(mt_metrics_define(m, &row), MT_INVALID);
	row.labels = "a,";
	ck_assert_int_eq(mt_metrics_define(m, &row), MT_INVALID);
	row.labels = "1a";
	ck_assert_int_eq(mt_metrics_define(m, &row), MT_INVALID);
	row.labels = "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z,A,B,C,D,E,F,G";
	ck_assert_int_eq(mt_metrics_define(m, &row), MT_INVALID);
	mt_metric_add(m, r, 4, "200");
	page = text();
	ck_assert(read_back(page, "istio_requests_total{code=\"200\"}") == 4);
	mt_free(page);
	mt_metrics_free(m);
}
END_TEST

enum { ROUNDS = 3000 };

static void *hammer(void *arg)
{
	static const char *const types[] = { "a", "b", "c" };
	struct mt_buf b = { 0 };

	for (int i = 0; i < ROUNDS; i++) {
		mt_metric_add(m, METRIC_pushes, 1, types[i % 3], "x");
		mt_metric_add(m, METRIC_streams, i % 2 ? 0.5 : -0.5);
		mt_metric_observe(m, METRIC_seconds, 0.25, types[i % 3]);
		if (i % 500 == 0) {
			mt_buf_clear(&b);
			mt_metrics_text(m, &b);
		}
	}
	mt_buf_clear(&b);
	return arg;
}

START_TEST(threads_lose_nothing)
{
	pthread_t t[4];
	char *page;

	m = mt_metrics_new(rows, MT_ARRAY_SIZE(rows));
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, hammer, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	page = text();
	ck_assert(read_back(page, "pushes{type=\"b\",code=\"x\"}") == 4 * ROUNDS / 3);
	ck_assert(read_back(page, "streams") == 0);
	ck_assert(read_back(page, "seconds_count{type=\"c\"}") == 4 * ROUNDS / 3);
	ck_assert(read_back(page, "seconds_sum{type=\"c\"}") == 4 * ROUNDS / 3 * 0.25);
	mt_free(page);
	mt_metrics_free(m);
}
END_TEST

MT_UNIT(metrics, counts_and_shows, histograms, series_are_limited, label_values_of_peers,
	defined_at_run_time, threads_lose_nothing)
