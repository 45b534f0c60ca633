/* The canary with real streams: who is given what changed, who is not, and what is left in the end.
 * The loop variable: 0 state of the world, 1 delta. */
#include "pilot/push/reach.h"
#include "pilot/push/verdicts.h"
#include "tests/unit/pilot/push_rig.h"

#define CLUSTER(name) "outbound|80||" name ".default.svc.cluster.local"
#define POLICY(name, seconds)                                                                      \
	"apiVersion: networking.istio.io/v1alpha3\nkind: DestinationRule\n"                        \
	"metadata: {name: " name ", namespace: default}\n"                                         \
	"spec: {host: " name ", trafficPolicy: {connectionPool: {tcp: {connectTimeout: " seconds   \
	"s}}}}\n---\n"
#define BOTH SERVICE("a", "10.1.0.1") SERVICE("b", "10.1.0.2") SERVICE("c", "10.1.0.3")

struct safety {
	struct push_safety s;
	bool off;
	unsigned refused, settled;
	char names[256];
	char words[256];
};

static bool on_refused(void *ctx, const struct push_refusal *r)
{
	struct safety *s = ctx;
	s->refused++;
	strcat(strcat(s->names, r->res->name), " ");
	snprintf(s->words, sizeof(s->words), "%s", r->words);
	ck_assert_uint_gt(r->res->nprov, 0);
	return false; /* the world stays as it is */
}

static bool on_settled(void *ctx)
{
	((struct safety *)ctx)->settled++;
	return false;
}

static void start(struct rig *r, void *arg)
{
	struct safety *s = arg;
	s->s = (struct push_safety){ .canary = !s->off,
		.canary_timeout_ns =
			s->s.canary_timeout_ns ? s->s.canary_timeout_ns : 20 * MT_NS_PER_SEC,
		.first_timeout_ns =
			s->s.first_timeout_ns ? s->s.first_timeout_ns : 20 * MT_NS_PER_SEC,
		.refused = on_refused,
		.settled = on_settled,
		.ctx = s };
	push_safety(r->push, &s->s);
}

static void copy(struct rig *r, void *arg)
{
	void **both = arg;
	(void)r;
	memcpy(both[0], both[1], sizeof(struct safety));
}

static struct safety now(struct rig *r, struct safety *s)
{
	struct safety out;
	void *both[] = { &out, s };
	on_loop(r, copy, both);
	return out;
}

/* After the first time that this was so, which ends what proxies had to begin with. */
static void wait_settled(struct rig *r, struct safety *s, unsigned before)
{
	while (now(r, s).settled <= before)
		;
}

/* What proxies answer to the next responses of clusters, together: "ny" refuses one, accepts the next,
 * and then everything. (By content they cannot tell: what was good comes again after a rejection.) */
struct picky {
	const char *script;
	atomic_uint at;
	atomic_bool on;
};

static const char *judge(void *ctx, struct fake_envoy *e, const struct fake_response *r)
{
	struct picky *p = ctx;
	(void)e;
	if (r->type != FAKE_CDS || !atomic_load(&p->on))
		return NULL;
	unsigned at = atomic_fetch_add(&p->at, 1);
	return at < strlen(p->script) && p->script[at] == 'n' ? "I do not like it" : NULL;
}

static struct fake_envoy *picky(struct rig *r, bool delta, const char *id, struct picky *p)
{
	return fake_envoy_new(&(struct fake_opts){
		.channel = r->channel, .delta = delta, .id = id, .judge = judge, .ctx = p });
}

static void in_step(struct rig *r, void *arg)
{
	bool *all = arg;
	*all = true;
	for (const struct push_proxy *x = push_proxies(r->push); x; x = x->next)
		for (int t = 0; t < PUSH_TYPES; t++) {
			struct mt_xds_status st;
			mt_xds_sub_status(x->sub, t, &st);
			if (!st.subscribed)
				continue;
			*all = *all && st.acked_id && st.acked_id == st.sent_id && !st.nacked;
		}
}

static void wait_in_step(struct rig *r)
{
	bool all = false;
	while (!all)
		on_loop(r, in_step, &all);
}

static void is_idle(struct rig *r, void *arg)
{
	*(bool *)arg = push_idle(r->push);
}

static void wait_idle(struct rig *r)
{
	bool idle = false;
	while (!idle)
		on_loop(r, is_idle, &idle);
}

struct fleet {
	struct rig *r;
	struct safety s;
	struct picky p;
	struct fake_envoy *e[3];
	unsigned settled; /* how often, before the change */
	char good[24];    /* version of a's cluster before the change */
	char b[24];
};

