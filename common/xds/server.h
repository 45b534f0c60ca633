/* Discovery server: serves snapshots to subscribers over aggregated streams, state of the world and
 * delta, in safe order (idea 7 of the design: additions in ascending order of the types, each waiting
 * for the acknowledgement of what it needs; removals in descending order, after the users of what
 * goes away have acknowledged).
 *
 * The application runs on the loop: it is told of each subscriber's first request (attach), gives it
 * snapshots (mt_xds_sub_publish), and hears of rejections. Streams run on their own threads and take
 * the newest snapshot when they are woken: a slow subscriber has a dirty mark, never a queue. */
#pragma once

#include "common/rpc/rpc.h"
#include "common/run/loop.h"
#include "common/xds/set.h"
#include "envoy/config/core/v3/core.pb-c.h"

struct mt_xds_type {
	const char *name; /* "CDS": label of metrics and pages */
	const char *type_url;
	bool wildcard;      /* no names means everything (CDS, LDS, configuration kinds) */
	int8_t needs;       /* index of a type: additions here wait until additions there that the
				 same publish brought are acknowledged; -1 none */
	int8_t resend_with; /* index of a type: a changed resource there causes the one of the same
				 name here to be sent again (EDS after CDS: Envoy warms); -1 none */
	bool resend_below;  /* with resend_with: not the one of the same name, but all whose name
				  begins with it and a slash, once it is acknowledged (VHDS after RDS:
				  Envoy drops virtual hosts whose table it does not have) */
	bool keep_until_users_ack; /* removals wait until every type that needs this one (transitively)
				      has acknowledged the same snapshot */
};

struct mt_xds_server;
struct mt_xds_sub; /* one subscriber (stream); reference counted */

enum mt_xds_event_kind { MT_XDS_NACK, MT_XDS_SYNCED, MT_XDS_SETTLED };
struct mt_xds_event {
	enum mt_xds_event_kind kind;
	int type;             /* index into the table */
	uint64_t snapshot_id; /* that was sent */
	int64_t at_ns;        /* SYNCED: when (mono clock) */
	const char *message;  /* NACK: the peer's words, bounded to 4 kB */
};

struct mt_xds_app {
	/* Loop thread: a stream's first request has come. Returns 0 (the sub stays valid until detach
	 * has returned; who keeps it longer takes a reference), or an error that ends the stream. */
	int (*attach)(void *ctx, struct mt_xds_sub *s, struct mt_err *err);
	void (*detach)(void *ctx,
		struct mt_xds_sub *s); /* loop thread, once for each attach that was accepted */
	/* Loop thread. SYNCED: all types that it subscribed to have acknowledged the newest snapshot.
	 * SETTLED, of a watched sub: nothing that was sent is unanswered, and all its types have come
	 * as far as this snapshot (removals may still wait; a rejection was told before). It is told
	 * again when the peer has asked for more and that is answered as well. */
	void (*event)(void *ctx, struct mt_xds_sub *s, const struct mt_xds_event *ev);
	/* Stream thread, several at once: a request asks for this name (n bytes, no NUL), perhaps not
	 * for the first time. For resources that are made when somebody wants them. NULL allowed. */
	void (*subscribed)(void *ctx, int type, const char *name, size_t n);
};

enum mt_xds_measure {
	MT_XDS_M_REQUESTS, /* 1 */
	MT_XDS_M_PUSHES,   /* 1 for each response */
	MT_XDS_M_BYTES,    /* of a response */
	MT_XDS_M_REJECTS,  /* 1 */
	MT_XDS_M_ACK_TIME, /* seconds from the snapshot's made_ns to an acknowledgement */
	MT_XDS_M_N,        /* those above have rows of their own, those below are only told */
	MT_XDS_M_SEND_TIMEOUTS = MT_XDS_M_N, /* the stream ends: this was not read in time */
	MT_XDS_M_ACK_TIMEOUTS, /* unanswered for too long: what waited for it goes out */
	MT_XDS_M_ERRORS,       /* a request that cannot be understood; type is -1 */
};

struct mt_xds_server_opts {
	const struct mt_xds_type *types;
	size_t ntypes;
	const struct mt_xds_app *app;
	void *ctx;
	size_t max_request;     /* bytes, default 1 MiB */
	size_t max_names;       /* subscribed names of a stream and type, default 50,000 */
	int64_t ack_timeout_ns; /* an unanswered response holds others back for so long; default 20 s */
	int64_t removal_grace_ns; /* between the users' acknowledgement and a removal; default 0 */
	/* SYNCED is told up to 100 ms later, of many streams at once: a thousand that come in step one by
	 * one do not wake the loop a thousand times. */
	bool synced_later;
	struct mt_metrics *metrics; /* of the daemon; NULL: none. The rows of common/xds/metrics.def
				       are defined in it */
	/* For metrics under a daemon's own names; any thread, must not block. NULL: none. */
	void (*measure)(void *ctx, enum mt_xds_measure what, int type, double v);
};

/* Makes the server and fills methods[2] for mt_rpc_server_start(): the aggregated service, both
 * variants. */
struct mt_xds_server *mt_xds_server_new(struct mt_loop *l, const struct mt_xds_server_opts *o);
void mt_xds_server_methods(struct mt_xds_server *s, struct mt_rpc_method methods[2]);
void mt_xds_server_free(struct mt_xds_server *s); /* after the rpc server has stopped */

/* ---- subscribers; loop thread unless said otherwise ---- */
struct mt_xds_sub *mt_xds_sub_ref(struct mt_xds_sub *s); /* any thread */
void mt_xds_sub_unref(struct mt_xds_sub *s);             /* any thread */
/* Of its first request. From when attach has returned it has nothing but the id. */
const Core__Node *mt_xds_sub_node(const struct mt_xds_sub *s);
const struct mt_rpc_peer *mt_xds_sub_peer(const struct mt_xds_sub *s);
bool mt_xds_sub_delta(const struct mt_xds_sub *s);
uint64_t mt_xds_sub_id(const struct mt_xds_sub *s); /* unique in this process */
void mt_xds_sub_set_user(struct mt_xds_sub *s, void *user);
void *mt_xds_sub_user(const struct mt_xds_sub *s);
/* Gives it a newer snapshot (a reference is taken). It replaces one that was not sent yet. */
void mt_xds_sub_publish(struct mt_xds_sub *s, struct mt_snapshot *snap);
/* Watched subs tell when they have settled. */
void mt_xds_sub_watch(struct mt_xds_sub *s, bool on);
void mt_xds_sub_close(struct mt_xds_sub *s, int code, const char *msg);

struct mt_xds_status {
	bool subscribed;
	uint64_t sent_id;  /* snapshot whose content was last sent (or found equal), 0 none */
	uint64_t acked_id; /* 0 none */
	int64_t sent_ns;   /* mono clock */
	int64_t acked_ns;
	uint64_t sent_bytes; /* in all */
	uint32_t pushes;
	uint32_t nacks;
	bool nacked; /* the last answer was a rejection */
};
void mt_xds_sub_status(
	const struct mt_xds_sub *s, int type, struct mt_xds_status *ret); /* any thread */
/* Copies the words of the last rejection; "" when none. */
void mt_xds_sub_nack(const struct mt_xds_sub *s, int type, char *buf, size_t n);
