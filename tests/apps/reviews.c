/* reviews: what readers wrote. v1 has no stars, v2 black ones, v3 red ones: the last two ask the
 * ratings service. When that fails, the reviews are there all the same, with the reason beside them.
 * GET /reviews/ID answers JSON. */
#include <stdio.h>

#include "tests/apps/common/book.h"

static const char *version = "v1", *via = "";
static const char *ratings_url = "http://ratings.bookshop.svc.cluster.local:9080";

static const struct {
	const char *reader, *text;
} reviews[] = {
	{ "Tomas",
		"I meant to read one chapter before sleep and saw the sun come up over the last "
		"page. The storm in the middle is the best I know." },
	{ "Mirela",
		"A quiet book. The keeper's letters carry it, the ending less so; I would still "
		"lend it to a friend." },
};

/* Adds each reader's stars, or the reason why there are none. */
static void add_ratings(const struct app_req *r, json_t *list, const char *id)
{
	struct app_answer a;
	char url[512], why[300];

	snprintf(url, sizeof(url), "%s/ratings/%s", ratings_url, id);
	app_get(url, via, r, NULL, 3000, &a);
	json_t *doc = a.status == 200 ? json_loads(a.body, 0, NULL) : NULL;
	json_t *stars = json_object_get(doc, "ratings");
	if (a.status)
		snprintf(why, sizeof(why), "ratings answered %d", a.status);
	else
		snprintf(why, sizeof(why), "ratings cannot be reached: %s", a.error);
	for (size_t i = 0; i < json_array_size(list); i++) {
		json_t *review = json_array_get(list, i);
		json_t *n = json_object_get(
			stars, json_string_value(json_object_get(review, "reader")));

		json_object_set_new(review, "rating",
			n ? json_pack("{s:O, s:s}", "stars", n, "color",
				    strcmp(version, "v3") ? "black" : "red")
			  : json_pack("{s:s}", "error", why));
	}
	json_decref(doc);
	app_answer_clear(&a);
}

static void handle(struct app_req *r, void *ctx)
{
	(void)ctx;
	if (!strcmp(r->path, "/healthz")) {
		app_reply_text(r, 200, "ok\n");
		return;
	}
	if (strncmp(r->path, "/reviews/", 9))
		return;
	json_t *list = json_array();
	for (size_t i = 0; i < sizeof(reviews) / sizeof(reviews[0]); i++)
		json_array_append_new(list,
			json_pack("{s:s, s:s}", "reader", reviews[i].reader, "text",
				reviews[i].text));
	if (strcmp(version, "v1"))
		add_ratings(r, list, r->path + 9);
	app_reply_header(r, "x-app-version", version);
	book_reply_json(r, 200,
		json_pack(
			"{s:s, s:s, s:o}", "id", r->path + 9, "version", version, "reviews", list));
}

int main(int argc, char **argv)
{
	static const char *listen_on[APP_MAX_LISTEN];
	size_t nlisten = 0;
	const struct app_flag flags[] = {
		{ "listen", "ADDR:PORT to serve on, repeatable", .many = &listen_on,
			.many_n = &nlisten },
		{ "version", "v1 no stars, v2 black ones, v3 red ones", .value = &version },
		{ "ratings", "URL of the ratings service", .value = &ratings_url },
		{ "via", "ADDR:PORT that calls go through: the sidecar", .value = &via },
	};

	app_flags(argc, argv, "what readers wrote", flags, sizeof(flags) / sizeof(flags[0]));
	app_serve(listen_on, nlisten, handle, NULL);
	printf("reviews %s ready\n", version);
	fflush(stdout);
	app_wait();
	return 0;
}
