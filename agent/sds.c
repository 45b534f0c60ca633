/* The agent's discovery server. It serves one type to one kind of subscriber, so every subscriber gets
 * the same snapshot: the identity's two secrets and every file that some Envoy asked for. The engine
 * sends a stream only what it subscribed to, and only when that changed.
 *
 * What a stream asks for is heard on the stream's thread (the engine's `subscribed`) and posted to the
 * loop, where files are read. */
#include "agent/sds.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/file_certs.h"
#include "agent/metrics.h"
#include "agent/secret_name.h"
#include "agent/secrets.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/base/vec.h"
#include "common/xds/server.h"

static struct mt_log_scope scope = MT_LOG_SCOPE("sds");

#define SERVICE "/envoy.service.secret.v3.SecretDiscoveryService/"
enum { NAMES_MAX = AGENT_FILE_CERTS_MAX + 16, FIXED = 2 };

struct agent_sds {
	struct mt_loop *loop;
	struct mt_metrics *metrics;
	struct mt_xds_server *xds;
	struct mt_rpc_server *server;
	struct agent_file_certs *files;
	struct mt_res *fixed[FIXED]; /* default, ROOTCA; NULL before the first certificate */
	struct mt_snapshot *snap;
	uint64_t snap_id;
	MT_VEC(struct mt_xds_sub *) subs; /* borrowed until detach */
};

static const struct mt_xds_type types[] = {
	{ .name = "SDS", .type_url = AGENT_SECRET_TYPE, .needs = -1, .resend_with = -1 },
};

/* ---- snapshots ---- */

static void publish(struct agent_sds *s)
{
	struct mt_res *v[AGENT_FILE_CERTS_MAX + FIXED];
	size_t n = agent_file_certs_get(s->files, v);
	struct mt_snapshot *snap;

	for (size_t i = 0; i < FIXED; i++) {
		if (s->fixed[i])
			v[n++] = mt_res_ref(s->fixed[i]);
	}
	snap = mt_snapshot_new(++s->snap_id, mt_mono(mt_loop_clock(s->loop)), MT_ARRAY_SIZE(types));
	snap->sets[0] = mt_set_new(v, n);
	mt_snapshot_unref(s->snap);
	s->snap = snap;
	mt_vec_each (&s->subs, sub)
		mt_xds_sub_publish(*sub, snap);
	mt_metric_add(s->metrics, METRIC_agent_sds_pushes_total, 1);
}

void agent_sds_set(struct agent_sds *s, const struct mt_identity *i)
{
	for (size_t k = 0; k < FIXED; k++)
		mt_res_unref(s->fixed[k]);
	s->fixed[0] = agent_secret_cert("default", i->chain_pem, i->key_pem);
	s->fixed[1] = agent_secret_roots("ROOTCA", i->roots_pem, NULL);
	publish(s);
}

static void files_changed(void *ctx)
{
	publish(ctx);
}

static void files_fault(void *ctx, const char *name, const struct mt_err *err)
{
	struct agent_sds *s = ctx;

	mt_metric_add(s->metrics, METRIC_agent_file_cert_errors_total, 1);
	mt_log_warn(&scope, "certificate from a file is not served", MT_S("name", name),
		MT_S("where", err->path), MT_S("error", err->msg));
}

/* ---- subscribers ---- */

static int attach(void *ctx, struct mt_xds_sub *sub, struct mt_err *err)
{
	struct agent_sds *s = ctx;

	(void)err;
	mt_vec_push(&s->subs, sub);
	if (s->snap)
		mt_xds_sub_publish(sub, s->snap);
	return 0;
}

static void detach(void *ctx, struct mt_xds_sub *sub)
{
	struct agent_sds *s = ctx;

	for (size_t i = 0; i < s->subs.n; i++) {
		if (s->subs.v[i] == sub) {
			s->subs.v[i] = s->subs.v[--s->subs.n];
			break;
		}
	}
}

static void event(void *ctx, struct mt_xds_sub *sub, const struct mt_xds_event *ev)
{
	struct agent_sds *s = ctx;

	(void)sub;
	if (ev->kind != MT_XDS_NACK)
		return;
	mt_metric_add(s->metrics, METRIC_agent_sds_rejections_total, 1);
	mt_log_error(&scope, "Envoy rejects a secret", MT_S("error", ev->message));
}

struct wanted {
	struct agent_sds *s;
	char name[];
};

static void on_wanted(void *arg)
{
	struct wanted *w = arg;

	agent_file_certs_want(w->s->files, w->name);
	mt_free(w);
}

