#include "common/schema/tls_names.h"

#include <stddef.h>
#include <string.h>

#include "common/base/macros.h"

static const char *const ciphers[] = {
	"ECDHE-ECDSA-AES128-GCM-SHA256",
	"ECDHE-RSA-AES128-GCM-SHA256",
	"ECDHE-ECDSA-AES256-GCM-SHA384",
	"ECDHE-RSA-AES256-GCM-SHA384",
	"ECDHE-ECDSA-CHACHA20-POLY1305",
	"ECDHE-RSA-CHACHA20-POLY1305",
	"ECDHE-ECDSA-AES128-SHA",
	"ECDHE-RSA-AES128-SHA",
	"ECDHE-ECDSA-AES256-SHA",
	"ECDHE-RSA-AES256-SHA",
	"AES128-GCM-SHA256",
	"AES256-GCM-SHA384",
	"AES128-SHA",
	"AES256-SHA",
	"DES-CBC3-SHA",
};
static const char *const curves[] = { "P-256", "P-384", "P-521", "X25519" };

static bool among(const char *name, const char *const *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(v[i], name) == 0)
			return true;
	return false;
}

bool mt_tls_is_cipher(const char *name)
{
	return among(name, ciphers, MT_ARRAY_SIZE(ciphers));
}

bool mt_tls_is_curve(const char *name)
{
	return among(name, curves, MT_ARRAY_SIZE(curves));
}
