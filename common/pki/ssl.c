#include "common/pki/internal.h"

#include <openssl/err.h>

int pki_fail_ssl(struct mt_err *err, int code, const char *what)
{
	char text[256] = "no reason given";
	unsigned long e = ERR_get_error();

	if (e)
		ERR_error_string_n(e, text, sizeof(text));
	ERR_clear_error();
	return mt_fail(err, code, NULL, "%s: %s", what, text);
}

BIO *pki_bio(const void *p, size_t n)
{
	/* A read-only view: the bytes must outlive it. A length of 0 is legal and reads as the end. */
	return BIO_new_mem_buf(n ? p : "", (int)n);
}

int pki_no_password(
	char *buf MT_UNUSED, int size MT_UNUSED, int rwflag MT_UNUSED, void *user MT_UNUSED)
{
	return -1; /* the default callback would ask on the terminal */
}
