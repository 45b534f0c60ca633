/* Readiness: named conditions that must all hold; told to /readyz, to systemd and to the log. */
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/run/daemon_inside.h"
#include "common/run/notify.h"

static struct mt_log_scope scope = MT_LOG_SCOPE("daemon");

static const struct mt_condition *first_false(const struct mt_daemon *d)
{
	const struct mt_condition *c = d->conditions;

	while (c && c->ok)
		c = c->next;
	return c;
}

static void announce(struct mt_daemon *d)
{
	const struct mt_condition *why = first_false(d);

	if (!why == d->announced)
		return;
	d->announced = !why;
	if (!why) {
		mt_log_info(&scope, "ready");
		mt_notify("READY=1\nSTATUS=ready");
	} else {
		mt_log_warn(&scope, "not ready", MT_S("condition", why->name),
			MT_S("reason", why->reason));
		mt_notify("STATUS=not ready");
	}
}

bool mt_daemon_is_ready(const struct mt_daemon *d)
{
	return !first_false(d);
}

void mt_daemon_ready(struct mt_daemon *d, const char *condition, bool ok, const char *reason)
{
	struct mt_condition *c = d->conditions;

	while (c && !mt_streq(c->name, condition))
		c = c->next;
	if (!c) {
		c = MT_NEW(struct mt_condition);
		c->name = mt_strdup(condition);
		c->next = d->conditions;
		d->conditions = c;
	}
	c->ok = ok;
	mt_free(c->reason);
	c->reason = mt_strdup(reason ? reason : "");
	announce(d);
}

void mt_daemon_ready_free(struct mt_daemon *d)
{
	struct mt_condition *c, *next;

	for (c = d->conditions; c; c = next) {
		next = c->next;
		mt_free(c->name);
		mt_free(c->reason);
		mt_free(c);
	}
	d->conditions = NULL;
}
