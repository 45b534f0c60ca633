/* Who has which credential: asked by what is in force (inforce_secrets.c), and told when it may have
 * changed. Many proxies come at once: they are looked at together, a moment later.
 *
 * What an agent will report in a moment is not there yet: a rule that is new waits for it. But for the first
 * world: what was in force before this process shall not go out of force because agents come after it. */
#include "pilot/pilot.h"

#define MOMENT_NS (50 * MT_NS_PER_MS)

static enum pilot_has has(void *ctx, const struct mt_object *o, const char *name)
{
	const struct pilot *p = ctx;
	bool first = !push_current(p->push);
	enum pilot_has all = PILOT_HAS_PERHAPS; /* nobody is there */
	bool perhaps = false;

	for (const struct push_proxy *x = push_proxies(p->push); x; x = x->next) {
		if (!pilot_proxy_concerned(x->proxy, o))
			continue;
		enum pilot_has h = pilot_proxy_has(x->proxy, name, "");
		if (h == PILOT_HAS)
			return PILOT_HAS;
		perhaps = perhaps || (h == PILOT_HAS_PERHAPS && (first || !x->proxy->reports));
		all = PILOT_HAS_NOT;
	}
	return perhaps || first ? PILOT_HAS_PERHAPS : all;
}

static void look(void *arg)
{
	struct pilot *p = arg;

	if (pilot_inforce_secrets_moved(p->inforce))
		pilot_config_decide_again(p);
}

static void moved(void *ctx)
{
	struct pilot *p = ctx;

	if (!mt_timer_active(p->secrets))
		mt_timer_start(p->secrets, MOMENT_NS, 0);
}

void pilot_secrets_start(struct pilot *p)
{
	p->secrets = mt_timer_new(p->loop, look, p);
	pilot_inforce_secrets(p->inforce, &(struct pilot_inforce_secrets){ has, p });
	push_on_secrets(p->push, moved, p);
}

void pilot_secrets_stop(struct pilot *p)
{
	if (p->secrets)
		push_on_secrets(p->push, NULL, NULL);
	mt_timer_free(p->secrets);
	p->secrets = NULL;
}
