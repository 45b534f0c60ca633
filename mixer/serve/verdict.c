#include "mixer/serve/verdict.h"

#include <stdio.h>

#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/schema/pb.h"
#include "envoy/service/auth/v3/auth.pb-c.h"
#include "mixer/adapter/adapter.h"

static Core__HeaderValueOption *option(const struct mixer_header_change *c, struct mt_arena *a)
{
	Core__HeaderValueOption *o = MT_ANEW(a, Core__HeaderValueOption);
	Core__HeaderValue *h = MT_ANEW(a, Core__HeaderValue);
	Google__Protobuf__BoolValue *append = MT_ANEW(a, Google__Protobuf__BoolValue);

	core__header_value_option__init(o);
	core__header_value__init(h);
	google__protobuf__bool_value__init(append);
	h->key = (char *)c->name;
	h->value = (char *)c->value;
	/* The first is what proxies obey that know the second too; both say the same. */
	append->value = c->op == MIXER_HEADER_APPEND;
	o->append = append;
	o->append_action = c->op == MIXER_HEADER_APPEND
		? CORE__HEADER_VALUE_OPTION__HEADER_APPEND_ACTION__APPEND_IF_EXISTS_OR_ADD
		: CORE__HEADER_VALUE_OPTION__HEADER_APPEND_ACTION__OVERWRITE_IF_EXISTS_OR_ADD;
	o->header = h;
	return o;
}

/* Those that set something. */
static size_t options(
	const struct mixer_header_changes *in, struct mt_arena *a, Core__HeaderValueOption ***ret)
{
	size_t n = 0;

	*ret = MT_ANEWN(a, Core__HeaderValueOption *, in->n);
	for (size_t i = 0; i < in->n; i++)
		if (in->v[i].op != MIXER_HEADER_REMOVE)
			(*ret)[n++] = option(&in->v[i], a);
	return n;
}

static size_t removals(const struct mixer_header_changes *in, struct mt_arena *a, char ***ret)
{
	size_t n = 0;

	*ret = MT_ANEWN(a, char *, in->n);
	for (size_t i = 0; i < in->n; i++)
		if (in->v[i].op == MIXER_HEADER_REMOVE)
			(*ret)[n++] = (char *)in->v[i].name;
	return n;
}

static Auth__OkHttpResponse *ok(const struct mixer_outcome *out, struct mt_arena *a)
{
	Auth__OkHttpResponse *m = MT_ANEW(a, Auth__OkHttpResponse);

	auth__ok_http_response__init(m);
	m->n_headers = options(&out->request, a, &m->headers);
	m->n_headers_to_remove = removals(&out->request, a, &m->headers_to_remove);
	m->n_response_headers_to_add = options(&out->response, a, &m->response_headers_to_add);
	return m;
}

static Auth__DeniedHttpResponse *denied(const struct mixer_outcome *out, struct mt_arena *a)
{
	Auth__DeniedHttpResponse *m = MT_ANEW(a, Auth__DeniedHttpResponse);
	Etype__HttpStatus *status = MT_ANEW(a, Etype__HttpStatus);

	auth__denied_http_response__init(m);
	etype__http_status__init(status);
	status->code = (Etype__StatusCode)mixer_code_http(out->code);
	m->status = status;
	m->body = mt_arena_printf(
		a, "%s:%s:%s", mixer_code_name(out->code), out->handler, out->message);
	m->n_headers = options(&out->response, a, &m->headers);
	return m;
}

void mixer_verdict_pack(
	const struct mixer_outcome *out, struct mt_arena *scratch, struct mt_buf *to)
{
	Auth__CheckResponse m = AUTH__CHECK_RESPONSE__INIT;
	Rpc__Status status = RPC__STATUS__INIT;

	status.code = out->code;
	m.status = &status;
	if (out->code) {
		status.message = (char *)out->message;
		m.http_response_case = AUTH__CHECK_RESPONSE__HTTP_RESPONSE_DENIED_RESPONSE;
		m.denied_response = denied(out, scratch);
	} else {
		m.http_response_case = AUTH__CHECK_RESPONSE__HTTP_RESPONSE_OK_RESPONSE;
		m.ok_response = ok(out, scratch);
	}
	mt_pb_pack(&m.base, to);
}
