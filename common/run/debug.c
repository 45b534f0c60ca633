/* The debug pages. They tell much and change log levels, so they answer only to a peer on a loopback
 * address; and, as a browser on this machine is such a peer too, only when the Host header names
 * this machine (a rebound DNS name does not). */
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/base/cidr.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/run/daemon_inside.h"

static struct mt_log_scope scope = MT_LOG_SCOPE("debug");

/* "127.0.0.1:15014", "[::1]", "localhost:15014". */
static bool host_is_here(const char *host)
{
	char name[256], with_port[300];
	struct mt_ip ip;
	uint16_t port;

	if (!host)
		return true; /* HTTP/1.0: no browser */
	if (mt_hostport_parse(host, name, &port) < 0) {
		snprintf(with_port, sizeof(with_port), "%s:0", host);
		if (mt_hostport_parse(with_port, name, &port) < 0)
			return false;
	}
	if (mt_ip_parse(name, &ip) == 0)
		return mt_ip_is_loopback(&ip);
	return strcasecmp(name, "localhost") == 0;
}

static void guarded(void *ctx, struct mt_http_req *req)
{
	struct mt_page *p = ctx;
	struct mt_err err;

	if (!mt_http_peer_is_loopback(req) || !host_is_here(mt_http_header(req, "Host"))) {
		mt_fail(&err, MT_DENIED, NULL, "debug pages answer on loopback only");
		mt_http_reply_err(req, &err);
		return;
	}
	p->handler(p->ctx, req);
}

void mt_daemon_debug(
	struct mt_daemon *d, const char *name, const char *help, mt_http_handler f, void *ctx)
{
	struct mt_page *p;

	if (!d->http)
		return;
	p = MT_NEW(struct mt_page);
	p->daemon = d;
	p->path = mt_asprintf("/debug/%s", name);
	p->help = mt_strdup(help);
	p->handler = f;
	p->ctx = ctx;
	p->next = d->pages;
	d->pages = p;
	mt_http_route(d->http, "GET,POST", p->path, guarded, p);
}

/* --- pages -------------------------------------------------------------------------------------- */

static void page_index(void *ctx, struct mt_http_req *req)
{
	struct mt_daemon *d = ctx;
	json_t *pages = json_array();
	struct mt_err err;

	if (!mt_streq(mt_http_path(req), "/debug/")) {
		json_decref(pages);
		mt_fail(&err, MT_NOT_FOUND, NULL, "no such page; /debug/ lists them");
		mt_http_reply_err(req, &err);
		return;
	}
	for (const struct mt_page *p = d->pages; p; p = p->next)
		json_array_insert_new(
			pages, 0, json_pack("{s:s, s:s}", "path", p->path, "help", p->help));
	mt_http_reply_json(req, 200, json_pack("{s:o}", "pages", pages));
}

static void page_options(void *ctx, struct mt_http_req *req)
{
	struct mt_daemon *d = ctx;

	mt_http_reply_json(req, 200, json_pack("{s:o}", "options", mt_options_json(d->options)));
}

static const char *const level_names[] = { "none", "error", "warn", "info", "debug" };

static void add_scope(void *ctx, const char *name, enum mt_level level)
{
	json_object_set_new(ctx, name, json_string(level_names[level]));
}

static void page_log(void *ctx, struct mt_http_req *req)
{
	const char *name = mt_http_query(req, "scope"), *text = mt_http_query(req, "level");
	json_t *scopes = json_object();
	enum mt_level level;
	struct mt_err err = { 0 };

	(void)ctx;
	if (text) {
		if (mt_str_empty(name))
			name = "default";
		if (mt_log_level_parse(text, &level) < 0)
			mt_fail(&err, MT_INVALID, "level", "is none, error, warn, info or debug");
		else if (mt_log_set_level(name, level) < 0)
			mt_fail(&err, MT_NOT_FOUND, "scope", "there is no scope of this name");
		else
			mt_log_info(&scope, "log level set", MT_S("of", name), MT_S("to", text));
	}
	if (err.code) {
		json_decref(scopes);
		mt_http_reply_err(req, &err);
		return;
	}
	mt_log_each(add_scope, scopes);
	mt_http_reply_json(req, 200, json_pack("{s:o}", "scopes", scopes));
}

/* From /proc/self/status, in bytes. */
static json_int_t status_value(const char *text, const char *name)
{
	const char *p = strstr(text, name);
	long long kb = 0;

	return p && sscanf(p + strlen(name), ": %lld", &kb) == 1 ? kb * 1024 : 0;
}

static void page_memory(void *ctx, struct mt_http_req *req)
{
	struct mallinfo2 m;
	char text[4096] = "";
	FILE *f;

	(void)ctx;
	if (mt_http_query(req, "trim"))
		malloc_trim(0);
	m = mallinfo2();
	f = fopen("/proc/self/status", "re");
	if (f) {
		text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
		fclose(f);
	}
	mt_http_reply_json(req, 200,
		json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "resident", status_value(text, "VmRSS"),
			"resident_peak", status_value(text, "VmHWM"), "heap_used",
			(json_int_t)m.uordblks, "heap_free", (json_int_t)m.fordblks, "heap_mapped",
			(json_int_t)m.hblkhd, "heap_from_system", (json_int_t)m.arena));
}

void mt_debug_pages(struct mt_daemon *d)
{
	mt_daemon_debug(d, "", "this list", page_index, d);
	mt_daemon_debug(
		d, "options", "every option, its value and where it came from", page_options, d);
	mt_daemon_debug(d, "log", "levels by scope; ?scope=NAME&level=LEVEL sets one", page_log, d);
	mt_daemon_debug(d, "memory", "resident set and heap; ?trim returns free pages first",
		page_memory, d);
}
