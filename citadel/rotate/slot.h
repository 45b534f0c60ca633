/* One slot of rotate/roots.h on disk: NAME.pem and NAME.key beside the index. Private to rotate/. */
#pragma once

#include "citadel/rotate/roots.h"

enum citadel_slot_state {
	CITADEL_SLOT_PREPARED,
	CITADEL_SLOT_PUBLISHED,
	CITADEL_SLOT_ACTIVE,
	CITADEL_SLOT_RETIRED,
	CITADEL_SLOT_STATES
};

struct citadel_slot {
	char name[CITADEL_SLOT_NAME_MAX];
	enum citadel_slot_state state;
	int64_t retire_until_ns; /* wall clock; retired slots */
	struct mt_key *key;
	struct mt_chain *chain;
};

const char *citadel_slot_state_name(enum citadel_slot_state s);
int citadel_slot_state_parse(const char *text, enum citadel_slot_state *ret);
void citadel_slot_clear(struct citadel_slot *s);
/* A new self-signed root, written to dir. */
int citadel_slot_create(
	struct citadel_slot *s, const struct citadel_roots_opts *o, struct mt_err *err);
/* Reads key and certificate of s->name from dir. */
int citadel_slot_load(struct citadel_slot *s, const char *dir, struct mt_err *err);
void citadel_slot_remove(const struct citadel_slot *s, const char *dir);
/* A CA from files: checks that they belong together. */
int citadel_slot_given(
	struct citadel_slot *s, const struct citadel_roots_opts *o, struct mt_err *err);
/* Writes and reads the index. */
int citadel_slots_save(const char *dir, const struct citadel_slot *v, size_t n, struct mt_err *err);
/* MT_NOT_FOUND when there is none. */
int citadel_slots_load(const char *dir, struct citadel_slot v[CITADEL_SLOTS_MAX], size_t *ret_n,
	struct mt_err *err);
