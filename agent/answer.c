#include "agent/answer.h"

#include <string.h>

#include "common/base/mem.h"

struct agent_answer *agent_answer_new(
	void *owner, int status, const char *msg, const void *p, size_t n)
{
	const void *from = status == 0 ? p : msg;
	size_t len = status == 0 ? n : msg ? strlen(msg) : 0;
	struct agent_answer *w = mt_alloc(sizeof(*w) + len + 1);

	w->owner = owner;
	w->status = status;
	w->n = len;
	if (len)
		memcpy(w->bytes, from, len);
	return w;
}
