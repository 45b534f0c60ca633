/* REST for meltemi apply, get, delete and validate:
 *
 *   GET    /v1/objects                       all that is in force; ?namespace=NS
 *   GET    /v1/objects/KIND[/NS[/NAME]]      lists, or one; ?format=yaml
 *   PUT    /v1/objects/KIND/NS/NAME          YAML or JSON of that object
 *   DELETE /v1/objects/KIND/NS/NAME
 *   POST   /v1/validate                      any number of objects; says all faults
 *
 * A kind of the whole mesh has no NS: /v1/objects/KIND/NAME. A written object becomes a file of its own in the folder
 * `applied` of the first source that can be written; one that a hand-written file defines is refused,
 * naming the file. The answer comes when the change is in force.
 *
 * Whoever writes configuration rules the mesh, so callers are on this machine (loopback); anything else
 * is refused. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/strs.h"
#include "galley/galley.h"
#include "galley/validate/validate.h"

enum { PART_MAX = 254 };
#define APPLIED "applied"

struct target {
	const struct mt_kind *kind; /* NULL: all */
	char ns[PART_MAX];          /* "" for the whole mesh, or not given */
	char name[PART_MAX];        /* "" when not given */
	char key[2 * PART_MAX];     /* "ns/name" */
};

/* One part of the path into buf. False: too long, or with characters that no name has. */
static bool part(const char **p, char *buf)
{
	size_t n = strcspn(*p, "/");

	if (n >= PART_MAX)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)(*p)[i]) && !strchr("-._", (*p)[i]))
			return false;
	memcpy(buf, *p, n);
	buf[n] = 0;
	*p += n;
	*p += **p == '/';
	return !strstr(buf, "..");
}

static int target_parse(struct mt_http_req *req, struct target *t, struct mt_err *err)
{
	const char *p = mt_http_path(req) + strlen("/v1/objects");
	char kind[PART_MAX];

	*t = (struct target){ 0 };
	p += *p == '/';
	if (!part(&p, kind) || !part(&p, t->ns) || !part(&p, t->name) || *p)
		return mt_fail(
			err, MT_INVALID, NULL, "the path is /v1/objects/KIND/NAMESPACE/NAME");
	if (!*kind) {
		const char *ns = mt_http_query(req, "namespace");
		snprintf(t->ns, sizeof(t->ns), "%s", ns ? ns : "");
		return 0;
	}
	if (!(t->kind = mt_kind_by_name(kind)))
		return mt_fail(err, MT_NOT_FOUND, NULL, "no kind is called %s", kind);
	if (t->kind->scope == MT_SCOPE_CLUSTER) {
		if (*t->name)
			return mt_fail(err, MT_INVALID, NULL, "a %s belongs to no namespace",
				t->kind->kind);
		memcpy(t->name, t->ns, sizeof(t->name));
		*t->ns = 0;
	}
	snprintf(t->key, sizeof(t->key), "%s%s%s", t->ns, *t->ns ? "/" : "", t->name);
	return 0;
}

static bool refuse_strangers(struct mt_http_req *req)
{
	struct mt_err err = { 0 };

	if (mt_http_peer_is_loopback(req))
		return false;
	mt_fail(&err, MT_DENIED, NULL, "configuration is written from this machine only");
	mt_http_reply_err(req, &err);
	return true;
}

/* ---- GET ---- */

static json_t *object_json(struct galley *g, const struct mt_object *o)
{
	json_t *j = mt_object_to_json(o);
	char key[2 * PART_MAX];
	const struct mt_object *claim =
		galley_store_claim(g->store, o->kind, mt_object_key(o, key, sizeof(key)));
	const struct mt_pos pos = claim ? claim->pos : o->pos;
	const struct galley_text *t = pos.file ? galley_store_text_find(g->store, pos.file) : NULL;
	json_t *status = json_pack("{s:I, s:s, s:i}", "generation", (json_int_t)o->generation,
		"file", pos.file ? pos.file : "", "line", pos.line);

	if (t && t->diags.n)
		json_object_set_new(status, "fileDiagnostics", galley_diags_json(&t->diags));
	json_object_set_new(j, "status", status);
	return j;
}

static void reply_doc(struct mt_http_req *req, json_t *doc)
{
	const char *format = mt_http_query(req, "format");

	if (!mt_streq(format, "yaml")) {
		mt_http_reply_json(req, 200, doc);
		return;
	}
	char *text = mt_json_to_yaml(doc);
	mt_http_reply(req, 200, "application/yaml", text, strlen(text));
	mt_free(text);
	json_decref(doc);
}

struct listing {
	const struct target *t;
	MT_VEC(struct mt_object *) found;
};

static void list_add(void *ctx, struct mt_object *o)
{
	struct listing *l = ctx;

	if ((!l->t->kind || o->kind == l->t->kind) && (!*l->t->ns || strcmp(o->ns, l->t->ns) == 0))
		mt_vec_push(&l->found, o);
}

