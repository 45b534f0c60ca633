/* listchecker: is a value in a list? The list is written in the handler (overrides), or fetched over
 * HTTP from a provider and fetched again every refresh interval. A list that cannot be refreshed is
 * used until its time to live is over; then checks fail and the proxy's failure policy decides, as
 * guessing either way would be wrong.
 *
 * The list in force is swapped under a short lock: checks take a reference. */
#include <pthread.h>
#include <string.h>

#include "adapter/list/config/config.pb-c.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "mixer/adapter/adapter.h"
#include "mixer/adapter/code.h"
#include "mixer/adapter/listchecker/list.h"

enum { USES = 10000, MAX_BODY = 64 << 20 };
#define VALID_NS (300 * MT_NS_PER_SEC)
#define REFRESH_NS (60 * MT_NS_PER_SEC)
#define TTL_NS (300 * MT_NS_PER_SEC)
#define RETRY_NS (5 * MT_NS_PER_SEC)

struct checker {
	const struct mixer_adapter_env *env;
	char *handler;
	enum mixer_list_type type;
	bool blacklist;
	char **overrides;
	size_t noverrides;
	int64_t valid_ns;
	int32_t valid_uses;

	char *url; /* NULL: overrides alone */
	int64_t refresh_ns;
	int64_t ttl_ns;
	struct mt_timer *timer;
	struct mt_http_call *call;
	int64_t fetched_ns; /* mono; 0: never */

	pthread_mutex_t lock;    /* guards list and why */
	struct mixer_list *list; /* NULL: none, or too old */
	char why[200];           /* why there is none */
};

static int64_t or_default(const Google__Protobuf__Duration *d, int64_t def)
{
	int64_t ns = d ? d->seconds * MT_NS_PER_SEC + d->nanos : 0;

	return ns > 0 ? ns : def;
}

static void put_list(struct checker *c, struct mixer_list *l, const char *why)
{
	struct mixer_list *old;

	pthread_mutex_lock(&c->lock);
	old = c->list;
	c->list = l;
	snprintf(c->why, sizeof(c->why), "%s", why);
	pthread_mutex_unlock(&c->lock);
	mixer_list_unref(old);
}

static struct mixer_list *get_list(struct checker *c, struct mt_err *err)
{
	struct mixer_list *l;

	pthread_mutex_lock(&c->lock);
	l = c->list ? mixer_list_ref(c->list) : NULL;
	if (!l)
		mt_fail(err, MT_UNAVAILABLE, NULL, "there is no list: %s", c->why);
	pthread_mutex_unlock(&c->lock);
	return l;
}

/* ---- fetching; loop thread ---- */

static void health(struct checker *c, const char *why)
{
	if (c->env->health)
		c->env->health(c->env->health_ctx, c->handler, why);
}

static void fetch_failed(struct checker *c, const char *why)
{
	int64_t age = mt_mono(c->env->clock) - c->fetched_ns;

	if (!c->fetched_ns || age > c->ttl_ns)
		put_list(c, NULL, why);
	health(c, why);
	mt_timer_start(c->timer, MT_MIN((int64_t)RETRY_NS, c->refresh_ns), 0);
}

static void fetched(void *ctx, const struct mt_http_result *r)
{
	struct checker *c = ctx;
	struct mixer_list *l;
	struct mt_err err = { 0 };
	char why[200];

	c->call = NULL;
	if (r->err && r->err->code == MT_CANCELLED)
		return;
	if (r->err || r->status != 200) {
		snprintf(why, sizeof(why), "provider: %.100s (%d)",
			r->err ? r->err->msg : "not the answer 200", r->status);
		fetch_failed(c, why);
		return;
	}
	if (mixer_list_new(c->type, (const char *const *)c->overrides, c->noverrides, r->body, r->n,
		    &l, &err) < 0) {
		snprintf(why, sizeof(why), "provider's list: %.150s", err.msg);
		fetch_failed(c, why);
		return;
	}
	c->fetched_ns = mt_mono(c->env->clock);
	put_list(c, l, "");
	health(c, "");
	mt_timer_start(c->timer, c->refresh_ns, 0);
}

static void fetch(void *arg)
{
	struct checker *c = arg;
	const struct mt_http_call_opts o = { .url = c->url, .max_body = MAX_BODY };

	c->call = mt_http_call_start(c->env->http, &o, fetched, c);
}

/* ---- the adapter ---- */

