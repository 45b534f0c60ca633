/* A whole daemon in this process: its main runs on a thread of its own, the test asks its pages. */
#include "common/run/daemon.h"

#include <ftw.h>
#include <jansson.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "tests/unit/http_raw.h"
#include "tests/unit/unit.h"

struct test_options {
	struct mt_common_options common;
	int64_t width;
};
static const struct mt_opt rows[] = { MT_OPT_ROW(
	struct test_options, INT, width, "3", "1..9", "how wide") };

struct self {
	int order;
};

enum { METRIC_test_events };
static const struct mt_metric_desc metrics[] = { MT_METRIC_ROW(
	COUNTER, test_events, "Events.", "kind") };

static sem_t up, reloaded;
static struct mt_daemon *daemon_now;
static uint16_t port;
static char trace[256];
static bool second_fails;

static void note(const char *what)
{
	strcat(trace, what);
}

static int first_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	const struct test_options *o = mt_daemon_options(d);

	(void)err;
	((struct self *)self)->order = (int)o->width;
	note("+first");
	mt_daemon_ready(d, "feed", false, "no configuration yet");
	return 0;
}

static void first_stop(struct mt_daemon *d, void *self)
{
	(void)d, (void)self;
	note("-first");
}

static void page(void *ctx, struct mt_http_req *req)
{
	const struct self *self = ctx;

	mt_http_reply_json(req, 200, json_pack("{s:i}", "width", self->order));
}

static int second_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	if (second_fails)
		return mt_fail(err, MT_IO, "somewhere", "it broke");
	note("+second");
	mt_daemon_debug(d, "width", "the width", page, self);
	mt_metric_add(mt_daemon_metrics(d), METRIC_test_events, 2, "a\"b");
	port = mt_http_server_port(mt_daemon_monitor(d));
	daemon_now = d;
	sem_post(&up);
	return 0;
}

static void second_stop(struct mt_daemon *d, void *self)
{
	(void)d, (void)self;
	note("-second");
}

static void reload(struct mt_daemon *d, void *self)
{
	(void)d, (void)self;
	sem_post(&reloaded);
}

static const struct mt_component components[] = { { "first", first_start, first_stop },
	{ "second", second_start, second_stop } };
static const struct mt_daemon_desc desc = { .name = "test",
	.usage = "test [options]",
	.opts = rows,
	.nopts = 1,
	.options_size = sizeof(struct test_options),
	.self_size = sizeof(struct self),
	.components = components,
	.ncomponents = 2,
	.metrics = metrics,
	.nmetrics = 1,
	.reload = reload,
	.monitoring_addr = "127.0.0.1:0" };

static char dir[] = "/tmp/meltemi-daemon-XXXXXX";

static void quiet(void *ctx, const char *line, size_t n)
{
	(void)ctx, (void)line, (void)n;
}

static int run_main(const char *flag, const char *value)
{
	char *argv[] = { (char *)"test", (char *)"--state-dir", dir, (char *)flag, (char *)value,
		NULL };

	trace[0] = '\0';
	return mt_daemon_main(&desc, value ? 5 : 3, argv);
}

static void *main_thread(void *arg)
{
	return (void *)(intptr_t)run_main(arg ? "--width" : NULL, arg);
}

static int stop(pthread_t t)
{
	void *status;

	kill(getpid(), SIGTERM);
	pthread_join(t, &status);
	return (int)(intptr_t)status;
}

static void set_ready(void *arg)
{
	mt_daemon_ready(arg, "feed", true, NULL);
}

/* Asks until the status is the wanted one: what changes it runs on the loop. */
static void wait_status(const char *path, int want)
{
	while (mt_raw_get(port, path, NULL) != want)
		;
}

