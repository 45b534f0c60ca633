/* Waiting for something of the mesh to answer, while watching that nothing dies. */
#include <curl/curl.h>
#include <string.h>

#include "common/base/buf.h"
#include "ctl/dev/dev.h"

enum { TRY_EVERY_MS = 25, ONE_TRY_MS = 2000, BODY_MAX = 4096 };

static size_t keep(char *p, size_t size, size_t n, void *arg)
{
	struct mt_buf *body = arg;

	if (body->n < BODY_MAX)
		mt_buf_add(body, p, MT_MIN(size * n, (size_t)(BODY_MAX - body->n)));
	return size * n;
}

/* The status, or 0 with the reason in why. */
static long get(const char *url, struct mt_buf *body, const char **why)
{
	CURL *c = curl_easy_init();
	long status = 0;

	body->n = 0;
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)ONE_TRY_MS);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, keep);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, body);
	curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	CURLcode r = curl_easy_perform(c);
	if (r == CURLE_OK)
		curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
	*why = curl_easy_strerror(r);
	curl_easy_cleanup(c);
	return status;
}

static int died(const struct dev *d, struct mt_err *err)
{
	for (size_t i = 0; i < procs_count(d->procs); i++) {
		struct proc_info p = procs_info(d->procs, i);
		if (p.exited)
			return mt_fail(err, MT_UNAVAILABLE, p.log, "%s ended with %s %d", p.name,
				       p.signal ? "signal" : "status", p.signal ? p.signal : p.exit_status);
	}
	return 0;
}

static void nothing(void *arg)
{
	(void)arg;
}

int dev_wait(struct dev *d, const char *what, const char *url, int64_t deadline_ns, struct mt_err *err)
{
	MT_AUTO(mt_buf_clear) struct mt_buf body = { 0 };
	struct mt_timer *tick = mt_timer_new(d->loop, nothing, NULL);
	const char *why = "";
	int r = 0;

	mt_timer_start(tick, TRY_EVERY_MS * MT_NS_PER_MS, TRY_EVERY_MS * MT_NS_PER_MS);
	for (;;) {
		long status = get(url, &body, &why);
		if (status == 200 || (r = died(d, err)) < 0)
			break;
		if (d->interrupted) {
			r = mt_fail(err, MT_CANCELLED, NULL, "interrupted");
			break;
		}
		if (mt_mono(mt_loop_clock(d->loop)) > deadline_ns) {
			r = mt_fail(err, MT_TIMEOUT, url, "%s is not ready: %s%.200s", what,
				    status ? "" : why, status ? mt_buf_str(&body) : "");
			break;
		}
		uv_run(mt_loop_uv(d->loop), UV_RUN_ONCE);
	}
	mt_timer_free(tick);
	return r;
}
