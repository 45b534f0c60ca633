/* The queue of reports and the thread that works it off: access log messages wait, still packed, until
 * the reporter thread has taken all that came meanwhile as one batch, so that the busier it gets the
 * larger are the batches. Bounded: beyond the limit messages are dropped and their entries counted.
 *
 * Put: any thread. Others: loop thread. */
#pragma once

#include "mixer/attr/reporter.h"
#include "mixer/serve/server.h"

struct mixer_reports;

/* Starts the thread. serve: slot, clock, metrics and options are used; outlives it. */
struct mixer_reports *mixer_reports_start(const struct mixer_serve *serve, size_t max_bytes);
/* Works off what is in the queue, then ends. NULL allowed. */
void mixer_reports_stop(struct mixer_reports *r);
/* Copies the message. False: the queue is full. */
bool mixer_reports_put(
	struct mixer_reports *r, struct mixer_reporter *who, const void *p, size_t n);
/* How many entries a packed StreamAccessLogsMessage has; 0 when it is malformed. Pure. */
size_t mixer_reports_entries(const void *p, size_t n);
