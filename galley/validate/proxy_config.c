#include <string.h>

#include "common/base/strs.h"
#include "galley/validate/check.h"
#include "istio/networking/v1beta1/proxy_config.pb-c.h"

void galley_check_proxy_config(const struct check *c, const ProtobufCMessage *spec)
{
	const Nwproxy__ProxyConfig *p = (const Nwproxy__ProxyConfig *)spec;

	for (size_t i = 0; p->selector && i < p->selector->n_match_labels; i++)
		check_label(c, "spec.selector.matchLabels", p->selector->match_labels[i]->key,
			p->selector->match_labels[i]->value);
	if (p->concurrency && (p->concurrency->value < 0 || p->concurrency->value > 1024))
		fault(c, "spec.concurrency", "%d is not between 0 and 1024", p->concurrency->value);
	for (size_t i = 0; i < p->n_environment_variables; i++) {
		const char *name = p->environment_variables[i]->key;
		if (mt_str_empty(name) || strchr(name, '='))
			fault(c, "spec.environmentVariables", "\"%s\" is not a variable's name",
				name);
	}
	if (p->image)
		remark(c, "spec.image", "has no effect: the agent's --envoy is the proxy");
}
