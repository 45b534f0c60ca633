/* Worlds out of YAML, for the tests of pilot/model and pilot/translate. */
#pragma once

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/schema/decode.h"
#include "common/schema/pb.h"
#include "pilot/translate/translate.h"
#include "tests/unit/unit.h"

struct fixture {
	struct mt_objects objs;
	struct pilot_services_in svcs;
	struct pilot_world *w;
};

static inline void fixture_load(struct fixture *f, const char *yaml)
{
	struct mt_diags diags = { 0 };
	struct mt_err err = { 0 };
	struct pilot_world_in in = { .domain = "cluster.local", .trust_domain = "cluster.local" };
	MT_VEC(struct pilot_config) c = { 0 };

	*f = (struct fixture){ 0 };
	if (mt_decode_text("fixture", yaml, strlen(yaml), NULL, &f->objs, &diags) < 0)
		ck_abort_msg("%s: %s", diags.v[0].path, diags.v[0].msg);
	for (size_t i = 0; i < f->objs.n; i++) {
		const struct mt_object *o = f->objs.v[i];
		if (strcmp(o->kind->kind, "ServiceEntry") == 0) {
			if (pilot_service_entry(o, (uint32_t)i + 1, NULL, 0, &f->svcs, &err) < 0)
				ck_abort_msg("%s: %s", err.path, err.msg);
		} else {
			struct pilot_config one = { (uint32_t)i + 1, o };
			mt_vec_push(&c, one);
		}
	}
	in.configs = c.v;
	in.nconfigs = c.n;
	in.services = f->svcs.v;
	in.nservices = f->svcs.n;
	f->w = pilot_world_build(&in);
	mt_vec_clear(&c);
	mt_diags_clear(&diags);
}

static inline void fixture_clear(struct fixture *f)
{
	pilot_world_unref(f->w);
	pilot_services_in_clear(&f->svcs);
	mt_objects_clear(&f->objs);
}

static inline int proxy_of_json(const char *json, struct pilot_proxy **ret, struct mt_err *err)
{
	struct mt_arena *a = mt_arena_new(0);
	struct mt_diags diags = { 0 };
	json_error_t je;
	json_t *j = json_loads(json, 0, &je);
	ck_assert_msg(j, "%s", je.text);
	ProtobufCMessage *n = mt_pb_from_json(&core__node__descriptor, j, "node", a, &diags);
	ck_assert_ptr_nonnull(n);
	int r = pilot_proxy_new((const Core__Node *)n, ret, err);
	json_decref(j);
	mt_diags_clear(&diags);
	mt_arena_free(a);
	return r;
}

static inline struct pilot_proxy *proxy_make(const char *ip, const char *ns, const char *labels)
{
	struct pilot_proxy *p = NULL;
	struct mt_err err = { 0 };
	char *json = mt_asprintf("{\"id\": \"sidecar~%s~w.%s~%s.svc.cluster.local\", \"metadata\": "
				 "{\"NAMESPACE\": \"%s\", \"LABELS\": {%s}}}",
		ip, ns, ns, ns, labels);
	if (proxy_of_json(json, &p, &err) < 0)
		ck_abort_msg("%s: %s", err.path, err.msg);
	mt_free(json);
	return p;
}
