/* Authentication and authorization kinds, of both generations. */
#include <stdlib.h>
#include <string.h>

#include "common/base/cidr.h"
#include "common/base/strs.h"
#include "galley/validate/check.h"
#include "istio/authentication/v1alpha1/authentication.pb-c.h"
#include "istio/rbac/v1alpha1/rbac.pb-c.h"
#include "istio/security/v1beta1/security.pb-c.h"

static void singleton(const struct check *c)
{
	if (strcmp(c->obj->name, "default") != 0)
		fault(c, "metadata.name", "a %s is named default: the mesh has one",
			c->obj->kind->kind);
}

static void selector(const struct check *c, const Istype__WorkloadSelector *s)
{
	for (size_t i = 0; s && i < s->n_match_labels; i++)
		if (strchr(s->match_labels[i]->value, '*') || strchr(s->match_labels[i]->key, '*'))
			fault(c,
				at(c, "spec.selector.matchLabels[\"%s\"]", s->match_labels[i]->key),
				"wildcards are not supported in labels");
}

static void url(const struct check *c, const char *path, const char *s)
{
	if (!mt_str_empty(s) && !mt_str_prefix(s, "http://") && !mt_str_prefix(s, "https://"))
		fault(c, path, "\"%s\" is not an http or https address", s);
}

void galley_check_peer_authentication(const struct check *c, const ProtobufCMessage *spec)
{
	const Sec__PeerAuthentication *p = (const Sec__PeerAuthentication *)spec;

	selector(c, p->selector);
	if (p->n_port_level_mtls && (!p->selector || !p->selector->n_match_labels))
		fault(c, "spec.portLevelMtls", "needs spec.selector: ports belong to workloads");
	for (size_t i = 0; i < p->n_port_level_mtls; i++)
		check_port(c, at(c, "spec.portLevelMtls.%u", p->port_level_mtls[i]->key),
			p->port_level_mtls[i]->key);
}

static void jwt_rule(const struct check *c, const char *path, const Sec__JWTRule *r)
{
	if (mt_str_empty(r->issuer))
		fault(c, at(c, "%s.issuer", path), "is missing");
	if (!mt_str_empty(r->jwks) && !mt_str_empty(r->jwks_uri))
		fault(c, at(c, "%s.jwks", path), "say jwks or jwksUri, not both");
	url(c, at(c, "%s.jwksUri", path), r->jwks_uri);
	for (size_t i = 0; i < r->n_from_headers; i++)
		check_header_name(
			c, at(c, "%s.fromHeaders[%zu].name", path, i), r->from_headers[i]->name);
	if (!mt_str_empty(r->output_payload_to_header))
		check_header_name(
			c, at(c, "%s.outputPayloadToHeader", path), r->output_payload_to_header);
	check_duration(c, at(c, "%s.timeout", path), r->timeout, 1000000);
}

void galley_check_request_authentication(const struct check *c, const ProtobufCMessage *spec)
{
	const Sec__RequestAuthentication *r = (const Sec__RequestAuthentication *)spec;

	selector(c, r->selector);
	for (size_t i = 0; i < r->n_jwt_rules; i++)
		jwt_rule(c, at(c, "spec.jwtRules[%zu]", i), r->jwt_rules[i]);
}

static void blocks(const struct check *c, const char *path, char *const *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		check_cidr(c, at(c, "%s[%zu]", path, i), v[i]);
}

static void ports(const struct check *c, const char *path, char *const *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char *end;
		unsigned long port = strtoul(v[i], &end, 10);
		if (!*v[i] || *end || port < 1 || port > 65535)
			fault(c, at(c, "%s[%zu]", path, i), "\"%s\" is not a port: 1 to 65535",
				v[i]);
	}
}

static void source(const struct check *c, const char *path, const Sec__Source *s)
{
	if (!s) {
		fault(c, path, "is empty");
		return;
	}
	blocks(c, at(c, "%s.ipBlocks", path), s->ip_blocks, s->n_ip_blocks);
	blocks(c, at(c, "%s.notIpBlocks", path), s->not_ip_blocks, s->n_not_ip_blocks);
	blocks(c, at(c, "%s.remoteIpBlocks", path), s->remote_ip_blocks, s->n_remote_ip_blocks);
	blocks(c, at(c, "%s.notRemoteIpBlocks", path), s->not_remote_ip_blocks,
		s->n_not_remote_ip_blocks);
}