static struct fleet *fleet_of(bool delta, const char *script, bool off)
{
	struct fleet *f = MT_NEW(struct fleet);
	static const char *const ids[] = { NODE(1), NODE(2), NODE(3) };
	f->r = rig_new();
	f->p.script = script;
	f->s.off = off;
	on_loop(f->r, start, &f->s);
	publish_yaml(f->r, BOTH, MT_KIND_SERVICE_ENTRY);
	for (int i = 0; i < 3; i++) {
		f->e[i] = picky(f->r, delta, ids[i], &f->p);
		ck_assert(fake_wait_count(f->e[i], FAKE_RDS, 1));
	}
	wait_in_step(f->r);
	wait_idle(f->r);
	f->settled = now(f->r, &f->s).settled;
	fake_version(f->e[0], FAKE_CDS, CLUSTER("a"), f->good);
	fake_version(f->e[0], FAKE_CDS, CLUSTER("b"), f->b);
	return f;
}

static struct fleet *fleet_new(bool delta, const char *script)
{
	return fleet_of(delta, script, false);
}

static void fleet_free(struct fleet *f)
{
	for (int i = 0; i < 3; i++)
		if (f->e[i])
			fake_envoy_free(f->e[i]);
	rig_free(f->r);
	mt_free(f);
}

static bool has_version(struct fleet *f, int i, const char *name, const char *version)
{
	char have[24];
	fake_version(f->e[i], FAKE_CDS, name, have);
	return strcmp(have, version) == 0;
}

static bool changed(struct fake_envoy *e, void *arg)
{
	char have[24];
	fake_version(e, FAKE_CDS, CLUSTER("a"), have);
	return strcmp(have, arg) != 0;
}

static bool changed_b(struct fake_envoy *e, void *arg)
{
	char have[24];
	fake_version(e, FAKE_CDS, CLUSTER("b"), have);
	return strcmp(have, arg) != 0;
}

START_TEST(test_accepted_goes_to_all)
{
	struct fleet *f = fleet_new(_i, "");

	publish_yaml(f->r, BOTH POLICY("a", "7"), MT_KIND_DESTINATION_RULE);
	for (int i = 0; i < 3; i++)
		ck_assert(fake_wait(f->e[i], changed, f->good));
	wait_settled(f->r, &f->s, f->settled);
	ck_assert_uint_eq(now(f->r, &f->s).refused, 0);
	fleet_free(f);
}
END_TEST

START_TEST(test_refused_stays_with_one)
{
	struct fleet *f = fleet_new(_i, "nny"); /* both; a; b */

	atomic_store(&f->p.on, true);
	publish_yaml(f->r, BOTH POLICY("a", "7") POLICY("b", "8"), MT_KIND_DESTINATION_RULE);
	wait_settled(f->r, &f->s, f->settled);
	struct safety s = now(f->r, &f->s);
	ck_assert_uint_eq(s.refused, 1);
	ck_assert_str_eq(s.names, CLUSTER("a") " ");
	ck_assert_str_eq(s.words, "I do not like it");
	/* Among two that changed it was found; the other one is everywhere, and this one nowhere. */
	char b[3][24];
	for (int i = 0; i < 3; i++) {
		ck_assert(fake_wait(f->e[i], changed_b, f->b));
		ck_assert(has_version(f, i, CLUSTER("a"), f->good));
		fake_version(f->e[i], FAKE_CDS, CLUSTER("b"), b[i]);
		ck_assert_str_eq(b[i], b[0]);
	}
	/* A newcomer gets what is good, and so does everybody when the world is made again. */
	fake_envoy_free(f->e[2]);
	f->e[2] = picky(f->r, _i, NODE(3), &f->p);
	ck_assert(fake_wait_count(f->e[2], FAKE_RDS, 1));
	ck_assert(has_version(f, 2, CLUSTER("a"), f->good));
	ck_assert(has_version(f, 2, CLUSTER("b"), b[0]));
	/* Corrected: it is tried, and goes to all. */
	publish_yaml(f->r, BOTH POLICY("a", "9") POLICY("b", "8"), MT_KIND_DESTINATION_RULE);
	for (int i = 0; i < 3; i++)
		ck_assert(fake_wait(f->e[i], changed, f->good));
	fleet_free(f);
}
END_TEST

