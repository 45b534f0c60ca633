/* Every address that the mesh will bind, tried before anything starts: a port in use is said with what
 * it is for, the first few of them at once. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/strs.h"
#include "ctl/dev/dev.h"

enum { SHOWN = 4 };

static bool can_bind(const char *ip, unsigned port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || inet_pton(AF_INET, ip, &sin.sin_addr) != 1) {
		close(fd);
		return false;
	}
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one,
		sizeof(one)); /* as servers do: TIME_WAIT is no obstacle */
	bool ok = bind(fd, (struct sockaddr *)&sin, sizeof(sin)) == 0 && listen(fd, 1) == 0;
	close(fd);
	return ok;
}

struct taken {
	struct mt_buf text; /* the first SHOWN of them */
	size_t n;
};

static void try(struct taken *taken, const char *what, const char *ip, unsigned port)
{
	if (can_bind(ip, port))
		return;
	if (taken->n++ < SHOWN)
		mt_buf_printf(
			&taken->text, "%s%s:%u (%s)", taken->n > 1 ? ", " : "", ip, port, what);
}

int dev_ports_free(struct dev *d, struct mt_err *err)
{
	static const struct {
		const char *what;
		unsigned port;
	} control[] = { { "citadel", 8060 }, { "citadel monitoring", 15214 }, { "galley", 9901 },
		{ "galley monitoring", 15114 }, { "pilot", 15012 }, { "pilot monitoring", 15014 },
		{ "mixer", 9091 }, { "mixer monitoring", 15314 }, { "mixer metrics", 42422 } };
	struct taken taken = { 0 };

	try(&taken, "front page, --port", "127.0.0.1", (unsigned)d->opts.port);
	for (size_t i = 0; i < MT_ARRAY_SIZE(control); i++)
		try(&taken, control[i].what, d->opts.control_addr, control[i].port);
	mt_vec_each (&d->workloads, w) {
		try(&taken, w->name, w->address, 9080);
		try(&taken, w->name, w->address, 15020);
		try(&taken, w->name, w->inside, 15000);
		if (json_array_size(w->command)) {
			try(&taken, w->name, w->inside, 8000);
			try(&taken, w->name, w->inside, 9080);
		}
	}
	if (taken.n) {
		MT_AUTO(mt_strfreep) char *how = dev_stop_command(d);
		MT_AUTO(mt_strfreep)
		char *more = taken.n > SHOWN ? mt_asprintf(" and %zu more", taken.n - SHOWN)
					     : mt_strdup("");
		mt_fail(err, MT_CONFLICT, NULL,
			"in use already: %s%s; nothing was started. If that is what is left of a "
			"mesh, %s ends it; else choose another --port, --prefix or "
			"--control-addr",
			mt_buf_str(&taken.text), more, how);
	}
	mt_buf_clear(&taken.text);
	return taken.n ? MT_CONFLICT : 0;
}
