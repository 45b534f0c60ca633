/* Host names of the mesh: wildcards, short names, who may see what. Pure; threads: any. */
#pragma once

#include "common/base/arena.h"

/* "*" or "*.example.com". */
bool pilot_host_is_wild(const char *h);
/* pattern covers host; host may be a wildcard itself ("*.com" covers "*.example.com"). */
bool pilot_host_covers(const char *pattern, const char *host);
/* A gateway as rules in ns name it ("mesh", "NAME", "NS/NAME", "./NAME", or 1.0's
 * "NAME.NS.svc.DOMAIN"): "mesh" or "NS/NAME". */
const char *pilot_gateway_name(struct mt_arena *a, const char *name, const char *ns);
/* Lower case; a name without a dot becomes NAME.NS.svc.DOMAIN. */
char *pilot_host_resolve(struct mt_arena *a, const char *host, const char *ns, const char *domain);
/* An exportTo list: empty or "*" everybody, "." the own namespace, "~" nobody, else namespaces. */
bool pilot_exported(const char *const *to, size_t n, const char *own_ns, const char *from_ns);
