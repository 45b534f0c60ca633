/* A place where configuration is written: a folder now, the Kubernetes API and others later. A source
 * tells its listener what there is and what changes; it keeps no objects and judges no content.
 * Loop thread.
 *
 * `name` is how a piece of text (a file, an API object) is called in reports: for a folder its path.
 * Sources stand in sources.def, found by the scheme of their URL. */
#pragma once

#include "common/base/err.h"
#include "common/run/loop.h"

struct galley_source;

struct galley_source_events {
	/* New or changed text; valid during the call. */
	void (*text)(
		void *ctx, struct galley_source *s, const char *name, const char *text, size_t n);
	/* It is there and cannot be read: what it said before holds. */
	void (*unreadable)(
		void *ctx, struct galley_source *s, const char *name, const struct mt_err *err);
	void (*gone)(void *ctx, struct galley_source *s, const char *name);
	/* End of a batch. Everything that there is has been told, so what was not told is gone.
	 * since_ns: when the first sign of the changes was seen (mono clock). */
	void (*settled)(void *ctx, struct galley_source *s, int64_t since_ns);
	/* The source as a whole cannot be read: all that it said before holds. */
	void (*away)(void *ctx, struct galley_source *s, const struct mt_err *err);
};

struct galley_source_opts {
	struct mt_loop *loop;
	const struct galley_source_events *events;
	void *ctx;
	int64_t gather_ns;
	int64_t rescan_ns;
	size_t max_file; /* bytes */
};

struct galley_source_ops {
	const char *scheme; /* "dir" */
	int (*open)(const char *rest, const struct galley_source_opts *o,
		struct galley_source **ret, struct mt_err *err);
	void (*close)(struct galley_source *s);
	void (*scan)(struct galley_source *s); /* reads it now, events within the call */
	/* A source that `meltemi apply` may write to; NULL: it is read-only. name is relative and
	 * checked by the caller. The full name (as in events) goes to ret_name (mt_free). */
	int (*write)(struct galley_source *s, const char *name, const void *p, size_t n,
		char **ret_name, struct mt_err *err);
	int (*remove)(struct galley_source *s, const char *full_name, struct mt_err *err);
};

/* Head of every source. */
struct galley_source {
	const struct galley_source_ops *ops;
	struct galley_source_opts o;
	char *url;
	unsigned index; /* order on the command line: earlier wins */
	bool up;        /* readable when it was last read */
	bool settled;   /* read whole at least once */
	uint64_t scans;
	char *why; /* it is away */
};

/* url: "dir:/etc/meltemi". MT_INVALID for an unknown scheme. Events come from the loop later, not from
 * within. */
int galley_source_open(const char *url, unsigned index, const struct galley_source_opts *o,
	struct galley_source **ret, struct mt_err *err);
void galley_source_close(struct galley_source *s); /* NULL allowed */