START_TEST(test_the_culprits_of_many)
{
	struct fleet *f = fleet_new(_i, "nnnyn"); /* all; a; b and c; b; c */

	atomic_store(&f->p.on, true);
	publish_yaml(f->r, BOTH POLICY("a", "7") POLICY("b", "8") POLICY("c", "9"),
		MT_KIND_DESTINATION_RULE);
	wait_settled(f->r, &f->s, f->settled);
	struct safety s = now(f->r, &f->s);
	ck_assert_uint_eq(s.refused, 2);
	ck_assert_ptr_nonnull(strstr(s.names, CLUSTER("a")));
	ck_assert_ptr_nonnull(strstr(s.names, CLUSTER("c")));
	for (int i = 0; i < 3; i++) {
		ck_assert(fake_wait(f->e[i], changed_b, f->b));
		ck_assert(has_version(f, i, CLUSTER("a"), f->good));
	}
	fleet_free(f);
}
END_TEST

/* ---- a canary that is lost ---- */

START_TEST(test_silent_canary_is_replaced)
{
	struct rig *r = rig_new();
	struct safety s = { .s = { .canary_timeout_ns = 100 * MT_NS_PER_MS } };
	char good[24];

	on_loop(r, start, &s);
	publish_yaml(r, BOTH, MT_KIND_SERVICE_ENTRY);
	/* Views are asked in the order in which they came. This one is answered by hand: never again. */
	struct fake_envoy *mute = fake_envoy_new(&(struct fake_opts){
		.channel = r->channel, .delta = _i, .id = NODE(2), .manual = true });
	fake_send(mute, &(struct fake_request){ .type = FAKE_CDS });
	while (!fake_responses(mute, FAKE_CDS))
		;
	fake_send(mute, &(struct fake_request){ .type = FAKE_CDS, .nonce = "" });
	struct fake_envoy *e1 = proxy(r, _i, NODE(1));
	ck_assert(fake_wait_count(e1, FAKE_RDS, 1));
	wait_in_step(r);
	fake_version(e1, FAKE_CDS, CLUSTER("a"), good);
	unsigned before = now(r, &s).settled;
	publish_yaml(r, BOTH POLICY("a", "7"), MT_KIND_DESTINATION_RULE);
	ck_assert(fake_wait(e1, changed, good));
	fake_envoy_free(mute);
	wait_settled(r, &s, before);
	fake_envoy_free(e1);
	rig_free(r);
}
END_TEST

static bool asked(struct fake_envoy *e, void *arg)
{
	return fake_responses(e, FAKE_CDS) >= *(unsigned *)arg;
}

START_TEST(test_lost_canary_is_replaced)
{
	struct rig *r = rig_new();
	struct safety s = { 0 }; /* nobody is replaced for being silent */
	char good[24];

	on_loop(r, start, &s);
	publish_yaml(r, BOTH, MT_KIND_SERVICE_ENTRY);
	struct fake_envoy *e1 = proxy(r, _i, NODE(1));
	ck_assert(fake_wait_count(e1, FAKE_RDS, 1));
	wait_in_step(r);
	wait_idle(r);
	fake_version(e1, FAKE_CDS, CLUSTER("a"), good);
	/* The newest of a view is asked first: this one, which says nothing to the change. */
	struct fake_envoy *mute = fake_envoy_new(&(struct fake_opts){
		.channel = r->channel, .delta = _i, .id = NODE(2), .manual = true });
	fake_send(mute, &(struct fake_request){ .type = FAKE_CDS });
	ck_assert(fake_wait(mute, asked, &(unsigned){ 1 }));
	fake_send(mute, &(struct fake_request){ .type = FAKE_CDS, .nonce = "" });
	wait_in_step(r);
	publish_yaml(r, BOTH POLICY("a", "7"), MT_KIND_DESTINATION_RULE);
	ck_assert(fake_wait(mute, asked, &(unsigned){ 2 }));
	ck_assert(!changed(e1, good));
	fake_envoy_free(mute);
	ck_assert(fake_wait(e1, changed, good));
	wait_idle(r);
	fake_envoy_free(e1);
	rig_free(r);
}
END_TEST

/* ---- without a trial ---- */

/* Rejects every cluster a but one, or names nothing. */
struct strict {
	uint64_t good; /* version, 0 none */
	bool names;    /* the words say which */
	atomic_bool on;
	atomic_uint by[3]; /* rejections by each proxy */
};
struct strict_one {
	struct strict *all;
	unsigned i;
};

