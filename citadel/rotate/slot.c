/* Slots on disk. The order of writes is what keeps a crash harmless: key, then certificate, then the
 * index that names them (each written aside, fsynced, renamed). Files that no index names are left
 * over from a crash before the index and mean nothing; an index that names files which are not there
 * is damage, and an error. */
#include "citadel/rotate/slot.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/mem.h"
#include "common/base/strs.h"

enum { INDEX_MAX = 64 * 1024 };

static const char *const states[CITADEL_SLOT_STATES] = {
	[CITADEL_SLOT_PREPARED] = "prepared",
	[CITADEL_SLOT_PUBLISHED] = "published",
	[CITADEL_SLOT_ACTIVE] = "active",
	[CITADEL_SLOT_RETIRED] = "retired",
};

const char *citadel_slot_state_name(enum citadel_slot_state s)
{
	return states[s];
}

int citadel_slot_state_parse(const char *text, enum citadel_slot_state *ret)
{
	for (size_t i = 0; text && i < MT_ARRAY_SIZE(states); i++) {
		if (strcmp(text, states[i]) == 0) {
			*ret = (enum citadel_slot_state)i;
			return 0;
		}
	}
	return MT_INVALID;
}

void citadel_slot_clear(struct citadel_slot *s)
{
	mt_key_unref(s->key);
	mt_chain_unref(s->chain);
	*s = (struct citadel_slot){ 0 };
}

static char *path_of(const char *dir, const char *name, const char *suffix)
{
	return mt_asprintf("%s/%s%s", dir, name, suffix);
}

static int write_files(const struct citadel_slot *s, const char *dir, struct mt_err *err)
{
	MT_AUTO(mt_strfreep) char *key_path = path_of(dir, s->name, ".key");
	MT_AUTO(mt_strfreep) char *cert_path = path_of(dir, s->name, ".pem");
	MT_AUTO(mt_secret_freep) char *key_pem = mt_key_pem(s->key);
	struct mt_buf pem = { 0 };
	int r;

	mt_chain_pem(s->chain, &pem);
	if ((r = mt_file_replace(key_path, key_pem, strlen(key_pem), 0600, err)) == 0)
		r = mt_file_replace(cert_path, mt_buf_str(&pem), pem.n, 0600, err);
	mt_buf_clear(&pem);
	return r;
}

int citadel_slot_create(
	struct citadel_slot *s, const struct citadel_roots_opts *o, struct mt_err *err)
{
	struct citadel_slot made = { .state = CITADEL_SLOT_PREPARED };
	struct mt_cert_info info;
	int r;

	if ((r = mt_key_generate(MT_KEY_EC_P256, &made.key, err)) < 0 ||
		(r = mt_cert_root(made.key, o->trust_domain, mt_wall(o->clock), o->root_ttl_ns,
			 &made.chain, err)) < 0)
		goto fail;
	mt_cert_info(made.chain, 0, &info);
	snprintf(made.name, sizeof(made.name), "root-%.16s", info.fingerprint);
	if ((r = write_files(&made, o->dir, err)) < 0)
		goto fail;
	*s = made;
	return 0;
fail:
	citadel_slot_clear(&made);
	return r;
}

static int read_pem(const char *path, struct mt_buf *out, struct mt_err *err)
{
	return mt_file_read(path, MT_CHAIN_PEM_MAX, out, err);
}

static int load_files(struct citadel_slot *s, const char *key_path, const char *cert_path,
	const char *more_path, struct mt_err *err)
{
	struct mt_buf key = { 0 }, cert = { 0 };
	struct mt_cert_info info;
	int r;

	if ((r = read_pem(key_path, &key, err)) < 0 || (r = read_pem(cert_path, &cert, err)) < 0)
		goto out;
	if (!mt_str_empty(more_path)) {
		mt_buf_addc(&cert, '\n');
		if ((r = read_pem(more_path, &cert, err)) < 0)
			goto out;
	}
	if ((r = mt_key_parse(mt_buf_str(&key), key.n, &s->key, err)) < 0) {
		mt_err_prefix(err, "%s", key_path);
		goto out;
	}
	if ((r = mt_chain_parse(mt_buf_str(&cert), cert.n, &s->chain, err)) < 0) {
		mt_err_prefix(err, "%s", cert_path);
		goto out;
	}
	mt_cert_info(s->chain, 0, &info);
	if (!info.ca)
		r = mt_fail(err, MT_INVALID, cert_path, "is not the certificate of a CA");
	else if (!mt_chain_has_key(s->chain, s->key))
		r = mt_fail(
			err, MT_INVALID, cert_path, "does not belong to the key in %s", key_path);
out:
	if (key.p)
		explicit_bzero(key.p, key.n);
	mt_buf_clear(&key);
	mt_buf_clear(&cert);
	return r;
}

