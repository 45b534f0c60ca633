/* Load generator for discovery: N proxies that behave like Envoy (tests/unit/xds/fake_envoy.h), each
 * on a connection of its own, a few threads.
 *
 *   xds_load --target 127.0.0.1:15010 --streams 1000 --variant delta --namespaces 1 --localities 1
 *
 * Variants: delta, as a current Envoy (virtual hosts are resources of their own), delta-rds, as an
 * Envoy of 1.36 (whole route tables), and sotw.
 *
 * At most --connecting proxies (64) are between the start of their connection and the first answer, so
 * that ten thousand do not time out while one machine shakes their hands. One whose attempt fails tries
 * again after RETRY_NS.
 *
 * With --ca, --token and --bundle the connections are mutual TLS, all with the one identity that the
 * token is for (whose namespace must be ns-0: so --namespaces 1).
 *
 * It speaks JSON, one object a line, on its standard output; times are CLOCK_MONOTONIC nanoseconds, so
 * that another process can compare them with its own clock:
 *   {"event": "ready", "streams": N, "start_ns": T, "first_ns": T, "last_ns": T,
 *    "retried": n}
 *       all proxies have their first configuration and have acknowledged it
 *   {"event": "change", "type": "RDS", "streams": N, "p50_ns": T, "p99_ns": T, "last_ns": T}
 *   {"event": "stats", "CDS": {"responses": n, "bytes": n}, ..., "ended": n}
 *   {"event": "timeout", ...} instead of what did not come in time
 * and takes commands on its standard input:
 *   expect TYPE N SECONDS   wait until N proxies have been sent something of the type; "armed" first
 *   stats | reconnect | quit
 * reconnect closes all streams and opens them again; "ready" says when all are complete. */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/ident/ident.h"
#include "envoy/config/core/v3/core.pb-c.h"
#include "tests/bench/xds_load/h2.h"

#define RETRY_NS (20 * MT_NS_PER_MS)

struct proxy {
	struct fake_envoy *e; /* NULL: has never connected */
	uint8_t *node;
	size_t node_n;
	int64_t not_before; /* of the next attempt to connect */
	bool connecting;    /* on its way to the first answer */
	bool complete;
	unsigned seen; /* the expectation that it has met */
};

static struct {
	const char *target;
	const char *variant;
	int streams, namespaces, localities, threads, connecting;
	const char *ca, *token, *bundle; /* NULL: plaintext */
} opt = { "127.0.0.1:15010", "delta", 1, 1, 1, 2, 64, NULL, NULL, NULL };

static struct h2 *wire;
static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct proxy *proxies;
static int complete;              /* proxies that have all */
static int64_t first_ns, last_ns; /* the first and the last that became so */
static unsigned expectation;      /* number of the current one */
static int expected_type, met, awaited;
static int64_t *times;
static int ended;      /* streams of complete proxies that somebody else ended */
static int retried;    /* attempts that failed */
static int connecting; /* proxies that are */
/* Proxies without a stream, in the order in which they became so: a ring of opt.streams places. */
static int *down, down_first, down_n;

static int64_t now(void)
{
	return mt_mono(&mt_clock_system);
}

static void on_event(void *ctx, struct fake_envoy *e, const struct fake_response *r)
{
	struct proxy *p = ctx;
	int64_t t = now();
	pthread_mutex_lock(&mu);
	bool known = p->complete;
	bool wake = MT_TAKE(p->connecting);
	connecting -= wake;
	pthread_mutex_unlock(&mu);
	bool whole = known || fake_complete(e);
	pthread_mutex_lock(&mu);
	if (whole && !p->complete) {
		p->complete = true;
		first_ns = complete++ ? first_ns : t;
		last_ns = t;
		wake = true;
	}
	if (p->seen != expectation && r->type == expected_type) {
		p->seen = expectation;
		times[met++] = t;
		/* Not for each of thousands: the cores are the measured ones. */
		wake = wake || met == awaited;
	}
	if (wake)
		pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&mu);
}

/* mu held */
static void push_down(struct proxy *p, int64_t not_before)
{
	p->not_before = not_before;
	down[(down_first + down_n++) % opt.streams] = (int)(p - proxies);
}

static void on_closed(void *ctx, struct fake_envoy *e, int status, const char *msg)
{
	static int shown;
	struct proxy *p = ctx;
	(void)e;
	pthread_mutex_lock(&mu);
	ended += status != 1 && p->complete;
	retried += status != 1 && !p->complete;
	connecting -= MT_TAKE(p->connecting);
	push_down(p, now() + RETRY_NS);
	if (status != 1 && shown++ < 5)
		fprintf(stderr, "xds_load: a stream ended: %d %s\n", status, msg ? msg : "");
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&mu);
}

