/* A list that is fetched: refreshed, kept while the provider ails, given up after its time to live. */
#include <stdatomic.h>

#include "adapter/list/config/config.pb-c.h"
#include "common/base/mem.h"
#include "common/http/server.h"
#include "mixer/adapter/adapter.h"
#include "tests/unit/unit.h"

struct fixture {
	struct mt_test_clock clock;
	struct mt_loop *loop;
	struct mt_http_client *http;
	struct mt_http_server *server;
	struct mixer_adapter_env env;
	const char *list; /* NULL: the provider answers 500 */
	int asked;
	int told; /* how often its health was told */
	char why[200];
	void *self;
};

static void provide(void *ctx, struct mt_http_req *req)
{
	struct fixture *x = ctx;

	x->asked++;
	mt_http_reply(req, x->list ? 200 : 500, "text/plain", x->list ? x->list : "",
		x->list ? strlen(x->list) : 0);
}

static void health(void *ctx, const char *handler, const char *why)
{
	struct fixture *x = ctx;

	ck_assert_str_eq(handler, "known.listchecker.shop");
	x->told++;
	snprintf(x->why, sizeof(x->why), "%s", why);
}

static void start(struct fixture *x, const char *list, const char *override)
{
	const struct mt_http_server_opts o = { .addr = "127.19.7.1:0" };
	AdapterList__Params p = ADAPTER_LIST__PARAMS__INIT;
	Google__Protobuf__Duration refresh = GOOGLE__PROTOBUF__DURATION__INIT, ttl = refresh;
	char url[100];
	struct mt_err err = { 0 };

	*x = (struct fixture){ .list = list };
	mt_test_clock_init(&x->clock, 1000 * MT_NS_PER_SEC, 0);
	x->loop = mt_loop_new(&x->clock.clock);
	x->http = mt_http_client_new(x->loop);
	ck_assert_msg(mt_http_server_start(x->loop, &o, &x->server, &err) == 0, "%s", err.msg);
	mt_http_route(x->server, "GET", "/list", provide, x);
	x->env = (struct mixer_adapter_env){ .loop = x->loop,
		.http = x->http,
		.clock = &x->clock.clock,
		.health = health,
		.health_ctx = x };
	snprintf(url, sizeof(url), "http://127.19.7.1:%u/list", mt_http_server_port(x->server));
	refresh.seconds = 60;
	ttl.seconds = 90;
	p.provider_url = url;
	p.refresh_interval = &refresh;
	p.ttl = &ttl;
	p.overrides = (char **)&override;
	p.n_overrides = 1;
	ck_assert_int_eq(mixer_adapter_by_name("listchecker")
				 ->open(&x->env, "known.listchecker.shop", &p.base, &x->self, &err),
		0);
}

static void stop(struct fixture *x)
{
	mixer_adapter_by_name("listchecker")->close(x->self);
	mt_http_server_stop(x->server);
	mt_http_client_free(x->http);
	mt_loop_free(x->loop);
}

static void until_told(struct fixture *x, int times)
{
	while (x->told < times)
		uv_run(mt_loop_uv(x->loop), UV_RUN_ONCE);
}

/* Code of a check, or the negative error. */
static int ask(struct fixture *x, const char *text)
{
	struct mt_arena *a = mt_arena_new(0);
	struct mixer_instance in = { 0 };
	struct mixer_verdict v = { 0 };
	struct mt_err err = { 0 };

	in.scalars[MIXER_S_VALUE] = mt_value_str(text, strlen(text));
	int r = mixer_adapter_by_name("listchecker")->check(x->self, NULL, &in, a, &v, &err);
	mt_arena_free(a);
	return r < 0 ? r : v.code;
}

START_TEST(fetched_and_refreshed)
{
	struct fixture x;

	start(&x, "a\nb\n", "own");
	ck_assert_int_eq(ask(&x, "a"), MT_UNAVAILABLE);
	until_told(&x, 1);
	ck_assert_str_eq(x.why, "");
	ck_assert_int_eq(ask(&x, "a"), 0);
	ck_assert_int_eq(ask(&x, "own"), 0);
	ck_assert_int_eq(ask(&x, "c"), 5);
	x.list = "c\n";
	mt_test_clock_advance(&x.clock, 61 * MT_NS_PER_SEC);
	until_told(&x, 2);
	ck_assert_int_eq(ask(&x, "c"), 0);
	ck_assert_int_eq(ask(&x, "a"), 5);
	stop(&x);
}
END_TEST

START_TEST(kept_while_the_provider_ails)
{
	struct fixture x;

	start(&x, "a\n", "own");
	until_told(&x, 1);
	x.list = NULL;
	mt_test_clock_advance(&x.clock, 61 * MT_NS_PER_SEC);
	until_told(&x, 2);
	ck_assert_ptr_nonnull(strstr(x.why, "500"));
	ck_assert_int_eq(ask(&x, "a"), 0);
	mt_test_clock_advance(&x.clock, 40 * MT_NS_PER_SEC); /* beyond its time to live */
	until_told(&x, 3);
	ck_assert_int_eq(ask(&x, "a"), MT_UNAVAILABLE);
	x.list = "a\n";
	mt_test_clock_advance(&x.clock, 6 * MT_NS_PER_SEC);
	until_told(&x, 4);
	ck_assert_int_eq(ask(&x, "a"), 0);
	stop(&x);
}
END_TEST

MT_UNIT(listchecker, fetched_and_refreshed, kept_while_the_provider_ails)