static int list_cmp(const void *a, const void *b)
{
	const struct mt_object *x = *(struct mt_object *const *)a,
			       *y = *(struct mt_object *const *)b;
	int c = (int)x->kind->id - (int)y->kind->id;

	if (!c)
		c = strcmp(x->ns, y->ns);
	return c ? c : strcmp(x->name, y->name);
}

static void list_objects(struct galley *g, struct mt_http_req *req, const struct target *t)
{
	struct listing l = { .t = t };
	json_t *items = json_array();

	galley_store_each(g->store, list_add, &l);
	if (l.found.n)
		qsort(l.found.v, l.found.n, sizeof(*l.found.v), list_cmp);
	for (size_t i = 0; i < l.found.n; i++)
		json_array_append_new(items, object_json(g, l.found.v[i]));
	mt_vec_clear(&l.found);
	reply_doc(req,
		json_pack("{s:s, s:s, s:o}", "apiVersion", "v1", "kind", "List", "items", items));
}

static void get_objects(struct galley *g, struct mt_http_req *req, const struct target *t)
{
	struct mt_err err = { 0 };

	if (!*t->name) {
		list_objects(g, req, t);
		return;
	}
	const struct mt_object *o = galley_store_find(g->store, t->kind, t->key);
	if (o) {
		reply_doc(req, object_json(g, o));
		return;
	}
	mt_fail(&err, MT_NOT_FOUND, NULL, "no %s %s is in force", t->kind->kind, t->key);
	mt_http_reply_err(req, &err);
}

/* ---- validation ---- */

/* Decodes and validates the body. */
static int body_read(struct mt_http_req *req, struct mt_objects *objects, struct mt_diags *diags)
{
	size_t n;
	const void *p = mt_http_body(req, &n);
	const char *file = mt_http_query(req, "file");

	mt_decode_text(mt_str_empty(file) ? "request" : file, p ? p : "", n, NULL, objects, diags);
	for (size_t i = 0; i < objects->n; i++)
		galley_validate(objects->v[i], diags);
	return diags->errors ? MT_INVALID : 0;
}

static void reply_faults(struct mt_http_req *req, const struct mt_diags *diags)
{
	json_t *j = json_pack("{s:s, s:s, s:o}", "error",
		diags->n ? diags->v[0].msg : "invalid configuration", "code",
		mt_code_name(MT_INVALID), "diagnostics", galley_diags_json(diags));

	mt_http_reply_json(req, 400, j);
}

static void on_validate(void *ctx, struct mt_http_req *req)
{
	struct mt_objects objects = { 0 };
	struct mt_diags diags = { 0 };

	(void)ctx;
	int r = body_read(req, &objects, &diags);
	mt_http_reply_json(req, 200,
		json_pack("{s:b, s:I, s:o}", "valid", r == 0, "objects", (json_int_t)objects.n,
			"diagnostics", galley_diags_json(&diags)));
	mt_objects_clear(&objects);
	mt_diags_clear(&diags);
}

/* ---- PUT and DELETE ---- */

static struct galley_source *writable(struct galley *g)
{
	for (size_t i = 0; i < g->sources.n; i++)
		if (g->sources.v[i]->ops->write)
			return g->sources.v[i];
	return NULL;
}

static bool is_applied(const char *file)
{
	const char *slash = strrchr(file, '/');

	return slash && slash - file >= (ptrdiff_t)strlen("/" APPLIED) &&
		strncmp(slash - strlen("/" APPLIED), "/" APPLIED, strlen("/" APPLIED)) == 0;
}

/* The file that defines the object, when it is not one of ours. */
static const char *hand_written(struct galley *g, const struct target *t)
{
	const struct mt_object *claim = galley_store_claim(g->store, t->kind, t->key);

	return claim && claim->pos.file && !is_applied(claim->pos.file) &&
			galley_store_text_find(g->store, claim->pos.file)
		? claim->pos.file
		: NULL;
}

static int same_object(const struct mt_objects *objects, const struct target *t, struct mt_err *err)
{
	char key[2 * PART_MAX];

	if (objects->n != 1)
		return mt_fail(
			err, MT_INVALID, NULL, "one object is expected, not %zu", objects->n);
	if (objects->v[0]->kind != t->kind ||
		strcmp(mt_object_key(objects->v[0], key, sizeof(key)), t->key) != 0)
		return mt_fail(err, MT_INVALID, NULL, "the body is %s %s, the path says %s %s",
			objects->v[0]->kind->kind, key, t->kind->kind, t->key);
	return 0;
}