static struct timespec real_time_in(int64_t ns)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	ns += t.tv_nsec;
	t.tv_sec += ns / MT_NS_PER_SEC;
	t.tv_nsec = ns % MT_NS_PER_SEC;
	return t;
}

/* Waits until *counter is at least n. */
static bool wait_for(const int *counter, int n, int seconds)
{
	struct timespec until = real_time_in(seconds * MT_NS_PER_SEC);
	int rc = 0;
	pthread_mutex_lock(&mu);
	while (*counter < n && rc == 0)
		rc = pthread_cond_timedwait(&changed, &mu, &until);
	bool ok = *counter >= n;
	pthread_mutex_unlock(&mu);
	return ok;
}

/* ---- the node of proxy i ---- */

static void string_field(Google__Protobuf__Struct__FieldsEntry *f, Google__Protobuf__Value *v,
	const char *key, char *text)
{
	google__protobuf__struct__fields_entry__init(f);
	google__protobuf__value__init(v);
	v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE;
	v->string_value = text;
	f->key = (char *)key;
	f->value = v;
}

static uint8_t *make_node(int i, size_t *ret_n)
{
	char id[160], ns[32], ip[32], zone[32];
	snprintf(ns, sizeof(ns), "ns-%d", i % opt.namespaces);
	snprintf(ip, sizeof(ip), "10.%d.%d.%d", 200 + (i >> 16), i >> 8 & 255, i & 255);
	snprintf(zone, sizeof(zone), "zone-%d", i % opt.localities);
	snprintf(id, sizeof(id), "sidecar~%s~client-%d.%s~%s.svc.cluster.local", ip, i, ns, ns);
	Google__Protobuf__Struct meta = GOOGLE__PROTOBUF__STRUCT__INIT,
				 labels = GOOGLE__PROTOBUF__STRUCT__INIT;
	Google__Protobuf__Struct__FieldsEntry f[5], label, *fields[5], *plabel = &label;
	Google__Protobuf__Value v[5], vlabel;
	string_field(&f[0], &v[0], "NAMESPACE", ns);
	string_field(&f[1], &v[1], "CLUSTER_ID", "bench");
	string_field(&f[2], &v[2], "INSTANCE_IPS", ip);
	string_field(&f[3], &v[3], "ISTIO_VERSION", "1.20.0");
	string_field(&f[4], &v[4], "LABELS", "");
	string_field(&label, &vlabel, "app", "client");
	labels.fields = &plabel;
	labels.n_fields = 1;
	v[4].kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE;
	v[4].struct_value = &labels;
	for (int k = 0; k < 5; k++)
		fields[k] = &f[k];
	meta.fields = fields;
	meta.n_fields = 5;
	Core__Locality loc = CORE__LOCALITY__INIT;
	loc.region = "region";
	loc.zone = zone;
	Core__BuildVersion build = CORE__BUILD_VERSION__INIT;
	Etype__SemanticVersion version = ETYPE__SEMANTIC_VERSION__INIT;
	version.major_number = 1;
	version.minor_number = strcmp(opt.variant, "delta") == 0 ? 40 : 36;
	build.version = &version;
	Core__Node node = CORE__NODE__INIT;
	node.id = id;
	node.cluster = "client";
	node.metadata = &meta;
	node.locality = &loc;
	node.user_agent_name = "envoy";
	node.user_agent_version_type_case =
		CORE__NODE__USER_AGENT_VERSION_TYPE_USER_AGENT_BUILD_VERSION;
	node.user_agent_build_version = &build;
	uint8_t *bytes = mt_alloc(core__node__get_packed_size(&node));
	*ret_n = core__node__pack(&node, bytes);
	return bytes;
}

/* ---- commands ---- */

static void connect_one(struct proxy *p)
{
	struct fake_opts o = { .wire = &h2_wire,
		.wire_ctx = wire,
		.delta = strcmp(opt.variant, "sotw") != 0,
		.node = p->node,
		.node_n = p->node_n,
		.quiet = true,
		.event = on_event,
		.closed = on_closed,
		.ctx = p };
	if (!p->e) {
		p->e = fake_envoy_new(&o);
		return;
	}
	fake_envoy_disconnect(p->e); /* its end has been told: waits until it has passed */
	fake_envoy_connect(p->e);
}

/* The first that is down and may try; NULL: wait, for at most *wait_ns. mu held. */
static struct proxy *next_down(int64_t *wait_ns)
{
	*wait_ns = MT_NS_PER_SEC;
	if (!down_n || connecting >= opt.connecting)
		return NULL;
	struct proxy *p = &proxies[down[down_first]];
	*wait_ns = p->not_before - now();
	if (*wait_ns > 0)
		return NULL;
	down_first = (down_first + 1) % opt.streams;
	down_n--;
	p->connecting = true;
	connecting++;
	return p;
}

