/* Names of ciphers and curves that Envoy takes (BoringSSL's): it refuses a whole resource that has
 * another. Pure; threads: any. */
#pragma once

#include <stdbool.h>

bool mt_tls_is_cipher(const char *name);
bool mt_tls_is_curve(const char *name);