static const char *judge_strictly(void *ctx, struct fake_envoy *e, const struct fake_response *r)
{
	const struct strict_one *one = ctx;
	struct strict *s = one->all;
	(void)e;
	for (size_t i = 0; r->type == FAKE_CDS && atomic_load(&s->on) && i < r->n; i++) {
		if (strcmp(r->names[i], CLUSTER("a")) != 0 || r->versions[i] == s->good)
			continue;
		atomic_fetch_add(&s->by[one->i], 1);
		return s->names ? "a cluster " CLUSTER("a") " that I do not like"
				: "I do not like it";
	}
	return NULL;
}

static struct fake_envoy *strict(struct rig *r, bool delta, const char *id, struct strict_one *one)
{
	return fake_envoy_new(&(struct fake_opts){ .channel = r->channel,
		.delta = delta,
		.id = id,
		.judge = judge_strictly,
		.ctx = one });
}

/* The loop variable: whether the words name the culprit, and the variant. */
START_TEST(test_the_first_set_goes_to_one)
{
	struct rig *r = rig_new();
	struct safety s = { 0 };
	struct strict all = { .names = _i & 2, .on = true };
	struct strict_one ones[3] = { { &all, 0 }, { &all, 1 }, { &all, 2 } };
	static const char *const ids[] = { NODE(1), NODE(2), NODE(3) };
	struct fake_envoy *e[3];
	unsigned who = 0;

	on_loop(r, start, &s);
	publish_yaml(r, BOTH, MT_KIND_SERVICE_ENTRY);
	for (int i = 0; i < 3; i++)
		e[i] = strict(r, _i & 1, ids[i], &ones[i]);
	for (int i = 0; i < 3; i++) {
		ck_assert(fake_wait_count(e[i], FAKE_RDS, 1));
		who += atomic_load(&all.by[i]) > 0;
	}
	wait_in_step(r);
	wait_idle(r);
	ck_assert_uint_eq(who, 1); /* the others have never been shown it */
	ck_assert_uint_eq(now(r, &s).refused, 1);
	ck_assert_str_eq(now(r, &s).names, CLUSTER("a") " ");
	for (int i = 0; i < 3; i++) {
		ck_assert(!fake_has(e[i], FAKE_CDS, CLUSTER("a")));
		ck_assert(fake_has(e[i], FAKE_CDS, CLUSTER("b")));
		ck_assert(fake_has(e[i], FAKE_CDS, CLUSTER("c")));
		fake_envoy_free(e[i]);
	}
	rig_free(r);
}
END_TEST

/* All were given it; whoever is heard first is believed, and all go back. */
START_TEST(test_a_refusal_without_a_canary_is_hunted)
{
	struct fleet *f = fleet_of(_i & 1, "", true);
	struct strict all = { .names = _i & 2, .good = strtoull(f->good, NULL, 16) };
	struct strict_one ones[3] = { { &all, 0 }, { &all, 1 }, { &all, 2 } };
	static const char *const ids[] = { NODE(1), NODE(2), NODE(3) };
	unsigned by = 0;

	for (int i = 0; i < 3; i++) {
		fake_envoy_free(f->e[i]);
		f->e[i] = strict(f->r, _i & 1, ids[i], &ones[i]);
		ck_assert(fake_wait_count(f->e[i], FAKE_RDS, 1));
	}
	wait_in_step(f->r);
	wait_idle(f->r);
	atomic_store(&all.on, true);
	publish_yaml(f->r, BOTH POLICY("a", "7") POLICY("b", "8"), MT_KIND_DESTINATION_RULE);
	for (int i = 0; i < 3; i++)
		ck_assert(fake_wait(f->e[i], changed_b, f->b));
	wait_in_step(f->r);
	wait_idle(f->r);
	struct safety s = now(f->r, &f->s);
	ck_assert_str_eq(s.names, CLUSTER("a") " ");
	for (int i = 0; i < 3; i++) {
		by += atomic_load(&all.by[i]);
		ck_assert(has_version(f, i, CLUSTER("a"), f->good));
		ck_assert(!has_version(f, i, CLUSTER("b"), f->b));
	}
	ck_assert_uint_gt(by, 0);
	/* A newcomer gets what is good. */
	fake_envoy_free(f->e[2]);
	f->e[2] = strict(f->r, _i & 1, NODE(3), &ones[2]);
	ck_assert(fake_wait_count(f->e[2], FAKE_RDS, 1));
	ck_assert(has_version(f, 2, CLUSTER("a"), f->good));
	for (int i = 0; i < 3; i++)
		by -= atomic_load(&all.by[i]);
	ck_assert_uint_eq(by, 0);
	fleet_free(f);
}
END_TEST

