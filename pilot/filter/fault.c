/* Fault injection: delays and aborts, as a virtual service asks; per route. The filter itself does
 * nothing until a route says otherwise. */
#include "envoy/extensions/filters/http/fault/v3/fault.pb-c.h"

#include <stdlib.h>
#include <string.h>

#include "pilot/filter/filter.h"

const char pilot_fault_name[] = "envoy.filters.http.fault";

const ProtobufCMessage *pilot_filter_fault(const struct pilot_filter_in *in, const char **ret_name)
{
	Fault__HTTPFault *m = pb_new(in->j->a, fault__httpfault);
	*ret_name = pilot_fault_name;
	return &m->base;
}

/* The newer field beats 1.0's whole number; neither means always. */
static double percent(const Nw__Percent *p, int32_t whole)
{
	return p ? p->value : whole > 0 ? whole : 100;
}

static Cfault__FaultDelay *delay(struct pilot_job *j, const Nw__HTTPFaultInjection__Delay *d)
{
	const Google__Protobuf__Duration *t = d->http_delay_type_case ==
			NW__HTTPFAULT_INJECTION__DELAY__HTTP_DELAY_TYPE_FIXED_DELAY
		? d->fixed_delay
		: d->http_delay_type_case ==
			NW__HTTPFAULT_INJECTION__DELAY__HTTP_DELAY_TYPE_EXPONENTIAL_DELAY
		? d->exponential_delay
		: NULL;
	if (pb_dur_ns(t) <= 0)
		return NULL;
	Cfault__FaultDelay *m = pb_new(j->a, cfault__fault_delay);
	m->fault_delay_secifier_case = CFAULT__FAULT_DELAY__FAULT_DELAY_SECIFIER_FIXED_DELAY;
	m->fixed_delay = pb_dur_dup(j->a, t);
	m->percentage = pb_percent(j->a, percent(d->percentage, d->percent));
	return m;
}

static uint32_t grpc_code(const char *name)
{
	static const char *const names[] = { "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT",
		"DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
		"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
		"UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED" };
	for (uint32_t i = 0; i < MT_ARRAY_SIZE(names); i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return (uint32_t)strtoul(name, NULL, 10);
}

static Fault__FaultAbort *abort_(struct pilot_job *j, const Nw__HTTPFaultInjection__Abort *a)
{
	Fault__FaultAbort *m = pb_new(j->a, fault__fault_abort);
	if (a->error_type_case == NW__HTTPFAULT_INJECTION__ABORT__ERROR_TYPE_HTTP_STATUS) {
		m->error_type_case = FAULT__FAULT_ABORT__ERROR_TYPE_HTTP_STATUS;
		m->http_status = (uint32_t)a->http_status;
	} else if (a->error_type_case == NW__HTTPFAULT_INJECTION__ABORT__ERROR_TYPE_GRPC_STATUS) {
		m->error_type_case = FAULT__FAULT_ABORT__ERROR_TYPE_GRPC_STATUS;
		m->grpc_status = grpc_code(a->grpc_status);
	} else {
		return NULL;
	}
	m->percentage = pb_percent(j->a, percent(a->percentage, a->percent));
	return m;
}

const ProtobufCMessage *pilot_fault_config(struct pilot_job *j, const Nw__HTTPFaultInjection *f)
{
	if (!f)
		return NULL;
	Fault__HTTPFault *m = pb_new(j->a, fault__httpfault);
	m->delay = f->delay ? delay(j, f->delay) : NULL;
	m->abort = f->abort ? abort_(j, f->abort) : NULL;
	return m->delay || m->abort ? &m->base : NULL;
}
