/* Waiting for something of the mesh to answer, while watching that nothing dies. */
#include "ctl/dev/dev.h"
#include "ctl/http.h"

enum { TRY_EVERY_MS = 25, ONE_TRY_MS = 2000 };

static int died(const struct dev *d, struct mt_err *err)
{
	for (size_t i = 0; i < procs_count(d->procs); i++) {
		struct proc_info p = procs_info(d->procs, i);
		if (p.exited)
			return mt_fail(err, MT_UNAVAILABLE, p.log, "%s ended with %s %d", p.name,
				p.signal ? "signal" : "status",
				p.signal ? p.signal : p.exit_status);
	}
	return 0;
}

static void nothing(void *arg)
{
	(void)arg;
}

int dev_wait(
	struct dev *d, const char *what, const char *url, int64_t deadline_ns, struct mt_err *err)
{
	MT_AUTO(mt_buf_clear) struct mt_buf body = { 0 };
	struct mt_timer *tick = mt_timer_new(d->loop, nothing, NULL);
	struct mt_err why = { 0 };
	int r = 0;

	mt_timer_start(tick, TRY_EVERY_MS * MT_NS_PER_MS, TRY_EVERY_MS * MT_NS_PER_MS);
	for (;;) {
		body.n = 0;
		int status = ctl_http("GET", url, NULL, 0, ONE_TRY_MS, &body, &why);
		if (status == 200 || (r = died(d, err)) < 0)
			break;
		if (d->interrupted) {
			r = mt_fail(err, MT_CANCELLED, NULL, "interrupted");
			break;
		}
		if (mt_mono(mt_loop_clock(d->loop)) > deadline_ns) {
			r = mt_fail(err, MT_TIMEOUT, url, "%s is not ready: %.200s%.200s", what,
				status > 0 ? "" : why.msg, status > 0 ? mt_buf_str(&body) : "");
			break;
		}
		uv_run(mt_loop_uv(d->loop), UV_RUN_ONCE);
	}
	mt_timer_free(tick);
	return r;
}
