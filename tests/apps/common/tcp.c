/* A TCP server that greets and echoes; see app.h. One thread a connection, at most 1024 of them. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/apps/common/app.h"

#define MAX_OPEN 1024

struct listener {
	int fd;
	char greeting[128];
};

struct peer {
	int fd;
	char greeting[128];
};

static atomic_uint_fast64_t open_now, total;

static bool send_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t k = send(fd, p, n, MSG_NOSIGNAL);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return false;
		p += k;
		n -= (size_t)k;
	}
	return true;
}

static void *peer_run(void *arg)
{
	struct peer *p = arg;
	char buf[16384];
	ssize_t n = 0;

	if (send_all(p->fd, p->greeting, strlen(p->greeting)))
		while ((n = recv(p->fd, buf, sizeof(buf), 0)) > 0)
			if (!send_all(p->fd, buf, (size_t)n))
				break;
	close(p->fd);
	free(p);
	atomic_fetch_sub(&open_now, 1);
	return NULL;
}

static void peer_start(const struct listener *l, int fd)
{
	struct peer *p = calloc(1, sizeof(*p));
	pthread_attr_t attr;
	pthread_t thread;

	if (!p)
		app_die("out of memory");
	p->fd = fd;
	memcpy(p->greeting, l->greeting, sizeof(p->greeting));
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 128 * 1024);
	atomic_fetch_add(&open_now, 1);
	atomic_fetch_add(&total, 1);
	if (pthread_create(&thread, &attr, peer_run, p)) {
		atomic_fetch_sub(&open_now, 1);
		close(fd);
		free(p);
	}
	pthread_attr_destroy(&attr);
}

static void *accept_run(void *arg)
{
	struct listener *l = arg;

	for (;;) {
		int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0) {
			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			app_sleep_ms(10); /* out of descriptors: give the others time to end */
			continue;
		}
		if (atomic_load(&open_now) >= MAX_OPEN)
			close(fd);
		else
			peer_start(l, fd);
	}
	return NULL;
}

void app_tcp_echo(const char *addr, const char *greeting)
{
	struct listener *l = calloc(1, sizeof(*l));
	struct sockaddr_in sa;
	pthread_t thread;
	int one = 1;

	if (!l)
		app_die("out of memory");
	if (!app_addr(addr, &sa))
		app_die("--tcp %s: not ADDRESS:PORT", addr);
	snprintf(l->greeting, sizeof(l->greeting), "%s", greeting);
	l->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (l->fd < 0 || bind(l->fd, (struct sockaddr *)&sa, sizeof(sa)) || listen(l->fd, 512))
		app_die("cannot listen on %s: %s", addr, strerror(errno));
	if (pthread_create(&thread, NULL, accept_run, l))
		app_die("cannot start a thread");
	pthread_detach(thread);
}

void app_tcp_counts(uint64_t *ret_open, uint64_t *ret_total)
{
	*ret_open = atomic_load(&open_now);
	*ret_total = atomic_load(&total);
}
