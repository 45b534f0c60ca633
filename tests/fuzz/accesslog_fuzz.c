/* Access log messages as a proxy sends them: who reports, what each entry says, and the count
 * of entries that is taken without unpacking. */
#include <stdint.h>

#include "common/schema/pb.h"
#include "mixer/attr/accesslog.h"
#include "mixer/attr/reporter.h"
#include "mixer/serve/reports.h"

static void entries(const Als__StreamAccessLogsMessage *m, struct mixer_reporter *who,
	const struct mt_vocab *vocab, struct mt_arena *scratch)
{
	const struct mixer_log_opts o = { true, who->outbound, 0 };
	struct mixer_facts base, f;

	mixer_facts_init(&base, vocab, scratch);
	mixer_reporter_add(&base, who);
	if (m->log_entries_case == ALS__STREAM_ACCESS_LOGS_MESSAGE__LOG_ENTRIES_HTTP_LOGS)
		for (size_t i = 0; i < m->http_logs->n_log_entry; i++) {
			mixer_facts_copy(&f, &base, scratch);
			mixer_attr_http_log(&f, m->http_logs->log_entry[i], &o);
		}
	if (m->log_entries_case == ALS__STREAM_ACCESS_LOGS_MESSAGE__LOG_ENTRIES_TCP_LOGS)
		for (size_t i = 0; i < m->tcp_logs->n_log_entry; i++) {
			mixer_facts_copy(&f, &base, scratch);
			mixer_attr_tcp_log(&f, m->tcp_logs->log_entry[i], &o);
		}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct mt_vocab *vocab;
	struct mt_arena *message = mt_arena_new(8 << 20), *scratch = mt_arena_new(0);
	const Als__StreamAccessLogsMessage *m;
	struct mixer_reporter *who;

	if (!vocab)
		vocab = mt_vocab_new();
	mixer_reports_entries(data, size);
	m = (const Als__StreamAccessLogsMessage *)mt_pb_unpack(
		&als__stream_access_logs_message__descriptor, message, data, size, NULL);
	if (m && m->identifier) {
		who = mixer_reporter_new(
			m->identifier, size & 1 ? "spiffe://cluster.local/ns/a/sa/b" : "");
		entries(m, who, vocab, scratch);
		mixer_reporter_unref(who);
	}
	mt_arena_free(message);
	mt_arena_free(scratch);
	return 0;
}