/* Connects whoever is down until all are complete. */
static bool bring_up(int64_t until)
{
	pthread_mutex_lock(&mu);
	while (complete < opt.streams && now() < until) {
		int64_t wait_ns;
		struct proxy *p = next_down(&wait_ns);
		if (p) {
			pthread_mutex_unlock(&mu);
			connect_one(p);
			pthread_mutex_lock(&mu);
		} else {
			struct timespec t = real_time_in(wait_ns);
			pthread_cond_timedwait(&changed, &mu, &t);
		}
	}
	bool ok = complete == opt.streams;
	pthread_mutex_unlock(&mu);
	return ok;
}

static void ready(int seconds)
{
	int64_t start = now();
	if (!bring_up(start + seconds * MT_NS_PER_SEC)) {
		printf("{\"event\": \"timeout\", \"what\": \"ready\", \"complete\": %d}\n",
			complete);
		return;
	}
	printf("{\"event\": \"ready\", \"streams\": %d, \"start_ns\": %" PRId64
	       ", \"first_ns\": %" PRId64 ", \"last_ns\": %" PRId64 ", \"retried\": %d}\n",
		opt.streams, start, first_ns, last_ns, retried);
}

static int time_cmp(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

static void expect(const char *type, int n, int seconds)
{
	int t = 0;
	while (t < FAKE_TYPES && strcmp(type, fake_type_name[t]) != 0)
		t++;
	if (t == FAKE_TYPES || n < 1 || n > opt.streams) {
		printf("{\"event\": \"error\", \"what\": \"expect TYPE N SECONDS\"}\n");
		return;
	}
	pthread_mutex_lock(&mu);
	expectation++;
	expected_type = t;
	awaited = n;
	met = 0;
	pthread_mutex_unlock(&mu);
	printf("{\"event\": \"armed\"}\n");
	fflush(stdout);
	bool ok = wait_for(&met, n, seconds);
	pthread_mutex_lock(&mu);
	int k = met;
	expected_type = -1;
	qsort(times, (size_t)k, sizeof(*times), time_cmp);
	if (ok)
		printf("{\"event\": \"change\", \"type\": \"%s\", \"streams\": %d, \"p50_ns\": %" PRId64
		       ", \"p99_ns\": %" PRId64 ", \"last_ns\": %" PRId64 "}\n",
			type, k, times[(k - 1) / 2], times[(k - 1) * 99 / 100], times[k - 1]);
	else
		printf("{\"event\": \"timeout\", \"what\": \"%s\", \"streams\": %d}\n", type, k);
	pthread_mutex_unlock(&mu);
}

static void stats(void)
{
	printf("{\"event\": \"stats\"");
	for (int t = 0; t < FAKE_TYPES; t++) {
		uint64_t bytes = 0, responses = 0, held = 0;
		for (int i = 0; i < opt.streams && proxies[i].e; i++) {
			bytes += fake_bytes(proxies[i].e, t);
			responses += fake_responses(proxies[i].e, t);
			held += fake_count(proxies[i].e, t);
		}
		printf(", \"%s\": {\"responses\": %" PRIu64 ", \"bytes\": %" PRIu64
		       ", \"held\": %" PRIu64 "}",
			fake_type_name[t], responses, bytes, held);
	}
	printf(", \"ended\": %d}\n", ended);
}

static void reconnect(void)
{
	for (int i = 0; i < opt.streams; i++)
		fake_envoy_disconnect(proxies[i].e);
	pthread_mutex_lock(&mu);
	complete = 0;
	for (int i = 0; i < opt.streams; i++)
		proxies[i].complete = false;
	retried = 0;
	pthread_mutex_unlock(&mu);
	ready(300);
}

static void commands(void)
{
	char line[256], word[32], type[32];
	while (fgets(line, sizeof(line), stdin)) {
		int n = 0, seconds = 0;
		*word = *type = '\0';
		sscanf(line, "%31s %31s %d %d", word, type, &n, &seconds);
		if (strcmp(word, "expect") == 0)
			expect(type, n, seconds > 0 ? seconds : 60);
		else if (strcmp(word, "stats") == 0)
			stats();
		else if (strcmp(word, "reconnect") == 0)
			reconnect();
		else if (strcmp(word, "quit") == 0)
			return;
		else
			printf("{\"event\": \"error\", \"what\": \"unknown command\"}\n");
		fflush(stdout);
	}
}

static int arguments(int argc, char **argv)
{
	const struct {
		const char *flag;
		const char **text;
		int *number;
	} flags[] = { { "--target", &opt.target, NULL }, { "--variant", &opt.variant, NULL },
		{ "--streams", NULL, &opt.streams }, { "--namespaces", NULL, &opt.namespaces },
		{ "--localities", NULL, &opt.localities }, { "--threads", NULL, &opt.threads },
		{ "--connecting", NULL, &opt.connecting }, { "--ca", &opt.ca, NULL },
		{ "--token", &opt.token, NULL }, { "--bundle", &opt.bundle, NULL } };
	for (int i = 1; i < argc; i += 2) {
		size_t k = 0;
		while (k < MT_ARRAY_SIZE(flags) && strcmp(argv[i], flags[k].flag) != 0)
			k++;
		if (k == MT_ARRAY_SIZE(flags) || i + 1 == argc)
			return -1;
		if (flags[k].text)
			*flags[k].text = argv[i + 1];
		else if ((*flags[k].number = atoi(argv[i + 1])) < 1)
			return -1;
	}
	bool sotw = strcmp(opt.variant, "sotw") == 0, delta = strcmp(opt.variant, "delta") == 0;
	return sotw || delta || strcmp(opt.variant, "delta-rds") == 0 ? 0 : -1;
}

/* ---- mutual TLS ---- */

static void on_identity(void *ctx, const struct mt_ident_event *ev)
{
	if (!ev->identity)
		fprintf(stderr, "xds_load: no certificate yet: %s\n", ev->err->msg);
	else
		mt_loop_stop(ctx);
}

/* Returns when there is a certificate; the loop is not needed afterwards. NULL: refused at once. */
static struct mt_ident *identity(struct mt_rpc_env *env, struct mt_loop *loop)
{
	struct mt_ident *ident = NULL;
	struct mt_err err = { 0 };
	const struct mt_ident_opts o = { .loop = loop,
		.env = env,
		.ca_addr = opt.ca,
		.trust_domain = "cluster.local",
		.identity = "",
		.join_token_file = opt.token,
		.trust_bundle = opt.bundle,
		.event = on_identity,
		.ctx = loop };

	if (mt_ident_start(&o, &ident, &err) < 0) {
		fprintf(stderr, "xds_load: %s\n", err.msg);
		return NULL;
	}
	mt_loop_run(loop);
	return ident;
}

/* By whose connections: with the identity of now, none: plaintext. */
static int make_wire(struct mt_ident *ident)
{
	struct mt_identity *id = ident ? mt_identity_slot_get(mt_ident_slot(ident)) : NULL;
	struct mt_err err = { 0 };
	int r = h2_new(opt.target, (unsigned)opt.threads, id, &wire, &err);

	if (r < 0)
		fprintf(stderr, "xds_load: %s: %s\n", err.path, err.msg);
	if (id)
		mt_identity_unref(id);
	return r;
}

static void raise_file_limit(void)
{
	struct rlimit l;
	if (getrlimit(RLIMIT_NOFILE, &l) == 0) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
	}
}