static void operation(const struct check *c, const char *path, const Sec__Operation *o)
{
	if (!o) {
		fault(c, path, "is empty");
		return;
	}
	ports(c, at(c, "%s.ports", path), o->ports, o->n_ports);
	ports(c, at(c, "%s.notPorts", path), o->not_ports, o->n_not_ports);
}

static void condition(const struct check *c, const char *path, const Sec__Condition *w)
{
	static const char *const keys[] = { "source.ip", "remote.ip", "source.namespace",
		"source.principal", "source.serviceAccount", "request.auth.principal",
		"request.auth.audiences", "request.auth.presenter", "destination.ip",
		"destination.port", "connection.sni" };
	bool known = mt_str_prefix(w->key, "request.headers[") ||
		mt_str_prefix(w->key, "request.auth.claims[") ||
		mt_str_prefix(w->key, "experimental.envoy.filters.");

	for (size_t i = 0; i < MT_ARRAY_SIZE(keys); i++)
		known = known || strcmp(keys[i], w->key) == 0;
	if (!known)
		fault(c, at(c, "%s.key", path), "\"%s\" is not an attribute of conditions", w->key);
	if (!w->n_values && !w->n_not_values)
		fault(c, path, "needs values or notValues");
	if (strcmp(w->key, "source.ip") == 0 || strcmp(w->key, "remote.ip") == 0 ||
		strcmp(w->key, "destination.ip") == 0) {
		blocks(c, at(c, "%s.values", path), w->values, w->n_values);
		blocks(c, at(c, "%s.notValues", path), w->not_values, w->n_not_values);
	}
}

void galley_check_authorization_policy(const struct check *c, const ProtobufCMessage *spec)
{
	const Sec__AuthorizationPolicy *p = (const Sec__AuthorizationPolicy *)spec;
	bool custom = p->action == SEC__AUTHORIZATION_POLICY__ACTION__CUSTOM;
	bool provider = p->action_detail_case == SEC__AUTHORIZATION_POLICY__ACTION_DETAIL_PROVIDER;

	selector(c, p->selector);
	if (custom != provider)
		fault(c, "spec.provider",
			custom ? "is missing: CUSTOM asks a provider" : "is for the action CUSTOM");
	for (size_t i = 0; i < p->n_rules; i++) {
		const Sec__Rule *r = p->rules[i];
		const char *path = at(c, "spec.rules[%zu]", i);
		for (size_t k = 0; k < r->n_from; k++)
			source(c, at(c, "%s.from[%zu].source", path, k), r->from[k]->source);
		for (size_t k = 0; k < r->n_to; k++)
			operation(c, at(c, "%s.to[%zu].operation", path, k), r->to[k]->operation);
		for (size_t k = 0; k < r->n_when; k++)
			condition(c, at(c, "%s.when[%zu]", path, k), r->when[k]);
	}
}

/* ---- Istio 1.0 ---- */

static void jwt(const struct check *c, const char *path, const Authn__Jwt *j)
{
	if (!j) {
		fault(c, path, "is empty");
		return;
	}
	if (mt_str_empty(j->issuer))
		fault(c, at(c, "%s.issuer", path), "is missing");
	url(c, at(c, "%s.jwksUri", path), j->jwks_uri);
	for (size_t i = 0; i < j->n_jwt_headers; i++)
		check_header_name(c, at(c, "%s.jwtHeaders[%zu]", path, i), j->jwt_headers[i]);
}

static void policy(const struct check *c, const Authn__Policy *p)
{
	for (size_t i = 0; i < p->n_peers; i++) {
		const Authn__PeerAuthenticationMethod *m = p->peers[i];
		const char *path = at(c, "spec.peers[%zu]", i);
		if (m->params_case == AUTHN__PEER_AUTHENTICATION_METHOD__PARAMS__NOT_SET)
			fault(c, path, "says no method: mtls or jwt");
		else if (m->params_case == AUTHN__PEER_AUTHENTICATION_METHOD__PARAMS_JWT)
			jwt(c, at(c, "%s.jwt", path), m->jwt);
	}
	for (size_t i = 0; i < p->n_origins; i++)
		jwt(c, at(c, "spec.origins[%zu].jwt", i), p->origins[i]->jwt);
}

