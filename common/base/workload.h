/* How a proxy says which workload it belongs to: the request header that the source's own proxy sets
 * from the environment of its process, and that Mixer reads at the destination. The agent sets the
 * variable, Pilot's filters copy it into the header (and strip what a client sent), Mixer believes it
 * only when its service account matches the peer's certificate.
 *
 * The value is one line of "key=value" pairs joined by "&", percent-encoded: name, ns, sa, cluster, and
 * a label each as "l.KEY". Unknown keys are ignored. Pure; threads: any. */
#pragma once

#include "common/base/arena.h"
#include "common/base/err.h"

#define MT_WORKLOAD_HEADER "x-meltemi-workload"
#define MT_WORKLOAD_ENV "MELTEMI_WORKLOAD"
/* The value of the header in Envoy's configuration. */
#define MT_WORKLOAD_FORMAT "%ENVIRONMENT(" MT_WORKLOAD_ENV ")%"

enum { MT_WORKLOAD_MAX = 4096, MT_WORKLOAD_LABELS_MAX = 64 }; /* bytes of the value; labels */

struct mt_workload_label {
	const char *key;
	const char *value;
};
struct mt_workload {
	const char *name; /* "reviews-v1"; "" when not said, as all below */
	const char *ns;
	const char *service_account;
	const char *cluster;
	const struct mt_workload_label *labels;
	size_t nlabels;
};

/* The value, in the arena. MT_LIMIT when it would be longer than MT_WORKLOAD_MAX (leave labels out). */
int mt_workload_format(
	const struct mt_workload *w, struct mt_arena *a, const char **ret, struct mt_err *err);
/* Strings live in the arena. MT_INVALID, MT_LIMIT. */
int mt_workload_parse(const char *text, size_t n, struct mt_arena *a, struct mt_workload *ret,
	struct mt_err *err);
