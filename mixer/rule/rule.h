/* A compiled rule: when it applies, what it hands to which handlers, what it does to headers.
 * Immutable, reference counted; the last reference may go on any thread: bindings are undone on the
 * loop thread. */
#pragma once

#include "common/schema/object.h"
#include "mixer/rule/handler.h"

enum { MIXER_EQUALITIES_MAX = 8 };

struct mixer_input { /* an instance as an action names it */
	struct mixer_instance_def *def;
	void *binding; /* the adapter's, NULL when it has none */
};

struct mixer_action {
	struct mixer_handler *handler;
	struct mixer_input *inputs; /* all of one variety */
	size_t ninputs;
	enum mixer_variety variety;
};

enum mixer_header_op { MIXER_HEADER_REPLACE, MIXER_HEADER_REMOVE, MIXER_HEADER_APPEND };

struct mixer_header {
	enum mixer_header_op op;
	char *name; /* lower case */
	struct mt_expr **values;
	size_t nvalues;
};

struct mixer_headers {
	struct mixer_header *v;
	size_t n;
};

struct mixer_rule {
	struct mt_ref ref;
	const struct mixer_adapter_env *env;
	char *name; /* "bookshop/details-private" */
	char *ns;
	char *text;            /* of its match, for people */
	struct mt_expr *match; /* NULL: always */
	struct mt_expr_equality equalities[MIXER_EQUALITIES_MAX];
	size_t nequalities;
	struct mixer_action *actions;
	size_t nactions;
	struct mixer_headers request, response;
	bool partial; /* faults left something out */
};

/* How the compiler asks for what a rule names. Borrowed results; MT_NOT_FOUND, MT_CONFLICT when a
 * name is ambiguous. */
struct mixer_lookup {
	int (*handler)(void *ctx, const char *ref, const char *ns, struct mixer_handler **ret,
		struct mt_err *err);
	int (*instance)(void *ctx, const char *ref, const char *ns, struct mixer_instance_def **ret,
		struct mt_err *err);
	void *ctx;
};

/* Every fault goes to diags (with the object's places). What is right of the rule's actions is in
 * *ret, which is NULL when the rule as a whole cannot be used (its match is wrong). Returns 0, or
 * MT_INVALID when there was a fault. */
int mixer_rule_compile(const struct mt_object *o, const struct mt_vocab *vocab,
	const struct mixer_lookup *lookup, const struct mixer_adapter_env *env,
	struct mixer_rule **ret, struct mt_diags *diags);
struct mixer_rule *mixer_rule_ref(struct mixer_rule *r);
void mixer_rule_unref(struct mixer_rule *r); /* NULL allowed */
