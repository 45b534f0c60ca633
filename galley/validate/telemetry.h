/* Parts of the mesh configuration that telemetry needs. Private to galley/validate. */
#pragma once

#include "galley/validate/check.h"
#include "istio/mesh/v1alpha1/config.pb-c.h"

void galley_check_providers(const struct check *c, const Mesh__MeshConfig *m);
/* An access log's format in JSON encoding. */
void galley_check_json_format(const struct check *c, const char *path, const char *text);
