/* What a fake proxy holds, and the responses and requests as bytes. */
#include "tests/unit/xds/fake_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/strs.h"

const char *const fake_type_name[FAKE_TYPES] = { "CDS", "EDS", "LDS", "RDS", "VHDS" };
#define URL(x) "type.googleapis.com/envoy.config." x
const char *const fake_type_url[FAKE_TYPES] = { URL("cluster.v3.Cluster"),
	URL("endpoint.v3.ClusterLoadAssignment"), URL("listener.v3.Listener"),
	URL("route.v3.RouteConfiguration"), URL("route.v3.VirtualHost") };

/* Interned names. */
static int order(const char *a, const char *b)
{
	return a == b ? 0 : strcmp(a, b);
}

/* Most of what comes is sorted: it goes to the end, or comes from there. */
static size_t names_at(const fake_names *v, const char *name)
{
	size_t lo = 0, hi = v->n;
	int last = hi ? order(v->v[hi - 1], name) : -1;
	if (last <= 0)
		return last < 0 ? hi : hi - 1;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (order(v->v[mid], name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool fake_names_has(const fake_names *v, const char *name)
{
	size_t i = names_at(v, name);
	return i < v->n && order(v->v[i], name) == 0;
}

bool fake_names_add(fake_names *v, const char *name)
{
	size_t i = names_at(v, name);
	if (i < v->n && order(v->v[i], name) == 0)
		return false;
	mt_vec_push(v, name);
	memmove(v->v + i + 1, v->v + i, (v->n - 1 - i) * sizeof(*v->v));
	v->v[i] = name;
	return true;
}

bool fake_names_del(fake_names *v, const char *name)
{
	size_t i = names_at(v, name);
	if (i == v->n || order(v->v[i], name) != 0)
		return false;
	memmove(v->v + i, v->v + i + 1, (v->n - 1 - i) * sizeof(*v->v));
	v->n--;
	return true;
}

void fake_names_differ(
	const fake_names *had, const fake_names *want, fake_names *more, fake_names *less)
{
	for (size_t i = 0, k = 0; i < had->n || k < want->n;) {
		int o = i == had->n ? 1 : k == want->n ? -1 : order(had->v[i], want->v[k]);
		if (o < 0)
			mt_vec_push(less, had->v[i]);
		if (o > 0)
			mt_vec_push(more, want->v[k]);
		i += o <= 0;
		k += o >= 0;
	}
}

static size_t held_at(const struct fake_tstate *t, const char *name)
{
	size_t lo = 0, hi = t->held.n;
	int last = hi ? order(t->held.v[hi - 1].name, name) : -1;
	if (last <= 0)
		return last < 0 ? hi : hi - 1;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (order(t->held.v[mid].name, name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct fake_held *fake_held_find(struct fake_tstate *t, const char *name)
{
	size_t i = held_at(t, name);
	return i < t->held.n && order(t->held.v[i].name, name) == 0 ? &t->held.v[i] : NULL;
}

void fake_held_put(struct fake_tstate *t, const struct fake_resource *r)
{
	size_t i = held_at(t, r->name);
	struct fake_held h = { r->name, r };
	if (i < t->held.n && order(t->held.v[i].name, r->name) == 0) {
		t->held.v[i] = h;
		return;
	}
	mt_vec_push(&t->held, h);
	memmove(t->held.v + i + 1, t->held.v + i, (t->held.n - 1 - i) * sizeof(h));
	t->held.v[i] = h;
}

void fake_held_del(struct fake_tstate *t, const char *name)
{
	struct fake_held *h = fake_held_find(t, name);
	if (!h)
		return;
	memmove(h, h + 1, (size_t)(t->held.v + t->held.n - h - 1) * sizeof(*h));
	t->held.n--;
}

void fake_refers(const struct fake_tstate *t, fake_names *out)
{
	for (const struct fake_held *h = t->held.v; h < t->held.v + t->held.n; h++) {
		for (size_t i = 0; i < h->r->nrefers; i++)
			fake_names_add(out, h->r->refers[i]);
	}
}

/* ---- responses ---- */

static int type_of(struct mt_view url)
{
	for (int i = 0; i < FAKE_TYPES; i++) {
		if (mt_view_eq(url, fake_type_url[i]))
			return i;
	}
	return -1;
}

static struct mt_view any_of(struct mt_view v, bool delta)
{
	struct mt_flat w = mt_flat_of(v.p, v.n);
	struct mt_flat_field f;
	struct mt_view any = { "", 0 };
	if (!delta)
		return v;
	while (mt_flat_next(&w, &f)) {
		if (f.number == 2)
			any = f.v;
	}
	return any;
}

static int by_name(const void *a, const void *b)
{
	const struct fake_resource *const *x = a, *const *y = b;
	return order((*x)->name, (*y)->name);
}

static void list(struct fake_parsed *p, size_t n, struct mt_arena *a)
{
	const char **names = MT_ANEWN(a, const char *, n + 1);
	uint64_t *versions = MT_ANEWN(a, uint64_t, n + 1);
	qsort(p->res, n, sizeof(p->res[0]), by_name);
	for (size_t i = 0; i < n; i++) {
		names[i] = p->res[i]->name;
		versions[i] = p->res[i]->version;
	}
	p->r.names = names;
	p->r.versions = versions;
}

bool fake_parse(
	struct fake_envoy *e, const void *p, size_t n, struct mt_arena *a, struct fake_parsed *ret)
{
	struct mt_flat w = mt_flat_of(p, n);
	struct mt_flat_field f;
	struct fake_parsed out = { .r = { .type = -1, .bytes = n } };
	while (mt_flat_next(&w, &f)) {
		out.r.n += f.number == 2;
		out.r.nremoved += f.number == 6 && e->o.delta;
		if (f.number == 1)
			out.version = f.v;
		if (f.number == 4)
			out.r.type = type_of(f.v);
		if (f.number == 5)
			out.nonce = f.v;
	}
	if (w.bad || out.r.type < 0 || out.nonce.n >= 64 || out.version.n >= 64)
		return false;
	out.res = MT_ANEWN(a, const struct fake_resource *, out.r.n + 1);
	const char **removed = MT_ANEWN(a, const char *, out.r.nremoved + 1);
	size_t k = 0, g = 0;
	w = mt_flat_of(p, n);
	while (mt_flat_next(&w, &f)) {
		if (f.number == 2) {
			out.res[k++] = fake_resource_of(out.r.type, any_of(f.v, e->o.delta));
		} else if (f.number == 6 && e->o.delta) {
			removed[g++] = fake_intern(f.v);
		}
	}
	list(&out, k, a);
	qsort(removed, g, sizeof(*removed), mt_strcmpp);
	out.r.removed = removed;
	*ret = out;
	return true;
}

void fake_log_response(struct fake_envoy *e, const struct fake_parsed *p, bool rejected)
{
	if (e->o.quiet)
		return;
	mt_buf_printf(&e->log, "%s%s%s", e->log.n ? " " : "", rejected ? "!" : "",
		fake_type_name[p->r.type]);
	for (size_t i = 0; i < p->r.n; i++)
		mt_buf_printf(&e->log, " +%s", p->r.names[i]);
	for (size_t i = 0; i < p->r.nremoved; i++)
		mt_buf_printf(&e->log, " -%s", p->r.removed[i]);
}

/* ---- requests ---- */

static void add_node(struct fake_envoy *e, struct mt_buf *b, uint32_t number)
{
	if (e->o.node) {
		mt_flat_add(b, number, e->o.node, e->o.node_n);
		return;
	}
	struct mt_buf node = { 0 };
	mt_flat_adds(&node, 1, e->o.id);
	mt_flat_add(b, number, mt_buf_str(&node), node.n);
	mt_buf_clear(&node);
}

static void add_reject(struct mt_buf *b, uint32_t number, const char *words)
{
	struct mt_buf status = { 0 };
	mt_flat_add_varint(&status, 1, 13);
	mt_flat_adds(&status, 2, words);
	mt_flat_add(b, number, status.p, status.n);
	mt_buf_clear(&status);
}

static void add_held(struct fake_envoy *e, int type, struct mt_buf *b)
{
	mt_vec_each (&e->t[type].held, h) {
		struct mt_buf entry = { 0 };
		char version[17];
		mt_hash_hex(h->r->version, version);
		mt_flat_adds(&entry, 1, h->name);
		mt_flat_adds(&entry, 2, version);
		mt_flat_add(b, 5, entry.p, entry.n);
		mt_buf_clear(&entry);
	}
}

void fake_ask(struct fake_envoy *e, const struct fake_request *r, bool with_held)
{
	struct fake_tstate *t = &e->t[r->type];
	bool node = !r->no_node && (!e->node_sent || e->o.node_always);
	const char *nonce = !r->nonce ? "" : *r->nonce ? r->nonce : t->nonce;
	struct mt_buf b = { 0 };
	e->node_sent |= node;
	t->subscribed = true;
	if (node)
		add_node(e, &b, e->o.delta ? 1 : 2);
	mt_flat_adds(&b, e->o.delta ? 2 : 4, fake_type_url[r->type]);
	mt_flat_adds(&b, e->o.delta ? 6 : 5, nonce);
	for (size_t i = 0; i < r->nadd; i++)
		mt_flat_adds(&b, 3, r->add[i]);
	if (e->o.delta) {
		for (size_t i = 0; i < r->ndel; i++)
			mt_flat_adds(&b, 4, r->del[i]);
		if (with_held)
			add_held(e, r->type, &b);
	} else {
		mt_flat_adds(&b, 1, t->version);
	}
	if (r->reject)
		add_reject(&b, e->o.delta ? 7 : 6, r->reject);
	mt_vec_push(&e->queue, b);
}
