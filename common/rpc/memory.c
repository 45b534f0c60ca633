/* What a connection costs, where gRPC core's own options do not reach. Measured with a thousand
 * streams that had acknowledged three thousand names each: 117 kB a connection before, 57 kB after;
 * with mutual TLS 33 kB more are saved.
 *
 * - Reads. Core waits for the next bytes with a buffer as large as what it read before. Its experiment
 *   "tcp_read_chunks" (on by default in 1.51) makes that 64 kB after one large request and pays no heed
 *   to GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE; without it the argument holds. An operator's own
 *   GRPC_EXPERIMENTS goes before.
 * - TLS. OpenSSL keeps two record buffers with each connection for as long as it lives, unless its mode
 *   says to release them while they are empty. Core makes its connections itself and has no option for
 *   the mode, but OpenSSL calls whoever reserved a place for application data
 *   (CRYPTO_get_ex_new_index(3)) when a connection's object is made: there the mode is set. It holds
 *   for every TLS connection of the process.
 * - Locks. A build of Abseil without NDEBUG (Debian's is one) looks for deadlocks: each lock and unlock
 *   of one of core's mutexes goes through a graph of all of them, under one lock for the process. That
 *   was a tenth of what a new connection costs. Core's own mutexes are for core's tests to judge. */
#include <dlfcn.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>

#include "common/rpc/internal.h"

static void on_new(void *parent, void *ptr MT_UNUSED, CRYPTO_EX_DATA *ad MT_UNUSED,
	int idx MT_UNUSED, long argl MT_UNUSED, void *argp MT_UNUSED)
{
	SSL_set_mode(parent, SSL_MODE_RELEASE_BUFFERS);
}

/* absl::SetMutexDeadlockDetectionMode(OnDeadlockCycle::kIgnore), under the names that it has in builds
 * with the inline namespaces of Debian, of the release and without one. */
static void ignore_deadlock_cycles(void)
{
	static const char *const names[] = {
		"_ZN4absl7debian329SetMutexDeadlockDetectionModeENS0_15OnDeadlockCycleE",
		"_ZN4absl12lts_2022062329SetMutexDeadlockDetectionModeENS0_15OnDeadlockCycleE",
		"_ZN4absl29SetMutexDeadlockDetectionModeENS_15OnDeadlockCycleE",
	};

	for (size_t i = 0; i < MT_ARRAY_SIZE(names); i++) {
		void (*set)(int mode);
		*(void **)&set = dlsym(RTLD_DEFAULT, names[i]);
		if (set)
			set(0);
	}
}

static void install(void)
{
	ignore_deadlock_cycles();
	setenv("GRPC_EXPERIMENTS", "-tcp_read_chunks", 0);
	/* A failure costs memory, nothing else. */
	SSL_get_ex_new_index(0, NULL, on_new, NULL, NULL);
}

void rpc_memory_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, install);
}
