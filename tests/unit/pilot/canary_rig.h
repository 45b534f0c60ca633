/* Fleets of fake proxies that accept and refuse by a script, and what the canary said of it. For the tests
 * of pilot/push's canary. */
#pragma once

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

static inline bool on_refused(void *ctx, const struct push_refusal *r)
{
	struct safety *s = ctx;
	s->refused++;
	strcat(strcat(s->names, r->res->name), " ");
	snprintf(s->words, sizeof(s->words), "%s", r->words);
	ck_assert_uint_gt(r->res->nprov, 0);
	return false; /* the world stays as it is */
}

static inline bool on_settled(void *ctx)
{
	((struct safety *)ctx)->settled++;
	return false;
}

static inline void start(struct rig *r, void *arg)
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

static inline void copy(struct rig *r, void *arg)
{
	void **both = arg;
	(void)r;
	memcpy(both[0], both[1], sizeof(struct safety));
}

static inline struct safety now(struct rig *r, struct safety *s)
{
	struct safety out;
	void *both[] = { &out, s };
	on_loop(r, copy, both);
	return out;
}

/* After the first time that this was so, which ends what proxies had to begin with. */
static inline void wait_settled(struct rig *r, struct safety *s, unsigned before)
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

static inline const char *judge(void *ctx, struct fake_envoy *e, const struct fake_response *r)
{
	struct picky *p = ctx;
	(void)e;
	if (r->type != FAKE_CDS || !atomic_load(&p->on))
		return NULL;
	unsigned at = atomic_fetch_add(&p->at, 1);
	return at < strlen(p->script) && p->script[at] == 'n' ? "I do not like it" : NULL;
}

static inline struct fake_envoy *picky(struct rig *r, bool delta, const char *id, struct picky *p)
{
	return fake_envoy_new(&(struct fake_opts){
		.channel = r->channel, .delta = delta, .id = id, .judge = judge, .ctx = p });
}

static inline void in_step(struct rig *r, void *arg)
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

static inline void wait_in_step(struct rig *r)
{
	bool all = false;
	while (!all)
		on_loop(r, in_step, &all);
}

static inline void is_idle(struct rig *r, void *arg)
{
	*(bool *)arg = push_idle(r->push);
}

static inline void wait_idle(struct rig *r)
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

static inline struct fleet *fleet_of(bool delta, const char *script, bool off)
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

static inline struct fleet *fleet_new(bool delta, const char *script)
{
	return fleet_of(delta, script, false);
}

static inline void fleet_free(struct fleet *f)
{
	for (int i = 0; i < 3; i++)
		if (f->e[i])
			fake_envoy_free(f->e[i]);
	rig_free(f->r);
	mt_free(f);
}

static inline bool has_version(struct fleet *f, int i, const char *name, const char *version)
{
	char have[24];
	fake_version(f->e[i], FAKE_CDS, name, have);
	return strcmp(have, version) == 0;
}

static inline bool changed(struct fake_envoy *e, void *arg)
{
	char have[24];
	fake_version(e, FAKE_CDS, CLUSTER("a"), have);
	return strcmp(have, arg) != 0;
}

static inline bool changed_b(struct fake_envoy *e, void *arg)
{
	char have[24];
	fake_version(e, FAKE_CDS, CLUSTER("b"), have);
	return strcmp(have, arg) != 0;
}

static inline bool asked(struct fake_envoy *e, void *arg)
{
	return fake_responses(e, FAKE_CDS) >= *(unsigned *)arg;
}
