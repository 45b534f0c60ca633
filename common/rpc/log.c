/* gRPC core writes to stderr by itself, and a peer decides how often (every failed handshake is an
 * "error" there). Its lines go to our log instead, scope "grpc": errors as warnings, at most ten a
 * second, the rest as debug. Two of its "errors" are none: clients name no host that a SPIFFE
 * certificate could match, and each such handshake would say so; and why an address cannot be bound is
 * in our own error. */
#include <grpc/support/log.h>
#include <string.h>

#include "common/base/log.h"
#include "common/rpc/internal.h"

enum { LINES_PER_SECOND = 10 };

static struct mt_log_scope scope = MT_LOG_SCOPE("grpc");
static _Atomic int64_t second;
static atomic_uint lines;

static bool within_limit(void)
{
	int64_t now = mt_mono(&mt_clock_system) / MT_NS_PER_SEC;

	if (atomic_exchange(&second, now) != now)
		atomic_store(&lines, 0);
	return atomic_fetch_add(&lines, 1) < LINES_PER_SECOND;
}

static void line(gpr_log_func_args *a)
{
	bool noise = mt_str_prefix(a->message, "No match found for server name") ||
		strstr(a->message, "No address added out of total");

	if (a->severity == GPR_LOG_SEVERITY_ERROR && !noise && within_limit())
		mt_log_warn(&scope, a->message, MT_S("at", a->file), MT_I("line", a->line));
	else
		mt_log_debug(&scope, a->message, MT_S("at", a->file), MT_I("line", a->line));
}

static void install(void)
{
	gpr_set_log_function(line);
}

void rpc_log_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, install);
}
