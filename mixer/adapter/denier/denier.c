/* denier: refuses every check that reaches it. Which ones do is the business of the rule. */
#include "adapter/denier/config/config.pb-c.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "mixer/adapter/adapter.h"
#include "mixer/adapter/code.h"

enum { USES = 1000 }; /* defaults, as Istio's users know them */
#define VALID_NS (5 * MT_NS_PER_SEC)

struct denier {
	struct mixer_verdict verdict;
	char *message;
};

static int open_denier(const struct mixer_adapter_env *env, const char *handler,
	const ProtobufCMessage *params, void **ret_self, struct mt_err *err)
{
	const AdapterDenier__Params *p = (const AdapterDenier__Params *)params;
	struct denier *d;

	(void)env, (void)handler;
	if (p->status && (p->status->code < 0 || p->status->code >= MIXER_CODES))
		return mt_fail(err, MT_INVALID, "status.code", "%d is no code of google.rpc.Code",
			p->status->code);
	d = MT_NEW(struct denier);
	d->message = mt_strdup(p->status && p->status->message ? p->status->message : "");
	d->verdict = (struct mixer_verdict){
		/* OK would be no denial: taken for not written. */
		.code = p->status && p->status->code ? p->status->code : MIXER_FAILED_PRECONDITION,
		.message = d->message,
		.valid_ns = p->valid_duration
			? p->valid_duration->seconds * MT_NS_PER_SEC + p->valid_duration->nanos
			: VALID_NS,
		.valid_uses = p->valid_use_count ? p->valid_use_count : USES,
	};
	*ret_self = d;
	return 0;
}

static void close_denier(void *self)
{
	struct denier *d = self;

	mt_free(d->message);
	mt_free(d);
}

static int check(void *self, void *binding, const struct mixer_instance *in,
	struct mt_arena *scratch, struct mixer_verdict *ret, struct mt_err *err)
{
	const struct denier *d = self;

	(void)binding, (void)in, (void)scratch, (void)err;
	*ret = d->verdict;
	return 0;
}

extern const struct mixer_adapter mixer_adapter_denier;
const struct mixer_adapter mixer_adapter_denier = {
	.name = "denier",
	.kind = MT_KIND_DENIER,
	.params = &adapter_denier__params__descriptor,
	.templates = MIXER_ACCEPTS(CHECKNOTHING) | MIXER_ACCEPTS(LISTENTRY),
	.help = "refuses every check, with a status and a message",
	.open = open_denier,
	.close = close_denier,
	.check = check,
};
