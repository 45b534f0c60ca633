/* The file that keeps an identity: JSON with key, chain and roots, so that the three are always of one
 * kind; written aside, fsynced, renamed, mode 0600. Private to ident/. Threads: any. */
#pragma once

#include "common/pki/identity.h"

int mt_ident_store_save(const char *path, const struct mt_identity *i, struct mt_err *err);
/* MT_NOT_FOUND; MT_INVALID when damaged, or when others may read it. */
int mt_ident_store_load(const char *path, struct mt_identity **ret, struct mt_err *err);
