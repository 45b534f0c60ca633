/* Files that survive crashes: read whole with a limit, replaced by fsync and rename. */
#pragma once
#include "common/base/buf.h"
#include "common/base/err.h"

/* Reads path into out (appended). MT_NOT_FOUND, MT_LIMIT when larger than limit, MT_IO. */
int mt_file_read(const char *path, size_t limit, struct mt_buf *out, struct mt_err *err);
/* Writes aside in the same folder with mode, fsyncs file and folder, renames over path. */
int mt_file_replace(const char *path, const void *p, size_t n, unsigned mode, struct mt_err *err);
/* mkdir -p with mode for what is created. */
int mt_dir_make(const char *path, unsigned mode, struct mt_err *err);
