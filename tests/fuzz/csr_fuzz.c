/* Certificate signing requests, PEM and DER: never a crash, and a wish is always a SPIFFE id. */
#include <stdlib.h>
#include <string.h>

#include "common/pki/csr.h"
#include "common/pki/spiffe.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct mt_csr *c = NULL;
	struct mt_err err = { 0 };

	if (mt_csr_parse(p, n, &c, &err) == 0) {
		const char *id = mt_csr_spiffe_id(c);
		if (id[0] && mt_spiffe_check(id, strlen(id), NULL) != 0)
			abort();
		if (mt_key_check(mt_csr_key(c), NULL) != 0)
			abort();
	} else if (!err.msg[0]) {
		abort();
	}
	mt_csr_free(c);
	return 0;
}
