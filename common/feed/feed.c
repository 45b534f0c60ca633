/* The feed: a discovery client that turns resources into objects.
 *
 * Table: one map a kind from "ns/name" to an entry (object and the version that the server gave it).
 * The versions are told to the server at each connection, so that it sends only what changed.
 *
 * Changes are gathered (`pending`) and handed out together: at once when the first whole picture is
 * complete, otherwise after GATHER_NS, because a server's responses come type by type and an owner
 * that recomputes wants them together. Until every kind has been received once, nothing is handed out
 * but what came from disk (or, when Galley is slow, after FIRST_NS).
 *
 * Saving is lazy (at most once a second) and whole: objects are few compared with their changes.
 */
#include "common/feed/feed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/feed/record.h"
#include "common/xds/client.h"

#define RECORD "config"

static const int64_t GATHER_NS = 2 * MT_NS_PER_MS;
static const int64_t FIRST_NS = 500 * MT_NS_PER_MS;
static const int64_t SAVE_NS = MT_NS_PER_SEC;

struct change {
	struct mt_object *old; /* references */
	struct mt_object *new;
};

struct mt_feed {
	struct mt_feed_opts o;
	struct mt_loop *loop;
	struct mt_rpc_channel *channel;
	struct mt_xds_client *client;
	struct mt_map **table;   /* a kind's entries, by its index in o.kinds */
	struct mt_map **pending; /* likewise: struct change */
	bool *received;
	bool connected;
	bool synced;
	bool live; /* all kinds received */
	bool dirty;
	struct mt_timer *gather;
	struct mt_timer *save;
	char *why;
};

static int kind_index(const struct mt_feed *f, enum mt_kind_id kind)
{
	for (size_t i = 0; i < f->o.nkinds; i++)
		if (f->o.kinds[i] == kind)
			return (int)i;
	return -1;
}

static void change_free(void *p)
{
	struct change *c = p;

	mt_object_unref(c->old);
	mt_object_unref(c->new);
	mt_free(c);
}

/* ---- handing out ---- */

static void hand_out(void *arg)
{
	struct mt_feed *f = arg;
	MT_VEC(struct mt_feed_change) list = { 0 };
	MT_VEC(struct change *) taken = { 0 };

	mt_timer_stop(f->gather);
	for (size_t i = 0; i < f->o.nkinds; i++) {
		struct mt_map_it it = { 0 };
		while (mt_map_next(f->pending[i], &it)) {
			struct change *c = it.value;
			mt_vec_push(&taken, c);
			if (c->old != c->new) {
				struct mt_feed_change out = { c->old, c->new };
				mt_vec_push(&list, out);
			}
		}
		mt_map_free(f->pending[i], NULL);
		f->pending[i] = mt_map_new();
	}
	if (list.n && f->o.changed)
		f->o.changed(f->o.ctx, list.v, list.n);
	for (size_t i = 0; i < taken.n; i++)
		change_free(taken.v[i]);
	mt_vec_clear(&list);
	mt_vec_clear(&taken);
}

static void state_tell(struct mt_feed *f)
{
	if (f->o.state_changed)
		f->o.state_changed(f->o.ctx, f->connected, f->synced, f->why ? f->why : "");
}

static void synced_check(struct mt_feed *f)
{
	if (f->live)
		return;
	for (size_t i = 0; i < f->o.nkinds; i++)
		if (!f->received[i])
			return;
	f->synced = f->live = true;
	hand_out(f);
	state_tell(f);
}

/* Records that key of kind i becomes new (NULL: gone); takes both references over. */
static void change_add(
	struct mt_feed *f, int i, const char *key, struct mt_object *old, struct mt_object *new)
{
	struct change *c = mt_map_get(f->pending[i], key);

	if (c) {
		mt_object_unref(c->new);
		mt_object_unref(old);
		c->new = new;
		return;
	}
	c = MT_NEW(struct change);
	*c = (struct change){ old, new };
	mt_map_put(f->pending[i], key, c);
}

/* ---- the client's updates ---- */