int citadel_slot_load(struct citadel_slot *s, const char *dir, struct mt_err *err)
{
	MT_AUTO(mt_strfreep) char *key_path = path_of(dir, s->name, ".key");
	MT_AUTO(mt_strfreep) char *cert_path = path_of(dir, s->name, ".pem");
	int r = load_files(s, key_path, cert_path, NULL, err);

	/* Not MT_NOT_FOUND: that would look like "nothing was ever here". */
	if (r == MT_NOT_FOUND)
		r = mt_fail(err, MT_INVALID, key_path,
			"roots.json names the root %s, but its key or certificate is gone",
			s->name);
	return r;
}

int citadel_slot_given(
	struct citadel_slot *s, const struct citadel_roots_opts *o, struct mt_err *err)
{
	s->state = CITADEL_SLOT_ACTIVE;
	snprintf(s->name, sizeof(s->name), "given");
	if (mt_str_empty(o->ca_key))
		return mt_fail(err, MT_INVALID, "--ca-key", "--ca-cert needs it");
	return load_files(s, o->ca_key, o->ca_cert, o->cert_chain, err);
}

void citadel_slot_remove(const struct citadel_slot *s, const char *dir)
{
	MT_AUTO(mt_strfreep) char *key_path = path_of(dir, s->name, ".key");
	MT_AUTO(mt_strfreep) char *cert_path = path_of(dir, s->name, ".pem");

	unlink(key_path);
	unlink(cert_path);
}

int citadel_slots_save(const char *dir, const struct citadel_slot *v, size_t n, struct mt_err *err)
{
	MT_AUTO(mt_strfreep) char *path = path_of(dir, "roots", ".json");
	json_t *list = json_array();
	char *text;
	int r;

	for (size_t i = 0; i < n; i++) {
		json_array_append_new(list,
			json_pack("{s:s, s:s, s:I}", "name", v[i].name, "state", states[v[i].state],
				"retire_until",
				(json_int_t)(v[i].retire_until_ns / MT_NS_PER_SEC)));
	}
	text = json_dumps(list, JSON_INDENT(2));
	r = mt_file_replace(path, text, strlen(text), 0600, err);
	free(text);
	json_decref(list);
	return r;
}

static int index_entry(const json_t *j, struct citadel_slot *s)
{
	const char *name = json_string_value(json_object_get(j, "name"));

	if (mt_str_empty(name) || strlen(name) >= sizeof(s->name) || strchr(name, '/') ||
		name[0] == '.')
		return MT_INVALID;
	snprintf(s->name, sizeof(s->name), "%s", name);
	s->retire_until_ns = json_integer_value(json_object_get(j, "retire_until")) * MT_NS_PER_SEC;
	return citadel_slot_state_parse(json_string_value(json_object_get(j, "state")), &s->state);
}

int citadel_slots_load(const char *dir, struct citadel_slot v[CITADEL_SLOTS_MAX], size_t *ret_n,
	struct mt_err *err)
{
	MT_AUTO(mt_strfreep) char *path = path_of(dir, "roots", ".json");
	struct mt_buf text = { 0 };
	size_t n = 0;
	json_t *list;
	int r;

	if ((r = mt_file_read(path, INDEX_MAX, &text, err)) < 0) {
		mt_buf_clear(&text);
		return r;
	}
	list = json_loadb(mt_buf_str(&text), text.n, 0, NULL);
	mt_buf_clear(&text);
	if (!json_is_array(list) || json_array_size(list) == 0 ||
		json_array_size(list) > CITADEL_SLOTS_MAX)
		r = mt_fail(err, MT_INVALID, path, "is damaged: no list of roots");
	for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
		if (index_entry(json_array_get(list, i), &v[n]) < 0)
			r = mt_fail(err, MT_INVALID, path, "is damaged: entry %zu", i);
		else
			r = citadel_slot_load(&v[n], dir, err);
		n++;
	}
	json_decref(list);
	*ret_n = n;
	return r;
}