int main(int argc, char **argv)
{
	if (arguments(argc, argv) < 0) {
		fprintf(stderr,
			"usage: xds_load --target ADDR --streams N --variant delta|delta-rds|sotw "
			"[--namespaces K] [--localities K] [--threads K] [--connecting K]\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	raise_file_limit();
	proxies = mt_alloc((size_t)opt.streams * sizeof(*proxies));
	down = mt_alloc((size_t)opt.streams * sizeof(*down));
	times = mt_alloc((size_t)opt.streams * sizeof(*times));
	expected_type = -1;
	expectation = 1;
	struct mt_rpc_env *env = opt.ca ? mt_rpc_env_new(1) : NULL;
	struct mt_loop *loop = opt.ca ? mt_loop_new(&mt_clock_system) : NULL;
	struct mt_ident *ident = loop ? identity(env, loop) : NULL;
	if ((loop && !ident) || make_wire(ident) < 0)
		return 1;
	for (int i = 0; i < opt.streams; i++) {
		proxies[i].node = make_node(i, &proxies[i].node_n);
		push_down(&proxies[i], 0);
	}
	ready(600);
	fflush(stdout);
	commands();
	for (int i = 0; i < opt.streams; i++) {
		fake_envoy_free(proxies[i].e);
		mt_free(proxies[i].node);
	}
	h2_free(wire);
	if (loop) {
		mt_ident_stop(ident);
		mt_rpc_env_free(env);
		mt_loop_free(loop);
	}
	mt_free(down);
	mt_free(proxies);
	mt_free(times);
	fake_intern_clear();
	return 0;
}