START_TEST(a_whole_life)
{
	pthread_t t;
	char *body;

	pthread_create(&t, NULL, main_thread, (void *)"7");
	sem_wait(&up);
	ck_assert_int_eq(mt_raw_get(port, "/healthz", &body), 200);
	ck_assert_str_eq(body, "ok\n");
	mt_free(body);
	ck_assert_int_eq(mt_raw_get(port, "/readyz", &body), 503);
	ck_assert_ptr_nonnull(strstr(body, "no configuration yet"));
	mt_free(body);
	mt_loop_post(mt_daemon_loop(daemon_now), set_ready, daemon_now);
	wait_status("/readyz", 200);
	ck_assert_int_eq(mt_raw_get(port, "/version", &body), 200);
	ck_assert_ptr_nonnull(strstr(body, "\"component\": \"test\""));
	mt_free(body);
	ck_assert_int_eq(mt_raw_get(port, "/metrics", &body), 200);
	ck_assert_ptr_nonnull(strstr(body, "test_events{kind=\"a\\\"b\"} 2\n"));
	ck_assert_ptr_nonnull(strstr(body, "\nprocess_resident_memory_bytes "));
	ck_assert_ptr_nonnull(strstr(body, "\nmeltemi_build_info{component=\"test\",version=\""));
	mt_free(body);
	kill(getpid(), SIGHUP);
	sem_wait(&reloaded);
	ck_assert_int_eq(stop(t), 0);
	ck_assert_str_eq(trace, "+first+second-second-first");
}
END_TEST

START_TEST(debug_pages)
{
	pthread_t t;
	char *body;
	int fd;

	pthread_create(&t, NULL, main_thread, (void *)"5");
	sem_wait(&up);
	ck_assert_int_eq(mt_raw_get(port, "/debug/", &body), 200);
	ck_assert_ptr_nonnull(strstr(body, "/debug/width"));
	mt_free(body);
	ck_assert_int_eq(mt_raw_get(port, "/debug/width", &body), 200);
	ck_assert_ptr_nonnull(strstr(body, "5"));
	mt_free(body);
	ck_assert_int_eq(mt_raw_get(port, "/debug/options", &body), 200);
	ck_assert_ptr_nonnull(strstr(body, "\"source\": \"--width\""));
	mt_free(body);
	ck_assert_int_eq(mt_raw_get(port, "/debug/memory", NULL), 200);
	ck_assert_int_eq(mt_raw_get(port, "/debug/log?scope=daemon&level=debug", &body), 200);
	ck_assert_ptr_nonnull(strstr(body, "\"daemon\": \"debug\""));
	mt_free(body);
	ck_assert_int_eq(mt_raw_get(port, "/debug/log?level=loud", NULL), 400);
	ck_assert_int_eq(mt_raw_get(port, "/debug/log?scope=nobody&level=info", NULL), 404);
	ck_assert_int_eq(mt_raw_get(port, "/debug/none", NULL), 404);
	ck_assert_int_eq(mt_raw_get(port, "/none", NULL), 404);
	/* A name that was rebound to this address. */
	fd = mt_raw_connect(port);
	mt_raw_send(fd, "GET /debug/options HTTP/1.1\r\nHost: evil.example:80\r\n\r\n", 0);
	body = mt_raw_read(fd);
	ck_assert_int_eq(mt_raw_status(body), 403);
	mt_free(body);
	close(fd);
	ck_assert_int_eq(stop(t), 0);
}
END_TEST

static void write_config(const char *text)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/conf", dir);
	ck_assert_int_eq(mt_file_replace(path, text, strlen(text), 0600, NULL), 0);
}

static void *main_with_config(void *arg)
{
	return (void *)(intptr_t)run_main("--config", arg);
}

START_TEST(hangup_reads_the_log_levels_again)
{
	static struct mt_log_scope probe = MT_LOG_SCOPE("probe");
	char path[64];
	pthread_t t;

	snprintf(path, sizeof(path), "%s/conf", dir);
	write_config("log-level = warn\n");
	pthread_create(&t, NULL, main_with_config, path);
	sem_wait(&up);
	wait_status("/healthz", 200);
	ck_assert(!mt_log_on(&probe, MT_LOG_INFO));
	write_config("log-level = warn,probe:debug\nwidth = 4\n");
	kill(getpid(), SIGHUP);
	sem_wait(&reloaded);
	ck_assert(mt_log_on(&probe, MT_LOG_DEBUG));
	write_config("log-level = nonsense\n"); /* a fault changes nothing */
	kill(getpid(), SIGHUP);
	sem_wait(&reloaded);
	ck_assert(mt_log_on(&probe, MT_LOG_DEBUG));
	ck_assert_int_eq(stop(t), 0);
}
END_TEST

static int plaintext(const char *addr)
{
	struct mt_err err;

	return mt_daemon_check_plaintext(daemon_now, "--listen", addr, &err);
}

