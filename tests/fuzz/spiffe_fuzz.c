/* SPIFFE ids: what the parser of our own form accepts is a SPIFFE id and formats back to itself. */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/pki/spiffe.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct mt_spiffe id;
	char buf[MT_SPIFFE_ID_MAX];
	char *text = mt_strndup((const char *)p, n);
	int r = mt_spiffe_check((const char *)p, n, NULL);

	if (r == 0 && strlen(text) != n)
		abort();
	if (mt_spiffe_parse(text, &id, NULL) == 0) {
		if (mt_spiffe_check(text, strlen(text), NULL) != 0)
			abort();
		if (mt_spiffe_format(&id, buf, sizeof(buf), NULL) != 0 || strcmp(buf, text) != 0)
			abort();
		if (!mt_spiffe_in_td(text, id.td))
			abort();
	}
	mt_free(text);
	return 0;
}