void galley_check_policy(const struct check *c, const ProtobufCMessage *spec)
{
	const Authn__Policy *p = (const Authn__Policy *)spec;

	policy(c, p);
	if (!p->n_targets && strcmp(c->obj->name, "default") != 0)
		fault(c, "metadata.name",
			"a Policy without targets is the namespace's: name it default");
	if (p->n_targets && strcmp(c->obj->name, "default") == 0)
		fault(c, "spec.targets", "the namespace's policy (default) has no targets");
	for (size_t i = 0; i < p->n_targets; i++) {
		const Authn__TargetSelector *t = p->targets[i];
		const char *path = at(c, "spec.targets[%zu]", i);
		if (!is_label(t->name))
			fault(c, at(c, "%s.name", path),
				"\"%s\" is not a short name of a service in this namespace",
				t->name);
		for (size_t k = 0; k < t->n_ports; k++)
			if (t->ports[k]->port_case == AUTHN__PORT_SELECTOR__PORT_NUMBER)
				check_port(c, at(c, "%s.ports[%zu].number", path, k),
					t->ports[k]->number);
	}
}

void galley_check_mesh_policy(const struct check *c, const ProtobufCMessage *spec)
{
	const Authn__Policy *p = (const Authn__Policy *)spec;

	singleton(c);
	policy(c, p);
	if (p->n_targets)
		fault(c, "spec.targets", "a MeshPolicy is for the whole mesh");
}

void galley_check_rbac_config(const struct check *c, const ProtobufCMessage *spec)
{
	const Rbacv1__RbacConfig *r = (const Rbacv1__RbacConfig *)spec;

	singleton(c);
	if (r->mode == RBACV1__RBAC_CONFIG__MODE__ON_WITH_INCLUSION && !r->inclusion)
		fault(c, "spec.inclusion", "is missing: ON_WITH_INCLUSION says where");
	if (r->mode == RBACV1__RBAC_CONFIG__MODE__ON_WITH_EXCLUSION && !r->exclusion)
		fault(c, "spec.exclusion", "is missing: ON_WITH_EXCLUSION says where not");
}

void galley_check_service_role(const struct check *c, const ProtobufCMessage *spec)
{
	const Rbacv1__ServiceRole *r = (const Rbacv1__ServiceRole *)spec;

	if (!r->n_rules)
		fault(c, "spec.rules", "is missing");
	for (size_t i = 0; i < r->n_rules; i++) {
		const Rbacv1__AccessRule *rule = r->rules[i];
		if (!rule->n_services)
			fault(c, at(c, "spec.rules[%zu].services", i),
				"is missing: \"*\" means all");
		for (size_t k = 0; k < rule->n_constraints; k++)
			if (mt_str_empty(rule->constraints[k]->key) ||
				!rule->constraints[k]->n_values)
				fault(c, at(c, "spec.rules[%zu].constraints[%zu]", i, k),
					"needs a key and values");
	}
}

void galley_check_service_role_binding(const struct check *c, const ProtobufCMessage *spec)
{
	const Rbacv1__ServiceRoleBinding *b = (const Rbacv1__ServiceRoleBinding *)spec;

	if (!b->n_subjects)
		fault(c, "spec.subjects", "is missing");
	for (size_t i = 0; i < b->n_subjects; i++) {
		const Rbacv1__Subject *s = b->subjects[i];
		if (mt_str_empty(s->user) && mt_str_empty(s->group) && !s->n_properties &&
			!s->n_names && !s->n_groups && !s->n_namespaces && !s->n_ips)
			fault(c, at(c, "spec.subjects[%zu]", i), "says nobody: user or properties");
	}
	if (!b->roleref && mt_str_empty(b->role))
		fault(c, "spec.roleRef", "is missing");
	if (b->roleref && strcmp(b->roleref->kind, "ServiceRole") != 0)
		fault(c, "spec.roleRef.kind", "\"%s\" is not ServiceRole", b->roleref->kind);
	if (b->roleref && mt_str_empty(b->roleref->name))
		fault(c, "spec.roleRef.name", "is missing");
}
