/* Errors: functions return 0 or a negative enum mt_code; detail goes to a nullable struct mt_err.
 * The table in errors.def maps each code to its name, gRPC status, HTTP status and metric label. */
#pragma once

#include "common/base/macros.h"

enum mt_code {
	MT_OK = 0,
	MT_INVALID = -1, /* malformed or not allowed by the contract of the input */
	MT_NOT_FOUND = -2,
	MT_EXISTS = -3,
	MT_DENIED = -4, /* authenticated, but may not */
	MT_UNAUTHENTICATED = -5,
	MT_LIMIT = -6, /* a limit that an option or a constant names was reached */
	MT_TIMEOUT = -7,
	MT_UNAVAILABLE = -8, /* a peer or resource is away; trying again may help */
	MT_UNSUPPORTED = -9,
	MT_IO = -10,       /* a system call failed; msg has errno's text */
	MT_INTERNAL = -11, /* a bug of ours */
	MT_CANCELLED = -12,
	MT_CONFLICT = -13, /* somebody else changed it first */
};

struct mt_err {
	int code;
	char path[256]; /* field path or file; "" when it does not apply */
	char msg[512];
};

/* Fills err (may be NULL) and returns code. path may be NULL. */
int mt_fail(struct mt_err *err, int code, const char *path, const char *fmt, ...) MT_PRINTF(4, 5);
/* The same, appending ": " and errno's text; code MT_IO (MT_NOT_FOUND for ENOENT). */
int mt_fail_errno(struct mt_err *err, const char *path, const char *fmt, ...) MT_PRINTF(3, 4);
/* Puts "prefix: " before the message that is there. Returns err->code. */
int mt_err_prefix(struct mt_err *err, const char *fmt, ...) MT_PRINTF(2, 3);

const char *mt_code_name(int code);     /* "invalid", also the metric label */
int mt_code_grpc(int code);             /* grpc_status_code */
int mt_code_http(int code);             /* 200, 400, ... */
int mt_code_from_grpc(int grpc_status); /* the nearest of ours */
