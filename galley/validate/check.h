/* What the validators share: where a fault is, and checks of the things that many kinds have. Private
 * to galley/validate.
 *
 * Paths are built as they are needed: `at(c, "spec.http[%zu].timeout", i)`; the text lives in the
 * check's arena. Each check_ function reports on its own and returns nothing: validation goes on. */
#pragma once

#include "common/schema/object.h"
#include "google/protobuf/duration.pb-c.h"
#include "istio/networking/v1alpha3/virtual_service.pb-c.h"

struct check {
	const struct mt_object *obj;
	struct mt_diags *diags;
	struct mt_arena *arena;
};

const char *at(const struct check *c, const char *fmt, ...) MT_PRINTF(2, 3);
void fault(const struct check *c, const char *path, const char *fmt, ...) MT_PRINTF(3, 4);
void remark(const struct check *c, const char *path, const char *fmt, ...)
	MT_PRINTF(3, 4); /* warning */

/* A DNS name: labels of letters, digits and '-' (and '_'), at most 253. wildcard: "*" or "*.name". */
bool is_host(const char *s, bool wildcard);
bool is_label(const char *s); /* DNS label: subset and port names */
void check_host(const struct check *c, const char *path, const char *s, bool wildcard);
/* Key and value of a label, as Kubernetes has them. */
void check_label(const struct check *c, const char *path, const char *key, const char *value);
/* Labels and namespace of who calls. labels: map<string,string>. */
void check_source(
	const struct check *c, const char *path, const void *labels, size_t n, const char *ns);
void check_port(const struct check *c, const char *path, uint32_t port); /* 1..65535 */
/* NULL is fine. At least min_ns, with nanos and seconds of one sign; the API's own precision is 1 ms. */
void check_duration(const struct check *c, const char *path, const Google__Protobuf__Duration *d,
	int64_t min_ns);
void check_percent(const struct check *c, const char *path, const Nw__Percent *p);
void check_percent_int(const struct check *c, const char *path, int64_t v);
/* RE2: PCRE2 parses it, and what RE2 lacks (look-around, back-references, ...) is refused. */
void check_regex(const struct check *c, const char *path, const char *s);
/* RE2's replacement text: \\0 to \\9 name groups that the pattern has. */
void check_substitution(
	const struct check *c, const char *path, const char *pattern, const char *s);
void check_string_match(const struct check *c, const char *path, const Nw__StringMatch *m);
void check_header_name(const struct check *c, const char *path, const char *s);
void check_http_status(const struct check *c, const char *path, int64_t v);
void check_address(const struct check *c, const char *path, const char *s); /* IP address */
void check_cidr(const struct check *c, const char *path, const char *s);
void check_export_to(const struct check *c, char *const *v, size_t n);
void check_gateway_name(
	const struct check *c, const char *path, const char *s); /* "mesh", NAME, NS/NAME */
void check_subset_name(const struct check *c, const char *path, const char *s);
bool is_protocol(const char *s);
void check_destination(const struct check *c, const char *path, const Nw__Destination *d);

#define VALIDATOR(kind, fn) void fn(const struct check *c, const ProtobufCMessage *spec);
#include "galley/validate/validators.def"
#undef VALIDATOR