struct doubts {
	unsigned refused, unanswered;
};

static void count_doubt(void *ctx, const struct push_reach_doubt *d)
{
	struct doubts *n = ctx;
	n->refused += d->words != NULL;
	n->unanswered += d->words == NULL;
}

static void count_doubts(struct rig *r, void *arg)
{
	struct push_reach *look = push_reach_new(r->push);
	*(struct doubts *)arg = (struct doubts){ 0 };
	for (uint32_t id = 1; id < 10; id++)
		push_reach_doubts(look, id, count_doubt, arg);
	push_reach_free(look);
}

static bool listeners(struct fake_envoy *e, void *arg)
{
	(void)arg;
	return fake_responses(e, FAKE_LDS);
}

static bool routes(struct fake_envoy *e, void *arg)
{
	(void)arg;
	return fake_responses(e, FAKE_RDS);
}

/* Takes what there is, and from then on says nothing. */
static void begin_by_hand(struct fake_envoy *e, bool delta)
{
	fake_send(e, &(struct fake_request){ .type = FAKE_CDS });
	ck_assert(fake_wait(e, asked, &(unsigned){ 1 }));
	fake_send(e, &(struct fake_request){ .type = FAKE_CDS, .nonce = "" });
	fake_send(e, &(struct fake_request){ .type = FAKE_LDS });
	ck_assert(fake_wait(e, listeners, NULL));
	fake_send(e, &(struct fake_request){ .type = FAKE_LDS, .nonce = "" });
	static const char *const names[] = { "80" };
	fake_send(e, &(struct fake_request){ .type = FAKE_RDS, .add = names, .nadd = 1 });
	ck_assert(fake_wait(e, routes, NULL));
	fake_send(e,
		&(struct fake_request){
			.type = FAKE_RDS, .add = names, .nadd = !delta, .nonce = "" });
}

/* Nobody answers, not even when asked three times: all get it, and it is said that nobody knows. */
START_TEST(test_silence_lets_pass)
{
	struct rig *r = rig_new();
	struct safety s = { .s = { .canary_timeout_ns = 50 * MT_NS_PER_MS } };
	static const char *const ids[] = { NODE(1), NODE(2) };
	struct fake_envoy *mute[2];
	struct doubts d;

	on_loop(r, start, &s);
	publish_yaml(r, BOTH, MT_KIND_SERVICE_ENTRY);
	for (int i = 0; i < 2; i++) {
		mute[i] = fake_envoy_new(&(struct fake_opts){
			.channel = r->channel, .delta = _i, .id = ids[i], .manual = true });
		begin_by_hand(mute[i], _i);
	}
	wait_in_step(r);
	wait_idle(r);
	unsigned settled_before = now(r, &s).settled;
	publish_yaml(r, BOTH POLICY("a", "7"), MT_KIND_DESTINATION_RULE);
	for (int i = 0; i < 2; i++)
		ck_assert(fake_wait(mute[i], asked, &(unsigned){ 2 }));
	do
		on_loop(r, count_doubts, &d);
	while (!d.unanswered);
	ck_assert_uint_eq(d.refused, 0);
	wait_settled(r, &s, settled_before); /* it is not waited for any longer */
	for (int i = 0; i < 2; i++)
		fake_send(mute[i],
			&(struct fake_request){
				.type = FAKE_CDS, .nonce = "", .reject = "too late" });
	/* Heard even so. */
	while (!now(r, &s).refused)
		;
	ck_assert_str_eq(now(r, &s).names, CLUSTER("a") " ");
	on_loop(r, count_doubts, &d);
	ck_assert_uint_gt(d.refused, 0);
	for (int i = 0; i < 2; i++)
		fake_envoy_free(mute[i]);
	rig_free(r);
}
END_TEST

/* A newcomer that does not answer is given, after a while, what its classes were allowed; what they have
 * had since is tried then, without another change. */
