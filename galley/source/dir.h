/* Inside of the folder source: what watching (dir.c) and scanning (dir_scan.c) share. */
#pragma once

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/map.h"
#include "galley/source/source.h"

struct known_file {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime;
	struct timespec ctime;
	uint64_t hash;
	uint64_t seen; /* number of the scan */
	bool failed;   /* could not be read */
	bool link;     /* a symlink */
};

struct dir {
	struct galley_source s;
	char *root;
	int fd; /* inotify */
	uv_poll_t *poll;
	struct mt_timer *gather, *rescan, *look;
	int64_t since_ns; /* first sign of a change; 0: none */
	dev_t root_dev;
	ino_t root_ino;
	bool reread;            /* notifications were lost: believe no identity */
	bool whole;             /* the next scan is one of the whole folder */
	struct mt_map *folders; /* watch descriptor (decimal) -> path */
	struct mt_map *known;   /* path -> struct known_file */
	size_t links;           /* of the known files, how many are symlinks */
	struct mt_map *writing; /* path -> int64_t since when */
	struct mt_map *touched; /* paths named by notifications since they were looked at last */
};

void galley_dir_scan(struct dir *d);
/* Only the files that were touched. False, and nothing done: the folder is not the one that was
 * scanned. */
bool galley_dir_look(struct dir *d);
bool galley_dir_name_ok(const char *name); /* *.yaml, *.yml, *.json, not hidden */
bool galley_dir_writing(struct dir *d, const char *path);
