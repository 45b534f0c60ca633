/* The HTTP client of the sample applications; see app.h. One curl handle a thread keeps that
 * thread's connections: with one thread a connection in the server, a caller's connection maps to
 * its own connections to the services behind, and needs no lock. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "tests/apps/common/app.h"

#define MAX_ANSWER (1024 * 1024)

/* What a service passes on so that one request's spans join, and who the user is. */
static const char *const passed_on[] = { "x-request-id", "x-b3-traceid", "x-b3-spanid",
	"x-b3-parentspanid", "x-b3-sampled", "x-b3-flags", "b3", "x-ot-span-context", "traceparent",
	"tracestate", "end-user", "user-agent" };

static pthread_key_t handle_key;
static pthread_once_t handle_once = PTHREAD_ONCE_INIT;

static void handle_free(void *p)
{
	curl_easy_cleanup(p);
}

static void handle_init(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
	pthread_key_create(&handle_key, handle_free);
}

static CURL *handle_get(void)
{
	pthread_once(&handle_once, handle_init);
	CURL *c = pthread_getspecific(handle_key);
	if (!c) {
		c = curl_easy_init();
		if (!c)
			app_die("out of memory");
		pthread_setspecific(handle_key, c);
	}
	return c;
}

static size_t on_data(char *p, size_t size, size_t n, void *ctx)
{
	struct app_answer *a = ctx;
	size_t len = size * n;

	if (a->body_len + len > MAX_ANSWER)
		return 0; /* curl reports a write error */
	a->body = realloc(a->body, a->body_len + len + 1);
	if (!a->body)
		app_die("out of memory");
	memcpy(a->body + a->body_len, p, len);
	a->body_len += len;
	a->body[a->body_len] = '\0';
	return len;
}

static struct curl_slist *headers_of(const struct app_req *from, const char *user)
{
	struct curl_slist *list = NULL;
	char line[1024];

	for (size_t i = 0; from && i < sizeof(passed_on) / sizeof(passed_on[0]); i++) {
		const char *v = app_header(from, passed_on[i]);

		if (user && !strcmp(passed_on[i], "end-user"))
			v = user;
		if (!v || !*v)
			continue;
		snprintf(line, sizeof(line), "%s: %s", passed_on[i], v);
		list = curl_slist_append(list, line);
	}
	return list;
}

void app_get(const char *url, const char *via, const struct app_req *from, const char *user,
	int timeout_ms, struct app_answer *ret)
{
	CURL *c = handle_get();
	struct curl_slist *headers = headers_of(from, user);
	struct curl_slist *connect_to = NULL;
	char curl_error[CURL_ERROR_SIZE] = "";
	char target[128];

	*ret = (struct app_answer){ .body = calloc(1, 1) };
	if (!ret->body)
		app_die("out of memory");
	curl_easy_reset(c); /* options only: connections stay */
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_PROXY, "");
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, curl_error);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, ret);
	if (headers)
		curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
	if (via && *via) {
		snprintf(target, sizeof(target), "::%s", via); /* any host, any port */
		connect_to = curl_slist_append(NULL, target);
		curl_easy_setopt(c, CURLOPT_CONNECT_TO, connect_to);
	}
	CURLcode rc = curl_easy_perform(c);
	if (rc == CURLE_OK) {
		long status = 0;

		curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
		ret->status = (int)status;
	} else {
		snprintf(ret->error, sizeof(ret->error), "%s",
			*curl_error ? curl_error : curl_easy_strerror(rc));
	}
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, NULL);
	curl_slist_free_all(headers);
	curl_slist_free_all(connect_to);
}

void app_answer_clear(struct app_answer *a)
{
	free(a->body);
	a->body = NULL;
	a->body_len = 0;
}
