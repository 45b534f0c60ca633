/* Across objects: references that lead nowhere. Warnings only, because the other side may come later,
 * or from a registry that Galley does not read. Pure over the store; loop thread (it owns the store).
 * Cost: all objects once; meant for pages and `meltemi`, not for each change. */
#pragma once

#include "galley/store/store.h"

/* domain: what short host names are completed with, "svc.cluster.local". */
void galley_analyze(const struct galley_store *s, const char *domain, struct mt_diags *out);