START_TEST(test_the_newest_follows_a_hurried_first_set)
{
	struct rig *r = rig_new();
	struct safety s = { .s = { .first_timeout_ns = 100 * MT_NS_PER_MS } };
	struct fake_opts o = { .channel = r->channel, .delta = _i, .manual = true };

	on_loop(r, start, &s);
	publish_yaml(r, BOTH SERVICE("d", "10.9.0.2"), MT_KIND_SERVICE_ENTRY);
	o.id = NODE(1);
	struct fake_envoy *first = fake_envoy_new(&o);
	begin_by_hand(first, _i);
	wait_in_step(r);
	wait_idle(r);
	publish_yaml(r, BOTH SERVICE("d", "10.9.0.2") POLICY("a", "7"), MT_KIND_DESTINATION_RULE);
	ck_assert(fake_wait(first, asked, &(unsigned){ 2 }));
	o.id = NODE(2); /* with an inbound side of its own */
	struct fake_envoy *e = fake_envoy_new(&o);
	fake_send(e, &(struct fake_request){ .type = FAKE_CDS });
	ck_assert(fake_wait(e, asked, &(unsigned){ 1 }));
	fake_send(e, &(struct fake_request){ .type = FAKE_CDS, .nonce = "" });
	fake_envoy_free(first); /* nobody tries the change any more */
	ck_assert(fake_wait(e, asked, &(unsigned){ 2 }));
	fake_envoy_free(e);
	rig_free(r);
}
END_TEST

/* ---- the single parts ---- */

START_TEST(test_verdicts)
{
	struct push_verdicts *v = push_verdicts_new();

	ck_assert_int_eq(push_verdict_of(v, 1, push_envoy(1, 40, 0)), PUSH_UNTRIED);
	push_verdict_set(v, 1, push_envoy(1, 40, 0), PUSH_TRYING);
	push_verdict_set(v, 1, push_envoy(1, 36, 2), PUSH_GOOD);
	ck_assert_int_eq(push_verdict_of(v, 1, push_envoy(1, 40, 0)), PUSH_TRYING);
	push_verdict_condemn(v, 1, push_envoy(1, 40, 0), "why");
	ck_assert_uint_eq(push_verdicts_bad(v), 1);
	ck_assert_str_eq(push_verdict_words(v, 1, push_envoy(1, 40, 0)), "why");
	ck_assert_int_eq(push_verdict_of(v, 1, push_envoy(1, 36, 2)), PUSH_GOOD);
	for (uint64_t i = 2; i < 70000; i++)
		push_verdict_set(v, i, push_envoy(1, 40, 0), PUSH_GOOD);
	push_verdicts_trim(v);
	ck_assert_int_eq(push_verdict_of(v, 5, push_envoy(1, 40, 0)), PUSH_UNTRIED);
	ck_assert_int_eq(push_verdict_of(v, 1, push_envoy(1, 40, 0)), PUSH_BAD);
	push_verdict_set(v, 1, push_envoy(1, 40, 0), PUSH_UNTRIED);
	ck_assert_uint_eq(push_verdicts_bad(v), 0);
	push_verdicts_free(v);
}
END_TEST

struct reach_ask {
	struct push_reached all, none;
};

static void reach(struct rig *r, void *arg)
{
	struct reach_ask *a = arg;
	struct push_reach *look = push_reach_new(r->push);
	push_reach_of(look, 1, 1, &a->all); /* the service a: in every proxy */
	push_reach_of(look, 999, 1, &a->none);
	push_reach_free(look);
}

START_TEST(test_reach)
{
	struct fleet *f = fleet_new(_i, "");
	struct reach_ask a;

	on_loop(f->r, reach, &a);
	ck_assert_uint_eq(a.all.concerned, 3);
	ck_assert_uint_eq(a.all.in_force, 3);
	ck_assert_uint_eq(a.all.behind, 0);
	ck_assert_uint_eq(a.none.concerned, 0);
	fleet_free(f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("canary");
	TCase *tc = tcase_create("canary");
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_accepted_goes_to_all, 0, 2);
	tcase_add_loop_test(tc, test_refused_stays_with_one, 0, 2);
	tcase_add_loop_test(tc, test_the_culprits_of_many, 0, 2);
	tcase_add_loop_test(tc, test_silent_canary_is_replaced, 0, 2);
	tcase_add_loop_test(tc, test_lost_canary_is_replaced, 0, 2);
	tcase_add_loop_test(tc, test_the_first_set_goes_to_one, 0, 4);
	tcase_add_loop_test(tc, test_a_refusal_without_a_canary_is_hunted, 0, 4);
	tcase_add_loop_test(tc, test_silence_lets_pass, 0, 2);
	tcase_add_loop_test(tc, test_the_newest_follows_a_hurried_first_set, 0, 2);
	tcase_add_test(tc, test_verdicts);
	tcase_add_loop_test(tc, test_reach, 0, 2);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_set_fork_status(sr, CK_NOFORK);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
