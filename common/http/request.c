#include "common/http/request.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/cidr.h"
#include "common/base/mem.h"
#include "common/base/strs.h"

/* --- routes ------------------------------------------------------------------------------------- */

/* Length of the match, 0 for none. */
static size_t match(const char *route, const char *path)
{
	size_t n = strlen(route);

	if (n && route[n - 1] == '/' && strncmp(path, route, n) == 0)
		return n;
	return strcmp(path, route) == 0 ? n : 0;
}

static bool method_in(const char *methods, const char *method)
{
	size_t n = strlen(method);

	for (const char *p = methods; *p;) {
		size_t k = strcspn(p, ",");

		if (k == n && memcmp(p, method, n) == 0)
			return true;
		p += k + (p[k] == ',');
	}
	/* A HEAD is a GET whose body the wire leaves out. */
	return strcmp(method, "HEAD") == 0 && method_in(methods, "GET");
}

static void answer_405(struct mt_http_req *r, const char *allow)
{
	struct MHD_Response *resp =
		mt_http_error_response(405, MT_UNSUPPORTED, "the method is not allowed here");

	MHD_add_response_header(resp, "Allow", allow);
	mt_http_answer(r, 405, resp);
}

/* The longest match wins; among routes of one path the one that has the method. */
void mt_http_dispatch(struct mt_http_server *s, struct mt_http_req *r)
{
	const struct mt_http_route_row *best = NULL;
	size_t longest = 0;
	bool allowed = false;

	for (const struct mt_http_route_row *row = s->routes; row; row = row->next) {
		size_t n = match(row->path, r->path);
		bool ok = method_in(row->methods, r->method);

		if (!n || n < longest || (n == longest && (allowed || !ok)))
			continue;
		best = row;
		longest = n;
		allowed = ok;
	}
	if (!best)
		mt_http_answer(r, 404, mt_http_error_response(404, MT_NOT_FOUND, "no such page"));
	else if (!allowed)
		answer_405(r, best->methods);
	else
		best->handler(best->ctx, r);
}

/* --- what a handler asks ------------------------------------------------------------------------ */

const char *mt_http_method(const struct mt_http_req *r)
{
	return r->method;
}

const char *mt_http_path(const struct mt_http_req *r)
{
	return r->path;
}

const char *mt_http_query(const struct mt_http_req *r, const char *name)
{
	const char *value = NULL;

	if (MHD_lookup_connection_value_n(
		    r->conn, MHD_GET_ARGUMENT_KIND, name, strlen(name), &value, NULL) != MHD_YES)
		return NULL;
	return value ? value : "";
}

const char *mt_http_header(const struct mt_http_req *r, const char *name)
{
	return MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND, name);
}

const void *mt_http_body(const struct mt_http_req *r, size_t *ret_n)
{
	*ret_n = r->body.n;
	return mt_buf_str(&r->body);
}

bool mt_http_peer_is_loopback(const struct mt_http_req *r)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	struct mt_ip ip = { 0 };

	if (!info || !info->client_addr)
		return false;
	if (info->client_addr->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)info->client_addr;

		ip.len = 4;
		memcpy(ip.b, &in->sin_addr, 4);
	} else if (info->client_addr->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in = (const void *)info->client_addr;

		ip.len = 16;
		memcpy(ip.b, &in->sin6_addr, 16);
	}
	return mt_ip_is_loopback(&ip);
}

/* --- replies ------------------------------------------------------------------------------------ */

static struct MHD_Response *response_new(
	const char *content_type, const void *p, size_t n, enum MHD_ResponseMemoryMode mode)
{
	struct MHD_Response *resp = MHD_create_response_from_buffer(n, (void *)p, mode);

	MHD_add_response_header(resp, "Content-Type", content_type);
	MHD_add_response_header(resp, "Cache-Control", "no-store");
	MHD_add_response_header(resp, "X-Content-Type-Options", "nosniff");
	return resp;
}

/* Takes body. Pages are read by people too: indented, with a newline at the end. */
static struct MHD_Response *json_response(json_t *body)
{
	char *text = json_dumps(body, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_ENCODE_ANY);
	struct mt_buf b = { 0 };

	json_decref(body);
	mt_buf_adds(&b, text ? text : "null");
	mt_buf_addc(&b, '\n');
	mt_free(text);
	return response_new("application/json", b.p, b.n, MHD_RESPMEM_MUST_FREE);
}

struct MHD_Response *mt_http_error_response(int status, int code, const char *msg)
{
	(void)status;
	if (!mt_utf8_valid(msg, strlen(msg)))
		msg = "the request holds bytes that are not UTF-8";
	return json_response(json_pack("{s:s, s:s}", "error", msg, "code", mt_code_name(code)));
}

void mt_http_reply(
	struct mt_http_req *r, int status, const char *content_type, const void *p, size_t n)
{
	mt_http_answer(r, status, response_new(content_type, p, n, MHD_RESPMEM_MUST_COPY));
}

void mt_http_reply_json(struct mt_http_req *r, int status, json_t *body)
{
	mt_http_answer(r, status, json_response(body));
}

void mt_http_reply_err(struct mt_http_req *r, const struct mt_err *err)
{
	char text[sizeof(err->path) + sizeof(err->msg) + 2];
	int status = mt_code_http(err->code);

	snprintf(text, sizeof(text), "%s%s%s", err->path, *err->path ? ": " : "", err->msg);
	mt_http_answer(r, status, mt_http_error_response(status, err->code, text));
}
