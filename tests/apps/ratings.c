/* ratings: how many stars each reader gave. GET /ratings/ID answers JSON. */
#include <stdio.h>

#include "tests/apps/common/book.h"

static const char *version = "v1";

static void handle(struct app_req *r, void *ctx)
{
	(void)ctx;
	if (!strcmp(r->path, "/healthz")) {
		app_reply_text(r, 200, "ok\n");
	} else if (!strncmp(r->path, "/ratings/", 9)) {
		app_reply_header(r, "x-app-version", version);
		book_reply_json(r, 200,
			json_pack("{s:s, s:s, s:{s:i, s:i}}", "id", r->path + 9, "version", version,
				"ratings", "Tomas", 5, "Mirela", 3));
	}
}

int main(int argc, char **argv)
{
	static const char *listen_on[APP_MAX_LISTEN];
	size_t nlisten = 0;
	const struct app_flag flags[] = {
		{ "listen", "ADDR:PORT to serve on, repeatable", .many = &listen_on,
			.many_n = &nlisten },
		{ "version", "version in the answers", .value = &version },
	};

	app_flags(argc, argv, "how many stars each reader gave", flags, 2);
	app_serve(listen_on, nlisten, handle, NULL);
	printf("ratings %s ready\n", version);
	fflush(stdout);
	app_wait();
	return 0;
}