static void subscribed(void *ctx, int type, const char *name, size_t n)
{
	struct wanted *w;

	(void)type;
	w = mt_alloc(sizeof(*w) + n + 1);
	w->s = ctx;
	memcpy(w->name, name, n);
	if (!agent_secret_name_is(w->name)) {
		mt_free(w);
		return;
	}
	mt_loop_post(w->s->loop, on_wanted, w);
}

static const struct mt_xds_app app = {
	.attach = attach,
	.detach = detach,
	.event = event,
	.subscribed = subscribed,
};

/* ---- start and stop ---- */

_Static_assert(AGENT_SOCKET_MAX == sizeof(((struct sockaddr_un *)0)->sun_path), "socket paths");

void agent_sds_socket(const char *dir, char buf[AGENT_SOCKET_MAX])
{
	char hex[17];

	if (snprintf(buf, AGENT_SOCKET_MAX, "%s/sds/socket", dir) < AGENT_SOCKET_MAX)
		return;
	mt_hash_hex(mt_hash_str(dir), hex);
	snprintf(buf, AGENT_SOCKET_MAX, "/tmp/meltemi-%u-%s/socket", (unsigned)geteuid(), hex);
}

static int make_folder(const char *socket, struct mt_err *err)
{
	MT_AUTO(mt_strfreep) char *dir = mt_strdup(socket);
	struct stat st;
	int r;

	if (strlen(socket) >= AGENT_SOCKET_MAX)
		return mt_fail(err, MT_INVALID, "--sds-socket",
			"%s is longer than a socket's path may be (%d bytes): choose a shorter one",
			socket, AGENT_SOCKET_MAX - 1);
	*strrchr(dir, '/') = '\0';
	if ((r = mt_dir_make(dir, 0700, err)) < 0)
		return r;
	if (lstat(dir, &st) < 0)
		return mt_fail_errno(err, dir, "cannot look at the folder of the socket");
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid())
		return mt_fail(err, MT_INVALID, dir, "is not a folder of this user's own");
	if (st.st_mode & 077)
		return mt_fail(err, MT_INVALID, dir,
			"others may open it (mode %04o): private keys are served "
			"in it",
			(unsigned)st.st_mode & 07777);
	return 0;
}

static int serve(struct agent_sds *s, const struct agent_sds_opts *o, struct mt_err *err)
{
	static const char *const paths[2] = { SERVICE "StreamSecrets", SERVICE "DeltaSecrets" };
	const struct mt_xds_server_opts xo = {
		.types = types,
		.ntypes = MT_ARRAY_SIZE(types),
		.app = &app,
		.ctx = s,
		.max_names = NAMES_MAX,
		.metrics = o->metrics,
	};
	MT_AUTO(mt_strfreep) char *addr = mt_asprintf("unix:%s", o->socket);
	const struct mt_rpc_server_opts ro = { .max_streams = 4096,
		.max_streams_per_connection = 4096 };
	struct mt_rpc_method methods[2];

	s->xds = mt_xds_server_new(o->loop, &xo);
	mt_xds_server_methods(s->xds, methods);
	/* The engine's two methods, under the names of this service: state of the world, then delta. */
	for (int i = 0; i < 2; i++)
		methods[i].path = paths[i];
	return mt_rpc_server_start(
		o->env, &ro, (const char *const[]){ addr }, 1, methods, 2, &s->server, err);
}

int agent_sds_start(const struct agent_sds_opts *o, struct agent_sds **ret, struct mt_err *err)
{
	struct agent_sds *s = MT_NEW(struct agent_sds);
	int r;

	s->loop = o->loop;
	s->metrics = o->metrics;
	if ((r = make_folder(o->socket, err)) < 0 ||
		(r = agent_file_certs_new(&(struct agent_file_certs_opts){ .loop = o->loop,
						  .dirs = o->file_cert_dirs,
						  .credentials = o->credentials_dirs,
						  .changed = files_changed,
						  .fault = files_fault,
						  .ctx = s },
			 &s->files, err)) < 0 ||
		(r = serve(s, o, err)) < 0) {
		agent_sds_stop(s);
		return r;
	}
	*ret = s;
	return 0;
}

void agent_sds_stop(struct agent_sds *s)
{
	if (!s)
		return;
	if (s->server)
		mt_rpc_server_stop(s->server, 0);
	if (s->xds)
		mt_xds_server_free(s->xds);
	agent_file_certs_free(s->files);
	for (size_t i = 0; i < FIXED; i++)
		mt_res_unref(s->fixed[i]);
	mt_snapshot_unref(s->snap);
	mt_vec_clear(&s->subs);
	mt_free(s);
}
