/* The small texts that come from configuration and peers: durations, times, addresses, log values and
 * label values. What is accepted reads back from its own form; what is written is sound. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/cidr.h"
#include "common/base/clock.h"
#include "common/base/duration.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/run/metrics.h"

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void numbers(const char *text)
{
	int64_t v, again;
	char buf[40];

	if (mt_duration_parse(text, &v) == 0) {
		mt_duration_format(v, buf, sizeof(buf));
		must(mt_duration_parse(buf, &again) == 0 && again == v);
	}
	if (mt_time_parse(text, &v) == 0) {
		mt_time_format(v, buf, sizeof(buf));
		must(mt_time_parse(buf, &again) == 0 && again == v);
	}
}

static void addresses(const char *text)
{
	struct mt_ip ip, again;
	struct mt_cidr c;
	char buf[46], host[256];
	uint16_t port;

	if (mt_ip_parse(text, &ip) == 0) {
		mt_ip_format(&ip, buf);
		must(mt_ip_parse(buf, &again) == 0 && memcmp(&ip, &again, sizeof(ip)) == 0);
	}
	if (mt_cidr_parse(text, &c) == 0)
		must(mt_cidr_contains(&c, &c.ip));
	if (mt_hostport_parse(text, host, &port) == 0)
		must(strlen(host) < sizeof(host));
}

static void on_line(void *ctx, const char *line, size_t n)
{
	json_t *o = json_loadb(line, n, 0, NULL);

	must(o && memchr(line, '\n', n) == line + n - 1);
	json_decref(o);
	*(bool *)ctx = true;
}

static void log_line(const char *text)
{
	static struct mt_log_scope scope = MT_LOG_SCOPE("fuzz");
	bool seen = false;

	must(mt_log_configure("info", true, NULL) == 0);
	mt_log_set_sink(on_line, &seen);
	mt_log_info(&scope, text, MT_S("value", text), MT_I("n", 1));
	mt_log_set_sink(NULL, NULL);
	must(seen);
	(void)mt_log_configure(text, false, NULL);
}

static void label(const char *text)
{
	static const struct mt_metric_desc row = { MT_METRIC_COUNTER, "m", "", "a,b", NULL };
	struct mt_metrics *m = mt_metrics_new(&row, 1);
	struct mt_buf b = { 0 };
	int lines = 0;

	mt_metric_add(m, 0, 1, text, "x");
	mt_metrics_text(m, &b);
	must(mt_utf8_valid(b.p, b.n));
	for (size_t i = 0; i < b.n; i++)
		lines += b.p[i] == '\n';
	must(lines == 3);
	mt_buf_clear(&b);
	mt_metrics_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	char *text = mt_strndup((const char *)p, n);

	if (strlen(text) == n)
		mt_utf8_valid(p, n);
	numbers(text);
	addresses(text);
	log_line(text);
	label(text);
	mt_free(text);
	return 0;
}