static void entry_put(struct mt_feed *f, int i, struct mt_feed_entry *e)
{
	char key[400];
	struct mt_feed_entry *was;

	mt_object_key(e->object, key, sizeof(key));
	was = mt_map_put(f->table[i], key, e);
	change_add(f, i, key, was ? mt_object_ref(was->object) : NULL, mt_object_ref(e->object));
	mt_feed_entry_free(was);
}

static void entry_remove(struct mt_feed *f, int i, const char *key)
{
	struct mt_feed_entry *was = mt_map_del(f->table[i], key);

	if (!was)
		return;
	change_add(f, i, key, mt_object_ref(was->object), NULL);
	mt_feed_entry_free(was);
}

static int update(void *ctx, const struct mt_xds_update *u, struct mt_err *err)
{
	struct mt_feed *f = ctx;
	const struct mt_kind *kind = &mt_kinds[f->o.kinds[u->type]];
	MT_VEC(struct mt_feed_entry *) entries = { 0 };
	int r = 0;

	for (size_t i = 0; i < u->n && r == 0; i++) {
		struct mt_object *o;
		r = mt_feed_unpack(kind, u->items[i].value, u->items[i].n, &o, err);
		if (r < 0)
			mt_err_prefix(err, "%s %s", kind->kind, u->items[i].name);
		else
			mt_vec_push(&entries, mt_feed_entry_new(o, u->items[i].version));
	}
	for (size_t i = 0; i < entries.n; i++) {
		if (r == 0)
			entry_put(f, u->type, entries.v[i]);
		else
			mt_feed_entry_free(entries.v[i]);
	}
	mt_vec_clear(&entries);
	if (r < 0)
		return r;
	for (size_t i = 0; i < u->nremoved; i++)
		entry_remove(f, u->type, u->removed[i]);
	f->received[u->type] = true;
	if (u->n || u->nremoved) {
		f->dirty = true;
		if (!mt_timer_active(f->save))
			mt_timer_start(f->save, SAVE_NS, 0);
		if (!mt_timer_active(f->gather))
			mt_timer_start(f->gather, f->synced ? GATHER_NS : FIRST_NS, 0);
	}
	synced_check(f);
	return 0;
}

static void client_state(void *ctx, bool connected, const char *why)
{
	struct mt_feed *f = ctx;

	f->connected = connected;
	mt_free(f->why);
	f->why = mt_strdup(why);
	state_tell(f);
}

/* ---- disk ---- */

static void save_now(void *arg)
{
	struct mt_feed *f = arg;
	struct mt_buf b = { 0 };
	struct mt_err err = { 0 };

	mt_timer_stop(f->save);
	if (!f->dirty || !f->o.state)
		return;
	for (size_t i = 0; i < f->o.nkinds; i++) {
		struct mt_map_it it = { 0 };
		while (mt_map_next(f->table[i], &it))
			mt_feed_record_add(&b, it.value);
	}
	if (mt_state_save(f->o.state, RECORD, b.p, b.n, &err) < 0) {
		mt_free(f->why);
		f->why = mt_asprintf("last good state not saved: %s", err.msg);
		mt_timer_start(f->save, 10 * SAVE_NS, 0);
		state_tell(f);
	} else {
		f->dirty = false;
	}
	mt_buf_clear(&b);
}

static void loaded(void *ctx, struct mt_feed_entry *e)
{
	struct mt_feed *f = ctx;
	int i = kind_index(f, e->object->kind->id);

	if (i < 0)
		mt_feed_entry_free(e);
	else
		entry_put(f, i, e);
}

/* A damaged record is set aside by the state: start without it. */
static void load(struct mt_feed *f)
{
	struct mt_buf b = { 0 };
	struct mt_err err = { 0 };

	if (!f->o.state)
		return;
	int r = mt_state_load(f->o.state, RECORD, &b, &err);
	if (r == 0)
		r = mt_feed_record_read(b.p, b.n, loaded, f, &err);
	mt_buf_clear(&b);
	if (r == 0) {
		f->synced = true;
		f->why = mt_strdup("started from the last good state");
		hand_out(f);
		state_tell(f);
	} else if (r != MT_NOT_FOUND) {
		f->why = mt_asprintf("last good state not used: %s", err.msg);
	}
}

