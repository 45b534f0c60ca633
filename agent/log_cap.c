/* The file cannot be renamed away: Envoy holds it open and is not ours to tell. It is opened for
 * appending, so after a truncation the next line lands at its new end. */
#include "agent/log_cap.h"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"

static int copy(int from, int to, off_t n)
{
	while (n > 0) {
		ssize_t k = sendfile(to, from, NULL, (size_t)n);

		if (k <= 0)
			return -1;
		n -= k;
	}
	return 0;
}

int agent_log_cap(const char *path, off_t max, struct mt_err *err)
{
	MT_AUTO(mt_strfreep) char *old = NULL;
	struct stat st;
	int from, to, r = 0;

	if (stat(path, &st) < 0 || st.st_size <= max)
		return 0;
	old = mt_asprintf("%s.1", path);
	from = open(path, O_RDWR | O_CLOEXEC);
	to = open(old, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	/* Cut in any case: a disk that is full is the better reason for it. */
	if (from < 0 || to < 0 || copy(from, to, st.st_size) < 0)
		r = mt_fail_errno(err, old, "cannot keep the old log");
	if (from < 0 || ftruncate(from, 0) < 0)
		r = mt_fail_errno(err, path, "cannot cut the log");
	if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
	return r;
}
