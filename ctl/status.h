/* What Pilot says of objects (/debug/status). For commands; one thread. */
#pragma once

#include <jansson.h>

#include "common/schema/object.h"

/* The whole page; kind NULL: every object. */
int ctl_status_get(const char *pilot, const char *kind, const char *ns, const char *name,
	json_t **ret, struct mt_err *err);
/* The entry of an object in the page, borrowed; NULL. */
json_t *ctl_status_find(json_t *page, const char *kind, const char *ns, const char *name);
/* Does Pilot read that kind? */
bool ctl_status_reads(json_t *page, const char *kind);
/* "in force", "pending", ... and in why (heap, never NULL) what it waits for or who refused it. */
const char *ctl_status_state(json_t *entry, char **ret_why);
/* What is said of it: "ignored: spec.http[1]: ... (2 proxies)", each after `sep` (heap, never NULL). */
char *ctl_status_notes(json_t *entry, const char *sep);
