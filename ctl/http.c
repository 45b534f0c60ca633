#include "ctl/http.h"

#include <curl/curl.h>
#include <string.h>

#include "common/base/mem.h"

enum { ANSWER_MAX = 64 << 20, DEFAULT_MS = 15000 };

static size_t keep(char *p, size_t size, size_t n, void *arg)
{
	struct mt_buf *out = arg;

	if (out->n + size * n > ANSWER_MAX)
		return 0;
	mt_buf_add(out, p, size * n);
	return size * n;
}

int ctl_http(const char *method, const char *url, const void *body, size_t n, long ms,
	struct mt_buf *out, struct mt_err *err)
{
	CURL *c = curl_easy_init();
	struct curl_slist *headers = NULL;
	long status = 0;

	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, ms);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, keep);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, out);
	curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	if (body) {
		headers = curl_slist_append(headers, "Content-Type: application/json");
		headers = curl_slist_append(headers, "Expect:");
		curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, body);
		curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, (long)n);
	}
	CURLcode r = curl_easy_perform(c);
	if (r == CURLE_OK)
		curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
	curl_slist_free_all(headers);
	curl_easy_cleanup(c);
	if (r != CURLE_OK)
		return mt_fail(err, MT_UNAVAILABLE, url, "%s", curl_easy_strerror(r));
	return (int)status;
}

static int code_of(int status)
{
	switch (status) {
	case 404: return MT_NOT_FOUND;
	case 409: return MT_CONFLICT;
	case 403: return MT_DENIED;
	default: return status >= 500 ? MT_UNAVAILABLE : MT_INVALID;
	}
}

int ctl_http_fail(int status, const struct mt_buf *body, const char *url, struct mt_err *err)
{
	json_t *j = json_loadb(mt_buf_str(body), body->n, 0, NULL);
	const char *said = json_string_value(json_object_get(j, "error"));
	/* A page that is not there: another program answers, or an older one. */
	bool page = said && strncmp(said, "no such page", strlen("no such page")) == 0;
	int r = said ? mt_fail(err, code_of(status), page ? url : NULL, "%s",
			       page ? "no such page" : said)
		     : mt_fail(err, code_of(status), url, "answered %d", status);

	json_decref(j);
	return r;
}

int ctl_http_json(const char *method, const char *url, json_t **ret, struct mt_err *err)
{
	MT_AUTO(mt_buf_clear) struct mt_buf body = { 0 };
	json_error_t why;
	int r = ctl_http(method, url, NULL, 0, DEFAULT_MS, &body, err);

	if (r < 0)
		return r;
	if (r != 200)
		return ctl_http_fail(r, &body, url, err);
	json_t *j = json_loadb(mt_buf_str(&body), body.n, JSON_DECODE_ANY, &why);
	if (!j)
		return mt_fail(err, MT_INVALID, url, "answered no JSON: %s", why.text);
	*ret = j;
	return 0;
}

int ctl_http_where(int r, const char *daemon, const char *option, struct mt_err *err)
{
	struct mt_err was = *err;
	bool nobody = was.code == MT_UNAVAILABLE && was.path[0];

	if (!nobody && (was.code != MT_NOT_FOUND || !was.path[0]))
		return r;
	return mt_fail(err, was.code, was.path, "%s; is that %s? %s says where it is", was.msg,
		daemon, option);
}

char *ctl_url_escape(const char *s)
{
	char *e = curl_easy_escape(NULL, s, 0);
	char *copy = mt_strdup(e);

	curl_free(e);
	return copy;
}