static int object_write(struct galley *g, const struct target *t, const struct mt_object *o,
	char **ret_file, struct mt_err *err)
{
	struct galley_source *s = writable(g);
	const char *file = hand_written(g, t);

	if (file)
		return mt_fail(err, MT_CONFLICT, NULL, "%s %s is defined in %s: change it there",
			t->kind->kind, t->key, file);
	if (!s)
		return mt_fail(err, MT_UNSUPPORTED, NULL, "no source can be written");
	json_t *doc = mt_object_to_json(o);
	MT_AUTO(mt_strfreep) char *text = mt_json_to_yaml(doc);
	MT_AUTO(mt_strfreep)
	char *name = mt_asprintf(
		APPLIED "/%s.%s.%s.yaml", *t->ns ? t->ns : "mesh", t->kind->kind, t->name);
	json_decref(doc);
	int r = s->ops->write(s, name, text, strlen(text), ret_file, err);
	if (r == 0)
		s->ops->scan(s);
	return r;
}

static void put_object(struct galley *g, struct mt_http_req *req, const struct target *t)
{
	struct mt_objects objects = { 0 };
	struct mt_diags diags = { 0 };
	struct mt_err err = { 0 };
	char *file = NULL;

	if (body_read(req, &objects, &diags) < 0) {
		reply_faults(req, &diags);
	} else if (same_object(&objects, t, &err) < 0 ||
		object_write(g, t, objects.v[0], &file, &err) < 0) {
		mt_http_reply_err(req, &err);
	} else {
		const struct mt_object *o = galley_store_find(g->store, t->kind, t->key);
		mt_http_reply_json(req, 200,
			json_pack("{s:s, s:s, s:I, s:b, s:o}", "object", t->key, "file", file,
				"generation", (json_int_t)(o ? o->generation : 0), "in_force",
				o && o->hash == objects.v[0]->hash, "diagnostics",
				galley_diags_json(&diags)));
	}
	mt_free(file);
	mt_objects_clear(&objects);
	mt_diags_clear(&diags);
}

static void delete_object(struct galley *g, struct mt_http_req *req, const struct target *t)
{
	const struct mt_object *claim = galley_store_claim(g->store, t->kind, t->key);
	struct mt_err err = { 0 };

	if (!claim) {
		mt_fail(&err, MT_NOT_FOUND, NULL, "no %s %s is in force", t->kind->kind, t->key);
		mt_http_reply_err(req, &err);
		return;
	}
	const char *hand = hand_written(g, t);
	MT_AUTO(mt_strfreep) char *file = mt_strdup(claim->pos.file ? claim->pos.file : "");
	const struct galley_text *text = galley_store_text_find(g->store, file);
	struct galley_source *s =
		text && text->source < g->sources.n ? g->sources.v[text->source] : NULL;
	if (hand)
		mt_fail(&err, MT_CONFLICT, NULL, "%s %s is defined in %s: remove it there",
			t->kind->kind, t->key, hand);
	else if (!s || !s->ops->remove)
		mt_fail(&err, MT_UNAVAILABLE, NULL, "the source of %s %s is away", t->kind->kind,
			t->key);
	else if (s->ops->remove(s, file, &err) == 0)
		s->ops->scan(s);
	if (err.code)
		mt_http_reply_err(req, &err);
	else
		mt_http_reply_json(
			req, 200, json_pack("{s:s, s:s}", "removed", t->key, "file", file));
}

static void on_objects(void *ctx, struct mt_http_req *req)
{
	struct galley *g = ctx;
	const char *method = mt_http_method(req);
	struct target t;
	struct mt_err err = { 0 };

	if (refuse_strangers(req))
		return;
	if (target_parse(req, &t, &err) < 0) {
		mt_http_reply_err(req, &err);
		return;
	}
	bool write = strcmp(method, "PUT") == 0, del = strcmp(method, "DELETE") == 0;
	if ((write || del) && (!t.kind || !*t.name)) {
		mt_fail(&err, MT_INVALID, NULL, "the path is /v1/objects/KIND/NAMESPACE/NAME");
		mt_http_reply_err(req, &err);
	} else if (write) {
		put_object(g, req, &t);
	} else if (del) {
		delete_object(g, req, &t);
	} else {
		get_objects(g, req, &t);
	}
}

int galley_rest_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	struct galley *g = self;
	struct mt_http_server *server = mt_daemon_monitor(d);
	int r;

	if (*g->o->listen_rest) {
		r = mt_http_server_start(mt_daemon_loop(d),
			&(struct mt_http_server_opts){
				.addr = g->o->listen_rest, .max_body = 4 << 20 },
			&g->rest, err);
		if (r < 0)
			return mt_err_prefix(err, "--listen-rest");
		server = g->rest;
	}
	mt_http_route(server, "GET,PUT,DELETE", "/v1/objects", on_objects, g);
	mt_http_route(server, "GET,PUT,DELETE", "/v1/objects/", on_objects, g);
	mt_http_route(server, "POST", "/v1/validate", on_validate, g);
	return 0;
}

void galley_rest_stop(struct mt_daemon *d, void *self)
{
	struct galley *g = self;

	(void)d;
	if (g->rest)
		mt_http_server_stop(g->rest);
}
