#include "agent/proc.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/admin.h"
#include "agent/log_cap.h"
#include "agent/pid_file.h"
#include "agent/sds.h"
#include "common/base/buf.h"
#include "common/base/file.h"
#include "common/base/mem.h"
#include "tests/unit/unit.h"

struct bench {
	struct mt_loop *loop;
	char dir[64], output[96], pid_file[96];
	int exits, status;
};

static void on_exit_of(void *ctx, int status)
{
	struct bench *b = ctx;

	b->exits++;
	b->status = status;
	mt_loop_stop(b->loop);
}

static void bench_open(struct bench *b)
{
	memset(b, 0, sizeof(*b));
	strcpy(b->dir, "/tmp/mt-proc-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(b->dir));
	snprintf(b->output, sizeof(b->output), "%s/log", b->dir);
	snprintf(b->pid_file, sizeof(b->pid_file), "%s/pid", b->dir);
	b->loop = mt_loop_new(&mt_clock_system);
}

static void bench_close(struct bench *b)
{
	mt_loop_free(b->loop);
	unlink(b->output);
	unlink(b->pid_file);
	rmdir(b->dir);
}

static int spawn(struct bench *b, const char *path, char *const *argv, struct agent_proc **ret,
	struct mt_err *err)
{
	char *const envp[] = { "WORD=hello", "PATH=/bin:/usr/bin", NULL };

	return agent_proc_spawn(b->loop,
		&(struct agent_proc_spec){ .path = path,
			.argv = argv,
			.envp = envp,
			.output = b->output,
			.exited = on_exit_of,
			.ctx = b },
		ret, err);
}

START_TEST(runs_and_ends)
{
	char *const argv[] = { "sh", "-c", "echo $WORD; ls /proc/self/fd >&2; exit 3", NULL };
	int leak = open("/dev/null", O_RDONLY); /* not close-on-exec: still not inherited */
	char number[16];
	struct agent_proc *p = NULL;
	struct mt_buf out = { 0 };
	struct bench b;
	struct stat st;

	bench_open(&b);
	ck_assert_int_eq(dup2(leak, 77), 77);
	ck_assert_int_eq(spawn(&b, "sh", argv, &p, NULL), 0);
	mt_loop_run(b.loop);
	ck_assert_int_eq(b.exits, 1);
	ck_assert(WIFEXITED(b.status) && WEXITSTATUS(b.status) == 3);
	agent_proc_forget(p);
	ck_assert_int_eq(mt_file_read(b.output, 4096, &out, NULL), 0);
	ck_assert_int_eq(strncmp(out.p, "hello\n", 6), 0);
	snprintf(number, sizeof(number), "77\n");
	ck_assert_ptr_null(strstr(out.p, number));
	ck_assert_int_eq(stat(b.output, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	mt_buf_clear(&out);
	close(leak);
	close(77);
	bench_close(&b);
}
END_TEST

START_TEST(cannot_start)
{
	char *const argv[] = { "nothing", NULL };
	struct agent_proc *p = NULL;
	struct mt_err err = { 0 };
	struct bench b;

	bench_open(&b);
	ck_assert_int_eq(spawn(&b, "/nonexistent/envoy", argv, &p, &err), MT_NOT_FOUND);
	ck_assert_str_eq(err.path, "/nonexistent/envoy");
	ck_assert_ptr_null(p);
	bench_close(&b);
}
END_TEST

START_TEST(adopted)
{
	char *const argv[] = { "sleep", "600", NULL };
	struct agent_proc *p = NULL, *again = NULL;
	struct agent_pid_file f = { .setup = 0xfedcba9876543210 }, g = { 0 };
	struct mt_err err = { 0 };
	struct bench b;

	bench_open(&b);
	ck_assert_int_eq(spawn(&b, "sleep", argv, &p, NULL), 0);
	f.id = *agent_proc_id(p);
	ck_assert_int_eq(agent_pid_file_save(b.pid_file, &f, NULL), 0);
	ck_assert_int_eq(agent_pid_file_load(b.pid_file, &g, NULL), 0);
	ck_assert_int_eq(memcmp(&f, &g, sizeof(f)), 0);
	ck_assert_int_eq(agent_proc_adopt(b.loop, &g.id, on_exit_of, &b, &again, &err), 0);
	/* Another start time, or another boot, is another process. */
	struct agent_proc *no = NULL;
	g.id.start++;
	ck_assert_int_eq(agent_proc_adopt(b.loop, &g.id, on_exit_of, &b, &no, &err), MT_NOT_FOUND);
	g.id = f.id;
	g.id.boot[0] ^= 1;
	ck_assert_int_eq(agent_proc_adopt(b.loop, &g.id, on_exit_of, &b, &no, &err), MT_NOT_FOUND);
	/* The first owner forgets it; the second hears of its end. */
	agent_proc_forget(p);
	ck_assert_int_eq(agent_proc_signal(again, SIGKILL), 0);
	mt_loop_run(b.loop);
	ck_assert_int_eq(b.exits, 1);
	ck_assert_int_eq(b.status, -1);
	ck_assert_int_eq(waitpid(f.id.pid, NULL, 0), f.id.pid);
	ck_assert_int_eq(agent_proc_adopt(b.loop, &f.id, on_exit_of, &b, &no, &err), MT_NOT_FOUND);
	ck_assert_int_eq(agent_proc_signal(again, SIGTERM), MT_NOT_FOUND);
	agent_proc_forget(again);
	bench_close(&b);
}
END_TEST

START_TEST(bad_pid_files)
{
	static const char *const bad[] = { "", "x", "{}", "[1]",
		"{\"pid\":1,\"start\":1,\"boot\":\"b\",\"setup\":1}",
		"{\"pid\":\"7\",\"start\":1,\"boot\":\"b\",\"setup\":1}",
		"{\"pid\":-7,\"start\":1,\"boot\":\"b\",\"setup\":1}" };
	struct agent_pid_file f = { 0 };
	struct bench b;

	bench_open(&b);
	ck_assert_int_eq(agent_pid_file_load(b.pid_file, &f, NULL), MT_NOT_FOUND);
	for (size_t i = 0; i < MT_ARRAY_SIZE(bad); i++) {
		ck_assert_int_eq(
			mt_file_replace(b.pid_file, bad[i], strlen(bad[i]), 0600, NULL), 0);
		ck_assert_msg(
			agent_pid_file_load(b.pid_file, &f, NULL) == MT_INVALID, "%s", bad[i]);
	}
	bench_close(&b);
}
END_TEST

START_TEST(sums)
{
	ck_assert_int_eq(agent_admin_sum(""), 0);
	ck_assert_int_eq(agent_admin_sum("listener.127.0.0.1_80.downstream_cx_active: 3\n"
					 "listener.[__1]_80.worker_0: x.downstream_cx_active: 4\n"
					 "listener.admin.downstream_cx_active: 9\n"
					 "no value\nlistener.b: 5"),
		12);
	ck_assert_int_eq(agent_admin_sum("a: 9223372036854775807\nb: 1\n"), LONG_MAX);
}
END_TEST

START_TEST(log_is_cut)
{
	char line[100], old[128];
	struct bench b;
	struct stat st;
	int fd;

	bench_open(&b);
	memset(line, 'x', sizeof(line));
	fd = open(b.output, O_WRONLY | O_CREAT | O_APPEND, 0600);
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(write(fd, line, sizeof(line)), sizeof(line));
	ck_assert_int_eq(agent_log_cap(b.output, 1000, NULL), 0);
	ck_assert_int_eq(write(fd, line, 1), 1);
	ck_assert_int_eq(agent_log_cap(b.output, 1000, NULL), 0);
	/* The writer goes on at the new end. */
	ck_assert_int_eq(write(fd, line, 7), 7);
	ck_assert_int_eq(stat(b.output, &st), 0);
	ck_assert_int_eq(st.st_size, 7);
	snprintf(old, sizeof(old), "%s.1", b.output);
	ck_assert_int_eq(stat(old, &st), 0);
	ck_assert_int_eq(st.st_size, 1001);
	close(fd);
	unlink(old);
	bench_close(&b);
}
END_TEST

START_TEST(socket_paths)
{
	char dir[200], path[AGENT_SOCKET_MAX], again[AGENT_SOCKET_MAX];

	agent_sds_socket("/run/agent", path);
	ck_assert_str_eq(path, "/run/agent/sds/socket");
	memset(dir, 'x', sizeof(dir));
	dir[0] = '/';
	dir[199] = '\0';
	agent_sds_socket(dir, path);
	agent_sds_socket(dir, again);
	ck_assert_str_eq(path, again);
	ck_assert_int_eq(strncmp(path, "/tmp/meltemi-", 13), 0);
	dir[198] = 'y';
	agent_sds_socket(dir, again);
	ck_assert_str_ne(path, again);
}
END_TEST

MT_UNIT(proc, log_is_cut, socket_paths, runs_and_ends, cannot_start, adopted, bad_pid_files, sums)
