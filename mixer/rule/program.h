/* The program: all rules in force, compiled. Immutable and reference counted: threads that decide
 * checks take the newest from the slot and work on it while the loop makes the next. */
#pragma once

#include "mixer/rule/index.h"

struct mixer_words { /* a vocabulary that programs share */
	struct mt_ref ref;
	struct mt_vocab *vocab;
};
struct mixer_words *mixer_words_new(struct mt_vocab *vocab); /* takes vocab */
struct mixer_words *mixer_words_ref(struct mixer_words *w);
void mixer_words_unref(struct mixer_words *w);

/* Where evaluation counts; members may be NULL. */
struct mixer_counts {
	struct mt_metric_series *match_errors;
	struct mt_metric_series *instance_errors;
	struct mt_metric_series *destinations; /* handlers a request went to */
	struct mt_metric_series *instances;    /* instances a request made */
};

struct mixer_program {
	struct mt_ref ref;
	uint64_t number; /* grows with each program of this process */
	struct mixer_words *words;
	struct mixer_rule **rules; /* sorted by name, the root namespace's among them */
	size_t nrules;
	struct mixer_index *index;
	struct mixer_counts counts;
};

/* Takes the references of rules and words. */
struct mixer_program *mixer_program_new(uint64_t number, struct mixer_words *words,
	struct mixer_rule *const *rules, size_t n, const char *root_namespace,
	const struct mixer_counts *counts);
struct mixer_program *mixer_program_ref(struct mixer_program *p);
void mixer_program_unref(struct mixer_program *p); /* NULL allowed; any thread */

/* ---- checks ---- */

struct mixer_header_change {
	enum mixer_header_op op;
	const char *name;
	const char *value; /* NULL for REMOVE */
};
struct mixer_header_changes {
	struct mixer_header_change *v;
	size_t n, cap;
};

struct mixer_outcome {
	int code;            /* google.rpc.Code */
	const char *message; /* of the adapter that refused */
	const char *handler; /* its name */
	const char *rule;
	unsigned rules; /* how many applied */
	struct mixer_header_changes request, response;
};

/* The first refusal counts; rules go by namespace and name. Texts live in scratch or the program.
 * Errors: an instance could not be evaluated or an adapter cannot say; the caller's failure policy
 * decides. */
int mixer_program_check(const struct mixer_program *p, const struct mt_bag *bag,
	struct mt_arena *scratch, struct mixer_outcome *ret, struct mt_err *err);

/* ---- reports ---- */

/* Gathers instances of many reports by handler; then each handler is called once. One thread; all in
 * the arena given. */
struct mixer_batch;
struct mixer_batch *mixer_batch_new(const struct mixer_program *p, struct mt_arena *scratch);
/* What rules make of one report. The bag must live until mixer_batch_send(). */
void mixer_batch_add(struct mixer_batch *b, const struct mt_bag *bag);
void mixer_batch_send(struct mixer_batch *b);

/* ---- the slot ---- */

/* Holds the program in force, behind a lock held for as long as a pointer takes to copy. */
struct mixer_slot;
struct mixer_slot *mixer_slot_new(void);
void mixer_slot_free(struct mixer_slot *s);
void mixer_slot_set(struct mixer_slot *s, struct mixer_program *p); /* takes the reference */
struct mixer_program *mixer_slot_get(
	struct mixer_slot *s); /* new reference, NULL before the first */
