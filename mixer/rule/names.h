/* How configuration objects of Mixer name one another: `name.kind.namespace`, `name.kind`,
 * `name.namespace` or `name`; without a namespace the one of the object that names counts. The kind
 * may be left out for kinds `handler` and `instance`, and for others where it is not ambiguous. */
#pragma once

#include "common/base/err.h"

struct mixer_names; /* name -> thing; borrows the things */

struct mixer_names *mixer_names_new(void);
void mixer_names_free(struct mixer_names *n); /* NULL allowed */
/* general: of kind handler or instance: wins over others where the kind is left out. */
void mixer_names_add(struct mixer_names *n, const char *name, const char *kind, const char *ns,
	bool general, void *thing);
/* MT_NOT_FOUND, MT_CONFLICT when several kinds have it. what: "handler", for messages. */
int mixer_names_find(const struct mixer_names *n, const char *what, const char *ref, const char *ns,
	void **ret, struct mt_err *err);
/* "name.kind.ns" into buf. */
const char *mixer_name_full(
	const char *name, const char *kind, const char *ns, char *buf, size_t n);
