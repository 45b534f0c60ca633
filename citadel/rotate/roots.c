/* The slots together, and the view that signing threads take.
 *
 * Every step is: change a copy of the slot table, write the index, then make the copy the truth and
 * publish a new view. A step that cannot be written has not happened. The bundle is the certificates
 * of every slot but prepared ones, so a verifier knows a root before the first leaf of it exists, and
 * until after the last one has ended. */
#include "citadel/rotate/roots.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "citadel/rotate/slot.h"
#include "common/base/file.h"
#include "common/base/mem.h"
#include "common/base/strs.h"

struct citadel_roots {
	char *dir, *trust_domain;
	int64_t root_ttl_ns, max_leaf_ttl_ns;
	const struct mt_clock *clock;
	bool given;
	char *given_roots; /* PEM */
	struct citadel_slot v[CITADEL_SLOTS_MAX];
	size_t n;
	pthread_mutex_t lock; /* guards ca, the pointer */
	struct citadel_ca *ca;
};

void citadel_ca_unref(struct citadel_ca *ca)
{
	if (!ca || !mt_ref_put(&ca->ref))
		return;
	mt_key_unref(ca->key);
	mt_chain_unref(ca->chain);
	mt_bundle_unref(ca->bundle);
	mt_free(ca->bundle_pem);
	mt_free(ca);
}

struct citadel_ca *citadel_roots_get(struct citadel_roots *r)
{
	struct citadel_ca *ca;

	pthread_mutex_lock(&r->lock);
	ca = r->ca;
	mt_ref_get(&ca->ref);
	pthread_mutex_unlock(&r->lock);
	return ca;
}

/* Does what this CA signs verify against this bundle? Found at the start, not by the first agent. */
static int probe(const struct citadel_roots *r, const struct citadel_ca *ca, struct mt_err *err)
{
	MT_AUTO(mt_key_unrefp) struct mt_key *key = NULL;
	MT_AUTO(mt_chain_unrefp) struct mt_chain *leaf = NULL;
	const struct mt_issuer by = { .chain = ca->chain, .key = ca->key };
	int64_t now = mt_wall(r->clock);
	char id[MT_SPIFFE_ID_MAX];
	struct mt_leaf_request q = { .spiffe_id = id, .now_ns = now, .ttl_ns = 60 * MT_NS_PER_SEC };
	int e;

	if ((e = mt_spiffe_make(r->trust_domain, "istio-system", "probe", id, sizeof(id), err)) <
			0 ||
		(e = mt_key_generate(MT_KEY_EC_P256, &key, err)) < 0)
		return e;
	q.key = key;
	if ((e = mt_cert_issue(&by, &q, &leaf, err)) < 0)
		return mt_err_prefix(err, "the CA cannot sign");
	if ((e = mt_bundle_verify(
		     ca->bundle, leaf, now, r->trust_domain, MT_CERT_USE_ANY, id, err)) < 0)
		return mt_err_prefix(err, "what the CA signs does not verify against its roots");
	return 0;
}

static int bundle_pem(const struct citadel_roots *r, const struct citadel_slot *v, size_t n,
	char **ret, struct mt_err *err)
{
	char *pem = mt_strdup(r->given_roots ? r->given_roots : "");
	int e = 0;

	for (size_t i = 0; e == 0 && i < n && !r->given; i++) {
		struct mt_buf one = { 0 };
		char *merged = NULL;

		if (v[i].state == CITADEL_SLOT_PREPARED)
			continue;
		mt_chain_pem(v[i].chain, &one);
		e = mt_bundle_merge(pem, mt_buf_str(&one), &merged, err);
		mt_buf_clear(&one);
		if (e == 0) {
			mt_free(pem);
			pem = merged;
		}
	}
	if (e < 0) {
		mt_free(pem);
		return e;
	}
	*ret = pem;
	return 0;
}

static int make_view(const struct citadel_roots *r, const struct citadel_slot *v, size_t n,
	struct citadel_ca **ret, struct mt_err *err)
{
	MT_AUTO(citadel_ca_unrefp) struct citadel_ca *ca = MT_NEW(struct citadel_ca);
	struct mt_cert_info info;
	int e;