static void *main_without_tls(void *arg)
{
	(void)arg;
	return (void *)(intptr_t)run_main("--tls", "off");
}

START_TEST(plaintext_stays_here)
{
	pthread_t t;

	pthread_create(&t, NULL, main_without_tls, NULL);
	sem_wait(&up);
	wait_status("/healthz", 200);
	ck_assert_int_eq(plaintext("127.0.0.1:80"), 0);
	ck_assert_int_eq(plaintext("127.13.4.5:0"), 0);
	ck_assert_int_eq(plaintext("[::1]:80"), 0);
	ck_assert_int_eq(plaintext("unix:/run/x"), 0);
	ck_assert_int_eq(plaintext("localhost:80"), 0);
	ck_assert_int_eq(plaintext("0.0.0.0:80"), MT_INVALID);
	ck_assert_int_eq(plaintext(":80"), MT_INVALID);
	ck_assert_int_eq(plaintext("[::]:80"), MT_INVALID);
	ck_assert_int_eq(plaintext("10.0.0.1:80"), MT_INVALID);
	ck_assert_int_eq(plaintext("nonsense"), MT_INVALID);
	ck_assert_int_eq(stop(t), 0);
	/* With TLS on anything goes. */
	pthread_create(&t, NULL, main_thread, NULL);
	sem_wait(&up);
	wait_status("/healthz", 200);
	ck_assert_int_eq(plaintext("10.0.0.1:80"), 0);
	ck_assert_int_eq(stop(t), 0);
}
END_TEST

START_TEST(a_failed_start_unwinds)
{
	second_fails = true;
	ck_assert_int_eq(run_main(NULL, NULL), 1);
	ck_assert_str_eq(trace, "+first-first");
	second_fails = false;
}
END_TEST

START_TEST(wrong_options)
{
	char *no_state[] = { (char *)"test", NULL };

	ck_assert_int_eq(mt_daemon_main(&desc, 1, no_state), 2);
	ck_assert_int_eq(run_main("--width", "10"), 2);
	ck_assert_int_eq(run_main("--tls", "maybe"), 2);
	ck_assert_int_eq(run_main("--log-level", "loud"), 2);
	ck_assert_int_eq(run_main("--log-format", "xml"), 2);
	ck_assert_int_eq(run_main("surplus", "words"), 2);
	ck_assert_int_eq(run_main("--monitoring-addr", "nonsense"), 1);
}
END_TEST

START_TEST(a_second_owner_is_refused)
{
	pthread_t t;

	pthread_create(&t, NULL, main_thread, NULL);
	sem_wait(&up);
	wait_status("/healthz", 200); /* the loop turns: signals are caught */
	ck_assert_int_eq(run_main("--monitoring-addr", "127.0.0.1:0"), 1);
	ck_assert_int_eq(stop(t), 0);
}
END_TEST

START_TEST(systemd_is_told)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char text[256] = "";
	pthread_t t;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/notify", dir);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	setenv("NOTIFY_SOCKET", addr.sun_path, 1);
	pthread_create(&t, NULL, main_thread, NULL);
	sem_wait(&up);
	mt_loop_post(mt_daemon_loop(daemon_now), set_ready, daemon_now);
	ck_assert_int_gt(recv(fd, text, sizeof(text) - 1, 0), 0);
	ck_assert_ptr_nonnull(strstr(text, "READY=1"));
	ck_assert_int_eq(stop(t), 0);
	ck_assert_int_gt(recv(fd, text, sizeof(text) - 1, 0), 0);
	ck_assert_ptr_nonnull(strstr(text, "STOPPING=1"));
	unsetenv("NOTIFY_SOCKET");
	close(fd);
}
END_TEST

static int unlink_one(const char *p, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(p);
}

int main(void)
{
	const TTest *const tests[] = { a_whole_life, debug_pages, hangup_reads_the_log_levels_again,
		plaintext_stays_here, a_failed_start_unwinds, wrong_options,
		a_second_owner_is_refused, systemd_is_told };
	int r;

	if (!mkdtemp(dir))
		return 1;
	sem_init(&up, 0, 0);
	sem_init(&reloaded, 0, 0);
	mt_log_set_sink(quiet, NULL);
	r = mt_unit_run("daemon", tests, MT_ARRAY_SIZE(tests));
	nftw(dir, unlink_one, 8, FTW_DEPTH | FTW_PHYS);
	return r;
}
