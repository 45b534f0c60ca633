/* Filter chains of one listener, none of which takes what another takes.
 *
 * A chain takes every combination of its server names, destination blocks and source blocks. Envoy
 * refuses a listener in which one combination stands twice, so each is claimed here: the first rule
 * keeps it, and a later one is left what is free, split into more chains where it must be; a note
 * says what was lost. Server names are compared in lower case, as Envoy's inspector reports them,
 * blocks with their host bits cleared. What takes everything is the default chain. */
#include <ctype.h>
#include <string.h>

#include "common/base/cidr.h"
#include "common/base/vec.h"
#include "pilot/translate/listener.h"

struct list {
	const char **v;
	size_t n;
	size_t cap;
};

static void list_put(struct mt_arena *a, struct list *l, const char *s)
{
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->v[i], s) == 0)
			return;
	mt_vec_apush(a, l, s);
}

/* "" stands for any. */
static struct list names(struct mt_arena *a, char *const *v, size_t n)
{
	struct list l = { 0 };
	for (size_t i = 0; i < n; i++) {
		char *s = mt_arena_strdup(a, v[i]);
		for (char *p = s; *p; p++)
			*p = (char)tolower((unsigned char)*p);
		if (strcmp(s, "*") == 0) {
			l.n = 0;
			break;
		}
		list_put(a, &l, s);
	}
	if (!l.n)
		list_put(a, &l, "");
	return l;
}

static const char *block(struct mt_arena *a, const char *text)
{
	struct mt_cidr c;
	char buf[46];
	if (mt_cidr_parse(text, &c) < 0)
		return NULL;
	for (size_t i = 0; i < c.ip.len; i++) {
		unsigned keep = c.prefix > 8 * i ? c.prefix - 8 * (unsigned)i : 0;
		if (keep < 8)
			c.ip.b[i] &= (uint8_t)(0xff00 >> keep);
	}
	mt_ip_format(&c.ip, buf);
	return mt_arena_printf(a, "%s/%u", buf, c.prefix);
}

/* Empty when none of the blocks is one. */
static struct list blocks(struct mt_arena *a, char *const *v, size_t n)
{
	struct list l = { 0 };
	for (size_t i = 0; i < n; i++) {
		const char *s = block(a, v[i]);
		if (s)
			list_put(a, &l, s);
	}
	if (!n)
		list_put(a, &l, "");
	return l;
}

static const char *key(struct pilot_chains *c, const char *sni, const char *src, const char *dst)
{
	return mt_arena_printf(c->j->a, "%s %s %s", sni, src, dst);
}

/* One rule may come once for each of several services: that it meets itself is no loss. */
static const char *own_key(
	struct pilot_chains *c, const struct pilot_chain_on *on, const char *combination)
{
	return mt_arena_printf(c->j->a, "%u %s %s", on->id, on->path, combination);
}

static void put(struct pilot_chains *c, const Listener__FilterChain *fc, const struct list *sni,
	const struct list *src, const struct list *dst)
{
	struct pilot_job *j = c->j;
	Listener__FilterChain *m = pb_new(j->a, listener__filter_chain);
	*m = *fc;
	for (size_t i = 0; i < sni->n && *sni->v[0]; i++)
		pb_add(j->a, pilot_chain_match(j, m), server_names, pb_s(sni->v[i]));
	for (size_t i = 0; i < dst->n && *dst->v[0]; i++)
		pb_add(j->a, pilot_chain_match(j, m), prefix_ranges, pb_cidr(j->a, dst->v[i]));
	for (size_t i = 0; i < src->n && *src->v[0]; i++)
		pb_add(j->a, pilot_chain_match(j, m), source_prefix_ranges,
			pb_cidr(j->a, src->v[i]));
	if (*sni->v[0])
		pilot_tls_inspector(j, c->l);
	if (m->filter_chain_match)
		pb_add(j->a, c->l, filter_chains, m);
	else
		c->l->default_filter_chain = m;
}

/* What is free of one name and source. */
static void put_free(struct pilot_chains *c, const Listener__FilterChain *fc, const char *sni,
	const char *src, const struct list *dst)
{
	struct list n = { 0 }, s = { 0 }, d = { 0 };
	for (size_t i = 0; i < dst->n; i++)
		if (!pilot_names_has(&c->taken, key(c, sni, src, dst->v[i])))
			list_put(c->j->a, &d, dst->v[i]);
	list_put(c->j->a, &n, sni);
	list_put(c->j->a, &s, src);
	if (d.n)
		put(c, fc, &n, &s, &d);
}

void pilot_chains_add(
	struct pilot_chains *c, const struct pilot_chain_on *on, const Listener__FilterChain *fc)
{
	struct pilot_job *j = c->j;
	struct list sni = names(j->a, on->sni, on->nsni);
	struct list dst = blocks(j->a, on->dst, on->ndst), src = blocks(j->a, on->src, on->nsrc);
	size_t taken = 0, lost = 0, all = sni.n * dst.n * src.n;
	c->taken.a = j->a;
	for (size_t i = 0; i < sni.n; i++)
		for (size_t k = 0; k < src.n; k++)
			for (size_t m = 0; m < dst.n; m++) {
				const char *at = key(c, sni.v[i], src.v[k], dst.v[m]);
				if (!pilot_names_has(&c->taken, at))
					continue;
				taken++;
				lost += !pilot_names_has(&c->taken, own_key(c, on, at));
			}
	if (!all)
		pilot_job_note_about(j, invalid_out_listeners, on->id, PILOT_NOTE_INVALID, on->path,
			"no subnet of the match is an address block");
	if (lost)
		pilot_job_note_about(j, conf_filter_chains, on->id, PILOT_NOTE_SHADOWED, on->path,
			taken == all ? "another rule has the same match on listener %s"
				     : "another rule has a part of the match on listener %s",
			c->l->name);
	if (taken == all)
		return;
	if (!taken)
		put(c, fc, &sni, &src, &dst);
	for (size_t i = 0; taken && i < sni.n; i++)
		for (size_t k = 0; k < src.n; k++)
			put_free(c, fc, sni.v[i], src.v[k], &dst);
	for (size_t i = 0; i < sni.n; i++)
		for (size_t k = 0; k < src.n; k++)
			for (size_t m = 0; m < dst.n; m++) {
				const char *at = key(c, sni.v[i], src.v[k], dst.v[m]);
				if (pilot_names_put(&c->taken, at))
					pilot_names_put(&c->taken, own_key(c, on, at));
			}
	pilot_prov_add(j, on->id);
}