	mt_ref_init(&ca->ref);
	for (size_t i = 0; i < n; i++) {
		if (v[i].state != CITADEL_SLOT_ACTIVE)
			continue;
		if (ca->key)
			return mt_fail(err, MT_INVALID, "roots.json", "two roots are active");
		ca->key = mt_key_ref(v[i].key);
		ca->chain = mt_chain_ref(v[i].chain);
	}
	if (!ca->key)
		return mt_fail(err, MT_INVALID, "roots.json", "no root is active");
	mt_cert_info(ca->chain, 0, &info);
	ca->not_after_ns = info.not_after_ns;
	if ((e = bundle_pem(r, v, n, &ca->bundle_pem, err)) < 0 ||
		(e = mt_bundle_parse(ca->bundle_pem, strlen(ca->bundle_pem), &ca->bundle, err)) <
			0 ||
		(e = probe(r, ca, err)) < 0)
		return e;
	*ret = MT_TAKE(ca);
	return 0;
}

/* Makes v the truth: index (unless it was just read), bundle file, view. */
static int commit(struct citadel_roots *r, const struct citadel_slot *v, size_t n, bool save,
	struct mt_err *err)
{
	MT_AUTO(mt_strfreep) char *path = mt_asprintf("%s/root-cert.pem", r->dir);
	struct citadel_ca *ca = NULL;
	int e;

	if ((e = make_view(r, v, n, &ca, err)) < 0)
		return e;
	if ((save && (e = citadel_slots_save(r->dir, v, n, err)) < 0) ||
		(e = mt_file_replace(path, ca->bundle_pem, strlen(ca->bundle_pem), 0644, err)) <
			0) {
		citadel_ca_unref(ca);
		return e;
	}
	if (v != r->v)
		memcpy(r->v, v, n * sizeof(*v));
	r->n = n;
	pthread_mutex_lock(&r->lock);
	struct citadel_ca *old = r->ca;
	r->ca = ca;
	pthread_mutex_unlock(&r->lock);
	citadel_ca_unref(old);
	return 0;
}

static int open_self_signed(
	struct citadel_roots *r, const struct citadel_roots_opts *o, struct mt_err *err)
{
	int e = citadel_slots_load(o->dir, r->v, &r->n, err);

	if (e == 0)
		return commit(r, r->v, r->n, false, err);
	if (e != MT_NOT_FOUND)
		return e;
	if ((e = citadel_slot_create(&r->v[0], o, err)) < 0)
		return e;
	r->n = 1;
	r->v[0].state = CITADEL_SLOT_ACTIVE;
	return commit(r, r->v, 1, true, err);
}

static int open_given(
	struct citadel_roots *r, const struct citadel_roots_opts *o, struct mt_err *err)
{
	const char *roots = mt_str_empty(o->root_cert) ? o->ca_cert : o->root_cert;
	struct mt_buf pem = { 0 };
	int e;

	r->given = true;
	r->n = 1;
	if ((e = citadel_slot_given(&r->v[0], o, err)) < 0)
		return e;
	if ((e = mt_file_read(roots, MT_CHAIN_PEM_MAX, &pem, err)) < 0) {
		mt_buf_clear(&pem);
		return e;
	}
	r->given_roots = mt_buf_take(&pem, NULL);
	return commit(r, r->v, 1, false, err);
}

int citadel_roots_open(
	const struct citadel_roots_opts *o, struct citadel_roots **ret, struct mt_err *err)
{
	MT_AUTO(citadel_roots_closep) struct citadel_roots *r = MT_NEW(struct citadel_roots);
	int e;

	r->dir = mt_strdup(o->dir);
	r->trust_domain = mt_strdup(o->trust_domain);
	r->root_ttl_ns = o->root_ttl_ns;
	r->max_leaf_ttl_ns = o->max_leaf_ttl_ns;
	r->clock = o->clock;
	pthread_mutex_init(&r->lock, NULL);
	e = mt_str_empty(o->ca_cert) ? open_self_signed(r, o, err) : open_given(r, o, err);
	if (e < 0)
		return e;
	*ret = MT_TAKE(r);
	return 0;
}

void citadel_roots_close(struct citadel_roots *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < MT_ARRAY_SIZE(r->v); i++)
		citadel_slot_clear(&r->v[i]);
	citadel_ca_unref(r->ca);
	pthread_mutex_destroy(&r->lock);
	mt_free(r->dir);
	mt_free(r->trust_domain);
	mt_free(r->given_roots);
	mt_free(r);
}

int citadel_roots_prepare(
	struct citadel_roots *r, char ret_name[CITADEL_SLOT_NAME_MAX], struct mt_err *err)
{
	const struct citadel_roots_opts o = { .dir = r->dir,
		.trust_domain = r->trust_domain,
		.root_ttl_ns = r->root_ttl_ns,
		.clock = r->clock };
	struct citadel_slot v[CITADEL_SLOTS_MAX];
	int e;

