/* Certificates in files that Envoy asks for (secret_name.h has the names), from the folders that
 * --file-cert-dir and --credentials-dir allow. Each that was asked for is looked at once a second; a change is
 * passed on when certificate and key belong together again, until then what was there before stays.
 * Loop thread. */
#pragma once

#include "common/run/loop.h"
#include "common/run/options.h"
#include "common/xds/set.h"

enum { AGENT_FILE_CERTS_MAX = 256 }; /* names */

struct agent_file_certs;

struct agent_file_certs_opts {
	struct mt_loop *loop;
	struct mt_strlist dirs;        /* of files by path */
	struct mt_strlist credentials; /* of those by name */
	/* Some secret is new or changed. */
	void (*changed)(void *ctx);
	/* A file cannot be used: told once for each cause. */
	void (*fault)(void *ctx, const char *name, const struct mt_err *err);
	void *ctx;
};

/* MT_INVALID for a folder that is not there. */
int agent_file_certs_new(
	const struct agent_file_certs_opts *o, struct agent_file_certs **ret, struct mt_err *err);
void agent_file_certs_free(struct agent_file_certs *f); /* NULL allowed */
/* Envoy asks for it: read now, watched from now on. A name that is known already does nothing. */
void agent_file_certs_want(struct agent_file_certs *f, const char *name);
/* Adds a reference of each secret that could be read to v. Returns how many. */
size_t agent_file_certs_get(struct agent_file_certs *f, struct mt_res *v[AGENT_FILE_CERTS_MAX]);
