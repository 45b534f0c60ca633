/* Texts are sorted and found by halves. So are blocks of addresses, once for each prefix length that
 * occurs, with the address cut to that length. Patterns are tried one by one, which is why they have a
 * bound of their own. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "mixer/adapter/listchecker/list.h"

#include <ctype.h>
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/ref.h"
#include "common/base/vec.h"

enum { ENTRIES_MAX = 1000000, PATTERNS_MAX = 10000, MATCH_STEPS_MAX = 100000 };

struct mixer_list {
	struct mt_ref ref;
	enum mixer_list_type type;
	MT_VEC(struct mt_text) texts;
	MT_VEC(struct mt_cidr) blocks; /* bits beyond the prefix are zero; in block_order() */
	bool lengths[2][129];          /* which prefixes occur, IPv4 and IPv6 */
	MT_VEC(pcre2_code *) patterns;
};

static size_t count(const struct mixer_list *l)
{
	return l->texts.n + l->blocks.n + l->patterns.n;
}

static char *text_copy(const char *p, size_t n, bool fold)
{
	char *s = mt_strndup(p, n);

	for (size_t i = 0; fold && s[i]; i++)
		s[i] = (char)tolower((unsigned char)s[i]);
	return s;
}

static void cut(struct mt_cidr *c)
{
	for (unsigned bit = c->prefix; bit < 8u * c->ip.len; bit++)
		c->ip.b[bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
}

static int block_order(const void *pa, const void *pb)
{
	const struct mt_cidr *a = pa, *b = pb;

	if (a->ip.len != b->ip.len)
		return a->ip.len < b->ip.len ? -1 : 1;
	if (a->prefix != b->prefix)
		return a->prefix < b->prefix ? -1 : 1;
	return memcmp(a->ip.b, b->ip.b, a->ip.len);
}

static int add_block(struct mixer_list *l, const char *p, size_t n, struct mt_err *err)
{
	struct mt_cidr c;
	MT_AUTO(mt_strfreep) char *s = mt_strndup(p, n);

	if (mt_cidr_parse(s, &c) < 0)
		return mt_fail(
			err, MT_INVALID, NULL, "\"%s\" is neither an address nor a block", s);
	cut(&c);
	l->lengths[c.ip.len == 16][c.prefix] = true;
	mt_vec_push(&l->blocks, c);
	return 0;
}

static int add_pattern(struct mixer_list *l, const char *p, size_t n, struct mt_err *err)
{
	PCRE2_UCHAR why[128];
	PCRE2_SIZE at;
	int code;
	pcre2_code *re;

	if (l->patterns.n >= PATTERNS_MAX)
		return mt_fail(err, MT_LIMIT, NULL, "more than %d patterns", PATTERNS_MAX);
	re = pcre2_compile((PCRE2_SPTR)p, n, PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C, &code, &at, NULL);
	if (!re) {
		pcre2_get_error_message(code, why, sizeof(why));
		return mt_fail(err, MT_INVALID, NULL, "\"%.*s\" is not a pattern: %s", (int)n, p,
			(const char *)why);
	}
	mt_vec_push(&l->patterns, re);
	return 0;
}

static int add(struct mixer_list *l, const char *p, size_t n, struct mt_err *err)
{
	if (count(l) >= ENTRIES_MAX)
		return mt_fail(err, MT_LIMIT, NULL, "more than %d entries", ENTRIES_MAX);
	if (l->type == MIXER_LIST_IPS)
		return add_block(l, p, n, err);
	if (l->type == MIXER_LIST_REGEX)
		return add_pattern(l, p, n, err);
	struct mt_text t = { text_copy(p, n, l->type == MIXER_LIST_NO_CASE), n };
	mt_vec_push(&l->texts, t);
	return 0;
}

static int add_lines(struct mixer_list *l, const char *p, size_t n, struct mt_err *err)
{
	const char *end = p + n;

	while (p < end) {
		const char *stop = memchr(p, '\n', (size_t)(end - p));
		const char *next = stop ? stop + 1 : end;
		const char *hash;
		int r;

		stop = stop ? stop : end;
		hash = memchr(p, '#', (size_t)(stop - p));
		stop = hash ? hash : stop;
		while (p < stop && isspace((unsigned char)*p))
			p++;
		while (stop > p && isspace((unsigned char)stop[-1]))
			stop--;
		if (stop > p && (r = add(l, p, (size_t)(stop - p), err)) < 0)
			return r;
		p = next;
	}
	return 0;
}

static int text_order(const void *pa, const void *pb)
{
	const struct mt_text *a = pa, *b = pb;
	int c = memcmp(a->p, b->p, MT_MIN(a->n, b->n));

	return c ? c : (a->n > b->n) - (a->n < b->n);
}

int mixer_list_new(enum mixer_list_type type, const char *const *overrides, size_t noverrides,
	const char *text, size_t n, struct mixer_list **ret, struct mt_err *err)
{
	struct mixer_list *l = MT_NEW(struct mixer_list);
	int r = 0;

	mt_ref_init(&l->ref);
	l->type = type;
	for (size_t i = 0; r == 0 && i < noverrides; i++)
		r = add(l, overrides[i], strlen(overrides[i]), err);
	if (r == 0)
		r = add_lines(l, text, n, err);
	if (r < 0) {
		mixer_list_unref(l);
		return r;
	}
	if (l->texts.n)
		qsort(l->texts.v, l->texts.n, sizeof(*l->texts.v), text_order);
	if (l->blocks.n)
		qsort(l->blocks.v, l->blocks.n, sizeof(*l->blocks.v), block_order);
	*ret = l;
	return 0;
}

struct mixer_list *mixer_list_ref(struct mixer_list *l)
{
	mt_ref_get(&l->ref);
	return l;
}

void mixer_list_unref(struct mixer_list *l)
{
	if (!l || !mt_ref_put(&l->ref))
		return;
	for (size_t i = 0; i < l->texts.n; i++)
		mt_free((char *)l->texts.v[i].p);
	for (size_t i = 0; i < l->patterns.n; i++)
		pcre2_code_free(l->patterns.v[i]);
	mt_vec_clear(&l->texts);
	mt_vec_clear(&l->blocks);
	mt_vec_clear(&l->patterns);
	mt_free(l);
}

size_t mixer_list_size(const struct mixer_list *l)
{
	return count(l);
}

static bool has_text(const struct mixer_list *l, struct mt_text t, struct mt_arena *scratch)
{
	if (l->type == MIXER_LIST_NO_CASE) {
		char *folded = mt_arena_memdup(scratch, t.p, t.n);

		for (size_t i = 0; i < t.n; i++)
			folded[i] = (char)tolower((unsigned char)folded[i]);
		t.p = folded;
	}
	return l->texts.n && bsearch(&t, l->texts.v, l->texts.n, sizeof(*l->texts.v), text_order);
}

static bool has_pattern(const struct mixer_list *l, struct mt_text t)
{
	pcre2_match_data *md = pcre2_match_data_create(1, NULL);
	pcre2_match_context *mc = pcre2_match_context_create(NULL);
	bool found = false;

	pcre2_set_match_limit(mc, MATCH_STEPS_MAX);
	for (size_t i = 0; !found && i < l->patterns.n; i++)
		found = pcre2_match(l->patterns.v[i], (PCRE2_SPTR)t.p, t.n, 0, 0, md, mc) >= 0;
	pcre2_match_context_free(mc);
	pcre2_match_data_free(md);
	return found;
}

static int has_ip(const struct mixer_list *l, const struct mt_value *v, struct mt_text t,
	struct mt_arena *scratch, bool *ret, struct mt_err *err)
{
	struct mt_ip ip;
	bool found = false;

	if (v->type == MT_V_IP_ADDRESS)
		ip = v->ip;
	else if (mt_ip_parse(mt_arena_strndup(scratch, t.p, t.n), &ip) < 0)
		return mt_fail(err, MT_INVALID, NULL, "\"%.*s\" is not an address", (int)t.n, t.p);
	for (unsigned prefix = 0; !found && l->blocks.n && prefix <= 8u * ip.len; prefix++) {
		struct mt_cidr key = { ip, (uint8_t)prefix };

		if (!l->lengths[ip.len == 16][prefix])
			continue;
		cut(&key);
		found = bsearch(&key, l->blocks.v, l->blocks.n, sizeof(key), block_order);
	}
	*ret = found;
	return 0;
}

int mixer_list_has(const struct mixer_list *l, const struct mt_value *v, struct mt_arena *scratch,
	bool *ret, struct mt_err *err)
{
	struct mt_text t = mt_value_text(v, scratch);

	if (!t.p)
		t = (struct mt_text){ "", 0 };
	if (l->type == MIXER_LIST_IPS)
		return has_ip(l, v, t, scratch, ret, err);
	*ret = l->type == MIXER_LIST_REGEX ? has_pattern(l, t) : has_text(l, t, scratch);
	return 0;
}