	if (r->given)
		return mt_fail(err, MT_UNSUPPORTED, NULL, "the CA was given: its owner rotates it");
	if (r->n == CITADEL_SLOTS_MAX)
		return mt_fail(err, MT_LIMIT, NULL, "%d roots are kept already", CITADEL_SLOTS_MAX);
	memcpy(v, r->v, sizeof(v));
	if ((e = citadel_slot_create(&v[r->n], &o, err)) < 0)
		return e;
	if ((e = commit(r, v, r->n + 1, true, err)) < 0) {
		citadel_slot_remove(&v[r->n], r->dir);
		citadel_slot_clear(&v[r->n]);
		return e;
	}
	snprintf(ret_name, CITADEL_SLOT_NAME_MAX, "%s", r->v[r->n - 1].name);
	return 0;
}

/* Moves the slot from one state to the next; `retire` is done to the slot active before. */
static int step(struct citadel_roots *r, const char *name, enum citadel_slot_state from,
	enum citadel_slot_state to, struct mt_err *err)
{
	struct citadel_slot v[CITADEL_SLOTS_MAX], *slot = NULL;

	if (r->given)
		return mt_fail(err, MT_UNSUPPORTED, NULL, "the CA was given: its owner rotates it");
	memcpy(v, r->v, sizeof(v));
	for (size_t i = 0; i < r->n; i++) {
		if (strcmp(v[i].name, name) == 0)
			slot = &v[i];
	}
	if (!slot)
		return mt_fail(err, MT_NOT_FOUND, NULL, "no root is called %s", name);
	if (slot->state != from)
		return mt_fail(err, MT_CONFLICT, NULL, "root %s is %s, not %s", name,
			citadel_slot_state_name(slot->state), citadel_slot_state_name(from));
	for (size_t i = 0; to == CITADEL_SLOT_ACTIVE && i < r->n; i++) {
		if (v[i].state != CITADEL_SLOT_ACTIVE)
			continue;
		v[i].state = CITADEL_SLOT_RETIRED;
		v[i].retire_until_ns = mt_wall(r->clock) + r->max_leaf_ttl_ns;
	}
	slot->state = to;
	return commit(r, v, r->n, true, err);
}

int citadel_roots_publish(struct citadel_roots *r, const char *name, struct mt_err *err)
{
	return step(r, name, CITADEL_SLOT_PREPARED, CITADEL_SLOT_PUBLISHED, err);
}

int citadel_roots_activate(struct citadel_roots *r, const char *name, struct mt_err *err)
{
	return step(r, name, CITADEL_SLOT_PUBLISHED, CITADEL_SLOT_ACTIVE, err);
}

int citadel_roots_expire(struct citadel_roots *r, struct mt_err *err)
{
	struct citadel_slot v[CITADEL_SLOTS_MAX] = { 0 }, gone[CITADEL_SLOTS_MAX];
	size_t n = 0, ngone = 0;
	int e;

	for (size_t i = 0; i < r->n; i++) {
		if (r->v[i].state == CITADEL_SLOT_RETIRED &&
			mt_wall(r->clock) >= r->v[i].retire_until_ns)
			gone[ngone++] = r->v[i];
		else
			v[n++] = r->v[i];
	}
	if (!ngone)
		return 0;
	if ((e = commit(r, v, n, true, err)) < 0)
		return e;
	memset(r->v + n, 0, (CITADEL_SLOTS_MAX - n) * sizeof(*r->v));
	for (size_t i = 0; i < ngone; i++) {
		citadel_slot_remove(&gone[i], r->dir);
		citadel_slot_clear(&gone[i]);
	}
	return (int)ngone;
}

json_t *citadel_roots_json(struct citadel_roots *r)
{
	json_t *list = json_array();

	for (size_t i = 0; i < r->n; i++) {
		struct mt_cert_info info;
		char until[32];

		mt_cert_info(r->v[i].chain, 0, &info);
		mt_time_format(info.not_after_ns, until, sizeof(until));
		json_array_append_new(list,
			json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "name", r->v[i].name, "state",
				citadel_slot_state_name(r->v[i].state), "subject", info.subject,
				"serial", info.serial, "fingerprint", info.fingerprint, "not_after",
				until));
	}
	return list;
}
