#include "common/expr/convert.h"

#include <ctype.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/duration.h"

static bool dns_valid(struct mt_text t)
{
	size_t label = 0;

	if (t.n == 0 || t.n > 253)
		return false;
	for (size_t i = 0; i < t.n; i++) {
		unsigned char c = (unsigned char)t.p[i];
		if (c == '.') {
			if (label == 0 && i + 1 != t.n)
				return false;
			label = 0;
		} else if (!(isalnum(c) || c == '-' || c == '_' || (c == '*' && i == 0)) ||
			++label > 63) {
			return false;
		}
	}
	return true;
}

static bool email_valid(struct mt_text t)
{
	const char *at = t.n ? memchr(t.p, '@', t.n) : NULL;
	return at && at > t.p && t.n <= 320 &&
		dns_valid((struct mt_text){ at + 1, t.n - (size_t)(at + 1 - t.p) });
}

static bool uri_valid(struct mt_text t)
{
	for (size_t i = 0; i < t.n; i++)
		if ((unsigned char)t.p[i] <= ' ' || (unsigned char)t.p[i] == 0x7f)
			return false;
	return t.n > 0;
}

static bool text_valid(enum mt_vtype to, struct mt_text t)
{
	switch (to) {
	case MT_V_DNS_NAME: return dns_valid(t);
	case MT_V_EMAIL_ADDRESS: return email_valid(t);
	default: return uri_valid(t);
	}
}

int mt_expr_convert(enum mt_vtype to, struct mt_text t, struct mt_value *ret, struct mt_err *err)
{
	struct mt_value v = { .type = to };
	char buf[128];
	int r = -1;

	if (to == MT_V_DNS_NAME || to == MT_V_EMAIL_ADDRESS || to == MT_V_URI) {
		v.s = t;
		r = text_valid(to, t) ? 0 : -1;
	} else if (t.n < sizeof(buf)) {
		memcpy(buf, t.p, t.n);
		buf[t.n] = 0;
		if (strlen(buf) != t.n)
			r = -1;
		else if (to == MT_V_IP_ADDRESS)
			r = mt_ip_parse(buf, &v.ip);
		else if (to == MT_V_TIMESTAMP)
			r = mt_time_parse(buf, &v.i);
		else if (to == MT_V_DURATION)
			r = mt_duration_parse(buf, &v.i);
	}
	if (r < 0)
		return mt_fail(err, MT_INVALID, NULL, "\"%.*s\" is not of type %s",
			(int)MT_MIN(t.n, (size_t)100), t.p, mt_vtype_name(to));
	*ret = v;
	return 0;
}
