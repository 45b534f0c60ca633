/* The inside of a discovery server: the server, its streams, and what a stream knows of each type.
 * Private to common/xds.
 *
 * Threads: what stands under "stream" belongs to the stream's completion-queue thread, what stands
 * under "loop" to the loop. Between them: `inbox` and `closing` are swapped atomically, `deadline` is
 * atomic, and the short mutex `mu` guards statuses and events. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "common/run/metrics.h"
#include "common/xds/diff.h"
#include "common/xds/holdings.h"
#include "common/xds/names.h"
#include "common/xds/request.h"
#include "common/xds/server.h"

/* What a stream knows of one type; made by the first request for it. */
struct mt_xds_tstate {
	/* stream */
	struct mt_set *sent;  /* last sent, or found equal; never NULL */
	struct mt_set *acked; /* last acknowledged; with `unknown`: all that the peer may hold */
	struct mt_snapshot *snap; /* that `sent` came from; only of types that others wait for */
	struct mt_names *names;   /* subscribed by name */
	struct mt_names *pending; /* names to be answered whatever the peer has */
	struct mt_names
		*stale; /* held by the peer, unknown here, to be removed with the removals */
	struct mt_xds_holdings *holdings; /* of a peer that came back; until its first answer */
	struct mt_names *announced; /* said after a reconnect, before a companion was subscribed */
	uint64_t goal_hash; /* what `sent` was on the way to: not said again when rejected */
	uint64_t nonce;     /* of the last response, 0 none */
	uint64_t settled;   /* nonces up to this one have been acknowledged or rejected */
	int64_t sent_at;
	int64_t made_ns;    /* of the snapshot that was last sent */
	int64_t removal_at; /* removals are due then, 0: not decided */
	bool wildcard;
	bool named;       /* has ever subscribed by name: then an empty list is no wildcard */
	bool reconnected; /* the first request reported holdings */
	bool first;       /* the first answer is still owed */
	bool outstanding; /* the last response has not been answered */
	bool late;        /* ... for so long that nothing waits for it any more */
	bool unknown;     /* something was rejected: what the peer holds is not known exactly */
	bool rejected;    /* the last response was */
	bool holding;     /* `sent` has resources that the snapshot does not have any more */
	/* mu */
	struct mt_xds_status status;
	uint64_t nack_id;
	char *nack; /* words of the last rejection */
};

struct mt_xds_sub {
	struct mt_ref ref;
	struct mt_xds_server *server; /* a reference */
	struct mt_rpc_stream *stream; /* a reference */
	uint64_t id;
	bool delta;
	Core__Node *node; /* set before the loop hears of the sub */

	_Atomic(struct mt_snapshot *) inbox;
	_Atomic(struct mt_xds_ending *) closing;
	_Atomic int64_t deadline; /* mono clock: wake the stream then; 0 none. mt_xds_wake_at() */
	atomic_bool watched;

	/* stream */
	struct mt_snapshot *newest;
	uint64_t nonce;
	uint64_t synced_id;
	uint64_t settled_id; /* last told */
	bool attached;
	bool paused;
	bool finished;
	int sent_type; /* of the last response */

	/* loop */
	bool accepted; /* the application knows it */
	void *user;
	struct mt_xds_sub *next, **prev; /* of the server's list */

	pthread_mutex_t mu;
	bool event_posted;
	bool event_synced;        /* it is on the server's list */
	uint64_t event_synced_id; /* 0: not any more */
	int64_t event_synced_ns;
	struct mt_xds_sub *synced_next; /* of that list; set before it is linked */
	uint64_t event_settled_id;      /* 0 none */
	uint64_t event_nacks[(MT_XDS_TYPES_MAX + 63) / 64];
	struct mt_xds_tstate *types[]; /* by index; NULL: never asked for. Pointers set under mu */
};

struct mt_xds_ending {
	int code; /* gRPC status */
	char msg[256];
};

struct mt_xds_server {
	struct mt_ref ref;
	struct mt_loop *loop;
	const struct mt_clock *clock;
	struct mt_xds_server_opts opts; /* defaults filled in; types copied (names borrowed) */
	struct mt_xds_type *types;
	struct mt_names_table *names;
	struct mt_set *empty;
	_Atomic uint64_t last_id;
	_Atomic uint64_t sent_bytes;         /* of all streams */
	_Atomic(struct mt_xds_sub *) synced; /* in step since the last tick; a reference each */
	_Atomic int64_t next_deadline;       /* no stream has an earlier one; INT64_MAX: none has */
	struct mt_metric_series *(*series)[MT_XDS_M_N]; /* by type; NULL: no metrics */
	struct mt_metric_series *streams[2];
	/* loop */
	struct mt_xds_sub *subs;
	struct mt_timer *tick;
	uint64_t ticked_bytes;  /* sent_bytes at the last tick */
	uint64_t trimmed_bytes; /* ... when memory was given back last */
	unsigned quiet;         /* ticks without a response */
	atomic_bool freed;
};

extern const struct mt_rpc_ops mt_xds_sotw_ops, mt_xds_delta_ops;

/* server.c; mt_xds_count(): any thread; mt_xds_wake_at(): stream */
/* Wakes the stream at that time, unless something earlier is set already. */
void mt_xds_wake_at(struct mt_xds_sub *s, int64_t at);
void mt_xds_count(const struct mt_xds_sub *s, int type, enum mt_xds_measure what, double v);
void mt_xds_server_unref(struct mt_xds_server *s);

/* sub.c */
void mt_xds_sub_take_inbox(struct mt_xds_sub *s);
void mt_xds_sub_end(struct mt_xds_sub *s, int code, const char *msg); /* stream */
/* events.c: stream thread */
void mt_xds_post_attach(struct mt_xds_sub *s);
void mt_xds_post_detach(struct mt_xds_sub *s);
void mt_xds_post_synced(struct mt_xds_sub *s, uint64_t id);
void mt_xds_post_settled(struct mt_xds_sub *s, uint64_t id);
void mt_xds_post_nack(struct mt_xds_sub *s, int type, struct mt_view words);

/* subscribe.c: takes one request in. An error ends the stream. */
int mt_xds_sub_request(struct mt_xds_sub *s, const struct mt_xds_request *r, struct mt_err *err);

/* plan.c: sends whatever may be sent now. */
void mt_xds_pump(struct mt_xds_sub *s);

/* respond.c */
static inline bool mt_xds_wants(const struct mt_xds_tstate *t, const char *name)
{
	return t->wildcard || mt_names_has(t->names, name);
}
struct mt_xds_step {
	int type;
	struct mt_set *goal;      /* what the peer should hold of the type */
	struct mt_snapshot *snap; /* that goal came from; NULL: only pending names, out of `sent` */
	bool drop;                /* removals may go */
};
/* Brings the peer to the goal. True when a message was sent; false when there was nothing to say,
 * and the state has been moved on. */
bool mt_xds_respond(struct mt_xds_sub *s, const struct mt_xds_step *step);
