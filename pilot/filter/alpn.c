/* Tells the receiving sidecar that a connection of the mesh's own TLS carries HTTP.
 *
 * On a port of which nobody says what it speaks the sender looks at the first bytes; the receiver cannot,
 * they are encrypted. What it sees is the application protocols (ALPN) that the sender offers: its chain
 * for HTTP takes those of pilot_alpn_http, its chain for the rest takes "istio". The cluster is one for
 * both, and offers "istio". So it says in its metadata what to offer for HTTP, and this filter, which
 * only requests pass, makes it so: the list stands in the request's filter state under a name that
 * Envoy's upstream TLS looks for, and connections with different lists do not mix in a pool.
 *
 * "istio-http/1.1" stands for HTTP of any version: nothing is negotiated, the receiver tells versions
 * apart by the preface of HTTP/2. "istio" after it is for a receiver that was told what the port speaks. */
#include "envoy/extensions/filters/http/set_filter_state/v3/set_filter_state.pb-c.h"
#include "pilot/filter/filter.h"

const char *const pilot_alpn_http[] = { "istio-http/1.0", "istio-http/1.1", "istio-h2" };
const size_t pilot_nalpn_http = MT_ARRAY_SIZE(pilot_alpn_http);

#define KEY "alpn"

void pilot_alpn_cluster(struct pilot_job *j, Cluster__Cluster *c)
{
	pb_metadata_add(j->a, &c->metadata, "meltemi", KEY, "istio-http/1.1,istio");
}

const ProtobufCMessage *pilot_filter_alpn(const struct pilot_filter_in *in, const char **ret_name)
{
	struct mt_arena *a = in->j->a;
	if (!in->j->p->sds)
		return NULL;
	Core__SubstitutionFormatString *f = pb_new(a, core__substitution_format_string);
	f->format_case = CORE__SUBSTITUTION_FORMAT_STRING__FORMAT_TEXT_FORMAT_SOURCE;
	f->text_format_source = pb_new(a, core__data_source);
	f->text_format_source->specifier_case = CORE__DATA_SOURCE__SPECIFIER_INLINE_STRING;
	f->text_format_source->inline_string = pb_s("%CLUSTER_METADATA(meltemi:" KEY ")%");
	f->omit_empty_values = true;
	Filterstate__FilterStateValue *v = pb_new(a, filterstate__filter_state_value);
	v->key_case = FILTERSTATE__FILTER_STATE_VALUE__KEY_OBJECT_KEY;
	v->object_key = pb_s("envoy.network.application_protocols");
	v->value_case = FILTERSTATE__FILTER_STATE_VALUE__VALUE_FORMAT_STRING;
	v->format_string = f;
	v->skip_if_empty = true;
	Httpsetfs__Config *m = pb_new(a, httpsetfs__config);
	pb_add(a, m, on_request_headers, v);
	*ret_name = "envoy.filters.http.set_filter_state";
	return &m->base;
}
