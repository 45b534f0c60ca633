#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/run/daemon_inside.h"
#include "common/run/version.h"

static const struct mt_metric_desc rows[] = {
#define METRIC MT_METRIC_ROW
#include "common/run/process_metrics.def"
#undef METRIC
};

enum {
#define METRIC MT_METRIC_ENUM
#include "common/run/process_metrics.def"
#undef METRIC
};

/* Indexes are relative to the first of these rows: a daemon's own come before. */
static int at(const struct mt_daemon *d, int i)
{
	return d->process_metrics + i;
}

void mt_process_metrics_define(struct mt_daemon *d)
{
	for (size_t i = 0; i < MT_ARRAY_SIZE(rows); i++) {
		int r = mt_metrics_define(d->metrics, &rows[i]);

		if (r < 0)
			abort(); /* the daemon's own table has one of these names */
		if (i == 0)
			d->process_metrics = r;
	}
	mt_metric_set(d->metrics, at(d, METRIC_process_start_time_seconds),
		(double)mt_wall(&mt_clock_system) / MT_NS_PER_SEC);
	mt_metric_set(d->metrics, at(d, METRIC_meltemi_build_info), 1, d->desc->name, mt_version());
}

static double open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = -3; /* ".", "..", and the folder itself */

	if (!dir)
		return 0;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* Fields after the last ')' of /proc/self/stat: 18 threads, 21 virtual bytes, 22 resident pages. */
static void read_stat(struct mt_daemon *d)
{
	unsigned long long threads, virt;
	FILE *f = fopen("/proc/self/stat", "re");
	long long resident;

	if (!f)
		return;
	if (fscanf(f,
		    "%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d "
		    "%llu %*d %*u %llu %lld",
		    &threads, &virt, &resident) == 3) {
		mt_metric_set(d->metrics, at(d, METRIC_process_threads), (double)threads);
		mt_metric_set(d->metrics, at(d, METRIC_process_virtual_memory_bytes), (double)virt);
		mt_metric_set(d->metrics, at(d, METRIC_process_resident_memory_bytes),
			(double)resident * (double)sysconf(_SC_PAGESIZE));
	}
	fclose(f);
}

void mt_process_metrics_read(struct mt_daemon *d)
{
	struct mt_metric_series *cpu;
	struct rusage ru;
	struct rlimit lim;
	double used;

	if (getrusage(RUSAGE_SELF, &ru) == 0) {
		used = (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
			(double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6;
		cpu = mt_metric_series(d->metrics, at(d, METRIC_process_cpu_seconds_total), NULL);
		mt_series_add(cpu, used - mt_series_value(cpu));
	}
	if (getrlimit(RLIMIT_NOFILE, &lim) == 0)
		mt_metric_set(d->metrics, at(d, METRIC_process_max_fds), (double)lim.rlim_cur);
	mt_metric_set(d->metrics, at(d, METRIC_process_open_fds), open_files());
	read_stat(d);
}
