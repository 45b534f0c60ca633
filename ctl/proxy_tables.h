/* Resources of a proxy as people read them: a table for each kind, made of Pilot's dump. */
#pragma once

#include <jansson.h>

/* list: [{"name", "objects": [{"kind", "namespace", "name", "source"}], "resource": {...}}]. Prints to stdout. */
void ctl_print_listeners(json_t *list);
void ctl_print_routes(json_t *list);
void ctl_print_clusters(json_t *list);
void ctl_print_endpoints(json_t *list);
