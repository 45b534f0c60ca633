/* A bag of attributes while it is filled: from typed fields, and from facts that travel as text under
 * their attribute's name (common/expr/wire.h).
 *
 * The first to state an attribute is believed: sources are asked in the order of how far they are to
 * be trusted. Texts are not copied, they must live as long as the bag; all else is in the arena. Each
 * map holds at most MIXER_MAP_MAX entries. Threads: one. */
#pragma once

#include "common/expr/vocab.h"

enum { MIXER_MAP_MAX = 256 };

struct mixer_facts {
	struct mt_bag bag;
	const struct mt_vocab *vocab;
	struct mt_arena *arena;
};

void mixer_facts_init(struct mixer_facts *f, const struct mt_vocab *vocab, struct mt_arena *a);
/* A copy that can be added to without changing the first. */
void mixer_facts_copy(struct mixer_facts *f, const struct mixer_facts *from, struct mt_arena *a);
static inline bool mixer_facts_has(const struct mixer_facts *f, size_t attr)
{
	return mt_bag_get(&f->bag, attr) != NULL;
}
/* Text of an attribute of type STRING, NULL when absent. Not NUL terminated. */
const struct mt_text *mixer_facts_text(const struct mixer_facts *f, size_t attr);

/* These leave alone what was stated already; NULL and "" are no statement. */
void mixer_facts_str(struct mixer_facts *f, size_t attr, const char *s);
void mixer_facts_strn(struct mixer_facts *f, size_t attr, const char *p, size_t n);
void mixer_facts_int(struct mixer_facts *f, size_t attr, int64_t i);
void mixer_facts_bool(struct mixer_facts *f, size_t attr, bool b);
/* An entry of a map attribute. */
void mixer_facts_entry(struct mixer_facts *f, size_t attr, const char *key, const char *value);
/* name: of an attribute of any type, or of a map attribute followed by '.' and a key. False when it is
 * neither, or the text is no value of the attribute's type. */
bool mixer_facts_add(struct mixer_facts *f, const char *name, const char *value);

/* Makes "spiffe://td/ns/x/sa/y" what Istio's users write: "td/ns/x/sa/y". Points into uri. */
const char *mixer_principal(const char *uri);

/* Fills in what follows from the rest: names of the service from its host, the destination's
 * namespace, older names of attributes. */
void mixer_facts_finish(struct mixer_facts *f);
