/* What Citadel and the agent read from files and callers: lines of join tokens, requests for a
 * certificate, Envoy's statistics. The first byte chooses. */
#include <stdlib.h>
#include <string.h>

#include "agent/admin.h"
#include "citadel/identity/join_token_line.h"
#include "common/base/mem.h"
#include "common/pki/csr.h"
#include "common/schema/pb.h"
#include "istio/v1/auth/ca.pb-c.h"

static void token_line(const char *p, size_t n)
{
	struct citadel_token_line *line = NULL;
	struct mt_err err = { 0 };
	bool clear;

	if (citadel_token_line_parse(p, n, "cluster.local", &line, &clear, &err) < 0) {
		if (!err.msg[0])
			abort();
		return;
	}
	/* What was taken is a pattern of this trust domain, and matches nothing of another. */
	for (size_t i = 0; line && i < line->nallowed; i++) {
		if (citadel_pattern_check(line->allowed[i], "cluster.local", &err) < 0 ||
			citadel_pattern_match(line->allowed[i], "spiffe://elsewhere/ns/a/sa/b"))
			abort();
	}
	mt_free(line);
}

static void request(const uint8_t *p, size_t n)
{
	struct mt_arena *a = mt_arena_new(1 << 20);
	const Ca__IstioCertificateRequest *q = (const Ca__IstioCertificateRequest *)mt_pb_unpack(
		&ca__istio_certificate_request__descriptor, a, p, n, NULL);
	struct mt_csr *csr = NULL;

	if (q && mt_csr_parse(q->csr, strlen(q->csr), &csr, NULL) == 0)
		mt_csr_free(csr);
	mt_arena_free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	char *text;

	if (!n)
		return 0;
	text = mt_strndup((const char *)p + 1, n - 1);
	switch (p[0] % 3) {
	case 0: token_line(text, strlen(text)); break;
	case 1: request(p + 1, n - 1); break;
	default: agent_admin_sum(text);
	}
	mt_free(text);
	return 0;
}
