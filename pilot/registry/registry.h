/* Registries: who is there. Each turns what its platform knows into services with endpoints
 * (pilot/model/service.h), keeps them, and tells what a change was: nothing, endpoints only (the
 * cheap path), or services too. All on the loop thread.
 *
 * A registry is one row of registries.def and a vtable. */
#pragma once

#include "common/feed/feed.h"
#include "pilot/model/world.h"
#include "pilot/registry/ids.h"

struct pilot_registry;

enum pilot_services_change {
	PILOT_SERVICES_SAME,
	PILOT_SERVICES_ENDPOINTS,
	PILOT_SERVICES_CHANGED
};

/* Endpoints that changed while their service did not; references owned. */
struct pilot_endpoints_changes {
	struct pilot_endpoints_change *v; /* strings live in svc */
	struct pilot_service **svc;
	size_t n;
	size_t cap;
};
void pilot_endpoints_changes_add(
	struct pilot_endpoints_changes *c, struct pilot_service *svc, struct pilot_endpoints *eps);
void pilot_endpoints_changes_clear(struct pilot_endpoints_changes *c);

struct pilot_registry_ops {
	const char *name;
	struct pilot_registry *(*open)(struct pilot_ids *ids);
	void (*close)(struct pilot_registry *r);
	/* A configuration object came, changed or went: registries fed by configuration. NULL: not of
	 * interest. err says why a new object could not be used; what was there before stays. */
	enum pilot_services_change (*object)(struct pilot_registry *r,
		const struct mt_feed_change *c, struct pilot_endpoints_changes *eps,
		struct mt_err *err);
	/* What an agent says of the workload "ns/name". NULL: not of interest. */
	enum pilot_services_change (*health)(struct pilot_registry *r, const char *key,
		bool healthy, struct pilot_endpoints_changes *eps);
	/* Appends references to all services. */
	void (*list)(struct pilot_registry *r, struct pilot_services_in *out);
};

struct pilot_registry {
	const struct pilot_registry_ops *ops;
};

#define REGISTRY(name) extern const struct pilot_registry_ops pilot_registry_##name;
#include "pilot/registry/registries.def"
#undef REGISTRY
