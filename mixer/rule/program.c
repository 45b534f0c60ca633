#include "mixer/rule/program.h"

#include <pthread.h>
#include <string.h>

#include "common/base/mem.h"

struct mixer_words *mixer_words_new(struct mt_vocab *vocab)
{
	struct mixer_words *w = MT_NEW(struct mixer_words);

	mt_ref_init(&w->ref);
	w->vocab = vocab;
	return w;
}

struct mixer_words *mixer_words_ref(struct mixer_words *w)
{
	mt_ref_get(&w->ref);
	return w;
}

void mixer_words_unref(struct mixer_words *w)
{
	if (!w || !mt_ref_put(&w->ref))
		return;
	mt_vocab_free(w->vocab);
	mt_free(w);
}

struct mixer_program *mixer_program_new(uint64_t number, struct mixer_words *words,
	struct mixer_rule *const *rules, size_t n, const char *root_namespace,
	const struct mixer_counts *counts)
{
	struct mixer_program *p = MT_NEW(struct mixer_program);

	mt_ref_init(&p->ref);
	p->number = number;
	p->words = words;
	p->rules = mt_alloc((n + 1) * sizeof(struct mixer_rule *));
	if (n)
		memcpy(p->rules, rules, n * sizeof(struct mixer_rule *));
	p->nrules = n;
	p->index = mixer_index_new(p->rules, n, root_namespace);
	if (counts)
		p->counts = *counts;
	return p;
}

struct mixer_program *mixer_program_ref(struct mixer_program *p)
{
	mt_ref_get(&p->ref);
	return p;
}

void mixer_program_unref(struct mixer_program *p)
{
	if (!p || !mt_ref_put(&p->ref))
		return;
	mixer_index_free(p->index);
	for (size_t i = 0; i < p->nrules; i++)
		mixer_rule_unref(p->rules[i]);
	mt_free(p->rules);
	mixer_words_unref(p->words);
	mt_free(p);
}

/* ---- the slot ---- */

struct mixer_slot {
	pthread_mutex_t lock;
	struct mixer_program *program;
};

struct mixer_slot *mixer_slot_new(void)
{
	struct mixer_slot *s = MT_NEW(struct mixer_slot);

	pthread_mutex_init(&s->lock, NULL);
	return s;
}

void mixer_slot_free(struct mixer_slot *s)
{
	if (!s)
		return;
	mixer_program_unref(s->program);
	pthread_mutex_destroy(&s->lock);
	mt_free(s);
}

void mixer_slot_set(struct mixer_slot *s, struct mixer_program *p)
{
	struct mixer_program *old;

	pthread_mutex_lock(&s->lock);
	old = s->program;
	s->program = p;
	pthread_mutex_unlock(&s->lock);
	mixer_program_unref(old);
}

struct mixer_program *mixer_slot_get(struct mixer_slot *s)
{
	struct mixer_program *p;

	pthread_mutex_lock(&s->lock);
	p = s->program ? mixer_program_ref(s->program) : NULL;
	pthread_mutex_unlock(&s->lock);
	return p;
}
