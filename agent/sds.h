/* SDS: the discovery server for secrets on a private Unix socket (its folder 0700, itself 0600), which
 * only this user's Envoy can open. Loop thread. */
#pragma once

#include "common/pki/identity.h"
#include "common/rpc/rpc.h"
#include "common/run/loop.h"
#include "common/run/metrics.h"
#include "common/run/options.h"

struct agent_sds;

/* Where the socket is by default: `dir`/sds/socket, or, when that is longer than a socket's path may
 * be, a folder in /tmp that follows from the user and `dir` (the next agent of this folder must find
 * the same, its Envoy knows it). buf of at least AGENT_SOCKET_MAX. */
enum { AGENT_SOCKET_MAX = 108 };
void agent_sds_socket(const char *dir, char buf[AGENT_SOCKET_MAX]);

struct agent_sds_opts {
	struct mt_loop *loop;
	struct mt_rpc_env *env;
	const char *socket; /* absolute path; its folder is made */
	struct mt_strlist file_cert_dirs, credentials_dirs;
	struct mt_metrics *metrics;
};

/* MT_INVALID when the path is too long for a socket. */
int agent_sds_start(const struct agent_sds_opts *o, struct agent_sds **ret, struct mt_err *err);
void agent_sds_stop(struct agent_sds *s); /* NULL allowed */
/* `default` and `ROOTCA` from now on. Streams that are open hear of it at once. */
void agent_sds_set(struct agent_sds *s, const struct mt_identity *i);