static void close_checker(void *self)
{
	struct checker *c = self;

	mt_timer_free(c->timer);
	if (c->call)
		mt_http_call_cancel(c->call);
	mixer_list_unref(c->list);
	for (size_t i = 0; i < c->noverrides; i++)
		mt_free(c->overrides[i]);
	mt_free(c->overrides);
	mt_free(c->url);
	mt_free(c->handler);
	pthread_mutex_destroy(&c->lock);
	mt_free(c);
}

static int start(struct checker *c, struct mt_err *err)
{
	struct mixer_list *l;
	int r = mixer_list_new(
		c->type, (const char *const *)c->overrides, c->noverrides, "", 0, &l, err);

	if (r < 0) {
		if (err)
			snprintf(err->path, sizeof(err->path), "overrides");
		return r;
	}
	if (!c->url) {
		put_list(c, l, "");
		return 0;
	}
	mixer_list_unref(l);
	if (!mt_str_prefix(c->url, "http://") && !mt_str_prefix(c->url, "https://"))
		return mt_fail(err, MT_INVALID, "providerUrl", "\"%s\" is not an HTTP URL", c->url);
	if (!c->env->loop || !c->env->http)
		return mt_fail(err, MT_UNSUPPORTED, "providerUrl", "no HTTP client here");
	put_list(c, NULL, "the provider has not answered yet");
	c->timer = mt_timer_new(c->env->loop, fetch, c);
	fetch(c);
	return 0;
}

static int open_checker(const struct mixer_adapter_env *env, const char *handler,
	const ProtobufCMessage *params, void **ret_self, struct mt_err *err)
{
	const AdapterList__Params *p = (const AdapterList__Params *)params;
	struct checker *c = MT_NEW(struct checker);
	int r;

	pthread_mutex_init(&c->lock, NULL);
	c->env = env;
	c->handler = mt_strdup(handler);
	c->type = (enum mixer_list_type)p->entry_type; /* same order; the decoder checks enums */
	c->blacklist = p->blacklist;
	c->valid_ns = or_default(p->caching_interval, VALID_NS);
	c->valid_uses = p->caching_use_count > 0 ? p->caching_use_count : USES;
	c->refresh_ns = or_default(p->refresh_interval, REFRESH_NS);
	c->ttl_ns = or_default(p->ttl, TTL_NS);
	c->url = mt_str_empty(p->provider_url) ? NULL : mt_strdup(p->provider_url);
	c->noverrides = p->n_overrides;
	c->overrides = mt_reallocarray(NULL, p->n_overrides + 1, sizeof(char *));
	for (size_t i = 0; i < p->n_overrides; i++)
		c->overrides[i] = mt_strdup(p->overrides[i]);
	r = start(c, err);
	if (r < 0) {
		close_checker(c);
		return r;
	}
	*ret_self = c;
	return 0;
}

static int check(void *self, void *binding, const struct mixer_instance *in,
	struct mt_arena *scratch, struct mixer_verdict *ret, struct mt_err *err)
{
	struct checker *c = self;
	const struct mt_value *v = &in->scalars[MIXER_S_VALUE];
	struct mixer_list *l = get_list(c, err);
	struct mt_text t;
	bool found = false;
	int r;

	(void)binding;
	if (!l)
		return MT_UNAVAILABLE;
	r = mixer_list_has(l, v, scratch, &found, err);
	mixer_list_unref(l);
	*ret = (struct mixer_verdict){ .valid_ns = c->valid_ns, .valid_uses = c->valid_uses };
	t = mt_value_text(v, scratch);
	if (r < 0) {
		ret->code = MIXER_INVALID_ARGUMENT;
		ret->message = err ? mt_arena_strdup(scratch, err->msg) : "";
	} else if (found && c->blacklist) {
		ret->code = MIXER_PERMISSION_DENIED;
		ret->message = mt_arena_printf(scratch, "%.*s is blacklisted", (int)t.n, t.p);
	} else if (!found && !c->blacklist) {
		ret->code = MIXER_NOT_FOUND;
		ret->message = mt_arena_printf(scratch, "%.*s is not whitelisted", (int)t.n, t.p);
	}
	return 0;
}

extern const struct mixer_adapter mixer_adapter_listchecker;
const struct mixer_adapter mixer_adapter_listchecker = {
	.name = "listchecker",
	.kind = MT_KIND_LISTCHECKER,
	.params = &adapter_list__params__descriptor,
	.templates = MIXER_ACCEPTS(LISTENTRY),
	.help = "lets pass what is in a list, or what is not",
	.open = open_checker,
	.close = close_checker,
	.check = check,
};