/* ---- life ---- */

static void client_open(struct mt_feed *f)
{
	Core__Node node = CORE__NODE__INIT;
	struct mt_xds_client_type *types = mt_alloc((f->o.nkinds + 1) * sizeof(*types));
	struct mt_xds_client_opts co = { .channel = f->channel,
		.node = &node,
		.types = types,
		.ntypes = f->o.nkinds,
		.update = update,
		.state = client_state,
		.ctx = f };

	node.id = (char *)f->o.node_id;
	for (size_t i = 0; i < f->o.nkinds; i++)
		types[i].type_url = mt_kinds[f->o.kinds[i]].type_url;
	f->client = mt_xds_client_start(f->loop, &co);
	mt_free(types);
	for (size_t i = 0; i < f->o.nkinds; i++) {
		struct mt_map_it it = { 0 };
		while (mt_map_next(f->table[i], &it))
			mt_xds_client_hold(f->client, (int)i, it.key,
				((struct mt_feed_entry *)it.value)->version);
	}
}

int mt_feed_start(
	struct mt_loop *l, const struct mt_feed_opts *o, struct mt_feed **ret, struct mt_err *err)
{
	struct mt_rpc_channel_opts co = { .identity = o->identity, .server_ids = o->server_ids };
	struct mt_rpc_channel *channel;
	int r = mt_rpc_channel_new(o->env, o->server, &co, &channel, err);

	if (r < 0)
		return r;
	struct mt_feed *f = MT_NEW(struct mt_feed);
	f->o = *o;
	f->o.kinds = mt_memdup(o->kinds, o->nkinds * sizeof(*o->kinds));
	f->o.node_id = mt_strdup(o->node_id);
	f->loop = l;
	f->channel = channel;
	f->table = mt_alloc(o->nkinds * sizeof(*f->table));
	f->pending = mt_alloc(o->nkinds * sizeof(*f->pending));
	f->received = mt_alloc(o->nkinds * sizeof(*f->received));
	for (size_t i = 0; i < o->nkinds; i++) {
		f->table[i] = mt_map_new();
		f->pending[i] = mt_map_new();
	}
	f->gather = mt_timer_new(l, hand_out, f);
	f->save = mt_timer_new(l, save_now, f);
	*ret = f; /* the owner may ask in its callbacks already */
	load(f);
	client_open(f);
	return 0;
}

static void entry_free(void *p)
{
	mt_feed_entry_free(p);
}

bool mt_feed_live(const struct mt_feed *f)
{
	return f->live;
}

void mt_feed_stop(struct mt_feed *f)
{
	if (!f)
		return;
	mt_xds_client_stop(f->client);
	mt_rpc_channel_free(f->channel);
	save_now(f);
	mt_timer_free(f->gather);
	mt_timer_free(f->save);
	for (size_t i = 0; i < f->o.nkinds; i++) {
		mt_map_free(f->table[i], entry_free);
		mt_map_free(f->pending[i], change_free);
	}
	mt_free(f->table);
	mt_free(f->pending);
	mt_free(f->received);
	mt_free((void *)f->o.kinds);
	mt_free((char *)f->o.node_id);
	mt_free(f->why);
	mt_free(f);
}

void mt_feed_each(struct mt_feed *f, enum mt_kind_id kind,
	void (*fn)(void *ctx, struct mt_object *o), void *ctx)
{
	int i = kind_index(f, kind);
	struct mt_map_it it = { 0 };

	while (i >= 0 && mt_map_next(f->table[i], &it))
		fn(ctx, ((struct mt_feed_entry *)it.value)->object);
}

struct mt_object *mt_feed_find(struct mt_feed *f, enum mt_kind_id kind, const char *key)
{
	int i = kind_index(f, kind);
	struct mt_feed_entry *e = i < 0 ? NULL : mt_map_get(f->table[i], key);

	return e ? e->object : NULL;
}

size_t mt_feed_count(struct mt_feed *f)
{
	size_t n = 0;

	for (size_t i = 0; i < f->o.nkinds; i++)
		n += mt_map_size(f->table[i]);
	return n;
}
