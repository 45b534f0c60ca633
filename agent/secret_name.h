/* From a secret's name to the files that it is made of. No state; threads: any.
 *
 *   file-cert:CERT~KEY        two files by path
 *   file-root:FILE[~CRL]      roots, and a revocation list
 *   file-root:system          what the operating system trusts
 *   kubernetes://NAME         NAME/tls.crt and NAME/tls.key in a folder of credentials
 *   kubernetes://NAME-cacert  NAME-cacert/ca.crt or NAME/ca.crt, and ca.crl beside it
 *
 * The files of a credential may also be called as Istio's generic secrets have them: cert, key, cacert,
 * crl. */
#pragma once

#include "common/base/err.h"

struct agent_secret_files {
	bool roots;
	bool by_name;  /* kubernetes:// */
	bool system;   /* file-root:system: from no folder that has to be allowed */
	char *path[2]; /* certificate and key, or roots and their revocation list (NULL: none) */
};

bool agent_secret_name_is(const char *name); /* one of the above */
/* dirs: folders of credentials. MT_INVALID: a malformed name; MT_NOT_FOUND: no such credential. */
int agent_secret_files_of(const char *name, char *const *dirs, size_t ndirs,
	struct agent_secret_files *ret, struct mt_err *err);
void agent_secret_files_clear(struct agent_secret_files *f);
